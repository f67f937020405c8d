// The box is all there is: no other host, a strict policy, nothing on the console, and little to transfer.
import test from "node:test";
import { assert, BOX, open, views, visit } from "../support.js";

const MOST_BYTES = 150_000;

test("the page needs nothing but the box, breaks no rule of its policy, and is small", async (context) => {
  for (const path of ["/", "/assets/app/main.js"]) {
    const answer = await fetch(BOX + path);
    assert.equal(answer.status, 200, path);
    const policy = answer.headers.get("content-security-policy");
    const rules = new Map(policy.split(";").map((rule) => rule.trim().split(/ (.*)/)));
    for (const [name, value] of [["default-src", "'none'"], ["script-src", "'self'"], ["style-src", "'self'"], ["connect-src", "'self'"], ["form-action", "'none'"], ["base-uri", "'none'"], ["frame-ancestors", "'none'"]]) assert.equal(rules.get(name), value, `${name} of ${path}`);
    assert.doesNotMatch(policy, /unsafe|http|\*/);
    await answer.text();
  }
  const page = await open(context);
  const session = await page.createCDPSession();
  await session.send("Network.enable");
  const files = new Map();
  const paths = new Map();
  session.on("Network.responseReceived", ({ requestId, response }) => paths.set(requestId, new URL(response.url).pathname));
  session.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
    const path = paths.get(requestId);
    if (path === "/" || path?.startsWith("/assets/")) files.set(path, encodedDataLength);
  });
  await page.setCacheEnabled(false);
  await page.reload({ waitUntil: "load" });
  await page.waitForSelector("main .numbers");
  // `open` fails the scenario for any other host, any violation of the policy and any error on the console.
  for (const hash of await views()) await visit(page, hash);
  const transferredBytes = [...files.values()].reduce((all, bytes) => all + bytes, 0);
  console.log(JSON.stringify({ files: files.size, transferredBytes }));
  assert.ok(files.size > 10, "the files were counted");
  assert.ok(transferredBytes < MOST_BYTES, `${transferredBytes} bytes`);
  const storage = await page.evaluate(() => [document.cookie, localStorage.length]);
  assert.deepEqual(storage, ["", 0]);
});
