//! `boxoffice check-config`.

use std::process::ExitCode;

use clap::Args;

use super::SettingFlags;
use crate::{
    app::{self, App},
    chain::wallet::Wallet,
    config::{Config, ConfigErrors, ConfigFault, Network, describe},
    metadata::replicated::CopyStatus,
    store,
};

/// Checks what start-up checks. Secrets are not shown.
#[derive(Debug, Args)]
#[command(after_help = "Example: boxoffice check-config --online")]
pub(super) struct CheckConfigArgs {
    /// Also starts and stops the box, without its HTTP API: chain, wallet and books must belong together
    #[arg(long)]
    online: bool,
    /// Says nothing of the settings one by one
    #[arg(long)]
    quiet: bool,
}

pub(super) async fn run(args: CheckConfigArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    let config = settings.load_quietly()?;
    let described = describe(&settings.sources());
    for (setting, value, source) in described.iter().filter(|_| !args.quiet) {
        say!("{:<24} {:<32} {source}", setting.name, if value.is_empty() { "-" } else { value });
    }
    if let Some(name) = config.opened_by().filter(|_| config.admin_api_key.is_none())
        && !books_have_keys(&config)?
    {
        let source = described.iter().find(|(setting, ..)| setting.name == name).map(|(.., source)| source.clone());
        let detail = format!("lets others than this machine reach the box, but it has no key: {}", config.key_remedy());
        let fault = ConfigFault { name: name.into(), source: source.unwrap_or_default(), detail };
        return Err(ConfigErrors(vec![fault]).into());
    }
    if let Some(signer) = &config.wallet.signer {
        say!("tickets are signed by {signer} with the address {}", signer.public_key);
        if args.online {
            let ready = app::open_wallet(&config).await?.is_ready().await;
            anyhow::ensure!(ready, "{signer} does not answer, or has another key; {}", signer.remedy());
            say!("it answers, and has that key");
        }
    } else if let Some(path) = &config.wallet.key_file {
        say!("wallet {} has the address {}", path.display(), Wallet::load(path)?.address());
    }
    if args.online {
        let app = App::start(config.for_one_command()).await?;
        let holdings = app.minter.purse().look().await;
        let publishers = match app.publishing.check().await {
            Ok(()) => app.publishing.status().await,
            Err(error) => Err(error),
        };
        app.stop().await;
        for CopyStatus { provider, host, .. } in publishers? {
            say!("{provider} at {host} answers and lets the box in");
        }
        if let Some(fleet) = app.fleet.as_ref().filter(|fleet| !fleet.is_connected()) {
            let why = fleet.fault().unwrap_or_default();
            say!("Redis does not answer ({why}): the box starts all the same, and goes on without it");
        }
        let holdings = holdings?;
        say!("the chain answers, books and wallet belong to it; the wallet holds {}", holdings.wallet);
        if !holdings.payers.is_empty() {
            say!("its {} fee payers hold {} together", holdings.payers.len(), holdings.paying());
        }
    }
    say!("the settings are in order");
    Ok(ExitCode::SUCCESS)
}

/// Whether a key was ever made. Books that are not there yet are not begun, and those of a running server not disturbed.
fn books_have_keys(config: &Config) -> anyhow::Result<bool> {
    let lasting = config.network != Network::Embedded && config.data_dir.join(store::FILE_NAME).exists();
    Ok(lasting && store::peek_keys(&config.data_dir)?)
}
