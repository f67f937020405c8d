//! Tells somebody when it matters: once when it begins, once a day while it lasts, and once when it is over.
//!
//! ```text
//! watch, jobs ──► raise / resolve ──► books (incident and message in one commit) ──► deliver ──► webhook
//! ```
//!
//! Whoever finds something wrong calls [`Alerts::raise`], again and again if need be, and [`Alerts::resolve`] when all is well;
//! neither waits for the receiver. The messages in the books are the queue: what is on its way survives a restart, arrives in
//! order for each incident, and may arrive twice, with the same id. Without a webhook incidents are still logged and listed.
//! Without the books, say when the disk is full, they are still told, from memory (see `unrecorded`).

mod deliver;
mod message;
mod unrecorded;
mod watch;

use std::sync::Arc;

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use message::{Origin, test_message};
pub use watch::{Watch, WatchRules};

use unrecorded::Unrecorded;

use crate::{
    clock::SharedClock,
    domain::alert::{Alert, Notice, RetrySchedule},
    store::{BatchRecord, Compose, Store, StoreError},
    webhook::Webhook,
};

/// The alerts of a box. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Alerts {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    webhook: Option<Webhook>,
    clock: SharedClock,
    schedule: RetrySchedule,
    origin: Origin,
    /// Rung when a message was queued.
    work: Notify,
    /// What the books could not take.
    unrecorded: Unrecorded,
    open: IntGaugeVec,
    deliveries: IntCounterVec,
    waiting: IntGauge,
}

impl Alerts {
    /// Alerts that are told to `webhook`, if there is one; nothing is delivered before [`Alerts::run`].
    ///
    /// # Errors
    /// When its instruments are registered already.
    pub fn new(
        store: Store,
        webhook: Option<Webhook>,
        clock: SharedClock,
        schedule: RetrySchedule,
        origin: Origin,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let open = Opts::new("boxoffice_alerts_open", "Incidents that are open, by severity.");
        let open = IntGaugeVec::new(open, &["severity"])?;
        let deliveries = "Attempts to deliver a message to the webhook, by outcome.";
        let deliveries = Opts::new("boxoffice_webhook_deliveries_total", deliveries);
        let deliveries = IntCounterVec::new(deliveries, &["outcome"])?;
        for outcome in deliver::OUTCOMES {
            drop(deliveries.with_label_values(&[outcome]));
        }
        let waiting = "Messages to the webhook that were refused or did not arrive, and are tried again.";
        let waiting = IntGauge::new("boxoffice_webhook_messages_waiting", waiting)?;
        registry.register(Box::new(waiting.clone()))?;
        registry.register(Box::new(open.clone()))?;
        registry.register(Box::new(deliveries.clone()))?;
        let (work, unrecorded) = (Notify::new(), Unrecorded::default());
        let shared = Shared { store, webhook, clock, schedule, origin, work, unrecorded, open, deliveries, waiting };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Takes a report that something is wrong. One that is known already is only counted; somebody is told when it is new, when
    /// it became better or worse, and otherwise at most once a day. Never waits for the receiver.
    pub async fn raise(&self, alert: Alert) {
        let shared = &self.shared;
        let now_ms = shared.clock.now_ms();
        match shared.store.raise(alert.clone(), now_ms, shared.compose(now_ms)).await {
            Ok((incident, notice)) => {
                shared.unrecorded.take(&incident.key);
                if let Some(notice) = notice {
                    let (key, severity) = (&incident.key, incident.severity.as_str());
                    tracing::warn!(%key, severity, notice = notice.as_str(), "{}", incident.summary);
                    shared.told().await;
                }
            }
            Err(StoreError::Closed) => {}
            Err(error) => {
                if let Some((incident, notice)) = shared.unrecorded.raise(alert, now_ms) {
                    tracing::error!(%error, key = %incident.key, "not in the books: {}", incident.summary);
                    let message = message::about(&incident, notice, &shared.origin, now_ms);
                    shared.unrecorded.queue(message);
                    shared.work.notify_one();
                }
            }
        }
    }

    /// Says that all is well with what has this key (see [`crate::domain::alert::alert_key`]). If there was an incident it is
    /// over, and the all-clear is given.
    pub async fn resolve(&self, key: &str) {
        let shared = &self.shared;
        let now_ms = shared.clock.now_ms();
        if let Some(alert) = shared.unrecorded.take(key) {
            // Somebody was told of it, so the all-clear is due; the books can take it now, or it stays where it is.
            if let Err(error) = shared.store.raise(alert.clone(), now_ms, None).await {
                tracing::debug!(%error, key, "an all-clear has to wait for the books");
                shared.unrecorded.keep(alert, now_ms);
                return;
            }
        }
        match shared.store.resolve(key, now_ms, shared.compose(now_ms)).await {
            Ok(Some(incident)) => {
                tracing::info!(key, notice = Notice::Closed.as_str(), "over: {}", incident.summary);
                shared.told().await;
            }
            Ok(None) | Err(StoreError::Closed) => {}
            Err(error) => tracing::error!(%error, key, "an all-clear is not in the books"),
        }
    }

    /// Tells that a batch is finished. The same batch is told of once.
    ///
    /// # Errors
    /// When the books cannot be written.
    pub async fn batch_finished(&self, batch: &BatchRecord) -> Result<(), StoreError> {
        let shared = &self.shared;
        if shared.webhook.is_some() {
            let message = message::batch_finished(batch, &shared.origin);
            shared.store.enqueue_message(message, shared.clock.now_ms()).await?;
            shared.work.notify_one();
        }
        Ok(())
    }

    /// Delivers messages until the shutdown, beginning with those that an earlier process left.
    pub async fn run(self, shutdown: CancellationToken) {
        self.shared.count_open().await;
        if let Some(webhook) = self.shared.webhook.clone() {
            // An attempt that is cut off is made again by the next start, with the same id.
            shutdown.run_until_cancelled(deliver::run(&self.shared, &webhook)).await;
        }
    }
}

impl Shared {
    /// How to write a message; none when there is nobody to tell.
    fn compose(&self, now_ms: i64) -> Option<Compose> {
        self.webhook.as_ref()?;
        let origin = self.origin.clone();
        Some(Box::new(move |incident, notice| message::about(incident, notice, &origin, now_ms)))
    }

    async fn told(&self) {
        self.work.notify_one();
        self.count_open().await;
    }

    async fn count_open(&self) {
        // A gauge that cannot be read stays what it was.
        for (severity, count) in self.store.open_alerts().await.unwrap_or_default() {
            self.open.with_label_values(&[severity.as_str()]).set(count);
        }
    }
}
