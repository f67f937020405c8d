//! `/admin/anomalies`: what is not as it usually is.

use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::Number;
use utoipa::ToSchema;

use super::{Api, error::Problem};
use crate::{
    anomalies::Checked,
    clock::rfc3339,
    domain::anomaly::{Judgement, Measure, Verdict, whole},
};

/// What the last check found; there is one about every minute.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AnomalyAnswer {
    #[schema(format = DateTime)]
    checked_at: String,
    measures: Vec<Anomaly>,
}

/// A measure of the newest hour with enough tickets, against the 30 days before it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Anomaly {
    measure: Measure,
    #[schema(inline)]
    verdict: Verdict,
    /// What it was in that hour; null when no hour lately had enough tickets.
    #[schema(value_type = Option<f64>)]
    value: Option<Number>,
    /// The usual range; null before it is known. Below it is well.
    #[schema(value_type = Option<f64>)]
    usual_low: Option<Number>,
    #[schema(value_type = Option<f64>)]
    usual_high: Option<Number>,
    /// `percent`, `seconds` or `lamports`.
    unit: &'static str,
    /// When that hour begins, UTC; it may be the one that is running.
    #[schema(format = DateTime)]
    from: Option<String>,
    /// Its tickets.
    tickets: u64,
    /// All of it in a sentence.
    explanation: String,
}

impl From<Judgement> for Anomaly {
    fn from(judgement: Judgement) -> Self {
        let Judgement { measure, verdict, value, usual, hour, tickets, explanation } = judgement;
        let shown = |value: f64| match measure {
            Measure::CostPerTicket => Some(Number::from(whole(value).0)),
            // For people.
            Measure::FailureRate | Measure::MintTime => Number::from_f64((value * 100.0).round() / 100.0),
        };
        Self {
            measure,
            verdict,
            value: value.and_then(shown),
            usual_low: usual.and_then(|(low, _high)| shown(low)),
            usual_high: usual.and_then(|(_low, high)| shown(high)),
            unit: measure.unit(),
            from: hour.map(|hour| rfc3339(hour.saturating_mul(3_600_000))),
            tickets,
            explanation,
        }
    }
}

/// Whether failures, time and cost of tickets are as they usually are.
#[utoipa::path(get, path = "/anomalies", operation_id = "getAnomalies", tag = "statistics",
    responses((status = 200, body = AnomalyAnswer)))]
pub(super) async fn show(State(api): State<Api>) -> Result<Json<AnomalyAnswer>, Problem> {
    let Checked { at_ms, judgements } = api.app.anomalies.latest().await?;
    let measures = judgements.into_iter().map(Anomaly::from).collect();
    Ok(Json(AnomalyAnswer { checked_at: rfc3339(at_ms), measures }))
}
