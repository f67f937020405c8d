//! What the engine measures of itself: for `/metrics`, and for saying when a batch will be done.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry, core::Collector, exponential_buckets,
};
use tokio::time::Instant;

use super::pacing::Pacer;
use crate::{
    domain::{failure::FailureCode, mint::MintStatus},
    store::{BatchRecord, Settled},
};

/// How far back the present speed is measured.
const WINDOW: Duration = Duration::from_secs(10);
/// Upper bounds of the sizes of batches, up to the largest that is taken.
const BATCH_SIZES: [f64; 13] =
    [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0];

/// Sends a second that are allowed now, how many are worth signing ahead, and how often to look: set by the one who sends, and
/// known to all.
pub(super) struct SharedRate {
    bits: AtomicU64,
    ahead: AtomicUsize,
    pause_ms: AtomicU64,
    shown: Gauge,
}

impl SharedRate {
    pub(super) fn new(pacer: &Pacer, registry: &Registry) -> Result<Self, prometheus::Error> {
        let shown = Gauge::new("minting_send_rate_limit", "Transactions a second that may be sent now.")?;
        registry.register(Box::new(shown.clone()))?;
        let shared =
            Self { bits: AtomicU64::default(), ahead: AtomicUsize::default(), pause_ms: AtomicU64::default(), shown };
        shared.set(pacer);
        Ok(shared)
    }

    pub(super) fn set(&self, pacer: &Pacer) {
        let rate = pacer.rate();
        self.bits.store(rate.to_bits(), Ordering::Relaxed);
        self.ahead.store(pacer.ahead(), Ordering::Relaxed);
        let pause = u64::try_from(pacer.pause().as_millis()).unwrap_or(u64::MAX);
        self.pause_ms.store(pause, Ordering::Relaxed);
        self.shown.set(rate);
    }

    pub(super) fn get(&self) -> f64 {
        f64::from_bits(self.bits.load(Ordering::Relaxed))
    }

    /// The least time between two questions of one kind.
    pub(super) fn pause(&self) -> Duration {
        Duration::from_millis(self.pause_ms.load(Ordering::Relaxed))
    }

    /// Transactions that are worth signing ahead.
    pub(super) fn ahead(&self) -> usize {
        self.ahead.load(Ordering::Relaxed)
    }
}

/// What was settled lately.
#[derive(Default)]
struct Recent {
    /// When, and how many tickets.
    settled: VecDeque<(Instant, u64)>,
    /// Since when something has been under way all the time.
    busy_since: Option<Instant>,
}

/// The engine's instruments.
pub(super) struct Meter {
    batch_size: Histogram,
    batch_duration: Histogram,
    batch_success_rate: Gauge,
    tickets: IntCounterVec,
    failures: IntCounterVec,
    taken_back: IntCounter,
    recent: Mutex<Recent>,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

impl Meter {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let sizes = HistogramOpts::new("minting_batch_size", "Tickets in each accepted batch.");
        let durations = HistogramOpts::new(
            "minting_batch_duration_seconds",
            "Seconds from the acceptance of a batch to the settlement of its last ticket.",
        );
        let rate = "Percentage of the tickets of the batch that finished last which the chain holds.";
        let tickets = Opts::new("minting_tickets_total", "Tickets settled, by outcome (minted or failed).");
        let failures = Opts::new("minting_tickets_failed_total", "Tickets given up, by code.");
        let sizes = sizes.buckets(BATCH_SIZES.to_vec());
        Ok(Self {
            batch_size: Histogram::with_opts(sizes)?,
            batch_duration: Histogram::with_opts(durations.buckets(exponential_buckets(0.5, 2.0, 14)?))?,
            batch_success_rate: Gauge::new("minting_batch_success_rate", rate)?,
            tickets: IntCounterVec::new(tickets, &["outcome"])?,
            failures: IntCounterVec::new(failures, &["code"])?,
            taken_back: IntCounter::new(
                "minting_tickets_taken_back_total",
                "Minted tickets that a fork took back; they are minted again.",
            )?,
            recent: Mutex::default(),
        })
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        for outcome in [MintStatus::Minted, MintStatus::Failed] {
            // A series that begins with its first failure hides that failure from `rate()`.
            drop(self.tickets.with_label_values(&[outcome.as_str()]));
        }
        for code in FailureCode::OF_MINTING {
            drop(self.failures.with_label_values(&[code.as_str()]));
        }
        let instruments: [Box<dyn Collector>; 6] = [
            Box::new(self.batch_size.clone()),
            Box::new(self.batch_duration.clone()),
            Box::new(self.batch_success_rate.clone()),
            Box::new(self.tickets.clone()),
            Box::new(self.failures.clone()),
            Box::new(self.taken_back.clone()),
        ];
        instruments.into_iter().try_for_each(|instrument| registry.register(instrument))
    }

