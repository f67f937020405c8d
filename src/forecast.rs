//! The record that forecasts are made from, and how good they were.
//!
//! The engine counts here what came of its transactions; every half minute the sums go to the books, in one write. What a
//! crash takes of them is missed by nobody. What is to be expected of a batch is computed by [`crate::domain::forecast`].

mod live;

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};
use tokio_util::sync::CancellationToken;

use crate::{
    chain::{Chain, EndpointSends},
    clock::{Clock, SharedClock},
    domain::forecast::{Allowed, EndpointHour, Forecast, LONGEST_HOURS, MintHour, Question},
    store::{BatchRecord, EndpointPeriod, Record, Step, Store, StoreError, peek_record},
};
pub use live::Ended;
use live::Live;

/// Time between two writes.
const WRITE_EVERY: Duration = Duration::from_secs(30);
/// Upper bounds of how many times as long as forecast a batch took.
const RATIOS: [f64; 10] = [0.25, 0.5, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0];

/// The record. Cheap to clone.
#[derive(Clone)]
pub struct Forecaster {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    chain: Arc<dyn Chain>,
    clock: SharedClock,
    /// Names of all endpoints of the settings: with others it is another record.
    endpoints: String,
    /// What the books hold.
    written: Mutex<Record>,
    live: Mutex<Live>,
    /// Held while what was counted goes to the books: whoever adds up both sees it once.
    writing: tokio::sync::Mutex<()>,
    error_ratio: Histogram,
    outcomes: IntCounterVec,
}

impl fmt::Debug for Forecaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forecaster").field("endpoints", &self.shared.endpoints).finish_non_exhaustive()
    }
}

/// The name of a record: all endpoints of the settings.
fn record_name(endpoints: &[EndpointSends]) -> String {
    endpoints.iter().map(|endpoint| endpoint.counts.endpoint.as_str()).collect::<Vec<_>>().join(", ")
}

/// The hour from which a record counts.
fn since_hour(now_ms: i64) -> i64 {
    hour_of(now_ms).saturating_sub(LONGEST_HOURS)
}

fn hour_of(now_ms: i64) -> i64 {
    now_ms.div_euclid(3_600_000)
}

/// What to expect of `tickets` from the record in a data folder, without opening its books for writing. The pace that a running
/// server has found is not known here: the one that it begins with counts.
#[must_use]
pub fn from_books(
    folder: &Path,
    chain: &dyn Chain,
    clock: &dyn Clock,
    tickets: u64,
    allowed: Allowed,
    slot: Duration,
) -> Forecast {
    let (endpoints, now_ms) = (chain.sends(), clock.now_ms());
    let record = peek_record(folder, &record_name(&endpoints), since_hour(now_ms));
    forecast(record, endpoints, (tickets, 0), allowed, slot, now_ms)
}

fn forecast(
    Record { hours, sends }: Record,
    endpoints: Vec<EndpointSends>,
    (tickets, waiting): (u64, u64),
    allowed: Allowed,
    slot: Duration,
    now_ms: i64,
) -> Forecast {
    let endpoints: Vec<_> = endpoints.into_iter().map(|endpoint| (endpoint.counts.endpoint, endpoint.state)).collect();
    let slot_seconds = slot.as_secs_f64();
    let question = Question { tickets, waiting, now_ms, allowed, slot_seconds, endpoints: &endpoints };
    Forecast::new(&question, &hours, &sends)
}

