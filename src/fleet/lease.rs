//! The lease that one box of a fleet holds: it alone runs the jobs that are of all boxes.
//!
//! The known recipe: a key with an expiry that only its holder may renew, and a fencing token that grows with every holder.
//! A holder that was asleep, or cut off, may believe for a moment that it still leads; that is why its belief ends before the
//! key does, and why a run is claimed in Redis itself, where an older token, and a due time that was claimed before, are
//! refused.

use std::{
    sync::{LazyLock, PoisonError},
    time::Duration,
};

use redis::Script;
use tokio::time::Instant;

use super::{Fleet, milliseconds};

/// How long the lease lasts without being renewed; it is renewed every second.
const LEASE: Duration = Duration::from_secs(10);
/// How long before its end the holder stops to believe in it.
const MARGIN: Duration = Duration::from_secs(2);
/// Characters of the leader's name that are shown: what stands in Redis may be anything.
const SHOWN_NAME: usize = 128;
/// How long claims are remembered: longer than any schedule pauses.
const REMEMBER: Duration = Duration::from_hours(24 * 400);

/// The token grows with every holder. It is taken from Redis' clock, so that it grows even if the old one was evicted.
static CAMPAIGN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        -- What somebody else has left there, of another type or without an end, must not stop the boxes for good.
        for _, key in ipairs(KEYS) do
            if redis.call('TYPE', key).ok ~= 'string' then redis.call('DEL', key) end
        end
        local holder = redis.call('GET', KEYS[1])
        if holder and redis.call('PTTL', KEYS[1]) < 0 then holder = false end
        local known = redis.call('GET', KEYS[2])
        if known and not tonumber(known) then known = false end
        if holder == ARGV[1] and known then
            redis.call('PEXPIRE', KEYS[1], ARGV[2])
            return {1, known, holder}
        end
        if holder and holder ~= ARGV[1] then return {0, '0', holder} end
        local now = redis.call('TIME')
        local token = math.max(now[1] * 1000000 + now[2], tonumber(known or '0') + 1)
        token = string.format('%.0f', token)
        redis.call('SET', KEYS[2], token)
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
        return {1, token, ARGV[1]}",
    )
});

static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local known = redis.call('HMGET', KEYS[2], 'token', 'due')
        if known[2] and tonumber(known[2]) >= tonumber(ARGV[3]) then return 'done' end
        if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'other' end
        if known[1] and tonumber(known[1]) > tonumber(ARGV[2]) then return 'other' end
        redis.call('HSET', KEYS[2], 'token', ARGV[2], 'due', ARGV[3])
        redis.call('PEXPIRE', KEYS[2], ARGV[4])
        return 'yours'",
    )
});

/// What this box believes of the lease.
#[derive(Debug, Default)]
pub(super) struct Leadership {
    /// The fencing token, and when to stop believing in it.
    held: Option<(String, Instant)>,
    holder: Option<String>,
}

/// Whose a run is that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// This box's: nobody else will run it.
    Ours,
    /// A box of the fleet has claimed it.
    Done,
    /// The leader's; or nobody can tell, because Redis does not answer.
    NotOurs,
}

impl Fleet {
    /// Whether this box leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.token().is_some()
    }

    /// The box that led when Redis was last asked.
    #[must_use]
    pub fn leader(&self) -> Option<String> {
        self.shared.leadership.lock().unwrap_or_else(PoisonError::into_inner).holder.clone()
    }

    fn token(&self) -> Option<String> {
        let leadership = self.shared.leadership.lock().unwrap_or_else(PoisonError::into_inner);
        leadership.held.as_ref().filter(|(_, until)| Instant::now() < *until).map(|(token, _)| token.clone())
    }

    /// Renews the lease, or takes it if nobody holds it.
    pub async fn campaign(&self) {
        // Counted from before the question: the answer may take its time.
        let until = Instant::now() + LEASE.saturating_sub(MARGIN);
        let keys = ["lease".to_owned(), "lease-token".to_owned()];
        let arguments = [self.shared.id.clone(), milliseconds(LEASE).to_string()];
        let Some((won, token, holder)) = self.script::<(bool, String, String)>(&CAMPAIGN, &keys, &arguments).await
        else {
            return;
        };
        let mut leadership = self.shared.leadership.lock().unwrap_or_else(PoisonError::into_inner);
        let led = leadership.held.take().is_some();
        leadership.held = won.then_some((token, until));
        leadership.holder = Some(holder.chars().take(SHOWN_NAME).collect());
        if won != led {
            tracing::info!(leads = won, "the lease of the boxes' common jobs has changed hands");
        }
    }

    /// Gives the lease back, so that another box need not wait for its end.
    pub(super) async fn resign(&self) {
        let held = self.shared.leadership.lock().unwrap_or_else(PoisonError::into_inner).held.take();
        if held.is_some() {
            self.remove_if("lease", &self.shared.id).await;
        }
    }

    /// Claims the run of a job at its due time, Unix milliseconds, for all boxes.
    pub async fn claim(&self, job: &str, due_ms: i64) -> Claim {
        // Also boxes that do not lead ask, to learn that it is done.
        let token = self.token().unwrap_or_else(|| "0".to_owned());
        let keys = ["lease".to_owned(), format!("job:{job}")];
        let id = if token == "0" { String::new() } else { self.shared.id.clone() };
        let arguments = [id, token, due_ms.to_string(), milliseconds(REMEMBER).to_string()];
        match self.script::<String>(&CLAIM, &keys, &arguments).await.as_deref() {
            Some("yours") => Claim::Ours,
            Some("done") => Claim::Done,
            _ => Claim::NotOurs,
        }
    }
}
