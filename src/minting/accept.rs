//! Acceptance: a request becomes a durable promise, or is refused as a whole before anything is spent.

use std::collections::{HashMap, HashSet};

use fail::fail_point;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use solana_pubkey::Pubkey;
use thiserror::Error;
use uuid::Uuid;

use super::{Minter, Shared};
use crate::{
    chain::{
        Account, ChainError,
        ticket::{OnChain, read},
    },
    domain::{
        address::{Generation, mint_address},
        failure::{Failure, FailureCode},
        forecast::Forecast,
        ids::VenueId,
        lamports::Lamports,
        spending::{Commitments, Refusal},
        ticket::{self, Fault, Ticket, TicketRules, cap},
    },
    payers::Holdings,
    simulation,
    store::{Accepted, Entry, NewBatch, NewTicket, Preview, SpendingRules, StoreError},
};

/// Most tickets in one batch.
pub const MAX_BATCH_TICKETS: usize = 10_000;
/// Longest ticket as JSON, in bytes.
const MAX_TICKET_BYTES: usize = 16_384;
/// Longest ticket as it is sent, with its blanks: what is longer is not looked into.
const MAX_SENT_TICKET_BYTES: usize = 4 * MAX_TICKET_BYTES;
/// What is shown of an id that was sent, at most.
const SHOWN_ID_CHARS: usize = 128;

/// A batch as a client asks for it: the tickets are not looked into yet.
#[derive(Clone, Debug)]
pub struct BatchRequest {
    /// The venue that sells.
    pub venue_id: VenueId,
    /// When they may be minted; none for at once.
    pub not_before: Option<NotBefore>,
    /// Most that its new tickets may cost together; none for no bound of its own.
    pub budget: Option<Lamports>,
    /// Its tickets as JSON texts.
    pub tickets: Vec<Box<RawValue>>,
}

/// The time that a batch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotBefore {
    /// A moment, Unix milliseconds.
    At(i64),
    /// The next quiet hours of the box.
    QuietHours,
}

/// What the wallet holds, and whether that is enough.
#[derive(Clone, Debug)]
pub struct Funds {
    /// Its address, base58.
    pub wallet: String,
    /// How many fee payers pay in its place.
    pub payers: usize,
    /// Everything in it, or in its fee payers if it has any.
    pub balance: Lamports,
    /// Without what is kept back by setting and reserved for tickets already accepted.
    pub spendable: Lamports,
    /// Why the batch would be refused as a whole.
    pub refusal: Option<Refusal>,
}

/// Why a batch was refused as a whole. Nothing of it is kept.
#[derive(Debug, Error)]
pub enum AcceptError {
    /// No tickets, or too many.
    #[error("a batch has 1 to {MAX_BATCH_TICKETS} tickets; this one has {found}")]
    BatchSize {
        /// Tickets sent.
        found: usize,
    },
    /// The batch was to wait for quiet hours, and the box has none.
    #[error("the box has no quiet hours; set QUIET_HOURS, or name a time in notBefore")]
    NoQuietHours,
    /// The books refused: no money, no disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The price or the balance cannot be known.
    #[error("nothing was accepted, because the chain does not answer: {0}")]
    Chain(#[from] ChainError),
}

/// What decides about a batch's money.
struct Spending {
    rules: SpendingRules,
    holdings: Holdings,
    commitments: Commitments,
    /// Why it would be refused as things stand.
    refusal: Option<Refusal>,
}

impl Minter {
    /// Accepts a batch. When this returns, every ticket in it is on disk and will be minted exactly once, unless it was
    /// faulty, which the batch's record then says.
    ///
    /// # Errors
    /// See [`AcceptError`]: the whole batch is refused, and nothing is kept of it.
    pub async fn accept(&self, request: BatchRequest) -> Result<Accepted, AcceptError> {
        let found = request.tickets.len();
        let (preview, batch) = self.look_through(request).await?;
        self.accept_checked(found, preview, batch).await
    }

