// Reading for views: loading, errors that are tried again, data that has gone stale, pages.
import { get } from "./api.js";
import { useCallback, useEffect, useRef, useState } from "./html.js";
import { either, pause, sleep, until } from "./signals.js";
import { backOff } from "./stream.js";

const MOST_ROWS = 500;
const NOTHING = { data: null, problem: null, at: null, nextAt: null, loading: true };

/**
 * Reads, and reads again when `deps` change, every `every` milliseconds while the page is looked at, and after faults that can
 * pass. What was read before stays, with the problem beside it, so that it can be shown as old. `list` names what a longer piece of
 * the same list shares with a shorter one: the shorter stays until the longer is there.
 */
export function useData(path, query = {}, { every = null, skip = false, list = null } = {}) {
  const [state, setState] = useState(NOTHING);
  const again = useRef(() => {});
  const wanted = JSON.stringify([path, query, skip]);
  const before = useRef(null);
  useEffect(() => {
    const kept = list !== null && before.current === list;
    before.current = list;
    const controller = new AbortController();
    const { signal } = controller;
    setState((old) => (kept ? { ...old, loading: true } : NOTHING));
    if (skip) return undefined;
    (async () => {
      let failures = 0;
      while (!signal.aborted) {
        // From here on, so that whoever asks for a new look while one is under way gets it afterwards.
        const wake = new AbortController();
        again.current = () => wake.abort();
        const now = either(signal, wake.signal);
        let wait = null;
        try {
          const data = await get(path, query, { signal });
          if (signal.aborted) return;
          failures = 0;
          setState({ data, problem: null, at: new Date(), nextAt: null, loading: false });
        } catch (problem) {
          if (signal.aborted) return;
          failures += 1;
          if (problem.retryable || problem.status === 429) wait = backOff(failures, problem);
          const nextAt = wait && Date.now() + wait;
          setState((old) => ({ ...old, problem, loading: false, nextAt }));
        }
        if (wait !== null) await sleep(wait, now);
        else if (every) await pause(every, now);
        else await until(now);
      }
    })();
    return () => controller.abort();
  }, [wanted, every]);
  const reload = useCallback(() => again.current(), []);
  return { ...state, reload };
}

/**
 * A list that grows at its end. It is read as one, from its beginning to as far as it is shown: what comes in moves all rows down, so
 * that pieces read at different times would not fit together. Beyond the longest piece that the box gives at once the rows stand
 * still, older ones follow them, and `newer` says that something came in; `reload` begins anew.
 */
export function usePages(path, query, { list, cursor = "nextCursor", parameter = "cursor", every = null } = {}) {
  const wanted = JSON.stringify([path, query]);
  const [shown, setShown] = useState({ wanted, rows: query.limit });
  const limit = shown.wanted === wanted ? shown.rows : query.limit;
  const [held, setHeld] = useState(null);
  const still = held?.wanted === wanted ? held : null;
  // The longer the list, the seldomer.
  const first = useData(path, { ...query, limit }, { every: every && every * Math.ceil(limit / 250), list: wanted });
  const next = still ? still.next : (first.data?.[cursor] ?? null);
  const more = async () => {
    if (limit < MOST_ROWS) return setShown({ wanted, rows: Math.min(limit + query.limit, MOST_ROWS) });
    const from = still ?? { wanted, rows: first.data[list], next };
    setHeld({ ...from, busy: true, problem: null });
    try {
      const page = await get(path, { ...query, limit: MOST_ROWS, [parameter]: from.next });
      setHeld((now) => (now?.wanted === wanted && now.busy ? { wanted, rows: [...from.rows, ...page[list]], next: page[cursor] ?? null, busy: false, problem: null } : now));
    } catch (problem) {
      setHeld((now) => (now?.wanted === wanted ? { ...now, busy: false, problem } : now));
    }
    return undefined;
  };
  const reload = () => {
    setHeld(null);
    first.reload();
  };
  const fresh = new Map(first.data?.[list].map((row) => [idOf(row), row]));
  const rows = still ? still.rows.map((row) => fresh.get(idOf(row)) ?? row) : (first.data?.[list] ?? null);
  for (const row of still?.rows ?? []) fresh.delete(idOf(row));
  return { ...first, reload, rows, next, more, newer: still ? fresh.size : 0, busy: still?.busy ?? (first.loading && first.data !== null), moreProblem: still?.problem ?? null };
}

const idOf = (row) => JSON.stringify([row.venueId, row.eventId, row.ticketId, row.batchId, row.id, row.reportId, row.requestId, row.at, row.action]);
