//! `boxoffice restore`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Args;

use super::SettingFlags;
use crate::{
    app,
    backup::{self, Owner},
    chain::Chain as _,
    clock::{Clock as _, SystemClock},
    config::{Config, Network},
    folder::DataFolder,
    store::backup::BackupKeys,
};

/// How long the chain is waited for, to compare it with the backup's.
const PATIENCE: Duration = Duration::from_secs(5);

/// Puts a backup into the data folder. The server must be stopped; the backup must belong to the network and the wallet of the
/// settings, be whole, and be no newer than this version.
#[derive(Debug, Args)]
#[command(after_help = "Example: boxoffice restore /mnt/safe/boxoffice-2025-11-13.tar\n\n\
        Tickets minted after the backup are not lost: send them again, and they are found on the chain.")]
pub(super) struct RestoreArgs {
    /// File that `boxoffice backup` wrote
    file: PathBuf,
    /// Moves books that are there already aside, into a folder before-restore-… inside the data folder
    #[arg(long)]
    force: bool,
    /// File with the secret key of an encrypted backup
    #[arg(long, short, value_name = "KEYFILE")]
    identity: Option<PathBuf>,
    /// Only looks whether the backup is whole and can be restored; works beside a running server
    #[arg(long, conflicts_with = "force")]
    check: bool,
}

pub(super) async fn run(args: RestoreArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    let config = settings.load_quietly()?;
    anyhow::ensure!(
        config.network != Network::Embedded,
        "with NETWORK=embedded chain and books begin anew with each process; set NETWORK to that of the backup"
    );
    let keys = args.identity.as_deref().map(BackupKeys::read).transpose()?.unwrap_or_default();
    if args.check {
        return check(args.file, keys, &config).await;
    }
    let owner = owner(&config).await?;
    let folder = DataFolder::take(&config.data_dir, &[])?;
    let (data, file, force) = (folder.path().to_owned(), args.file, args.force);
    let restore = move || backup::restore(&file, &keys, &data, &owner, force, SystemClock.now_ms());
    let restored = tokio::task::spawn_blocking(restore).await??;
    let manifest = restored.manifest;
    say!(
        "{} holds the books as they were at {}: {} tickets, {} of them minted",
        folder.path().display(),
        manifest.created_at,
        manifest.counts.total,
        manifest.counts.minted
    );
    if let Some(aside) = restored.moved_aside {
        say!("The books that were there are in {}", aside.display());
    }
    say!("Tickets minted since then are on the chain: send them again (or reconcile), and they are found there,");
    say!("neither minted nor paid for a second time.");
    say!("Keys for the admin API are those of that time, revoked ones too: see `boxoffice key list`.");
    Ok(ExitCode::SUCCESS)
}

/// Reads a backup and opens what is in it, as a restore would, in a folder that is gone afterwards.
async fn check(file: PathBuf, keys: BackupKeys, config: &Config) -> anyhow::Result<ExitCode> {
    let owner = owner(config).await?;
    let room = std::env::temp_dir();
    let verify = move || backup::verify(&file, &keys, &owner, &room).map(|manifest| (file, manifest));
    let (file, manifest) = tokio::task::spawn_blocking(verify).await??;
    say!(
        "{} is whole: the books as they were at {}, {} tickets, {} of them minted; written by boxoffice {}",
        file.display(),
        manifest.created_at,
        manifest.counts.total,
        manifest.counts.minted,
        manifest.version
    );
    Ok(ExitCode::SUCCESS)
}

/// What the books must belong to. A chain that does not answer now is asked again at the next start, which refuses books of
/// another one.
async fn owner(config: &Config) -> anyhow::Result<Owner> {
    let authority = config.wallet.address()?.context("WALLET_PATH is missing; it says whose books to restore")?;
    let authority = authority.to_string();
    let mut genesis_hash = config.network.genesis_hash().map(str::to_owned);
    if genesis_hash.is_none() {
        let (chain, _none) = app::connect(config, Vec::new()).await?;
        let asked = tokio::time::timeout(PATIENCE, chain.genesis_hash()).await;
        genesis_hash = asked.ok().and_then(Result::ok).map(|hash| hash.to_string());
        if genesis_hash.is_none() {
            eprintln!("The chain does not answer; whether the backup belongs to it is checked at the next start.");
        }
    }
    Ok(Owner { network: config.network.as_str(), genesis_hash, authority })
}
