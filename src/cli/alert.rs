//! `boxoffice alert`.

use std::{process::ExitCode, time::Instant};

use clap::{Args, Subcommand};
use serde_json::json;

use super::SettingFlags;
use crate::{
    alerts::test_message,
    clock::{Clock as _, SystemClock},
    webhook::Webhook,
};

/// Tries whether alerts arrive.
#[derive(Debug, Args)]
#[command(after_help = "Example: boxoffice alert test")]
pub(super) struct AlertArgs {
    #[command(subcommand)]
    command: AlertCommand,
}

#[derive(Debug, Subcommand)]
enum AlertCommand {
    /// Sends a signed test message to `ALERT_WEBHOOK_URL` and prints the answer; beside a running server too
    Test {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(args: AlertArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    let AlertCommand::Test { json: as_json } = args.command;
    let config = settings.load_quietly()?;
    let Some(receiver) = config.alerts.receiver else {
        anyhow::bail!("nobody is told: set ALERT_WEBHOOK_URL and ALERT_WEBHOOK_SECRET (see `boxoffice check-config`)")
    };
    let webhook = Webhook::new(receiver)?;
    let now_ms = SystemClock.now_ms();
    let message = test_message(config.network.as_str(), now_ms);
    let began = Instant::now();
    let answer = webhook.send(&message.message_id, &message.payload, now_ms).await;
    let ms = began.elapsed().as_millis();
    let delivered = answer.as_ref().is_ok_and(crate::webhook::Answer::is_success);
    if as_json {
        let report = json!({
            "delivered": delivered,
            "receiver": webhook.host(),
            "messageId": message.message_id,
            "status": answer.as_ref().ok().map(|answer| answer.status),
            "answer": answer.as_ref().ok().map(|answer| &answer.body),
            "error": answer.as_ref().err().map(ToString::to_string),
            "milliseconds": u64::try_from(ms).unwrap_or(u64::MAX),
        });
        say!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(if delivered { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let answer = answer?;
    say!("{} answered {} in {ms} ms (message {})", webhook.host(), answer.status, message.message_id);
    let body = answer.body.trim();
    if !body.is_empty() {
        // What comes from elsewhere must not steer the terminal.
        say!("{}", body.replace(|c: char| c.is_control() && c != '\n', " "));
    }
    anyhow::ensure!(delivered, "the receiver did not take the message: only an answer from 200 to 299 counts as taken");
    Ok(ExitCode::SUCCESS)
}
