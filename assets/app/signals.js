// Waiting that can be cut short. Signals are joined by AbortSignal.any, which keeps nothing alive when they are done with.

export const either = (...signals) => AbortSignal.any(signals.filter(Boolean));

/** Waits for the signal. */
export const until = (signal) => new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener("abort", resolve, { once: true })));

/** Waits; a network that comes back, or a page that is looked at again, cuts it short. */
export function sleep(ms, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const ends = [[window, "online"], [window, "pageshow"], ...(signal ? [[signal, "abort"]] : [])];
    const done = () => {
      clearTimeout(timer);
      for (const [from, name] of ends) from.removeEventListener(name, done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    for (const [from, name] of ends) from.addEventListener(name, done);
    return undefined;
  });
}

/** Waits while nobody looks at the page. */
export function whileHidden(signal) {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      signal.removeEventListener("abort", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look);
    look();
  });
}

/** Something that ends with `signal`, or once the page was hidden for so long. `done` lets go of the page. */
export function whileSeen(graceMs, signal) {
  const end = new AbortController();
  let timer = null;
  const look = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(() => end.abort(), graceMs);
  };
  document.addEventListener("visibilitychange", look);
  look();
  const done = () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", look);
  };
  return { signal: either(signal, end.signal), done };
}

/** Nobody looks at a hidden page: it asks nothing, and at once when it is seen again. */
export async function pause(ms, signal) {
  await sleep(ms, signal);
  await whileHidden(signal);
}
