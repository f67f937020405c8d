//! Limits that count the requests of all boxes: the generic cell rate algorithm, carried out by Redis on its own clock.

use std::{num::NonZeroU32, sync::LazyLock, time::Duration};

use redis::Script;

use super::Fleet;

/// Keeps the time at which the budget is whole again, in microseconds. A value that is none counts as a whole budget.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local time = redis.call('TIME')
        local now = time[1] * 1000000 + time[2]
        local each, budget = tonumber(ARGV[1]), tonumber(ARGV[2])
        local whole_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now) or now, now)
        -- A value from a clock that was set back must not lock anyone out for longer than the budget takes.
        whole_at = math.min(whole_at, now + budget)
        local wait = whole_at + each - now - budget
        if wait > 0 then return string.format('%.0f', wait) end
        local ms = math.ceil((whole_at + each - now) / 1000)
        redis.call('SET', KEYS[1], string.format('%.0f', whole_at + each), 'PX', ms)
        return '0'",
    )
});

/// So many in a window of time: all at once, and then evenly as the budget grows again.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// How many.
    pub max: NonZeroU32,
    /// In which time.
    pub window: Duration,
}

impl Fleet {
    /// Takes one of the quota of a key: how long to wait if nothing is left of it. None when Redis does not answer.
    pub async fn take(&self, key: &str, quota: Quota) -> Option<Result<(), Duration>> {
        let each = quota.window.checked_div(quota.max.get()).unwrap_or(quota.window).as_micros().max(1);
        let budget = each.saturating_mul(quota.max.get().into());
        let arguments = [each.to_string(), budget.to_string()];
        let wait: String = self.script(&TAKE, &[format!("quota:{key}")], &arguments).await?;
        match wait.parse::<u64>().ok()? {
            0 => Some(Ok(())),
            wait => Some(Err(Duration::from_micros(wait))),
        }
    }
}
