//! From looked-up tickets to recorded transactions: pack, sign, write ahead.

use std::sync::Arc;

use fail::fail_point;
use solana_hash::Hash;
use solana_pubkey::Pubkey;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    Shared, StepError,
    budget::{self, Allotted},
    flight::{Flight, Tracked},
    judge::MAX_ATTEMPTS,
    packing::Ride,
    publish::Pace,
};
use crate::{
    chain::{
        RecentBlockhash,
        instructions::TicketMint,
        transaction::{Allowance, Draft, Layout},
        wallet::{HalfSigned, SignError, SignedTransaction},
    },
    domain::{
        address::{TicketAccounts, mint_seed},
        ids::{TicketId, VenueId},
        lamports::Lamports,
    },
    payers::Budget,
    simulation,
    store::{NewAttempt, OpenAttempt, OpenTicket, PendingMint, Published, Settlement, StoreError},
};

/// A ticket on its way to a transaction.
pub(super) struct Prepared {
    pub(super) mint: PendingMint,
    pub(super) published: Published,
    pub(super) prefunded: Option<Lamports>,
    pub(super) accounts: TicketAccounts,
    pub(super) allowance: Allowance,
}

/// A ticket that is about to ride in a transaction.
struct Rider {
    to_mint: TicketMint,
    open: OpenTicket,
    allowance: Allowance,
    alone: bool,
}

/// A transaction that has the signatures of the keys that are here.
struct Drafted {
    transaction: HalfSigned,
    riders: Vec<Rider>,
}

/// A transaction that may be written ahead.
struct Signed {
    attempt: OpenAttempt,
    accounts: Vec<TicketAccounts>,
    allowance: Allowance,
}

/// What of a chunk is written ahead, and why the rest of it is not.
#[derive(Default)]
pub(super) struct Recorded {
    pub(super) flights: Vec<Tracked>,
    /// Others are as they were: pending, with nothing in the books.
    pub(super) fault: Option<StepError>,
}

pub(super) async fn sign_and_record(
    shared: &Arc<Shared>,
    prepared: Vec<Prepared>,
    budget: Budget,
    blockhash: RecentBlockhash,
    mut places: OwnedSemaphorePermit,
    pace: &mut Pace,
) -> Result<Recorded, StepError> {
    let price = shared.prices.without_offer().await?;
    let most = shared.together(Layout::V1);
    let ride = if prepared.len().min(most) > 1 { shared.packing.next_ride() } else { Ride::ALONE };
    let ride = Ride { most: ride.most.min(most), ..ride };
    let rent = price.without_fees();
    let allotted = Allotted::of(shared, &prepared, rent).await?;
    let for_signing = Arc::clone(shared);
    let signature_fee = price.signature_fee_lamports;
    let terms = Terms { ride, mint_rent: price.mint_rent_lamports, signature_fee };
    let draft = move || draft_all(&for_signing, prepared, terms, budget, allotted, &blockhash.hash);
    let (drafted, refused) = simulation::aside(draft).await.ok_or(StoreError::Closed)??;
    if !refused.is_empty() {
        tracing::warn!(tickets = refused.len(), "tickets fail, because their batches' budgets are used up");
        shared.settle(Vec::new(), refused).await?;
        // Others may wait behind them.
        shared.work.notify_one();
    }
    let began = Instant::now();
    let (mut signed, fault) = complete(shared, drafted, signature_fee, &blockhash).await;
    let tickets: usize = signed.iter().map(|signed| signed.attempt.tickets.len()).sum();
    pace.note_signed(shared, fault.is_some().then_some(tickets), began.elapsed());
    let fault = fault.map(StepError::from);
    if signed.is_empty() {
        return fault.map_or_else(|| Ok(Recorded::default()), Err);
    }

    #[cfg(feature = "failpoints")]
    if simulation::sabotaged("send before write-ahead") {
        for Signed { attempt, .. } in &signed {
            drop(shared.chain.send(&attempt.bytes).await);
        }
    }
    fail_point!("record.before");
    let rows = signed.iter().map(|Signed { attempt, allowance, .. }| NewAttempt {
        signature: attempt.signature,
        bytes: attempt.bytes.clone(),
        blockhash: blockhash.hash,
        last_valid_block_height: attempt.last_valid_block_height,
        compute_units: allowance.compute_units,
        compute_unit_price: allowance.compute_unit_price,
        fee: attempt.fee,
        rent,
        tickets: attempt.tickets.iter().map(|ticket| (ticket.mint_id, ticket.published.clone())).collect(),
    });
    let ids = shared.store.record(rows.collect(), shared.now_ms()).await?;
    tracing::info!(tickets, transactions = ids.len(), "tickets published, signed and written ahead");
    fail_point!("record.after");
    for (signed, id) in signed.iter_mut().zip(ids) {
        signed.attempt.id = id;
    }
    let tracked = signed.into_iter().map(|Signed { attempt, accounts, .. }| {
        let flight = Flight::new(attempt, accounts);
        Tracked::new(shared, flight, places.split(1))
    });
    Ok(Recorded { flights: tracked.collect(), fault })
}

