//! `boxoffice localnet`.

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use reqwest::Url;
use solana_pubkey::Pubkey;

use super::interruption;
use crate::{
    chain::local::{LocalChain, LocalChainOptions},
    domain::lamports::Lamports,
};

/// Token Metadata is loaded; any Solana client can connect. The chain is gone when the process ends.
#[derive(Debug, Args)]
#[command(after_help = "Example: boxoffice localnet --fund $(boxoffice keygen wallet.json)=100")]
pub(super) struct LocalnetArgs {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port of the JSON-RPC API; 0 picks a free one
    #[arg(long, default_value_t = 8899)]
    rpc_port: u16,
    /// Port of the WebSocket API; 0 picks a free one
    #[arg(long, default_value_t = 8900)]
    ws_port: u16,
    /// Milliseconds between blocks
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    slot_ms: u64,
    /// Gives an address money; may be repeated
    #[arg(long, value_name = "PUBKEY=SOL", value_parser = funding)]
    fund: Vec<(Pubkey, Lamports)>,
    /// Loads a further program; may be repeated
    #[arg(long, value_name = "ID=FILE.so", value_parser = program)]
    program: Vec<(Pubkey, PathBuf)>,
    /// Clones accounts on demand from this cluster
    #[arg(long, value_name = "URL")]
    fork: Option<Url>,
}

fn funding(text: &str) -> Result<(Pubkey, Lamports), String> {
    let (address, amount) = text.split_once('=').ok_or("must be PUBKEY=SOL")?;
    let address = address.parse().map_err(|_not_base58| format!("{address:?} is not a Solana address"))?;
    Ok((address, Lamports::parse_sol(amount).map_err(|fault| format!("{amount:?} {fault}"))?))
}

fn program(text: &str) -> Result<(Pubkey, PathBuf), String> {
    let (id, file) = text.split_once('=').ok_or("must be ID=FILE.so")?;
    Ok((id.parse().map_err(|_not_base58| format!("{id:?} is not a Solana address"))?, PathBuf::from(file)))
}

pub(super) async fn run(args: LocalnetArgs) -> anyhow::Result<ExitCode> {
    let stop = interruption()?;
    let programs = args.program.into_iter().map(|(id, file)| {
        let elf = std::fs::read(&file).with_context(|| format!("cannot read the program {}", file.display()))?;
        anyhow::Ok((id, elf))
    });
    let options = LocalChainOptions {
        host: args.host,
        rpc_port: args.rpc_port,
        ws_port: args.ws_port,
        slot_ms: args.slot_ms,
        fund: args.fund,
        programs: programs.collect::<Result<_, _>>()?,
        keep_logs: true,
        fork: args.fork,
    };
    let chain = tokio::task::spawn_blocking(move || LocalChain::start(&options)).await??;
    say!("RPC {} WebSocket {}", chain.rpc_url(), chain.ws_url());
    eprintln!("Ctrl-C ends the chain and everything on it.");
    stop.cancelled().await;
    Ok(ExitCode::SUCCESS)
}
