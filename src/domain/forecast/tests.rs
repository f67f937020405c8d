//! The statistic against figures that are known, and against records that nobody can have made.

#![expect(clippy::arithmetic_side_effects, reason = "a test that goes wrong should panic where it does")]

use std::time::Duration;

use super::*;

const NOW_HOUR: i64 = 500_000;
const NAME: &str = "http://a";

/// An hour so long ago: transactions, and how many of them were signed again.
fn hour(ago: i64, transactions: u64, again: u64) -> MintHour {
    let mut settle = Settles::default();
    (0..transactions - again).for_each(|_| settle.count(Duration::from_millis(950)));
    MintHour {
        hour: NOW_HOUR - ago,
        landed: transactions - again,
        expired: again,
        again,
        tickets: transactions,
        settle,
        expiry_ms: again * 60_000,
        chunks: 10,
        prepare_ms: 2_000,
        ..MintHour::default()
    }
}

/// An hour in which `tickets` were settled in windows of five seconds.
fn paced(windows: &[u64]) -> MintHour {
    let squares = windows.iter().map(|tickets| as_f64(tickets * tickets) / 5_000.0).sum();
    let (ms, tickets) = (5_000 * windows.len() as u64, windows.iter().sum());
    MintHour { paced_ms: ms, paced_tickets: tickets, paced_squares: squares, ..hour(0, 500, 0) }
}

fn ask(tickets: u64, hours: &[MintHour]) -> Forecast {
    ask_with(tickets, 0, 100.0, hours)
}

fn ask_with(tickets: u64, waiting: u64, allowed_per_second: f64, hours: &[MintHour]) -> Forecast {
    ask_at(Allowed::Transactions(allowed_per_second), tickets, waiting, hours)
}

fn ask_at(allowed: Allowed, tickets: u64, waiting: u64, hours: &[MintHour]) -> Forecast {
    let endpoints = [(NAME.to_owned(), EndpointState::Well)];
    let now_ms = NOW_HOUR * 3_600_000 + 1_234;
    let question = Question { tickets, waiting, now_ms, allowed, slot_seconds: 0.4, endpoints: &endpoints };
    Forecast::new(&question, hours, &[])
}

fn share(forecast: &Forecast) -> Expected {
    forecast.signed_again_share.unwrap()
}

fn duration(forecast: &Forecast) -> Expected {
    forecast.duration_seconds.unwrap()
}

#[test]
fn wilsons_range_is_that_of_the_books() {
    let is = |(low, high): (f64, f64), expected: (f64, f64)| {
        assert!((low - expected.0).abs() < 0.000_5 && (high - expected.1).abs() < 0.000_5, "{low} to {high}");
    };
    // Newcombe (1998), table I, method 3.
    is(wilson(81.0 / 263.0, 263.0), (0.2553, 0.3662));
    is(wilson(15.0 / 148.0, 148.0), (0.0624, 0.1605));
    is(wilson(0.0, 20.0), (0.0, 0.1611));
    is(wilson(1.0 / 29.0, 29.0), (0.0061, 0.1718));
}

#[test]
fn without_a_record_nothing_is_pretended() {
    for hours in [vec![], vec![hour(0, 29, 3)], vec![hour(72, 40, 0)], vec![hour(31 * 24, 9_000, 0)]] {
        let forecast = ask(1_000, &hours);
        assert_eq!((forecast.duration_seconds, forecast.signed_again_share), (None, None), "{hours:?}");
        assert!(forecast.explanation.starts_with("no record yet: "), "{}", forecast.explanation);
    }
    assert!(ask(1_000, &[hour(0, 30, 3)]).duration_seconds.is_some());
    assert_eq!(ask(0, &[hour(0, 300, 3)]).duration_seconds, None, "of nothing there is nothing to say");
}

#[test]
fn the_share_is_that_of_the_record_and_its_range_is_that_of_the_batch() {
    let (small, large) = (share(&ask(10, &[hour(0, 1_000, 50)])), share(&ask(10_000, &[hour(0, 1_000, 50)])));
    for range in [small, large] {
        assert!((range.expected - 0.05).abs() < 0.000_1 && range.contains(0.05), "{range:?}");
    }
    assert!(small.high > large.high && small.low <= large.low, "ten tickets may be unlucky: {small:?} {large:?}");
    assert!(large.high < 0.08 && large.low > 0.03, "{large:?}");
    // Nothing went wrong yet, and that is no promise.
    let none = share(&ask(1_000, &[hour(0, 100, 0)]));
    assert!(none.expected == 0.0 && none.high > 0.02 && none.high < 0.06, "{none:?}");
}

