//! `/admin/batch-mint` and `/admin/batches`.

use std::{collections::BTreeMap, fmt, time::Duration};

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use tokio::time::timeout;
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr,
        schema::{AnyOfBuilder, ObjectBuilder, Schema, SchemaType},
    },
};

use super::{
    Api,
    error::{Outcome, Problem, ProblemBody, failure_status},
    pages::{PageRequest, refuse},
    writes::{IdempotencyHeader, prefers_async},
};
use crate::{
    clock::rfc3339,
    domain::{
        failure::{Failure, FailureCode},
        ids::VenueId,
        lamports::Lamports,
        mint::MintStatus,
        ticket::{Fault, Ticket},
    },
    estimate::Estimate,
    minting::{AcceptError, BatchRequest, MAX_BATCH_TICKETS, NotBefore},
    store::{BatchEntry, BatchFilter, BatchRecord, Preview, StoreError},
};

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
            description = "`insufficient_funds`, `transaction_limit` or `spending_limit`: nothing was accepted."),
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

/// A batch as it is sent. Read by hand, so that every fault can be told.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `read` takes")]
pub(super) struct BatchMint {
    /// The venue that sells: the namespace of its ticket ids.
    #[schema(
        min_length = 1,
        max_length = 128,
        example = "venue-123",
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"
    )]
    venue_id: String,
    #[schema(min_items = 1, max_items = 10_000)]
    tickets: Vec<SentTicket>,
    /// Nothing is minted before this time (RFC 3339), or with `quietHours` before the next quiet hours of the box
    /// (`QUIET_HOURS`). The batch waits by itself, and is answered 202 at once.
    #[schema(value_type = String, required = false, example = "2026-12-31T23:00:00Z",
        pattern = r"^(quietHours|\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2}))$")]
    not_before: Option<String>,
}

/// A ticket; anything else is taken too, and fails alone.
#[derive(Debug)]
pub(super) struct SentTicket;

impl PartialSchema for SentTicket {
    fn schema() -> RefOr<Schema> {
        let wrong = ObjectBuilder::new()
            .schema_type(SchemaType::AnyValue)
            .description(Some("Fails alone: it stands in `failed`, which says why."));
        let any = AnyOfBuilder::new().item(Ref::from_schema_name("Ticket")).item(wrong).build();
        RefOr::T(Schema::AnyOf(any))
    }
}

impl ToSchema for SentTicket {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Ticket::name().into(), Ticket::schema()));
        Ticket::schemas(schemas);
    }
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
    /// Its address, base58.
    wallet: String,
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
        estimate: Estimate::new(new, price, api.app.config.pacing),
        wallet: funds.wallet,
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
    Ok(Json(summarise(&api, batch, Vec::new())))
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
    let mut faults = Vec::new();
    let page = PageRequest::read(limit.as_deref(), cursor.as_deref(), &mut faults);
    refuse(faults)?;
    let filter = BatchFilter { venue_id: venue_id.clone(), before_id: page.before_id };
    let mut records = api.app.store.batches(filter, page.rows()).await?;
    let next_cursor = page.cut(&mut records, |record| record.id);
    let batches = records.into_iter().map(|record| Batch::new(&api, record)).collect();
    let filters = [("venueId", venue_id.as_deref())];
    let answer = BatchPage { batches, next_cursor: next_cursor.clone() };
    Ok(page.answer(answer, next_cursor.as_deref(), &["admin", "batches"], &filters))
}

pub(super) async fn find(api: &Api, public_id: String) -> Result<BatchRecord, Problem> {
    let found = api.app.store.batch(public_id).await?;
    found.ok_or_else(|| Problem::not_found("there is no batch with this id"))
}

