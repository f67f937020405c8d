// What the page says of numbers, money and the state of the box. The functions are pure, and run in the browser they are made for.
import test from "node:test";
import { assert, BOX, KEY, open, press, says, visit } from "../support.js";

/** What a function of one of the page's files says to each list of arguments. */
const say = (page, file, name, calls) => page.evaluate(async (from, what, all) => {
  const module = await import(new URL(`assets/app/${from}`, document.baseURI));
  return all.map((call) => module[what](...call));
}, file, name, calls);

test("numbers, money and axes", async (context) => {
  const page = await open(context);
  await page.waitForSelector("main .numbers");
  const table = async (file, name, expected) => assert.deepEqual(await say(page, file, name, expected.map(([call]) => call)), expected.map(([, words]) => words), name);
  await table("format.js", "solShort", [[[0], "0 SOL"], [[1], "< 0.0001 SOL"], [[99_999], "< 0.0001 SOL"], [[123_456], "0.000123 SOL"], [[19_648_226], "0.0196 SOL"], [[1_500_000_000], "1.5 SOL"], [[199_900_000_000], "199.9 SOL"]]);
  await table("format.js", "sol", [[[1], "0.000000001 SOL"], [[4_715_574_400], "4.7155744 SOL"]]);
  await table("format.js", "percent", [[[100], "100 %"], [[100.04], "> 100 %"], [[100.1], "100.1 %"], [[99.96], "> 99.9 %"], [[0.01], "< 0.1 %"], [[0], "0 %"]]);
  await table("chart.js", "ticks", [[[1, true], [0, 1]], [[2, true], [0, 1, 2]], [[7, true], [0, 5, 10]], [[8, true], [0, 5, 10]], [[70, true], [0, 25, 50, 75]], [[0, true], [0, 1]], [[1], [0, 0.5, 1]]]);
  await table("price.js", "mostFor", [[[0], null], [[100], 101], [[1], 2]]);
  const days = await page.evaluate(async () => {
    const { period } = await import(new URL("assets/app/format.js", document.baseURI));
    const at = new Date(2026, 10, 24, 14, 0);
    return [period(at, 3600), period(at, 3600, true)];
  });
  assert.deepEqual(days, ["14:00", "Tue 14:00"]);
});

test("an empty wallet, one that pays for nothing more, and one that runs low", async (context) => {
  const page = await open(context);
  await page.waitForSelector("main .numbers");
  const box = ({ balanceLamports = 0, sufficient = false, payers = [], alerts = [] }) => [{
    dashboard: { totalMints: 0, failedMints: 0, pendingMints: 0 }, batches: [], alerts,
    system: { balanceMonitor: { wallet: "W", balanceLamports, sufficient, runwayTickets: 0, payers }, queue: { pending: 0, minting: 0, held: null, etaSeconds: 0 }, rpc: [], database: { connected: true } },
  }];
  const payer = (balanceLamports) => ({ address: "P", balanceLamports, payableTickets: 0 });
  const low = { kind: "low_balance", severity: "warning", summary: "the wallet pays for 19 tickets more" };
  const said = await say(page, "verdict.js", "verdict", [
    box({}), box({ balanceLamports: 90_000_000 }), box({ payers: [payer(0)], balanceLamports: 5 }), box({ payers: [payer(0), payer(7)] }), box({ sufficient: true, alerts: [low] }),
  ]);
  assert.deepEqual(said.map((one) => one.title), ["Needs a hand: the wallet is empty", "Needs a hand: the wallet can pay for no more tickets", "Needs a hand: the fee payers are empty", "Needs a hand: the fee payers can pay for no more tickets", "The wallet runs low"]);
});

/** What the box says of itself, changed. */
async function statusWith(change) {
  const answer = await fetch(`${BOX}/admin/status/events`, { headers: KEY ? { "x-admin-api-key": KEY } : {} });
  let text = "";
  for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    if (text.includes("\n\n")) break;
  }
  const status = JSON.parse(text.match(/^data: (.*)$/m)[1]);
  change(status);
  return { status: 200, contentType: "text/event-stream", body: `event: status\ndata: ${JSON.stringify(status)}\n\n` };
}

test("with fee payers the wallet shows what pays", async (context) => {
  const payer = (address) => ({ address, balanceLamports: 1_500_000_001, payableTickets: 70 });
  const status = await statusWith(({ system }) => Object.assign(system.balanceMonitor, { balanceLamports: 7_000_000_000, sufficient: true, payers: [payer("one"), payer("two")] }));
  const page = await open(context, { instead: (url) => (url.pathname === "/admin/status/events" ? status : null) });
  await says(page, "main .card .amount", "3.000000002 SOL in 2 fee payers");
  await says(page, "main .card", "holds 7 SOL itself");
});

