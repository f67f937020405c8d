//! How fast transactions are handed over. Pure: it is told the time, and what came of each send.
//!
//! - **Fixed**: waves of `MAX_BATCH_SIZE` with `BATCH_DELAY_MS` between them, whatever the endpoints bear; after a fault
//!   everything pauses.
//! - **Adaptive**: single sends, evenly spaced, at a rate that begins where the waves would be and finds what the endpoints
//!   bear. It grows while sends are taken and more of them wait; a limit or a timeout sets it back.
//!
//! What the rate does: as long as no limit is known it grows by a quarter a second. A limit sets it to a bit below what was
//! taken in the last second, which is what the plan allows, but not to less than half of what it was. From there it grows
//! slowly, a four hundredth of that limit a second: each visit to the limit costs the pause that the endpoint asks for. Far
//! below the limit it grows by a tenth of it a second, and when it has passed the limit unharmed, that is forgotten. Sends that
//! were on their way already when the rate was set back are no news.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::Backoff;
use crate::estimate::Pacing;

/// The slowest that is sent.
const LEAST_PER_SECOND: f64 = 1.0;
/// Sends under way at once with a fixed pace; more only queue up at the endpoint.
const FIXED_PARALLEL: usize = 64;
/// The same with an adaptive pace, which keeps to the rate that the endpoint bears: room for the highest one at 300 ms.
const ADAPTIVE_PARALLEL: usize = 128;
/// Sends that may go at once because none did for a while, as time.
const BURST: Duration = Duration::from_millis(50);
/// Time over which the sends that were taken are counted.
const COUNTED: Duration = Duration::from_secs(1);
/// Share of a known limit at which it goes on.
const BELOW_LIMIT: f64 = 0.95;
/// Growth a second: without a known limit, as a share of the rate; far below one and close to one, as shares of it.
const FREE_GROWTH: f64 = 0.25;
const FAR_GROWTH: f64 = 0.1;
const NEAR_GROWTH: f64 = 0.0025;
/// Faults in a row that are an outage rather than bad luck.
const OUTAGE: u32 = 3;

/// What to do with a transaction whose send came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It goes back to the head of the queue.
    SendAgain,
    /// It may have arrived. It is sent again if nothing is heard of it.
    Wait,
}

/// The pace of one box.
#[derive(Debug)]
pub(super) enum Pacer {
    /// `PACING=fixed`.
    Fixed(Fixed),
    /// `PACING=adaptive`.
    Adaptive(Adaptive),
}

/// Waves.
#[derive(Debug)]
pub(super) struct Fixed {
    pacing: Pacing,
    next_wave: Instant,
    paused_until: Instant,
    backoff: Backoff,
}

/// A rate that looks for what the endpoints bear.
#[derive(Debug)]
pub(super) struct Adaptive {
    rate: f64,
    most: f64,
    /// What the endpoints were found to bear.
    limit: Option<f64>,
    tokens: f64,
    refilled: Instant,
    grown: Instant,
    /// When the rate was last set back.
    set_back: Option<Instant>,
    /// When sends were taken, within the last second.
    taken: VecDeque<Instant>,
    faults: u32,
    paused_until: Instant,
    backoff: Backoff,
}

impl Pacer {
    pub(super) fn new(pacing: Pacing, now: Instant) -> Self {
        if !pacing.adaptive {
            return Self::Fixed(Fixed { pacing, next_wave: now, paused_until: now, backoff: Backoff::default() });
        }
        Self::Adaptive(Adaptive {
            rate: pacing.initial_rate(),
            most: crate::estimate::MOST_PER_SECOND,
            limit: None,
            tokens: 1.0,
            refilled: now,
            grown: now,
            set_back: None,
            taken: VecDeque::new(),
            faults: 0,
            paused_until: now,
            backoff: Backoff::default(),
        })
    }

    /// Sends a second that are allowed now.
    pub(super) fn rate(&self) -> f64 {
        match self {
            Self::Fixed(fixed) => fixed.pacing.initial_rate(),
            Self::Adaptive(adaptive) => adaptive.rate,
        }
    }

    /// Sends that may be under way at once.
    pub(super) fn parallel(&self) -> usize {
        match self {
            Self::Fixed(_) => FIXED_PARALLEL,
            Self::Adaptive(_) => ADAPTIVE_PARALLEL,
        }
    }

    /// Transactions to have at hand.
    pub(super) fn at_hand(&self) -> usize {
        match self {
            Self::Fixed(fixed) => fixed.pacing.wave_size,
            Self::Adaptive(adaptive) => whole(adaptive.burst()),
        }
    }

    /// When the next transaction may be sent.
    pub(super) fn next(&self) -> Instant {
        match self {
            Self::Fixed(fixed) => fixed.next_wave,
            Self::Adaptive(adaptive) => {
                let missing = Duration::from_secs_f64((1.0 - adaptive.tokens).max(0.0) / adaptive.rate);
                (adaptive.refilled + missing).max(adaptive.paused_until)
            }
        }
    }

    /// How many of `wanted` transactions may be sent now.
    pub(super) fn take(&mut self, wanted: usize, now: Instant) -> usize {
        match self {
            Self::Fixed(fixed) => {
                fixed.next_wave = now + fixed.pacing.wave_gap;
                wanted.min(fixed.pacing.wave_size)
            }
            Self::Adaptive(adaptive) => adaptive.take(wanted, now),
        }
    }