/// What is minted for a ticket.
pub(super) fn to_mint(shared: &Shared, ticket: &Prepared, mint_rent: Lamports) -> Result<TicketMint, StepError> {
    let Prepared { mint, published, prefunded, accounts, .. } = ticket;
    let (venue, ticket_id) = ids(mint)?;
    Ok(TicketMint {
        seed: mint_seed(&venue, &ticket_id, mint.generation),
        accounts: *accounts,
        owner: mint.ticket.owner().unwrap_or_else(|| shared.wallet.address()),
        name: published.name.clone(),
        symbol: shared.settings.symbol.clone(),
        uri: published.uri.clone(),
        seller_fee_basis_points: shared.settings.seller_fee_basis_points,
        mint_rent,
        prefunded: *prefunded,
    })
}

fn ids(mint: &PendingMint) -> Result<(VenueId, TicketId), StoreError> {
    let conflict = |_reason| StoreError::Conflict("an id in the books is not valid");
    let venue = VenueId::new(mint.venue_id.clone()).map_err(conflict)?;
    Ok((venue, mint.ticket.ticket_id().map_err(conflict)?))
}

/// What all transactions of a chunk have in common.
#[derive(Clone, Copy)]
struct Terms {
    ride: Ride,
    mint_rent: Lamports,
    signature_fee: Lamports,
}

/// Drafts the transactions of a chunk, and signs them with the keys that are here.
fn draft_all(
    shared: &Shared,
    prepared: Vec<Prepared>,
    Terms { ride, mint_rent, signature_fee }: Terms,
    mut budget: Budget,
    mut allotted: Allotted,
    blockhash: &Hash,
) -> Result<(Vec<Drafted>, Vec<Settlement>), StepError> {
    let riders = prepared.into_iter().map(|ticket| rider(shared, ticket, mint_rent));
    let riders: Vec<Rider> = riders.collect::<Result<_, _>>()?;
    let (mut drafted, mut refused) = (Vec::with_capacity(riders.len()), Vec::new());
    for pack in packs(riders, ride, |rider| rider.alone) {
        let payer = if pack.len() > 1 { budget.take(pack.len() as u64) } else { None };
        if let Some(payer) = payer
            && let Some(transaction) = draft_together(shared, payer, &pack, ride.layout, blockhash)?
            && allotted.take(&mint_ids(&pack), fee_of(&pack, signature_fee)).is_ok()
        {
            drafted.push(Drafted { transaction, riders: pack });
            continue;
        }
        for rider in pack {
            // Whoever was to pay for all of them pays for each. What nobody can pay for waits.
            let Some(payer) = payer.or_else(|| budget.take(1)) else { continue };
            let alone = std::slice::from_ref(&rider);
            if let Err(failure) = allotted.take(&mint_ids(alone), fee_of(alone, signature_fee)) {
                refused.push(budget::refused(rider.open.mint_id, failure));
                continue;
            }
            let transaction = draft(shared, payer, alone, Layout::Legacy, blockhash)?;
            drafted.push(Drafted { transaction, riders: vec![rider] });
        }
    }
    Ok((drafted, refused))
}

fn mint_ids(riders: &[Rider]) -> Vec<i64> {
    riders.iter().map(|rider| rider.open.mint_id).collect()
}

/// What the network takes for a transaction with these tickets.
fn fee_of(riders: &[Rider], signature_fee: Lamports) -> Lamports {
    signature_fee + allowance_of(riders).priority_fee()
}

/// Has a signer on another machine add its signatures, if there is one. Says what is signed, and why the rest is not.
async fn complete(
    shared: &Shared,
    drafted: Vec<Drafted>,
    signature_fee: Lamports,
    blockhash: &RecentBlockhash,
) -> (Vec<Signed>, Option<SignError>) {
    let (transactions, riders): (Vec<_>, Vec<_>) = drafted.into_iter().map(|it| (it.transaction, it.riders)).unzip();
    let (mut signed, mut fault) = (Vec::with_capacity(riders.len()), None);
    for (transaction, riders) in shared.wallet.complete(transactions).await.into_iter().zip(riders) {
        match transaction {
            Ok(transaction) => signed.push(Signed::new(transaction, signature_fee, riders, blockhash)),
            Err(error) => fault = fault.or(Some(error)),
        }
    }
    (signed, fault)
}

