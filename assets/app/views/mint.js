// From a file of tickets to a batch: what is wrong with it by row, what it costs, and the agreement to pay that.
import { ActionButton, ActionProblem, Dialog, ReadOnlyHint } from "../actions.js";
import { act, asProblem, get, Problem } from "../api.js";
import { useData } from "../data.js";
import { newDecision, refused } from "../decision.js";
import { about, count, counted, sol } from "../format.js";
import { html, useEffect, useId, useRef, useState } from "../html.js";
import { Card, Countdown, Fact, Facts, Note, Page, Progress, Table, Words } from "../parts.js";
import { atMost, mostFor } from "../price.js";
import { batchLink, go } from "../router.js";
import { rowsOf } from "../rows.js";
import { sleep } from "../signals.js";

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
  const prices = dries.map((dry) => dry.estimate.estimatedLamports);
  const price = total(prices);
  const { spendableLamports, balanceLamports } = dries[0];
  const refusal = dries.find((dry) => dry.refusal)?.refusal
    ?? (price > spendableLamports ? `together they cost ${sol(price - spendableLamports)} more than there is to spend` : null);
  return { fresh: dries.map((dry) => dry.new), known: sum((dry) => dry.known), failed, prices, refusal, spendableLamports, balanceLamports, seconds: sum((dry) => dry.forecast.durationSeconds?.expected ?? dry.estimate.estimatedTimeSeconds), forecasts: dries.map((dry) => dry.forecast), perTicket: dries[0].estimate.breakdown.perTicketLamports };
}

const total = (numbers) => numbers.reduce((all, one) => all + one, 0);

/** The box takes only so many changes in a minute. Being too fast is waited out; `onWait` hears until when. */
async function patiently(attempt, { signal, onWait }) {
  for (;;) {
    try {
      return await attempt();
    } catch (problem) {
      if (problem.status !== 429 || signal.aborted) throw problem;
      const wait = Math.max(problem.retryAfterMs ?? 0, 1000);
      onWait(Date.now() + wait);
      await sleep(wait, signal);
      onWait(null);
      if (signal.aborted) throw problem;
    }
  }
}

const START = { step: "choose", busy: false, problem: null, waits: null, file: null, venueId: null, newVenue: false, eventIds: [], read: null, batches: [], plan: null, sent: [] };
/** Left out means not sent: what is sent is what a dry run found no fault with. */
function withoutFaults(tickets, { failed }) {
  const out = new Set(failed.map((one) => one.index));
  return tickets.filter((_, index) => !out.has(index));
}

/** Whether the books have a ticket of the venue. */
const isKnown = async (venueId, signal) => (await get("admin/mints", { venueId, limit: 1 }, { signal })).mints.length > 0;

const faulty = (detail) => ({ ...START, problem: new Problem(400, detail) });

