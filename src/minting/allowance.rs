//! What each ticket's transaction may use, and what it offers for it.
//!
//! More is offered only for a ticket that is signed for again because its last transaction was sent and expired: whoever
//! signs again earlier, to offer more, risks to mint twice.

use super::{
    Shared, StepError,
    sign::{Prepared, to_mint},
};
use crate::{
    chain::{
        compute,
        transaction::{Allowance, Draft},
    },
    domain::lamports::Lamports,
    estimate::PriorityPrice,
    store::{LastAttempt, PendingMint},
};

/// Gives each ticket its allowance.
pub(super) async fn allow(shared: &Shared, mut prepared: Vec<Prepared>) -> Result<Vec<Prepared>, StepError> {
    let (offer, learned) = tokio::join!(shared.prices.offer(), learn(shared, prepared.first()));
    learned?;
    for ticket in &mut prepared {
        let need = shared.prices.compute.limit(compute::search_units(&ticket.accounts));
        let PendingMint { attempts, last, .. } = ticket.mint;
        ticket.allowance = of_ticket(attempts, last, need, offer, shared.prices.most_offered());
    }
    Ok(prepared)
}

/// Tries a transaction out, if it is time for that: one for many chunks.
async fn learn(shared: &Shared, first: Option<&Prepared>) -> Result<(), StepError> {
    if let Some(first) = first
        && shared.prices.compute.is_stale()
    {
        let authority = shared.wallet.address();
        let mint_rent = shared.prices.without_offer().await?.mint_rent_lamports;
        let tickets = vec![to_mint(shared, first, mint_rent)?];
        let payer = shared.purse.payers().first().copied().unwrap_or(authority);
        let draft = Draft { authority, payer, tickets, allowance: Allowance::of_attempt(0) };
        shared.prices.compute.learn(shared.chain.as_ref(), draft).await;
    }
    Ok(())
}

/// The allowance of a ticket that is reckoned to need `need` compute units.
fn of_ticket(
    earlier: u32,
    last: Option<LastAttempt>,
    need: u32,
    offer: PriorityPrice,
    most_offered: Lamports,
) -> Allowance {
    let compute_units = match last {
        None => need,
        // It may have had too few.
        Some(last) if last.rejected => need.max(Allowance::of_attempt(earlier).compute_units),
        Some(last) => need.max(last.compute_units),
    };
    let compute_unit_price = match last {
        Some(last) if last.expired => offer.after_expiry(last.compute_unit_price).max(offer.usual()),
        // A raised offer that was refused for another reason is not taken back.
        Some(last) => offer.usual().max(last.compute_unit_price),
        None => offer.usual(),
    };
    Allowance { compute_units, compute_unit_price }.capped(most_offered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(compute_units: u32, compute_unit_price: u64) -> LastAttempt {
        LastAttempt { compute_units, compute_unit_price, expired: false, rejected: false }
    }

    #[test]
    fn only_what_was_sent_in_vain_offers_more() {
        let offer = PriorityPrice::fixed(100, 150, 1_000);
        let price = |last| of_ticket(1, last, 140_000, offer, Lamports(220)).compute_unit_price;
        assert_eq!(price(None), 100);
        assert_eq!(price(Some(last(140_000, 200))), 200, "never sent");
        assert_eq!(price(Some(LastAttempt { expired: true, ..last(140_000, 200) })), 400);
        assert_eq!(price(Some(LastAttempt { expired: true, ..last(140_000, 900) })), 1_000, "the cap");
        assert_eq!(price(Some(LastAttempt { rejected: true, ..last(140_000, 50) })), 100);
    }

    #[test]
    fn a_refused_transaction_may_use_more_and_never_costs_more_than_the_most() {
        let offer = PriorityPrice::fixed(1_000, 1_000, 1_000);
        let of = |earlier, last| of_ticket(earlier, last, 140_000, offer, Lamports(220));
        assert_eq!(of(0, None), Allowance { compute_units: 140_000, compute_unit_price: 1_000 });
        let rejected = of(1, Some(LastAttempt { rejected: true, ..last(140_000, 1_000) }));
        assert_eq!(rejected.compute_units, 440_000);
        assert_eq!(rejected.priority_fee(), Lamports(220), "the price for each unit sinks instead");
        assert_eq!(of(2, Some(last(440_000, 500))).compute_units, 440_000, "what it needed once it needs again");
    }
}
