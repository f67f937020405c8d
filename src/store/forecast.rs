//! How minting went, hour by hour: written in bulk every so often, and read to say what to expect.
//!
//! Rows are taken for what they are, figures that a hand may have changed: what makes no sense is left out here, or by the
//! forecast itself.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};

use super::{FILE_NAME, Store, StoreError, connect, trends};
use crate::domain::forecast::{EndpointHour, MintHour, Settles};

/// How long rows are kept, in hours: a bit longer than they count. The trends show the endpoints' for longer.
const KEEP_HOURS: i64 = 35 * 24;

/// How minting went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Through the endpoints that were asked about, by the hour.
    pub hours: Vec<MintHour>,
    /// How each endpoint took what was sent to it, by the hour.
    pub sends: Vec<EndpointHour>,
}

/// The transactions of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    /// Signed for its tickets.
    pub transactions: u64,
    /// Of them those whose tickets were signed for again.
    pub signed_again: u64,
}

/// The index of unminted tickets is used only by those who say that they mean those.
const WAITING: &str = "SELECT count(*) FROM mints
    WHERE status <> 'minted' AND status IN ('pending', 'minting') AND not_before <= ?";

impl Store {
    /// Adds what was counted since the last time; `endpoints` names all endpoints of the settings.
    ///
    /// # Errors
    /// When the database cannot be written; nothing is added then.
    pub async fn add_to_record(&self, endpoints: String, record: Record) -> Result<(), StoreError> {
        self.write(move |connection| {
            record.hours.iter().try_for_each(|hour| add_hour(connection, &endpoints, hour))?;
            record.sends.iter().try_for_each(|hour| add_sends(connection, hour))
        })
        .await
    }

    /// What was counted through these endpoints since an hour.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn record_of(&self, endpoints: String, since_hour: i64) -> Result<Record, StoreError> {
        self.read(move |connection| read(connection, &endpoints, since_hour)).await
    }

    /// Tickets that are to be minted now, and those under way.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn waiting_tickets(&self, now_ms: i64) -> Result<u64, StoreError> {
        self.read(move |connection| Ok(connection.prepare_cached(WAITING)?.query_row([now_ms], |row| row.get(0))?))
            .await
    }

    /// The transactions that were signed for the new tickets of a batch.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn retries_of(&self, batch_id: i64) -> Result<Retries, StoreError> {
        self.read(move |connection| {
            let retries = connection
                .prepare_cached(
                    "SELECT count(*), coalesce(sum(again), 0) FROM (
                         SELECT max(EXISTS (SELECT 1 FROM attempt_tickets later
                                            WHERE later.mint_id = t.mint_id AND later.attempt_id > t.attempt_id)) AS again
                         FROM batch_entries e JOIN attempt_tickets t ON t.mint_id = e.mint_id
                         WHERE e.batch_id = ? AND e.replayed = 0 GROUP BY t.attempt_id)",
                )?
                .query_row([batch_id], |row| Ok(Retries { transactions: row.get(0)?, signed_again: row.get(1)? }))?;
            Ok(retries)
        })
        .await
    }
}

/// What a data folder's books recorded through these endpoints, read beside the process that owns it. Nothing if there are no
/// books, or those of another version.
#[must_use]
pub fn peek_record(folder: &Path, endpoints: &str, since_hour: i64) -> Record {
    let connection = connect(&folder.join(FILE_NAME), OpenFlags::SQLITE_OPEN_READ_ONLY);
    let record = connection.and_then(|connection| read(&connection, endpoints, since_hour));
    record.unwrap_or_default()
}

/// Removes rows that are too old to count.
pub(super) fn forget(connection: &Connection, now_ms: i64, at_once: usize) -> Result<usize, StoreError> {
    let hour = now_ms.div_euclid(3_600_000);
    let mut forgotten = 0_usize;
    let endpoint_hours = trends::KEEP_DAYS.saturating_mul(24);
    for (table, key, keep) in
        [("engine_hours", "endpoints", KEEP_HOURS), ("endpoint_hours", "endpoint", endpoint_hours)]
    {
        let sql = format!(
            "DELETE FROM {table} WHERE ({key}, hour) IN (SELECT {key}, hour FROM {table} WHERE hour < ? LIMIT ?)"
        );
        let left = at_once.saturating_sub(forgotten);
        forgotten = forgotten
            .saturating_add(connection.prepare_cached(&sql)?.execute(params![hour.saturating_sub(keep), left])?);
    }
    Ok(forgotten)
}

