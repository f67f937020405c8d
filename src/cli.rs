//! The command line: one file for each command, and the only place that prints.
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 an error, 2 wrong usage or
//! settings, or faults in a ticket file, 3 finished but some tickets could not be minted or rows were left out, 130
//! interrupted.

#![allow(clippy::print_stderr, reason = "this is the part that talks to people")]

/// Prints a line of the result.
macro_rules! say {
    () => { say!("") };
    ($($told:tt)*) => { $crate::cli::print_line(format_args!($($told)*)) };
}

mod address;
mod alert;
mod backup;
mod cache;
mod check_config;
mod client;
#[cfg(feature = "localnet")]
mod demo;
mod estimate;
mod export;
mod image;
mod key;
mod keygen;
#[cfg(feature = "localnet")]
mod localnet;
mod mint;
mod payers;
mod reconcile;
mod recover;
mod restore;
#[cfg(feature = "localnet")]
mod sample_books;
mod serve;
mod status;
mod ticket_file;

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::{
    app::StartError,
    backup::RestoreError,
    chain::{ChainError, wallet::WalletError},
    config::{Config, ConfigErrors, Sources, Supervision},
    metadata::export::ExportError,
    payers::transfer::TransferError,
    store::{StoreError, backup::BackupError},
    supervisor::Supervisor,
    telemetry,
    webhook::WebhookError,
};

/// Something is wrong with what the user typed, set or handed over.
const USAGE: u8 = 2;
/// Done, but some tickets could not be minted.
const SOME_FAILED: u8 = 3;
/// Stopped by Ctrl-C or SIGTERM.
const INTERRUPTED: u8 = 130;

/// Turns a venue's ticket sales into NFTs on Solana: exactly once, at an honest price.
#[derive(Debug, Parser)]
#[command(
    version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BOXOFFICE_BUILD"), ")"),
    after_help = "Settings come from boxoffice.toml, .env and the environment; see `boxoffice check-config`."
)]
pub struct Cli {
    #[command(flatten)]
    settings: SettingFlags,
    #[command(subcommand)]
    command: Command,
}

/// Where settings come from.
#[derive(Debug, Args)]
struct SettingFlags {
    /// Configuration file [default: boxoffice.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Overrides one setting, for example `--set MAX_BATCH_SIZE=50`; may be repeated
    #[arg(long, global = true, value_name = "NAME=VALUE", value_parser = name_and_value)]
    set: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows everything at work: an embedded chain, sample tickets, the bill
    #[cfg(feature = "localnet")]
    Demo(demo::DemoArgs),
    /// Runs the appliance: HTTP API and minting
    Serve(serve::ServeArgs),
    /// Runs the embedded chain alone, for any Solana client
    #[cfg(feature = "localnet")]
    Localnet(localnet::LocalnetArgs),
    /// Mints the tickets of a CSV or JSON file
    Mint(mint::MintArgs),
    /// Says what a number of tickets costs and how long they take
    Estimate(estimate::EstimateArgs),
    /// Compares a venue's tickets with the chain, and repairs the books
    Reconcile(reconcile::ReconcileArgs),
    /// Rebuilds the books from the chain for the tickets of a file, and mints nothing
    Recover(recover::RecoverArgs),
    /// Computes a ticket's address on the chain
    Address(address::AddressArgs),
    /// Makes a new wallet
    Keygen(keygen::KeygenArgs),
    /// Shows the wallet's fee payers, fills them, or brings their money back
    Payers(payers::PayersArgs),
    /// Makes, lists and revokes keys for the admin API
    Key(key::KeyArgs),
    /// Looks at the cache, has it forget, or fills it
    Cache(cache::CacheArgs),
    /// Tries whether alerts arrive
    Alert(alert::AlertArgs),
    /// Checks the settings and shows where each comes from
    CheckConfig(check_config::CheckConfigArgs),
    /// Fills an empty data folder with made-up tickets, for measurements
    #[cfg(feature = "localnet")]
    SampleBooks(sample_books::SampleBooksArgs),
    /// Writes books and content into one file, beside a running server or without one
    Backup(backup::BackupArgs),
    /// Puts a backup into the data folder
    Restore(restore::RestoreArgs),
    /// Sets the image of an event's tickets
    Image(image::ImageArgs),
    /// Writes everything that is published into one CAR file, for pinning services
    Export(export::ExportArgs),
    /// Says how the box is doing
    Status(status::StatusArgs),
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl SettingFlags {
    fn sources(&self) -> Sources {
        Sources::of_process(self.config.clone(), self.set.iter().cloned().collect::<BTreeMap<_, _>>())
    }

    /// Whoever started this process and wants to know how it is.
    fn supervisor(&self) -> Supervisor {
        let Supervision { socket, patience } = Supervision::read(&self.sources());
        Supervisor::new(socket.as_deref(), patience)
    }

    /// Reads the settings for a command that speaks for itself: only warnings are logged, unless the settings say more.
    fn load_quietly(&self) -> Result<Config, ConfigErrors> {
        let preferred = BTreeMap::from([("LOG_LEVEL".to_owned(), "warn".to_owned())]);
        Self::begin(&Sources { preferred, ..self.sources() })
    }

    /// Reads the settings and starts logging as they say.
    fn load(&self) -> Result<Config, ConfigErrors> {
        Self::begin(&self.sources())
    }

    fn begin(sources: &Sources) -> Result<Config, ConfigErrors> {
        let config = Config::load(sources)?;
        telemetry::start(&config.log_level, config.log_format);
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        Ok(config)
    }
}

/// Runs a command and returns what the process should exit with.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    #[cfg(feature = "failpoints")]
    crate::kill_points::arm();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start");
    let result = runtime.and_then(|runtime| {
        let result = runtime.block_on(dispatch(cli));
        // A blocking read of standard input must not keep the process.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", told(&error));
            let usage = error.is::<ConfigErrors>() || error.is::<ticket_file::FileFaults>();
            ExitCode::from(if usage { USAGE } else { 1 })
        }
    }
}

