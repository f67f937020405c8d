//! The table of jobs: a line each, with the one service call that it makes.

use std::sync::Arc;

use serde_json::json;
use thiserror::Error;
use tokio::task::JoinError;

use super::Job;
use crate::{
    alerts::Alerts,
    backup::Backups,
    balance::{BalanceMonitor, KnownBalance},
    cache::{Caching, WarmFilter},
    chain::ChainError,
    clock::{SharedClock, rfc3339},
    config::Schedules,
    domain::{
        alert::{Alert, AlertKind, Severity, alert_key},
        mint::MintStatus,
    },
    estimate::Prices,
    metadata::{PublishError, local::LocalContent, verify::Verified},
    minting::{AcceptError, Minter},
    publishing::Publishing,
    reconcile::{Nightly, ReconcileError, Reconciler},
    store::{Store, StoreError, backup::BackupError},
};

/// Why a job failed.
#[derive(Debug, Error)]
pub enum JobError {
    /// The books.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The content store.
    #[error(transparent)]
    Content(#[from] PublishError),
    /// The chain.
    #[error("the chain does not answer: {0}")]
    Chain(#[from] ChainError),
    /// Tickets cannot be taken up again: no money, no answer.
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// The backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Comparing books and chain.
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    /// A step panicked or was cancelled.
    #[error("a step of it ended: {0}")]
    Step(#[from] JoinError),
}

/// What jobs call.
#[derive(Clone, Debug)]
pub struct Services {
    /// The books.
    pub store: Store,
    /// The content store.
    pub content: LocalContent,
    /// What was found out before.
    pub cache: Caching,
    /// The minting service.
    pub minter: Minter,
    /// The wallet's balance.
    pub balance: BalanceMonitor,
    /// What tickets cost.
    pub prices: Arc<Prices>,
    /// Compares books and chain.
    pub reconciler: Reconciler,
    /// Where metadata is published.
    pub publishing: Publishing,
    /// Who is told what jobs find.
    pub alerts: Alerts,
    /// Where backups go.
    pub backups: Backups,
    /// The time.
    pub clock: SharedClock,
}

/// Every job of this version.
#[must_use]
pub fn table(services: &Services, schedules: &Schedules) -> Vec<Job> {
    /// A line: id, description, schedule, service call.
    macro_rules! job {
        ($id:literal, $description:literal, $schedule:ident, $call:ident) => {{
            let services = services.clone();
            Job::new($id, $description, schedules.$schedule.clone(), move || {
                reported($id, services.alerts.clone(), $call(services.clone()))
            })
        }};
    }
    vec![
        job!(
            "housekeeping",
            "Forgets old answers, messages, incidents and runs, lets SQLite refresh its statistics, empties the write-ahead logs",
            housekeeping,
            housekeeping
        ),
        job!("backup", "Writes a backup of books and content, and removes the oldest ones", backup, backup),
        job!("balance-check", "Asks the chain what the wallet holds", balance_check, balance_check).for_the_fleet(),
        job!("retry-failed", "Queues failed tickets again that a retry can help", retry, retry_failed),
        job!(
            "reconcile",
            "Compares the books of every venue with the chain, and repairs them where little is wrong",
            reconcile,
            reconcile
        ),
        job!("cache-warm", "Puts what the books know of coming events' tickets into the cache", cache_warm, cache_warm)
            .for_the_fleet(),
        job!(
            "verify-content",
            "Looks at some published files again, publishes anew what is missing, and what is left to publish",
            verify_content,
            verify_content
        ),
    ]
}

/// Does a job, and has it told when it fails, and when it works again.
async fn reported(
    id: &'static str,
    alerts: Alerts,
    work: impl Future<Output = Result<String, JobError>>,
) -> Result<String, JobError> {
    let kind = if id == "backup" { AlertKind::BackupFailed } else { AlertKind::JobFailed };
    let done = work.await;
    match &done {
        Ok(_) => alerts.resolve(&alert_key(kind, Some(id))).await,
        Err(error) => {
            let text = format!("the job {id} failed: {error}; see /admin/jobs");
            alerts.raise(Alert::new(kind, Severity::Warning, Some(id), text)).await;
        }
    }
    done
}

async fn housekeeping(services: Services) -> Result<String, JobError> {
    let done = services.store.keep_house(services.clock.now_ms()).await?;
    services.content.keep_house().await?;
    let log = match done.checkpointed_pages {
        Some(_) => "emptied",
        None => "in use, left for the next time",
    };
    Ok(format!(
        "too old and forgotten: {} answers, {} messages, {} incidents, {} runs of jobs; write-ahead log: {log}",
        done.forgotten_answers, done.forgotten_deliveries, done.forgotten_alerts, done.forgotten_runs
    ))
}

async fn backup(services: Services) -> Result<String, JobError> {
    let now_ms = services.clock.now_ms();
    let make = move || services.backups.make(now_ms);
    let (path, manifest) = tokio::task::spawn_blocking(make).await??;
    let bytes: u64 = manifest.parts.iter().map(|part| part.bytes).sum();
    Ok(format!("{}: {} tickets, {bytes} bytes", path.display(), manifest.counts.total))
}

async fn balance_check(services: Services) -> Result<String, JobError> {
    let KnownBalance { holdings, .. } = services.balance.check().await?;
    services.prices.ticket().await?;
    let counts = services.store.counts(None).await?;
    let open = counts.of(MintStatus::Pending).saturating_add(counts.of(MintStatus::Minting));
    let runway = services.balance.runway(open).unwrap_or_default();
    Ok(match holdings.payers.len() {
        0 => format!("the wallet holds {}: enough for {runway} more tickets", holdings.wallet),
        payers => format!("{payers} fee payers hold {}: enough for {runway} more tickets", holdings.paying()),
    })
}

async fn cache_warm(services: Services) -> Result<String, JobError> {
    // Yesterday's events may still be going on, wherever they are.
    let yesterday = rfc3339(services.clock.now_ms().saturating_sub(86_400_000));
    let filter = WarmFilter { from_day: yesterday.get(..10).map(str::to_owned), ..WarmFilter::default() };
    let warmed = services.cache.warm(&services.store, filter).await?;
    let left_out =
        if warmed.complete { "" } else { "; older ones, or those that the cache did not take, were left out" };
    Ok(format!("{} URIs and {} signatures of {} tickets{left_out}", warmed.uris, warmed.signatures, warmed.tickets))
}

async fn retry_failed(services: Services) -> Result<String, JobError> {
    let queued = services.minter.retry_failed().await?;
    Ok(format!("queued again: {queued}"))
}

/// The nightly rule: everyone is told of any difference; what is repaired by itself is decided by the service.
async fn reconcile(services: Services) -> Result<String, JobError> {
    let nights = services.reconciler.nightly().await?;
    let (mut checked, mut different) = (0_u64, 0_u64);
    for Nightly { summary, repair } in &nights {
        checked = checked.saturating_add(summary.total_checked);
        different = different.saturating_add(summary.discrepancy_count);
        let venue = Some(summary.venue_id.as_str());
        if summary.discrepancy_count == 0 {
            services.alerts.resolve(&alert_key(AlertKind::Discrepancies, venue)).await;
            continue;
        }
        let what_next = repair.as_ref().map_or_else(
            || "nothing was repaired by itself, because that is not below AUTO_FIX_MAX_RATE".to_owned(),
            |repair| {
                format!(
                    "{} were adopted, {} corrected, {} queued, {} published again and {} refused",
                    repair.adopted,
                    repair.corrected,
                    repair.queued,
                    repair.published,
                    repair.refused.len()
                )
            },
        );
        let text = format!(
            "books and chain disagree about {} of the {} tickets of {} ({} %); {what_next}; \
             see /admin/reconcile/{}/history?details=true",
            summary.discrepancy_count,
            summary.total_checked,
            summary.venue_id,
            summary.discrepancy_rate,
            summary.venue_id
        );
        let severity = if repair.as_ref().is_some_and(|repair| repair.refused.is_empty()) {
            Severity::Warning
        } else {
            Severity::Critical
        };
        let details = json!({
            "venue": summary.venue_id,
            "discrepancies": summary.discrepancy_count,
            "rate": summary.discrepancy_rate,
            "totalChecked": summary.total_checked,
            "reportId": summary.report_id,
        });
        services.alerts.raise(Alert::new(AlertKind::Discrepancies, severity, venue, text).with(details)).await;
    }
    Ok(format!("{checked} tickets of {} venues compared: {different} differences", nights.len()))
}

/// Everyone is told what was missing; it is repaired where the provider takes it.
async fn verify_content(services: Services) -> Result<String, JobError> {
    let verified = services.publishing.verify().await?;
    let mut told = Vec::new();
    for Verified { provider, host, checked, missing, repaired, forgotten, unreachable, reason, .. } in verified {
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let doubt = match forgotten {
            0 => String::new(),
            _ => format!("; so much is missing that the other {forgotten} are looked for too, and published again"),
        };
        let text = format!(
            "of {checked} published files that were looked at again at {provider} ({host}), {missing} were missing, {repaired} of \
             them are published anew, and nothing can be said of {unreachable}{reason}{doubt}"
        );
        let key = alert_key(AlertKind::ContentMissing, Some(provider));
        if missing > 0 {
            let details = json!({
                "provider": provider, "host": host, "checked": checked,
                "missing": missing, "repaired": repaired, "forgotten": forgotten, "unreachable": unreachable,
            });
            let alert = Alert::new(AlertKind::ContentMissing, Severity::Warning, Some(provider), text.clone());
            services.alerts.raise(alert.with(details)).await;
        } else if unreachable == 0 {
            services.alerts.resolve(&key).await;
        }
        told.push(text);
    }
    Ok(if told.is_empty() {
        "everything stays on this box; there is nothing to look at".into()
    } else {
        told.join("; ")
    })
}
