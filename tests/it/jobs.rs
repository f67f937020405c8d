//! The scheduler: nights that pass, clocks that jump, machines that sleep, jobs that last too long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use boxoffice::{
    clock::ManualClock,
    domain::cron::Cron,
    fleet::Fleet,
    schedule::{Job, JobError, RunError, Scheduler},
    store::{JobRun, RunOutcome, Store, StoreError, Trigger},
};
use jiff::{Timestamp, tz::TimeZone};
use prometheus::{Registry, TextEncoder};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

fn cron(expression: &str, zone: &str) -> Cron {
    Cron::parse(expression, TimeZone::get(zone).unwrap()).unwrap()
}

/// A data folder and a clock, over which schedulers come and go.
struct Machine {
    folder: TempDir,
    clock: Arc<ManualClock>,
}

/// A scheduler with its books.
struct Running {
    store: Store,
    clock: Arc<ManualClock>,
    scheduler: Scheduler,
    registry: Registry,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Machine {
    fn new(now: &str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: Arc::new(ManualClock::new(at(now))) }
    }

    /// Starts a scheduler that looks at the clock when it is told to.
    async fn start(&self, job: Job) -> Running {
        self.join(job, None).await
    }

    /// As one of several that share a Redis.
    async fn join(&self, job: Job, fleet: Option<Fleet>) -> Running {
        let store = Store::open(self.folder.path()).unwrap();
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let (clock, registry) = (Arc::clone(&self.clock), Registry::new());
        let (running, ending) = (tasks.clone(), shutdown.clone());
        let scheduler =
            Scheduler::new(store.clone(), Arc::clone(&clock) as _, vec![job], fleet, running, ending, &registry)
                .unwrap();
        scheduler.recall().await.unwrap();
        Running { store, clock, scheduler, registry, tasks, shutdown }
    }
}

impl Running {
    /// Sets the clock, has the scheduler look at it, and waits until nothing runs.
    async fn at(&self, unix_ms: i64) {
        self.clock.set(unix_ms);
        self.scheduler.look().await;
        self.idle().await;
    }

    async fn idle(&self) {
        while self.scheduler.jobs()[0].is_running() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// All runs, oldest first.
    async fn runs(&self) -> Vec<JobRun> {
        let mut runs = self.store.job_runs("job".into(), 1_000).await.unwrap();
        runs.reverse();
        runs
    }

    /// An instrument of the job as `/metrics` shows it, with the labels that follow `job_id`; none when it is missing.
    fn shown(&self, name: &str, more: &str) -> Option<String> {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let line = format!("boxoffice_job_{name}{{job_id=\"job\"{more}}} ");
        text.lines().find_map(|shown| Some(shown.strip_prefix(&line)?.to_owned()))
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.store.close().await;
    }
}

/// A job that only counts.
fn counting(schedule: Option<Cron>) -> (Job, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let job = Job::new("job", "counts", schedule, move || {
        let counted = Arc::clone(&counted);
        async move { Ok(format!("number {}", counted.fetch_add(1, Ordering::SeqCst) + 1)) }
    });
    (job, count)
}

/// A job that lasts until it is let go, one permit for each run.
fn lasting(schedule: Option<Cron>) -> (Job, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let waits_for = Arc::clone(&gate);
    let job = Job::new("job", "lasts", schedule, move || {
        let gate = Arc::clone(&waits_for);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok("lasted".to_owned())
        }
    });
    (job, gate)
}

