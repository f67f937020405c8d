//! The rate of an adaptive pace.
//!
//! What the rate does: as long as no limit is known it grows by a quarter a second. A limit sets it to a bit below what was
//! taken in the last second, which is what the plan allows, but not to less than half of what it was. From there it grows
//! slowly, by 0.15 % of that limit a second: each visit to the limit costs the pause that the endpoint asks for. Far
//! below the limit it grows by a tenth of it a second, and when it has passed the limit unharmed, that is forgotten. It is
//! set back once a second at most, and never by sends that were on their way already when it was.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::super::Backoff;
use crate::estimate::{MOST_PER_SECOND, Pacing};

/// The slowest that is sent.
pub(super) const LEAST_PER_SECOND: f64 = 1.0;
/// Sends that may go at once because none did for a while, as time.
const BURST: Duration = Duration::from_millis(50);
/// Time over which the sends that were taken are counted.
const COUNTED: Duration = Duration::from_secs(1);
/// How long a send is remembered: the time that it is counted, and that of an answer.
const REMEMBERED: Duration = Duration::from_secs(4);
/// Share of a known limit at which it goes on.
const BELOW_LIMIT: f64 = 0.96;
/// Growth a second: without a known limit, as a share of the rate; far below one and close to one, as shares of it.
const FREE_GROWTH: f64 = 0.25;
const FAR_GROWTH: f64 = 0.1;
const NEAR_GROWTH: f64 = 0.0015;
/// No growth is slower than this, in sends a second.
const LEAST_GROWTH: f64 = 0.02;
/// Sends that must be taken before the rate at which it begins is more than a guess.
const PROOF: u32 = 8;
/// Faults in a row that are an outage rather than bad luck.
pub(super) const OUTAGE: u32 = 3;

/// A rate that looks for what the endpoints bear.
#[derive(Debug)]
pub(in crate::minting) struct Adaptive {
    pub(super) rate: f64,
    /// What the endpoints were found to bear.
    limit: Option<f64>,
    pub(super) tokens: f64,
    pub(super) refilled: Instant,
    grown: Instant,
    /// When the rate was last set back.
    set_back: Option<Instant>,
    /// When sends began, without those that were turned away.
    begun: VecDeque<Instant>,
    /// Sends that were taken so far.
    pub(super) borne: u32,
    pub(super) faults: u32,
    pub(super) paused_until: Instant,
    pub(super) backoff: Backoff,
}

impl Adaptive {
    pub(super) fn new(pacing: Pacing, now: Instant) -> Self {
        Self {
            rate: pacing.initial_rate(),
            limit: None,
            tokens: 1.0,
            refilled: now,
            grown: now,
            set_back: None,
            begun: VecDeque::new(),
            borne: 0,
            faults: 0,
            paused_until: now,
            backoff: Backoff::default(),
        }
    }

    pub(super) fn is_proven(&self) -> bool {
        self.borne >= PROOF || self.set_back.is_some()
    }

    pub(super) fn burst(&self) -> f64 {
        (self.rate * BURST.as_secs_f64()).max(1.0)
    }

    pub(super) fn take(&mut self, wanted: usize, now: Instant) -> usize {
        if now < self.paused_until {
            return 0;
        }
        // Pauses count too: others that pause the endpoint again and again must not starve what is to be sent.
        let passed = now.saturating_duration_since(self.refilled);
        self.tokens = passed.as_secs_f64().mul_add(self.rate, self.tokens).min(self.burst());
        self.refilled = now;
        // A timer that rings a rounding error early must not ring again at once.
        if self.tokens < 0.999 {
            return 0;
        }
        let taken = whole(self.tokens + 0.001).min(wanted);
        self.tokens = (self.tokens - counted(taken)).max(0.0);
        self.forget(now);
        self.begun.extend(std::iter::repeat_n(now, taken));
        taken
    }

    /// A send that began then was not taken.
    pub(super) fn turned_away(&mut self, began: Instant) {
        if let Some(at) = self.begun.iter().rposition(|at| *at <= began) {
            self.begun.remove(at);
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.begun.front().is_some_and(|at| now.saturating_duration_since(*at) > REMEMBERED) {
            self.begun.pop_front();
        }
    }

    pub(super) fn grow(&mut self, more: bool, now: Instant) {
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
            Some(limit) => (limit * NEAR_GROWTH).max(LEAST_GROWTH),
        };
        self.rate = a_second.mul_add(passed, self.rate).min(MOST_PER_SECOND);
    }

    /// Returns whether it was news.
    pub(super) fn set_back(&mut self, began: Instant, now: Instant) -> bool {
        if self.set_back.is_some_and(|at| began <= at || now.saturating_duration_since(at) < COUNTED) {
            return false;
        }
        self.forget(now);
        // What was sent in the second before the one that was turned away, which may have been answered before them.
        let counts = |at: &&Instant| **at <= began && began.saturating_duration_since(**at) < COUNTED;
        let borne =
            counted(self.begun.iter().filter(counts).count()).clamp(self.rate * 0.5, self.rate).max(LEAST_PER_SECOND);
        self.limit = Some(borne);
        self.rate = (borne * BELOW_LIMIT).max(LEAST_PER_SECOND);
        self.tokens = self.tokens.min(1.0);
        self.set_back = Some(now);
        true
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred at most")]
pub(super) fn counted(count: usize) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few hundred at most, and never negative"
)]
pub(super) fn whole(count: f64) -> usize {
    count.max(1.0) as usize
}
