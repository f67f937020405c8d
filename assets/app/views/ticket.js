// One ticket: what became of it and when, where it is, what it shows.
import { segment } from "../api.js";
import { useData } from "../data.js";
import { counted, sol } from "../format.js";
import { html, useState } from "../html.js";
import { Card, Copy, Crumbs, Explorer, Fact, Facts, failureWords, Icon, Lamports, Loaded, MintStatus, Note, Page, Time, Words } from "../parts.js";
import { eventLink, venueLink } from "../router.js";
import { Retry } from "./retry.js";

export function Ticket({ venueId, ticketId }) {
  const mint = useData(`admin/mints/${segment(ticketId)}`, { venueId }, { every: 5_000 });
  return html`<${Crumbs}>${[html`<a href="#/venues">Venues</a>`, html`<a href=${venueLink(venueId)}><${Words}>${venueId}<//></a>`,
      mint.data && html`<a href=${eventLink(venueId, mint.data.eventId)}><${Words}>${mint.data.eventId}<//></a>`, html`<span aria-current="page"><${Words}>${ticketId}<//></span>`]}<//>
    <${Page} title=${ticketId} lead=${mint.data && html`<${Words}>${mint.data.name ?? mint.data.ticket.ticketData.eventName}<//>`} />
    <${Loaded} from=${mint} rows=${6}>${(data) => html`<${Body} mint=${data} reload=${mint.reload} />`}<//>`;
}

