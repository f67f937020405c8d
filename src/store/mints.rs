//! What the books say of each ticket.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, ToSql};

use super::{
    Store, StoreError,
    attempts::{read_status, read_ticket},
    batches::failure,
};
use crate::domain::{failure::Failure, lamports::Lamports, mint::MintStatus, ticket::Ticket};

/// Tickets by state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    /// How many tickets are in a state.
    #[must_use]
    pub fn of(&self, status: MintStatus) -> u64 {
        self.0.get(status.as_str()).copied().unwrap_or_default()
    }

    /// All tickets.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// A ticket's mint as the books have it.
#[derive(Clone, Debug)]
pub struct MintRecord {
    /// The row, which serves as a cursor: later tickets have larger ones.
    pub id: i64,
    /// The venue that sells.
    pub venue_id: String,
    /// The event it admits to.
    pub event_id: String,
    /// Which issue of the ticket.
    pub generation: u32,
    /// What was sold.
    pub ticket: Ticket,
    /// Its state.
    pub status: MintStatus,
    /// Where it lives.
    pub mint_address: String,
    /// Its name on the chain.
    pub name: Option<String>,
    /// `ipfs://` address of its metadata.
    pub metadata_uri: Option<String>,
    /// The transaction that minted it.
    pub signature: Option<String>,
    /// The slot in which it landed.
    pub slot: Option<u64>,
    /// Found on the chain, minted by an earlier life of these books.
    pub adopted: bool,
    /// Transactions signed for it.
    pub attempts: u32,
    /// What it has cost.
    pub cost: Lamports,
    /// Why it was not minted.
    pub failure: Option<Failure>,
    /// When it was accepted, Unix milliseconds.
    pub created_at_ms: i64,
    /// When it was settled.
    pub settled_at_ms: Option<i64>,
}

const COLUMNS: &str = "id, venue_id, event_id, generation, ticket, status, mint_address, name, metadata_uri, signature,
     slot, adopted, attempts, cost_lamports, error_code, error_message, created_at, settled_at";

/// Which mints to list.
#[derive(Clone, Debug, Default)]
pub struct MintFilter {
    /// Of one venue.
    pub venue_id: Option<String>,
    /// Of one event.
    pub event_id: Option<String>,
    /// In one state.
    pub status: Option<MintStatus>,
    /// Older than this row.
    pub before_id: Option<i64>,
}

impl Store {
    /// Tickets by state, of all venues or one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn counts(&self, venue_id: Option<String>) -> Result<Counts, StoreError> {
        self.read(move |connection| counts(connection, venue_id.as_deref())).await
    }

    /// Mints, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn mints(&self, filter: MintFilter, limit: usize) -> Result<Vec<MintRecord>, StoreError> {
        self.read(move |connection| {
            let mut conditions = vec!["1"];
            let mut parameters: Vec<&dyn ToSql> = Vec::new();
            if let Some(venue_id) = &filter.venue_id {
                conditions.push("venue_id = ?");
                parameters.push(venue_id);
            }
            if let Some(event_id) = &filter.event_id {
                conditions.push("event_id = ?");
                parameters.push(event_id);
            }
            // In the words of the index over tickets that are not minted: only so does SQLite see that it will do.
            conditions.extend(filter.status.map(|status| match status {
                MintStatus::Pending => "status <> 'minted' AND status = 'pending'",
                MintStatus::Minting => "status <> 'minted' AND status = 'minting'",
                MintStatus::Minted => "status = 'minted'",
                MintStatus::Failed => "status <> 'minted' AND status = 'failed'",
            }));
            if let Some(before_id) = &filter.before_id {
                conditions.push("id < ?");
                parameters.push(before_id);
            }
            parameters.push(&limit);
            let sql =
                format!("SELECT {COLUMNS} FROM mints WHERE {} ORDER BY id DESC LIMIT ?", conditions.join(" AND "));
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(parameters.as_slice(), read_mint)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The newest issue of a ticket in each venue that knows it, or in one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn mints_of_ticket(
        &self,
        ticket_id: String,
        venue_id: Option<String>,
    ) -> Result<Vec<MintRecord>, StoreError> {
        self.read(move |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM mints AS m WHERE ticket_id = ?1 AND (?2 IS NULL OR venue_id = ?2)
                     AND generation = (SELECT max(generation) FROM mints
                                       WHERE venue_id = m.venue_id AND ticket_id = m.ticket_id)
                 ORDER BY venue_id"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map((ticket_id, venue_id), read_mint)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

pub(super) fn counts(connection: &Connection, venue_id: Option<&str>) -> Result<Counts, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT status, sum(count) FROM mint_counts WHERE ?1 IS NULL OR venue_id = ?1 GROUP BY status",
    )?;
    let rows = statement.query_map([venue_id], |row| Ok((read_status(row, 0)?.as_str(), row.get(1)?)))?;
    Ok(Counts(rows.collect::<Result<_, _>>()?))
}

fn read_mint(row: &Row<'_>) -> rusqlite::Result<MintRecord> {
    Ok(MintRecord {
        id: row.get(0)?,
        venue_id: row.get(1)?,
        event_id: row.get(2)?,
        generation: row.get(3)?,
        ticket: read_ticket(row, 4)?,
        status: read_status(row, 5)?,
        mint_address: row.get(6)?,
        name: row.get(7)?,
        metadata_uri: row.get(8)?,
        signature: row.get(9)?,
        slot: row.get(10)?,
        adopted: row.get(11)?,
        attempts: row.get(12)?,
        cost: Lamports(row.get(13)?),
        failure: failure(row.get(14)?, row.get(15)?),
        created_at_ms: row.get(16)?,
        settled_at_ms: row.get(17)?,
    })
}
