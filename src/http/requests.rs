//! What every request gets: an id, a line in the log, and a place in the instruments.

use std::{net::IpAddr, sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method},
    middleware::Next,
    response::Response,
};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Api, auth::client_of, error::ProblemCode};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken from a client.
const MAX_ID_BYTES: usize = 64;
/// Upper bounds in seconds: from answers out of memory to batches that are waited for.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0];

/// The id of a request, chosen by the client or by us.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) String);

/// The instruments of the HTTP API.
#[derive(Debug)]
pub(super) struct HttpMetrics {
    seconds: HistogramVec,
    admin_requests: IntCounterVec,
    admin_errors: IntCounterVec,
}

impl HttpMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let seconds = HistogramOpts::new(
            "boxoffice_http_request_duration_seconds",
            "Seconds from the head of a request to the head of its answer.",
        );
        let requests = Opts::new("minting_admin_requests_total", "Requests to the admin API, by route and method.");
        let errors = Opts::new("minting_admin_errors_total", "Refused or failed requests to the admin API, by code.");
        let metrics = Self {
            seconds: HistogramVec::new(seconds.buckets(BUCKETS.to_vec()), &["method", "route", "status"])?,
            admin_requests: IntCounterVec::new(requests, &["method", "route"])?,
            admin_errors: IntCounterVec::new(errors, &["route", "code"])?,
        };
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.admin_requests.clone()))?;
        registry.register(Box::new(metrics.admin_errors.clone()))?;
        Ok(metrics)
    }

    fn observe(&self, method: &str, route: &str, status: &str, code: Option<&str>, seconds: f64) {
        self.seconds.with_label_values(&[method, route, status]).observe(seconds);
        if route.starts_with("/admin") {
            self.admin_requests.with_label_values(&[method, route]).inc();
            if let Some(code) = code {
                self.admin_errors.with_label_values(&[route, code]).inc();
            }
        }
    }
}

/// Gives a request its id, and tells the log and the instruments how it was answered.
pub(super) async fn observe(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| is_id(id));
    let id = id.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = known(request.method());
    // Bounded, as labels must be: the pattern of the route, never the path.
    let matched = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned());
    let is_admin = request.uri().path().starts_with("/admin");
    let route = matched.unwrap_or_else(|| if is_admin { "/admin/*" } else { "*" }.to_owned());
    let client = client_of(&request).address;
    // The path only: a query may hold what somebody took for the place of a key.
    let span = tracing::info_span!("request", id, method, path = request.uri().path());
    let metrics = Arc::clone(&api.metrics);
    let mut line = Line { metrics, method, route, client, span: span.clone(), began: Instant::now(), answered: false };
    let mut response = next.run(request).instrument(span).await;
    line.answered(&response);
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// A request's line in the log and its place in the instruments; written when it is answered, or when its client goes away.
struct Line {
    metrics: Arc<HttpMetrics>,
    method: &'static str,
    route: String,
    client: IpAddr,
    span: tracing::Span,
    began: Instant,
    answered: bool,
}

impl Line {
    fn answered(&mut self, response: &Response) {
        self.answered = true;
        let status = response.status();
        let code = response.extensions().get::<ProblemCode>().map(|code| code.0);
        let is_error = status.is_client_error() || status.is_server_error();
        let error = code.or(is_error.then_some("other"));
        self.metrics.observe(self.method, &self.route, status.as_str(), error, self.began.elapsed().as_secs_f64());
        let (ms, client) = (self.ms(), self.client);
        self.span.in_scope(|| tracing::info!(status = status.as_u16(), code, ms, %client, "answered"));
    }

    fn ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.answered {
            self.metrics.observe(self.method, &self.route, GONE, Some(GONE), self.began.elapsed().as_secs_f64());
            let (ms, client) = (self.ms(), self.client);
            self.span.in_scope(|| tracing::info!(ms, %client, "the client went away before it was answered"));
        }
    }
}

/// In place of a status and a code, for requests whose client went away.
const GONE: &str = "gone";

/// What a client may choose for an id: nothing that could make a log line look like another.
fn is_id(id: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
}

fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
