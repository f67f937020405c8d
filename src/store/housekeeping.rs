//! What keeps the database small and quick.

use super::{Store, StoreError, answers, connect};

/// What housekeeping did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Housekeeping {
    /// Answers that were too old to be kept.
    pub forgotten_answers: usize,
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
        Ok(Housekeeping { forgotten_answers, checkpointed_pages })
    }
}
