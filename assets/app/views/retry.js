// Failed tickets are sent again: as they were, once the price is agreed to.
import { AskFirst } from "../actions.js";
import { act, get, segment } from "../api.js";
import { count, counted, sol } from "../format.js";
import { html } from "../html.js";
import { Words } from "../parts.js";
import { atMost, mostFor } from "../price.js";
import { batchLink, go } from "../router.js";

/** Finds what was sold, in the books: the failed tickets of the venue, page by page, until all are found. */
async function asSold(venueId, ticketIds) {
  if (ticketIds.length === 1) return [(await get(`admin/mints/${segment(ticketIds[0])}`, { venueId })).ticket];
  const wanted = new Set(ticketIds);
  const found = new Map();
  let cursor = null;
  do {
    const page = await get("admin/mints", { venueId, status: "failed", limit: 500, cursor });
    for (const mint of page.mints) if (wanted.has(mint.ticketId)) found.set(mint.ticketId, mint.ticket);
    cursor = page.nextCursor;
  } while (cursor && found.size < wanted.size);
  return ticketIds.map((id) => found.get(id)).filter(Boolean);
}

export function Retry({ venueId, ticketIds, onDone }) {
  const look = async () => {
    const tickets = await asSold(venueId, ticketIds);
    const dry = tickets.length ? (await act("POST", "admin/batch-mint", { query: { dryRun: "true" }, body: { venueId, tickets } })).body : null;
    return { tickets, dry };
  };
  const question = ({ tickets, dry }) => {
    const price = dry?.estimate.estimatedLamports ?? 0;
    return {
      title: `Send ${counted(tickets.length, "ticket")} again?`,
      confirm: price ? `Send again for ${sol(price)}` : "Send again",
      ready: dry !== null && !dry.refusal,
      words: dry === null
        ? html`<p>None of them is failed any more: there is nothing to send.</p>`
        : html`<p>They are sent as they were, to <strong><${Words}>${venueId}<//></strong>, for <strong>${sol(price)}</strong>${price > 0 && html`, and ${atMost(price)}`}. What the chain holds by now is found there, and neither minted nor paid for twice.</p>
          ${dry.refusal && html`<p class="bad-text">The box would refuse: <${Words}>${dry.refusal}<//></p>`}`,
    };
  };
  const request = ({ tickets, dry }) => ["POST", "admin/batch-mint", { body: { venueId, tickets, maxLamports: mostFor(dry.estimate.estimatedLamports) }, headers: { prefer: "respond-async" } }];
  const sent = ({ body }) => {
    onDone?.();
    if (body?.batchId) go(batchLink(body.batchId));
  };
  return html`<${AskFirst} look=${look} question=${question} request=${request} onDone=${sent}>${ticketIds.length === 1 ? "Send it again" : `Send ${count(ticketIds.length)} again`}<//>`;
}
