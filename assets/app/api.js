// Talks to the box: JSON requests, errors as the box words them, and the key. The key is kept for the browser session only and travels
// in a header, so that no other site can make use of it.
import { either } from "./signals.js";
import { store } from "./store.js";
import { askTabs, forgetInTabs, forgotten, listenToTabs } from "./tabs.js";

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

/** What went wrong here and not at the box, as a problem with words. */
export function asProblem(error) {
  if (error instanceof Problem) return error;
  const gone = error?.name === "NotReadableError" || error?.name === "NotFoundError";
  return new Problem(400, gone ? "The file cannot be read any more: it was changed, moved or deleted. Choose it again." : `The page failed: ${error?.message ?? error}`);
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

/** Asks, and reads the answer within the same time: a body that stalls is no answer either. `read` may take the answer as it comes. */
async function send(method, url, { key, body, headers = {}, signal, timeoutMs = READ_TIMEOUT_MS, read = whole }) {
  const timer = new AbortController();
  const timeout = setTimeout(() => timer.abort(), timeoutMs);
  const sent = { ...headers };
  if (key) sent["x-admin-api-key"] = key;
  let begun = false;
  try {
    const response = await fetch(url, { method, headers: sent, body, signal: either(signal, timer.signal), cache: "no-store", credentials: "omit", redirect: "error" });
    begun = true;
    return await read(response);
  } catch (error) {
    if (signal?.aborted || error instanceof Problem) throw error;
    const detail = timer.signal.aborted ? "The box has not answered in time." : begun ? "The answer broke off." : "The box cannot be reached.";
    throw new Problem(0, detail, { retryable: true, code: "unreachable" });
  } finally {
    clearTimeout(timeout);
  }
}

async function whole(response) {
  const { status, statusText, ok, headers } = response;
  return { status, statusText, ok, headers, text: await response.text() };
}

function retryAfterMs(response) {
  const said = response.headers.get("retry-after");
  if (!said) return null;
  const ms = /^\d+$/.test(said) ? Number(said) * 1000 : Date.parse(said) - Date.now();
  return Number.isFinite(ms) ? Math.max(ms, 0) : null;
}

function problemOf(answer) {
  let body = {};
  try {
    body = JSON.parse(answer.text);
  } catch {
    // What stands between us and the box, such as a proxy, answers what it likes.
  }
  const detail = body?.detail ?? body?.error ?? `The answer was ${answer.status} ${answer.statusText}`.trim();
  return new Problem(answer.status, detail, {
    code: body?.code,
    retryable: body?.retryable ?? answer.status >= 500,
    retryAfterMs: retryAfterMs(answer),
    requestId: body?.requestId ?? answer.headers.get("x-request-id"),
    body: body ?? {},
  });
}

function jsonOf({ text }) {
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
    const response = await send("GET", address(path, query), { key, signal });
    if (response.status === 401) {
      await unlocked(key, signal);
      continue;
    }
    if (!response.ok) throw problemOf(response);
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
  if (!response.ok) throw problemOf(response);
  return { status: response.status, location: response.headers.get("location"), replayed: response.headers.get("idempotent-replayed") === "true", body: jsonOf(response) };
}

// ---- the key

let waiting = [];

/** Waits until there is another key than `used`. */
function unlocked(used, signal) {
  if (readKey() !== used && access.get().state === "open") return Promise.resolve();
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const gone = () => {
      waiting = waiting.filter((one) => one !== go);
      reject(signal.reason);
    };
    const go = () => {
      signal?.removeEventListener("abort", gone);
      resolve();
    };
    waiting.push(go);
    signal?.addEventListener("abort", gone, { once: true });
    if (!access.get().asking) access.set({ asking: used ? "revoked" : "first" });
    return undefined;
  });
}

function letIn(session) {
  access.set({ state: "open", asking: null, session, problem: null });
  const all = waiting;
  waiting = [];
  for (const go of all) go();
}

/** Asks the box who we are; at the start, and with each key that is entered. */
export async function enter(key = readKey(), isWanted = () => true) {
  const response = await send("GET", address("admin/session"), { key });
  // Forgotten in another tab while the box was asked.
  if (!isWanted()) return "wrong";
  if (response.ok) {
    const session = jsonOf(response);
    writeKey(key);
    letIn(session);
    return "open";
  }
  if (response.status === 401) return "wrong";
  throw problemOf(response);
}

/** At the start: in, with the key of another tab if there is one, the public summary, or the question for the key. */
export async function start() {
  try {
    if ((await enter()) === "open") return;
    const held = readKey();
    writeKey(null);
    const round = forgotten();
    const given = await askTabs();
    if (given !== null && given !== held && (await enter(given, () => forgotten() === round)) === "open") return;
    if (await isPublic()) access.set({ state: "public", asking: held ? "revoked" : null, problem: null });
    else access.set({ state: "locked", asking: held ? "revoked" : "first", problem: null });
  } catch (problem) {
    if (problem.status === 403) access.set({ state: "denied", problem });
    else access.set({ problem });
    setTimeout(start, Math.max(problem.retryAfterMs ?? 0, 2000));
  }
}

async function isPublic() {
  const response = await send("GET", address("status"), {});
  return response.ok;
}

export async function publicStatus(signal) {
  const response = await send("GET", address("status"), { signal });
  if (!response.ok) throw problemOf(response);
  return jsonOf(response);
}

/** The dialog was closed without a key: what is for everyone is still shown. */
export async function dismiss() {
  if (access.get().state !== "open") return access.set({ asking: null });
  writeKey(null);
  access.set({ asking: null, state: "locked", session: null });
  const open = await isPublic().catch(() => false);
  if (open && access.get().state === "locked") access.set({ state: "public" });
  return undefined;
}

/** In all tabs: who signs out means to be out. */
export async function forgetKey() {
  forgetInTabs();
  await out();
}

async function out() {
  writeKey(null);
  access.set({ state: "starting", session: null, asking: null });
  await start();
}

listenToTabs({
  give: () => (access.get().state === "open" ? readKey() : null),
  onForget: () => readKey() !== null && out(),
});

/** Whether actions are allowed, and if not, why. */
export function mayAct() {
  const { session } = access.get();
  if (session?.role === "read") return { allowed: false, reason: `The key “${session.key}” may only look (role read).` };
  return { allowed: true, reason: null };
}

// ---- streams

/** Opens a stream of events: its answer, still coming; null when the box says that there is no more. */
export async function openStream(path, { headers, signal }) {
  for (;;) {
    const key = readKey();
    const response = await send("GET", address(path), { key, headers: { accept: "text/event-stream", ...headers }, signal, read: (head) => (head.status === 200 ? head : whole(head)) });
    if (response.status === 204) return null;
    if (response.status === 200) return response;
    if (response.status !== 401) throw problemOf(response);
    await unlocked(key, signal);
  }
}
