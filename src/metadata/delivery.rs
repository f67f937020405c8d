//! Getting files to a remote: in parcels, with patience, and never twice because an answer was lost.
//!
//! What may have arrived is asked for before it is sent again. Faults that pass are tried again within seconds. A file that is
//! refused for what it is (`refusals`) is put aside for a while, and the others of its parcel go on without it; all other
//! faults make the remote be left alone for a while. The caller is told. It records nothing.

mod refusals;

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, sleep_until},
};

use refusals::Refusals;

use super::{
    Content, ContentId,
    remote::{Remote, RemoteError},
};

/// Attempts for one parcel before the caller is told.
const ATTEMPTS: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// A remote that wants to be left alone is waited for this long; the caller is told of more.
const PATIENCE: Duration = Duration::from_secs(5);
/// A remote that limits the rate without saying for how long.
const RATE_WAIT: Duration = Duration::from_secs(2);
/// How long a remote is left alone that refuses.
const LEAVE_ALONE: Duration = Duration::from_secs(10);
/// Bytes of the files in all requests under way, unless a single file has more: bounds memory.
const MOST_BYTES_AT_ONCE: usize = 32 << 20;
/// Times that a parcel is cut in two to find the files that are refused; what is left then waits for the next time.
const MOST_CUTS: u32 = 64;
/// A remote that refuses so many files in parcels of which it takes nothing, one after the other, is not sent more for now.
const MOST_REFUSED: usize = 16;
/// The longest that a remote may ask to be left alone.
const LONGEST: Duration = Duration::from_mins(15);

/// A file to deliver.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) content: Content,
    /// An earlier attempt may have arrived: it is asked for first.
    pub(super) may_be_there: bool,
}

/// What became of a parcel.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// Those that the remote confirmed: file, bytes, and whether they were sent now or found there.
    pub(super) confirmed: Vec<(ContentId, u64, bool)>,
    /// Uploads that it took.
    pub(super) requests: u64,
    /// Why the others are not.
    pub(super) fault: Option<RemoteError>,
    /// Files that it was sent and refused.
    refused: usize,
}

impl Delivered {
    /// Of two faults the one that concerns more.
    fn note(&mut self, fault: RemoteError) {
        self.fault = Some(graver(self.fault.take(), fault));
    }
}

/// Of two faults the one that concerns more.
pub(super) fn graver(earlier: Option<RemoteError>, later: RemoteError) -> RemoteError {
    match earlier {
        Some(earlier) if later.is_of_files() || !earlier.is_of_files() => earlier,
        Some(_) | None => later,
    }
}

/// What is known of a remote's health.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// It answered when it was last asked; none if it never was.
    pub reachable: Option<bool>,
    /// What went wrong when it was last asked.
    pub error: Option<String>,
}

#[derive(Default)]
struct State {
    health: Health,
    /// It is left alone until then, and why.
    paused: Option<(Instant, String)>,
    refusals: Refusals,
}

/// The way to one remote.
pub(super) struct Delivery {
    pub(super) remote: Arc<dyn Remote>,
    state: Mutex<State>,
    /// Requests under way, whoever began them.
    requests: Semaphore,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Delivery").field(&self.remote).finish()
    }
}

