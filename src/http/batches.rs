//! `/admin/batch-mint` and `/admin/batches`.

use std::collections::BTreeMap;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::{
    Api, MAX_WAIT,
    error::{Problem, failure_status, text},
};
use crate::{
    clock::rfc3339,
    domain::{
        failure::{Failure, FailureCode},
        ids::VenueId,
        lamports::Lamports,
        mint::MintStatus,
        ticket::Fault,
    },
    estimate::Estimate,
    minting::BatchRequest,
    store::{BatchEntry, BatchRecord, Preview, StoreError},
};

/// `POST /admin/batch-mint`: accepts a batch and, unless the client prefers otherwise, waits for its result.
///
/// With `?dryRun=true` it only says what the batch would do and what that would cost.
pub(super) async fn mint(
    State(api): State<Api>,
    Query(parameters): Query<MintParameters>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let request = read(&body)?;
    drop(body);
    if parameters.dry_run {
        return Ok(Json(preview(&api, request).await?).into_response());
    }
    let accepted = api.app.minter.accept(request).await?;
    let respond_async = text(&headers, "prefer")
        .is_some_and(|prefer| prefer.split([',', ';']).any(|p| p.trim().eq_ignore_ascii_case("respond-async")));
    let batch_id = accepted.batch_id;
    if !respond_async {
        let finished = timeout(MAX_WAIT, api.app.minter.finished(batch_id));
        tokio::select! {
            // The batch goes on by itself, after a restart too: a client that waited in vain gets its address.
            finished = finished => finished.unwrap_or(Ok(()))?,
            () = api.stop.cancelled() => {}
        }
    }
    let batch = find(&api, accepted.public_id).await?;
    if batch.open == 0 && !respond_async {
        return Ok(Json(result(&api, batch).await?).into_response());
    }
    let location = format!("/admin/batches/{}", batch.public_id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(result(&api, batch).await?)).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MintParameters {
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DryRun {
    total: u64,
    new: u64,
    known: u64,
    failed: Vec<Failed>,
    /// For the new tickets.
    estimate: Estimate,
    wallet: String,
    balance_lamports: Lamports,
    /// Without what is kept back by setting and reserved for tickets already accepted.
    spendable_lamports: Lamports,
    /// Why the batch would be refused as a whole.
    refusal: Option<String>,
}

async fn preview(api: &Api, request: BatchRequest) -> Result<DryRun, Problem> {
    let total = request.tickets.len() as u64;
    let (Preview { new, known, failed }, funds) = api.app.minter.preview(request).await?;
    let price = api.app.prices.ticket().await?;
    let failed = failed.into_iter().map(|entry| Failed::new(entry.index, entry.ticket_id, entry.failure, entry.faults));
    Ok(DryRun {
        total,
        new,
        known,
        failed: failed.collect(),
        estimate: Estimate::new(new, price, api.app.config.pacing),
        wallet: funds.wallet,
        balance_lamports: funds.balance,
        spendable_lamports: funds.spendable,
        refusal: funds.refusal.map(|refusal| refusal.to_string()),
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchParameters {
    /// `false` leaves the lists of tickets out: for those who only follow the progress.
    entries: Option<bool>,
}

/// `GET /admin/batches/{id}`: a batch, its sums, and what became of each ticket so far.
pub(super) async fn batch(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(parameters): Query<BatchParameters>,
) -> Result<Json<BatchResult>, Problem> {
    let batch = find(&api, id).await?;
    let entries =
        if parameters.entries == Some(false) { Vec::new() } else { api.app.store.batch_entries(batch.id).await? };
    Ok(Json(summarise(&api, batch, entries).await?))
}

async fn find(api: &Api, public_id: String) -> Result<BatchRecord, Problem> {
    let found = api.app.store.batch(public_id).await?;
    found.ok_or_else(|| Problem::not_found("there is no batch with this id"))
}

/// Reads the body by hand: one wrong ticket must not spoil the others, and every fault is told.
fn read(body: &[u8]) -> Result<BatchRequest, Problem> {
    // Tickets stay text until each is looked into: as values, ten thousand of them would take many times the room.
    let whole: &RawValue = serde_json::from_slice(body).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, "malformed_json", format!("the body is not JSON: {error}"))
    })?;
    let Ok(mut fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(whole.get()) else {
        return Err(Problem::one_invalid("", "the body must be a JSON object"));
    };
    let venue_id = match fields.remove("venueId").map(|text| serde_json::from_str::<String>(text.get())) {
        Some(Ok(text)) => VenueId::new(text),
        Some(Err(_)) => Err("must be a string"),
        None => Err("is missing"),
    };
    let tickets = match fields.remove("tickets").map(|list| serde_json::from_str(list.get())) {
        Some(Ok(tickets)) => Ok(tickets),
        Some(Err(_)) => Err("must be an array"),
        None => Err("is missing"),
    };
    let wrong = [("venueId", venue_id.as_ref().err()), ("tickets", tickets.as_ref().err())];
    let wrong = wrong.into_iter().filter_map(|(name, detail)| Some((name, *detail?)));
    let unknown = fields.keys().map(|name| (name.as_str(), "is not a field of a batch, which has venueId and tickets"));
    let fault = |(name, detail): (&str, &str)| Fault {
        pointer: format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        detail: detail.into(),
    };
    let faults: Vec<Fault> = wrong.chain(unknown).map(fault).collect();
    match (venue_id, tickets) {
        (Ok(venue_id), Ok(tickets)) if faults.is_empty() => Ok(BatchRequest { venue_id, tickets }),
        _ => Err(Problem::invalid(faults)),
    }
}

/// The answer of the seed's contract, and what is worth knowing beyond it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchResult {
    batch_id: String,
    venue_id: String,
    state: &'static str,
    created_at: String,
    finished_at: Option<String>,
    successful: Vec<Successful>,
    failed: Vec<Failed>,
    summary: Summary,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Successful {
    ticket_id: String,
    signature: Option<String>,
    metadata_uri: Option<String>,
    mint_address: Option<String>,
    /// The ticket was known before this batch: nothing was minted for it now.
    replayed: bool,
    /// It was found on the chain rather than minted by these books.
    adopted: bool,
    cost_lamports: Lamports,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed {
    /// Place in the request, from 0.
    index: usize,
    ticket_id: String,
    error: String,
    code: FailureCode,
    status: u16,
    retryable: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<Fault>,
}

impl Failed {
    fn new(index: usize, ticket_id: String, failure: Failure, faults: Vec<Fault>) -> Self {
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

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    total: u64,
    succeeded: u64,
    failed: u64,
    pending: u64,
    /// Seconds from acceptance to the last settlement, or until now.
    total_duration: f64,
    /// Seconds per ticket.
    avg_duration: f64,
    /// What the new tickets of this batch were expected to cost.
    estimated_lamports: Lamports,
    /// What they have cost so far.
    spent_lamports: Lamports,
}

async fn result(api: &Api, batch: BatchRecord) -> Result<BatchResult, StoreError> {
    let entries = api.app.store.batch_entries(batch.id).await?;
    summarise(api, batch, entries).await
}

async fn summarise(api: &Api, batch: BatchRecord, entries: Vec<BatchEntry>) -> Result<BatchResult, StoreError> {
    let sums = api.app.store.batch_sums(batch.id).await?;
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (index, entry) in entries.into_iter().enumerate() {
        match entry {
            BatchEntry { failure: Some(failure), ticket_id, faults, .. } => {
                failed.push(Failed::new(index, ticket_id, failure, faults));
            }
            BatchEntry { status: Some(MintStatus::Minted), .. } => successful.push(Successful {
                ticket_id: entry.ticket_id,
                signature: entry.signature,
                metadata_uri: entry.metadata_uri,
                mint_address: entry.mint_address,
                replayed: entry.replayed,
                adopted: entry.adopted,
                cost_lamports: entry.cost,
            }),
            BatchEntry { .. } => {}
        }
    }
    let until = batch.finished_at_ms.unwrap_or_else(|| api.app.clock.now_ms());
    let seconds = seconds(until.saturating_sub(batch.created_at_ms));
    Ok(BatchResult {
        state: if batch.open == 0 { "finished" } else { "running" },
        created_at: rfc3339(batch.created_at_ms),
        finished_at: batch.finished_at_ms.map(rfc3339),
        summary: Summary {
            total: batch.total,
            succeeded: sums.succeeded,
            failed: sums.failed,
            pending: batch.open,
            total_duration: seconds,
            avg_duration: per(seconds, batch.total),
            estimated_lamports: batch.estimated,
            spent_lamports: sums.spent,
        },
        batch_id: batch.public_id,
        venue_id: batch.venue_id,
        successful,
        failed,
    })
}

#[expect(clippy::cast_precision_loss, reason = "seconds shown to people")]
fn seconds(ms: i64) -> f64 {
    ms.max(0) as f64 / 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "seconds shown to people")]
fn per(seconds: f64, count: u64) -> f64 {
    (seconds / count.max(1) as f64 * 10_000.0).round() / 10_000.0
}
