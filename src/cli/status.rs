//! `boxoffice status`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::SettingFlags;
use crate::{app, chain::Chain as _, config::Network, domain::mint::MintStatus, store};

/// Reads the books beside a running server without disturbing it, and asks the chain for the balance.
#[derive(Debug, Args)]
#[command(after_help = "Example: boxoffice status --json")]
pub(super) struct StatusArgs {
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: StatusArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    let config = settings.load_quietly()?;
    anyhow::ensure!(
        config.network != Network::Embedded,
        "with NETWORK=embedded chain and books live inside the server's process; ask it: curl http://{}/health",
        config.listen
    );
    let (identity, counts) = store::peek(&config.data_dir)?;
    if let Some(identity) = identity.as_ref().filter(|identity| identity.network != config.network.as_str()) {
        anyhow::bail!(
            "NETWORK is {}, but the books in {} were begun on {}; correct NETWORK, or use another DATA_DIR",
            config.network,
            config.data_dir.display(),
            identity.network
        );
    }
    let of = |status| counts.of(status);
    let (chain, _none) = app::connect(&config, Vec::new()).await?;
    let authority = identity.as_ref().and_then(|identity| identity.authority.parse().ok());
    let balance = match &authority {
        Some(authority) => Some(chain.balance(authority).await),
        None => None,
    };
    if args.json {
        let status = json!({
            "network": config.network.as_str(),
            "wallet": identity.map(|identity| identity.authority),
            "balanceLamports": balance.and_then(Result::ok),
            "tickets": {
                "total": counts.total(),
                "pending": of(MintStatus::Pending),
                "minting": of(MintStatus::Minting),
                "minted": of(MintStatus::Minted),
                "failed": of(MintStatus::Failed),
            },
        });
        say!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(ExitCode::SUCCESS);
    }
    say!("network  {}", config.network);
    if let (Some(identity), Some(balance)) = (identity, balance) {
        let balance = balance.map_or_else(|error| format!("unknown: {error}"), |balance| balance.to_string());
        say!("wallet   {} ({balance})", identity.authority);
    }
    say!(
        "tickets  {} accepted: {} minted, {} under way, {} waiting, {} failed",
        counts.total(),
        of(MintStatus::Minted),
        of(MintStatus::Minting),
        of(MintStatus::Pending),
        of(MintStatus::Failed)
    );
    Ok(ExitCode::SUCCESS)
}