/// Three nights around each change of the clocks, in steps of ten minutes: every night has one run, at the right moment.
#[tokio::test]
async fn nights_with_changed_clocks_have_one_run() {
    let cases = [
        ("Europe/Berlin", "30 2 * * *", "2026-03-28T12:00:00Z", ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
        ("Europe/Berlin", "30 2 * * *", "2026-10-24T12:00:00Z", ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        ("America/New_York", "30 2 * * *", "2026-03-07T17:00:00Z", ["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"]),
        ("America/New_York", "30 1 * * *", "2026-10-31T16:00:00Z", ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]),
        ("America/New_York", "0 2 * * *", "2026-10-31T16:00:00Z", ["2026-11-01T07:00:00Z", "2026-11-02T07:00:00Z"]),
    ];
    for (zone, expression, begin, wanted) in cases {
        let machine = Machine::new(begin);
        let (job, _count) = counting(Some(cron(expression, zone)));
        let running = machine.start(job).await;
        for step in 0..=(2 * 24 * 6) {
            running.at(at(begin) + step * 10 * MINUTE).await;
        }
        let runs = running.runs().await;
        let due: Vec<_> = runs.iter().map(|run| run.scheduled_for_ms).collect();
        assert_eq!(due, wanted.map(at), "{zone} {expression} {begin}");
        assert!(runs.iter().all(|run| run.trigger == Trigger::Schedule && run.outcome == Some(RunOutcome::Ok)));
        running.stop().await;
    }
}

#[tokio::test]
async fn a_machine_that_slept_over_a_due_time_catches_up_once() {
    let machine = Machine::new("2026-05-01T20:00:00Z");
    let (job, count) = counting(Some(cron("0 2 * * *", "UTC")));
    let running = machine.start(job).await;
    running.at(at("2026-05-01T23:00:00Z")).await;
    assert_eq!(count.load(Ordering::SeqCst), 0);
    // It sleeps for three nights.
    running.at(at("2026-05-04T08:00:00Z")).await;
    running.at(at("2026-05-04T08:00:30Z")).await;
    let runs = running.runs().await;
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!((runs[0].trigger, runs[0].scheduled_for_ms), (Trigger::CatchUp, at("2026-05-02T02:00:00Z")));
    assert_eq!(runs[0].started_at_ms, at("2026-05-04T08:00:00Z"));
    // And goes on as if nothing had been.
    running.at(at("2026-05-05T02:00:01Z")).await;
    let runs = running.runs().await;
    assert_eq!((runs.len(), runs[1].trigger), (2, Trigger::Schedule));
    running.stop().await;
}

#[tokio::test]
async fn a_box_that_was_off_catches_up_when_it_starts_and_a_new_one_does_not() {
    let machine = Machine::new("2026-05-01T20:00:00Z");
    let (job, count) = counting(Some(cron("0 2 * * *", "UTC")));
    let first = machine.start(job).await;
    first.at(at("2026-05-01T21:00:00Z")).await;
    assert_eq!(count.load(Ordering::SeqCst), 0, "a first start catches up nothing");
    first.stop().await;

    // Off overnight, though the job has never run.
    machine.clock.set(at("2026-05-02T09:00:00Z"));
    let (job, count) = counting(Some(cron("0 2 * * *", "UTC")));
    let second = machine.start(job).await;
    second.at(at("2026-05-02T09:00:00Z")).await;
    assert_eq!(count.load(Ordering::SeqCst), 1);
    second.stop().await;

    // The same morning again: it is caught up already, and the run is remembered.
    let (job, count) = counting(Some(cron("0 2 * * *", "UTC")));
    let third = machine.start(job).await;
    third.at(at("2026-05-02T09:05:00Z")).await;
    assert_eq!(count.load(Ordering::SeqCst), 0);
    assert_eq!(third.runs().await[0].detail.as_deref(), Some("number 1"));
    third.stop().await;

    // Another schedule begins afresh.
    machine.clock.set(at("2026-05-04T09:00:00Z"));
    let (job, count) = counting(Some(cron("0 4 * * *", "UTC")));
    let fourth = machine.start(job).await;
    fourth.at(at("2026-05-04T09:00:00Z")).await;
    assert_eq!(count.load(Ordering::SeqCst), 0);
    fourth.stop().await;
}

#[tokio::test]
async fn a_clock_that_jumps_runs_nothing_twice() {
    let machine = Machine::new("2026-05-01T20:00:00Z");
    let (job, count) = counting(Some(cron("0 2 * * *", "UTC")));
    let running = machine.start(job).await;
    running.at(at("2026-05-02T02:00:00Z")).await;
    assert_eq!(count.load(Ordering::SeqCst), 1);
    // Back by a second, an hour, a day, and over the due time again each time.
    for back in [1_000, HOUR, 24 * HOUR - 1] {
        running.at(at("2026-05-02T02:00:00Z") - back).await;
        running.at(at("2026-05-02T01:59:59Z")).await;
        running.at(at("2026-05-02T02:00:05Z")).await;
        assert_eq!(count.load(Ordering::SeqCst), 1, "back by {back} ms");
    }
    running.at(at("2026-05-03T02:00:00Z")).await;
    assert_eq!(count.load(Ordering::SeqCst), 2);
    // A year ahead by mistake, and put right: it does not wait a year.
    running.at(at("2027-05-03T12:00:00Z")).await;
    assert_eq!(count.load(Ordering::SeqCst), 3);
    running.at(at("2026-05-03T12:00:00Z")).await;
    for day in 4..8 {
        running.at(at(&format!("2026-05-0{day}T02:00:00Z"))).await;
    }
    let mut due: Vec<_> = running.runs().await.iter().map(|run| run.scheduled_for_ms).collect();
    assert_eq!(due.len(), 6, "the due time that ran in the false future is not run again");
    due.dedup();
    assert_eq!(due.len(), 6);
    running.stop().await;

    // A box that starts with a clock that shows less than at its last end.
    machine.clock.set(at("2026-05-07T01:00:00Z"));
    let (job, count) = counting(Some(cron("0 2 * * *", "UTC")));
    let later = machine.start(job).await;
    later.at(at("2026-05-07T02:00:00Z")).await;
    assert_eq!(count.load(Ordering::SeqCst), 0);
    later.at(at("2026-05-08T02:00:00Z")).await;
    assert_eq!(count.load(Ordering::SeqCst), 1);
    later.stop().await;
}

#[tokio::test]
async fn a_job_that_lasts_longer_than_its_interval_runs_once_at_a_time() {
    let machine = Machine::new("2026-05-01T20:00:30Z");
    let (job, gate) = lasting(Some(cron("*/5 * * * *", "UTC")));
    let running = machine.start(job).await;
    for minute in [5, 10, 15] {
        running.clock.set(at(&format!("2026-05-01T20:{minute:02}:00Z")));
        running.scheduler.look().await;
        running.scheduler.look().await;
    }
    assert!(matches!(running.scheduler.run_now("job").await, Err(RunError::Running { id: "job" })));
    gate.add_permits(1);
    running.idle().await;
    gate.add_permits(1);
    running.at(at("2026-05-01T20:20:00Z")).await;
    let outcomes: Vec<_> = running.runs().await.iter().map(|run| run.outcome.unwrap().as_str()).collect();
    assert_eq!(outcomes, ["ok", "skipped", "skipped", "ok"]);
    assert_eq!(running.shown("runs_total", ",outcome=\"skipped\""), Some("2".into()));
    running.stop().await;
}

#[tokio::test]
async fn a_job_that_fails_or_panics_does_not_end_the_scheduler() {
    let machine = Machine::new("2026-05-01T20:00:30Z");
    let count = AtomicUsize::new(0);
    let job = Job::new("job", "fails", Some(cron("* * * * *", "UTC")), move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            match number {
                0 => panic!("on purpose"),
                1 => Err(JobError::from(StoreError::Unavailable)),
                _ => Ok("recovered".to_owned()),
            }
        }
    });
    let running = machine.start(job).await;
    for minute in 1..=3 {
        running.at(at(&format!("2026-05-01T20:{minute:02}:00Z"))).await;
    }
    let runs = running.runs().await;
    let outcomes: Vec<_> = runs.iter().map(|run| run.outcome.unwrap()).collect();
    assert_eq!(outcomes, [RunOutcome::Failed, RunOutcome::Failed, RunOutcome::Ok]);
    assert!(runs[1].detail.as_ref().unwrap().contains("database is busy"), "{:?}", runs[1]);
    running.stop().await;
}

