//! Judgements with known numbers.

#![expect(clippy::arithmetic_side_effects, reason = "a test that goes wrong should panic where it does")]

use super::*;

/// 2026-01-31 19:30 UTC.
const NOW_MS: i64 = 1_769_887_800_000;
const NOW: i64 = NOW_MS / 3_600_000;
const COST: u64 = 19_651_560;

fn hour(ago: i64, minted: u64, failed: u64) -> Hour {
    Hour { hour: NOW - ago, minted, failed, spent: Lamports(COST * minted), due_ms: 3_400 * minted }
}

/// 200 hours of 249 tickets minted and 1 failed (0.4 %), beginning `ago` hours ago.
fn month(ago: i64) -> Vec<Hour> {
    (ago..ago + 200).map(|ago| hour(ago, 249, 1)).collect()
}

fn verdict(measure: Measure, hours: &[Hour], was_unusual: bool) -> Verdict {
    judge(measure, hours, NOW_MS, was_unusual).verdict
}

#[test]
fn a_quiet_box_and_a_young_one_say_nothing() {
    for measure in Measure::ALL {
        assert_eq!(verdict(measure, &[], false), Verdict::Unknown);
        // Few tickets, or long ago.
        assert_eq!(judge(measure, &[hour(0, 10, 9)], NOW_MS, true).value, None);
        let past = judge(measure, &month(24), NOW_MS, true);
        assert_eq!((past.verdict, past.hour, past.tickets), (Verdict::Unknown, None, 0));
        let young: Vec<Hour> = (0..24).map(|ago| hour(ago, 100, 0)).collect();
        let young = judge(measure, &young, NOW_MS, false);
        assert_eq!((young.verdict, young.usual, young.hour), (Verdict::Unknown, None, Some(NOW)));
        assert!(
            young.explanation.contains("23 hours of the 30 days before had 20 tickets, and 24 are needed"),
            "{young:?}"
        );
        let old_enough: Vec<Hour> = (0..25).map(|ago| hour(ago, 100, 0)).collect();
        assert_eq!(verdict(measure, &old_enough, false), Verdict::Usual);
        // What was more than 30 days before is not usual any more.
        let former: Vec<Hour> = (0..24).chain([900]).map(|ago| hour(ago, 100, 0)).collect();
        assert_eq!(verdict(measure, &former, false), Verdict::Unknown);
    }
}

#[test]
fn the_explanation_has_the_numbers() {
    let mut hours = month(2);
    hours.push(hour(1, 328, 12));
    let judged = judge(Measure::FailureRate, &hours, NOW_MS, false);
    assert_eq!(
        judged.explanation,
        "12 of 340 tickets failed in the hour from 18:00 UTC (3.5 %); of the 30 days before it was 0.4 %, and at most 1.6 % is \
         usual"
    );
    assert_eq!((judged.verdict, judged.hour, judged.tickets), (Verdict::Unusual, Some(NOW - 1), 340));
    let (low, high) = judged.usual.unwrap();
    // b = (p + z²/2N + z √(p(1−p)/N + z²/4N²)) / (1 + z²/N) with p = 0.004, N = 50,000, z = 3; then b + z √(b(1−b)/340).
    assert!(low.abs() < f64::EPSILON && (high - 1.634_6).abs() < 0.001, "{high}");
    // Fewer of them are usual, and stay unusual only as long as they are close to the bound.
    for (failed, first, then) in [(3, false, false), (5, false, true), (6, true, true)] {
        let mut hours = month(2);
        hours.push(hour(1, 340 - failed, failed));
        let is = |was| verdict(Measure::FailureRate, &hours, was) == Verdict::Unusual;
        assert_eq!((is(false), is(true)), (first, then), "{failed}");
    }
    // Yesterday's hour is named with its date.
    let judged = judge(Measure::MintTime, &month(20), NOW_MS, false);
    let said = "a ticket took 3.4 s on average in the hour from 2026-01-30 23:00 UTC (249 tickets); the median of 199 hours of \
                the 30 days before is 3.4 s, and at most 8.4 s is usual";
    assert_eq!(judged.explanation, said);
}

