//! `boxoffice estimate`.

use std::{process::ExitCode, sync::Arc};

use clap::Args;

use super::SettingFlags;
use crate::{
    app,
    chain::{Chain as _, rpc::RpcChain, transaction::signatures},
    clock::{Clock as _, SystemClock},
    config::Config,
    domain::forecast::{Forecast, Question},
    estimate::{Estimate, Prices},
    forecast::{record_name, since_hour},
    store::{Record, peek_record},
};

/// Asks the chain for its figures, and the books for how minting went of late, if there are any; needs no wallet. Reckons with a
/// transaction for each ticket; a running box knows whether the network takes several in one, and
/// GET /admin/batch-mint/estimate tells.
#[derive(Debug, Args)]
#[command(after_help = "Example: boxoffice estimate 1000")]
pub(super) struct EstimateArgs {
    /// Number of tickets
    #[arg(value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    count: u64,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: EstimateArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    let config = settings.load_quietly()?;
    let (chain, _embedded) = app::connect(&config, Vec::new()).await?;
    let chain = Arc::new(chain);
    let prices = Prices::new(Arc::clone(&chain) as _)
        .with_priority_fees(config.priority_fees)
        .with_signatures(signatures(config.fee_payers));
    let price = prices.ticket().await?;
    let forecast = forecast(args.count, &config, &chain);
    // What a network takes beyond one ticket to a transaction only a box with a wallet finds out.
    let seconds = config.pacing.seconds_for(args.count, 1, config.pacing.initial_rate());
    let estimate = Estimate::new(args.count, price, 1, seconds);
    if args.json {
        let mut answer = serde_json::to_value(estimate)?;
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("forecast".into(), serde_json::to_value(&forecast)?);
        }
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} tickets on {} cost {}", args.count, config.network, estimate.estimated_lamports);
    let parts = estimate.breakdown.batch;
    for (name, lamports) in [
        ("rent of the mint accounts", parts.mint_rent_lamports),
        ("rent of the token accounts", parts.token_account_rent_lamports),
        ("rent of the metadata accounts", parts.metadata_rent_lamports),
        ("rent of the edition accounts", parts.edition_rent_lamports),
        ("Metaplex's fee", parts.metaplex_fee_lamports),
        ("network fees", parts.signature_fee_lamports),
        ("priority fees", parts.priority_fee_lamports),
    ] {
        println!("  {name:<30} {lamports}");
    }
    println!("and take about {} s", estimate.estimated_time_seconds);
    println!("forecast: {}", forecast.explanation);
    Ok(ExitCode::SUCCESS)
}

/// What to expect from the record in the data folder. The pace that a running server has found is not known here.
fn forecast(tickets: u64, config: &Config, chain: &RpcChain) -> Forecast {
    let (endpoints, now_ms) = (chain.sends(), SystemClock.now_ms());
    let Record { hours, sends } = peek_record(&config.data_dir, &record_name(&endpoints), since_hour(now_ms));
    let endpoints: Vec<_> = endpoints.into_iter().map(|endpoint| (endpoint.counts.endpoint, endpoint.state)).collect();
    let question = Question {
        tickets,
        waiting: 0,
        now_ms,
        allowed_per_second: config.pacing.initial_rate(),
        slot_seconds: config.pacing.slot.as_secs_f64(),
        endpoints: &endpoints,
    };
    Forecast::new(&question, &hours, &sends)
}
