//! Minted tickets of which the last word is not spoken: see `unproven_mints`.

use rusqlite::{Connection, OptionalExtension as _, params};
use solana_pubkey::Pubkey;
use solana_signature::Signature;

use super::{
    OpenAttempt, Store, StoreError,
    attempts::{open_tickets, parse},
    batches, spending,
    tally::Tally,
};
use crate::domain::lamports::Lamports;

/// A minted ticket that a fork may still take back, or whose transaction is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnprovenMint {
    /// The row of the mint.
    pub mint_id: i64,
    /// Where it lives.
    pub mint_address: Pubkey,
    /// The transaction that minted it, if it is known.
    pub signature: Option<Signature>,
    /// The slot that the books have.
    pub slot: Option<u64>,
    /// Times that its transaction was asked for in vain.
    pub looks: u32,
}

/// What another look at such a ticket showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// No fork can take it back; the slot is the one that it is in for good, if that is known.
    Final {
        /// The slot.
        slot: Option<u64>,
    },
    /// The transaction of an adopted ticket is known at last.
    Found {
        /// Its name on the chain.
        signature: Signature,
        /// The slot it is in.
        slot: u64,
    },
    /// Nothing new: it is looked at again at this time, Unix milliseconds.
    Later {
        /// The time.
        look_at_ms: i64,
    },
    /// The chain has given up the block that it was in.
    TakenBack,
}

struct Row {
    attempt_id: Option<i64>,
    cost: Lamports,
    paid: Lamports,
    settled_at_ms: i64,
}

/// Notes that a ticket was settled as minted: a fork can still take it back.
pub(super) fn note(
    connection: &Connection,
    mint_id: i64,
    attempt_id: Option<i64>,
    (cost, paid): (Lamports, Lamports),
    now_ms: i64,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO unproven_mints (mint_id, attempt_id, cost_lamports, paid_lamports, look_at) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![mint_id, attempt_id, cost.0, paid.0, now_ms])?;
    Ok(())
}

/// The books have changed their mind about a ticket by another way.
pub(super) fn forget(connection: &Connection, mint_id: i64) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM unproven_mints WHERE mint_id = ?")?.execute([mint_id])?;
    Ok(())
}

/// Has a minted ticket minted anew, and undoes what was booked for it, if that is known still. Returns whether it is.
pub(super) fn undo_minted(connection: &Connection, mint_id: i64) -> Result<bool, StoreError> {
    let Some(row) = row_of(connection, mint_id)? else { return Ok(false) };
    undo(connection, mint_id, &row, "pending")?;
    Ok(true)
}

