//! `/admin/venues`: who sells, and what became of their tickets, event by event.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    error::{Problem, ProblemBody},
    pages::PageRequest,
    stats::average_seconds,
};
use crate::{
    domain::{lamports::Lamports, mint::MintStatus},
    store::{Counts, EventRecord, VenueRecord},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct NameParameters {
    /// Entries on the page.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<String>,
    /// `nextAfter` of the page before.
    after: Option<String>,
}

/// A page of venues.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct VenuePage {
    /// By name.
    venues: Vec<Venue>,
    /// Where the next page begins; null on the last.
    next_after: Option<String>,
}

/// A venue, and what became of its tickets.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names are the API's")]
#[serde(rename_all = "camelCase")]
pub(super) struct Venue {
    venue_id: String,
    /// Tickets accepted.
    total_mints: u64,
    successful_mints: u64,
    failed_mints: u64,
    /// Not settled yet.
    pending_mints: u64,
    /// What left the wallet for this venue.
    spent_lamports: Lamports,
    /// What its minted tickets were expected to cost when they were accepted.
    estimated_lamports: Lamports,
}

/// A page of a venue's events.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventPage {
    /// By name.
    events: Vec<EventStats>,
    /// Where the next page begins; null on the last.
    next_after: Option<String>,
}

/// An event, and what became of its tickets.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventStats {
    event_id: String,
    successful_mints: u64,
    /// Tickets that are failed now.
    failed_mints: u64,
    /// What left the wallet for this event.
    spent_lamports: Lamports,
    /// What its minted tickets were expected to cost when they were accepted.
    estimated_lamports: Lamports,
    /// From acceptance to settlement; null without a minted ticket.
    avg_mint_time_seconds: Option<f64>,
}

impl From<VenueRecord> for Venue {
    fn from(VenueRecord { venue_id, counts, total }: VenueRecord) -> Self {
        Self {
            venue_id,
            total_mints: counts.total(),
            successful_mints: counts.of(MintStatus::Minted),
            failed_mints: counts.of(MintStatus::Failed),
            pending_mints: counts.of(MintStatus::Pending).saturating_add(counts.of(MintStatus::Minting)),
            spent_lamports: total.spent,
            estimated_lamports: total.estimated,
        }
    }
}

impl From<EventRecord> for EventStats {
    fn from(EventRecord { event_id, total, given_up }: EventRecord) -> Self {
        Self {
            event_id,
            successful_mints: total.minted,
            failed_mints: given_up,
            spent_lamports: total.spent,
            estimated_lamports: total.estimated,
            avg_mint_time_seconds: (total.minted > 0).then(|| average_seconds(&total)),
        }
    }
}

/// Venues that have tickets, by name, with what became of those.
#[utoipa::path(get, path = "/venues", operation_id = "listVenues", tag = "statistics", params(NameParameters),
    responses((status = 200, body = VenuePage)))]
pub(super) async fn list(
    State(api): State<Api>,
    Query(parameters): Query<NameParameters>,
) -> Result<Json<VenuePage>, Problem> {
    let page = PageRequest::checked(parameters.limit.as_deref(), None)?;
    let mut venues = api.app.store.venue_page(parameters.after.unwrap_or_default(), page.rows()).await?;
    let next_after = page.cut_by_name(&mut venues, |venue| &venue.venue_id);
    Ok(Json(VenuePage { venues: venues.into_iter().map(Venue::from).collect(), next_after }))
}

/// Events of a venue, by name, with what became of their tickets.
#[utoipa::path(get, path = "/venues/{venueId}/events", operation_id = "listVenueEvents", tag = "statistics",
    params(("venueId" = String, Path, example = "venue-123"), NameParameters),
    responses((status = 200, body = EventPage),
        (status = 404, body = ProblemBody, content_type = "application/problem+json",
            description = "No ticket of this venue was ever accepted.")))]
pub(super) async fn events(
    State(api): State<Api>,
    Path(venue_id): Path<String>,
    Query(parameters): Query<NameParameters>,
) -> Result<Json<EventPage>, Problem> {
    let page = PageRequest::checked(parameters.limit.as_deref(), None)?;
    known(&api, &venue_id).await?;
    let mut events = api.app.store.event_page(venue_id, parameters.after.unwrap_or_default(), page.rows()).await?;
    let next_after = page.cut_by_name(&mut events, |event| &event.event_id);
    Ok(Json(EventPage { events: events.into_iter().map(EventStats::from).collect(), next_after }))
}

/// The tickets of a venue by state, if it has any.
pub(super) async fn known(api: &Api, venue_id: &str) -> Result<Counts, Problem> {
    let counts = api.app.store.counts(Some(venue_id.to_owned())).await?;
    match counts.total() {
        0 => Err(Problem::not_found("no ticket of this venue has been accepted")),
        _ => Ok(counts),
    }
}
