//! The HTTP API: translates requests into service calls, and answers into JSON. It decides nothing.
//!
//! One file for each resource. A request passes, in this order: `client_address` (where it comes from), `requests` (id, log
//! line, instruments), `error` (the one place that knows status codes); under `/admin` also `auth` with `limits`, and if it
//! may change something, `writes` (whole body, audit trail, idempotency).

mod alerts;
mod anomalies;
mod audit;
mod auth;
mod batches;
mod cache;
mod client_address;
mod content;
mod dashboard;
mod error;
mod estimate;
mod events;
mod health;
mod images;
mod jobs;
mod limits;
mod metrics;
mod mints;
mod openapi;
mod page;
mod pages;
mod reconcile;
mod requests;
mod server;
mod session;
mod stats;
mod status;
mod system;
mod tickets;
mod trends;
mod venues;
mod writes;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderName, HeaderValue},
    middleware,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tower_http::{
    CompressionLevel, catch_panic::CatchPanicLayer, compression::CompressionLayer, set_header::SetResponseHeaderLayer,
    timeout::TimeoutLayer,
};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{app::App, domain::image::MAX_IMAGE_BYTES};

/// A read that takes longer than this is a fault.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// What handlers share.
#[derive(Clone, Debug)]
struct Api {
    app: Arc<App>,
    /// Cancelled when the server stops, so that waiting requests are answered before the process ends.
    stop: CancellationToken,
    started: Instant,
    /// This process among all that share a cache.
    id: Uuid,
    limits: Arc<limits::Limits>,
    guesses: Arc<auth::Guesses>,
    in_flight: Arc<writes::InFlight>,
    metrics: Arc<requests::HttpMetrics>,
    gauges: Arc<metrics::Gauges>,
    probe: Arc<health::Probe>,
    bodies: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    last_look: Arc<status::LastLook>,
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
    let api = Api {
        started: Instant::now(),
        id: Uuid::now_v7(),
        limits: Arc::new(limits::Limits::new(app.config.rate_limits)),
        guesses: Arc::default(),
        in_flight: Arc::default(),
        metrics: Arc::new(requests::HttpMetrics::new(&app.registry)?),
        gauges: Arc::new(metrics::Gauges::new(&app.registry)?),
        probe: Arc::default(),
        bodies: Arc::new(Semaphore::new(writes::MAX_BODIES)),
        streams: Arc::new(Semaphore::new(status::MAX_STREAMS)),
        last_look: Arc::default(),
        stop: stop.clone(),
        app,
    };
    let proxies = api.app.config.trusted_proxies.clone();
    server::run(listener, router(api), &proxies, stop).await;
    Ok(())
}

/// All routes. `routes!` takes each with its description, so that the two cannot part.
fn router(api: Api) -> Router {
    let reads = OpenApiRouter::new()
        .routes(routes!(dashboard::dashboard))
        .routes(routes!(estimate::estimate))
        .routes(routes!(batches::list))
        .routes(routes!(batches::batch))
        .routes(routes!(events::follow))
        .routes(routes!(mints::list))
        .routes(routes!(mints::of_ticket))
        .routes(routes!(mints::attempts))
        .routes(routes!(stats::of_venue))
        .routes(routes!(trends::show))
        .routes(routes!(venues::list))
        .routes(routes!(venues::events))
        .routes(routes!(anomalies::show))
        .routes(routes!(system::status))
        .routes(routes!(status::follow))
        .routes(routes!(session::session))
        .routes(routes!(audit::list))
        .routes(routes!(reconcile::history))
        .routes(routes!(alerts::list))
        .routes(routes!(jobs::list))
        .routes(routes!(cache::stats))
        .routes(routes!(images::show))
        .layer(TimeoutLayer::with_status_code(error::TIMED_OUT, READ_TIMEOUT));
    // No timeout here: a batch may be waited for, and a large venue takes its time to compare.
    let writes = OpenApiRouter::new()
        .routes(writes::write(&api, routes!(batches::mint)))
        .routes(writes::file(&api, tickets::MEDIA_TYPES, routes!(tickets::read)))
        .routes(writes::write(&api, routes!(reconcile::reconcile)))
        .routes(writes::write(&api, routes!(reconcile::fix)))
        .routes(writes::write(&api, routes!(jobs::run)))
        .routes(writes::write(&api, routes!(cache::clear)))
        .routes(writes::write(&api, routes!(cache::forget)))
        .routes(writes::write(&api, routes!(cache::warm)))
        .routes(writes::upload(&api, MAX_IMAGE_BYTES, routes!(images::set)))
        .routes(writes::write(&api, routes!(images::remove)));
    let (admin, of_admin) = reads.merge(writes).split_for_parts();
    let admin = admin
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(middleware::from_fn_with_state(api.clone(), auth::admit));
    let collectors = OpenApiRouter::new()
        .routes(routes!(metrics::metrics))
        .layer(middleware::from_fn_with_state(api.clone(), auth::admit_collectors));
    let (public, of_public) = OpenApiRouter::with_openapi(openapi::ApiDoc::openapi())
        .routes(routes!(health::summary))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::full))
        .routes(routes!(content::by_cid))
        .routes(routes!(status::public))
        .merge(collectors)
        .split_for_parts();
    let router =
        public.nest("/admin", admin).merge(page::routes()).merge(openapi::routes(of_public.nest("/admin", of_admin)));
    layered(router, api)
}

/// What every request passes, from the last to the first.
fn layered(router: Router<Api>, api: Api) -> Router {
    let header = |name, value| {
        SetResponseHeaderLayer::if_not_present(HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    router
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .with_state(api.clone())
        .layer(DefaultBodyLimit::max(writes::MAX_BODY_BYTES))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(middleware::from_fn(error::as_problems))
        // Fastest: a page of tickets shrinks to a fifth in a third of the time that the best level takes for little more.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(header("content-security-policy", "default-src 'none'; frame-ancestors 'none'"))
        .layer(header("x-content-type-options", "nosniff"))
        .layer(header("x-frame-options", "DENY"))
        .layer(header("referrer-policy", "no-referrer"))
        .layer(header("cross-origin-resource-policy", "same-origin"))
        .layer(header("cache-control", "no-store"))
        .layer(middleware::from_fn_with_state(api.clone(), requests::observe))
        .layer(middleware::from_fn_with_state(api, client_address::find))
}