/// A nightly job that succeeds as long as it is allowed to.
fn allowed(schedule: Option<Cron>) -> (Job, Arc<AtomicBool>) {
    let allowed = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&allowed);
    let job = Job::new("job", "may fail", schedule, move || {
        let allowed = asked.load(Ordering::SeqCst);
        async move { if allowed { Ok("done".to_owned()) } else { Err(JobError::from(StoreError::Unavailable)) } }
    });
    (job, allowed)
}

#[tokio::test]
async fn instruments_say_since_when_a_job_has_not_succeeded_across_restarts() {
    let nightly = || Some(cron("0 2 * * *", "UTC"));
    let seconds = |text: &str| Some((at(text) / 1_000).to_string());
    let machine = Machine::new("2026-05-01T20:00:00Z");
    let (job, may) = allowed(nightly());
    let running = machine.start(job).await;
    assert_eq!(running.shown("runs_total", ",outcome=\"ok\""), Some("0".into()));
    assert_eq!(running.shown("last_success_timestamp_seconds", ""), None, "never is not 1970");
    assert_eq!(running.shown("success_due_timestamp_seconds", ""), seconds("2026-05-02T02:00:00Z"));
    running.at(at("2026-05-02T02:00:01Z")).await;
    assert_eq!(running.shown("last_success_timestamp_seconds", ""), seconds("2026-05-02T02:00:01Z"));
    assert_eq!(running.shown("success_due_timestamp_seconds", ""), seconds("2026-05-03T02:00:00Z"));
    assert!(running.shown("duration_seconds", "").is_some());
    may.store(false, Ordering::SeqCst);
    for day in [3, 4] {
        running.at(at(&format!("2026-05-0{day}T02:00:00Z"))).await;
    }
    assert_eq!(running.shown("runs_total", ",outcome=\"failed\""), Some("2".into()));
    let unchanged = |running: &Running| {
        assert_eq!(running.shown("last_success_timestamp_seconds", ""), seconds("2026-05-02T02:00:01Z"));
        assert_eq!(running.shown("success_due_timestamp_seconds", ""), seconds("2026-05-03T02:00:00Z"));
    };
    unchanged(&running);
    running.stop().await;

    // The next process knows it from the books, even when there are more failures than runs that are kept.
    let (job, may) = allowed(nightly());
    let next = machine.start(job).await;
    unchanged(&next);
    may.store(false, Ordering::SeqCst);
    for _ in 0..201 {
        next.scheduler.run_now("job").await.unwrap();
        next.idle().await;
    }
    next.stop().await;
    let (job, _) = allowed(nightly());
    let next = machine.start(job).await;
    assert_eq!(next.shown("last_success_timestamp_seconds", ""), seconds("2026-05-02T02:00:01Z"));
    next.at(at("2026-05-05T02:00:00Z")).await;
    assert_eq!(next.shown("success_due_timestamp_seconds", ""), seconds("2026-05-06T02:00:00Z"));
    next.stop().await;

    // Without a schedule nothing is due, and a schedule that is new makes up for nothing.
    let (job, _) = allowed(None);
    let off = machine.start(job).await;
    assert_eq!(off.shown("success_due_timestamp_seconds", ""), None);
    off.stop().await;
    machine.clock.set(at("2026-07-01T12:00:00Z"));
    let (job, _) = allowed(nightly());
    let on = machine.start(job).await;
    assert_eq!(on.shown("success_due_timestamp_seconds", ""), seconds("2026-07-02T02:00:00Z"));
    on.stop().await;
}

