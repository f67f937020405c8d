// Talks to the box: JSON requests, errors as the box words them, event streams, and the key. The key is kept for the browser
// session only and travels in a header, so that no other site can make use of it.
import { store } from "./store.js";

const KEY_NAME = "boxoffice.key";
const READ_TIMEOUT_MS = 20_000;
const WRITE_TIMEOUT_MS = 600_000;

/** Why a request came to nothing. `status` is 0 when the box could not be reached. */
export class Problem extends Error {
  constructor(status, detail, more = {}) {
    super(detail);
    this.status = status;
    this.code = more.code ?? null;
    this.retryable = more.retryable ?? false;
    this.retryAfterMs = more.retryAfterMs ?? null;
    this.requestId = more.requestId ?? null;
    this.body = more.body ?? {};
  }
}

/**
 * Whether the page is let in.
 * state: starting | open | public | locked | denied; asking: null | "first" | "wrong" | "revoked" (the dialog is open)
 */
export const access = store({ state: "starting", asking: null, session: null, problem: null });

let keyInMemory = null;
export function readKey() {
  try {
    return sessionStorage.getItem(KEY_NAME) ?? keyInMemory;
  } catch {
    return keyInMemory;
  }
}
function writeKey(key) {
  keyInMemory = key;
  try {
    if (key === null) sessionStorage.removeItem(KEY_NAME);
    else sessionStorage.setItem(KEY_NAME, key);
  } catch {
    // Browsers may forbid storage: the key then lives as long as the page.
  }
}

