//! What the scheduler remembers: the runs of each job, and how far its due times have been dealt with.

use rusqlite::{Connection, OptionalExtension as _, Row, params, types::Type};

use super::{Store, StoreError};

/// Runs that are kept of each job.
const KEPT_RUNS: i64 = 200;

/// Why a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// It is due.
    Schedule,
    /// Somebody asked for it.
    Manual,
    /// It was due while the box could not run it.
    CatchUp,
}

impl Trigger {
    const ALL: [Self; 3] = [Self::Schedule, Self::Manual, Self::CatchUp];

    /// The name in the database and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Manual => "manual",
            Self::CatchUp => "catch_up",
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// All was done.
    Ok,
    /// It was not; `detail` says why.
    Failed,
    /// It was due while the job was running already.
    Skipped,
}

impl RunOutcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Failed, Self::Skipped];

    /// The name in the database and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One run of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRun {
    /// The row; later runs have larger ones.
    pub id: i64,
    /// The job's id.
    pub job: String,
    /// Why it ran.
    pub trigger: Trigger,
    /// When it was due, Unix milliseconds; for a manual run, when it was asked for.
    pub scheduled_for_ms: i64,
    /// When it began.
    pub started_at_ms: i64,
    /// When it ended; none while it runs.
    pub finished_at_ms: Option<i64>,
    /// How it ended.
    pub outcome: Option<RunOutcome>,
    /// What was done, or why not, for a person.
    pub detail: Option<String>,
}

/// What Prometheus is told of a job's past.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobPast {
    /// Its last run that ended well.
    pub last_success: Option<JobSuccess>,
    /// The first due time since then, Unix milliseconds, whose run did not end well.
    pub missed_ms: Option<i64>,
}

/// A run that ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSuccess {
    /// When it began, Unix milliseconds.
    pub started_at_ms: i64,
    /// When it ended.
    pub finished_at_ms: i64,
}

/// A run that is about to begin.
#[derive(Clone, Debug)]
pub struct NewJobRun {
    /// The job's id.
    pub job: String,
    /// Why it runs.
    pub trigger: Trigger,
    /// When it was due, Unix milliseconds.
    pub scheduled_for_ms: i64,
    /// It is due, but cannot run now; `detail` says why, and it is not made up for.
    pub skipped: Option<String>,
}

const COLUMNS: &str = "id, job, trigger, scheduled_for, started_at, finished_at, outcome, detail";

