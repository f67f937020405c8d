// Who changed what, when and from where.
import { usePages } from "../data.js";
import { html } from "../html.js";
import { Card, Empty, Loaded, Older, Page, Status, Table, Time, Words } from "../parts.js";

export function Audit() {
  const pages = usePages("admin/audit", { limit: 50 }, { list: "entries", every: 10_000 });
  return html`<${Page} title="Audit trail" lead="Every request that may change something, and every key that was made or revoked." />
    <${Card}><${Loaded} from=${pages} rows=${6}>${() => html`<${Table} label="Audit trail" rows=${pages.rows} rowKey=${(row) => `${row.requestId}${row.at}${row.action}`} empty=${html`<${Empty} title="Nothing was changed yet" />`} columns=${[
      { name: "When", className: "main", cell: (row) => html`<${Time} at=${row.at} />` },
      { name: "Who", cell: (row) => html`<${Words}>${row.actor}<//><small><${Words}>${row.client}<//></small>` },
      { name: "What", className: "wide-cell", cell: (row) => html`<code class="wrap"><${Words}>${row.action}<//></code>` },
      { name: "Outcome", className: "wide-cell", cell: (row) => html`<${Answered} row=${row} />${row.outcome && html`<small><${Words}>${row.outcome}<//></small>`}` },
    ]} /><${Older} pages=${pages} />`}<//><//>`;
}

function Answered({ row }) {
  if (row.status === null) return row.outcome === null ? html`<${Status} kind="unknown">Under way, or cut off<//>` : html`<${Status} kind="ok">Done<//>`;
  return row.status < 400 ? html`<${Status} kind="ok">${row.status}<//>` : html`<${Status} kind="bad">${row.status}<//>`;
}
