// Books and chain differ: the difference is explained, repaired after a question, and gone.
import test from "node:test";
import { ask, assert, named, needed, open, press, says, until, visit } from "../support.js";

test("a difference is found, explained, repaired, and gone", async (context) => {
  const venue = needed("BOX_REPAIR");
  const page = await open(context);
  await visit(page, `#/reconciliation/${encodeURIComponent(venue)}`);
  await press(page, "Compare now");
  await says(page, "main h3", "What differs");
  const differences = await page.$$eval("main .differences > li", (all) => all.map((one) => one.textContent));
  assert.ok(differences.length > 0);
  for (const text of differences) assert.match(text, /Repair: /, "each says what repair does");

  await press(page, "Repair…");
  await says(page, "dialog h2", "Repair the books?");
  const untouched = await ask(`/admin/reconcile/${encodeURIComponent(venue)}/fix?dryRun=true`, { method: "POST", body: {} });
  assert.ok(untouched.plan.length > 0, "nothing is repaired before the person agrees");
  await (await named(page, "dialog button", "Repair")).click();
  await says(page, "main .note.ok", "Repaired");
  // What is adopted or queued is settled by the engine, a moment later.
  await until("books and chain agree", async () => {
    const outcome = await page.$eval("main .card .card-head .status", (status) => status.textContent).catch(() => "");
    if (outcome === "Books and chain agree") return true;
    await press(page, "Compare now");
    await named(page, "button", "Compare now");
    return false;
  });
  assert.equal(await page.$("dialog"), null);
  const after = await ask(`/admin/reconcile/${encodeURIComponent(venue)}/fix?dryRun=true`, { method: "POST", body: {} });
  assert.deepEqual([after.plan, after.refused], [[], []], "the box itself finds nothing more");
});
