//! The cache: what was found out once and may be asked for again soon.
//!
//! Metadata URIs that were published (24 hours), signatures of minted tickets (1 hour), and anything else for a time of its
//! own (1 hour unless told otherwise). It lives in this process's memory, bounded by bytes, or in the Redis that several boxes
//! share. Rules: a cache that fails is a cache that knows nothing; a value that cannot be read is no value; and nothing that
//! decides about money rests on it alone.

mod memory;
mod sealed;
mod tickets;
mod warm;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus::{Gauge, IntCounter, Registry};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use tokio::{sync::Mutex, time::Instant};
use uuid::Uuid;

pub use tickets::TicketKey;
pub use warm::{WarmFilter, Warmed};

use crate::fleet::Fleet;
use memory::Memory;
use sealed::Sealed;

/// How long a published metadata URI is remembered: it never changes, but what pins it might be told to forget it.
pub const URI_TTL: Duration = Duration::from_hours(24);
/// How long a signature is remembered.
pub const SIGNATURE_TTL: Duration = Duration::from_hours(1);
/// How long everything else is remembered, unless told otherwise.
pub const DEFAULT_TTL: Duration = Duration::from_hours(1);
/// How long other boxes wait for one that finds a value out, and how often they look.
const FLIGHT: Duration = Duration::from_secs(5);
const FLIGHT_LOOK: Duration = Duration::from_millis(20);
/// How long values in Redis are counted: it may serve others, and hold millions.
const COUNTING: Duration = Duration::from_secs(1);

/// Where values are kept.
#[derive(Clone, Debug)]
pub enum Cache {
    /// In this process.
    Memory(Memory),
    /// In the Redis that boxes share, sealed.
    Redis(Sealed),
}

impl Cache {
    /// In this process, in at most so many bytes.
    #[must_use]
    pub fn in_memory(max_bytes: u64) -> Self {
        Self::Memory(Memory::new(max_bytes))
    }

    /// In the Redis that boxes share; `secret` is what only boxes with the same wallet know.
    #[must_use]
    #[cfg_attr(not(feature = "redis"), expect(unreachable_code, reason = "without the feature there is no fleet"))]
    pub fn in_redis(fleet: Fleet, secret: [u8; 32]) -> Self {
        Self::Redis(Sealed::new(fleet, secret))
    }

    async fn get_many(&self, keys: &[String]) -> Option<Vec<Option<Vec<u8>>>> {
        match self {
            Self::Memory(memory) => Some(memory.get_many(keys).await),
            Self::Redis(redis) => redis.get_many(keys).await,
        }
    }

    async fn set_many(&self, entries: Vec<(String, Vec<u8>, Duration)>) -> bool {
        match self {
            Self::Memory(memory) => memory.set_many(entries).await,
            Self::Redis(redis) => redis.set_many(entries).await,
        }
    }

    async fn remove(&self, keys: &[String]) -> Option<u64> {
        match self {
            Self::Memory(memory) => Some(memory.remove(keys).await),
            Self::Redis(redis) => redis.remove(keys).await,
        }
    }

    async fn keys_with(&self, beginning: &str) -> Option<Vec<String>> {
        match self {
            Self::Memory(memory) => Some(memory.keys_with(beginning).await),
            Self::Redis(redis) => redis.keys_with(beginning).await,
        }
    }
}

/// The cache does not answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the cache does not answer, so nothing was removed from it: {why}")]
pub struct Unavailable {
    /// What is known of the cause.
    pub why: String,
}

/// How the cache fares.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheStats {
    /// `memory` or `redis`.
    pub backend: &'static str,
    /// It answers.
    pub connected: bool,
    /// What is kept; none when that cannot be found out now.
    pub keys: Option<u64>,
    /// Bytes kept; none for Redis, which serves others too.
    pub bytes: Option<u64>,
    /// Look-ups answered since the start.
    pub hits: u64,
    /// Look-ups not answered since the start.
    pub misses: u64,
    /// Questions and orders that failed since the start.
    pub errors: u64,
    /// Why the last one failed; none while all is well.
    pub fault: Option<String>,
}

