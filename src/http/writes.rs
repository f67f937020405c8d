//! Requests that may change something: read whole, written down in the audit trail before they are acted upon, answered
//! alike when they are repeated with the same `Idempotency-Key`, and carried out to the end whether or not the client waits.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{OriginalUri, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use bytes::BytesMut;
use futures_util::{FutureExt as _, TryStreamExt as _};
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use utoipa::IntoParams;
use utoipa_axum::router::UtoipaMethodRouter;

use super::{
    Api,
    auth::client_of,
    error::{Outcome, Problem, internal, panicked, text},
    limits::Limited,
    requests::RequestId,
};
use crate::{
    domain::access::Actor,
    store::{KeptAnswer, NewAuditRecord},
};

/// Largest request body: 10,000 tickets of 1.6 kB each.
pub(super) const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// How much of a body is read at most, to be able to say that it is too large.
const MAX_DISCARDED_BYTES: usize = 256 * 1024 * 1024;
/// How long a client may take to send it: a slow line's 16 MB.
const BODY_TIMEOUT: Duration = Duration::from_mins(1);
/// Bodies that are read at once: bounds memory.
pub(super) const MAX_BODIES: usize = 16;
/// Longest `Idempotency-Key`.
const MAX_KEY_BYTES: usize = 255;
/// The headers that hold one.
const IDEMPOTENCY_HEADERS: [&str; 2] = ["idempotency-key", "x-idempotency-key"];
/// Longest outcome in the audit trail.
const MAX_OUTCOME_BYTES: usize = 1_000;

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what `idempotency_key` reads")]
pub(super) struct IdempotencyHeader {
    /// Repeated with the same body within 24 hours, the request is answered as before, with `Idempotent-Replayed: true`.
    /// `x-idempotency-key` is the same. Ticket ids protect for ever without it.
    #[param(rename = "idempotency-key", value_type = String, pattern = "^[ -~]{1,255}$", required = false)]
    idempotency_key: Option<String>,
}

/// Requests with an `Idempotency-Key` that are being carried out, by actor and key, with their fingerprints.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<HashMap<(String, String), [u8; 32]>>);

/// What [`routes!`](utoipa_axum::routes) makes: schemas, paths, handler.
type Route = UtoipaMethodRouter<Api>;

/// Which bodies a route takes.
#[derive(Clone, Copy, Debug)]
struct Bodies {
    max_bytes: usize,
    /// Of these media types, and said to be; of any if there are none.
    kinds: &'static [&'static str],
    /// What to do about one that is too large.
    remedy: &'static str,
    /// Whether answers are kept for an `Idempotency-Key`.
    kept: bool,
}

/// Has a route's requests carried out as this module says.
pub(super) fn write(api: &Api, route: Route) -> Route {
    let remedy = "send the tickets in several batches";
    carried_out(api, Bodies { max_bytes: MAX_BODY_BYTES, kinds: &["application/json"], remedy, kept: true }, route)
}

/// The same for a route that takes a text file of certain media types, none of which a form can send, and only looks at it:
/// its answer is as large as the file, and not worth keeping.
pub(super) fn file(api: &Api, kinds: &'static [&'static str], route: Route) -> Route {
    carried_out(api, Bodies { max_bytes: MAX_BODY_BYTES, kinds, remedy: "split the file", kept: false }, route)
}

/// The same for a route that takes a file of any type. It must not be a POST: those could be sent by a form of another site.
pub(super) fn upload(api: &Api, max_bytes: usize, route: Route) -> Route {
    carried_out(api, Bodies { max_bytes, kinds: &[], remedy: "make the file smaller", kept: true }, route)
}

fn carried_out(api: &Api, bodies: Bodies, (schemas, paths, handler): Route) -> Route {
    (schemas, paths, handler.route_layer(middleware::from_fn_with_state((api.clone(), bodies), carry_out)))
}

async fn carry_out(State((api, bodies)): State<(Api, Bodies)>, request: Request, next: Next) -> Response {
    // Bodies that are being read take memory; more of them wait their turn.
    let Ok(reading) = Arc::clone(&api.bodies).acquire_owned().await else { return internal().into_response() };
    let (mut request, fingerprint) = match read_whole(request, bodies).await {
        Ok(whole) => whole,
        Err(problem) => return problem.into_response(),
    };
    drop(reading);
    if !bodies.kept {
        for name in IDEMPOTENCY_HEADERS {
            request.headers_mut().remove(name);
        }
    }
    // A task of its own: a client that goes away does not cancel what it has begun.
    let tasks = api.app.tasks.clone();
    let span = tracing::Span::current();
    let work = tracing::Instrument::instrument(audited(api, request, fingerprint, next), span);
    tasks.spawn(work).await.unwrap_or_else(|_panicked| internal().into_response())
}

