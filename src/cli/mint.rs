//! `boxoffice mint`.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Url;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    INTERRUPTED, SOME_FAILED, SettingFlags, USAGE,
    client::{Batch, Client, DryRun, OwnServer},
    interruption,
    key::fresh_key,
    ticket_file,
};
use crate::{
    config::{Config, Network},
    domain::{ids::VenueId, lamports::Lamports, ticket::TicketRules},
    minting::MAX_BATCH_TICKETS,
};

/// How often the progress is asked for.
const REFRESH: Duration = Duration::from_millis(250);
/// Failed tickets that are listed one by one.
const SHOWN_FAILURES: usize = 20;

/// Checks every row, says what it costs, asks, and mints. Run it again after any interruption and it goes on; a second run
/// of the same file changes nothing.
///
/// CSV columns: id, eventId, userId, eventName, eventDate, venue, tier, seatNumber, ownerAddress, image; any other column is
/// printed on the ticket under its own name.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
#[command(after_help = "Example: boxoffice mint tickets.csv --venue venue-123 --event event-1")]
pub(super) struct MintArgs {
    /// CSV or JSON file of tickets
    file: PathBuf,
    /// The venue that sells
    #[arg(long)]
    venue: String,
    /// The event of tickets that name none
    #[arg(long)]
    event: Option<String>,
    /// Checks the file and says what it would cost, nothing more
    #[arg(long)]
    dry_run: bool,
    /// Mints the good rows of a file that has faulty ones too
    #[arg(long)]
    skip_faulty: bool,
    /// Spends no more than so many lamports on the file; what that does not reach for fails, and can be sent again
    #[arg(long, value_name = "LAMPORTS", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "max_sol")]
    max_lamports: Option<u64>,
    /// The same, in SOL
    #[arg(long, value_name = "SOL", value_parser = Lamports::parse_sol)]
    max_sol: Option<Lamports>,
    /// Does not ask
    #[arg(long, short)]
    yes: bool,
    /// Prints the result as JSON
    #[arg(long)]
    json: bool,
    /// Talks to a running server instead of opening the data folder
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
}

impl MintArgs {
    fn budget(&self) -> Option<Lamports> {
        self.max_sol.or(self.max_lamports.map(Lamports))
    }
}

pub(super) async fn run(args: MintArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    if let Err(fault) = VenueId::new(args.venue.as_str()) {
        bail!("the venue's id {fault}");
    }
    let mut config = settings.load_quietly()?;
    let rules = TicketRules { allow_off_curve_owners: config.allow_off_curve_owners };
    let file = ticket_file::read(&args.file, &args.venue, args.event.as_deref(), rules)?;
    if !file.faults.faults.is_empty() {
        let skip = args.skip_faulty && !file.tickets.is_empty();
        if !skip {
            return Err(file.faults.into());
        }
        eprintln!("{}", file.faults);
    }
    let stop = interruption()?;
    let result = if let Some(url) = args.url.clone() {
        let client = Client::new(url, config.admin_api_key.take())?;
        mint(&client, &args, &file.tickets, &stop).await
    } else {
        let server = start(config).await?;
        let result = mint(&server.client, &args, &file.tickets, &stop).await;
        server.stop().await?;
        result
    };
    // Rows that were left out are tickets that were not minted.
    let left_out = !file.faults.faults.is_empty();
    result.map(|code| if left_out && code == ExitCode::SUCCESS { ExitCode::from(SOME_FAILED) } else { code })
}

/// The appliance in this process, on a port and with a key that nobody else knows.
pub(super) async fn start(mut config: Config) -> anyhow::Result<OwnServer> {
    if config.network == Network::Embedded {
        eprintln!("NETWORK=embedded: a rehearsal. Chain and books are temporary and end with this command.");
    }
    config.admin_api_key = Some(fresh_key()?);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.context("cannot listen on loopback")?;
    OwnServer::start(config, listener).await
}

async fn mint(
    client: &Client,
    args: &MintArgs,
    tickets: &[Value],
    stop: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    let budget = args.budget();
    let plan = plan(client, &args.venue, tickets, budget).await?;
    let price = plan.estimate.estimated_lamports;
    let DryRun { total, new, known, failed, .. } = &plan;
    eprintln!("{total} tickets: {new} to mint, {known} known already, {} that cannot be minted.", failed.len());
    for ticket in failed.iter().take(SHOWN_FAILURES) {
        eprintln!("  {}: {} [{}]", ticket.ticket_id, ticket.error, ticket.code);
    }
    if plan.new > 0 {
        let seconds = plan.estimate.estimated_time_seconds;
        let place = match plan.fee_payers {
            0 => "the wallet".to_owned(),
            1 => "its fee payer".to_owned(),
            payers => format!("its {payers} fee payers"),
        };
        eprintln!("Cost: {price}, of {} in {place}. Time: about {seconds:.0} s.", plan.balance_lamports);
        if let Some(forecast) = &plan.forecast {
            eprintln!("Forecast: {}.", forecast.explanation);
        }
    }
    if args.dry_run && args.json {
        say!("{}", serde_json::to_string_pretty(&plan)?);
    }
    if let Some(refusal) = &plan.refusal {
        bail!("nothing was minted: {refusal}");
    }
    // Each batch of a long file may be payable, and all of them together not.
    let too_much = budget.map_or(Lamports::ZERO, |budget| price.saturating_sub(budget));
    if too_much > Lamports::ZERO {
        bail!(
            "nothing was minted: the file is expected to cost {too_much} more than its budget; allow it that much more"
        );
    }
    let missing = price.saturating_sub(plan.spendable_lamports);
    if plan.new > 0 && missing > Lamports::ZERO {
        bail!(
            "nothing was minted: the wallet {} is {missing} short; send it that much, and on to its fee payers if it has any \
             (`boxoffice payers fund`)",
            plan.wallet
        );
    }
    if args.dry_run {
        return Ok(if plan.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(SOME_FAILED) });
    }
    if plan.new > 0 && !args.yes && !confirmed(stop).await? {
        eprintln!("Nothing was minted.");
        return Ok(ExitCode::from(USAGE));
    }
    let bar = progress_bar(plan.total);
    let mut batches: Vec<Batch> = Vec::new();
    for chunk in tickets.chunks(MAX_BATCH_TICKETS) {
        // What the batches before have left, and a lamport where that is nothing: it is known to be too little, and says so.
        let spent: Lamports = batches.iter().map(|batch| batch.summary.spent_lamports).sum();
        let left = budget.map(|budget| budget.saturating_sub(spent).max(Lamports(1)));
        let followed = tokio::select! {
            batch = follow(client, &args.venue, chunk, left, &bar) => Some(batch),
            () = stop.cancelled() => None,
        };
        let Some(batch) = followed else {
            bar.abandon();
            eprintln!("Interrupted. What was accepted is on disk; run the same command again and it goes on.");
            return Ok(ExitCode::from(INTERRUPTED));
        };
        match batch {
            Ok(batch) => batches.push(batch),
            Err(error) => {
                bar.abandon();
                if !batches.is_empty() {
                    report(args, &batches)?;
                }
                return Err(error);
            }
        }
    }
    bar.finish_and_clear();
    report(args, &batches)
}