/// Whoever reads may have read enough, as `head` does: then nothing more is printed, and the command goes on to its end.
fn print_line(line: fmt::Arguments<'_>) {
    if let Err(error) = writeln!(io::stdout().lock(), "{line}")
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        eprintln!("error: the result cannot be written: {error}");
        std::process::exit(1);
    }
}

/// An error as a sentence. Our own errors name their causes themselves; what only has a context is told with its cause.
fn told(error: &anyhow::Error) -> String {
    let complete = error.is::<StartError>()
        || error.is::<ChainError>()
        || error.is::<StoreError>()
        || error.is::<BackupError>()
        || error.is::<RestoreError>()
        || error.is::<WalletError>()
        || error.is::<ExportError>()
        || error.is::<WebhookError>()
        || error.is::<TransferError>()
        || error.is::<ConfigErrors>();
    #[cfg(feature = "localnet")]
    let complete = complete || error.is::<crate::chain::local::LocalChainError>();
    if complete { error.to_string() } else { format!("{error:#}") }
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let settings = &cli.settings;
    match cli.command {
        #[cfg(feature = "localnet")]
        Command::Demo(args) => demo::run(args, settings).await,
        Command::Serve(args) => serve::run(args, settings).await,
        #[cfg(feature = "localnet")]
        Command::Localnet(args) => localnet::run(args).await,
        Command::Mint(args) => mint::run(args, settings).await,
        Command::Estimate(args) => estimate::run(args, settings).await,
        Command::Reconcile(args) => reconcile::run(args, settings).await,
        Command::Recover(args) => recover::run(args, settings).await,
        Command::Address(args) => address::run(args, settings),
        Command::Payers(args) => Box::pin(payers::run(args, settings)).await,
        Command::Key(args) => key::run(args, settings).await,
        Command::Cache(args) => Box::pin(cache::run(args, settings)).await,
        Command::Alert(args) => alert::run(args, settings).await,
        Command::Keygen(args) => keygen::run(&args),
        Command::CheckConfig(args) => Box::pin(check_config::run(args, settings)).await,
        #[cfg(feature = "localnet")]
        Command::SampleBooks(args) => sample_books::run(args, settings).await,
        Command::Backup(args) => backup::run(args, settings).await,
        Command::Restore(args) => restore::run(args, settings).await,
        Command::Image(args) => Box::pin(image::run(args, settings)).await,
        Command::Export(args) => export::run(args, settings).await,
        Command::Status(args) => status::run(args, settings).await,
    }
}

/// Cancelled by Ctrl-C or SIGTERM; a second one ends the process at once, which loses nothing either.
fn interruption() -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        loop {
            #[cfg(unix)]
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            #[cfg(not(unix))]
            drop(tokio::signal::ctrl_c().await);
            if cancelled.is_cancelled() {
                std::process::exit(INTERRUPTED.into());
            }
            cancelled.cancel();
        }
    });
    Ok(token)
}

/// Takes a port, or says who may have it and what to do.
async fn listen(address: std::net::SocketAddr) -> anyhow::Result<tokio::net::TcpListener> {
    let remedy = "stop what listens there, or choose another port with PORT or --set PORT=…";
    tokio::net::TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}; {remedy}"))
}
