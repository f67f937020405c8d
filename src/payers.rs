//! What pays for tickets: the wallet itself, or a row of fee payers that belong to it.
//!
//! Every transaction has its payer's account for itself, and a block gives one account only so much room; several payers are
//! several queues. They pay in turn, those that can. A [`Budget`] is made from what the chain says that each holds, less what
//! transactions under way may still take from it, in whole tickets: what is promised is there, and where it is needed.
//! Moving money between wallet and payers is [`transfer`]'s.

pub mod transfer;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use solana_pubkey::Pubkey;
use thiserror::Error;
use tokio::time::Instant;

use crate::{
    chain::{Chain, ChainError, wallet::Wallet},
    domain::lamports::Lamports,
    estimate::Prices,
};

/// Rent changes by governance, not by the minute.
const RENT_LIFETIME: Duration = Duration::from_mins(10);

/// What is there to pay with, as the chain said it at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// What the wallet itself holds.
    pub wallet: Lamports,
    /// What each fee payer holds; empty when the wallet pays itself.
    pub payers: Vec<(Pubkey, Lamports)>,
    /// What each of those who pay must be left with: the chain refuses what would leave an account with less than it needs to
    /// live, and takes the fee all the same.
    pub reserve: Lamports,
}

impl Holdings {
    /// Everything that those who pay hold.
    #[must_use]
    pub fn paying(&self) -> Lamports {
        if self.payers.is_empty() { self.wallet } else { self.payers.iter().map(|(_, lamports)| *lamports).sum() }
    }

    /// Everything, the wallet's own included.
    #[must_use]
    pub fn together(&self) -> Lamports {
        self.wallet + self.payers.iter().map(|(_, lamports)| *lamports).sum()
    }

    /// What must stay of what can be spent, where the operator wants so much kept: what the wallet needs to live counts as a
    /// part of that. Of what fee payers can spend, theirs is taken off already.
    #[must_use]
    pub fn keep_back(&self, wanted: Lamports) -> Lamports {
        if self.payers.is_empty() { wanted.max(self.reserve) } else { wanted }
    }

    /// What of it can be spent on tickets of this price, but for [`Holdings::keep_back`]: no ticket is paid by two payers.
    #[must_use]
    pub fn usable(&self, price: Lamports) -> Lamports {
        if self.payers.is_empty() {
            return self.wallet;
        }
        price * self.payers.iter().map(|(_, holds)| self.tickets_of(*holds, price)).fold(0, u64::saturating_add)
    }

    /// Tickets of this price that a payer which holds so much can pay.
    #[must_use]
    pub fn tickets_of(&self, holds: Lamports, price: Lamports) -> u64 {
        holds.saturating_sub(self.reserve).0.checked_div(price.0).unwrap_or_default()
    }
}

/// Nobody can pay for the next ticket.
#[derive(Debug, Error)]
pub enum LowBalance {
    /// The wallet pays itself.
    #[error("the wallet {wallet} has {balance}, too little for the next ticket: send it at least {missing}")]
    Wallet {
        /// Its address.
        wallet: Pubkey,
        /// What it holds.
        balance: Lamports,
        /// What is missing for a ticket.
        missing: Lamports,
    },
    /// It has fee payers, and all of them are low.
    #[error(
        "the {payers} fee payers of the wallet {wallet} have {balance} together, and none has enough for the next ticket; \
         move money to them with `boxoffice payers fund` (the wallet itself has {own}; one ticket costs {price})"
    )]
    Payers {
        /// How many there are.
        payers: usize,
        /// The wallet's address.
        wallet: Pubkey,
        /// What they hold together.
        balance: Lamports,
        /// What the wallet itself holds.
        own: Lamports,
        /// What a ticket costs.
        price: Lamports,
    },
}

/// Tickets that each payer was to pay for.
#[derive(Clone, Debug, Default)]
struct Promised {
    /// Those that are not settled yet.
    under_way: BTreeMap<Pubkey, u64>,
    /// All of them since the start.
    ever: BTreeMap<Pubkey, u64>,
}

/// What everyone held.
#[derive(Clone, Debug)]
struct Look {
    at: Instant,
    holdings: Holdings,
    /// From before the chain was asked: what is settled in between is in its answer, or counts as left once too often.
    then: Promised,
}

impl Look {
    /// Tickets that a payer may still have to pay for out of what it held: what was under way then, though part of that may have
    /// left already, and whatever was promised since. A later look is more exact.
    fn waiting(&self, payer: &Pubkey, now: &Promised) -> u64 {
        let of = |tickets: &BTreeMap<Pubkey, u64>| tickets.get(payer).copied().unwrap_or_default();
        let since = of(&now.ever).saturating_sub(of(&self.then.ever));
        of(&self.then.under_way).saturating_add(since)
    }
}

