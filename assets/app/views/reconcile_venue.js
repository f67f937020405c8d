// Books and chain of one venue: compare, what differs and why, repair.
import { ActionButton, ActionProblem, AsBefore, AskFirst, CLICK_MS, ReadOnlyHint, useAction } from "../actions.js";
import { act, asProblem, get, Problem, segment } from "../api.js";
import { useData, usePages } from "../data.js";
import { count, counted, duration, percent } from "../format.js";
import { html, useEffect, useState } from "../html.js";
import { Card, Copy, Crumbs, Empty, Fact, Facts, Loaded, Note, Older, Page, ProblemNote, Status, Table, Time, Words } from "../parts.js";
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

const PIECE = 500;

/**
 * One report with its differences. The box names reports by where they stand: the list is counted up to there, and one asked for. A
 * report that was made meanwhile moves the others.
 */
async function reportOf(venueId, reportId, index) {
  const path = `admin/reconcile/${segment(venueId)}/history`;
  for (let at = index; at < index + 10; at += 1) {
    let cursor = null;
    for (let left = at; left > 0; left -= PIECE) cursor = (await get(path, { limit: Math.min(left, PIECE), cursor })).nextCursor;
    if (at > 0 && cursor === null) break;
    const [found] = (await get(path, { limit: 1, details: "true", cursor })).reports;
    if (found?.reportId === reportId && found.report) return found.report;
  }
  throw new Problem(404, "This report cannot be found any more, or its differences are not kept. Compare anew.");
}

export function ReconcileVenue({ venueId }) {
  const history = usePages(`admin/reconcile/${segment(venueId)}/history`, { limit: 20 }, { list: "reports" });
  const compare = useAction({ lastsMs: CLICK_MS });
  const [report, setReport] = useState(null);
  const [repaired, setRepaired] = useState(null);
  const [settling, setSettling] = useState(false);
  const [opening, setOpening] = useState({ id: null, problem: null });
  const run = async () => {
    const result = await compare.run("POST", `admin/reconcile/${segment(venueId)}`);
    if (!result) return;
    setReport({ ...result.body, fresh: true });
    history.reload();
  };
  // What was queued or adopted is settled by minting: before that, a new look says nothing.
  const sums = useData(`admin/stats/${segment(venueId)}`, {}, { every: 2_000, skip: !settling });
  const over = settling && sums.data?.pendingMints === 0 && !compare.busy;
  useEffect(() => {
    if (!over) return;
    setSettling(false);
    run();
  }, [over]);
  const fixed = (result) => {
    setRepaired(result);
    if (result.body.queued + result.body.adopted === 0) return run();
    setReport(null);
    return setSettling(true);
  };
  const open = async (entry, index) => {
    setOpening({ id: entry.reportId, problem: null });
    try {
      const found = await reportOf(venueId, entry.reportId, index);
      setReport({ ...found, reportDate: entry.reportDate });
      setOpening({ id: null, problem: null });
    } catch (error) {
      setOpening({ id: null, problem: asProblem(error) });
    }
  };
  return html`<${Crumbs}>${[html`<a href="#/reconciliation">Books and chain</a>`, html`<span aria-current="page"><${Words}>${venueId}<//></span>`]}<//>
    <${Page} title=${venueId} lead=${html`<a href=${venueLink(venueId)}>The venue</a>`} actions=${html`<${ActionButton} kind="primary" busy=${compare.busy} onClick=${run}>${compare.busy ? "Comparing…" : "Compare now"}<//>`} />
    <${ReadOnlyHint} />
    <${ActionProblem} problem=${compare.problem} /><${AsBefore} result=${compare.result} />
    <div role="status">${repaired && html`<${Repaired} result=${repaired} />`}${settling && html`<p class="fine">What was queued or adopted is being settled; then books and chain are compared again.</p>`}${compare.busy && html`<p class="fine">Every ticket is looked up on the chain. Ten thousand take some minutes on a small plan; minting goes first.</p>`}</div>
    ${report && html`<${Report} report=${report} venueId=${venueId} onFixed=${fixed} />`}
    <${Card} title="Reports so far"><${ProblemNote} problem=${opening.problem} /><${Loaded} from=${history}>${() => html`<${Table} label="Reports" rows=${history.rows} rowKey=${(row) => row.reportId} empty=${html`<${Empty} title="Never compared yet" />`} columns=${[
      { name: "When", className: "main", cell: (row) => html`<button type="button" class="link" disabled=${opening.id !== null} onClick=${() => open(row, history.rows.indexOf(row))}><${Time} at=${row.reportDate} /></button>` },
      { name: "Outcome", cell: (row) => html`<${Agreement} row=${row} />` },
      { name: "Compared", className: "right", cell: (row) => count(row.totalChecked) },
      { name: "Confirmed", className: "right", cell: (row) => count(row.confirmed) },
      { name: "Not found", className: "right", cell: (row) => count(row.notFound) },
      { name: "Cannot be told", className: "right", cell: (row) => count(row.pending) },
      { name: "Differ", className: "right", cell: (row) => html`<span class=${row.discrepancyCount ? "bad-text" : ""}>${count(row.discrepancyCount)}</span>` },
    ]} /><${Older} pages=${history} />`}<//><//>`;
}

