//! Acceptance: a batch becomes a promise in one transaction.

mod known;
mod rows;

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet},
    sync::{Arc, atomic::Ordering},
};

use fail::fail_point;
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::{BatchRecord, Store, StoreError, batches, spending};
use crate::domain::{
    failure::{Failure, FailureCode},
    ids::VenueId,
    lamports::Lamports,
    spending::{Commitments, Funds, Refusal, SpendingLimits, check, check_budget},
    ticket::Fault,
};
use known::{KnownMint, Lookup};
use rows::Terms;

/// A batch as it arrives at the books.
#[derive(Debug)]
pub struct NewBatch {
    /// The venue that sells.
    pub venue_id: VenueId,
    /// When its tickets may be minted, Unix milliseconds; none for at once.
    pub not_before_ms: Option<i64>,
    /// Most that its tickets may cost together; none for no bound of its own.
    pub budget: Option<Lamports>,
    /// Hours or days are limited, so that it matters when its tickets are paid for.
    pub has_periods: bool,
    /// What is expected of it, as JSON.
    pub forecast: Option<String>,
    /// Its entries, in the order sent.
    pub entries: Vec<Entry>,
}

/// One entry of a batch.
#[derive(Debug)]
pub enum Entry {
    /// A ticket that passed all checks.
    Ticket(NewTicket),
    /// One that did not: it is kept in the batch's record, and nothing is minted for it.
    Faulty {
        /// The id as it was sent.
        ticket_id: String,
        /// Why it was not taken.
        failure: Failure,
        /// Everything that is wrong with it.
        faults: Vec<Fault>,
    },
}

/// A checked ticket on its way into the books.
#[derive(Debug)]
pub struct NewTicket {
    /// The ticket's id.
    pub ticket_id: String,
    /// Its event.
    pub event_id: String,
    /// Canonical JSON of what was sold.
    pub ticket: String,
    /// SHA-256 of it.
    pub content_digest: [u8; 32],
    /// Whether it was sold with a picture of its own; otherwise it gets that of its event.
    pub has_image: bool,
    /// Where it will live on the chain, base58.
    pub mint_address: String,
}

/// What is needed to decide about money inside the transaction.
#[derive(Clone, Debug)]
pub struct SpendingRules {
    /// What one ticket costs at most, with a transaction of its own: so much is reserved for each.
    pub price: Lamports,
    /// What one ticket with a transaction of its own is expected to cost.
    pub expected: Lamports,
    /// The part of either that the network takes for the transaction's signature.
    pub fee: Lamports,
    /// How many tickets share a transaction, and that fee, if nothing goes wrong.
    pub together: u64,
    /// Most that the batch may cost by the word of whoever sends it.
    pub budget: Option<Lamports>,
    /// The wallet's address.
    pub wallet: String,
    /// How many fee payers pay in its place.
    pub payers: usize,
    /// What can be spent of what those who pay hold.
    pub balance: Lamports,
    /// What the wallet itself holds.
    pub own: Lamports,
    /// [`Store::settled`] from before the balance was asked for.
    pub settled: Lamports,
    /// What the operator allows.
    pub limits: SpendingLimits,
    /// Addresses of new tickets that the chain is known to hold already: they will be adopted, and cost nothing.
    pub on_chain: HashSet<String>,
}

impl SpendingRules {
    /// How many of the new tickets that will live at some addresses cost anything.
    #[must_use]
    pub fn to_pay<'a>(&self, addresses: impl IntoIterator<Item = &'a String>) -> u64 {
        addresses.into_iter().filter(|address| !self.on_chain.contains(*address)).count() as u64
    }

    /// What so many tickets cost if nothing goes wrong.
    #[must_use]
    pub fn estimate(&self, to_pay: u64) -> Lamports {
        let shared = to_pay.saturating_sub(to_pay.div_ceil(self.together.max(1)));
        (self.expected * to_pay).saturating_sub(self.fee * shared)
    }

    /// Decides whether so many new tickets may be accepted that have to be paid for, when their time comes (Unix milliseconds;
    /// 0 for at once).
    ///
    /// # Errors
    /// The reason why not.
    pub fn check(&self, to_pay: u64, at_ms: i64, commitments: &Commitments) -> Result<(), Refusal> {
        if let Some(budget) = self.budget.filter(|_| to_pay > 0) {
            check_budget(to_pay, self.estimate(to_pay), budget)?;
        }
        let Self { ref wallet, payers, balance, own, settled, .. } = *self;
        let funds = Funds { wallet, payers, balance, own, settled };
        check(to_pay, at_ms, self.price, funds, &self.limits, commitments)
    }
}

