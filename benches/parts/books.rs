//! Books on disk, and what the box writes into them on a ticket's way.

use boxoffice::{
    chain::transaction::{Allowance, Layout},
    domain::{
        failure::{Failure, FailureCode},
        lamports::Lamports,
        mint::AttemptState,
        spending::SpendingLimits,
    },
    store::{
        Accepted, Entry, NewAttempt, NewBatch, NewTicket, PendingMint, Proof, Settled, Settlement, SpendingRules,
        Store, TicketVerdict, Verdict,
    },
};
use sha2::{Digest as _, Sha512};
use solana_signature::Signature;
use tempfile::TempDir;
use uuid::Uuid;

use crate::samples::{self, WALLET};

pub const NOW_MS: i64 = 1_800_000_000_000;
/// What a ticket costs with a transaction of its own.
const PRICE: Lamports = Lamports(19_656_560);
const FEE: Lamports = Lamports(5_000);
const SLOT: u64 = 400_000_000;

/// Books in a folder of their own, which goes with them.
pub struct Books {
    pub store: Store,
    folder: TempDir,
}

/// A batch of tickets by their numbers, all of them of the venue of the first.
pub fn batch(numbers: std::ops::Range<u64>) -> NewBatch {
    let venue_id = samples::venue(numbers.start);
    let entry = |number| {
        let ticket = samples::ticket(number);
        Entry::Ticket(NewTicket {
            ticket: ticket.canonical_json(),
            content_digest: ticket.content_digest(),
            has_image: false,
            mint_address: samples::mint(number).to_string(),
            ticket_id: ticket.id,
            event_id: ticket.event_id,
        })
    };
    let entries = numbers.map(entry).collect();
    NewBatch { venue_id, not_before_ms: None, budget: None, has_periods: false, forecast: None, entries }
}

/// With money for all that comes.
pub fn rules() -> SpendingRules {
    let balance = Lamports(u64::MAX / 2);
    SpendingRules {
        price: PRICE,
        expected: PRICE,
        fee: FEE,
        together: Layout::V1.most_tickets() as u64,
        budget: None,
        wallet: WALLET.address().to_string(),
        payers: 0,
        balance,
        own: balance,
        settled: Lamports::ZERO,
        limits: SpendingLimits::default(),
        on_chain: std::collections::HashSet::new(),
    }
}

/// A transaction for each of so many tickets that ride together: the lengths are those of real ones, and no two have the same
/// signature.
pub fn attempts(pending: &[PendingMint], together: usize, bytes: &[u8]) -> Vec<NewAttempt> {
    let attempt = |riders: &[PendingMint]| NewAttempt {
        signature: Signature::from(<[u8; 64]>::from(Sha512::digest(riders[0].id.to_le_bytes()))),
        bytes: bytes.to_vec(),
        blockhash: samples::blockhash(),
        last_valid_block_height: SLOT + 150,
        compute_units: Allowance::of_attempt(0).compute_units * riders.len() as u32,
        compute_unit_price: 10_000,
        fee: FEE,
        rent: PRICE.saturating_sub(FEE),
        tickets: riders.iter().map(|rider| (rider.id, samples::published(&rider.ticket))).collect(),
    };
    pending.chunks(together).map(attempt).collect()
}

/// The bytes of a signed transaction with so many tickets.
pub async fn transaction_bytes(together: usize) -> Vec<u8> {
    let layout = if together > Layout::Legacy.most_tickets() { Layout::V1 } else { Layout::Legacy };
    let draft = samples::drafts(1, together as u64, WALLET.address()).remove(0);
    WALLET.sign(draft.message(layout, &samples::blockhash()).unwrap()).await.unwrap().bytes
}

/// That all of some transactions have landed, or that the chain has refused those whose place says so.
pub fn settlements(attempts: &[NewAttempt], ids: &[i64], is_refused: impl Fn(usize) -> bool) -> Vec<Settlement> {
    let settlement = |(place, (attempt, id)): (usize, (&NewAttempt, &i64))| {
        let refused = is_refused(place);
        let cost = if refused { Lamports::ZERO } else { attempt.rent };
        let verdict = |((mint_id, _), fee): (&(i64, _), Lamports)| TicketVerdict {
            mint_id: *mint_id,
            cost: cost + fee,
            paid: cost + fee,
            verdict: if refused {
                Verdict::Failed(Failure::new(
                    FailureCode::RejectedByChain,
                    "the chain refused it: custom program error",
                ))
            } else {
                Verdict::Minted { signature: Some(attempt.signature), slot: Some(SLOT), adopted: None }
            },
        };
        Settlement {
            attempt: Some((*id, if refused { AttemptState::Rejected } else { AttemptState::Landed })),
            slot: Some(SLOT),
            error: None,
            never_sent: false,
            tickets: attempt.tickets.iter().zip(attempt.fee.split(attempt.tickets.len())).map(verdict).collect(),
        }
    };
    attempts.iter().zip(ids).enumerate().map(settlement).collect()
}

impl Books {
    pub fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { store: Store::open(folder.path()).unwrap(), folder }
    }

    pub async fn accept(&self, batch: NewBatch) -> Accepted {
        self.store.accept(batch, Some(rules()), Uuid::now_v7(), NOW_MS).await.unwrap()
    }

    pub async fn pending(&self, count: usize) -> Vec<PendingMint> {
        let pending = self.store.next_pending(0, count, NOW_MS).await.unwrap();
        assert_eq!(pending.len(), count);
        pending
    }

    /// Takes pending tickets all the way. Of a hundred transactions the first is refused.
    async fn mint(&self, count: usize, together: usize, bytes: &[u8]) -> Settled {
        let attempts = attempts(&self.pending(count).await, together, bytes);
        let ids = self.store.record(attempts.clone(), NOW_MS).await.unwrap();
        let settlements = settlements(&attempts, &ids, |place| place % 100 == 0);
        let proofs = settlements.iter().flat_map(|settlement| &settlement.tickets);
        let proofs = proofs.map(|ticket| (ticket.mint_id, Proof::Final { slot: Some(SLOT) })).collect();
        let settled = self.store.settle(Vec::new(), settlements, NOW_MS).await.unwrap();
        self.store.prove(proofs, NOW_MS).await.unwrap();
        settled
    }

    /// Books that already have so many batches of a thousand tickets. All but those of the last are minted, or have failed.
    pub async fn with_past(batches: u64) -> Self {
        let books = Self::open();
        let together = Layout::V1.most_tickets();
        let bytes = transaction_bytes(together).await;
        for number in 0..batches {
            let accepted = books.accept(batch(number * samples::EVENT..(number + 1) * samples::EVENT)).await;
            assert_eq!(accepted.new_tickets, samples::EVENT);
            if number + 1 < batches {
                let settled = books.mint(samples::EVENT as usize, together, &bytes).await;
                assert_eq!(settled.finished_batches.len(), 1);
            }
        }
        books
    }

    /// Closes the file and removes it.
    pub async fn close(self) {
        self.store.close().await;
        self.folder.close().unwrap();
    }
}