/// A handler that panics has answered too, and the audit trail should say so.
async fn run(request: Request, next: Next) -> Response {
    AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(panicked)
}

/// What tells requests with the same `Idempotency-Key` apart.
fn fingerprint(request: &Request, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(request.method().as_str());
    for part in [uri_of(request).to_string(), prefers_async(request.headers()).to_string()] {
        hash.update([0]);
        hash.update(part);
    }
    hash.update([0]);
    hash.update(body);
    hash.finalize().into()
}

/// Whether the client asks not to wait (RFC 7240).
pub(super) fn prefers_async(headers: &HeaderMap) -> bool {
    let is_async = |part: &str| part.trim().eq_ignore_ascii_case("respond-async");
    text(headers, "prefer").is_some_and(|prefer| prefer.split([',', ';']).any(is_async))
}

async fn read_whole(request: Request, bodies: Bodies) -> Result<(Request, [u8; 32]), Problem> {
    let Bodies { max_bytes, kinds, remedy, .. } = bodies;
    let (parts, body) = request.into_parts();
    let kind = text(&parts.headers, "content-type").and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let fits = kinds.is_empty() || kinds.iter().any(|known| known.eq_ignore_ascii_case(kind));
    // Also what keeps a form of another web site from being taken for a request.
    let unfit = || {
        let detail = format!("the body must be sent as content-type: {}", kinds.join(" or "));
        Problem::unsupported_media_type(&detail)
    };
    if parts.headers.contains_key(header::CONTENT_TYPE) && !fits {
        return Err(unfit());
    }
    let length = text(&parts.headers, "content-length").and_then(|length| length.parse::<u64>().ok());
    // A client that asks first need not send it.
    if length.is_some_and(|length| length > max_bytes as u64) && parts.headers.contains_key(header::EXPECT) {
        return Err(Problem::body_too_large(max_bytes, remedy));
    }
    let Ok(read) = timeout(BODY_TIMEOUT, read(body, max_bytes)).await else {
        return Err(Problem::body_too_slow(BODY_TIMEOUT));
    };
    let broken = |_broken| Problem::bad_request("incomplete_body", "the body ended before it was complete");
    let body = read.map_err(broken)?.ok_or_else(|| Problem::body_too_large(max_bytes, remedy))?;
    if !body.is_empty() && !fits {
        return Err(unfit());
    }
    let request = Request::from_parts(parts, Body::empty());
    let fingerprint = fingerprint(&request, &body);
    // The handler alone holds the body, so that it can let go of it before it waits.
    Ok((request.map(|_empty| Body::from(body)), fingerprint))
}

/// Reads a body; none if it is too large. What is too much is read and thrown away, within reason: a client that is still
/// sending would lose the answer in the reset of its connection.
async fn read(body: Body, max_bytes: usize) -> Result<Option<Bytes>, axum::Error> {
    let mut frames = body.into_data_stream();
    let mut whole = BytesMut::new();
    let mut read = 0_usize;
    while let Some(frame) = frames.try_next().await? {
        read = read.saturating_add(frame.len());
        if read <= max_bytes {
            whole.extend_from_slice(&frame);
        } else if read > MAX_DISCARDED_BYTES {
            break;
        } else {
            whole = BytesMut::new();
        }
    }
    Ok((read <= max_bytes).then(|| whole.freeze()))
}

async fn audited(api: Api, request: Request, fingerprint: [u8; 32], next: Next) -> Response {
    let actor = request.extensions().get::<Actor>().map(|actor| actor.name.clone()).unwrap_or_default();
    let record = NewAuditRecord {
        actor: actor.clone(),
        client: client_of(&request).address.to_string(),
        // Without the query, which may hold what somebody took for the place of a key.
        action: format!("{} {}", request.method(), uri_of(&request).path()),
        request_id: request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default(),
    };
    let id = match api.app.store.audit(record, api.app.clock.now_ms()).await {
        Ok(id) => id,
        Err(error) => return Problem::from(error).into_response(),
    };
    let response = match idempotency_key(request.headers()) {
        Ok(None) => run(request, next).await,
        Ok(Some(key)) => once(&api, actor, key, request, fingerprint, next).await,
        Err(problem) => problem.into_response(),
    };
    let mut outcome = response.extensions().get::<Outcome>().map(|outcome| outcome.0.clone()).unwrap_or_default();
    outcome.truncate(outcome.floor_char_boundary(MAX_OUTCOME_BYTES));
    if let Err(error) = api.app.store.audit_outcome(id, Some(response.status().as_u16()), outcome).await {
        tracing::warn!(%error, "the outcome of a request is missing in the audit trail");
    }
    response
}

