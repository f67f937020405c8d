// How it went: by the minute, the hour or the day.
import { Chart } from "../chart.js";
import { useData } from "../data.js";
import { count, counted, duration, percent, solShort } from "../format.js";
import { html } from "../html.js";
import { Loaded, Page } from "../parts.js";
import { replaceQuery } from "../router.js";

export const RANGES = [["1h", "Hour"], ["24h", "Day"], ["7d", "Week"], ["30d", "Month"], ["365d", "Year"]];
const EVERY_MS = { "1h": 5_000, "24h": 15_000 };

export function RangePicker({ range, onPick }) {
  return html`<div class="segments" role="group" aria-label="Range">${RANGES.map(([id, name]) => html`
    <button type="button" key=${id} aria-pressed=${range === id ? "true" : "false"} onClick=${() => onPick(id)}>${name}</button>`)}</div>`;
}

export const rangeOf = (query) => (RANGES.some(([id]) => id === query.range) ? query.range : "24h");

export function Charts({ query }) {
  const range = rangeOf(query);
  return html`<${Page} title="Charts" lead="The last period of each chart is still running." actions=${html`<${RangePicker} range=${range} onPick=${(picked) => replaceQuery(["charts"], { range: picked })} />`} />
    <${Trends} range=${range} />`;
}

/** The charts of the box, or of one venue. */
export function Trends({ range, venueId = null }) {
  const trends = useData("admin/trends", { range, venueId }, { every: EVERY_MS[range] ?? 60_000 });
  return html`<${Loaded} from=${trends} rows=${6}>${(data) => html`<${Plots} data=${data} />`}<//>`;
}

function Plots({ data }) {
  const { periods, stepSeconds: step, rpc } = data;
  const dates = periods.map((one) => new Date(one.from));
  const take = (name) => periods.map((one) => one[name]);
  const sum = (name) => take(name).reduce((all, value) => all + (value ?? 0), 0);
  const shared = { periods: dates, step };
  const [minted, failed, spent, estimated] = ["minted", "failed", "spentLamports", "estimatedLamports"].map(sum);
  const settled = minted + failed;
  const [hits, misses] = [sum("cacheHits"), sum("cacheMisses")];
  const cached = take("cacheHits").some((value) => value !== null);
  const times = periods.filter((one) => one.avgMintTimeSeconds !== null && one.minted > 0);
  const mean = times.length ? times.reduce((all, one) => all + one.avgMintTimeSeconds * one.minted, 0) / times.reduce((all, one) => all + one.minted, 0) : null;
  const errors = rpc.map((one) => ({ ...one, total: one.errors.concat(one.limited).reduce((a, b) => a + b, 0), sent: one.sends.reduce((a, b) => a + b, 0) }));
  return html`<div class="charts">
    <${Chart} ...${shared} title="Tickets" say=${count} whole summary=${`${counted(minted, "ticket")} minted, ${count(failed)} failed.`}
      series=${[{ name: "Minted", tone: "tone-ok", shape: "bar", values: take("minted") }, { name: "Failed", tone: "tone-bad", shape: "bar", values: take("failed") }]} />
    <${Chart} ...${shared} title="Success rate" say=${percent} axis=${(value) => `${value} %`} mostAtLeast=${100} cap=${100} summary=${settled ? `${percent((100 * minted) / settled)} of ${counted(settled, "settled ticket")} were minted.` : "Nothing was settled."}
      empty="" series=${[{ name: "Success", tone: "tone-accent", shape: "line", values: periods.map((one) => (one.minted + one.failed ? (100 * one.minted) / (one.minted + one.failed) : null)) }]} />
    <${Chart} ...${shared} title="Time per ticket" say=${duration} summary=${mean === null ? "Nothing was minted." : `${duration(mean)} on average, from acceptance to settlement.`}
      series=${[{ name: "Average", tone: "tone-accent", shape: "line", values: take("avgMintTimeSeconds") }]} />
    <${Chart} ...${shared} title="SOL spent" say=${solShort} axis=${(value) => solShort(value).replace(" SOL", "")} summary=${`${solShort(spent)} spent, ${solShort(estimated)} estimated${estimated ? ` (${percent((100 * spent) / estimated)} of it)` : ""}.`}
      series=${[{ name: "Spent", tone: "tone-accent", shape: "bar", values: take("spentLamports") }, { name: "Estimated", tone: "tone-line", shape: "mark", values: take("estimatedLamports") }]} />
    ${cached && html`
      <${Chart} ...${shared} title="Cache" say=${count} whole summary=${hits + misses ? `${percent((100 * hits) / (hits + misses))} of ${counted(hits + misses, "look-up")} were answered.` : "Nothing was looked up."}
        series=${[{ name: "Answered", tone: "tone-ok", shape: "bar", values: take("cacheHits") }, { name: "Not answered", tone: "tone-mute", shape: "bar", values: take("cacheMisses") }]} />
      <${Chart} ...${shared} title="Uploads" say=${count} whole summary=${`${counted(sum("uploads"), "file")} uploaded, ${count(sum("uploadsSaved"))} saved because they were there already.`}
        series=${[{ name: "Uploaded", tone: "tone-accent", shape: "bar", values: take("uploads") }, { name: "Saved", tone: "tone-ok", shape: "bar", values: take("uploadsSaved") }]} />`}
    ${errors.map((one) => html`<${Chart} ...${shared} key=${one.endpoint} title=${`RPC: ${one.endpoint.replace(/^https?:\/\//, "")}`} say=${count} whole
      summary=${`${counted(one.sent, "send")}, ${counted(one.total, "of them without success", "of them without success")}.`}
      empty="No errors, and no limits met." series=${[{ name: "Errors", tone: "tone-bad", shape: "bar", values: one.errors }, { name: "Turned away by the plan’s limit", tone: "tone-warn", shape: "bar", values: one.limited }]} />`)}
  </div>`;
}
