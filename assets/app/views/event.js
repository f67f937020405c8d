// One event of a venue: its sums, its image, its tickets.
import { segment } from "../api.js";
import { useData } from "../data.js";
import { count, duration } from "../format.js";
import { html } from "../html.js";
import { Card, Crumbs, Fact, Facts, Failures, Lamports, Loaded, Page, Words } from "../parts.js";
import { venueLink } from "../router.js";
import { cidOf, ContentImage } from "./ticket.js";
import { TicketList } from "./tickets.js";

export function Event({ venueId, eventId, query }) {
  return html`<${Crumbs}>${[html`<a href="#/venues">Venues</a>`, html`<a href=${venueLink(venueId)}><${Words}>${venueId}<//></a>`, html`<span aria-current="page"><${Words}>${eventId}<//></span>`]}<//>
    <${Page} title=${eventId} />
    <${Sums} venueId=${venueId} eventId=${eventId} />
    <${Image} venueId=${venueId} eventId=${eventId} />
    <${TicketList} title="Tickets" venueId=${venueId} eventId=${eventId} query=${query} place=${["venues", venueId, "events", eventId]} />`;
}

/** The list of events goes by id: the one that comes next after what stands right before this id is this one. */
function Sums({ venueId, eventId }) {
  const events = useEvent(venueId, eventId);
  return html`<${Loaded} from=${events}>${(data) => {
    const event = data.events.find((one) => one.eventId === eventId);
    if (!event) return html`<p class="fine">No sums are known of this event.</p>`;
    return html`<${Card} className="flat"><${Facts}>
      <${Fact} name="Minted">${count(event.successfulMints)}<//><${Fact} name="Failed"><${Failures} value=${event.failedMints} /><//>
      <${Fact} name="Time per ticket">${duration(event.avgMintTimeSeconds)}<//>
      <${Fact} name="Spent"><${Lamports} value=${event.spentLamports} /><//><${Fact} name="Estimated"><${Lamports} value=${event.estimatedLamports} /><//>
    <//><//>`;
  }}<//>`;
}

function useEvent(venueId, eventId) {
  const letters = [...eventId];
  const last = letters.pop().codePointAt(0);
  // Ids are compared byte by byte: the greatest text below this one that can be named ends in the letter before, and goes on for long.
  const before = last > 1 ? letters.join("") + String.fromCodePoint(last === 0xe000 ? 0xd7ff : last - 1) + "\u{10ffff}" : letters.join("");
  return useData(`admin/venues/${segment(venueId)}/events`, { limit: 5, after: before }, { every: 10_000 });
}

/** What its newest ticket shows. */
function Image({ venueId, eventId }) {
  const newest = useData("admin/mints", { venueId, eventId, limit: 1 });
  const cid = cidOf(newest.data?.mints[0]?.metadataUri);
  const metadata = useData(`ipfs/${cid}`, {}, { skip: !cid });
  if (metadata.data === null) return null;
  return html`<${Card} title="Image"><div class="ticket-image"><${ContentImage} uri=${metadata.data.image} alt=${`The image of ${eventId}’s newest ticket`} /></div>
    <p class="fine">As the newest ticket shows it.</p><//>`;
}