export function Mint() {
  const [state, setState] = useState(START);
  const [asking, setAsking] = useState(false);
  const checking = useRef(null);
  const ids = { file: useId(), venue: useId(), venues: useId(), event: useId() };
  const venues = useData("admin/venues", { limit: 500 });
  useEffect(() => () => checking.current?.abort(), []);

  const check = async (event) => {
    event.preventDefault();
    if (state.busy) return;
    const said = new FormData(event.target);
    const [file, venueId, eventId] = [said.get("file"), said.get("venue").trim(), said.get("event").trim()];
    if (!venueId || !(file instanceof File) || file.size === 0) return setState(faulty(file?.size === 0 && file?.name ? "The file is empty." : "A file and a venue are needed."));
    if (file.size > FILE_BYTES) return setState(faulty(`The file has more than ${count(FILE_BYTES / 1024 / 1024)} MiB: split it.`));
    checking.current = new AbortController();
    const { signal } = checking.current;
    const ask = (path, options) => patiently(() => act("POST", path, { ...options, signal }), { signal, onWait: (waits) => !signal.aborted && setState((old) => ({ ...old, waits })) });
    setState({ ...START, busy: true });
    try {
      const isJson = /\.json$/i.test(file.name) || file.type === "application/json";
      // Read here and now: a file that changes on the disk later is not what was looked at.
      const bytes = new Uint8Array(await file.arrayBuffer());
      const content = new Blob([bytes]);
      const read = (await ask("admin/tickets/read", { query: { venueId, eventId }, body: content, type: isJson ? "application/json" : "text/csv" })).body;
      const batches = batchesOf(read.tickets);
      const dries = [];
      for (const tickets of batches) dries.push((await ask("admin/batch-mint", { query: { dryRun: "true" }, body: { venueId, tickets } })).body);
      const newVenue = !(await isKnown(venueId, signal));
      if (signal.aborted) return;
      const plan = dries.length ? together(dries, batches) : null;
      const rows = plan?.failed.length ? rowsOf(bytes, isJson) : null;
      for (const one of plan?.failed ?? []) one.row = rows.get(one.ticketId);
      // A batch of which nothing is left has nothing to send, and no price.
      const good = batches.map((tickets, index) => ({ tickets: withoutFaults(tickets, dries[index]), index })).filter(({ tickets }) => tickets.length);
      const pick = (list) => good.map(({ index }) => list[index]);
      if (plan) Object.assign(plan, { fresh: pick(plan.fresh), prices: pick(plan.prices) });
      const eventIds = [...new Set(good.flatMap(({ tickets }) => tickets.map((ticket) => ticket.eventId)))];
      setState({ ...START, step: "look", file: file.name, venueId, newVenue, eventIds, read, batches: good.map(({ tickets }) => tickets), plan });
    } catch (error) {
      if (!signal.aborted) setState({ ...START, problem: asProblem(error) });
    }
  };
  // What is on the screen is what was checked: a change of the form ends the check, and what came of it.
  const changed = () => {
    checking.current?.abort();
    if (state.busy || state.step === "look") setState(START);
  };
  const sent = (batchId) => setState((old) => ({ ...old, sent: [...old.sent, batchId] }));

  return html`<${Page} title="Mint" lead="A CSV or JSON file of tickets becomes NFTs. Nothing is minted, and nothing written, before you agree to the price." />
    <${ReadOnlyHint} />
    <${Card} title="The file">
      <form class="stack" onSubmit=${check} onInput=${changed}>
        <div class="field"><label for=${ids.file}>Tickets</label><input id=${ids.file} name="file" type="file" accept=".csv,.tsv,.json,text/csv,application/json" required />
          <p class="fine">A header with <code>id</code> and <code>eventName</code>, and if you like <code>eventId</code>, <code>userId</code>, <code>eventDate</code>, <code>venue</code>, <code>tier</code>, <code>seatNumber</code>, <code>ownerAddress</code>, <code>image</code>. At most 16 MiB.</p></div>
        <div class="field"><label for=${ids.venue}>Venue</label><input id=${ids.venue} name="venue" list=${ids.venues} required maxlength="128" autocomplete="off" autocapitalize="off" spellcheck=${false} />
          <datalist id=${ids.venues}>${venues.data?.venues.map(({ venueId }) => html`<option key=${venueId} value=${venueId}></option>`)}</datalist>
          <p class="fine">The id of the venue that sells. Ticket ids count within it, for ever.</p></div>
        <div class="field"><label for=${ids.event}>Event <span class="fine">if the file does not name it</span></label><input id=${ids.event} name="event" maxlength="128" autocomplete="off" autocapitalize="off" spellcheck=${false} /></div>
        <${ActionProblem} problem=${state.problem} />
        ${state.waits && html`<${Waits} until=${state.waits} />`}
        <div class="actions"><${ActionButton} kind="primary" type="submit" busy=${state.busy}>${state.busy ? "Checking…" : "Check the file"}<//></div>
      </form>
    <//>
    <div role="status" aria-label="Outcome of the check">${state.step === "look" && html`<${Preview} state=${state} onMint=${() => setAsking(true)} />`}</div>
    ${asking && state.plan && html`<${Agree} state=${state} onSent=${sent} onClose=${() => setAsking(false)} />`}`;
}

const Waits = ({ until }) => html`<p class="hint" role="status"><span>The box takes only so many requests in a minute. <${Countdown} until=${until} /></span></p>`;

/** "gala", "gala and matinee", "gala and 3 others" */
function eventWords([first, second, ...others]) {
  if (second === undefined) return html`<${Words}>${first}<//>`;
  return others.length ? html`<${Words}>${first}<//> and ${count(others.length + 1)} others` : html`<${Words}>${first}<//> and <${Words}>${second}<//>`;
}

