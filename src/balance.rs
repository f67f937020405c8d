//! The balance of the wallet and of its fee payers, watched: an answer is remembered, and a chain that does not answer is never
//! taken for an empty wallet.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    chain::ChainError,
    clock::SharedClock,
    domain::lamports::Lamports,
    estimate::Prices,
    payers::{Holdings, Purse},
    store::Store,
};

/// How often the balance is asked for by itself.
const EVERY: Duration = Duration::from_secs(30);
/// An answer that is younger than this is good enough for those who ask.
const FRESH_MS: i64 = 10_000;
/// How long those who ask wait for the chain before they are given the last answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A balance, and when the chain said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBalance {
    /// What everyone held.
    pub holdings: Holdings,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// [`Store::settled`] from before it was asked for.
    settled: Lamports,
}

/// Watches one wallet and its fee payers.
#[derive(Clone)]
pub struct BalanceMonitor {
    shared: Arc<Shared>,
}

struct Shared {
    purse: Purse,
    store: Store,
    prices: Arc<Prices>,
    /// Kept in the wallet by setting.
    keep_back: Lamports,
    clock: SharedClock,
    known: Mutex<Option<KnownBalance>>,
}

impl fmt::Debug for BalanceMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceMonitor").field("purse", &self.shared.purse).finish_non_exhaustive()
    }
}

impl BalanceMonitor {
    /// A monitor that has not asked yet.
    #[must_use]
    pub fn new(purse: Purse, store: Store, prices: Arc<Prices>, keep_back: Lamports, clock: SharedClock) -> Self {
        Self { shared: Arc::new(Shared { purse, store, prices, keep_back, clock, known: Mutex::new(None) }) }
    }

    /// The last answer; none if there never was one.
    #[must_use]
    pub fn known(&self) -> Option<KnownBalance> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A fresh answer if the chain gives one soon, otherwise the last one.
    pub async fn current(&self) -> Option<KnownBalance> {
        let age = |known: KnownBalance| self.shared.clock.now_ms().saturating_sub(known.at_ms);
        let is_fresh = self.known().is_some_and(|known| (0..FRESH_MS).contains(&age(known)));
        if !is_fresh || self.shared.prices.known().is_none() {
            // The last answer stays what it is.
            drop(timeout(PATIENCE, self.ask()).await);
        }
        self.known()
    }

    /// Asks the chain now, and remembers its answer.
    ///
    /// # Errors
    /// When the chain does not answer: that says nothing about the balance.
    pub async fn check(&self) -> Result<KnownBalance, ChainError> {
        let shared = &self.shared;
        let settled = shared.store.settled();
        let holdings = shared.purse.look().await?;
        let known = KnownBalance { holdings, at_ms: shared.clock.now_ms(), settled };
        *shared.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        Ok(known)
    }

    async fn ask(&self) {
        if let Err(error) = self.check().await {
            tracing::debug!(%error, "the balance is not known");
        }
        // Kept fresh for those who only look at what is known.
        drop(self.shared.prices.ticket().await);
    }

    /// What a ticket cost when the chain last said so.
    #[must_use]
    pub fn price(&self) -> Option<Lamports> {
        self.shared.prices.known().map(|price| price.total())
    }

    /// Tickets that the balance still pays for, beyond `open` tickets already accepted and what is kept back; none while
    /// balance or price are not known.
    #[must_use]
    pub fn runway(&self, open: u64) -> Option<u64> {
        let (known, price) = (self.known()?, self.shared.prices.known()?.total());
        let keep_back = known.holdings.keep_back(self.shared.keep_back);
        // What was settled since is not among the open ones any more, and was paid from the balance that is known.
        let settled_since = self.shared.store.settled().saturating_sub(known.settled);
        let free = known.holdings.usable(price).saturating_sub(keep_back + settled_since + price * open);
        free.0.checked_div(price.0)
    }

    /// Asks from time to time until the shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        let watch = async {
            loop {
                tick.tick().await;
                self.ask().await;
            }
        };
        shutdown.run_until_cancelled(watch).await;
    }
}
