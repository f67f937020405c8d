//! Errors as `application/problem+json` (RFC 9457): the only place that knows status codes.

use std::{any::Any, fmt, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{limits::Limited, requests::RequestId};
use crate::{
    cache::Unavailable,
    chain::{ChainError, NextStep},
    clock::rfc3339,
    domain::{
        failure::FailureCode,
        image::{ImageFault, MAX_IMAGE_BYTES},
        spending::{Opening, Refusal},
        ticket::{Fault, cap},
    },
    images::ImageError,
    metadata::PublishError,
    minting::AcceptError,
    reconcile::ReconcileError,
    schedule::RunError,
    store::StoreError,
};

/// An answer that is not what the client hoped for.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retryable: bool,
    errors: Vec<Fault>,
    extra: Vec<(&'static str, Value)>,
    retry_after: Option<Duration>,
}

/// The code of a [`Problem`], for those who see only the response: logs and instruments.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProblemCode(pub(super) &'static str);

/// What was done or refused, for the audit trail.
#[derive(Clone, Debug)]
pub(super) struct Outcome(pub(super) String);

/// An error (RFC 9457).
#[derive(Debug, ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "describes what `Problem::body` writes")]
pub(super) struct ProblemBody {
    /// URN of the kind of problem: `urn:boxoffice:problem:` and the code.
    r#type: String,
    /// Words for the status.
    title: String,
    /// HTTP status.
    status: u16,
    /// What is wrong and what to do, for a person.
    detail: String,
    /// Stable, for programs.
    code: String,
    /// Whether the same request may succeed later.
    retryable: bool,
    /// The same as `detail`.
    error: String,
    /// The request's id, as in the log.
    #[serde(rename = "requestId")]
    #[schema(rename = "requestId")]
    request_id: Option<String>,
    /// Every fault of the request.
    errors: Option<Vec<Fault>>,
    /// `insufficient_funds`, `transaction_limit`, `spending_limit`, `over_budget`: what is missing.
    #[schema(rename = "missingLamports")]
    missing_lamports: Option<u64>,
    /// `spending_limit`: when the limit lets the batch through if nothing else is spent before (RFC 3339); absent when it
    /// never does.
    #[schema(rename = "retryAt")]
    retry_at: Option<String>,
    /// `ambiguous_ticket`: the venues to choose from.
    #[schema(rename = "venueIds")]
    venue_ids: Option<Vec<String>>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let retryable = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        Self {
            status,
            code,
            detail: detail.into(),
            retryable,
            errors: Vec::new(),
            extra: Vec::new(),
            retry_after: None,
        }
    }

    /// A request whose parts are wrong: every fault with its JSON pointer.
    pub(super) fn invalid(mut errors: Vec<Fault>) -> Self {
        cap(&mut errors);
        let told = errors.iter().map(|fault| match fault.pointer.as_str() {
            "" => fault.detail.clone(),
            pointer => format!("{pointer} {}", fault.detail),
        });
        let detail = told.collect::<Vec<_>>().join("; ");
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", detail) }
    }

    pub(super) fn one_invalid(pointer: &str, detail: impl Into<String>) -> Self {
        Self::invalid(vec![Fault { pointer: pointer.into(), detail: detail.into() }])
    }

    pub(super) fn unauthorized(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    pub(super) fn too_many_requests(detail: &str, limited: Limited) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail).after(limited)
    }

    pub(super) fn too_many_wrong_keys(limited: Limited) -> Self {
        let detail = "too many wrong keys came from this address; no new key is looked at for a while";
        Self::new(StatusCode::FORBIDDEN, "too_many_wrong_keys", detail).after(limited)
    }

    /// Says that, and when, the same request may succeed.
    pub(super) fn after(self, limited: Limited) -> Self {
        Self { retryable: true, retry_after: Some(limited.retry_after), ..self }
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    pub(super) fn unsupported_media_type(detail: &str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    }

    pub(super) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(super) fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    pub(super) fn reused_idempotency_key() -> Self {
        let detail = "this Idempotency-Key was used for another request; choose a new one";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail)
    }

    pub(super) fn body_too_large(most_bytes: usize, remedy: &str) -> Self {
        let detail = format!("the body is larger than {most_bytes} bytes; {remedy}");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    }

    pub(super) fn file_too_long(fault: impl fmt::Display) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", fault.to_string())
    }

    pub(super) fn body_too_slow(patience: Duration) -> Self {
        let detail = format!("the body did not arrive within {} seconds", patience.as_secs());
        Self { retryable: true, ..Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail) }
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// Adds a member that helps to repair the request.
    pub(super) fn with(mut self, name: &'static str, value: impl Serialize) -> Self {
        self.extra.push((name, serde_json::to_value(value).unwrap_or_default()));
        self
    }
}

