//! What the books take: batches, transactions that are written ahead, and how those ended.
//!
//! Every sample begins with new books, so that they do not grow from the first sample to the last. What is done first in them
//! is not counted: it prepares all statements.

use std::time::{Duration, Instant};

use boxoffice::store::Accepted;
use criterion::{Criterion, SamplingMode, Throughput};
use futures_util::future::join_all;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::{
    books::{self, Books, NOW_MS},
    samples::EVENT,
};

/// Tickets that are signed for, and settled, together.
const WAVE: u64 = 256;

pub fn measure(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    accept(criterion, &runtime);
    waves(criterion, &runtime);
}

fn accept(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("books/accept");
    group.sampling_mode(SamplingMode::Flat).sample_size(20);
    for (name, batches, tickets) in [
        ("a batch of 1,000", 1, EVENT),
        ("a batch of 1", 1, 1),
        // They wait for one another's commit, and share it.
        ("256 batches of 1 at once", 256, 1),
    ] {
        group.throughput(Throughput::Elements(batches * tickets));
        group.bench_function(name, |bencher| {
            bencher.to_async(runtime).iter_custom(|calls| time_accept(calls, batches, tickets));
        });
    }
}

/// The time that the books take to accept some batches at once, so many times.
async fn time_accept(calls: u64, batches: u64, tickets: u64) -> Duration {
    let (books, mut taken) = (Books::open(), Duration::ZERO);
    for call in 0..=calls {
        let new =
            (call * batches..(call + 1) * batches).map(|number| books::batch(number * tickets..(number + 1) * tickets));
        let new: Vec<_> = new.map(|batch| (batch, books::rules(), Uuid::now_v7())).collect();
        let began = Instant::now();
        let accepted = new.into_iter().map(|(batch, rules, id)| books.store.accept(batch, Some(rules), id, NOW_MS));
        let accepted: Vec<Accepted> = join_all(accepted).await.into_iter().collect::<Result<_, _>>().unwrap();
        taken += if call > 0 { began.elapsed() } else { Duration::ZERO };
        assert_eq!(accepted.iter().map(|accepted| accepted.new_tickets).sum::<u64>(), batches * tickets);
    }
    books.close().await;
    taken
}

/// What each step of a wave takes.
#[derive(Default)]
struct WaveTimes {
    next_pending: Duration,
    record: Duration,
    settle: Duration,
}

/// The one of them that is measured.
type Step = fn(WaveTimes) -> Duration;

fn waves(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("books/wave of 256");
    group.sampling_mode(SamplingMode::Flat).sample_size(20);
    group.throughput(Throughput::Elements(WAVE));
    let steps: [(&str, Step); 3] = [
        ("next_pending", |times| times.next_pending),
        ("record", |times| times.record),
        ("settle", |times| times.settle),
    ];
    for (ride, together) in [("1 ticket each", 1), ("3 tickets each", 3)] {
        for (name, step) in steps {
            group.bench_function(format!("{name}, {ride}"), |bencher| {
                bencher.to_async(runtime).iter_custom(async |waves| step(time_waves(waves, together).await));
            });
        }
    }
}

/// Takes waves of tickets, each of a batch of its own, from accepted to minted.
async fn time_waves(waves: u64, together: usize) -> WaveTimes {
    let (books, mut times) = (Books::open(), WaveTimes::default());
    let bytes = books::transaction_bytes(together).await;
    for wave in 0..=waves {
        if wave == 1 {
            times = WaveTimes::default();
        }
        books.accept(books::batch(wave * WAVE..(wave + 1) * WAVE)).await;
        let began = Instant::now();
        let pending = books.pending(WAVE as usize).await;
        times.next_pending += began.elapsed();
        let attempts = books::attempts(&pending, together, &bytes);
        let to_record = attempts.clone();
        let began = Instant::now();
        let ids = books.store.record(to_record, NOW_MS).await.unwrap();
        times.record += began.elapsed();
        let settlements = books::settlements(&attempts, &ids, |_place| false);
        let began = Instant::now();
        let settled = books.store.settle(Vec::new(), settlements, NOW_MS).await.unwrap();
        times.settle += began.elapsed();
        assert_eq!((settled.minted.len() as u64, settled.finished_batches.len()), (WAVE, 1));
    }
    books.close().await;
    times
}
