//! The HTTP API: translates requests into service calls, and answers into JSON. It decides nothing.
//!
//! One file for each resource; `error` alone knows status codes.

mod auth;
mod batches;
mod content;
mod error;
mod estimate;
mod health;
mod mints;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderName, HeaderValue},
    middleware,
    routing::{get, post},
};
use tokio_util::sync::CancellationToken;
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    set_header::SetResponseHeaderLayer,
    trace::{DefaultOnResponse, TraceLayer},
};
use tracing::Level;

use crate::app::App;

/// Largest request body: 10,000 tickets of 1.6 kB each.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// How long a waiting `POST /admin/batch-mint` is held before it is answered with the batch's address instead.
const MAX_WAIT: Duration = Duration::from_mins(15);

/// What handlers share.
#[derive(Clone)]
struct Api {
    app: Arc<App>,
    /// Cancelled when the server stops, so that waiting requests are answered before the process ends.
    stop: CancellationToken,
}

/// All routes.
pub(crate) fn router(app: Arc<App>, stop: CancellationToken) -> Router {
    let api = Api { app, stop };
    let request_id = HeaderName::from_static("x-request-id");
    let header = |name, value| {
        SetResponseHeaderLayer::if_not_present(HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let admin = Router::new()
        .route("/batch-mint", post(batches::mint))
        .route("/batch-mint/estimate", get(estimate::estimate))
        .route("/batches/{id}", get(batches::batch))
        .route("/mints", get(mints::list))
        .route("/mints/{ticketId}", get(mints::of_ticket))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(middleware::from_fn_with_state(api.clone(), auth::require_key))
        .layer(middleware::from_fn_with_state(api.clone(), auth::refuse_strangers));
    Router::new()
        .nest("/admin", admin)
        .route("/health", get(health::summary))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/ipfs/{cid}", get(content::by_cid))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .with_state(api)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(header("x-content-type-options", "nosniff"))
        .layer(header("x-frame-options", "DENY"))
        .layer(header("referrer-policy", "no-referrer"))
        .layer(header("cache-control", "no-store"))
        .layer(middleware::from_fn(error::as_problems))
        .layer(PropagateRequestIdLayer::new(request_id.clone()))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(|request: &axum::extract::Request| {
                    let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
                    tracing::info_span!("request", method = %request.method(), path = request.uri().path(), id)
                })
                .on_response(DefaultOnResponse::new().level(Level::INFO)),
        )
        .layer(SetRequestIdLayer::new(request_id, MakeRequestUuid))
}