impl Delivery {
    pub(super) fn new(remote: Arc<dyn Remote>) -> Self {
        let requests = Semaphore::new(remote.parcel().at_once);
        Self { remote, state: Mutex::default(), requests }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn health(&self) -> Health {
        self.state().health.clone()
    }

    /// Sends files, parcel by parcel; each parcel's outcome comes as soon as it is known. After a fault that is not a single
    /// file's no parcel is begun.
    pub(super) fn send(&self, items: Vec<Item>) -> impl Stream<Item = Delivered> + '_ {
        let (stopped, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let parcel = self.remote.parcel();
        let parcels = stream::iter(pack(items, parcel.files, parcel.bytes)).map(move |items| {
            let (stopped, refused) = (Arc::clone(&stopped), Arc::clone(&refused));
            async move {
                // It is never closed. Each request holds its files a few times over, so large ones go fewer at once.
                let _turn = self.requests.acquire_many(weight(&items, parcel.at_once)).await;
                if stopped.load(Ordering::Relaxed) {
                    return Delivered::default();
                }
                let delivered = self.send_parcel(items).await;
                if !delivered.confirmed.is_empty() {
                    refused.store(0, Ordering::Relaxed);
                }
                let refused = refused.fetch_add(delivered.refused, Ordering::Relaxed).saturating_add(delivered.refused);
                let is_remotes = delivered.fault.as_ref().is_some_and(|fault| !fault.is_of_files());
                stopped.fetch_or(is_remotes || refused >= MOST_REFUSED, Ordering::Relaxed);
                delivered
            }
        });
        parcels.buffer_unordered(parcel.at_once)
    }

    /// Sends a parcel; where something in it is refused, the parts of it, until it is known which files it is.
    async fn send_parcel(&self, items: Vec<Item>) -> Delivered {
        let mut delivered = Delivered::default();
        let mut fresh = Vec::new();
        for item in items {
            let known = self.state().refusals.of(item.content.id);
            match known {
                Some(fault) => delivered.note(fault),
                None => fresh.push(item),
            }
        }
        let (mut parts, mut cuts) = (vec![fresh], 0_u32);
        while let Some(mut part) = parts.pop() {
            let Err(fault) = self.send_part(&mut part, &mut delivered).await else { continue };
            if !fault.is_of_files() {
                delivered.note(fault);
                break;
            }
            if part.len() > 1 {
                cuts = cuts.saturating_add(1);
                if cuts > MOST_CUTS {
                    delivered.note(fault);
                    break;
                }
                let second = part.split_off(part.len().div_ceil(2));
                parts.extend([second, part]);
                continue;
            }
            for item in part {
                delivered.refused = delivered.refused.saturating_add(1);
                delivered.note(self.state().refusals.note(item.content.id, &fault));
            }
        }
        delivered
    }

    /// Sends a part of a parcel until all of it is confirmed or a fault does not pass; what is not confirmed is left.
    async fn send_part(&self, left: &mut Vec<Item>, delivered: &mut Delivered) -> Result<(), RemoteError> {
        for attempt in 1.. {
            if left.is_empty() {
                break;
            }
            let Err(fault) = self.attempt(left, delivered).await else { break };
            if fault.may_have_arrived() {
                doubt(left, true);
            }
            if attempt >= ATTEMPTS || !fault.is_passing() {
                return Err(fault);
            }
            if !matches!(fault, RemoteError::RateLimited { .. }) {
                sleep(FIRST_WAIT.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)))).await;
            }
        }
        Ok(())
    }

    /// Asks for what may be there, and sends the rest.
    async fn attempt(&self, left: &mut Vec<Item>, delivered: &mut Delivered) -> Result<(), RemoteError> {
        let doubtful: Vec<ContentId> =
            left.iter().filter(|item| item.may_be_there).map(|item| item.content.id).collect();
        if !doubtful.is_empty() {
            let held = self.asked(self.remote.held(&doubtful)).await?;
            take(left, &held, false, delivered);
            // It said that they are not there.
            doubt(left, false);
        }
        if left.is_empty() {
            return Ok(());
        }
        let files: Vec<Content> = left.iter().map(|item| item.content.clone()).collect();
        let confirmed = self.asked(self.remote.upload(&files)).await?;
        delivered.requests = delivered.requests.saturating_add(1);
        take(left, &confirmed.into_iter().collect(), true, delivered);
        if left.is_empty() {
            return Ok(());
        }
        let (host, message) = (self.remote.host().to_owned(), "its answer does not name them".to_owned());
        Err(RemoteError::Unconfirmed { host, missing: left.len(), asked: files.len(), message })
    }

    /// Asks the remote something, unless it is left alone just now, and remembers how that went.
    pub(super) async fn asked<T>(
        &self,
        question: impl Future<Output = Result<T, RemoteError>>,
    ) -> Result<T, RemoteError> {
        let paused = self.state().paused.clone();
        if let Some((until, reason)) = paused {
            let wait = until.saturating_duration_since(Instant::now());
            if wait > PATIENCE {
                return Err(RemoteError::Paused { reason, seconds: wait.as_secs() });
            }
            sleep_until(until).await;
        }
        let answer = question.await;
        let mut state = self.state();
        match &answer {
            Ok(_) => {
                state.health = Health { reachable: Some(true), error: None };
                // Another request may have been told to wait meanwhile.
                state.paused = state.paused.take().filter(|(until, _)| *until > Instant::now());
            }
            Err(error) => {
                let reachable = !matches!(error, RemoteError::Unreachable { .. } | RemoteError::Setup(_));
                state.health = Health { reachable: Some(reachable), error: Some(error.to_string()) };
                if let Some(pause) = pause_after(error) {
                    let until = Instant::now() + pause;
                    let later = state.paused.as_ref().is_none_or(|(paused, _)| until > *paused);
                    if later {
                        state.paused = Some((until, error.to_string()));
                    }
                }
            }
        }
        drop(state);
        answer
    }
}

