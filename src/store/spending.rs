//! Money that left the wallet, by minute.

use rusqlite::{Connection, params};

use super::StoreError;
use crate::domain::{lamports::Lamports, spending::Commitments};

const MINUTE_MS: i64 = 60_000;
const HOUR_MINUTES: i64 = 60;
const DAY_MINUTES: i64 = 24 * HOUR_MINUTES;

pub(super) fn book(connection: &Connection, spent: Lamports, now_ms: i64) -> Result<(), StoreError> {
    if spent > Lamports::ZERO {
        connection
            .prepare_cached(
                "INSERT INTO spending (minute, lamports) VALUES (?1, ?2)
                 ON CONFLICT (minute) DO UPDATE SET lamports = lamports + ?2",
            )?
            .execute(params![now_ms.div_euclid(MINUTE_MS), spent.0])?;
    }
    Ok(())
}

/// Undoes what was booked at a time.
pub(super) fn take_back(connection: &Connection, spent: Lamports, booked_at_ms: i64) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE spending SET lamports = max(lamports - ?, 0) WHERE minute = ?")?
        .execute(params![spent.0, booked_at_ms.div_euclid(MINUTE_MS)])?;
    Ok(())
}

pub(super) fn commitments(connection: &Connection, now_ms: i64) -> Result<Commitments, StoreError> {
    let since = |minutes: i64| -> Result<Lamports, StoreError> {
        let from = now_ms.div_euclid(MINUTE_MS).saturating_sub(minutes);
        let sum = connection
            .prepare_cached("SELECT coalesce(sum(lamports), 0) FROM spending WHERE minute >= ?")?
            .query_row([from], |row| row.get(0))?;
        Ok(Lamports(sum))
    };
    let open_tickets = connection
        .prepare_cached("SELECT coalesce(sum(count), 0) FROM mint_counts WHERE status IN ('pending', 'minting')")?
        .query_row([], |row| row.get(0))?;
    Ok(Commitments { open_tickets, last_hour: since(HOUR_MINUTES)?, last_day: since(DAY_MINUTES)? })
}
