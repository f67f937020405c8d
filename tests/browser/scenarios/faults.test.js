// What the box may answer instead of what was asked for: each has a state that says what is wrong and what happens next.
import test from "node:test";
import { ask, assert, fresh, mint, open, press, says, settled, tickets, until, visit } from "../support.js";

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

test("the next decision is another action, and an answer from before is told as such", async (context) => {
  const keys = [];
  const page = await open(context, { expected: ["status of"], instead: (url, request) => {
    if (request.method() === "GET" || !["/admin/cache/clear", "/admin/jobs/balance-check/run"].includes(url.pathname)) return null;
    keys.push(request.headers()["idempotency-key"]);
    return keys.length < 4 ? problem(504, "the answer took too long") : { status: 202, contentType: "application/json", headers: { "idempotent-replayed": "true" }, body: "{}" };
  } });
  await page.waitForSelector("main .numbers");
  await visit(page, "#/cache");
  for (let times = 0; times < 2; times += 1) {
    await press(page, "Clear the cache…");
    await press(page, "Clear the cache", "dialog button");
    await says(page, "dialog [role=alert]", "the answer took too long");
    await press(page, "Cancel", "dialog button");
    await page.waitForFunction(() => !document.querySelector("dialog"));
  }
  assert.notEqual(keys[0], keys[1], "to open the dialog again is to decide again");
  // A click without a dialog is the same one for a minute, and no longer.
  await visit(page, "#/jobs");
  await press(page, "Run now: balance-check", "main button");
  await says(page, "#job-balance-check [role=alert]", "the answer took too long");
  await press(page, "Run now: balance-check", "main button");
  await says(page, "#job-balance-check", "Answered as before");
  assert.equal(keys[2], keys[3]);
  await press(page, "Run now: balance-check", "main button");
  await until("it is run again", () => keys.length === 5);
  assert.notEqual(keys[3], keys[4]);
});

test("the key of a click ends after a minute", async (context) => {
  const page = await open(context);
  await page.waitForSelector("main .numbers");
  const [first, soon, late] = await page.evaluate(async () => {
    const { newDecision } = await import(new URL("assets/app/decision.js", document.baseURI));
    const now = Date.now();
    const decision = newDecision(60_000);
    const keys = [];
    for (const ms of [0, 59_000, 61_000]) {
      Date.now = () => now + ms;
      keys.push(decision.key("run"));
    }
    return keys;
  });
  assert.equal(first, soon);
  assert.notEqual(soon, late);
});

test("a look that is asked for while another is under way comes after it", async (context) => {
  let asked = 0;
  const page = await open(context, { instead: (url) => void (asked += url.pathname === "/admin/jobs") });
  await page.waitForSelector("main .numbers");
  const looked = await page.evaluate(async () => {
    const { html, render } = await import(new URL("assets/app/html.js", document.baseURI));
    const { useData } = await import(new URL("assets/app/data.js", document.baseURI));
    const times = [];
    const real = window.fetch;
    window.fetch = (...call) => {
      if (String(call[0]).includes("admin/jobs")) times.push(times.length === 0 && setTimeout(() => window.again(), 0));
      return real(...call);
    };
    const Probe = () => {
      window.again = useData("admin/jobs").reload;
      return null;
    };
    render(html`<${Probe} />`, document.createElement("div"));
    for (let left = 100; left && times.length < 2; left -= 1) await new Promise((resolve) => setTimeout(resolve, 50));
    return times.length;
  });
  assert.equal(looked, 2);
  assert.ok(asked >= 2);
});

test("a body that stalls ends like an answer that does not come", async (context) => {
  const page = await open(context);
  await page.waitForSelector("main .numbers");
  const said = await page.evaluate(async () => {
    const { get } = await import(new URL("assets/app/api.js", document.baseURI));
    const [fetched, later] = [window.fetch, window.setTimeout];
    // The head is there at once, the body never; and the patience of 20 s is over soon.
    window.fetch = async (url, { signal }) => new Response(new ReadableStream({ start: (body) => signal.addEventListener("abort", () => body.error(signal.reason)) }));
    window.setTimeout = (what, ms) => later(what, ms / 100);
    try {
      return await get("admin/jobs");
    } catch (problem) {
      return problem.message;
    } finally {
      [window.fetch, window.setTimeout] = [fetched, later];
    }
  });
  assert.equal(said, "The box has not answered in time.");
});

test("a box that is not there at first", async (context) => {
  let gone = true;
  const page = await open(context, { expected: ["status of"], instead: (url) => (gone && url.pathname === "/admin/session" ? problem(503, "the box is starting") : null) });
  await says(page, "main", "the box is starting");
  gone = false;
  await page.waitForSelector("main .numbers");
});

test("a batch that is opened while the box is away comes by itself, and tickets known before are not called minted", async (context) => {
  const { venueId, batchId } = await knownBatch();
  const { page, fault } = await faulty(context, `/admin/batches/${batchId}`);
  fault.now = problem(503, "the box is starting");
  await page.evaluate((id) => (location.hash = `#/batches/${id}`), batchId);
  await says(page, "main .note", "the box is starting");
  await says(page, "main .note", "Trying again");
  fault.now = null;
  await says(page, "main .batch-sums .status", "Finished");
  await settled(page);
  assert.equal(await page.$("main .note"), null);
  const facts = await page.$$eval("main .batch-sums .facts > div", (all) => all.map((one) => one.textContent));
  assert.ok(facts.includes("Minted0") && facts.some((one) => one.startsWith("Known already2")), facts.join());
  await says(page, "main .segments", "On the chain 2");
  await visit(page, `#/batches?venueId=${venueId}`);
  await says(page, "main tbody tr:first-child", "none of them new");
});