impl CacheStats {
    /// Percentage of the look-ups that were answered; 0 before the first.
    #[must_use]
    pub fn hit_rate(&self) -> f64 {
        percent(self.hits, self.misses)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
fn percent(hits: u64, misses: u64) -> f64 {
    (hits as f64 * 10_000.0 / hits.saturating_add(misses).max(1) as f64).round() / 100.0
}

/// The cache as services use it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Caching {
    cache: Cache,
    /// Values that are being found out in this process.
    flights: moka::future::Cache<String, Arc<Mutex<Option<Vec<u8>>>>>,
    counts: Counts,
    /// Where this box publishes: what another provider holds does not count.
    provider: Arc<str>,
}

#[derive(Clone, Debug)]
struct Counts {
    hits: IntCounter,
    misses: IntCounter,
    hit_rate: Gauge,
    /// Values that could not be read.
    unreadable: Arc<AtomicU64>,
}

impl Counts {
    fn add(&self, hits: u64, misses: u64) {
        self.hits.inc_by(hits);
        self.misses.inc_by(misses);
        self.hit_rate.set(percent(self.hits.get(), self.misses.get()));
    }
}

impl Caching {
    /// Puts services in front of a cache.
    ///
    /// # Errors
    /// Never with an empty registry: its instruments have unique, valid names.
    pub fn new(cache: Cache, provider: &str, registry: &Registry) -> Result<Self, prometheus::Error> {
        let counts = Counts {
            hits: IntCounter::new("minting_cache_hits_total", "Look-ups that the cache answered.")?,
            misses: IntCounter::new("minting_cache_misses_total", "Look-ups that the cache could not answer.")?,
            hit_rate: Gauge::new("minting_cache_hit_rate", "Percentage of look-ups that the cache answered.")?,
            unreadable: Arc::default(),
        };
        registry.register(Box::new(counts.hits.clone()))?;
        registry.register(Box::new(counts.misses.clone()))?;
        registry.register(Box::new(counts.hit_rate.clone()))?;
        let flights = moka::future::Cache::builder().max_capacity(10_000).time_to_live(FLIGHT).build();
        Ok(Self { cache, flights, counts, provider: provider.into() })
    }

    /// Values by key, as far as they are known.
    pub async fn get_many<T: DeserializeOwned>(&self, keys: &[String]) -> Vec<Option<T>> {
        if keys.is_empty() {
            return Vec::new();
        }
        let found = self.cache.get_many(keys).await.unwrap_or_default();
        let mut values: Vec<Option<T>> = found.into_iter().map(|bytes| self.read(&bytes?)).collect();
        values.resize_with(keys.len(), || None);
        let hits = values.iter().flatten().count();
        self.counts.add(hits as u64, keys.len().saturating_sub(hits) as u64);
        values
    }

    /// A value, if it is known.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.get_many(&[key.to_owned()]).await.pop().flatten()
    }

    fn read<T: DeserializeOwned>(&self, bytes: &[u8]) -> Option<T> {
        let value = serde_json::from_slice(bytes).ok();
        if value.is_none() {
            self.counts.unreadable.fetch_add(1, Ordering::Relaxed);
        }
        value
    }

    /// Remembers values, each for its time; false when the cache did not take all of them.
    pub async fn set_many<T: Serialize>(&self, entries: impl IntoIterator<Item = (String, T, Duration)>) -> bool {
        let write = |(key, value, ttl)| Some((key, serde_json::to_vec(&value).ok()?, ttl));
        self.cache.set_many(entries.into_iter().filter_map(write).collect()).await
    }

    /// Remembers a value for a time.
    pub async fn set<T: Serialize>(&self, key: &str, value: &T, ttl: Duration) -> bool {
        self.set_many([(key.to_owned(), value, ttl)]).await
    }

