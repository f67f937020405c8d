// A box with PUBLIC_STATUS=true and keys: strangers see the summary and nothing else. (Not for the box of the other scenarios.)
import test from "node:test";
import { assert, fill, KEY, needed, open, press, says } from "../support.js";

test("without a key there is the public summary, and the key opens the rest", async (context) => {
  needed("BOX_KEY");
  const page = await open(context, { key: null, expected: ["401"] });
  await says(page, "main", "This is the public summary");
  assert.deepEqual(await page.$$eval("main .numbers dt", (all) => all.map((one) => one.textContent)), ["Minted", "Waiting", "Failed", "Speed"]);
  assert.equal(await page.$("nav.side, nav.tabs"), null, "no way to what is not public");
  assert.equal(await page.$("dialog"), null, "nobody is asked before they want to");
  await press(page, "Enter the key");
  await fill(page, "Key", KEY);
  await press(page, "Unlock", "dialog button");
  await page.waitForSelector("nav.side");
  await says(page, "main h2", "Wallet");
});
