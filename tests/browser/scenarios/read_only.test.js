// A key that may only look: actions are switched off, with the reason.
import test from "node:test";
import { assert, needed, open, says, visit } from "../support.js";

test("a key with the role read sees everything and can start nothing", async (context) => {
  const page = await open(context, { key: needed("BOX_READ_KEY") });
  await page.waitForSelector("main .numbers");
  for (const [hash, button] of [["#/jobs", "Run now"], ["#/cache", "Clear the cache"], ["#/mint", "Check the file"]]) {
    await visit(page, hash);
    await says(page, "main .hint", "may only look");
    const found = await page.$$eval("main button", (all, text) => all.filter((one) => one.textContent.includes(text)).map((one) => [one.disabled, document.getElementById(one.getAttribute("aria-describedby"))?.textContent ?? ""]), button);
    assert.ok(found.length > 0, `${hash} has the button “${button}”`);
    for (const [disabled, reason] of found) {
      assert.equal(disabled, true);
      assert.match(reason, /may only look/);
    }
  }
});
