//! What is minted may be taken back by a fork until its block is final, and an adopted ticket's transaction may be unknown
//! when it is found. Both are looked at again, on disk until there is nothing to look for.
//!
//! A ticket is taken back only if several answers, all from beyond its block, know its transaction no more, and the chain holds
//! nothing at its address. Its attempt is open again then, as if nothing had been heard of it: the same bytes are sent, and
//! another transaction is signed only on proof that these are dead.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use solana_pubkey::Pubkey;
use solana_signature::Signature;
use tokio::{sync::mpsc, time::interval};
use tokio_util::sync::CancellationToken;

use super::{
    Shared, StepError,
    flight::{Flight, Tracked},
};
use crate::{
    chain::{
        Account, Landed,
        ticket::{OnChain, read},
    },
    store::{OpenAttempt, Proof, UnprovenMint},
};

/// Slots from a block until no fork can take it back (Agave's `MAX_LOCKOUT_HISTORY` and one).
const FINAL_AFTER: u32 = 32;
/// Slots between two looks.
const LOOK_EVERY: u32 = 16;
/// Tickets that are looked at together.
const AT_ONCE: usize = 1_024;
/// Looks that did not find a transaction after which its ticket may be gone.
const GONE_AFTER: u32 = 3;
/// Tickets without a known transaction that are asked for together: each costs a call.
const HISTORIES_AT_ONCE: usize = 8;
/// Times that an adopted ticket's transaction is asked for: over about an hour.
const MOST_LOOKS: u32 = 10;
/// Time to the second of these looks; it doubles with each, up to ten minutes.
const FIRST_PAUSE_MS: i64 = 15_000;
const LONGEST_PAUSE_MS: i64 = 10 * 60 * 1_000;

struct Watch {
    shared: Arc<Shared>,
    to_confirm: mpsc::UnboundedSender<Tracked>,
    to_resend: mpsc::UnboundedSender<Arc<Flight>>,
    /// How often in a row each ticket was not there.
    missed: HashMap<i64, u32>,
}

/// Looks at what is not final yet until the shutdown.
pub(super) async fn run(
    shared: Arc<Shared>,
    to_confirm: mpsc::UnboundedSender<Tracked>,
    to_resend: mpsc::UnboundedSender<Arc<Flight>>,
    shutdown: CancellationToken,
) {
    let mut look = interval(shared.settings.pacing.slot.saturating_mul(LOOK_EVERY));
    let mut watch = Watch { shared, to_confirm, to_resend, missed: HashMap::new() };
    let work = async {
        loop {
            look.tick().await;
            // Nothing was changed then: the next look asks again. Nobody waits for it.
            if let Err(error) = watch.look().await {
                tracing::debug!(%error, "what may be taken back could not be looked at");
            }
        }
    };
    shutdown.run_until_cancelled(work).await;
}

impl Watch {
    async fn look(&mut self) -> Result<(), StepError> {
        let shared = &self.shared;
        let now_ms = shared.now_ms();
        let age = shared.settings.pacing.slot.saturating_mul(FINAL_AFTER);
        let due_ms = now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let mints = shared.store.unproven_mints(due_ms, AT_ONCE).await?;
        self.missed.retain(|mint_id, _| mints.iter().any(|mint| mint.mint_id == *mint_id));
        if mints.is_empty() {
            return Ok(());
        }
        let (known, unknown): (Vec<_>, Vec<_>) = mints.into_iter().partition(|mint| mint.signature.is_some());
        let mut proofs = self.known(known).await?;
        proofs.extend(self.unknown(unknown.into_iter().take(HISTORIES_AT_ONCE).collect(), due_ms).await?);
        self.write_down(proofs, now_ms).await
    }

    /// Tickets whose transaction is known: is it final?
    async fn known(&mut self, mints: Vec<UnprovenMint>) -> Result<Vec<(i64, Proof)>, StepError> {
        let mut proofs = Vec::new();
        let (missing, _) = self.ask(mints, false, &mut proofs).await?;
        let (gone, as_of) = self.ask(missing, true, &mut proofs).await?;
        // A node that has not come so far cannot know them.
        let gone = gone.into_iter().filter(|mint| mint.slot.is_none_or(|slot| slot <= as_of)).collect();
        proofs.extend(self.maybe_gone(gone, as_of).await?.0);
        Ok(proofs)
    }

