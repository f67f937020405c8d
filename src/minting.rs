//! The minting engine: from an accepted ticket to an NFT, exactly once.
//!
//! ```text
//! accept ──► books ──► prepare ──► record (write-ahead) ──► send ──► confirm ──► settle ──► books
//!  (request)            publish, look up, sign               paced    one status poll for all
//! ```
//!
//! Four tasks share the work. `prepare` takes pending tickets from the books in chunks, publishes their metadata, asks the
//! chain whether they exist already, signs, and commits the signed bytes. `send` hands them to the network, as
//! quickly as the endpoints bear it (`pacing`). Where the network takes it, several tickets ride in one transaction (`packing`).
//! `confirm` asks for all of them at once what became of them and settles in one commit what it read back; it also begins with whatever
//! an earlier process left open, so recovery is the normal path.
//! `finality` looks at minted tickets again until no fork can take them back.
//!
//! Invariants, in the words of the protocol: bytes leave the box only after they are on disk; a ticket is signed for again
//! only on proof that the earlier transaction is dead; where the chain holds the ticket, it is minted.

mod accept;
mod allowance;
mod budget;
mod confirm;
mod finality;
mod flight;
mod judge;
mod lookup;
mod meter;
mod pacing;
mod packing;
mod prepare;
mod publish;
mod remember;
mod send;
mod sign;
mod valve;
mod vital;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus::Registry;
use thiserror::Error;
use tokio::{
    sync::{Notify, Semaphore, mpsc, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use accept::{AcceptError, BatchRequest, Funds, MAX_BATCH_TICKETS, NotBefore};

use crate::{
    cache::Caching,
    chain::{
        Chain, ChainError,
        transaction::Layout,
        wallet::{SignError, Wallet},
    },
    clock::SharedClock,
    domain::{
        document::{Image, metadata_json},
        forecast::{Allowed, Forecast},
        mint::AttemptState,
        quiet_hours::QuietHours,
        spending::{SpendingLimits, TicketPrice},
        ticket::{Ticket, TicketRules},
    },
    estimate::{Estimate, Pacing, Prices},
    forecast::Forecaster,
    metadata::{Content, ContentId, PublishError, Publisher},
    payers::{LowBalance, Purse},
    store::{DOOR_BATCH, Settlement, Store, StoreError},
};
use meter::{Meter, SharedRate};
use pacing::Pacer;
use packing::Packing;
use remember::Remember;
use valve::Valve;
use vital::Vital;

/// Transactions that may be under way at once: bounds memory, and what a status poll has to ask for.
const MAX_IN_FLIGHT: usize = 1_024;
/// Tickets prepared and recorded together at most: one publish, one look-up, one commit.
const MAX_CHUNK: usize = 256;
/// Fewer are not worth the calls that a chunk costs.
const LEAST_CHUNK: usize = 10;
/// A cause that comes and goes is logged once in this time.
const TELL_AGAIN: Duration = Duration::from_mins(1);
/// The picture of tickets that have none of their own.
const DEFAULT_IMAGE: &[u8] = include_bytes!("../assets/ticket.svg");

/// What the venue chose.
#[derive(Clone, Debug)]
pub struct MintingSettings {
    /// Symbol on the chain.
    pub symbol: String,
    /// Royalty in hundredths of a percent.
    pub seller_fee_basis_points: u16,
    /// Which tickets are taken.
    pub ticket_rules: TicketRules,
    /// What may be spent.
    pub limits: SpendingLimits,
    /// How fast to send.
    pub pacing: Pacing,
    /// Whether several tickets ride in one transaction where the network takes that (`PACKING`).
    pub packing: bool,
    /// When what can wait is minted.
    pub quiet_hours: Option<QuietHours>,
}

/// Whether minting goes on, and if not, why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing is in the way.
    #[default]
    Clear,
    /// Tickets wait; it goes on by itself once the cause is gone.
    Held {
        /// The cause and the remedy, for a person.
        reason: String,
    },
}

/// The parts of the engine, each held and freed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Prepare,
    /// Only those tickets wait whose files are not taken.
    Publish,
    Send,
    Confirm,
    /// Reading back what landed.
    ReadBack,
}

/// What keeps a part of the engine from going on, and what was logged of it.
#[derive(Debug, Default)]
struct Held {
    reason: Option<String>,
    told: Option<(String, Instant)>,
}

