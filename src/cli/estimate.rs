//! `boxoffice estimate`.

use std::{process::ExitCode, sync::Arc};

use clap::Args;

use super::SettingFlags;
use crate::{
    app,
    chain::transaction::signatures,
    clock::SystemClock,
    estimate::{Estimate, Prices},
    forecast::from_books,
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
        .with_signatures(signatures(config.wallet.fee_payers));
    let price = prices.ticket().await?;
    let (allowed, slot) = (config.pacing.allowed(config.pacing.initial_rate()), config.pacing.slot);
    let forecast = from_books(&config.data_dir, chain.as_ref(), &SystemClock, args.count, allowed, slot);
    // What a network takes beyond one ticket to a transaction only a box with a wallet finds out.
    let seconds = config.pacing.seconds_for(args.count, 1, config.pacing.initial_rate());
    let estimate = Estimate::new(args.count, price, 1, seconds);
    if args.json {
        let mut answer = serde_json::to_value(estimate)?;
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("forecast".into(), serde_json::to_value(&forecast)?);
        }
        say!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    say!("{} tickets on {} cost {}", args.count, config.network, estimate.estimated_lamports);
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
        say!("  {name:<30} {lamports}");
    }
    say!("and take about {} s", estimate.estimated_time_seconds);
    if config.packing && args.count > 1 {
        say!(
            "with one ticket in a transaction; `boxoffice mint FILE --dry-run` finds out whether several ride together"
        );
    }
    say!("forecast: {}", forecast.explanation);
    Ok(ExitCode::SUCCESS)
}
