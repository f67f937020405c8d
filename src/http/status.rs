//! `/status` for everyone, if the settings say so, and `/admin/status/events`: all that the status page shows at a glance, as
//! it changes.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Extension, State},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit},
    time::Instant,
};
use utoipa::ToSchema;

use super::{
    Api,
    alerts::{self, Incident},
    batches::Batch,
    dashboard::{self, Dashboard},
    error::{Problem, ProblemBody},
    health,
    limits::Limited,
    server::MAX_CONNECTIONS,
    system::{self, SystemStatus},
};
use crate::{
    clock::rfc3339,
    domain::{access::Actor, mint::MintStatus},
    store::BatchFilter,
};

/// Open batches that are shown, the newest.
const BATCHES: usize = 20;
/// Open incidents that are shown, the newest.
const ALERTS: usize = 20;
/// Least time between two looks, however many clients there are.
const PACE: Duration = Duration::from_millis(500);
/// Most time between two events: endpoints and wallet change without a commit.
const AT_LEAST_EVERY: Duration = Duration::from_secs(5);
/// How soon a client that lost its connection should come back.
const RETRY: Duration = Duration::from_secs(2);

/// Streams that are open at once: each takes a connection, and half of those stay free for what mints.
pub(super) const MAX_STREAMS: usize = MAX_CONNECTIONS / 2;
/// When a client that found no place should come back.
const STREAM_PAUSE: Duration = Duration::from_secs(10);

/// The last look, which all clients share: when, at which version of the books, and what was seen, as JSON.
pub(super) type LastLook = Mutex<Option<(Instant, u64, Bytes)>>;

/// All that is shown at a glance.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Glance {
    dashboard: Dashboard,
    system: SystemStatus,
    /// Batches that are under way, without their tickets: the newest twenty.
    batches: Vec<Batch>,
    /// Incidents that are open, without their messages: the newest twenty.
    alerts: Vec<Incident>,
    #[schema(format = DateTime)]
    time: String,
}

/// An event of the stream.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes what `follow` sends")]
pub(super) struct StatusEvent {
    /// `status`.
    event: String,
    /// Milliseconds after which a client that lost its connection should come back.
    retry: u32,
    /// JSON.
    data: Glance,
}

/// The box at a glance, as server-sent events.
///
/// `status`: at once, whenever something changes, and at least every five seconds. The stream ends when the box stops or the
/// client's key is revoked.
#[utoipa::path(get, path = "/status/events", operation_id = "followStatus", tag = "system",
    responses((status = 200, body = StatusEvent, content_type = "text/event-stream", description = "A stream of these.")))]
pub(super) async fn follow(State(api): State<Api>, Extension(actor): Extension<Actor>) -> Result<Response, Problem> {
    let place = stream_place(&api)?;
    // A proxy that collects the stream before it passes it on would make it useless.
    let unbuffered = [("x-accel-buffering", "no")];
    let glances = glances(api, actor).map(move |glance| {
        // Held as long as the stream.
        let _place = &place;
        glance
    });
    Ok((unbuffered, Sse::new(glances).keep_alive(KeepAlive::default())).into_response())
}

/// A place among the streams that are open at once.
pub(super) fn stream_place(api: &Api) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(&api.streams).try_acquire_owned().map_err(|_full| {
        let limited = Limited { retry_after: STREAM_PAUSE };
        Problem::too_many_requests(&format!("{MAX_STREAMS} streams are open; close some status pages"), limited)
    })
}

fn glances(api: Api, actor: Actor) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((api, actor, None), async |(api, actor, seen)| {
        let seen = next(&api, &actor, seen).await?;
        // JSON has no line breaks, and is UTF-8.
        let text = std::str::from_utf8(&seen.2).ok()?.to_owned();
        Some((Ok(Event::default().event("status").retry(RETRY).data(text)), (api, actor, Some(seen))))
    })
}

/// Waits until there is something new to see. None if the client is not let in any more, or the box stops.
async fn next(api: &Api, actor: &Actor, seen: Option<(Instant, u64, Bytes)>) -> Option<(Instant, u64, Bytes)> {
    if let Some((at, version, _)) = seen {
        let changed = async {
            tokio::time::sleep_until(at + PACE).await;
            while api.app.store.version() == version && at.elapsed() < AT_LEAST_EVERY {
                tokio::time::sleep(PACE).await;
            }
        };
        api.stop.run_until_cancelled(changed).await?;
    }
    if !api.app.access.is_still_in(actor).await.ok()? {
        return None;
    }
    shared_look(api).await.ok()
}

/// Looks, unless somebody else has just done so.
async fn shared_look(api: &Api) -> Result<(Instant, u64, Bytes), Problem> {
    let mut last = api.last_look.lock().await;
    if let Some(look) = last.as_ref().filter(|(at, ..)| at.elapsed() < PACE) {
        return Ok(look.clone());
    }
    // Before the look: what is written during it is seen by the next one.
    let (at, version) = (Instant::now(), api.app.store.version());
    let json = serde_json::to_vec(&look(api).await?).unwrap_or_default();
    let look = (at, version, Bytes::from(json));
    *last = Some(look.clone());
    Ok(look)
}

async fn look(api: &Api) -> Result<Glance, Problem> {
    let open = BatchFilter { open: true, ..BatchFilter::default() };
    let batches = async { Ok::<_, Problem>(api.app.store.batches(open, BATCHES).await?) };
    let (dashboard, batches, alerts) = tokio::try_join!(dashboard::look(api), batches, alerts::open(api, ALERTS))?;
    Ok(Glance {
        dashboard,
        system: system::look(api).await,
        batches: batches.into_iter().map(|record| Batch::new(api, record)).collect(),
        alerts,
        time: rfc3339(api.app.clock.now_ms()),
    })
}

/// What everyone may know of the box.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PublicStatus {
    /// `ok`, `degraded` (tickets wait) or `unavailable`.
    status: &'static str,
    network: &'static str,
    /// Tickets that the chain holds.
    minted: u64,
    /// Tickets that are not settled yet.
    pending: u64,
    failed: u64,
    /// Tickets settled per second of late.
    mints_per_second: f64,
    /// Seconds until everything that waits is settled.
    eta_seconds: f64,
    #[schema(format = DateTime)]
    time: String,
}

/// The box in a few numbers, for everyone, if `PUBLIC_STATUS` is true.
#[utoipa::path(get, path = "/status", operation_id = "getStatus", tag = "public",
    responses((status = 200, body = PublicStatus),
        (status = 404, body = ProblemBody, content_type = "application/problem+json",
            description = "This box keeps its numbers to itself.")))]
pub(super) async fn public(State(api): State<Api>) -> Result<Json<PublicStatus>, Problem> {
    let app = &api.app;
    if !app.config.public_status {
        return Err(Problem::not_found("this box shows nothing without a key; PUBLIC_STATUS=true changes that"));
    }
    let counts = app.store.counts(None).await?;
    let pending = counts.of(MintStatus::Pending).saturating_add(counts.of(MintStatus::Minting));
    Ok(Json(PublicStatus {
        status: health::word(&api).await,
        network: app.config.network.as_str(),
        minted: counts.of(MintStatus::Minted),
        pending,
        failed: counts.of(MintStatus::Failed),
        mints_per_second: app.minter.rate().unwrap_or_default(),
        eta_seconds: app.minter.eta_seconds(pending),
        time: rfc3339(app.clock.now_ms()),
    }))
}
