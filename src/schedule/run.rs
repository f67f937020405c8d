//! One run of a job: begun at most once at a time, written down before and after, and never the end of the scheduler.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::{Job, RunError, Scheduler};
use crate::store::{JobRun, NewJobRun, RunOutcome, Trigger};

/// The place of the one run that a job may have, given back when it ends.
pub(super) struct Place<'a>(&'a AtomicBool);

impl<'a> Place<'a> {
    pub(super) fn take(running: &'a AtomicBool) -> Option<Self> {
        // `then`, not `then_some`: a place that was made for nothing would give back the other's.
        let taken = running.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok();
        taken.then(|| Self(running))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Scheduler {
    /// Begins a run of a job and says so; it goes on by itself.
    ///
    /// # Errors
    /// [`RunError::Running`] while the job runs already, and see [`RunError`].
    pub async fn run_now(&self, id: &str) -> Result<JobRun, RunError> {
        let index = self.shared.jobs.iter().position(|job| job.id == id);
        let index = index.ok_or_else(|| RunError::Unknown { id: id.to_owned(), known: self.ids() })?;
        let now_ms = self.shared.clock.now_ms();
        // A manual run has no due time that another could have taken.
        self.begin(index, Trigger::Manual, now_ms).await?.ok_or(RunError::Stopping)
    }

    /// Begins a run. None when its due time is dealt with already.
    pub(super) async fn begin(
        &self,
        index: usize,
        trigger: Trigger,
        scheduled_for_ms: i64,
    ) -> Result<Option<JobRun>, RunError> {
        if self.shared.shutdown.is_cancelled() {
            return Err(RunError::Stopping);
        }
        let (this, (reply, begun)) = (self.clone(), tokio::sync::oneshot::channel());
        // A task of its own from the beginning: whoever asked for the run may go away while it is written down.
        self.shared.tasks.spawn(async move {
            let Some(job) = this.shared.jobs.get(index) else { return };
            let Some(place) = Place::take(&job.running) else {
                drop(reply.send(Err(RunError::Running { id: job.id })));
                return;
            };
            let run = NewJobRun { job: job.id.to_owned(), trigger, scheduled_for_ms, skipped: None };
            match this.shared.store.begin_job_run(run, this.shared.clock.now_ms()).await {
                Ok(Some(run)) => {
                    let id = run.id;
                    // Nobody waits any more when a request was dropped; the run goes on all the same.
                    drop(reply.send(Ok(Some(run))));
                    this.carry_out(job, id).await;
                }
                Ok(None) => drop(reply.send(Ok(None))),
                Err(error) => drop(reply.send(Err(error.into()))),
            }
            drop(place);
        });
        begun.await.map_err(|_ended| RunError::Stopping)?
    }

    async fn carry_out(&self, job: &Job, run_id: i64) {
        tracing::info!(job = job.id, "job begun");
        let began = Instant::now();
        let (outcome, detail) = match tokio::spawn((job.work)()).await {
            Ok(Ok(detail)) => (RunOutcome::Ok, detail),
            Ok(Err(error)) => (RunOutcome::Failed, error.to_string()),
            Err(_panicked) => (RunOutcome::Failed, "a fault of the box: the log has its cause".to_owned()),
        };
        match outcome {
            RunOutcome::Ok | RunOutcome::Skipped => tracing::info!(job = job.id, %detail, "job done"),
            RunOutcome::Failed => tracing::warn!(job = job.id, %detail, "job failed"),
        }
        let now_ms = self.shared.clock.now_ms();
        self.shared.instruments.ended(job, outcome, began.elapsed(), now_ms);
        if let Err(error) = self.shared.store.end_job_run(run_id, outcome, detail, now_ms).await {
            tracing::warn!(job = job.id, %error, "how the job ended cannot be written down");
        }
    }
}