#[test]
fn what_is_recent_counts_more() {
    let better = share(&ask(100, &[hour(240, 1_000, 200), hour(0, 1_000, 0)]));
    let worse = share(&ask(100, &[hour(240, 1_000, 0), hour(0, 1_000, 200)]));
    assert!(better.expected < 0.05 && worse.expected > 0.15, "{better:?} {worse:?}");
}

#[test]
fn hours_that_differ_make_the_range_wider() {
    let alike = share(&ask(1_000, &[hour(0, 500, 50), hour(1, 500, 50)]));
    let unlike = share(&ask(1_000, &[hour(0, 500, 0), hour(1, 500, 100)]));
    assert!((alike.expected - unlike.expected).abs() < 0.01);
    assert!(unlike.high - unlike.low > (alike.high - alike.low) * 2.0, "{alike:?} {unlike:?}");
}

/// Nineteen of twenty batches are in the range, whatever the share is.
#[test]
#[expect(clippy::cast_precision_loss, reason = "a share")]
fn the_range_holds_what_it_promises() {
    let mut state = 42_u64;
    let mut happens = |share: f64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 / (1_u64 << 53) as f64) < share
    };
    for real in [0.01, 0.05, 0.3] {
        let mut within = 0;
        for _ in 0..400 {
            let seen = (0..300).filter(|_| happens(real)).count() as u64;
            let next = (0..200).filter(|_| happens(real)).count() as f64 / 200.0;
            within += usize::from(share(&ask(200, &[hour(0, 300, seen)])).contains(next));
        }
        assert!(within >= 368, "{within} of 400 with {real}");
    }
}

#[test]
fn the_duration_is_that_of_the_recorded_speed_or_of_the_pace_if_that_is_less() {
    let record = [paced(&[100, 100, 95, 105])];
    let recorded = duration(&ask(1_000, &record));
    assert!((recorded.expected - 51.1).abs() < 0.3, "20 a second, and a second for the last one: {recorded:?}");
    assert!(recorded.low > 40.0 && recorded.high < 65.0, "{recorded:?}");
    let slower = duration(&ask_with(1_000, 0, 10.0, &record));
    assert!((slower.expected - 101.1).abs() < 0.5 && slower.contains(51.1), "it may become quicker again: {slower:?}");
    let behind = duration(&ask_with(1_000, 500, 100.0, &record));
    assert!((behind.expected - 76.1).abs() < 0.3, "{behind:?}");
    let unsteady = duration(&ask(1_000, &[paced(&[20, 180, 20, 180])]));
    assert!(unsteady.low < 40.0 && unsteady.high > 100.0, "{unsteady:?}");
    // No batch was long enough to show its speed.
    let forecast = ask(1_000, &[hour(0, 100, 0)]);
    assert!((duration(&forecast).expected - 11.1).abs() < 0.3, "{forecast:?}");
    assert!(forecast.explanation.contains("as the pace allows"), "{}", forecast.explanation);
    // Three tickets in a transaction are three times as quick.
    let packed = MintHour { tickets: 300, ..hour(0, 100, 0) };
    assert!((duration(&ask(1_000, &[packed])).expected - 4.4).abs() < 0.3);
}

#[test]
fn whoever_expires_is_waited_for() {
    let with = |again| duration(&ask(100, &[MintHour { again, expired: again, ..paced(&[100; 10]) }]));
    let none = with(0);
    assert!(none.high < 15.0, "{none:?}");
    let expiring = [MintHour { expired: 5, again: 5, expiry_ms: 300_000, ..paced(&[100; 10]) }];
    let (few, many) = (duration(&ask(10, &expiring)), duration(&ask(1_000, &expiring)));
    assert!(few.expected < 10.0 && few.high > 60.0, "unlikely, and possible: {few:?}");
    assert!(many.expected > 95.0 && many.high > 120.0, "{many:?}");
}

