//! A transaction under way: recorded on disk, and not settled.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use solana_pubkey::Pubkey;
use solana_signature::Signature;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::Shared;
use crate::{
    chain::transaction::payer_of,
    domain::{address::TicketAccounts, lamports::Lamports},
    payers::Paying,
    store::{OpenAttempt, OpenTicket, StoreError},
};

/// A transaction under way, shared by the tasks that send and confirm it.
#[derive(Debug)]
pub(super) struct Flight {
    /// The row of the attempt.
    pub(super) attempt_id: i64,
    /// Its name on the chain.
    pub(super) signature: Signature,
    /// What is sent, every time the same.
    pub(super) bytes: Vec<u8>,
    /// It can land in no block above this height.
    pub(super) last_valid_block_height: u64,
    /// What the network takes for it, whether it works or not.
    pub(super) fee: Lamports,
    /// The tickets that ride in it.
    pub(super) tickets: Vec<OpenTicket>,
    /// Where each of them will be.
    pub(super) accounts: Vec<TicketAccounts>,
    /// When this process came to know it.
    pub(super) known: Instant,
    sending: Mutex<Sending>,
    settled: AtomicBool,
}

#[derive(Clone, Debug, Default)]
struct Sending {
    first: Option<Instant>,
    last: Option<Instant>,
    error: Option<String>,
}

impl Flight {
    pub(super) fn new(attempt: OpenAttempt, accounts: Vec<TicketAccounts>) -> Self {
        let fee = attempt.fee;
        #[cfg(feature = "failpoints")]
        let fee = if crate::simulation::sabotaged("forget offers") { Lamports(5_000) } else { fee };
        Self {
            attempt_id: attempt.id,
            signature: attempt.signature,
            bytes: attempt.bytes,
            last_valid_block_height: attempt.last_valid_block_height,
            fee,
            tickets: attempt.tickets,
            accounts,
            known: Instant::now(),
            sending: Mutex::default(),
            settled: AtomicBool::new(false),
        }
    }

    /// The parts of its fee that fall to its tickets.
    pub(super) fn fees(&self) -> impl Iterator<Item = Lamports> {
        self.fee.split(self.tickets.len())
    }

    /// Notes that the network took it, or what it said instead.
    pub(super) fn note_sent(&self, error: Option<String>) {
        let now = Instant::now();
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        sending.first.get_or_insert(now);
        sending.last = Some(now);
        sending.error = error;
    }

    /// Notes that it is about to be sent again, so that it is not queued twice.
    pub(super) fn note_queued(&self) {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner).last = Some(Instant::now());
    }

    /// When its bytes first left the box, in this process.
    pub(super) fn first_sent(&self) -> Option<Instant> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner).first
    }

    /// Since it was signed, or since this process came to know it.
    pub(super) fn known_for(&self) -> Duration {
        self.known.elapsed()
    }

    /// Whether its end is to be looked for: it has left the box, or it waited for its turn so long that it may be dead before.
    pub(super) fn is_followed(&self, patience: Duration) -> bool {
        self.first_sent().is_some() || self.known_for() >= patience
    }

    /// When its bytes last left the box, in this process.
    pub(super) fn last_sent(&self) -> Option<Instant> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner).last
    }

    /// What the last send was answered, if that was a fault.
    pub(super) fn send_error(&self) -> Option<String> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner).error.clone()
    }

    /// Its end is in the books: it need not be sent any more.
    pub(super) fn mark_settled(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    /// Several tickets ride in it: what becomes of it may be another ticket's fault, or the layout's.
    pub(super) fn is_pack(&self) -> bool {
        self.tickets.len() > 1
    }

    /// Mint and owner of each ticket; `wallet` holds those that name no owner.
    pub(super) fn mints_and_owners(&self, wallet: Pubkey) -> impl Iterator<Item = (Pubkey, Pubkey)> + '_ {
        self.tickets.iter().map(move |ticket| (ticket.mint_address, ticket.owner.unwrap_or(wallet)))
    }
}

/// How far a transaction is that is said to have landed: its tickets are read back before it is settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reading {
    /// It is not said to have landed.
    #[default]
    NotYet,
    /// Those that are asked have not answered.
    UnderWay,
    /// They know nothing of its tickets.
    NotThere,
}

/// A flight and its place among those under way, given back when it is settled.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) flight: Arc<Flight>,
    pub(super) _place: Option<OwnedSemaphorePermit>,
    /// Its cost counts as left until then.
    pub(super) _paying: Option<Paying>,
    /// Left by an earlier process: whether it was ever sent is not known.
    pub(super) recovered: bool,
    pub(super) reading: Reading,
    /// It could not be read back, because the chain did not answer.
    pub(super) unreadable: bool,
    /// Polls that did not find it.
    pub(super) missed: u32,
}

impl Tracked {
    pub(super) fn new(shared: &Shared, flight: Flight, place: Option<OwnedSemaphorePermit>) -> Self {
        // Read from the bytes themselves: settings may have changed since they were signed.
        let payer = payer_of(&flight.bytes);
        let paying = payer.map(|payer| shared.purse.pays(payer, flight.tickets.len() as u64));
        Self {
            flight: Arc::new(flight),
            _place: place,
            _paying: paying,
            recovered: false,
            reading: Reading::default(),
            unreadable: false,
            missed: 0,
        }
    }

    /// One that another process, or this one some time ago, has left in the books.
    pub(super) fn of_the_books(shared: &Shared, attempt: OpenAttempt) -> Self {
        let wallet = shared.wallet.address();
        let owner = |ticket: &OpenTicket| ticket.owner.unwrap_or(wallet);
        let accounts = attempt.tickets.iter().map(|ticket| TicketAccounts::of(ticket.mint_address, &owner(ticket)));
        let accounts = accounts.collect();
        let place = Arc::clone(&shared.in_flight).try_acquire_owned().ok();
        Self { recovered: true, ..Self::new(shared, Flight::new(attempt, accounts), place) }
    }
}

/// Everything that an earlier process left open.
pub(super) async fn recover(shared: &Shared) -> Result<Vec<Tracked>, StoreError> {
    let open = shared.store.open_attempts().await?;
    if !open.is_empty() {
        tracing::info!(transactions = open.len(), "going on with transactions of an earlier run");
    }
    Ok(open.into_iter().map(|attempt| Tracked::of_the_books(shared, attempt)).collect())
}
