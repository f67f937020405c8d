//! What happened in each hour and for each event: roll-ups that answer for a million mints as quickly as for ten.

use rusqlite::{Connection, params};

use super::{Store, StoreError, TicketVerdict, Verdict};
use crate::domain::lamports::Lamports;

/// Length of the periods of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// By the hour.
    Hour,
    /// By the day, UTC.
    Day,
}

impl Step {
    /// Its length in milliseconds.
    #[must_use]
    pub fn ms(self) -> i64 {
        match self {
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }
}

/// What a venue's tickets did, in all or in one period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// When it begins, Unix milliseconds; 0 for the whole of a venue's history.
    pub from_ms: i64,
    /// Tickets minted.
    pub minted: u64,
    /// Tickets given up, those that a retry minted later too.
    pub failed: u64,
    /// What left the wallet.
    pub spent: Lamports,
    /// Milliseconds from acceptance to settlement, summed over the minted tickets.
    pub mint_ms: u64,
}

/// A venue's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VenueStats {
    /// All of it.
    pub total: Period,
    /// By period, oldest first; periods in which nothing happened are left out.
    pub series: Vec<Period>,
}

impl Store {
    /// What a venue's tickets did in all, and period by period since `from_ms`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn venue_stats(&self, venue_id: String, from_ms: i64, step: Step) -> Result<VenueStats, StoreError> {
        self.read(move |connection| {
            let period = |row: &rusqlite::Row<'_>| {
                Ok(Period {
                    from_ms: row.get::<_, i64>(0)?.saturating_mul(step.ms()),
                    minted: row.get(1)?,
                    failed: row.get(2)?,
                    spent: Lamports(row.get(3)?),
                    mint_ms: row.get(4)?,
                })
            };
            let total = connection
                .prepare_cached(
                    "SELECT 0, coalesce(sum(minted), 0), coalesce(sum(failed), 0), coalesce(sum(spent_lamports), 0),
                            coalesce(sum(mint_ms), 0)
                     FROM mint_events WHERE venue_id = ?",
                )?
                .query_row([&venue_id], period)?;
            let (table, column) = match step {
                Step::Hour => ("mint_hours", "hour"),
                Step::Day => ("mint_days", "day"),
            };
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {column}, minted, failed, spent_lamports, mint_ms FROM {table}
                 WHERE venue_id = ? AND {column} >= ? ORDER BY {column}"
            ))?;
            let rows = statement.query_map(params![venue_id, from_ms.div_euclid(step.ms())], period)?;
            Ok(VenueStats { total, series: rows.collect::<Result<_, _>>()? })
        })
        .await
    }
}

/// Counts a ticket's verdict in its hour and for its event. The ticket's row already says what the verdict said.
pub(super) fn count(connection: &Connection, ticket: &TicketVerdict, now_ms: i64) -> Result<(), StoreError> {
    let (minted, failed) = match &ticket.verdict {
        Verdict::Minted { .. } => (1, 0),
        Verdict::Failed(_) => (0, 1),
        Verdict::Again { .. } => (0, 0),
    };
    add(connection, ticket.mint_id, minted, failed, ticket.paid.0.cast_signed(), now_ms)
}

/// Undoes the count of a minted ticket that was settled and paid for at a time.
pub(super) fn uncount_minted(
    connection: &Connection,
    mint_id: i64,
    paid: Lamports,
    settled_at_ms: i64,
) -> Result<(), StoreError> {
    add(connection, mint_id, -1, 0, paid.0.cast_signed().saturating_neg(), settled_at_ms)
}

/// Counts what a ticket turned out to have cost these books, at the time that it was settled.
pub(super) fn pay(connection: &Connection, mint_id: i64, paid: Lamports, settled_at_ms: i64) -> Result<(), StoreError> {
    add(connection, mint_id, 0, 0, paid.0.cast_signed(), settled_at_ms)
}

fn add(
    connection: &Connection,
    mint_id: i64,
    minted: i64,
    failed: i64,
    spent: i64,
    at_ms: i64,
) -> Result<(), StoreError> {
    if (minted, failed, spent) == (0, 0, 0) {
        return Ok(());
    }
    for (table, key, value) in [
        ("mint_hours", "hour", "?5 / 3600000"),
        ("mint_days", "day", "?5 / 86400000"),
        ("mint_events", "event_id", "event_id"),
    ] {
        let sql = format!(
            "INSERT INTO {table}
                 SELECT venue_id, {value}, ?2, ?3, ?4, ?2 * max(?5 - created_at, 0) FROM mints WHERE id = ?1
             ON CONFLICT (venue_id, {key}) DO UPDATE SET
                 minted = minted + excluded.minted, failed = failed + excluded.failed,
                 spent_lamports = spent_lamports + excluded.spent_lamports, mint_ms = mint_ms + excluded.mint_ms"
        );
        connection.prepare_cached(&sql)?.execute(params![mint_id, minted, failed, spent, at_ms])?;
    }
    Ok(())
}
