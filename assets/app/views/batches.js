// All batches, newest first.
import { usePages } from "../data.js";
import { html } from "../html.js";
import { BatchTable, Card, Loaded, Older, Page, Words } from "../parts.js";

export function Batches({ query }) {
  const pages = usePages("admin/batches", { venueId: query.venueId, limit: 30 }, { list: "batches", every: 4_000 });
  return html`<${Page} title="Batches" lead=${query.venueId && html`Of <${Words}>${query.venueId}<//>. <a href="#/batches">Of all venues</a>`} actions=${html`<a class="button primary" href="#/mint">Mint a file</a>`} />
    <${Card}><${Loaded} from=${pages} rows=${6}>${() => html`<${BatchTable} batches=${pages.rows} withVenue /><${Older} pages=${pages} />`}<//><//>`;
}
