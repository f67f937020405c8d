//! `/admin/mints`.

use axum::{
    Json,
    extract::{Path, Query, State},
    response::Response,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    error::{Problem, ProblemBody},
    pages::{PageRequest, refuse},
};
use crate::{
    clock::rfc3339,
    domain::{failure::FailureCode, lamports::Lamports, mint::MintStatus, ticket::Fault, ticket::Ticket},
    store::{AttemptRecord, MintFilter, MintRecord},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParameters {
    /// Of one venue.
    venue_id: Option<String>,
    /// Of one event.
    event_id: Option<String>,
    /// In one state.
    #[param(value_type = Option<MintStatus>, inline)]
    status: Option<String>,
    /// Tickets on the page.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<String>,
    /// `nextCursor` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]$")]
    cursor: Option<String>,
}

/// A page of tickets.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MintPage)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    mints: Vec<Mint>,
    /// Where the next page begins; null on the last.
    next_cursor: Option<String>,
}

/// A ticket and what became of it.
#[expect(clippy::struct_field_names, reason = "the names are the API's")]
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mint {
    venue_id: String,
    ticket_id: String,
    event_id: String,
    user_id: Option<String>,
    /// 0 for the first issue of a ticket.
    generation: u32,
    status: MintStatus,
    /// Where the NFT lives, base58: known before it is minted.
    mint_address: String,
    /// Who was to hold it; null for the box's own wallet.
    owner_address: Option<String>,
    /// On the chain.
    name: Option<String>,
    /// `ipfs://` address of its metadata.
    metadata_uri: Option<String>,
    /// Of the transaction that minted it, base58.
    signature: Option<String>,
    slot: Option<u64>,
    /// Found on the chain, minted by an earlier life of these books.
    adopted: bool,
    /// Transactions signed for it.
    attempts: u32,
    /// Rent and fees, as the chain has them.
    cost_lamports: Lamports,
    /// Why it was not minted.
    error: Option<String>,
    #[schema(inline)]
    code: Option<FailureCode>,
    /// Whether sending it again can help.
    retryable: Option<bool>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    settled_at: Option<String>,
    /// As it was sold.
    ticket: Ticket,
}

impl From<MintRecord> for Mint {
    fn from(record: MintRecord) -> Self {
        let (code, error) = record.failure.map(|failure| (failure.code, failure.message)).unzip();
        Self {
            venue_id: record.venue_id,
            ticket_id: record.ticket.id.clone(),
            event_id: record.event_id,
            user_id: record.ticket.user_id.clone(),
            generation: record.generation,
            status: record.status,
            mint_address: record.mint_address,
            owner_address: record.ticket.owner_address.clone(),
            name: record.name,
            metadata_uri: record.metadata_uri,
            signature: record.signature,
            slot: record.slot,
            adopted: record.adopted,
            attempts: record.attempts,
            cost_lamports: record.cost,
            error,
            retryable: code.map(FailureCode::retryable),
            code,
            created_at: rfc3339(record.created_at_ms),
            settled_at: record.settled_at_ms.map(rfc3339),
            ticket: record.ticket,
        }
    }
}

/// The transactions that were signed for a ticket, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Attempts {
    attempts: Vec<Attempt>,
}

/// A transaction that was signed for a ticket.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MintAttempt)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attempt {
    /// Base58.
    signature: String,
    /// `recorded`, `sent` and `unknown` are under way; `landed`, `rejected` and `dead` are final.
    state: String,
    /// When it was written ahead.
    #[schema(format = DateTime)]
    recorded_at: String,
    #[schema(format = DateTime)]
    settled_at: Option<String>,
    slot: Option<u64>,
    /// Why the chain refused it.
    error: Option<String>,
    /// What the network takes for it, once it is in a block.
    fee_lamports: Lamports,
    /// Tickets that ride in it.
    tickets: u64,
}

/// What was signed for a ticket, and what became of it.
#[utoipa::path(get, path = "/mints/{ticketId}/attempts", operation_id = "listAttempts", tag = "minting", params(("ticketId" = String, Path, example = "ticket-1"), TicketParameters),
    responses((status = 200, body = Attempts),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "No such ticket."),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
            description = "Several venues have it; `venueIds` names them.")))]
