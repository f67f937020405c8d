//! Repair: what the chain proves is taken into the books, what provably does not exist goes back to the queue, and the rest is
//! refused with its reason. Every ticket is compared anew, so that a repair that is repeated finds nothing to do.

use serde::Serialize;
use utoipa::ToSchema;

use super::{CHUNK, ReconcileError, Reconciler, compare::Finding, look::Memory};
use crate::{
    domain::discrepancy::{CheckStatus, Discrepancy, DiscrepancyKind, Remedy},
    store::{BookedMint, Change, Correction},
};

/// What a repair did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Repair {
    /// Only said, not done.
    pub dry_run: bool,
    /// Tickets compared.
    pub checked: u64,
    /// Tickets that the chain holds, taken into the books.
    pub adopted: u64,
    /// Tickets whose rows were corrected from the chain.
    pub corrected: u64,
    /// Tickets that provably do not exist, queued to be minted.
    pub queued: u64,
    /// Tickets whose metadata was published again.
    pub published: u64,
    /// What nothing was done about, and why.
    pub refused: Vec<Refused>,
    /// Every difference, with its remedy.
    pub plan: Vec<Discrepancy>,
}

/// Something that cannot be repaired by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// The ticket.
    pub ticket_id: String,
    /// The kind of difference; none if the ticket cannot be judged now.
    pub kind: Option<DiscrepancyKind>,
    /// Why, and what a person can do.
    pub reason: String,
}

/// What is done about one ticket.
#[derive(Default)]
struct Steps {
    correct: bool,
    queue: bool,
    publish: bool,
}

impl Reconciler {
    /// Repairs some tickets of a venue, or all of them. With `dry_run` it only says what it would do.
    ///
    /// # Errors
    /// A fault of the books or the content store. What the chain does not say is refused, not guessed.
    pub async fn repair(
        &self,
        venue_id: &str,
        ticket_ids: Option<Vec<String>>,
        dry_run: bool,
    ) -> Result<Repair, ReconcileError> {
        let shared = &self.shared;
        let _turn = shared.turn.lock().await;
        if shared.store.counts(Some(venue_id.to_owned())).await?.total() == 0 {
            return Err(ReconcileError::UnknownVenue(venue_id.to_owned()));
        }
        let (mut repair, mut memory) = (Repair { dry_run, ..Repair::default() }, Memory::default());
        if let Some(ticket_ids) = ticket_ids {
            let booked = shared.store.booked_tickets(venue_id.to_owned(), ticket_ids.clone()).await?;
            for ticket_id in ticket_ids {
                if !booked.iter().any(|booked| booked.ticket_id == ticket_id) {
                    let reason = "the books of this venue have no such ticket".to_owned();
                    repair.refused.push(Refused { ticket_id, kind: None, reason });
                }
            }
            for chunk in booked.chunks(CHUNK) {
                self.repair_some(chunk.to_vec(), &mut memory, &mut repair).await?;
            }
        } else {
            let mut after = 0;
            loop {
                let booked = shared.store.booked_mints(venue_id.to_owned(), after, CHUNK).await?;
                let Some(last) = booked.last() else { break };
                after = last.id;
                self.repair_some(booked, &mut memory, &mut repair).await?;
            }
        }
        tracing::info!(
            venue = venue_id,
            dry_run,
            adopted = repair.adopted,
            corrected = repair.corrected,
            queued = repair.queued,
            published = repair.published,
            refused = repair.refused.len(),
            "differences were repaired"
        );
        Ok(repair)
    }

    async fn repair_some(
        &self,
        booked: Vec<BookedMint>,
        memory: &mut Memory,
        repair: &mut Repair,
    ) -> Result<(), ReconcileError> {
        let shared = &self.shared;
        let mut corrections = Vec::new();
        for (booked, mut finding) in shared.look(booked, memory).await? {
            repair.checked = repair.checked.saturating_add(1);
            if finding.discrepancies.is_empty() {
                refuse_pending(&booked, &finding, repair);
                continue;
            }
            let steps = plan(&finding, repair);
            repair.plan.append(&mut finding.discrepancies);
            if steps.publish {
                let reason = if repair.dry_run || self.publish_again(&booked).await? {
                    repair.published = repair.published.saturating_add(1);
                    None
                } else {
                    Some("the metadata cannot be made again as it was; restore the content store from a backup")
                };
                repair.refused.extend(reason.map(|reason| Refused {
                    ticket_id: booked.ticket_id.clone(),
                    kind: Some(DiscrepancyKind::ContentMissing),
                    reason: reason.into(),
                }));
            }
            let change = if steps.queue {
                Change::Queue
            } else if steps.correct {
                let facts = finding.facts;
                let mut minted_in = facts.minted_in;
                if minted_in.is_none() && finding.wrong_signature {
                    // The address's own history is asked for one ticket at a time, and only here.
                    let address = shared.where_it_lives(&booked);
                    minted_in = shared.chain.first_signature(&address).await.unwrap_or_default();
                }
                let (mint_address, name, metadata_uri) = (facts.mint_address, facts.name, facts.metadata_uri);
                Change::Fields { mint_address, name, metadata_uri, minted_in }
            } else {
                continue;
            };
            corrections.push(Correction { mint_id: booked.id, seen: booked.status, change });
        }
        if repair.dry_run || corrections.is_empty() {
            return Ok(());
        }
        let changed = shared.store.correct(corrections, shared.clock.now_ms()).await?;
        shared.instruments.fixed(changed);
        shared.minter.wake();
        Ok(())
    }

    /// Publishes a ticket's metadata again, if it comes out as it was.
    async fn publish_again(&self, booked: &BookedMint) -> Result<bool, ReconcileError> {
        let contents = self.shared.minter.contents_of(&booked.ticket, booked.image.as_ref());
        let is_the_same = contents.first().is_some_and(|document| Some(document.id.uri()) == booked.metadata_uri);
        if is_the_same {
            self.shared.content.publish(contents).await?;
        }
        Ok(is_the_same)
    }
}

fn refuse_pending(booked: &BookedMint, finding: &Finding, repair: &mut Repair) {
    if finding.status == Some(CheckStatus::Pending) {
        let reason = finding.reason.clone().unwrap_or_default();
        repair.refused.push(Refused { ticket_id: booked.ticket_id.clone(), kind: None, reason });
    }
}

/// What is to be done about a ticket; counts it, and notes what is refused.
fn plan(finding: &Finding, repair: &mut Repair) -> Steps {
    let mut steps = Steps::default();
    let mut adopt = false;
    for discrepancy in &finding.discrepancies {
        match &discrepancy.remedy {
            Remedy::Adopt => adopt = true,
            Remedy::Queue => steps.queue = true,
            Remedy::Correct => steps.correct = true,
            Remedy::Publish => steps.publish = true,
            Remedy::Refuse { reason } => repair.refused.push(Refused {
                ticket_id: discrepancy.ticket_id.clone(),
                kind: Some(discrepancy.kind),
                reason: reason.clone(),
            }),
        }
    }
    if adopt {
        repair.adopted = repair.adopted.saturating_add(1);
    } else if steps.queue {
        repair.queued = repair.queued.saturating_add(1);
    } else if steps.correct {
        repair.corrected = repair.corrected.saturating_add(1);
    }
    // The engine adopts what it finds on the chain, and mints what is not there: the same queue serves both.
    steps.queue |= adopt;
    steps
}
