// What the box does by itself, how that went, and doing it now.
import { ActionButton, ActionProblem, AsBefore, CLICK_MS, ReadOnlyHint, useAction } from "../actions.js";
import { segment } from "../api.js";
import { useData } from "../data.js";
import { duration } from "../format.js";
import { html } from "../html.js";
import { Card, Fact, Facts, Loaded, Page, Status, Table, Time, Words } from "../parts.js";

const TRIGGERS = { schedule: "by the clock", manual: "by hand", catch_up: "made up for" };

export function Jobs() {
  const jobs = useData("admin/jobs", {}, { every: 2_500 });
  return html`<${Page} title="Jobs" lead=${jobs.data && `Schedules are in the time of ${jobs.data.timeZone}; times below are in yours.`} /><${ReadOnlyHint} />
    <${Loaded} from=${jobs} rows=${6}>${(data) => data.jobs.map((job) => html`<${Job} job=${job} reload=${jobs.reload} key=${job.id} />`)}<//>`;
}

function RunOutcome({ run }) {
  if (!run) return html`<${Status} kind="off">Never ran<//>`;
  const [kind, word] = run.outcome === "ok" ? ["ok", "Well"] : run.outcome === "failed" ? ["bad", "Failed"] : run.outcome === "skipped" ? ["off", "Skipped"] : ["busy", "Runs now"];
  return html`<${Status} kind=${kind}>${word}<//>`;
}

function Job({ job, reload }) {
  const action = useAction({ lastsMs: CLICK_MS });
  const run = async () => {
    await action.run("POST", `admin/jobs/${segment(job.id)}/run`);
    reload();
  };
  return html`<${Card} title=${job.id} aside=${html`<${ActionButton} busy=${action.busy || job.running} label=${`${job.running ? "Runs…" : "Run now"}: ${job.id}`} onClick=${run}>${job.running ? "Runs…" : "Run now"}<//>`} id=${`job-${job.id}`}>
    <p>${job.description}.</p>
    <${ActionProblem} problem=${action.problem} /><${AsBefore} result=${action.result} />
    <${Facts}>
      <${Fact} name="Schedule">${job.schedule ? html`<code>${job.schedule}</code>` : "off: by hand only"}<//>
      <${Fact} name="Next"><${Time} at=${job.nextRun} empty="–" /><//>
      <${Fact} name="Last"><${Time} at=${job.lastRun?.startedAt} empty="–" /><//>
      <${Fact} name="Outcome"><span role="status"><${RunOutcome} run=${job.running ? { outcome: null } : job.lastRun} /></span><//>
    <//>
    ${job.lastRun?.detail && html`<p class="fine"><${Words}>${job.lastRun.detail}<//></p>`}
    ${job.recentRuns.length > 1 && html`<details><summary>The last runs</summary><${Table} label=${`The last runs of ${job.id}`} rows=${job.recentRuns} rowKey=${(row) => row.id} columns=${[
      { name: "Began", className: "main", cell: (row) => html`<${Time} at=${row.startedAt} />` },
      { name: "Why", cell: (row) => TRIGGERS[row.trigger] ?? row.trigger },
      { name: "Outcome", cell: (row) => html`<${RunOutcome} run=${row} />` },
      { name: "Took", className: "right", cell: (row) => (row.finishedAt ? duration((new Date(row.finishedAt) - new Date(row.startedAt)) / 1000) : "–") },
      { name: "What was done", className: "wide-cell", cell: (row) => html`<${Words}>${row.detail ?? "–"}<//>` },
    ]} /></details>`}
  <//>`;
}
