//! Sums of what became of tickets, counted in the commit that settles them: by minute, hour, day and event of each venue, and
//! of all venues together. A commit adds up first and writes each sum once.

use std::collections::BTreeMap;

use rusqlite::{Connection, ToSql, params};

use super::{StoreError, TicketVerdict, Verdict, batches};
use crate::domain::lamports::Lamports;

/// What is added to the sums; below zero for what is undone.
#[derive(Clone, Copy, Default)]
struct Sums {
    minted: i64,
    failed: i64,
    spent: i64,
    mint_ms: i64,
    estimated: i64,
    /// Of the minted, those that an earlier life of the books paid for.
    adopted: i64,
    /// Milliseconds from when they might be minted to settlement, of the others.
    due_ms: i64,
}

impl Sums {
    fn all(&mut self) -> [&mut i64; 7] {
        let Self { minted, failed, spent, mint_ms, estimated, adopted, due_ms } = self;
        [minted, failed, spent, mint_ms, estimated, adopted, due_ms]
    }

    fn add(&mut self, mut more: Self) {
        for (sum, more) in self.all().into_iter().zip(more.all()) {
            *sum = sum.saturating_add(*more);
        }
    }

    fn negative(mut self) -> Self {
        self.all().into_iter().for_each(|sum| *sum = sum.saturating_neg());
        self
    }

    fn is_nothing(mut self) -> bool {
        self.all().into_iter().all(|sum| *sum == 0)
    }
}

/// What a minted ticket adds.
struct Minted {
    venue_id: String,
    event_id: String,
    sums: Sums,
}

/// Counts that have the same time.
pub(super) struct Tally {
    at_ms: i64,
    /// By venue and event.
    sums: BTreeMap<(String, String), Sums>,
}

impl Tally {
    /// Counts of what happens, or happened, at a time.
    pub(super) fn at(at_ms: i64) -> Self {
        Self { at_ms, sums: BTreeMap::new() }
    }

    /// A ticket's verdict. The ticket's row already says what the verdict said.
    pub(super) fn verdict(&mut self, connection: &Connection, ticket: &TicketVerdict) -> Result<(), StoreError> {
        let spent = signed(ticket.paid);
        let failed = i64::from(matches!(ticket.verdict, Verdict::Failed(_)));
        match &ticket.verdict {
            Verdict::Minted { .. } => {
                let minted = self.minted(connection, ticket.mint_id)?;
                let sums = Sums { spent, ..minted.sums };
                self.add(minted.venue_id, minted.event_id, sums);
            }
            Verdict::Again { .. } if spent == 0 => {}
            Verdict::Again { .. } | Verdict::Failed(_) => {
                let (venue_id, event_id) = connection
                    .prepare_cached("SELECT venue_id, event_id FROM mints WHERE id = ?")?
                    .query_row([ticket.mint_id], |row| Ok((row.get(0)?, row.get(1)?)))?;
                self.add(venue_id, event_id, Sums { failed, spent, ..Sums::default() });
            }
        }
        Ok(())
    }

    /// A ticket that was minted at this time, and paid for by these books with so much, is not minted after all. Its row still
    /// says that it is.
    pub(super) fn undo(&mut self, connection: &Connection, mint_id: i64, paid: Lamports) -> Result<(), StoreError> {
        let minted = self.minted(connection, mint_id)?;
        let sums = Sums { spent: signed(paid), ..minted.sums }.negative();
        self.add(minted.venue_id, minted.event_id, sums);
        Ok(())
    }

    /// An adopted ticket that was minted at this time was paid for by these books all the same. Its row still says that it is
    /// adopted.
    pub(super) fn own(&mut self, connection: &Connection, mint_id: i64, paid: Lamports) -> Result<(), StoreError> {
        let minted = self.minted(connection, mint_id)?;
        let Sums { estimated, due_ms, .. } = self.paid_for(connection, mint_id)?;
        let was_adopted = minted.sums.adopted;
        let known = |sum: i64| if was_adopted == 0 { 0 } else { sum };
        let sums = Sums {
            spent: signed(paid),
            adopted: was_adopted.saturating_neg(),
            estimated: known(estimated),
            due_ms: known(due_ms),
            ..Sums::default()
        };
        self.add(minted.venue_id, minted.event_id, sums);
        Ok(())
    }

    /// What a ticket adds that was minted at this time. What nobody paid for was not expected to cost anything either.
    fn minted(&self, connection: &Connection, mint_id: i64) -> Result<Minted, StoreError> {
        let mut minted = connection
            .prepare_cached("SELECT venue_id, event_id, adopted, max(?2 - created_at, 0) FROM mints WHERE id = ?1")?
            .query_row([mint_id, self.at_ms], |row| {
                let sums = Sums { minted: 1, adopted: row.get(2)?, mint_ms: row.get(3)?, ..Sums::default() };
                Ok(Minted { venue_id: row.get(0)?, event_id: row.get(1)?, sums })
            })?;
        if minted.sums.adopted == 0 {
            let Sums { estimated, due_ms, .. } = self.paid_for(connection, mint_id)?;
            (minted.sums.estimated, minted.sums.due_ms) = (estimated, due_ms);
        }
        Ok(minted)
    }

