// Which venue is to be compared with the chain.
import { usePages } from "../data.js";
import { count } from "../format.js";
import { html } from "../html.js";
import { Card, Empty, Loaded, Older, Page, Table, Words } from "../parts.js";
import { reconcileLink } from "../router.js";

export function Reconciliation() {
  const pages = usePages("admin/venues", { limit: 100 }, { list: "venues", cursor: "nextAfter", parameter: "after" });
  return html`<${Page} title="Books and chain" lead="Every ticket of a venue is looked up on the chain and compared with the books. At night the box does it by itself." />
    <${Card}><${Loaded} from=${pages}>${() => html`<${Table} label="Venues" rows=${pages.rows} rowKey=${(row) => row.venueId} empty=${html`<${Empty} title="No venue yet" />`} columns=${[
      { name: "Venue", className: "main", cell: (row) => html`<a href=${reconcileLink(row.venueId)}><${Words}>${row.venueId}<//></a>` },
      { name: "Tickets", className: "right", cell: (row) => count(row.totalMints) },
      { name: "Minted, say the books", className: "right", cell: (row) => count(row.successfulMints) },
    ]} /><${Older} pages=${pages} what="More venues" />`}<//><//>`;
}
