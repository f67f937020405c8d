//! The parts of the box, each by itself and through the crate's public functions: `cargo bench --bench parts`, and a part of a
//! name behind it for some of them (`cargo bench --bench parts -- books/accept`).
//!
//! What goes in is the same in every run, and of the size that venues send. Where one input would be luck (the time that an
//! address takes depends on its bump seed) they take turns. Elements are tickets, of lists the rows. Books are real files
//! in `TMPDIR`: what a commit costs is what that disk takes for an fsync.

#![allow(missing_docs, unreachable_pub, reason = "a benchmark is not an API")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::cast_possible_truncation,
    reason = "a benchmark that goes wrong should panic where it does"
)]

mod books;
mod cache;
mod lists;
mod samples;
mod tickets;
mod transactions;
mod writes;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().warm_up_time(Duration::from_secs(1)).configure_from_args();
    transactions::measure(&mut criterion);
    tickets::measure(&mut criterion);
    writes::measure(&mut criterion);
    lists::measure(&mut criterion);
    cache::measure(&mut criterion);
    criterion.final_summary();
}