impl Problem {
    fn body(self) -> Value {
        let mut body = json!({
            "type": format!("urn:boxoffice:problem:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "retryable": self.retryable,
            "error": self.detail,
        });
        if let Some(members) = body.as_object_mut() {
            if !self.errors.is_empty() {
                members.insert("errors".into(), json!(self.errors));
            }
            members.extend(self.extra.into_iter().map(|(name, value)| (name.to_owned(), value)));
        }
        body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, retry_after) = (self.status, self.retry_after);
        let (code, outcome) = (ProblemCode(self.code), Outcome(format!("{}: {}", self.code, self.detail)));
        let mut response = (status, Json(self.body())).into_response();
        response.extensions_mut().insert(code);
        response.extensions_mut().insert(outcome);
        if let Some(retry_after) = retry_after {
            // Whole seconds, rounded up: asking a moment too early would be refused again.
            let seconds = retry_after.as_secs().saturating_add(1);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey"));
        }
        response
    }
}

/// Gives every error the same shape, those of the framework too, and puts the request's id in, where people look for it.
pub(super) async fn as_problems(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
    let response = next.run(request).await;
    if !response.status().is_client_error() && !response.status().is_server_error() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let kind = parts.headers.get(header::CONTENT_TYPE).cloned();
    let is = |wanted| kind.as_ref().is_some_and(|kind| kind == wanted);
    if is("application/json") {
        // An answer that is no error of the request, such as that of a box that is not ready.
        return Response::from_parts(parts, body);
    }
    let is_problem = is("application/problem+json");
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut problem = if is_problem {
        serde_json::from_slice(&bytes).unwrap_or_default()
    } else {
        let said = String::from_utf8_lossy(&bytes);
        let (code, detail) = match parts.status {
            TIMED_OUT => ("timed_out", "the answer took too long; the same request may be sent again"),
            StatusCode::NOT_FOUND => ("not_found", NOTHING_HERE),
            status if said.trim().is_empty() => ("invalid_request", status.canonical_reason().unwrap_or("refused")),
            _ => ("invalid_request", said.as_ref()),
        };
        let problem = Problem::new(parts.status, code, detail);
        parts.extensions.insert(ProblemCode(problem.code));
        problem.body()
    };
    if let Some(members) = problem.as_object_mut() {
        members.insert("requestId".into(), json!(id));
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    Response::from_parts(parts, Body::from(problem.to_string()))
}

pub(super) async fn not_found() -> Problem {
    Problem::not_found(NOTHING_HERE)
}

const NOTHING_HERE: &str = "there is nothing at this path";

/// What a read that takes too long is answered with; [`as_problems`] puts it into words.
pub(super) const TIMED_OUT: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

pub(super) async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take that method")
}

pub(super) fn panicked(_cause: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request handler panicked");
    internal().into_response()
}

pub(super) fn internal() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal_error",
        "something went wrong inside; the log has the cause under this request's id",
    )
}

/// The status that a ticket's failure would have if it were alone.
pub(super) fn failure_status(code: FailureCode) -> StatusCode {
    match code {
        FailureCode::InvalidTicket => StatusCode::UNPROCESSABLE_ENTITY,
        FailureCode::DuplicateInBatch
        | FailureCode::ContentConflict
        | FailureCode::ChainConflict
        | FailureCode::AddressTaken => StatusCode::CONFLICT,
        FailureCode::BudgetUsedUp => StatusCode::PAYMENT_REQUIRED,
        FailureCode::NotOnChain => StatusCode::NOT_FOUND,
        FailureCode::RejectedByChain | FailureCode::NeverLanded => StatusCode::BAD_GATEWAY,
    }
}