/// Reads the body by hand: one wrong ticket must not spoil the others, and every fault is told.
fn read(body: &[u8]) -> Result<BatchRequest, Problem> {
    // Tickets stay text until each is looked into: as values, ten thousand of them would take many times the room.
    let whole: &RawValue = serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request("malformed_json", format!("the body is not JSON: {error}")))?;
    let Ok(mut fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(whole.get()) else {
        return Err(Problem::one_invalid("", "the body must be a JSON object"));
    };
    let venue_id = match fields.remove("venueId").map(|text| serde_json::from_str::<String>(text.get())) {
        Some(Ok(text)) => VenueId::new(text),
        Some(Err(_)) => Err("must be a string"),
        None => Err("is missing"),
    };
    let tickets = match fields.remove("tickets").map(|list| serde_json::from_str::<Tickets>(list.get())) {
        Some(Ok(Tickets { sent, .. })) if sent > MAX_BATCH_TICKETS => {
            return Err(AcceptError::BatchSize { found: sent }.into());
        }
        Some(Ok(tickets)) => Ok(tickets.kept),
        Some(Err(_)) => Err("must be an array"),
        None => Err("is missing"),
    };
    let not_before = match fields.remove("notBefore").map(|text| serde_json::from_str::<String>(text.get())) {
        None => Ok(None),
        Some(Ok(text)) => read_not_before(&text).map(Some),
        Some(Err(_)) => Err("must be a string"),
    };
    let wrong = [
        ("venueId", venue_id.as_ref().err()),
        ("tickets", tickets.as_ref().err()),
        ("notBefore", not_before.as_ref().err()),
    ];
    let wrong = wrong.into_iter().filter_map(|(name, detail)| Some((name, *detail?)));
    let unknown = fields
        .keys()
        .map(|name| (name.as_str(), "is not a field of a batch, which has venueId, tickets and notBefore"));
    let fault = |(name, detail): (&str, &str)| Fault {
        pointer: format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        detail: detail.into(),
    };
    let faults: Vec<Fault> = wrong.chain(unknown).map(fault).collect();
    match (venue_id, tickets, not_before) {
        (Ok(venue_id), Ok(tickets), Ok(not_before)) if faults.is_empty() => {
            Ok(BatchRequest { venue_id, not_before, tickets })
        }
        _ => Err(Problem::invalid(faults)),
    }
}

/// The tickets of a request as texts, no more than a batch may have; those beyond are counted only.
#[derive(Debug, Default)]
struct Tickets {
    kept: Vec<Box<RawValue>>,
    sent: usize,
}

impl<'de> Deserialize<'de> for Tickets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Tickets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tickets, A::Error> {
                let mut tickets = Tickets::default();
                while tickets.kept.len() < MAX_BATCH_TICKETS
                    && let Some(text) = list.next_element()?
                {
                    tickets.kept.push(text);
                }
                tickets.sent = tickets.kept.len();
                while list.next_element::<IgnoredAny>()?.is_some() {
                    tickets.sent = tickets.sent.saturating_add(1);
                }
                Ok(tickets)
            }
        }
        deserializer.deserialize_seq(List)
    }
}

fn read_not_before(text: &str) -> Result<NotBefore, &'static str> {
    if text == "quietHours" {
        return Ok(NotBefore::QuietHours);
    }
    let time = text.parse::<jiff::Timestamp>();
    time.map(|time| NotBefore::At(time.as_millisecond()))
        .map_err(|_other| "must be a time such as 2026-12-31T23:00:00Z, or quietHours")
}

/// A batch and its sums.
#[expect(clippy::struct_field_names, reason = "the names are the API's")]
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Batch {
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
    pub(super) summary: Summary,
}

/// A batch, its sums, and what became of each ticket.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchResult {
    #[serde(flatten)]
    batch: Batch,
    /// In the order of the request.
    successful: Vec<Successful>,
    /// In the order of the request.
    failed: Vec<Failed>,
}

/// How far a batch is.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum BatchState {
    /// For its time.
    Waiting,
    Running,
    Finished,
}

/// A ticket that the chain holds.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Successful {
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
pub(super) struct Failed {
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
pub(super) struct Summary {
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
}

impl Batch {
    pub(super) fn new(api: &Api, record: BatchRecord) -> Self {
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
            },
            batch_id: record.public_id,
            venue_id: record.venue_id,
        }
    }
}

/// What became of an entry that is settled.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Settled {
    Successful(Successful),
    Failed(Failed),
}

impl Settled {
    /// None for an entry that is not settled yet.
    pub(super) fn of(entry: BatchEntry) -> Option<Self> {
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

async fn result(api: &Api, batch: BatchRecord) -> Result<BatchResult, StoreError> {
    let entries = api.app.store.batch_entries(batch.id).await?;
    Ok(summarise(api, batch, entries))
}

fn summarise(api: &Api, batch: BatchRecord, entries: Vec<BatchEntry>) -> BatchResult {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for settled in entries.into_iter().filter_map(Settled::of) {
        match settled {
            Settled::Successful(entry) => successful.push(entry),
            Settled::Failed(entry) => failed.push(entry),
        }
    }
    BatchResult { batch: Batch::new(api, batch), successful, failed }
}

#[expect(clippy::cast_precision_loss, reason = "seconds shown to people")]
fn seconds(ms: i64) -> f64 {
    ms.max(0) as f64 / 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "seconds shown to people")]
fn per(seconds: f64, count: u64) -> f64 {
    (seconds / count.max(1) as f64 * 10_000.0).round() / 10_000.0
}
