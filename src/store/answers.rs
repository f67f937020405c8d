//! Answers kept for requests that came with an `Idempotency-Key`.

use std::io::{Read as _, Write as _};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Store, StoreError};

/// How long an answer is kept. A client that asks again later is still safe: the ticket id never expires.
const LIFETIME_MS: i64 = 24 * 60 * 60 * 1_000;

/// An answer that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// SHA-256 of method, path and body of the request.
    pub fingerprint: [u8; 32],
    /// HTTP status.
    pub status: u16,
    /// Where the thing that was made is found.
    pub location: Option<String>,
    /// JSON.
    pub body: Vec<u8>,
}

impl Store {
    /// The answer that an actor's key was given before.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn kept_answer(&self, actor: String, key: String, now_ms: i64) -> Result<Option<KeptAnswer>, StoreError> {
        self.read(move |connection| {
            let kept = connection
                .prepare_cached(
                    "SELECT fingerprint, status, location, body FROM kept_answers
                     WHERE actor = ? AND key = ? AND created_at > ?",
                )?
                .query_row(params![actor, key, now_ms.saturating_sub(LIFETIME_MS)], |row| {
                    let body: Vec<u8> = row.get(3)?;
                    let mut unpacked = Vec::new();
                    GzDecoder::new(body.as_slice()).read_to_end(&mut unpacked).map_err(|error| {
                        rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Blob, error.into())
                    })?;
                    Ok(KeptAnswer {
                        fingerprint: row.get(0)?,
                        status: row.get(1)?,
                        location: row.get(2)?,
                        body: unpacked,
                    })
                })
                .optional()?;
            Ok(kept)
        })
        .await
    }

    /// Keeps an answer for an actor's key, and forgets those that are too old.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn keep_answer(
        &self,
        actor: String,
        key: String,
        answer: KeptAnswer,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let body = answer.body;
        // Here, not in the write: the writer's time is everyone's.
        let packed = tokio::task::spawn_blocking(move || {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(&body).and_then(|()| packed.finish())
        });
        // Writing to memory cannot fail.
        let packed = packed.await.map_err(|_panicked| StoreError::Closed)?.unwrap_or_default();
        self.write(move |connection| {
            forget(connection, now_ms)?;
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO kept_answers (actor, key, fingerprint, status, location, body, created_at)
                     VALUES (?, ?, ?, ?, ?, ?, ?)",
                )?
                .execute(params![actor, key, answer.fingerprint, answer.status, answer.location, packed, now_ms])?;
            Ok(())
        })
        .await
    }
}

/// Forgets the answers that are too old; returns how many.
pub(super) fn forget(connection: &Connection, now_ms: i64) -> Result<usize, StoreError> {
    let forgotten = connection
        .prepare_cached("DELETE FROM kept_answers WHERE created_at <= ?")?
        .execute([now_ms.saturating_sub(LIFETIME_MS)])?;
    Ok(forgotten)
}
