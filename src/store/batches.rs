//! Batches: what was asked for, and how far it is.

use rusqlite::{OptionalExtension as _, params};

use super::{Store, StoreError, attempts::read_status};
use crate::domain::{
    failure::{Failure, FailureCode},
    lamports::Lamports,
    mint::MintStatus,
    ticket::Fault,
};

/// A batch and its sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRecord {
    /// The row.
    pub id: i64,
    /// The name that clients know.
    pub public_id: String,
    /// The venue that sells.
    pub venue_id: String,
    /// Entries, faulty and repeated ones too.
    pub total: u64,
    /// Entries not settled yet.
    pub open: u64,
    /// What its new tickets were expected to cost.
    pub estimated: Lamports,
    /// When it was accepted, Unix milliseconds.
    pub created_at_ms: i64,
    /// When the last of its tickets was settled.
    pub finished_at_ms: Option<i64>,
}

/// What became of a batch so far, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchSums {
    /// Entries whose ticket the chain holds.
    pub succeeded: u64,
    /// Entries that were given up or never taken.
    pub failed: u64,
    /// What its new tickets have cost.
    pub spent: Lamports,
}

/// One entry with the state of its ticket.
#[derive(Clone, Debug)]
pub struct BatchEntry {
    /// The id as it was sent.
    pub ticket_id: String,
    /// The ticket was known before this batch.
    pub replayed: bool,
    /// State of its mint; none for a faulty entry.
    pub status: Option<MintStatus>,
    /// Where it lives.
    pub mint_address: Option<String>,
    /// The transaction that minted it.
    pub signature: Option<String>,
    /// `ipfs://` address of its metadata.
    pub metadata_uri: Option<String>,
    /// What it has cost.
    pub cost: Lamports,
    /// Found on the chain, minted by an earlier life of these books.
    pub adopted: bool,
    /// Why it was not minted.
    pub failure: Option<Failure>,
    /// Everything that is wrong with a faulty entry.
    pub faults: Vec<Fault>,
}

impl Store {
    /// A batch by the name that clients know.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn batch(&self, public_id: String) -> Result<Option<BatchRecord>, StoreError> {
        self.read(move |connection| {
            let batch = connection
                .prepare_cached(
                    "SELECT id, public_id, venue_id, total, open, estimated_lamports, created_at, finished_at
                     FROM batches WHERE public_id = ?",
                )?
                .query_row([public_id], |row| {
                    Ok(BatchRecord {
                        id: row.get(0)?,
                        public_id: row.get(1)?,
                        venue_id: row.get(2)?,
                        total: row.get(3)?,
                        open: row.get(4)?,
                        estimated: Lamports(row.get(5)?),
                        created_at_ms: row.get(6)?,
                        finished_at_ms: row.get(7)?,
                    })
                })
                .optional()?;
            Ok(batch)
        })
        .await
    }

    /// How many entries of a batch are not settled yet.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn open_entries(&self, batch_id: i64) -> Result<u64, StoreError> {
        self.read(move |connection| {
            let open = connection
                .prepare_cached("SELECT open FROM batches WHERE id = ?")?
                .query_row([batch_id], |row| row.get(0))?;
            Ok(open)
        })
        .await
    }

    /// What became of a batch so far, in numbers.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn batch_sums(&self, batch_id: i64) -> Result<BatchSums, StoreError> {
        self.read(move |connection| {
            let sums = connection
                .prepare_cached(
                    "SELECT count(*) FILTER (WHERE m.status = 'minted'),
                            count(*) FILTER (WHERE e.error_code IS NOT NULL OR m.status = 'failed'),
                            coalesce(sum(m.cost_lamports) FILTER (WHERE e.replayed = 0 AND m.adopted = 0), 0)
                     FROM batch_entries e LEFT JOIN mints m ON m.id = e.mint_id WHERE e.batch_id = ?",
                )?
                .query_row([batch_id], |row| {
                    Ok(BatchSums { succeeded: row.get(0)?, failed: row.get(1)?, spent: Lamports(row.get(2)?) })
                })?;
            Ok(sums)
        })
        .await
    }

    /// The entries of a batch in the order they were sent.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn batch_entries(&self, batch_id: i64) -> Result<Vec<BatchEntry>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT e.ticket_id, e.replayed, e.faults, m.status, m.mint_address, m.signature, m.metadata_uri,
                        coalesce(m.cost_lamports, 0), coalesce(m.adopted, 0),
                        coalesce(e.error_code, m.error_code), coalesce(e.error_message, m.error_message)
                 FROM batch_entries e LEFT JOIN mints m ON m.id = e.mint_id
                 WHERE e.batch_id = ? ORDER BY e.position",
            )?;
            let rows = statement.query_map(params![batch_id], |row| {
                let faults: Option<String> = row.get(2)?;
                let has_mint = row.get::<_, Option<String>>(3)?.is_some();
                Ok(BatchEntry {
                    ticket_id: row.get(0)?,
                    replayed: row.get(1)?,
                    status: has_mint.then(|| read_status(row, 3)).transpose()?,
                    mint_address: row.get(4)?,
                    signature: row.get(5)?,
                    metadata_uri: row.get(6)?,
                    cost: Lamports(row.get(7)?),
                    adopted: row.get(8)?,
                    failure: failure(row.get(9)?, row.get(10)?),
                    faults: faults.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default(),
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

pub(super) fn failure(code: Option<String>, message: Option<String>) -> Option<Failure> {
    Some(Failure { code: FailureCode::parse(&code?)?, message: message.unwrap_or_default() })
}
