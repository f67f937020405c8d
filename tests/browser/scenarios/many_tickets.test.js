// A box with very many tickets: how soon something is seen. The figures are printed as JSON.
import test from "node:test";
import { ask, assert, needed, open, settled, visit } from "../support.js";

const MOST_MS = Number(process.env.BOX_MOST_MS ?? 3_000);

test("the page is quick on a box with many tickets", async (context) => {
  const least = Number(needed("BOX_MINTS"));
  const { totalMints } = await ask("/admin/dashboard");
  assert.ok(totalMints >= least, `the box has ${totalMints} tickets`);
  const page = await open(context);
  await page.waitForSelector("main .numbers");
  const overview = await page.evaluate(() => ({
    firstPaintMs: Math.round(performance.getEntriesByName("first-contentful-paint")[0].startTime),
    dataMs: Math.round(performance.now()),
  }));
  const figures = { tickets: totalMints, ...overview, views: {} };
  for (const hash of ["#/tickets", "#/tickets?status=failed", "#/venues", "#/charts?range=365d", "#/batches", "#/"]) {
    const begun = performance.now();
    await visit(page, hash);
    figures.views[hash] = Math.round(performance.now() - begun);
  }
  // Older pages grow the list.
  await visit(page, "#/tickets");
  const rows = () => page.$$eval("main tbody tr", (all) => all.length);
  const before = await rows();
  await page.evaluate(() => [...document.querySelectorAll("main button")].find((one) => one.textContent === "Older").click());
  await page.waitForFunction((count) => document.querySelectorAll("main tbody tr").length > count, {}, before);
  await settled(page);
  console.log(JSON.stringify(figures));
  for (const [what, ms] of [["first paint", figures.firstPaintMs], ["data", figures.dataMs], ...Object.entries(figures.views)]) assert.ok(ms < MOST_MS, `${what} took ${ms} ms`);
});
