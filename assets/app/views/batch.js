// One batch: its progress as it happens, and what became of each ticket.
import { ReadOnlyHint } from "../actions.js";
import { get, segment } from "../api.js";
import { csv, download } from "../csv.js";
import { about, count, counted, duration, percent } from "../format.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { lend } from "../live.js";
import { BatchStatus, Card, Copy, Crumbs, Empty, Explorer, Fact, Facts, failureWords, Lamports, Note, Page, ProblemNote, Progress, Skeleton, Status, Table, Time, Words } from "../parts.js";
import { ticketLink, venueLink } from "../router.js";
import { sleep } from "../signals.js";
import { backOff, follow } from "../stream.js";
import { Retry } from "./retry.js";

const SHOWN_AT_ONCE = 100;
const DRAW_EVERY_MS = 200;

const BLANK = { batch: null, settled: [], successful: [], failed: [], forecast: null, listed: false, problem: null, nextAt: null, lost: null };

/**
 * The batch, followed: its sums at once, then each ticket as it is settled, from the first. A cut is made up for by the stream itself
 * (`Last-Event-ID`). The lists of a finished batch are read in one go.
 */
function useBatch(id) {
  const [state, setState] = useState(BLANK);
  const [round, setRound] = useState(0);
  useEffect(() => {
    const controller = new AbortController();
    const { signal } = controller;
    const found = { ...BLANK };
    let timer = null;
    const draw = () => {
      timer = null;
      if (!signal.aborted) setState({ ...found, successful: [...found.successful], failed: [...found.failed] });
    };
    const soon = () => (timer ??= setTimeout(draw, DRAW_EVERY_MS));
    const readAll = async () => {
      const all = await get(`admin/batches/${segment(id)}`, {}, { signal });
      Object.assign(found, { batch: all, successful: all.successful, failed: all.failed, forecast: all.forecast, listed: true, problem: null, nextAt: null });
      draw();
    };
    const readOn = async () => {
      const batch = await get(`admin/batches/${segment(id)}`, { entries: "false" }, { signal });
      // The stream tells all tickets, from the first.
      Object.assign(found, { batch, forecast: batch.forecast, settled: [], successful: [], failed: [], problem: null, nextAt: null });
      draw();
      if (batch.state === "finished") return readAll();
      let finished = false;
      const giveBack = lend();
      await follow(`admin/batches/${segment(id)}/events`, {
        signal,
        onState: (kind, problem, nextAt) => {
          found.lost = kind === "lost" ? { problem, nextAt } : null;
          draw();
        },
        onEvent: (name, data) => {
          if (name === "ticket") {
            (data.code ? found.failed : found.successful).push(data);
            found.settled.push(data);
          } else found.batch = data;
          finished ||= name === "finished";
          soon();
          return !finished;
        },
      }).finally(giveBack);
      return signal.aborted ? undefined : readAll();
    };
    (async () => {
      for (let failures = 1; !signal.aborted; failures += 1) {
        try {
          return await readOn();
        } catch (problem) {
          if (signal.aborted) return undefined;
          const passes = problem.retryable || problem.status === 429;
          const wait = passes ? backOff(failures, problem) : null;
          Object.assign(found, { problem, nextAt: wait && Date.now() + wait });
          draw();
          if (!passes) return undefined;
          await sleep(wait, signal);
        }
      }
      return undefined;
    })();
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [id, round]);
  return { ...state, reload: () => setRound((value) => value + 1) };
}

export function Batch({ id }) {
  const state = useBatch(id);
  const { batch, problem, lost } = state;
  return html`<${Crumbs}>${[html`<a href="#/batches">Batches</a>`, html`<span aria-current="page"><code>${id.slice(0, 8)}…</code></span>`]}<//>
    <${Page} title=${batch ? `Batch for ${batch.venueId}` : "Batch"} lead=${html`<${Copy} text=${id} label="the batch’s id" whole />`} />
    <${ProblemNote} problem=${problem} nextAt=${state.nextAt} reload=${state.reload} />
    ${lost && html`<${Note} kind="warn" live title="The connection broke off, trying again"><p>Nothing is missed: it goes on where it was.</p><//>`}
    ${!batch ? !problem && html`<${Skeleton} rows=${6} />` : html`<div class=${lost ? "stale" : ""}><${Sums} batch=${batch} forecast=${state.forecast} known=${knownOf(state)} /></div><${Results} state=${state} batch=${batch} />`}`;
}

/** Tickets that the box had before: nothing was minted for them now. */
const knownOf = ({ successful }) => successful.filter((one) => one.replayed).length;

function Sums({ batch, forecast, known }) {
  const { total, succeeded, failed, pending, totalDuration, etaSeconds, estimatedLamports, spentLamports, maxLamports } = batch.summary;
  const settled = succeeded + failed;
  const spoken = useRef("");
  const tenth = Math.floor((10 * settled) / Math.max(total, 1));
  const said = batch.state === "finished" ? `Finished: ${count(succeeded - known)} minted, ${known ? `${count(known)} known already, ` : ""}${count(failed)} failed.` : `${tenth * 10} percent settled`;
  if (spoken.current !== said) spoken.current = said;
  return html`<${Card} className="batch-sums">
    <div class="line"><p class="amount">${count(settled)} <small>of ${count(total)}</small></p><${BatchStatus} batch=${batch} /></div>
    <${Progress} done=${succeeded} failed=${failed} total=${total} label="Progress of the batch" />
    <p class="visually-hidden" aria-live="polite">${spoken.current}</p>
    <p class="line fine"><span>${batch.state === "waiting" ? html`Begins <${Time} at=${batch.notBefore} />` : pending > 0 ? (etaSeconds > 0 ? `${about(etaSeconds)} left` : "The time that is left is not known yet") : `Took ${duration(totalDuration)}`}</span></p>
    <${Facts}>
      <${Fact} name="Minted"><${Status} kind="ok">${count(succeeded - known)}<//><//>
      ${known > 0 && html`<${Fact} name="Known already" hint="not minted, not paid for again"><${Status} kind="ok">${count(known)}<//><//>`}
      <${Fact} name="Failed"><${Status} kind=${failed ? "bad" : "ok"}>${count(failed)}<//><//>
      <${Fact} name="Waiting"><${Status} kind=${pending ? "wait" : "ok"}>${count(pending)}<//><//>
      <${Fact} name="Spent"><${Lamports} value=${spentLamports} /><//>
      <${Fact} name="Estimated"><${Lamports} value=${estimatedLamports} /><//>
      ${maxLamports !== null && html`<${Fact} name="At most"><${Lamports} value=${maxLamports} /><//>`}
      <${Fact} name="Venue"><a href=${venueLink(batch.venueId)}><${Words}>${batch.venueId}<//></a><//>
      <${Fact} name="Accepted"><${Time} at=${batch.createdAt} /><//>
      <${Fact} name="Finished"><${Time} at=${batch.finishedAt} empty="not yet" /><//>
      <${Fact} name="Speed">${totalDuration > 0 && settled ? `${(settled / totalDuration).toFixed(1)} tickets/s` : "–"}<//>
    <//>
    ${forecast && html`<details><summary>The forecast${forecast.actual ? ", and what came of it" : ""}</summary><p><${Words}>${forecast.explanation}<//></p>
      ${forecast.actual && html`<p>It took ${duration(forecast.actual.durationSeconds)}, and ${percent(100 * forecast.actual.signedAgainShare)} of the transactions were signed again${forecast.actual.withinRange === null ? "" : forecast.actual.withinRange ? ", as forecast" : ", which is outside of the forecast"}.</p>`}</details>`}
  <//>`;
}

function Results({ state, batch }) {
  const [filter, setFilter] = useState("all");
  const [shown, setShown] = useState(SHOWN_AT_ONCE);
  const { successful, failed, listed } = state;
  const picked = filter === "failed" ? failed : filter === "minted" ? successful : listed ? [...failed, ...successful] : state.settled;
  // While it runs, what was settled last comes first.
  const rows = listed ? picked : [...picked].reverse();
  const coming = !listed && successful.length + failed.length === 0 && batch.summary.succeeded + batch.summary.failed > 0;
  const retryable = batch.state === "finished" ? failed.filter((one) => one.retryable) : [];
  const pick = (next) => {
    setFilter(next);
    setShown(SHOWN_AT_ONCE);
  };
  const save = () => download(`batch-${batch.venueId}-${batch.batchId}.csv`, csv(
    ["ticketId", "status", "signature", "mintAddress", "metadataUri", "costLamports", "replayed", "adopted", "code", "error", "retryable"],
    [...successful.map((one) => [one.ticketId, "minted", one.signature, one.mintAddress, one.metadataUri, one.costLamports, one.replayed, one.adopted, "", "", ""]),
      ...failed.map((one) => [one.ticketId, "failed", "", "", "", "", "", "", one.code, one.error, one.retryable])],
  ));
  return html`<${Card} title="Tickets" aside=${html`<div class="segments" role="group" aria-label="Which tickets">${[["all", `All ${count(successful.length + failed.length)}`], ["minted", `${knownOf(state) ? "On the chain" : "Minted"} ${count(successful.length)}`], ["failed", `Failed ${count(failed.length)}`]].map(([id, name]) => html`
      <button type="button" key=${id} aria-pressed=${filter === id ? "true" : "false"} onClick=${() => pick(id)}>${name}</button>`)}</div>`}>
    <div class="actions">
      <button type="button" class="button" disabled=${successful.length + failed.length === 0} onClick=${save}>Download as CSV</button>
      ${retryable.length > 0 && html`<${Retry} venueId=${batch.venueId} ticketIds=${retryable.map((one) => one.ticketId)} onDone=${state.reload} />`}
    </div>
    ${retryable.length > 0 && html`<${ReadOnlyHint} />`}
    ${coming || (!listed && batch.state === "finished") ? html`<${Skeleton} rows=${5} />` : html`<${Table} label="What became of each ticket" rows=${rows.slice(0, shown)} rowKey=${(row) => `${row.index ?? ""}/${row.ticketId}`}
      empty=${html`<${Empty} title=${filter === "failed" ? "None failed" : "None is settled yet"} />`} columns=${[
        { name: "Ticket", className: "main", cell: (row) => html`<a href=${ticketLink(batch.venueId, row.ticketId)}><${Words}>${row.ticketId}<//></a>` },
        { name: "State", cell: (row) => (row.code ? html`<${Status} kind="bad">Failed<//><small><${Words}>${failureWords(row)}<//> <span class="nowrap">(${row.code}${row.retryable ? ", can be sent again" : ""})</span></small>` : html`<${Status} kind="ok">${row.replayed ? "Known already" : row.adopted ? "Found on the chain" : "Minted"}<//>`) },
        { name: "Address", cell: (row) => html`<${Copy} text=${row.mintAddress} label="the address of the NFT" /> <${Explorer} kind="address" value=${row.mintAddress} />` },
        { name: "Signature", cell: (row) => html`<${Copy} text=${row.signature} label="the signature" />` },
        { name: "Cost", className: "right", cell: (row) => html`<${Lamports} value=${row.costLamports} />` },
      ]} />`}
    ${rows.length > shown && html`<div class="older"><button type="button" class="button" onClick=${() => setShown(shown + 500)}>Show more</button><p class="fine">${counted(shown, "ticket")} of ${count(rows.length)} shown.</p></div>`}
  <//>`;
}
