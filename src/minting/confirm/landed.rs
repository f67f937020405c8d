//! Transactions that are on the chain for good: what they minted, and what they cost.

use std::{collections::HashMap, sync::Arc};

use solana_signature::Signature;

use super::subject;
use crate::{
    cache::TicketKey,
    chain::{ChainError, Landed, ticket::OnChain, transaction::payer_of},
    domain::{
        failure::{Failure, FailureCode},
        lamports::Lamports,
        mint::AttemptState,
    },
    minting::{
        Shared, StepError,
        flight::Flight,
        judge::{MAX_ATTEMPTS, Rejection, judge},
        lookup::{adopt, cost, look_at},
        remember,
    },
    store::{OpenTicket, Settlement, TicketVerdict, Verdict},
};

/// Settles transactions that are on the chain for good. Their tickets are read back, which tells what they cost to the
/// lamport, and whether a failed one exists all the same. A node that lags behind the transaction is asked again with
/// the next poll, and so is one that says that a transaction worked whose ticket is not there: mint accounts cannot be
/// closed, so that one of its answers is wrong.
pub(super) async fn settle_landed(
    shared: &Arc<Shared>,
    found: Vec<(Arc<Flight>, Landed)>,
) -> Result<Vec<(Signature, Settlement)>, StepError> {
    let tickets: Vec<_> = found.iter().flat_map(|(flight, _)| flight.accounts.iter().copied()).collect();
    let observed = look_at(shared, &tickets).await?;
    // Two boxes with one wallet may have raced for a ticket: the other one knows which transaction won.
    let lost = found.iter().filter(|(_, landed)| landed.error.is_some());
    let lost: Vec<&OpenTicket> = lost.flat_map(|(flight, _)| &flight.tickets).collect();
    let keys: Vec<_> = lost.iter().map(|ticket| TicketKey::new(&ticket.venue_id, &ticket.ticket_id)).collect();
    let told = remember::signatures(shared, &keys).await;
    let told: HashMap<i64, (Signature, u64)> =
        lost.iter().zip(told).filter_map(|(ticket, told)| Some((ticket.mint_id, told?))).collect();
    let mut on_chain = observed.value.into_iter();
    let mut settlements = Vec::new();
    for (flight, landed) in found {
        let tickets: Vec<OnChain> = on_chain.by_ref().take(flight.tickets.len()).collect();
        if observed.slot < landed.slot {
            continue;
        }
        let settlement = match &landed.error {
            None if tickets.iter().any(|ticket| matches!(ticket, OnChain::Absent { .. })) => {
                tracing::warn!(signature = %flight.signature, "a transaction is said to have worked, and its ticket is not there");
                continue;
            }
            None => minted(shared, &flight, landed.slot, &tickets).await?,
            Some(error) => {
                rejected(shared, &flight, landed.slot, judge(error), error.to_string(), &tickets, &told).await?
            }
        };
        settlements.push((flight.signature, settlement));
    }
    Ok(settlements)
}

async fn minted(shared: &Shared, flight: &Flight, slot: u64, on_chain: &[OnChain]) -> Result<Settlement, StepError> {
    let mut tickets = Vec::with_capacity(on_chain.len());
    if flight.is_pack() {
        shared.packing.worked();
    }
    for ((ticket, on_chain), fee) in flight.tickets.iter().zip(on_chain).zip(flight.fees()) {
        let cost = match on_chain {
            OnChain::Ticket(on_chain) => cost(shared, on_chain, fee).await?,
            // Its owner has burned it already: minted it was, at the usual price.
            OnChain::Foreign | OnChain::Absent { .. } => shared.prices.without_offer().await?.without_fees() + fee,
        };
        let verdict = Verdict::Minted { signature: Some(flight.signature), slot: Some(slot), adopted: None };
        tickets.push(TicketVerdict { mint_id: ticket.mint_id, cost, paid: cost, verdict });
    }
    let attempt = Some((flight.attempt_id, AttemptState::Landed));
    Ok(Settlement { attempt, slot: Some(slot), error: None, never_sent: false, tickets })
}

/// A transaction that failed on the chain: its fee is gone. A ticket that exists all the same was minted by another
/// transaction, and is adopted.
async fn rejected(
    shared: &Shared,
    flight: &Flight,
    slot: u64,
    rejection: Rejection,
    error: String,
    on_chain: &[OnChain],
    told: &HashMap<i64, (Signature, u64)>,
) -> Result<Settlement, StepError> {
    let mut tickets = Vec::with_capacity(on_chain.len());
    // A pack is split: which of its tickets is to blame shows when each is tried alone.
    let alone = !flight.is_pack();
    if !alone && matches!(rejection, Rejection::Impossible | Rejection::OutOfCompute) {
        shared.packing.failed(true, flight.known);
    }
    if rejection == Rejection::OutOfCompute {
        shared.prices.compute.forget();
    }
    let unpaid = rejection == Rejection::OutOfFunds && alone && payer_is_short(shared, flight).await?;
    for ((ticket, on_chain), fee) in flight.tickets.iter().zip(on_chain).zip(flight.fees()) {
        let mut verdict = if let OnChain::Absent { prefunded } = on_chain {
            let verdict = match rejection {
                // A stranger was quicker with a few lamports: the next transaction reckons with them.
                Rejection::InUse if prefunded.is_some() => again_or_give_up(flight, ticket, &error),
                Rejection::Impossible | Rejection::InUse if alone => Verdict::Failed(Failure::new(
                    FailureCode::RejectedByChain,
                    format!("the chain refused the ticket's transaction {}: {error}", flight.signature),
                )),
                // No ticket is given up because money was missing.
                Rejection::OutOfFunds if unpaid => Verdict::Again { counts: false },
                Rejection::Impossible | Rejection::InUse | Rejection::OutOfFunds | Rejection::OutOfCompute => {
                    again_or_give_up(flight, ticket, &error)
                }
            };
            TicketVerdict { mint_id: ticket.mint_id, cost: Lamports::ZERO, paid: Lamports::ZERO, verdict }
        } else {
            // Another transaction minted it: this one failed.
            let told = told.get(&ticket.mint_id).copied();
            adopt(shared, subject(ticket), on_chain, None, told).await?
        };
        verdict.cost = verdict.cost + fee;
        verdict.paid = verdict.paid + fee;
        tickets.push(verdict);
    }
    let attempt = Some((flight.attempt_id, AttemptState::Rejected));
    Ok(Settlement { attempt, slot: Some(slot), error: Some(error), never_sent: false, tickets })
}

/// Whether money is missing where a transaction was to be paid from, so that no more of them are signed until it is
/// there. Otherwise the chain meant something else, and a ticket must not cost fees for ever.
async fn payer_is_short(shared: &Shared, flight: &Flight) -> Result<bool, ChainError> {
    let Some(payer) = payer_of(&flight.bytes) else { return Ok(false) };
    shared.purse.is_short(&payer, &shared.prices).await
}

pub(super) fn again_or_give_up(flight: &Flight, ticket: &OpenTicket, last_words: &str) -> Verdict {
    // What a transaction came to that was refused for another ticket's sake, perhaps, does not count; and nobody is given up
    // for what a transaction with others came to.
    let most = MAX_ATTEMPTS.saturating_add(ticket.refused_with_others);
    if flight.is_pack() || ticket.attempts < most {
        return Verdict::Again { counts: true };
    }
    let message = format!("{MAX_ATTEMPTS} transactions for it came to nothing; the last time: {last_words}");
    Verdict::Failed(Failure::new(FailureCode::NeverLanded, message))
}
