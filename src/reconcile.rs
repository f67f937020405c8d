//! Comparing the books with the chain, and repairing the books.
//!
//! ```text
//! books ──► look (bulk calls) ──► compare (pure) ──► prove what is doubtful ──► report
//!                                                                          └──► repair: correct, queue, publish
//! ```
//!
//! Nothing here mints. What provably does not exist goes back to the minting engine's queue, which looks at the chain once
//! more before it signs; and a ticket's address is derived from its identity, so that a second NFT is impossible.

mod compare;
mod instruments;
mod look;
mod repair;
mod strangers;

use std::{fmt, sync::Arc, time::Duration};

use prometheus::Registry;
use serde::{Deserialize, Serialize};
use solana_pubkey::Pubkey;
use thiserror::Error;
use tokio::time::Instant;
use utoipa::ToSchema;

pub use repair::{Refused, Repair};
pub use strangers::Stranger;

use crate::{
    chain::{Chain, ChainError},
    clock::SharedClock,
    domain::discrepancy::{CheckStatus, Discrepancy},
    metadata::{PublishError, Publisher},
    minting::Minter,
    store::{BookedMint, Report, Store, StoreError},
};
use compare::Finding;
use instruments::Instruments;
use look::Memory;

/// Tickets that are looked at in one step: bounds memory.
const CHUNK: usize = 2_000;
/// Differences that a report holds; the counts are exact beyond it.
const MAX_REPORTED: usize = 10_000;
/// Pieces of news and reasons that a report holds.
const MAX_NOTES: usize = 1_000;
const DAY_MS: i64 = 86_400_000;

/// Why books and chain could not be compared.
#[derive(Debug, Error)]
pub enum ReconcileError {
    /// The books.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The content store.
    #[error(transparent)]
    Content(#[from] PublishError),
    /// The chain does not answer a question that everything depends on.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// No ticket of this venue was ever accepted.
    #[error("no ticket of the venue {0} has been accepted")]
    UnknownVenue(String),
}

/// What the venue chose.
#[derive(Clone, Copy, Debug)]
pub struct ReconcileSettings {
    /// Days for which reports are kept.
    pub keep_reports_days: u32,
    /// Share of differences below which the nightly run repairs by itself, from 0 to 1.
    pub auto_fix_max_rate: f64,
}

/// Compares books and chain. Cheap to clone.
#[derive(Clone)]
pub struct Reconciler {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    chain: Arc<dyn Chain>,
    content: Arc<dyn Publisher>,
    minter: Minter,
    wallet: Pubkey,
    clock: SharedClock,
    settings: ReconcileSettings,
    /// One comparison at a time: two would only ask the chain twice.
    turn: tokio::sync::Mutex<()>,
    instruments: Instruments,
}

impl fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconciler").field("wallet", &self.shared.wallet).finish_non_exhaustive()
    }
}

/// What a comparison came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The venue.
    pub venue_id: String,
    /// The report's number.
    pub report_id: i64,
    /// Tickets compared.
    pub total_checked: u64,
    /// Books and chain agree.
    pub confirmed: u64,
    /// The books say minted, and it is proven that the chain has no such ticket.
    pub not_found: u64,
    /// Cannot be told now; `reasons` says why.
    pub pending: u64,
    /// Books and chain disagree.
    pub errors: u64,
    /// Tickets with a difference.
    pub discrepancy_count: u64,
    /// Their share of the tickets compared, in percent.
    pub discrepancy_rate: f64,
    /// The differences, at most 10,000 of them; a ticket may have several.
    pub discrepancies: Vec<Discrepancy>,
    /// Why tickets are pending.
    pub reasons: Vec<Note>,
    /// What happened to tickets that is nobody's fault, such as a new holder.
    pub news: Vec<Note>,
    /// NFTs of this wallet that the books of no venue know.
    pub unknown_to_books: Vec<Stranger>,
    /// Why the search for them is not complete; null when it is.
    pub search_incomplete: Option<String>,
    /// Seconds that it took.
    pub duration_seconds: f64,
}

/// Something to know of a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// The ticket.
    pub ticket_id: String,
    /// A sentence for a person.
    pub text: String,
}

/// What the nightly run did for a venue.
#[derive(Debug)]
pub struct Nightly {
    /// What the comparison came to.
    pub summary: Summary,
    /// What was repaired, if the rate allowed it.
    pub repair: Option<Repair>,
}

