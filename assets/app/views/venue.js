// One venue: its sums, its events, its charts, its tickets.
import { useData, usePages } from "../data.js";
import { count, duration, percent } from "../format.js";
import { html } from "../html.js";
import { BatchTable, Card, Crumbs, Empty, Fact, Facts, Failures, Lamports, Loaded, Older, Page, ProblemNote, Table, Words } from "../parts.js";
import { eventLink, link, reconcileLink, replaceQuery } from "../router.js";
import { RangePicker, rangeOf, Trends } from "./charts.js";

export function Venue({ venueId, query }) {
  const range = rangeOf(query);
  const stats = useData(`admin/stats/${encodeURIComponent(venueId)}`, {}, { every: 10_000 });
  const unknown = stats.problem?.status === 404;
  return html`<${Crumbs}>${[html`<a href="#/venues">Venues</a>`, html`<span aria-current="page"><${Words}>${venueId}<//></span>`]}<//>
    <${Page} title=${venueId} actions=${!unknown && html`<a class="button" href=${reconcileLink(venueId)}>Compare with the chain</a><a class="button" href=${link(["tickets"], { venueId })}>Tickets</a>`} />
    ${unknown ? html`<${ProblemNote} problem=${stats.problem} />` : html`<${Loaded} from=${stats}>${(data) => html`<${Card} className="flat"><${Facts}>
      <${Fact} name="Minted">${count(data.successfulMints)}<//><${Fact} name="Waiting">${count(data.pendingMints)}<//><${Fact} name="Failed"><${Failures} value=${data.failedMints} /><//>
      <${Fact} name="Success">${percent(data.successRate)}<//><${Fact} name="Time per ticket">${duration(data.avgMintTimeSeconds)}<//><${Fact} name="Spent"><${Lamports} value=${data.spentLamports} /><//>
    <//><//>`}<//>
    <${Events} venueId=${venueId} />
    <${VenueBatches} venueId=${venueId} />
    <div class="page-head"><h2>Over time</h2><div class="actions"><${RangePicker} range=${range} onPick=${(picked) => replaceQuery(["venues", venueId], { range: picked })} /></div></div>
    <${Trends} range=${range} venueId=${venueId} />`}`;
}

function Events({ venueId }) {
  const pages = usePages(`admin/venues/${encodeURIComponent(venueId)}/events`, { limit: 50 }, { list: "events", cursor: "nextAfter", parameter: "after", every: 15_000 });
  return html`<${Card} title="Events"><${Loaded} from=${pages}>${() => html`
    <${Table} label="Events" rows=${pages.rows} rowKey=${(row) => row.eventId} empty=${html`<${Empty} title="No event yet" />`} columns=${[
      { name: "Event", className: "main", cell: (row) => html`<a href=${eventLink(venueId, row.eventId)}><${Words}>${row.eventId}<//></a>` },
      { name: "Minted", className: "right", cell: (row) => count(row.successfulMints) },
      { name: "Failed", className: "right", cell: (row) => html`<${Failures} value=${row.failedMints} />` },
      { name: "Time per ticket", className: "right", cell: (row) => duration(row.avgMintTimeSeconds) },
      { name: "Spent", className: "right", cell: (row) => html`<${Lamports} value=${row.spentLamports} />` },
      { name: "Estimated", className: "right", cell: (row) => html`<${Lamports} value=${row.estimatedLamports} />` },
    ]} /><${Older} pages=${pages} what="More events" />`}<//><//>`;
}

function VenueBatches({ venueId }) {
  const batches = useData("admin/batches", { venueId, limit: 5 }, { every: 10_000 });
  return html`<${Card} title="Latest batches" aside=${html`<a href=${link(["batches"], { venueId })}>All of this venue</a>`}><${Loaded} from=${batches}>${(data) => html`<${BatchTable} batches=${data.batches} />`}<//><//>`;
}
