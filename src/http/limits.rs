//! How often a client may ask.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use governor::{DefaultKeyedRateLimiter, RateLimiter, clock::Clock as _, clock::DefaultClock};

use crate::{
    config::RateLimits,
    fleet::{Fleet, Quota},
};

/// Clients remembered before those that have been quiet are forgotten.
const MAX_CLIENTS: usize = 10_000;

/// Too many requests, and when the next one is welcome.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limited {
    pub(super) retry_after: Duration,
}

/// The limits of the admin API.
#[derive(Debug)]
pub(super) struct Limits {
    /// For requests that may change something.
    pub(super) writes: Limit,
    /// For all others.
    pub(super) reads: Limit,
}

/// A number of requests in a window of time, for each key and address.
#[derive(Debug)]
pub(super) struct Limit {
    quota: Option<Quota>,
    limiter: Option<DefaultKeyedRateLimiter<(String, IpAddr)>>,
}

impl Limits {
    pub(super) fn new(limits: RateLimits) -> Self {
        Self { writes: Limit::new(limits.writes, limits.window), reads: Limit::new(limits.reads, limits.window) }
    }
}

impl Limit {
    pub(super) fn new(max: Option<NonZeroU32>, window: Duration) -> Self {
        // The whole budget at once, and then evenly as it grows again: `max` in each window in the long run.
        let quota =
            max.and_then(|max| Some(governor::Quota::with_period(window.checked_div(max.get())?)?.allow_burst(max)));
        Self { quota: max.map(|max| Quota { max, window }), limiter: quota.map(RateLimiter::dashmap) }
    }

    /// As [`Limit::check`], counting what was asked of all boxes; of this one alone when there is no other, or while Redis does
    /// not answer.
    pub(super) async fn check_all(
        &self,
        fleet: Option<&Fleet>,
        name: &str,
        actor: &str,
        address: IpAddr,
    ) -> Result<(), Limited> {
        if let (Some(fleet), Some(quota)) = (fleet, self.quota) {
            let key = format!("{name}:{actor}:{}", network_of(address));
            if let Some(answer) = fleet.take(&key, quota).await {
                return answer.map_err(|retry_after| Limited { retry_after });
            }
        }
        self.check(actor, address)
    }

    pub(super) fn check(&self, actor: &str, address: IpAddr) -> Result<(), Limited> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if limiter.len() > MAX_CLIENTS {
            limiter.retain_recent();
        }
        let refused = limiter.check_key(&(actor.to_owned(), network_of(address))).err();
        refused
            .map_or(Ok(()), |until| Err(Limited { retry_after: until.wait_time_from(DefaultClock::default().now()) }))
    }
}

/// An IPv6 customer has a whole /64 of addresses to ask from.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    const INTERFACE: u128 = u64::MAX as u128;
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !INTERFACE)),
    }
}
