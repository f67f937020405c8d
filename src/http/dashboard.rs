//! `/admin/dashboard`: the numbers of the box at a glance.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Api, error::Problem, mints::Mint};
use crate::{domain::mint::MintStatus, store::MintFilter};

/// Mints shown, as the contract has it.
const RECENT: usize = 10;

/// The numbers of the box.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Dashboard {
    /// Tickets accepted, whatever became of them.
    total_mints: u64,
    /// Not settled yet.
    pending_mints: u64,
    failed_mints: u64,
    /// The ten that were accepted last.
    recent_mints: Vec<Mint>,
    /// Tickets settled per second of late; 0 when nothing was.
    mints_per_second: f64,
    /// Seconds until everything that waits is settled.
    eta_seconds: f64,
}

/// The numbers of the box, and the ten newest tickets.
#[utoipa::path(get, path = "/dashboard", operation_id = "getDashboard", tag = "statistics", responses((status = 200, body = Dashboard)))]
pub(super) async fn dashboard(State(api): State<Api>) -> Result<Json<Dashboard>, Problem> {
    look(&api).await.map(Json)
}

pub(super) async fn look(api: &Api) -> Result<Dashboard, Problem> {
    let (counts, recent) =
        tokio::try_join!(api.app.store.counts(None), api.app.store.mints(MintFilter::default(), RECENT))?;
    let pending = counts.of(MintStatus::Pending).saturating_add(counts.of(MintStatus::Minting));
    Ok(Dashboard {
        total_mints: counts.total(),
        pending_mints: pending,
        failed_mints: counts.of(MintStatus::Failed),
        recent_mints: recent.into_iter().map(Mint::from).collect(),
        mints_per_second: api.app.minter.rate().unwrap_or_default(),
        eta_seconds: api.app.minter.eta_seconds(pending),
    })
}
