//! `/admin/batches/{id}/events`: a batch's progress as server-sent events.
//!
//! Every settled entry is one `ticket` event. Its id is its place in the order of settlement, which is in the books: whoever
//! comes back with `Last-Event-ID`, after a cut or after a restart of the box, goes on with the next one.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::{
    extract::{Extension, Path, State},
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{Stream, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, timeout},
};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    batches::{Batch, Settled, find},
    error::{Problem, ProblemBody},
    status::stream_place,
};
use crate::{domain::access::Actor, store::StoreError};

/// Entries read at once.
const CHUNK: usize = 500;
/// Time between two looks at most, in case settlements are not heard of.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Time after which a look asks again whether the client is let in; its key may be revoked.
const ADMIT_AGAIN: Duration = Duration::from_secs(1);
/// Least time between two looks: a hundred settlements a second need no hundred queries.
const PACE: Duration = Duration::from_millis(100);
/// How soon a client that lost its connection should come back.
const RETRY: Duration = Duration::from_secs(2);

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes what `follow` reads")]
pub(super) struct FollowHeaders {
    /// Goes on behind this event.
    #[param(rename = "last-event-id", value_type = String, pattern = "^([0-9]{1,18}(-finished)?)?$", required = false)]
    last_event_id: Option<String>,
}

/// An event of a stream.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes what `follow` sends")]
pub(super) struct SentEvent {
    /// `ticket`, `progress` or `finished`.
    event: String,
    /// For `Last-Event-ID`; `progress` has none.
    #[schema(required = false)]
    id: String,
    /// Milliseconds after which a client that lost its connection should come back.
    #[schema(required = false)]
    retry: u32,
    /// JSON.
    data: String,
}

/// A batch's progress as server-sent events.
///
/// `ticket`: a ticket was settled; the data is as in `successful` or `failed` of the batch, the id counts from 1.
/// `progress`: the batch without its tickets, after each group of them; no id.
/// `finished`: the batch without its tickets, when nothing is left to do; then the stream ends, and whoever asks again
/// with this event's id is answered 204, which tells a browser not to come back.
/// The stream also ends, without `finished`, when the box stops or the client's key is revoked.
#[utoipa::path(get, path = "/batches/{id}/events", operation_id = "followBatch", tag = "minting",
    params(("id" = String, Path), FollowHeaders),
    responses((status = 200, body = SentEvent, content_type = "text/event-stream", description = "A stream of these."),
        (status = 204, description = "The batch is finished, and the client has heard of it."),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "No such batch.")))]
pub(super) async fn follow(
    State(api): State<Api>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let batch = find(&api, id).await?;
    // What is no text is no id of ours either.
    let last = headers.get("last-event-id").map_or("", |last| last.to_str().unwrap_or("?")).trim();
    let heard = last.strip_suffix(FINISHED).unwrap_or(last);
    let heard = if heard.is_empty() { Some(0) } else { heard.parse::<u64>().ok() };
    let Some(heard) = heard else {
        return Err(Problem::one_invalid("/Last-Event-ID", "is not the id of an event of this stream"));
    };
    // Books that were restored from a backup may know less than the client has heard.
    let heard = heard.min(batch.events);
    let place = stream_place(&api)?;
    let follower = Follower {
        settlements: api.app.minter.settlements(),
        batch_id: batch.id,
        public_id: batch.public_id,
        heard,
        waiting: VecDeque::new(),
        begun: false,
        ended: false,
        actor,
        admitted: Instant::now(),
        api,
        _place: place,
    };
    if last.ends_with(FINISHED) && batch.open == 0 && follower.unheard(1).await?.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    // A proxy that collects the stream before it passes it on would make it useless.
    let unbuffered = [("x-accel-buffering", "no")];
    Ok((unbuffered, Sse::new(follower.events()).keep_alive(KeepAlive::default())).into_response())
}

/// Behind the id of the last ticket, it makes the id of `finished`.
const FINISHED: &str = "-finished";

struct Follower {
    api: Api,
    batch_id: i64,
    public_id: String,
    settlements: watch::Receiver<u64>,
    /// The last event that the client has.
    heard: u64,
    waiting: VecDeque<Event>,
    begun: bool,
    ended: bool,
    actor: Actor,
    /// When the actor was last found to be let in.
    admitted: Instant,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, async |mut follower| {
            loop {
                if let Some(event) = follower.waiting.pop_front() {
                    return Some((Ok(event), follower));
                }
                // A fault of the books ends the stream: the client comes back and goes on where it was.
                if follower.ended || follower.look().await.is_err() {
                    return None;
                }
            }
        })
    }

    async fn unheard(&self, limit: usize) -> Result<Vec<crate::store::BatchEntry>, StoreError> {
        self.api.app.store.batch_events(self.batch_id, self.heard, limit).await
    }

    /// Queues what is new, or waits until something is.
    async fn look(&mut self) -> Result<(), StoreError> {
        if self.admitted.elapsed() >= ADMIT_AGAIN {
            if !self.api.app.access.is_still_in(&self.actor).await? {
                self.ended = true;
                return Ok(());
            }
            self.admitted = Instant::now();
        }
        // Before the look: what is settled during it is seen by the next one.
        self.settlements.mark_unchanged();
        let store = &self.api.app.store;
        let (entries, batch) = (self.unheard(CHUNK).await?, store.batch(self.public_id.clone()).await?);
        let Some(record) = batch else {
            self.ended = true;
            return Ok(());
        };
        let (is_last, finished) = (entries.len() < CHUNK, record.open == 0);
        let news = !entries.is_empty();
        for entry in entries {
            self.heard = entry.event.unwrap_or(self.heard);
            if let Some(settled) = Settled::of(entry) {
                self.queue("ticket", Some(self.heard.to_string()), &settled);
            }
        }
        let summary = Batch::new(&self.api, record);
        if is_last && finished && self.unheard(1).await?.is_empty() {
            self.queue("finished", Some(format!("{}{FINISHED}", self.heard)), &summary);
            self.ended = true;
            return Ok(());
        }
        if news || !self.begun {
            self.begun = true;
            self.queue("progress", None, &summary);
            return Ok(());
        }
        let stop = self.api.stop.clone();
        let change = async {
            // Only a box that ends stops settling.
            drop(self.settlements.changed().await);
            tokio::time::sleep(PACE).await;
        };
        if stop.run_until_cancelled(timeout(LOOK_AGAIN, change)).await.is_none() {
            self.ended = true;
        }
        Ok(())
    }

    fn queue(&mut self, name: &str, id: Option<String>, data: &impl serde::Serialize) {
        let event = Event::default().event(name).retry(RETRY);
        let event = match id {
            Some(id) => event.id(id),
            None => event,
        };
        // Plain structs without maps: serialising cannot fail.
        self.waiting.extend(event.json_data(data).ok());
    }
}
