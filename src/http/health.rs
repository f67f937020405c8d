//! `/health`: for load balancers, supervisors and people; no key needed, so nothing here is private.

use std::time::Duration;

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use utoipa::ToSchema;

use super::Api;
use crate::{chain::Chain as _, domain::lamports::Lamports, minting::Condition};

/// A chain that takes longer than this is no help; supervisors do not wait much longer themselves.
const PROBE: Duration = Duration::from_secs(2);
/// How long an answer counts.
const FRESH: Duration = Duration::from_secs(1);

/// The status of a box that cannot work.
const UNAVAILABLE: &str = "unavailable";

/// The last look.
pub(super) type Probe = Mutex<Option<(Instant, Ready)>>;

/// How the box is, in a word.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`, or `degraded` while minting is held; `/health/full` looks deeper, and says `unavailable` with status 503.
    status: &'static str,
    version: &'static str,
    network: &'static str,
}

/// The process answers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Live {
    /// `ok`.
    status: &'static str,
}

/// Whether a batch would be accepted and minted now, by part.
#[expect(clippy::struct_field_names, clippy::struct_excessive_bools, reason = "the names are the API's")]
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    ready: bool,
    database: bool,
    chain: bool,
    minting: bool,
}

/// Everything that is good to know when something is wrong.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FullHealth {
    #[serde(flatten)]
    health: Health,
    #[serde(flatten)]
    ready: Ready,
    /// Why minting is held; null when it is not.
    held: Option<String>,
    /// Whether the wallet can pay for another ticket; null when the balance is not known.
    funded: Option<bool>,
    /// Seconds since the start.
    uptime_seconds: u64,
}

/// One word, and what is running.
#[utoipa::path(get, path = "/health", operation_id = "getHealth", tag = "public", responses((status = 200, body = Health)))]
pub(super) async fn summary(State(api): State<Api>) -> Json<Health> {
    Json(health(&api))
}

/// The process answers.
#[utoipa::path(get, path = "/health/live", operation_id = "getLive", tag = "public", responses((status = 200, body = Live)))]
pub(super) async fn live() -> Json<Live> {
    Json(Live { status: "ok" })
}

/// Whether a batch would be accepted and minted now, by part.
#[utoipa::path(get, path = "/health/ready", operation_id = "getReady", tag = "public",
    responses((status = 200, body = Ready), (status = 503, body = Ready, description = "Something is missing.")))]
pub(super) async fn ready(State(api): State<Api>) -> (StatusCode, Json<Ready>) {
    let ready = probe(&api).await;
    (status_of(ready.ready), Json(ready))
}

/// Everything that is good to know when something is wrong.
#[utoipa::path(get, path = "/health/full", operation_id = "getFullHealth", tag = "public",
    responses((status = 200, body = FullHealth), (status = 503, body = FullHealth, description = "Something is missing.")))]
pub(super) async fn full(State(api): State<Api>) -> (StatusCode, Json<FullHealth>) {
    let ready = probe(&api).await;
    let known = api.app.balance.known();
    let funded = known.as_ref().and_then(|known| {
        let price = api.app.prices.known()?.total();
        Some(known.holdings.usable(price) >= price + known.holdings.keep_back(Lamports::ZERO))
    });
    let held = match api.app.minter.condition() {
        Condition::Clear => None,
        Condition::Held { .. } if known.is_none() => Some("the chain does not answer".into()),
        // The reason in full names the wallet and its balance: that is for those with a key.
        Condition::Held { .. } => Some("see /admin/system/status".into()),
    };
    let uptime_seconds = api.started.elapsed().as_secs();
    let mut health = health(&api);
    if !ready.ready {
        health.status = UNAVAILABLE;
    }
    (status_of(ready.ready), Json(FullHealth { health, ready, held, funded, uptime_seconds }))
}

/// The box in a word, as `/health/full` has it.
pub(super) async fn word(api: &Api) -> &'static str {
    if probe(api).await.ready { health(api).status } else { UNAVAILABLE }
}

fn health(api: &Api) -> Health {
    let held = api.app.minter.condition() != Condition::Clear;
    Health {
        status: if held { "degraded" } else { "ok" },
        version: env!("CARGO_PKG_VERSION"),
        network: api.app.config.network.as_str(),
    }
}

/// Looks at every part, at most once in [`FRESH`]: these answers are for everyone, and must not use up the RPC plan.
async fn probe(api: &Api) -> Ready {
    let mut last = api.probe.lock().await;
    match *last {
        Some((at, ready)) if at.elapsed() < FRESH => ready,
        _ => {
            let ready = look(api).await;
            *last = Some((Instant::now(), ready));
            ready
        }
    }
}

async fn look(api: &Api) -> Ready {
    let tip = timeout(PROBE, api.app.chain.tip());
    let (counts, tip) = tokio::join!(api.app.store.counts(None), tip);
    let (database, chain) = (counts.is_ok(), tip.is_ok_and(|tip| tip.is_ok()));
    let minting = api.app.minter.condition() == Condition::Clear;
    Ready { ready: database && chain && minting, database, chain, minting }
}

fn status_of(ready: bool) -> StatusCode {
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
