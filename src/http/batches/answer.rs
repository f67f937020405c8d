//! What a batch is answered with: its sums, and what became of each ticket.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    clock::rfc3339,
    domain::{
        failure::{Failure, FailureCode},
        forecast::{Expected, Forecast},
        lamports::Lamports,
        mint::MintStatus,
        ticket::Fault,
    },
    forecast::{forecast_of, seconds_of},
    http::{Api, error::failure_status},
    store::{BatchEntry, BatchRecord, Retries, StoreError},
};

/// A batch and its sums.
#[expect(clippy::struct_field_names, reason = "the names are the API's")]
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Batch {
    batch_id: String,
    venue_id: String,
    state: BatchState,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    finished_at: Option<String>,
    /// Nothing is minted before; null for at once.
    #[schema(format = DateTime)]
    not_before: Option<String>,
    pub(in crate::http) summary: Summary,
}

/// A batch, its sums, and what became of each ticket.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct BatchResult {
    #[serde(flatten)]
    batch: Batch,
    /// In the order of the request.
    successful: Vec<Successful>,
    /// In the order of the request.
    failed: Vec<Failed>,
    /// What was expected when it was accepted, and what came of it; null for a batch without new tickets.
    forecast: Option<BatchForecast>,
}

/// What was expected of a batch, and what came of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct BatchForecast {
    #[serde(flatten)]
    forecast: Forecast,
    /// Null until the batch is finished, and for one that was opened again.
    actual: Option<Actual>,
}

/// What came of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Actual {
    /// From acceptance, or from the time that it waited for, to the last settlement.
    duration_seconds: f64,
    /// Share of its transactions that were signed again, from 0 to 1.
    signed_again_share: f64,
    /// Whether both are in the ranges of the forecast; null without a record.
    within_range: Option<bool>,
}

/// How far a batch is.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum BatchState {
    /// For its time.
    Waiting,
    Running,
    Finished,
}

/// A ticket that the chain holds.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Successful {
    ticket_id: String,
    /// Of the transaction that minted it, base58; null when the chain has forgotten the one that an earlier life of these
    /// books sent.
    signature: Option<String>,
    /// `ipfs://` address of its metadata.
    metadata_uri: Option<String>,
    /// Where the NFT lives, base58.
    mint_address: Option<String>,
    /// The ticket was known before this batch: nothing was minted for it now.
    replayed: bool,
    /// It was found on the chain rather than minted by these books.
    adopted: bool,
    cost_lamports: Lamports,
}

/// A ticket that was not minted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Failed {
    /// Place in the request, from 0.
    index: usize,
    ticket_id: String,
    /// What is wrong and what to do, for a person.
    error: String,
    #[schema(inline)]
    code: FailureCode,
    /// The HTTP status that it would have if it were alone.
    status: u16,
    /// Whether sending it again can help.
    retryable: bool,
    /// Everything that is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    faults: Vec<Fault>,
}

/// The sums of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchSummary)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Summary {
    total: u64,
    succeeded: u64,
    failed: u64,
    /// Not settled yet.
    pending: u64,
    /// Seconds from acceptance to the last settlement, or until now.
    total_duration: f64,
    /// Seconds per ticket.
    avg_duration: f64,
    /// Seconds until the last ticket is settled, with all that waits before it; 0 when the batch is finished.
    eta_seconds: f64,
    /// What the new tickets of this batch were expected to cost.
    estimated_lamports: Lamports,
    /// What they have cost so far.
    spent_lamports: Lamports,
    /// What they may cost at most; null for no bound of its own.
    max_lamports: Option<Lamports>,
}

