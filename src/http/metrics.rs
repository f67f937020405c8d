//! `/metrics`: every instrument of the box, in Prometheus' text format.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use prometheus::{GaugeVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use super::{
    Api,
    error::{Problem, ProblemBody, internal},
};
use crate::{app::App, balance::KnownBalance, domain::mint::MintStatus, minting::Condition, store::Counts};

/// What is looked up when somebody asks, rather than counted as it happens.
#[derive(Debug)]
pub(super) struct Gauges {
    queue_depth: IntGaugeVec,
    in_flight: IntGauge,
    balance: IntGaugeVec,
    balance_age: IntGaugeVec,
    runway: IntGaugeVec,
    payer_balance: IntGaugeVec,
    payer_runway: IntGaugeVec,
    preferred: IntGaugeVec,
    score: GaugeVec,
    lag: IntGaugeVec,
    circuit: IntGaugeVec,
    held: IntGauge,
    redis: IntGaugeVec,
}

impl Gauges {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let depth = Opts::new("minting_queue_depth", "Tickets accepted and not settled, by state.");
        let balance = Opts::new(
            "boxoffice_wallet_balance_lamports",
            "What the wallet held when the chain last said; missing until then, never 0 for unknown.",
        );
        let age = "Seconds since the chain said what the wallet holds; missing until it has.";
        let age = Opts::new("boxoffice_wallet_balance_age_seconds", age);
        let runway =
            "Tickets that the wallet, or its fee payers, still pay for, beyond those accepted and MIN_SOL_BALANCE.";
        let runway = Opts::new("boxoffice_wallet_runway_tickets", runway);
        let payer = "What a fee payer held when the chain last said; missing until then, and without FEE_PAYERS.";
        let payer = Opts::new("boxoffice_payer_balance_lamports", payer);
        let payable = "Tickets that a fee payer by itself can pay for; it is skipped at 0.";
        let payable = Opts::new("boxoffice_payer_payable_tickets", payable);
        let preferred = Opts::new("boxoffice_rpc_endpoint_preferred", "1 for the RPC endpoint that is asked first.");
        let score = "Seconds that a good answer of the RPC endpoint costs; the lowest is asked first.";
        let score = Opts::new("boxoffice_rpc_endpoint_score_seconds", score);
        let lag = "Blocks that the RPC endpoint was behind the best one when it last named its slot.";
        let lag = Opts::new("boxoffice_rpc_endpoint_lag_slots", lag);
        let circuit =
            "0 while the RPC endpoint is asked, 2 while it rests after failures, 1 when one call will decide.";
        let circuit = Opts::new("boxoffice_rpc_endpoint_circuit_state", circuit);
        let redis = Opts::new("boxoffice_redis_connected", "1 while Redis answers; missing without one.");
        let gauges = Self {
            queue_depth: IntGaugeVec::new(depth, &["status"])?,
            in_flight: IntGauge::new("minting_transactions_in_flight", "Transactions signed and not settled.")?,
            balance: IntGaugeVec::new(balance, &["wallet"])?,
            balance_age: IntGaugeVec::new(age, &["wallet"])?,
            runway: IntGaugeVec::new(runway, &["wallet"])?,
            payer_balance: IntGaugeVec::new(payer, &["payer"])?,
            payer_runway: IntGaugeVec::new(payable, &["payer"])?,
            preferred: IntGaugeVec::new(preferred, &["endpoint"])?,
            score: GaugeVec::new(score, &["endpoint"])?,
            lag: IntGaugeVec::new(lag, &["endpoint"])?,
            circuit: IntGaugeVec::new(circuit, &["endpoint"])?,
            redis: IntGaugeVec::new(redis, &[])?,
            held: IntGauge::new("minting_held", "1 while minting waits for something, such as money or the chain.")?,
        };
        registry.register(Box::new(gauges.queue_depth.clone()))?;
        registry.register(Box::new(gauges.in_flight.clone()))?;
        let endpoints = [&gauges.preferred, &gauges.lag, &gauges.circuit];
        for vector in [&gauges.balance, &gauges.balance_age, &gauges.runway, &gauges.redis].into_iter().chain(endpoints)
        {
            registry.register(Box::new(vector.clone()))?;
        }
        registry.register(Box::new(gauges.payer_balance.clone()))?;
        registry.register(Box::new(gauges.payer_runway.clone()))?;
        registry.register(Box::new(gauges.score.clone()))?;
        registry.register(Box::new(gauges.held.clone()))?;
        let info = Opts::new("boxoffice_build_info", "Always 1; the labels say what is running.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        let info = IntGauge::with_opts(info)?;
        info.set(1);
        registry.register(Box::new(info))?;
        Ok(gauges)
    }

    fn read(&self, app: &App, counts: &Counts) {
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let mut open = 0_u64;
        for status in [MintStatus::Pending, MintStatus::Minting] {
            self.queue_depth.with_label_values(&[status.as_str()]).set(gauge(counts.of(status)));
            open = open.saturating_add(counts.of(status));
        }
        self.in_flight.set(gauge(app.minter.in_flight() as u64));
        self.held.set(i64::from(app.minter.condition() != Condition::Clear));
        if let Some(fleet) = &app.fleet {
            self.redis.with_label_values::<&str>(&[]).set(i64::from(fleet.is_connected()));
        }
        for endpoint in app.chain.health() {
            let name = [endpoint.endpoint.as_str()];
            self.preferred.with_label_values(&name).set(i64::from(endpoint.preferred));
            self.score.with_label_values(&name).set(endpoint.score_ms / 1_000.0);
            self.circuit.with_label_values(&name).set(endpoint.state.as_number());
            if let Some(lag) = endpoint.lag_slots {
                self.lag.with_label_values(&name).set(gauge(lag));
            }
        }
        let Some(KnownBalance { holdings, at_ms, .. }) = app.balance.known() else { return };
        let wallet = [app.authority.to_string()];
        self.balance.with_label_values(&wallet).set(gauge(holdings.wallet.0));
        let age_ms = app.clock.now_ms().saturating_sub(at_ms).max(0);
        self.balance_age.with_label_values(&wallet).set(age_ms.checked_div(1_000).unwrap_or_default());
        if let Some(runway) = app.balance.runway(open) {
            self.runway.with_label_values(&wallet).set(gauge(runway));
        }
        let price = app.prices.known().map(|price| price.total());
        for (payer, holds) in &holdings.payers {
            let name = [payer.to_string()];
            self.payer_balance.with_label_values(&name).set(gauge(holds.0));
            if let Some(price) = price {
                self.payer_runway.with_label_values(&name).set(gauge(holdings.tickets_of(*holds, price)));
            }
        }
    }
}

/// Every instrument of the box, in Prometheus' text format. Needs no key from this machine, or from `ALLOWED_IPS`.
#[utoipa::path(get, path = "/metrics", operation_id = "getMetrics", tag = "public", security((), ("key" = [])),
    responses((status = 200, body = String, content_type = "text/plain; version=0.0.4"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "From elsewhere."),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "Not allowed."),
        (status = 429, body = ProblemBody, content_type = "application/problem+json", description = "Too often.")))]
pub(super) async fn metrics(State(api): State<Api>) -> Result<Response, Problem> {
    let counts = api.app.store.counts(None).await?;
    api.gauges.read(&api.app, &counts);
    let text = TextEncoder::new().encode_to_string(&api.app.registry.gather()).map_err(|error| {
        tracing::error!(%error, "the instruments cannot be read");
        internal()
    })?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}