    /// Takes those tickets of a batch into the books that the chain holds already. Nothing is minted: the others fail, and
    /// may be sent to be minted afterwards.
    ///
    /// # Errors
    /// See [`AcceptError`]: nothing is kept then.
    pub async fn recover(&self, request: BatchRequest) -> Result<Accepted, AcceptError> {
        let found = request.tickets.len();
        let (mut preview, mut batch) = self.look_through(request).await?;
        let on_chain = self.on_chain(&preview.new_addresses).await?;
        let new: HashSet<String> = std::mem::take(&mut preview.new_addresses).into_iter().collect();
        for entry in &mut batch.entries {
            if let Entry::Ticket(ticket) = entry
                && new.contains(&ticket.mint_address)
                && !on_chain.contains(&ticket.mint_address)
            {
                let message = format!("the chain holds no ticket at {}; send it to be minted", ticket.mint_address);
                *entry = Entry::Faulty {
                    ticket_id: std::mem::take(&mut ticket.ticket_id),
                    failure: Failure::new(FailureCode::NotOnChain, message),
                    faults: Vec::new(),
                };
            }
        }
        preview.new = on_chain.len() as u64;
        preview.new_addresses = on_chain.into_iter().collect();
        self.accept_checked(found, preview, batch).await
    }

    async fn accept_checked(
        &self,
        found: usize,
        preview: Preview,
        mut batch: NewBatch,
    ) -> Result<Accepted, AcceptError> {
        let shared = &self.shared;
        if preview.new > 0 {
            batch.forecast = self.forecast_of(preview.new, batch.not_before_ms).await?.to_keep();
        }
        // A batch of known tickets is answered even when the chain is away.
        let now_ms = shared.now_ms();
        let costs = preview.new > 0 || (batch.has_periods && preview.sooner.iter().any(|later_ms| *later_ms > now_ms));
        let spending = if costs {
            Some(self.spending_rules(&preview, batch.budget, batch.not_before_ms).await?.rules)
        } else {
            None
        };
        fail_point!("accept.before");
        let accepted = shared.store.accept(batch, spending, Uuid::now_v7(), shared.now_ms()).await?;
        fail_point!("accept.after");
        // Known tickets may have been waiting for a later time.
        if accepted.finished.is_none() {
            shared.work.notify_one();
        }
        tracing::info!(batch = %accepted.public_id, tickets = found, new = accepted.new_tickets, "batch accepted");
        shared.meter.accepted(found);
        if let Some(batch) = &accepted.finished {
            shared.meter.finished(batch);
        }
        Ok(accepted)
    }

    /// What to expect of the new tickets of a batch. What will wait before one that is for later is not known.
    async fn forecast_of(&self, new: u64, not_before_ms: Option<i64>) -> Result<Forecast, StoreError> {
        let Shared { forecaster, settings, clock, .. } = &*self.shared;
        if not_before_ms.is_some_and(|not_before_ms| not_before_ms > clock.now_ms()) {
            return Ok(forecaster.forecast(new, 0, self.allowed(), settings.pacing.slot));
        }
        self.forecast(new).await
    }

    /// Says what a batch would do and cost, and does nothing.
    ///
    /// # Errors
    /// [`AcceptError::BatchSize`], or a fault of the chain or the books.
    pub async fn preview(&self, request: BatchRequest) -> Result<(Preview, Funds), AcceptError> {
        let (preview, batch) = self.look_through(request).await?;
        let Spending { rules, holdings, commitments, refusal } =
            self.spending_rules(&preview, batch.budget, batch.not_before_ms).await?;
        let SpendingRules { price, wallet, balance: usable, settled, limits, .. } = rules;
        let settled_since = commitments.settled.saturating_sub(settled);
        let spendable = usable.saturating_sub(limits.keep_back + settled_since + price * commitments.open_tickets);
        let (balance, payers) = (holdings.paying(), holdings.payers.len());
        Ok((preview, Funds { wallet, payers, balance, spendable, refusal }))
    }

