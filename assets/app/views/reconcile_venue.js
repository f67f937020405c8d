// Books and chain of one venue: compare, what differs and why, repair.
import { act, get, segment } from "../api.js";
import { usePages } from "../data.js";
import { count, counted, duration, percent } from "../format.js";
import { html, useState } from "../html.js";
import { ActionButton, ActionProblem, Card, Confirm, Copy, Crumbs, Empty, Fact, Facts, Loaded, Note, Older, Page, ReadOnlyHint, Status, Table, Time, useAction, Words } from "../parts.js";
import { ticketLink, venueLink } from "../router.js";

export const KINDS = {
  not_on_chain: "Not on the chain", minted_all_the_same: "Minted all the same", wrong_signature: "Another signature", wrong_slot: "Another slot", wrong_time: "Another time",
  wrong_address: "Another address", wrong_name: "Another name", wrong_uri: "Another metadata address", wrong_symbol: "Another symbol", wrong_authority: "Another authority",
  wrong_creator: "Another creator", wrong_supply: "Another supply", mint_missing: "The mint is missing", mint_foreign: "Minted by somebody else", metadata_missing: "On-chain metadata is missing",
  content_missing: "Published metadata is missing", content_altered: "Published metadata was altered", ticket_altered: "The ticket’s own data was altered",
};
const REMEDIES = {
  adopt: "Is taken into the books as the chain has it", correct: "The books are corrected from the chain", queue: "Is queued to be minted: it provably does not exist",
  publish: "Its metadata is published again", refuse: "Nothing is done by itself",
};
const DIFFERENCES_SHOWN = 200;

export function ReconcileVenue({ venueId }) {
  const history = usePages(`admin/reconcile/${segment(venueId)}/history`, { limit: 20 }, { list: "reports" });
  const compare = useAction();
  const [report, setReport] = useState(null);
  const [repaired, setRepaired] = useState(null);
  const run = async () => {
    const result = await compare.run("POST", `admin/reconcile/${segment(venueId)}`);
    if (!result) return;
    setReport({ ...result.body, fresh: true });
    history.reload();
  };
  const open = async (entry) => {
    const page = await get(`admin/reconcile/${segment(venueId)}/history`, { limit: 100, details: "true" });
    const found = page.reports.find((one) => one.reportId === entry.reportId);
    if (found?.report) setReport({ ...found.report, reportDate: entry.reportDate });
  };
  return html`<${Crumbs}>${[html`<a href="#/reconciliation">Books and chain</a>`, html`<span aria-current="page"><${Words}>${venueId}<//></span>`]}<//>
    <${Page} title=${venueId} lead=${html`<a href=${venueLink(venueId)}>The venue</a>`} actions=${html`<${ActionButton} kind="primary" busy=${compare.busy} onClick=${run}>${compare.busy ? "Comparing…" : "Compare now"}<//>`} />
    <${ReadOnlyHint} />
    <${ActionProblem} problem=${compare.problem} />
    <div role="status">${repaired && html`<${Repaired} repair=${repaired} />`}${compare.busy && html`<p class="fine">Every ticket is looked up on the chain. Ten thousand take some minutes on a small plan; minting goes first.</p>`}</div>
    ${report && html`<${Report} report=${report} venueId=${venueId} onFixed=${(repair) => { setRepaired(repair); run(); }} />`}
    <${Card} title="Reports so far"><${Loaded} from=${history}>${() => html`<${Table} label="Reports" rows=${history.rows} rowKey=${(row) => row.reportId} empty=${html`<${Empty} title="Never compared yet" />`} columns=${[
      { name: "When", className: "main", cell: (row) => html`<button type="button" class="link" onClick=${() => open(row)}><${Time} at=${row.reportDate} /></button>` },
      { name: "Outcome", cell: (row) => html`<${Outcome} row=${row} />` },
      { name: "Compared", className: "right", cell: (row) => count(row.totalChecked) },
      { name: "Confirmed", className: "right", cell: (row) => count(row.confirmed) },
      { name: "Not found", className: "right", cell: (row) => count(row.notFound) },
      { name: "Cannot be told", className: "right", cell: (row) => count(row.pending) },
      { name: "Differ", className: "right", cell: (row) => html`<span class=${row.discrepancyCount ? "bad-text" : ""}>${count(row.discrepancyCount)}</span>` },
    ]} /><${Older} pages=${history} />`}<//><//>`;
}

function Outcome({ row }) {
  if (row.discrepancyCount > 0) return html`<${Status} kind="bad">${counted(row.discrepancyCount, "ticket")} ${row.discrepancyCount === 1 ? "differs" : "differ"}<//>`;
  if (row.pending > 0) return html`<${Status} kind="wait">No difference found, ${count(row.pending)} cannot be told<//>`;
  return html`<${Status} kind="ok">Books and chain agree<//>`;
}

