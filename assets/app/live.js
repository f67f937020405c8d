// The box as it is now: one stream for the whole page, and what is known of the connection itself.
import { access, publicStatus } from "./api.js";
import { either, pause, sleep } from "./signals.js";
import { store } from "./store.js";
import { follow } from "./stream.js";

const RATES_KEPT = 90;
const LOOK_EVERY_MS = 4_000;

/**
 * connection: connecting | live | lost. `data` is the last that was heard, `at` when; `since` when the connection was lost,
 * `nextAt` when it is tried again. `rates` are the last readings of the speed.
 */
const BLANK = { connection: "connecting", data: null, at: null, since: null, nextAt: null, problem: null, rates: [] };
export const live = store(BLANK);

let running = null;
let turn = new AbortController();
let lent = 0;

/**
 * For a view with a stream of its own: this one takes short looks meanwhile, so that a tab holds one connection and not two. Returns
 * what ends it.
 */
export function lend() {
  const change = (by) => {
    lent += by;
    turn.abort();
  };
  change(1);
  return () => change(-1);
}

/** What was heard before belongs to who was there before. */
function anew() {
  stop();
  running = new AbortController();
  return running.signal;
}

function stop() {
  running?.abort();
  live.set(BLANK);
}

export function startLive() {
  const signal = anew();
  (async () => {
    while (!signal.aborted) {
      turn = new AbortController();
      const now = either(signal, turn.signal);
      const onlyLook = lent > 0;
      await follow("admin/status/events", {
        signal: now,
        // The box speaks at least every five seconds.
        silenceMs: 16_000,
        onEvent(name, data) {
          if (name !== "status") return true;
          const rates = [...live.get().rates, { at: Date.now(), value: data.dashboard.mintsPerSecond ?? 0 }].slice(-RATES_KEPT);
          live.set({ connection: "live", data, at: new Date(), since: null, nextAt: null, problem: null, rates });
          return !onlyLook;
        },
        onState: (...said) => !signal.aborted && heard(...said),
      });
      if (onlyLook) await pause(LOOK_EVERY_MS, now);
    }
  })().catch((problem) => !signal.aborted && heard("lost", problem, null));
}

export function startPublic() {
  const signal = anew();
  (async () => {
    while (!signal.aborted) {
      try {
        const data = await publicStatus(signal);
        live.set({ connection: "live", data, at: new Date(), since: null, nextAt: null, problem: null });
        await pause(5000, signal);
      } catch (problem) {
        if (signal.aborted) return;
        const wait = Math.max(problem.retryAfterMs ?? 0, 4000);
        heard("lost", problem, Date.now() + wait);
        await sleep(wait, signal);
      }
    }
  })();
}

function heard(state, problem = null, nextAt = null) {
  if (state === "open") return;
  if (state === "paused") return live.set({ connection: "connecting", since: null, nextAt: null, problem: null });
  const { since, at } = live.get();
  live.set({ connection: "lost", since: since ?? at ?? new Date(), nextAt, problem });
}

/** Follows the access: a session has the live stream, a stranger the public summary. */
export function followAccess() {
  let before = null;
  const look = ({ state, session }) => {
    const now = `${state} ${session?.key ?? ""}`;
    if (now === before) return;
    before = now;
    if (state === "open") startLive();
    else if (state === "public") startPublic();
    else stop();
  };
  look(access.get());
  return access.subscribe(look);
}