/// Those who pay for a wallet's tickets. Cheap to clone.
#[derive(Clone)]
pub struct Purse {
    shared: Arc<Shared>,
}

struct Shared {
    chain: Arc<dyn Chain>,
    wallet: Pubkey,
    /// Empty when the wallet pays itself.
    payers: Vec<Pubkey>,
    promised: Mutex<Promised>,
    /// The last look at what everyone holds, as long as nothing has shown it to be wrong.
    last_look: Mutex<Option<Look>>,
    /// Whose turn it is.
    turn: AtomicUsize,
    reserve: Mutex<Option<(Instant, Lamports)>>,
    /// Those that cannot pay, so that each is told of once.
    low: Mutex<BTreeSet<Pubkey>>,
}

impl fmt::Debug for Purse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { wallet, payers, .. } = self.shared.as_ref();
        f.debug_struct("Purse").field("wallet", wallet).field("payers", payers).finish_non_exhaustive()
    }
}

impl Purse {
    /// What pays for this wallet's tickets.
    #[must_use]
    pub fn new(chain: Arc<dyn Chain>, wallet: &Wallet) -> Self {
        let shared = Shared {
            chain,
            wallet: wallet.address(),
            payers: wallet.payers(),
            promised: Mutex::default(),
            last_look: Mutex::default(),
            turn: AtomicUsize::new(0),
            reserve: Mutex::default(),
            low: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Fee payers; none when the wallet pays itself.
    #[must_use]
    pub fn payers(&self) -> &[Pubkey] {
        &self.shared.payers
    }

    /// The wallet's address.
    #[must_use]
    pub fn wallet(&self) -> Pubkey {
        self.shared.wallet
    }

    /// Asks the chain what everyone holds: one call, however many they are.
    ///
    /// # Errors
    /// When the chain does not answer: that says nothing about the money.
    pub async fn look(&self) -> Result<Holdings, ChainError> {
        let Shared { chain, wallet, payers, .. } = self.shared.as_ref();
        let reserve = self.reserve().await?;
        if payers.is_empty() {
            return Ok(Holdings { wallet: chain.balance(wallet).await?, payers: Vec::new(), reserve });
        }
        let addresses: Vec<Pubkey> = std::iter::once(*wallet).chain(payers.iter().copied()).collect();
        let accounts = chain.accounts(&addresses).await?.value;
        let mut lamports = accounts.into_iter().map(|account| account.map_or(Lamports::ZERO, |there| there.lamports));
        let wallet = lamports.next().unwrap_or_default();
        Ok(Holdings { wallet, payers: payers.iter().copied().zip(lamports).collect(), reserve })
    }

    async fn reserve(&self) -> Result<Lamports, ChainError> {
        let known = *self.shared.reserve.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, reserve)) = known.filter(|(asked, _)| asked.elapsed() < RENT_LIFETIME) {
            return Ok(reserve);
        }
        let reserve = self.shared.chain.rent(0).await?;
        *self.shared.reserve.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), reserve));
        Ok(reserve)
    }

    /// Who can pay for how many tickets now. Those accepted were paid for when they were accepted, but money may have left by
    /// another hand, and a transaction that cannot be paid costs its fee. The last look is good enough for `tickets` if it is
    /// younger than `age` and everything promised since leaves enough for them.
    ///
    /// # Errors
    /// When the chain does not answer.
    pub async fn budget(&self, prices: &Prices, tickets: usize, age: Duration) -> Result<Budget, ChainError> {
        let last = self.shared.last_look.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(last) = last.filter(|last| last.at.elapsed() < age) {
            let budget = self.reckon(&last, prices.most().await?.total());
            if budget.tickets() >= tickets as u64 {
                return Ok(budget);
            }
        }
        let (then, at) = (self.promised(), Instant::now());
        let (price, holdings) = tokio::try_join!(prices.most(), self.look())?;
        let price = price.total();
        self.tell_of_low(&holdings, price);
        let look = Look { at, holdings, then };
        let budget = self.reckon(&look, price);
        *self.shared.last_look.lock().unwrap_or_else(PoisonError::into_inner) = Some(look);
        Ok(budget)
    }

    fn promised(&self) -> Promised {
        self.shared.promised.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reckon(&self, look: &Look, price: Lamports) -> Budget {
        let (now, holdings) = (self.promised(), &look.holdings);
        let left = self.paying(holdings).into_iter().map(|(payer, holds)| {
            let waiting = look.waiting(&payer, &now);
            (payer, holdings.tickets_of(holds.saturating_sub(price * waiting), price))
        });
        let waiting = look.waiting(&self.shared.wallet, &now);
        Budget { left: left.collect(), price, purse: self.clone(), holdings: holdings.clone(), waiting }
    }

    /// Those who pay, and what each holds.
    fn paying(&self, holdings: &Holdings) -> Vec<(Pubkey, Lamports)> {
        if holdings.payers.is_empty() { vec![(self.shared.wallet, holdings.wallet)] } else { holdings.payers.clone() }
    }

    /// Whether a payer cannot pay for the next ticket, by what the chain says now.
    ///
    /// # Errors
    /// When the chain does not answer.
    pub async fn is_short(&self, payer: &Pubkey, prices: &Prices) -> Result<bool, ChainError> {
        // Whoever asks has reason to doubt it.
        *self.shared.last_look.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let (price, holdings) = tokio::try_join!(prices.most(), self.look())?;
        let paying = self.paying(&holdings);
        let holds = paying.iter().find(|(address, _)| address == payer).map(|(_, holds)| *holds);
        Ok(holdings.tickets_of(holds.unwrap_or_default(), price.total()) == 0)
    }

    /// Notes that a payer is about to pay for so many tickets, until the answer is dropped.
    #[must_use]
    pub fn pays(&self, payer: Pubkey, tickets: u64) -> Paying {
        let mut promised = self.shared.promised.lock().unwrap_or_else(PoisonError::into_inner);
        let Promised { under_way, ever } = &mut *promised;
        for count in [under_way.entry(payer).or_default(), ever.entry(payer).or_default()] {
            *count = count.saturating_add(tickets);
        }
        Paying { purse: self.clone(), payer, tickets }
    }

    /// Logs when a payer begins or ceases to be skipped.
    fn tell_of_low(&self, holdings: &Holdings, price: Lamports) {
        let mut low = self.shared.low.lock().unwrap_or_else(PoisonError::into_inner);
        for (payer, holds) in &holdings.payers {
            if holdings.tickets_of(*holds, price) > 0 {
                if low.remove(payer) {
                    tracing::info!(%payer, balance = %holds, "a fee payer has money again, and pays with the others");
                }
            } else if low.insert(*payer) {
                tracing::warn!(%payer, balance = %holds, "a fee payer cannot pay for a ticket and is skipped; `boxoffice payers fund` fills it");
            }
        }
    }
}

