//! `/admin/batch-mint` and `/admin/batches`.

mod answer;
mod request;

use std::time::Duration;

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    error::{Outcome, Problem, ProblemBody},
    pages::PageRequest,
    writes::{IdempotencyHeader, prefers_async},
};
use crate::{
    domain::{forecast::Forecast, lamports::Lamports},
    estimate::Estimate,
    minting::BatchRequest,
    store::{BatchFilter, BatchRecord, Preview},
};
pub(super) use answer::{Batch, Settled};
use answer::{BatchResult, Failed, result, retries, summarise};
use request::{BatchMint, read};

/// Where it is, for what counts as a read.
pub(super) const PATH: &str = "/admin/batch-mint";
/// How long a waiting request is held before it is answered with the batch's address instead.
const MAX_WAIT: Duration = Duration::from_mins(15);

/// Mints a batch of 1 to 10,000 tickets, each exactly once, and answers when all of them are settled.
///
/// With `Prefer: respond-async` it answers at once, when the batch is on disk; so it does when the client has waited for 15
/// minutes or the server stops: the batch goes on by itself. With `?dryRun=true` it only says what the batch would do and
/// cost. One wrong ticket fails alone, in `failed`.
#[utoipa::path(post, path = "/batch-mint", operation_id = "mintBatch", tag = "minting",
    params(MintParameters, PreferHeader, IdempotencyHeader),
    request_body(content = BatchMint, example = json!({ "venueId": "venue-123", "tickets": [{
        "id": "ticket-1", "eventId": "event-1", "userId": "user-1", "ticketData": { "eventName": "Concert",
            "eventDate": "2025-12-01", "venue": "Stadium", "tier": "VIP", "seatNumber": "A1" } }] })),
    responses((status = 200, body = MintAnswer, description = "Every ticket is settled; or the dry run."),
        (status = 202, body = BatchResult, description = "The batch is on disk and goes on by itself.",
            headers(("location", description = "The batch."))),
        (status = 402, body = ProblemBody, content_type = "application/problem+json",
            description = "`insufficient_funds`, `transaction_limit`, `spending_limit` or `over_budget`: nothing was accepted.",
            headers(("retry-after", description = "`spending_limit`: seconds until the limit lets the batch through. Absent \
                when it never does."))),
        (status = 507, body = ProblemBody, content_type = "application/problem+json",
            description = "`disk_full`: nothing was accepted.")))]
