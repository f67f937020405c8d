//! Values in the Redis that boxes share, each sealed under its key by a secret that only boxes with the same wallet know: what
//! was damaged there, put under another key or written by somebody else is no value.

use std::{fmt, time::Duration};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::fleet::Fleet;

/// What the keys of values begin with in Redis, which holds more than values.
const VALUES: &str = "c:";
/// Bytes of the seal, which stands before the value: half of an HMAC-SHA-256, as RFC 2104 allows.
const SEAL_BYTES: usize = 16;

/// Sealed values in Redis. Cheap to clone.
#[derive(Clone)]
pub struct Sealed {
    pub(super) fleet: Fleet,
    secret: [u8; 32],
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sealed").field(&self.fleet).finish()
    }
}

impl Sealed {
    pub(super) fn new(fleet: Fleet, secret: [u8; 32]) -> Self {
        Self { fleet, secret }
    }

    fn mac(&self, key: &str, value: &[u8]) -> Option<Hmac<Sha256>> {
        // Never none: HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).ok()?;
        mac.update(key.as_bytes());
        mac.update(&[0]);
        mac.update(value);
        Some(mac)
    }

    fn seal(&self, key: &str, value: &[u8]) -> Option<Vec<u8>> {
        let seal = self.mac(key, value)?.finalize().into_bytes();
        Some([seal.get(..SEAL_BYTES)?, value].concat())
    }

    /// The value inside; nothing at all, which is no value, if its seal is not ours.
    fn open(&self, key: &str, sealed: &[u8]) -> Vec<u8> {
        let parts = sealed.split_at_checked(SEAL_BYTES);
        let genuine = parts
            .filter(|(seal, value)| self.mac(key, value).is_some_and(|mac| mac.verify_truncated_left(seal).is_ok()));
        genuine.map(|(_, value)| value.to_vec()).unwrap_or_default()
    }

    pub(super) async fn get_many(&self, keys: &[String]) -> Option<Vec<Option<Vec<u8>>>> {
        let found = self.fleet.get_many(&in_redis(keys)).await?;
        let opened = keys.iter().zip(found).map(|(key, sealed)| Some(self.open(key, &sealed?)));
        Some(opened.collect())
    }

    pub(super) async fn set_many(&self, entries: Vec<(String, Vec<u8>, Duration)>) -> bool {
        let seal = |(key, value, ttl): (String, Vec<u8>, Duration)| {
            let sealed = self.seal(&key, &value)?;
            Some((VALUES.to_owned() + &key, sealed, ttl))
        };
        let entries: Vec<_> = entries.into_iter().filter_map(seal).collect();
        self.fleet.set_many(&entries).await
    }

    pub(super) async fn remove(&self, keys: &[String]) -> Option<u64> {
        self.fleet.remove(&in_redis(keys)).await
    }

    pub(super) async fn keys_with(&self, beginning: &str) -> Option<Vec<String>> {
        let keys = self.fleet.keys_with(&format!("{VALUES}{beginning}")).await?;
        Some(keys.iter().filter_map(|key| key.strip_prefix(VALUES)).map(str::to_owned).collect())
    }
}

fn in_redis(keys: &[String]) -> Vec<String> {
    keys.iter().map(|key| format!("{VALUES}{key}")).collect()
}
