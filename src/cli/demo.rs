//! `boxoffice demo`.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::Instant};

use super::{
    INTERRUPTED, SettingFlags,
    client::{Batch, OwnServer},
    interruption, listen,
    mint::progress_bar,
};
use crate::{
    config::{Config, Sources},
    domain::{lamports::Lamports, mint::MintStatus},
    minting::MAX_BATCH_TICKETS,
    telemetry,
};

const VENUE: &str = "demo-venue";
const SEATS_PER_ROW: usize = 20;

/// Starts an embedded Solana chain with the real Token Metadata program and the whole appliance on it, mints sample tickets
/// through the HTTP API, reads each one back from the chain, and shows the bill. Needs no settings and no network; reads
/// none of your settings but those given with --set. Exits with 0 only if every ticket was minted and read back.
#[derive(Debug, Args)]
#[command(after_help = "Example: boxoffice demo --tickets 1000 --exit")]
pub(super) struct DemoArgs {
    /// Number of tickets
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    tickets: u64,
    /// Ends after the summary instead of staying up
    #[arg(long)]
    exit: bool,
    /// Prints the summary as JSON
    #[arg(long)]
    json: bool,
    /// Port of the HTTP API [default: 3018, or a free one if that is taken]
    #[arg(long)]
    port: Option<u16>,
}

