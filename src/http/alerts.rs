//! `/admin/alerts`: what is wrong, what was, and who was told.

use axum::{
    extract::{Query, State},
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    error::Problem,
    pages::{PageRequest, refuse},
};
use crate::{
    clock::rfc3339,
    domain::{
        alert::{AlertKind, Severity},
        ticket::Fault,
    },
    store::{AlertFilter, AlertRecord, DeliveryRecord, Place},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AlertParameters {
    /// Only incidents that are open, or only those that are over.
    #[param(value_type = Option<bool>)]
    open: Option<String>,
    /// Incidents on the page.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<String>,
    /// `nextCursor` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]$")]
    cursor: Option<String>,
}

/// A page of incidents.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AlertPage {
    alerts: Vec<Incident>,
    /// Where the next page begins; null on the last.
    next_cursor: Option<String>,
}

/// Something that is wrong, or was.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Incident {
    id: i64,
    /// The same for all incidents of this kind with this subject.
    key: String,
    kind: AlertKind,
    #[schema(inline)]
    severity: Severity,
    /// The venue, endpoint, wallet or job that it is about; null for the box itself.
    subject: Option<String>,
    /// What is wrong and what to do, for a person.
    summary: String,
    /// More of it, for programs; its members depend on the kind.
    #[schema(value_type = Object)]
    details: Value,
    #[schema(format = DateTime)]
    opened_at: String,
    #[schema(format = DateTime)]
    last_seen_at: String,
    /// How often it was seen.
    times_seen: u64,
    /// When it was over; null while it is open.
    #[schema(format = DateTime)]
    closed_at: Option<String>,
    /// The messages about it, the oldest first. Empty without a webhook, and after ninety days.
    deliveries: Vec<Delivery>,
}

/// A message to the webhook, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AlertDelivery)]
#[serde(rename_all = "camelCase")]
pub(super) struct Delivery {
    /// The header `webhook-id`.
    message_id: String,
    /// Such as `alert.opened`.
    r#type: String,
    #[schema(format = DateTime)]
    created_at: String,
    attempts: u32,
    /// When it is tried next; null when it was delivered or given up.
    #[schema(format = DateTime)]
    next_attempt_at: Option<String>,
    #[schema(format = DateTime)]
    delivered_at: Option<String>,
    /// When the last attempt failed.
    #[schema(format = DateTime)]
    given_up_at: Option<String>,
    /// HTTP status of the last answer; null when there was none.
    last_status: Option<u16>,
    /// What went wrong last; null when nothing did.
    last_error: Option<String>,
}

impl From<AlertRecord> for Incident {
    fn from(record: AlertRecord) -> Self {
        Self {
            id: record.id,
            key: record.key,
            kind: record.kind,
            severity: record.severity,
            subject: record.subject,
            summary: record.summary,
            details: record.data,
            opened_at: rfc3339(record.opened_at_ms),
            last_seen_at: rfc3339(record.last_seen_at_ms),
            times_seen: record.seen,
            closed_at: record.closed_at_ms.map(rfc3339),
            deliveries: Vec::new(),
        }
    }
}

impl From<DeliveryRecord> for Delivery {
    fn from(record: DeliveryRecord) -> Self {
        Self {
            message_id: record.message_id,
            r#type: record.event_type,
            created_at: rfc3339(record.created_at_ms),
            attempts: record.attempts,
            next_attempt_at: record.next_attempt_at_ms.map(rfc3339),
            delivered_at: record.delivered_at_ms.map(rfc3339),
            given_up_at: record.given_up_at_ms.map(rfc3339),
            last_status: record.last_status,
            last_error: record.last_error,
        }
    }
}

/// What is wrong, and what was: the open incidents first, then those that are over; of each the newest first.
#[utoipa::path(get, path = "/alerts", operation_id = "listAlerts", tag = "system", params(AlertParameters),
    responses((status = 200, body = AlertPage, headers(("link", description = "The next page, as rel=next")))))]
pub(super) async fn list(
    State(api): State<Api>,
    Query(parameters): Query<AlertParameters>,
) -> Result<Response, Problem> {
    let mut faults = Vec::new();
    let page = PageRequest::read(parameters.limit.as_deref(), parameters.cursor.as_deref(), &mut faults);
    let open = match parameters.open.as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => {
            faults.push(Fault { pointer: "/open".into(), detail: "must be true or false".into() });
            None
        }
    };
    refuse(faults)?;
    let filter = AlertFilter { open, after: page.before_id.map(place) };
    let mut records = api.app.store.alerts(filter, page.rows()).await?;
    let next_cursor = page.cut(&mut records, |record| number(record.place()));
    let ids = records.iter().map(|record| record.id).collect();
    let mut alerts: Vec<Incident> = records.into_iter().map(Incident::from).collect();
    for (alert_id, delivery) in api.app.store.deliveries(ids).await? {
        if let Some(incident) = alerts.iter_mut().find(|incident| incident.id == alert_id) {
            incident.deliveries.push(delivery.into());
        }
    }
    let filters = [("open", parameters.open.as_deref())];
    Ok(page.answer(next_cursor, &["admin", "alerts"], &filters, |next_cursor| AlertPage { alerts, next_cursor }))
}

/// The newest open incidents, without their messages.
pub(super) async fn open(api: &Api, limit: usize) -> Result<Vec<Incident>, Problem> {
    let filter = AlertFilter { open: Some(true), after: None };
    Ok(api.app.store.alerts(filter, limit).await?.into_iter().map(Incident::from).collect())
}

/// Cursors are numbers: those of incidents that are over are negative.
fn number(place: Place) -> i64 {
    match place {
        Place::Open(id) => id,
        Place::Closed(id) => id.saturating_neg(),
    }
}

fn place(number: i64) -> Place {
    if number < 0 { Place::Closed(number.saturating_neg()) } else { Place::Open(number) }
}