#[tokio::test]
async fn a_job_without_a_schedule_runs_by_hand_only() {
    let machine = Machine::new("2026-05-01T20:00:00Z");
    let (job, count) = counting(None);
    let running = machine.start(job).await;
    running.at(at("2027-05-01T20:00:00Z")).await;
    assert_eq!(count.load(Ordering::SeqCst), 0);
    assert_eq!(running.scheduler.next_run_ms(&running.scheduler.jobs()[0]), None);
    assert_eq!(running.scheduler.run_now("job").await.unwrap().trigger, Trigger::Manual);
    running.idle().await;
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let error = running.scheduler.run_now("jbo").await.unwrap_err();
    assert!(matches!(error, RunError::Unknown { .. }) && error.to_string().contains("there are job"), "{error}");
    running.stop().await;
}

#[tokio::test]
async fn a_stop_waits_for_the_job_and_a_lost_run_is_told() {
    let machine = Machine::new("2026-05-01T20:00:00Z");
    let (job, gate) = lasting(None);
    let running = machine.start(job).await;
    running.scheduler.run_now("job").await.unwrap();
    running.shutdown.cancel();
    running.tasks.close();
    assert!(tokio::time::timeout(Duration::from_millis(100), running.tasks.wait()).await.is_err(), "it must wait");
    assert!(matches!(running.scheduler.run_now("job").await, Err(RunError::Stopping)));
    gate.add_permits(1);
    running.stop().await;

    // A process that ends in the middle.
    let (job, gate) = lasting(None);
    let killed = machine.start(job).await;
    killed.scheduler.run_now("job").await.unwrap();
    killed.store.close().await;
    gate.add_permits(1);
    killed.idle().await;
    let (job, _count) = counting(None);
    let next = machine.start(job).await;
    let runs = next.runs().await;
    assert_eq!(runs.iter().map(|run| run.outcome.unwrap().as_str()).collect::<Vec<_>>(), ["ok", "failed"]);
    assert_eq!(runs[1].detail.as_deref(), Some("the process ended while it ran"));
    next.stop().await;
}

