// One glance: the sentence, the numbers, what is under way, what needs a hand.
import { useData } from "../data.js";
import { about, clock, count, counted, duration, percent, rate, sol, solShort } from "../format.js";
import { html, useEffect, useRef } from "../html.js";
import { live } from "../live.js";
import { BatchStatus, Card, Copy, Empty, Icon, MintStatus, Note, Progress, Skeleton, Status, Time, Words } from "../parts.js";
import { Spark } from "../chart.js";
import { batchLink, ticketLink, venueLink } from "../router.js";
import { useStore } from "../store.js";
import { alertSummary, alertWords, publicVerdict, verdict } from "../verdict.js";
import { AlertLinks } from "./alerts.js";

export function Overview() {
  const { data, connection, at, rates } = useStore(live);
  const again = useSentAgain(data?.dashboard.failedMints ?? 0);
  if (!data) return html`<h1 class="visually-hidden" tabindex="-1">Overview</h1><${Skeleton} rows=${6} />`;
  const { dashboard, system, batches, alerts } = data;
  const stale = connection === "lost";
  return html`
    <${Hero} said=${verdict(data, again)} stale=${stale} at=${at}><${Numbers} dashboard=${dashboard} system=${system} rates=${rates} /><//>
    <div class=${`grid ${stale ? "stale" : ""}`}>
      <div class="column wide">
        <${UnderWay} batches=${batches} />
        <${Recent} mints=${dashboard.recentMints} />
      </div>
      <div class="column">
        <${OpenAlerts} alerts=${alerts} />
        <${Wallet} wallet=${system.balanceMonitor} />
        <${Parts} system=${system} />
        <${Anomalies} />
      </div>
    </div>`;
}

/** How many of the failed tickets can be sent again: of the newest 500, for a sentence. */
function useSentAgain(failedMints) {
  const failed = useData("admin/mints", { status: "failed", limit: 500 }, { every: 60_000, skip: failedMints === 0 });
  useEffect(() => failed.reload(), [failedMints]);
  return failed.data?.mints.filter((mint) => mint.retryable).length ?? null;
}

export function PublicOverview() {
  const { data, connection, at } = useStore(live);
  if (!data) return html`<h1 class="visually-hidden" tabindex="-1">Overview</h1><${Skeleton} rows=${3} />`;
  return html`<${Hero} said=${publicVerdict(data)} stale=${connection === "lost"} at=${at}>
      <dl class="numbers"><${Figure} name="Minted" value=${count(data.minted)} /><${Figure} name="Waiting" value=${count(data.pending)} /><${Figure} name="Failed" value=${count(data.failed)} kind=${data.failed ? "bad" : ""} />
      <${Figure} name="Speed" value=${rate(data.mintsPerSecond)} unit="tickets/s" /></dl><//>
    <p class="fine">This is the public summary. With a key there is more.</p>`;
}

/** The sentence is announced when it changes in kind, not with every ticket. */
function Hero({ said, stale, at, children }) {
  const kind = stale ? "unknown" : said.kind;
  const spoken = useRef({ kind: null, text: "" });
  if (spoken.current.kind !== kind) spoken.current = { kind, text: spoken.current.kind === null ? "" : said.title };
  return html`<section class=${`hero ${kind}`}>
    <div class="hero-said">
      <${Icon} kind=${kind} />
      <div>
        <h1 tabindex="-1">${stale ? `As of ${clock(at)}: ${said.title[0].toLowerCase()}${said.title.slice(1)}` : said.title}</h1>
        <p><${Words}>${said.detail}<//>${said.link && html` <a href=${said.link[0]}>${said.link[1]}</a>`}</p>
        ${said.wallet && html`<p><${Copy} text=${said.wallet} label="the wallet's address" whole /></p>`}
      </div>
    </div>
    <p class="visually-hidden" aria-live="polite">${spoken.current.text}</p>
    ${children}
  </section>`;
}

function Figure({ name, value, unit, kind = "", children, href }) {
  return html`<div class=${kind}><dt>${name}</dt><dd><span class="value">${href ? html`<a href=${href}>${value}</a>` : value}</span>${unit && html` <span class="unit">${unit}</span>`}${children}</dd></div>`;
}

function Numbers({ dashboard, system, rates }) {
  const minted = dashboard.totalMints - dashboard.pendingMints - dashboard.failedMints;
  const runway = system.balanceMonitor.runwayTickets;
  return html`<dl class="numbers">
    <${Figure} name="Minted" value=${count(minted)} href="#/tickets?status=minted" />
    <${Figure} name="Waiting" value=${count(dashboard.pendingMints)} href="#/tickets?status=pending" />
    <${Figure} name="Failed" value=${count(dashboard.failedMints)} kind=${dashboard.failedMints ? "bad" : ""} href="#/tickets?status=failed" />
    <${Figure} name="Speed" value=${rate(dashboard.mintsPerSecond)} unit="tickets/s"><${Spark} values=${rates.map((one) => one.value)} /><//>
    <${Figure} name="Wallet pays for" value=${runway === null ? "?" : count(runway)} unit=${runway === null ? "not known" : runway === 1 ? "ticket" : "tickets"} kind=${runway !== null && runway < 20 ? "bad" : ""} />
  </dl>`;
}

