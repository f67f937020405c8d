//! The program as a whole: beside what one would run instead, near to what the chain bears, and as the work grows.
//!
//! `cargo bench --bench whole -- peers` (or `plans`, `growth`, `ingest`, `latency`; without a word all of
//! them) starts chains in processes of
//! their own, runs everything on them, and prints tables in Markdown. Nothing else should run on the machine. `peers` needs
//! Node.js 20 with npm, and fetches Metaplex's libraries once; `metaboss` runs too if it is installed (`cargo install metaboss`).

#![allow(missing_docs, unreachable_pub, reason = "a benchmark is not an API")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark that goes wrong should panic where it does"
)]

mod chain;
mod contenders;
mod figures;
mod growth;
mod ingest;
mod latency;
mod line;
mod office;
mod peers;
mod plans;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "whole")]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Cargo says this to every benchmark
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// boxoffice and what one would run instead, in turn, over lines of several kinds
    Peers(peers::Options),
    /// boxoffice alone on plans with so many calls or sends a second
    Plans(plans::Options),
    /// 100 to 100,000 tickets, books with up to a million, up to 1,000 requests at once
    Growth(growth::Options),
    /// 100,000 tickets from a CSV file to the disk
    Ingest(ingest::Options),
    /// One ticket on an idle box
    Latency(latency::Options),
}

/// With everything as it is by default.
fn every_part() -> Vec<Part> {
    let each =
        ["latency", "ingest", "peers", "plans", "growth"].map(|name| Arguments::parse_from(["whole", name]).part);
    each.into_iter().flatten().collect()
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    println!("{}", figures::machine());
    for part in arguments.part.map_or_else(every_part, |part| vec![part]) {
        match part {
            Part::Peers(options) => peers::run(&options).await,
            Part::Plans(options) => plans::run(&options).await,
            Part::Growth(options) => growth::run(&options).await,
            Part::Ingest(options) => ingest::run(&options).await,
            Part::Latency(options) => latency::run(&options).await,
        }
    }
}
