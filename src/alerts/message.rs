//! What the receiver gets to read: `type`, `timestamp` and `data`, as Standard Webhooks 1.0 recommends.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    clock::rfc3339,
    domain::alert::Notice,
    store::{AlertRecord, BatchRecord, NewDelivery},
};

/// Which box speaks: a receiver may hear of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The cluster.
    pub network: String,
    /// The wallet's address, base58.
    pub wallet: String,
}

/// A message about an incident.
pub(super) fn about(incident: &AlertRecord, notice: Notice, origin: &Origin, now_ms: i64) -> NewDelivery {
    let event_type = if notice == Notice::Closed { "alert.closed" } else { "alert.opened" };
    let data = json!({
        "id": incident.id,
        "key": incident.key,
        "kind": incident.kind,
        "severity": incident.severity,
        "subject": incident.subject,
        "summary": incident.summary,
        "notice": notice.as_str(),
        "openedAt": rfc3339(incident.opened_at_ms),
        "lastSeenAt": rfc3339(incident.last_seen_at_ms),
        "timesSeen": incident.seen,
        "closedAt": incident.closed_at_ms.map(rfc3339),
        "details": incident.data,
        "network": origin.network,
        "wallet": origin.wallet,
    });
    message(fresh_id(), event_type, Some(&incident.key), now_ms, &data)
}

/// A message about a batch that is finished. Its id is the batch's, so that it is queued once.
pub(super) fn batch_finished(batch: &BatchRecord, origin: &Origin) -> NewDelivery {
    let finished_at_ms = batch.finished_at_ms.unwrap_or(batch.created_at_ms);
    let data = json!({
        "batchId": batch.public_id,
        "venueId": batch.venue_id,
        "total": batch.total,
        "succeeded": batch.succeeded,
        "failed": batch.failed,
        "spentLamports": batch.spent,
        "createdAt": rfc3339(batch.created_at_ms),
        "finishedAt": rfc3339(finished_at_ms),
        "network": origin.network,
        "wallet": origin.wallet,
    });
    let id = format!("msg_{}_{finished_at_ms}", batch.public_id);
    message(id, "batch.finished", None, finished_at_ms, &data)
}

/// A message that only shows that messages arrive.
#[must_use]
pub fn test_message(network: &str, now_ms: i64) -> NewDelivery {
    let data = json!({
        "summary": "This is a test: messages of this box arrive, and their signature can be verified.",
        "network": network,
    });
    message(fresh_id(), "alert.test", None, now_ms, &data)
}

fn fresh_id() -> String {
    format!("msg_{}", Uuid::now_v7().simple())
}

fn message(id: String, event_type: &'static str, lane: Option<&str>, at_ms: i64, data: &Value) -> NewDelivery {
    let payload = json!({ "type": event_type, "timestamp": rfc3339(at_ms), "data": data }).to_string();
    let lane = lane.unwrap_or(&id).to_owned();
    NewDelivery { message_id: id, event_type, lane, payload }
}
