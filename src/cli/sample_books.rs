//! `boxoffice sample-books`.

use std::process::ExitCode;

use clap::Args;

use super::SettingFlags;
use crate::{
    clock::{Clock as _, SystemClock},
    config::Network,
    folder::DataFolder,
    store::{FILE_NAME, Store},
};

/// Fills an empty data folder with made-up minted tickets, to see how the box fares with many. For NETWORK=localnet only:
/// the chain knows none of them.
#[derive(Debug, Args)]
#[command(after_help = "Example: NETWORK=localnet boxoffice sample-books 1000000 --set DATA_DIR=/tmp/books")]
pub(super) struct SampleBooksArgs {
    /// Number of tickets
    mints: u64,
    /// Number of venues that they belong to
    #[arg(long, default_value_t = 10)]
    venues: u64,
}

pub(super) async fn run(args: SampleBooksArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    let config = settings.load_quietly()?;
    anyhow::ensure!(config.network == Network::Localnet, "sample tickets are for NETWORK=localnet only");
    let folder = DataFolder::take(&config.data_dir, &[FILE_NAME])?;
    let store = Store::open(folder.path())?;
    store.fill_with_samples(args.mints, args.venues, SystemClock.now_ms()).await?;
    store.close().await;
    eprintln!("{} sample tickets of {} venues are in {}", args.mints, args.venues, folder.path().display());
    Ok(ExitCode::SUCCESS)
}
