//! Handing recorded transactions to the network, at the pace that [`super::pacing`] sets.
//!
//! Nothing is decided here: a send that worked proves nothing, and one that failed proves nothing either. Sends do not wait
//! for confirmations, and not for each other's answers.

use std::{collections::VecDeque, sync::Arc};

use fail::fail_point;
use tokio::{
    sync::mpsc::{self, error::TryRecvError},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use tokio_util::sync::CancellationToken;

use super::{
    Part, Shared, StepError,
    flight::Flight,
    pacing::{Pacer, Then},
    valve::Valve,
};
use crate::chain::{ChainError, NextStep};

struct Sent {
    flight: Arc<Flight>,
    began: Instant,
    answer: Result<(), ChainError>,
}

/// Sends until the shutdown.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut new: mpsc::Receiver<Arc<Flight>>,
    mut again: mpsc::UnboundedReceiver<Arc<Flight>>,
    mut valve: Valve,
    shutdown: CancellationToken,
) {
    let mut waiting = VecDeque::new();
    let mut sends: JoinSet<Sent> = JoinSet::new();
    let mut pacer = Pacer::new(shared.settings.pacing, Instant::now());
    // The confirmer ends last: without it the engine stops, and what is not sent is parked on disk.
    while !again.is_closed() {
        shared.rate.set(&pacer);
        valve.open(shared.queue_size());
        take_waiting(&mut waiting, &mut new, &mut again, pacer.at_hand());
        // Those that waited to be sent again may be settled by now.
        waiting.retain(|flight: &Arc<Flight>| !flight.is_settled());
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
        let strain = shared.chain.strain();
        pacer.heed(strain, Instant::now());
        // What an endpoint has to work off is tickets, however they ride.
        let parallel = pacer.parallel().div_ceil(shared.together(shared.packing.layout()));
        let may_send = !waiting.is_empty() && sends.len() < parallel && !shutdown.is_cancelled();
        tokio::select! {
            // In this order, so that a simulated day can be played again: answers free places, and waves keep their time.
            biased;
            Some(sent) = sends.join_next(), if !sends.is_empty() => {
                let Ok(sent) = sent else { continue };
                let more = !waiting.is_empty() && sends.len() < parallel && keeps_up(&shared, pacer.rate());
                let flight = Arc::clone(&sent.flight);
                if note(&shared, sent, more, &mut pacer) == Then::SendAgain {
                    waiting.push_front(flight);
                }
            }
            () = sleep_until(pacer.next()), if may_send => {
                let room = parallel.saturating_sub(sends.len()).min(waiting.len());
                let tickets = waiting.iter().take(room).map(|flight| flight.tickets.len());
                let taken = pacer.take(tickets, Instant::now());
                // While the wave waited for its time, some may have been found on the chain, or dead.
                for flight in waiting.drain(..taken).filter(|flight| !flight.is_settled()) {
                    fail_point!("send.before");
                    sends.spawn(send(Arc::clone(&shared), flight));
                }
                fail_point!("send.after_wave");
            }
            Some(flight) = new.recv(), if waiting.is_empty() => waiting.push_back(flight),
            () = shutdown.cancelled(), if !shutdown.is_cancelled() => {}
        }
    }
}

/// Whether the chain takes what the endpoints take. Transactions that are sent more quickly than they land grow old on the way,
/// so that a rate is not raised above twice what was settled of late, or above twice the first one while nothing was.
fn keeps_up(shared: &Shared, rate: f64) -> bool {
    let together = f64::from(u16::try_from(shared.together(shared.packing.layout())).unwrap_or(1));
    let first = shared.settings.pacing.initial_rate();
    rate < 2.0 * shared.meter.speed().map_or(first, |settled| settled / together)
}

/// Fills up to what is sent next: new transactions first, then those that are sent again.
fn take_waiting(
    waiting: &mut VecDeque<Arc<Flight>>,
    new: &mut mpsc::Receiver<Arc<Flight>>,
    again: &mut mpsc::UnboundedReceiver<Arc<Flight>>,
    at_hand: usize,
) {
    while waiting.len() < at_hand {
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
    let began = Instant::now();
    let answer = shared.chain.send(&flight.bytes).await;
    Sent { flight, began, answer }
}

/// Notes the answer, and says what to do with a transaction that did not get out. `more` of them wait.
fn note(shared: &Shared, Sent { flight, began, answer }: Sent, more: bool, pacer: &mut Pacer) -> Then {
    let now = Instant::now();
    let Err(error) = answer else {
        pacer.taken(more, now);
        shared.free(Part::Send);
        flight.note_sent(None);
        return Then::Wait;
    };
    // Even a send that failed may have reached the chain: from now on its fate is looked for.
    flight.note_sent(Some(error.to_string()));
    match &error {
        ChainError::RateLimited { retry_after, .. } => {
            pacer.limited(began, *retry_after, now);
            Then::SendAgain
        }
        ChainError::Unreachable { .. } | ChainError::Http { .. } | ChainError::OtherChain { .. } => {
            let then = if error.is_overload() { pacer.timed_out(began, now) } else { pacer.failed(now) };
            if pacer.is_outage() {
                shared.hold(Part::Send, &StepError::Chain(error));
            }
            then
        }
        // The node took the request and refused: sending on at once would be answered the same. The confirmer sends it
        // again while it can land, or proves that it never will.
        ChainError::Refused { .. } | ChainError::Malformed { .. } | ChainError::WrongCount { .. } => {
            tracing::debug!(signature = %flight.signature, %error, "a node refused a transaction");
            if flight.is_pack() && error.next_step() == NextStep::GiveUp {
                shared.packing.failed(true, flight.known);
            }
            Then::Wait
        }
    }
}