impl Store {
    /// The next tickets to look at again that were due at `due_ms`, those without a transaction last. Those far in the future are meant too: the
    /// clock has jumped back since.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unproven_mints(&self, due_ms: i64, limit: usize) -> Result<Vec<UnprovenMint>, StoreError> {
        /// No look is put off for longer than ten minutes.
        const LONGEST_MS: i64 = 15 * 60 * 1_000;
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT m.id, m.mint_address, m.signature, m.slot, u.looks FROM unproven_mints u JOIN mints m ON m.id = u.mint_id
                 WHERE u.look_at <= ?1 OR u.look_at > ?2 ORDER BY m.signature IS NULL, u.look_at LIMIT ?3",
            )?;
            let rows = statement.query_map(params![due_ms, due_ms.saturating_add(LONGEST_MS), limit], |row| {
                let signature: Option<String> = row.get(2)?;
                Ok(UnprovenMint {
                    mint_id: row.get(0)?,
                    mint_address: parse(row, 1)?,
                    signature: if signature.is_some() { Some(parse(row, 2)?) } else { None },
                    slot: row.get(3)?,
                    looks: row.get(4)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// How many tickets can still be taken back, or lack their transaction.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn count_unproven(&self) -> Result<u64, StoreError> {
        self.read(|connection| {
            Ok(connection.prepare_cached("SELECT count(*) FROM unproven_mints")?.query_row([], |row| row.get(0))?)
        })
        .await
    }

    /// Writes down what another look showed, in one commit. Returns the attempts whose end is open again: their bytes may be
    /// sent again, and their tickets wait for them. Tickets without an attempt are pending again.
    ///
    /// # Errors
    /// A database fault; nothing is kept then, and the same may be written again.
    pub async fn prove(&self, proofs: Vec<(i64, Proof)>, now_ms: i64) -> Result<Vec<OpenAttempt>, StoreError> {
        self.write_many(proofs.len(), move |connection| {
            let mut reopened = Vec::new();
            for (mint_id, proof) in &proofs {
                // A ticket that left the table meanwhile was queued again by the reconciliation.
                let Some(row) = row_of(connection, *mint_id)? else { continue };
                match *proof {
                    Proof::Final { slot } => settle_for_good(connection, *mint_id, &row, slot)?,
                    Proof::Found { signature, slot } => found(connection, *mint_id, &row, &signature, slot, now_ms)?,
                    Proof::Later { look_at_ms } => {
                        connection
                            .prepare_cached(
                                "UPDATE unproven_mints SET looks = looks + 1, look_at = ? WHERE mint_id = ?",
                            )?
                            .execute([look_at_ms, *mint_id])?;
                    }
                    Proof::TakenBack => reopened.extend(take_back(connection, *mint_id, &row)?),
                }
            }
            Ok(reopened)
        })
        .await
    }
}

fn row_of(connection: &Connection, mint_id: i64) -> Result<Option<Row>, StoreError> {
    let row = connection
        .prepare_cached(
            "SELECT u.attempt_id, u.cost_lamports, u.paid_lamports, coalesce(m.settled_at, 0)
             FROM unproven_mints u JOIN mints m ON m.id = u.mint_id WHERE u.mint_id = ? AND m.status = 'minted'",
        )?
        .query_row([mint_id], |row| {
            Ok(Row {
                attempt_id: row.get(0)?,
                cost: Lamports(row.get(1)?),
                paid: Lamports(row.get(2)?),
                settled_at_ms: row.get(3)?,
            })
        })
        .optional()?;
    Ok(row)
}

fn settle_for_good(connection: &Connection, mint_id: i64, row: &Row, slot: Option<u64>) -> Result<(), StoreError> {
    forget(connection, mint_id)?;
    connection
        .prepare_cached("UPDATE mints SET slot = coalesce(?1, slot) WHERE id = ?2 AND slot IS NOT coalesce(?1, slot)")?
        .execute(params![slot, mint_id])?;
    // Its bytes are not needed any more.
    connection
        .prepare_cached(
            "UPDATE attempts SET transaction_bytes = x'', slot = coalesce(?1, slot) WHERE id = ?2 AND length(transaction_bytes) > 0",
        )?
        .execute(params![slot, row.attempt_id])?;
    Ok(())
}

/// The transaction of an adopted ticket. If it is one of ours after all, the ticket was paid for by these books.
fn found(
    connection: &Connection,
    mint_id: i64,
    row: &Row,
    signature: &Signature,
    slot: u64,
    now_ms: i64,
) -> Result<(), StoreError> {
    let own: Option<i64> = connection
        .prepare_cached(
            "SELECT a.id FROM attempts a JOIN attempt_tickets t ON t.attempt_id = a.id WHERE a.signature = ? AND t.mint_id = ?",
        )?
        .query_row(params![signature.to_string(), mint_id], |row| row.get(0))
        .optional()?;
    let owed = if own.is_some() { row.cost.saturating_sub(row.paid) } else { Lamports::ZERO };
    if own.is_some() {
        let mut tally = Tally::at(row.settled_at_ms);
        tally.own(connection, mint_id, owed)?;
        tally.write(connection)?;
    }
    connection
        .prepare_cached("UPDATE mints SET signature = ?, slot = ?, adopted = adopted AND ? WHERE id = ?")?
        .execute(params![signature.to_string(), slot, own.is_none(), mint_id])?;
    connection
        .prepare_cached(
            "UPDATE unproven_mints SET attempt_id = ?, paid_lamports = paid_lamports + ?, look_at = ? WHERE mint_id = ?",
        )?
        .execute(params![own, owed.0, now_ms, mint_id])?;
    if let Some(attempt_id) = own {
        connection
            .prepare_cached("UPDATE attempts SET state = 'landed', slot = ? WHERE id = ? AND settled_at IS NOT NULL")?
            .execute(params![slot, attempt_id])?;
    }
    spending::book(connection, owed, now_ms)?;
    batches::charge(connection, mint_id, owed)
}

/// Undoes the settlement of a ticket, and of all that rode with it in one transaction, as if nothing had been heard of them yet.
fn take_back(connection: &Connection, mint_id: i64, row: &Row) -> Result<Option<OpenAttempt>, StoreError> {
    let Some(attempt_id) = row.attempt_id else {
        undo(connection, mint_id, row, "pending")?;
        return Ok(None);
    };
    let mut riders = connection.prepare_cached("SELECT mint_id FROM unproven_mints WHERE attempt_id = ?")?;
    let riders = riders.query_map([attempt_id], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    for mint_id in riders {
        if let Some(row) = row_of(connection, mint_id)? {
            undo(connection, mint_id, &row, "minting")?;
        }
    }
    let mut attempt = connection
        .prepare_cached(
            "UPDATE attempts SET state = 'unknown', slot = NULL, error = NULL, settled_at = NULL WHERE id = ?
             RETURNING signature, transaction_bytes, last_valid_block_height, fee_lamports",
        )?
        .query_row([attempt_id], |row| {
            Ok(OpenAttempt {
                id: attempt_id,
                signature: parse(row, 0)?,
                bytes: row.get(1)?,
                last_valid_block_height: row.get(2)?,
                fee: Lamports(row.get(3)?),
                tickets: Vec::new(),
            })
        })?;
    attempt.tickets = open_tickets(connection, attempt_id)?;
    Ok(Some(attempt))
}

/// The ticket's money is not spent.
fn undo(connection: &Connection, mint_id: i64, row: &Row, status: &str) -> Result<(), StoreError> {
    let mut tally = Tally::at(row.settled_at_ms);
    tally.undo(connection, mint_id, row.paid)?;
    tally.write(connection)?;
    batches::uncharge(connection, mint_id, row.paid)?;
    spending::take_back(connection, row.paid, row.settled_at_ms)?;
    connection
        .prepare_cached(
            "UPDATE mints SET status = ?, signature = NULL, slot = NULL, adopted = 0, settled_at = NULL,
                    cost_lamports = max(cost_lamports - ?, 0)
             WHERE id = ?",
        )?
        .execute(params![status, row.cost.0, mint_id])?;
    forget(connection, mint_id)
}