impl Store {
    /// Until when the due times of a schedule are dealt with. One that is new, or is off, or was changed, begins now.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn job_done_until(&self, job: String, expression: String, now_ms: i64) -> Result<i64, StoreError> {
        self.write(move |connection| {
            let known = connection
                .query_row("SELECT expression, done_until FROM job_schedules WHERE job = ?", [&job], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
                })
                .optional()?;
            if let Some((_, done_until)) = known.filter(|(known, _)| *known == expression) {
                return Ok(done_until);
            }
            connection.execute(
                "INSERT OR REPLACE INTO job_schedules (job, expression, done_until) VALUES (?, ?, ?)",
                params![job, expression, now_ms],
            )?;
            Ok(now_ms)
        })
        .await
    }

    /// Writes down that a run begins (or is skipped), and that due times are dealt with until now. None when a run for this
    /// due time is in the books already.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn begin_job_run(&self, run: NewJobRun, now_ms: i64) -> Result<Option<JobRun>, StoreError> {
        self.write(move |connection| {
            if run.trigger != Trigger::Manual {
                connection
                    .execute("UPDATE job_schedules SET done_until = ? WHERE job = ?", params![now_ms, run.job])?;
            }
            let finished = run.skipped.as_ref().map(|_reason| now_ms);
            let outcome = run.skipped.as_ref().map(|_reason| RunOutcome::Skipped);
            let inserted = connection.execute(
                "INSERT INTO job_runs (job, trigger, scheduled_for, started_at, finished_at, outcome, detail)
                 VALUES (?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT (job, scheduled_for) WHERE trigger <> 'manual' DO NOTHING",
                params![
                    run.job,
                    run.trigger.as_str(),
                    run.scheduled_for_ms,
                    now_ms,
                    finished,
                    outcome.map(RunOutcome::as_str),
                    run.skipped
                ],
            )?;
            if inserted == 0 {
                return Ok(None);
            }
            let id = connection.last_insert_rowid();
            prune(connection, &run.job)?;
            Ok(Some(JobRun {
                id,
                job: run.job,
                trigger: run.trigger,
                scheduled_for_ms: run.scheduled_for_ms,
                started_at_ms: now_ms,
                finished_at_ms: finished,
                outcome,
                detail: run.skipped,
            }))
        })
        .await
    }

    /// Writes down how a run ended.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn end_job_run(
        &self,
        id: i64,
        outcome: RunOutcome,
        detail: String,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection.execute(
                "UPDATE job_runs SET finished_at = ?, outcome = ?, detail = ? WHERE id = ?",
                params![now_ms, outcome.as_str(), detail, id],
            )?;
            Ok(())
        })
        .await
    }

    /// Ends the runs in which an earlier process ended; returns how many there were.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn end_lost_job_runs(&self, now_ms: i64) -> Result<usize, StoreError> {
        self.write(move |connection| {
            let lost = connection.execute(
                "UPDATE job_runs SET finished_at = ?, outcome = 'failed', detail = 'the process ended while it ran'
                 WHERE outcome IS NULL",
                [now_ms],
            )?;
            Ok(lost)
        })
        .await
    }

    /// When a job last ended well, and what it has missed since.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn job_past(&self, job: String) -> Result<JobPast, StoreError> {
        self.read(move |connection| {
            let last_success = connection
                .prepare_cached(
                    "SELECT started_at, finished_at FROM job_runs WHERE job = ? AND outcome = 'ok'
                     ORDER BY id DESC LIMIT 1",
                )?
                .query_row([&job], |row| Ok(JobSuccess { started_at_ms: row.get(0)?, finished_at_ms: row.get(1)? }))
                .optional()?;
            let dealt_with_ms = last_success.as_ref().map_or(i64::MIN, |success| success.finished_at_ms);
            let missed_ms = connection
                .prepare_cached(
                    "SELECT min(scheduled_for) FROM job_runs
                     WHERE job = ? AND trigger <> 'manual' AND scheduled_for > ?",
                )?
                .query_row(params![job, dealt_with_ms], |row| row.get(0))?;
            Ok(JobPast { last_success, missed_ms })
        })
        .await
    }

    /// The last runs of a job, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn job_runs(&self, job: String, limit: usize) -> Result<Vec<JobRun>, StoreError> {
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM job_runs WHERE job = ? ORDER BY id DESC LIMIT ?");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![job, limit], read)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

/// However often a job failed since, when it last ended well stays known.
fn prune(connection: &Connection, job: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM job_runs WHERE job = ?1
                 AND id <= (SELECT id FROM job_runs WHERE job = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)
                 AND id IS NOT (SELECT max(id) FROM job_runs WHERE job = ?1 AND outcome = 'ok')",
        )?
        .execute(params![job, KEPT_RUNS])?;
    Ok(())
}

/// Forgets at most `limit` runs that began before a time; returns how many. When a job last ended well stays known.
pub(super) fn forget(connection: &Connection, before_ms: i64, limit: usize) -> Result<usize, StoreError> {
    let forgotten = connection
        .prepare_cached(
            "DELETE FROM job_runs WHERE id IN (
                 SELECT id FROM job_runs AS r WHERE started_at < ? AND outcome IS NOT NULL
                     AND id IS NOT (SELECT max(id) FROM job_runs WHERE job = r.job AND outcome = 'ok') LIMIT ?)",
        )?
        .execute(params![before_ms, limit])?;
    Ok(forgotten)
}

fn read(row: &Row<'_>) -> rusqlite::Result<JobRun> {
    let trigger: String = row.get(2)?;
    let outcome: Option<String> = row.get(6)?;
    let unknown = |column, name: &str| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, format!("unknown name {name:?}").into())
    };
    let outcome = outcome.map(|name| {
        RunOutcome::ALL.into_iter().find(|outcome| outcome.as_str() == name).ok_or_else(|| unknown(6, &name))
    });
    Ok(JobRun {
        id: row.get(0)?,
        job: row.get(1)?,
        trigger: Trigger::ALL.into_iter().find(|t| t.as_str() == trigger).ok_or_else(|| unknown(2, &trigger))?,
        scheduled_for_ms: row.get(3)?,
        started_at_ms: row.get(4)?,
        finished_at_ms: row.get(5)?,
        outcome: outcome.transpose()?,
        detail: row.get(7)?,
    })
}
