//! What one ticket comes to: pure, from what the books say and what the chain was seen to hold.
//!
//! A missing answer is not an answer: whatever the chain did not say makes a ticket `pending`, never `not_found`.

use solana_pubkey::Pubkey;
use solana_signature::Signature;

use crate::{
    chain::{
        Landed,
        ticket::{Inspection, MetadataState, MintState},
    },
    domain::{
        discrepancy::{CheckStatus, Discrepancy, DiscrepancyKind, Remedy},
        document::chain_name,
        failure::FailureCode,
        mint::MintStatus,
    },
    metadata::{Content, ContentId},
    store::BookedMint,
};

/// How far the block's time may lie outside the time in which the ticket was under way: clocks of validators drift.
const TIME_TOLERANCE_MS: i64 = 120_000;

/// What the chain was seen to hold for a ticket.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Where the ticket lives by its identity, whatever the books say.
    pub(super) address: Pubkey,
    /// The slot as of which the accounts are true.
    pub(super) slot: u64,
    /// Its accounts.
    pub(super) accounts: Inspection,
    /// What became of the transaction in the books.
    pub(super) transaction: Option<Landed>,
    /// About when its block was made, Unix milliseconds.
    pub(super) block_time_ms: Option<i64>,
    /// What is published under the URI in the books.
    pub(super) content: Option<Content>,
}

/// What the comparison of one ticket came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Finding {
    pub(super) status: Option<CheckStatus>,
    pub(super) discrepancies: Vec<Discrepancy>,
    /// Why it cannot be told, if that is so.
    pub(super) reason: Option<String>,
    /// What happened to it since that is nobody's fault.
    pub(super) news: Option<String>,
    /// Looks as if it did not exist: to be proven before it is said.
    pub(super) maybe_missing: bool,
    /// The transaction in the books is not known to the node: wrong, or forgotten.
    pub(super) unknown_transaction: bool,
    /// The transaction in the books is not the one that minted the ticket.
    pub(super) wrong_signature: bool,
    /// What the books should say.
    pub(super) facts: Facts,
}

/// What the chain says where the books are wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    pub(super) mint_address: Option<String>,
    pub(super) name: Option<String>,
    pub(super) metadata_uri: Option<String>,
    pub(super) minted_in: Option<(Signature, u64)>,
}

impl Finding {
    pub(super) fn confirmed() -> Self {
        Self { status: Some(CheckStatus::Confirmed), ..Self::default() }
    }

    pub(super) fn pending(reason: impl Into<String>) -> Self {
        Self { status: Some(CheckStatus::Pending), reason: Some(reason.into()), ..Self::default() }
    }
}

/// Compares one ticket.
pub(super) fn compare(booked: &BookedMint, seen: &Seen, wallet: &Pubkey) -> Finding {
    if booked.slot.is_some_and(|slot| slot > seen.slot) {
        return Finding::pending("the RPC endpoint is behind the ticket's block");
    }
    if seen.accounts.mixed_up {
        return Finding::pending("the RPC endpoint mixes up its answers");
    }
    match booked.status {
        MintStatus::Pending | MintStatus::Minting => Finding::pending("the ticket is under way"),
        MintStatus::Failed => compare_failed(booked, seen),
        MintStatus::Minted => Comparison { booked, seen, wallet, finding: Finding::confirmed() }.run(),
    }
}

/// Makes a discrepancy of a ticket.
pub(super) fn differs(
    booked: &BookedMint,
    kind: DiscrepancyKind,
    books: Option<String>,
    chain: Option<String>,
    explanation: impl Into<String>,
    remedy: Remedy,
) -> Discrepancy {
    let status = if kind == DiscrepancyKind::NotOnChain { CheckStatus::NotFound } else { CheckStatus::Error };
    Discrepancy {
        ticket_id: booked.ticket_id.clone(),
        venue_id: booked.venue_id.clone(),
        kind,
        status,
        books,
        chain,
        explanation: explanation.into(),
        remedy,
    }
}

fn compare_failed(booked: &BookedMint, seen: &Seen) -> Finding {
    let MintState::Mint { .. } = seen.accounts.mint else { return Finding::confirmed() };
    // The books say themselves that something else is there.
    if matches!(booked.failure, Some(FailureCode::ChainConflict | FailureCode::AddressTaken)) {
        return Finding::confirmed();
    }
    let explanation = "the ticket was given up, and the chain holds it all the same";
    let code = booked.failure.map(|code| format!("failed ({})", code.as_str()));
    let address = Some(format!("an NFT at {}", seen.address));
    let kind = DiscrepancyKind::MintedAllTheSame;
    Finding {
        status: Some(CheckStatus::Error),
        discrepancies: vec![differs(booked, kind, code, address, explanation, Remedy::Adopt)],
        ..Finding::default()
    }
}

