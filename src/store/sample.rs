//! Sample books of any size, for rehearsals and measurements; never in a build for production.

use rusqlite::{Connection, params};

use super::{Store, StoreError};

/// Mints written in one commit.
const CHUNK: u64 = 50_000;

impl Store {
    /// Fills empty books with minted tickets of `venues` venues that happened in the year before `now_ms`: every hundredth
    /// has failed. Addresses and signatures are made up, so that the chain knows none of them.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the books have tickets already, or a database fault.
    pub async fn fill_with_samples(&self, mints: u64, venues: u64, now_ms: i64) -> Result<(), StoreError> {
        let mut first = 0;
        while first < mints {
            let last = first.saturating_add(CHUNK).min(mints);
            self.write(move |connection| {
                let known: u64 = connection.query_row("SELECT count(*) FROM mints LIMIT 1", [], |row| row.get(0))?;
                if known != first {
                    return Err(StoreError::Conflict("sample tickets go into empty books only"));
                }
                connection.execute(
                    "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)
                     INSERT INTO mints (venue_id, ticket_id, event_id, ticket, content_digest, mint_address, status,
                                        attempts, name, metadata_uri, signature, slot, cost_lamports, estimated_lamports, error_code,
                                        error_message, created_at, settled_at)
                     SELECT 'venue-' || (i % ?3), 'sample-' || i, 'event-' || (i / 1000),
                            json_object('id', 'sample-' || i, 'eventId', 'event-' || (i / 1000), 'userId', 'user-' || i,
                                        'ticketData', json_object('eventName', 'Sample', 'tier', 'VIP',
                                                                  'seatNumber', 'A' || i)),
                            randomblob(32), substr(hex(randomblob(22)), 1, 44), iif(i % 100, 'minted', 'failed'), 1,
                            'Sample · VIP · A' || i, iif(i % 100, 'ipfs://' || hex(randomblob(29)), NULL),
                            iif(i % 100, hex(randomblob(44)), NULL), iif(i % 100, i, NULL),
                            iif(i % 100, 19651560, 5000), 19651560, iif(i % 100, NULL, 'rejected_by_chain'),
                            iif(i % 100, NULL, 'a sample of a failed ticket'),
                            ?4 - 31536000000 + i * 31536000000 / ?5, ?4 - 31536000000 + i * 31536000000 / ?5 + 3450
                     FROM n",
                    params![first, last, venues.max(1), now_ms, mints],
                )?;
                sum_up(connection, first)?;
                Ok(())
            })
            .await?;
            first = last;
        }
        Ok(())
    }
}

/// Adds the tickets behind a row to all sums.
fn sum_up(connection: &Connection, after: u64) -> Result<(), StoreError> {
    let (due, given_up) = (("due_ms", TIME), ("given_up", "sum(status = 'failed')"));
    for (table, keys, values, also) in [
        ("mint_minutes", "minute, venue_id", "settled_at / 60000, venue_id", None),
        ("mint_hours", "venue_id, hour", "venue_id, settled_at / 3600000", None),
        ("mint_days", "venue_id, day", "venue_id, settled_at / 86400000", None),
        ("mint_events", "venue_id, event_id", "venue_id, event_id", Some(given_up)),
        ("mint_venues", "venue_id", "venue_id", None),
        ("box_periods", "step, period", "60, settled_at / 60000", Some(due)),
        ("box_periods", "step, period", "3600, settled_at / 3600000", Some(due)),
        ("box_periods", "step, period", "86400, settled_at / 86400000", Some(due)),
    ] {
        let sums = [
            ("minted", "sum(status = 'minted')"),
            ("failed", "sum(status = 'failed')"),
            ("spent_lamports", "sum(cost_lamports)"),
            ("mint_ms", TIME),
            ("estimated_lamports", "sum(iif(status = 'minted', estimated_lamports, 0))"),
        ];
        let list =
            |write: fn(&(&str, &str)) -> String| sums.iter().chain(&also).map(write).collect::<Vec<_>>().join(", ");
        let names = list(|(name, _)| (*name).to_owned());
        let sums = list(|(_, sum)| (*sum).to_owned());
        let added = list(|(name, _)| format!("{name} = {name} + excluded.{name}"));
        let group = if keys.contains(',') { "1, 2" } else { "1" };
        let sql = format!(
            "INSERT INTO {table} ({keys}, {names}) SELECT {values}, {sums} FROM mints WHERE id > ? GROUP BY {group}
             ON CONFLICT ({keys}) DO UPDATE SET {added}"
        );
        connection.execute(&sql, [after])?;
    }
    Ok(())
}

const TIME: &str = "sum(iif(status = 'minted', settled_at - created_at, 0))";
