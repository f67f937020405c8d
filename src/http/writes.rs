//! Requests that may change something: read whole, written down in the audit trail before they are acted upon, answered
//! alike when they are repeated with the same `Idempotency-Key`, and carried out to the end whether or not the client waits.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{OriginalUri, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use bytes::BytesMut;
use futures_util::TryStreamExt as _;
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use utoipa::IntoParams;
use utoipa_axum::router::UtoipaMethodRouter;

use super::{
    Api,
    auth::client_of,
    error::{Outcome, Problem, internal, text},
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
const BODY_TIMEOUT: Duration = Duration::from_mins(2);
/// Longest `Idempotency-Key`.
const MAX_KEY_BYTES: usize = 255;
/// An answer larger than this is not kept; ours are smaller.
const MAX_KEPT_BYTES: usize = 64 * 1024 * 1024;

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

/// Has a route's requests carried out as this module says.
pub(super) fn write(api: &Api, (schemas, paths, handler): Route) -> Route {
    (schemas, paths, handler.route_layer(middleware::from_fn_with_state(api.clone(), carry_out)))
}

async fn carry_out(State(api): State<Api>, request: Request, next: Next) -> Response {
    let (request, body) = match read_whole(request).await {
        Ok(whole) => whole,
        Err(problem) => return problem.into_response(),
    };
    // A task of its own: a client that goes away does not cancel what it has begun.
    let tasks = api.app.tasks.clone();
    let span = tracing::Span::current();
    let work = tracing::Instrument::instrument(audited(api, request, body, next), span);
    tasks.spawn(work).await.unwrap_or_else(|_panicked| internal().into_response())
}

async fn read_whole(request: Request) -> Result<(Request, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    let is_json = text(&parts.headers, "content-type")
        .and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if parts.method == Method::POST && !is_json {
        // Also what keeps a form of another web site from being taken for a request.
        return Err(Problem::unsupported_media_type("the body must be sent as content-type: application/json"));
    }
    let too_large = || {
        let detail = format!("the body is larger than {MAX_BODY_BYTES} bytes; send the tickets in several batches");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    };
    let Ok(read) = timeout(BODY_TIMEOUT, read(body)).await else {
        let detail = format!("the body did not arrive within {} seconds", BODY_TIMEOUT.as_secs());
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail));
    };
    let body = read.map_err(|_broken| {
        Problem::new(StatusCode::BAD_REQUEST, "incomplete_body", "the body ended before it was complete")
    });
    let body = body?.ok_or_else(too_large)?;
    Ok((Request::from_parts(parts, Body::from(body.clone())), body))
}

/// Reads a body; none if it is too large. What is too much is read and thrown away, within reason: a client that is still
/// sending would lose the answer in the reset of its connection.
async fn read(body: Body) -> Result<Option<Bytes>, axum::Error> {
    let mut frames = body.into_data_stream();
    let mut whole = BytesMut::new();
    let mut read = 0_usize;
    while let Some(frame) = frames.try_next().await? {
        read = read.saturating_add(frame.len());
        if read <= MAX_BODY_BYTES {
            whole.extend_from_slice(&frame);
        } else if read > MAX_DISCARDED_BYTES {
            break;
        } else {
            whole = BytesMut::new();
        }
    }
    Ok((read <= MAX_BODY_BYTES).then(|| whole.freeze()))
}

async fn audited(api: Api, request: Request, body: Bytes, next: Next) -> Response {
    let actor = request.extensions().get::<Actor>().map(|actor| actor.name.clone()).unwrap_or_default();
    let record = NewAuditRecord {
        actor: actor.clone(),
        client: client_of(&request).address.to_string(),
        action: format!("{} {}", request.method(), uri_of(&request)),
        request_id: request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default(),
    };
    let id = match api.app.store.audit(record, api.app.clock.now_ms()).await {
        Ok(id) => id,
        Err(error) => return Problem::from(error).into_response(),
    };
    let response = match idempotency_key(request.headers()) {
        Ok(None) => next.run(request).await,
        Ok(Some(key)) => once(&api, actor, key, request, &body, next).await,
        Err(problem) => problem.into_response(),
    };
    let outcome = response.extensions().get::<Outcome>().map(|outcome| outcome.0.clone()).unwrap_or_default();
    if let Err(error) = api.app.store.audit_outcome(id, response.status().as_u16(), outcome).await {
        tracing::warn!(%error, "the outcome of a request is missing in the audit trail");
    }
    response
}

/// As it was sent: inside `/admin` the router has cut that off.
fn uri_of(request: &Request) -> &Uri {
    request.extensions().get::<OriginalUri>().map_or(request.uri(), |uri| &uri.0)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut keys = Vec::new();
    for name in ["idempotency-key", "x-idempotency-key"] {
        keys.extend(headers.get_all(name));
    }
    let wrong = |detail: &str| Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", detail));
    match keys.as_slice() {
        [] => Ok(None),
        [key] => match key.to_str() {
            Ok(key) if (1..=MAX_KEY_BYTES).contains(&key.len()) => Ok(Some(key.to_owned())),
            Ok(_) | Err(_) => wrong("the Idempotency-Key must be 1 to 255 characters of plain ASCII"),
        },
        _ => wrong("the request has more than one Idempotency-Key"),
    }
}

/// Carries a request out, or answers it as before if it was carried out already.
async fn once(api: &Api, actor: String, key: String, request: Request, body: &[u8], next: Next) -> Response {
    let mut hash = Sha256::new_with_prefix(request.method().as_str());
    hash.update([0]);
    hash.update(uri_of(&request).to_string());
    hash.update([0]);
    hash.update(body);
    let fingerprint: [u8; 32] = hash.finalize().into();
    let other_request = || {
        let detail = "this Idempotency-Key was used for another request; choose a new one";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail).into_response()
    };
    let place = match Place::take(&api.in_flight, (actor.clone(), key.clone()), fingerprint) {
        Ok(place) => place,
        Err(other) if other != fingerprint => return other_request(),
        Err(_same) => {
            let limited = Limited { retry_after: Duration::from_secs(1) };
            let detail = "this request is being carried out; ask again in a moment";
            let problem = Problem::new(StatusCode::CONFLICT, "request_in_flight", detail);
            return problem.after(limited).into_response();
        }
    };
    match api.app.store.kept_answer(actor.clone(), key.clone(), api.app.clock.now_ms()).await {
        Ok(Some(kept)) if kept.fingerprint == fingerprint => return replay(kept),
        Ok(Some(_other)) => return other_request(),
        Ok(None) => {}
        Err(error) => return Problem::from(error).into_response(),
    }
    let response = next.run(request).await;
    // What failed may be tried again with the same key.
    if !response.status().is_success() {
        return response;
    }
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, MAX_KEPT_BYTES).await.unwrap_or_default();
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