    /// Queues failed tickets again that a retry can help, the oldest first and as many as a batch may have. Spending is
    /// checked as for a batch. Returns how many were queued.
    ///
    /// # Errors
    /// See [`AcceptError`]: nothing is queued then.
    pub async fn retry_failed(&self) -> Result<u64, AcceptError> {
        let shared = &self.shared;
        let failed = shared.store.retryable(MAX_BATCH_TICKETS).await?;
        if failed.is_empty() {
            return Ok(0);
        }
        let (ids, addresses): (Vec<i64>, Vec<String>) = failed.into_iter().unzip();
        let preview = Preview { new: ids.len() as u64, new_addresses: addresses, ..Preview::default() };
        let Spending { rules, .. } = self.spending_rules(&preview, None, None).await?;
        let queued = shared.store.retry(ids, rules, shared.now_ms()).await?;
        if queued > 0 {
            shared.work.notify_one();
        }
        Ok(queued)
    }

    async fn look_through(&self, request: BatchRequest) -> Result<(Preview, NewBatch), AcceptError> {
        let found = request.tickets.len();
        if found == 0 || found > MAX_BATCH_TICKETS {
            return Err(AcceptError::BatchSize { found });
        }
        let not_before_ms = match request.not_before {
            None => None,
            Some(NotBefore::At(ms)) => Some(ms),
            Some(NotBefore::QuietHours) => {
                let hours = self.shared.settings.quiet_hours.as_ref().ok_or(AcceptError::NoQuietHours)?;
                Some(hours.next(self.shared.now_ms()))
            }
        };
        let (authority, rules) = (self.shared.wallet.address(), self.shared.settings.ticket_rules);
        let check = move || check(request, not_before_ms, &authority, rules);
        let mut batch = simulation::aside(check).await.ok_or(StoreError::Closed)?;
        let limits = self.shared.settings.limits;
        batch.has_periods = limits.per_hour.is_some() || limits.per_day.is_some();
        Ok(self.shared.store.preview(batch).await?)
    }

    /// What decides about a batch's money, and why it would be refused as things stand.
    async fn spending_rules(
        &self,
        preview: &Preview,
        budget: Option<Lamports>,
        not_before_ms: Option<i64>,
    ) -> Result<Spending, AcceptError> {
        let shared = &self.shared;
        // Before the balance is asked for: what is settled after this may not be missing from it yet.
        let settled = shared.store.settled();
        let layout = shared.packing.expected_layout();
        let prices = &shared.prices;
        let asked = async { tokio::try_join!(prices.ticket(), prices.most(), shared.purse.look()) };
        let (layout, asked) = tokio::join!(layout, asked);
        let (expected, most, holdings) = asked?;
        let (price, expected, fee) = (most.total(), expected.total(), expected.signature_fee_lamports);
        let (wallet, mut limits) = (shared.wallet.address().to_string(), shared.settings.limits);
        limits.keep_back = holdings.keep_back(limits.keep_back);
        let together = shared.together(layout) as u64;
        // Fee payers can spend whole tickets only: what is left of each is no promise.
        let (balance, payers) = (holdings.usable(price), holdings.payers.len());
        let on_chain = HashSet::new();
        let mut rules = SpendingRules {
            price,
            expected,
            fee,
            together,
            budget,
            wallet,
            payers,
            balance,
            own: holdings.wallet,
            settled,
            limits,
            on_chain,
        };
        let mut commitments = shared.store.commitments(shared.now_ms()).await?;
        preview.sooner.iter().for_each(|later_ms| commitments.want_sooner(*later_ms));
        let at_ms = not_before_ms.unwrap_or_default();
        let mut refusal = rules.check(preview.new, at_ms, &commitments).err();
        if refusal.is_some() {
            // What the chain holds already, from an earlier life of these books, costs nothing: worth a look before a no.
            rules.on_chain = self.on_chain(&preview.new_addresses).await?;
            refusal = rules.check(rules.to_pay(&preview.new_addresses), at_ms, &commitments).err();
        }
        Ok(Spending { rules, holdings, commitments, refusal })
    }

