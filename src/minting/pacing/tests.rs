//! The pace against plans that are played with a clock of their own.

#![expect(clippy::arithmetic_side_effects, reason = "a test that goes wrong should panic where it does")]

use std::collections::VecDeque;

use super::{
    adaptive::{LEAST_PER_SECOND, counted},
    *,
};

const LATENCY: u64 = 200;

fn pacing(adaptive: bool) -> Pacing {
    Pacing { wave_size: 10, wave_gap: ms(100), slot: ms(400), adaptive }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Transactions with one ticket each.
fn singles(count: usize) -> impl Iterator<Item = usize> {
    std::iter::repeat_n(1, count)
}

/// An endpoint that takes so many sends in each second, and says 429 to all others.
struct Plan {
    limit: usize,
    retry_after: Option<Duration>,
    window: u64,
    count: usize,
    turned_away: usize,
    count_of_all: usize,
    strain: Strain,
}

impl Plan {
    fn new(limit: usize, retry_after: Option<Duration>) -> Self {
        Self { limit, retry_after, window: 0, count: 0, turned_away: 0, count_of_all: 0, strain: Strain::default() }
    }

    fn takes(&mut self, at_ms: u64) -> bool {
        if at_ms / 1_000 != self.window {
            (self.window, self.count) = (at_ms / 1_000, 0);
        }
        self.count += 1;
        self.count_of_all += 1;
        let takes = self.count <= self.limit;
        self.turned_away += usize::from(!takes);
        takes
    }
}

/// Sends for so many seconds, with more waiting all the time; returns how many were taken.
fn run(pacer: &mut Pacer, plan: &mut Plan, start: Instant, seconds: std::ops::Range<u64>) -> usize {
    run_beside(|_, _| 0, pacer, plan, start, seconds)
}

/// The same beside reads that the plan counts too: so many begin in a millisecond, as long as there is such a time between two
/// questions of one kind.
fn run_beside(
    reads: impl Fn(u64, Duration) -> u64,
    pacer: &mut Pacer,
    plan: &mut Plan,
    start: Instant,
    seconds: std::ops::Range<u64>,
) -> usize {
    let mut read_answers: VecDeque<(u64, bool)> = VecDeque::new();
    let mut under_way: VecDeque<(u64, bool)> = VecDeque::new();
    let mut taken = 0;
    for now_ms in seconds.start * 1_000..seconds.end * 1_000 {
        let now = start + ms(now_ms);
        while under_way.front().is_some_and(|(began, _)| began + LATENCY <= now_ms) {
            let (began, ok) = under_way.pop_front().unwrap();
            if ok {
                taken += 1;
                pacer.taken(true, now);
            } else {
                pacer.limited(start + ms(began), plan.retry_after, now);
            }
        }
        let begun = reads(now_ms, pacer.pause());
        plan.strain.reads += begun;
        read_answers.extend((0..begun).map(|_| (now_ms, plan.takes(now_ms))));
        while let Some((began, ok)) = read_answers.pop_front_if(|(began, _)| *began + LATENCY <= now_ms) {
            if !ok {
                plan.strain.limited_read = Some(start + ms(began));
            }
        }
        pacer.heed(plan.strain, now);
        if pacer.next() <= now {
            let room = pacer.parallel() - under_way.len();
            for _ in 0..pacer.take(singles(room), now) {
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
            let first = run(&mut pacer, &mut plan, start, 0..20);
            let best = (limit * 20).min(400 * 20);
            assert!(first * 100 / best >= 75, "{first} of {best} in the first 20 s: {pacer:?}");
            plan.turned_away = 0;
            let taken = run(&mut pacer, &mut plan, start, 20..120);
            let share = taken * 100 / (limit * 100);
            assert!(share >= if limit == 1 { 90 } else { 92 }, "{share} % of {limit}/s, {retry_after:?}: {pacer:?}");
            assert!(plan.turned_away * 20 <= taken.max(600), "{} of {taken} were turned away", plan.turned_away);
            assert!(pacer.rate() >= LEAST_PER_SECOND && pacer.rate() <= counted(limit) * 1.3 + 1.0, "{pacer:?}");
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

/// Of a plan that counts everything, sends have what reads leave of it.
#[test]
fn reads_that_the_plan_counts_come_out_of_the_rate() {
    // A poll each pause, and one more for what it found; a look-up, a balance and a blockhash with its proof every fourth.
    let reads = |now_ms: u64, pause: Duration| {
        let pause = u64::try_from(pause.as_millis()).unwrap().max(400);
        u64::from(now_ms.is_multiple_of(pause))
            + u64::from(now_ms % pause == LATENCY)
            + if now_ms % (4 * pause) == 7 { 4 } else { 0 }
    };
    for limit in [5, 20, 50] {
        let start = Instant::now();
        let (mut pacer, mut plan) = (Pacer::new(pacing(true), start), Plan::new(limit, None));
        run_beside(reads, &mut pacer, &mut plan, start, 0..10);
        (plan.count_of_all, plan.turned_away) = (0, 0);
        let sent = run_beside(reads, &mut pacer, &mut plan, start, 10..110);
        let Plan { count_of_all: calls, turned_away, .. } = plan;
        assert!(
            (calls - turned_away) * 100 / (limit * 100) >= 90,
            "{calls} of {limit}/s, {turned_away} turned away: {pacer:?}"
        );
        assert!(sent * 100 / (limit * 100) >= 70, "{sent} were sent of {limit}/s: {pacer:?}");
        assert!(turned_away * 100 / calls <= 6, "{turned_away} of {calls} were turned away: {pacer:?}");
    }
}

#[test]
fn reads_of_an_idle_hour_are_no_second_of_a_plan() {
    let start = Instant::now();
    let mut pacer = Pacer::new(pacing(true), start);
    let later = start + ms(3_600_000);
    pacer.heed(Strain { reads: 900, ..Strain::default() }, later);
    let strain = Strain { reads: 901, limited_read: Some(later + ms(10)), ..Strain::default() };
    pacer.heed(strain, later + ms(20));
    assert!(pacer.rate() <= 100.0, "{pacer:?}");
    // A read that is only slow does not say that the plan counts reads.
    let mut pacer = Pacer::new(pacing(true), start);
    pacer.heed(Strain { slow_read: Some(start + ms(10)), ..Strain::default() }, start + ms(15_000));
    assert!(pacer.rate() <= 100.0 && pacer.pause().is_zero(), "{pacer:?}");
}

#[test]
fn nothing_holds_it_back_below_what_a_box_can_do() {
    let start = Instant::now();
    let (mut pacer, mut plan) = (Pacer::new(pacing(true), start), Plan::new(usize::MAX, None));
    assert!((pacer.rate() - 100.0).abs() < 0.1, "it begins where the waves would be");
    run(&mut pacer, &mut plan, start, 0..10);
    assert!((pacer.rate() - crate::estimate::MOST_PER_SECOND).abs() < 0.1, "{pacer:?}");
    assert!(run(&mut pacer, &mut plan, start, 10..20) >= 3_900, "the last of them are on their way");
}

#[test]
fn sends_are_spread_and_idle_time_is_not_saved_up() {
    let start = Instant::now();
    let mut pacer = Pacer::new(pacing(true), start);
    assert_eq!(pacer.take(singles(50), start), 1);
    assert_eq!(pacer.take(singles(50), start), 0);
    assert_eq!(pacer.next(), start + ms(10));
    assert_eq!(pacer.take(singles(50), start + ms(10)), 1);
    assert_eq!(pacer.take(singles(50), start + ms(10_000)), 5, "50 ms of it");
}

#[test]
fn what_is_no_news_does_not_set_it_back() {
    let start = Instant::now();
    let mut pacer = Pacer::new(pacing(true), start);
    let later = start + ms(5_000);
    pacer.limited(later, None, later + ms(200));
    let rate = pacer.rate();
    assert!((rate - 9.6).abs() < 0.1, "a tenth, for nothing was taken yet: {rate}");
    for began in [later - ms(100), later, later + ms(200), later + ms(900)] {
        pacer.limited(began, None, later + ms(1_100));
    }
    assert!((pacer.rate() - rate).abs() < 0.001);
    // A read that was turned away counts as well, and everybody's pause is kept.
    let until = later + ms(9_000);
    let strain = Strain { limited_read: Some(later + ms(3_000)), until: Some(until), ..Strain::default() };
    pacer.heed(strain, later + ms(3_100));
    assert!(pacer.rate() < rate);
    assert_eq!(pacer.next(), until);
    assert_eq!(pacer.take(singles(1), until - ms(1)), 0);
    assert_eq!(pacer.take(singles(1), until), 1);
}

/// What endpoints do not take in time dies in the queue: at first only a few are signed ahead.
#[test]
fn few_are_signed_ahead_until_the_rate_is_proven() {
    let start = Instant::now();
    let (mut pacer, mut plan) = (Pacer::new(pacing(true), start), Plan::new(5, Some(ms(1_000))));
    assert_eq!(pacer.ahead(), 15);
    run(&mut pacer, &mut plan, start, 0..2);
    assert!(pacer.ahead() <= 15, "{pacer:?}");
    run(&mut pacer, &mut plan, start, 2..10);
    assert!((5..=6).contains(&pacer.ahead()), "{pacer:?}");
    let (mut pacer, mut plan) = (Pacer::new(pacing(true), start), Plan::new(usize::MAX, None));
    run(&mut pacer, &mut plan, start, 0..1);
    assert!(pacer.ahead() >= 100, "a second of it: {pacer:?}");
    assert_eq!(Pacer::new(pacing(false), start).ahead(), 100);
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
fn a_wave_has_so_many_tickets_however_they_ride() {
    let now = Instant::now();
    let mut pacer = Pacer::new(pacing(false), now);
    let mut take = |tickets: &[usize]| pacer.take(tickets.iter().copied(), now);
    assert_eq!([take(&[3; 9]), take(&[3, 3, 3, 1, 3]), take(&[1; 20]), take(&[30, 1]), take(&[])], [3, 4, 10, 1, 0]);
}

#[test]
fn fixed_waves_are_those_of_the_settings() {
    let start = Instant::now();
    let mut pacer = Pacer::new(pacing(false), start);
    assert_eq!((pacer.next(), pacer.take(singles(64), start)), (start, 10));
    assert_eq!(pacer.next(), start + ms(100));
    pacer.taken(true, start + ms(50));
    assert_eq!(pacer.take(singles(3), start + ms(100)), 3);
    assert_eq!(pacer.next(), start + ms(200));
    // Of a wave that fails together only the first makes the pause longer; the rate stays what it is.
    assert_eq!(pacer.failed(start + ms(120)), Then::SendAgain);
    assert_eq!(pacer.failed(start + ms(121)), Then::SendAgain);
    assert_eq!(pacer.next(), start + ms(120) + Backoff::FIRST);
    pacer.limited(start + ms(100), Some(ms(2_000)), start + ms(130));
    let strain = Strain { limited_read: Some(start), until: Some(start + ms(60_000)), reads: 9, ..Strain::default() };
    pacer.heed(strain, start + ms(130));
    assert_eq!(pacer.next(), start + ms(2_130));
    assert!((pacer.rate() - 100.0).abs() < 0.1);
}
