// What all views are made of: icons, states, times, tables, dialogs, and how loading, emptiness and errors look.
import { access } from "./api.js";
import { count, counted, duration, NONE, short, sol, when, whenInFull } from "./format.js";
import { html, useEffect, useId, useState } from "./html.js";
import { batchLink } from "./router.js";
import { useStore } from "./store.js";

// ---- state by shape, word and colour

const SHAPES = {
  ok: html`<circle cx="10" cy="10" r="8" /><path class="mark" d="m6.5 10.3 2.4 2.4 4.6-5.2" />`,
  busy: html`<circle class="track" cx="10" cy="10" r="7" /><path class="arc" d="M10 3a7 7 0 0 1 7 7" />`,
  warn: html`<path d="M10 2.2 18.6 17a.8.8 0 0 1-.7 1.2H2.1a.8.8 0 0 1-.7-1.2z" /><path class="mark" d="M10 7.5v4.5m0 2.7v.1" />`,
  bad: html`<path d="M6.7 2h6.6L18 6.7v6.6L13.3 18H6.7L2 13.3V6.7z" /><path class="mark" d="m7.2 7.2 5.6 5.6m0-5.6-5.6 5.6" />`,
  wait: html`<circle class="line" cx="10" cy="10" r="7" /><path class="line" d="M10 6v4.3l2.7 1.7" />`,
  off: html`<circle class="line" cx="10" cy="10" r="7" /><path class="line" d="M6.5 10h7" />`,
  unknown: html`<circle class="line dashed" cx="10" cy="10" r="7" /><path class="line" d="M8 8.2a2 2 0 1 1 2.9 1.8c-.6.3-.9.6-.9 1.2m0 2v.1" />`,
};

export function Icon({ kind }) {
  return html`<svg class=${`icon ${kind}`} viewBox="0 0 20 20" aria-hidden="true">${SHAPES[kind] ?? SHAPES.unknown}</svg>`;
}

export function Status({ kind, children }) {
  return html`<span class=${`status ${kind}`}><${Icon} kind=${kind} /><span>${children}</span></span>`;
}

const MINT_STATES = { pending: ["wait", "Waiting"], minting: ["busy", "Being minted"], minted: ["ok", "Minted"], failed: ["bad", "Failed"] };
export function MintStatus({ status }) {
  const [kind, word] = MINT_STATES[status] ?? ["unknown", status];
  return html`<${Status} kind=${kind}>${word}<//>`;
}

const BATCH_STATES = { waiting: ["wait", "Waits for its time"], running: ["busy", "Under way"] };
export function BatchStatus({ batch }) {
  const { failed, succeeded } = batch.summary;
  const [kind, word] = BATCH_STATES[batch.state] ?? (failed === 0 ? ["ok", "Finished"] : succeeded === 0 ? ["bad", "Failed"] : ["warn", "Finished, some failed"]);
  return html`<${Status} kind=${kind}>${word}<//>`;
}

// ---- small things

export function Time({ at, empty = NONE }) {
  if (!at) return html`<span class="none">${empty}</span>`;
  const date = new Date(at);
  return html`<time datetime=${Number.isNaN(date.getTime()) ? undefined : date.toISOString()} title=${whenInFull(date)}>${when(date)}</time>`;
}

export function Lamports({ value }) {
  return value === null || value === undefined ? html`<span class="none">${NONE}</span>` : html`<span class="num">${sol(value)}</span>`;
}

/** Why a ticket failed. The box speaks of a field of its API where the page speaks of what was agreed to. */
export const failureWords = ({ code, error }) => (code === "budget_used_up" ? "It would have cost more than was agreed to, so it was not minted. It can be sent again at today’s price." : error);

/** Text of others: its direction is its own, and must not turn the page's. */
export function Words({ children }) {
  return html`<bdi>${children}</bdi>`;
}

export function Copy({ text, label, head = 6, tail = 6, whole = false }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => setCopied(false), 2000);
    return () => clearTimeout(timer);
  }, [copied]);
  if (!text) return html`<span class="none">${NONE}</span>`;
  return html`<span class="copy">
    <code title=${text} class=${whole ? "whole" : undefined}>${whole ? text : short(text, head, tail)}</code>
    <button type="button" class="icon-button" aria-label=${`Copy ${label}`} title=${`Copy ${label}`} onClick=${async () => setCopied(await copy(text))}>
      <svg class="icon" viewBox="0 0 20 20" aria-hidden="true">${copied
        ? html`<path class="line" d="m5 10.5 3.2 3.2L15 6.5" />`
        : html`<rect class="line" x="7" y="7" width="9" height="9" rx="2" /><path class="line" d="M4.5 12.5A1.5 1.5 0 0 1 4 11.5V5.5A1.5 1.5 0 0 1 5.5 4h6a1.5 1.5 0 0 1 1 .5" />`}</svg>
    </button>
    <span class="visually-hidden" role="status">${copied ? "Copied" : ""}</span>
  </span>`;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // The clipboard's interface is missing on plain http.
    const area = document.createElement("textarea");
    area.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

