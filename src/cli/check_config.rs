//! `boxoffice check-config`.

use std::process::ExitCode;

use clap::Args;

use super::SettingFlags;
use crate::{app::App, chain::wallet::Wallet, config::describe};

/// Checks what start-up checks. Secrets are not shown.
#[derive(Debug, Args)]
#[command(after_help = "Example: boxoffice check-config --online")]
pub(super) struct CheckConfigArgs {
    /// Also starts and stops the box, without its HTTP API: chain, wallet and books must belong together
    #[arg(long)]
    online: bool,
}

pub(super) async fn run(args: CheckConfigArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    let config = settings.load_quietly()?;
    for (setting, value, source) in describe(&settings.sources()) {
        println!("{:<24} {:<32} {source}", setting.name, if value.is_empty() { "-" } else { &value });
    }
    if let Some(path) = &config.wallet_path {
        println!("wallet {} has the address {}", path.display(), Wallet::load(path)?.address());
    }
    if args.online {
        let app = App::start(config.for_one_command()).await?;
        let balance = crate::chain::Chain::balance(app.chain.as_ref(), &app.authority).await;
        app.stop().await;
        println!("the chain answers, books and wallet belong to it; the wallet holds {}", balance?);
    }
    println!("the settings are in order");
    Ok(ExitCode::SUCCESS)
}
