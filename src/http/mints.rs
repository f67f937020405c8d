//! `/admin/mints`.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::{Api, error::Problem};
use crate::{
    clock::rfc3339,
    domain::{failure::FailureCode, lamports::Lamports, mint::MintStatus, ticket::Fault, ticket::Ticket},
    store::{MintFilter, MintRecord},
};

/// Mints on a page when the client does not say.
const DEFAULT_LIMIT: usize = 50;
/// Most mints on a page.
const MAX_LIMIT: usize = 500;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ListParameters {
    venue_id: Option<String>,
    event_id: Option<String>,
    status: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    mints: Vec<Mint>,
    next_cursor: Option<String>,
}

/// A mint as clients see it.
#[expect(clippy::struct_field_names, reason = "the names are the API's")]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mint {
    venue_id: String,
    ticket_id: String,
    event_id: String,
    user_id: Option<String>,
    generation: u32,
    status: MintStatus,
    mint_address: String,
    owner_address: Option<String>,
    name: Option<String>,
    metadata_uri: Option<String>,
    signature: Option<String>,
    slot: Option<u64>,
    adopted: bool,
    attempts: u32,
    cost_lamports: Lamports,
    error: Option<String>,
    code: Option<FailureCode>,
    retryable: Option<bool>,
    created_at: String,
    settled_at: Option<String>,
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

/// `GET /admin/mints`: newest first, in pages.
pub(super) async fn list(
    State(api): State<Api>,
    Query(parameters): Query<ListParameters>,
) -> Result<(HeaderMap, Json<Page>), Problem> {
    let mut faults = Vec::new();
    let mut fault = |name: &str, detail: String| faults.push(Fault { pointer: format!("/{name}"), detail });
    let limit = match parameters.limit.as_deref().map(str::parse) {
        None => DEFAULT_LIMIT,
        Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => limit,
        Some(_) => {
            fault("limit", format!("must be a whole number from 1 to {MAX_LIMIT}"));
            DEFAULT_LIMIT
        }
    };
    let status = parameters.status.as_deref().map(MintStatus::parse);
    if status == Some(None) {
        let known = MintStatus::ALL.map(MintStatus::as_str).join(", ");
        fault("status", format!("must be one of {known}"));
    }
    let before_id = parameters.cursor.as_deref().map(read_cursor);
    if before_id == Some(None) {
        fault("cursor", "is not a cursor of this list".into());
    }
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let filter = MintFilter {
        venue_id: parameters.venue_id.clone(),
        event_id: parameters.event_id.clone(),
        status: status.flatten(),
        before_id: before_id.flatten(),
    };
    // One more than asked for tells whether there is another page.
    let mut records = api.app.store.mints(filter, limit.saturating_add(1)).await?;
    let more = records.len() > limit;
    records.truncate(limit);
    let next_cursor = records.last().filter(|_| more).map(|last| write_cursor(last.id));
    let mut headers = HeaderMap::new();
    if let Some(link) = next_cursor.as_ref().and_then(|cursor| next_link(&parameters, limit, cursor)) {
        headers.insert(header::LINK, link);
    }
    Ok((headers, Json(Page { mints: records.into_iter().map(Mint::from).collect(), next_cursor })))
}

fn next_link(parameters: &ListParameters, limit: usize, cursor: &str) -> Option<HeaderValue> {
    // Only the path and the query are used: the base is there to encode them.
    let mut url = Url::parse("http://box/admin/mints").ok()?;
    let limit = limit.to_string();
    let pairs = [
        ("venueId", parameters.venue_id.as_deref()),
        ("eventId", parameters.event_id.as_deref()),
        ("status", parameters.status.as_deref()),
        ("limit", Some(limit.as_str())),
        ("cursor", Some(cursor)),
    ];
    url.query_pairs_mut().extend_pairs(pairs.into_iter().filter_map(|(name, value)| Some((name, value?))));
    HeaderValue::from_str(&format!("<{}?{}>; rel=\"next\"", url.path(), url.query()?)).ok()
}

fn write_cursor(id: i64) -> String {
    URL_SAFE_NO_PAD.encode(id.to_be_bytes())
}

fn read_cursor(cursor: &str) -> Option<i64> {
    let bytes: [u8; 8] = URL_SAFE_NO_PAD.decode(cursor).ok()?.try_into().ok()?;
    Some(i64::from_be_bytes(bytes))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TicketParameters {
    venue_id: Option<String>,
}

/// `GET /admin/mints/{ticketId}`: one ticket; `?venueId=` picks when several venues use the same id.
pub(super) async fn of_ticket(
    State(api): State<Api>,
    Path(ticket_id): Path<String>,
    Query(parameters): Query<TicketParameters>,
) -> Result<Json<Mint>, Problem> {
    let mut records = api.app.store.mints_of_ticket(ticket_id, parameters.venue_id).await?;
    match (records.pop(), records.is_empty()) {
        (Some(record), true) => Ok(Json(record.into())),
        (None, _) => Err(Problem::not_found("no ticket with this id has been accepted")),
        (Some(last), false) => {
            let mut venues: Vec<String> = records.into_iter().map(|record| record.venue_id).collect();
            venues.push(last.venue_id);
            let detail =
                format!("several venues have a ticket with this id ({}); pick one with ?venueId=", venues.join(", "));
            Err(Problem::new(StatusCode::CONFLICT, "ambiguous_ticket", detail).with("venueIds", venues))
        }
    }
}