export function Progress({ done, failed = 0, total, label }) {
  const share = (part) => `${total ? (100 * part) / total : 0}%`;
  const settled = done + failed;
  return html`<div class="progress" role="progressbar" aria-label=${label} aria-valuemin="0" aria-valuemax=${total} aria-valuenow=${settled}
      aria-valuetext=${`${count(settled)} of ${count(total)}${failed ? `, ${count(failed)} failed` : ""}`}>
    <span class="done" style=${{ width: share(done) }}></span><span class="failed" style=${{ width: share(failed) }}></span>
  </div>`;
}

export function Card({ title, aside, level = 2, className = "", children, id }) {
  const heading = useId();
  const Heading = `h${level}`;
  return html`<section class=${`card ${className}`} aria-labelledby=${title ? heading : undefined} id=${id}>
    ${title && html`<header class="card-head"><${Heading} id=${heading}>${title}<//>${aside}</header>`}
    ${children}
  </section>`;
}

export function Facts({ children }) {
  return html`<dl class="facts">${children}</dl>`;
}
export function Fact({ name, children, hint }) {
  return html`<div><dt>${name}</dt><dd>${children}${hint && html`<small>${hint}</small>`}</dd></div>`;
}

/** A note in the flow of the page. */
export function Note({ kind = "warn", title, children, live = false, actions }) {
  return html`<div class=${`note ${kind}`} role=${live ? "status" : undefined}>
    <${Icon} kind=${kind} />
    <div><strong>${title}</strong>${children && html`<div class="note-body">${children}</div>`}${actions && html`<div class="actions">${actions}</div>`}</div>
  </div>`;
}

export function Empty({ title, children }) {
  return html`<div class="empty">
    <svg viewBox="0 0 64 40" aria-hidden="true"><path class="line" d="M6 6h52v9a5 5 0 0 0 0 10v9H6v-9a5 5 0 0 0 0-10z" /><path class="line dashed" d="M42 8v24" /></svg>
    <p><strong>${title}</strong></p>${children && html`<p>${children}</p>`}
  </div>`;
}

const sentence = (text) => `${text.replace(/^./u, (letter) => letter.toUpperCase())}${/[.!?]$/.test(text) ? "" : "."}`;

/** Says why something could not be read, and what happens next. */
export function ProblemNote({ problem, nextAt, reload, stale }) {
  if (!problem) return null;
  // What is not there does not come by asking again.
  if (problem.status === 404) return html`<${Note} kind="bad" title=${html`<${Words}>${sentence(problem.message)}<//>`} live />`;
  const title = problem.status === 0 ? "Not connected"
    : problem.status === 429 ? "Too many requests"
    : problem.status === 403 ? "Not allowed"
    : problem.status >= 500 ? "The box cannot answer just now" : "That did not work";
  return html`<${Note} kind=${problem.retryable || problem.status === 429 ? "warn" : "bad"} title=${title} live
      actions=${reload && problem.status !== 403 && html`<button type="button" class="button" onClick=${reload}>Try now</button>`}>
    <p><${Words}>${problem.message}<//></p>
    ${stale && html`<p>What is shown below is from <${Time} at=${stale} />, and may be out of date.</p>`}
    ${nextAt && html`<p><${Countdown} until=${nextAt} /></p>`}
    ${problem.requestId && html`<p class="fine">Request <code>${problem.requestId}</code>, as in the box's log.</p>`}
  <//>`;
}

export function Countdown({ until }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, []);
  const left = Math.ceil((until - now) / 1000);
  return html`<span aria-live="off">${left > 0 ? `Trying again in ${left} s.` : "Trying again…"}</span>`;
}

/** The states of something that is read: a skeleton (not before 200 ms), an error, old data, data. */
export function Loaded({ from, rows = 3, children }) {
  if (from.data === null && !from.problem) return html`<${Skeleton} rows=${rows} />`;
  return html`<${ProblemNote} problem=${from.problem} nextAt=${from.nextAt} reload=${from.reload} stale=${from.data !== null && from.at} />
    ${from.data !== null && html`<div class=${from.problem ? "stale" : undefined}>${children(from.data)}</div>`}`;
}