/// A batch in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The row.
    pub batch_id: i64,
    /// The name that clients know.
    pub public_id: String,
    /// Tickets that will be minted for this batch.
    pub new_tickets: u64,
    /// The batch, if there was nothing to do.
    pub finished: Option<BatchRecord>,
}

/// What a batch would do.
#[derive(Clone, Debug, Default)]
pub struct Preview {
    /// Tickets that would be minted.
    pub new: u64,
    /// Where they would live on the chain, base58.
    pub new_addresses: Vec<String>,
    /// Tickets that are in the books already, minted or on their way.
    pub known: u64,
    /// Those of them that are to be minted later than the batch wants them, by their time, Unix milliseconds.
    pub sooner: Vec<i64>,
    /// Entries that would fail.
    pub failed: Vec<PreviewFailure>,
}

/// An entry that would fail.
#[derive(Clone, Debug)]
pub struct PreviewFailure {
    /// Place in the request, from 0.
    pub index: usize,
    /// The id as it was sent.
    pub ticket_id: String,
    /// Why.
    pub failure: Failure,
    /// Everything that is wrong with it.
    pub faults: Vec<Fault>,
}

/// Batches up to this size ride ahead of bulk work: someone is waiting at the door.
pub const DOOR_BATCH: usize = 25;

impl Store {
    /// What a batch would do, without doing it. Hands the batch back, with the addresses at which failed tickets that are
    /// tried again live by now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn preview(&self, mut batch: NewBatch) -> Result<(Preview, NewBatch), StoreError> {
        self.read(move |connection| Ok((preview(connection, &mut batch)?, batch))).await
    }

    /// Writes a batch down: all of it or nothing. Known tickets are linked, not minted again; failed ones that a retry can
    /// help are queued again. `rules` are checked against the new tickets before anything is kept.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the money does not reach, [`StoreError::DiskFull`], or another database fault.
    pub async fn accept(
        &self,
        batch: NewBatch,
        rules: Option<SpendingRules>,
        public_id: Uuid,
        now_ms: i64,
    ) -> Result<Accepted, StoreError> {
        let sum = Arc::clone(&self.settled);
        self.write_many(batch.entries.len(), move |connection| {
            let commitments = spending::commitments(connection, Lamports(sum.load(Ordering::Acquire)), now_ms)?;
            accept(connection, &batch, rules.as_ref(), commitments, public_id, now_ms)
        })
        .await
    }
}

fn preview(connection: &Connection, batch: &mut NewBatch) -> Result<Preview, StoreError> {
    let (mut preview, mut lookup) = (Preview::default(), Lookup::new(connection, batch.venue_id.as_str())?);
    for (index, entry) in batch.entries.iter_mut().enumerate() {
        let found = match place(&mut lookup, entry, batch.not_before_ms)? {
            Place::Refused { ticket_id, failure, faults } => {
                let (ticket_id, failure) = (ticket_id.to_owned(), failure.into_owned());
                preview.failed.push(PreviewFailure { index, ticket_id, failure, faults: faults.to_vec() });
                continue;
            }
            Place::Known { sooner_than, .. } => {
                preview.known = preview.known.saturating_add(1);
                preview.sooner.extend(sooner_than);
                continue;
            }
            Place::Again(_, known) => Some(known.address),
            Place::New(_) => None,
        };
        if let Entry::Ticket(ticket) = entry {
            if let Some(address) = found {
                ticket.mint_address = address;
            }
            preview.new = preview.new.saturating_add(1);
            preview.new_addresses.push(ticket.mint_address.clone());
        }
    }
    Ok(preview)
}

