//! What became of each transaction: one poll for all of them, one commit for all that ended.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use fail::fail_point;
use solana_signature::Signature;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Part, Shared, StepError,
    flight::{Flight, Tracked},
    judge::{MAX_ATTEMPTS, Rejection, judge},
    lookup::{Subject, adopt, cost, look_at, look_up},
    remember,
};
#[cfg(feature = "failpoints")]
use crate::simulation;
use crate::{
    cache::TicketKey,
    chain::{ChainError, Landed, Tip, ticket::OnChain, transaction::payer_of},
    domain::{
        failure::{Failure, FailureCode},
        lamports::Lamports,
        mint::AttemptState,
    },
    forecast::Ended,
    store::{OpenTicket, Settlement, TicketVerdict, Verdict},
};

/// Slots without news after which the same bytes are sent again.
const RESEND_SLOTS: u32 = 5;
/// Slots after which a transaction is followed even if it was not sent yet. Blockhashes live for 150: when an endpoint takes
/// less than was signed for, those at the end of the queue die in it, and must make room for new ones.
const UNSENT_SLOTS: u32 = 120;
/// Polls without news after which a transaction counts as unknown, and its end is looked into.
const UNKNOWN_AFTER: u32 = 5;
/// Polls between two looks at the end of the chain.
const TIP_EVERY: u32 = 5;
/// Transactions of somebody who waits at the door.
const FEW: usize = 3;
/// How long a shutdown waits for what is under way; the rest is parked, and the next start goes on with it.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

