//! Acceptance: a batch becomes a promise in one transaction.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, atomic::Ordering},
};

use fail::fail_point;
use rusqlite::{Connection, OptionalExtension as _, named_params, params};
use uuid::Uuid;

use super::{BatchRecord, Store, StoreError, batches, images, spending, tally};
use crate::domain::{
    failure::{Failure, FailureCode},
    ids::VenueId,
    lamports::Lamports,
    mint::MintStatus,
    spending::{Commitments, Funds, Refusal, SpendingLimits, check, check_budget},
    ticket::Fault,
};

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
        self.read(move |connection| {
            let mut preview = Preview::default();
            for (index, entry) in batch.entries.iter_mut().enumerate() {
                let failed = |ticket_id: &str, failure: Failure, faults: &[Fault]| PreviewFailure {
                    index,
                    ticket_id: ticket_id.to_owned(),
                    failure,
                    faults: faults.to_vec(),
                };
                match entry {
                    Entry::Faulty { ticket_id, failure, faults } => {
                        preview.failed.push(failed(ticket_id, failure.clone(), faults));
                    }
                    Entry::Ticket(ticket) => match known_mint(connection, batch.venue_id.as_str(), ticket)? {
                        Some(mint) if mint.content_digest != ticket.content_digest => {
                            preview.failed.push(failed(&ticket.ticket_id, content_conflict(), &[]));
                        }
                        Some(mint) if !mint.can_be_retried() => {
                            preview.known = preview.known.saturating_add(1);
                            preview.sooner.extend(mint.waits_beyond(batch.not_before_ms));
                        }
                        found => {
                            if let Some(mint) = found {
                                ticket.mint_address = mint.address;
                            }
                            preview.new = preview.new.saturating_add(1);
                            preview.new_addresses.push(ticket.mint_address.clone());
                        }
                    },
                }
            }
            Ok((preview, batch))
        })
        .await
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

