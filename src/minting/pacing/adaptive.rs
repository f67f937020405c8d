//! The rate of an adaptive pace.
//!
//! What the rate does: it begins where the waves would be, stays there for a quarter of a second, and until a limit is met
//! it doubles every quarter of a second, if the chain keeps up with it. A limit sets it to a bit below what was taken in the
//! last second, which is what the plan allows, but never to less than a tenth of what it was. Each later visit to the limit
//! costs the pause that the endpoint asks for, so that it is looked for slowly: by 1 % of it a second as long as it was seen
//! only from far above, where other clients may have had their share of it, and by 0.15 % once it was met at full speed.
//! When the rate has passed it unharmed, the limit is forgotten, and the rate grows by half every second. A call that takes
//! too long, or a read that is turned away, halves the rate, and it comes back by a tenth of the limit a second. It is set
//! back once a second at most, and never by sends that were on their way already when it was. An answer that is lost says
//! nothing about the plan, and changes nothing.
//!
//! Plans count sends alone, or calls of any kind. Once a read was turned away, reads are taken out of the rate too: they go
//! first, for without them nothing is signed or settled, and sends have what they leave. Then each kind of question is asked
//! less often as well ([`Adaptive::pause`]).

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::super::Backoff;
use crate::estimate::{MOST_PER_SECOND, Pacing};

/// The slowest that is sent.
pub(super) const LEAST_PER_SECOND: f64 = 1.0;
/// Sends that may go at once because none did for a while, as time.
const BURST: Duration = Duration::from_millis(50);
/// By how much a timer may ring late and the rate is kept all the same.
const LATE: Duration = Duration::from_millis(10);
/// Time over which the sends that were taken are counted.
const COUNTED: Duration = Duration::from_secs(1);
/// How long it stays at the rate that it begins with.
const STAY: Duration = Duration::from_millis(250);
/// How long a send is remembered: the time that it is counted, and that of an answer.
const REMEMBERED: Duration = Duration::from_secs(4);
/// Share of a known limit at which it goes on.
const BELOW_LIMIT: f64 = 0.96;
/// A limit is never taken to be less than this share of the rate that met it: other clients may have used most of the plan.
const LOWEST_LIMIT: f64 = 0.1;
/// Share of what was taken in the last second that is taken to be the limit, while that is looked for.
const BELOW_COUNT: f64 = 0.9;
const MANY: f64 = 25.0;
/// Reads between two looks at their number that are remembered one by one; more is a fault of somebody's.
const MOST_READS: usize = 1_000;
/// A limit that is met again so soon was taken to be too high.
const SOON_AGAIN: Duration = Duration::from_secs(4);
/// Share of the rate that was really taken in the last second when a limit is known well.
const FULL_SPEED: f64 = 0.8;
/// Growth a second, as shares of the rate: until a limit is met for the first time, and later without a known limit.
const FIRST_GROWTH: f64 = 2.8;
const FREE_GROWTH: f64 = 0.5;
/// Growth a second, as shares of the limit: far below it, close to one that was seen from far above, and close to one that was
/// met at full speed.
const FAR_GROWTH: f64 = 0.1;
const UNSURE_GROWTH: f64 = 0.01;
const NEAR_GROWTH: f64 = 0.0015;
/// No growth is slower than this, in sends a second.
const LEAST_GROWTH: f64 = 0.002;
/// The share of a plan that one kind of question should take, and how long it is put off for that at most.
const SHARE_OF_A_QUESTION: f64 = 0.05;
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// Of what a plan allows, sends always have so much, whatever is read.
const LEAST_FOR_SENDS: f64 = 0.25;
/// Transactions that are worth signing ahead before the endpoints have taken any; a second chunk of them is signed meanwhile.
const UNPROVEN: usize = 15;
/// Faults in a row that are an outage rather than bad luck.
pub(super) const OUTAGE: u32 = 3;

/// A rate that looks for what the endpoints bear.
#[derive(Debug)]
pub(in crate::minting) struct Adaptive {
    pub(super) rate: f64,
    /// What the endpoints were found to bear.
    limit: Option<f64>,
    /// The limit was met at full speed.
    is_sure: bool,
    /// The rate has grown without a limit since it was last set back.
    is_free: bool,
    /// Sends that were taken so far.
    taken: usize,
    /// When the first one was.
    first_taken: Option<Instant>,
    pub(super) tokens: f64,
    pub(super) refilled: Instant,
    grown: Instant,
    /// When the rate was last set back.
    set_back: Option<Instant>,
    /// When sends began, without those that were turned away.
    begun: VecDeque<Instant>,
    /// The plan counts reads too.
    counts_reads: bool,
    /// When reads were seen, and how many there ever were.
    reads: VecDeque<Instant>,
    reads_seen: u64,
    reads_noted: Instant,
    /// Reads that are still to be taken out of the rate.
    owed: f64,
    pub(super) faults: u32,
    pub(super) paused_until: Instant,
    pub(super) backoff: Backoff,
}

