// A list that grows at both ends: no row is lost, and none shown twice.
import test from "node:test";
import { ask, assert, fresh, mint, open, press, says, settled, tickets, until, visit } from "../support.js";

const AT_FIRST = 530;
const LATER = 40;

const finished = ({ batchId }) => until("the batch is finished", async () => (await ask(`/admin/batches/${batchId}?entries=false`)).state === "finished");
const named = (name, count) => tickets(count).map((one) => ({ ...one, id: `${name}-${one.id}` }));

test("rows that come in move the others down, and push none out", async (context) => {
  const venue = fresh("hall");
  await finished(await mint(venue, named("old", AT_FIRST)));
  const inBooks = async () => {
    const pages = [await ask(`/admin/mints?venueId=${venue}&limit=500`)];
    while (pages.at(-1).nextCursor) pages.push(await ask(`/admin/mints?venueId=${venue}&limit=500&cursor=${pages.at(-1).nextCursor}`));
    return pages.flatMap((page) => page.mints.map((one) => one.ticketId));
  };
  const page = await open(context);
  await visit(page, `#/tickets?venueId=${venue}`);
  const rows = () => page.$$eval("main tbody tr td:first-child a", (all) => all.map((one) => one.textContent));
  const grown = async (to) => {
    await press(page, "Older", "main .older button");
    await page.waitForFunction((count) => document.querySelectorAll("main tbody tr").length >= count, {}, to);
    await settled(page);
  };
  await grown(100);
  // What comes in while the list is looked at stands above, and everything else stays in its order.
  await finished(await mint(venue, named("new", LATER)));
  await page.waitForFunction(() => document.querySelector("main tbody tr td").textContent.includes("new-"), { timeout: 60_000 });
  assert.deepEqual(await rows(), (await inBooks()).slice(0, 100));
  for (let shown = 150; shown <= 500; shown += 50) await grown(shown);
  assert.deepEqual(await rows(), (await inBooks()).slice(0, 500));
  // Beyond that the rows stand still, and the page says that there are newer ones.
  await grown(AT_FIRST + LATER);
  assert.deepEqual(await rows(), await inBooks());
  await says(page, "main .older", `${AT_FIRST + LATER} shown, that is all.`);
  await finished(await mint(venue, named("last", 3)));
  await says(page, "main .older", "3 new entries since", 120_000);
  assert.deepEqual(await rows(), (await inBooks()).slice(3), "nothing moves under the reader’s eyes");
  await press(page, "Show", "main .older button");
  await page.waitForFunction(() => document.querySelector("main tbody tr td").textContent.includes("last-"));
  assert.deepEqual(await rows(), (await inBooks()).slice(0, 500));
});
