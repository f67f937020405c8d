//! `boxoffice check-config`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tempfile::TempDir;

use super::SettingFlags;
use crate::{
    app::{self, App},
    chain::{rpc::EndpointHealth, wallet::Wallet},
    config::{Config, ConfigErrors, ConfigFault, Network, describe},
    folder::{DataFolder, FolderError},
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
    if let Some(folder) = &config.backup.dir {
        tempfile::tempfile_in(folder).map(drop).with_context(|| {
            format!(
                "BACKUP_DIR {} cannot be written to; it must be there, belong to the user that runs the box, and under systemd \
                 stand in ReadWritePaths=",
                folder.display()
            )
        })?;
    }
    if args.online {
        let (config, _temporary) = beside_a_running_box(config.for_one_command())?;
        let app = App::start(config).await?;
        app.chain.ask_all().await;
        let endpoints = app.chain.health();
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
        let mut all_answer = true;
        for EndpointHealth { endpoint, fault, .. } in endpoints {
            all_answer &= fault.is_none();
            say!("{endpoint} {}", fault.unwrap_or_else(|| "answers, and serves the chain".into()));
        }
        anyhow::ensure!(
            all_answer,
            "the box works with the other endpoints, and would not have these when it needs them"
        );
        let holdings = holdings?;
        say!("the chain answers, books and wallet belong to it; the wallet holds {}", holdings.wallet);
        if !holdings.payers.is_empty() {
            say!("its {} fee payers hold {} together", holdings.payers.len(), holdings.paying());
        }
    }
    say!("the settings are in order");
    Ok(ExitCode::SUCCESS)
}

/// Books that a running box owns are not looked at: the rest is tried with empty ones in a temporary folder.
fn beside_a_running_box(mut config: Config) -> anyhow::Result<(Config, Option<TempDir>)> {
    if config.network == Network::Embedded
        || !matches!(DataFolder::take(&config.data_dir, &[]), Err(FolderError::Locked { .. }))
    {
        return Ok((config, None));
    }
    say!("a box is running on the books in {}; the rest is tried without them", config.data_dir.display());
    let temporary = tempfile::tempdir()?;
    temporary.path().clone_into(&mut config.data_dir);
    Ok((config, Some(temporary)))
}

/// Whether a key was ever made. Books that are not there yet are not begun, and those of a running server not disturbed.
fn books_have_keys(config: &Config) -> anyhow::Result<bool> {
    let lasting = config.network != Network::Embedded && config.data_dir.join(store::FILE_NAME).exists();
    Ok(lasting && store::peek_keys(&config.data_dir)?)
}
