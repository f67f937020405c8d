//! What keeps the database small and quick.

use rusqlite::Connection;

use super::{Store, StoreError, alerts, answers, connect, forecast, jobs, trends};

/// How long incidents that are over and runs of jobs are kept, in milliseconds: a year, as reports are by default. Messages
/// have a shorter time of their own.
const KEEP_HISTORY_MS: i64 = 365 * 24 * 60 * 60 * 1_000;
/// Rows that are removed in one commit: whoever else writes waits for no more than that.
const FORGET_AT_ONCE: usize = 1_000;

/// What housekeeping did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Housekeeping {
    /// Answers that were too old to be kept.
    pub forgotten_answers: usize,
    /// Records of messages to the webhook that were.
    pub forgotten_deliveries: usize,
    /// Incidents that were.
    pub forgotten_alerts: usize,
    /// Runs of jobs that were.
    pub forgotten_runs: usize,
    /// Pages of the write-ahead log that went into the database; none when another connection kept it busy.
    pub checkpointed_pages: Option<u64>,
}

impl Store {
    /// Forgets what is too old, lets SQLite refresh what it knows of its tables, and empties the write-ahead log.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn keep_house(&self, now_ms: i64) -> Result<Housekeeping, StoreError> {
        let forgotten_answers = self
            .write(move |connection| {
                connection.execute_batch("PRAGMA optimize")?;
                answers::forget(connection, now_ms)
            })
            .await?;
        let history_ms = now_ms.saturating_sub(KEEP_HISTORY_MS);
        // Messages first: an incident stays as long as one of its messages does.
        let forgotten_deliveries = self.forget_in_steps(now_ms, alerts::forget_deliveries).await?;
        let forgotten_alerts = self.forget_in_steps(history_ms, alerts::forget_closed).await?;
        let forgotten_runs = self.forget_in_steps(history_ms, jobs::forget).await?;
        self.forget_in_steps(now_ms, forecast::forget).await?;
        self.forget_in_steps(now_ms, trends::forget).await?;
        // On a connection of its own: the writer's is inside a transaction whenever it works.
        let path = self.path.clone();
        let checkpoint = tokio::task::spawn_blocking(move || {
            let connection = connect(&path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            let (busy, pages) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                Ok((row.get::<_, bool>(0)?, row.get::<_, i64>(2)?))
            })?;
            // A log that was empty is told as -1 pages.
            Ok::<_, StoreError>((!busy).then(|| u64::try_from(pages).unwrap_or_default()))
        });
        let checkpointed_pages = checkpoint.await.map_err(|_panicked| StoreError::Closed)??;
        Ok(Housekeeping {
            forgotten_answers,
            forgotten_deliveries,
            forgotten_alerts,
            forgotten_runs,
            checkpointed_pages,
        })
    }

    /// Has `forget` remove rows, so many in each commit, until none is left; returns how many there were.
    async fn forget_in_steps(
        &self,
        time_ms: i64,
        forget: fn(&Connection, i64, usize) -> Result<usize, StoreError>,
    ) -> Result<usize, StoreError> {
        let mut all = 0_usize;
        loop {
            let forgotten = self.write(move |connection| forget(connection, time_ms, FORGET_AT_ONCE)).await?;
            all = all.saturating_add(forgotten);
            if forgotten < FORGET_AT_ONCE {
                return Ok(all);
            }
        }
    }
}