/// Why a step of the engine must be tried again.
#[derive(Debug, Error)]
enum StepError {
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("a transaction cannot be signed: {0}")]
    Sign(#[from] SignError),
    #[error("a transaction cannot be laid out: {0}")]
    Compile(#[from] solana_message::CompileError),
    #[error(transparent)]
    LowBalance(#[from] LowBalance),
}

/// The minting service. Cheap to clone.
#[derive(Clone)]
pub struct Minter {
    shared: Arc<Shared>,
    /// Taken by the start.
    remembering: Arc<Mutex<Option<mpsc::Receiver<Remember>>>>,
}

/// What the tasks of the engine share.
struct Shared {
    store: Store,
    chain: Arc<dyn Chain>,
    publisher: Arc<dyn Publisher>,
    cache: Caching,
    wallet: Wallet,
    purse: Purse,
    prices: Arc<Prices>,
    clock: SharedClock,
    settings: MintingSettings,
    default_image: Content,
    /// Pictures of events that this process has published already.
    published_images: Mutex<HashSet<ContentId>>,
    /// Rung when tickets became pending.
    work: Notify,
    /// Counts settlements, so that those who wait know when to look.
    settled: watch::Sender<u64>,
    /// What keeps each part of the engine from going on.
    held: Mutex<BTreeMap<Part, Held>>,
    /// A place for each transaction.
    in_flight: Arc<Semaphore>,
    packing: Packing,
    meter: Meter,
    /// Sends a second that are allowed now.
    rate: SharedRate,
    /// What the cache is to be told.
    to_remember: mpsc::Sender<Remember>,
    /// How minting goes.
    forecaster: Forecaster,
    /// Whether all of its tasks are there.
    vital: Vital,
}

impl fmt::Debug for Minter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minter").field("wallet", &self.shared.wallet).finish_non_exhaustive()
    }
}

impl Minter {
    /// Puts the engine together; nothing runs before [`Minter::start`].
    ///
    /// # Errors
    /// Never with an empty registry: its instruments have unique, valid names.
    #[expect(clippy::too_many_arguments, reason = "called once, by the wiring")]
    pub fn new(
        store: Store,
        chain: Arc<dyn Chain>,
        publisher: Arc<dyn Publisher>,
        cache: Caching,
        wallet: Wallet,
        prices: Arc<Prices>,
        clock: SharedClock,
        settings: MintingSettings,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let meter = Meter::new()?;
        meter.register(registry)?;
        let pacer = Pacer::new(settings.pacing, Instant::now());
        let rate = SharedRate::new(&pacer, registry)?;
        let packing = Packing::new(settings.packing, registry)?;
        let (to_remember, remembering) = remember::channel();
        let purse = Purse::new(Arc::clone(&chain), &wallet);
        let forecaster = Forecaster::new(store.clone(), Arc::clone(&chain), Arc::clone(&clock), registry)?;
        let shared = Shared {
            store,
            chain,
            publisher,
            cache,
            wallet,
            purse,
            prices,
            clock,
            settings,
            default_image: Content::new("image/svg+xml", DEFAULT_IMAGE),
            published_images: Mutex::default(),
            work: Notify::new(),
            settled: watch::Sender::new(0),
            held: Mutex::default(),
            in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            packing,
            meter,
            rate,
            to_remember,
            forecaster,
            vital: Vital::default(),
        };
        let remembering = Arc::new(Mutex::new(Some(remembering)));
        Ok(Self { shared: Arc::new(shared), remembering })
    }

    /// Starts the engine's tasks. They begin with what an earlier process left open.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn start(&self, tasks: &TaskTracker, shutdown: &CancellationToken) -> Result<(), StoreError> {
        let shared = &self.shared;
        let (to_send, send_queue) = mpsc::channel(MAX_CHUNK);
        let valve = Valve::new(to_send.clone(), MAX_CHUNK);
        let (to_confirm, confirm_queue) = mpsc::unbounded_channel();
        // Sent again because nothing was heard of them; they yield to new ones.
        let (to_resend, resend_queue) = mpsc::unbounded_channel();

