//! Sums over all venues, by minute, hour and day: what became of tickets (written by `tally`), and what the box counted by the
//! way, written once a minute. Figures that a hand has changed so that they make no sense are left out.

use rusqlite::{Connection, params};

use super::{
    Period, Step, Store, StoreError,
    stats::{SUMS, read_period},
};

/// How long minutes and hours of all venues together are kept, in steps; days are kept as long as those of endpoints.
const KEEP_MINUTES: i64 = 25 * 60;
const KEEP_HOURS: i64 = 35 * 24;
/// How long days are kept, those of endpoints too.
pub(super) const KEEP_DAYS: i64 = 400;

/// What happened in a period at all venues together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BoxPeriod {
    /// What became of tickets.
    pub tickets: Period,
    /// Of the minted, those that an earlier life of the books paid for.
    pub adopted: u64,
    /// Milliseconds from when they might be minted to settlement, summed over the other minted tickets.
    pub due_ms: u64,
    /// What the box counted.
    pub counts: BoxCounts,
}

/// What the box counts by the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BoxCounts {
    /// Look-ups that the cache answered.
    pub cache_hits: u64,
    /// Look-ups that it did not answer.
    pub cache_misses: u64,
    /// Files sent to providers.
    pub uploads: u64,
    /// Files that were to be sent and were there already.
    pub uploads_saved: u64,
}

/// What came of sends to an endpoint in a period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointPeriod {
    /// Scheme, host and port.
    pub endpoint: String,
    /// When the period begins, Unix milliseconds.
    pub from_ms: i64,
    /// Transactions sent to it, repetitions too.
    pub sends: u64,
    /// Of them those that were refused, or had no answer that makes sense, or none in time.
    pub errors: u64,
    /// Of them those that were turned away because of the plan's limit.
    pub limited: u64,
}