impl Batch {
    pub(in crate::http) fn new(api: &Api, record: BatchRecord) -> Self {
        let until = record.finished_at_ms.unwrap_or_else(|| api.app.clock.now_ms());
        let seconds = seconds(until.saturating_sub(record.created_at_ms));
        let wait_ms = record.not_before_ms.unwrap_or_default().saturating_sub(api.app.clock.now_ms()).max(0);
        let wait_ms = if record.open == 0 { 0 } else { wait_ms };
        let eta = api.app.minter.eta_seconds(record.until_done) + self::seconds(wait_ms);
        Self {
            state: match record.open {
                0 => BatchState::Finished,
                _ if wait_ms > 0 => BatchState::Waiting,
                _ => BatchState::Running,
            },
            not_before: record.not_before_ms.map(rfc3339),
            created_at: rfc3339(record.created_at_ms),
            finished_at: record.finished_at_ms.map(rfc3339),
            summary: Summary {
                total: record.total,
                succeeded: record.succeeded,
                failed: record.failed,
                pending: record.open,
                total_duration: seconds,
                avg_duration: per(seconds, record.total),
                eta_seconds: (eta * 100.0).round() / 100.0,
                estimated_lamports: record.estimated,
                spent_lamports: record.spent,
                max_lamports: record.budget,
            },
            batch_id: record.public_id,
            venue_id: record.venue_id,
        }
    }
}

/// What became of an entry that is settled.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(in crate::http) enum Settled {
    Successful(Successful),
    Failed(Failed),
}

impl Settled {
    /// None for an entry that is not settled yet.
    pub(in crate::http) fn of(entry: BatchEntry) -> Option<Self> {
        match entry {
            BatchEntry { failure: Some(failure), position, ticket_id, faults, .. } => {
                Some(Self::Failed(Failed::new(position, ticket_id, failure, faults)))
            }
            BatchEntry { status: Some(MintStatus::Minted), .. } => Some(Self::Successful(Successful {
                ticket_id: entry.ticket_id,
                signature: entry.signature,
                metadata_uri: entry.metadata_uri,
                mint_address: entry.mint_address,
                replayed: entry.replayed,
                adopted: entry.adopted,
                cost_lamports: entry.cost,
            })),
            BatchEntry { .. } => None,
        }
    }
}

impl Failed {
    pub(super) fn new(index: usize, ticket_id: String, failure: Failure, faults: Vec<Fault>) -> Self {
        Self {
            index,
            ticket_id,
            status: failure_status(failure.code).as_u16(),
            retryable: failure.code.retryable(),
            code: failure.code,
            error: failure.message,
            faults,
        }
    }
}

pub(super) async fn result(api: &Api, batch: BatchRecord) -> Result<BatchResult, StoreError> {
    let entries = api.app.store.batch_entries(batch.id).await?;
    let retries = retries(api, &batch).await?;
    Ok(summarise(api, batch, retries, entries))
}

/// The transactions of a batch that is finished and of which something was expected.
pub(super) async fn retries(api: &Api, batch: &BatchRecord) -> Result<Option<Retries>, StoreError> {
    if batch.forecast.is_none() || seconds_of(batch).is_none() {
        return Ok(None);
    }
    Ok(Some(api.app.store.retries_of(batch.id).await?))
}

pub(super) fn summarise(
    api: &Api,
    batch: BatchRecord,
    retries: Option<Retries>,
    entries: Vec<BatchEntry>,
) -> BatchResult {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for settled in entries.into_iter().filter_map(Settled::of) {
        match settled {
            Settled::Successful(entry) => successful.push(entry),
            Settled::Failed(entry) => failed.push(entry),
        }
    }
    let forecast = BatchForecast::of(&batch, retries);
    BatchResult { batch: Batch::new(api, batch), successful, failed, forecast }
}

impl BatchForecast {
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    fn of(batch: &BatchRecord, retries: Option<Retries>) -> Option<Self> {
        let forecast = forecast_of(batch)?;
        let actual = retries.zip(seconds_of(batch)).map(|(retries, duration_seconds)| {
            let share = retries.signed_again as f64 / retries.transactions.max(1) as f64;
            let expected = forecast.duration_seconds.zip(forecast.signed_again_share);
            let within =
                |(duration, again): (Expected, Expected)| duration.contains(duration_seconds) && again.contains(share);
            Actual {
                duration_seconds,
                signed_again_share: (share * 10_000.0).round() / 10_000.0,
                within_range: expected.map(within),
            }
        });
        Some(Self { forecast, actual })
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds shown to people")]
fn seconds(ms: i64) -> f64 {
    ms.max(0) as f64 / 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "seconds shown to people")]
fn per(seconds: f64, count: u64) -> f64 {
    (seconds / count.max(1) as f64 * 10_000.0).round() / 10_000.0
}