        let left_open = flight::recover(shared).await?;
        shared.forecaster.recall().await?;
        tasks.spawn(shared.forecaster.clone().run(shutdown.clone()));
        if let Some(waiting) = self.remembering.lock().unwrap_or_else(PoisonError::into_inner).take() {
            tasks.spawn(remember::run(shared.cache.clone(), waiting, shutdown.clone()));
        }
        tasks.spawn(packing::run(Arc::clone(shared), shutdown.clone()));
        let vital = &shared.vital;
        tasks.spawn(vital.watch(prepare::run(Arc::clone(shared), to_send, to_confirm.clone(), shutdown.clone())));
        tasks.spawn(vital.watch(finality::run(
            Arc::clone(shared),
            to_confirm.clone(),
            to_resend.clone(),
            shutdown.clone(),
        )));
        tasks.spawn(vital.watch(send::run(Arc::clone(shared), send_queue, resend_queue, valve, shutdown.clone())));
        tasks.spawn(vital.watch(confirm::run(
            Arc::clone(shared),
            left_open,
            confirm_queue,
            to_resend,
            shutdown.clone(),
        )));
        Ok(())
    }

    /// Waits until every entry of a batch is settled.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn finished(&self, batch_id: i64) -> Result<(), StoreError> {
        let mut settled = self.shared.settled.subscribe();
        while self.shared.store.open_entries(batch_id).await? > 0 {
            if settled.changed().await.is_err() {
                return Err(StoreError::Closed);
            }
        }
        Ok(())
    }

    /// The record of how minting goes.
    #[must_use]
    pub fn forecaster(&self) -> &Forecaster {
        &self.shared.forecaster
    }

    /// What pays for the tickets.
    #[must_use]
    pub fn purse(&self) -> &Purse {
        &self.shared.purse
    }

    /// Changes whenever something was settled.
    #[must_use]
    pub fn settlements(&self) -> watch::Receiver<u64> {
        self.shared.settled.subscribe()
    }

    /// Tickets settled per second of late; none when that was not long enough to tell.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.shared.meter.rate()
    }

    /// Transactions a second that may be sent now.
    #[must_use]
    pub fn allowed_rate(&self) -> f64 {
        self.shared.rate.get()
    }

    fn allowed(&self) -> Allowed {
        self.shared.settings.pacing.allowed(self.allowed_rate())
    }

    /// How transactions with several tickets are laid out, as the network takes them now.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.shared.packing.layout()
    }

    /// Tickets that ride in one transaction at most, as things are now.
    #[must_use]
    pub fn tickets_per_transaction(&self) -> usize {
        self.shared.together(self.layout())
    }

    /// What `count` tickets at a price cost, and how long they take, as things are now.
    pub async fn estimate(&self, count: u64, price: TicketPrice) -> Estimate {
        let together = self.shared.together(self.shared.packing.expected_layout().await) as u64;
        Estimate::new(count, price, together, self.seconds_for(count))
    }

    /// Seconds from a request to the last confirmation of `count` tickets, at the rate that is allowed now.
    #[must_use]
    pub fn seconds_for(&self, count: u64) -> f64 {
        let together = self.tickets_per_transaction() as u64;
        self.shared.settings.pacing.seconds_for(count, together, self.allowed_rate())
    }

    /// What to expect of `tickets` that are accepted now, behind those that wait already.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn forecast(&self, tickets: u64) -> Result<Forecast, StoreError> {
        let at_the_door = tickets <= DOOR_BATCH as u64;
        let waiting = if at_the_door { 0 } else { self.shared.store.waiting_tickets(self.shared.now_ms()).await? };
        Ok(self.shared.forecaster.forecast(tickets, waiting, self.allowed(), self.shared.settings.pacing.slot))
    }

    /// Seconds until `waiting` tickets are settled: at the present speed, or else as the pacing allows.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "seconds shown to people")]
    pub fn eta_seconds(&self, waiting: u64) -> f64 {
        match self.rate() {
            _ if waiting == 0 => 0.0,
            Some(rate) => waiting as f64 / rate,
            None => self.seconds_for(waiting),
        }
    }

    /// Whether minting goes on, and why not.
    #[must_use]
    pub fn condition(&self) -> Condition {
        let held = self.shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = held.values().find_map(|held| held.reason.clone());
        reason.map_or(Condition::Clear, |reason| Condition::Held { reason })
    }

    /// Has the engine look for tickets that became pending by another hand.
    pub fn wake(&self) {
        self.shared.work.notify_one();
    }

    /// Whether one of the engine's tasks has ended although nobody stopped it: only a new start helps.
    #[must_use]
    pub fn has_broken_down(&self) -> bool {
        self.shared.vital.has_ended()
    }

    /// What is published for a ticket: its metadata, and the picture of tickets that have none. `image` is the picture that it
    /// got from its event.
    #[must_use]
    pub fn contents_of(&self, ticket: &Ticket, image: Option<&Image>) -> Vec<Content> {
        vec![self.shared.document(ticket, image), self.shared.default_image.clone()]
    }

    /// Transactions under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        MAX_IN_FLIGHT.saturating_sub(self.shared.in_flight.available_permits())
    }
}

