//! Incidents, and the messages about them: the rows are the queue.

use rusqlite::{Connection, OptionalExtension as _, Row, params, types::Type};
use serde_json::Value;

use super::{Store, StoreError};
use crate::domain::alert::{Alert, AlertKind, Notice, Severity};

/// How long the record of a delivery is kept, in milliseconds: ninety days.
const KEEP_DELIVERIES_MS: i64 = 90 * 24 * 60 * 60 * 1_000;
/// Old records that are removed at once; each new message makes room for itself and more.
const FORGET_AT_ONCE: usize = 100;

/// An incident.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRecord {
    /// The row.
    pub id: i64,
    /// What makes two reports the same incident.
    pub key: String,
    /// What is wrong.
    pub kind: AlertKind,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub subject: Option<String>,
    /// For a person.
    pub summary: String,
    /// For programs.
    pub data: Value,
    /// When it was first seen, Unix milliseconds.
    pub opened_at_ms: i64,
    /// When it was last seen.
    pub last_seen_at_ms: i64,
    /// Reports so far.
    pub seen: u64,
    /// When it was over; none while it is open.
    pub closed_at_ms: Option<i64>,
}

impl AlertRecord {
    /// Its place in the list of all incidents.
    #[must_use]
    pub fn place(&self) -> Place {
        if self.closed_at_ms.is_none() { Place::Open(self.id) } else { Place::Closed(self.id) }
    }
}

/// A place in the list of incidents: the open ones come first, each part has the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Among the open ones.
    Open(i64),
    /// Among those that are over.
    Closed(i64),
}

/// Which incidents to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlertFilter {
    /// Only open ones, or only those that are over.
    pub open: Option<bool>,
    /// Behind this place.
    pub after: Option<Place>,
}

/// A message for the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// Header `webhook-id`. A message whose id is known is not written twice.
    pub message_id: String,
    /// Such as `alert.opened`.
    pub event_type: &'static str,
    /// Messages of one lane arrive in order.
    pub lane: String,
    /// JSON.
    pub payload: String,
}

/// A message that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedDelivery {
    /// The row.
    pub id: i64,
    /// Header `webhook-id`.
    pub message_id: String,
    /// JSON.
    pub payload: String,
    /// Attempts so far.
    pub attempts: u32,
}

/// How an attempt ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// HTTP status of the answer; none when there was none.
    pub status: Option<u16>,
    /// What went wrong; none when it was delivered.
    pub error: Option<String>,
    /// When to try again; none when it was delivered or is given up.
    pub next_attempt_at_ms: Option<i64>,
}

/// The record of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// Header `webhook-id`.
    pub message_id: String,
    /// Such as `alert.opened`.
    pub event_type: String,
    /// When it was written, Unix milliseconds.
    pub created_at_ms: i64,
    /// Attempts so far.
    pub attempts: u32,
    /// When it is tried next; none when it was delivered or given up.
    pub next_attempt_at_ms: Option<i64>,
    /// HTTP status of the last answer.
    pub last_status: Option<u16>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it was delivered.
    pub delivered_at_ms: Option<i64>,
    /// When it was given up.
    pub given_up_at_ms: Option<i64>,
}

/// Writes the message about an incident.
pub(crate) type Compose = Box<dyn FnOnce(&AlertRecord, Notice) -> NewDelivery + Send>;

