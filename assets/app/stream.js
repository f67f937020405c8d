// Event streams: followed across cuts, by the id of the last event that was heard.
import { openStream, Problem } from "./api.js";
import { sleep, whileHidden, whileSeen } from "./signals.js";

// A browser opens six connections to a host, for all its tabs together: one that nobody looks at must not hold any.
const HIDDEN_MS = 5_000;
const BACK_OFF_MS = [500, 1000, 2000, 4000, 8000, 15_000];

/** How long to wait after so many failures in a row, a little differently for each of many pages. */
export function backOff(failures, problem) {
  const step = BACK_OFF_MS[Math.min(failures, BACK_OFF_MS.length) - 1] ?? BACK_OFF_MS[0];
  return Math.max(problem?.retryAfterMs ?? 0, step * (0.8 + Math.random() * 0.4));
}

/**
 * Follows a stream until `signal` ends it, the box says that there is no more (204), or `onEvent` returns false. While the page is
 * hidden it is let go of, and taken up where it was once the page is seen again.
 * `onState` hears "open", "paused", or "lost" with the problem and the time of the next attempt.
 */
export async function follow(path, { onEvent, onState, signal, silenceMs = 20_000 }) {
  let lastEventId = null;
  let failures = 0;
  while (!signal.aborted) {
    await whileHidden(signal);
    const seen = whileSeen(HIDDEN_MS, signal);
    let problem = new Problem(0, "The connection to the box broke off.", { retryable: true, code: "unreachable" });
    try {
      const response = await openStream(path, { headers: lastEventId === null ? {} : { "last-event-id": lastEventId }, signal: seen.signal });
      if (response === null) return;
      for await (const event of eventsOf(response.body, silenceMs, seen.signal)) {
        if (event.comment) continue;
        if (failures || event.first) onState?.("open");
        failures = 0;
        if (event.id !== null) lastEventId = event.id;
        if (onEvent(event.name, JSON.parse(event.data), event.id) === false) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem) problem = error;
      if (problem.status === 404) throw problem;
    } finally {
      seen.done();
    }
    if (signal.aborted) return;
    if (seen.signal.aborted) {
      onState?.("paused");
      continue;
    }
    failures += 1;
    const wait = backOff(failures, problem);
    onState?.("lost", problem, Date.now() + wait);
    await sleep(wait, signal);
  }
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
