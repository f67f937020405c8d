// What is wrong, what was, and who was told.
import { usePages } from "../data.js";
import { counted } from "../format.js";
import { html } from "../html.js";
import { Card, Empty, Loaded, Older, Page, Status, Time, Words } from "../parts.js";
import { replaceQuery } from "../router.js";
import { alertPlaces, alertSummary, alertWords } from "../verdict.js";

export function Alerts({ query }) {
  const open = query.open === "true";
  const pages = usePages("admin/alerts", { open: open ? "true" : null, limit: 30 }, { list: "alerts", every: 5_000 });
  return html`<${Page} title="Alerts" actions=${html`<div class="segments" role="group" aria-label="Which alerts">
      <button type="button" aria-pressed=${open ? "false" : "true"} onClick=${() => replaceQuery(["alerts"], {})}>All</button>
      <button type="button" aria-pressed=${open ? "true" : "false"} onClick=${() => replaceQuery(["alerts"], { open: "true" })}>Open</button></div>`} />
    <${Loaded} from=${pages}>${() => (pages.rows.length === 0
      ? html`<${Card}><${Empty} title=${open ? "Nothing is wrong now" : "Nothing was ever wrong"} /><//>`
      : html`<ul class="incidents">${pages.rows.map((alert) => html`<${Incident} alert=${alert} key=${alert.id} />`)}</ul><${Older} pages=${pages} />`)}<//>`;
}

function Incident({ alert }) {
  const over = alert.closedAt !== null;
  const kind = over ? "ok" : alert.severity === "critical" ? "bad" : "warn";
  return html`<li class=${`card incident ${over ? "over" : kind}`}>
    <header class="card-head"><h2>${alertWords(alert.kind)}</h2><${Status} kind=${kind}>${over ? "Over" : alert.severity === "critical" ? "Critical" : "Warning"}<//></header>
    <p><${Words}>${alertSummary(alert)}<//></p>
    <${AlertLinks} alert=${alert} />
    <p class="fine">${alert.subject && html`<${Words}>${alert.subject}<//> · `}from <${Time} at=${alert.openedAt} />${over ? html` to <${Time} at=${alert.closedAt} />` : html`, last seen <${Time} at=${alert.lastSeenAt} />`} · seen ${counted(alert.timesSeen, "time")}</p>
    ${alert.deliveries.length > 0 && html`<details><summary>${counted(alert.deliveries.length, "message")}</summary><ul class="plain">${alert.deliveries.map((one) => html`<li class="line" key=${one.messageId}><code>${one.type}</code><${Delivery} one=${one} /></li>`)}</ul></details>`}
  </li>`;
}

/** Where to look into it. */
export function AlertLinks({ alert }) {
  const places = alertPlaces(alert);
  return places.length > 0 && html`<p>${places.map(([href, name], index) => html`${index > 0 && " · "}<a key=${href} href=${href}><${Words}>${name}<//></a>`)}</p>`;
}

function Delivery({ one }) {
  if (one.deliveredAt) return html`<${Status} kind="ok">Delivered <${Time} at=${one.deliveredAt} /><//>`;
  if (one.givenUpAt) return html`<${Status} kind="bad">Given up <${Time} at=${one.givenUpAt} /> <${Words}>${one.lastError ?? ""}<//><//>`;
  return html`<${Status} kind="wait">${counted(one.attempts, "attempt")}, next <${Time} at=${one.nextAttemptAt} /> <${Words}>${one.lastError ?? ""}<//><//>`;
}
