// A file of tickets, from preview to minted, with its progress as it happens.
import test from "node:test";
import { writeFile } from "node:fs/promises";
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
  assert.equal(await fact("Left out"), "1");
  await says(page, "table[aria-label='Faults of the file'] td", "line 4");
  const price = await fact("Price");
  const dry = await ask("/admin/batch-mint?dryRun=true", { method: "POST", body: { venueId: venue, tickets: tickets(GOOD) } });
  assert.equal(price, `${dry.estimate.estimatedSOL} SOL`, "the page says the box's price, to the lamport");

  await press(page, `Mint ${GOOD} tickets for ${price}`);
  await says(page, "dialog", price);
  for (const name of [venue, "gala", "tickets.csv"]) {
    await says(page, "main .card", name);
    await says(page, "dialog", name);
  }
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
  const agreed = Math.round(Number(price.replace(" SOL", "")) * 1e9);
  assert.equal(batches[0].summary.maxLamports, Math.ceil(agreed * 1.01), "the price that was agreed to binds");
  assert.ok(batches[0].summary.spentLamports <= batches[0].summary.maxLamports);
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

test("what is left out is not sent, and is told with its line; rows are counted, and not faults", async (context) => {
  const venue = fresh("hall");
  const { batchId } = await mint(venue, [{ id: "K-1", eventId: "gala", ticketData: { eventName: "Winter Gala" } }]);
  await until("the known ticket is minted", async () => (await ask(`/admin/batches/${batchId}?entries=false`)).state === "finished");
  let sent = null;
  const page = await open(context, { instead: (url, request) => {
    if (url.pathname === "/admin/batch-mint" && !url.search) sent = JSON.parse(request.postData()).tickets.map((one) => one.id);
    return null;
  } });
  await visit(page, "#/mint");
  await page.waitForFunction((known) => [...document.querySelectorAll("datalist option")].some((one) => one.value === known), {}, venue);
  // Line 2 has two faults; what stands before K-1 takes two lines; K-1 is known as another ticket.
  const path = await file(context, "mixed.csv", 'Ticket ID,eventName,note\n,,\nN-1,Winter Gala,"a ""b"""\nN-2,Winter Gala,5" by 6" nail\n\nK-1,Summer Gala,\n');
  await (await page.$("input[type=file]")).uploadFile(path);
  await fill(page, "Venue", venue);
  await fill(page, "Event", "gala");
  await press(page, "Check the file");
  await says(page, "main .facts > div", "Left out2");
  await says(page, "main h3", "faults in 2 rows");
  await says(page, "table[aria-label='Faults of the file'] td", "line 6: ticket K-1");
  assert.doesNotMatch(await page.$eval("[role=status] .facts", (facts) => facts.textContent), /New:/);
  await press(page, "Mint 2 tickets for");
  await says(page, "dialog", "2 rows with faults are left out");
  await press(page, "Mint for", "dialog button");
  await says(page, "main .batch-sums .status", "Finished");
  assert.deepEqual(sent, ["N-1", "N-2"]);
  const { batches } = await ask(`/admin/batches?venueId=${venue}`);
  assert.deepEqual([batches[0].summary.total, batches[0].summary.failed], [2, 0]);
});

test("a venue that the books do not know is called new before anything is minted", async (context) => {
  const page = await open(context);
  await page.waitForSelector("main .numbers");
  await checked(context, page, fresh("hall"), 1);
  await says(page, "[aria-label='Outcome of the check'] .facts", "New: no ticket of it is known");
  await press(page, "Mint 1 ticket for");
  await says(page, "dialog", "New: no ticket of it is known");
});

test("a file that was changed after it was chosen is asked for again", async (context) => {
  const page = await open(context);
  await visit(page, "#/mint");
  const path = await file(context, "moving.csv", "id,eventName\nA-1,Gala\n");
  await (await page.$("input[type=file]")).uploadFile(path);
  await fill(page, "Venue", fresh("hall"));
  await writeFile(path, "id,eventName\nA-1,Gala\nA-2,Gala\nA-3,Gala\n");
  await press(page, "Check the file");
  await says(page, "main [role=alert]", "Choose it again");
  assert.doesNotMatch(await page.$eval("main", (main) => main.textContent), /NaN/);
});

/** Chooses a file of so many tickets for a venue, and has it checked. */
async function checked(context, page, venue, count) {
  const rows = tickets(count).map((one) => `${one.id},Winter Gala,${one.ticketData.tier}`);
  await visit(page, "#/mint");
  await (await page.$("input[type=file]")).uploadFile(await file(context, "tickets.csv", `id,eventName,tier\n${rows.join("\n")}\n`));
  await fill(page, "Venue", venue);
  await fill(page, "Event", "gala");
  await press(page, "Check the file");
}

