//! What several boxes share: one Redis, for those who run more than one box behind a balancer.
//!
//! A cache that all of them read, limits that count the requests of all of them, and a lease that one of them holds. Nothing
//! here is needed to mint: a Redis that is down, slow, full or damaged costs at most a quarter of a second once, and then
//! nothing until it answers again, which is noticed by itself. Every question says whether it was answered, so that "no" and
//! "not known" are never the same.

mod lease;
mod quota;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{
    Client, ErrorKind, IntoConnectionInfo as _, RedisError, RedisResult, Script,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

pub use lease::Claim;
pub use quota::Quota;

use lease::Leadership;

/// How long an answer is waited for: Redis on the same network takes less than a millisecond.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(250);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time between two looks at whether it is there.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Keys that are asked for, written or removed in one message.
const CHUNK: usize = 1_000;

/// Why Redis cannot be used with these settings.
#[derive(Debug, Error)]
pub enum FleetError {
    /// The address.
    #[error("REDIS_URL is no address such as redis://127.0.0.1:6379 or rediss://redis.example.com: {0}")]
    Address(#[source] RedisError),
}

/// A connection to the Redis that boxes share. Cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    shared: Arc<Shared>,
}

struct Shared {
    connection: ConnectionManager,
    /// Begins every key: boxes of another wallet or chain never meet.
    namespace: String,
    /// This box among its fellows.
    id: String,
    connected: AtomicBool,
    fault: Mutex<Option<String>>,
    refusals: AtomicU64,
    leadership: Mutex<Leadership>,
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("namespace", &self.shared.namespace).field("id", &self.shared.id).finish()
    }
}

