// A file of tickets, from preview to minted, with its progress as it happens.
import test from "node:test";
import { ask, assert, file, fill, fresh, mint, named, open, press, says, settled, tickets, until, visit } from "../support.js";

const GOOD = 240;

test("a CSV file becomes minted tickets, at the price that was agreed to, and once", async (context) => {
  const venue = fresh("hall");
  const known = { id: "K-1", eventId: "gala", ticketData: { eventName: "Winter Gala", tier: "VIP", seatNumber: "A1" } };
  const { batchId } = await mint(venue, [known]);
  await until("the known ticket is minted", async () => (await ask(`/admin/batches/${batchId}?entries=false`)).state === "finished");

  const rows = tickets(GOOD).map((one) => `${one.id},Winter Gala,${one.ticketData.tier},"${one.ticketData.seatNumber}"`);
  // Line 4 has no id; the last line is what the box knows already.
  rows.splice(2, 0, ",Winter Gala,VIP,B2");
  rows.push("K-1,Winter Gala,VIP,A1");
  const path = await file(context, "tickets.csv", `id,eventName,tier,seatNumber\n${rows.join("\n")}\n`);

  const page = await open(context);
  await visit(page, "#/mint");
  await (await page.$("input[type=file]")).uploadFile(path);
  await fill(page, "Venue", venue);
  await fill(page, "Event", "gala");
  // The field keeps the focus, and loses it later: that is no change of what was checked.
  await page.keyboard.press("Enter");
  await says(page, "main h2", "tickets.csv");

  const fact = (name) => page.$$eval("main .facts > div", (all, what) => all.find((one) => one.querySelector("dt").textContent === what)?.querySelector("dd").firstChild.textContent, name);
  assert.equal(await fact("To mint"), String(GOOD));
  assert.equal(await fact("Known already"), "1");
  assert.equal(await fact("Faults"), "1");
  await says(page, "table[aria-label='Faults of the file'] td", "line 4");
  const price = await fact("Price");
  const dry = await ask("/admin/batch-mint?dryRun=true", { method: "POST", body: { venueId: venue, tickets: tickets(GOOD) } });
  assert.equal(price, `${dry.estimate.estimatedSOL} SOL`, "the page says the box's price, to the lamport");

  await press(page, `Mint ${GOOD} tickets for ${price}`);
  await says(page, "dialog", price);
  assert.equal((await ask(`/admin/batches?venueId=${venue}`)).batches.length, 1, "nothing is sent before the person agrees");
  await page.evaluate(() => {
    window.seen = new Set();
    new MutationObserver(() => {
      const bar = document.querySelector("main .batch-sums [role=progressbar]");
      if (bar) window.seen.add(Number(bar.ariaValueNow));
    }).observe(document.body, { subtree: true, attributes: true, childList: true });
  });
  // A double click is one click too many.
  await (await named(page, "dialog button", `Mint for ${price}`)).click({ count: 2 });
  await page.waitForFunction(() => location.hash.startsWith("#/batches/"));
  await says(page, "main .batch-sums .status", "Finished");
  await settled(page);
  const seen = await page.evaluate(() => [...window.seen]);
  assert.ok(seen.some((value) => value > 0 && value < GOOD + 1), `progress was shown as it happened: ${seen}`);
  assert.ok(seen.includes(GOOD + 1));

  const { batches } = await ask(`/admin/batches?venueId=${venue}`);
  assert.equal(batches.length, 2, "one batch for the double click");
  const stats = await ask(`/admin/stats/${venue}`);
  assert.deepEqual([stats.successfulMints, stats.totalMints], [GOOD + 1, GOOD + 1]);
  assert.equal((await page.$$("main table[aria-label='What became of each ticket'] tbody tr")).length, 100, "a hundred rows at once");
  await press(page, "Show more");
  await page.waitForFunction((count) => document.querySelectorAll("main tbody tr").length === count, {}, GOOD + 1);
});

test("a file without a single good row says so, and cannot be minted", async (context) => {
  const page = await open(context);
  await visit(page, "#/mint");
  await (await page.$("input[type=file]")).uploadFile(await file(context, "bad.csv", "id,eventName\n,\n,Gala\n"));
  await fill(page, "Venue", fresh("hall"));
  await press(page, "Check the file");
  await says(page, "main .note", "There is nothing to mint");
  assert.equal(await page.$eval("main .card:last-child button.primary, [role=status] button.primary", (button) => button.disabled), true);
});