/** What is wrong with how many rows: one row may have several faults. */
function faultsOf({ read, plan }) {
  const failed = plan?.failed ?? [];
  const rows = (read.faultyRows ?? new Set(read.faults.map((fault) => fault.row)).size) + failed.length;
  return { rows, count: (read.faultCount ?? read.faults.length) + failed.reduce((all, one) => all + Math.max(one.faults?.length ?? 0, 1), 0) };
}

const NewVenue = () => html`<span class="bad-text">New: no ticket of it is known. If it is not, look for a typing error.</span>`;

/** What is left to send of the batches. */
const left = ({ plan, sent }) => ({ prices: plan.prices.slice(sent.length), fresh: total(plan.fresh.slice(sent.length)), price: total(plan.prices.slice(sent.length)) });

function Preview({ state, onMint }) {
  const { read, plan, file, batches, sent } = state;
  const faults = [
    ...read.faults.map((fault) => ({ ...fault, where: `${read.rowName} ${fault.row}` })),
    ...(plan?.failed ?? []).map((one) => ({ where: one.row ? `${read.rowName} ${one.row}: ticket ${one.ticketId}` : `ticket ${one.ticketId}`, column: one.faults?.map((fault) => fault.pointer).join(", ") ?? "", detail: one.error })),
  ];
  // The box names the first faults only, and counts all.
  const out = faultsOf(state);
  // Several faults of one ticket stand in one line.
  const unlisted = (read.faultCount ?? read.faults.length) - read.faults.length + Math.max(faults.length - FAULTS_SHOWN, 0);
  const { fresh, price } = plan ? left(state) : { fresh: 0, price: 0 };
  const ready = plan !== null && (fresh > 0 || sent.length > 0) && !plan.refusal;
  return html`<${Card} title=${html`What <${Words}>${file}<//> holds`}>
    <${Facts}>
      <${Fact} name="To mint">${count(plan ? total(plan.fresh) : 0)}<//>
      <${Fact} name="Known already" hint="not minted, not paid for again">${count(plan?.known ?? 0)}<//>
      <${Fact} name="Left out" hint="rows with faults: they are not sent"><span class=${out.rows ? "bad-text" : ""}>${count(out.rows)}</span><//>
      ${plan && html`<${Fact} name="Price" hint=${fresh ? `${sol(plan.perTicket)} for one ticket by itself` : null}><strong>${sol(total(plan.prices))}</strong><//>
        <${Fact} name="There is to spend" hint=${`of ${sol(plan.balanceLamports)} in the wallet`}>${sol(plan.spendableLamports)}<//>
        <${Fact} name="Time">${fresh ? about(plan.seconds) : "–"}<//>`}
      <${Fact} name="Venue" hint=${state.newVenue && html`<${NewVenue} />`}><${Words}>${state.venueId}<//><//>
      ${state.eventIds.length > 0 && html`<${Fact} name=${state.eventIds.length > 1 ? "Events" : "Event"}>${eventWords(state.eventIds)}<//>`}
      ${batches.length > 1 && html`<${Fact} name="Batches" hint=${`of ${count(BATCH_TICKETS)} tickets at most`}>${count(batches.length)}<//>`}
    <//>
    ${plan?.forecasts[0] && html`<details><summary>The forecast</summary>${plan.forecasts.map((forecast, index) => html`<p key=${index}><${Words}>${forecast.explanation}<//></p>`)}</details>`}
    ${faults.length > 0 && html`<h3>${counted(out.count, "fault")} in ${counted(out.rows, "row")}</h3>
      <${Table} label="Faults of the file" rows=${faults.slice(0, FAULTS_SHOWN)} columns=${[
        { name: "Where", className: "main", cell: (row) => html`<${Words}>${row.where}<//>` },
        { name: "Column", cell: (row) => html`<${Words}>${row.column || "–"}<//>` },
        { name: "What is wrong", className: "wide-cell", cell: (row) => html`<${Words}>${row.detail}<//>` },
      ]} />
      ${unlisted > 0 && html`<p class="fine">And ${count(unlisted)} more.</p>`}`}
    ${plan?.refusal && html`<${Note} kind="bad" title="The box would refuse this"><p><${Words}>${plan.refusal}<//></p><//>`}
    ${plan && sent.length === 0 && fresh === 0 && html`<${Note} kind="ok" title="There is nothing to mint"><p>${plan.known ? (out.rows ? "All others are known already." : "All tickets of the file are known already.") : "No row of the file makes a ticket."}</p><//>`}
    ${plan === null && html`<${Note} kind="bad" title="There is nothing to mint"><p>No row of the file makes a ticket.</p><//>`}
    <${Sent} state=${state} />
    <div class="actions"><${ActionButton} kind="primary" disabled=${!ready} onClick=${onMint}>${sent.length ? `Send the rest for ${sol(price)}…` : fresh ? `Mint ${counted(fresh, "ticket")} for ${sol(price)}…` : "Mint"}<//></div>
  <//>`;
}

