// Tickets, newest first, filtered; and finding one by its id.
import { ReadOnlyHint } from "../actions.js";
import { get, segment } from "../api.js";
import { usePages } from "../data.js";
import { html, useId, useState } from "../html.js";
import { Card, Empty, failureWords, Lamports, Loaded, MintStatus, Note, Older, Page, ProblemNote, Table, Time, Words } from "../parts.js";
import { eventLink, go, replaceQuery, ticketLink, venueLink } from "../router.js";
import { Retry } from "./retry.js";

const NONE_OF = { pending: "No ticket waits", minting: "No ticket is being minted", minted: "No minted tickets", failed: "No failed tickets" };
const STATES = [["", "All"], ["pending", "Waiting"], ["minting", "Being minted"], ["minted", "Minted"], ["failed", "Failed"]];

export function Tickets({ query }) {
  return html`<${Page} title="Tickets" lead=${query.venueId && html`Of <a href=${venueLink(query.venueId)}><${Words}>${query.venueId}<//></a>. <a href="#/tickets">Of all venues</a>`} />
    <${Find} />
    <${TicketList} venueId=${query.venueId} query=${query} title="Newest first" place=${["tickets"]} />`;
}

function Find() {
  const field = useId();
  const [state, setState] = useState({ busy: false, problem: null, venues: null, id: "" });
  const submit = async (event) => {
    event.preventDefault();
    const id = new FormData(event.target).get("id").trim();
    if (!id) return;
    setState({ busy: true, problem: null, venues: null, id });
    try {
      const mint = await get(`admin/mints/${segment(id)}`);
      go(ticketLink(mint.venueId, mint.ticketId));
    } catch (problem) {
      setState({ busy: false, problem: problem.body?.venueIds ? null : problem, venues: problem.body?.venueIds ?? null, id });
    }
  };
  return html`<${Card} className="flat"><form class="inline" onSubmit=${submit} role="search"><label for=${field}>Ticket id</label><input id=${field} name="id" autocomplete="off" autocapitalize="off" spellcheck=${false} required />
    <button type="submit" class="button" disabled=${state.busy}>Find</button></form>
    <div role="status">${state.venues && html`<p>Several venues have a ticket of this id: ${state.venues.map((venueId, index) => html`${index > 0 && ", "}<a key=${venueId} href=${ticketLink(venueId, state.id)}><${Words}>${venueId}<//></a>`)}</p>`}
    <${ProblemNote} problem=${state.problem} /></div><//>`;
}

export function TicketList({ title, venueId, eventId, query, place }) {
  const status = STATES.some(([id]) => id === query.status) ? query.status : "";
  const pages = usePages("admin/mints", { venueId, eventId, status, limit: 50 }, { list: "mints", every: 10_000 });
  return html`<${Card} title=${title} aside=${html`<div class="segments" role="group" aria-label="State">${STATES.map(([id, name]) => html`
      <button type="button" key=${id} aria-pressed=${status === id ? "true" : "false"} onClick=${() => replaceQuery(place, { ...query, status: id })}>${name}</button>`)}</div>`}>
    ${query.status && !status && html`<${Note} kind="warn" title="There is no such state"><p><${Words}>${query.status}<//> is not one: tickets of all states are shown.</p><//>`}
    <${Loaded} from=${pages} rows=${6}>${() => html`${status === "failed" && html`<${SendAgain} rows=${pages.rows} onDone=${pages.reload} />`}<${Table} label="Tickets" rows=${pages.rows} rowKey=${(row) => `${row.venueId}/${row.ticketId}`} empty=${html`<${Empty} title=${NONE_OF[status] ?? "No ticket yet"} />`} columns=${[
      { name: "Ticket", className: "main", cell: (row) => html`<a href=${ticketLink(row.venueId, row.ticketId)}><${Words}>${row.ticketId}<//></a><small><${Words}>${row.name ?? row.ticket.ticketData.eventName}<//></small>` },
      !venueId && { name: "Venue", cell: (row) => html`<a href=${venueLink(row.venueId)}><${Words}>${row.venueId}<//></a>` },
      !eventId && { name: "Event", cell: (row) => html`<a href=${eventLink(row.venueId, row.eventId)}><${Words}>${row.eventId}<//></a>` },
      { name: "State", cell: (row) => html`<${MintStatus} status=${row.status} />${row.error && html`<small><${Words}>${failureWords(row)}<//></small>`}` },
      { name: "Accepted", cell: (row) => html`<${Time} at=${row.createdAt} />` },
      { name: "Settled", cell: (row) => html`<${Time} at=${row.settledAt} />` },
      { name: "Cost", className: "right", cell: (row) => html`<${Lamports} value=${row.costLamports} />` },
    ].filter(Boolean)} /><${Older} pages=${pages} />`}<//>
  <//>`;
}

const VENUES_AT_ONCE = 5;

/** What failed and is shown, to be sent again: venue by venue, as batches go. */
function SendAgain({ rows, onDone }) {
  const venues = new Map();
  for (const row of rows.filter((one) => one.retryable)) venues.set(row.venueId, [...(venues.get(row.venueId) ?? []), row.ticketId]);
  if (venues.size === 0) return null;
  return html`<${ReadOnlyHint} /><ul class="plain">${[...venues].slice(0, VENUES_AT_ONCE).map(([venueId, ticketIds]) => html`<li class="line" key=${venueId}><${Words}>${venueId}<//>
    <${Retry} venueId=${venueId} ticketIds=${ticketIds} onDone=${onDone} /></li>`)}</ul>`;
}
