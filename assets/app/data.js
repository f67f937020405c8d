// Reading for views: loading, errors that are tried again, data that has gone stale, pages.
import { backOff, get, sleep } from "./api.js";
import { useCallback, useEffect, useRef, useState } from "./html.js";

const NOTHING = { data: null, problem: null, at: null, nextAt: null, loading: true };

/**
 * Reads, and reads again when `deps` change, every `every` milliseconds while the page is looked at, and after faults that can
 * pass. What was read before stays, with the problem beside it, so that it can be shown as old.
 */
export function useData(path, query = {}, { every = null, skip = false } = {}) {
  const [state, setState] = useState(NOTHING);
  const again = useRef(() => {});
  const wanted = JSON.stringify([path, query, skip]);
  useEffect(() => {
    const controller = new AbortController();
    const { signal } = controller;
    setState(NOTHING);
    if (skip) return undefined;
    let wake = new AbortController();
    again.current = () => wake.abort();
    (async () => {
      let failures = 0;
      while (!signal.aborted) {
        try {
          const data = await get(path, query, { signal });
          if (signal.aborted) return;
          failures = 0;
          setState({ data, problem: null, at: new Date(), nextAt: null, loading: false });
        } catch (problem) {
          if (signal.aborted) return;
          failures += 1;
          const wait = problem.retryable || problem.status === 429 ? backOff(failures, problem) : null;
          setState((old) => ({ ...old, problem, loading: false, nextAt: wait && Date.now() + wait }));
          if (wait) {
            wake = new AbortController();
            await sleep(wait, either(signal, wake.signal));
            continue;
          }
          if (!every) {
            wake = new AbortController();
            await until(either(signal, wake.signal));
            continue;
          }
        }
        wake = new AbortController();
        if (every) await pause(every, either(signal, wake.signal));
        else await until(either(signal, wake.signal));
      }
    })();
    return () => controller.abort();
  }, [wanted, every]);
  const reload = useCallback(() => again.current(), []);
  return { ...state, reload };
}

/** A list that grows at its end: the first page as `useData` reads it, and older ones on demand. */
export function usePages(path, query, { list, cursor = "nextCursor", parameter = "cursor", every = null } = {}) {
  const first = useData(path, query, { every });
  const [older, setOlder] = useState({ rows: [], next: undefined, busy: false, problem: null });
  const wanted = JSON.stringify([path, query]);
  const current = useRef(wanted);
  current.current = wanted;
  useEffect(() => setOlder({ rows: [], next: undefined, busy: false, problem: null }), [wanted]);
  const next = older.next === undefined ? (first.data?.[cursor] ?? null) : older.next;
  const more = async () => {
    setOlder((old) => ({ ...old, busy: true, problem: null }));
    try {
      const page = await get(path, { ...query, [parameter]: next });
      if (current.current !== wanted) return;
      setOlder((old) => ({ rows: [...old.rows, ...page[list]], next: page[cursor] ?? null, busy: false, problem: null }));
    } catch (problem) {
      if (current.current === wanted) setOlder((old) => ({ ...old, busy: false, problem }));
    }
  };
  const rows = first.data ? distinct([...first.data[list], ...older.rows]) : null;
  return { ...first, rows, next, more, busy: older.busy, moreProblem: older.problem };
}

/** While the first page is read anew, what it held moves into the second. */
function distinct(rows) {
  const seen = new Set();
  return rows.filter((row) => {
    const id = JSON.stringify([row.venueId, row.eventId, row.ticketId, row.batchId, row.id, row.reportId, row.requestId, row.at]);
    return !seen.has(id) && seen.add(id);
  });
}

function either(a, b) {
  const both = new AbortController();
  for (const one of [a, b]) {
    if (one.aborted) both.abort();
    one.addEventListener("abort", () => both.abort(), { once: true });
  }
  return both.signal;
}

const until = (signal) => new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener("abort", resolve, { once: true })));

/** Nobody looks at a hidden page: it asks nothing, and at once when it is seen again. */
async function pause(ms, signal) {
  await sleep(ms, signal);
  while (document.hidden && !signal.aborted) {
    await new Promise((resolve) => {
      document.addEventListener("visibilitychange", resolve, { once: true });
      signal.addEventListener("abort", resolve, { once: true });
    });
  }
}
