//! The HTTP API: translates requests into service calls, and answers into JSON. It decides nothing.
//!
//! One file for each resource. A request passes, in this order: `client_address` (where it comes from), `requests` (id, log
//! line, instruments), `error` (the one place that knows status codes); under `/admin` also `auth` with `limits`, and if it
//! may change something, `writes` (whole body, audit trail, idempotency).

mod audit;
mod auth;
mod batches;
mod client_address;
mod content;
mod dashboard;
mod error;
mod estimate;
mod events;
mod health;
mod limits;
mod metrics;
mod mints;
mod openapi;
mod pages;
mod requests;
mod server;
mod stats;
mod system;
mod writes;

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderName, HeaderValue},
    middleware,
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::{
    catch_panic::CatchPanicLayer, compression::CompressionLayer, set_header::SetResponseHeaderLayer,
    timeout::TimeoutLayer,
};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;
use openapi::Description;

/// What handlers share.
#[derive(Clone, Debug)]
struct Api {
    app: Arc<App>,
    /// Cancelled when the server stops, so that waiting requests are answered before the process ends.
    stop: CancellationToken,
    started: Instant,
    limits: Arc<limits::Limits>,
    guesses: Arc<auth::Guesses>,
    in_flight: Arc<writes::InFlight>,
    metrics: Arc<requests::HttpMetrics>,
    gauges: Arc<metrics::Gauges>,
    description: Description,
}

/// Serves the API until `stop` is cancelled; requests under way are finished first.
///
/// # Errors
/// When its instruments are registered already: an app is served once.
pub(crate) async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<(), prometheus::Error> {
    let (admin, public, description) = routes();
    let api = Api {
        started: Instant::now(),
        limits: Arc::new(limits::Limits::new(app.config.rate_limits)),
        guesses: Arc::default(),
        in_flight: Arc::default(),
        metrics: Arc::new(requests::HttpMetrics::new(&app.registry)?),
        gauges: Arc::new(metrics::Gauges::new(&app.registry)?),
        description: Description::new(&description),
        stop: stop.clone(),
        app,
    };
    server::run(listener, router(api, admin, public), stop).await;
    Ok(())
}

/// Handlers and their description, which cannot part: a route exists only by being described.
fn routes() -> (Router<Api>, Router<Api>, utoipa::openapi::OpenApi) {
    let reads = OpenApiRouter::new()
        .routes(routes!(dashboard::dashboard))
        .routes(routes!(estimate::estimate))
        .routes(routes!(batches::list))
        .routes(routes!(batches::batch))
        .routes(routes!(events::follow))
        .routes(routes!(mints::list))
        .routes(routes!(mints::of_ticket))
        .routes(routes!(stats::of_venue))
        .routes(routes!(system::status))
        .routes(routes!(audit::list))
        .layer(TimeoutLayer::with_status_code(requests::TIMED_OUT, requests::TIMEOUT));
    // No timeout here: a batch may be waited for.
    let writes = OpenApiRouter::new().routes(routes!(batches::mint));
    let (admin, admin_description) = reads.merge(writes).split_for_parts();
    let (public, description) = OpenApiRouter::with_openapi(openapi::ApiDoc::openapi())
        .routes(routes!(health::summary))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::full))
        .routes(routes!(content::by_cid))
        .split_for_parts();
    let (_collectors, metrics) = collectors().split_for_parts();
    let description = description.nest("/admin", admin_description).merge_from(metrics);
    (admin, public, openapi::complete(description))
}

fn collectors() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(metrics::metrics))
}

fn router(api: Api, admin: Router<Api>, public: Router<Api>) -> Router {
    let header = |name, value| {
        SetResponseHeaderLayer::if_not_present(HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let admin = admin
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(middleware::from_fn_with_state(api.clone(), writes::carry_out))
        .layer(middleware::from_fn_with_state(api.clone(), auth::admit));
    let (collectors, _description) = collectors().split_for_parts();
    let collectors = collectors.layer(middleware::from_fn_with_state(api.clone(), auth::admit_collectors));
    public
        .nest("/admin", admin)
        .merge(collectors)
        .merge(openapi::docs())
        .route("/openapi.json", get(openapi::json))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .with_state(api.clone())
        .layer(DefaultBodyLimit::max(writes::MAX_BODY_BYTES))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(middleware::from_fn(error::as_problems))
        .layer(CompressionLayer::new())
        .layer(header("content-security-policy", "default-src 'none'; frame-ancestors 'none'"))
        .layer(header("x-content-type-options", "nosniff"))
        .layer(header("x-frame-options", "DENY"))
        .layer(header("referrer-policy", "no-referrer"))
        .layer(header("cross-origin-resource-policy", "same-origin"))
        .layer(header("cache-control", "no-store"))
        .layer(middleware::from_fn_with_state(api.clone(), requests::observe))
        .layer(middleware::from_fn_with_state(api, client_address::find))
}
