//! The transactions that were signed for a ticket, for those who want to know.

use rusqlite::Connection;

use super::{Store, StoreError};
use crate::domain::lamports::Lamports;

/// A transaction that was signed for a ticket, alone or with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// Base58.
    pub signature: String,
    /// `recorded`, `sent`, `unknown`, `landed`, `rejected` or `dead`.
    pub state: String,
    /// When it was written ahead, Unix milliseconds.
    pub recorded_at_ms: i64,
    /// When its end was known, Unix milliseconds.
    pub settled_at_ms: Option<i64>,
    /// Where it landed, or was refused.
    pub slot: Option<u64>,
    /// Why the chain refused it.
    pub error: Option<String>,
    /// What the network takes for it, once it is in a block.
    pub fee: Lamports,
    /// Tickets that ride in it.
    pub tickets: u64,
}

impl Store {
    /// Everything that was ever signed for a ticket, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn attempts_of(&self, mint_id: i64) -> Result<Vec<AttemptRecord>, StoreError> {
        self.read(move |connection| attempts_of(connection, mint_id)).await
    }
}

fn attempts_of(connection: &Connection, mint_id: i64) -> Result<Vec<AttemptRecord>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT signature, state, recorded_at, settled_at, slot, error, fee_lamports,
                (SELECT count(*) FROM attempt_tickets WHERE attempt_id = a.id)
         FROM attempt_tickets t JOIN attempts a ON a.id = t.attempt_id WHERE t.mint_id = ? ORDER BY a.id",
    )?;
    let rows = statement.query_map([mint_id], |row| {
        Ok(AttemptRecord {
            signature: row.get(0)?,
            state: row.get(1)?,
            recorded_at_ms: row.get(2)?,
            settled_at_ms: row.get(3)?,
            slot: row.get(4)?,
            error: row.get(5)?,
            fee: Lamports(row.get(6)?),
            tickets: row.get(7)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