#[tokio::test]
async fn two_hundred_runs_are_kept() {
    let machine = Machine::new("2026-05-01T20:00:00Z");
    let (job, _count) = counting(None);
    let running = machine.start(job).await;
    for _ in 0..203 {
        running.scheduler.run_now("job").await.unwrap();
        running.idle().await;
    }
    let runs = running.runs().await;
    assert_eq!((runs.len(), runs[0].detail.as_deref()), (200, Some("number 4")));
    running.stop().await;
}

/// The loop itself, on a clock that is moved under it.
#[tokio::test]
async fn the_clock_is_watched() {
    let machine = Machine::new("2026-05-01T20:00:59.990Z");
    let (job, count) = counting(Some(cron("* * * * *", "UTC")));
    let running = machine.start(job).await;
    running.scheduler.start().await.unwrap();
    assert!(running.scheduler.is_alive());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(count.load(Ordering::SeqCst), 0, "the clock stands still");
    running.clock.set(at("2026-05-01T20:01:00Z"));
    let ran = async {
        while count.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), ran).await.expect("it was due");
    running.stop().await;
}

#[cfg(feature = "localnet")]
mod over_http {
    use reqwest::{Method, StatusCode};
    use serde_json::{Value, json};

    use crate::support::*;

    async fn job(office: &TestBox, id: &str) -> Value {
        let (status, table) = office.get("/admin/jobs").await;
        assert_eq!(status, StatusCode::OK, "{table}");
        table["jobs"].as_array().unwrap().iter().find(|job| job["id"] == id).unwrap().clone()
    }

    async fn run(office: &TestBox, id: &str) -> (StatusCode, Value) {
        let path = format!("/admin/jobs/{id}/run");
        answer(office.request(Method::POST, &path).header("content-type", "application/json")).await
    }

