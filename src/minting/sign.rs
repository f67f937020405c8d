//! From looked-up tickets to recorded transactions: sign, write ahead.

use std::sync::Arc;

use fail::fail_point;
use solana_pubkey::Pubkey;
use tokio::sync::OwnedSemaphorePermit;

use super::{Shared, StepError, flight::Tracked};
use crate::{
    chain::{
        RecentBlockhash,
        instructions::TicketMint,
        transaction::{Allowance, Draft, Layout},
    },
    domain::{address::mint_seed, ids::VenueId, lamports::Lamports},
    payers::Budget,
    simulation,
    store::{NewAttempt, OpenAttempt, OpenTicket, PendingMint, Published, StoreError},
};

/// A ticket on its way to a transaction.
pub(super) struct Prepared {
    pub(super) mint: PendingMint,
    pub(super) published: Published,
    pub(super) prefunded: Option<Lamports>,
}

pub(super) async fn sign_and_record(
    shared: &Arc<Shared>,
    prepared: Vec<Prepared>,
    mut budget: Budget,
    mut places: OwnedSemaphorePermit,
) -> Result<Vec<Tracked>, StepError> {
    let (blockhash, price) = tokio::try_join!(shared.chain.latest_blockhash(), shared.prices.ticket())?;
    let for_signing = Arc::clone(shared);
    let mint_rent = price.mint_rent_lamports;
    let sign = move || {
        let paid = prepared.into_iter().map_while(|ticket| Some((budget.take(1)?, ticket)));
        paid.map(|(payer, ticket)| sign(&for_signing, payer, ticket, mint_rent, &blockhash)).collect()
    };
    let signed: Result<Vec<OpenAttempt>, StepError> = simulation::aside(sign).await.ok_or(StoreError::Closed)?;
    let mut attempts = signed?;

    #[cfg(feature = "failpoints")]
    if simulation::sabotaged("send before write-ahead") {
        for attempt in &attempts {
            drop(shared.chain.send(&attempt.bytes).await);
        }
    }
    fail_point!("record.before");
    let rows = attempts.iter().map(|attempt| NewAttempt {
        signature: attempt.signature,
        bytes: attempt.bytes.clone(),
        blockhash: blockhash.hash,
        last_valid_block_height: attempt.last_valid_block_height,
        tickets: attempt.tickets.iter().map(|ticket| (ticket.mint_id, ticket.published.clone())).collect(),
    });
    let ids = shared.store.record(rows.collect(), shared.now_ms()).await?;
    tracing::info!(tickets = ids.len(), "tickets published, signed and written ahead");
    fail_point!("record.after");
    for (attempt, id) in attempts.iter_mut().zip(ids) {
        attempt.id = id;
    }
    Ok(attempts.into_iter().map(|attempt| Tracked::new(shared, attempt, places.split(1))).collect())
}

/// Signs the transaction of one ticket.
fn sign(
    shared: &Shared,
    payer: Pubkey,
    ticket: Prepared,
    mint_rent: Lamports,
    blockhash: &RecentBlockhash,
) -> Result<OpenAttempt, StepError> {
    let Prepared { mint, published, prefunded } = ticket;
    let authority = shared.wallet.address();
    let owner = mint.ticket.owner();
    let conflict = |_reason| StoreError::Conflict("an id in the books is not valid");
    let venue = VenueId::new(mint.venue_id).map_err(conflict)?;
    let ticket_id = mint.ticket.ticket_id().map_err(conflict)?;
    let to_mint = TicketMint {
        seed: mint_seed(&venue, &ticket_id, mint.generation),
        mint: mint.mint_address,
        owner: owner.unwrap_or(authority),
        name: published.name.clone(),
        symbol: shared.settings.symbol.clone(),
        uri: published.uri.clone(),
        seller_fee_basis_points: shared.settings.seller_fee_basis_points,
        mint_rent,
        prefunded,
    };
    let allowance = Allowance::of_attempt(mint.attempts);
    let draft = Draft { authority, payer, tickets: vec![to_mint], allowance };
    let signed = shared.wallet.sign(draft.message(&Layout::Legacy, &blockhash.hash))?;
    let open = OpenTicket {
        mint_id: mint.id,
        venue_id: venue.to_string(),
        ticket_id: ticket_id.to_string(),
        mint_address: mint.mint_address,
        owner,
        attempts: mint.attempts.saturating_add(1),
        published,
    };
    Ok(OpenAttempt {
        id: 0,
        signature: signed.signature,
        bytes: signed.bytes,
        last_valid_block_height: blockhash.last_valid_block_height,
        tickets: vec![open],
    })
}
