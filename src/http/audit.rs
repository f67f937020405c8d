//! `/admin/audit`: who did what, from where.

use axum::{
    extract::{Query, State},
    response::Response,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Api, error::Problem, pages::PageRequest};
use crate::{clock::rfc3339, store::AuditRecord};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditParameters {
    /// Entries on the page.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<String>,
    /// `nextCursor` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]$")]
    cursor: Option<String>,
}

/// A page of the audit trail.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuditPage {
    entries: Vec<AuditEntry>,
    /// Where the next page begins; null on the last.
    next_cursor: Option<String>,
}

/// Something that was done, or tried.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuditEntry {
    #[schema(format = DateTime)]
    at: String,
    /// Name of the key; `ADMIN_API_KEY` for the one in the settings, `local` on a box without keys.
    actor: String,
    /// Address of the client, or `command line`.
    client: String,
    /// Method and path.
    action: String,
    /// As in the answer and the log.
    request_id: String,
    /// HTTP status of the answer; null for a command, and while a request is under way, or when the process ended in it.
    status: Option<u16>,
    /// What was done, or why not; null while it is under way, or when the process ended in it.
    outcome: Option<String>,
}

impl From<AuditRecord> for AuditEntry {
    fn from(record: AuditRecord) -> Self {
        Self {
            at: rfc3339(record.at_ms),
            actor: record.actor,
            client: record.client,
            action: record.action,
            request_id: record.request_id,
            status: record.status,
            outcome: record.outcome,
        }
    }
}

/// Every request that was let in and could change something, and every command that did, newest first.
#[utoipa::path(get, path = "/audit", operation_id = "listAudit", tag = "system", params(AuditParameters),
    responses((status = 200, body = AuditPage, headers(("link", description = "The next page, as rel=next")))))]
pub(super) async fn list(
    State(api): State<Api>,
    Query(parameters): Query<AuditParameters>,
) -> Result<Response, Problem> {
    let page = PageRequest::checked(parameters.limit.as_deref(), parameters.cursor.as_deref())?;
    let mut records = api.app.store.audit_trail(page.before_id, page.rows()).await?;
    let next_cursor = page.cut(&mut records, |record| record.id);
    let entries = records.into_iter().map(AuditEntry::from).collect();
    Ok(page.answer(next_cursor, &["admin", "audit"], &[], |next_cursor| AuditPage { entries, next_cursor }))
}
