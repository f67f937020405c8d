//! `boxoffice backup`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::SettingFlags;
use crate::{
    backup,
    clock::{Clock as _, SystemClock},
    config::Network,
};

/// Writes books and content into one file, as they are at one moment, beside a running server or without one. The file is a
/// tar with a manifest; nothing is ever overwritten.
#[derive(Debug, Args)]
#[command(after_help = "Example: boxoffice backup /mnt/safe/boxoffice-$(date +%F).tar\n\n\
        The wallet's key file and the settings are not in it: keep copies of them elsewhere. With BACKUP_RECIPIENTS the file is\n\
        encrypted, and only the holder of a key can read it: `boxoffice keygen --backup FILE` makes one.")]
pub(super) struct BackupArgs {
    /// File to write
    file: PathBuf,
    /// Prints the manifest as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: BackupArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    let config = settings.load_quietly()?;
    anyhow::ensure!(
        config.network != Network::Embedded,
        "with NETWORK=embedded chain and books live inside the server's process and end with it; there is nothing to keep"
    );
    let recipients = config.backup.recipients.clone();
    let (data, file) = (config.data_dir, args.file.clone());
    let write = move || backup::write(&data, &file, SystemClock.now_ms(), &recipients);
    let manifest = tokio::task::spawn_blocking(write).await??;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&manifest)?);
        return Ok(ExitCode::SUCCESS);
    }
    let counts = manifest.counts;
    say!(
        "{}: {} tickets ({} minted, {} under way, {} waiting, {} failed) of wallet {} on {}, {}read back and whole",
        args.file.display(),
        counts.total,
        counts.minted,
        counts.minting,
        counts.pending,
        counts.failed,
        manifest.authority,
        manifest.network,
        match config.backup.recipients.len() {
            0 => String::new(),
            1 => "encrypted for one key, ".to_owned(),
            keys => format!("encrypted for {keys} keys, "),
        }
    );
    Ok(ExitCode::SUCCESS)
}
