//! What to offer so that transactions land while others want to, from what had to be offered of late.
//!
//! Who offers more is served sooner, and pays for every compute unit that the transaction may use. The price is asked once
//! for many transactions, follows the chain within seconds, and never keeps a ticket waiting: without an answer the floor is
//! offered.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use solana_pubkey::Pubkey;
use tokio::time::{Instant, timeout};

use crate::{
    chain::{
        Chain,
        transaction::{Allowance, COMPUTE_UNITS_PER_TICKET},
    },
    domain::lamports::Lamports,
};

/// A price is good for so long.
const LIFETIME: Duration = Duration::from_secs(10);
/// No ticket waits longer for a price.
const PATIENCE: Duration = Duration::from_secs(2);
/// Accounts that every transaction of ours writes to, and others do too: none. Only the payer stands in all of them, and only
/// we write to it: what a node says of it is our own last offer, and who followed that would bid against himself.
const CONTENDED: [Pubkey; 0] = [];

/// What the operator allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PriorityFeeSettings {
    /// Offer as much as got this share of the recent blocks' cheapest transactions in, in percent; none to offer the floor.
    pub percentile: Option<u8>,
    /// Least that is offered, in micro-lamports for each compute unit.
    pub floor: u64,
    /// Most that is offered, in micro-lamports for each compute unit.
    pub cap: u64,
}

impl PriorityFeeSettings {
    /// Most that one ticket's transaction may offer; one that may use more than the usual compute units offers less for each.
    #[must_use]
    pub fn most_per_ticket(&self) -> Lamports {
        if self.percentile.is_none() && self.floor == 0 {
            return Lamports::ZERO;
        }
        Allowance { compute_units: COMPUTE_UNITS_PER_TICKET, compute_unit_price: self.cap }.priority_fee()
    }
}

/// What to offer now, in micro-lamports for each compute unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PriorityPrice {
    usual: u64,
    /// Half-way from the percentile to the most that was offered.
    higher: u64,
    cap: u64,
}

impl PriorityPrice {
    fn of(settings: &PriorityFeeSettings, mut recent: Vec<u64>) -> Self {
        recent.sort_unstable();
        let at = |percentile: u8| {
            let rank = recent.len().saturating_mul(usize::from(percentile)).div_ceil(100);
            recent.get(rank.saturating_sub(1)).copied().unwrap_or_default().max(settings.floor).min(settings.cap)
        };
        let percentile = settings.percentile.unwrap_or_default();
        Self { usual: at(percentile), higher: at(percentile.midpoint(100)), cap: settings.cap }
    }

    /// A price that does not follow the chain.
    #[cfg(test)]
    pub(crate) fn fixed(usual: u64, higher: u64, cap: u64) -> Self {
        Self { usual, higher, cap }
    }

    /// For a transaction whose ticket was not signed for before, or not for want of an offer in vain.
    #[must_use]
    pub fn usual(&self) -> u64 {
        self.usual
    }

    /// For a ticket whose last transaction offered `last`, was sent, and did not land in all the blocks that it could have.
    #[must_use]
    pub fn after_expiry(&self, last: u64) -> u64 {
        last.saturating_mul(2).max(self.higher).min(self.cap)
    }
}

/// The price to offer, remembered for some seconds.
pub(super) struct PriorityFees {
    chain: Arc<dyn Chain>,
    pub(super) settings: PriorityFeeSettings,
    known: Mutex<Option<(Instant, PriorityPrice)>>,
    /// Who asks at the same time shares one question.
    asking: tokio::sync::Mutex<()>,
}

impl PriorityFees {
    pub(super) fn new(chain: Arc<dyn Chain>, settings: PriorityFeeSettings) -> Self {
        Self { chain, settings, known: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// What to offer; the floor when the chain does not say.
    pub(super) async fn price(&self) -> PriorityPrice {
        let _asking = self.asking.lock().await;
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, price)) = known
            && asked.elapsed() < LIFETIME
        {
            return price;
        }
        let recent = if self.settings.percentile.is_some() { self.ask().await } else { Vec::new() };
        let price = PriorityPrice::of(&self.settings, recent);
        // No answer is remembered too: a node that is down is not asked for every chunk.
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), price));
        price
    }

    /// What was to be offered when the chain was last asked.
    pub(super) fn known(&self) -> PriorityPrice {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.map_or_else(|| PriorityPrice::of(&self.settings, Vec::new()), |(_, price)| price)
    }

    async fn ask(&self) -> Vec<u64> {
        match timeout(PATIENCE, self.chain.priority_fees(&CONTENDED)).await {
            Ok(Ok(recent)) => recent,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the floor is offered, because the chain does not say what others offer");
                Vec::new()
            }
            Err(_elapsed) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(percentile: u8, recent: &[u64]) -> PriorityPrice {
        let percentile = Some(percentile).filter(|percentile| *percentile > 0);
        PriorityPrice::of(&PriorityFeeSettings { percentile, floor: 5, cap: 1_000 }, recent.to_vec())
    }

    #[test]
    fn the_percentile_decides_between_floor_and_cap() {
        let recent: Vec<u64> = (1..=100).rev().map(|n| n * 4).collect();
        assert_eq!(price(75, &recent).usual(), 300);
        assert_eq!(price(100, &recent).usual(), 400);
        assert_eq!(price(1, &recent).usual(), 5, "4 is below the floor");
        assert_eq!(price(75, &[9_999]).usual(), 1_000, "never above the cap");
        assert_eq!((price(75, &[]).usual(), price(0, &[]).usual()), (5, 5), "no answer: the floor");
    }

    #[test]
    fn what_expired_offers_more_up_to_the_cap() {
        let recent: Vec<u64> = (1..=100).map(|n| n * 4).collect();
        let now = price(50, &recent);
        assert_eq!([200, 40, 400, 800].map(|last| now.after_expiry(last)), [400, 300, 800, 1_000]);
        let off = PriorityPrice::of(&PriorityFeeSettings::default(), Vec::new());
        assert_eq!((off.usual(), off.after_expiry(0)), (0, 0), "who offers nothing goes on offering nothing");
    }
}
