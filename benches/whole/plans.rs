//! What a box does in an hour on an RPC plan.

use std::time::Duration;

use clap::Args;

use super::{
    chain::Chain,
    contenders::Contender,
    figures::{head, row},
    line::{Plan, Terms},
};

#[derive(Debug, Args)]
pub struct Options {
    /// From a call to its answer, in milliseconds
    #[arg(long, default_value_t = 50)]
    latency: u64,
    /// Only plans whose names begin with this
    #[arg(long, default_value = "")]
    plan: String,
}

/// Plans, and as many tickets as keep a box busy for a minute or so.
const PLANS: [(&str, Plan, u64); 7] = [
    ("5 calls/s", Plan::Calls(5), 300),
    ("20 calls/s", Plan::Calls(20), 1_500),
    ("50 calls/s", Plan::Calls(50), 4_000),
    ("5 sends/s", Plan::Sends(5), 600),
    ("20 sends/s", Plan::Sends(20), 2_500),
    ("50 sends/s", Plan::Sends(50), 6_000),
    ("no limit", Plan::Unlimited, 10_000),
];

pub async fn run(options: &Options) {
    head(&["plan", "tickets", "tickets/s", "tickets an hour", "RPC calls per ticket", "calls turned away"]);
    for (name, plan, tickets) in PLANS.into_iter().filter(|(name, ..)| name.starts_with(&options.plan)) {
        let chain = Chain::start();
        let terms = Terms { latency: Duration::from_millis(options.latency), plan };
        let run = Contender::Boxoffice.mint(&chain, terms, tickets).await;
        assert_eq!(run.minted, tickets, "{name}: some were not minted");
        eprintln!("{name}: {:?}", run.traffic.calls);
        row(&[
            &name,
            &tickets,
            &format!("{:.1}", run.per_second()),
            &format!("{:.0}", run.per_second() * 3_600.0),
            &format!("{:.2}", run.calls_per_ticket()),
            &run.traffic.refused,
        ]);
    }
}
