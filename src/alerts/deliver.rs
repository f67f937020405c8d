//! Takes messages out of the books to the receiver, and writes down how it went.

use std::time::Duration;

use futures_util::future::join_all;

use super::Shared;
use crate::{
    domain::alert::RetrySchedule,
    store::{Attempt, QueuedDelivery, StoreError},
    webhook::{Answer, Webhook, WebhookError},
};

/// Delivered; failed and tried again; failed for the last time.
pub(super) const OUTCOMES: [&str; 3] = [DELIVERED, FAILED, GIVEN_UP];
const DELIVERED: &str = "delivered";
const FAILED: &str = "failed";
const GIVEN_UP: &str = "given_up";
/// Messages under way at once.
const PARALLEL: usize = 4;
/// The books are looked at this often even when nobody rings: the machine may have slept, or its clock been set.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// A receiver that asks for patience holds up all messages, but no longer than this; the one that it refused waits as long as
/// it was asked to.
const LONGEST_HOLD: Duration = Duration::from_hours(1);

/// Delivers for ever.
pub(super) async fn run(shared: &Shared, webhook: &Webhook) {
    // Unix milliseconds until when the receiver wants no messages.
    let mut held_until_ms = 0;
    loop {
        deliver_unrecorded(shared, webhook).await;
        let wait = match deliver_due(shared, webhook, &mut held_until_ms).await {
            Ok(wait) => wait,
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::error!(%error, "the queue of the webhook cannot be read or written");
                LOOK_EVERY
            }
        };
        // A gauge that cannot be read stays what it was.
        if let Ok(waiting) = shared.store.deliveries_tried_again().await {
            shared.waiting.set(waiting);
        }
        // Whoever rings or not, the next look is soon.
        drop(tokio::time::timeout(wait, shared.work.notified()).await);
    }
}

/// Makes one attempt at each message that the books could not take.
async fn deliver_unrecorded(shared: &Shared, webhook: &Webhook) {
    for message in shared.unrecorded.messages() {
        let answer = webhook.send(&message.message_id, &message.payload, shared.clock.now_ms()).await;
        let delivered = answer.as_ref().is_ok_and(Answer::is_success);
        shared.deliveries.with_label_values(&[if delivered { DELIVERED } else { FAILED }]).inc();
        if !delivered {
            tracing::warn!(id = %message.message_id, receiver = %webhook.host(), "a message was not delivered; it is tried again");
            shared.unrecorded.queue(message);
        }
    }
}

/// Delivers everything that is due; returns how long to wait for what comes next.
async fn deliver_due(shared: &Shared, webhook: &Webhook, held_until_ms: &mut i64) -> Result<Duration, StoreError> {
    loop {
        let now_ms = shared.clock.now_ms();
        if *held_until_ms > now_ms {
            return Ok(between(now_ms, *held_until_ms));
        }
        let due = shared.store.due_deliveries(now_ms, PARALLEL).await?;
        if due.is_empty() {
            let next = shared.store.next_delivery_at_ms().await?;
            return Ok(next.map_or(LOOK_EVERY, |next_ms| between(now_ms, next_ms)));
        }
        for hold in join_all(due.iter().map(|message| deliver(shared, webhook, message))).await {
            *held_until_ms = (*held_until_ms).max(hold?);
        }
    }
}

/// Makes one attempt, and writes down how it went. Returns until when the receiver wants no messages, in Unix milliseconds.
async fn deliver(shared: &Shared, webhook: &Webhook, message: &QueuedDelivery) -> Result<i64, StoreError> {
    let answer = webhook.send(&message.message_id, &message.payload, shared.clock.now_ms()).await;
    let now_ms = shared.clock.now_ms();
    let attempts = message.attempts.saturating_add(1);
    let retry_after = answer.as_ref().ok().and_then(|answer| answer.retry_after);
    let attempt = Attempt { at_ms: now_ms, ..attempt(shared, &answer, attempts, now_ms) };
    let outcome = match (&attempt.error, attempt.next_attempt_at_ms) {
        (None, _) => DELIVERED,
        (Some(_), Some(_)) => FAILED,
        (Some(_), None) => GIVEN_UP,
    };
    shared.deliveries.with_label_values(&[outcome]).inc();
    let (id, receiver) = (&message.message_id, webhook.host());
    match &attempt.error {
        None => tracing::debug!(%id, %receiver, "a message is delivered"),
        Some(error) if outcome == GIVEN_UP => {
            tracing::error!(%id, %receiver, attempts, %error, "a message was not delivered and is given up");
        }
        Some(error) => {
            tracing::warn!(%id, %receiver, attempts, %error, "a message was not delivered; it is tried again");
        }
    }
    shared.store.delivery_attempted(message.id, attempt).await?;
    let hold = retry_after.filter(|_| outcome != DELIVERED).map(|pause| pause.min(LONGEST_HOLD));
    Ok(hold.map_or(0, |hold| after(now_ms, hold)))
}

fn attempt(shared: &Shared, answer: &Result<Answer, WebhookError>, attempts: u32, now_ms: i64) -> Attempt {
    let retry = |schedule: &RetrySchedule, retry_after| {
        // Without random bytes there is no jitter, which is no reason not to try again.
        let wait = schedule.wait(attempts, retry_after, getrandom::u32().unwrap_or_default());
        wait.map(|wait| after(now_ms, wait))
    };
    match answer {
        Ok(answer) if answer.is_success() => Attempt { status: Some(answer.status), ..Attempt::default() },
        Ok(answer) => Attempt {
            status: Some(answer.status),
            error: Some(format!("it answered {}", answer.status)),
            // Who is no longer interested is not asked again about this message, but about the next: somebody may have erred.
            next_attempt_at_ms: if answer.is_gone() { None } else { retry(&shared.schedule, answer.retry_after) },
            ..Attempt::default()
        },
        Err(error) => Attempt {
            error: Some(error.to_string()),
            next_attempt_at_ms: retry(&shared.schedule, None),
            ..Attempt::default()
        },
    }
}

fn after(now_ms: i64, wait: Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

/// From now until then, but not longer than until the next look.
fn between(now_ms: i64, then_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(then_ms.saturating_sub(now_ms)).unwrap_or_default()).min(LOOK_EVERY)
}
