//! `/admin/trends`: how things went, period by period.

use axum::{
    Json,
    extract::{Query, State},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    error::{Problem, ProblemBody},
    stats::average_seconds,
    venues,
};
use crate::{
    clock::rfc3339,
    domain::lamports::Lamports,
    store::{BoxCounts, Period},
    trends::{EndpointTrend, Range},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TrendParameters {
    /// How far back: `1h` by the minute, `24h` (the default) and `7d` by the hour, `30d` and `365d` by the day, UTC.
    #[serde(default)]
    #[param(inline)]
    range: Range,
    /// Only one venue's tickets; what the box counts as a whole is left out then.
    #[param(example = "venue-123")]
    venue_id: Option<String>,
}

/// How things went.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TrendAnswer {
    #[schema(inline)]
    range: Range,
    /// Null for all venues together.
    venue_id: Option<String>,
    /// Length of each period.
    step_seconds: i64,
    /// All periods of the range, oldest first; the last one is still running.
    periods: Vec<TrendPeriod>,
    /// What came of transactions that were sent, by RPC endpoint: those of the settings first. Empty for one venue.
    rpc: Vec<RpcTrend>,
}

/// What happened in one period.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TrendPeriod {
    /// When it begins, UTC.
    #[schema(format = DateTime)]
    from: String,
    minted: u64,
    /// Tickets given up, those that a retry minted later too.
    failed: u64,
    /// What left the wallet.
    spent_lamports: Lamports,
    /// What the minted tickets were expected to cost when they were accepted. Tickets that are found on the chain, paid for by
    /// an earlier life of the books, count neither here nor there.
    estimated_lamports: Lamports,
    /// From acceptance to settlement; null without a minted ticket.
    avg_mint_time_seconds: Option<f64>,
    /// Look-ups that the cache answered; null for one venue.
    cache_hits: Option<u64>,
    /// Look-ups that it did not answer.
    cache_misses: Option<u64>,
    /// Files sent to providers.
    uploads: Option<u64>,
    /// Files that were to be sent and were there already.
    uploads_saved: Option<u64>,
}

impl TrendPeriod {
    fn new(period: &Period, counts: Option<&BoxCounts>) -> Self {
        Self {
            from: rfc3339(period.from_ms),
            minted: period.minted,
            failed: period.failed,
            spent_lamports: period.spent,
            estimated_lamports: period.estimated,
            avg_mint_time_seconds: (period.minted > 0).then(|| average_seconds(period)),
            cache_hits: counts.map(|counts| counts.cache_hits),
            cache_misses: counts.map(|counts| counts.cache_misses),
            uploads: counts.map(|counts| counts.uploads),
            uploads_saved: counts.map(|counts| counts.uploads_saved),
        }
    }
}

/// What came of transactions that were sent to an endpoint; each list has a number for every period.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RpcTrend {
    /// Scheme, host and port.
    endpoint: String,
    /// Transactions sent, repetitions too.
    sends: Vec<u64>,
    /// Of them refused, or without an answer that makes sense, or without any in time.
    errors: Vec<u64>,
    /// Of them turned away because of the plan's limit.
    limited: Vec<u64>,
}

impl From<EndpointTrend> for RpcTrend {
    fn from(EndpointTrend { endpoint, sends, errors, limited }: EndpointTrend) -> Self {
        Self { endpoint, sends, errors, limited }
    }
}

/// How things went, period by period, at all venues or at one.
#[utoipa::path(get, path = "/trends", operation_id = "getTrends", tag = "statistics", params(TrendParameters),
    responses((status = 200, body = TrendAnswer),
        (status = 404, body = ProblemBody, content_type = "application/problem+json",
            description = "No ticket of this venue was ever accepted.")))]
pub(super) async fn show(
    State(api): State<Api>,
    Query(TrendParameters { range, venue_id }): Query<TrendParameters>,
) -> Result<Json<TrendAnswer>, Problem> {
    let trends = &api.app.trends;
    let (periods, rpc) = match &venue_id {
        None => {
            let trend = trends.of_all(range).await?;
            let periods = trend.periods.iter().map(|period| TrendPeriod::new(&period.tickets, Some(&period.counts)));
            (periods.collect(), trend.endpoints.into_iter().map(RpcTrend::from).collect())
        }
        Some(venue_id) => {
            venues::known(&api, venue_id).await?;
            let periods = trends.of_venue(venue_id.clone(), range).await?;
            (periods.iter().map(|period| TrendPeriod::new(period, None)).collect(), Vec::new())
        }
    };
    let step_seconds = range.step().seconds();
    Ok(Json(TrendAnswer { range, venue_id, step_seconds, periods, rpc }))
}