impl Shared {
    /// Tickets to take at once: what is sent in a second or two, in whole transactions, and at first no more than endpoints
    /// may be able to take.
    fn chunk_size(&self) -> usize {
        let together = self.together(self.packing.layout());
        let most = MAX_CHUNK.saturating_sub(together);
        // Fixed waves are of tickets.
        let tickets = if self.settings.pacing.adaptive {
            self.rate.ahead().saturating_mul(together).clamp(LEAST_CHUNK, most)
        } else {
            self.rate.ahead().clamp(1, most)
        };
        tickets.div_ceil(together).saturating_mul(together)
    }

    /// Time between two questions of one kind: a block, or more if the plan counts every question.
    fn pause(&self) -> Duration {
        self.rate.pause().max(self.settings.pacing.slot)
    }

    /// Whether the plan was found to count every question.
    fn counts_calls(&self) -> bool {
        !self.rate.pause().is_zero()
    }

    /// How old a balance or a blockhash may be that is as good as a new one for what is signed now: nothing is kept while
    /// questions are free.
    fn shelf_life(&self) -> Duration {
        self.rate.pause().saturating_mul(4)
    }

    /// Transactions that may wait for their turn to be sent: those of a chunk.
    fn queue_size(&self) -> usize {
        self.chunk_size().div_ceil(self.together(self.packing.layout()))
    }

    /// Tickets that may ride in one transaction: as many as it takes, and as it may cost (`TX_LIMIT_SOL`).
    fn together(&self, layout: Layout) -> usize {
        let Some(limit) = self.settings.limits.per_transaction else { return layout.most_tickets() };
        // Offers may be raised once a transaction has died: what is signed then must be within the limit too.
        let most = self.prices.most_known().map(|price| price.total());
        let affordable = most.and_then(|most| limit.0.checked_div(most.0)).unwrap_or_default();
        usize::try_from(affordable).unwrap_or(usize::MAX).clamp(1, layout.most_tickets())
    }

    /// The metadata of a ticket: it follows from what was sold, and from the picture that it got from its event.
    fn document(&self, ticket: &Ticket, image: Option<&Image>) -> Content {
        let drawn = || Image { uri: self.default_image.id.uri(), media_type: self.default_image.media_type.clone() };
        let image = image.cloned().unwrap_or_else(drawn);
        Content::new("application/json", metadata_json(ticket, &self.settings.symbol, &image))
    }

    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Settles in one commit, and tells all who wait for it.
    async fn settle(&self, progress: Vec<(i64, AttemptState)>, settlements: Vec<Settlement>) -> Result<(), StoreError> {
        let settled = self.store.settle(progress, settlements, self.now_ms()).await;
        #[cfg(feature = "failpoints")]
        let settled = settled.or_else(|error| {
            if crate::simulation::sabotaged("settle without commit") {
                Ok(crate::store::Settled::default())
            } else {
                Err(error)
            }
        });
        let settled = settled?;
        self.meter.settled(&settled);
        settled.finished_batches.iter().for_each(|batch| self.forecaster.finished(batch));
        self.remember(Remember::Minted(settled.minted));
        self.settled.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    /// Has the cache told of something, unless it cannot keep up.
    fn remember(&self, what: Remember) {
        drop(self.to_remember.try_send(what));
    }

    fn free(&self, part: Part) {
        if let Some(held) = self.held.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&part) {
            held.reason = None;
        }
    }

    fn is_held(&self, part: Part) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(&part).is_some_and(|held| held.reason.is_some())
    }

    fn hold(&self, part: Part, cause: &StepError) {
        let reason = cause.to_string();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = held.entry(part).or_default();
        let told = held.told.as_ref().is_some_and(|(told, at)| *told == reason && at.elapsed() < TELL_AGAIN);
        if !told {
            tracing::warn!(?part, %reason, "minting is held, and goes on by itself");
            held.told = Some((reason.clone(), Instant::now()));
        }
        held.reason = Some(reason);
    }
}

/// Waits longer after each failure: a quarter of a second up to five seconds.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(5);

    fn reset(&mut self) {
        self.failures = 0;
    }

    fn next(&mut self) -> Duration {
        let wait = Self::FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(Self::LONGEST);
        self.failures = self.failures.saturating_add(1);
        wait
    }
}
