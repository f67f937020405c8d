//! Venues and their events, in pages by name.

use rusqlite::params;

use super::{Counts, Period, Step, Store, StoreError, mints, stats};

/// A venue, and what became of its tickets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VenueRecord {
    /// The venue.
    pub venue_id: String,
    /// Its tickets by state, as they are now.
    pub counts: Counts,
    /// What they did in all.
    pub total: Period,
}

/// An event of a venue, and what became of its tickets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// The event.
    pub event_id: String,
    /// What its tickets did in all.
    pub total: Period,
    /// Tickets that are failed now.
    pub given_up: u64,
}

impl Store {
    /// Venues that have tickets, by name, behind the one named `after`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn venue_page(&self, after: String, limit: usize) -> Result<Vec<VenueRecord>, StoreError> {
        self.read(move |connection| {
            let sql = format!(
                "SELECT 0, {OR_NOTHING}, c.venue_id FROM
                     (SELECT venue_id FROM mint_counts WHERE venue_id > ? GROUP BY venue_id HAVING sum(count) > 0
                      ORDER BY venue_id LIMIT ?) AS c
                 LEFT JOIN mint_venues AS v ON v.venue_id = c.venue_id ORDER BY c.venue_id"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![after, limit], |row| {
                Ok((row.get::<_, String>(6)?, stats::read_period(row, Step::Day)?))
            })?;
            let mut venues = Vec::new();
            for row in rows {
                let (venue_id, total) = row?;
                let counts = mints::counts(connection, Some(&venue_id))?;
                venues.push(VenueRecord { venue_id, counts, total });
            }
            Ok(venues)
        })
        .await
    }

    /// Events of a venue, by name, behind the one named `after`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn event_page(
        &self,
        venue_id: String,
        after: String,
        limit: usize,
    ) -> Result<Vec<EventRecord>, StoreError> {
        self.read(move |connection| {
            let sql = format!(
                "SELECT 0, {}, event_id, max(given_up, 0) FROM mint_events WHERE venue_id = ? AND event_id > ?
                 ORDER BY event_id LIMIT ?",
                stats::SUMS
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![venue_id, after, limit], |row| {
                let total = stats::read_period(row, Step::Day)?;
                Ok(EventRecord { event_id: row.get(6)?, total, given_up: row.get(7)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

/// The sums of a venue of which nothing is settled yet are none.
const OR_NOTHING: &str =
    "max(coalesce(minted, 0), 0), max(coalesce(failed, 0), 0), max(coalesce(spent_lamports, 0), 0),
     max(coalesce(mint_ms, 0), 0), max(coalesce(estimated_lamports, 0), 0)";