#[test]
fn what_makes_no_sense_is_left_out() {
    let good = hour(0, 300, 15);
    let expected = ask(100, std::slice::from_ref(&good));
    let bad = [
        MintHour { paced_squares: f64::NAN, ..hour(1, 300, 0) },
        MintHour { paced_squares: f64::INFINITY, ..hour(1, 300, 0) },
        MintHour { paced_squares: -1.0, ..hour(1, 300, 0) },
        MintHour { landed: u64::MAX, ..hour(1, 300, 0) },
        MintHour { expiry_ms: u64::MAX, ..hour(1, 300, 0) },
        MintHour { again: 301, ..hour(1, 300, 15) },
        MintHour { hour: NOW_HOUR + 1, ..good.clone() },
        MintHour { hour: i64::MAX, ..good.clone() },
        MintHour { hour: i64::MIN, ..good.clone() },
        MintHour { hour: 0, ..good.clone() },
    ];
    for bad in bad {
        assert_eq!(ask(100, &[good.clone(), bad.clone()]), expected, "{bad:?}");
    }
    assert_eq!(Settles::read(&[1; 3]), Settles::default());
    assert_eq!(Settles::read(&[-1; SETTLE_BUCKETS]), Settles::default());
    // No histogram, no tickets, no pace: still a finite answer, or none.
    for odd in [MintHour { tickets: 0, settle: Settles::default(), ..good.clone() }, good] {
        for allowed in [0.0, f64::NAN, f64::INFINITY, 100.0] {
            let forecast = ask_with(1_000_000, u64::MAX, allowed, std::slice::from_ref(&odd));
            let sound = |range: Expected| range.low <= range.expected && range.expected <= range.high;
            assert!(forecast.duration_seconds.is_none_or(sound) && sound(share(&forecast)), "{forecast:?}");
        }
    }
}

/// Waves are of tickets: that several of them ride together makes them no quicker.
#[test]
fn a_pace_of_tickets_is_not_multiplied_by_those_that_ride_together() {
    let together = [MintHour { tickets: 900, ..hour(0, 300, 0) }];
    let expected = |allowed| ask_at(allowed, 1_000, 0, &together).duration_seconds.unwrap().expected;
    let (waves, transactions) = (expected(Allowed::Tickets(50.0)), expected(Allowed::Transactions(50.0)));
    assert!((19.0..30.0).contains(&waves) && (6.0..15.0).contains(&transactions), "{waves} s and {transactions} s");
}

/// At a time before the record began, nothing is known; and clocks of any year have an answer.
#[test]
fn clocks_that_jump_do_no_harm() {
    let endpoints = [(NAME.to_owned(), EndpointState::Resting)];
    for now_ms in [0, -1, i64::MIN, i64::MAX, (NOW_HOUR - 5) * 3_600_000] {
        let question = Question {
            tickets: 100,
            waiting: 0,
            now_ms,
            allowed: Allowed::Transactions(10.0),
            slot_seconds: 0.4,
            endpoints: &endpoints,
        };
        let forecast = Forecast::new(&question, &[hour(0, 300, 15)], &[]);
        assert_eq!((forecast.basis.transactions, forecast.duration_seconds), (0, None), "{now_ms}");
        assert!(forecast.explanation.ends_with("http://a fails and rests just now"), "{}", forecast.explanation);
    }
}

#[test]
fn endpoints_are_named_with_what_they_took() {
    let sends = |endpoint: &str, hour, sends, limited| EndpointHour {
        endpoint: endpoint.into(),
        hour,
        sends,
        limited,
        ..EndpointHour::default()
    };
    let endpoints = [(NAME.to_owned(), EndpointState::Limited)];
    let record = [
        sends(NAME, NOW_HOUR, 10, 2),
        sends(NAME, NOW_HOUR - 1, 20, 3),
        sends(NAME, NOW_HOUR - 2, 5, 6),
        sends("http://b", NOW_HOUR, 99, 0),
        sends(NAME, NOW_HOUR + 2, 99, 0),
    ];
    let question = Question {
        tickets: 1,
        waiting: 0,
        now_ms: NOW_HOUR * 3_600_000,
        allowed: Allowed::Transactions(10.0),
        slot_seconds: 0.4,
        endpoints: &endpoints,
    };
    let basis = Forecast::new(&question, &[], &record).basis;
    assert_eq!((basis.endpoints.len(), basis.endpoints[0].sends, basis.endpoints[0].limited), (1, 30, 5));
}

#[test]
fn what_is_kept_with_a_batch_is_short_and_reads_the_same() {
    let forecast = ask(100, &[paced(&[100; 4])]);
    let kept = forecast.clone().to_keep().unwrap();
    assert!(kept.len() < 400, "{kept}");
    let read = Forecast::kept(&kept).unwrap();
    assert_eq!((read.duration_seconds, read.explanation), (forecast.duration_seconds, forecast.explanation));
    assert_eq!(Forecast::kept("{\"odd\":"), None);
}

#[test]
fn sums_are_added_and_taken_away() {
    let (mut sum, one) = (MintHour { hour: NOW_HOUR, ..MintHour::default() }, paced(&[100, 50]));
    sum.add(&one);
    sum.add(&one);
    assert_eq!((sum.landed, sum.paced_tickets, sum.settle.counts().iter().sum::<u64>()), (1_000, 300, 1_000));
    sum.subtract(&one);
    assert_eq!(sum, one);
    sum.subtract(&one);
    assert!(sum.is_empty());
}
