// Data is only ever text: scripts in it do not run, letters that turn the direction turn nothing else, formulas stay cells.
import test from "node:test";
import { assert, ask, downloaded, fresh, mint, open, press, says, settled, until, visit } from "../support.js";

const SCRIPT = "<script>window.broken = 1</script><img src=x onerror='window.broken = 2'>";
const RTL = "\u202eتذكرة مسرح\u202e";
const HOSTILE = [SCRIPT, "=HYPERLINK(\"http://evil.example\")", "+1+1", "-2+3", "@SUM(A1)", "＝1+1", "\"quoted\", and comma", RTL, "long-".repeat(25), "%2e%2e%2f?#&/slash", "<b>"];

test("hostile data is shown as it is, and does nothing", async (context) => {
  const venue = `${fresh("hall")}<i>/?&#%`;
  const all = HOSTILE.map((text, index) => ({ id: text, eventId: `event ${text}`.slice(0, 60), userId: text, ticketData: { eventName: text.slice(0, 90), seatNumber: text, [`attribute ${index}`]: text } }));
  // One that fails, with a name that is a formula.
  all.push({ id: "=FAILS()", eventId: "e", ticketData: {} });
  const { batchId } = await mint(venue, all);
  await until("the batch is finished", async () => (await ask(`/admin/batches/${batchId}?entries=false`)).state === "finished");

  const page = await open(context);
  await page.waitForSelector("main .numbers");
  await visit(page, `#/batches/${batchId}`);
  await says(page, "main h1", venue);
  for (const text of HOSTILE) await says(page, "main td", text);
  const { name, text } = await downloaded(context, page, () => press(page, "Download as CSV"));
  assert.match(name, /\.csv$/);
  const lines = text.replace(/^\ufeff/, "").trim().split("\r\n");
  assert.equal(lines.length, HOSTILE.length + 2);
  for (const line of lines) assert.doesNotMatch(line, /^"\s*[=+\-@＝]/, "no cell is a formula");
  assert.ok(text.includes(`"'=HYPERLINK(""http://evil.example"")"`), "it is all there, with an apostrophe");
  assert.ok(text.includes("\"'=FAILS()\",\"failed\""));

  const { mints } = await ask(`/admin/mints?venueId=${encodeURIComponent(venue)}&limit=100`);
  assert.equal(mints.length, HOSTILE.length);
  for (const one of mints) {
    await visit(page, `#/tickets/${encodeURIComponent(venue)}/${encodeURIComponent(one.ticketId)}`);
    await says(page, "main h1", one.ticketId);
    await says(page, "main .facts dd", one.ticketId);
    await visit(page, `#/venues/${encodeURIComponent(venue)}/events/${encodeURIComponent(one.eventId)}`);
    await says(page, "main h1", one.eventId);
  }
  for (const hash of ["#/", "#/venues", `#/venues/${encodeURIComponent(venue)}`, "#/tickets", "#/audit", "#/batches"]) {
    await visit(page, hash);
    assert.equal(await page.$("main script, main b, main i, main img[onerror]"), null, `${hash}: data makes no elements`);
  }
  await settled(page);
  assert.equal(await page.evaluate(() => window.broken), undefined, "nothing of it ran");
  assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector("main")).direction), "ltr");
});
