//! `/admin/cache`: how the cache fares, what to forget, and what to know beforehand.

use axum::{
    Extension, Json,
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
    cache::{CacheStats, WarmFilter},
    publishing::Savings,
};

/// How the cache fares.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CacheAnswer {
    /// `memory`, or `redis` when boxes share one.
    backend: &'static str,
    enabled: bool,
    /// It answers. When it does not, everything goes on without it.
    connected: bool,
    /// Values kept; null when that cannot be found out now.
    key_count: Option<u64>,
    /// Bytes that they take; null for Redis.
    bytes: Option<u64>,
    /// `CACHE_MAX_MB` in bytes; null for Redis, which has a limit of its own.
    max_bytes: Option<u64>,
    /// Look-ups answered since the start.
    hits: u64,
    /// Look-ups not answered since the start.
    misses: u64,
    /// Percentage of the look-ups that were answered.
    hit_rate: f64,
    /// Questions and orders that failed since the start, and values that could not be read.
    errors: u64,
    /// Why the last one failed; null while all is well.
    last_error: Option<String>,
    /// What uploading came to, and what needed none. Null when the content store cannot be read.
    uploads: Option<Uploads>,
}

/// What uploading to providers came to, since the content store was begun.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Uploads {
    /// Requests that uploaded; one may carry many files.
    requests: u64,
    /// Files in them.
    files: u64,
    /// Bytes in those files.
    bytes: u64,
    /// Files that were to be published and were there already.
    saved_files: u64,
    /// Bytes in those files.
    saved_bytes: u64,
}

impl From<Savings> for Uploads {
    fn from(savings: Savings) -> Self {
        Self {
            requests: savings.uploads,
            files: savings.uploaded_files,
            bytes: savings.uploaded_bytes,
            saved_files: savings.saved_files,
            saved_bytes: savings.saved_bytes,
        }
    }
}

/// How the cache fares, and what uploads it and the record of what was published have saved.
#[utoipa::path(get, path = "/cache/stats", operation_id = "getCacheStats", tag = "cache", responses((status = 200, body = CacheAnswer)))]
pub(super) async fn stats(State(api): State<Api>) -> Json<CacheAnswer> {
    let (stats, savings) = tokio::join!(api.app.cache.stats(), api.app.publishing.savings());
    let hit_rate = stats.hit_rate();
    let CacheStats { backend, connected, keys, bytes, hits, misses, errors, fault } = stats;
    Json(CacheAnswer {
        backend,
        enabled: true,
        connected,
        key_count: keys,
        bytes,
        max_bytes: bytes.map(|_| api.app.config.cache.max_bytes),
        hits,
        misses,
        hit_rate,
        errors,
        last_error: fault,
        uploads: savings.ok().map(Uploads::from),
    })
}

/// What was forgotten.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Forgotten {
    /// Values removed.
    removed: u64,
}

fn forgotten(removed: u64, what: &str) -> Response {
    (Extension(Outcome(format!("{removed} values of {what} forgotten"))), Json(Forgotten { removed })).into_response()
}

/// Forgets everything that the cache holds. Books and published content are not touched.
#[utoipa::path(delete, path = "/cache/clear", operation_id = "clearCache", tag = "cache", params(IdempotencyHeader),
    responses((status = 200, body = Forgotten),
        (status = 503, body = ProblemBody, content_type = "application/problem+json",
            description = "`cache_unavailable`: Redis does not answer; nothing was removed.")))]
pub(super) async fn clear(State(api): State<Api>, Query(Nothing {}): Query<Nothing>) -> Result<Response, Problem> {
    Ok(forgotten(api.app.cache.clear().await?, "the cache"))
}

/// Whoever names a venue here means less than everything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ForgetParameters {
    /// Of this venue only; of all when it is left out.
    venue_id: Option<String>,
}

/// Forgets what the cache knows of a ticket: it is found out anew when it is needed.
///
/// A ticket whose id is `clear`, `stats` or `warm` is reached as `%63lear`, `%73tats` or `%77arm`.
#[utoipa::path(delete, path = "/cache/{ticketId}", operation_id = "forgetTicket", tag = "cache",
    params(("ticketId" = String, Path, example = "ticket-1"), ForgetParameters, IdempotencyHeader),
    responses((status = 200, body = Forgotten),
        (status = 503, body = ProblemBody, content_type = "application/problem+json",
            description = "`cache_unavailable`: Redis does not answer; nothing was removed.")))]
pub(super) async fn forget(
    State(api): State<Api>,
    Path(ticket_id): Path<String>,
    Query(parameters): Query<ForgetParameters>,
) -> Result<Response, Problem> {
    let removed = api.app.cache.forget_ticket(&ticket_id, parameters.venue_id.as_deref()).await?;
    Ok(forgotten(removed, &ticket_id))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WarmParameters {
    /// Of this venue only.
    venue_id: Option<String>,
    /// Of this event only.
    event_id: Option<String>,
}

/// What was put into the cache.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Warm {
    /// Minted tickets that were looked at, the newest first, at most 100,000.
    tickets: u64,
    /// Metadata URIs put into the cache.
    uris: u64,
    /// Signatures put into the cache.
    signatures: u64,
    /// False when the limit, or a cache that stopped to answer, left some out.
    complete: bool,
}

/// Puts what the books know of minted tickets into the cache, before a crowd asks.
#[utoipa::path(post, path = "/cache/warm", operation_id = "warmCache", tag = "cache", params(WarmParameters, IdempotencyHeader),
    responses((status = 200, body = Warm)))]
pub(super) async fn warm(
    State(api): State<Api>,
    Query(WarmParameters { venue_id, event_id }): Query<WarmParameters>,
) -> Result<Response, Problem> {
    let filter = WarmFilter { venue_id, event_id, from_day: None };
    let warmed = api.app.cache.warm(&api.app.store, filter).await?;
    let outcome = Outcome(format!("{} URIs and {} signatures warmed", warmed.uris, warmed.signatures));
    let answer =
        Warm { tickets: warmed.tickets, uris: warmed.uris, signatures: warmed.signatures, complete: warmed.complete };
    Ok((Extension(outcome), Json(answer)).into_response())
}
