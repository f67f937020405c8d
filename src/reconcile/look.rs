//! Looking at many tickets at once, and proving what is doubtful about a few of them.
//!
//! Three accounts and one status for each ticket, 100 and 256 to a call. Doubts are settled in bulk as well.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use solana_pubkey::Pubkey;
use solana_signature::Signature;

use super::{
    ReconcileError, Shared,
    compare::{Finding, Seen, books_signature, compare, differs, refuse},
};
use crate::{
    chain::{
        ChainError, Landed, Observed,
        ticket::{ACCOUNTS_TO_INSPECT, Inspection, addresses_to_inspect, inspect},
    },
    domain::{
        address::mint_address,
        discrepancy::{CheckStatus, DiscrepancyKind, Remedy},
        ids::{TicketId, VenueId},
        mint::MintStatus,
    },
    metadata::ContentId,
    store::{BookedMint, SignedFor},
};

/// Accounts that are asked for before minting, if it is under way, is given the line again.
const ACCOUNTS_AT_ONCE: usize = 300;
/// How long it is given the line.
const YIELD: Duration = Duration::from_millis(100);
/// Tries until a node's accounts have caught up with what it said of the chain's end, and the pause between them.
const SECOND_LOOKS: u32 = 5;
const CATCH_UP: Duration = Duration::from_millis(500);
/// Histories of single addresses that are read for one chunk, to find the right transaction where nothing else names it.
const MAX_HISTORIES: usize = 20;

/// What the chain said of a ticket, before it is judged.
struct Look {
    address: Pubkey,
    accounts: Inspection,
    slot: u64,
}

impl Shared {
    /// Compares some tickets with the chain.
    pub(super) async fn look(
        &self,
        booked: Vec<BookedMint>,
        memory: &mut Memory,
    ) -> Result<Vec<(BookedMint, Finding)>, ReconcileError> {
        let (looks, statuses) = match self.ask(&booked).await {
            Ok(answers) => answers,
            // That says nothing about any ticket.
            Err(error) => {
                let reason = error.to_string();
                return Ok(booked.into_iter().map(|booked| (booked, Finding::pending(reason.as_str()))).collect());
            }
        };
        let times = self.block_times(&statuses).await;
        let mut found = Vec::with_capacity(booked.len());
        for (booked, look) in booked.into_iter().zip(looks) {
            let transaction = books_signature(&booked).and_then(|signature| statuses.get(&signature).cloned());
            let seen = Seen {
                address: look.address,
                slot: look.slot,
                accounts: look.accounts,
                block_time_ms: transaction.as_ref().and_then(|landed| times.at(landed.slot)),
                transaction,
                content: match booked.metadata_uri.as_ref().and_then(|uri| uri.strip_prefix("ipfs://")) {
                    Some(cid) if booked.status == MintStatus::Minted => match ContentId::parse(cid) {
                        Some(id) => self.content.fetch(id).await?,
                        None => None,
                    },
                    Some(_) | None => None,
                },
            };
            let finding = compare(&booked, &seen, &self.wallet);
            found.push((booked, finding));
        }
        memory.note(&statuses);
        if let Err(error) = self.ask_again(&mut found).await {
            tracing::warn!(%error, "some transactions could not be asked for again");
        }
        if let Err(error) = self.settle_doubts(&mut found, memory).await {
            let ReconcileError::Chain(error) = error else { return Err(error) };
            tracing::warn!(%error, "doubts about some tickets could not be settled");
        }
        for (_, finding) in &mut found {
            if finding.unknown_transaction && finding.status == Some(CheckStatus::Confirmed) {
                *finding = Finding {
                    news: finding.news.take(),
                    ..Finding::pending("the ticket exists, but the RPC endpoint does not know its transaction any more")
                };
            }
        }
        Ok(found)
    }

