//! The scheduler: runs the jobs of its table when they are due, each at most once at a time.
//!
//! A small loop of our own that compares the [`Clock`](crate::clock::Clock) with the next due times, and looks at least every
//! 30 seconds: timers of the runtime stand still while a machine sleeps, and know nothing of clocks that are set. What a job
//! does is in `jobs`, one service call each; how a run is carried out is in `run`; what is measured is in `instruments`.
//!
//! Rules: what was due while the box was asleep or off is made up for once, whatever the number of due times; a due time is
//! never run twice, whatever the clock does; a due time that comes while the job still runs is written down as skipped; a job
//! that fails or panics is written down and does not end the scheduler. A schedule that is new makes up for nothing.

mod instruments;
mod jobs;
mod run;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use prometheus::Registry;
use thiserror::Error;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use jobs::{JobError, Services, table};

use crate::{
    clock::SharedClock,
    domain::cron::Cron,
    fleet::{Claim, Fleet},
    store::{NewJobRun, Store, StoreError, Trigger},
};
use instruments::Instruments;

/// The longest time between two looks at the clock: how late a machine that wakes up, or whose clock was set, may begin.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The wait when something is due and could not be begun, because the books cannot be written.
const RETRY_WAIT: Duration = Duration::from_secs(1);
/// A run that begins this late or later makes up for time in which the box could not run it.
const LATE_MS: i64 = 60_000;

/// What a job does; its answer is a sentence for the record.
type Work = Box<dyn Fn() -> BoxFuture<'static, Result<String, JobError>> + Send + Sync>;

/// Whose a job is, where several boxes share a Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each box does it for itself: it is about the box's own books.
    Box,
    /// One box does it for all: it is about what they share.
    Fleet,
}

/// A line of the table.
pub struct Job {
    /// Its name in the API; stable.
    pub id: &'static str,
    /// What it does, for a person.
    pub description: &'static str,
    /// When it is due; none when it is off, and runs by hand only.
    pub schedule: Option<Cron>,
    /// Whose it is.
    pub scope: Scope,
    work: Work,
    running: AtomicBool,
    /// The due time that this box has claimed for the fleet and not begun yet, Unix milliseconds.
    claimed_ms: Mutex<Option<i64>>,
    /// Due times up to here are dealt with, Unix milliseconds; none before the scheduler starts.
    done_until_ms: Mutex<Option<i64>>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("id", &self.id).field("schedule", &self.schedule).finish_non_exhaustive()
    }
}

impl Job {
    /// A line of the table.
    pub fn new<F>(
        id: &'static str,
        description: &'static str,
        schedule: Option<Cron>,
        work: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<String, JobError>> + Send + 'static,
    {
        Self {
            id,
            description,
            schedule,
            scope: Scope::Box,
            work: Box::new(move || Box::pin(work())),
            running: AtomicBool::new(false),
            claimed_ms: Mutex::new(None),
            done_until_ms: Mutex::new(None),
        }
    }

    /// The same job, done by one box for all.
    #[must_use]
    pub fn for_the_fleet(self) -> Self {
        Self { scope: Scope::Fleet, ..self }
    }

    /// Whether it runs now.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    fn done_until_ms(&self) -> Option<i64> {
        *self.done_until_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_done_until(&self, unix_ms: i64) {
        *self.done_until_ms.lock().unwrap_or_else(PoisonError::into_inner) = Some(unix_ms);
    }

    /// The first due time that is not dealt with. A clock that was set back begins afresh from what it shows now.
    fn next_due_ms(&self, now_ms: i64) -> Option<i64> {
        self.schedule.as_ref()?.next_after(self.done_until_ms()?.min(now_ms))
    }
}

/// Why a run is not begun.
#[derive(Debug, Error)]
pub enum RunError {
    /// No such job.
    #[error("there is no job {id:?}; there are {known}")]
    Unknown {
        /// The id that was asked for.
        id: String,
        /// The ids that there are.
        known: String,
    },
    /// One at a time.
    #[error("the job {id} is running; wait until it is done")]
    Running {
        /// The job.
        id: &'static str,
    },
    /// The process is ending.
    #[error("the box is stopping; nothing new is begun")]
    Stopping,
    /// The books.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Runs the jobs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Scheduler {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    clock: SharedClock,
    jobs: Vec<Job>,
    fleet: Option<Fleet>,
    instruments: Instruments,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    /// The loop is alive.
    alive: AtomicBool,
}

impl Scheduler {
    /// A scheduler over a table of jobs; nothing is due before [`Scheduler::start`], but jobs can be run by hand.
    ///
    /// # Errors
    /// When its instruments are registered already.
    pub fn new(
        store: Store,
        clock: SharedClock,
        jobs: Vec<Job>,
        fleet: Option<Fleet>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let (alive, instruments) = (AtomicBool::new(false), Instruments::new(registry, &jobs)?);
        Ok(Self { shared: Arc::new(Shared { store, clock, jobs, fleet, instruments, tasks, shutdown, alive }) })
    }

