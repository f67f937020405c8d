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
//! below the limit it grows by a tenth of it a second, and when it has passed the limit unharmed, that is forgotten. It is
//! set back once a second at most, and never by sends that were on their way already when it was.

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
/// No growth is slower than this, in sends a second.
const LEAST_GROWTH: f64 = 0.02;
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
            Some(limit) => (limit * NEAR_GROWTH).max(LEAST_GROWTH),
        };
        self.rate = a_second.mul_add(passed, self.rate).min(self.most);
    }

    /// Returns whether it was news.
    fn set_back(&mut self, began: Instant, now: Instant) -> bool {
        if self.set_back.is_some_and(|at| began <= at || now.saturating_duration_since(at) < COUNTED) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const LATENCY: u64 = 200;

    fn pacing(adaptive: bool) -> Pacing {
        Pacing { wave_size: 10, wave_gap: ms(100), slot: ms(400), adaptive }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// An endpoint that takes so many sends in each second, and says 429 to all others.
    struct Plan {
        limit: usize,
        retry_after: Option<Duration>,
        window: u64,
        count: usize,
        turned_away: usize,
    }

    impl Plan {
        fn new(limit: usize, retry_after: Option<Duration>) -> Self {
            Self { limit, retry_after, window: 0, count: 0, turned_away: 0 }
        }

        fn takes(&mut self, at_ms: u64) -> bool {
            if at_ms / 1_000 != self.window {
                (self.window, self.count) = (at_ms / 1_000, 0);
            }
            self.count += 1;
            let takes = self.count <= self.limit;
            self.turned_away += usize::from(!takes);
            takes
        }
    }

    /// Sends for so many seconds, with more waiting all the time; returns how many were taken.
    fn run(pacer: &mut Pacer, plan: &mut Plan, start: Instant, seconds: std::ops::Range<u64>) -> usize {
        let mut under_way: VecDeque<(u64, bool)> = VecDeque::new();
        let mut taken = 0;
        for now_ms in seconds.start * 1_000..seconds.end * 1_000 {
            let now = start + ms(now_ms);
            while under_way.front().is_some_and(|(began, _)| began + LATENCY <= now_ms) {
                let (began, takes) = under_way.pop_front().unwrap();
                if takes {
                    taken += 1;
                    pacer.taken(true, now);
                } else {
                    pacer.limited(start + ms(began), plan.retry_after, now);
                }
            }
            if pacer.next() <= now {
                let room = pacer.parallel() - under_way.len();
                for _ in 0..pacer.take(room, now) {
                    under_way.push_back((now_ms, plan.takes(now_ms)));
                }
            }
        }
        taken
    }

    #[test]
    fn an_adaptive_pace_finds_what_a_plan_allows_and_follows_it() {
        for retry_after in [None, Some(ms(1_000))] {
            for limit in [1, 5, 20, 100, 300] {
                let start = Instant::now();
                let (mut pacer, mut plan) = (Pacer::new(pacing(true), start), Plan::new(limit, retry_after));
                run(&mut pacer, &mut plan, start, 0..20);
                plan.turned_away = 0;
                let taken = run(&mut pacer, &mut plan, start, 20..120);
                let share = taken * 100 / (limit * 100);
                assert!(share >= 90, "{share} % of {limit}/s, {retry_after:?}: {pacer:?}");
                assert!(plan.turned_away * 20 <= taken.max(400), "{} of {taken} were turned away", plan.turned_away);
                assert!(pacer.rate() >= LEAST_PER_SECOND && pacer.rate() <= limit as f64 * 1.3 + 1.0, "{pacer:?}");
                // A better plan, and a worse one.
                plan.limit = limit * 3;
                run(&mut pacer, &mut plan, start, 120..200);
                let taken = run(&mut pacer, &mut plan, start, 200..210);
                let best = (limit * 3).min(400) * 10;
                assert!(taken * 100 / best >= 75, "{taken} of {best} after a rise: {pacer:?}");
                plan.limit = limit;
                run(&mut pacer, &mut plan, start, 210..230);
                let taken = run(&mut pacer, &mut plan, start, 230..240);
                assert!(taken * 100 / (limit * 10) >= 80, "{taken} after a fall from {limit}: {pacer:?}");
            }
        }
    }

    #[test]
    fn nothing_holds_it_back_below_what_a_box_can_do() {
        let start = Instant::now();
        let (mut pacer, mut plan) = (Pacer::new(pacing(true), start), Plan::new(usize::MAX, None));
        assert!((pacer.rate() - 100.0).abs() < 0.1, "it begins where the waves would be");
        run(&mut pacer, &mut plan, start, 0..10);
        assert!((pacer.rate() - crate::estimate::MOST_PER_SECOND).abs() < 0.1);
        assert!(run(&mut pacer, &mut plan, start, 10..12) >= 780);
    }

    #[test]
    fn sends_are_spread_and_idle_time_is_not_saved_up() {
        let start = Instant::now();
        let mut pacer = Pacer::new(pacing(true), start);
        assert_eq!(pacer.take(50, start), 1);
        assert_eq!(pacer.take(50, start), 0);
        assert_eq!(pacer.next(), start + ms(10));
        assert_eq!(pacer.take(50, start + ms(10)), 1);
        assert_eq!(pacer.take(50, start + ms(10_000)), 5, "50 ms of it");
    }

    #[test]
    fn what_is_no_news_does_not_set_it_back() {
        let start = Instant::now();
        let mut pacer = Pacer::new(pacing(true), start);
        let later = start + ms(5_000);
        pacer.limited(later, None, later + ms(200));
        let rate = pacer.rate();
        assert!((rate - 47.5).abs() < 0.1, "half, for nothing was taken yet: {rate}");
        for began in [later - ms(100), later, later + ms(200), later + ms(900)] {
            pacer.limited(began, None, later + ms(1_100));
        }
        assert!((pacer.rate() - rate).abs() < 0.001);
        // A read that was turned away counts as well, and everybody's pause is kept.
        let until = later + ms(9_000);
        pacer.heed(Some(later + ms(3_000)), Some(until), later + ms(3_100));
        assert!(pacer.rate() < rate);
        assert_eq!(pacer.next(), until);
        assert_eq!(pacer.take(1, until - ms(1)), 0);
        assert_eq!(pacer.take(1, until), 1);
    }

    #[test]
    fn lost_answers_are_no_limit_and_an_outage_is_a_pause() {
        let start = Instant::now();
        let mut pacer = Pacer::new(pacing(true), start);
        assert_eq!((pacer.failed(start), pacer.failed(start)), (Then::Wait, Then::Wait));
        pacer.taken(false, start);
        assert_eq!((pacer.failed(start), pacer.failed(start)), (Then::Wait, Then::Wait));
        assert!(!pacer.is_outage());
        assert_eq!(pacer.failed(start), Then::SendAgain);
        assert!(pacer.is_outage());
        assert_eq!(pacer.next(), start + Backoff::FIRST);
        assert_eq!(pacer.failed(start + ms(10)), Then::SendAgain);
        assert_eq!(pacer.next(), start + Backoff::FIRST, "one pause for those that fail together");
        assert!((pacer.rate() - 100.0).abs() < 0.1);
        pacer.timed_out(start + ms(300), start + ms(15_300));
        assert!(pacer.rate() < 51.0, "a timeout is a sign that it is too much");
    }

    #[test]
    fn fixed_waves_are_those_of_the_settings() {
        let start = Instant::now();
        let mut pacer = Pacer::new(pacing(false), start);
        assert_eq!((pacer.next(), pacer.take(64, start)), (start, 10));
        assert_eq!(pacer.next(), start + ms(100));
        pacer.taken(true, start + ms(50));
        assert_eq!(pacer.take(3, start + ms(100)), 3);
        assert_eq!(pacer.next(), start + ms(200));
        // Of a wave that fails together only the first makes the pause longer; the rate stays what it is.
        assert_eq!(pacer.failed(start + ms(120)), Then::SendAgain);
        assert_eq!(pacer.failed(start + ms(121)), Then::SendAgain);
        assert_eq!(pacer.next(), start + ms(120) + Backoff::FIRST);
        pacer.limited(start + ms(100), Some(ms(2_000)), start + ms(130));
        pacer.heed(Some(start), Some(start + ms(60_000)), start + ms(130));
        assert_eq!(pacer.next(), start + ms(2_130));
        assert!((pacer.rate() - 100.0).abs() < 0.1);
    }
}
