//! `/admin/system/status`: every part of the box, for those who run it.

use std::time::Duration;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use crate::{
    app::App,
    balance::KnownBalance,
    chain::rpc::EndpointHealth,
    clock::rfc3339,
    domain::{lamports::Lamports, mint::MintStatus},
    fleet::Fleet,
    metadata::replicated::CopyStatus,
    minting::Condition,
    payers::Holdings,
};

/// Every part of the box.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SystemStatus {
    balance_monitor: BalanceStatus,
    cache: CacheStatus,
    database: DatabaseStatus,
    /// The RPC endpoints, in the order of the settings.
    rpc: Vec<EndpointStatus>,
    queue: QueueStatus,
    /// Where metadata is published besides this box, in the order of the settings; empty for `IPFS_PROVIDER=local`.
    publisher: Vec<PublisherStatus>,
    scheduler: SchedulerStatus,
    version: &'static str,
    network: &'static str,
    /// Seconds since the start.
    uptime_seconds: u64,
    #[schema(format = DateTime)]
    timestamp: String,
}

/// The wallet, and the fee payers that pay in its place.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BalanceStatus {
    /// Its address, base58.
    wallet: String,
    /// What the wallet itself holds, in SOL; null while the chain has not said. An endpoint that does not answer is no empty wallet.
    balance: Option<f64>,
    balance_lamports: Option<Lamports>,
    /// Whether those who pay, the wallet or its fee payers, hold more than `minRequired`; null while that is not known.
    sufficient: Option<bool>,
    /// `MIN_SOL_BALANCE`, in SOL.
    min_required: f64,
    /// Tickets that those who pay still pay for, beyond those already accepted; null when not known.
    runway_tickets: Option<u64>,
    /// The fee payers (`FEE_PAYERS`), in order; empty when the wallet pays itself.
    payers: Vec<PayerStatus>,
    /// When the chain said so.
    #[schema(format = DateTime)]
    last_check: Option<String>,
}

/// A fee payer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PayerStatus {
    /// Its address, base58.
    address: String,
    /// What it holds; null while the chain has not said.
    balance_lamports: Option<Lamports>,
    /// Tickets that it can pay for by itself; it is skipped at 0. Null when not known.
    payable_tickets: Option<u64>,
}

/// The cache; `/admin/cache/stats` has more.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CacheStatus {
    enabled: bool,
    /// It answers. When it does not, everything goes on without it.
    connected: bool,
    /// `memory`, or `redis` when boxes share one.
    backend: &'static str,
    /// Values kept; null when that cannot be found out now.
    key_count: Option<u64>,
}

/// The books.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DatabaseStatus {
    connected: bool,
}

/// An RPC endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointStatus {
    /// Scheme, host and port: the rest often holds a key.
    endpoint: String,
    /// Asked first.
    preferred: bool,
    /// It answered when it was last asked; null if it never was.
    healthy: Option<bool>,
    /// Milliseconds that its last answer took.
    last_latency_ms: Option<u64>,
    /// Seconds since its last answer.
    last_answer_seconds_ago: Option<u64>,
    /// What went wrong when it was last asked.
    error: Option<String>,
    /// `closed`: it is asked. `open`: it failed again and again, and rests. `half_open`: its rest is over, and one call decides.
    state: &'static str,
    /// Blocks behind the best endpoint, when it last named its slot; null if it never did.
    lag_slots: Option<u64>,
    /// It limits our rate, and is left alone until then; null if it does not.
    #[schema(format = DateTime)]
    limited_until: Option<String>,
}

/// The work that waits.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueueStatus {
    /// Accepted, nothing signed yet.
    pending: u64,
    /// Signed, and not settled.
    minting: u64,
    /// Transactions under way.
    in_flight_transactions: usize,
    /// Tickets settled per second of late; 0 when nothing was.
    mints_per_second: f64,
    /// Transactions a second that may be sent now; with `PACING=adaptive` it follows what the endpoints bear.
    send_rate_limit: f64,
    /// Tickets that ride in one transaction at most: more than one only where the network is found to take that, and never more
    /// than `TX_LIMIT_SOL` allows.
    tickets_per_transaction: usize,
    /// How transactions with several tickets are laid out: `v1`; `legacy` while each ticket has a transaction of its own.
    layout: &'static str,
    /// Seconds until all of it is settled.
    eta_seconds: f64,
    /// Why minting waits, and what to do; null when it does not. It goes on by itself.
    held: Option<String>,
}

/// A provider that metadata is published by.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PublisherStatus {
    /// `kubo` or `pinata`.
    provider: &'static str,
    /// Scheme, host and port.
    host: String,
    /// Nothing is minted before it has confirmed its metadata.
    required: bool,
    /// It answered when it was last asked; null if it never was.
    reachable: Option<bool>,
    /// What went wrong when it was last asked.
    last_error: Option<String>,
    /// Files that it has not confirmed yet.
    unpublished: u64,
}

