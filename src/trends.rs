//! How things went, period by period: tickets and money from the books' sums, and what the box counts by the way.
//!
//! The cache, the publisher and the endpoints count for themselves, since the start of the process. Once a minute what they have
//! counted since the last time goes to the books, in one write and only if there is something; a crash takes a minute of it.
//! Nothing is decided here.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::{
    cache::Caching,
    chain::Chain,
    clock::SharedClock,
    domain::forecast::EndpointHour,
    forecast::Forecaster,
    publishing::Publishing,
    store::{BoxCounts, BoxPeriod, EndpointPeriod, Period, Step, Store, StoreError},
};

/// How far back trends go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub enum Range {
    /// An hour, by the minute.
    #[serde(rename = "1h")]
    Hour,
    /// 24 hours, by the hour.
    #[default]
    #[serde(rename = "24h")]
    Day,
    /// 7 days, by the hour.
    #[serde(rename = "7d")]
    Week,
    /// 30 days, by the day, UTC.
    #[serde(rename = "30d")]
    Month,
    /// 365 days, by the day, UTC.
    #[serde(rename = "365d")]
    Year,
}

impl Range {
    /// How long its periods are.
    #[must_use]
    pub fn step(self) -> Step {
        match self {
            Self::Hour => Step::Minute,
            Self::Day | Self::Week => Step::Hour,
            Self::Month | Self::Year => Step::Day,
        }
    }

    /// How many there are, with the one that is still running.
    #[must_use]
    pub fn periods(self) -> usize {
        match self {
            Self::Hour => 60,
            Self::Day => 24,
            Self::Week => 7 * 24,
            Self::Month => 30,
            Self::Year => 365,
        }
    }

    /// When its first period begins, Unix milliseconds.
    fn begins_ms(self, now_ms: i64) -> i64 {
        let before = i64::try_from(self.periods()).unwrap_or_default().saturating_sub(1);
        self.step().of(now_ms).saturating_sub(before).saturating_mul(self.step().ms())
    }

    /// Its periods, oldest first; those of which nothing is known are empty, and what is outside of them is left out.
    fn complete<T>(self, now_ms: i64, empty: impl Fn(i64) -> T, known: impl Iterator<Item = (i64, T)>) -> Vec<T> {
        let (from_ms, ms) = (self.begins_ms(now_ms), self.step().ms());
        let starts = (0_i64..).map(|place| from_ms.saturating_add(place.saturating_mul(ms)));
        let mut all: BTreeMap<i64, T> = starts.take(self.periods()).map(|start| (start, empty(start))).collect();
        for (start, value) in known {
            if let Some(place) = all.get_mut(&start) {
                *place = value;
            }
        }
        all.into_values().collect()
    }
}

/// How it went at all venues together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trend {
    /// Period by period, oldest first; the last one is still running.
    pub periods: Vec<BoxPeriod>,
    /// What came of sends: the endpoints of the settings first, then former ones.
    pub endpoints: Vec<EndpointTrend>,
}

/// What came of sends to an endpoint, in the same periods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointTrend {
    /// Scheme, host and port.
    pub endpoint: String,
    /// Transactions sent to it, repetitions too.
    pub sends: Vec<u64>,
    /// Of them those that were refused, or had no answer that makes sense, or none in time.
    pub errors: Vec<u64>,
    /// Of them those that were turned away because of the plan's limit.
    pub limited: Vec<u64>,
}

/// The trends. Cheap to clone.
#[derive(Clone)]
pub struct Trends {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    chain: Arc<dyn Chain>,
    clock: SharedClock,
    cache: Caching,
    publishing: Publishing,
    forecaster: Forecaster,
    /// What is in the books of what was counted. Held while it is written: whoever adds up both sees it once.
    written: tokio::sync::Mutex<Counted>,
}

impl fmt::Debug for Trends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trends").finish_non_exhaustive()
    }
}

/// What was counted since the start of the process.
#[derive(Clone, Debug, Default)]
struct Counted {
    counts: BoxCounts,
    sends: Vec<EndpointHour>,
}

impl Counted {
    /// What was counted since an earlier time.
    fn since(&self, earlier: &Self, minute_ms: i64) -> (BoxCounts, Vec<EndpointPeriod>) {
        let counts = BoxCounts {
            cache_hits: self.counts.cache_hits.saturating_sub(earlier.counts.cache_hits),
            cache_misses: self.counts.cache_misses.saturating_sub(earlier.counts.cache_misses),
            uploads: self.counts.uploads.saturating_sub(earlier.counts.uploads),
            uploads_saved: self.counts.uploads_saved.saturating_sub(earlier.counts.uploads_saved),
        };
        let sends = self.sends.iter().map(|now| {
            let before = earlier.sends.iter().find(|before| before.endpoint == now.endpoint);
            let new = before.map_or_else(|| now.clone(), |before| now.since(before));
            let (errors, limited) = (new.errors(), new.limited);
            EndpointPeriod { endpoint: new.endpoint, from_ms: minute_ms, sends: new.sends, errors, limited }
        });
        (counts, sends.filter(|period| period.sends > 0).collect())
    }
}