/** A batch of tickets that an earlier one has minted. */
async function knownBatch() {
  const venueId = fresh("twice");
  for (let times = 0; ; times += 1) {
    const { batchId } = await mint(venueId, tickets(2));
    await until("the batch is finished", async () => (await ask(`/admin/batches/${batchId}?entries=false`)).state === "finished");
    if (times === 1) return { venueId, batchId };
  }
}

test("what does not exist is said in one sentence, and not offered again", async (context) => {
  const page = await open(context, { expected: ["404"] });
  await page.waitForSelector("main .numbers");
  for (const [hash, text] of [["#/batches/nope", "There is no batch with this id."], ["#/tickets/nope/nope", "No ticket with this id has been accepted."], ["#/venues/nope", "No ticket of this venue has been accepted."]]) {
    await visit(page, hash);
    await says(page, "main .note", text);
    assert.equal(await page.$eval("main .note", (note) => note.textContent.trim()), text);
    assert.equal((await page.$$("main .card, main .note button")).length, 0, hash);
  }
});

test("the list of tickets has its filter, says what is not there, and sends failed ones again together", async (context) => {
  const failed = (venueId, ticketId, retryable = true) => ({ venueId, ticketId, eventId: "gala", status: "failed", code: "expired", error: "it came to nothing", retryable, createdAt: new Date(), settledAt: new Date(), ticket: { id: ticketId, eventId: "gala", ticketData: { eventName: "Gala" } } });
  let rows = [];
  const json = (body) => ({ status: 200, contentType: "application/json", body: JSON.stringify(body) });
  const dry = [];
  const page = await open(context, { instead: (url, request) => {
    if (url.pathname === "/admin/mints" && url.searchParams.get("status") === "failed") return json({ mints: rows.filter((one) => [null, one.venueId].includes(url.searchParams.get("venueId"))), nextCursor: null });
    if (url.pathname !== "/admin/batch-mint") return null;
    dry.push(JSON.parse(request.postData()));
    return json({ total: 2, new: 2, known: 0, failed: [], estimate: { estimatedLamports: 39_303_120 }, refusal: null });
  } });
  await page.waitForSelector("main .numbers");
  await visit(page, "#/tickets?status=bogus");
  await says(page, "main .note", "bogus");
  await press(page, "Failed", "main .segments button");
  await says(page, "main .empty", "No failed tickets");
  assert.equal(await page.$("main .note"), null);
  rows = [failed("hall", "A"), failed("club", "B"), failed("hall", "C"), failed("hall", "D", false)];
  await visit(page, "#/");
  await visit(page, "#/tickets?status=failed");
  await says(page, "main ul.plain li", "Send it again");
  await press(page, "Send 2 again", "main button");
  await says(page, "dialog h2", "Send 2 tickets again?");
  assert.deepEqual([dry[0].venueId, dry[0].tickets.map((one) => one.id)], ["hall", ["A", "C"]]);
});

test("after a repair books and chain are compared again once what it queued has settled", async (context) => {
  const json = (body) => ({ status: 200, contentType: "application/json", body: JSON.stringify(body) });
  const report = { totalChecked: 1, confirmed: 0, notFound: 1, pending: 0, errors: 1, discrepancyCount: 1, discrepancyRate: 100, durationSeconds: 0.1, reasons: [], news: [], unknownToBooks: [], discrepancies: [{ venueId: "hall", ticketId: "A", kind: "not_on_chain", explanation: "it is not there", books: null, chain: null, remedy: { action: "queue", reason: null } }] };
  const agree = { ...report, confirmed: 1, notFound: 0, errors: 0, discrepancyCount: 0, discrepancies: [] };
  const plan = { plan: [{}], adopted: 0, corrected: 0, queued: 1, published: 0, refused: [] };
  let [compared, pending] = [0, 1];
  const page = await open(context, { instead: (url, request) => {
    if (url.pathname === "/admin/reconcile/hall/fix") return json(plan);
    if (url.pathname === "/admin/reconcile/hall/history") return json({ reports: [], nextCursor: null });
    if (url.pathname === "/admin/stats/hall") return json({ pendingMints: pending });
    if (url.pathname !== "/admin/reconcile/hall" || request.method() !== "POST") return null;
    compared += 1;
    return json(pending ? report : agree);
  } });
  await page.waitForSelector("main .numbers");
  await visit(page, "#/reconciliation/hall");
  await press(page, "Compare now");
  await press(page, "Repair…");
  await press(page, "Repair, and mint 1 ticket", "dialog button");
  await says(page, "main", "then books and chain are compared again");
  assert.equal(compared, 1);
  pending = 0;
  await says(page, "main .card-head .status", "Books and chain agree");
  assert.equal(compared, 2);
});