    /// A value, found out by `make` unless it is known. Whoever asks while it is being found out waits for the same answer,
    /// in this process and, with Redis, in all boxes. It is kept for [`DEFAULT_TTL`] unless `ttl` says otherwise. What fails is not remembered: whoever waited tries for themselves.
    ///
    /// # Errors
    /// Those of `make`.
    pub async fn get_or_set<T: Serialize + DeserializeOwned, E>(
        &self,
        key: &str,
        ttl: impl Into<Option<Duration>>,
        make: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        if let Some(known) = self.get(key).await {
            return Ok(known);
        }
        let flight = self.flights.get_with(key.to_owned(), async { Arc::default() }).await;
        let mut landed = flight.lock().await;
        if let Some(value) = landed.as_deref().and_then(|bytes| self.read(bytes)) {
            return Ok(value);
        }
        let turn = self.turn(key).await;
        let value = match turn {
            Turn::Known(value) => value,
            Turn::Ours(_until_the_end) => {
                let value = make.await?;
                self.set(key, &value, ttl.into().unwrap_or(DEFAULT_TTL)).await;
                value
            }
        };
        // For those who wait already, even if the cache takes nothing.
        *landed = serde_json::to_vec(&value).ok();
        self.flights.invalidate(key).await;
        Ok(value)
    }

    /// Waits while another box finds a value out.
    async fn turn<T: DeserializeOwned>(&self, key: &str) -> Turn<T> {
        let Cache::Redis(Sealed { fleet, .. }) = &self.cache else { return Turn::Ours(None) };
        let (lock, token, begun) = (format!("flight:{key}"), Uuid::now_v7().to_string(), Instant::now());
        while begun.elapsed() < FLIGHT {
            match fleet.set_if_absent(&lock, &token, FLIGHT).await {
                Some(true) => return Turn::Ours(Some(Flight { fleet: fleet.clone(), lock, token })),
                Some(false) => tokio::time::sleep(FLIGHT_LOOK).await,
                None => break,
            }
            let known = self.cache.get_many(&[key.to_owned()]).await.unwrap_or_default().pop().flatten();
            if let Some(value) = known.and_then(|bytes| self.read(&bytes)) {
                return Turn::Known(value);
            }
        }
        Turn::Ours(None)
    }

    /// Forgets everything; how much that was.
    ///
    /// # Errors
    /// When the cache does not answer.
    pub async fn clear(&self) -> Result<u64, Unavailable> {
        self.forget("").await
    }

    /// Forgets what begins so.
    async fn forget(&self, beginning: &str) -> Result<u64, Unavailable> {
        let removed = async { self.cache.remove(&self.cache.keys_with(beginning).await?).await };
        removed.await.ok_or_else(|| Unavailable { why: self.fault().unwrap_or_else(|| "it is not there".to_owned()) })
    }

    fn fault(&self) -> Option<String> {
        match &self.cache {
            Cache::Memory(_) => None,
            Cache::Redis(redis) => redis.fleet.fault(),
        }
    }

    /// Look-ups that were answered since the start, and those that were not.
    #[must_use]
    pub fn look_ups(&self) -> (u64, u64) {
        (self.counts.hits.get(), self.counts.misses.get())
    }

    /// How the cache fares.
    pub async fn stats(&self) -> CacheStats {
        let (backend, connected, refusals) = match &self.cache {
            Cache::Memory(_) => ("memory", true, 0),
            Cache::Redis(redis) => ("redis", redis.fleet.is_connected(), redis.fleet.refusals()),
        };
        let (keys, bytes) = match &self.cache {
            Cache::Memory(memory) => {
                let (keys, bytes) = memory.size().await;
                (Some(keys), Some(bytes))
            }
            Cache::Redis(redis) => {
                let keys = tokio::time::timeout(COUNTING, redis.keys_with("")).await.ok().flatten();
                (keys.map(|keys| keys.len() as u64), None)
            }
        };
        CacheStats {
            backend,
            connected,
            keys,
            bytes,
            hits: self.counts.hits.get(),
            misses: self.counts.misses.get(),
            errors: refusals.saturating_add(self.counts.unreadable.load(Ordering::Relaxed)),
            fault: self.fault(),
        }
    }
}

enum Turn<T> {
    /// Another box has found it out.
    Known(T),
    /// It is for this box to find it out.
    Ours(Option<Flight>),
}

/// Keeps other boxes waiting, until it is dropped.
struct Flight {
    fleet: Fleet,
    lock: String,
    token: String,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.fleet.remove_soon(std::mem::take(&mut self.lock), std::mem::take(&mut self.token));
    }
}