impl Forecaster {
    /// A forecaster that knows nothing before [`Forecaster::recall`].
    ///
    /// # Errors
    /// When its instruments are registered already.
    pub fn new(
        store: Store,
        chain: Arc<dyn Chain>,
        clock: SharedClock,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let ratio = "Seconds that a batch took, as a multiple of those that were forecast for it: 1 is right.";
        let ratio = HistogramOpts::new("boxoffice_forecast_error_ratio", ratio).buckets(RATIOS.to_vec());
        let outcomes = "Batches with a forecast that finished, by whether they took as long as forecast: within its range, below \
                        or above it.";
        let error_ratio = Histogram::with_opts(ratio)?;
        let outcomes = IntCounterVec::new(Opts::new("boxoffice_forecasts_total", outcomes), &["outcome"])?;
        for outcome in ["within", "below", "above"] {
            drop(outcomes.with_label_values(&[outcome]));
        }
        registry.register(Box::new(error_ratio.clone()))?;
        registry.register(Box::new(outcomes.clone()))?;
        let endpoints = record_name(&chain.sends());
        let (written, live, writing) = (Mutex::default(), Mutex::default(), tokio::sync::Mutex::default());
        let shared = Shared { store, chain, clock, endpoints, written, live, writing, error_ratio, outcomes };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Reads what earlier runs recorded.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn recall(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let since = since_hour(shared.clock.now_ms());
        let record = shared.store.record_of(shared.endpoints.clone(), since).await?;
        *lock(&shared.written) = record;
        Ok(())
    }

    /// Writes every so often until the shutdown, and then once more.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            let stops = tokio::time::timeout(WRITE_EVERY, shutdown.cancelled()).await.is_ok();
            if let Err(error) = self.write().await {
                // Nothing depends on it, and the next write takes what this one did not.
                tracing::debug!(%error, "how minting goes cannot be written down yet");
            }
            if stops {
                return;
            }
        }
    }

    /// Writes what was counted since the last time; nothing if nothing was.
    ///
    /// # Errors
    /// When the books cannot be written: what was counted is kept for the next time.
    pub async fn write(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let _turn = shared.writing.lock().await;
        let now_ms = shared.clock.now_ms();
        let fresh = self.fresh(now_ms);
        if fresh.hours.is_empty() && fresh.sends.is_empty() {
            return Ok(());
        }
        shared.store.add_to_record(shared.endpoints.clone(), fresh.clone()).await?;
        lock(&shared.live).written(&fresh);
        self.recall().await
    }

    /// What came of sends since the period of `from_ms`, by the hour or by the day; what is not written yet counts too.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn sends(&self, from_ms: i64, step: Step) -> Result<Vec<EndpointPeriod>, StoreError> {
        let shared = &self.shared;
        let _turn = shared.writing.lock().await;
        let mut periods = shared.store.endpoint_periods(from_ms, step).await?;
        let now_ms = shared.clock.now_ms();
        let from_ms = step.of(now_ms).saturating_mul(step.ms());
        periods.extend(self.fresh(now_ms).sends.into_iter().map(|fresh| EndpointPeriod {
            from_ms,
            sends: fresh.sends,
            errors: fresh.errors(),
            limited: fresh.limited,
            endpoint: fresh.endpoint,
        }));
        Ok(periods)
    }

    /// What was counted and is not in the books yet.
    fn fresh(&self, now_ms: i64) -> Record {
        lock(&self.shared.live).fresh(&self.shared.chain.sends(), hour_of(now_ms))
    }

    /// Transactions ended in this commit, and so many of their tickets are settled for good.
    pub fn ended(&self, ended: &[Ended], settled_tickets: u64) {
        lock(&self.shared.live).ended(ended, settled_tickets);
    }

    /// A chunk of tickets was published, looked up and signed.
    pub fn prepared(&self, took: Duration) {
        lock(&self.shared.live).prepared(took);
    }

    /// Whether more tickets wait than are under way.
    pub fn set_backlog(&self, is_there: bool) {
        lock(&self.shared.live).backlog = is_there;
    }

    /// See [`Forecaster::set_backlog`].
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        lock(&self.shared.live).backlog
    }

    /// What to expect of `tickets` that come after `waiting` others.
    #[must_use]
    pub fn forecast(&self, tickets: u64, waiting: u64, allowed: Allowed, slot: Duration) -> Forecast {
        let now_ms = self.shared.clock.now_ms();
        let Record { mut hours, mut sends } = lock(&self.shared.written).clone();
        let fresh = self.fresh(now_ms);
        hours.extend(fresh.hours);
        sends.extend(fresh.sends);
        let record = Record { hours: merged(hours), sends };
        forecast(record, self.shared.chain.sends(), (tickets, waiting), allowed, slot, now_ms)
    }

    /// A batch is done: how good its forecast was goes to the instruments.
    pub fn finished(&self, batch: &BatchRecord) {
        let Some((forecast, took)) = forecast_of(batch).zip(seconds_of(batch)) else { return };
        let Some(duration) = forecast.duration_seconds else { return };
        let outcome = match took {
            took if took < duration.low => "below",
            took if took > duration.high => "above",
            _ => "within",
        };
        self.shared.outcomes.with_label_values(&[outcome]).inc();
        self.shared.error_ratio.observe(took / duration.expected.max(0.001));
        tracing::info!(batch = %batch.public_id, took, forecast = duration.expected, outcome, "forecast compared");
    }
}

/// What was expected of a batch when it was accepted; none if nothing was.
#[must_use]
pub fn forecast_of(batch: &BatchRecord) -> Option<Forecast> {
    Forecast::kept(batch.forecast.as_deref()?)
}

/// Seconds that a batch took from when it might begin; none while it is under way, and for one that was opened again.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "seconds shown to people")]
pub fn seconds_of(batch: &BatchRecord) -> Option<f64> {
    let began_ms = batch.created_at_ms.max(batch.not_before_ms.unwrap_or_default());
    let finished_at_ms = batch.finished_at_ms.filter(|_| batch.reopened == 0)?;
    Some(finished_at_ms.saturating_sub(began_ms).max(0) as f64 / 1_000.0)
}

/// One row for each hour: hours that are told apart say how much they differ.
fn merged(hours: Vec<MintHour>) -> Vec<MintHour> {
    let mut merged: Vec<MintHour> = Vec::with_capacity(hours.len());
    for hour in hours.into_iter().filter(MintHour::is_sound) {
        match merged.iter_mut().find(|known| known.hour == hour.hour) {
            Some(known) => known.add(&hour),
            None => merged.push(hour),
        }
    }
    merged
}

fn lock<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an endpoint took since an earlier count.
fn new_sends(now: &EndpointSends, before: Option<&EndpointHour>, hour: i64) -> Option<EndpointHour> {
    let new = before.map_or_else(|| now.counts.clone(), |before| now.counts.since(before));
    (new.sends > 0).then_some(EndpointHour { hour, ..new })
}
