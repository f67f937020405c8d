//! Beside what one would run instead, in turn, on chains that are alike, over lines that are alike.

use std::time::Duration;

use boxoffice::chain::transaction::Layout;
use clap::Args;

use super::{
    chain::Chain,
    contenders::{Contender, Run, has_metaboss},
    figures::{Spread, head, row},
    line::{Plan, Terms},
};

#[derive(Debug, Args)]
pub struct Options {
    /// Everything is run so often, one after the other in each round
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Tickets of a run
    #[arg(long, value_delimiter = ',', default_value = "100,1000")]
    sizes: Vec<u64>,
    /// Most tickets that are minted one at a time: a thousand of them take seven minutes, and are no quicker each
    #[arg(long, default_value_t = 100)]
    most_one_at_a_time: u64,
    /// Only those whose names begin with one of these, beside boxoffice
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only this line: "0 ms", "50 ms", "200 ms", "50 ms, 20 sends/s", "50 ms, 20 calls/s"
    #[arg(long)]
    line: Option<String>,
}

const ONE: Contender = Contender::Umi { at_once: 1, gap_ms: 0 };
const METABOSS: Contender = Contender::Metaboss { at_once: 10 };
const TEN: Contender = Contender::Umi { at_once: 10, gap_ms: 100 };

fn lines() -> Vec<(String, Terms)> {
    let line = |latency, plan| Terms { latency: Duration::from_millis(latency), plan };
    let name = |terms: Terms| match terms.plan {
        Plan::Unlimited => format!("{} ms", terms.latency.as_millis()),
        Plan::Sends(most) => format!("{} ms, {most} sends/s", terms.latency.as_millis()),
        Plan::Calls(most) => format!("{} ms, {most} calls/s", terms.latency.as_millis()),
    };
    let lines = [
        line(0, Plan::Unlimited),
        line(50, Plan::Unlimited),
        line(200, Plan::Unlimited),
        line(50, Plan::Sends(20)),
        line(50, Plan::Calls(20)),
    ];
    lines.into_iter().map(|terms| (name(terms), terms)).collect()
}

pub async fn run(options: &Options) {
    head(&[
        "line",
        "tickets",
        "who",
        "tickets/s",
        "boxoffice is so many times as quick",
        "RPC calls per ticket",
        "not minted",
    ]);
    for (name, terms) in lines() {
        if options.line.as_ref().is_some_and(|wanted| name != *wanted) {
            continue;
        }
        for &size in &options.sizes {
            let mut contenders = vec![Contender::Boxoffice, TEN];
            if size <= options.most_one_at_a_time {
                contenders.push(ONE);
            }
            if has_metaboss() {
                contenders.push(METABOSS);
            }
            if terms.plan == Plan::Unlimited {
                contenders.extend([Contender::Bare(Layout::Legacy), Contender::Bare(Layout::V1)]);
            }
            let is_wanted = |name: String| options.only.iter().any(|only| name.starts_with(only.as_str()));
            if !options.only.is_empty() {
                contenders.retain(|contender| *contender == Contender::Boxoffice || is_wanted(contender.name()));
            }
            let mut runs: Vec<Vec<Run>> = vec![Vec::new(); contenders.len()];
            for round in 0..options.rounds {
                for turn in 0..contenders.len() {
                    // Another one begins in each round. Each has a chain as fresh as that of the others: the embedded one gets
                    // slower with every account that it holds.
                    let (index, chain) = ((round + turn) % contenders.len(), Chain::start());
                    let run = contenders[index].mint(&chain, terms, size).await;
                    eprintln!(
                        "{name}, {size} tickets, round {}: {} {:.1}/s, {:.2} calls per ticket, {} sends, {} refused, {} minted",
                        round + 1,
                        contenders[index].name(),
                        run.per_second(),
                        run.calls_per_ticket(),
                        run.traffic.sends(),
                        run.traffic.refused,
                        run.minted,
                    );
                    runs[index].push(run);
                }
            }
            for (contender, theirs) in contenders.iter().zip(&runs) {
                let rates = Spread::of(theirs.iter().map(Run::per_second));
                let times =
                    Spread::of(runs[0].iter().zip(theirs).map(|(ours, other)| ours.per_second() / other.per_second()));
                let calls = Spread::of(theirs.iter().map(Run::calls_per_ticket));
                let lost: u64 = theirs.iter().map(|run| size.saturating_sub(run.minted)).sum();
                row(&[&name, &size, &contender.name(), &rates, &times, &calls, &lost]);
            }
        }
    }
}
