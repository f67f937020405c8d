//! `boxoffice recover`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use reqwest::Url;
use serde_json::json;

use super::{
    SOME_FAILED, SettingFlags,
    client::{Batch, Client},
    mint::start,
    ticket_file,
};
use crate::{domain::ticket::TicketRules, minting::MAX_BATCH_TICKETS};

/// Tickets that are shown to people.
const SHOWN: usize = 20;

/// Looks every ticket of a CSV or JSON file up at its address on the chain, and takes those that are there into the books.
/// For books that were lost: nothing is minted and nothing is paid. Exits with 3 if the chain does not hold some of them.
#[derive(Debug, Args)]
#[command(after_help = "Example: boxoffice recover tickets.csv --venue town-hall --event gala\n\n\
        Tickets that showed an image of their event are found once that image is set again (`boxoffice image set`).")]
pub(super) struct RecoverArgs {
    /// The tickets as they were sold, CSV or JSON
    file: PathBuf,
    /// The venue's id
    #[arg(long, value_name = "ID")]
    venue: String,
    /// The event's id, for tickets that name none
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Prints the result as JSON
    #[arg(long)]
    json: bool,
    /// Talks to a running server instead of opening the data folder
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
}

pub(super) async fn run(args: RecoverArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    let mut config = settings.load_quietly()?;
    let rules = TicketRules { allow_off_curve_owners: config.allow_off_curve_owners };
    let file = ticket_file::read(&args.file, &args.venue, args.event.as_deref(), rules)?;
    if !file.faults.faults.is_empty() {
        return Err(file.faults.into());
    }
    if let Some(url) = args.url.clone() {
        return recover(&Client::new(url, config.admin_api_key.take())?, &args, &file.tickets).await;
    }
    let server = start(config).await?;
    let result = recover(&server.client, &args, &file.tickets).await;
    server.stop().await?;
    result
}

async fn recover(client: &Client, args: &RecoverArgs, tickets: &[serde_json::Value]) -> anyhow::Result<ExitCode> {
    let (mut recovered, mut failed) = (0_usize, Vec::new());
    for chunk in tickets.chunks(MAX_BATCH_TICKETS) {
        let Batch { successful, failed: not, .. } = client.recover(&args.venue, chunk).await?;
        recovered = recovered.saturating_add(successful.len());
        failed.extend(not);
    }
    if args.json {
        let failed: Vec<_> = failed.iter().map(|f| json!({ "ticketId": f.ticket_id, "code": f.code })).collect();
        let result = json!({ "tickets": tickets.len(), "inTheBooks": recovered, "failed": failed });
        say!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        say!("{recovered} of {} tickets are on the chain and in the books; {} are not.", tickets.len(), failed.len());
        for ticket in failed.iter().take(SHOWN) {
            say!("  {}: {} [{}]", ticket.ticket_id, ticket.error, ticket.code);
        }
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(SOME_FAILED) })
}
