//! What Prometheus is told of jobs. The label is `job_id`, because Prometheus itself puts `job` on everything that it collects.

use std::time::Duration;

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::Job;
use crate::store::{JobPast, RunOutcome};

/// The instruments of all jobs.
#[derive(Debug)]
pub(super) struct Instruments {
    runs: IntCounterVec,
    duration: GaugeVec,
    last_success: IntGaugeVec,
    success_due: IntGaugeVec,
}

impl Instruments {
    /// Every job stands at 0 runs; when it last succeeded is missing until it is known.
    pub(super) fn new(registry: &Registry, jobs: &[Job]) -> Result<Self, prometheus::Error> {
        let runs = Opts::new("boxoffice_job_runs_total", "Runs of a job that ended since the start, by outcome.");
        let duration = Opts::new("boxoffice_job_duration_seconds", "Seconds that the last run of a job took.");
        let last_success = "Unix time at which a job last ended well; missing if it never did.";
        let last_success = Opts::new("boxoffice_job_last_success_timestamp_seconds", last_success);
        let success_due = "Unix time of the first due time that no successful run of a job has dealt with; missing \
                           while it has no schedule.";
        let success_due = Opts::new("boxoffice_job_success_due_timestamp_seconds", success_due);
        let instruments = Self {
            runs: IntCounterVec::new(runs, &["job_id", "outcome"])?,
            duration: GaugeVec::new(duration, &["job_id"])?,
            last_success: IntGaugeVec::new(last_success, &["job_id"])?,
            success_due: IntGaugeVec::new(success_due, &["job_id"])?,
        };
        for job in jobs {
            for outcome in RunOutcome::ALL {
                drop(instruments.runs.with_label_values(&[job.id, outcome.as_str()]));
            }
        }
        registry.register(Box::new(instruments.runs.clone()))?;
        registry.register(Box::new(instruments.duration.clone()))?;
        registry.register(Box::new(instruments.last_success.clone()))?;
        registry.register(Box::new(instruments.success_due.clone()))?;
        Ok(instruments)
    }

    /// Goes on where an earlier process ended. Due times up to `done_until_ms` are dealt with, or never counted.
    pub(super) fn recall(&self, job: &Job, past: &JobPast, done_until_ms: i64) {
        if let Some(success) = &past.last_success {
            self.last_success.with_label_values(&[job.id]).set(seconds(success.finished_at_ms));
            let took_ms = success.finished_at_ms.saturating_sub(success.started_at_ms);
            let took = Duration::from_millis(u64::try_from(took_ms).unwrap_or_default());
            self.duration.with_label_values(&[job.id]).set(took.as_secs_f64());
        }
        let dealt_with_ms = past.last_success.as_ref().map_or(i64::MIN, |success| success.finished_at_ms);
        let next = || job.schedule.as_ref()?.next_after(done_until_ms.max(dealt_with_ms));
        let missed = past.missed_ms.filter(|_| job.schedule.is_some());
        self.set_due(job, missed.or_else(next));
    }

    /// Counts a run that ended after `took`.
    pub(super) fn ended(&self, job: &Job, outcome: RunOutcome, took: Duration, now_ms: i64) {
        self.runs.with_label_values(&[job.id, outcome.as_str()]).inc();
        self.duration.with_label_values(&[job.id]).set(took.as_secs_f64());
        if outcome == RunOutcome::Ok {
            self.last_success.with_label_values(&[job.id]).set(seconds(now_ms));
            self.set_due(job, job.schedule.as_ref().and_then(|schedule| schedule.next_after(now_ms)));
        }
    }

    /// Counts a run that was due and not begun.
    pub(super) fn skipped(&self, job: &Job) {
        self.runs.with_label_values(&[job.id, RunOutcome::Skipped.as_str()]).inc();
    }

    /// Another box has dealt with a due time.
    pub(super) fn done_elsewhere(&self, job: &Job, due_ms: i64) {
        self.set_due(job, job.schedule.as_ref().and_then(|schedule| schedule.next_after(due_ms)));
    }

    fn set_due(&self, job: &Job, due_ms: Option<i64>) {
        if let Some(due_ms) = due_ms {
            self.success_due.with_label_values(&[job.id]).set(seconds(due_ms));
        }
    }
}

fn seconds(unix_ms: i64) -> i64 {
    unix_ms.div_euclid(1_000)
}