impl BoxCounts {
    /// Adds what was counted later.
    pub fn add(&mut self, more: &Self) {
        for (sum, more) in [
            (&mut self.cache_hits, more.cache_hits),
            (&mut self.cache_misses, more.cache_misses),
            (&mut self.uploads, more.uploads),
            (&mut self.uploads_saved, more.uploads_saved),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

impl EndpointPeriod {
    /// Adds what was counted of the same endpoint in the same period.
    pub fn add(&mut self, more: &Self) {
        for (sum, more) in
            [(&mut self.sends, more.sends), (&mut self.errors, more.errors), (&mut self.limited, more.limited)]
        {
            *sum = sum.saturating_add(more);
        }
    }
}

impl Store {
    /// What happened at all venues together since the period of `from_ms`, oldest first; periods in which nothing happened are
    /// left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn box_periods(&self, from_ms: i64, step: Step) -> Result<Vec<BoxPeriod>, StoreError> {
        self.read(move |connection| {
            let sql = format!(
                "SELECT period, {SUMS}, max(adopted, 0), max(due_ms, 0), max(cache_hits, 0), max(cache_misses, 0),
                        max(uploads, 0), max(uploads_saved, 0)
                 FROM box_periods WHERE step = ? AND period >= ? ORDER BY period"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([step.seconds(), step.of(from_ms)], |row| {
                let counts = BoxCounts {
                    cache_hits: row.get(8)?,
                    cache_misses: row.get(9)?,
                    uploads: row.get(10)?,
                    uploads_saved: row.get(11)?,
                };
                let (adopted, due_ms) = (row.get(6)?, row.get(7)?);
                Ok(BoxPeriod { tickets: read_period(row, step)?, adopted, due_ms, counts })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// What came of sends since the period of `from_ms`, by endpoint and period.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn endpoint_periods(&self, from_ms: i64, step: Step) -> Result<Vec<EndpointPeriod>, StoreError> {
        /// More than this was never sent within a period.
        const LARGEST: i64 = 1_000_000_000;
        self.read(move |connection| {
            let sound = |parts: &[&str]| {
                let parts = parts.iter().map(|part| format!("AND {part} BETWEEN 0 AND sends"));
                format!("sends BETWEEN 0 AND {LARGEST} {}", parts.collect::<Vec<_>>().join(" "))
            };
            let from = step.of(from_ms);
            let (sql, from) = match step {
                Step::Minute => {
                    let sound = sound(&["errors", "limited"]);
                    let sql = format!(
                        "SELECT endpoint, minute, sends, errors, limited FROM endpoint_minutes WHERE minute >= ? AND {sound}"
                    );
                    (sql, from)
                }
                Step::Hour | Step::Day => {
                    let hours = step.seconds().checked_div(Step::Hour.seconds()).unwrap_or(1);
                    let sound = sound(&["refused", "limited", "failed", "timed_out"]);
                    let sql = format!(
                        "SELECT endpoint, hour / {hours} AS period, sum(sends), sum(refused + failed + timed_out), sum(limited)
                         FROM endpoint_hours WHERE hour >= ? AND {sound} GROUP BY 1, 2"
                    );
                    (sql, from.saturating_mul(hours))
                }
            };
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map([from], |row| {
                Ok(EndpointPeriod {
                    endpoint: row.get(0)?,
                    from_ms: row.get::<_, i64>(1)?.saturating_mul(step.ms()),
                    sends: row.get(2)?,
                    errors: row.get(3)?,
                    limited: row.get(4)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Adds what the box counted in the minute of `at_ms`, in one write.
    ///
    /// # Errors
    /// When the database cannot be written; nothing is added then.
    pub async fn add_counts(
        &self,
        at_ms: i64,
        counts: BoxCounts,
        endpoints: Vec<EndpointPeriod>,
    ) -> Result<(), StoreError> {
        self.write(move |connection| {
            if counts != BoxCounts::default() {
                for step in [Step::Minute, Step::Hour, Step::Day] {
                    add(connection, at_ms, step, &counts)?;
                }
            }
            endpoints.iter().try_for_each(|endpoint| add_sends(connection, at_ms, endpoint))
        })
        .await
    }
}

fn add(connection: &Connection, at_ms: i64, step: Step, counts: &BoxCounts) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO box_periods (step, period, cache_hits, cache_misses, uploads, uploads_saved) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (step, period) DO UPDATE SET
                 cache_hits = cache_hits + excluded.cache_hits, cache_misses = cache_misses + excluded.cache_misses,
                 uploads = uploads + excluded.uploads, uploads_saved = uploads_saved + excluded.uploads_saved",
        )?
        .execute(params![
            step.seconds(),
            step.of(at_ms),
            counts.cache_hits,
            counts.cache_misses,
            counts.uploads,
            counts.uploads_saved
        ])?;
    Ok(())
}

fn add_sends(connection: &Connection, at_ms: i64, more: &EndpointPeriod) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO endpoint_minutes (minute, endpoint, sends, errors, limited) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (minute, endpoint) DO UPDATE SET
                 sends = sends + excluded.sends, errors = errors + excluded.errors, limited = limited + excluded.limited",
        )?
        .execute(params![Step::Minute.of(at_ms), more.endpoint, more.sends, more.errors, more.limited])?;
    Ok(())
}

/// Removes what is too old.
pub(super) fn forget(connection: &Connection, now_ms: i64, at_once: usize) -> Result<usize, StoreError> {
    let minute = Step::Minute.of(now_ms).saturating_sub(KEEP_MINUTES);
    let mut forgotten = 0_usize;
    for (table, key) in [("mint_minutes", "minute, venue_id"), ("endpoint_minutes", "minute, endpoint")] {
        let sql = format!("DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE minute < ? LIMIT ?)");
        let left = at_once.saturating_sub(forgotten);
        forgotten = forgotten.saturating_add(connection.prepare_cached(&sql)?.execute(params![minute, left])?);
    }
    let hour = Step::Hour.of(now_ms).saturating_sub(KEEP_HOURS);
    let day = Step::Day.of(now_ms).saturating_sub(KEEP_DAYS);
    for (step, before) in [(Step::Minute, minute), (Step::Hour, hour), (Step::Day, day)] {
        let sql = "DELETE FROM box_periods WHERE (step, period) IN
                       (SELECT step, period FROM box_periods WHERE step = ? AND period < ? LIMIT ?)";
        let left = at_once.saturating_sub(forgotten);
        let deleted = connection.prepare_cached(sql)?.execute(params![step.seconds(), before, left])?;
        forgotten = forgotten.saturating_add(deleted);
    }
    Ok(forgotten)
}
