// The network goes away and comes back: the page says so, shows nothing old as new, and misses nothing.
import test from "node:test";
import net from "node:net";
import { ask, assert, BOX, fresh, mint, open, says, settled, tickets, until, visit } from "../support.js";

const TICKETS = 400;

/** A proxy whose cable can be pulled. */
async function cable(context) {
  const box = new URL(BOX);
  const plugged = new Set();
  const heads = [];
  let cut = false;
  const server = net.createServer((near) => {
    if (cut) return near.destroy();
    const far = net.connect(Number(box.port || 80), box.hostname);
    for (const [one, other] of [[near, far], [far, near]]) {
      plugged.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => {
        plugged.delete(one);
        other.destroy();
      });
      one.on("data", (data) => {
        if (one === near) heads.push(data.toString("latin1"));
        if (!other.write(data)) one.pause();
      });
      other.on("drain", () => one.resume());
    }
    return undefined;
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.after(() => {
    for (const one of plugged) one.destroy();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    heads,
    pull() {
      cut = true;
      for (const one of plugged) one.destroy();
    },
    plug: () => (cut = false),
  };
}

test("the stream of the whole page is cut and restored", async (context) => {
  const wire = await cable(context);
  const page = await open(context, { url: wire.url, expected: ["ERR_", "net::"] });
  await page.waitForSelector("main .numbers");
  await says(page, ".connection", "Live");
  wire.pull();
  await says(page, "main .note", "Not connected since ");
  assert.match(await page.$eval("main .note", (note) => note.textContent), /Not connected since \d\d:\d\d:\d\d, trying again/);
  await says(page, "main .hero h1", "As of ");
  assert.ok(await page.$("main .grid.stale"), "old numbers are marked");
  // What happens meanwhile is there afterwards.
  const before = (await ask("/admin/dashboard")).totalMints;
  await mint(fresh("meanwhile"), tickets(3));
  wire.plug();
  await says(page, ".connection", "Live");
  await page.waitForFunction((count) => Number(document.querySelector("main .numbers .value").textContent.replaceAll(",", "")) + Number(document.querySelectorAll("main .numbers .value")[1].textContent.replaceAll(",", "")) + Number(document.querySelectorAll("main .numbers .value")[2].textContent.replaceAll(",", "")) === count, {}, before + 3);
  assert.equal(await page.$("main .stale"), null);
  assert.equal(await page.$("main .note.bad"), null);
});

test("a batch is followed across a cut, and no ticket is missed or shown twice", async (context) => {
  const wire = await cable(context);
  const page = await open(context, { url: wire.url, expected: ["ERR_", "net::"] });
  await page.waitForSelector("main .numbers");
  const { batchId } = await mint(fresh("arena"), tickets(TICKETS));
  await visit(page, `#/batches/${batchId}`);
  await page.waitForFunction(() => Number(document.querySelector("main .batch-sums [role=progressbar]").ariaValueNow) > 0);
  wire.pull();
  await says(page, "main .note", "The connection broke off");
  const shown = await page.$eval("main .batch-sums [role=progressbar]", (bar) => Number(bar.ariaValueNow));
  assert.ok(shown < TICKETS, "the cut came in the midst of it");
  await until("the batch went on without the page", async () => (await ask(`/admin/batches/${batchId}?entries=false`)).summary.succeeded > shown);
  wire.heads.length = 0;
  wire.plug();
  await says(page, "main .batch-sums .status", "Finished");
  await settled(page);
  const again = wire.heads.join("").match(new RegExp(`GET [^ ]*${batchId}/events[^]*?\r\n\r\n`))?.[0] ?? "";
  assert.match(again, /last-event-id: [1-9]\d*\r\n/i, "the page came back for what it had not heard");
  await says(page, "main .segments", `All ${TICKETS}`);
});
