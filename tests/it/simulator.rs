//! The simulator: bad days by the thousand, each from a seed, each played to the letter whenever it is asked for.
//!
//! A scripted chain and a failing machine stand around the real engine and the real database. Whatever happens, no ticket is
//! minted twice, none that was accepted is forgotten, everything settles once the world is healed, and the books are true.
//!
//! `SIMULATOR_SEEDS=from..to` (or a count) says which days are played, `SIMULATOR_SEED=n` shows one of them line by line.

mod invariants;
mod ledger;
mod node;
mod publisher;
mod random;
mod run;
mod transaction;
mod venue;
mod weather;
mod world;

use std::{collections::BTreeMap, ops::Range, time::Instant};

use weather::{FAULTS, kill_points};
use world::State;

/// Days that are played unless told otherwise.
const SEEDS: u64 = 120;

/// What kind of day it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A bug put in on purpose.
    sabotage: Option<&'static str>,
    /// Confirmed blocks are abandoned too.
    deep_forks: bool,
    keep_log: bool,
}

/// How a day ended.
pub struct Outcome {
    seed: u64,
    log_hash: u64,
    violations: Vec<String>,
    counts: BTreeMap<String, u64>,
    log: Vec<String>,
}

impl Outcome {
    fn of(seed: u64, state: &mut State) -> Self {
        Self {
            seed,
            log_hash: state.log_hash(),
            violations: std::mem::take(&mut state.violations),
            counts: std::mem::take(&mut state.counts),
            log: std::mem::take(&mut state.log),
        }
    }
}

fn seeds(default: u64) -> Range<u64> {
    let Ok(wanted) = std::env::var("SIMULATOR_SEEDS") else { return 0..default };
    let number = |text: &str| text.parse().expect("SIMULATOR_SEEDS is a count or from..to");
    match wanted.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => 0..number(&wanted),
    }
}

/// Plays days on two threads; each world is on one thread.
fn play(seeds: Range<u64>, options: Options) -> Vec<Outcome> {
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let work = || {
        let mut outcomes = Vec::new();
        loop {
            let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if seed >= seeds.end {
                return outcomes;
            }
            outcomes.push(run::run(seed, options));
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn bad_days_end_well() {
    if let Ok(seed) = std::env::var("SIMULATOR_SEED") {
        let outcome = run::run(seed.parse().unwrap(), Options { keep_log: true, ..Options::default() });
        println!("{}", outcome.log.join("\n"));
        assert_eq!(outcome.violations, Vec::<String>::new());
        return;
    }
    let (range, began) = (seeds(SEEDS), Instant::now());
    let outcomes = play(range.clone(), Options::default());
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, count) in outcomes.iter().flat_map(|outcome| &outcome.counts) {
        *counts.entry(name).or_default() += count;
    }
    println!("{} days in {:.1} s", outcomes.len(), began.elapsed().as_secs_f64());
    for (name, count) in &counts {
        println!("{count:>9}  {name}");
    }
    let bad: Vec<String> = outcomes
        .iter()
        .filter(|outcome| !outcome.violations.is_empty())
        .map(|outcome| format!("seed {}: {}", outcome.seed, outcome.violations.join("; ")))
        .collect();
    assert!(bad.is_empty(), "{} bad days ended badly:\n{}", bad.len(), bad.join("\n"));
    let reached = |name: &String| counts.get(name.as_str()).is_some_and(|count| *count > 0);
    let missing: Vec<String> = important().filter(|name| !reached(name)).collect();
    // A handful of days cannot show everything.
    assert!(missing.is_empty() || outcomes.len() < SEEDS as usize, "never reached: {missing:?}");
}

/// Faults and states without which a run proves little.
fn important() -> impl Iterator<Item = String> {
    let states = [
        "outage",
        "books lost",
        "reached chain_conflict",
        "graceful stop",
        "batch accepted",
        "batch refused",
        "batch sent again",
        "contradicting batch",
        "client hung up",
        "clock jump",
        "dust",
        "wallet emptied",
        "wallet refilled",
        "rate limit with a time",
        "rate limit without a time",
        "attempts landed",
        "attempts rejected",
        "attempts dead",
        "expired in the mempool",
        "vanished in a fork",
        "retry of failed tickets",
        "reached content_conflict",
        "reached minted",
        "reached minted by adoption",
        "reached minted with more compute units",
        "reached rejected_by_chain",
        "several tickets sent together",
        "several tickets landed together",
        "several tickets refused together",
        "promised and not taken",
    ];
    let faults = FAULTS.iter().map(|(fault, _)| *fault);
    faults.chain(states).map(str::to_owned).chain(kill_points())
}

#[test]
fn a_day_can_be_played_again_to_the_letter() {
    for seed in 0..20 {
        let play = || run::run(seed, Options { keep_log: true, ..Options::default() });
        let (first, second) = (play(), play());
        let differs = first.log.iter().zip(&second.log).position(|(one, other)| one != other);
        assert_eq!(differs.map(|at| (&first.log[at], &second.log[at])), None, "seed {seed}");
        assert_eq!(first.log_hash, second.log_hash);
        assert!(first.log.len() > 10, "something happened");
    }
}

/// The engine settles what is `confirmed`, and confirmed blocks are not given up while two thirds of the stake are honest. Even
/// if they were, no ticket would be minted twice: the books may say `minted` of one that is gone, which the nightly
/// reconciliation finds and queues again.
#[test]
fn even_when_confirmed_blocks_are_given_up_nothing_is_minted_twice() {
    let outcomes = play(0..120, Options { deep_forks: true, ..Options::default() });
    let found: Vec<&String> = outcomes.iter().flat_map(|outcome| &outcome.violations).collect();
    let gone = found.iter().filter(|found| found.ends_with("and on the chain: false")).count();
    println!("{gone} tickets were taken back by forks after they were settled");
    // A world without such forks would prove nothing.
    assert!(gone > 0);
    let doubled = |found: &&&String| found.contains("was minted") && found.contains(" times");
    assert_eq!(found.iter().filter(doubled).collect::<Vec<_>>(), Vec::<&&String>::new());
}

/// Days until a bug that was put in on purpose is caught.
fn days_until_caught(sabotage: &'static str, because: &str) -> u64 {
    let options = Options { sabotage: Some(sabotage), ..Options::default() };
    let caught = (0..500).find(|seed| run::run(*seed, options).violations.iter().any(|found| found.contains(because)));
    caught.unwrap_or_else(|| panic!("{sabotage:?} was never caught")) + 1
}

#[test]
fn signing_again_without_proof_is_caught() {
    println!("caught on day {}", days_until_caught("re-sign without proof", "may still land"));
}

#[test]
fn sending_before_writing_ahead_is_caught() {
    println!("caught on day {}", days_until_caught("send before write-ahead", "before it was written ahead"));
}

#[test]
fn settling_without_a_commit_is_caught() {
    println!("caught on day {}", days_until_caught("settle without commit", "never settle"));
}