/// What the box does by itself; `/admin/jobs` has more.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SchedulerStatus {
    /// The clock is watched.
    running: bool,
    /// Jobs that are due by themselves; those that are off do not count.
    jobs: usize,
    /// Whether this box runs the jobs that are of all boxes; null when it is alone.
    leads: Option<bool>,
    /// The box that runs them, as far as is known; null when this box is alone.
    leader: Option<String>,
    /// When the next of them is due.
    #[schema(format = DateTime)]
    next_run: Option<String>,
}

/// Every part of the box: wallet, cache, database, RPC endpoints, queue.
#[utoipa::path(get, path = "/system/status", operation_id = "getSystemStatus", tag = "system", responses((status = 200, body = SystemStatus)))]
pub(super) async fn status(State(api): State<Api>) -> Json<SystemStatus> {
    Json(look(&api).await)
}

pub(super) async fn look(api: &Api) -> SystemStatus {
    let app = &api.app;
    let asked = tokio::join!(app.balance.current(), app.store.counts(None), app.cache.stats(), app.publishing.status());
    let (known, counts, cache, publishers) = asked;
    let connected = counts.is_ok();
    let counts = counts.unwrap_or_default();
    let (pending, minting) = (counts.of(MintStatus::Pending), counts.of(MintStatus::Minting));
    let open = pending.saturating_add(minting);
    let keep_back = app.config.limits.keep_back;
    let holdings = known.as_ref().map(|known| &known.holdings);
    SystemStatus {
        balance_monitor: BalanceStatus {
            wallet: app.authority.to_string(),
            balance: holdings.map(|holdings| holdings.wallet.as_sol()),
            balance_lamports: holdings.map(|holdings| holdings.wallet),
            sufficient: holdings.map(|holdings| holdings.paying() > keep_back),
            min_required: keep_back.as_sol(),
            runway_tickets: app.balance.runway(open),
            payers: payers(app, holdings),
            last_check: known.as_ref().map(|KnownBalance { at_ms, .. }| rfc3339(*at_ms)),
        },
        cache: CacheStatus { enabled: true, connected: cache.connected, backend: cache.backend, key_count: cache.keys },
        database: DatabaseStatus { connected },
        rpc: {
            let now_ms = app.clock.now_ms();
            app.chain.health().into_iter().map(|health| EndpointStatus::new(health, now_ms)).collect()
        },
        queue: QueueStatus {
            pending,
            minting,
            in_flight_transactions: app.minter.in_flight(),
            mints_per_second: app.minter.rate().unwrap_or_default(),
            send_rate_limit: (app.minter.allowed_rate() * 100.0).round() / 100.0,
            tickets_per_transaction: app.minter.tickets_per_transaction(),
            layout: app.minter.layout().name(),
            eta_seconds: app.minter.eta_seconds(open),
            held: match app.minter.condition() {
                Condition::Clear => None,
                Condition::Held { reason } => Some(reason),
            },
        },
        publisher: publishers.unwrap_or_default().into_iter().map(PublisherStatus::from).collect(),
        scheduler: SchedulerStatus {
            running: app.scheduler.is_alive(),
            leads: app.fleet.as_ref().map(Fleet::leads),
            leader: app.fleet.as_ref().and_then(Fleet::leader),
            jobs: app.scheduler.jobs().iter().filter(|job| job.schedule.is_some()).count(),
            next_run: app.scheduler.jobs().iter().filter_map(|job| app.scheduler.next_run_ms(job)).min().map(rfc3339),
        },
        version: env!("CARGO_PKG_VERSION"),
        network: app.config.network.as_str(),
        uptime_seconds: api.started.elapsed().as_secs(),
        timestamp: rfc3339(app.clock.now_ms()),
    }
}

fn payers(app: &App, holdings: Option<&Holdings>) -> Vec<PayerStatus> {
    let price = app.prices.known().map(|price| price.total());
    let payers = app.minter.purse().payers().iter().enumerate().map(|(at, address)| {
        let holds = holdings.and_then(|holdings| holdings.payers.get(at).map(|(_, holds)| (holdings, *holds)));
        PayerStatus {
            address: address.to_string(),
            balance_lamports: holds.map(|(_, holds)| holds),
            payable_tickets: holds.and_then(|(holdings, holds)| Some(holdings.tickets_of(holds, price?))),
        }
    });
    payers.collect()
}

impl From<CopyStatus> for PublisherStatus {
    fn from(status: CopyStatus) -> Self {
        Self {
            provider: status.provider,
            host: status.host,
            required: status.required,
            reachable: status.health.reachable,
            last_error: status.health.error,
            unpublished: status.unpublished,
        }
    }
}

impl EndpointStatus {
    fn new(health: EndpointHealth, now_ms: i64) -> Self {
        let asked = health.last_answer_ago.is_some() || health.fault.is_some();
        let ms = |latency: Duration| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        Self {
            endpoint: health.endpoint,
            preferred: health.preferred,
            healthy: asked.then_some(health.fault.is_none()),
            last_latency_ms: health.last_latency.map(ms),
            last_answer_seconds_ago: health.last_answer_ago.map(|ago| ago.as_secs()),
            error: health.fault,
            state: health.state.as_str(),
            lag_slots: health.lag_slots,
            limited_until: health.limited_for.map(|left| {
                let ms = i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
                rfc3339(now_ms.saturating_add(ms))
            }),
        }
    }
}
