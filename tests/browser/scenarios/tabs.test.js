// Many tabs of one browser, which opens six connections to a host at most: those that nobody looks at hold none.
import test from "node:test";
import { ask, assert, fresh, KEY, mint, open, PATIENCE_MS, says, settled, tickets, until, visit } from "../support.js";

const TABS = 8;

/** Whether a tab is looked at: a browser without a screen shows all of its tabs. */
const seen = (page, is) => page.evaluate((value) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => !value });
  document.dispatchEvent(new Event("visibilitychange"));
}, is);

async function another(page) {
  const tab = await page.browser().newPage();
  tab.setDefaultTimeout(PATIENCE_MS);
  await tab.evaluateOnNewDocument((key) => key !== null && sessionStorage.setItem("boxoffice.key", key), KEY);
  await tab.goto(page.url().replace(/#.*/, ""), { waitUntil: "load" });
  return tab;
}

test("eight tabs: the last one loads, and the first one still works", async (context) => {
  const page = await open(context);
  await says(page, ".connection", "Live");
  const tabs = [page];
  for (let number = 2; number <= TABS; number += 1) {
    await seen(tabs.at(-1), false);
    tabs.push(await another(page));
    await says(tabs.at(-1), ".connection", "Live");
  }
  await seen(tabs.at(-1), false);
  await seen(page, true);
  await page.bringToFront();
  await says(page, ".connection", "Live");
  await visit(page, "#/jobs");
  await says(page, "main h2", "housekeeping");
  // What happened while nobody looked is there at once.
  await seen(page, false);
  await says(page, ".connection", "Connecting");
  const before = (await ask("/admin/dashboard")).totalMints;
  const { batchId } = await mint(fresh("unseen"), tickets(3));
  await until("the batch is finished", async () => (await ask(`/admin/batches/${batchId}?entries=false`)).state === "finished");
  await seen(page, true);
  await visit(page, "#/");
  await page.waitForFunction((count) => [...document.querySelectorAll("main .numbers .value")].slice(0, 3).reduce((all, one) => all + Number(one.textContent.replaceAll(",", "")), 0) >= count, {}, before + 3);
});

test("a batch that is followed holds one connection, and misses nothing while it is not looked at", async (context) => {
  const page = await open(context, { expected: ["ERR_ABORTED"] });
  // The one that is open already ends unheard with its page.
  await says(page, ".connection", "Live");
  const streams = new Set();
  page.on("request", (request) => request.url().endsWith("/events") && streams.add(request));
  for (const over of ["requestfinished", "requestfailed"]) page.on(over, (request) => streams.delete(request));
  await page.reload({ waitUntil: "load" });
  await says(page, ".connection", "Live");
  assert.equal(streams.size, 1, "the stream of the whole page");
  const { batchId } = await mint(fresh("arena"), tickets(300));
  await visit(page, `#/batches/${batchId}`);
  await page.waitForFunction(() => Number(document.querySelector("main .batch-sums [role=progressbar]").ariaValueNow) > 0);
  await until("only the batch’s stream is held", () => {
    const urls = [...streams].map((one) => one.url());
    return urls.length === 1 && urls[0].includes(batchId);
  });
  await says(page, ".connection", "Live");
  await seen(page, false);
  await until("no stream is held", () => streams.size === 0);
  await seen(page, true);
  await says(page, "main .batch-sums .status", "Finished");
  await settled(page);
  await says(page, "main .segments", "All 300");
  assert.equal(await page.$("main .note"), null);
});