    /// Recalls from the books how far each job is, ends the runs in which an earlier process ended, and begins to watch the
    /// clock. What was due in the meantime is made up for at once.
    ///
    /// # Errors
    /// When the books cannot be written.
    pub async fn start(&self) -> Result<(), StoreError> {
        self.recall().await?;
        self.shared.alive.store(true, Ordering::Release);
        self.shared.tasks.spawn(self.clone().watch());
        Ok(())
    }

    /// Recalls from the books how far each job is, without watching the clock.
    ///
    /// # Errors
    /// When the books cannot be written.
    pub async fn recall(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let now_ms = shared.clock.now_ms();
        let lost = shared.store.end_lost_job_runs(now_ms).await?;
        if lost > 0 {
            tracing::warn!(lost, "an earlier process ended while jobs ran");
        }
        for job in &shared.jobs {
            let expression = job.schedule.as_ref().map(ToString::to_string).unwrap_or_default();
            let done_until_ms = shared.store.job_done_until(job.id.to_owned(), expression, now_ms).await?;
            job.set_done_until(done_until_ms);
            shared.instruments.recall(job, &shared.store.job_past(job.id.to_owned()).await?, done_until_ms);
        }
        Ok(())
    }

    /// The table.
    #[must_use]
    pub fn jobs(&self) -> &[Job] {
        &self.shared.jobs
    }

    /// Whether the clock is watched.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.shared.alive.load(Ordering::Acquire)
    }

    /// When a job is due next, Unix milliseconds; none when it is off.
    #[must_use]
    pub fn next_run_ms(&self, job: &Job) -> Option<i64> {
        job.next_due_ms(self.shared.clock.now_ms())
    }

    fn ids(&self) -> String {
        self.shared.jobs.iter().map(|job| job.id).collect::<Vec<_>>().join(", ")
    }

    async fn watch(self) {
        let shared = &self.shared;
        let watch = async {
            loop {
                self.look().await;
                tokio::time::sleep(self.wait()).await;
            }
        };
        shared.shutdown.run_until_cancelled(watch).await;
        shared.alive.store(false, Ordering::Release);
    }

    /// Until the next look at the clock.
    fn wait(&self) -> Duration {
        let now_ms = self.shared.clock.now_ms();
        let next = self.shared.jobs.iter().filter_map(|job| job.next_due_ms(now_ms)).min();
        let Some(next) = next else { return LONGEST_WAIT };
        match u64::try_from(next.saturating_sub(now_ms)) {
            Ok(0) | Err(_) => RETRY_WAIT,
            Ok(until_next) => Duration::from_millis(until_next).min(LONGEST_WAIT),
        }
    }

    /// Looks at the clock once, and begins what is due. Returns when it is begun, not when it is done.
    pub async fn look(&self) {
        let now_ms = self.shared.clock.now_ms();
        for (index, job) in self.shared.jobs.iter().enumerate() {
            let Some(due_ms) = job.next_due_ms(now_ms).filter(|due_ms| *due_ms <= now_ms) else {
                // Also what makes a clock that was set back begin afresh.
                if job.done_until_ms().is_some_and(|done_until_ms| done_until_ms > now_ms) {
                    job.set_done_until(now_ms);
                }
                continue;
            };
            match self.claim(job, due_ms).await {
                Claim::Ours => {}
                Claim::Done => {
                    self.shared.instruments.done_elsewhere(job, due_ms);
                    job.set_done_until(due_ms);
                    continue;
                }
                // It stays due, in case the leader ends before it begins it.
                Claim::NotOurs => continue,
            }
            let late = now_ms.saturating_sub(due_ms) >= LATE_MS;
            let trigger = if late { Trigger::CatchUp } else { Trigger::Schedule };
            match self.begin(index, trigger, due_ms).await {
                Ok(_begun_or_known) => job.set_done_until(now_ms),
                Err(RunError::Running { .. }) => self.skip(job, trigger, due_ms, now_ms).await,
                Err(RunError::Stopping) => return,
                // It stays due, and is tried again at the next look.
                Err(error) => tracing::warn!(job = job.id, %error, "a job that is due cannot be begun yet"),
            }
        }
    }

    /// Whose a run is that is due.
    async fn claim(&self, job: &Job, due_ms: i64) -> Claim {
        match &self.shared.fleet {
            Some(fleet) if job.scope == Scope::Fleet => {
                let claimed = || job.claimed_ms.lock().unwrap_or_else(PoisonError::into_inner);
                // Claimed at an earlier look, when the books could not be written.
                if *claimed() == Some(due_ms) {
                    return Claim::Ours;
                }
                let claim = fleet.claim(job.id, due_ms).await;
                if claim == Claim::Ours {
                    *claimed() = Some(due_ms);
                }
                claim
            }
            _ => Claim::Ours,
        }
    }

    async fn skip(&self, job: &Job, trigger: Trigger, scheduled_for_ms: i64, now_ms: i64) {
        let skipped = Some("it was due while it was still running".to_owned());
        let run = NewJobRun { job: job.id.to_owned(), trigger, scheduled_for_ms, skipped };
        match self.shared.store.begin_job_run(run, now_ms).await {
            Ok(_written) => {
                job.set_done_until(now_ms);
                self.shared.instruments.skipped(job);
            }
            Err(error) => tracing::warn!(job = job.id, %error, "a skipped run cannot be written down yet"),
        }
    }
}
