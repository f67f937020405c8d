// What surrounds every view: the way to all others, the state of the connection, the key.
import { access, forgetKey, readKey } from "./api.js";
import { html, useEffect, useState } from "./html.js";
import { clock, counted } from "./format.js";
import { live } from "./live.js";
import { Countdown, Icon, Note } from "./parts.js";
import { useStore } from "./store.js";

export const ROOMS = [
  { group: "Now", rooms: [["overview", "#/", "Overview"], ["charts", "#/charts", "Charts"], ["alerts", "#/alerts", "Alerts"]] },
  { group: "Tickets", rooms: [["mint", "#/mint", "Mint"], ["batches", "#/batches", "Batches"], ["venues", "#/venues", "Venues"], ["tickets", "#/tickets", "Tickets"]] },
  { group: "Upkeep", rooms: [["reconciliation", "#/reconciliation", "Books and chain"], ["jobs", "#/jobs", "Jobs"], ["cache", "#/cache", "Cache"], ["audit", "#/audit", "Audit trail"]] },
];
const TABS = [["overview", "#/", "Overview"], ["mint", "#/mint", "Mint"], ["batches", "#/batches", "Batches"], ["alerts", "#/alerts", "Alerts"], ["more", "#/more", "More"]];
const IN_TABS = new Set(TABS.map(([id]) => id));

const GLYPHS = {
  overview: "M3 10.5 10 4l7 6.5M5 9v7h10V9",
  mint: "M3 6h14v3a1.5 1.5 0 0 0 0 3v3H3v-3a1.5 1.5 0 0 0 0-3zM12 6v9",
  batches: "M3 5h14M3 10h14M3 15h9",
  alerts: "M5 14V9a5 5 0 0 1 10 0v5l1 1H4zM8.5 17.5h3",
  more: "M4 10h.1M10 10h.1M16 10h.1",
};

export function Shell({ tab, place, locked, children }) {
  const alerts = useStore(live).data?.alerts?.length ?? 0;
  const badge = (id) => id === "alerts" && alerts > 0 && html`<span class="badge">${alerts > 99 ? "99+" : alerts}<span class="visually-hidden"> open</span></span>`;
  const toMain = (event) => {
    event.preventDefault();
    document.querySelector("main h1")?.focus();
  };
  return html`
    <a class="skip" href="#main" onClick=${toMain}>Skip to the content</a>
    <header class="top">
      <a class="brand" href="#/"><img src="assets/icon.svg" alt="" width="26" height="26" />boxoffice</a>
      <${Network} />
      <${Connection} />
      <${Who} />
    </header>
    ${!locked && html`<nav class="side" aria-label="Views">${ROOMS.map(({ group, rooms }) => html`<div key=${group}><p class="group">${group}</p><ul>${rooms.map(([id, href, name]) => html`
      <li key=${id}><a href=${href} aria-current=${tab === id ? "page" : undefined}>${name}${badge(id)}</a></li>`)}</ul></div>`)}</nav>`}
    <main id="main" data-place=${place} class=${locked ? "locked" : ""}><${Lost} />${children}</main>
    ${!locked && html`<nav class="tabs" aria-label="Views, in short"><ul>${TABS.map(([id, href, name]) => html`
      <li key=${id}><a href=${href} aria-current=${tab === id || (id === "more" && !IN_TABS.has(tab)) ? "page" : undefined}>
        <svg class="icon" viewBox="0 0 20 20" aria-hidden="true"><path class="line" d=${GLYPHS[id]} /></svg><span>${name}</span>${badge(id)}</a></li>`)}</ul></nav>`}`;
}

function Network() {
  const { data } = useStore(live);
  const { session } = useStore(access);
  const network = data?.system?.network ?? data?.network ?? session?.network;
  if (!network) return null;
  const real = network === "mainnet-beta";
  return html`<span class=${`network ${real ? "real" : ""}`} title=${real ? "Real money" : "A network for trying things out: no real money"}>${network}</span>`;
}

function Connection() {
  const { connection, at } = useStore(live);
  const { state } = useStore(access);
  if (state !== "open" && state !== "public") return html`<span class="grow"></span>`;
  const [kind, word] = connection === "live" ? ["ok", "Live"] : connection === "lost" ? ["bad", "Not connected"] : ["busy", "Connecting"];
  return html`<span class=${`connection ${connection}`} title=${at ? `Last heard of at ${clock(at)}` : undefined}><${Icon} kind=${kind} /><span>${word}</span></span>`;
}

function Who() {
  const { session, state } = useStore(access);
  const held = readKey();
  if (state === "public" || state === "locked") return html`<button type="button" class="button small" onClick=${() => access.set({ asking: "first" })}>Enter the key</button>`;
  if (!session) return null;
  return html`<span class="who"><span class="who-name" title=${session.role === "read" ? "This key may only look" : "This key may do everything"}><bdi>${session.key}</bdi> · ${session.role}</span>
    ${held && html`<button type="button" class="button small" title="In all tabs of this browser" onClick=${forgetKey}>Forget the key</button>`}</span>`;
}

/** The connection is lost: since when, and what happens next. Said once, not with every attempt. */
function Lost() {
  const { connection, since, nextAt, problem, data } = useStore(live);
  const [late, setLate] = useState(false);
  useEffect(() => {
    setLate(false);
    if (connection !== "lost") return undefined;
    // A hiccup of a second is nobody's business.
    const timer = setTimeout(() => setLate(true), 700);
    return () => clearTimeout(timer);
  }, [connection]);
  const shown = connection === "lost" && late;
  return html`<div aria-live="polite">${shown && html`<${Note} kind="bad" title=${`Not connected since ${clock(since)}, trying again`}>
    <p>${problem && problem.status !== 0 ? html`<bdi>${problem.message}</bdi>` : "The box, or the network to it, does not answer."} ${data ? "What is shown below is old." : ""} ${nextAt && html`<${Countdown} until=${nextAt} />`}</p>
  <//>`}</div>`;
}

export function Starting({ problem }) {
  return html`<main class="locked"><div class="gate"><img src="assets/icon.svg" alt="" width="64" height="64" /><h1 tabindex="-1">boxoffice</h1>
    <div role="status">${problem ? html`<p>${problem.message} ${problem.status === 0 ? "Trying again…" : ""}</p>` : html`<p class="fine">Asking the box…</p>`}</div></div></main>`;
}

export function Denied({ problem }) {
  return html`<main class="locked"><div class="gate"><${Icon} kind="bad" /><h1 tabindex="-1">The box does not let you in</h1><p role="alert"><bdi>${problem.message}</bdi></p>
    <p class="fine">${problem.retryAfterMs ? `Trying again in ${counted(Math.ceil(problem.retryAfterMs / 1000), "second")}.` : "The page asks again every few seconds."}</p></div></main>`;
}

export function Locked() {
  return html`<div class="gate"><img src="assets/icon.svg" alt="" width="64" height="64" /><h1 tabindex="-1">The box is locked</h1>
    <p>It shows nothing without a key.</p>
    <p><button type="button" class="button primary" onClick=${() => access.set({ asking: "first" })}>Enter the key</button></p></div>`;
}
