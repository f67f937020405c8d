//! Transactions that nobody has heard of for long: landed after all, or provably dead.

use std::sync::Arc;

use solana_signature::Signature;

use super::{
    landed::{again_or_give_up, settle_landed},
    subject,
};
#[cfg(feature = "failpoints")]
use crate::simulation;
use crate::{
    chain::{Tip, ticket::OnChain},
    domain::{lamports::Lamports, mint::AttemptState},
    minting::{
        Shared, StepError,
        flight::Flight,
        lookup::{adopt, look_up},
    },
    store::{Settlement, TicketVerdict, Verdict},
};

/// Looks for the end of transactions that were silent for long: landed after all, or provably dead.
///
/// Proof of death is all of: the chain is past the last block in which the transaction could land; the signature is
/// unknown, history included; and the mint accounts do not exist. The three are observed in this order, and the later
/// two by nodes that have seen at least the block of the first: an answer from further back proves nothing.
pub(super) async fn look_into(
    shared: &Arc<Shared>,
    suspects: Vec<Arc<Flight>>,
) -> Result<Vec<(Signature, Settlement)>, StepError> {
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    let tip = shared.chain.tip().await?;
    let expired = |flight: &Arc<Flight>| flight.last_valid_block_height < tip.block_height;
    #[cfg(feature = "failpoints")]
    let expired = |flight: &Arc<Flight>| expired(flight) || simulation::sabotaged("re-sign without proof");
    let suspects: Vec<_> = suspects.into_iter().filter(expired).collect();
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    let signatures: Vec<Signature> = suspects.iter().map(|flight| flight.signature).collect();
    let statuses = shared.chain.statuses(&signatures, true).await?;
    if statuses.slot < tip.slot {
        return Ok(Vec::new());
    }
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for (flight, status) in suspects.into_iter().zip(statuses.value) {
        match status {
            Some(landed) if landed.is_settled() => found.push((flight, landed)),
            Some(_not_for_good_yet) => {}
            None => unknown.push(flight),
        }
    }
    let mut settlements = settle_landed(shared, found).await?;
    settlements.extend(bury(shared, unknown, tip).await?);
    Ok(settlements)
}

async fn bury(shared: &Shared, unknown: Vec<Arc<Flight>>, tip: Tip) -> Result<Vec<(Signature, Settlement)>, StepError> {
    let wallet = shared.wallet.address();
    let subjects: Vec<_> = unknown.iter().flat_map(|flight| flight.mints_and_owners(wallet)).collect();
    let on_chain = look_up(shared, &subjects).await?;
    if subjects.is_empty() || on_chain.slot < tip.slot {
        return Ok(Vec::new());
    }
    let mut on_chain = on_chain.value.into_iter();
    let mut settlements = Vec::new();
    for flight in unknown {
        let (mut slot, mut own) = (None, None);
        let mut tickets = Vec::with_capacity(flight.tickets.len());
        let mut absent = false;
        for ((ticket, fee), on_chain) in flight.tickets.iter().zip(flight.fees()).zip(on_chain.by_ref()) {
            if matches!(on_chain, OnChain::Absent { .. }) {
                let said = flight.send_error().unwrap_or_else(|| "the network never took it".into());
                let verdict = again_or_give_up(&flight, ticket, &said);
                let nothing = Lamports::ZERO;
                absent = true;
                tickets.push(TicketVerdict { mint_id: ticket.mint_id, cost: nothing, paid: nothing, verdict });
            } else {
                let verdict = adopt(shared, subject(ticket), &on_chain, Some((flight.signature, fee)), own).await?;
                if let Verdict::Minted { signature, slot: Some(landed_in), .. } = verdict.verdict {
                    slot = Some(landed_in);
                    // It minted all of its tickets or none.
                    own = signature.filter(|made| *made == flight.signature).map(|made| (made, landed_in));
                }
                tickets.push(verdict);
            }
        }
        // With a ticket missing it cannot have landed, whoever minted the others.
        let dead = absent || tickets.iter().all(|ticket| matches!(ticket.verdict, Verdict::Failed(_)));
        if flight.is_pack() && dead {
            shared.packing.failed(flight.first_sent().is_some(), flight.known);
        } else if flight.is_pack() && own.is_some() {
            shared.packing.worked();
        }
        let state = if dead { AttemptState::Dead } else { AttemptState::Landed };
        tracing::warn!(signature = %flight.signature, ?state, "a silent transaction was looked into");
        let attempt = Some((flight.attempt_id, state));
        let slot = slot.filter(|_| !dead);
        // One that waited for its turn until it was dead did not offer too little.
        let never_sent = flight.first_sent().is_none();
        let error = flight.send_error();
        settlements.push((flight.signature, Settlement { attempt, slot, error, never_sent, tickets }));
    }
    Ok(settlements)
}