/// How long a remote is left alone after a fault.
fn pause_after(error: &RemoteError) -> Option<Duration> {
    match error {
        RemoteError::RateLimited { retry_after, .. } => {
            Some(retry_after.unwrap_or(RATE_WAIT).clamp(FIRST_WAIT, LONGEST))
        }
        RemoteError::Refused { .. } if !error.is_of_files() => Some(LEAVE_ALONE),
        RemoteError::Refused { .. }
        | RemoteError::WrongAddress { .. }
        | RemoteError::File { .. }
        | RemoteError::Setup(_)
        | RemoteError::Unreachable { .. }
        | RemoteError::Unwell { .. }
        | RemoteError::Garbled { .. }
        | RemoteError::Unconfirmed { .. }
        | RemoteError::Paused { .. } => None,
    }
}

/// How many of the requests that a remote takes at once a parcel stands for.
fn weight(items: &[Item], at_once: usize) -> u32 {
    let bytes = items.iter().fold(0_usize, |bytes, item| bytes.saturating_add(item.content.bytes.len()));
    let share = MOST_BYTES_AT_ONCE.checked_div(at_once).unwrap_or_default();
    let weight = bytes.checked_div(share).unwrap_or_default().saturating_add(1).min(at_once.max(1));
    u32::try_from(weight).unwrap_or(u32::MAX)
}

/// Moves what was confirmed from what is left to what is delivered.
fn take(left: &mut Vec<Item>, confirmed: &HashSet<ContentId>, sent: bool, delivered: &mut Delivered) {
    left.retain(|item| {
        let done = confirmed.contains(&item.content.id);
        if done {
            delivered.confirmed.push((item.content.id, item.content.bytes.len() as u64, sent));
        }
        !done
    });
}

fn doubt(left: &mut [Item], may_be_there: bool) {
    for item in left {
        item.may_be_there = may_be_there;
    }
}

/// Puts files into parcels of so many files and bytes; a larger file travels alone. Those that may be there travel together, so
/// that one question serves many.
fn pack(mut items: Vec<Item>, most_files: usize, most_bytes: usize) -> Vec<Vec<Item>> {
    items.sort_by_key(|item| item.may_be_there);
    let mut parcels: Vec<Vec<Item>> = Vec::new();
    let mut bytes = 0_usize;
    for item in items {
        let size = item.content.bytes.len();
        match parcels.last_mut() {
            Some(parcel) if parcel.len() < most_files && bytes.saturating_add(size) <= most_bytes => {
                bytes = bytes.saturating_add(size);
                parcel.push(item);
            }
            Some(_) | None => {
                bytes = size;
                parcels.push(vec![item]);
            }
        }
    }
    parcels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_files_go_fewer_at_once() {
        let weight =
            |size, at_once| weight(&[Item { content: Content::new("x", vec![0; size]), may_be_there: false }], at_once);
        assert_eq!([weight(500, 32), weight(8 << 20, 32), weight(100 << 20, 32)], [1, 9, 32]);
        assert_eq!([weight(8 << 20, 2), weight(40 << 20, 2)], [1, 2]);
    }

    #[test]
    fn parcels_are_neither_too_many_files_nor_too_many_bytes() {
        let item = |size: usize| Item { content: Content::new("x", vec![0; size]), may_be_there: false };
        let sizes = |files, bytes| {
            let parcels = pack([1, 2, 3, 100, 1, 1].map(item).to_vec(), files, bytes);
            parcels.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(10, 1_000), [6]);
        assert_eq!(sizes(2, 1_000), [2, 2, 2]);
        assert_eq!(sizes(10, 6), [3, 1, 2]);
    }
}