impl Adaptive {
    pub(super) fn new(pacing: Pacing, now: Instant) -> Self {
        Self {
            rate: pacing.initial_rate(),
            limit: None,
            is_sure: false,
            is_free: false,
            taken: 0,
            first_taken: None,
            tokens: 1.0,
            refilled: now,
            grown: now,
            set_back: None,
            begun: VecDeque::new(),
            counts_reads: false,
            reads: VecDeque::new(),
            reads_seen: 0,
            reads_noted: now,
            owed: 0.0,
            faults: 0,
            paused_until: now,
            backoff: Backoff::default(),
        }
    }

    pub(super) fn burst(&self) -> f64 {
        (self.rate * BURST.as_secs_f64()).max(self.rate.mul_add(LATE.as_secs_f64(), 1.0))
    }

    /// Transactions that are worth signing ahead: a second of them, or two, but not many more than have proven to be taken. Those
    /// that an endpoint does not take in time die in the queue, and must be proven dead before they are signed again.
    pub(super) fn ahead(&self) -> usize {
        let proven = self.taken.saturating_mul(2).saturating_add(UNPROVEN);
        // Every look at the chain before signing is a call, however few it is about.
        let seconds = if self.counts_reads { 2.0 } else { 1.0 };
        whole((self.send_rate() * seconds).ceil()).min(if self.limit.is_some() { usize::MAX } else { proven })
    }

