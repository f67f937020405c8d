//! `boxoffice keygen`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use crate::chain::wallet::Wallet;

/// Writes a key file in the format of the Solana CLI, readable by its owner only. Never overwrites.
#[derive(Debug, Args)]
#[command(after_help = "Example: boxoffice keygen wallet.json")]
pub(super) struct KeygenArgs {
    /// Where to write it
    path: PathBuf,
}

pub(super) fn run(args: &KeygenArgs) -> anyhow::Result<ExitCode> {
    let wallet = Wallet::create(&args.path)?;
    eprintln!(
        "Wrote {}. Back it up: whoever has it owns the wallet, and without it nothing can be minted.",
        args.path.display()
    );
    say!("{}", wallet.address());
    Ok(ExitCode::SUCCESS)
}