impl Store {
    /// Takes a report: opens an incident, or counts it on the one that is open already. If somebody is to be told, `compose`
    /// writes the message, in the same commit; without one nobody can be told. Returns the incident, and why somebody is told.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub(crate) async fn raise(
        &self,
        alert: Alert,
        now_ms: i64,
        compose: Option<Compose>,
    ) -> Result<(AlertRecord, Option<Notice>), StoreError> {
        self.write(move |connection| {
            let open = open_alert(connection, &alert.key)?;
            let known = open.as_ref().map(|(record, told_at_ms)| (record.severity, *told_at_ms));
            let notice = Notice::of_report(known, alert.severity, now_ms);
            let id = match open {
                Some((record, told_at_ms)) => {
                    let told_at_ms = notice.map_or(told_at_ms, |_notice| now_ms);
                    count(connection, record.id, &alert, now_ms, told_at_ms)?
                }
                None => open_new(connection, &alert, now_ms)?,
            };
            let record = by_id(connection, id)?;
            if let (Some(notice), Some(compose)) = (notice, compose) {
                enqueue(connection, &compose(&record, notice), Some(id), now_ms)?;
            }
            Ok((record, notice))
        })
        .await
    }

    /// Closes the open incident with a key, and writes the all-clear in the same commit. None when there is none.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub(crate) async fn resolve(
        &self,
        key: &str,
        now_ms: i64,
        compose: Option<Compose>,
    ) -> Result<Option<AlertRecord>, StoreError> {
        let key = key.to_owned();
        let of_key = key.clone();
        // Those who watch say again and again that all is well; only the first time is worth a commit.
        if self.read(move |connection| open_alert(connection, &of_key)).await?.is_none() {
            return Ok(None);
        }
        self.write(move |connection| {
            let Some((record, _)) = open_alert(connection, &key)? else { return Ok(None) };
            connection
                .prepare_cached("UPDATE alerts SET closed_at = ?1, told_at = ?1 WHERE id = ?2")?
                .execute(params![now_ms, record.id])?;
            let record = by_id(connection, record.id)?;
            if let Some(compose) = compose {
                enqueue(connection, &compose(&record, Notice::Closed), Some(record.id), now_ms)?;
            }
            Ok(Some(record))
        })
        .await
    }

    /// Queues a message that is about no incident.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn enqueue_message(&self, message: NewDelivery, now_ms: i64) -> Result<(), StoreError> {
        self.write(move |connection| enqueue(connection, &message, None, now_ms)).await
    }

    /// Incidents: the open ones first, then those that are over; each part has the newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn alerts(&self, filter: AlertFilter, limit: usize) -> Result<Vec<AlertRecord>, StoreError> {
        self.read(move |connection| {
            let mut found = Vec::new();
            let (open_before, closed_before) = match filter.after {
                None => (i64::MAX, i64::MAX),
                Some(Place::Open(id)) => (id, i64::MAX),
                Some(Place::Closed(id)) => (0, id),
            };
            for (open, state, before) in
                [(true, "closed_at IS NULL", open_before), (false, "closed_at IS NOT NULL", closed_before)]
            {
                if filter.open.is_none_or(|wanted| wanted == open) {
                    let sql = format!("{ALERTS} WHERE {state} AND id < ? ORDER BY id DESC LIMIT ?");
                    let mut statement = connection.prepare_cached(&sql)?;
                    let rows = statement.query_map(params![before, limit.saturating_sub(found.len())], read_alert)?;
                    found.extend(rows.collect::<Result<Vec<_>, _>>()?);
                }
            }
            Ok(found)
        })
        .await
    }

    /// Open incidents by severity.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn open_alerts(&self) -> Result<Vec<(Severity, i64)>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT count(*) FROM alerts WHERE closed_at IS NULL AND severity = ?";
            let mut statement = connection.prepare_cached(sql)?;
            let count =
                |severity: Severity| Ok((severity, statement.query_row([severity.as_str()], |row| row.get(0))?));
            Severity::ALL.into_iter().map(count).collect()
        })
        .await
    }

    /// The messages about some incidents, the oldest first, each with the incident's row.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn deliveries(&self, alert_ids: Vec<i64>) -> Result<Vec<(i64, DeliveryRecord)>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT message_id, event_type, created_at, attempts, next_attempt_at, last_status, last_error, delivered_at,
                        given_up_at
                 FROM webhook_deliveries WHERE alert_id = ? ORDER BY id",
            )?;
            let mut found = Vec::new();
            for alert_id in alert_ids {
                let rows = statement.query_map([alert_id], |row| Ok((alert_id, read_delivery(row)?)))?;
                found.extend(rows.collect::<Result<Vec<_>, _>>()?);
            }
            Ok(found)
        })
        .await
    }

    /// Messages that are due. Of each lane only the oldest that waits: an all-clear must not overtake its alarm.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn due_deliveries(&self, now_ms: i64, limit: usize) -> Result<Vec<QueuedDelivery>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, message_id, payload, attempts FROM webhook_deliveries AS d
                 WHERE next_attempt_at <= ?
                   AND NOT EXISTS (SELECT 1 FROM webhook_deliveries AS e
                                   WHERE e.lane = d.lane AND e.id < d.id AND e.next_attempt_at IS NOT NULL)
                 ORDER BY next_attempt_at, id LIMIT ?",
            )?;
            let rows = statement.query_map(params![now_ms, limit], |row| {
                Ok(QueuedDelivery {
                    id: row.get(0)?,
                    message_id: row.get(1)?,
                    payload: row.get(2)?,
                    attempts: row.get(3)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// When the next message is due, Unix milliseconds; none when nothing waits.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next_delivery_at_ms(&self) -> Result<Option<i64>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT min(next_attempt_at) FROM webhook_deliveries AS d
                 WHERE next_attempt_at IS NOT NULL
                   AND NOT EXISTS (SELECT 1 FROM webhook_deliveries AS e
                                   WHERE e.lane = d.lane AND e.id < d.id AND e.next_attempt_at IS NOT NULL)",
            )?;
            Ok(statement.query_row([], |row| row.get(0))?)
        })
        .await
    }

    /// Messages that were tried in vain so far, and are tried again.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn deliveries_tried_again(&self) -> Result<i64, StoreError> {
        self.read(|connection| {
            let sql = "SELECT count(*) FROM webhook_deliveries WHERE next_attempt_at IS NOT NULL AND attempts > 0";
            Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
        })
        .await
    }

    /// Notes how an attempt ended.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn delivery_attempted(&self, id: i64, attempt: Attempt) -> Result<(), StoreError> {
        self.write(move |connection| {
            let delivered_at = attempt.error.is_none().then_some(attempt.at_ms);
            let is_last = attempt.error.is_some() && attempt.next_attempt_at_ms.is_none();
            connection
                .prepare_cached(
                    "UPDATE webhook_deliveries
                     SET attempts = attempts + 1, last_attempt_at = ?, last_status = ?, last_error = ?,
                         next_attempt_at = ?, delivered_at = ?, given_up_at = ?
                     WHERE id = ?",
                )?
                .execute(params![
                    attempt.at_ms,
                    attempt.status,
                    attempt.error,
                    attempt.next_attempt_at_ms,
                    delivered_at,
                    is_last.then_some(attempt.at_ms),
                    id
                ])?;
            Ok(())
        })
        .await
    }
}