    pub(super) fn take(&mut self, wanted: usize, now: Instant) -> usize {
        if now < self.paused_until {
            return 0;
        }
        // Pauses count too: others that pause the endpoint again and again must not starve what is to be sent.
        let refill = now.saturating_duration_since(self.refilled).as_secs_f64() * self.rate;
        let for_reads = self.owed.min(refill * (1.0 - LEAST_FOR_SENDS));
        self.owed -= for_reads;
        self.tokens = (self.tokens + refill - for_reads).min(self.burst());
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

    /// From the last refill until there is something to send for.
    pub(super) fn refilled_in(&self) -> Duration {
        let missing = (1.0 - self.tokens).max(0.0);
        Duration::from_secs_f64(((missing + self.owed) / self.rate).min(missing / (self.rate * LEAST_FOR_SENDS)))
    }

    /// Notes how many reads there were until now.
    pub(super) fn note_reads(&mut self, reads: u64, now: Instant) {
        let new = usize::try_from(reads.saturating_sub(self.reads_seen)).unwrap_or(usize::MAX);
        // Nobody looked while nothing was sent: of what was read in that time, its last second is what counts now.
        let seconds = now.saturating_duration_since(self.reads_noted).as_secs_f64().max(1.0);
        (self.reads_seen, self.reads_noted) = (reads, now);
        let lately = counted(new) / seconds;
        let lately = if lately < 1.0 { 0 } else { whole(lately).min(MOST_READS) };
        self.reads.extend(std::iter::repeat_n(now, lately));
        self.forget(now);
        if self.counts_reads {
            self.owed = (self.owed + counted(new)).min(self.rate * REMEMBERED.as_secs_f64());
        }
    }

    /// What the rate leaves for sends.
    pub(super) fn send_rate(&self) -> f64 {
        if !self.counts_reads {
            return self.rate;
        }
        let reads = counted(self.reads.len()) / REMEMBERED.as_secs_f64();
        (self.rate - reads).max(self.rate * LEAST_FOR_SENDS)
    }

    /// A read that began then was turned away.
    pub(super) fn read_turned_away(&mut self, began: Instant, now: Instant) {
        if !self.counts_reads {
            self.counts_reads = true;
            // What was found for sends alone was borne beside these.
            let beside = self.reads_before(began).min(self.rate);
            self.rate = (self.rate + beside).min(MOST_PER_SECOND);
            self.limit = self.limit.map(|limit| limit + beside);
        }
        self.overloaded(began, now);
    }

    /// The least time between two questions of one kind.
    pub(super) fn pause(&self) -> Duration {
        if !self.counts_reads {
            return Duration::ZERO;
        }
        Duration::from_secs_f64((self.rate * SHARE_OF_A_QUESTION).recip()).min(LONGEST_PAUSE)
    }

    fn turned_away(&mut self, began: Instant) {
        if let Some(at) = self.begun.iter().rposition(|at| *at <= began) {
            self.begun.remove(at);
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.begun.front().is_some_and(|at| now.saturating_duration_since(*at) > REMEMBERED) {
            self.begun.pop_front();
        }
        while self.reads.front().is_some_and(|at| now.saturating_duration_since(*at) > REMEMBERED) {
            self.reads.pop_front();
        }
    }

    pub(super) fn grow(&mut self, more: bool, now: Instant) {
        // Time in which nothing was sent proves nothing.
        let usual = (1.5 / self.send_rate()).max(0.1);
        let passed = now.saturating_duration_since(self.grown).as_secs_f64().min(usual);
        self.grown = now;
        self.taken = self.taken.saturating_add(1);
        let begun = *self.first_taken.get_or_insert(now);
        if now.saturating_duration_since(begun) < STAY
            || !more
            || self.set_back.is_some_and(|at| now.saturating_duration_since(at) < COUNTED)
        {
            return;
        }
        let a_second = match self.limit {
            Some(limit) if self.rate > limit * 1.05 => {
                self.limit = None;
                self.rate * FREE_GROWTH
            }
            None if self.set_back.is_none() => self.rate * FIRST_GROWTH,
            None => self.rate * FREE_GROWTH,
            Some(limit) if self.rate < limit * 0.9 => limit * FAR_GROWTH,
            Some(limit) => {
                let share = if self.is_sure { NEAR_GROWTH } else { UNSURE_GROWTH };
                (limit * share).max(LEAST_GROWTH)
            }
        };
        self.is_free = self.limit.is_none();
        self.rate = a_second.mul_add(passed, self.rate).min(MOST_PER_SECOND);
    }

    /// A send that began then was turned away. Returns whether it was news.
    pub(super) fn limited(&mut self, began: Instant, now: Instant) -> bool {
        self.turned_away(began);
        if !self.is_news(began, now) {
            return false;
        }
        let taken = self.taken_before(began, now);
        self.is_sure = taken >= self.rate * FULL_SPEED;
        // A second of ours is part of two of the endpoint's own: at a rate that grew or fell just now, it counts too many. Of a
        // few, one more or less is no matter.
        let is_new = taken >= MANY
            && (self.is_free || self.set_back.is_some_and(|at| now.saturating_duration_since(at) < SOON_AGAIN));
        let borne = if is_new { taken * BELOW_COUNT } else { taken };
        let borne = borne.clamp(self.rate * LOWEST_LIMIT, self.rate).max(LEAST_PER_SECOND);
        // What is more than was taken is a guess, and no limit.
        self.fall(borne, borne <= taken.max(LEAST_PER_SECOND), now);
        true
    }

    /// A call that began then shows that it is too much; by how much is not known.
    pub(super) fn overloaded(&mut self, began: Instant, now: Instant) {
        if self.is_news(began, now) {
            let borne = self.taken_before(began, now).clamp(self.rate * 0.5, self.rate).max(LEAST_PER_SECOND);
            self.is_sure = false;
            self.fall(borne, true, now);
        }
    }

    fn is_news(&self, began: Instant, now: Instant) -> bool {
        !self.set_back.is_some_and(|at| began <= at || now.saturating_duration_since(at) < COUNTED)
    }

    /// What was sent in the second before the one that was turned away, which may have been answered before them.
    fn taken_before(&mut self, began: Instant, now: Instant) -> f64 {
        self.forget(now);
        let reads = if self.counts_reads { self.reads_before(began) } else { 0.0 };
        in_the_second_before(&self.begun, began) + reads
    }

    fn reads_before(&self, began: Instant) -> f64 {
        in_the_second_before(&self.reads, began)
    }

    fn fall(&mut self, borne: f64, is_limit: bool, now: Instant) {
        self.limit = is_limit.then_some(borne);
        self.is_free = false;
        self.rate = (borne * BELOW_LIMIT).max(LEAST_PER_SECOND);
        self.tokens = self.tokens.min(1.0);
        self.set_back = Some(now);
    }
}

fn in_the_second_before(times: &VecDeque<Instant>, began: Instant) -> f64 {
    counted(times.iter().filter(|at| **at <= began && began.saturating_duration_since(**at) < COUNTED).count())
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
