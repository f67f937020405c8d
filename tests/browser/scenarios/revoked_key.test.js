// A key that is revoked in mid-session: the page asks for another, and goes on where it was.
import test from "node:test";
import { execFileSync } from "node:child_process";
import { assert, fill, KEY, needed, open, press, says, visit } from "../support.js";

test("a revoked key is asked for again, and the view stays", async (context) => {
  needed("BOX_KEY");
  const revoke = needed("BOX_REVOKE");
  const page = await open(context, { key: needed("BOX_SESSION_KEY"), expected: ["401", "/status"] });
  await page.waitForSelector("main .numbers");
  await visit(page, "#/jobs");
  await says(page, "main h2", "housekeeping");

  execFileSync("sh", ["-c", revoke], { stdio: "inherit" });
  await says(page, "dialog", "revoked");
  // Who has no other key for now sees nothing more, and is not told that the box is away.
  await press(page, "Not now", "dialog button");
  await says(page, "main h1", "The box is locked");
  await page.waitForFunction(() => document.title === "Locked – boxoffice");
  assert.equal(await page.$("main .note, .connection"), null);
  assert.equal(await page.evaluate(() => sessionStorage.getItem("boxoffice.key")), null, "the dead key is not kept");
  const held = await page.evaluate(async () => (await import(new URL("assets/app/live.js", document.baseURI))).live.get().data);
  assert.equal(held, null, "nor what was seen with it");
  await press(page, "Enter the key", "main button");
  await fill(page, "Key", KEY);
  await press(page, "Unlock", "dialog button");
  await page.waitForFunction(() => !document.querySelector("dialog"));
  assert.equal(await page.evaluate(() => location.hash), "#/jobs");
  await says(page, ".connection", "Live");
  await says(page, "main h2", "housekeeping");
  // And an action works with the new key.
  await press(page, "Run now: balance-check", "main button");
  await says(page, "#job-balance-check .status", "Well");
});
