//! What the books answer when they hold 100,000 tickets.

use std::cell::LazyCell;

use boxoffice::{domain::mint::MintStatus, store::MintFilter};
use criterion::Criterion;
use tokio::runtime::Runtime;

use crate::{
    books::Books,
    samples::{self, EVENT},
};

/// Tickets of a page, unless somebody asks for more.
const PAGE: usize = 50;

/// Batches of a thousand tickets. A run that only shows that all works makes do with a few.
fn past() -> u64 {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    if has("--bench") && !has("--test") { 100 } else { 4 }
}

pub fn measure(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let batches = past();
    // Filled when the first of these is measured, if any is.
    let books = LazyCell::new(|| runtime.block_on(Books::with_past(batches)));
    let middle = i64::try_from(batches * EVENT / 2).unwrap();
    let venue = || Some("venue-1".to_owned());
    let lists = [
        ("first page", MintFilter::default()),
        ("page in the middle", MintFilter { before_id: Some(middle), ..MintFilter::default() }),
        ("failed", MintFilter { status: Some(MintStatus::Failed), ..MintFilter::default() }),
        ("minted", MintFilter { status: Some(MintStatus::Minted), ..MintFilter::default() }),
        (
            "of a venue, page in the middle",
            MintFilter { venue_id: venue(), before_id: Some(middle), ..MintFilter::default() },
        ),
        (
            "of a venue, failed",
            MintFilter { venue_id: venue(), status: Some(MintStatus::Failed), ..MintFilter::default() },
        ),
    ];
    let mut group = criterion.benchmark_group("books of 100,000");
    for (name, filter) in lists {
        group.bench_function(format!("mints, {name}"), |bencher| {
            let store = &books.store;
            bencher.to_async(&runtime).iter(async || store.mints(filter.clone(), PAGE).await.unwrap());
        });
    }
    for (name, venue) in [("counts", None), ("counts of a venue", venue())] {
        group.bench_function(name, |bencher| {
            let store = &books.store;
            bencher.to_async(&runtime).iter(async || store.counts(venue.clone()).await.unwrap());
        });
    }
    group.bench_function("mints_of_ticket", |bencher| {
        let store = &books.store;
        let mut turns = (0..batches * EVENT).step_by(997).map(|number| samples::ticket_id(number).to_string()).cycle();
        bencher.to_async(&runtime).iter(|| {
            let ticket = turns.next().unwrap();
            async { store.mints_of_ticket(ticket, None).await.unwrap() }
        });
    });
}
