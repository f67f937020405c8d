//! How attempts ended, and what that means for their tickets: one commit for all that ended together.

use std::sync::{Arc, atomic::Ordering};

use fail::fail_point;
use rusqlite::{Connection, OptionalExtension as _, params};
use solana_signature::Signature;

use super::{BatchRecord, Published, Store, StoreError, batches, finality, spending, tally::Tally};
use crate::domain::{
    failure::{Failure, FailureCode},
    lamports::Lamports,
    mint::AttemptState,
};

/// How an attempt, or a look at the chain, ended.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The attempt and its last state; none when a ticket was found on the chain before anything was signed.
    pub attempt: Option<(i64, AttemptState)>,
    /// The slot in which the attempt ended, if it reached the chain.
    pub slot: Option<u64>,
    /// What the chain said, for the record.
    pub error: Option<String>,
    /// It died before its bytes left the box, as far as this process knows.
    pub never_sent: bool,
    /// What it means for each ticket in it.
    pub tickets: Vec<TicketVerdict>,
}

/// What a settlement means for one ticket.
#[derive(Clone, Debug)]
pub struct TicketVerdict {
    /// The row of the mint.
    pub mint_id: i64,
    /// What it cost, rejected attempts included one by one.
    pub cost: Lamports,
    /// What left the wallet now: nothing for a ticket that an earlier life of the books paid for.
    pub paid: Lamports,
    /// How it goes on.
    pub verdict: Verdict,
}

/// How a ticket goes on.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The chain holds it.
    Minted {
        /// The transaction that minted it, if the chain still knows.
        signature: Option<Signature>,
        /// The slot in which that one landed.
        slot: Option<u64>,
        /// Found on the chain rather than minted by an attempt of these books.
        adopted: Option<Published>,
    },
    /// It is given up.
    Failed(Failure),
    /// It may be signed for again.
    Again {
        /// Whether the transaction that came to nothing counts against it.
        counts: bool,
    },
}

/// A ticket that the chain holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintedTicket {
    /// The venue that sells.
    pub venue_id: String,
    /// The venue's name for it.
    pub ticket_id: String,
    /// The transaction that minted it, base58, if the chain still knows.
    pub signature: Option<String>,
}

/// What one commit settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Tickets that the chain holds.
    pub minted: Vec<MintedTicket>,
    /// Why tickets were given up, one for each.
    pub failures: Vec<FailureCode>,
    /// Batches whose last ticket was among them.
    pub finished_batches: Vec<BatchRecord>,
}

impl Store {
    /// Notes how far open attempts have come, and settles those that ended: one commit for all.
    ///
    /// # Errors
    /// A database fault; nothing is kept then, and the same settlements may be tried again.
    pub async fn settle(
        &self,
        progress: Vec<(i64, AttemptState)>,
        settlements: Vec<Settlement>,
        now_ms: i64,
    ) -> Result<Settled, StoreError> {
        let sum = Arc::clone(&self.settled);
        let tickets = settlements.iter().map(|settlement| settlement.tickets.len()).sum();
        self.write_many(tickets, move |connection| {
            fail_point!("settle.inside");
            // Here, so that no acceptance comes between this and the settlement. If that fails, it counts too much.
            let cost: Lamports = settlements.iter().flat_map(|it| &it.tickets).map(|ticket| ticket.cost).sum();
            sum.fetch_add(cost.0, Ordering::AcqRel);
            let open = batches::open(connection)?;
            for (attempt_id, state) in progress {
                connection
                    .prepare_cached("UPDATE attempts SET state = ? WHERE id = ? AND settled_at IS NULL")?
                    .execute(params![state.as_str(), attempt_id])?;
            }
            let (mut settled, mut tally) = (Settled::default(), Tally::at(now_ms));
            for settlement in &settlements {
                settle(connection, settlement, now_ms, (&mut settled, &mut tally))?;
            }
            tally.write(connection)?;
            for batch_id in open {
                settled.finished_batches.extend(batches::finished(connection, batch_id)?);
            }
            Ok(settled)
        })
        .await
    }
}

