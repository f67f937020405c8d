//! What became of each transaction: one poll for all of them, one commit for all that were read back together.
//!
//! What landed is read back while the next poll is under way ([`landed`]); what is silent is looked into ([`silent`]).

mod landed;
mod silent;

use std::{collections::BTreeMap, panic, sync::Arc, time::Duration};

use fail::fail_point;
use solana_signature::Signature;
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Part, Shared, StepError,
    flight::{Flight, Reading, Tracked},
    lookup::Subject,
};
use crate::{
    chain::Landed,
    domain::mint::AttemptState,
    forecast::Ended,
    store::{OpenTicket, Settlement, Verdict},
};
use landed::settle_landed;
use silent::look_into;

/// Slots without news after which the same bytes are sent again.
const RESEND_SLOTS: u32 = 5;
/// Slots after which a transaction is followed even if it was not sent yet. Blockhashes live for 150: when an endpoint takes
/// less than was signed for, those at the end of the queue die in it, and must make room for new ones.
const UNSENT_SLOTS: u32 = 120;
/// Polls without news after which a transaction counts as unknown, and its end is looked into.
const UNKNOWN_AFTER: u32 = 5;
/// Polls between two looks at the end of the chain.
const TIP_EVERY: u32 = 5;
/// Polls without news in which the next block may still bring some.
const LAST_BLOCKS: u32 = 3;
/// Questions about what landed that are under way at once.
const READ_BACKS: usize = 4;
/// Transactions of somebody who waits at the door.
const FEW: usize = 3;
/// How long a shutdown waits for what is under way; the rest is parked, and the next start goes on with it.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

struct Confirmer {
    shared: Arc<Shared>,
    /// In an order that does not change from run to run, so that a simulated day can be played again.
    tracked: BTreeMap<Signature, Tracked>,
    to_resend: mpsc::UnboundedSender<Arc<Flight>>,
    /// Those whose tickets are being read back.
    landed: JoinSet<ReadBack>,
    /// How far attempts have come since the last commit.
    progress: Vec<(i64, AttemptState)>,
    polls_until_tip: u32,
}

/// What came of reading back what landed.
struct ReadBack {
    asked: Vec<Signature>,
    answer: Result<Vec<(Signature, Settlement)>, StepError>,
}

/// Follows transactions until the shutdown, beginning with those that an earlier process left open.
pub(super) async fn run(
    shared: Arc<Shared>,
    left_open: Vec<Tracked>,
    mut new: mpsc::UnboundedReceiver<Tracked>,
    to_resend: mpsc::UnboundedSender<Arc<Flight>>,
    shutdown: CancellationToken,
) {
    let tracked = left_open.into_iter().map(|tracked| (tracked.flight.signature, tracked)).collect();
    let mut confirmer =
        Confirmer { shared, tracked, to_resend, landed: JoinSet::new(), progress: Vec::new(), polls_until_tip: 0 };
    for tracked in confirmer.tracked.values() {
        confirmer.resend(tracked);
    }
    let (mut deadline, mut next_poll) = (None, Instant::now());
    loop {
        let wake = deadline.map_or(next_poll, |deadline| next_poll.min(deadline));
        tokio::select! {
            biased;
            Some(tracked) = new.recv() => {
                confirmer.follow(tracked);
                next_poll = next_poll.min(Instant::now() + confirmer.pause());
            }
            Some(read_back) = confirmer.landed.join_next(), if !confirmer.landed.is_empty() => {
                confirmer.settle(read_back).await;
            }
            () = sleep_until(wake), if !confirmer.tracked.is_empty() => {
                next_poll = Instant::now() + confirmer.pause();
                confirmer.poll().await;
            }
            () = shutdown.cancelled(), if deadline.is_none() => deadline = Some(Instant::now() + SHUTDOWN_GRACE),
            else => return,
        }
        // What never left the box needs no waiting for: the next start sends it.
        let nothing_sent = || confirmer.tracked.values().all(|tracked| tracked.flight.first_sent().is_none());
        if deadline.is_some_and(|deadline| Instant::now() >= deadline || nothing_sent()) {
            return;
        }
    }
}