fn accept(
    connection: &Connection,
    batch: &NewBatch,
    rules: Option<&SpendingRules>,
    mut commitments: Commitments,
    public_id: Uuid,
    now_ms: i64,
) -> Result<Accepted, StoreError> {
    let public_id = public_id.to_string();
    connection.execute(
        "INSERT INTO batches (public_id, venue_id, total, estimated_lamports, created_at, not_before, max_lamports, forecast)
         VALUES (?, ?, ?, 0, ?, ?, ?, ?)",
        params![
            public_id,
            batch.venue_id.as_str(),
            batch.entries.len(),
            now_ms,
            batch.not_before_ms,
            batch.budget.map(|budget| budget.0),
            batch.forecast.as_deref()
        ],
    )?;
    let batch_id = connection.last_insert_rowid();
    let turn = Turn {
        lane: i64::from(batch.entries.len() > DOOR_BATCH),
        not_before_ms: batch.not_before_ms.unwrap_or_default(),
    };
    let mut new_at = Vec::new();
    for (position, entry) in batch.entries.iter().enumerate() {
        let link = match entry {
            Entry::Faulty { ticket_id, failure, faults } => Link::faulty(ticket_id, failure, faults),
            Entry::Ticket(ticket) => take(connection, &batch.venue_id, ticket, turn, now_ms)?,
        };
        link.insert(connection, batch_id, position)?;
        new_at.extend(link.new_at);
        link.sooner_than.into_iter().for_each(|not_before_ms| commitments.want_sooner(not_before_ms));
    }
    if !new_at.is_empty() || (batch.has_periods && commitments.sooner > 0) {
        // Without rules the caller saw nothing that costs anything; a ticket has failed since, and the request may be repeated.
        let rules = rules.ok_or(StoreError::Unavailable)?;
        let to_pay = rules.to_pay(&new_at);
        rules.check(to_pay, turn.not_before_ms, &commitments)?;
        fail_point!("accept.inside");
        let estimate = rules.estimate(to_pay);
        connection.execute("UPDATE batches SET estimated_lamports = ? WHERE id = ?", params![estimate.0, batch_id])?;
        tally::share_out(connection, batch_id, (estimate, to_pay), now_ms)?;
        note_events(connection, batch)?;
    }
    connection.execute("UPDATE batches SET finished_at = ? WHERE id = ? AND open = 0", params![now_ms, batch_id])?;
    let finished = batches::finished(connection, batch_id)?;
    Ok(Accepted { batch_id, public_id, new_tickets: new_at.len() as u64, finished })
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

/// What the books know of a ticket.
struct KnownMint {
    id: i64,
    /// Where this issue of it lives.
    address: String,
    content_digest: Vec<u8>,
    status: String,
    error_code: Option<String>,
    /// Its event has another picture now than the ticket got.
    image_changed: bool,
    /// When it may be minted, Unix milliseconds; 0 for at once.
    not_before_ms: i64,
}

impl KnownMint {
    /// The time that it waits for, if that is later than a batch wants it.
    fn waits_beyond(&self, wanted_ms: Option<i64>) -> Option<i64> {
        let waits = self.status == MintStatus::Pending.as_str();
        Some(self.not_before_ms).filter(|not_before_ms| waits && *not_before_ms > wanted_ms.unwrap_or_default())
    }

    fn can_be_retried(&self) -> bool {
        let code = self.error_code.as_deref().and_then(FailureCode::parse);
        let retryable = code.is_some_and(FailureCode::retryable) || self.gets_new_image();
        self.status == MintStatus::Failed.as_str() && retryable
    }

    /// The chain holds the ticket with other metadata, and with the event's present picture it may be the same: books that
    /// are rebuilt may have been told of the picture only after the ticket. These books have not minted it, so nothing that
    /// follows from its picture is public yet.
    fn gets_new_image(&self) -> bool {
        self.image_changed && self.error_code.as_deref() == Some(FailureCode::ChainConflict.as_str())
    }
}

fn known_mint(connection: &Connection, venue_id: &str, ticket: &NewTicket) -> Result<Option<KnownMint>, StoreError> {
    let sql = format!(
        "SELECT id, content_digest, status, error_code, image_uri IS NOT {}, mint_address, not_before FROM mints
         WHERE venue_id = :venue AND ticket_id = :ticket ORDER BY generation DESC LIMIT 1",
        images::URI_NOW
    );
    let parameters = named_params! {
        ":venue": venue_id, ":event": ticket.event_id, ":own": ticket.has_image, ":ticket": ticket.ticket_id
    };
    let known = connection
        .prepare_cached(&sql)?
        .query_row(parameters, |row| {
            Ok(KnownMint {
                id: row.get(0)?,
                content_digest: row.get(1)?,
                status: row.get(2)?,
                error_code: row.get(3)?,
                image_changed: row.get(4)?,
                address: row.get(5)?,
                not_before_ms: row.get(6)?,
            })
        })
        .optional()?;
    Ok(known)
}

/// A row of `batch_entries` in the making.
struct Link<'a> {
    ticket_id: &'a str,
    mint_id: Option<i64>,
    /// Where it will live, if it is to be minted for this batch.
    new_at: Option<String>,
    /// When it was to be minted, if this batch wants it sooner, Unix milliseconds.
    sooner_than: Option<i64>,
    replayed: bool,
    failure: Option<Failure>,
    faults: &'a [Fault],
}

impl<'a> Link<'a> {
    fn faulty(ticket_id: &'a str, failure: &Failure, faults: &'a [Fault]) -> Self {
        Self {
            ticket_id,
            mint_id: None,
            new_at: None,
            sooner_than: None,
            replayed: false,
            failure: Some(failure.clone()),
            faults,
        }
    }

