// From a file of tickets to a batch: what is wrong with it by row, what it costs, and the agreement to pay that.
import { act, newActionKey } from "../api.js";
import { about, count, counted, sol, solShort } from "../format.js";
import { html, useId, useRef, useState } from "../html.js";
import { ActionButton, ActionProblem, Card, Dialog, Fact, Facts, Note, Page, Progress, ReadOnlyHint, Table, Words } from "../parts.js";
import { batchLink, go } from "../router.js";

const BATCH_TICKETS = 10_000;
const BATCH_BYTES = 12_000_000;
const FILE_BYTES = 16 * 1024 * 1024;
const FAULTS_SHOWN = 200;

/** A batch has so many tickets at most, and a request so many bytes. */
export function batchesOf(tickets) {
  const all = [];
  let [current, size] = [[], 0];
  for (const ticket of tickets) {
    const bytes = JSON.stringify(ticket).length * 2;
    if (current.length === BATCH_TICKETS || (current.length && size + bytes > BATCH_BYTES)) {
      all.push(current);
      [current, size] = [[], 0];
    }
    current.push(ticket);
    size += bytes;
  }
  if (current.length) all.push(current);
  return all;
}

/** The dry runs of all batches as one. Each was reckoned alone: the refusal of the first that has one stands for all. */
function together(dries, batches) {
  const sum = (of) => dries.reduce((all, dry) => all + of(dry), 0);
  let before = 0;
  const failed = dries.flatMap((dry, index) => {
    const shifted = dry.failed.map((one) => ({ ...one, index: one.index + before }));
    before += batches[index].length;
    return shifted;
  });
  const price = sum((dry) => dry.estimate.estimatedLamports);
  const { spendableLamports, balanceLamports } = dries[0];
  const refusal = dries.find((dry) => dry.refusal)?.refusal
    ?? (price > spendableLamports ? `together they cost ${sol(price - spendableLamports)} more than there is to spend` : null);
  return { total: sum((dry) => dry.total), fresh: sum((dry) => dry.new), known: sum((dry) => dry.known), failed, price, refusal, spendableLamports, balanceLamports, seconds: sum((dry) => dry.forecast.durationSeconds?.expected ?? dry.estimate.estimatedTimeSeconds), forecasts: dries.map((dry) => dry.forecast), perTicket: dries[0].estimate.breakdown.perTicketLamports };
}

const START = { step: "choose", busy: false, problem: null, file: null, read: null, batches: [], plan: null };

