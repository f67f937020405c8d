// Failed tickets are sent again: as they were, once the price is agreed to.
import { act, get } from "../api.js";
import { count, counted, sol } from "../format.js";
import { html, useState } from "../html.js";
import { ActionButton, ActionProblem, Confirm, useAction } from "../parts.js";
import { batchLink, go } from "../router.js";

/** Finds what was sold, in the books: the failed tickets of the venue, page by page, until all are found. */
async function asSold(venueId, ticketIds) {
  if (ticketIds.length === 1) return [(await get(`admin/mints/${encodeURIComponent(ticketIds[0])}`, { venueId })).ticket];
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
  const action = useAction();
  const [state, setState] = useState({ busy: false, problem: null, plan: null });
  const ask = async () => {
    setState({ busy: true, problem: null, plan: null });
    action.clear();
    try {
      const tickets = await asSold(venueId, ticketIds);
      const body = { venueId, tickets };
      const dry = tickets.length ? (await act("POST", "admin/batch-mint", { query: { dryRun: "true" }, body })).body : null;
      setState({ busy: false, problem: null, plan: { body, dry } });
    } catch (problem) {
      setState({ busy: false, problem, plan: null });
    }
  };
  const send = async () => {
    const result = await action.run("POST", "admin/batch-mint", { body: state.plan.body, headers: { prefer: "respond-async" } });
    if (!result) return;
    setState({ busy: false, problem: null, plan: null });
    onDone?.();
    if (result.body?.batchId) go(batchLink(result.body.batchId));
  };
  const { plan } = state;
  const price = plan?.dry?.estimate.estimatedLamports;
  return html`<${ActionButton} busy=${state.busy} onClick=${ask}>${ticketIds.length === 1 ? "Send it again" : `Send ${count(ticketIds.length)} again`}<//>
    <${ActionProblem} problem=${state.problem} />
    ${plan && html`<${Confirm} title=${`Send ${counted(plan.body.tickets.length, "ticket")} again?`} confirm=${price ? `Send again for ${sol(price)}` : "Send again"} action=${action} onConfirm=${send} onClose=${() => setState({ ...state, plan: null })}>
      ${plan.dry === null
        ? html`<p>None of them is failed any more: there is nothing to send.</p>`
        : html`<p>They are sent as they were, for at most <strong>${sol(price)}</strong>. What the chain holds by now is found there, and neither minted nor paid for twice.</p>
          ${plan.dry.refusal && html`<p class="bad-text">The box would refuse: ${plan.dry.refusal}</p>`}`}
    <//>`}`;
}