const ALERTS: &str = "SELECT id, key, kind, severity, subject, summary, data, opened_at, last_seen_at, seen, closed_at
     FROM alerts";

fn read_alert(row: &Row<'_>) -> rusqlite::Result<AlertRecord> {
    let unknown = |column: usize, text: &str| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, format!("unknown {text:?}").into())
    };
    let (kind, severity, data): (String, String, String) = (row.get(2)?, row.get(3)?, row.get(6)?);
    Ok(AlertRecord {
        id: row.get(0)?,
        key: row.get(1)?,
        kind: AlertKind::parse(&kind).ok_or_else(|| unknown(2, &kind))?,
        severity: Severity::parse(&severity).ok_or_else(|| unknown(3, &severity))?,
        subject: row.get(4)?,
        summary: row.get(5)?,
        data: serde_json::from_str(&data).unwrap_or_default(),
        opened_at_ms: row.get(7)?,
        last_seen_at_ms: row.get(8)?,
        seen: row.get(9)?,
        closed_at_ms: row.get(10)?,
    })
}

fn read_delivery(row: &Row<'_>) -> rusqlite::Result<DeliveryRecord> {
    Ok(DeliveryRecord {
        message_id: row.get(0)?,
        event_type: row.get(1)?,
        created_at_ms: row.get(2)?,
        attempts: row.get(3)?,
        next_attempt_at_ms: row.get(4)?,
        last_status: row.get(5)?,
        last_error: row.get(6)?,
        delivered_at_ms: row.get(7)?,
        given_up_at_ms: row.get(8)?,
    })
}

