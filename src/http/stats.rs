//! `/admin/stats/{venueId}`: how a venue's tickets fared, and what they cost.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    error::{Problem, ProblemBody},
};
use crate::{
    clock::rfc3339,
    domain::{lamports::Lamports, mint::MintStatus},
    store::{Period, Step},
};

/// How long an answer is kept for those who ask the same, while nothing is written.
const FRESH: Duration = Duration::from_mins(1);

/// How far back a time series goes.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
enum Range {
    /// 24 hours, by the hour.
    #[default]
    #[serde(rename = "24h")]
    Day,
    /// 7 days, by the hour.
    #[serde(rename = "7d")]
    Week,
    /// 30 days, by the day.
    #[serde(rename = "30d")]
    Month,
    /// 365 days, by the day.
    #[serde(rename = "365d")]
    Year,
}

impl Range {
    /// How many periods it has, and how long they are.
    fn periods(self) -> (i64, Step) {
        match self {
            Self::Day => (24, Step::Hour),
            Self::Week => (7 * 24, Step::Hour),
            Self::Month => (30, Step::Day),
            Self::Year => (365, Step::Day),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// How far back the series goes: `24h` (the default) and `7d` by the hour, `30d` and `365d` by the day.
    #[serde(default)]
    #[param(inline)]
    range: Range,
}

/// How a venue's tickets fared.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct VenueStats {
    venue_id: String,
    /// Tickets accepted.
    total_mints: u64,
    successful_mints: u64,
    failed_mints: u64,
    /// Not settled yet.
    pending_mints: u64,
    /// Percentage of the settled tickets that the chain holds; 0 while none is settled.
    success_rate: f64,
    /// From acceptance to settlement, over all minted tickets; waiting in a long batch counts.
    avg_mint_time_seconds: f64,
    /// What left the wallet for this venue.
    spent_lamports: Lamports,
    /// By period, oldest first; periods in which nothing happened are left out.
    series: Vec<StatsPeriod>,
}

/// What happened in one period.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatsPeriod {
    /// When it begins, UTC.
    #[schema(format = DateTime)]
    from: String,
    minted: u64,
    /// Tickets given up, those that a retry minted later too.
    failed: u64,
    spent_lamports: Lamports,
    avg_mint_time_seconds: f64,
}

/// How a venue's tickets fared, what they cost, and when.
#[utoipa::path(get, path = "/stats/{venueId}", operation_id = "getVenueStats", tag = "statistics", params(("venueId" = String, Path, example = "venue-123"), Parameters),
    responses((status = 200, body = VenueStats),
        (status = 404, body = ProblemBody, content_type = "application/problem+json",
            description = "No ticket of this venue was ever accepted.")))]
pub(super) async fn of_venue(
    State(api): State<Api>,
    Path(venue_id): Path<String>,
    Query(parameters): Query<Parameters>,
) -> Result<Json<VenueStats>, Problem> {
    // At the same version of the books the answer is the same, but for the edge of the series, which moves with the hours.
    let version = format!("stats:{}:{}:{:?}", api.id, api.app.store.version(), parameters.range);
    let key = format!("{version}:{venue_id}");
    let answer = api.app.cache.get_or_set(&key, FRESH, look_up(&api, venue_id, parameters.range)).await?;
    Ok(Json(answer))
}

async fn look_up(api: &Api, venue_id: String, range: Range) -> Result<VenueStats, Problem> {
    let (periods, step) = range.periods();
    let from_ms = api.app.clock.now_ms().saturating_sub(step.ms().saturating_mul(periods));
    let store = &api.app.store;
    let (counts, stats) =
        tokio::try_join!(store.counts(Some(venue_id.clone())), store.venue_stats(venue_id.clone(), from_ms, step))?;
    if counts.total() == 0 {
        return Err(Problem::not_found("no ticket of this venue has been accepted"));
    }
    let (minted, failed) = (counts.of(MintStatus::Minted), counts.of(MintStatus::Failed));
    Ok(VenueStats {
        venue_id,
        total_mints: counts.total(),
        successful_mints: minted,
        failed_mints: failed,
        pending_mints: counts.of(MintStatus::Pending).saturating_add(counts.of(MintStatus::Minting)),
        success_rate: percent(minted, minted.saturating_add(failed)),
        avg_mint_time_seconds: average_seconds(&stats.total),
        spent_lamports: stats.total.spent,
        series: stats.series.iter().map(StatsPeriod::from).collect(),
    })
}

impl From<&Period> for StatsPeriod {
    fn from(period: &Period) -> Self {
        Self {
            from: rfc3339(period.from_ms),
            minted: period.minted,
            failed: period.failed,
            spent_lamports: period.spent,
            avg_mint_time_seconds: average_seconds(period),
        }
    }
}

/// To two decimal places, as the contract shows it.
#[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
fn percent(part: u64, whole: u64) -> f64 {
    (part as f64 * 10_000.0 / whole.max(1) as f64).round() / 100.0
}

#[expect(clippy::cast_precision_loss, reason = "seconds for people")]
pub(super) fn average_seconds(period: &Period) -> f64 {
    (period.mint_ms as f64 / period.minted.max(1) as f64 / 10.0).round() / 100.0
}