    async fn done(office: &TestBox, id: &str) -> Value {
        until(async || job(office, id).await["lastRun"]["outcome"].is_string()).await;
        job(office, id).await["lastRun"].clone()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn jobs_are_listed_run_by_hand_and_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let (wallet, _) = wallet(folder.path(), SOL);
        let options = || {
            BoxOptions::new(folder.path(), &wallet)
                .set("TIMEZONE", "Europe/Berlin")
                .set("BALANCE_CHECK_SCHEDULE", "")
                .set("RECONCILIATION_SCHEDULE", "")
                .set("BACKUP_KEEP", "2")
        };
        let office = options().start().await;
        let (_, table) = office.get("/admin/jobs").await;
        assert_eq!(table["timeZone"], "Europe/Berlin");
        let housekeeping = job(&office, "housekeeping").await;
        assert_eq!((&housekeeping["schedule"], &housekeeping["enabled"]), (&json!("30 3 * * *"), &json!(true)));
        assert!(housekeeping["nextRun"].as_str().unwrap().ends_with(":30:00Z"), "{housekeeping}");
        for off in ["backup", "retry-failed", "balance-check", "reconcile"] {
            let job = job(&office, off).await;
            assert_eq!(
                (&job["enabled"], &job["schedule"], &job["nextRun"]),
                (&json!(false), &json!(null), &json!(null))
            );
        }
        let (_, status) = office.get("/admin/system/status").await;
        assert_eq!((&status["scheduler"]["running"], &status["scheduler"]["jobs"]), (&json!(true), &json!(1)));
        assert_eq!(status["scheduler"]["nextRun"], housekeeping["nextRun"]);

        // The content store is locked, so that housekeeping has to wait.
        let content = rusqlite::Connection::open(folder.path().join("data/content.db")).unwrap();
        content.execute_batch("BEGIN IMMEDIATE").unwrap();
        let (status, begun) = run(&office, "housekeeping").await;
        assert_eq!((status, &begun["trigger"]), (StatusCode::ACCEPTED, &json!("manual")), "{begun}");
        let (status, problem) = run(&office, "housekeeping").await;
        assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("job_running")), "{problem}");
        assert_eq!(job(&office, "housekeeping").await["running"], true);
        content.execute_batch("COMMIT").unwrap();
        let last = done(&office, "housekeeping").await;
        assert_eq!((&last["outcome"], &last["id"]), (&json!("ok"), &begun["id"]), "{last}");
        let (_, trail) = office.get("/admin/audit?limit=2").await;
        assert!(trail["entries"][0]["outcome"].as_str().unwrap().starts_with("job_running"), "{trail}");
        assert_eq!(trail["entries"][1]["action"], "POST /admin/jobs/housekeeping/run");

        let (status, problem) = run(&office, "nothing").await;
        assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));
        assert!(problem["detail"].as_str().unwrap().contains("housekeeping"), "{problem}");
        for _ in 0..4 {
            assert_eq!(run(&office, "backup").await.0, StatusCode::ACCEPTED);
            assert_eq!(done(&office, "backup").await["outcome"], "ok", "{}", job(&office, "backup").await);
        }
        let kept = std::fs::read_dir(folder.path().join("data/backups")).unwrap().count();
        assert_eq!(kept, 2, "only the newest backups are kept");
        assert_eq!(run(&office, "balance-check").await.0, StatusCode::ACCEPTED);
        let checked = done(&office, "balance-check").await;
        assert!(checked["detail"].as_str().unwrap().contains("enough for"), "{checked}");
        office.finish().await;

        let office = options().start().await;
        let remembered = job(&office, "backup").await;
        assert_eq!(remembered["recentRuns"].as_array().unwrap().len(), 4);
        assert_eq!(job(&office, "housekeeping").await["lastRun"], last);
        office.finish().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn failed_tickets_are_queued_again_if_a_retry_helps_and_the_money_reaches() {
        let folder = tempfile::tempdir().unwrap();
        let (wallet, authority) = wallet(folder.path(), SOL);
        let office = BoxOptions::new(folder.path(), &wallet).start().await;
        office.mint("v", &tickets("t", 3)).await;
        office.finish().await;
        // Two that never landed, as the books would have them, and one that no retry helps.
        let books = rusqlite::Connection::open(folder.path().join("data/boxoffice.db")).unwrap();
        let fail = "INSERT INTO mints (venue_id, ticket_id, event_id, ticket, content_digest, mint_address, status,
                        error_code, error_message, created_at, settled_at)
                    SELECT venue_id, ?1, event_id, replace(ticket, '\"t-0\"', ?2), content_digest, ?3, 'failed', ?4, 'x', 1, 2
                    FROM mints WHERE ticket_id = 't-0'";
        let (venue, address) = (boxoffice::domain::ids::VenueId::new("v").unwrap(), |id: &str| {
            let id = boxoffice::domain::ids::TicketId::new(id).unwrap();
            (id, boxoffice::domain::address::Generation(0))
        });
        for (id, code) in [("u-0", "never_landed"), ("u-1", "never_landed"), ("u-2", "rejected_by_chain")] {
            let (ticket, generation) = address(id);
            let mint = boxoffice::domain::address::mint_address(&authority, &venue, &ticket, generation);
            books.execute(fail, [id, &format!("\"{id}\""), &mint.to_string(), code]).unwrap();
        }
        drop(books);

        let office = BoxOptions::new(folder.path(), &wallet).set("DAILY_LIMIT_SOL", "0.02").start().await;
        assert_eq!(run(&office, "retry-failed").await.0, StatusCode::ACCEPTED);
        let refused = done(&office, "retry-failed").await;
        assert_eq!(refused["outcome"], "failed", "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains("DAILY_LIMIT_SOL"), "{refused}");
        office.finish().await;

        let office = BoxOptions::new(folder.path(), &wallet).start().await;
        assert_eq!(run(&office, "retry-failed").await.0, StatusCode::ACCEPTED);
        assert_eq!(done(&office, "retry-failed").await["detail"], "queued again: 2");
        until(async || nfts_of(chain().rpc_url(), &authority).await == 5).await;
        until(async || office.get("/admin/dashboard").await.1["pendingMints"] == 0).await;
        let (_, failed) = office.get("/admin/mints?status=failed").await;
        assert_eq!(failed["mints"].as_array().map(Vec::len), Some(1), "{failed}");
        office.finish().await;
    }
}