impl Trends {
    /// Trends from the books and from those who count.
    #[must_use]
    pub fn new(
        store: Store,
        chain: Arc<dyn Chain>,
        clock: SharedClock,
        cache: Caching,
        publishing: Publishing,
        forecaster: Forecaster,
    ) -> Self {
        let written = tokio::sync::Mutex::default();
        Self { shared: Arc::new(Shared { store, chain, clock, cache, publishing, forecaster, written }) }
    }

    /// Writes at the end of every minute until the shutdown, and then once more.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            let begun_ms = self.shared.clock.now_ms();
            let left = Step::Minute.ms().saturating_sub(begun_ms.rem_euclid(Step::Minute.ms()));
            let left = Duration::from_millis(u64::try_from(left).unwrap_or_default().max(1));
            let stops = tokio::time::timeout(left, shutdown.cancelled()).await.is_ok();
            // What was counted meanwhile was counted in the minute in which the wait began.
            if let Err(error) = self.write(begun_ms).await {
                // Nothing depends on it, and the next write takes what this one did not.
                tracing::debug!(%error, "what was counted cannot be written down yet");
            }
            if stops {
                return;
            }
        }
    }

    /// Writes what was counted since the last time to the minute of `at_ms`; nothing if nothing was.
    ///
    /// # Errors
    /// When the books cannot be written: what was counted is kept for the next time.
    pub async fn write(&self, at_ms: i64) -> Result<(), StoreError> {
        let mut written = self.shared.written.lock().await;
        let counted = self.counted();
        let (counts, sends) = counted.since(&written, at_ms);
        if counts != BoxCounts::default() || !sends.is_empty() {
            self.shared.store.add_counts(at_ms, counts, sends).await?;
            *written = counted;
        }
        Ok(())
    }

    fn counted(&self) -> Counted {
        let (cache_hits, cache_misses) = self.shared.cache.look_ups();
        let (uploads, uploads_saved) = self.shared.publishing.uploads();
        Counted {
            counts: BoxCounts { cache_hits, cache_misses, uploads, uploads_saved },
            sends: self.shared.chain.sends().into_iter().map(|endpoint| endpoint.counts).collect(),
        }
    }

    /// How it went at all venues together.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn of_all(&self, range: Range) -> Result<Trend, StoreError> {
        let Shared { store, clock, forecaster, written, .. } = &*self.shared;
        let (now_ms, step) = (clock.now_ms(), range.step());
        let from_ms = range.begins_ms(now_ms);
        let written = written.lock().await;
        let known = store.box_periods(from_ms, step).await?;
        let (counts, fresh_sends) = self.counted().since(&written, Step::Minute.of(now_ms).saturating_mul(60_000));
        let sends = match step {
            Step::Minute => {
                let mut sends = store.endpoint_periods(from_ms, step).await?;
                sends.extend(fresh_sends);
                sends
            }
            Step::Hour | Step::Day => forecaster.sends(from_ms, step).await?,
        };
        drop(written);
        let empty = |from_ms| BoxPeriod { tickets: Period { from_ms, ..Period::default() }, ..BoxPeriod::default() };
        let known = known.into_iter().map(|period| (period.tickets.from_ms, period));
        let mut periods = range.complete(now_ms, empty, known);
        if let Some(running) = periods.last_mut() {
            running.counts.add(&counts);
        }
        Ok(Trend { periods, endpoints: self.endpoints(range, now_ms, sends) })
    }

    /// How it went at a venue, oldest first; the last period is still running.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn of_venue(&self, venue_id: String, range: Range) -> Result<Vec<Period>, StoreError> {
        let now_ms = self.shared.clock.now_ms();
        let stats = self.shared.store.venue_stats(venue_id, range.begins_ms(now_ms), range.step()).await?;
        let known = stats.series.into_iter().map(|period| (period.from_ms, period));
        Ok(range.complete(now_ms, |from_ms| Period { from_ms, ..Period::default() }, known))
    }

    fn endpoints(&self, range: Range, now_ms: i64, sends: Vec<EndpointPeriod>) -> Vec<EndpointTrend> {
        let mut names: Vec<String> =
            self.shared.chain.sends().into_iter().map(|endpoint| endpoint.counts.endpoint).collect();
        let mut by_endpoint = BTreeMap::<String, BTreeMap<i64, EndpointPeriod>>::new();
        for period in sends {
            let periods = by_endpoint.entry(period.endpoint.clone()).or_default();
            periods.entry(period.from_ms).or_default().add(&period);
        }
        let former = by_endpoint.keys().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>();
        names.extend(former);
        let trend = |endpoint: String| {
            let known = by_endpoint.remove(&endpoint).unwrap_or_default();
            let periods = range.complete(now_ms, |_from_ms| EndpointPeriod::default(), known.into_iter());
            EndpointTrend {
                endpoint,
                sends: periods.iter().map(|period| period.sends).collect(),
                errors: periods.iter().map(|period| period.errors).collect(),
                limited: periods.iter().map(|period| period.limited).collect(),
            }
        };
        names.into_iter().map(trend).collect()
    }
}