struct Confirmer {
    shared: Arc<Shared>,
    /// In an order that does not change from run to run, so that a simulated day can be played again.
    tracked: BTreeMap<Signature, Tracked>,
    to_resend: mpsc::UnboundedSender<Arc<Flight>>,
    /// How far attempts have come since the last commit.
    progress: Vec<(i64, AttemptState)>,
    polls_until_tip: u32,
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
    let mut confirmer = Confirmer { shared, tracked, to_resend, progress: Vec::new(), polls_until_tip: 0 };
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
    /// Time to the next poll: a block. Of many, none waits for long behind the others, and a plan that counts every question
    /// is better used for sending them.
    fn pause(&self) -> Duration {
        if self.tracked.len() > FEW { self.shared.pause() } else { self.shared.settings.pacing.slot }
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
            // Nothing was changed: the next poll asks again.
            Err(error) => self.shared.hold(Part::Confirm, &error),
        }
    }

    /// One look at everything under way.
    async fn step(&mut self) -> Result<(), StepError> {
        let patience = self.shared.settings.pacing.slot.saturating_mul(UNSENT_SLOTS);
        let signatures: Vec<Signature> = self
            .tracked
            .values()
            .filter(|t| t.recovered || t.flight.is_followed(patience))
            .map(|t| t.flight.signature)
            .collect();
        if signatures.is_empty() {
            return Ok(());
        }
        let statuses = self.shared.chain.statuses(&signatures, false).await?;
        let mut found = Vec::new();
        for (signature, status) in signatures.iter().zip(statuses.value) {
            let Some(tracked) = self.tracked.get_mut(signature) else { continue };
            if let Some(landed) = status {
                if landed.is_settled() {
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
        let said_to_be_there: Vec<Signature> = found.iter().map(|(flight, _)| flight.signature).collect();
        let mut settlements = self.settle_landed(found).await?;
        let settled: HashSet<Signature> = settlements.iter().map(|(signature, _)| *signature).collect();
        // What could not be settled counts as not found: it is sent again, and its end is looked into.
        for signature in said_to_be_there.iter().filter(|signature| !settled.contains(signature)) {
            if let Some(tracked) = self.tracked.get_mut(signature) {
                tracked.missed = tracked.missed.saturating_add(1);
            }
        }
        let suspects = self.resend_or_suspect();
        settlements.extend(self.look_into(suspects).await?);
        self.commit(settlements).await
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

    /// Settles transactions that are on the chain for good. Their tickets are read back, which tells what they cost to the
    /// lamport, and whether a failed one exists all the same. A node that lags behind the transaction is asked again with
    /// the next poll, and so is one that says that a transaction worked whose ticket is not there: mint accounts cannot be
    /// closed, so that one of its answers is wrong.
    async fn settle_landed(
        &self,
        found: Vec<(Arc<Flight>, Landed)>,
    ) -> Result<Vec<(Signature, Settlement)>, StepError> {
        let wallet = self.shared.wallet.address();
        let subjects: Vec<_> = found.iter().flat_map(|(flight, _)| flight.mints_and_owners(wallet)).collect();
        let observed = look_at(&self.shared, &subjects).await?;
        // Two boxes with one wallet may have raced for a ticket: the other one knows which transaction won.
        let lost = found.iter().filter(|(_, landed)| landed.error.is_some());
        let lost: Vec<&OpenTicket> = lost.flat_map(|(flight, _)| &flight.tickets).collect();
        let keys: Vec<_> = lost.iter().map(|ticket| TicketKey::new(&ticket.venue_id, &ticket.ticket_id)).collect();
        let told = remember::signatures(&self.shared, &keys).await;
        let told: HashMap<i64, (Signature, u64)> =
            lost.iter().zip(told).filter_map(|(ticket, told)| Some((ticket.mint_id, told?))).collect();
        let mut on_chain = observed.value.into_iter();
        let mut settlements = Vec::new();
        for (flight, landed) in found {
            let tickets: Vec<OnChain> = on_chain.by_ref().take(flight.tickets.len()).collect();
            if observed.slot < landed.slot {
                continue;
            }
            let settlement = match &landed.error {
                None if tickets.iter().any(|ticket| matches!(ticket, OnChain::Absent { .. })) => {
                    tracing::warn!(signature = %flight.signature, "a transaction is said to have worked, and its ticket is not there");
                    continue;
                }
                None => self.minted(&flight, landed.slot, &tickets).await?,
                Some(error) => {
                    self.rejected(&flight, landed.slot, judge(error), error.to_string(), &tickets, &told).await?
                }
            };
            settlements.push((flight.signature, settlement));
        }
        Ok(settlements)
    }

    async fn minted(&self, flight: &Flight, slot: u64, on_chain: &[OnChain]) -> Result<Settlement, StepError> {
        let mut tickets = Vec::with_capacity(on_chain.len());
        if flight.is_pack() {
            self.shared.packing.worked();
        }
        for ((ticket, on_chain), fee) in flight.tickets.iter().zip(on_chain).zip(flight.fees()) {
            let cost = match on_chain {
                OnChain::Ticket(on_chain) => cost(&self.shared, on_chain, fee).await?,
                // Its owner has burned it already: minted it was, at the usual price.
                OnChain::Foreign | OnChain::Absent { .. } => {
                    self.shared.prices.without_offer().await?.without_fees() + fee
                }
            };
            let verdict = Verdict::Minted { signature: Some(flight.signature), slot: Some(slot), adopted: None };
            tickets.push(TicketVerdict { mint_id: ticket.mint_id, cost, paid: cost, verdict });
        }
        let attempt = Some((flight.attempt_id, AttemptState::Landed));
        Ok(Settlement { attempt, slot: Some(slot), error: None, never_sent: false, tickets })
    }

    /// A transaction that failed on the chain: its fee is gone. A ticket that exists all the same was minted by another
    /// transaction, and is adopted.
    async fn rejected(
        &self,
        flight: &Flight,
        slot: u64,
        rejection: Rejection,
        error: String,
        on_chain: &[OnChain],
        told: &HashMap<i64, (Signature, u64)>,
    ) -> Result<Settlement, StepError> {
        let mut tickets = Vec::with_capacity(on_chain.len());
        // A pack is split: which of its tickets is to blame shows when each is tried alone.
        let alone = !flight.is_pack();
        if !alone && matches!(rejection, Rejection::Impossible | Rejection::OutOfCompute) {
            self.shared.packing.failed(true, flight.known);
        }
        if rejection == Rejection::OutOfCompute {
            self.shared.prices.compute.forget();
        }
        let unpaid = rejection == Rejection::OutOfFunds && alone && self.payer_is_short(flight).await?;
        for ((ticket, on_chain), fee) in flight.tickets.iter().zip(on_chain).zip(flight.fees()) {
            let mut verdict = if let OnChain::Absent { prefunded } = on_chain {
                let verdict = match rejection {
                    // A stranger was quicker with a few lamports: the next transaction reckons with them.
                    Rejection::InUse if prefunded.is_some() => again_or_give_up(flight, ticket, &error),
                    Rejection::Impossible | Rejection::InUse if alone => Verdict::Failed(Failure::new(
                        FailureCode::RejectedByChain,
                        format!("the chain refused the ticket's transaction {}: {error}", flight.signature),
                    )),
                    // No ticket is given up because money was missing.
                    Rejection::OutOfFunds if unpaid => Verdict::Again { counts: false },
                    Rejection::Impossible | Rejection::InUse | Rejection::OutOfFunds | Rejection::OutOfCompute => {
                        again_or_give_up(flight, ticket, &error)
                    }
                };
                TicketVerdict { mint_id: ticket.mint_id, cost: Lamports::ZERO, paid: Lamports::ZERO, verdict }
            } else {
                // Another transaction minted it: this one failed.
                let told = told.get(&ticket.mint_id).copied();
                self.adopt(None, ticket, on_chain, told).await?
            };
            verdict.cost = verdict.cost + fee;
            verdict.paid = verdict.paid + fee;
            tickets.push(verdict);
        }
        let attempt = Some((flight.attempt_id, AttemptState::Rejected));
        Ok(Settlement { attempt, slot: Some(slot), error: Some(error), never_sent: false, tickets })
    }

    /// Whether money is missing where a transaction was to be paid from, so that no more of them are signed until it is
    /// there. Otherwise the chain meant something else, and a ticket must not cost fees for ever.
    async fn payer_is_short(&self, flight: &Flight) -> Result<bool, ChainError> {
        let Some(payer) = payer_of(&flight.bytes) else { return Ok(false) };
        self.shared.purse.is_short(&payer, &self.shared.prices).await
    }

    /// `own` is the transaction of ours that may have minted it, and the part of its fee that fell to the ticket.
    async fn adopt(
        &self,
        own: Option<(Signature, Lamports)>,
        ticket: &OpenTicket,
        on_chain: &OnChain,
        told: Option<(Signature, u64)>,
    ) -> Result<TicketVerdict, ChainError> {
        let OpenTicket { mint_id, mint_address: mint, ref published, .. } = *ticket;
        let subject = Subject { mint_id, mint, owner: None, published };
        adopt(&self.shared, subject, on_chain, own, told).await
    }

    /// Sends again what was not heard of for a while; returns what has been silent for so long that it may be dead.
    fn resend_or_suspect(&mut self) -> Vec<Arc<Flight>> {
        let silence = self.shared.settings.pacing.slot.saturating_mul(RESEND_SLOTS);
        let mut suspects = Vec::new();
        for tracked in self.tracked.values() {
            if tracked.missed >= UNKNOWN_AFTER {
                suspects.push(Arc::clone(&tracked.flight));
            }
            let silent = tracked.flight.last_sent().is_some_and(|sent| sent.elapsed() >= silence);
            if tracked.missed > 0 && silent {
                self.resend(tracked);
            }
        }
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

    /// Looks for the end of transactions that were silent for long: landed after all, or provably dead.
    ///
    /// Proof of death is all of: the chain is past the last block in which the transaction could land; the signature is
    /// unknown, history included; and the mint accounts do not exist. The three are observed in this order, and the later
    /// two by nodes that have seen at least the block of the first: an answer from further back proves nothing.
    async fn look_into(&self, suspects: Vec<Arc<Flight>>) -> Result<Vec<(Signature, Settlement)>, StepError> {
        if suspects.is_empty() {
            return Ok(Vec::new());
        }
        let tip = self.shared.chain.tip().await?;
        let expired = |flight: &Arc<Flight>| flight.last_valid_block_height < tip.block_height;
        #[cfg(feature = "failpoints")]
        let expired = |flight: &Arc<Flight>| expired(flight) || simulation::sabotaged("re-sign without proof");
        let suspects: Vec<_> = suspects.into_iter().filter(expired).collect();
        if suspects.is_empty() {
            return Ok(Vec::new());
        }
        let signatures: Vec<Signature> = suspects.iter().map(|flight| flight.signature).collect();
        let statuses = self.shared.chain.statuses(&signatures, true).await?;
        if statuses.slot < tip.slot {
            return Ok(Vec::new());
        }
        let (mut found, mut unknown) = (Vec::new(), Vec::new());
        for (flight, status) in suspects.into_iter().zip(statuses.value) {
            match status {
                Some(landed) if landed.is_settled() => found.push((flight, landed)),
                Some(_not_for_good_yet) => {}
                None => unknown.push(flight),
            }
        }
        let mut settlements = self.settle_landed(found).await?;
        settlements.extend(self.bury(unknown, tip).await?);
        Ok(settlements)
    }

    async fn bury(&self, unknown: Vec<Arc<Flight>>, tip: Tip) -> Result<Vec<(Signature, Settlement)>, StepError> {
        let wallet = self.shared.wallet.address();
        let subjects: Vec<_> = unknown.iter().flat_map(|flight| flight.mints_and_owners(wallet)).collect();
        let on_chain = look_up(&self.shared, &subjects).await?;
        if subjects.is_empty() || on_chain.slot < tip.slot {
            return Ok(Vec::new());
        }
        let mut on_chain = on_chain.value.into_iter();
        let mut settlements = Vec::new();
        for flight in unknown {
            let (mut slot, mut own) = (None, None);
            let mut tickets = Vec::with_capacity(flight.tickets.len());
            let mut absent = false;
            for ((ticket, fee), on_chain) in flight.tickets.iter().zip(flight.fees()).zip(on_chain.by_ref()) {
                if matches!(on_chain, OnChain::Absent { .. }) {
                    let said = flight.send_error().unwrap_or_else(|| "the network never took it".into());
                    let verdict = again_or_give_up(&flight, ticket, &said);
                    let nothing = Lamports::ZERO;
                    absent = true;
                    tickets.push(TicketVerdict { mint_id: ticket.mint_id, cost: nothing, paid: nothing, verdict });
                } else {
                    let verdict = self.adopt(Some((flight.signature, fee)), ticket, &on_chain, own).await?;
                    if let Verdict::Minted { signature, slot: Some(landed_in), .. } = verdict.verdict {
                        slot = Some(landed_in);
                        // It minted all of its tickets or none.
                        own = signature.filter(|made| *made == flight.signature).map(|made| (made, landed_in));
                    }
                    tickets.push(verdict);
                }
            }
            // With a ticket missing it cannot have landed, whoever minted the others.
            let dead = absent || tickets.iter().all(|ticket| matches!(ticket.verdict, Verdict::Failed(_)));
            if flight.is_pack() && dead {
                self.shared.packing.failed(flight.first_sent().is_some(), flight.known);
            } else if flight.is_pack() && own.is_some() {
                self.shared.packing.worked();
            }
            let state = if dead { AttemptState::Dead } else { AttemptState::Landed };
            tracing::warn!(signature = %flight.signature, ?state, "a silent transaction was looked into");
            let attempt = Some((flight.attempt_id, state));
            let slot = slot.filter(|_| !dead);
            // One that waited for its turn until it was dead did not offer too little.
            let never_sent = flight.first_sent().is_none();
            let error = flight.send_error();
            settlements.push((flight.signature, Settlement { attempt, slot, error, never_sent, tickets }));
        }
        Ok(settlements)
    }
}

fn again_or_give_up(flight: &Flight, ticket: &OpenTicket, last_words: &str) -> Verdict {
    // What a transaction came to that was refused for another ticket's sake, perhaps, does not count; and nobody is given up
    // for what a transaction with others came to.
    let most = MAX_ATTEMPTS.saturating_add(ticket.refused_with_others);
    if flight.is_pack() || ticket.attempts < most {
        return Verdict::Again { counts: true };
    }
    let message = format!("{MAX_ATTEMPTS} transactions for it came to nothing; the last time: {last_words}");
    Verdict::Failed(Failure::new(FailureCode::NeverLanded, message))
}