export function Mint() {
  const [state, setState] = useState(START);
  const [asking, setAsking] = useState(false);
  const ids = { file: useId(), venue: useId(), event: useId() };

  const check = async (event) => {
    event.preventDefault();
    if (state.busy) return;
    const said = new FormData(event.target);
    const [file, venueId, eventId] = [said.get("file"), said.get("venue").trim(), said.get("event").trim()];
    if (!venueId || !(file instanceof File) || file.size === 0) return setState({ ...START, problem: { message: file?.size === 0 && file?.name ? "The file is empty." : "A file and a venue are needed.", retryAfterMs: null, status: 400 } });
    if (file.size > FILE_BYTES) return setState({ ...START, problem: { message: `The file has more than ${count(FILE_BYTES / 1024 / 1024)} MiB: split it.`, retryAfterMs: null, status: 400 } });
    setState({ ...START, busy: true, file: file.name });
    try {
      const isJson = /\.json$/i.test(file.name) || file.type === "application/json";
      // Read here and now: a file that changes on the disk later is not what was looked at.
      const content = new Blob([await file.arrayBuffer()]);
      const read = (await act("POST", "admin/tickets/read", { query: { venueId, eventId }, body: content, type: isJson ? "application/json" : "text/csv" })).body;
      const batches = batchesOf(read.tickets);
      const dries = [];
      for (const tickets of batches) dries.push((await act("POST", "admin/batch-mint", { query: { dryRun: "true" }, body: { venueId, tickets } })).body);
      setState({ ...START, step: "look", file: file.name, venueId, read, batches, plan: dries.length ? together(dries, batches) : null });
    } catch (problem) {
      setState({ ...START, file: file.name, problem });
    }
  };

  return html`<${Page} title="Mint" lead="A CSV or JSON file of tickets becomes NFTs. Nothing is minted, and nothing written, before you agree to the price." />
    <${ReadOnlyHint} />
    <${Card} title="The file">
      <form class="stack" onSubmit=${check} onInput=${() => state.step === "look" && setState(START)}>
        <div class="field"><label for=${ids.file}>Tickets</label><input id=${ids.file} name="file" type="file" accept=".csv,.tsv,.json,text/csv,application/json" required />
          <p class="fine">A header with <code>id</code> and <code>eventName</code>, and if you like <code>eventId</code>, <code>userId</code>, <code>eventDate</code>, <code>venue</code>, <code>tier</code>, <code>seatNumber</code>, <code>ownerAddress</code>, <code>image</code>. At most 16 MiB.</p></div>
        <div class="field"><label for=${ids.venue}>Venue</label><input id=${ids.venue} name="venue" required maxlength="128" autocomplete="off" autocapitalize="off" spellcheck=${false} />
          <p class="fine">The id of the venue that sells. Ticket ids count within it, for ever.</p></div>
        <div class="field"><label for=${ids.event}>Event <span class="fine">if the file does not name it</span></label><input id=${ids.event} name="event" maxlength="128" autocomplete="off" autocapitalize="off" spellcheck=${false} /></div>
        <${ActionProblem} problem=${state.problem} />
        <div class="actions"><${ActionButton} kind="primary" type="submit" busy=${state.busy}>${state.busy ? "Checking…" : "Check the file"}<//></div>
      </form>
    <//>
    <div role="status" aria-label="Outcome of the check">${state.step === "look" && html`<${Preview} state=${state} onMint=${() => setAsking(true)} />`}</div>
    ${asking && state.plan && html`<${Agree} state=${state} onClose=${() => setAsking(false)} />`}`;
}

function Preview({ state, onMint }) {
  const { read, plan, file, batches } = state;
  const faults = [
    ...read.faults.map((fault) => ({ ...fault, where: `${read.rowName} ${fault.row}` })),
    ...(plan?.failed ?? []).map((one) => ({ where: `ticket ${one.ticketId}`, column: one.faults?.map((fault) => fault.pointer).join(", ") ?? "", detail: one.error })),
  ];
  // The box names the first faults only, and counts all.
  const faultCount = (read.faultCount ?? read.faults.length) + (plan?.failed.length ?? 0);
  const ready = plan !== null && plan.fresh > 0 && !plan.refusal;
  return html`<${Card} title=${html`What <${Words}>${file}<//> holds`}>
    <${Facts}>
      <${Fact} name="To mint">${count(plan?.fresh ?? 0)}<//>
      <${Fact} name="Known already" hint="not minted, not paid for again">${count(plan?.known ?? 0)}<//>
      <${Fact} name="Faults" hint="those rows are left out"><span class=${faultCount ? "bad-text" : ""}>${count(faultCount)}</span><//>
      ${plan && html`<${Fact} name="Price" hint=${plan.fresh ? `${sol(plan.perTicket)} for one ticket by itself` : null}><strong>${sol(plan.price)}</strong><//>
        <${Fact} name="There is to spend" hint=${`of ${solShort(plan.balanceLamports)} in the wallet`}>${sol(plan.spendableLamports)}<//>
        <${Fact} name="Time">${plan.fresh ? about(plan.seconds) : "–"}<//>`}
      ${batches.length > 1 && html`<${Fact} name="Batches" hint=${`of ${count(BATCH_TICKETS)} tickets at most`}>${count(batches.length)}<//>`}
    <//>
    ${plan?.forecasts[0] && html`<details><summary>The forecast</summary>${plan.forecasts.map((forecast, index) => html`<p key=${index}><${Words}>${forecast.explanation}<//></p>`)}</details>`}
    ${faults.length > 0 && html`<h3>${counted(faultCount, "fault")}</h3>
      <${Table} label="Faults of the file" rows=${faults.slice(0, FAULTS_SHOWN)} columns=${[
        { name: "Where", className: "main", cell: (row) => html`<${Words}>${row.where}<//>` },
        { name: "Column", cell: (row) => html`<${Words}>${row.column ?? "–"}<//>` },
        { name: "What is wrong", className: "wide-cell", cell: (row) => html`<${Words}>${row.detail}<//>` },
      ]} />
      ${faultCount > Math.min(faults.length, FAULTS_SHOWN) && html`<p class="fine">And ${count(faultCount - Math.min(faults.length, FAULTS_SHOWN))} more.</p>`}`}
    ${plan?.refusal && html`<${Note} kind="bad" title="The box would refuse this"><p><${Words}>${plan.refusal}<//></p><//>`}
    ${plan && plan.fresh === 0 && html`<${Note} kind="ok" title="There is nothing to mint"><p>${plan.known ? "All tickets of the file are known already." : "No row of the file makes a ticket."}</p><//>`}
    ${plan === null && html`<${Note} kind="bad" title="There is nothing to mint"><p>No row of the file makes a ticket.</p><//>`}
    <div class="actions"><${ActionButton} kind="primary" disabled=${!ready} onClick=${onMint}>${plan?.fresh ? `Mint ${counted(plan.fresh, "ticket")} for ${sol(plan.price)}…` : "Mint"}<//></div>
  <//>`;
}