impl Reconciler {
    /// Puts it together.
    ///
    /// # Errors
    /// When its instruments are registered already.
    #[expect(clippy::too_many_arguments, reason = "called once, by the wiring")]
    pub fn new(
        store: Store,
        chain: Arc<dyn Chain>,
        content: Arc<dyn Publisher>,
        minter: Minter,
        wallet: Pubkey,
        clock: SharedClock,
        settings: ReconcileSettings,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let (turn, instruments) = (tokio::sync::Mutex::default(), Instruments::new(registry)?);
        let shared = Shared { store, chain, content, minter, wallet, clock, settings, turn, instruments };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Has its instruments show what earlier processes found.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn recall(&self) -> Result<(), StoreError> {
        self.shared.instruments.recall(self.shared.store.latest_reports().await?);
        Ok(())
    }

    /// Compares all tickets of a venue with the chain, and writes a report.
    ///
    /// # Errors
    /// [`ReconcileError::UnknownVenue`], or a fault of the books. A chain that does not answer makes tickets pending.
    pub async fn reconcile(&self, venue_id: &str) -> Result<Summary, ReconcileError> {
        let shared = &self.shared;
        let _turn = shared.turn.lock().await;
        let (began, report_date_ms) = (Instant::now(), shared.clock.now_ms());
        if shared.store.counts(Some(venue_id.to_owned())).await?.total() == 0 {
            return Err(ReconcileError::UnknownVenue(venue_id.to_owned()));
        }
        let mut summary = Summary { venue_id: venue_id.to_owned(), ..Summary::default() };
        let (mut after, mut memory) = (0, Memory::default());
        loop {
            let booked = shared.store.booked_mints(venue_id.to_owned(), after, CHUNK).await?;
            let Some(last) = booked.last() else { break };
            after = last.id;
            for (booked, finding) in shared.look(booked, &mut memory).await? {
                summary.add(&booked, finding);
            }
        }
        let search = shared.strangers().await?;
        summary.unknown_to_books = search.found;
        summary.search_incomplete = search.incomplete;
        summary.finish(began.elapsed());
        shared.instruments.compared(&summary);
        summary.report_id = self.write_report(&summary, report_date_ms).await?;
        tracing::info!(
            venue = venue_id,
            checked = summary.total_checked,
            confirmed = summary.confirmed,
            not_found = summary.not_found,
            pending = summary.pending,
            errors = summary.errors,
            seconds = summary.duration_seconds,
            "books and chain were compared"
        );
        Ok(summary)
    }

    /// The nightly rule: compares every venue, and repairs those whose rate of differences is small.
    ///
    /// # Errors
    /// A fault of the books.
    pub async fn nightly(&self) -> Result<Vec<Nightly>, ReconcileError> {
        let mut nightly = Vec::new();
        for venue_id in self.shared.store.venues().await? {
            let summary = self.reconcile(&venue_id).await?;
            let small = summary.discrepancy_rate / 100.0 < self.shared.settings.auto_fix_max_rate;
            let repair = if summary.discrepancy_count > 0 && small {
                Some(self.repair(&venue_id, None, false).await?)
            } else {
                None
            };
            nightly.push(Nightly { summary, repair });
        }
        Ok(nightly)
    }

    async fn write_report(&self, summary: &Summary, report_date_ms: i64) -> Result<i64, StoreError> {
        let now_ms = self.shared.clock.now_ms();
        let keep_ms = DAY_MS.saturating_mul(self.shared.settings.keep_reports_days.into());
        let report = Report {
            id: 0,
            venue_id: summary.venue_id.clone(),
            report_date_ms,
            total_checked: summary.total_checked,
            confirmed: summary.confirmed,
            not_found: summary.not_found,
            pending: summary.pending,
            errors: summary.errors,
            discrepancy_count: summary.discrepancy_count,
            discrepancy_rate: summary.discrepancy_rate,
            report_data: serde_json::to_string(summary).ok(),
        };
        self.shared.store.add_report(report, now_ms.saturating_sub(keep_ms), now_ms).await
    }
}

impl Summary {
    fn add(&mut self, booked: &BookedMint, finding: Finding) {
        let one_more = |count: &mut u64| *count = count.saturating_add(1);
        one_more(&mut self.total_checked);
        match finding.status.unwrap_or(CheckStatus::Pending) {
            CheckStatus::Confirmed => one_more(&mut self.confirmed),
            CheckStatus::NotFound => one_more(&mut self.not_found),
            CheckStatus::Pending => one_more(&mut self.pending),
            CheckStatus::Error => one_more(&mut self.errors),
        }
        if !finding.discrepancies.is_empty() {
            one_more(&mut self.discrepancy_count);
        }
        let room = MAX_REPORTED.saturating_sub(self.discrepancies.len());
        self.discrepancies.extend(finding.discrepancies.into_iter().take(room));
        let note = |text: String| Note { ticket_id: booked.ticket_id.clone(), text };
        if self.reasons.len() < MAX_NOTES {
            self.reasons.extend(finding.reason.map(note));
        }
        let note = |text: String| Note { ticket_id: booked.ticket_id.clone(), text };
        if self.news.len() < MAX_NOTES {
            self.news.extend(finding.news.map(note));
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
    fn finish(&mut self, took: Duration) {
        let rate = self.discrepancy_count as f64 * 10_000.0 / self.total_checked.max(1) as f64;
        self.discrepancy_rate = rate.round() / 100.0;
        self.duration_seconds = (took.as_secs_f64() * 100.0).round() / 100.0;
    }
}
