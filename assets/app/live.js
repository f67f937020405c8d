// The box as it is now: one stream for the whole page, and what is known of the connection itself.
import { access, follow, publicStatus, sleep } from "./api.js";
import { store } from "./store.js";

const RATES_KEPT = 90;

/**
 * connection: connecting | live | lost. `data` is the last that was heard, `at` when; `since` when the connection was lost,
 * `nextAt` when it is tried again. `rates` are the last readings of the speed.
 */
export const live = store({ connection: "connecting", data: null, at: null, since: null, nextAt: null, problem: null, rates: [] });

let running = null;

export function startLive() {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  live.set({ connection: "connecting", data: null, at: null, since: null, problem: null, rates: [] });
  follow("admin/status/events", {
    signal,
    // The box speaks at least every five seconds.
    silenceMs: 16_000,
    onEvent(name, data) {
      if (name !== "status") return;
      const rates = [...live.get().rates, { at: Date.now(), value: data.dashboard.mintsPerSecond ?? 0 }].slice(-RATES_KEPT);
      live.set({ connection: "live", data, at: new Date(), since: null, nextAt: null, problem: null, rates });
    },
    onState: heard,
  }).catch((problem) => heard("lost", problem, null));
}

export function startPublic() {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  live.set({ connection: "connecting", data: null, at: null, since: null, problem: null, rates: [] });
  (async () => {
    while (!signal.aborted) {
      try {
        const data = await publicStatus(signal);
        live.set({ connection: "live", data, at: new Date(), since: null, nextAt: null, problem: null });
        await sleep(5000, signal);
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
    else running?.abort();
  };
  look(access.get());
  return access.subscribe(look);
}
