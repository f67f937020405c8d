//! `boxoffice keygen`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use crate::{chain::wallet::Wallet, store::backup::BackupKeys};

/// Writes a key file that its owner alone may read: a wallet's, in the format of the Solana CLI, or one that opens encrypted
/// backups, in the format of age. Never overwrites.
#[derive(Debug, Args)]
#[command(after_help = "Examples: boxoffice keygen wallet.json\n          \
        boxoffice keygen --backup backup-key.txt     # keep it on another machine than the box")]
pub(super) struct KeygenArgs {
    /// Where to write it
    path: PathBuf,
    /// Makes a key that opens encrypted backups, and prints the public half for `BACKUP_RECIPIENTS`
    #[arg(long)]
    backup: bool,
}

pub(super) fn run(args: &KeygenArgs) -> anyhow::Result<ExitCode> {
    let path = args.path.display();
    if args.backup {
        let public = BackupKeys::create(&args.path)?;
        eprintln!("Wrote {path}. Keep it apart from the box, twice: without it, encrypted backups cannot be restored.");
        eprintln!("The box needs only the public half, as BACKUP_RECIPIENTS:");
        say!("{public}");
        return Ok(ExitCode::SUCCESS);
    }
    let wallet = Wallet::create(&args.path)?;
    eprintln!("Wrote {path}. Back it up: whoever has it owns the wallet, and without it nothing can be minted.");
    say!("{}", wallet.address());
    Ok(ExitCode::SUCCESS)
}