function Agreement({ row }) {
  if (row.discrepancyCount > 0) return html`<${Status} kind="bad">${counted(row.discrepancyCount, "ticket")} ${row.discrepancyCount === 1 ? "differs" : "differ"}<//>`;
  if (row.pending > 0) return html`<${Status} kind="wait">No difference found, ${count(row.pending)} cannot be told<//>`;
  return html`<${Status} kind="ok">Books and chain agree<//>`;
}

function Report({ report, venueId, onFixed }) {
  const { discrepancies, reasons, news, unknownToBooks } = report;
  return html`<${Card} title=${report.fresh ? "The report" : html`Report of <${Time} at=${report.reportDate} />`} aside=${html`<${Agreement} row=${report} />`}>
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
  const path = `admin/reconcile/${segment(venueId)}/fix`;
  const look = async () => (await act("POST", path, { query: { dryRun: "true" }, body: {} })).body;
  const question = (plan) => ({
    title: "Repair the books?",
    confirm: plan.queued ? `Repair, and mint ${counted(plan.queued, "ticket")}` : "Repair the books",
    ready: plan.plan.length > 0,
    words: html`<p>Books and chain were compared anew. Repair would do this: ${words(plan)}.</p>
      <p>${plan.queued ? html`<strong>${counted(plan.queued, "ticket")} would be minted, and paid for</strong>, as far as wallet and limits reach.` : "It costs no SOL."} A second NFT of a ticket cannot come of it.</p>`,
  });
  return html`<div class="actions"><${AskFirst} kind="primary" look=${look} question=${question} request=${() => ["POST", path, { body: {} }]} onDone=${onFixed}>Repair…<//></div>`;
}

function Repaired({ result }) {
  const repair = result.body;
  return html`<${AsBefore} result=${result} /><${Note} kind=${repair.refused.length ? "warn" : "ok"} title="Repaired"><p>${words(repair)}.</p>
    ${repair.refused.length > 0 && html`<ul class="plain">${repair.refused.map((one, index) => html`<li key=${index}><${Words}>${one.ticketId}<//>: <${Words}>${one.reason}<//></li>`)}</ul>`}<//>`;
}

function words(one) {
  const all = [[one.adopted, "adopted"], [one.corrected, "corrected"], [one.queued, "queued to be minted"], [one.published, "published again"], [one.refused.length, "left alone"]];
  return all.filter(([number]) => number > 0).map(([number, what]) => `${count(number)} ${what}`).join(", ") || "nothing";
}
