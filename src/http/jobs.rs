//! `/admin/jobs`: what the box does by itself, and doing it now.

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    error::{Outcome, Problem, ProblemBody},
    writes::IdempotencyHeader,
};
use crate::{
    clock::rfc3339,
    schedule::{Job, Scope},
    store::JobRun,
};

/// Runs that are shown of each job.
const RECENT_RUNS: usize = 10;

/// What the box does by itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobTable {
    jobs: Vec<JobEntry>,
    /// `TIMEZONE`: where the schedules' clock hangs.
    time_zone: String,
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobEntry {
    /// Stable; part of the path that runs it.
    id: String,
    /// What it does.
    description: String,
    /// Five-field cron; null when it is off, and runs by hand only.
    schedule: Option<String>,
    enabled: bool,
    /// `box` when each box does it for itself, `fleet` when one does it for all that share a Redis.
    scope: &'static str,
    /// It runs now.
    running: bool,
    /// The run that began last; null before the first.
    last_run: Option<Run>,
    /// When it is due next; null when it is off.
    #[schema(format = DateTime)]
    next_run: Option<String>,
    /// The runs that began last, newest first, ten at most.
    recent_runs: Vec<Run>,
}

/// A run of a job.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Run {
    /// Later runs have larger ones.
    id: i64,
    /// The job's id.
    job: String,
    /// `schedule`, `manual`, or `catch_up` when it was due while the box could not run it.
    trigger: &'static str,
    /// When it was due; for a manual run, when it was asked for.
    #[schema(format = DateTime)]
    scheduled_for: String,
    #[schema(format = DateTime)]
    started_at: String,
    /// Null while it runs.
    #[schema(format = DateTime)]
    finished_at: Option<String>,
    /// `ok`, `failed`, or `skipped` when it was due while the job was still running; null while it runs.
    outcome: Option<&'static str>,
    /// What was done, or why not.
    detail: Option<String>,
}

impl From<JobRun> for Run {
    fn from(run: JobRun) -> Self {
        Self {
            id: run.id,
            job: run.job,
            trigger: run.trigger.as_str(),
            scheduled_for: rfc3339(run.scheduled_for_ms),
            started_at: rfc3339(run.started_at_ms),
            finished_at: run.finished_at_ms.map(rfc3339),
            outcome: run.outcome.map(crate::store::RunOutcome::as_str),
            detail: run.detail,
        }
    }
}

async fn entry(api: &Api, job: &Job) -> Result<JobEntry, Problem> {
    let runs = api.app.store.job_runs(job.id.to_owned(), RECENT_RUNS).await?;
    let recent_runs: Vec<Run> = runs.into_iter().map(Run::from).collect();
    Ok(JobEntry {
        id: job.id.to_owned(),
        description: job.description.to_owned(),
        schedule: job.schedule.as_ref().map(|schedule| schedule.text().to_owned()),
        enabled: job.schedule.is_some(),
        scope: match job.scope {
            Scope::Box => "box",
            Scope::Fleet => "fleet",
        },
        running: job.is_running(),
        last_run: recent_runs.first().cloned(),
        next_run: api.app.scheduler.next_run_ms(job).map(rfc3339),
        recent_runs,
    })
}

/// What the box does by itself: when each job is due, and how its last runs ended.
#[utoipa::path(get, path = "/jobs", operation_id = "listJobs", tag = "system", responses((status = 200, body = JobTable)))]
pub(super) async fn list(State(api): State<Api>) -> Result<Json<JobTable>, Problem> {
    let mut jobs = Vec::new();
    for job in api.app.scheduler.jobs() {
        jobs.push(entry(&api, job).await?);
    }
    Ok(Json(JobTable { jobs, time_zone: api.app.config.schedules.zone_name.clone() }))
}

/// Runs a job now, also one that is off. The answer does not wait for its end.
#[utoipa::path(
    post,
    path = "/jobs/{id}/run",
    operation_id = "runJob",
    tag = "system",
    params(("id" = String, Path, description = "The job's id."), IdempotencyHeader),
    responses(
        (status = 202, body = Run, description = "It runs.", headers(("location", description = "Where its runs are listed."))),
        (status = 404, description = "`not_found`: there is no such job.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`job_running`: wait until it is done. `request_in_flight`: a request with this \
            `Idempotency-Key` is being carried out.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn run(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    let run = api.app.scheduler.run_now(&id).await?;
    let location = [(header::LOCATION, "/admin/jobs")];
    let outcome = Outcome(format!("run {} of {} begun", run.id, run.job));
    let mut response = (StatusCode::ACCEPTED, location, Json(Run::from(run))).into_response();
    response.extensions_mut().insert(outcome);
    Ok(response)
}
