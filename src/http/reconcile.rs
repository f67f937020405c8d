//! `/admin/reconcile/{venueId}`: books and chain compared, repaired, and the history of both.

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    error::{Outcome, Problem, ProblemBody},
    pages::PageRequest,
    writes::IdempotencyHeader,
};
use crate::{
    clock::rfc3339,
    reconcile::{Repair, Summary},
    store::Report,
};

/// Most tickets that are named in one repair.
const MAX_TICKETS: usize = 10_000;

/// Compares every ticket of a venue with the chain, and writes a report.
///
/// `notFound` needs proof; whatever the chain does not say makes a ticket `pending`, with the reason. Nothing is repaired.
#[utoipa::path(post, path = "/reconcile/{venueId}", operation_id = "reconcileVenue", tag = "reconciliation",
    params(("venueId" = String, Path, example = "venue-123"), IdempotencyHeader),
    responses((status = 200, body = Summary),
        (status = 404, body = ProblemBody, content_type = "application/problem+json",
            description = "No ticket of this venue was ever accepted.")))]
pub(super) async fn reconcile(State(api): State<Api>, Path(venue_id): Path<String>) -> Result<Response, Problem> {
    let summary = api.app.reconciler.reconcile(&venue_id).await?;
    let outcome = Outcome(format!(
        "{} tickets of {venue_id} compared: {} differences",
        summary.total_checked, summary.discrepancy_count
    ));
    Ok((Extension(outcome), Json(summary)).into_response())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FixParameters {
    /// Only says what would be done.
    #[serde(default)]
    #[param(default = false)]
    dry_run: bool,
}

/// Which tickets to repair.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Fix {
    /// Their ids; all tickets of the venue when it is left out.
    #[schema(max_items = 10_000)]
    ticket_ids: Option<Vec<String>>,
}

/// Repairs differences between books and chain.
///
/// Every ticket is compared anew. What landed is adopted, wrong rows are corrected from the chain, what provably does not
/// exist is queued to be minted, and the rest is refused with its reason. Repeated, it finds nothing to do.
#[utoipa::path(post, path = "/reconcile/{venueId}/fix", operation_id = "fixVenue", tag = "reconciliation",
    params(("venueId" = String, Path, example = "venue-123"), FixParameters, IdempotencyHeader),
    request_body(content = Fix, example = json!({})),
    responses((status = 200, body = Repair),
        (status = 404, body = ProblemBody, content_type = "application/problem+json",
            description = "No ticket of this venue was ever accepted.")))]
pub(super) async fn fix(
    State(api): State<Api>,
    Path(venue_id): Path<String>,
    Query(parameters): Query<FixParameters>,
    body: Bytes,
) -> Result<Response, Problem> {
    let fix: Fix = if body.is_empty() {
        Fix::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| {
            if error.is_data() {
                Problem::one_invalid("", error.to_string())
            } else {
                Problem::bad_request("malformed_json", format!("the body is not JSON: {error}"))
            }
        })?
    };
    if fix.ticket_ids.as_ref().is_some_and(|ids| ids.len() > MAX_TICKETS) {
        return Err(Problem::one_invalid("/ticketIds", format!("has more than {MAX_TICKETS} entries")));
    }
    let repair = api.app.reconciler.repair(&venue_id, fix.ticket_ids, parameters.dry_run).await?;
    let outcome = Outcome(format!(
        "{}{venue_id}: {} adopted, {} corrected, {} queued, {} refused",
        if repair.dry_run { "dry run for " } else { "" },
        repair.adopted,
        repair.corrected,
        repair.queued,
        repair.refused.len()
    ));
    Ok((Extension(outcome), Json(repair)).into_response())
}

/// How a history is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Csv,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryParameters {
    /// `json` (the default), or `csv` for spreadsheets, one line for each report.
    #[serde(default)]
    #[param(inline)]
    format: Format,
    /// `true` adds the differences of each report (JSON only).
    #[serde(default)]
    #[param(default = false)]
    details: bool,
    /// Reports on the page.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<String>,
    /// `nextCursor` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]$")]
    cursor: Option<String>,
}

/// A page of reports.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReportPage {
    reports: Vec<ReportEntry>,
    /// Where the next page begins; null on the last.
    next_cursor: Option<String>,
}

/// A report.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReportEntry {
    report_id: i64,
    venue_id: String,
    #[schema(format = DateTime)]
    report_date: String,
    total_checked: u64,
    confirmed: u64,
    not_found: u64,
    pending: u64,
    errors: u64,
    /// Tickets with a difference.
    discrepancy_count: u64,
    /// Their share of the tickets compared, in percent.
    discrepancy_rate: f64,
    /// The whole report, if it was asked for.
    report: Option<Summary>,
}

/// Reports of a venue, newest first.
#[utoipa::path(get, path = "/reconcile/{venueId}/history", operation_id = "listReports", tag = "reconciliation",
    params(("venueId" = String, Path, example = "venue-123"), HistoryParameters),
    responses((status = 200, description = "A page of reports.",
        content((ReportPage = "application/json"), (String = "text/csv")),
        headers(("link", description = "The next page, as rel=next")))))]
pub(super) async fn history(
    State(api): State<Api>,
    Path(venue_id): Path<String>,
    Query(parameters): Query<HistoryParameters>,
) -> Result<Response, Problem> {
    let HistoryParameters { format, details, limit, cursor } = parameters;
    let page = PageRequest::checked(limit.as_deref(), cursor.as_deref())?;
    let mut reports = api.app.store.reports(venue_id.clone(), page.before_id, page.rows()).await?;
    let next_cursor = page.cut(&mut reports, |report| report.id);
    if format == Format::Csv {
        return Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], csv(&reports)).into_response());
    }
    let reports = reports.into_iter().map(|report| entry(report, details)).collect();
    let (path, filters) = (["admin", "reconcile", &venue_id, "history"], [("details", details.then_some("true"))]);
    Ok(page.answer(next_cursor, &path, &filters, |next_cursor| ReportPage { reports, next_cursor }))
}

fn entry(report: Report, details: bool) -> ReportEntry {
    let data = report.report_data.filter(|_| details);
    ReportEntry {
        report_id: report.id,
        venue_id: report.venue_id,
        report_date: rfc3339(report.report_date_ms),
        total_checked: report.total_checked,
        confirmed: report.confirmed,
        not_found: report.not_found,
        pending: report.pending,
        errors: report.errors,
        discrepancy_count: report.discrepancy_count,
        discrepancy_rate: report.discrepancy_rate,
        report: data.and_then(|data| serde_json::from_str(&data).ok()),
    }
}

fn csv(reports: &[Report]) -> Vec<u8> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    let head = [
        "id",
        "venue_id",
        "report_date",
        "total_checked",
        "confirmed",
        "not_found",
        "pending",
        "errors",
        "discrepancy_count",
        "discrepancy_rate",
    ];
    // Writing to memory cannot fail.
    drop(lines.write_record(head));
    for report in reports {
        drop(lines.write_record([
            report.id.to_string(),
            harmless(&report.venue_id),
            rfc3339(report.report_date_ms),
            report.total_checked.to_string(),
            report.confirmed.to_string(),
            report.not_found.to_string(),
            report.pending.to_string(),
            report.errors.to_string(),
            report.discrepancy_count.to_string(),
            report.discrepancy_rate.to_string(),
        ]));
    }
    lines.into_inner().unwrap_or_default()
}

/// Spreadsheets take a cell that begins like this for a formula.
fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text.to_owned() }
}