#[test]
fn settings_of_the_schedule_are_checked() {
    use boxoffice::config::{Config, Sources};

    let load = |pairs: &[(&str, &str)]| {
        let flags = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::load(&Sources { file: Some("/dev/null".into()), flags, ..Sources::default() })
    };
    let told = load(&[
        ("TIMEZONE", "Europe/Berlni"),
        ("BACKUP_SCHEDULE", "0 0 2 * * *"),
        ("RETRY_SCHEDULE", "0 25 * * *"),
        ("HOUSEKEEPING_SCHEDULE", "0 0 30 2 *"),
        ("BACKUP_KEEP", "0"),
    ]);
    let told = told.unwrap_err().to_string();
    for wanted in [
        "TIMEZONE is no time zone such as UTC, Europe/Berlin or America/New_York, not \"Europe/Berlni\"",
        "BACKUP_SCHEDULE must have the five fields of cron",
        "RETRY_SCHEDULE is no cron expression",
        "HOUSEKEEPING_SCHEDULE names a day that never comes",
        "BACKUP_KEEP must be a whole number from 1",
    ] {
        assert!(told.contains(wanted), "{wanted:?} is not in:\n{told}");
    }
    let config = load(&[("HOUSEKEEPING_SCHEDULE", ""), ("BACKUP_SCHEDULE", "0 4 * * 0")]).unwrap();
    assert!(config.schedules.housekeeping.is_none() && config.schedules.retry.is_none());
    assert_eq!(config.schedules.backup.unwrap().text(), "0 4 * * 0");
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread")]
async fn one_box_runs_what_is_of_all_and_another_takes_over() {
    let mut redis = crate::support::redis::RedisServer::start(&[]);
    let (a_machine, b_machine) = (Machine::new("2026-01-01T00:30:00Z"), Machine::new("2026-01-01T00:30:00Z"));
    let (a, b) = (redis.fleet("a").await, redis.fleet("b").await);
    let hourly = || counting(Some(cron("0 * * * *", "UTC")));
    let ((a_job, of_a), (b_job, of_b)) = (hourly(), hourly());
    let a_box = a_machine.join(a_job.for_the_fleet(), Some(a.clone())).await;
    let b_box = b_machine.join(b_job.for_the_fleet(), Some(b.clone())).await;
    let counts = || (of_a.load(Ordering::SeqCst), of_b.load(Ordering::SeqCst));
    let start = at("2026-01-01T00:00:00Z");
    a.campaign().await;
    b.campaign().await;
    // Whoever looks first, the leader runs it, once.
    for (first, second, hour) in [(&a_box, &b_box, 1), (&b_box, &a_box, 2)] {
        first.at(start + hour * HOUR).await;
        second.at(start + hour * HOUR).await;
        first.at(start + hour * HOUR).await;
        assert_eq!(counts(), (usize::try_from(hour).unwrap(), 0));
    }
    // Nothing is overdue where another box has done it.
    assert_eq!(b_box.shown("success_due_timestamp_seconds", ""), Some(((start + 3 * HOUR) / 1_000).to_string()));
    // The leader is gone before it begins: the other one takes over, and makes up for what was due.
    b_box.at(start + 3 * HOUR).await;
    assert_eq!(counts(), (2, 0));
    redis.cli(&["DEL", "test:box:lease"]);
    b.campaign().await;
    b_box.at(start + 3 * HOUR + MINUTE).await;
    a_box.at(start + 3 * HOUR + 2 * MINUTE).await;
    assert_eq!(counts(), (2, 1));
    // Without Redis nobody can tell who leads; it waits, and is made up for once.
    redis.kill();
    for hour in 4..6 {
        a_box.at(start + hour * HOUR).await;
        b_box.at(start + hour * HOUR).await;
    }
    assert_eq!(counts(), (2, 1));
    redis.restart();
    crate::support::until(async || a.probe().await && b.probe().await).await;
    b.campaign().await;
    a.campaign().await;
    a_box.at(start + 5 * HOUR + MINUTE).await;
    b_box.at(start + 5 * HOUR + MINUTE).await;
    assert_eq!(counts(), (2, 2));
    a_box.stop().await;
    b_box.stop().await;
}
