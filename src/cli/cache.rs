//! `boxoffice cache`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::Url;
use serde_json::Value;

use super::{SettingFlags, client::Client, mint::start};

/// Looks at the cache, has it forget, or fills it before a crowd asks.
#[derive(Debug, Args)]
#[command(after_help = "Example: boxoffice cache warm --event gala-2026 --url http://127.0.0.1:3018")]
pub(super) struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
    /// The running server whose cache is meant; may be left out with Redis, when no server runs on the data folder
    #[arg(long, value_name = "URL", global = true)]
    url: Option<Url>,
    /// Prints the result as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// Says how the cache fares
    Stats,
    /// Puts what the books know of minted tickets into the cache
    Warm {
        /// Of this venue only
        #[arg(long)]
        venue: Option<String>,
        /// Of this event only
        #[arg(long)]
        event: Option<String>,
    },
    /// Forgets what is known of a ticket
    Forget {
        /// The ticket's id
        ticket: String,
        /// In this venue only
        #[arg(long)]
        venue: Option<String>,
    },
    /// Forgets everything
    Clear,
}

pub(super) async fn run(args: CacheArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    let mut config = settings.load_quietly()?;
    if let Some(url) = args.url.clone() {
        return say(&Client::new(url, config.admin_api_key.take())?, &args).await;
    }
    if config.cache.redis.is_none() {
        anyhow::bail!("the cache is in the memory of the running server: name it with --url http://{}", config.listen);
    }
    let server = start(config).await?;
    let result = say(&server.client, &args).await;
    server.stop().await?;
    result
}

async fn say(client: &Client, args: &CacheArgs) -> anyhow::Result<ExitCode> {
    let answer = match &args.command {
        CacheCommand::Stats => client.cache_stats().await?,
        CacheCommand::Warm { venue, event } => client.warm_cache(venue.as_deref(), event.as_deref()).await?,
        CacheCommand::Forget { ticket, venue } => client.forget_ticket(ticket, venue.as_deref()).await?,
        CacheCommand::Clear => client.clear_cache().await?,
    };
    if args.json {
        say!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    let count = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or_default();
    match &args.command {
        CacheCommand::Stats => {
            let connected = answer.get("connected").and_then(Value::as_bool).unwrap_or_default();
            let backend = answer.get("backend").and_then(Value::as_str).unwrap_or_default();
            say!("{backend}: {}", if connected { "answers" } else { "does not answer; minting goes on without it" });
            say!(
                "{} values; {} of {} look-ups answered ({} %)",
                answer
                    .get("keyCount")
                    .and_then(Value::as_u64)
                    .map_or("unknown number of".into(), |keys| keys.to_string()),
                count("hits"),
                count("hits").saturating_add(count("misses")),
                answer.get("hitRate").and_then(Value::as_f64).unwrap_or_default()
            );
        }
        CacheCommand::Warm { .. } => {
            say!(
                "{} URIs and {} signatures of {} tickets warmed.",
                count("uris"),
                count("signatures"),
                count("tickets")
            );
            if answer.get("complete").and_then(Value::as_bool) == Some(false) {
                say!("Some were left out: the newest 100,000 tickets are warmed, if the cache takes them.");
            }
        }
        CacheCommand::Forget { .. } | CacheCommand::Clear => say!("{} values forgotten.", count("removed")),
    }
    Ok(ExitCode::SUCCESS)
}
