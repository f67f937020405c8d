//! `boxoffice payers`.

use std::{process::ExitCode, sync::Arc};

use clap::{Args, Subcommand};
use serde_json::json;

use super::SettingFlags;
use crate::{
    app,
    chain::{transaction::signatures, wallet::MAX_FEE_PAYERS},
    config::{Config, Network},
    domain::{lamports::Lamports, mint::MintStatus},
    estimate::Prices,
    folder::{DataFolder, Outbox},
    payers::{
        Holdings, Purse,
        transfer::{Moved, Part, Transfers},
    },
    store::{self, Identity},
};

/// Where a transfer is written ahead, in the data folder.
const OUTBOX: &str = "payers-transfer";

/// Shows the wallet's fee payers (see `FEE_PAYERS`), fills them from the wallet, or brings their money back. Their keys are derived
/// from the wallet's key file: whoever has that has their money, and nothing else needs a backup. A command that was cut off
/// may be run again: it finishes what was begun, and moves nothing twice.
#[derive(Debug, Args)]
#[command(after_help = "Example: boxoffice payers fund --each 2.5")]
pub(super) struct PayersArgs {
    #[command(subcommand)]
    command: PayersCommand,
    /// Prints the result as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum PayersCommand {
    /// Shows what each holds
    List,
    /// Brings each of them up to a level, from the wallet; also beside a running server
    Fund {
        /// What each is to hold, in SOL
        #[arg(long, value_name = "SOL", value_parser = Lamports::parse_sol)]
        each: Lamports,
    },
    /// Brings everything that they hold back to the wallet; no server may run on the data folder
    Drain,
}

pub(super) async fn run(args: PayersArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    let config = settings.load_quietly()?;
    anyhow::ensure!(
        config.network != Network::Embedded,
        "with NETWORK=embedded chain and wallet live inside the server's process, and its fee payers begin with money"
    );
    // All that there can be: money may lie with some that the setting no longer names.
    let wallet = app::open_wallet(&config).await?.with_payers(MAX_FEE_PAYERS)?;
    let (chain, _none) = app::connect(&config, Vec::new()).await?;
    let identity = app::identify(&config, &chain, wallet.address()).await?;
    refuse_others_books(&config, &identity)?;
    chain.bind(identity.genesis_hash);
    let chain = Arc::new(chain);
    // As a server reckons: what may be offered for a ticket is kept ready for it.
    let prices = Prices::new(Arc::clone(&chain) as _)
        .with_signatures(signatures(config.wallet.fee_payers))
        .with_priority_fees(config.priority_fees);
    let price = prices.most().await?.total();
    let address = wallet.address().to_string();
    let print = |holdings: &Holdings, moved: &[Moved], left: &[Part]| {
        if args.json {
            return print_json(&config, &address, holdings, price, moved, left);
        }
        print_holdings(&config, &address, holdings, price);
        Ok(())
    };
    if matches!(args.command, PayersCommand::List) {
        print(&Purse::new(chain, &wallet).look().await?, &[], &[])?;
        return Ok(ExitCode::SUCCESS);
    }
    // Held until the end, so that no server begins to spend what goes.
    let _folder = matches!(args.command, PayersCommand::Drain).then(|| quiet_folder(&config)).transpose()?;
    let mut transfers = Transfers::new(chain, wallet, Outbox::take(&config.data_dir, OUTBOX)?, config.pacing.slot);
    let done = match args.command {
        PayersCommand::Fund { each } => {
            let count = config.wallet.fee_payers;
            anyhow::ensure!(
                count > 0,
                "FEE_PAYERS is 0, so the wallet pays itself; set how many fee payers there are to be"
            );
            transfers.fund(count, each, price).await.map(|()| Vec::new())
        }
        PayersCommand::List | PayersCommand::Drain => transfers.drain().await,
    };
    // Told also when the rest went wrong.
    if !args.json {
        print_moved(transfers.moved(), done.as_deref().unwrap_or_default());
    } else if done.is_err() && !transfers.moved().is_empty() {
        eprintln!("moved before the error: {}", serde_json::to_string(transfers.moved())?);
    }
    let left = done?;
    print(&transfers.look().await?, transfers.moved(), &left)?;
    Ok(ExitCode::SUCCESS)
}