impl Fleet {
    /// Prepares a connection; whether Redis is there is found out by [`Fleet::probe`]. Must be called inside a runtime.
    ///
    /// # Errors
    /// When the address is not one.
    pub fn new(url: &str, password: Option<&str>, namespace: String, id: String) -> Result<Self, FleetError> {
        let mut info = url.into_connection_info().map_err(FleetError::Address)?;
        if let Some(password) = password {
            let settings = info.redis_settings().clone().set_password(password);
            info = info.set_redis_settings(settings);
        }
        let client = Client::open(info).map_err(FleetError::Address)?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT));
        let connection = ConnectionManager::new_lazy_with_config(client, config).map_err(FleetError::Address)?;
        let shared = Shared {
            connection,
            namespace,
            id,
            connected: AtomicBool::new(false),
            fault: Mutex::default(),
            refusals: AtomicU64::new(0),
            leadership: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Whether Redis answered when it was last asked.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.connected.load(Ordering::Acquire)
    }

    /// Why Redis did not do what it was asked last; none while all is well.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Questions and orders that were not answered as they should be, since the start.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.shared.refusals.load(Ordering::Relaxed)
    }

    /// Asks whether it is there, whatever is known of it.
    pub async fn probe(&self) -> bool {
        let mut connection = self.shared.connection.clone();
        let ping = async move { redis::cmd("PING").query_async::<redis::Value>(&mut connection).await };
        match timeout(CONNECT_TIMEOUT, ping).await {
            Ok(Ok(_pong)) => {
                if !self.shared.connected.swap(true, Ordering::AcqRel) {
                    tracing::info!("Redis answers");
                    *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
                }
                true
            }
            Ok(Err(error)) => self.lost(error.to_string()),
            Err(_late) => self.lost("no answer in time".to_owned()),
        }
    }

    /// Watches Redis, and renews or seeks the lease, until the shutdown; gives the lease back then.
    pub async fn run(self, shutdown: CancellationToken) {
        let watch = async {
            let mut ticks = interval(PROBE_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if self.probe().await {
                    self.campaign().await;
                }
            }
        };
        shutdown.run_until_cancelled(watch).await;
        self.resign().await;
    }

    fn lost(&self, why: String) -> bool {
        self.shared.refusals.fetch_add(1, Ordering::Relaxed);
        if self.shared.connected.swap(false, Ordering::AcqRel) {
            tracing::warn!(%why, "Redis does not answer; the box goes on without it");
        }
        *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        false
    }

    /// Asks something, if there is anybody to ask. None when there is no answer to rely on.
    async fn ask<T>(&self, question: impl Future<Output = RedisResult<T>>) -> Option<T> {
        if !self.is_connected() {
            return None;
        }
        match timeout(ANSWER_TIMEOUT, question).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) if is_refusal(&error) => {
                self.shared.refusals.fetch_add(1, Ordering::Relaxed);
                *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
            }
            Ok(Err(error)) => _ = self.lost(error.to_string()),
            Err(_late) => _ = self.lost("no answer in time".to_owned()),
        }
        None
    }

    fn key(&self, key: &str) -> String {
        format!("{}:{key}", self.shared.namespace)
    }

    async fn script<T: redis::FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[String],
    ) -> Option<T> {
        let mut connection = self.shared.connection.clone();
        let mut call = script.prepare_invoke();
        for key in keys {
            call.key(self.key(key));
        }
        for argument in arguments {
            call.arg(argument);
        }
        self.ask(async move { call.invoke_async(&mut connection).await }).await
    }

    /// Some values, in the order of their keys; none where there is none. None in all when Redis does not answer.
    pub async fn get_many(&self, keys: &[String]) -> Option<Vec<Option<Vec<u8>>>> {
        let mut values = Vec::with_capacity(keys.len());
        for keys in keys.chunks(CHUNK) {
            let mut connection = self.shared.connection.clone();
            let keys: Vec<String> = keys.iter().map(|key| self.key(key)).collect();
            let command = async move { redis::cmd("MGET").arg(keys).query_async(&mut connection).await };
            let answer: Vec<Option<Vec<u8>>> = self.ask(command).await?;
            values.extend(answer);
        }
        (values.len() == keys.len()).then_some(values)
    }

    /// Keeps values, each for its time. False when Redis did not take all of them.
    pub async fn set_many(&self, entries: &[(String, Vec<u8>, Duration)]) -> bool {
        for entries in entries.chunks(CHUNK) {
            let mut connection = self.shared.connection.clone();
            let mut pipeline = redis::pipe();
            for (key, value, ttl) in entries {
                pipeline.cmd("SET").arg(self.key(key)).arg(value).arg("PX").arg(milliseconds(*ttl)).ignore();
            }
            if self.ask(async move { pipeline.query_async::<()>(&mut connection).await }).await.is_none() {
                return false;
            }
        }
        true
    }

    /// Keeps a value for a time unless there is one; whether it was taken.
    pub async fn set_if_absent(&self, key: &str, value: &str, ttl: Duration) -> Option<bool> {
        let (mut connection, key, value) = (self.shared.connection.clone(), self.key(key), value.to_owned());
        let mut command = redis::cmd("SET");
        command.arg(key).arg(value).arg("NX").arg("PX").arg(milliseconds(ttl));
        let taken: Option<String> = self.ask(async move { command.query_async(&mut connection).await }).await?;
        Some(taken.is_some())
    }

    /// Removes a value if it is the one given.
    pub async fn remove_if(&self, key: &str, value: &str) {
        const SCRIPT: &str =
            "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";
        let script = Script::new(SCRIPT);
        let _removed: Option<i64> = self.script(&script, &[key.to_owned()], &[value.to_owned()]).await;
    }

    /// Has a value removed if it is the one given, without waiting for it.
    pub fn remove_soon(&self, key: String, value: String) {
        let this = self.clone();
        tokio::spawn(async move { this.remove_if(&key, &value).await });
    }

    /// Removes values; how many there were.
    pub async fn remove(&self, keys: &[String]) -> Option<u64> {
        let mut removed = 0_u64;
        for keys in keys.chunks(CHUNK) {
            let mut connection = self.shared.connection.clone();
            let keys: Vec<String> = keys.iter().map(|key| self.key(key)).collect();
            let command = async move { redis::cmd("UNLINK").arg(keys).query_async(&mut connection).await };
            let some: u64 = self.ask(command).await?;
            removed = removed.saturating_add(some);
        }
        Some(removed)
    }

    /// The keys with a beginning, which must hold no character that has a meaning in patterns. Goes through the whole
    /// database in small steps, so that nobody else waits for it.
    pub async fn keys_with(&self, beginning: &str) -> Option<Vec<String>> {
        let pattern = format!("{}*", self.key(beginning));
        let strip = self.shared.namespace.len().saturating_add(1);
        let (mut cursor, mut found) = (0_u64, Vec::new());
        loop {
            let mut connection = self.shared.connection.clone();
            let mut command = redis::cmd("SCAN");
            command.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(CHUNK);
            let (next, keys): (u64, Vec<Vec<u8>>) =
                self.ask(async move { command.query_async(&mut connection).await }).await?;
            // What is not text is nobody's key of ours.
            let keys = keys.into_iter().filter_map(|key| String::from_utf8(key).ok());
            found.extend(keys.filter_map(|key| key.get(strip..).map(str::to_owned)));
            if next == 0 {
                break;
            }
            cursor = next;
        }
        // A key may be told twice while the database grows or shrinks.
        found.sort_unstable();
        found.dedup();
        Some(found)
    }
}

/// It is there and answers, but says no: full, or the key holds something else.
fn is_refusal(error: &RedisError) -> bool {
    // As good as away: it lets nobody in, or is not ready.
    const OF_ALL_KEYS: [&str; 7] = ["NOAUTH", "WRONGPASS", "NOPERM", "LOADING", "MASTERDOWN", "READONLY", "BUSY"];
    match error.clone().into_server_errors() {
        Some(errors) => errors.iter().all(|(_, error)| !OF_ALL_KEYS.contains(&error.code())),
        None => error.kind() == ErrorKind::UnexpectedReturnType,
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
