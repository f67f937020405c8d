//! Money that left the wallet, by minute.

use std::sync::atomic::Ordering;

use rusqlite::{Connection, params};

use super::{Store, StoreError};
use crate::domain::{
    lamports::Lamports,
    spending::{Commitments, DAY, minute_of},
};

impl Store {
    /// What settled tickets have cost since the process began: only ever grows, and before the books show it.
    #[must_use]
    pub fn settled(&self) -> Lamports {
        Lamports(self.settled.load(Ordering::Acquire))
    }

    /// What has been promised or spent already. Money booked in minutes that are still to come is booked anew as spent now:
    /// the clock was moved back, and each window stays shut for one length more at the most.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn commitments(&self, now_ms: i64) -> Result<Commitments, StoreError> {
        // Read first: what is settled in between counts as settled later, and is reserved for a moment longer.
        let settled = self.settled();
        let found = self.read(move |connection| commitments(connection, settled, now_ms)).await?;
        if found.is_from_the_future() {
            tracing::warn!("the clock was moved back; what was spent by the later clock counts from now on");
            self.write(move |connection| rebook(connection, now_ms)).await?;
        }
        Ok(found)
    }
}

pub(super) fn book(connection: &Connection, spent: Lamports, now_ms: i64) -> Result<(), StoreError> {
    if spent > Lamports::ZERO {
        connection
            .prepare_cached(
                "INSERT INTO spending (minute, lamports) VALUES (?1, ?2)
                 ON CONFLICT (minute) DO UPDATE SET lamports = lamports + ?2",
            )?
            .execute(params![minute_of(now_ms), spent.0])?;
    }
    Ok(())
}

/// Undoes what was booked at a time. It may stand in another minute by now, if the clock was moved back since: the nearest are
/// searched first.
pub(super) fn take_back(connection: &Connection, spent: Lamports, booked_at_ms: i64) -> Result<(), StoreError> {
    let mut nearest = connection
        .prepare_cached("SELECT minute, lamports FROM spending WHERE lamports > 0 ORDER BY abs(minute - ?)")?;
    let mut rows = nearest.query([minute_of(booked_at_ms)])?;
    let (mut left, mut changes) = (spent, Vec::new());
    while left > Lamports::ZERO
        && let Some(row) = rows.next()?
    {
        let (minute, booked) = (row.get::<_, i64>(0)?, Lamports(row.get(1)?));
        changes.push((minute, booked.saturating_sub(left)));
        left = left.saturating_sub(booked);
    }
    drop(rows);
    let mut change = connection.prepare_cached("UPDATE spending SET lamports = ? WHERE minute = ?")?;
    for (minute, lamports) in changes {
        change.execute(params![lamports.0, minute])?;
    }
    Ok(())
}

pub(super) fn commitments(connection: &Connection, settled: Lamports, now_ms: i64) -> Result<Commitments, StoreError> {
    let from = minute_of(now_ms).saturating_sub(DAY);
    let mut spent = connection.prepare_cached("SELECT minute, lamports FROM spending WHERE minute >= ?")?;
    let spent = spent.query_map([from], |row| Ok((row.get(0)?, Lamports(row.get(1)?))))?;
    // The clock may stand differently by now: what waits for its time is what is still to come.
    let mut later = connection.prepare_cached(
        "SELECT not_before, count(*) FROM mints WHERE status = 'pending' AND not_before > 0 AND not_before > ?
         GROUP BY not_before",
    )?;
    let later = later.query_map([now_ms], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let open_tickets = connection
        .prepare_cached("SELECT coalesce(sum(count), 0) FROM mint_counts WHERE status IN ('pending', 'minting')")?
        .query_row([], |row| row.get(0))?;
    let (spent, later) = (spent.collect::<Result<_, _>>()?, later.collect::<Result<_, _>>()?);
    Ok(Commitments { open_tickets, later, sooner: 0, spent, settled, now_ms })
}

/// Books what is of minutes to come in this one.
fn rebook(connection: &Connection, now_ms: i64) -> Result<(), StoreError> {
    let now = minute_of(now_ms);
    let ahead = connection
        .prepare_cached("SELECT coalesce(sum(lamports), 0) FROM spending WHERE minute > ?")?
        .query_row([now], |row| row.get(0))?;
    connection.prepare_cached("DELETE FROM spending WHERE minute > ?")?.execute([now])?;
    book(connection, Lamports(ahead), now_ms)
}
