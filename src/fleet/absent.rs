//! Builds without the cargo feature `redis` have no fleet: a type without values, so that the code which would use it
//! compiles and can never run.

use std::{convert::Infallible, num::NonZeroU32, time::Duration};

use thiserror::Error;
use tokio_util::sync::CancellationToken;

/// Never made.
#[derive(Clone, Debug)]
pub enum Fleet {}

/// Never happens.
#[derive(Debug, Error)]
#[error("this build has no Redis support")]
pub struct FleetError(Infallible);

/// See the module of builds with the feature.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// How many.
    pub max: NonZeroU32,
    /// In which time.
    pub window: Duration,
}

/// Whose a run is that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This box's.
    Ours,
    /// A box of the fleet has claimed it.
    Done,
    /// Another's, or nobody can tell.
    NotOurs,
}

#[expect(missing_docs, clippy::unused_async, reason = "never called: there is no value to call them on")]
#[expect(clippy::must_use_candidate, reason = "never called: there is no value to call them on")]
impl Fleet {
    pub fn is_connected(&self) -> bool {
        match *self {}
    }
    pub fn fault(&self) -> Option<String> {
        match *self {}
    }
    pub fn refusals(&self) -> u64 {
        match *self {}
    }
    pub fn leads(&self) -> bool {
        match *self {}
    }
    pub fn leader(&self) -> Option<String> {
        match *self {}
    }
    pub async fn run(self, _shutdown: CancellationToken) {
        match self {}
    }
    pub async fn claim(&self, _job: &str, _due_ms: i64) -> Claim {
        match *self {}
    }
    pub async fn take(&self, _key: &str, _quota: Quota) -> Option<Result<(), Duration>> {
        match *self {}
    }
    pub async fn get_many(&self, _keys: &[String]) -> Option<Vec<Option<Vec<u8>>>> {
        match *self {}
    }
    pub async fn set_many(&self, _entries: &[(String, Vec<u8>, Duration)]) -> bool {
        match *self {}
    }
    pub async fn set_if_absent(&self, _key: &str, _value: &str, _ttl: Duration) -> Option<bool> {
        match *self {}
    }
    pub async fn remove_if(&self, _key: &str, _value: &str) {
        match *self {}
    }
    pub fn remove_soon(&self, _key: String, _value: String) {
        match *self {}
    }
    pub async fn remove(&self, _keys: &[String]) -> Option<u64> {
        match *self {}
    }
    pub async fn keys_with(&self, _beginning: &str) -> Option<Vec<String>> {
        match *self {}
    }
}