#[test]
fn two_failures_are_never_unusual_and_three_of_few_are() {
    for (failed, expected) in [(2, Verdict::Usual), (3, Verdict::Unusual)] {
        let hours: Vec<Hour> = month(1).into_iter().chain([hour(0, 20 - failed, failed)]).collect();
        assert_eq!(verdict(Measure::FailureRate, &hours, false), expected, "{failed}");
    }
    // The same three of 40 prove less against a short past, though nothing ever failed in it, than against a long one.
    let short: Vec<Hour> = (1..25).map(|ago| hour(ago, 20, 0)).chain([hour(0, 37, 3)]).collect();
    assert_eq!(verdict(Measure::FailureRate, &short, false), Verdict::Usual);
    let long: Vec<Hour> = (1..300).map(|ago| hour(ago, 250, 0)).chain([hour(0, 37, 3)]).collect();
    assert_eq!(verdict(Measure::FailureRate, &long, false), Verdict::Unusual);
}

#[test]
fn noise_around_a_constant_is_usual() {
    for (factor, expected) in [(1.04, Verdict::Usual), (1.06, Verdict::Unusual), (0.1, Verdict::Usual)] {
        let mut hours = month(1);
        let cost = f64::from(u32::try_from(COST).unwrap()) * factor;
        hours.push(Hour { spent: whole(cost * 100.0), ..hour(0, 100, 0) });
        assert_eq!(verdict(Measure::CostPerTicket, &hours, false), expected, "{factor}");
    }
    for (seconds, expected) in [(8, Verdict::Usual), (9, Verdict::Unusual), (0, Verdict::Usual)] {
        let mut hours = month(1);
        hours.push(Hour { due_ms: seconds * 1_000 * 100, ..hour(0, 100, 0) });
        assert_eq!(verdict(Measure::MintTime, &hours, false), expected, "{seconds}");
    }
}

#[test]
fn a_bad_night_does_not_say_what_is_usual() {
    let mut hours = month(10);
    hours.extend((1..10).map(|ago| Hour { due_ms: 900_000 * 100, ..hour(ago, 100, 0) }));
    hours.push(Hour { due_ms: 12_000 * 100, ..hour(0, 100, 0) });
    let judged = judge(Measure::MintTime, &hours, NOW_MS, false);
    assert_eq!(judged.verdict, Verdict::Unusual, "{judged:?}");
    // A box that always varied is left alone.
    let varied = |ago: i64| Hour { due_ms: u64::try_from(2 + ago % 30).unwrap() * 1_000 * 100, ..hour(ago, 100, 0) };
    let mut hours: Vec<Hour> = (1..300).map(varied).collect();
    hours.push(Hour { due_ms: 45_000 * 100, ..hour(0, 100, 0) });
    assert_eq!(verdict(Measure::MintTime, &hours, false), Verdict::Usual);
}

#[test]
fn the_newest_hour_with_enough_tickets_is_judged_and_none_of_the_future() {
    let mut hours = month(2);
    hours.push(hour(1, 100, 50));
    assert_eq!(verdict(Measure::FailureRate, &hours, false), Verdict::Unusual);
    hours.push(hour(0, 19, 0));
    assert_eq!(judge(Measure::FailureRate, &hours, NOW_MS, false).hour, Some(NOW - 1), "too few yet");
    hours.push(hour(-5, 100, 100));
    hours.pop();
    hours.push(hour(0, 100, 0));
    hours.push(hour(-5, 100, 100));
    let judged = judge(Measure::FailureRate, &hours, NOW_MS, true);
    assert_eq!((judged.verdict, judged.hour), (Verdict::Usual, Some(NOW)));
}