/// As it was sent: inside `/admin` the router has cut that off.
pub(super) fn uri_of(request: &Request) -> &Uri {
    request.extensions().get::<OriginalUri>().map_or(request.uri(), |uri| &uri.0)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut keys = Vec::new();
    for name in IDEMPOTENCY_HEADERS {
        keys.extend(headers.get_all(name));
    }
    let wrong = |detail: &str| Err(Problem::bad_request("invalid_idempotency_key", detail));
    match keys.as_slice() {
        [] => Ok(None),
        [key] => match key.to_str() {
            Ok(key) if (1..=MAX_KEY_BYTES).contains(&key.len()) && !key.contains('\t') => Ok(Some(key.to_owned())),
            Ok(_) | Err(_) => wrong("the Idempotency-Key must be 1 to 255 characters of plain ASCII"),
        },
        _ => wrong("the request has more than one Idempotency-Key"),
    }
}

/// Carries a request out, or answers it as before if it was carried out already.
async fn once(api: &Api, actor: String, key: String, request: Request, fingerprint: [u8; 32], next: Next) -> Response {
    let place = match Place::take(&api.in_flight, (actor.clone(), key.clone()), fingerprint) {
        Ok(place) => place,
        Err(other) if other != fingerprint => return Problem::reused_idempotency_key().into_response(),
        Err(_same) => {
            let limited = Limited { retry_after: Duration::from_secs(1) };
            let detail = "this request is being carried out; ask again in a moment";
            return Problem::conflict("request_in_flight", detail).after(limited).into_response();
        }
    };
    match api.app.store.kept_answer(actor.clone(), key.clone(), api.app.clock.now_ms()).await {
        Ok(Some(kept)) if kept.fingerprint == fingerprint => return replay(kept),
        Ok(Some(_other)) => return Problem::reused_idempotency_key().into_response(),
        Ok(None) => {}
        Err(error) => return Problem::from(error).into_response(),
    }
    let async_wanted = prefers_async(request.headers());
    let response = run(request, next).await;
    // What failed may be tried again with the same key, and so may what was only begun: a client that would have waited
    // gets the result when it comes back.
    let is_final = response.status() != StatusCode::ACCEPTED || async_wanted;
    if !response.status().is_success() || !is_final {
        return response;
    }
    let (parts, body) = response.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else { return internal().into_response() };
    let location = text(&parts.headers, "location").map(str::to_owned);
    let answer = KeptAnswer { fingerprint, status: parts.status.as_u16(), location, body: body.to_vec() };
    if let Err(error) = api.app.store.keep_answer(actor, key, answer, api.app.clock.now_ms()).await {
        tracing::warn!(%error, "an answer could not be kept; repeated, its request would be carried out again");
    }
    drop(place);
    Response::from_parts(parts, Body::from(body))
}

fn replay(kept: KeptAnswer) -> Response {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let json =
        [(header::CONTENT_TYPE, "application/json"), (header::HeaderName::from_static("idempotent-replayed"), "true")];
    let mut response = (status, json, kept.body).into_response();
    if let Some(location) = kept.location.and_then(|location| HeaderValue::from_str(&location).ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response.extensions_mut().insert(Outcome("answered as before (Idempotency-Key)".into()));
    response
}

/// A place among the requests in flight, given back when the request is done.
struct Place {
    in_flight: Arc<InFlight>,
    name: (String, String),
}

impl Place {
    /// Takes the place, or says whose request has it.
    fn take(in_flight: &Arc<InFlight>, name: (String, String), fingerprint: [u8; 32]) -> Result<Self, [u8; 32]> {
        let mut places = in_flight.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = places.get(&name) {
            return Err(*other);
        }
        places.insert(name.clone(), fingerprint);
        drop(places);
        Ok(Self { in_flight: Arc::clone(in_flight), name })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.in_flight.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}