impl Confirmer {
    /// Time to the next poll: a block; more while a plan's calls are worth more for sending, unless somebody waits at the door;
    /// and half of it once nothing but the last blocks is waited for.
    fn pause(&self) -> Duration {
        let slot = self.shared.settings.pacing.slot;
        if self.waits_to_send() {
            return if self.tracked.len() > FEW { self.shared.pause() } else { slot };
        }
        let are_fresh = || self.tracked.values().any(|tracked| tracked.missed < LAST_BLOCKS);
        if !self.shared.counts_calls() && are_fresh() { slot.div_f64(2.0) } else { slot }
    }

    /// Whether anything waits for its turn to be sent, or to be signed behind what is under way.
    fn waits_to_send(&self) -> bool {
        self.shared.forecaster.has_backlog()
            || self.tracked.values().any(|tracked| tracked.flight.first_sent().is_none())
    }

    fn follow(&mut self, tracked: Tracked) {
        if self.tracked.is_empty() {
            self.shared.meter.begins();
        }
        self.tracked.insert(tracked.flight.signature, tracked);
    }

    async fn poll(&mut self) {
        match self.step().await {
            Ok(()) => self.shared.free(Part::Confirm),
            // Nothing was settled: the next poll asks again.
            Err(error) => self.shared.hold(Part::Confirm, &error),
        }
    }

    /// One look at everything under way whose end is not known.
    async fn step(&mut self) -> Result<(), StepError> {
        let patience = self.shared.settings.pacing.slot.saturating_mul(UNSENT_SLOTS);
        let open = self.tracked.values().filter(|tracked| tracked.reading != Reading::UnderWay);
        let followed = open.filter(|tracked| tracked.recovered || tracked.flight.is_followed(patience));
        let signatures: Vec<Signature> = followed.map(|tracked| tracked.flight.signature).collect();
        if signatures.is_empty() {
            return Ok(());
        }
        let statuses = self.shared.chain.statuses(&signatures, false).await?;
        let mut found = Vec::new();
        for (signature, status) in signatures.iter().zip(statuses.value) {
            let Some(tracked) = self.tracked.get_mut(signature) else { continue };
            if let Some(landed) = status {
                if landed.is_settled() {
                    if tracked.reading != Reading::NotThere {
                        tracked.missed = 0;
                    }
                    found.push((Arc::clone(&tracked.flight), landed));
                } else {
                    tracked.missed = 0;
                }
            } else {
                tracked.missed = tracked.missed.saturating_add(1);
                let state = match tracked.missed {
                    1 => Some(AttemptState::Sent),
                    UNKNOWN_AFTER => Some(AttemptState::Unknown),
                    _ => None,
                };
                self.progress.extend(state.map(|state| (tracked.flight.attempt_id, state)));
            }
        }
        self.resend_silent();
        self.read_back(found);
        let suspects = self.suspects();
        let settlements = look_into(&self.shared, suspects).await?;
        self.commit(settlements).await
    }

    /// Reads back what landed, while the next are asked about: the way there and back may be longer than a block. When answers
    /// take long, what is found meanwhile is read back together.
    fn read_back(&mut self, found: Vec<(Arc<Flight>, Landed)>) {
        if found.is_empty() || self.landed.len() >= READ_BACKS {
            return;
        }
        let asked: Vec<Signature> = found.iter().map(|(flight, _)| flight.signature).collect();
        for signature in &asked {
            if let Some(tracked) = self.tracked.get_mut(signature) {
                tracked.reading = Reading::UnderWay;
            }
        }
        let shared = Arc::clone(&self.shared);
        self.landed.spawn(async move {
            let answer = settle_landed(&shared, found).await;
            ReadBack { asked, answer }
        });
    }