/// Tickets that a payer is about to pay for. They count as paid once this is dropped: then the chain's answers show it.
#[derive(Debug)]
pub struct Paying {
    purse: Purse,
    payer: Pubkey,
    tickets: u64,
}

impl Drop for Paying {
    fn drop(&mut self) {
        let mut promised = self.purse.shared.promised.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = promised.under_way.get_mut(&self.payer) {
            *count = count.saturating_sub(self.tickets);
        }
    }
}

/// Who can pay for how many tickets.
#[derive(Debug)]
pub struct Budget {
    left: Vec<(Pubkey, u64)>,
    price: Lamports,
    purse: Purse,
    holdings: Holdings,
    /// Tickets that the wallet itself may still have to pay for.
    waiting: u64,
}

impl Budget {
    /// How many tickets can be paid, each by itself.
    fn tickets(&self) -> u64 {
        self.left.iter().fold(0, |sum, (_, tickets)| sum.saturating_add(*tickets))
    }

    /// How many of `wanted` tickets can be paid, each by itself.
    ///
    /// # Errors
    /// When that is none.
    pub fn affordable(&self, wanted: usize) -> Result<usize, LowBalance> {
        match usize::try_from(self.tickets()).unwrap_or(usize::MAX).min(wanted) {
            0 => Err(self.shortage()),
            affordable => Ok(affordable),
        }
    }

    /// The payer of a transaction of so many tickets: the next in turn of those that have enough. None if no single one has.
    pub fn take(&mut self, tickets: u64) -> Option<Pubkey> {
        let turn = self.purse.shared.turn.load(Ordering::Relaxed);
        let payers = self.left.len();
        for step in 0..payers {
            let at = turn.wrapping_add(step).checked_rem(payers).unwrap_or_default();
            if let Some((payer, left)) = self.left.get_mut(at).filter(|(_, left)| *left >= tickets) {
                *left = left.saturating_sub(tickets);
                self.purse.shared.turn.store(at.wrapping_add(1), Ordering::Relaxed);
                return Some(*payer);
            }
        }
        None
    }

    fn shortage(&self) -> LowBalance {
        let (wallet, price, own) = (self.purse.shared.wallet, self.price, self.holdings.wallet);
        if !self.holdings.payers.is_empty() {
            let (payers, balance) = (self.holdings.payers.len(), self.holdings.paying());
            return LowBalance::Payers { payers, wallet, balance, own, price };
        }
        let missing = (price + self.holdings.reserve).saturating_sub(own.saturating_sub(price * self.waiting));
        LowBalance::Wallet { wallet, balance: own, missing }
    }
}