pub(super) async fn run(args: DemoArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    let mut flags: BTreeMap<String, String> = settings.set.iter().cloned().collect();
    flags.insert("NETWORK".into(), "embedded".into());
    flags.entry("LOG_LEVEL".into()).or_insert_with(|| "warn".into());
    flags.extend(args.port.map(|port| ("PORT".to_owned(), port.to_string())));
    let config = Config::load(&Sources { flags, ..Sources::default() })?;
    telemetry::start(&config.log_level, config.log_format);

    let stop = interruption()?;
    let listener = match TcpListener::bind(config.listen).await {
        Ok(listener) => listener,
        Err(_) if args.port.is_none() => TcpListener::bind((config.listen.ip(), 0)).await.context("no port is free")?,
        Err(_) => listen(config.listen).await?,
    };
    eprintln!("Starting an embedded Solana chain; everything here is temporary.");
    let server = tokio::select! {
        server = OwnServer::start(config, listener) => server?,
        () = stop.cancelled() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let result = tokio::select! {
        summary = mint_and_read_back(&server, args.tickets) => summary.map(Some),
        () = stop.cancelled() => Ok(None),
    };
    let Some(summary) = result? else {
        server.stop().await?;
        eprintln!("Interrupted. The chain and what was minted on it were temporary, and are gone.");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    let complete = summary.minted == args.tickets && summary.read_back == args.tickets;
    summary.print(&args)?;
    if !args.exit {
        eprintln!("\nThe box stays up at {} (Ctrl-C ends it). Open it in a browser, or try:", server.client.base());
        eprintln!("  curl {}admin/mints?limit=1", server.client.base());
        stop.cancelled().await;
    }
    server.stop().await?;
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn sample_ticket(number: usize) -> Value {
    let row = number.checked_div(SEATS_PER_ROW).unwrap_or_default().saturating_add(1);
    let seat = number.checked_rem(SEATS_PER_ROW).unwrap_or_default().saturating_add(1);
    json!({
        "id": format!("ticket-{number:05}"),
        "eventId": "opening-night",
        "userId": format!("user-{number}"),
        "ticketData": {
            "eventName": "Opening Night",
            "eventDate": "2026-12-31T20:00:00Z",
            "venue": "The Demo Hall",
            "tier": if row <= 2 { "VIP" } else { "Standard" },
            "seatNumber": format!("Row {row} Seat {seat}"),
        }
    })
}

struct Summary {
    tickets: u64,
    minted: u64,
    failed: Vec<String>,
    /// Tickets on which books and chain agree.
    read_back: u64,
    differences: Vec<String>,
    estimated: Lamports,
    spent: Lamports,
    wallet_lost: Lamports,
    seconds: f64,
    calls: BTreeMap<String, u64>,
}

async fn mint_and_read_back(server: &OwnServer, count: u64) -> anyhow::Result<Summary> {
    let app = &server.app;
    let numbers: Vec<usize> = (0..usize::try_from(count)?).collect();
    let balance_before = app.minter.purse().look().await?.together();
    let calls_before = app.chain.calls();
    let started = Instant::now();
    let bar = progress_bar(count);
    let mut batches: Vec<Batch> = Vec::new();
    for chunk in numbers.chunks(MAX_BATCH_TICKETS) {
        let minting = server.client.mint(VENUE, chunk.iter().copied().map(sample_ticket).collect());
        tokio::pin!(minting);
        let batch = loop {
            tokio::select! {
                batch = &mut minting => break batch?,
                () = tokio::time::sleep(Duration::from_millis(100)) => {
                    bar.set_position(app.store.counts(None).await?.of(MintStatus::Minted));
                }
            }
        };
        batches.push(batch);
    }
    let seconds = started.elapsed().as_secs_f64();
    bar.finish_and_clear();
    let mut calls = app.chain.calls();
    for (method, before) in calls_before {
        calls.entry(method).and_modify(|count| *count = count.saturating_sub(before));
    }
    calls.retain(|_, count| *count > 0);

    let minted = batches.iter().map(|batch| batch.successful.len() as u64).sum();
    let check = app.reconciler.reconcile(VENUE).await?;
    let balance_after = app.minter.purse().look().await?.together();
    Ok(Summary {
        tickets: count,
        minted,
        failed: batches
            .iter()
            .flat_map(|batch| &batch.failed)
            .map(|f| format!("{}: {}", f.ticket_id, f.error))
            .collect(),
        read_back: check.confirmed,
        differences: differences(&check),
        estimated: batches.iter().map(|batch| batch.summary.estimated_lamports).sum(),
        spent: batches.iter().map(|batch| batch.summary.spent_lamports).sum(),
        wallet_lost: balance_before.saturating_sub(balance_after),
        seconds,
        calls,
    })
}

fn differences(check: &crate::reconcile::Summary) -> Vec<String> {
    let found = check.discrepancies.iter().map(|found| format!("{}: {}", found.ticket_id, found.explanation));
    let open = check.reasons.iter().map(|note| format!("{}: {}", note.ticket_id, note.text));
    found.chain(open).collect()
}

impl Summary {
    #[expect(clippy::cast_precision_loss, reason = "rates shown to people")]
    fn print(&self, args: &DemoArgs) -> anyhow::Result<()> {
        let per_second = self.minted as f64 / self.seconds;
        let calls_per_ticket = self.calls.values().sum::<u64>() as f64 / self.tickets as f64;
        let read_back = self.read_back;
        if args.json {
            let summary = json!({
                "tickets": self.tickets,
                "minted": self.minted,
                "failed": self.failed.len(),
                "readBack": read_back,
                "estimatedLamports": self.estimated,
                "spentLamports": self.spent,
                "walletLostLamports": self.wallet_lost,
                "seconds": self.seconds,
                "ticketsPerSecond": per_second,
                "rpcCallsPerTicket": calls_per_ticket,
                "rpcCalls": self.calls,
            });
            say!("{}", serde_json::to_string_pretty(&summary)?);
            return Ok(());
        }
        say!("minted      {} of {} tickets, {} failed", self.minted, self.tickets, self.failed.len());
        say!("read back   {read_back} from the chain, as the books say");
        say!("estimated   {}", self.estimated);
        say!("spent       {} (the wallet lost {})", self.spent, self.wallet_lost);
        say!("speed       {per_second:.1} tickets/s, {:.2} s from request to answer", self.seconds);
        say!("RPC calls   {calls_per_ticket:.2} per ticket");
        for line in self.failed.iter().chain(&self.differences).take(20) {
            say!("  {line}");
        }
        Ok(())
    }
}
