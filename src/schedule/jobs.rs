//! The table of jobs: a line each, with the one service call that it makes.

use std::sync::Arc;

use thiserror::Error;
use tokio::task::JoinError;

use super::Job;
use crate::{
    backup::Backups,
    balance::{BalanceMonitor, KnownBalance},
    chain::ChainError,
    clock::SharedClock,
    config::Schedules,
    domain::{lamports::Lamports, mint::MintStatus},
    estimate::Prices,
    metadata::{PublishError, local::LocalContent},
    minting::{AcceptError, Minter},
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
    /// The minting service.
    pub minter: Minter,
    /// The wallet's balance.
    pub balance: BalanceMonitor,
    /// What tickets cost.
    pub prices: Arc<Prices>,
    /// What is kept back (`MIN_SOL_BALANCE`).
    pub keep_back: Lamports,
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
            Job::new($id, $description, schedules.$schedule.clone(), move || $call(services.clone()))
        }};
    }
    vec![
        job!(
            "housekeeping",
            "Forgets old answers, lets SQLite refresh its statistics, empties the write-ahead logs",
            housekeeping,
            housekeeping
        ),
        job!("backup", "Writes a backup of books and content, and removes the oldest ones", backup, backup),
        job!("balance-check", "Asks the chain what the wallet holds", balance_check, balance_check),
        job!("retry-failed", "Queues failed tickets again that a retry can help", retry, retry_failed),
        // Here goes: job!("reconcile", "Compares the books of every venue with the chain", reconcile, reconcile),
    ]
}

async fn housekeeping(services: Services) -> Result<String, JobError> {
    let done = services.store.keep_house(services.clock.now_ms()).await?;
    services.content.keep_house().await?;
    let log = match done.checkpointed_pages {
        Some(_) => "emptied",
        None => "in use, left for the next time",
    };
    Ok(format!("old answers forgotten: {}; write-ahead log: {log}", done.forgotten_answers))
}

async fn backup(services: Services) -> Result<String, JobError> {
    let now_ms = services.clock.now_ms();
    let make = move || services.backups.make(now_ms);
    let (path, manifest) = tokio::task::spawn_blocking(make).await??;
    let bytes: u64 = manifest.parts.iter().map(|part| part.bytes).sum();
    Ok(format!("{}: {} tickets, {bytes} bytes", path.display(), manifest.counts.total))
}

async fn balance_check(services: Services) -> Result<String, JobError> {
    let KnownBalance { balance, .. } = services.balance.check().await?;
    let price = services.prices.ticket().await?.total();
    let counts = services.store.counts(None).await?;
    let open = counts.of(MintStatus::Pending).saturating_add(counts.of(MintStatus::Minting));
    let runway = BalanceMonitor::runway(balance, price, open, services.keep_back);
    Ok(format!("the wallet holds {balance}: enough for {runway} more tickets"))
}

async fn retry_failed(services: Services) -> Result<String, JobError> {
    let queued = services.minter.retry_failed().await?;
    Ok(format!("queued again: {queued}"))
}