    /// Asks what became of transactions: what is final goes to `proofs`. Returns those of which nothing is known, and the slot as
    /// of which.
    async fn ask(
        &mut self,
        mints: Vec<UnprovenMint>,
        search_history: bool,
        proofs: &mut Vec<(i64, Proof)>,
    ) -> Result<(Vec<UnprovenMint>, u64), StepError> {
        if mints.is_empty() {
            return Ok((mints, 0));
        }
        // In one transaction several tickets may have been minted.
        let signatures: BTreeSet<Signature> = mints.iter().filter_map(|mint| mint.signature).collect();
        let signatures: Vec<Signature> = signatures.into_iter().collect();
        let answer = self.shared.chain.statuses(&signatures, search_history).await?;
        let statuses: BTreeMap<Signature, Option<Landed>> = signatures.into_iter().zip(answer.value).collect();
        let (mut missing, mut asked_alone) = (Vec::new(), 0);
        for mint in mints {
            let Some(signature) = mint.signature else { continue };
            // One that failed on another fork minted nothing.
            let landed = statuses.get(&signature).and_then(Option::as_ref);
            let Some(landed) = landed.filter(|landed| landed.error.is_none()) else {
                missing.push(mint);
                continue;
            };
            self.missed.remove(&mint.mint_id);
            if !landed.finalized {
                continue;
            }
            if mint.slot == Some(landed.slot) {
                proofs.push((mint.mint_id, Proof::Final { slot: None }));
            } else if asked_alone < HISTORIES_AT_ONCE {
                // It landed again in another block; unless the endpoint mixes up its answers, which it cannot with a single one.
                asked_alone = asked_alone.saturating_add(1);
                let alone = self.shared.chain.statuses(&[signature], true).await?.value.into_iter().flatten().next();
                let landed = alone.filter(|landed| landed.finalized && landed.error.is_none());
                proofs.extend(landed.map(|landed| (mint.mint_id, Proof::Final { slot: Some(landed.slot) })));
            }
        }
        Ok((missing, answer.slot))
    }

    /// Adopted tickets of which nobody could say which transaction minted them.
    async fn unknown(&mut self, mints: Vec<UnprovenMint>, due_ms: i64) -> Result<Vec<(i64, Proof)>, StepError> {
        let (mut proofs, there) = self.maybe_gone(mints, 0).await?;
        for mint in there {
            let proof = match self.shared.chain.first_signature(&mint.mint_address).await? {
                Some((signature, slot)) => Proof::Found { signature, slot },
                None if mint.looks >= MOST_LOOKS => Proof::Final { slot: None },
                None => Proof::Later { look_at_ms: due_ms.saturating_add(pause_ms(mint.looks)) },
            };
            proofs.push((mint.mint_id, proof));
        }
        Ok(proofs)
    }

    /// Which of some tickets the chain has taken back, and which it holds. `as_of` is the least slot of an answer that counts.
    async fn maybe_gone(
        &mut self,
        mints: Vec<UnprovenMint>,
        as_of: u64,
    ) -> Result<(Vec<(i64, Proof)>, Vec<UnprovenMint>), StepError> {
        let (mut proofs, mut there) = (Vec::new(), Vec::new());
        if mints.is_empty() {
            return Ok((proofs, there));
        }
        let addresses: Vec<Pubkey> = mints.iter().map(|mint| mint.mint_address).collect();
        let found = self.shared.chain.accounts(&addresses).await?;
        for (mint, account) in mints.into_iter().zip(found.value) {
            let missed = self.missed.entry(mint.mint_id).or_default();
            *missed = missed.saturating_add(1);
            let enough = *missed >= GONE_AFTER && found.slot >= as_of.max(mint.slot.unwrap_or_default());
            match (is_absent(account.as_ref()), mint.slot) {
                (true, _) if enough => proofs.push((mint.mint_id, Proof::TakenBack)),
                (true, _) => {}
                (false, _) if mint.signature.is_none() => {
                    self.missed.remove(&mint.mint_id);
                    there.push(mint);
                }
                // It exists, though its transaction is forgotten: by an endpoint without history, after a long rest.
                (false, slot) => {
                    let last_look = slot.unwrap_or_default().saturating_add(u64::from(FINAL_AFTER));
                    if enough && found.slot >= last_look {
                        proofs.push((mint.mint_id, Proof::Final { slot: None }));
                    }
                }
            }
        }
        Ok((proofs, there))
    }

    async fn write_down(&mut self, proofs: Vec<(i64, Proof)>, now_ms: i64) -> Result<(), StepError> {
        if proofs.is_empty() {
            return Ok(());
        }
        let taken_back = proofs.iter().filter(|(_, proof)| *proof == Proof::TakenBack).count();
        let reopened = self.shared.store.prove(proofs, now_ms).await?;
        if taken_back > 0 {
            tracing::warn!(tickets = taken_back, "a fork has taken back minted tickets; they are followed again");
            self.shared.meter.taken_back(taken_back);
            self.shared.settled.send_modify(|count| *count = count.wrapping_add(1));
            self.shared.work.notify_one();
        }
        for attempt in reopened {
            self.follow_again(attempt);
        }
        Ok(())
    }

    fn follow_again(&self, attempt: OpenAttempt) {
        let tracked = Tracked::of_the_books(&self.shared, attempt);
        let flight = Arc::clone(&tracked.flight);
        flight.note_queued();
        // Only a shutdown closes the queues; the next start goes on with it.
        if self.to_confirm.send(tracked).is_ok() {
            drop(self.to_resend.send(flight));
        }
    }
}

fn is_absent(mint: Option<&Account>) -> bool {
    matches!(read([mint, None, None, None]), OnChain::Absent { .. })
}

fn pause_ms(looks: u32) -> i64 {
    FIRST_PAUSE_MS.saturating_mul(2_i64.saturating_pow(looks)).min(LONGEST_PAUSE_MS)
}