/** Of several batches, those that the box has. */
function Sent({ state: { sent, batches } }) {
  if (sent.length === 0 || batches.length === 1) return null;
  return html`<${Note} kind=${sent.length === batches.length ? "ok" : "warn"} title=${`${count(sent.length)} of ${counted(batches.length, "batch", "batches")} were sent`}>
    <p>${sent.map((batchId, index) => html`${index > 0 && ", "}<a key=${batchId} href=${batchLink(batchId)}>batch ${index + 1}</a>`)}</p><//>`;
}

/** Sends batch after batch. To open the dialog is to decide: as long as it is open, trying again repeats nothing. */
function Agree({ state, onSent, onClose }) {
  const { batches, venueId, plan, file } = state;
  const decision = useRef(null);
  decision.current ??= newDecision();
  const stop = useRef(new AbortController());
  const busy = useRef(false);
  const [shown, setShown] = useState({ busy: false, problem: null, waits: null });
  const send = async () => {
    if (busy.current) return;
    busy.current = true;
    stop.current = new AbortController();
    setShown({ busy: true, problem: null, waits: null });
    let last = null;
    try {
      for (let index = state.sent.length; index < batches.length; index += 1) {
        const request = { body: { venueId, tickets: batches[index], maxLamports: mostFor(plan.prices[index]) }, headers: { prefer: "respond-async" }, actionKey: decision.current.key(index) };
        const answer = await patiently(() => act("POST", "admin/batch-mint", request), { signal: stop.current.signal, onWait: (waits) => setShown({ busy: true, problem: null, waits }) });
        decision.current.ended();
        last = answer.body.batchId;
        onSent(last);
      }
      onClose();
      go(batches.length === 1 ? batchLink(last) : "#/batches");
    } catch (error) {
      const problem = asProblem(error);
      decision.current.ended(problem);
      // Who stops while nothing is under way needs no reason.
      setShown({ busy: false, problem: stop.current.signal.aborted ? null : problem, waits: null });
    } finally {
      busy.current = false;
    }
  };
  const close = () => {
    if (shown.waits) stop.current.abort();
    else if (!shown.busy) onClose();
  };
  const { prices, fresh, price } = left(state);
  const over = shown.problem !== null && refused(shown.problem) && !shown.problem.retryable;
  const out = faultsOf(state);
  return html`<${Dialog} title=${`Mint ${counted(fresh, "ticket")}?`} onClose=${close}>
    <p>From <${Words}>${file}<//>, for the venue <strong><${Words}>${venueId}<//></strong>${state.eventIds.length > 0 && html`, ${state.eventIds.length > 1 ? "events" : "event"} <strong>${eventWords(state.eventIds)}</strong>`}.</p>
    <p>This costs <strong>${sol(price)}</strong>, and ${atMost(prices)}, of ${sol(plan.spendableLamports)} that there is to spend. It cannot be taken back.</p>
    ${state.newVenue && html`<p><${NewVenue} /></p>`}
    ${out.rows > 0 && html`<p class="bad-text">${counted(out.rows, "row")} with faults ${out.rows === 1 ? "is" : "are"} left out.</p>`}
    ${batches.length > 1 && html`<${Progress} done=${state.sent.length} total=${batches.length} label="Batches sent" />`}
    ${!shown.busy && html`<${Sent} state=${state} />`}
    ${shown.waits && html`<${Waits} until=${shown.waits} />`}
    <${ActionProblem} problem=${shown.problem} />
    <div class="actions"><button type="button" class="button" disabled=${shown.busy && !shown.waits} onClick=${close}>${shown.waits ? "Stop" : state.sent.length ? "Close" : "Cancel"}</button>
      <${ActionButton} kind="primary" busy=${shown.busy} disabled=${over} onClick=${send}>${state.sent.length ? `Send the rest for ${sol(price)}` : `Mint for ${sol(price)}`}<//></div>
  <//>`;
}