/** Addresses are relative to the page, so that it also works under a proxy's prefix. */
export function address(path, query = {}) {
  const url = new URL(path.replace(/^\//, ""), document.baseURI);
  url.hash = "";
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  return url;
}

/** A path segment. */
export const segment = encodeURIComponent;

/** An idempotency key. randomUUID is missing on plain http. */
export function newActionKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function send(method, url, { key, body, headers = {}, signal, timeoutMs }) {
  const timer = new AbortController();
  const stop = () => timer.abort(signal?.reason);
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop, { once: true });
  const timeout = timeoutMs && setTimeout(() => timer.abort(), timeoutMs);
  const sent = { ...headers };
  if (key) sent["x-admin-api-key"] = key;
  try {
    return await fetch(url, { method, headers: sent, body, signal: timer.signal, cache: "no-store", credentials: "omit", redirect: "error" });
  } catch (error) {
    if (signal?.aborted) throw error;
    const detail = timer.signal.aborted ? "The box has not answered in time." : "The box cannot be reached.";
    throw new Problem(0, detail, { retryable: true, code: "unreachable" });
  } finally {
    clearTimeout(timeout);
  }
}

function retryAfterMs(response) {
  const said = response.headers.get("retry-after");
  if (!said) return null;
  const ms = /^\d+$/.test(said) ? Number(said) * 1000 : Date.parse(said) - Date.now();
  return Number.isFinite(ms) ? Math.max(ms, 0) : null;
}

async function problemOf(response) {
  let body = {};
  try {
    body = JSON.parse(await response.text());
  } catch {
    // What stands between us and the box, such as a proxy, answers what it likes.
  }
  const detail = body?.detail ?? body?.error ?? `The answer was ${response.status} ${response.statusText}`.trim();
  return new Problem(response.status, detail, {
    code: body?.code,
    retryable: body?.retryable ?? response.status >= 500,
    retryAfterMs: retryAfterMs(response),
    requestId: body?.requestId ?? response.headers.get("x-request-id"),
    body: body ?? {},
  });
}

async function jsonOf(response) {
  const text = await response.text().catch(() => {
    throw new Problem(0, "The answer broke off.", { retryable: true, code: "unreachable" });
  });
  if (!text) return null;
  try {
    return JSON.parse(text);
  } catch {
    throw new Problem(0, "The answer is not from the box: something in between answers in its place.", { retryable: true });
  }
}

/** Reads. When the key is not (or no longer) good the person is asked for one, and the reading goes on with it. */
export async function get(path, query, { signal } = {}) {
  for (;;) {
    const key = readKey();
    const response = await send("GET", address(path, query), { key, signal, timeoutMs: READ_TIMEOUT_MS });
    if (response.status === 401) {
      await unlocked(key, signal);
      continue;
    }
    if (!response.ok) throw await problemOf(response);
    return jsonOf(response);
  }
}

/**
 * Changes something. `actionKey` makes a repetition harmless. After a 401 nothing is done by itself: the person enters the key and
 * decides again.
 */
export async function act(method, path, { query, body, type = "application/json", actionKey, headers = {}, signal } = {}) {
  const key = readKey();
  const all = { ...headers };
  if (actionKey) all["idempotency-key"] = actionKey;
  let data = body;
  if (body !== undefined) {
    all["content-type"] = type;
    if (type === "application/json" && typeof body !== "string" && !(body instanceof Blob)) data = JSON.stringify(body);
  }
  const response = await send(method, address(path, query), { key, body: data, headers: all, signal, timeoutMs: WRITE_TIMEOUT_MS });
  if (response.status === 401) {
    unlocked(key);
    throw new Problem(401, "The key was asked for again, and nothing was done. Once it is entered, try again.", { code: "unauthorized" });
  }
  if (!response.ok) throw await problemOf(response);
  return { status: response.status, location: response.headers.get("location"), body: await jsonOf(response) };
}

// ---- the key

let waiting = [];

/** Waits until there is another key than `used`. */
function unlocked(used, signal) {
  if (readKey() !== used && access.get().state === "open") return Promise.resolve();
  return new Promise((resolve, reject) => {
    waiting.push(resolve);
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    if (!access.get().asking) access.set({ asking: used ? "revoked" : "first" });
  });
}

function letIn(session) {
  access.set({ state: "open", asking: null, session, problem: null });
  const all = waiting;
  waiting = [];
  for (const go of all) go();
}

/** Asks the box who we are; at the start, and with each key that is entered. */
export async function enter(key = readKey()) {
  const response = await send("GET", address("admin/session"), { key, timeoutMs: READ_TIMEOUT_MS });
  if (response.ok) {
    const session = await jsonOf(response);
    writeKey(key);
    letIn(session);
    return "open";
  }
  if (response.status === 401) return "wrong";
  throw await problemOf(response);
}

/** At the start: in, the public summary, or the question for the key. */
export async function start() {
  try {
    if ((await enter()) === "open") return;
    const held = readKey();
    writeKey(null);
    if (await isPublic()) access.set({ state: "public", asking: held ? "revoked" : null, problem: null });
    else access.set({ state: "locked", asking: held ? "revoked" : "first", problem: null });
  } catch (problem) {
    if (problem.status === 403) access.set({ state: "denied", problem });
    else access.set({ problem });
    setTimeout(start, Math.max(problem.retryAfterMs ?? 0, 2000));
  }
}

async function isPublic() {
  const response = await send("GET", address("status"), { timeoutMs: READ_TIMEOUT_MS });
  return response.ok;
}

export async function publicStatus(signal) {
  const response = await send("GET", address("status"), { signal, timeoutMs: READ_TIMEOUT_MS });
  if (!response.ok) throw await problemOf(response);
  return jsonOf(response);
}

/** The dialog was closed without a key. */
export async function dismiss() {
  const { state } = access.get();
  access.set({ asking: null, state: state === "public" ? "public" : "locked", session: null });
}

export async function forgetKey() {
  writeKey(null);
  waiting = [];
  access.set({ state: "starting", session: null, asking: null });
  await start();
}

/** Whether actions are allowed, and if not, why. */
export function mayAct() {
  const { session } = access.get();
  if (session?.role === "read") return { allowed: false, reason: `The key “${session.key}” may only look (role read).` };
  return { allowed: true, reason: null };
}

// ---- event streams

const BACK_OFF_MS = [500, 1000, 2000, 4000, 8000, 15_000];

/** How long to wait after so many failures in a row, a little differently for each of many pages. */
export function backOff(failures, problem) {
  const step = BACK_OFF_MS[Math.min(failures, BACK_OFF_MS.length) - 1] ?? BACK_OFF_MS[0];
  return Math.max(problem?.retryAfterMs ?? 0, step * (0.8 + Math.random() * 0.4));
}

/**
 * Follows a stream until `signal` ends it, the box says that there is no more (204), or `onEvent` returns false.
 * `onState` hears "open", or "lost" with the problem and the time of the next attempt.
 */
export async function follow(path, { onEvent, onState, signal, silenceMs = 20_000, once = false }) {
  let lastEventId = null;
  let failures = 0;
  while (!signal.aborted) {
    let problem = new Problem(0, "The connection to the box broke off.", { retryable: true, code: "unreachable" });
    try {
      const key = readKey();
      const headers = { accept: "text/event-stream" };
      if (lastEventId !== null) headers["last-event-id"] = lastEventId;
      const response = await send("GET", address(path), { key, headers, signal });
      if (response.status === 204) return;
      if (response.status === 401) {
        await unlocked(key, signal);
        continue;
      }
      if (!response.ok) throw await problemOf(response);
      for await (const event of eventsOf(response.body, silenceMs, signal)) {
        if (event.comment) continue;
        if (failures || event.first) onState?.("open");
        failures = 0;
        if (event.id !== null) lastEventId = event.id;
        if (onEvent(event.name, JSON.parse(event.data), event.id) === false) return;
      }
      if (once) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem) problem = error;
      if (problem.status === 404) throw problem;
    }
    failures += 1;
    const wait = backOff(failures, problem);
    onState?.("lost", problem, Date.now() + wait);
    await sleep(wait, signal);
  }
}

/** Waits; a network that comes back, or a page that is looked at again, cuts it short. */
export function sleep(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      removeEventListener("pageshow", done);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    addEventListener("online", done);
    addEventListener("pageshow", done);
    signal?.addEventListener("abort", done);
  });
}

async function* eventsOf(body, silenceMs, signal) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let first = true;
  let timer;
  const stop = () => reader.cancel().catch(() => {});
  signal.addEventListener("abort", stop, { once: true });
  try {
    for (;;) {
      // A connection whose other end is gone without a word looks like a quiet one.
      const silence = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Problem(0, "Nothing was heard from the box for a while.", { retryable: true })), silenceMs);
      });
      const { value, done } = await Promise.race([reader.read(), silence]);
      clearTimeout(timer);
      if (done) return;
      rest += value.replace(/\r\n?/g, "\n");
      let end;
      while ((end = rest.indexOf("\n\n")) >= 0) {
        const event = parse(rest.slice(0, end));
        rest = rest.slice(end + 2);
        yield { ...event, first };
        first = false;
      }
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
    stop();
  }
}

function parse(block) {
  const event = { name: "message", data: "", id: null };
  let comment = true;
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const [field, value] = [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
    if (field === "event") event.name = value;
    else if (field === "id") event.id = value;
    else if (field === "data") event.data = event.data ? `${event.data}\n${value}` : value;
    else continue;
    if (field === "data") comment = false;
  }
  return { ...event, comment };
}