function UnderWay({ batches }) {
  return html`<${Card} className="under-way" title="Under way" aside=${html`<a href="#/batches">All batches</a>`}>
    ${batches.length === 0
      ? html`<${Empty} title="No batch is under way"><a href="#/mint">Mint a file of tickets</a>, or send some over the API.<//>`
      : html`<ul class="batches">${batches.map((batch) => html`<${Running} batch=${batch} key=${batch.batchId} />`)}</ul>`}
  <//>`;
}

export function Running({ batch }) {
  const { succeeded, failed, pending, total, etaSeconds, spentLamports, estimatedLamports } = batch.summary;
  return html`<li>
    <div class="line"><a href=${batchLink(batch.batchId)}><${Words}>${batch.venueId}<//><span class="visually-hidden">, batch ${batch.batchId}</span></a><${BatchStatus} batch=${batch} /></div>
    <${Progress} done=${succeeded} failed=${failed} total=${total} label=${`Progress of the batch for ${batch.venueId}`} />
    <div class="line fine"><span>${count(succeeded + failed)} of ${count(total)}${failed ? html`, <strong class="bad-text">${count(failed)} failed</strong>` : ""}</span>
      <span>${batch.state === "waiting" ? html`from <${Time} at=${batch.notBefore} />` : pending > 0 && etaSeconds > 0 ? `${about(etaSeconds)} left` : ""}</span>
      <span>${solShort(spentLamports)} of ${solShort(estimatedLamports)}</span></div>
  </li>`;
}

function Recent({ mints }) {
  return html`<${Card} title="Recent tickets" aside=${html`<a href="#/tickets">All tickets</a>`}>
    ${mints.length === 0 ? html`<${Empty} title="No ticket yet" />` : html`<ul class="recent">${mints.map((mint) => html`<li key=${`${mint.venueId}/${mint.ticketId}`}>
      <a href=${ticketLink(mint.venueId, mint.ticketId)}><${Words}>${mint.name ?? [mint.ticket.ticketData.eventName, mint.ticket.ticketData.seatNumber].filter(Boolean).join(" · ")}<//></a>
      <span class="fine"><a href=${venueLink(mint.venueId)}><${Words}>${mint.venueId}<//></a> · <${Words}>${mint.ticketId}<//></span>
      <${MintStatus} status=${mint.status} />
      <span class="fine"><${Time} at=${mint.settledAt ?? mint.createdAt} /></span>
    </li>`)}</ul>`}
  <//>`;
}

const worst = (alerts) => [...alerts].sort((a, b) => (b.severity === "critical") - (a.severity === "critical"));

function OpenAlerts({ alerts }) {
  return html`<${Card} title="Needs a look" aside=${html`<a href="#/alerts">All alerts</a>`} className=${alerts.length ? "alerts-open" : ""}>
    ${alerts.length === 0 ? html`<p class="fine"><${Status} kind="ok">Nothing is open<//></p>` : html`<ul class="notes">${worst(alerts).slice(0, 5).map((alert) => html`<li key=${alert.id}>
      <${Note} kind=${alert.severity === "critical" ? "bad" : "warn"} title=${alertWords(alert.kind)}><p><${Words}>${alertSummary(alert)}<//></p><${AlertLinks} alert=${alert} /><p class="fine">since <${Time} at=${alert.openedAt} /></p><//></li>`)}</ul>
      ${alerts.length > 5 && html`<p><a href="#/alerts">${count(alerts.length - 5)} more</a></p>`}`}
  <//>`;
}

/** What pays comes first: the fee payers, where there are any. */
function Wallet({ wallet }) {
  const { payers, balanceLamports } = wallet;
  const kind = wallet.sufficient === null ? "unknown" : wallet.sufficient ? "ok" : "bad";
  const word = wallet.sufficient === null ? "Not known: the chain has not said" : wallet.sufficient ? "Enough" : "Too little";
  const paying = payers.length === 0 ? balanceLamports : payers.every((payer) => payer.balanceLamports !== null) ? payers.reduce((all, payer) => all + payer.balanceLamports, 0) : null;
  return html`<${Card} title="Wallet">
    <p class="amount">${paying === null ? "? SOL" : sol(paying)}${payers.length > 0 && html` <small>in ${counted(payers.length, "fee payer")}</small>`}</p>
    <p class="line"><${Status} kind=${kind}>${word}<//><span class="fine">${wallet.runwayTickets === null ? "" : `pays for ${counted(wallet.runwayTickets, "ticket")} more`}</span></p>
    <p class="line"><${Copy} text=${wallet.wallet} label="the wallet's address" /><span class="fine">${payers.length > 0 && balanceLamports !== null && `holds ${sol(balanceLamports)} itself, `}as of <${Time} at=${wallet.lastCheck} empty="never" /></span></p>
    ${payers.length > 0 && html`<details><summary>${counted(payers.length, "fee payer")}</summary><ul class="plain">${payers.map((payer) => html`<li class="line" key=${payer.address}>
      <${Copy} text=${payer.address} label="the fee payer's address" /><span>${sol(payer.balanceLamports)}</span><span class=${payer.payableTickets === 0 ? "bad-text" : "fine"}>${counted(payer.payableTickets, "ticket")}</span></li>`)}</ul></details>`}
  <//>`;
}