function Report({ report, venueId, onFixed }) {
  const { discrepancies, reasons, news, unknownToBooks } = report;
  return html`<${Card} title=${report.fresh ? "The report" : html`Report of <${Time} at=${report.reportDate} />`} aside=${html`<${Outcome} row=${report} />`}>
    <${Facts}>
      <${Fact} name="Compared">${count(report.totalChecked)}<//><${Fact} name="Confirmed" hint="books and chain agree">${count(report.confirmed)}<//>
      <${Fact} name="Not found" hint="proven not to exist">${count(report.notFound)}<//><${Fact} name="Cannot be told now">${count(report.pending)}<//><${Fact} name="Differ">${count(report.errors)} <small>${percent(report.discrepancyRate)}</small><//>
      <${Fact} name="Took">${duration(report.durationSeconds)}<//>
    <//>
    ${discrepancies.length > 0 && html`<h3>What differs</h3><ul class="differences">${discrepancies.slice(0, DIFFERENCES_SHOWN).map((one, index) => html`<${Difference} one=${one} key=${index} />`)}</ul>
      ${discrepancies.length > DIFFERENCES_SHOWN && html`<p class="fine">And ${count(discrepancies.length - DIFFERENCES_SHOWN)} more.</p>`}
      <${Repair} venueId=${venueId} onFixed=${onFixed} />`}
    ${reasons.length > 0 && html`<${Notes} title="Cannot be told now, because" notes=${reasons} venueId=${venueId} />`}
    ${news.length > 0 && html`<${Notes} title="News of tickets" notes=${news} venueId=${venueId} />`}
    ${unknownToBooks.length > 0 && html`<details><summary>${counted(unknownToBooks.length, "NFT")} of this wallet that no books know</summary><ul class="plain">${unknownToBooks.map((one) => html`<li class="line" key=${one.mintAddress}><${Words}>${one.name}<//><${Copy} text=${one.mintAddress} label="its address" /></li>`)}</ul></details>`}
    ${report.searchIncomplete && html`<p class="fine">The search for unknown NFTs is not complete: <${Words}>${report.searchIncomplete}<//></p>`}
  <//>`;
}

function Difference({ one }) {
  return html`<li><div class="line"><a href=${ticketLink(one.venueId, one.ticketId)}><${Words}>${one.ticketId}<//></a><${Status} kind=${one.remedy.action === "refuse" ? "bad" : "warn"}>${KINDS[one.kind] ?? one.kind.replaceAll("_", " ")}<//></div>
    <p><${Words}>${one.explanation}<//></p>
    ${(one.books !== null || one.chain !== null) && html`<dl class="versus"><div><dt>Books</dt><dd><code><${Words}>${one.books ?? "–"}<//></code></dd></div><div><dt>Chain</dt><dd><code><${Words}>${one.chain ?? "–"}<//></code></dd></div></dl>`}
    <p class="fine">Repair: ${REMEDIES[one.remedy.action] ?? one.remedy.action}${one.remedy.reason && html`. <${Words}>${one.remedy.reason}<//>`}</p></li>`;
}

function Notes({ title, notes, venueId }) {
  return html`<details><summary>${title} (${count(notes.length)})</summary><ul class="plain">${notes.slice(0, DIFFERENCES_SHOWN).map((note, index) => html`<li key=${index}><a href=${ticketLink(venueId, note.ticketId)}><${Words}>${note.ticketId}<//></a>: <${Words}>${note.text}<//></li>`)}</ul></details>`;
}

/** Repair looks anew first; what it would do is shown, and asked. */
function Repair({ venueId, onFixed }) {
  const action = useAction();
  const [state, setState] = useState({ busy: false, problem: null, plan: null });
  const ask = async () => {
    setState({ busy: true, problem: null, plan: null });
    action.clear();
    try {
      const plan = (await act("POST", `admin/reconcile/${segment(venueId)}/fix`, { query: { dryRun: "true" }, body: {} })).body;
      setState({ busy: false, problem: null, plan });
    } catch (problem) {
      setState({ busy: false, problem, plan: null });
    }
  };
  const fix = async () => {
    const result = await action.run("POST", `admin/reconcile/${segment(venueId)}/fix`, { body: {} });
    if (!result) return;
    setState({ busy: false, problem: null, plan: null });
    onFixed(result.body);
  };
  const { plan } = state;
  return html`<div class="actions"><${ActionButton} kind="primary" busy=${state.busy} onClick=${ask}>Repair…<//></div>
    <${ActionProblem} problem=${state.problem} />
    ${plan && html`<${Confirm} title="Repair the books?" confirm=${plan.queued ? `Repair, and mint ${counted(plan.queued, "ticket")}` : "Repair the books"} action=${action} onConfirm=${fix} onClose=${() => setState({ ...state, plan: null })}>
      <p>Books and chain were compared anew. Repair would do this: ${words(plan)}.</p>
      <p>${plan.queued ? html`<strong>${counted(plan.queued, "ticket")} would be minted, and paid for</strong>, as far as wallet and limits reach.` : "It costs no SOL."} A second NFT of a ticket cannot come of it.</p>
    <//>`}`;
}

function Repaired({ repair }) {
  return html`<${Note} kind=${repair.refused.length ? "warn" : "ok"} title="Repaired"><p>${words(repair)}. What was queued or adopted is settled a moment later.</p>
    ${repair.refused.length > 0 && html`<ul class="plain">${repair.refused.map((one, index) => html`<li key=${index}><${Words}>${one.ticketId}<//>: <${Words}>${one.reason}<//></li>`)}</ul>`}<//>`;
}

function words(one) {
  const all = [[one.adopted, "adopted"], [one.corrected, "corrected"], [one.queued, "queued to be minted"], [one.published, "published again"], [one.refused.length, "left alone"]];
  return all.filter(([number]) => number > 0).map(([number, what]) => `${count(number)} ${what}`).join(", ") || "nothing";
}