    async fn ask(&self, booked: &[BookedMint]) -> Result<(Vec<Look>, HashMap<Signature, Landed>), ChainError> {
        let subjects: Vec<(Pubkey, Pubkey)> = booked
            .iter()
            .map(|booked| (self.where_it_lives(booked), booked.ticket.owner().unwrap_or(self.wallet)))
            .collect();
        let observed = self.inspect_all(&subjects).await?;
        let looks = subjects.iter().zip(observed.value);
        let looks = looks.map(|((address, _), accounts)| Look { address: *address, accounts, slot: observed.slot });
        // Several tickets may have ridden in one transaction.
        let mut signatures: Vec<Signature> = booked.iter().filter_map(books_signature).collect();
        signatures.dedup();
        let statuses = self.statuses(&signatures).await?;
        Ok((looks.collect(), statuses))
    }

    /// Where a ticket lives by its identity.
    pub(super) fn where_it_lives(&self, booked: &BookedMint) -> Pubkey {
        match (VenueId::new(booked.venue_id.as_str()), TicketId::new(booked.ticket_id.as_str())) {
            (Ok(venue), Ok(ticket)) => mint_address(&self.wallet, &venue, &ticket, booked.generation),
            // Nothing was accepted under such an id; the address in the books is all there is.
            _ => booked.mint_address.parse().unwrap_or_default(),
        }
    }

    async fn inspect_all(&self, subjects: &[(Pubkey, Pubkey)]) -> Result<Observed<Vec<Inspection>>, ChainError> {
        let wanted: Vec<Pubkey> =
            subjects.iter().flat_map(|(mint, owner)| addresses_to_inspect(*mint, owner)).collect();
        let (mut slot, mut accounts) = (u64::MAX, Vec::with_capacity(wanted.len()));
        for part in wanted.chunks(ACCOUNTS_AT_ONCE) {
            let answer = self.chain.accounts(part).await?;
            slot = slot.min(answer.slot);
            accounts.extend(answer.value);
            self.give_way().await;
        }
        let (tickets, _none_left_over) = accounts.as_chunks::<ACCOUNTS_TO_INSPECT>();
        let inspect = |((mint, _), accounts): (&(Pubkey, Pubkey), &[_; ACCOUNTS_TO_INSPECT])| {
            inspect(mint, accounts.each_ref().map(Option::as_ref))
        };
        Ok(Observed { slot, value: subjects.iter().zip(tickets).map(inspect).collect() })
    }

    /// Lets minting go first.
    pub(super) async fn give_way(&self) {
        if self.minter.in_flight() > 0 {
            tokio::time::sleep(YIELD).await;
        }
    }

    /// What became of transactions, history included; those that are not known, or not settled yet, are left out.
    async fn statuses(&self, signatures: &[Signature]) -> Result<HashMap<Signature, Landed>, ChainError> {
        let found = self.chain.statuses(signatures, true).await?;
        let known = signatures.iter().copied().zip(found.value);
        Ok(known.filter_map(|(signature, landed)| Some((signature, landed.filter(|landed| landed.settled)?))).collect())
    }

    /// A transaction in another slot than the books say is asked for once more, in another order: a node that mixes up its
    /// answers gives itself away.
    async fn ask_again(&self, found: &mut [(BookedMint, Finding)]) -> Result<(), ChainError> {
        let mut odd: Vec<(usize, Signature)> = found
            .iter()
            .enumerate()
            .filter(|(_, (_, finding))| finding.facts.minted_in.is_some())
            .filter_map(|(at, (booked, _))| Some((at, books_signature(booked)?)))
            .collect();
        odd.reverse();
        let signatures: Vec<Signature> = odd.iter().map(|(_, signature)| *signature).collect();
        let again = self.statuses(&signatures).await?;
        for (at, signature) in odd {
            let Some((_, finding)) = found.get_mut(at) else { continue };
            let slot = again.get(&signature).map(|landed| landed.slot);
            if finding.facts.minted_in.map(|(_, slot)| slot) != slot {
                *finding = Finding::pending("the RPC endpoint gives different answers to the same question");
            }
        }
        Ok(())
    }