    /// Those of some tickets' addresses at which the chain holds something.
    async fn on_chain(&self, addresses: &[String]) -> Result<HashSet<String>, ChainError> {
        let mints: Vec<Pubkey> = addresses.iter().filter_map(|address| address.parse().ok()).collect();
        let accounts = self.shared.chain.accounts(&mints).await?.value;
        let exists =
            |mint: &Option<Account>| !matches!(read([mint.as_ref(), None, None, None]), OnChain::Absent { .. });
        let found = addresses.iter().zip(&accounts).filter(|(_, account)| exists(account));
        Ok(found.map(|(address, _)| address.clone()).collect())
    }
}

/// Checks every ticket by itself and against its neighbours.
fn check(request: BatchRequest, not_before_ms: Option<i64>, authority: &Pubkey, rules: TicketRules) -> NewBatch {
    let mut first_seen = HashMap::new();
    let mut entries = Vec::with_capacity(request.tickets.len());
    for (position, text) in request.tickets.into_iter().enumerate() {
        if text.get().len() > MAX_SENT_TICKET_BYTES {
            entries.push(too_long("", text.get().len()));
            continue;
        }
        let json: Value = match serde_json::from_str(text.get()) {
            Ok(json) => json,
            Err(error) => {
                entries.push(unreadable(text.get(), &error));
                continue;
            }
        };
        drop(text);
        let ticket = match Ticket::from_json(&json, rules) {
            Ok(ticket) => ticket,
            Err(faults) => {
                entries.push(faulty(&json, faults));
                continue;
            }
        };
        if let Some(first) = first_seen.get(&ticket.id) {
            let message = format!(
                "this batch names the ticket twice, as entries {first} and {position} (counted from 0); the first is taken"
            );
            let failure = Failure::new(FailureCode::DuplicateInBatch, message);
            entries.push(Entry::Faulty { ticket_id: ticket.id, failure, faults: Vec::new() });
            continue;
        }
        first_seen.insert(ticket.id.clone(), position);
        entries.push(new_ticket(&request.venue_id, ticket, authority));
    }
    NewBatch {
        venue_id: request.venue_id,
        not_before_ms,
        budget: request.budget,
        has_periods: false,
        forecast: None,
        entries,
    }
}

fn new_ticket(venue: &VenueId, ticket: Ticket, authority: &Pubkey) -> Entry {
    let text = ticket.canonical_json();
    let (Ok(ticket_id), true) = (ticket.ticket_id(), text.len() <= MAX_TICKET_BYTES) else {
        return too_long(&ticket.id, text.len());
    };
    Entry::Ticket(NewTicket {
        content_digest: ticket::digest(&text),
        has_image: ticket.image.is_some(),
        mint_address: mint_address(authority, venue, &ticket_id, Generation(0)).to_string(),
        ticket_id: ticket.id,
        event_id: ticket.event_id,
        ticket: text,
    })
}

/// A ticket whose text has the form of JSON, or it would not have been cut out of the request, but means nothing: a number
/// beyond all bounds, half of a surrogate pair, too many levels.
fn unreadable(text: &str, error: &serde_json::Error) -> Entry {
    #[derive(Deserialize)]
    struct Named {
        id: Value,
    }
    let id = serde_json::from_str(text).map_or(Value::Null, |Named { id }| id);
    let detail = format!("the ticket is not readable JSON: {error}");
    faulty(&serde_json::json!({ "id": id }), vec![Fault { pointer: String::new(), detail }])
}

fn too_long(id: &str, found: usize) -> Entry {
    let detail = format!("the ticket is {found} bytes long as JSON; at most {MAX_TICKET_BYTES} fit");
    faulty(&serde_json::json!({ "id": id }), vec![Fault { pointer: String::new(), detail }])
}

fn faulty(json: &Value, mut faults: Vec<Fault>) -> Entry {
    cap(&mut faults);
    let id = match json.get("id") {
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        _ => String::new(),
    };
    let ticket_id: String = id.chars().take(SHOWN_ID_CHARS).collect();
    let told = faults.iter().map(|fault| match fault.pointer.trim_start_matches('/') {
        "" => fault.detail.clone(),
        field => format!("{field} {}", fault.detail),
    });
    let message = told.collect::<Vec<_>>().join("; ");
    Entry::Faulty { ticket_id, failure: Failure::new(FailureCode::InvalidTicket, message), faults }
}