/// What the whole file would do: the sum over its batches.
async fn plan(client: &Client, venue: &str, tickets: &[Value], budget: Option<Lamports>) -> anyhow::Result<DryRun> {
    let mut sum: Option<DryRun> = None;
    for chunk in tickets.chunks(MAX_BATCH_TICKETS) {
        let part = client.dry_run(venue, chunk, budget).await?;
        let Some(sum) = &mut sum else {
            sum = Some(part);
            continue;
        };
        sum.total = sum.total.saturating_add(part.total);
        sum.new = sum.new.saturating_add(part.new);
        sum.known = sum.known.saturating_add(part.known);
        sum.failed.extend(part.failed);
        sum.refusal = sum.refusal.take().or(part.refusal);
        // Each of several batches has a forecast of its own when its turn comes.
        sum.forecast = None;
        let (estimate, more) = (&mut sum.estimate, part.estimate);
        estimate.estimated_lamports = estimate.estimated_lamports + more.estimated_lamports;
        estimate.estimated_time_seconds += more.estimated_time_seconds;
    }
    sum.context("there are no tickets")
}

async fn confirmed(stop: &CancellationToken) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("nobody is there to say yes; add --yes to mint without asking");
    }
    eprint!("Mint them? [y/N] ");
    io::stderr().flush()?;
    let ask = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map(|_read| answer)
    });
    tokio::select! {
        answer = ask => Ok(matches!(answer??.trim().to_lowercase().as_str(), "y" | "yes")),
        () = stop.cancelled() => Ok(false),
    }
}

pub(super) fn progress_bar(total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} tickets  {per_sec}  ETA {eta}");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

async fn follow(
    client: &Client,
    venue: &str,
    tickets: &[Value],
    budget: Option<Lamports>,
    bar: &ProgressBar,
) -> anyhow::Result<Batch> {
    let batch = client.submit(venue, tickets, budget).await?;
    let before = bar.position();
    loop {
        let summary = client.progress(&batch.batch_id).await?;
        bar.set_position(before.saturating_add(summary.total).saturating_sub(summary.pending));
        if summary.pending == 0 {
            return client.batch(&batch.batch_id).await;
        }
        tokio::time::sleep(REFRESH).await;
    }
}

fn report(args: &MintArgs, batches: &[Batch]) -> anyhow::Result<ExitCode> {
    let sum = |value: fn(&Batch) -> u64| batches.iter().map(value).sum::<u64>();
    let (minted, failed) = (sum(|batch| batch.summary.succeeded), sum(|batch| batch.summary.failed));
    let spent: Lamports = batches.iter().map(|batch| batch.summary.spent_lamports).sum();
    let estimated: Lamports = batches.iter().map(|batch| batch.summary.estimated_lamports).sum();
    let budget = args.budget();
    let bound = budget.map_or_else(String::new, |budget| format!(", allowed {budget}"));
    if args.json {
        let all = |list: fn(&Batch) -> Vec<Value>| batches.iter().flat_map(list).collect::<Vec<_>>();
        let result = json!({
            "venueId": args.venue,
            "batchIds": batches.iter().map(|batch| &batch.batch_id).collect::<Vec<_>>(),
            "successful": all(|batch| batch.successful.iter().map(|ticket| json!(ticket)).collect()),
            "failed": all(|batch| batch.failed.iter().map(|ticket| json!(ticket)).collect()),
            "estimatedLamports": estimated,
            "spentLamports": spent,
            "maxLamports": budget,
        });
        say!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        say!("{minted} tickets are on the chain, {failed} failed. Spent {spent}, estimated {estimated}{bound}.");
        for ticket in batches.iter().flat_map(|batch| &batch.failed).take(SHOWN_FAILURES) {
            let hint = if ticket.retryable { " (run again to retry)" } else { "" };
            say!("  {}: {} [{}]{hint}", ticket.ticket_id, ticket.error, ticket.code);
        }
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(SOME_FAILED) })
}
