// What scenarios share: a real browser, the box's API for looking behind the page, and waiting for conditions.
import puppeteer from "puppeteer-core";
import { strict as assert } from "node:assert";
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const PATIENCE_MS = Number(process.env.BOX_PATIENCE_MS ?? 30_000);
export const BOX = needed("BOX_URL");
export const KEY = process.env.BOX_KEY ?? null;

/** What a scenario cannot do without. */
export function needed(name) {
  const value = process.env[name];
  assert.ok(value, `set ${name}; tests/browser/run says what it is`);
  return value;
}

/** A name that no earlier run has used. */
export const fresh = (name) => `${name}-${randomBytes(4).toString("hex")}`;

/** Asks the box itself, not the page. */
export async function ask(path, { method = "GET", body, key = KEY, headers = {} } = {}) {
  const answer = await fetch(BOX + path, { method, headers: { ...(key ? { "x-admin-api-key": key } : {}), ...(body ? { "content-type": "application/json" } : {}), ...headers }, body: body && JSON.stringify(body) });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

export const tickets = (count, eventName = "Winter Gala") => Array.from({ length: count }, (_, index) => ({ id: `T-${String(index).padStart(5, "0")}`, eventId: "gala", ticketData: { eventName, tier: index % 9 ? "Standard" : "VIP", seatNumber: `Row ${1 + Math.floor(index / 20)} Seat ${1 + (index % 20)}` } }));

/** Sends a batch past the page. */
export const mint = (venueId, all) => ask("/admin/batch-mint", { method: "POST", body: { venueId, tickets: all }, headers: { prefer: "respond-async" } });

/** Waits for a condition outside of the browser. */
export async function until(what, condition, patience = PATIENCE_MS) {
  const end = Date.now() + patience;
  for (;;) {
    const value = await condition();
    if (value) return value;
    assert.ok(Date.now() < end, `waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/**
 * A page in a browser of its own. Whatever goes wrong on it fails the scenario: errors on the console, faults, violations of the
 * policy, and requests to anything but the box. `expected` are texts of console errors that belong to the scenario. `instead` may give
 * an answer in the place of the box, for faults that a box cannot be made to show.
 */
export async function open(context, { key = KEY, url = BOX, width = 1280, height = 900, dark = false, expected = [], reducedMotion = true, instead = () => null } = {}) {
  const profile = await mkdtemp(join(tmpdir(), "boxoffice-browser-"));
  const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", userDataDir: profile, args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"] });
  const wrong = [];
  const closed = { done: false };
  context.after(async () => {
    closed.done = true;
    await browser.close();
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    assert.deepEqual(wrong, [], "nothing goes wrong on the page");
  });
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.setViewport({ width, height, isMobile: width < 600, hasTouch: width < 600 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }, { name: "prefers-reduced-motion", value: reducedMotion ? "reduce" : "no-preference" }]);
  await page.evaluateOnNewDocument((stored) => {
    if (stored !== null && sessionStorage.getItem("test.begun") === null) sessionStorage.setItem("boxoffice.key", stored);
    sessionStorage.setItem("test.begun", "yes");
    addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  }, key);
  page.on("pageerror", (error) => wrong.push(`fault: ${error.stack ?? error}`));
  page.on("dialog", (dialog) => {
    wrong.push(`a dialog of the browser: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("console", (message) => {
    if (!["error", "warn"].includes(message.type()) || closed.done) return;
    const text = `${message.text()} ${message.location().url ?? ""}`;
    if (!expected.some((one) => text.includes(one))) wrong.push(`console: ${text}`);
  });
  // The network is cut to everything but the box.
  const home = new URL(url).origin;
  await page.setRequestInterception(true);
  page.on("request", (request) => {
    const to = new URL(request.url());
    const scripted = instead(to, request);
    if (scripted) return request.respond(scripted);
    if (to.origin === home || ["data:", "blob:"].includes(to.protocol)) return request.continue();
    wrong.push(`a request to ${request.url()}`);
    return request.abort();
  });
  await page.goto(`${url}/`, { waitUntil: "load" });
  return page;
}

/** Goes to a view, and waits until its data is there: a heading, and nothing that is still loading. */
export async function visit(page, hash) {
  await page.evaluate((to) => {
    location.hash = to;
  }, hash);
  // The view that was there before has long been settled: wait for the new one, and for what it starts when it is drawn.
  await page.waitForFunction((to) => document.querySelector("main")?.dataset.place === to, {}, hash);
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(drawn)))));
  await settled(page);
}

