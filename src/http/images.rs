//! `/admin/events/{eventId}/image`: the picture of an event's tickets.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    error::{Outcome, Problem, ProblemBody},
    writes::IdempotencyHeader,
};
use crate::{
    clock::rfc3339,
    domain::ids::{VenueId, check_id},
    store::EventImage,
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OfVenue {
    /// The venue: another venue's event of the same id is another event.
    #[param(
        min_length = 1,
        max_length = 128,
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"
    )]
    venue_id: String,
}

/// An event's image.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EventImage)]
pub(super) struct ImageBody {
    venue_id: String,
    event_id: String,
    /// `ipfs://` address of the file; `/ipfs/{cid}` serves it.
    uri: String,
    /// What the file is, told by its bytes.
    media_type: String,
    /// Size of the file.
    bytes: u64,
    /// In pixels.
    width: u32,
    /// In pixels.
    height: u32,
    #[schema(format = DateTime)]
    set_at: String,
}

/// Says which event is meant, if it can be one.
fn event(event_id: &str, venue_id: String) -> Result<VenueId, Problem> {
    check_id(event_id).map_err(|fault| Problem::one_invalid("/eventId", fault))?;
    VenueId::new(venue_id).map_err(|fault| Problem::one_invalid("/venueId", fault))
}

fn body(venue: &VenueId, event_id: String, image: EventImage) -> ImageBody {
    ImageBody {
        venue_id: venue.to_string(),
        event_id,
        uri: format!("ipfs://{}", image.cid),
        media_type: image.media_type,
        bytes: image.bytes,
        width: image.width,
        height: image.height,
        set_at: rfc3339(image.set_at_ms),
    }
}

fn none() -> Problem {
    Problem::not_found("this event of this venue has no image")
}

/// An event's image, as set.
#[utoipa::path(get, path = "/events/{eventId}/image", operation_id = "getEventImage", tag = "minting",
    params(("eventId" = String, Path, min_length = 1, max_length = 128, pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"), OfVenue),
    responses((status = 200, body = ImageBody),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "It has none.")))]
pub(super) async fn show(
    State(api): State<Api>,
    Path(event_id): Path<String>,
    Query(of): Query<OfVenue>,
) -> Result<Json<ImageBody>, Problem> {
    let venue = event(&event_id, of.venue_id)?;
    let image = api.app.images.of(&venue, event_id.clone()).await?.ok_or_else(none)?;
    Ok(Json(body(&venue, event_id, image)))
}

/// Sets the image of an event's tickets: those that are accepted from now on and have none of their own. Tickets that were
/// accepted before keep what they have, for their metadata is public.
///
/// The body is the file: PNG, JPEG, GIF or WebP, or an SVG that runs nothing and fetches nothing. Its bytes decide what it
/// is; `Content-Type` decides nothing.
#[utoipa::path(put, path = "/events/{eventId}/image", operation_id = "setEventImage", tag = "minting",
    params(("eventId" = String, Path, min_length = 1, max_length = 128, pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"), OfVenue, IdempotencyHeader),
    request_body(description = "The file, up to 10 MiB.", content(("image/png"), ("image/jpeg"), ("image/gif"), ("image/webp"),
        ("image/svg+xml"), ("application/octet-stream"))),
    responses((status = 200, body = ImageBody),
        (status = 413, body = ProblemBody, content_type = "application/problem+json", description = "`body_too_large`."),
        (status = 415, body = ProblemBody, content_type = "application/problem+json",
            description = "`unsupported_media_type`: the bytes are none of these kinds."),
        (status = 422, body = ProblemBody, content_type = "application/problem+json",
            description = "`invalid_request`: the image is damaged, not complete, or an SVG that is more than a picture.")))]
pub(super) async fn set(
    State(api): State<Api>,
    Path(event_id): Path<String>,
    Query(of): Query<OfVenue>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let venue = event(&event_id, of.venue_id)?;
    let image = api.app.images.set(&venue, event_id.clone(), bytes).await?;
    let outcome = Outcome(format!("the image of {event_id} of {venue} is ipfs://{}", image.cid));
    let mut response = Json(body(&venue, event_id, image)).into_response();
    response.extensions_mut().insert(outcome);
    Ok(response)
}

/// Takes an event's image away from tickets that are accepted from now on, and answers what it was. The file stays where it
/// is, for tickets show it.
#[utoipa::path(delete, path = "/events/{eventId}/image", operation_id = "removeEventImage", tag = "minting",
    params(("eventId" = String, Path, min_length = 1, max_length = 128, pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"), OfVenue, IdempotencyHeader),
    responses((status = 200, body = ImageBody, description = "What it was."),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "It has none.")))]
pub(super) async fn remove(
    State(api): State<Api>,
    Path(event_id): Path<String>,
    Query(of): Query<OfVenue>,
) -> Result<Response, Problem> {
    let venue = event(&event_id, of.venue_id)?;
    let image = api.app.images.remove(&venue, event_id.clone()).await?.ok_or_else(none)?;
    let outcome = Outcome(format!("{event_id} of {venue} has no image any more; it was ipfs://{}", image.cid));
    let mut response = Json(body(&venue, event_id, image)).into_response();
    response.extensions_mut().insert(outcome);
    Ok(response)
}
