//! Incidents that the books cannot take, of all things because their disk is full: kept in memory, and told from there.
//!
//! They are lost when the process ends; while it lasts, the same rules hold as in the books. A message is tried again whenever
//! the queue is looked at, until it is taken.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    domain::alert::{Alert, Notice},
    store::{AlertRecord, NewDelivery},
};

/// Messages that are kept at most; bounds memory.
const MOST: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Unrecorded {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Each with the time when somebody was last told, Unix milliseconds.
    alerts: HashMap<String, (Alert, i64)>,
    messages: Vec<NewDelivery>,
}

impl Unrecorded {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a report; returns what to tell, if it is worth telling.
    pub(super) fn raise(&self, alert: Alert, now_ms: i64) -> Option<(AlertRecord, Notice)> {
        let mut inner = self.inner();
        let known = inner.alerts.get(&alert.key).map(|(known, told_at_ms)| (known.severity, *told_at_ms));
        let notice = Notice::of_report(known, alert.severity, now_ms)?;
        inner.alerts.insert(alert.key.clone(), (alert.clone(), now_ms));
        drop(inner);
        let record = AlertRecord {
            // No row has it.
            id: 0,
            key: alert.key,
            kind: alert.kind,
            severity: alert.severity,
            subject: alert.subject,
            summary: alert.summary,
            data: alert.data,
            opened_at_ms: now_ms,
            last_seen_at_ms: now_ms,
            seen: 1,
            closed_at_ms: None,
        };
        Some((record, notice))
    }

    /// Puts back what was taken.
    pub(super) fn keep(&self, alert: Alert, told_at_ms: i64) {
        self.inner().alerts.insert(alert.key.clone(), (alert, told_at_ms));
    }

    /// What is kept under a key, which is kept no longer.
    pub(super) fn take(&self, key: &str) -> Option<Alert> {
        self.inner().alerts.remove(key).map(|(alert, _)| alert)
    }

    /// Keeps a message until it is taken.
    pub(super) fn queue(&self, message: NewDelivery) {
        let mut inner = self.inner();
        if inner.messages.len() < MOST {
            inner.messages.push(message);
        }
    }

    /// All messages that wait; those that are not delivered are queued again.
    pub(super) fn messages(&self) -> Vec<NewDelivery> {
        std::mem::take(&mut self.inner().messages)
    }
}