export const settled = (page) => page.waitForFunction(() => document.querySelector("main:not(.locked) h1") && !document.querySelector("main .skeleton"));

/** Waits until the text of an element holds a text. */
export async function says(page, selector, text, patience = PATIENCE_MS) {
  try {
    return await page.waitForFunction((where, what) => [...document.querySelectorAll(where)].some((element) => element.textContent.includes(what)), { timeout: patience, polling: 50 }, selector, text);
  } catch {
    const found = await page.$$eval(selector, (all) => all.map((element) => element.textContent).join(" | ").slice(0, 600));
    assert.fail(`${selector} does not say “${text}” but “${found}”`);
  }
}

/** The first element of the kind with exactly this text (or one that begins so), once it can be used. */
export async function named(page, selector, text) {
  const handle = await page.waitForFunction((where, what) => [...document.querySelectorAll(where)].find((element) => !element.disabled && (element.getAttribute("aria-label") ?? element.textContent).trim().startsWith(what)), {}, selector, text);
  return handle.asElement();
}

export const press = async (page, text, selector = "button, a") => (await named(page, selector, text)).click();

/** Puts text into the field with this label. */
export async function fill(page, label, text) {
  const id = await page.evaluate((what) => [...document.querySelectorAll("label")].find((one) => one.textContent.startsWith(what))?.htmlFor, label);
  assert.ok(id, `there is a field “${label}”`);
  const field = await page.evaluateHandle((of) => document.getElementById(of), id);
  await field.evaluate((element) => element.select?.());
  await field.type(text);
}

/** A file for a field of the page. */
export async function file(context, name, content) {
  const folder = await mkdtemp(join(tmpdir(), "boxoffice-file-"));
  context.after(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

/** Clicks something that downloads, and reads what came. */
export async function downloaded(context, page, click) {
  const folder = await mkdtemp(join(tmpdir(), "boxoffice-download-"));
  context.after(() => rm(folder, { recursive: true, force: true }));
  const session = await page.browser().target().createCDPSession();
  await session.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: folder, eventsEnabled: true });
  const came = new Promise((resolve) => {
    let name;
    session.on("Browser.downloadWillBegin", (event) => (name = event.suggestedFilename));
    session.on("Browser.downloadProgress", (event) => event.state === "completed" && resolve(name));
  });
  await click();
  const name = await Promise.race([came, new Promise((_, reject) => setTimeout(() => reject(new Error("no file came")), PATIENCE_MS).unref())]);
  return { name, text: await readFile(join(folder, name), "utf8") };
}

/** The views of a box that has tickets, with things that exist. */
export async function views() {
  const { mints } = await ask("/admin/mints?limit=1");
  assert.ok(mints.length, "the box has tickets");
  const { venueId, eventId, ticketId } = mints[0];
  const { batches } = await ask("/admin/batches?limit=1");
  const [venue, event, ticket] = [venueId, eventId, ticketId].map(encodeURIComponent);
  return ["#/", "#/charts", "#/charts?range=365d", "#/venues", `#/venues/${venue}`, `#/venues/${venue}/events/${event}`, "#/tickets", "#/tickets?status=failed", `#/tickets/${venue}/${ticket}`, "#/batches",
    ...batches.map((batch) => `#/batches/${batch.batchId}`), "#/mint", "#/reconciliation", `#/reconciliation/${venue}`, "#/jobs", "#/alerts", "#/audit", "#/cache", "#/more"];
}

export { assert };
