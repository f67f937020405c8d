//! What happened in each hour and for each event: roll-ups that answer for a million mints as quickly as for ten.

use rusqlite::{OptionalExtension as _, Row, params};

use super::{Store, StoreError};
use crate::domain::lamports::Lamports;

/// Length of the periods of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// By the minute.
    Minute,
    /// By the hour.
    Hour,
    /// By the day, UTC.
    Day,
}

impl Step {
    /// Its length in milliseconds.
    #[must_use]
    pub fn ms(self) -> i64 {
        self.seconds().saturating_mul(1_000)
    }

    /// Its length in seconds.
    #[must_use]
    pub fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }

    /// The period that a time is in, counted from the beginning of Unix time.
    #[must_use]
    pub fn of(self, unix_ms: i64) -> i64 {
        unix_ms.div_euclid(self.ms().max(1))
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
    /// What the minted tickets were expected to cost when they were accepted, of those that these books paid for.
    pub estimated: Lamports,
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
    /// What a venue's tickets did in all, and period by period since `from_ms`. Minutes are kept for 25 hours.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn venue_stats(&self, venue_id: String, from_ms: i64, step: Step) -> Result<VenueStats, StoreError> {
        self.read(move |connection| {
            let total = format!("SELECT 0, {SUMS} FROM mint_venues WHERE venue_id = ?");
            let total = connection
                .prepare_cached(&total)?
                .query_row([&venue_id], |row| read_period(row, step))
                .optional()?
                .unwrap_or_default();
            let (table, column) = match step {
                Step::Minute => ("mint_minutes", "minute"),
                Step::Hour => ("mint_hours", "hour"),
                Step::Day => ("mint_days", "day"),
            };
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {column}, {SUMS} FROM {table} WHERE venue_id = ? AND {column} >= ? ORDER BY {column}"
            ))?;
            let rows = statement.query_map(params![venue_id, step.of(from_ms)], |row| read_period(row, step))?;
            Ok(VenueStats { total, series: rows.collect::<Result<_, _>>()? })
        })
        .await
    }
}

/// No sum below zero, whatever a hand has done to the books.
pub(super) const SUMS: &str =
    "max(minted, 0), max(failed, 0), max(spent_lamports, 0), max(mint_ms, 0), max(estimated_lamports, 0)";

/// A period of a step, and its [`SUMS`].
pub(super) fn read_period(row: &Row<'_>, step: Step) -> rusqlite::Result<Period> {
    Ok(Period {
        from_ms: row.get::<_, i64>(0)?.saturating_mul(step.ms()),
        minted: row.get(1)?,
        failed: row.get(2)?,
        spent: Lamports(row.get(3)?),
        mint_ms: row.get(4)?,
        estimated: Lamports(row.get(5)?),
    })
}
