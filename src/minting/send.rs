//! Handing recorded transactions to the network, in waves.
//!
//! Nothing is decided here: a send that worked proves nothing, and one that failed proves nothing either. Waves do not wait
//! for confirmations, and not for each other's answers.

use std::{collections::VecDeque, sync::Arc};

use fail::fail_point;
use tokio::{
    sync::mpsc::{self, error::TryRecvError},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use tokio_util::sync::CancellationToken;

use super::{Backoff, Part, Shared, StepError, flight::Flight};
use crate::chain::ChainError;

/// Sends under way at once; more only queue up at the endpoint.
const MAX_PARALLEL: usize = 64;

type Sent = (Arc<Flight>, Result<(), ChainError>);

/// Sends until the shutdown.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut new: mpsc::Receiver<Arc<Flight>>,
    mut again: mpsc::UnboundedReceiver<Arc<Flight>>,
    shutdown: CancellationToken,
) {
    let pacing = shared.settings.pacing;
    let mut waiting = VecDeque::new();
    let mut sends: JoinSet<Sent> = JoinSet::new();
    let mut backoff = Backoff::default();
    let mut next_wave = Instant::now();
    let mut paused_until = next_wave;
    // The confirmer ends last: without it the engine stops, and what is not sent is parked on disk.
    while !again.is_closed() {
        take_waiting(&mut waiting, &mut new, &mut again, pacing.wave_size);
        if waiting.is_empty() && sends.is_empty() {
            shared.free(Part::Send);
            tokio::select! {
                biased;
                Some(flight) = new.recv() => waiting.push_back(flight),
                Some(flight) = again.recv() => waiting.push_back(flight),
                () = shutdown.cancelled() => return,
                else => return,
            }
            continue;
        }
        // A shutdown parks what has not left the box.
        if shutdown.is_cancelled() && sends.is_empty() {
            return;
        }
        let may_send = !waiting.is_empty() && sends.len() < MAX_PARALLEL && !shutdown.is_cancelled();
        tokio::select! {
            // In this order, so that a simulated day can be played again: answers free places, and waves keep their time.
            biased;
            Some(sent) = sends.join_next(), if !sends.is_empty() => {
                let Ok((flight, answer)) = sent else { continue };
                if let Some(pause) = note(&shared, &flight, answer, &mut backoff, paused_until) {
                    waiting.push_front(flight);
                    paused_until = paused_until.max(pause);
                    next_wave = next_wave.max(paused_until);
                }
            }
            () = sleep_until(next_wave), if may_send => {
                let room = MAX_PARALLEL.saturating_sub(sends.len()).min(pacing.wave_size);
                for flight in waiting.drain(..room.min(waiting.len())).filter(|flight| !flight.is_settled()) {
                    fail_point!("send.before");
                    sends.spawn(send(Arc::clone(&shared), flight));
                }
                fail_point!("send.after_wave");
                next_wave = Instant::now() + pacing.wave_gap;
            }
            Some(flight) = new.recv(), if waiting.is_empty() => waiting.push_back(flight),
            () = shutdown.cancelled(), if !shutdown.is_cancelled() => {}
        }
    }
}

/// Fills up to the next wave: new transactions first, then those that are sent again.
fn take_waiting(
    waiting: &mut VecDeque<Arc<Flight>>,
    new: &mut mpsc::Receiver<Arc<Flight>>,
    again: &mut mpsc::UnboundedReceiver<Arc<Flight>>,
    wave_size: usize,
) {
    while waiting.len() < wave_size {
        match new.try_recv() {
            Ok(flight) => waiting.push_back(flight),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => match again.try_recv() {
                Ok(flight) => waiting.push_back(flight),
                Err(_) => return,
            },
        }
    }
}

async fn send(shared: Arc<Shared>, flight: Arc<Flight>) -> Sent {
    let answer = shared.chain.send(&flight.bytes).await;
    (flight, answer)
}

/// Notes the answer; returns until when to pause if the transaction did not get out and must be sent again.
fn note(
    shared: &Shared,
    flight: &Flight,
    answer: Result<(), ChainError>,
    backoff: &mut Backoff,
    paused_until: Instant,
) -> Option<Instant> {
    let Err(error) = answer else {
        backoff.reset();
        shared.free(Part::Send);
        flight.note_sent(None);
        return None;
    };
    // Even a send that failed may have reached the chain: from now on its fate is looked for.
    flight.note_sent(Some(error.to_string()));
    let now = Instant::now();
    // Of a wave that fails together, only the first failure makes the pause longer.
    let mut pause = || if now < paused_until { paused_until } else { now + backoff.next() };
    match &error {
        ChainError::RateLimited { retry_after, .. } => Some(pause().max(now + retry_after.unwrap_or_default())),
        ChainError::Unreachable { .. } | ChainError::Http { .. } | ChainError::OtherChain { .. } => {
            shared.hold(Part::Send, &StepError::Chain(error));
            Some(pause())
        }
        // The node took the request and refused: sending on at once would be answered the same. The confirmer sends it
        // again while it can land, or proves that it never will.
        ChainError::Refused { .. } | ChainError::Malformed { .. } | ChainError::WrongCount { .. } => {
            tracing::debug!(signature = %flight.signature, %error, "a node refused a transaction");
            None
        }
    }
}