fn read(connection: &Connection, endpoints: &str, since_hour: i64) -> Result<Record, StoreError> {
    let mut hours = connection.prepare_cached(&format!("{HOURS} WHERE endpoints = ? AND hour >= ?"))?;
    let hours = hours.query_map(params![endpoints, since_hour], |row| Ok(read_hour(row)))?;
    let mut sends = connection.prepare_cached(&format!("{SENDS} WHERE hour >= ?"))?;
    let sends = sends.query_map([since_hour], |row| Ok(read_sends(row)))?;
    // A row that cannot be read is none.
    Ok(Record { hours: hours.flatten().flatten().collect(), sends: sends.flatten().flatten().collect() })
}

const HOURS: &str =
    "SELECT hour, landed, expired, rejected, again, tickets, expiry_ms, chunks, prepare_ms, paced_ms, paced_tickets,
     paced_squares, settle FROM engine_hours";

fn read_hour(row: &Row<'_>) -> rusqlite::Result<MintHour> {
    let settle: String = row.get(12)?;
    let hour = MintHour {
        hour: row.get(0)?,
        landed: row.get(1)?,
        expired: row.get(2)?,
        rejected: row.get(3)?,
        again: row.get(4)?,
        tickets: row.get(5)?,
        expiry_ms: row.get(6)?,
        chunks: row.get(7)?,
        prepare_ms: row.get(8)?,
        paced_ms: row.get(9)?,
        paced_tickets: row.get(10)?,
        paced_squares: row.get(11)?,
        settle: Settles::read(&serde_json::from_str::<Vec<i64>>(&settle).unwrap_or_default()),
    };
    Ok(hour)
}

fn add_hour(connection: &Connection, endpoints: &str, more: &MintHour) -> Result<(), StoreError> {
    let known = connection
        .prepare_cached(&format!("{HOURS} WHERE endpoints = ? AND hour = ?"))?
        .query_row(params![endpoints, more.hour], |row| Ok(read_hour(row)))
        .optional()?;
    // What makes no sense is begun anew.
    let known = known.and_then(Result::ok).filter(MintHour::is_sound);
    let mut sum = known.unwrap_or_else(|| MintHour { hour: more.hour, ..MintHour::default() });
    sum.add(more);
    let settle = serde_json::to_string(sum.settle.counts()).unwrap_or_default();
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO engine_hours
                 (endpoints, hour, landed, expired, rejected, again, tickets, settle, expiry_ms, chunks, prepare_ms, paced_ms,
                  paced_tickets, paced_squares)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            endpoints,
            sum.hour,
            sum.landed,
            sum.expired,
            sum.rejected,
            sum.again,
            sum.tickets,
            settle,
            sum.expiry_ms,
            sum.chunks,
            sum.prepare_ms,
            sum.paced_ms,
            sum.paced_tickets,
            sum.paced_squares
        ])?;
    Ok(())
}

const SENDS: &str = "SELECT endpoint, hour, sends, refused, limited, failed, timed_out FROM endpoint_hours";

fn read_sends(row: &Row<'_>) -> rusqlite::Result<EndpointHour> {
    Ok(EndpointHour {
        endpoint: row.get(0)?,
        hour: row.get(1)?,
        sends: row.get(2)?,
        refused: row.get(3)?,
        limited: row.get(4)?,
        failed: row.get(5)?,
        timed_out: row.get(6)?,
    })
}

fn add_sends(connection: &Connection, more: &EndpointHour) -> Result<(), StoreError> {
    let known = connection
        .prepare_cached(&format!("{SENDS} WHERE endpoint = ? AND hour = ?"))?
        .query_row(params![more.endpoint, more.hour], |row| Ok(read_sends(row)))
        .optional()?;
    let empty = EndpointHour { endpoint: more.endpoint.clone(), hour: more.hour, ..EndpointHour::default() };
    let mut sum = known.and_then(Result::ok).filter(EndpointHour::is_sound).unwrap_or(empty);
    sum.add(more);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO endpoint_hours (endpoint, hour, sends, refused, limited, failed, timed_out)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![sum.endpoint, sum.hour, sum.sends, sum.refused, sum.limited, sum.failed, sum.timed_out])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::plan_of;

    #[test]
    fn waiting_tickets_are_counted_without_the_minted_ones() {
        let plan = plan_of(super::WAITING);
        assert!(plan.contains("mints_unminted") && !plan.contains("SCAN mints"), "{plan}");
    }
}
