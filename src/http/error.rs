//! Errors as `application/problem+json` (RFC 9457): the only place that knows status codes.

use std::any::Any;

use axum::{
    Json,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    chain::{ChainError, NextStep},
    domain::{failure::FailureCode, spending::Refusal, ticket::Fault},
    metadata::PublishError,
    minting::AcceptError,
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
    extra: Option<(&'static str, Value)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let retryable = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        Self { status, code, detail: detail.into(), retryable, errors: Vec::new(), extra: None }
    }

    /// A request whose parts are wrong: every fault with its JSON pointer.
    pub(super) fn invalid(errors: Vec<Fault>) -> Self {
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

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// Adds a member that helps to repair the request.
    pub(super) fn with(mut self, name: &'static str, value: impl Serialize) -> Self {
        self.extra = Some((name, serde_json::to_value(value).unwrap_or_default()));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
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
            members.extend(self.extra.map(|(name, value)| (name.to_owned(), value)));
        }
        let mut response = (self.status, Json(body)).into_response();
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey"));
        }
        response
    }
}

/// Puts the request's id into problems, where people look for it.
pub(super) async fn with_request_id(request: Request, next: Next) -> Response {
    let id = request.headers().get("x-request-id").cloned();
    let response = next.run(request).await;
    let is_problem =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    let (true, Some(id)) = (is_problem, id.as_ref().and_then(|id| id.to_str().ok())) else { return response };
    let (mut parts, body) = response.into_parts();
    let read = axum::body::to_bytes(body, usize::MAX).await;
    let problem = read.ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let Some(Value::Object(mut problem)) = problem else { return parts.status.into_response() };
    problem.insert("requestId".into(), json!(id));
    let problem = Value::Object(problem);
    parts.headers.remove(header::CONTENT_LENGTH);
    (parts.status, parts.headers, problem.to_string()).into_response()
}

pub(super) async fn not_found() -> Problem {
    Problem::not_found("there is nothing at this path")
}

pub(super) async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take that method")
}

pub(super) fn panicked(_cause: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request handler panicked");
    internal().into_response()
}

fn internal() -> Problem {
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
        FailureCode::RejectedByChain | FailureCode::NeverLanded => StatusCode::BAD_GATEWAY,
    }
}

impl From<AcceptError> for Problem {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::BatchSize { .. } => Self::one_invalid("/tickets", error.to_string()),
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
            | StoreError::Migration { .. }
            | StoreError::OtherIdentity { .. }
            | StoreError::Conflict(_)
            | StoreError::Sqlite(_) => {
                tracing::error!(%error, "the books failed");
                internal()
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (code, missing) = match &refusal {
            Refusal::InsufficientFunds { missing, .. } => ("insufficient_funds", *missing),
            Refusal::TransactionLimit { missing, .. } => ("transaction_limit", *missing),
            Refusal::PeriodLimit { missing, .. } => ("spending_limit", *missing),
        };
        let problem = Self::new(StatusCode::PAYMENT_REQUIRED, code, refusal.to_string());
        Self { retryable: true, ..problem }.with("missingLamports", missing)
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