function Body({ mint, reload }) {
  const { ticket } = mint;
  return html`<div class="grid">
    <div class="column wide">
      <${Card} title="State" aside=${html`<${MintStatus} status=${mint.status} />`}>
        ${mint.error && html`<${Note} kind="bad" title="It was not minted" actions=${mint.retryable && html`<${Retry} venueId=${mint.venueId} ticketIds=${[mint.ticketId]} onDone=${reload} />`}>
          <p><${Words}>${failureWords(mint)}<//></p><p class="fine">${mint.code} · ${mint.retryable ? "Sending it again can help." : "Sending it again as it is cannot help."}</p><//>`}
        <${History} mint=${mint} />
      <//>
      <${Card} title="On the chain"><${Facts}>
        <${Fact} name="Address of the NFT" hint=${mint.status === "minted" ? null : "Computed: known before it is minted"}><${Copy} text=${mint.mintAddress} label="the address of the NFT" head=${10} tail=${10} /> ${mint.status === "minted" && html`<${Explorer} kind="address" value=${mint.mintAddress} />`}<//>
        <${Fact} name="Signature"><${Copy} text=${mint.signature} label="the signature" head=${10} tail=${10} /> <${Explorer} kind="transaction" value=${mint.signature} /><//>
        <${Fact} name="Held by" hint=${mint.ownerAddress ? "when it was minted" : null}>${mint.ownerAddress ? html`<${Copy} text=${mint.ownerAddress} label="the holder’s address" head=${10} tail=${10} />` : "the box’s wallet"}<//>
        <${Fact} name="Slot">${mint.slot ?? "–"}<//>
        <${Fact} name="Cost"><${Lamports} value=${mint.costLamports} /><//>
        ${mint.adopted && html`<${Fact} name="Adopted">Found on the chain, minted by an earlier life of these books<//>`}
      <//><//>
      <${Card} title="As it was sold"><${Facts}>
        ${mint.ticket.userId && html`<${Fact} name="User"><${Words}>${ticket.userId}<//><//>`}
        ${Object.entries(ticket.ticketData).map(([name, value]) => html`<${Fact} name=${html`<${Words}>${name}<//>`} key=${name}><${Words}>${String(value)}<//><//>`)}
      <//><//>
    </div>
    <div class="column">
      <${Metadata} mint=${mint} />
    </div>
  </div>`;
}

const ATTEMPTS = {
  recorded: ["wait", "Signed and on disk, not sent yet"], sent: ["busy", "Sent"], unknown: ["unknown", "Sent, and nothing heard of it"],
  landed: ["ok", "Landed"], rejected: ["bad", "Rejected by the chain"], dead: ["off", "Expired: proven that it can never land"],
};

function History({ mint }) {
  const attempts = useData(`admin/mints/${segment(mint.ticketId)}/attempts`, { venueId: mint.venueId }, { every: mint.status === "minted" ? null : 5_000 });
  return html`<ol class="history">
    <li><${Icon} kind="wait" /><div><strong>Accepted</strong> <${Time} at=${mint.createdAt} /></div></li>
    ${attempts.data?.attempts.map((one) => {
      const [kind, word] = ATTEMPTS[one.state] ?? ["unknown", one.state];
      return html`<li key=${one.signature}><${Icon} kind=${kind} /><div><strong>${word}</strong> <${Time} at=${one.settledAt ?? one.recordedAt} />
        <p class="fine">Signed <${Time} at=${one.recordedAt} />, ${one.tickets > 1 ? `for ${counted(one.tickets, "ticket")} together, ` : ""}fee ${sol(one.feeLamports)}${one.slot === null ? "" : `, slot ${one.slot}`}</p>
        <p class="fine"><${Copy} text=${one.signature} label="the attempt’s signature" /> <${Explorer} kind="transaction" value=${one.signature} /></p>
        ${one.error && html`<p class="bad-text"><${Words}>${one.error}<//></p>`}</div></li>`;
    })}
    ${attempts.problem && html`<li><${Icon} kind="unknown" /><div><p class="fine">The attempts cannot be shown: <${Words}>${attempts.problem.message}<//></p></div></li>`}
    ${mint.settledAt && html`<li><${Icon} kind=${mint.status === "minted" ? "ok" : "bad"} /><div><strong>${mint.status === "minted" ? "Minted" : "Given up"}</strong> <${Time} at=${mint.settledAt} /></div></li>`}
    ${!mint.settledAt && html`<li><${Icon} kind="busy" /><div><strong>${mint.status === "minting" ? "Being minted" : "Waits for its turn"}</strong></div></li>`}
  </ol>`;
}

/** What the box itself holds, and nothing from elsewhere: the page loads from no other host. */
function Metadata({ mint }) {
  const cid = cidOf(mint.metadataUri);
  const content = useData(`ipfs/${cid}`, {}, { skip: !cid });
  if (!cid) return html`<${Card} title="What it shows"><p class="fine">Its metadata is not made yet.</p><//>`;
  return html`<${Card} title="What it shows"><${Loaded} from=${content}>${(data) => html`
    <div class="ticket-image"><${ContentImage} uri=${data.image} alt=${`The image of ${mint.ticketId}`} /></div>
    <p><strong><${Words}>${data.name}<//></strong></p>${data.description && html`<p><${Words}>${data.description}<//></p>`}
    <${Facts}>${(Array.isArray(data.attributes) ? data.attributes : []).map((one, index) => html`<${Fact} key=${index} name=${html`<${Words}>${String(one.trait_type ?? "")}<//>`}><${Words}>${String(one.value ?? "")}<//><//>`)}<//>
    <p class="fine"><${Copy} text=${mint.metadataUri} label="the metadata’s address" head=${14} tail=${6} /> <a href=${`ipfs/${cid}`} target="_blank" rel="noopener noreferrer">as JSON</a></p>`}<//><//>`;
}

/** Of an address that the box itself may serve. */
export const cidOf = (uri) => (typeof uri === "string" ? (uri.match(/^ipfs:\/\/([A-Za-z0-9]+)$/)?.[1] ?? null) : null);

export function ContentImage({ uri, alt }) {
  const [gone, setGone] = useState(false);
  const cid = cidOf(uri);
  if (!cid || gone) return html`<p class="fine">${uri ? html`Its image is kept elsewhere: <code><${Words}>${String(uri)}<//></code>` : "It has no image."}</p>`;
  return html`<img src=${`ipfs/${cid}`} alt=${alt} loading="lazy" onError=${() => setGone(true)} />`;
}

