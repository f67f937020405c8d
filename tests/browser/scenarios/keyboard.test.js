// Without a mouse: to the jobs, to the button of one, and running it.
import test from "node:test";
import { ask, assert, open, says } from "../support.js";

const FAR = 120;

async function tabTo(page, label) {
  for (let presses = 0; presses < FAR; presses += 1) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const element = document.activeElement;
      const style = getComputedStyle(element);
      return { name: (element.getAttribute("aria-label") ?? element.textContent).trim(), outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 };
    });
    assert.ok(at.outlined, `the focus can be seen on “${at.name}”`);
    if (at.name === label) return;
  }
  assert.fail(`“${label}” is not reached by Tab`);
}

test("a job is reached and run by keyboard alone", async (context) => {
  const runs = async () => (await ask("/admin/jobs")).jobs.find((job) => job.id === "balance-check").recentRuns.length;
  const before = await runs();
  const page = await open(context);
  await page.waitForSelector("main .numbers");
  await tabTo(page, "Jobs");
  await page.keyboard.press("Enter");
  await says(page, "main h2", "balance-check");
  assert.equal(await page.evaluate(() => document.activeElement.tagName), "H1");
  await tabTo(page, "Run now: balance-check");
  await page.keyboard.press("Enter");
  await page.waitForFunction(async () => document.querySelector("#job-balance-check .status.ok")?.textContent === "Well");
  assert.ok((await runs()) > before || before >= 10, "it ran");
  // A dialog keeps the focus, and gives it back.
  await page.evaluate(() => (location.hash = "#/cache"));
  await says(page, "main h1", "Cache");
  await tabTo(page, "Clear the cache…");
  await page.keyboard.press("Enter");
  await says(page, "dialog h2", "Clear the cache?");
  for (let presses = 0; presses < 8; presses += 1) {
    await page.keyboard.press("Tab");
    assert.ok(await page.evaluate(() => document.activeElement === document.body || document.activeElement.closest("dialog") !== null), "the focus stays in the dialog");
  }
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => !document.querySelector("dialog"));
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Clear the cache…");
});
