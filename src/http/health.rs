//! `/health`: for load balancers, supervisors and people; no key needed, so nothing here is private.

use std::time::Duration;

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};

use tokio::time::timeout;

use super::Api;
use crate::{chain::Chain as _, minting::Condition};

/// A chain that takes longer than this is no help; supervisors do not wait much longer themselves.
const PROBE: Duration = Duration::from_secs(2);

/// `GET /health`: one word, and what is running.
pub(super) async fn summary(State(api): State<Api>) -> Json<Value> {
    let held = api.app.minter.condition() != Condition::Clear;
    Json(json!({
        "status": if held { "degraded" } else { "ok" },
        "version": env!("CARGO_PKG_VERSION"),
        "network": api.app.config.network.as_str(),
    }))
}

/// `GET /health/live`: the process answers.
pub(super) async fn live() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// `GET /health/ready`: whether a batch would be accepted and minted now, by part.
pub(super) async fn ready(State(api): State<Api>) -> (StatusCode, Json<Value>) {
    let database = api.app.store.counts(None).await.is_ok();
    let chain = timeout(PROBE, api.app.chain.tip()).await.is_ok_and(|tip| tip.is_ok());
    let minting = api.app.minter.condition() == Condition::Clear;
    let all = database && chain && minting;
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": all, "database": database, "chain": chain, "minting": minting })))
}