    fn insert(&self, connection: &Connection, batch_id: i64, position: usize) -> Result<(), StoreError> {
        // A list of plain strings: serialising cannot fail.
        let faults = (!self.faults.is_empty()).then(|| serde_json::to_string(self.faults).unwrap_or_default());
        connection
            .prepare_cached(
                "INSERT INTO batch_entries
                     (batch_id, position, ticket_id, mint_id, replayed, error_code, error_message, faults)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                batch_id,
                position,
                self.ticket_id,
                self.mint_id,
                self.replayed,
                self.failure.as_ref().map(|failure| failure.code.as_str()),
                self.failure.as_ref().map(|failure| failure.message.as_str()),
                faults,
            ])?;
        Ok(())
    }
}

/// When a ticket's turn comes.
#[derive(Clone, Copy)]
struct Turn {
    lane: i64,
    /// 0 for at once.
    not_before_ms: i64,
}

fn take<'a>(
    connection: &Connection,
    venue_id: &VenueId,
    ticket: &'a NewTicket,
    turn: Turn,
    now_ms: i64,
) -> Result<Link<'a>, StoreError> {
    let link = |mint_id, new_at, replayed| Link {
        ticket_id: &ticket.ticket_id,
        mint_id: Some(mint_id),
        new_at,
        sooner_than: None,
        replayed,
        failure: None,
        faults: &[],
    };
    let Some(known) = known_mint(connection, venue_id.as_str(), ticket)? else {
        connection
            .prepare_cached(
                // A ticket without a picture gets that of its event: as it is now, for ever.
                "INSERT INTO mints
                     (venue_id, ticket_id, event_id, ticket, content_digest, mint_address, lane, not_before, created_at,
                      image_uri, image_type)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,
                     (SELECT 'ipfs://' || cid FROM event_images WHERE venue_id = ?1 AND event_id = ?3 AND NOT ?10),
                     (SELECT media_type FROM event_images WHERE venue_id = ?1 AND event_id = ?3 AND NOT ?10))",
            )?
            .execute(params![
                venue_id.as_str(),
                ticket.ticket_id,
                ticket.event_id,
                ticket.ticket,
                ticket.content_digest,
                ticket.mint_address,
                turn.lane,
                turn.not_before_ms,
                now_ms,
                ticket.has_image
            ])?;
        return Ok(link(connection.last_insert_rowid(), Some(ticket.mint_address.clone()), false));
    };
    if known.content_digest != ticket.content_digest {
        let failure = content_conflict();
        return Ok(Link { failure: Some(failure), mint_id: None, ..link(known.id, None, false) });
    }
    if known.can_be_retried() {
        if known.gets_new_image() {
            give_new_image(connection, venue_id, ticket, known.id)?;
        }
        connection
            .prepare_cached(
                "UPDATE mints SET status = 'pending', lane = ?, not_before = ?, attempts = 0, error_code = NULL,
                                  error_message = NULL, settled_at = NULL
                 WHERE id = ?",
            )?
            .execute(params![turn.lane, turn.not_before_ms, known.id])?;
        return Ok(link(known.id, Some(known.address), false));
    }
    // Whoever asks for a waiting ticket earlier gets it earlier.
    let sooner_than = known.waits_beyond(Some(turn.not_before_ms));
    if sooner_than.is_some() {
        connection
            .prepare_cached("UPDATE mints SET not_before = ?1, due_at = max(?1, ?3) WHERE id = ?2")?
            .execute(params![turn.not_before_ms, known.id, now_ms])?;
    }
    Ok(Link { sooner_than, ..link(known.id, None, true) })
}

/// Gives a ticket that has no picture the one that its event has now.
fn give_new_image(
    connection: &Connection,
    venue_id: &VenueId,
    ticket: &NewTicket,
    mint_id: i64,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE mints SET (image_uri, image_type) =
                 (SELECT 'ipfs://' || cid, media_type FROM event_images WHERE venue_id = ? AND event_id = ? AND NOT ?)
             WHERE id = ?",
        )?
        .execute(params![venue_id.as_str(), ticket.event_id, ticket.has_image, mint_id])?;
    Ok(())
}
