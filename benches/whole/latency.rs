//! One ticket on an idle box: from the request to the answer that it is on the chain.

use std::time::Duration;

use clap::Args;

use super::{
    chain::{Chain, SLOT_MS},
    figures::{head, row, share},
    office::{Office, tickets},
};

#[derive(Debug, Args)]
pub struct Options {
    /// Tickets, one after the other
    #[arg(long, default_value_t = 100)]
    tickets: u64,
}

pub async fn run(options: &Options) {
    let chain = Chain::start();
    let office = Office::open(&chain, &chain.rpc, &[]).await;
    office.mint(tickets("first", 1)).await;
    let mut waits = Vec::new();
    for number in 0..options.tickets {
        // Idle in between, and each at another moment of a block.
        tokio::time::sleep(Duration::from_millis(700 + number * 37 % SLOT_MS)).await;
        let (minted, wait) = office.mint(tickets(&format!("t{number}"), 1)).await;
        assert_eq!(minted, 1);
        waits.push(wait.as_secs_f64() * 1_000.0);
    }
    waits.sort_by(f64::total_cmp);
    head(&["one ticket on an idle box", "ms", "blocks"]);
    for (name, part) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("most", 1.0)] {
        let wait = share(&waits, part);
        row(&[&name, &format!("{wait:.0}"), &format!("{:.2}", wait / SLOT_MS as f64)]);
    }
}
