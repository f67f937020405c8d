//! What happened in each hour: roll-ups that answer for a million mints as quickly as for ten.

use rusqlite::{Connection, params};

use super::{Store, StoreError, TicketVerdict, Verdict};
use crate::domain::lamports::Lamports;

/// Milliseconds in an hour, the size of a roll-up's bucket.
const HOUR_MS: i64 = 3_600_000;

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
    /// What a venue's tickets did in all, and since `from_ms` in periods of `hours` hours.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn venue_stats(&self, venue_id: String, from_ms: i64, hours: u32) -> Result<VenueStats, StoreError> {
        self.read(move |connection| {
            let period = |row: &rusqlite::Row<'_>| {
                Ok(Period {
                    from_ms: row.get::<_, i64>(0)?.saturating_mul(HOUR_MS),
                    minted: row.get(1)?,
                    failed: row.get(2)?,
                    spent: Lamports(row.get(3)?),
                    mint_ms: row.get(4)?,
                })
            };
            let total = connection
                .prepare_cached(&format!("SELECT 0, {SUMS} FROM mint_hours WHERE venue_id = ?"))?
                .query_row([&venue_id], period)?;
            let mut statement = connection.prepare_cached(&format!(
                "SELECT hour / ?3 * ?3, {SUMS} FROM mint_hours WHERE venue_id = ?1 AND hour >= ?2 GROUP BY 1 ORDER BY 1"
            ))?;
            let rows = statement.query_map(params![venue_id, from_ms.div_euclid(HOUR_MS), hours], period)?;
            Ok(VenueStats { total, series: rows.collect::<Result<_, _>>()? })
        })
        .await
    }
}

const SUMS: &str = "coalesce(sum(minted), 0), coalesce(sum(failed), 0), coalesce(sum(spent_lamports), 0),
     coalesce(sum(mint_ms), 0)";

/// Counts a ticket's verdict in its hour. The ticket's row already says what the verdict said.
pub(super) fn count(connection: &Connection, ticket: &TicketVerdict, now_ms: i64) -> Result<(), StoreError> {
    let (minted, failed, adopted) = match &ticket.verdict {
        Verdict::Minted { adopted, .. } => (1, 0, adopted.is_some()),
        Verdict::Failed(_) => (0, 1, false),
        Verdict::Again => (0, 0, false),
    };
    // An adopted ticket was paid for by an earlier life of the books.
    let spent = if adopted { Lamports::ZERO } else { ticket.cost };
    if (minted, failed, spent) == (0, 0, Lamports::ZERO) {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO mint_hours
                 SELECT venue_id, event_id, ?2, ?3, ?4, ?5, ?3 * max(?6 - created_at, 0) FROM mints WHERE id = ?1
             ON CONFLICT (venue_id, event_id, hour) DO UPDATE SET
                 minted = minted + excluded.minted, failed = failed + excluded.failed,
                 spent_lamports = spent_lamports + excluded.spent_lamports, mint_ms = mint_ms + excluded.mint_ms",
        )?
        .execute(params![ticket.mint_id, now_ms.div_euclid(HOUR_MS), minted, failed, spent.0, now_ms])?;
    Ok(())
}
