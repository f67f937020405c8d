// The key: asked for once, kept for the session, told when it is wrong, forgotten on demand.
import test from "node:test";
import { assert, fill, KEY, needed, open, press, says, settled } from "../support.js";

const UNAUTHORIZED = ["401", "/status"];
const stored = (page) => page.evaluate(() => [sessionStorage.getItem("boxoffice.key"), localStorage.length, document.cookie]);

test("without a key nothing is shown, a wrong one is told, the right one opens", async (context) => {
  needed("BOX_KEY");
  const page = await open(context, { key: null, expected: UNAUTHORIZED });
  await says(page, "dialog h2", "Enter the key");
  assert.equal(await page.$("main .numbers"), null, "no numbers without a key");

  await fill(page, "Key", "boxoffice_wrong");
  await press(page, "Unlock", "dialog button");
  await says(page, "dialog [role=alert]", "This key is wrong");
  assert.equal(await page.$eval("dialog input", (field) => field.getAttribute("aria-invalid")), "true");
  assert.deepEqual(await stored(page), [null, 0, ""], "a wrong key is not kept");

  await fill(page, "Key", KEY);
  await press(page, "Unlock", "dialog button");
  await page.waitForSelector("main .numbers");
  assert.equal(await page.$("dialog"), null);
  assert.deepEqual(await stored(page), [KEY, 0, ""], "kept in the session's storage alone");

  await page.reload();
  await page.waitForSelector("main .numbers");
  assert.ok(!(await page.content()).includes(KEY), "the key is nowhere on the page");

  await press(page, "Forget the key");
  await says(page, "dialog h2", "Enter the key");
  assert.deepEqual(await stored(page), [null, 0, ""]);
  assert.equal(await page.$("main .numbers"), null);
  await page.keyboard.press("Escape");
  await says(page, "main h1", "The box is locked");
  await press(page, "Enter the key");
  await says(page, "dialog h2", "Enter the key");
});

test("a key with letters that no header takes is wrong, and breaks nothing", async (context) => {
  needed("BOX_KEY");
  const page = await open(context, { key: null, expected: UNAUTHORIZED });
  await says(page, "dialog h2", "Enter the key");
  await fill(page, "Key", "schlüssel🔑");
  await press(page, "Unlock", "dialog button");
  await says(page, "dialog [role=alert]", "This key is wrong");
  await fill(page, "Key", KEY);
  await press(page, "Unlock", "dialog button");
  await settled(page);
});

test("a new tab has the key from one that is open, and who signs out is out in all", async (context) => {
  needed("BOX_KEY");
  const page = await open(context, { expected: UNAUTHORIZED });
  await page.waitForSelector("main .numbers");
  const tab = await page.browser().newPage();
  await tab.goto(page.url(), { waitUntil: "load" });
  await tab.waitForSelector("main .numbers");
  assert.deepEqual(await stored(tab), [KEY, 0, ""], "still in the session's storage alone");
  await press(tab, "Forget the key");
  for (const one of [tab, page]) {
    await says(one, "dialog h2", "Enter the key");
    assert.equal(await one.$("main .numbers"), null);
    assert.deepEqual(await stored(one), [null, 0, ""]);
  }
  // Nobody has it any more.
  const late = await page.browser().newPage();
  await late.goto(page.url(), { waitUntil: "load" });
  await says(late, "dialog h2", "Enter the key");
});