fn settle(
    connection: &Connection,
    settlement: &Settlement,
    now_ms: i64,
    (settled, tally): (&mut Settled, &mut Tally),
) -> Result<(), StoreError> {
    if let Some((attempt_id, state)) = settlement.attempt {
        let ended = connection
            .prepare_cached(
                // What landed may vanish in a fork: its bytes are kept until it cannot.
                "UPDATE attempts SET state = ?1, slot = ?2, error = ?3, settled_at = ?4, never_sent = ?5,
                        transaction_bytes = iif(?1 = 'landed', transaction_bytes, x'')
                 WHERE id = ?6 AND settled_at IS NULL",
            )?
            .execute(params![
                state.as_str(),
                settlement.slot,
                settlement.error,
                now_ms,
                settlement.never_sent,
                attempt_id
            ])?;
        if ended != 1 {
            return Err(StoreError::Conflict("an attempt was settled twice"));
        }
    }
    spending::book(connection, settlement.tickets.iter().map(|ticket| ticket.paid).sum(), now_ms)?;
    let attempt_id = settlement.attempt.map(|(attempt_id, _)| attempt_id);
    for ticket in &settlement.tickets {
        settle_ticket(connection, ticket, attempt_id, now_ms, settled)?;
        tally.verdict(connection, ticket)?;
    }
    Ok(())
}

fn settle_ticket(
    connection: &Connection,
    ticket: &TicketVerdict,
    attempt_id: Option<i64>,
    now_ms: i64,
    settled: &mut Settled,
) -> Result<(), StoreError> {
    let cost = ticket.cost.0;
    let changed = match &ticket.verdict {
        Verdict::Minted { signature, slot, adopted } => {
            let minted = connection
                .prepare_cached(
                    "UPDATE mints SET status = 'minted', signature = ?, slot = ?, adopted = ?, settled_at = ?,
                        cost_lamports = cost_lamports + ?, name = coalesce(?, name),
                        metadata_uri = coalesce(?, metadata_uri), error_code = NULL, error_message = NULL
                 WHERE id = ? AND status IN ('pending', 'minting') RETURNING venue_id, ticket_id, signature",
                )?
                .query_row(
                    params![
                        signature.map(|signature| signature.to_string()),
                        slot,
                        adopted.is_some(),
                        now_ms,
                        cost,
                        adopted.as_ref().map(|published| &published.name),
                        adopted.as_ref().map(|published| &published.uri),
                        ticket.mint_id
                    ],
                    |row| Ok(MintedTicket { venue_id: row.get(0)?, ticket_id: row.get(1)?, signature: row.get(2)? }),
                )
                .optional()?;
            let changed = usize::from(minted.is_some());
            settled.minted.extend(minted);
            let own = if adopted.is_none() { attempt_id } else { None };
            finality::note(connection, ticket.mint_id, own, (ticket.cost, ticket.paid), now_ms)?;
            changed
        }
        Verdict::Failed(failure) => {
            settled.failures.push(failure.code);
            connection
                .prepare_cached(
                    "UPDATE mints SET status = 'failed', error_code = ?, error_message = ?, settled_at = ?,
                        cost_lamports = cost_lamports + ?
                 WHERE id = ? AND status IN ('pending', 'minting')",
                )?
                .execute(params![failure.code.as_str(), failure.message, now_ms, cost, ticket.mint_id])?
        }
        Verdict::Again { counts } => connection
            .prepare_cached(
                "UPDATE mints SET status = 'pending', cost_lamports = cost_lamports + ?, attempts = max(attempts - ?, 0)
                 WHERE id = ? AND status IN ('pending', 'minting')",
            )?
            .execute(params![cost, !counts, ticket.mint_id])?,
    };
    if changed != 1 {
        return Err(StoreError::Conflict("a ticket was settled twice"));
    }
    batches::charge(connection, ticket.mint_id, ticket.paid)
}
