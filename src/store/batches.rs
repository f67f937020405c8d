//! Batches: what was asked for, and how far it is.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

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
    /// Open tickets of all batches up to the last one of this batch; a door batch waits only for its own.
    pub until_done: u64,
    /// Entries whose ticket the chain holds.
    pub succeeded: u64,
    /// Entries that were given up or never taken.
    pub failed: u64,
    /// What its new tickets were expected to cost.
    pub estimated: Lamports,
    /// What they have cost so far.
    pub spent: Lamports,
    /// What they may cost at most; none for no bound of its own.
    pub budget: Option<Lamports>,
    /// Settlements so far: the number of its last event.
    pub events: u64,
    /// Tickets that a later batch tried again.
    pub reopened: u64,
    /// When its tickets may be minted, Unix milliseconds; none for at once.
    pub not_before_ms: Option<i64>,
    /// What was expected of it when it was accepted, as JSON.
    pub forecast: Option<String>,
    /// When it was accepted, Unix milliseconds.
    pub created_at_ms: i64,
    /// When the last of its tickets was settled.
    pub finished_at_ms: Option<i64>,
}

/// One entry with the state of its ticket.
#[derive(Clone, Debug)]
pub struct BatchEntry {
    /// Place in the request, from 0.
    pub position: usize,
    /// The number of its settlement within the batch, from 1; none while it is open.
    pub event: Option<u64>,
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
                .prepare_cached(&format!("SELECT {COLUMNS} FROM batches WHERE public_id = ?"))?
                .query_row([public_id], read_batch)
                .optional()?;
            Ok(batch)
        })
        .await
    }

    /// Batches, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn batches(&self, filter: BatchFilter, limit: usize) -> Result<Vec<BatchRecord>, StoreError> {
        self.read(move |connection| {
            let BatchFilter { venue_id, open, before_id } = filter;
            // An index serves each form; `?1 IS NULL OR …` would read past all of them.
            let of_venue = if venue_id.is_some() { "venue_id = ?1" } else { "?1 IS NULL" };
            let open = if open { "AND open > 0" } else { "" };
            let sql =
                format!("SELECT {COLUMNS} FROM batches WHERE {of_venue} AND id < ?2 {open} ORDER BY id DESC LIMIT ?3");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![venue_id, before_id.unwrap_or(i64::MAX), limit], read_batch)?;
            Ok(rows.collect::<Result<_, _>>()?)
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

    /// The entries of a batch in the order they were sent.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn batch_entries(&self, batch_id: i64) -> Result<Vec<BatchEntry>, StoreError> {
        self.read(move |connection| {
            let sql = format!("{ENTRIES} WHERE e.batch_id = ? ORDER BY e.position");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([batch_id], read_entry)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The entries of a batch that were settled after the event `after`, in the order of their settlement.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn batch_events(&self, batch_id: i64, after: u64, limit: usize) -> Result<Vec<BatchEntry>, StoreError> {
        self.read(move |connection| {
            let sql = format!("{ENTRIES} WHERE e.batch_id = ? AND e.event > ? ORDER BY e.event LIMIT ?");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![batch_id, after, limit], read_entry)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

/// Which batches to list.
#[derive(Clone, Debug, Default)]
pub struct BatchFilter {
    /// Of one venue.
    pub venue_id: Option<String>,
    /// Only those that are not finished.
    pub open: bool,
    /// Older than this row.
    pub before_id: Option<i64>,
}

// No sum below zero, whatever a hand has done to the books: one that cannot be read would keep every batch from being settled.
const COLUMNS: &str = "id, public_id, venue_id, total, max(open, 0), max(succeeded, 0), max(failed, 0), estimated_lamports, spent_lamports,
     created_at, finished_at, events, reopened, not_before, max_lamports,
     CASE WHEN open = 0 OR total <= 25 THEN open
          ELSE min((SELECT sum(before.open) FROM batches before WHERE before.open > 0 AND before.id <= batches.id),
                   (SELECT coalesce(sum(count), batches.open) FROM mint_counts WHERE status IN ('pending', 'minting'))) END,
     forecast";

fn read_batch(row: &Row<'_>) -> rusqlite::Result<BatchRecord> {
    Ok(BatchRecord {
        id: row.get(0)?,
        public_id: row.get(1)?,
        venue_id: row.get(2)?,
        total: row.get(3)?,
        open: row.get(4)?,
        succeeded: row.get(5)?,
        failed: row.get(6)?,
        estimated: Lamports(row.get(7)?),
        spent: Lamports(row.get(8)?),
        created_at_ms: row.get(9)?,
        finished_at_ms: row.get(10)?,
        events: row.get(11)?,
        reopened: row.get(12)?,
        not_before_ms: row.get(13)?,
        budget: row.get::<_, Option<u64>>(14)?.map(Lamports),
        until_done: row.get(15)?,
        forecast: row.get(16)?,
    })
}

/// The batch, if it is finished.
pub(super) fn finished(connection: &Connection, batch_id: i64) -> Result<Option<BatchRecord>, StoreError> {
    let batch = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM batches WHERE id = ? AND open = 0"))?
        .query_row([batch_id], read_batch)
        .optional()?;
    Ok(batch)
}

/// The batch that is charged for a mint: the one that brought it last.
pub(super) fn payer(mint_id: &str) -> String {
    format!("(SELECT max(batch_id) FROM batch_entries WHERE mint_id = {mint_id} AND replayed = 0)")
}

/// Puts what a ticket costs on the batch that brought it last.
pub(super) fn charge(connection: &Connection, mint_id: i64, paid: Lamports) -> Result<(), StoreError> {
    if paid > Lamports::ZERO {
        let sql = format!("UPDATE batches SET spent_lamports = spent_lamports + ?1 WHERE id = {}", payer("?2"));
        connection.prepare_cached(&sql)?.execute(params![paid.0, mint_id])?;
    }
    Ok(())
}

/// Undoes [`charge`].
pub(super) fn uncharge(connection: &Connection, mint_id: i64, paid: Lamports) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE batches SET spent_lamports = max(spent_lamports - ?, 0)
             WHERE id = (SELECT max(batch_id) FROM batch_entries WHERE mint_id = ? AND replayed = 0)",
        )?
        .execute(params![paid.0, mint_id])?;
    Ok(())
}

impl Store {
    /// Finished batches that nobody has looked at yet, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unjudged_batches(&self, limit: usize) -> Result<Vec<BatchRecord>, StoreError> {
        self.read(move |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM batches WHERE finished_at IS NOT NULL AND judged = 0 ORDER BY id LIMIT ?"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            Ok(statement.query_map([limit], read_batch)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Notes that a finished batch was looked at. One that a retry has opened or finished again since then is left alone.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn batch_judged(&self, batch: &BatchRecord) -> Result<(), StoreError> {
        let (id, finished_at_ms) = (batch.id, batch.finished_at_ms);
        self.write(move |connection| {
            connection
                .prepare_cached("UPDATE batches SET judged = 1 WHERE id = ? AND finished_at = ?")?
                .execute(params![id, finished_at_ms])?;
            Ok(())
        })
        .await
    }
}

/// Batches that are not finished.
pub(super) fn open(connection: &Connection) -> Result<Vec<i64>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT id FROM batches WHERE open > 0")?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

const ENTRIES: &str = "SELECT e.ticket_id, e.replayed, e.faults, m.status, m.mint_address, m.signature, m.metadata_uri,
            coalesce(m.cost_lamports, 0), coalesce(m.adopted, 0),
            coalesce(e.error_code, m.error_code), coalesce(e.error_message, m.error_message), e.position, e.event
     FROM batch_entries e LEFT JOIN mints m ON m.id = e.mint_id";

fn read_entry(row: &Row<'_>) -> rusqlite::Result<BatchEntry> {
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
        position: row.get(11)?,
        event: row.get(12)?,
    })
}

pub(super) fn failure(code: Option<String>, message: Option<String>) -> Option<Failure> {
    Some(Failure { code: FailureCode::parse(&code?)?, message: message.unwrap_or_default() })
}