test("where there is nothing to send again, nothing can be sent", async (context) => {
  const json = (body) => ({ status: 200, contentType: "application/json", body: JSON.stringify(body) });
  const lost = { venueId: "hall", ticketId: "lost", eventId: "gala", status: "failed", code: "expired", error: "it came to nothing", retryable: true, createdAt: new Date(), settledAt: new Date(), ticket: { id: "lost", eventId: "gala", ticketData: { eventName: "Gala" } } };
  const page = await open(context, { instead: (url) => {
    if (url.pathname === "/admin/mints/lost/attempts") return json({ attempts: [] });
    if (url.pathname === "/admin/mints/lost") return json(lost);
    if (url.pathname === "/admin/batch-mint") return json({ total: 1, new: 1, known: 0, failed: [], estimate: { estimatedLamports: 19_651_560 }, refusal: "the wallet does not hold enough" });
    return null;
  } });
  await page.waitForSelector("main .numbers");
  await visit(page, "#/tickets/hall/lost");
  await press(page, "Send it again", "main button");
  await says(page, "dialog", "the wallet does not hold enough");
  assert.ok(await page.$eval("dialog .actions button:last-of-type", (button) => button.disabled));
});

test("nothing is called well that is not, and what is missing is said", async (context) => {
  const page = await open(context);
  await page.waitForSelector("main .numbers");
  const box = (failedMints, wallet = {}, alerts = []) => ({
    dashboard: { totalMints: 9, failedMints, pendingMints: 0 }, batches: [], alerts,
    system: { balanceMonitor: { wallet: "W", balanceLamports: 40_000_000, minRequired: 0.1, sufficient: true, runwayTickets: 0, payers: [], ...wallet }, queue: { pending: 0, minting: 0, held: null, etaSeconds: 0 }, rpc: [], database: { connected: true } },
  });
  const said = await say(page, "verdict.js", "verdict", [[box(3), 3], [box(5), 2], [box(3), 0], [box(3), null], [box(0), null]]);
  assert.deepEqual(said.map((one) => one.title), ["3 tickets failed and can be sent again", "Failed tickets can be sent again", "All is well", "Nothing waits", "All is well"]);
  assert.deepEqual(said[0].link, ["#/tickets?status=failed", "The failed tickets"]);
  assert.match(said[2].detail, /3 tickets failed, and sending them again as they are cannot help/);
  const [poor] = await say(page, "verdict.js", "verdict", [[box(0, { sufficient: false })]]);
  assert.match(poor.detail, /Send more than 0\.06 SOL .* it holds 0\.04 SOL, and keeps 0\.1 SOL back/);
  const failing = { kind: "batch_failing", severity: "critical", subject: "hall", summary: "3 of the 4 tickets of batch B1 of venue hall were not minted; GET /admin/batches/B1 says why", details: { batchId: "B1", venueId: "hall" } };
  const [alarm] = await say(page, "verdict.js", "verdict", [[box(3, {}, [failing]), 3]]);
  assert.deepEqual([alarm.detail, alarm.link], ["3 of the 4 tickets of batch B1 of venue hall were not minted", ["#/batches/B1", "The batch"]]);
  const differ = { kind: "discrepancies", details: { venue: "a/b" } };
  assert.deepEqual(await say(page, "verdict.js", "alertPlaces", [[failing], [differ], [{ kind: "job_failed", subject: "backup", details: {} }], [{ kind: "disk_low", details: { freeBytes: 1 } }]]), [
    [["#/batches/B1", "The batch"], ["#/venues/hall", "The venue hall"]], [["#/reconciliation/a%2Fb", "Books and chain of a/b"]], [["#/jobs", "The job backup"]], [],
  ]);
  const summary = (text) => [{ summary: text }];
  assert.deepEqual(await say(page, "verdict.js", "alertSummary", [summary("they differ; nothing is repaired; see /admin/reconcile/hall/history?details=true"), summary("the job x failed: y; see /admin/jobs")]), ["they differ; nothing is repaired", "the job x failed: y"]);
  const [strangers] = await say(page, "verdict.js", "publicVerdict", [[{ status: "ok", pending: 0, minted: 1, failed: 2 }]]);
  assert.deepEqual([strangers.title, strangers.detail], ["Nothing waits", "1 ticket is minted, 2 failed."]);
});

test("alerts lead to what they are about", async (context) => {
  const alert = { id: 1, key: "k", kind: "batch_failing", severity: "critical", subject: "hall", summary: "3 were not minted; GET /admin/batches/B1 says why", details: { batchId: "B1", venueId: "hall" }, openedAt: new Date(), lastSeenAt: new Date(), timesSeen: 1, closedAt: null, deliveries: [] };
  const page = await open(context, { instead: (url) => (url.pathname === "/admin/alerts" ? { status: 200, contentType: "application/json", body: JSON.stringify({ alerts: [alert], nextCursor: null }) } : null) });
  await page.waitForSelector("main .numbers");
  await visit(page, "#/alerts");
  assert.deepEqual(await page.$$eval("main .incident a", (all) => all.map((one) => one.getAttribute("href"))), ["#/batches/B1", "#/venues/hall"]);
  assert.doesNotMatch(await page.$eval("main .incident", (one) => one.textContent), /GET|\/admin/);
});