    /// A send was taken; `more` of them wait, and only the rate keeps them back.
    pub(super) fn taken(&mut self, more: bool, now: Instant) {
        match self {
            Self::Fixed(fixed) => fixed.backoff.reset(),
            Self::Adaptive(adaptive) => {
                adaptive.arrived(now);
                adaptive.backoff.reset();
                adaptive.grow(more, now);
            }
        }
    }

    /// The endpoints limit the rate, as a call that began at `began` was told.
    pub(super) fn limited(&mut self, began: Instant, asked: Option<Duration>, now: Instant) {
        match self {
            Self::Fixed(fixed) => fixed.pause(asked.unwrap_or_default(), now),
            Self::Adaptive(adaptive) => {
                if adaptive.set_back(began, now) {
                    let pause = asked.unwrap_or_else(|| adaptive.backoff.next());
                    adaptive.paused_until = adaptive.paused_until.max(now + pause);
                } else if let Some(asked) = asked {
                    adaptive.paused_until = adaptive.paused_until.max(now + asked);
                }
            }
        }
    }

    /// A send that began at `began` was not answered in time.
    pub(super) fn timed_out(&mut self, began: Instant, now: Instant) -> Then {
        if let Self::Adaptive(adaptive) = self {
            adaptive.set_back(began, now);
        }
        self.failed(now)
    }

    /// A send failed on its way there or back.
    pub(super) fn failed(&mut self, now: Instant) -> Then {
        match self {
            Self::Fixed(fixed) => {
                fixed.pause(Duration::ZERO, now);
                Then::SendAgain
            }
            Self::Adaptive(adaptive) => {
                adaptive.faults = adaptive.faults.saturating_add(1);
                if adaptive.faults < OUTAGE {
                    adaptive.count(now);
                    return Then::Wait;
                }
                // Of sends that fail together, only the first makes the pause longer.
                if adaptive.paused_until <= now {
                    adaptive.paused_until = now + adaptive.backoff.next();
                }
                Then::SendAgain
            }
        }
    }

    /// Whether faults have become an outage, which is worth telling.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Fixed(_) => true,
            Self::Adaptive(adaptive) => adaptive.faults >= OUTAGE,
        }
    }

    /// What the calls of all parts of the box have found out: a read that began then was turned away, and until then nobody is
    /// to be asked. Fixed waves are sent all the same.
    pub(super) fn heed(&mut self, limited_read: Option<Instant>, until: Option<Instant>, now: Instant) {
        let Self::Adaptive(adaptive) = self else { return };
        if let Some(began) = limited_read {
            adaptive.set_back(began, now);
        }
        adaptive.paused_until = until.map_or(adaptive.paused_until, |until| until.max(adaptive.paused_until));
    }
}

impl Fixed {
    /// Of a wave that fails together, only the first failure makes the pause longer.
    fn pause(&mut self, at_least: Duration, now: Instant) {
        let until = if now < self.paused_until { self.paused_until } else { now + self.backoff.next() };
        self.paused_until = self.paused_until.max(until).max(now + at_least);
        self.next_wave = self.next_wave.max(self.paused_until);
    }
}

impl Adaptive {
    fn burst(&self) -> f64 {
        (self.rate * BURST.as_secs_f64()).max(1.0)
    }

    fn take(&mut self, wanted: usize, now: Instant) -> usize {
        if now < self.paused_until {
            return 0;
        }
        let passed = now.saturating_duration_since(self.refilled.max(self.paused_until));
        self.tokens = passed.as_secs_f64().mul_add(self.rate, self.tokens).min(self.burst());
        self.refilled = now;
        // A timer that rings a rounding error early must not ring again at once.
        if self.tokens < 0.999 {
            return 0;
        }
        let taken = whole(self.tokens + 0.001).min(wanted);
        self.tokens = (self.tokens - counted(taken)).max(0.0);
        taken
    }

    fn arrived(&mut self, now: Instant) {
        self.faults = 0;
        self.count(now);
    }

    fn count(&mut self, now: Instant) {
        self.taken.push_back(now);
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        while self.taken.front().is_some_and(|at| now.saturating_duration_since(*at) > COUNTED) {
            self.taken.pop_front();
        }
    }

    fn grow(&mut self, more: bool, now: Instant) {
        // Time in which nothing was sent proves nothing.
        let passed = now.saturating_duration_since(self.grown).as_secs_f64().min(0.1);
        self.grown = now;
        if !more || self.set_back.is_some_and(|at| now.saturating_duration_since(at) < COUNTED) {
            return;
        }
        let a_second = match self.limit {
            Some(limit) if self.rate > limit * 1.05 => {
                self.limit = None;
                self.rate * FREE_GROWTH
            }
            None => self.rate * FREE_GROWTH,
            Some(limit) if self.rate < limit * 0.9 => limit * FAR_GROWTH,
            Some(limit) => limit * NEAR_GROWTH,
        };
        self.rate = a_second.mul_add(passed, self.rate).min(self.most);
    }

    /// Returns whether it was news.
    fn set_back(&mut self, began: Instant, now: Instant) -> bool {
        if self.set_back.is_some_and(|at| began <= at) {
            return false;
        }
        self.forget(now);
        let borne = counted(self.taken.len()).clamp(self.rate * 0.5, self.rate).max(LEAST_PER_SECOND);
        self.limit = Some(borne);
        self.rate = (borne * BELOW_LIMIT).max(LEAST_PER_SECOND);
        self.tokens = self.tokens.min(1.0);
        self.set_back = Some(now);
        true
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred at most")]
fn counted(count: usize) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few hundred at most, and never negative"
)]
fn whole(count: f64) -> usize {
    count.max(1.0) as usize
}