fn by_id(connection: &Connection, id: i64) -> Result<AlertRecord, StoreError> {
    Ok(connection.prepare_cached(&format!("{ALERTS} WHERE id = ?"))?.query_row([id], read_alert)?)
}

/// The open incident with a key, and when somebody was last told of it.
fn open_alert(connection: &Connection, key: &str) -> Result<Option<(AlertRecord, i64)>, StoreError> {
    let told: Option<(i64, i64)> = connection
        .prepare_cached("SELECT id, told_at FROM alerts WHERE key = ? AND closed_at IS NULL")?
        .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    told.map(|(id, told_at_ms)| Ok((by_id(connection, id)?, told_at_ms))).transpose()
}

fn open_new(connection: &Connection, alert: &Alert, now_ms: i64) -> Result<i64, StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO alerts (key, kind, severity, subject, summary, data, opened_at, last_seen_at, told_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?7)",
        )?
        .execute(params![
            alert.key,
            alert.kind.as_str(),
            alert.severity.as_str(),
            alert.subject,
            alert.summary,
            alert.data.to_string(),
            now_ms
        ])?;
    Ok(connection.last_insert_rowid())
}

/// Counts a report on an open incident, which from now on is as this report has it.
fn count(connection: &Connection, id: i64, alert: &Alert, now_ms: i64, told_at_ms: i64) -> Result<i64, StoreError> {
    connection
        .prepare_cached(
            "UPDATE alerts SET severity = ?, summary = ?, data = ?, last_seen_at = ?, seen = seen + 1, told_at = ?
             WHERE id = ?",
        )?
        .execute(params![alert.severity.as_str(), alert.summary, alert.data.to_string(), now_ms, told_at_ms, id])?;
    Ok(id)
}

/// Forgets at most `limit` records of messages that are too old; returns how many.
pub(super) fn forget_deliveries(connection: &Connection, now_ms: i64, limit: usize) -> Result<usize, StoreError> {
    let forgotten = connection
        .prepare_cached(
            "DELETE FROM webhook_deliveries WHERE id IN (
                 SELECT id FROM webhook_deliveries WHERE created_at < ? AND next_attempt_at IS NULL LIMIT ?)",
        )?
        .execute(params![now_ms.saturating_sub(KEEP_DELIVERIES_MS), limit])?;
    Ok(forgotten)
}

/// Forgets at most `limit` incidents that were over before a time and of which no message is left; returns how many.
pub(super) fn forget_closed(connection: &Connection, before_ms: i64, limit: usize) -> Result<usize, StoreError> {
    let forgotten = connection
        .prepare_cached(
            "DELETE FROM alerts WHERE id IN (
                 SELECT id FROM alerts AS a WHERE closed_at < ?
                     AND NOT EXISTS (SELECT 1 FROM webhook_deliveries WHERE alert_id = a.id) LIMIT ?)",
        )?
        .execute(params![before_ms, limit])?;
    Ok(forgotten)
}

fn enqueue(
    connection: &Connection,
    message: &NewDelivery,
    alert_id: Option<i64>,
    now_ms: i64,
) -> Result<(), StoreError> {
    forget_deliveries(connection, now_ms, FORGET_AT_ONCE)?;
    connection
        .prepare_cached(
            "INSERT INTO webhook_deliveries (message_id, event_type, lane, alert_id, payload, created_at, next_attempt_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) ON CONFLICT (message_id) DO NOTHING",
        )?
        .execute(params![
            message.message_id,
            message.event_type,
            message.lane,
            alert_id,
            message.payload,
            now_ms
        ])?;
    Ok(())
}