function Parts({ system }) {
  const { rpc, database, cache, scheduler, publisher, queue } = system;
  return html`<${Card} title="Parts"><ul class="parts">
    ${rpc.map((endpoint) => html`<${Part} key=${endpoint.endpoint} name=${endpoint.endpoint.replace(/^https?:\/\//, "")} role="RPC" ...${endpointState(endpoint)} />`)}
    <${Part} name="Database" kind=${database.connected ? "ok" : "bad"} word=${database.connected ? "Well" : "Does not answer"} />
    <${Part} name="Minting" kind=${queue.held ? "bad" : queue.inFlightTransactions ? "busy" : "ok"} word=${queue.held ? "Waits" : queue.inFlightTransactions ? `${counted(queue.inFlightTransactions, "transaction")} under way` : "Ready"}
      detail=${queue.held ?? `up to ${rate(queue.sendRateLimit)} transactions/s`} />
    ${publisher.length === 0
      ? html`<${Part} name="Publishing" kind="ok" word="On this box" />`
      : publisher.map((one) => html`<${Part} key=${one.host} name=${one.host.replace(/^https?:\/\//, "")} role="Publishing" kind=${one.reachable === null ? "unknown" : one.reachable ? "ok" : one.required ? "bad" : "warn"}
          word=${one.reachable === null ? "Not asked yet" : one.reachable ? "Well" : "Does not answer"} detail=${[one.lastError, one.unpublished ? `${counted(one.unpublished, "file")} to publish` : ""].filter(Boolean).join("; ")} />`)}
    <${Part} name="Cache" kind=${!cache.enabled ? "off" : cache.connected ? "ok" : "warn"} word=${!cache.enabled ? "Off" : cache.connected ? "Well" : "Does not answer"} detail=${cache.connected ? "" : "Everything goes on without it, a little slower."} />
    <${Part} name="Scheduler" kind=${scheduler.running ? (scheduler.jobs ? "ok" : "off") : "warn"} word=${scheduler.running ? (scheduler.jobs ? counted(scheduler.jobs, "job") : "No job is due by itself") : "Stopped"} at=${scheduler.nextRun} />
  </ul><p class="fine">boxoffice ${system.version}, up for ${duration(system.uptimeSeconds)}. Times on this page are in the zone of this browser (${Intl.DateTimeFormat().resolvedOptions().timeZone}).</p><//>`;
}

function endpointState(endpoint) {
  const lag = endpoint.lagSlots > 20 ? `${counted(endpoint.lagSlots, "block")} behind` : "";
  const latency = endpoint.lastLatencyMs === null ? "" : `${count(endpoint.lastLatencyMs)} ms`;
  if (endpoint.healthy === false || endpoint.state === "open") return { kind: "bad", word: endpoint.state === "open" ? "Rests" : "Fails", detail: endpoint.error ?? "" };
  if (endpoint.limitedUntil) return { kind: "warn", word: "Limits our rate", detail: latency };
  if (endpoint.healthy === null) return { kind: "unknown", word: "Not asked yet", detail: "" };
  return { kind: lag ? "warn" : "ok", word: lag ? "Behind" : "Well", detail: [latency, lag].filter(Boolean).join(", ") };
}

function Part({ name, role, kind, word, detail, at }) {
  return html`<li><span class="part-name">${role && html`<small>${role}</small> `}<${Words}>${name}<//></span><${Status} kind=${kind}>${word}<//>
    ${(detail || at) && html`<span class="fine part-detail"><${Words}>${detail}<//>${at && html`next <${Time} at=${at} />`}</span>`}</li>`;
}

const MEASURES = { failure_rate: "Failures", mint_time: "Time per ticket", cost_per_ticket: "Cost per ticket" };
const MEASURED = { percent, seconds: duration, lamports: solShort };

function Anomalies() {
  const anomalies = useData("admin/anomalies", {}, { every: 30_000 });
  if (anomalies.data === null) return null;
  return html`<${Card} title="Compared with before" aside=${html`<a href="#/charts">Charts</a>`}><ul class="parts">${anomalies.data.measures.map((one) => {
    const say = MEASURED[one.unit] ?? count;
    const [kind, word] = one.verdict === "unusual" ? ["warn", "Unusual"] : one.verdict === "usual" ? ["ok", "As usual"] : ["unknown", "Too early to say"];
    return html`<li key=${one.measure}><span class="part-name">${MEASURES[one.measure] ?? one.measure.replaceAll("_", " ")}</span><${Status} kind=${kind}>${word}<//>
      <span class="fine part-detail">${one.verdict === "usual" && one.value !== null ? `${say(one.value)}${one.usualLow === null ? "" : `, usually ${say(one.usualLow)} to ${say(one.usualHigh)}`}` : html`<${Words}>${one.explanation}<//>`}</span></li>`;
  })}</ul><//>`;
}
