// The page: which view is shown, what surrounds it, and the question for the key.
import { access, start } from "./api.js";
import { Component, html, render, useEffect, useLayoutEffect, useRef } from "./html.js";
import { KeyDialog } from "./key.js";
import { followAccess } from "./live.js";
import { Note } from "./parts.js";
import { useRoute } from "./router.js";
import { Denied, Locked, Shell, Starting } from "./shell.js";
import { useStore } from "./store.js";
import { Alerts } from "./views/alerts.js";
import { Audit } from "./views/audit.js";
import { Batch } from "./views/batch.js";
import { Batches } from "./views/batches.js";
import { Cache } from "./views/cache.js";
import { Charts } from "./views/charts.js";
import { Event } from "./views/event.js";
import { Jobs } from "./views/jobs.js";
import { Mint } from "./views/mint.js";
import { More } from "./views/more.js";
import { Overview, PublicOverview } from "./views/overview.js";
import { Reconciliation } from "./views/reconciliation.js";
import { ReconcileVenue } from "./views/reconcile_venue.js";
import { Ticket } from "./views/ticket.js";
import { Tickets } from "./views/tickets.js";
import { Venue } from "./views/venue.js";
import { Venues } from "./views/venues.js";

/** The view of a route, the tab that it belongs to, and its title. */
function viewOf({ path, query }) {
  const [room, first, second, third] = path;
  switch (room) {
    case undefined: return [html`<${Overview} />`, "overview", "Overview"];
    case "charts": return [html`<${Charts} query=${query} />`, "charts", "Charts"];
    case "venues":
      if (second === "events" && third !== undefined) return [html`<${Event} key=${path.join("/")} venueId=${first} eventId=${third} query=${query} />`, "venues", `Event ${third}`];
      if (first !== undefined) return [html`<${Venue} key=${first} venueId=${first} query=${query} />`, "venues", `Venue ${first}`];
      return [html`<${Venues} />`, "venues", "Venues"];
    case "tickets":
      if (first !== undefined && second !== undefined) return [html`<${Ticket} key=${path.join("/")} venueId=${first} ticketId=${second} />`, "tickets", `Ticket ${second}`];
      return [html`<${Tickets} query=${query} />`, "tickets", "Tickets"];
    case "batches":
      if (first !== undefined) return [html`<${Batch} key=${first} id=${first} />`, "batches", "Batch"];
      return [html`<${Batches} query=${query} />`, "batches", "Batches"];
    case "mint": return [html`<${Mint} />`, "mint", "Mint"];
    case "reconciliation":
      if (first !== undefined) return [html`<${ReconcileVenue} key=${first} venueId=${first} />`, "reconciliation", `Books and chain: ${first}`];
      return [html`<${Reconciliation} />`, "reconciliation", "Books and chain"];
    case "jobs": return [html`<${Jobs} />`, "jobs", "Jobs"];
    case "alerts": return [html`<${Alerts} query=${query} />`, "alerts", "Alerts"];
    case "audit": return [html`<${Audit} />`, "audit", "Audit trail"];
    case "cache": return [html`<${Cache} />`, "cache", "Cache"];
    case "more": return [html`<${More} />`, "more", "More"];
    default: return [html`<h1 tabindex="-1">There is no such page</h1><p><a href="#/">To the overview</a></p>`, null, "No such page"];
  }
}

/** A fault in a view must not take the page away. */
class Guard extends Component {
  state = { fault: null };
  componentDidCatch(fault) {
    console.error(fault);
    this.setState({ fault });
  }
  render({ children }, { fault }) {
    if (!fault) return children;
    return html`<h1 tabindex="-1">This view has failed</h1>
      <${Note} kind="bad" title="A fault of the page, not of the box"><p>${String(fault.message)}</p><//>
      <p><a class="button" href="#/" onClick=${() => this.setState({ fault: null })}>To the overview</a></p>`;
  }
}

function App() {
  const route = useRoute();
  const { state, asking, problem } = useStore(access);
  const [view, tab, title] = viewOf(route);
  const place = route.path.join("/");
  const before = useRef(null);
  // Whoever is not let in is not told either what was looked at.
  const heading = state === "open" ? title : state === "public" ? "Summary" : state === "locked" ? "Locked" : null;
  useEffect(() => {
    document.title = heading ? `${heading} – boxoffice` : "boxoffice";
  }, [heading]);
  useLayoutEffect(() => {
    // Whoever follows a link hears where they are. The first view is announced by the page's title.
    if (before.current !== null && before.current !== place) {
      scrollTo(0, 0);
      document.querySelector("main h1")?.focus({ preventScroll: true });
    }
    before.current = place;
  }, [place]);

  let content;
  if (state === "starting") content = html`<${Starting} problem=${problem} />`;
  else if (state === "denied") content = html`<${Denied} problem=${problem} />`;
  else if (state === "locked") content = html`<${Shell} tab=${tab} locked><${Locked} /><//>`;
  else if (state === "public") content = html`<${Shell} tab=${tab} locked><${PublicOverview} /><//>`;
  else content = html`<${Shell} tab=${tab} place=${route.hash}><${Guard} key=${place}>${view}<//><//>`;
  return html`${content}${asking && html`<${KeyDialog} reason=${asking} />`}`;
}

const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
followAccess();
start();
