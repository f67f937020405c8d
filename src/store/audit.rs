//! The audit trail: who did what, from where.

use rusqlite::params;

use super::{Store, StoreError};

/// Something that is about to be done.
#[derive(Clone, Debug)]
pub struct NewAuditRecord {
    /// Name of the key.
    pub actor: String,
    /// Address of the client, or "command line".
    pub client: String,
    /// Method and path, or the command.
    pub action: String,
    /// The request's id.
    pub request_id: String,
}

/// Something that was done, or begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// The row, which serves as a cursor.
    pub id: i64,
    /// When it began, Unix milliseconds.
    pub at_ms: i64,
    /// Name of the key.
    pub actor: String,
    /// Address of the client, or "command line".
    pub client: String,
    /// Method and path, or the command.
    pub action: String,
    /// The request's id.
    pub request_id: String,
    /// HTTP status of the answer; none for a command, and while it is under way, or when the process ended in it.
    pub status: Option<u16>,
    /// What came of it, for a person; none while it is under way, or when the process ended in it.
    pub outcome: Option<String>,
}

impl Store {
    /// Notes that something is about to be done; it is on disk when this returns.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn audit(&self, record: NewAuditRecord, now_ms: i64) -> Result<i64, StoreError> {
        self.write(move |connection| {
            connection
                .prepare_cached("INSERT INTO audit (at, actor, client, action, request_id) VALUES (?, ?, ?, ?, ?)")?
                .execute(params![now_ms, record.actor, record.client, record.action, record.request_id])?;
            Ok(connection.last_insert_rowid())
        })
        .await
    }

    /// Notes how it ended.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn audit_outcome(&self, id: i64, status: Option<u16>, outcome: String) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection
                .prepare_cached("UPDATE audit SET status = ?, outcome = ? WHERE id = ?")?
                .execute(params![status, outcome, id])?;
            Ok(())
        })
        .await
    }

    /// Notes of requests that an earlier process did not answer that it ended in them.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn close_audit(&self) -> Result<(), StoreError> {
        self.write(|connection| {
            connection.execute(
                "UPDATE audit SET outcome = 'the process ended before this was answered; what it had accepted goes on'
                 WHERE status IS NULL AND outcome IS NULL",
                [],
            )?;
            Ok(())
        })
        .await
    }

    /// The trail, newest first, from before a row if one is given.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_trail(&self, before_id: Option<i64>, limit: usize) -> Result<Vec<AuditRecord>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, at, actor, client, action, request_id, status, outcome FROM audit
                 WHERE id < ? ORDER BY id DESC LIMIT ?",
            )?;
            let rows = statement.query_map(params![before_id.unwrap_or(i64::MAX), limit], |row| {
                Ok(AuditRecord {
                    id: row.get(0)?,
                    at_ms: row.get(1)?,
                    actor: row.get(2)?,
                    client: row.get(3)?,
                    action: row.get(4)?,
                    request_id: row.get(5)?,
                    status: row.get(6)?,
                    outcome: row.get(7)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}
