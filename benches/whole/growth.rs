//! As the work grows: what one ticket costs must not.

use std::time::Instant;

use clap::Args;
use futures_util::future;

use super::{
    chain::Chain,
    figures::{head, row, share},
    line::{Line, Plan, Terms},
    office::{Office, Usage, tickets},
};

/// Tickets that a request may have at most.
const BATCH: u64 = 10_000;

#[derive(Debug, Args)]
pub struct Options {
    /// Tickets that are sold, in requests of at most 10,000
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000,100000")]
    sizes: Vec<u64>,
    /// Tickets that are in the books already while 2,000 more are sold
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    books: Vec<u64>,
    /// Requests with 5 tickets each, all at once
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000")]
    requests: Vec<u64>,
}

const HEAD: [&str; 8] = [
    "",
    "tickets/s",
    "CPU ms per ticket",
    "RPC calls per ticket",
    "bytes written per ticket",
    "memory at the peak, MB",
    "chain's memory, MB",
    "p99 of answers, s",
];

struct Sale<'a> {
    chain: &'a Chain,
    line: Line,
    office: Office,
}

impl<'a> Sale<'a> {
    async fn open(chain: &'a Chain, books: u64) -> Self {
        let terms = Terms { latency: std::time::Duration::ZERO, plan: Plan::Unlimited };
        let line = Line::lay(&chain.rpc, &chain.ws, terms).await.unwrap();
        let office = Office::open_with(chain, &line.rpc, &[], books).await;
        Self { chain, line, office }
    }

    /// Sends the batches at once, waits for all of them, and prints what they took.
    async fn sell(self, name: &str, batches: Vec<Vec<serde_json::Value>>) {
        let Self { chain, line, office } = self;
        let count: usize = batches.iter().map(Vec::len).sum();
        line.take_traffic();
        let before = office.usage();
        let began = Instant::now();
        let answers = future::join_all(batches.into_iter().map(|batch| office.mint(batch))).await;
        let seconds = began.elapsed().as_secs_f64();
        let Usage { cpu_seconds, peak_kb, written, .. } = office.usage();
        let traffic = line.take_traffic();
        let minted: u64 = answers.iter().map(|(minted, _)| minted).sum();
        assert_eq!(minted, count as u64, "{name}: some were not minted");
        assert_eq!(chain.nfts(&office.authority).await, minted, "{name}: the chain has another number");
        let each = |total: f64| total / minted as f64;
        let mut waits: Vec<f64> = answers.iter().map(|(_, wait)| wait.as_secs_f64()).collect();
        waits.sort_by(f64::total_cmp);
        row(&[
            &name,
            &format!("{:.0}", minted as f64 / seconds),
            &format!("{:.2}", each((cpu_seconds - before.cpu_seconds) * 1_000.0)),
            &format!("{:.2}", each(traffic.total() as f64)),
            &format!("{:.0}", each((written - before.written) as f64)),
            &(peak_kb / 1_024),
            &chain.memory_mb(),
            &format!("{:.2}", share(&waits, 0.99)),
        ]);
    }
}

pub async fn run(options: &Options) {
    head(&HEAD);
    for &size in &options.sizes {
        let chain = Chain::start();
        let sold = tickets("t", size);
        let batches = sold.chunks(BATCH as usize).map(<[_]>::to_vec).collect();
        Sale::open(&chain, 0).await.sell(&format!("{size} tickets"), batches).await;
    }
    for &books in &options.books {
        let chain = Chain::start();
        let name = format!("2000 tickets beside {books}");
        Sale::open(&chain, books).await.sell(&name, vec![tickets("t", 2_000)]).await;
    }
    for &requests in &options.requests {
        let chain = Chain::start();
        let batches = (0..requests).map(|number| tickets(&format!("r{number}"), 5)).collect();
        Sale::open(&chain, 0).await.sell(&format!("{requests} × 5 tickets"), batches).await;
    }
}
