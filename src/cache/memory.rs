//! The cache in this process: bounded by bytes, each value for a time of its own.

use std::{
    fmt,
    time::{Duration, Instant},
};

use moka::{Expiry, future::Cache};

/// What an entry takes beside its key and value, roughly: moka's own account of it.
const ENTRY_BYTES: usize = 200;

#[derive(Clone)]
struct Entry {
    value: Vec<u8>,
    ttl: Duration,
}

struct OfEntry;

impl Expiry<String, Entry> for OfEntry {
    fn expire_after_create(&self, _key: &String, entry: &Entry, _now: Instant) -> Option<Duration> {
        Some(entry.ttl)
    }

    fn expire_after_update(&self, _key: &String, entry: &Entry, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(entry.ttl)
    }
}

/// Values in memory. Cheap to clone.
#[derive(Clone)]
pub struct Memory {
    entries: Cache<String, Entry>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Memory {
    pub(super) fn new(max_bytes: u64) -> Self {
        let weigh = |key: &String, entry: &Entry| {
            let bytes = key.len().saturating_add(entry.value.len()).saturating_add(ENTRY_BYTES);
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self { entries: Cache::builder().max_capacity(max_bytes).weigher(weigh).expire_after(OfEntry).build() }
    }

    pub(super) async fn get_many(&self, keys: &[String]) -> Vec<Option<Vec<u8>>> {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(self.entries.get(key).await.map(|entry| entry.value));
        }
        values
    }

    /// Whether all of it found room.
    pub(super) async fn set_many(&self, entries: Vec<(String, Vec<u8>, Duration)>) -> bool {
        let keys: Vec<String> = entries.iter().map(|(key, ..)| key.clone()).collect();
        for (key, value, ttl) in entries {
            self.entries.insert(key, Entry { value, ttl }).await;
        }
        self.entries.run_pending_tasks().await;
        keys.iter().all(|key| self.entries.contains_key(key))
    }

    pub(super) async fn remove(&self, keys: &[String]) -> u64 {
        let mut removed = 0_u64;
        for key in keys {
            removed = removed.saturating_add(u64::from(self.entries.remove(key).await.is_some()));
        }
        removed
    }

    pub(super) async fn keys_with(&self, beginning: &str) -> Vec<String> {
        self.entries.run_pending_tasks().await;
        self.entries.iter().map(|(key, _)| key.as_ref().clone()).filter(|key| key.starts_with(beginning)).collect()
    }

    /// Entries, and the bytes that they take.
    pub(super) async fn size(&self) -> (u64, u64) {
        self.entries.run_pending_tasks().await;
        // Counted one by one: moka's own count holds what has expired for a moment longer.
        (self.entries.iter().count() as u64, self.entries.weighted_size())
    }
}