export function Skeleton({ rows = 3 }) {
  return html`<div class="skeleton"><span class="visually-hidden">Loading…</span>${Array.from({ length: rows }, (_, i) => html`<span key=${i} aria-hidden="true"></span>`)}</div>`;
}

/**
 * columns: { name, cell(row), className }. On a narrow screen each row becomes a small card, so the roles are given by hand: styles
 * must not take the table away from a screen reader.
 */
export function Table({ label, columns, rows, rowKey, empty }) {
  if (rows.length === 0) return empty ?? html`<${Empty} title="Nothing here yet" />`;
  return html`<div class="table-frame"><table role="table" aria-label=${label}>
    <thead role="rowgroup"><tr role="row">${columns.map((column) => html`<th role="columnheader" scope="col" class=${column.className} key=${column.name}>${column.name}</th>`)}</tr></thead>
    <tbody role="rowgroup">${rows.map((row, index) => html`<tr role="row" key=${rowKey ? rowKey(row, index) : index}>
      ${columns.map((column) => html`<td role="cell" class=${column.className} data-name=${column.name} key=${column.name}><div>${column.cell(row, index)}</div></td>`)}
    </tr>`)}</tbody>
  </table></div>`;
}

export function Older({ pages, what = "Older" }) {
  return html`<div class="older">
    <${ProblemNote} problem=${pages.moreProblem} />
    ${pages.newer > 0 && html`<p role="status">${counted(pages.newer, "new entry", "new entries")} since. <button type="button" class="link" onClick=${pages.reload}>Show</button></p>`}
    ${pages.next && html`<button type="button" class="button" disabled=${pages.busy} onClick=${pages.more}>${pages.busy ? "Loading…" : what}</button>`}
    ${pages.rows && (pages.next || pages.rows.length > 20) && html`<p class="fine">${count(pages.rows.length)} shown${pages.next ? "" : ", that is all"}.</p>`}
  </div>`;
}

// ---- where one is

export function Page({ title, lead, children, actions }) {
  return html`<div class="page-head"><div><h1 tabindex="-1"><${Words}>${title}<//></h1>${lead && html`<p class="lead">${lead}</p>`}</div>${actions && html`<div class="actions">${actions}</div>`}</div>${children}`;
}

export function Crumbs({ children }) {
  return html`<nav class="crumbs" aria-label="Where this is"><ol>${children.filter(Boolean).map((child, index) => html`<li key=${index}>${child}</li>`)}</ol></nav>`;
}

/** A link to an explorer, for networks that have one. */
export function Explorer({ kind, value }) {
  const { session } = useStore(access);
  const template = session?.explorer?.[kind];
  if (!template || !value || !template.startsWith("https://")) return null;
  const place = kind === "transaction" ? "{signature}" : "{address}";
  return html`<a class="external" href=${template.replace(place, encodeURIComponent(value))} target="_blank" rel="noopener noreferrer">Explorer<span class="visually-hidden"> (opens another site)</span></a>`;
}

// ---- tables that several views have

export function Failures({ value }) {
  return value ? html`<strong class="bad-text">${count(value)}</strong>` : html`0`;
}

export function BatchTable({ batches, withVenue = false }) {
  return html`<${Table} label="Batches" rows=${batches} rowKey=${(row) => row.batchId} empty=${html`<${Empty} title="No batch yet"><a href="#/mint">Mint a file of tickets</a><//>`} columns=${[
    { name: "Accepted", className: "main", cell: (row) => html`<a href=${batchLink(row.batchId)}><${Time} at=${row.createdAt} /></a>` },
    withVenue && { name: "Venue", cell: (row) => html`<${Words}>${row.venueId}<//>` },
    { name: "State", cell: (row) => html`<${BatchStatus} batch=${row} />` },
    { name: "Settled", className: "wide-cell", cell: (row) => html`<${Progress} done=${row.summary.succeeded} failed=${row.summary.failed} total=${row.summary.total} label="Settled tickets" />` },
    { name: "Minted", className: "right", cell: (row) => html`${count(row.summary.succeeded)}${row.state === "finished" && row.summary.succeeded > 0 && row.summary.spentLamports === 0 && html`<small>none of them new</small>`}` },
    { name: "Failed", className: "right", cell: (row) => html`<${Failures} value=${row.summary.failed} />` },
    { name: "Took", className: "right", cell: (row) => duration(row.summary.totalDuration) },
    { name: "Spent", className: "right", cell: (row) => html`<${Lamports} value=${row.summary.spentLamports} />` },
  ].filter(Boolean)} />`;
}