    #[expect(clippy::cast_precision_loss, reason = "a histogram counts in floating point")]
    pub(super) fn accepted(&self, tickets: usize) {
        self.batch_size.observe(tickets as f64);
    }

    pub(super) fn taken_back(&self, tickets: usize) {
        self.taken_back.inc_by(tickets as u64);
    }

    /// Something is under way again.
    pub(super) fn begins(&self) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).busy_since = Some(Instant::now());
    }

    pub(super) fn settled(&self, settled: &Settled) {
        let minted = settled.minted.len() as u64;
        self.tickets.with_label_values(&[MintStatus::Minted.as_str()]).inc_by(minted);
        let failed = settled.failures.len() as u64;
        self.tickets.with_label_values(&[MintStatus::Failed.as_str()]).inc_by(failed);
        for code in &settled.failures {
            self.failures.with_label_values(&[code.as_str()]).inc();
        }
        let count = minted.saturating_add(failed);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.settled.push_back((Instant::now(), count));
        while recent.settled.front().is_some_and(|(at, _)| at.elapsed() > WINDOW) {
            recent.settled.pop_front();
        }
        drop(recent);
        settled.finished_batches.iter().for_each(|batch| self.finished(batch));
    }

    /// A batch is done.
    #[expect(clippy::cast_precision_loss, reason = "instruments count in floating point")]
    pub(super) fn finished(&self, batch: &BatchRecord) {
        let ms = batch.finished_at_ms.unwrap_or(batch.created_at_ms).saturating_sub(batch.created_at_ms);
        let seconds = ms as f64 / 1_000.0;
        // A batch whose failed tickets were tried again days later did not take days.
        if batch.reopened == 0 {
            self.batch_duration.observe(seconds);
        }
        self.batch_success_rate.set(batch.succeeded as f64 * 100.0 / batch.total.max(1) as f64);
        tracing::info!(
            batch = %batch.public_id,
            tickets = batch.total,
            succeeded = batch.succeeded,
            failed = batch.failed,
            spent_lamports = batch.spent.0,
            seconds,
            "batch finished"
        );
    }

    /// Tickets settled per second of late; none when that was not long enough to tell.
    pub(super) fn rate(&self) -> Option<f64> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).rate(None)
    }

    /// The same without the time before, and in, which nothing was under way: as quickly as the chain takes them.
    pub(super) fn speed(&self) -> Option<f64> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.rate(recent.busy_since)
    }
}

impl Recent {
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    fn rate(&self, since: Option<Instant>) -> Option<f64> {
        let counts = |at: Instant| at.elapsed() <= WINDOW && since.is_none_or(|since| at >= since);
        let (first, _) = *self.settled.iter().find(|(at, _)| counts(*at))?;
        // The first entry only says when the counting began: what it counts happened before.
        let counted: u64 = self.settled.iter().filter(|(at, _)| *at > first).map(|(_, count)| count).sum();
        let seconds = first.elapsed().as_secs_f64();
        (counted > 0 && seconds > 0.2).then(|| counted as f64 / seconds)
    }
}