    /// What a ticket was expected to cost, and how long it took since it might be minted.
    fn paid_for(&self, connection: &Connection, mint_id: i64) -> Result<Sums, StoreError> {
        let sql = format!(
            "SELECT coalesce(estimated_lamports, {}, 0),
                    max(?2 - coalesce(due_at, max((SELECT b.created_at FROM batches b WHERE b.id = {}), not_before), created_at), 0)
             FROM mints WHERE id = ?1",
            share("mints.id"),
            batches::payer("mints.id")
        );
        let sums = connection.prepare_cached(&sql)?.query_row([mint_id, self.at_ms], |row| {
            Ok(Sums { estimated: row.get(0)?, due_ms: row.get(1)?, ..Sums::default() })
        })?;
        Ok(sums)
    }

    fn add(&mut self, venue_id: String, event_id: String, sums: Sums) {
        if !sums.is_nothing() {
            self.sums.entry((venue_id, event_id)).or_default().add(sums);
        }
    }

    /// Writes the sums.
    pub(super) fn write(self, connection: &Connection) -> Result<(), StoreError> {
        let (minute, hour, day) = (self.period(60), self.period(3_600), self.period(86_400));
        let (mut all, mut venues) = (Sums::default(), BTreeMap::<String, Sums>::new());
        for ((venue_id, event_id), sums) in self.sums {
            upsert(connection, "mint_events", ["venue_id", "event_id"], &[&venue_id, &event_id], sums)?;
            venues.entry(venue_id).or_default().add(sums);
        }
        for (venue_id, sums) in venues {
            upsert(connection, "mint_venues", ["venue_id"], &[&venue_id], sums)?;
            upsert(connection, "mint_minutes", ["minute", "venue_id"], &[&minute, &venue_id], sums)?;
            upsert(connection, "mint_hours", ["venue_id", "hour"], &[&venue_id, &hour], sums)?;
            upsert(connection, "mint_days", ["venue_id", "day"], &[&venue_id, &day], sums)?;
            all.add(sums);
        }
        if all.is_nothing() {
            return Ok(());
        }
        for (step, period) in [(60, minute), (3_600, hour), (86_400, day)] {
            upsert(connection, "box_periods", ["step", "period"], &[&step, &period], all)?;
            connection
                .prepare_cached(
                    "UPDATE box_periods SET adopted = adopted + ?, due_ms = due_ms + ? WHERE step = ? AND period = ?",
                )?
                .execute(params![all.adopted, all.due_ms, step, period])?;
        }
        Ok(())
    }

    fn period(&self, seconds: i64) -> i64 {
        self.at_ms.div_euclid(seconds.saturating_mul(1_000))
    }
}

/// Adds to a row, which is made if it is missing.
fn upsert<const KEYS: usize>(
    connection: &Connection,
    table: &str,
    names: [&str; KEYS],
    keys: &[&dyn ToSql],
    sums: Sums,
) -> Result<(), StoreError> {
    let (names, marks) = (names.join(", "), vec!["?"; KEYS].join(", "));
    let sql = format!(
        "INSERT INTO {table} ({names}, minted, failed, spent_lamports, mint_ms, estimated_lamports)
         VALUES ({marks}, ?, ?, ?, ?, ?)
         ON CONFLICT ({names}) DO UPDATE SET
             minted = minted + excluded.minted, failed = failed + excluded.failed,
             spent_lamports = spent_lamports + excluded.spent_lamports, mint_ms = mint_ms + excluded.mint_ms,
             estimated_lamports = estimated_lamports + excluded.estimated_lamports"
    );
    let Sums { minted, failed, spent, mint_ms, estimated, .. } = &sums;
    let values: [&dyn ToSql; 5] = [minted, failed, spent, mint_ms, estimated];
    let all: Vec<&dyn ToSql> = keys.iter().copied().chain(values).collect();
    connection.prepare_cached(&sql)?.execute(all.as_slice())?;
    Ok(())
}

/// A ticket's share of its batch's estimate, worked out for one that was minted before shares were kept.
pub(super) fn share(mint_id: &str) -> String {
    format!(
        "(SELECT b.estimated_lamports / count(*)
                 + (sum(e.position <= own.position) <= b.estimated_lamports % count(*))
          FROM batch_entries own JOIN batches b ON b.id = own.batch_id
               JOIN batch_entries e ON e.batch_id = own.batch_id AND e.replayed = 0 AND e.mint_id IS NOT NULL
          WHERE own.mint_id = {mint_id} AND own.replayed = 0 AND own.batch_id = {})",
        batches::payer(mint_id)
    )
}

fn signed(lamports: Lamports) -> i64 {
    i64::try_from(lamports.0).unwrap_or(i64::MAX)
}
