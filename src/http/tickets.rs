//! `/admin/tickets/read`: a file of tickets, looked through before anything is minted of it.

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, header},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    error::{Outcome, Problem, ProblemBody, text},
};
use crate::domain::{
    ids::{VenueId, check_id},
    ticket::TicketRules,
    ticket_file::{self, FileFault, FileFormat, UnreadableFile},
};

/// Where it is, for what counts as a read.
pub(super) const PATH: &str = "/admin/tickets/read";
/// Media types of files that can be read.
pub(super) const MEDIA_TYPES: &[&str] = &["text/csv", "application/json"];
/// Rows that are looked at: ten full batches.
const MOST_ROWS: usize = 100_000;
/// Files that are looked through at once: a full one takes many times its own room.
static READING: Semaphore = Semaphore::const_new(1);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// The venue that sells.
    venue_id: String,
    /// The event of tickets that name none.
    event_id: Option<String>,
}

/// What stands in a file of tickets.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TicketFile {
    /// Those without a fault, as `POST /admin/batch-mint` takes them.
    #[schema(value_type = Vec<Object>)]
    tickets: Vec<Value>,
    /// What is wrong with the others: the first thousand faults.
    faults: Vec<FileFault>,
    /// All faults, those that are not listed too.
    fault_count: usize,
    /// Rows that have faults.
    faulty_rows: usize,
    /// What `row` counts: `line` of a CSV file or `entry` of a JSON list.
    row_name: &'static str,
}

/// Looks through a file of tickets, as `boxoffice mint` does, and mints nothing.
///
/// Columns of a CSV file are `id`, `eventId`, `userId`, `eventName`, `eventDate`, `venue`, `tier`, `seatNumber`,
/// `ownerAddress` and `image`, in any order and spelling (`Seat Number`); others are printed on the ticket under their own
/// names. Cells are separated by commas, semicolons or tabs.
#[utoipa::path(post, path = "/tickets/read", operation_id = "readTicketFile", tag = "minting", params(Parameters),
    request_body(content(
        (String = "text/csv", example = "id,eventId,eventName,seatNumber\n1001,gala,Winter Gala,A1\n"),
        (serde_json::Value = "application/json", example = json!([{ "id": "1001", "eventId": "gala",
            "ticketData": { "eventName": "Winter Gala" } }])))),
    responses((status = 200, body = TicketFile),
        (status = 400, body = ProblemBody, content_type = "application/problem+json",
            description = "`malformed_json`: it is no list of tickets, or one of another venue.")))]
pub(super) async fn read(
    State(api): State<Api>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(Extension<Outcome>, Json<TicketFile>), Problem> {
    let Parameters { venue_id, event_id } = parameters;
    let venue = VenueId::new(venue_id).map_err(|fault| Problem::one_invalid("/venueId", fault))?;
    if let Some(event) = &event_id {
        check_id(event).map_err(|fault| Problem::one_invalid("/eventId", fault))?;
    }
    let is_json = text(&headers, header::CONTENT_TYPE.as_str()).is_some_and(|kind| kind.contains("json"));
    let format = if is_json { FileFormat::Json } else { FileFormat::Csv };
    let rules = TicketRules { allow_off_curve_owners: api.app.config.allow_off_curve_owners };
    let _place = READING.acquire().await.map_err(|_closed| super::error::internal())?;
    // A full file takes a second: others should not wait for it.
    let read = move || (ticket_file::read(&body, format, venue.as_str(), event_id.as_deref(), rules, MOST_ROWS), venue);
    let (file, venue) = tokio::task::spawn_blocking(read).await.map_err(|_panicked| super::error::internal())?;
    let unreadable = |fault| match fault {
        UnreadableFile::TooLong { .. } => Problem::file_too_long(fault),
        UnreadableFile::Json(_) | UnreadableFile::NoList | UnreadableFile::OtherVenue { .. } => {
            Problem::bad_request("malformed_json", fault.to_string())
        }
    };
    let ticket_file::TicketFile { tickets, faults, fault_count, faulty_rows } = file.map_err(unreadable)?;
    let outcome = Outcome(format!("file for {venue} looked through: {} tickets, {fault_count} faults", tickets.len()));
    Ok((
        Extension(outcome),
        Json(TicketFile { tickets, faults, fault_count, faulty_rows, row_name: format.row_name() }),
    ))
}
