// All venues.
import { usePages } from "../data.js";
import { count, percent } from "../format.js";
import { html } from "../html.js";
import { Card, Empty, Failures, Lamports, Loaded, Older, Page, Table, Words } from "../parts.js";
import { venueLink } from "../router.js";

export function Venues() {
  const pages = usePages("admin/venues", { limit: 100 }, { list: "venues", cursor: "nextAfter", parameter: "after", every: 15_000 });
  return html`<${Page} title="Venues" /><${Card}><${Loaded} from=${pages}>${() => html`
    <${Table} label="Venues" rows=${pages.rows} rowKey=${(row) => row.venueId} empty=${html`<${Empty} title="No venue yet">A venue appears with its first ticket. <a href="#/mint">Mint some</a>.<//>`} columns=${[
      { name: "Venue", className: "main", cell: (row) => html`<a href=${venueLink(row.venueId)}><${Words}>${row.venueId}<//></a>` },
      { name: "Minted", className: "right", cell: (row) => count(row.successfulMints) },
      { name: "Waiting", className: "right", cell: (row) => count(row.pendingMints) },
      { name: "Failed", className: "right", cell: (row) => html`<${Failures} value=${row.failedMints} />` },
      { name: "Success", className: "right", cell: (row) => (row.successfulMints + row.failedMints ? percent((100 * row.successfulMints) / (row.successfulMints + row.failedMints)) : "–") },
      { name: "Spent", className: "right", cell: (row) => html`<${Lamports} value=${row.spentLamports} />` },
      { name: "Estimated", className: "right", cell: (row) => html`<${Lamports} value=${row.estimatedLamports} />` },
    ]} /><${Older} pages=${pages} what="More venues" />`}<//><//>`;
}
