//! `/metrics`: every instrument of the box, in Prometheus' text format.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use super::{
    Api,
    error::{Problem, ProblemBody, internal},
};
use crate::domain::mint::MintStatus;

/// What is looked up when somebody asks, rather than counted as it happens.
#[derive(Debug)]
pub(super) struct Gauges {
    queue_depth: IntGaugeVec,
    in_flight: IntGauge,
    balance: IntGaugeVec,
    held: IntGauge,
}

impl Gauges {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let depth = Opts::new("minting_queue_depth", "Tickets accepted and not settled, by state.");
        let balance = Opts::new(
            "boxoffice_wallet_balance_lamports",
            "What the wallet held when the chain last said; missing until then, never 0 for unknown.",
        );
        let gauges = Self {
            queue_depth: IntGaugeVec::new(depth, &["status"])?,
            in_flight: IntGauge::new("minting_transactions_in_flight", "Transactions signed and not settled.")?,
            balance: IntGaugeVec::new(balance, &["wallet"])?,
            held: IntGauge::new("minting_held", "1 while minting waits for something, such as money or the chain.")?,
        };
        registry.register(Box::new(gauges.queue_depth.clone()))?;
        registry.register(Box::new(gauges.in_flight.clone()))?;
        registry.register(Box::new(gauges.balance.clone()))?;
        registry.register(Box::new(gauges.held.clone()))?;
        let info = Opts::new("boxoffice_build_info", "Always 1; the labels say what is running.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        let info = IntGauge::with_opts(info)?;
        info.set(1);
        registry.register(Box::new(info))?;
        for (name, help) in LATER_COUNTERS {
            registry.register(Box::new(IntCounter::new(*name, *help)?))?;
        }
        for (name, help) in LATER_GAUGES {
            registry.register(Box::new(IntGauge::new(*name, *help)?))?;
        }
        Ok(gauges)
    }
}

/// Names of the contract whose parts this version does not have yet. They stand at 0, which is the truth: nothing was
/// looked up in a cache, and nothing was reconciled.
const LATER_COUNTERS: &[(&str, &str)] = &[
    ("minting_cache_hits_total", "Look-ups that the cache answered."),
    ("minting_cache_misses_total", "Look-ups that the cache could not answer."),
    ("minting_reconciliation_fixed", "Differences between books and chain that were repaired."),
];
const LATER_GAUGES: &[(&str, &str)] = &[
    ("minting_cache_hit_rate", "Percentage of look-ups that the cache answered."),
    ("minting_reconciliation_discrepancies", "Differences between books and chain found by the last reconciliation."),
    ("minting_reconciliation_duration", "Seconds that the last reconciliation took."),
];

/// Every instrument of the box, in Prometheus' text format. Needs no key from this machine, or from `ALLOWED_IPS`.
#[utoipa::path(get, path = "/metrics", operation_id = "getMetrics", tag = "public", security((), ("key" = [])),
    responses((status = 200, body = String, content_type = "text/plain; version=0.0.4"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "From elsewhere."),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "Not allowed."),
        (status = 429, body = ProblemBody, content_type = "application/problem+json", description = "Too often.")))]
pub(super) async fn metrics(State(api): State<Api>) -> Result<Response, Problem> {
    let counts = api.app.store.counts(None).await?;
    let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    for status in [MintStatus::Pending, MintStatus::Minting] {
        api.gauges.queue_depth.with_label_values(&[status.as_str()]).set(gauge(counts.of(status)));
    }
    api.gauges.in_flight.set(gauge(api.app.minter.in_flight() as u64));
    api.gauges.held.set(i64::from(api.app.minter.condition() != crate::minting::Condition::Clear));
    if let Some(known) = api.app.balance.known() {
        let wallet = api.app.authority.to_string();
        api.gauges.balance.with_label_values(&[wallet]).set(gauge(known.balance.0));
    }
    let text = TextEncoder::new().encode_to_string(&api.app.registry.gather()).map_err(|error| {
        tracing::error!(%error, "the instruments cannot be read");
        internal()
    })?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}
