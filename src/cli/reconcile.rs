//! `boxoffice reconcile`.

use std::process::ExitCode;

use clap::Args;
use reqwest::Url;
use serde_json::Value;

use super::{SOME_FAILED, SettingFlags, client::Client, mint::start};

/// Differences that are shown to people.
const SHOWN: usize = 20;

/// Compares all tickets of a venue with the chain. With --fix it repairs what can be repaired: adopts what landed, corrects
/// the books, queues what provably does not exist, and mints it. Exits with 3 if differences are left.
#[derive(Debug, Args)]
#[command(after_help = "Example: boxoffice reconcile town-hall --fix --dry-run")]
pub(super) struct ReconcileArgs {
    /// The venue's id
    venue: String,
    /// Repairs what can be repaired
    #[arg(long)]
    fix: bool,
    /// With --fix: only says what would be done
    #[arg(long, requires = "fix")]
    dry_run: bool,
    /// Prints the result as JSON
    #[arg(long)]
    json: bool,
    /// Talks to a running server instead of opening the data folder
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
}

pub(super) async fn run(args: ReconcileArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    let mut config = settings.load_quietly()?;
    if let Some(url) = args.url.clone() {
        return reconcile(&Client::new(url, config.admin_api_key.take())?, &args).await;
    }
    let server = start(config).await?;
    let result = reconcile(&server.client, &args).await;
    server.stop().await?;
    result
}

async fn reconcile(client: &Client, args: &ReconcileArgs) -> anyhow::Result<ExitCode> {
    if args.fix {
        let repair = client.fix(&args.venue, args.dry_run).await?;
        if !args.dry_run {
            client.until_idle().await?;
        }
        return Ok(show_repair(&repair, args)?);
    }
    let summary = client.reconcile(&args.venue).await?;
    Ok(show_summary(&summary, args)?)
}

fn show_summary(summary: &Value, args: &ReconcileArgs) -> serde_json::Result<ExitCode> {
    let count = |name: &str| summary.get(name).and_then(Value::as_u64).unwrap_or_default();
    let list = |name: &str| summary.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let strangers = list("unknownToBooks");
    let clean = count("discrepancyCount") == 0 && strangers.is_empty();
    if args.json {
        say!("{}", serde_json::to_string_pretty(summary)?);
    } else {
        say!(
            "{} tickets of {}: {} confirmed, {} not found, {} pending, {} with errors.",
            count("totalChecked"),
            args.venue,
            count("confirmed"),
            count("notFound"),
            count("pending"),
            count("errors")
        );
        show_list(&list("discrepancies"), &["ticketId", "kind", "explanation"]);
        show_list(&list("reasons"), &["ticketId", "text"]);
        if !strangers.is_empty() {
            say!("NFTs of this wallet that the books do not know:");
            show_list(&strangers, &["mintAddress", "name", "signature"]);
        }
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::from(SOME_FAILED) })
}

fn show_repair(repair: &Value, args: &ReconcileArgs) -> serde_json::Result<ExitCode> {
    let count = |name: &str| repair.get(name).and_then(Value::as_u64).unwrap_or_default();
    let refused = repair.get("refused").and_then(Value::as_array).cloned().unwrap_or_default();
    if args.json {
        say!("{}", serde_json::to_string_pretty(repair)?);
    } else {
        let would = if args.dry_run { "would be " } else { "" };
        say!(
            "{} tickets of {}: {would}{} adopted, {} corrected, {} queued, {} published again; {} refused.",
            count("checked"),
            args.venue,
            count("adopted"),
            count("corrected"),
            count("queued"),
            count("published"),
            refused.len()
        );
        show_list(&refused, &["ticketId", "kind", "reason"]);
    }
    Ok(if refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(SOME_FAILED) })
}

fn show_list(entries: &[Value], names: &[&str]) {
    for entry in entries.iter().take(SHOWN) {
        let parts = names.iter().filter_map(|name| entry.get(*name)?.as_str());
        say!("  {}", parts.collect::<Vec<_>>().join(": "));
    }
    if entries.len() > SHOWN {
        say!("  and {} more; --json shows all", entries.len().saturating_sub(SHOWN));
    }
}