/// Puts tickets together that ride together, in their order.
fn packs<T>(tickets: Vec<T>, ride: Ride, alone: impl Fn(&T) -> bool) -> Vec<Vec<T>> {
    let mut packs: Vec<Vec<T>> = Vec::new();
    let (mut left, mut open) = (ride.packs, None);
    for ticket in tickets {
        if alone(&ticket) {
            packs.push(vec![ticket]);
            continue;
        }
        let joined: Option<&mut Vec<T>> = open.and_then(|at: usize| packs.get_mut(at));
        match joined {
            Some(pack) if pack.len() < ride.most => pack.push(ticket),
            _ => {
                open = (left > 0).then_some(packs.len());
                left = left.saturating_sub(1);
                packs.push(vec![ticket]);
            }
        }
    }
    packs
}

fn rider(shared: &Shared, ticket: Prepared, mint_rent: Lamports) -> Result<Rider, StepError> {
    let to_mint = to_mint(shared, &ticket, mint_rent)?;
    let Prepared { mint, published, prefunded, allowance, .. } = ticket;
    let (venue, ticket_id) = ids(&mint)?;
    // A ticket that was refused must not take others with it; one whose address holds lamports takes more instructions; and
    // nobody is given up for what happened to a transaction with others.
    let last_chance = mint.attempts.saturating_add(1) >= MAX_ATTEMPTS;
    let open = OpenTicket {
        mint_id: mint.id,
        venue_id: venue.to_string(),
        ticket_id: ticket_id.to_string(),
        mint_address: mint.mint_address,
        owner: mint.ticket.owner(),
        attempts: mint.attempts.saturating_add(1),
        refused_with_others: mint.refused_with_others,
        published,
    };
    let alone = mint.refused > 0 || prefunded.is_some() || last_chance;
    Ok(Rider { to_mint, open, allowance, alone })
}

/// None if they do not fit into one transaction.
fn draft_together(
    shared: &Shared,
    payer: Pubkey,
    pack: &[Rider],
    layout: Layout,
    blockhash: &Hash,
) -> Result<Option<HalfSigned>, StepError> {
    match draft(shared, payer, pack, layout, blockhash) {
        Ok(drafted) => Ok(Some(drafted).filter(|drafted| drafted.bytes() <= layout.most_bytes())),
        Err(StepError::Compile(_too_many_accounts)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn draft(
    shared: &Shared,
    payer: Pubkey,
    riders: &[Rider],
    layout: Layout,
    blockhash: &Hash,
) -> Result<HalfSigned, StepError> {
    let authority = shared.wallet.address();
    let tickets = riders.iter().map(|rider| rider.to_mint.clone()).collect();
    let draft = Draft { authority, payer, tickets, allowance: allowance_of(riders) };
    Ok(shared.wallet.sign_here(draft.message(layout, blockhash)?)?)
}

impl Signed {
    fn new(
        transaction: SignedTransaction,
        signature_fee: Lamports,
        riders: Vec<Rider>,
        blockhash: &RecentBlockhash,
    ) -> Self {
        let allowance = allowance_of(&riders);
        let accounts = riders.iter().map(|rider| rider.to_mint.accounts).collect();
        let attempt = OpenAttempt {
            id: 0,
            signature: transaction.signature,
            bytes: transaction.bytes,
            last_valid_block_height: blockhash.last_valid_block_height,
            fee: signature_fee + allowance.priority_fee(),
            tickets: riders.into_iter().map(|rider| rider.open).collect(),
        };
        Self { attempt, accounts, allowance }
    }
}

fn allowance_of(riders: &[Rider]) -> Allowance {
    Allowance::together(riders.iter().map(|rider| rider.allowance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_ride_together_in_their_order() {
        let ride = |packs| Ride { layout: Layout::V1, packs, most: 3 };
        let together = |count: u32, ride| packs((1..=count).collect(), ride, |ticket| ticket % 10 == 5);
        assert_eq!(together(4, ride(usize::MAX)), [vec![1, 2, 3], vec![4]]);
        assert_eq!(together(8, ride(usize::MAX)), [vec![1, 2, 3], vec![4, 6, 7], vec![5], vec![8]]);
        assert_eq!(together(5, ride(1)), [vec![1, 2, 3], vec![4], vec![5]]);
        assert_eq!(together(3, Ride { most: 2, ..ride(usize::MAX) }), [vec![1, 2], vec![3]]);
        assert_eq!(together(3, Ride::ALONE), [[1], [2], [3]]);
        assert_eq!(together(0, ride(usize::MAX)), Vec::<Vec<u32>>::new());
    }
}