/** Sends batch after batch. Each has its own idempotency key for as long as the dialog is open, so that trying again repeats nothing. */
function Agree({ state, onClose }) {
  const { plan, batches, venueId } = state;
  const keys = useRef(batches.map(newActionKey));
  const sent = useRef([]);
  const busy = useRef(false);
  const [shown, setShown] = useState({ busy: false, problem: null, done: 0 });
  const send = async () => {
    if (busy.current) return;
    busy.current = true;
    setShown({ busy: true, problem: null, done: sent.current.length });
    try {
      while (sent.current.length < batches.length) {
        const index = sent.current.length;
        const answer = await act("POST", "admin/batch-mint", { body: { venueId, tickets: batches[index] }, headers: { prefer: "respond-async" }, actionKey: keys.current[index] });
        sent.current.push(answer.body.batchId);
        setShown({ busy: true, problem: null, done: sent.current.length });
      }
      onClose();
      go(batches.length === 1 ? batchLink(sent.current[0]) : "#/batches");
    } catch (problem) {
      // A refusal is final for this key; what has no answer is asked again with the same one.
      if (problem.status >= 400 && problem.status < 500 && problem.status !== 429 && problem.code !== "request_in_flight") keys.current[sent.current.length] = newActionKey();
      setShown({ busy: false, problem, done: sent.current.length });
    } finally {
      busy.current = false;
    }
  };
  const faultCount = (state.read.faultCount ?? state.read.faults.length) + plan.failed.length;
  return html`<${Dialog} title=${`Mint ${counted(plan.fresh, "ticket")}?`} onClose=${() => !shown.busy && onClose()}>
    <p>This costs <strong>${sol(plan.price)}</strong>, of ${solShort(plan.spendableLamports)} that there is to spend, and cannot be taken back.</p>
    ${faultCount > 0 && html`<p class="bad-text">${counted(faultCount, "fault")}: those rows are left out.</p>`}
    ${batches.length > 1 && html`<${Progress} done=${shown.done} total=${batches.length} label="Batches sent" />`}
    <${ActionProblem} problem=${shown.problem} />
    <div class="actions"><button type="button" class="button" disabled=${shown.busy} onClick=${onClose}>Cancel</button>
      <${ActionButton} kind="primary" busy=${shown.busy} onClick=${send}>${`Mint for ${sol(plan.price)}`}<//></div>
  <//>`;
}
