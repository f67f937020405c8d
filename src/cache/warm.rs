//! Warming: what the books know of tickets is put into the cache before a crowd asks.

use super::{Caching, TicketKey};
use crate::{
    domain::mint::MintStatus,
    store::{MintFilter, Store, StoreError},
};

/// Tickets that are read from the books at once.
const PAGE: usize = 1_000;
/// Tickets that are warmed at most, the newest first.
const MOST: u64 = 100_000;

/// What was put into the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Warmed {
    /// Minted tickets that were looked at.
    pub tickets: u64,
    /// Metadata URIs that the cache took.
    pub uris: u64,
    /// Signatures that the cache took.
    pub signatures: u64,
    /// None was left out, by the limit or because the cache stopped to answer.
    pub complete: bool,
}

/// Which tickets to warm.
#[derive(Clone, Debug, Default)]
pub struct WarmFilter {
    /// Of one venue.
    pub venue_id: Option<String>,
    /// Of one event.
    pub event_id: Option<String>,
    /// Of events on this day or later, `2025-12-01`, and of those that do not say when they are.
    pub from_day: Option<String>,
}

impl Caching {
    /// Puts minted tickets' metadata URIs and signatures into the cache, the newest first, at most 100,000 of them.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn warm(&self, store: &Store, filter: WarmFilter) -> Result<Warmed, StoreError> {
        let WarmFilter { venue_id, event_id, from_day } = filter;
        let status = Some(MintStatus::Minted);
        let mut page = MintFilter { venue_id, event_id, status, before_id: None };
        let mut warmed = Warmed::default();
        loop {
            let mints = store.mints(page.clone(), PAGE).await?;
            let Some(last) = mints.last() else { return Ok(Warmed { complete: true, ..warmed }) };
            page.before_id = Some(last.id);
            warmed.tickets = warmed.tickets.saturating_add(mints.len() as u64);
            let (mut uris, mut signatures) = (Vec::new(), Vec::new());
            for mint in mints {
                let day = mint.ticket.ticket_data.event_date.as_deref();
                // Dates are written with the year first: they compare as text.
                if day.zip(from_day.as_deref()).is_some_and(|(day, from)| day.get(..10).unwrap_or(day) < from) {
                    continue;
                }
                let ticket = TicketKey::new(&mint.venue_id, &mint.ticket.id);
                uris.extend(mint.metadata_uri.map(|uri| (ticket.clone(), uri)));
                signatures.extend(mint.signature.map(|signature| (ticket, signature)));
            }
            let counts = (uris.len() as u64, signatures.len() as u64);
            if !self.remember_uris(uris).await || !self.remember_signatures(signatures).await {
                return Ok(warmed);
            }
            warmed.uris = warmed.uris.saturating_add(counts.0);
            warmed.signatures = warmed.signatures.saturating_add(counts.1);
            if warmed.tickets >= MOST {
                return Ok(warmed);
            }
        }
    }
}
