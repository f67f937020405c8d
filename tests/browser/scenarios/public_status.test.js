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

test("a key that is good no more, and “Not now”, lead to the summary", async (context) => {
  needed("BOX_KEY");
  let revoked = false;
  const page = await open(context, { expected: ["401"], instead: (url) => (revoked && url.pathname.startsWith("/admin/") ? { status: 401, contentType: "application/problem+json", body: JSON.stringify({ status: 401, detail: "the key is not known", code: "unauthorized" }) } : null) });
  await page.waitForSelector("nav.side");
  revoked = true;
  await page.evaluate(() => (location.hash = "#/jobs"));
  await says(page, "dialog h2", "Enter the key");
  await press(page, "Not now", "dialog button");
  await says(page, "main", "This is the public summary");
  await says(page, ".connection", "Live");
  assert.equal(await page.$("main .note"), null);
});