struct Comparison<'a> {
    booked: &'a BookedMint,
    seen: &'a Seen,
    wallet: &'a Pubkey,
    finding: Finding,
}

impl Comparison<'_> {
    fn note(
        &mut self,
        kind: DiscrepancyKind,
        books: Option<String>,
        chain: Option<String>,
        explanation: &str,
        remedy: Remedy,
    ) {
        self.finding.status = Some(CheckStatus::Error);
        self.finding.discrepancies.push(differs(self.booked, kind, books, chain, explanation, remedy));
    }

    fn run(mut self) -> Finding {
        let Self { booked, seen, .. } = self;
        match &seen.accounts.mint {
            MintState::Absent => return self.absent(),
            MintState::Foreign(owner) => {
                let chain = Some(format!("an account of the program {owner}"));
                let reason = refuse("the address holds something that is no ticket; sell under a new id");
                let address = Some(seen.address.to_string());
                self.note(DiscrepancyKind::MintForeign, address, chain, "the address holds no mint", reason);
                return self.finding;
            }
            MintState::Mint { supply, is_edition } => self.supply(*supply, *is_edition),
        }
        if booked.mint_address != seen.address.to_string() {
            let (books, chain) = (Some(booked.mint_address.clone()), Some(seen.address.to_string()));
            let explanation = "the address in the books is not the one that the ticket's identity gives";
            self.finding.facts.mint_address.clone_from(&chain);
            self.note(DiscrepancyKind::WrongAddress, books, chain, explanation, Remedy::Correct);
        }
        match seen.accounts.metadata.clone() {
            None => {
                let reason = refuse("the chain does not say what the ticket is; only its program can repair it");
                let explanation = "the metadata account is gone or cannot be read";
                self.note(DiscrepancyKind::MetadataMissing, booked.metadata_uri.clone(), None, explanation, reason);
            }
            Some(metadata) => self.metadata(&metadata),
        }
        self.transaction();
        self.content();
        self.finding
    }

    /// There is nothing at the address, and nobody can burn a mint account: it never was, or the node does not tell.
    fn absent(mut self) -> Finding {
        match &self.seen.transaction {
            Some(Landed { error: None, .. }) => {
                let (address, signature) = (self.seen.address.to_string(), self.booked.signature.clone());
                let explanation = "its transaction worked, but the mint account is gone";
                let reason =
                    refuse("no program closes a mint account; ask another RPC endpoint before anything is done");
                self.note(
                    DiscrepancyKind::MintMissing,
                    signature,
                    Some(format!("nothing at {address}")),
                    explanation,
                    reason,
                );
                self.finding
            }
            Some(_) | None => Finding {
                maybe_missing: true,
                ..Finding::pending("the chain shows no ticket, and that it never will is not proven yet")
            },
        }
    }

    fn supply(&mut self, supply: u64, is_edition: bool) {
        match supply {
            1 if is_edition => {
                if !self.seen.accounts.held {
                    self.finding.news = Some("its holder has passed it on".into());
                }
            }
            0 => self.finding.news = Some("its holder has burned it".into()),
            _ => {
                let chain = if is_edition { supply.to_string() } else { format!("{supply}, and more can be made") };
                let reason =
                    refuse("a ticket that is not one of a kind cannot be made so; look into who made the others");
                let explanation = "it is not one of a kind";
                self.note(DiscrepancyKind::WrongSupply, Some("1".into()), Some(chain), explanation, reason);
            }
        }
    }

    fn metadata(&mut self, chain: &MetadataState) {
        let booked = self.booked;
        let expected_name = chain_name(&booked.ticket.ticket_data);
        // What was sold decides who is right: if the chain has what follows from it, the books were changed.
        if booked.name.as_deref() != Some(chain.name.as_str()) {
            let remedy = if chain.name == expected_name { Remedy::Correct } else { altered() };
            self.finding.facts.name = Some(chain.name.clone());
            let (books, found) = (booked.name.clone(), Some(chain.name.clone()));
            self.note(DiscrepancyKind::WrongName, books, found, "books and chain have different names", remedy);
        }
        if booked.metadata_uri.as_deref() != Some(chain.uri.as_str()) {
            // A URI is a hash of the metadata, which has the full name of what was sold.
            let remedy = if chain.name == expected_name && chain.update_authority == *self.wallet {
                Remedy::Correct
            } else {
                altered()
            };
            self.finding.facts.metadata_uri = Some(chain.uri.clone());
            let (books, found) = (booked.metadata_uri.clone(), Some(chain.uri.clone()));
            self.note(DiscrepancyKind::WrongUri, books, found, "books and chain lead to different metadata", remedy);
        }
        let published = self.seen.content.as_ref().and_then(|content| {
            let document: serde_json::Value = serde_json::from_slice(&content.bytes).ok()?;
            document.get("symbol")?.as_str().map(str::to_owned)
        });
        if published.as_ref().is_some_and(|symbol| *symbol != chain.symbol) {
            let explanation = "the symbol on the chain is not the published one";
            self.note(DiscrepancyKind::WrongSymbol, published, Some(chain.symbol.clone()), explanation, altered());
        }
        if chain.update_authority != *self.wallet {
            let (books, found) = (Some(self.wallet.to_string()), Some(chain.update_authority.to_string()));
            let explanation = "someone else may change the metadata";
            self.note(DiscrepancyKind::WrongAuthority, books, found, explanation, altered());
        }
        if !chain.verified_creators.contains(self.wallet) {
            let found: Vec<String> = chain.verified_creators.iter().map(Pubkey::to_string).collect();
            let found = if found.is_empty() { "nobody".to_owned() } else { found.join(", ") };
            let books = Some(self.wallet.to_string());
            let explanation = "this wallet has not signed as the ticket's creator";
            self.note(DiscrepancyKind::WrongCreator, books, Some(found), explanation, altered());
        }
    }

    fn transaction(&mut self) {
        let booked = self.booked;
        let books = booked.signature.clone();
        match &self.seen.transaction {
            // Adopted from a chain that has forgotten how the ticket came to be.
            None if books.is_none() && booked.adopted => {}
            None => self.finding.unknown_transaction = true,
            Some(Landed { error: Some(error), .. }) => {
                let explanation = "the transaction in the books failed, so another one minted the ticket";
                let found = Some(format!("failed: {error}"));
                self.finding.wrong_signature = true;
                self.note(DiscrepancyKind::WrongSignature, books, found, explanation, Remedy::Correct);
            }
            Some(landed) => {
                if booked.slot.is_some_and(|slot| slot != landed.slot) {
                    let (books, found) = (booked.slot.map(|slot| slot.to_string()), Some(landed.slot.to_string()));
                    let explanation = "the transaction is in another slot than the books say";
                    let signature = books_signature(booked);
                    self.finding.facts.minted_in = signature.map(|signature| (signature, landed.slot));
                    self.note(DiscrepancyKind::WrongSlot, books, found, explanation, Remedy::Correct);
                }
                self.time();
            }
        }
    }

    fn time(&mut self) {
        let booked = self.booked;
        let (Some(block), Some(settled)) = (self.seen.block_time_ms, booked.settled_at_ms) else { return };
        let early = block < booked.created_at_ms.saturating_sub(TIME_TOLERANCE_MS);
        let late = block > settled.saturating_add(TIME_TOLERANCE_MS);
        // An adopted ticket is older than the books.
        if late || (early && !booked.adopted) {
            let between = format!(
                "between {} and {}",
                crate::clock::rfc3339(booked.created_at_ms),
                crate::clock::rfc3339(settled)
            );
            let reason = refuse("books and chain disagree about time; check the clock of the box");
            let explanation = "the block was made when the ticket was not under way";
            let found = Some(crate::clock::rfc3339(block));
            self.note(DiscrepancyKind::WrongTime, Some(between), found, explanation, reason);
        }
    }

    fn content(&mut self) {
        let booked = self.booked;
        if booked.content_digest != booked.ticket.content_digest() {
            let reason = refuse("restore the books from a backup: what was sold cannot be read from the chain");
            let explanation = "what was sold was changed in the books after it was accepted";
            self.note(DiscrepancyKind::TicketAltered, None, None, explanation, reason);
        }
        let Some(uri) = &booked.metadata_uri else { return };
        let Some(id) = uri.strip_prefix("ipfs://").and_then(ContentId::parse) else { return };
        match &self.seen.content {
            None => {
                let explanation = "the published metadata is not in the content store, and wallets may not see it";
                self.note(DiscrepancyKind::ContentMissing, Some(uri.clone()), None, explanation, Remedy::Publish);
            }
            Some(content) if ContentId::of(&content.bytes) != id => {
                let found = Some(ContentId::of(&content.bytes).uri());
                let explanation = "what is published is not what its address says";
                self.note(DiscrepancyKind::ContentAltered, Some(uri.clone()), found, explanation, Remedy::Publish);
            }
            Some(_) => {}
        }
    }
}

/// The transaction in the books, if that is one.
pub(super) fn books_signature(booked: &BookedMint) -> Option<Signature> {
    booked.signature.as_ref()?.parse().ok()
}

pub(super) fn refuse(reason: &str) -> Remedy {
    Remedy::Refuse { reason: reason.to_owned() }
}

fn altered() -> Remedy {
    refuse("the chain was changed by someone who may; look into who has the wallet's key")
}
