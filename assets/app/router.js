// Addresses behind the #: which view they name, and links to them.
import { useEffect, useState } from "./html.js";

/** "#/venues/a%2Fb?range=7d" is { path: ["venues", "a/b"], query: { range: "7d" } }. */
export function parse(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?");
  const segments = path.split("/").filter((part) => part !== "").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  return { path: segments, query: Object.fromEntries(new URLSearchParams(search)), hash };
}

export function link(segments, query = {}) {
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "")).toString();
  return `#/${segments.map((part) => encodeURIComponent(part)).join("/")}${search && `?${search}`}`;
}

export const ticketLink = (venueId, ticketId) => link(["tickets", venueId, ticketId]);
export const batchLink = (batchId) => link(["batches", batchId]);
export const venueLink = (venueId) => link(["venues", venueId]);
export const eventLink = (venueId, eventId) => link(["venues", venueId, "events", eventId]);
export const reconcileLink = (venueId) => link(["reconciliation", venueId]);

export function go(hash) {
  location.hash = hash;
}

/** Changes the query without a new entry in the history, and without moving the focus. */
export function replaceQuery(segments, query) {
  history.replaceState(null, "", link(segments, query));
  dispatchEvent(new HashChangeEvent("hashchange"));
}

export function useRoute() {
  const [route, setRoute] = useState(() => parse(location.hash));
  useEffect(() => {
    const changed = () => setRoute(parse(location.hash));
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}