impl From<AcceptError> for Problem {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::BatchSize { .. } => Self::one_invalid("/tickets", error.to_string()),
            AcceptError::NoQuietHours => Self::one_invalid("/notBefore", error.to_string()),
            AcceptError::Store(cause) => cause.into(),
            AcceptError::Chain(ref cause) => {
                tracing::warn!(%error, "a batch was refused");
                let code = match cause.next_step() {
                    NextStep::Retry => "chain_unavailable",
                    NextStep::GiveUp => "chain_refused",
                };
                Self::new(StatusCode::SERVICE_UNAVAILABLE, code, error.to_string())
            }
        }
    }
}

impl From<ChainError> for Problem {
    fn from(error: ChainError) -> Self {
        AcceptError::Chain(error).into()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => refusal.into(),
            StoreError::DiskFull => {
                Self { retryable: true, ..Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", error.to_string()) }
            }
            StoreError::Unavailable | StoreError::Closed => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "database_unavailable", error.to_string())
            }
            StoreError::Open { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Newer { .. }
            | StoreError::Older { .. }
            | StoreError::Migration { .. }
            | StoreError::OtherIdentity { .. }
            | StoreError::Conflict(_)
            | StoreError::KeyExists(_)
            | StoreError::Metrics(_)
            | StoreError::Sqlite(_) => {
                tracing::error!(%error, "the books failed");
                internal()
            }
        }
    }
}

impl From<RunError> for Problem {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Unknown { .. } => Self::not_found(error.to_string()),
            RunError::Running { .. } => {
                Self { retryable: true, ..Self::new(StatusCode::CONFLICT, "job_running", error.to_string()) }
            }
            RunError::Stopping => Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", error.to_string()),
            RunError::Store(cause) => cause.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (code, missing, retryable) = match &refusal {
            Refusal::InsufficientFunds { missing, .. } => ("insufficient_funds", *missing, true),
            Refusal::TransactionLimit { missing, .. } => ("transaction_limit", *missing, true),
            Refusal::PeriodLimit { missing, opening, .. } => {
                ("spending_limit", *missing, matches!(opening, Opening::At { .. }))
            }
            // The budget is part of the request.
            Refusal::OverBudget { missing, .. } => ("over_budget", *missing, false),
        };
        let problem = Self::new(StatusCode::PAYMENT_REQUIRED, code, refusal.to_string());
        let problem = Self { retryable, ..problem }.with("missingLamports", missing);
        match refusal {
            Refusal::PeriodLimit { opening: Opening::At { unix_ms, wait }, .. } => {
                Self { retry_after: Some(wait), ..problem }.with("retryAt", rfc3339(unix_ms))
            }
            Refusal::PeriodLimit { .. }
            | Refusal::InsufficientFunds { .. }
            | Refusal::TransactionLimit { .. }
            | Refusal::OverBudget { .. } => problem,
        }
    }
}

impl From<ReconcileError> for Problem {
    fn from(error: ReconcileError) -> Self {
        match error {
            ReconcileError::UnknownVenue(_) => Self::not_found(error.to_string()),
            ReconcileError::Store(cause) => cause.into(),
            ReconcileError::Content(cause) => cause.into(),
            ReconcileError::Chain(cause) => cause.into(),
        }
    }
}

impl From<Unavailable> for Problem {
    fn from(error: Unavailable) -> Self {
        Self { retryable: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "cache_unavailable", error.to_string()) }
    }
}

impl From<ImageError> for Problem {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Image(ImageFault::TooLarge) => Self::body_too_large(MAX_IMAGE_BYTES, "make the image smaller"),
            ImageError::Image(fault @ ImageFault::UnknownKind) => Self::unsupported_media_type(&fault.to_string()),
            ImageError::Image(
                fault @ (ImageFault::Empty | ImageFault::Damaged { .. } | ImageFault::Size { .. } | ImageFault::Svg(_)),
            ) => Self::one_invalid("", fault.to_string()),
            ImageError::Content(cause) => cause.into(),
            ImageError::Store(cause) => cause.into(),
        }
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        tracing::error!(%error, "the content store failed");
        internal()
    }
}

/// A header as text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