fn accept(
    connection: &Connection,
    batch: &NewBatch,
    rules: Option<&SpendingRules>,
    mut commitments: Commitments,
    public_id: Uuid,
    now_ms: i64,
) -> Result<Accepted, StoreError> {
    let mut lookup = Lookup::new(connection, batch.venue_id.as_str())?;
    let places = batch.entries.iter().map(|entry| place(&mut lookup, entry, batch.not_before_ms));
    let places: Vec<Place<'_>> = places.collect::<Result<_, _>>()?;
    let new_at: Vec<&String> = places.iter().filter_map(Place::new_at).collect();
    places.iter().filter_map(Place::sooner_than).for_each(|not_before_ms| commitments.want_sooner(not_before_ms));
    let (mut estimate, mut to_pay) = (Lamports::ZERO, 0);
    if !new_at.is_empty() || (batch.has_periods && commitments.sooner > 0) {
        // Without rules the caller saw nothing that costs anything; a ticket has failed since, and the request may be repeated.
        let rules = rules.ok_or(StoreError::Unavailable)?;
        to_pay = rules.to_pay(new_at.iter().copied());
        rules.check(to_pay, batch.not_before_ms.unwrap_or_default(), &commitments)?;
        estimate = rules.estimate(to_pay);
    }
    let (public_id, new_tickets) = (public_id.to_string(), new_at.len() as u64);
    let batch_id = rows::write(connection, batch, &places, Terms { public_id: &public_id, estimate, to_pay, now_ms })?;
    fail_point!("accept.inside");
    if new_tickets > 0 {
        note_events(connection, batch)?;
    }
    let finish = "UPDATE batches SET finished_at = ? WHERE id = ? AND open = 0";
    connection.prepare_cached(finish)?.execute(params![now_ms, batch_id])?;
    let finished = batches::finished(connection, batch_id)?;
    Ok(Accepted { batch_id, public_id, new_tickets, finished })
}

/// What becomes of an entry.
enum Place<'a> {
    /// It is to be minted for this batch, which brought it.
    New(&'a NewTicket),
    /// It has failed before, and is to be minted for this batch.
    Again(&'a NewTicket, KnownMint),
    /// It is in the books already, minted or on its way.
    Known {
        ticket_id: &'a String,
        mint_id: i64,
        /// When it was to be minted, if this batch wants it sooner, Unix milliseconds.
        sooner_than: Option<i64>,
    },
    /// Nothing is minted for it.
    Refused { ticket_id: &'a String, failure: Cow<'a, Failure>, faults: &'a [Fault] },
}

impl Place<'_> {
    /// Where it will live, if it is to be minted for this batch.
    fn new_at(&self) -> Option<&String> {
        match self {
            Self::New(ticket) => Some(&ticket.mint_address),
            Self::Again(_, known) => Some(&known.address),
            Self::Known { .. } | Self::Refused { .. } => None,
        }
    }

    fn sooner_than(&self) -> Option<i64> {
        if let Self::Known { sooner_than, .. } = self { *sooner_than } else { None }
    }
}

fn place<'a>(lookup: &mut Lookup<'_>, entry: &'a Entry, not_before_ms: Option<i64>) -> Result<Place<'a>, StoreError> {
    let ticket = match entry {
        Entry::Ticket(ticket) => ticket,
        Entry::Faulty { ticket_id, failure, faults } => {
            return Ok(Place::Refused { ticket_id, failure: Cow::Borrowed(failure), faults });
        }
    };
    let ticket_id = &ticket.ticket_id;
    Ok(match lookup.find(ticket)? {
        None => Place::New(ticket),
        Some(known) if known.content_digest != ticket.content_digest => {
            Place::Refused { ticket_id, failure: Cow::Owned(content_conflict()), faults: &[] }
        }
        Some(known) if known.can_be_retried() => Place::Again(ticket, known),
        Some(known) => Place::Known { ticket_id, mint_id: known.id, sooner_than: known.waits_beyond(not_before_ms) },
    })
}

/// An event is known from its first ticket on.
fn note_events(connection: &Connection, batch: &NewBatch) -> Result<(), StoreError> {
    let tickets = batch.entries.iter().filter_map(|entry| match entry {
        Entry::Ticket(ticket) => Some(ticket.event_id.as_str()),
        Entry::Faulty { .. } => None,
    });
    let events: BTreeSet<&str> = tickets.collect();
    let mut note = connection.prepare_cached(
        // Its tickets were not all refused.
        "INSERT OR IGNORE INTO mint_events (venue_id, event_id)
         SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM mints WHERE venue_id = ?1 AND event_id = ?2 AND status <> 'minted')",
    )?;
    events.into_iter().try_for_each(|event_id| note.execute([batch.venue_id.as_str(), event_id]).map(|_rows| ()))?;
    Ok(())
}

fn content_conflict() -> Failure {
    Failure::new(
        FailureCode::ContentConflict,
        "this ticket id is already known with other content, and a ticket cannot be changed once it is accepted; \
         send it as it was, or sell under a new id",
    )
}
