// What the box may answer instead of what was asked for: each has a state that says what is wrong and what happens next.
import test from "node:test";
import { assert, open, press, says, settled, visit } from "../support.js";

const problem = (status, detail, headers = {}) => ({ status, contentType: "application/problem+json", headers, body: JSON.stringify({ status, detail, code: "scripted", retryable: status !== 403, requestId: "request-7" }) });

/** Answers a path with a fault while `faulty` holds one. */
async function faulty(context, path) {
  const fault = { now: null, times: 0 };
  const page = await open(context, { expected: ["status of"], instead: (url) => {
    if (url.pathname !== path || fault.now === null) return null;
    fault.times += 1;
    return fault.now;
  } });
  await page.waitForSelector("main .numbers");
  return { page, fault };
}

test("too many requests: said, with the time, and tried again then", async (context) => {
  const { page, fault } = await faulty(context, "/admin/cache/stats");
  fault.now = problem(429, "too many requests", { "retry-after": "2" });
  await page.evaluate(() => (location.hash = "#/cache"));
  await says(page, "main .note", "Too many requests");
  await says(page, "main .note", "Trying again");
  const asked = fault.times;
  assert.equal(asked, 1, "it is not asked again before its time");
  fault.now = null;
  await settled(page);
  await says(page, "main h2", "Values");
  assert.equal(await page.$("main .note"), null);
});

test("a box that cannot answer: what is known stays, marked as old, until it can", async (context) => {
  const { page, fault } = await faulty(context, "/admin/cache/stats");
  await visit(page, "#/cache");
  await says(page, "main h2", "Values");
  fault.now = problem(503, "the database is busy");
  await says(page, "main .note", "The box cannot answer just now");
  await says(page, "main .note", "may be out of date");
  await says(page, "main .note", "request-7");
  assert.ok(await page.$("main .stale .facts"), "old values are marked");
  fault.now = null;
  await press(page, "Try now");
  await page.waitForFunction(() => !document.querySelector("main .stale") && !document.querySelector("main .note"));
});

test("what is not allowed is said, and not asked for again and again", async (context) => {
  const { page, fault } = await faulty(context, "/admin/venues");
  fault.now = problem(403, "this address is not allowed");
  await page.evaluate(() => (location.hash = "#/reconciliation"));
  await says(page, "main .note", "Not allowed");
  await says(page, "main .note", "this address is not allowed");
  assert.equal(fault.times, 1);
});

test("an action without an answer may be tried again as the same action", async (context) => {
  const keys = [];
  const page = await open(context, { expected: ["status of"], instead: (url, request) => {
    if (url.pathname !== "/admin/cache/clear") return null;
    keys.push(request.headers()["idempotency-key"]);
    return keys.length === 1 ? problem(504, "the answer took too long") : null;
  } });
  await page.waitForSelector("main .numbers");
  await visit(page, "#/cache");
  await press(page, "Clear the cache…");
  await press(page, "Clear the cache", "dialog button");
  await says(page, "dialog [role=alert]", "the answer took too long");
  await press(page, "Clear the cache", "dialog button");
  await says(page, "main .note", "The cache is empty");
  assert.equal(keys.length, 2);
  assert.match(keys[0], /^[0-9a-f]{32}$/);
  assert.equal(keys[0], keys[1], "the box can tell that it is the same action");
});

test("a box that is not there at first", async (context) => {
  let gone = true;
  const page = await open(context, { expected: ["status of"], instead: (url) => (gone && url.pathname === "/admin/session" ? problem(503, "the box is starting") : null) });
  await says(page, "main", "the box is starting");
  gone = false;
  await page.waitForSelector("main .numbers");
});