/// Books that belong to another chain or wallet are a sign that a setting is wrong.
fn refuse_others_books(config: &Config, ours: &Identity) -> anyhow::Result<()> {
    if !config.data_dir.join(store::FILE_NAME).exists() {
        return Ok(());
    }
    let (books, _) = store::peek(&config.data_dir)?;
    let is_ours = |books: Identity| books.genesis_hash == ours.genesis_hash && books.authority == ours.authority;
    anyhow::ensure!(
        books.is_none_or(is_ours),
        "the books in {} belong to another chain or wallet; correct NETWORK, SOLANA_RPC_URLS, WALLET_PATH or DATA_DIR",
        config.data_dir.display()
    );
    Ok(())
}

/// Takes the data folder, and refuses while transactions that the payers must pay for are signed.
fn quiet_folder(config: &Config) -> anyhow::Result<DataFolder> {
    let folder = DataFolder::take(&config.data_dir, &[])?;
    if config.data_dir.join(store::FILE_NAME).exists() {
        let (_, counts) = store::peek(&config.data_dir)?;
        let (signed, waiting) = (counts.of(MintStatus::Minting), counts.of(MintStatus::Pending));
        anyhow::ensure!(
            signed == 0,
            "{signed} tickets are signed and not settled, and the fee payers must pay for them; run `boxoffice serve` until they are"
        );
        if waiting > 0 {
            eprintln!(
                "{waiting} accepted tickets wait to be minted; they go on waiting until the fee payers have money again."
            );
        }
    }
    Ok(folder)
}

fn print_moved(moved: &[Moved], left: &[Part]) {
    for Moved { signature, parts, fee_lamports, of_earlier_run } in moved {
        let sum: Lamports = parts.iter().map(|part| part.lamports).sum();
        let whose = if *of_earlier_run { ", begun by an earlier run" } else { "" };
        say!("moved {sum} with {} fee payers{whose} (fee {fee_lamports}): {signature}", parts.len());
        for Part { payer, lamports } in parts {
            say!("  {payer} {lamports}");
        }
    }
    for Part { payer, lamports } in left {
        say!("left {lamports} in {payer}: too little for a fee");
    }
    if moved.is_empty() && left.is_empty() {
        say!("nothing to move");
    }
}

/// Those of the settings, and those besides that hold something.
fn shown<'a>(config: &Config, holdings: &'a Holdings) -> impl Iterator<Item = (usize, String, Lamports)> + use<'a> {
    let used = config.wallet.fee_payers;
    let numbered = holdings.payers.iter().enumerate();
    let shown = numbered.filter(move |(number, (_, holds))| *number < used || *holds > Lamports::ZERO);
    shown.map(|(number, (payer, holds))| (number, payer.to_string(), *holds))
}

fn print_holdings(config: &Config, wallet: &str, holdings: &Holdings, price: Lamports) {
    say!("wallet {wallet} {}", holdings.wallet);
    for (number, payer, holds) in shown(config, holdings) {
        let tickets = holdings.tickets_of(holds, price);
        let used =
            if number < config.wallet.fee_payers { format!("{tickets} tickets") } else { "not used now".to_owned() };
        say!("{number:>6} {payer} {holds} ({used})");
    }
}

fn print_json(
    config: &Config,
    wallet: &str,
    holdings: &Holdings,
    price: Lamports,
    moved: &[Moved],
    left: &[Part],
) -> anyhow::Result<()> {
    let payers = shown(config, holdings).map(|(number, address, holds)| {
        json!({
            "number": number,
            "address": address,
            "balanceLamports": holds,
            "payableTickets": holdings.tickets_of(holds, price),
            "used": number < config.wallet.fee_payers,
        })
    });
    let result = json!({
        "wallet": wallet,
        "balanceLamports": holdings.wallet,
        "payers": payers.collect::<Vec<_>>(),
        "moved": moved,
        "left": left,
    });
    say!("{}", serde_json::to_string_pretty(&result)?);
    Ok(())
}