pub(super) async fn mint(
    State(api): State<Api>,
    Query(parameters): Query<MintParameters>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let request = read(&body)?;
    drop(body);
    let (venue, tickets) = (request.venue_id.clone(), request.tickets.len());
    if parameters.dry_run {
        let outcome = Outcome(format!("dry run for {venue}: {tickets} tickets"));
        return Ok((Extension(outcome), Json(preview(&api, request).await?)).into_response());
    }
    let request_waits = request.not_before.is_some();
    let accepted = if parameters.recover {
        api.app.minter.recover(request).await?
    } else {
        api.app.minter.accept(request).await?
    };
    // Nobody waits for a time that may be days away.
    let respond_async = prefers_async(&headers) || request_waits;
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
    let outcome = Extension(Outcome(format!(
        "batch {} for {venue}: {tickets} tickets, {} of them new",
        batch.public_id, accepted.new_tickets
    )));
    let (open, location) = (batch.open, format!("/admin/batches/{}", batch.public_id));
    let result = Json(result(&api, batch).await?);
    if open == 0 && !respond_async {
        return Ok((outcome, result).into_response());
    }
    Ok((StatusCode::ACCEPTED, outcome, [(header::LOCATION, location)], result).into_response())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct MintParameters {
    /// Only says what the batch would do and cost.
    #[serde(default)]
    #[param(default = false)]
    dry_run: bool,
    /// Only takes those tickets into the books that the chain holds already; the others fail with `not_on_chain`.
    #[serde(default)]
    #[param(default = false)]
    recover: bool,
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what `mint` reads")]
pub(super) struct PreferHeader {
    /// `respond-async` to be answered at once.
    #[param(value_type = String, required = false)]
    prefer: Option<String>,
}

/// The result of a batch, or of a dry run.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what `mint` answers")]
pub(super) enum MintAnswer {
    Result(BatchResult),
    DryRun(DryRun),
}

/// What a batch would do.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DryRun {
    /// Tickets sent.
    total: u64,
    /// Would be minted.
    new: u64,
    /// Are in the books already.
    known: u64,
    /// Would fail.
    failed: Vec<Failed>,
    /// For the new tickets.
    estimate: Estimate,
    /// What to expect of the new tickets, from the record of the endpoints.
    forecast: Forecast,
    /// Its address, base58.
    wallet: String,
    /// How many fee payers pay in its place; 0 when it pays itself.
    fee_payers: usize,
    /// What those who pay hold.
    balance_lamports: Lamports,
    /// Without what is kept back by setting and reserved for tickets already accepted.
    spendable_lamports: Lamports,
    /// Why the batch would be refused as a whole.
    refusal: Option<String>,
}

async fn preview(api: &Api, request: BatchRequest) -> Result<DryRun, Problem> {
    let total = request.tickets.len() as u64;
    let (Preview { new, known, failed, .. }, funds) = api.app.minter.preview(request).await?;
    let price = api.app.prices.ticket().await?;
    let failed = failed.into_iter().map(|entry| Failed::new(entry.index, entry.ticket_id, entry.failure, entry.faults));
    Ok(DryRun {
        total,
        new,
        known,
        failed: failed.collect(),
        estimate: api.app.minter.estimate(new, price).await,
        forecast: api.app.minter.forecast(new).await?,
        wallet: funds.wallet,
        fee_payers: funds.payers,
        balance_lamports: funds.balance,
        spendable_lamports: funds.spendable,
        refusal: funds.refusal.map(|refusal| refusal.to_string()),
    })
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BatchParameters {
    /// `false` leaves the lists of tickets out: for those who only follow the progress.
    #[serde(default = "yes")]
    #[param(default = true)]
    entries: bool,
}

fn yes() -> bool {
    true
}

/// A batch, its sums, and what became of each ticket so far.
#[utoipa::path(get, path = "/batches/{id}", operation_id = "getBatch", tag = "minting", params(("id" = String, Path), BatchParameters),
    responses((status = 200, body = BatchResult),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "No such batch.")))]
pub(super) async fn batch(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(parameters): Query<BatchParameters>,
) -> Result<Json<BatchResult>, Problem> {
    let batch = find(&api, id).await?;
    if parameters.entries {
        return Ok(Json(result(&api, batch).await?));
    }
    let retries = retries(&api, &batch).await?;
    Ok(Json(summarise(&api, batch, retries, Vec::new())))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParameters {
    /// Of one venue.
    venue_id: Option<String>,
    /// Batches on the page.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<String>,
    /// `nextCursor` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]$")]
    cursor: Option<String>,
}

/// A page of batches.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchPage {
    /// Without their tickets.
    batches: Vec<Batch>,
    /// Where the next page begins; null on the last.
    next_cursor: Option<String>,
}

/// Batches, newest first, without their tickets.
#[utoipa::path(get, path = "/batches", operation_id = "listBatches", tag = "minting", params(ListParameters),
    responses((status = 200, body = BatchPage, headers(("link", description = "The next page, as rel=next")))))]
pub(super) async fn list(
    State(api): State<Api>,
    Query(parameters): Query<ListParameters>,
) -> Result<Response, Problem> {
    let ListParameters { venue_id, limit, cursor } = parameters;
    let page = PageRequest::checked(limit.as_deref(), cursor.as_deref())?;
    let filter = BatchFilter { venue_id: venue_id.clone(), open: false, before_id: page.before_id };
    let mut records = api.app.store.batches(filter, page.rows()).await?;
    let next_cursor = page.cut(&mut records, |record| record.id);
    let batches = records.into_iter().map(|record| Batch::new(&api, record)).collect();
    let filters = [("venueId", venue_id.as_deref())];
    Ok(page.answer(next_cursor, &["admin", "batches"], &filters, |next_cursor| BatchPage { batches, next_cursor }))
}

pub(super) async fn find(api: &Api, public_id: String) -> Result<BatchRecord, Problem> {
    let found = api.app.store.batch(public_id).await?;
    found.ok_or_else(|| Problem::not_found("there is no batch with this id"))
}