    /// Settles what a first look leaves open.
    async fn settle_doubts(
        &self,
        found: &mut [(BookedMint, Finding)],
        memory: &mut Memory,
    ) -> Result<(), ReconcileError> {
        let doubtful = |finding: &Finding| finding.unknown_transaction || finding.maybe_missing;
        let ids: Vec<i64> =
            found.iter().filter(|(_, finding)| doubtful(finding)).map(|(booked, _)| booked.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let signed = self.store.signed_for(ids).await?;
        let signatures: Vec<Signature> = signed.iter().map(|signed| signed.signature).collect();
        let statuses = self.statuses(&signatures).await?;
        let mut by_mint: HashMap<i64, Vec<SignedFor>> = HashMap::new();
        for signed in signed {
            by_mint.entry(signed.mint_id).or_default().push(signed);
        }
        memory.note(&statuses);
        let oldest = found.iter().filter(|(_, finding)| doubtful(finding)).filter_map(|(booked, _)| booked.slot).min();
        if let Some(oldest) = oldest.filter(|slot| !memory.reaches(Some(*slot))) {
            // Transactions that landed before these tickets: does the node still know one of them?
            let earlier = self.store.landed_before(oldest).await?;
            memory.note(&self.statuses(&earlier).await?);
        }
        self.find_transactions(found, &by_mint, &statuses, memory).await?;
        self.prove_missing(found, &by_mint, &statuses, memory).await?;
        Ok(())
    }

    /// The ticket exists, and the node does not know the transaction in the books: another one that was signed for it may be
    /// the right one; otherwise the address's own history says.
    async fn find_transactions(
        &self,
        found: &mut [(BookedMint, Finding)],
        signed: &HashMap<i64, Vec<SignedFor>>,
        statuses: &HashMap<Signature, Landed>,
        memory: &Memory,
    ) -> Result<(), ReconcileError> {
        let mut histories = 0;
        for (booked, finding) in found.iter_mut().filter(|(_, finding)| finding.unknown_transaction) {
            let of_ticket = signed.get(&booked.id).into_iter().flatten();
            let landed = of_ticket.filter_map(|signed| Some((signed.signature, statuses.get(&signed.signature)?)));
            let mut right =
                landed.filter(|(_, landed)| landed.error.is_none()).map(|(name, landed)| (name, landed.slot)).next();
            // A node that knows older transactions has not forgotten this one: it never was.
            let never_was = booked.slot.is_some() && memory.reaches(booked.slot);
            if right.is_none() && (never_was || books_signature(booked).is_none()) && histories < MAX_HISTORIES {
                histories = histories.saturating_add(1);
                right = self.chain.first_signature(&self.where_it_lives(booked)).await?;
            }
            let is_other = right.is_some_and(|(signature, _)| Some(signature) != books_signature(booked));
            if let Some((signature, _)) = right.filter(|_| is_other) {
                finding.unknown_transaction = false;
                finding.facts.minted_in = right;
                finding.status = Some(CheckStatus::Error);
                finding.discrepancies.push(differs(
                    booked,
                    DiscrepancyKind::WrongSignature,
                    booked.signature.clone(),
                    Some(signature.to_string()),
                    "the chain does not know the transaction in the books; another one minted the ticket",
                    Remedy::Correct,
                ));
            }
        }
        Ok(())
    }

    /// Says that a ticket does not exist, where that is proven: the chain is past the last block in which anything that was
    /// signed for it could land; none of that is known, by a node that remembers older transactions; and a second look, at
    /// the chain as it is after both, shows no mint either.
    async fn prove_missing(
        &self,
        found: &mut [(BookedMint, Finding)],
        signed: &HashMap<i64, Vec<SignedFor>>,
        statuses: &HashMap<Signature, Landed>,
        memory: &Memory,
    ) -> Result<(), ReconcileError> {
        let suspects: Vec<usize> =
            found.iter().enumerate().filter(|(_, (_, finding))| finding.maybe_missing).map(|(at, _)| at).collect();
        if suspects.is_empty() {
            return Ok(());
        }
        let tip = self.chain.tip().await?;
        let subjects: Vec<(Pubkey, Pubkey)> = suspects
            .iter()
            .filter_map(|at| found.get(*at))
            .map(|(booked, _)| (self.where_it_lives(booked), self.wallet))
            .collect();
        let mut again = self.inspect_all(&subjects).await?;
        for _try in 0..SECOND_LOOKS {
            if again.slot >= tip.slot {
                break;
            }
            tokio::time::sleep(CATCH_UP).await;
            again = self.inspect_all(&subjects).await?;
        }
        let still_absent: HashSet<usize> = suspects
            .iter()
            .zip(&again.value)
            .filter(|(_, seen)| seen.mint == crate::chain::ticket::MintState::Absent)
            .map(|(at, _)| *at)
            .collect();
        for at in suspects {
            let Some((booked, finding)) = found.get_mut(at) else { continue };
            let of_ticket: Vec<&SignedFor> = signed.get(&booked.id).into_iter().flatten().collect();
            let worked = of_ticket.iter().any(|s| statuses.get(&s.signature).is_some_and(|l| l.error.is_none()));
            let may_land = of_ticket.iter().any(|signed| signed.last_valid_block_height >= tip.block_height);
            // The oldest thing that the proof rests on must be within the node's memory.
            let remembers = memory.reaches(booked.slot);
            let reason = if again.slot < tip.slot {
                "the RPC endpoint is behind its own chain"
            } else if !still_absent.contains(&at) {
                "the RPC endpoint shows the ticket only sometimes"
            } else if worked {
                "a transaction for it worked, but the ticket is not there; ask another RPC endpoint"
            } else if may_land {
                "a transaction for it may still land"
            } else if !remembers {
                "the RPC endpoint does not remember the time when it was minted, so that nothing is proven"
            } else {
                let books = booked.signature.clone().or_else(|| Some("minted".into()));
                let explanation = "the books say that it is minted, and it provably does not exist";
                let (kind, chain) = (DiscrepancyKind::NotOnChain, Some("nothing".to_owned()));
                let remedy = if booked.content_digest == booked.ticket.content_digest() {
                    Remedy::Queue
                } else {
                    refuse("what was sold was changed in the books; restore them from a backup before it is minted")
                };
                let discrepancy = differs(booked, kind, books, chain, explanation, remedy);
                *finding = Finding {
                    status: Some(CheckStatus::NotFound),
                    discrepancies: vec![discrepancy],
                    ..Finding::default()
                };
                continue;
            };
            *finding = Finding::pending(reason);
        }
        Ok(())
    }

    /// When the blocks of some transactions were made: two are asked for, those between are on the line between them.
    async fn block_times(&self, statuses: &HashMap<Signature, Landed>) -> BlockTimes {
        let slots = || statuses.values().map(|landed| landed.slot);
        let (Some(first), Some(last)) = (slots().min(), slots().max()) else { return BlockTimes::default() };
        let time = async |slot| self.chain.block_time_ms(slot).await.ok().flatten().map(|ms| (slot, ms));
        let first_known = time(first).await;
        let last_known = if last == first { first_known } else { time(last).await };
        BlockTimes { ends: first_known.zip(last_known) }
    }
}

/// How far back the node is known to remember: to the oldest transaction that it knew.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    from: Option<u64>,
}

impl Memory {
    fn note(&mut self, known: &HashMap<Signature, Landed>) {
        self.from = known.values().map(|landed| landed.slot).chain(self.from).min();
    }

    /// Whether what happened in a slot cannot be forgotten; what has no slot was not long ago.
    fn reaches(&self, slot: Option<u64>) -> bool {
        self.from.is_some_and(|from| slot.is_none_or(|slot| slot >= from))
    }
}

/// Block times on a line between two that are known.
#[derive(Clone, Copy, Debug, Default)]
struct BlockTimes {
    ends: Option<((u64, i64), (u64, i64))>,
}

impl BlockTimes {
    fn at(&self, slot: u64) -> Option<i64> {
        let ((first, first_ms), (last, last_ms)) = self.ends?;
        let span = i64::try_from(last.saturating_sub(first)).ok()?;
        let into = i64::try_from(slot.saturating_sub(first)).ok()?;
        let elapsed = last_ms.saturating_sub(first_ms).saturating_mul(into).checked_div(span).unwrap_or_default();
        Some(first_ms.saturating_add(elapsed))
    }
}