test("a form that is changed while it is checked is not what was checked", async (context) => {
  const page = await open(context);
  await page.waitForSelector("main .numbers");
  await page.evaluate(() => {
    const real = window.fetch;
    const held = new Promise((resolve) => (window.letGo = resolve));
    window.asked = 0;
    window.fetch = async (url, options) => {
      if (String(url).includes("dryRun")) {
        window.asked += 1;
        await held;
      }
      return real(url, options);
    };
  });
  const [first, second] = [fresh("first"), fresh("second")];
  await checked(context, page, first, 3);
  await page.waitForFunction(() => window.asked === 1);
  await fill(page, "Venue", second);
  await page.evaluate(() => window.letGo());
  await named(page, "button", "Check the file");
  await settled(page);
  assert.equal(await page.$("[aria-label='Outcome of the check'] .card"), null, "the old answer is dropped");
  await press(page, "Check the file");
  await says(page, "[aria-label='Outcome of the check']", second);
  assert.ok(!(await page.$eval("main", (main) => main.textContent)).includes(first));
});

test("a price that has risen is told in words, and is not tried again", async (context) => {
  let most = null;
  const page = await open(context, { expected: ["status of"], instead: (url, request) => {
    if (url.pathname !== "/admin/batch-mint" || url.search) return null;
    most = JSON.parse(request.postData()).maxLamports;
    return { status: 402, contentType: "application/problem+json", body: JSON.stringify({ status: 402, code: "over_budget", detail: "more than the budget (maxLamports)", retryable: false }) };
  } });
  await page.waitForSelector("main .numbers");
  await checked(context, page, fresh("hall"), 3);
  await press(page, "Mint 3 tickets for");
  await says(page, "dialog", "at most");
  await press(page, "Mint for", "dialog button");
  await says(page, "dialog [role=alert]", "It costs more now than you agreed to");
  assert.ok(most > 0);
  assert.ok(await page.$eval("dialog .actions button:last-of-type", (button) => button.disabled), "it is to be checked again");
});

test("of several batches some are sent: which, and the rest is sent later", async (context) => {
  const sent = [];
  const page = await open(context, { expected: ["status of"], instead: (url, request) => {
    if (url.pathname !== "/admin/batch-mint" || url.search) return null;
    sent.push({ key: request.headers()["idempotency-key"], count: JSON.parse(request.postData()).tickets.length });
    const answer = (status, body, headers = {}) => ({ status, headers, contentType: "application/json", body: JSON.stringify(body) });
    if (sent.length === 2) return answer(429, { status: 429, detail: "too many", code: "rate_limited" }, { "retry-after": "2" });
    if (sent.length === 4) return answer(402, { status: 402, detail: "the day’s limit is reached", code: "spending_limit", retryable: false });
    return answer(202, { batchId: `batch-${sent.length}` });
  } });
  await page.waitForSelector("main .numbers");
  // The box may not have the money for so many: that is for the box to say, and not what is looked at here.
  await page.evaluate(() => {
    const real = window.fetch;
    window.fetch = async (url, options) => {
      const answer = await real(url, options);
      if (!String(url).includes("dryRun")) return answer;
      return Response.json({ ...(await answer.json()), refusal: null, spendableLamports: 1e15 });
    };
  });
  await checked(context, page, fresh("stadium"), 20_001);
  await press(page, "Mint 20,001 tickets for");
  await press(page, "Mint for", "dialog button");
  await says(page, "dialog .hint", "only so many requests in a minute");
  await says(page, "dialog .hint", "Trying again");
  await says(page, "dialog [role=alert]", "the day’s limit is reached");
  await says(page, "dialog .note", "2 of 3 batches were sent");
  assert.deepEqual(await page.$$eval("dialog .note a", (all) => all.map((one) => one.getAttribute("href"))), ["#/batches/batch-1", "#/batches/batch-3"]);
  assert.equal(sent[1].key, sent[2].key, "what was too fast is the same action");
  await press(page, "Close", "dialog button");
  await says(page, "main .note", "2 of 3 batches were sent");
  await press(page, "Send the rest for", "main button");
  await says(page, "dialog h2", "Mint 1 ticket?");
  await press(page, "Send the rest for", "dialog button");
  await page.waitForFunction(() => location.hash === "#/batches");
  assert.deepEqual(sent.map((one) => one.count), [10_000, 10_000, 10_000, 1, 1]);
  assert.equal(new Set(sent.map((one) => one.key)).size, 4, "a decision, a key");
});
