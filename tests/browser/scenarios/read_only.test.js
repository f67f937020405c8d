// A key that may only look: actions are switched off, with the reason.
import test from "node:test";
import { ask, assert, needed, open, press, says, visit } from "../support.js";

test("a key with the role read sees everything and can start nothing", async (context) => {
  const venue = needed("BOX_REPAIR");
  // A report with a difference in it, by a key that may: there is one, now or from before the repair.
  await ask(`/admin/reconcile/${encodeURIComponent(venue)}`, { method: "POST" });
  const { reports } = await ask(`/admin/reconcile/${encodeURIComponent(venue)}/history`);
  const differs = reports.findIndex((one) => one.discrepancyCount > 0);
  assert.ok(differs >= 0, `${venue} has differed`);
  // A real box does not fail a ticket on demand.
  const lost = { venueId: "hall", ticketId: "lost", eventId: "gala", status: "failed", code: "expired", error: "it came to nothing", retryable: true, createdAt: new Date(), settledAt: new Date(), ticket: { id: "lost", eventId: "gala", ticketData: { eventName: "Gala" } } };
  const page = await open(context, { key: needed("BOX_READ_KEY"), instead: (url) => {
    if (!url.pathname.startsWith("/admin/mints/lost")) return null;
    return { status: 200, contentType: "application/json", body: JSON.stringify(url.pathname.endsWith("/attempts") ? { attempts: [] } : lost) };
  } });
  await page.waitForSelector("main .numbers");
  const off = async (button) => {
    const found = await page.$$eval("main button", (all, text) => all.filter((one) => one.textContent.includes(text)).map((one) => [one.disabled, document.getElementById(one.getAttribute("aria-describedby"))?.textContent ?? ""]), button);
    assert.ok(found.length > 0, `there is the button “${button}”`);
    for (const [disabled, reason] of found) {
      assert.equal(disabled, true, button);
      assert.match(reason, /may only look/);
    }
  };
  for (const [hash, button] of [["#/jobs", "Run now"], ["#/cache", "Clear the cache"], ["#/mint", "Check the file"], [`#/reconciliation/${encodeURIComponent(venue)}`, "Compare now"]]) {
    await visit(page, hash);
    await says(page, "main .hint", "may only look");
    await off(button);
  }
  // The old report is opened, and what it could repair is out of reach.
  await page.evaluate((index) => document.querySelectorAll("table[aria-label=Reports] tbody button")[index].click(), differs);
  await says(page, "main h3", "What differs");
  await off("Repair…");
  await visit(page, "#/tickets/hall/lost");
  await off("Send it again");
});

test("a report that cannot be opened says so", async (context) => {
  const venue = needed("BOX_REPAIR");
  await ask(`/admin/reconcile/${encodeURIComponent(venue)}`, { method: "POST" });
  const page = await open(context, { key: needed("BOX_READ_KEY"), expected: ["status of"], instead: (url) => (url.searchParams.get("details") === "true" ? { status: 429, contentType: "application/problem+json", headers: { "retry-after": "7" }, body: JSON.stringify({ status: 429, detail: "slow down" }) } : null) });
  await page.waitForSelector("main .numbers");
  await visit(page, `#/reconciliation/${encodeURIComponent(venue)}`);
  await page.click("table[aria-label=Reports] tbody button");
  await says(page, "main .note", "slow down");
  // And it may be tried again.
  await press(page, "", "table[aria-label=Reports] tbody button");
});