    async fn settle(&mut self, read_back: Result<ReadBack, JoinError>) {
        let ReadBack { asked, answer } = match read_back {
            Ok(read_back) => read_back,
            Err(error) => match error.try_into_panic() {
                // Whoever watches over this task is to know of it.
                Ok(panic) => panic::resume_unwind(panic),
                Err(_the_end) => return,
            },
        };
        let settled = match answer {
            Ok(settlements) => self.commit(settlements).await,
            Err(error) => Err(error),
        };
        // All that is left of them is asked about again.
        for signature in &asked {
            let Some(tracked) = self.tracked.get_mut(signature) else { continue };
            tracked.reading = if settled.is_ok() { Reading::NotThere } else { Reading::NotYet };
            tracked.unreadable = settled.is_err();
            // What is said to be there, and is not, counts as not found: it is sent again.
            tracked.missed = tracked.missed.saturating_add(u32::from(settled.is_ok()));
        }
        match settled {
            Ok(()) if self.tracked.values().any(|tracked| tracked.unreadable) => {}
            Ok(()) => self.shared.free(Part::ReadBack),
            Err(error) => self.shared.hold(Part::ReadBack, &error),
        }
    }

    async fn commit(&mut self, settlements: Vec<(Signature, Settlement)>) -> Result<(), StepError> {
        if settlements.is_empty() {
            // How far attempts have come is worth a row, not an fsync of its own.
            return Ok(());
        }
        let progress = std::mem::take(&mut self.progress);
        let (settled, rows): (Vec<Signature>, Vec<Settlement>) = settlements.into_iter().unzip();
        fail_point!("settle.before");
        let again =
            rows.iter().flat_map(|row| &row.tickets).any(|ticket| matches!(ticket.verdict, Verdict::Again { .. }));
        let ended = self.ended(&settled, &rows);
        let tickets = rows.iter().flat_map(|row| &row.tickets);
        let settled_tickets = tickets.filter(|ticket| !matches!(ticket.verdict, Verdict::Again { .. })).count() as u64;
        self.shared.settle(progress, rows).await?;
        fail_point!("settle.after");
        self.shared.forecaster.ended(&ended, settled_tickets);
        for signature in &settled {
            if let Some(tracked) = self.tracked.remove(signature) {
                tracked.flight.mark_settled();
            }
        }
        if again {
            self.shared.work.notify_one();
        }
        Ok(())
    }

    /// What transactions came to, for the record.
    fn ended(&self, signatures: &[Signature], settlements: &[Settlement]) -> Vec<Ended> {
        let ended = signatures.iter().zip(settlements).filter_map(|(signature, settlement)| {
            let flight = &self.tracked.get(signature)?.flight;
            Some(Ended {
                state: settlement.attempt?.1,
                tickets: settlement.tickets.len() as u64,
                again: settlement.tickets.iter().any(|ticket| matches!(ticket.verdict, Verdict::Again { .. })),
                sent_for: flight.first_sent().map(|sent| sent.elapsed()),
                known_for: flight.known_for(),
            })
        });
        ended.collect()
    }

    /// Sends again what was not heard of for a while, and what is said to have landed and is not there.
    fn resend_silent(&self) {
        let silence = self.shared.settings.pacing.slot.saturating_mul(RESEND_SLOTS);
        let open = self.tracked.values().filter(|tracked| tracked.reading != Reading::UnderWay && tracked.missed > 0);
        open.filter(|tracked| tracked.flight.last_sent().is_some_and(|sent| sent.elapsed() >= silence))
            .for_each(|tracked| self.resend(tracked));
    }

    /// What has been silent for so long that it may be dead, from time to time.
    fn suspects(&mut self) -> Vec<Arc<Flight>> {
        let open = self.tracked.values().filter(|tracked| tracked.reading != Reading::UnderWay);
        let silent = open.filter(|tracked| tracked.missed >= UNKNOWN_AFTER);
        let suspects: Vec<_> = silent.map(|tracked| Arc::clone(&tracked.flight)).collect();
        if suspects.is_empty() {
            return suspects;
        }
        if self.polls_until_tip > 0 {
            self.polls_until_tip = self.polls_until_tip.saturating_sub(1);
            return Vec::new();
        }
        self.polls_until_tip = TIP_EVERY;
        suspects
    }

    fn resend(&self, tracked: &Tracked) {
        tracked.flight.note_queued();
        // Only a shutdown closes the queue; the next start sends it again.
        drop(self.to_resend.send(Arc::clone(&tracked.flight)));
    }
}

/// A ticket of a transaction of ours, whoever holds it.
fn subject(ticket: &OpenTicket) -> Subject<'_> {
    let OpenTicket { mint_id, mint_address: mint, ref published, .. } = *ticket;
    Subject { mint_id, mint, owner: None, published }
}
