// The one sentence: how the box is, and what to do. Pure: from what the box says to a kind, a title, a detail and a place to go.
import { about, count, counted, sol } from "./format.js";
import { batchLink, reconcileLink, venueLink } from "./router.js";

export const ALERT_WORDS = {
  low_balance: "The wallet runs low",
  minting_held: "Minting waits",
  endpoint_down: "An RPC endpoint is down",
  batch_failing: "Many tickets of a batch failed",
  publisher_down: "Metadata is not taken",
  content_missing: "Published files are missing",
  disk_low: "The disk is nearly full",
  discrepancies: "Books and chain differ",
  backup_failed: "A backup failed",
  job_failed: "A job failed",
  anomaly: "Something is unusual",
};

/** A kind that this page does not know yet: its code, as words. */
export const alertWords = (kind) => ALERT_WORDS[kind] ?? kind.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());

/** What an alert says, without the paths of the API: where to look is linked. */
export const alertSummary = ({ summary }) => summary.replace(/[;,]? (?:see |(?:GET|POST|PUT|DELETE) )?\/admin\/\S+(?: says why)?/g, "");

/** Where to look into an alert: links with their words. */
export function alertPlaces({ kind, subject, details }) {
  const { batchId, venueId = details?.venue } = details ?? {};
  if (kind === "job_failed" || kind === "backup_failed") return [["#/jobs", kind === "job_failed" && subject ? `The job ${subject}` : "Jobs"]];
  if (kind === "discrepancies") return venueId ? [[reconcileLink(venueId), `Books and chain of ${venueId}`]] : [["#/reconciliation", "Books and chain"]];
  if (kind === "anomaly") return [["#/charts", "Charts"]];
  return [batchId && [batchLink(batchId), "The batch"], venueId && [venueLink(venueId), `The venue ${venueId}`]].filter(Boolean);
}

/** `again`: how many failed tickets can be sent again, at least; null while that is not known. */
export function verdict({ dashboard, system, batches, alerts }, again = null) {
  const { balanceMonitor: wallet, queue, rpc, database } = system;
  const waiting = queue.pending + queue.minting;
  const critical = alerts.filter((alert) => alert.severity === "critical");
  const left = waiting > 0 ? `${counted(waiting, "ticket")} ${waiting === 1 ? "waits" : "wait"}.` : "";

  if (!database.connected) {
    return { kind: "bad", title: "Needs a hand: the database does not answer", detail: "Nothing can be accepted. Look at the disk and at the box's log." };
  }
  const payers = wallet.payers.length > 0;
  if (wallet.sufficient === false) {
    // With fee payers, what the wallet itself holds pays for nothing.
    const empty = payers ? wallet.payers.every((payer) => payer.balanceLamports === 0) : wallet.balanceLamports === 0;
    const who = payers ? "the fee payers" : "the wallet";
    return {
      kind: "bad",
      title: `Needs a hand: ${who} ${empty ? (payers ? "are empty" : "is empty") : "can pay for no more tickets"}`,
      detail: payers
        ? `Fund the fee payers (boxoffice payers fund); minting goes on by itself. ${left}`
        : `${toSend(wallet)} Minting goes on by itself. ${left}`,
      wallet: payers ? null : wallet.wallet,
    };
  }
  if (rpc.length > 0 && rpc.every((endpoint) => endpoint.healthy === false)) {
    return { kind: "bad", title: `Needs a hand: ${rpc.length === 1 ? "the RPC endpoint does" : "no RPC endpoint does"}${rpc.length === 1 ? " not" : ""} answer`, detail: `Look at the network, and at the provider's plan. Tickets are kept, and minted when it answers again. ${left}` };
  }
  if (queue.held) {
    return { kind: "bad", title: "Needs a hand: minting waits", detail: `${queue.held}${/[.!?]$/.test(queue.held) ? "" : "."} ${left}` };
  }
  if (critical.length > 0) {
    return { kind: "bad", title: `Needs a hand: ${lower(alertWords(critical[0].kind))}`, detail: alertSummary(critical[0]), link: (alerts.length === 1 && alertPlaces(critical[0])[0]) || ["#/alerts", more(alerts.length)] };
  }
  const aside = alerts.length > 0 ? { link: ["#/alerts", `${counted(alerts.length, "warning")}`] } : {};
  if (waiting > 0) {
    const running = batches.filter((batch) => batch.state === "running");
    const total = sum(running, "total");
    const settled = total - sum(running, "pending");
    const eta = queue.etaSeconds > 0 ? `, ${about(queue.etaSeconds)} left` : "";
    const title = total > 0 && settled >= 0 ? `Minting: ${count(settled)} of ${count(total)}${eta}` : `Minting: ${counted(waiting, "ticket")} to go${eta}`;
    const failed = sum(running, "failed");
    const later = batches.filter((batch) => batch.state === "waiting").length;
    const detail = [failed ? `${counted(failed, "ticket")} failed so far.` : running.length ? "Nothing failed so far." : "", later ? `${counted(later, "batch", "batches")} for later.` : ""].join(" ").trim();
    if (running.length === 0 && later > 0 && queue.minting === 0) {
      return { kind: alerts.length ? "warn" : "ok", title: alerts.length ? "Works, with something to look at" : "All is well", detail: `${counted(later, "batch", "batches")} ${later === 1 ? "waits" : "wait"} for ${later === 1 ? "its" : "their"} time.`, ...aside };
    }
    return { kind: alerts.length ? "warn" : "busy", title, detail, ...aside };
  }
  const low = alerts.find((alert) => alert.kind === "low_balance");
  if (low) {
    return { kind: "warn", title: payers ? "The fee payers run low" : "The wallet runs low", detail: alertSummary(low), link: ["#/alerts", more(alerts.length)], wallet: payers ? null : wallet.wallet };
  }
  if (alerts.length > 0) {
    return { kind: "warn", title: `Works, with something to look at`, detail: alertSummary(alerts[0]), link: (alerts.length === 1 && alertPlaces(alerts[0])[0]) || ["#/alerts", more(alerts.length)] };
  }
  const minted = dashboard.totalMints - dashboard.failedMints - dashboard.pendingMints;
  const { failedMints } = dashboard;
  const onChain = `${counted(minted, "ticket")} ${minted === 1 ? "is" : "are"} on the chain.`;
  if (failedMints > 0 && again > 0) {
    return { kind: "warn", title: again === failedMints ? `${counted(again, "ticket")} failed and can be sent again` : "Failed tickets can be sent again", detail: `${again === failedMints ? "" : `At least ${count(again)} of ${count(failedMints)}. `}Nothing waits. ${onChain}`, link: ["#/tickets?status=failed", "The failed tickets"] };
  }
  return {
    kind: "ok",
    // While it is not known whether those that failed are for somebody to send again, nobody should rest.
    title: failedMints > 0 && again === null ? "Nothing waits" : "All is well",
    detail: dashboard.totalMints === 0 ? "No ticket has been sent yet." : `Nothing waits. ${onChain}${failedMints ? ` ${counted(failedMints, "ticket")} failed${again === 0 ? ", and sending them again as they are cannot help" : ""}.` : ""}`,
  };
}