pub(super) async fn attempts(
    State(api): State<Api>,
    Path(ticket_id): Path<String>,
    Query(parameters): Query<TicketParameters>,
) -> Result<Json<Attempts>, Problem> {
    let mint = find(&api, ticket_id, parameters.venue_id).await?;
    let attempts = api.app.store.attempts_of(mint.id).await?.into_iter().map(Attempt::from).collect();
    Ok(Json(Attempts { attempts }))
}

impl From<AttemptRecord> for Attempt {
    fn from(record: AttemptRecord) -> Self {
        Self {
            signature: record.signature,
            state: record.state,
            recorded_at: rfc3339(record.recorded_at_ms),
            settled_at: record.settled_at_ms.map(rfc3339),
            slot: record.slot,
            error: record.error,
            fee_lamports: record.fee,
            tickets: record.tickets,
        }
    }
}

/// Tickets, newest first.
#[utoipa::path(get, path = "/mints", operation_id = "listMints", tag = "minting", params(ListParameters),
    responses((status = 200, body = Page, headers(("link", description = "The next page, as rel=next")))))]
pub(super) async fn list(
    State(api): State<Api>,
    Query(parameters): Query<ListParameters>,
) -> Result<Response, Problem> {
    let ListParameters { venue_id, event_id, status, limit, cursor } = parameters;
    let mut faults = Vec::new();
    let page = PageRequest::read(limit.as_deref(), cursor.as_deref(), &mut faults);
    let wanted = status.as_deref().map(MintStatus::parse);
    if wanted == Some(None) {
        let known = MintStatus::ALL.map(MintStatus::as_str).join(", ");
        faults.push(Fault { pointer: "/status".into(), detail: format!("must be one of {known}") });
    }
    refuse(faults)?;
    let filter = MintFilter {
        venue_id: venue_id.clone(),
        event_id: event_id.clone(),
        status: wanted.flatten(),
        before_id: page.before_id,
    };
    let mut records = api.app.store.mints(filter, page.rows()).await?;
    let next_cursor = page.cut(&mut records, |record| record.id);
    let mints = records.into_iter().map(Mint::from).collect();
    let filters = [("venueId", venue_id.as_deref()), ("eventId", event_id.as_deref()), ("status", status.as_deref())];
    Ok(page.answer(next_cursor, &["admin", "mints"], &filters, |next_cursor| Page { mints, next_cursor }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TicketParameters {
    /// Picks the venue when several use the same id.
    venue_id: Option<String>,
}

/// One ticket, in its newest issue.
#[utoipa::path(get, path = "/mints/{ticketId}", operation_id = "getMint", tag = "minting", params(("ticketId" = String, Path, example = "ticket-1"), TicketParameters),
    responses((status = 200, body = Mint),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "No such ticket."),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
            description = "Several venues have it; `venueIds` names them.")))]
pub(super) async fn of_ticket(
    State(api): State<Api>,
    Path(ticket_id): Path<String>,
    Query(parameters): Query<TicketParameters>,
) -> Result<Json<Mint>, Problem> {
    find(&api, ticket_id, parameters.venue_id).await.map(|record| Json(record.into()))
}

async fn find(api: &Api, ticket_id: String, venue_id: Option<String>) -> Result<MintRecord, Problem> {
    let mut records = api.app.store.mints_of_ticket(ticket_id, venue_id).await?;
    match (records.pop(), records.is_empty()) {
        (Some(record), true) => Ok(record),
        (None, _) => Err(Problem::not_found("no ticket with this id has been accepted")),
        (Some(last), false) => {
            let mut venues: Vec<String> = records.into_iter().map(|record| record.venue_id).collect();
            venues.push(last.venue_id);
            let detail =
                format!("several venues have a ticket with this id ({}); pick one with ?venueId=", venues.join(", "));
            Err(Problem::conflict("ambiguous_ticket", detail).with("venueIds", venues))
        }
    }
}
