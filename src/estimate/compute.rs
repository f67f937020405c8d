//! How many compute units tickets need, learned from one that is tried out now and then.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, timeout};

use crate::chain::{
    Chain, compute,
    transaction::{Allowance, COMPUTE_UNITS_PER_TICKET, Draft, Layout, MAX_COMPUTE_UNITS},
};

/// What was learned is good for so long: programs change by the month.
const LIFETIME: Duration = Duration::from_mins(30);
/// After a trial that told nothing, the next one is made after this time.
const TRY_AGAIN: Duration = Duration::from_mins(1);
/// No ticket waits longer for a trial.
const PATIENCE: Duration = Duration::from_secs(2);
/// Allowed above the need that is reckoned, in percent: names differ in length, and a stranger's lamports take instructions.
const MARGIN_PERCENT: u32 = 10;

/// What every ticket needs, apart from the search for its addresses.
#[derive(Debug, Default)]
pub struct ComputeUnits {
    /// When it was tried, and what came of it.
    learned: Mutex<Option<(Instant, Option<u32>)>>,
}

impl ComputeUnits {
    fn learned(&self) -> Option<(Instant, Option<u32>)> {
        *self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a trial is due.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.learned().is_none_or(|(tried, base)| tried.elapsed() >= base.map_or(TRY_AGAIN, |_base| LIFETIME))
    }

    /// Tries a transaction of one ticket out. A trial that fails teaches nothing, and does no harm: the fixed limit is used.
    pub async fn learn(&self, chain: &dyn Chain, mut draft: Draft) {
        draft.allowance.compute_units = MAX_COMPUTE_UNITS;
        let Some(ticket) = draft.tickets.first() else { return };
        let search = compute::search_units(&ticket.accounts);
        let Some(bytes) = draft.unsigned(Layout::Legacy) else { return };
        let base = match timeout(PATIENCE, chain.simulate(&bytes)).await {
            Ok(Ok(tried)) if tried.error.is_none() => {
                let units = tried.units_consumed.and_then(|units| u32::try_from(units).ok());
                units.and_then(|units| units.checked_sub(search)).filter(|base| *base > 0)
            }
            Ok(Ok(tried)) => {
                tracing::debug!(error = ?tried.error, "a transaction that was tried out would fail");
                None
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "no transaction could be tried out");
                None
            }
            Err(_elapsed) => None,
        };
        if let Some(base) = base {
            tracing::debug!(base, "compute units of a ticket learned");
        }
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        // A trial that told nothing does not make what is known worse.
        let base = base.or_else(|| learned.and_then(|(_, base)| base));
        *learned = Some((Instant::now(), base));
    }

    /// Forgets what was learned: a transaction was allowed too little.
    pub fn forget(&self) {
        *self.learned.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What one ticket is allowed, of whose addresses the search takes `search` units.
    #[must_use]
    pub fn limit(&self, search: u32) -> u32 {
        let Some((_, Some(base))) = self.learned() else { return COMPUTE_UNITS_PER_TICKET };
        let need = base.saturating_add(search);
        need.saturating_add(need.saturating_mul(MARGIN_PERCENT).div_ceil(100)).min(MAX_COMPUTE_UNITS)
    }

    /// What a ticket is allowed that is not known yet, for an offer.
    #[must_use]
    pub fn usual(&self, compute_unit_price: u64) -> Allowance {
        Allowance { compute_units: self.limit(compute::mean_search_units()), compute_unit_price }
    }
}
