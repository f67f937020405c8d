//! The wallet's balance, watched: an answer is remembered, and a chain that does not answer is never taken for an empty wallet.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use solana_pubkey::Pubkey;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    chain::{Chain, ChainError},
    clock::SharedClock,
    domain::lamports::Lamports,
};

/// How often the balance is asked for by itself.
const EVERY: Duration = Duration::from_secs(30);
/// An answer that is younger than this is good enough for those who ask.
const FRESH_MS: i64 = 10_000;
/// How long those who ask wait for the chain before they are given the last answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A balance, and when the chain said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownBalance {
    /// What the wallet held.
    pub balance: Lamports,
    /// When, Unix milliseconds.
    pub at_ms: i64,
}

/// Watches one wallet.
#[derive(Clone)]
pub struct BalanceMonitor {
    shared: Arc<Shared>,
}

struct Shared {
    chain: Arc<dyn Chain>,
    wallet: Pubkey,
    clock: SharedClock,
    known: Mutex<Option<KnownBalance>>,
}

impl fmt::Debug for BalanceMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceMonitor").field("wallet", &self.shared.wallet).finish_non_exhaustive()
    }
}

impl BalanceMonitor {
    /// A monitor that has not asked yet.
    #[must_use]
    pub fn new(chain: Arc<dyn Chain>, wallet: Pubkey, clock: SharedClock) -> Self {
        Self { shared: Arc::new(Shared { chain, wallet, clock, known: Mutex::new(None) }) }
    }

    /// The last answer; none if there never was one.
    #[must_use]
    pub fn known(&self) -> Option<KnownBalance> {
        *self.shared.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A fresh answer if the chain gives one soon, otherwise the last one.
    pub async fn current(&self) -> Option<KnownBalance> {
        let age = |known: KnownBalance| self.shared.clock.now_ms().saturating_sub(known.at_ms);
        if self.known().is_none_or(|known| !(0..FRESH_MS).contains(&age(known))) {
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
        let balance = shared.chain.balance(&shared.wallet).await?;
        let known = KnownBalance { balance, at_ms: shared.clock.now_ms() };
        *shared.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        Ok(known)
    }

    async fn ask(&self) {
        if let Err(error) = self.check().await {
            tracing::debug!(%error, "the balance is not known");
        }
    }

    /// Tickets that a balance still pays for, beyond `open` tickets already accepted and what is kept back.
    #[must_use]
    pub fn runway(balance: Lamports, price: Lamports, open: u64, keep_back: Lamports) -> u64 {
        let free = balance.saturating_sub(keep_back + price * open);
        free.0.checked_div(price.0).unwrap_or_default()
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