export function publicVerdict(status) {
  if (status.status === "unavailable") return { kind: "bad", title: "The box cannot mint just now", detail: "Whoever runs it should have a look." };
  if (status.pending > 0) {
    const held = status.status === "degraded";
    const eta = status.etaSeconds > 0 && !held ? `, ${about(status.etaSeconds)} left` : "";
    return { kind: held ? "warn" : "busy", title: held ? `Minting waits: ${counted(status.pending, "ticket")} to go` : `Minting: ${counted(status.pending, "ticket")} to go${eta}`, detail: "" };
  }
  if (status.status === "degraded") return { kind: "warn", title: "Works, with something to look at", detail: "" };
  // What needs a hand is not said here: nothing more is known than that nothing waits.
  return { kind: "ok", title: "Nothing waits", detail: `${counted(status.minted, "ticket")} ${status.minted === 1 ? "is" : "are"} minted${status.failed ? `, ${count(status.failed)} failed` : ""}.` };
}

/** How much the wallet lacks to its minimum, below which nothing is minted. */
function toSend({ balanceLamports, minRequired = 0 }) {
  if (balanceLamports === null) return "Send SOL to the address below.";
  const least = Math.round(minRequired * 1e9);
  const holds = `it holds ${sol(balanceLamports)}`;
  if (least <= balanceLamports) return `Send SOL to the address below; ${holds}.`;
  return `Send more than ${sol(least - balanceLamports)} to the address below: ${holds}, and keeps ${sol(least)} back. What goes beyond that pays for tickets.`;
}

const sum = (batches, name) => batches.reduce((all, batch) => all + batch.summary[name], 0);
const lower = (text) => (/^[A-Z]{2}/.test(text) ? text : text[0].toLowerCase() + text.slice(1));
const more = (all) => (all > 1 ? `All ${count(all)} alerts` : "The alert");
