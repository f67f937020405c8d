//! `/admin/batch-mint/estimate`.

use axum::{
    Json,
    extract::{Query, State},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Api, error::Problem};
use crate::{domain::forecast::Forecast, estimate::Estimate};

/// Most tickets that are estimated at once; a larger number is a typing mistake.
const MAX_COUNT: u64 = 10_000_000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Tickets.
    #[param(value_type = u32, minimum = 1, maximum = 10_000_000, required = true)]
    count: Option<String>,
}

/// Price and time of a batch, and what to expect of it from the record of the endpoints.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EstimateAnswer)]
pub(super) struct Answer {
    #[serde(flatten)]
    estimate: Estimate,
    forecast: Forecast,
}

/// Price and time of a batch, from the chain's own figures, and what to expect from the record of the endpoints.
#[utoipa::path(get, path = "/batch-mint/estimate", operation_id = "estimateBatch", tag = "minting", params(Parameters),
    responses((status = 200, body = Answer)))]
pub(super) async fn estimate(
    State(api): State<Api>,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Answer>, Problem> {
    let count = parameters.count.as_deref().and_then(|count| count.parse().ok());
    let Some(count) = count.filter(|count| (1..=MAX_COUNT).contains(count)) else {
        let detail = format!("must be a whole number from 1 to {MAX_COUNT}");
        return Err(Problem::one_invalid("/count", detail));
    };
    let price = api.app.prices.ticket().await?;
    let estimate = api.app.minter.estimate(count, price).await;
    Ok(Json(Answer { estimate, forecast: api.app.minter.forecast(count).await? }))
}
