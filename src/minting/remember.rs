//! What the cache is told of tickets, and what it is asked: a help to other boxes with the same wallet, never needed.
//!
//! It is told by a task of its own, so that a slow cache holds nothing up; when too much waits, the cache misses it.

use std::sync::Arc;

use solana_signature::Signature;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::{
    cache::{Caching, TicketKey},
    store::MintedTicket,
};

/// Pieces of news that may wait to be told.
const QUEUE: usize = 256;

/// What the cache is told.
pub(super) enum Remember {
    /// Tickets' metadata was published at these URIs.
    Published(Vec<(TicketKey, String)>),
    /// Tickets were minted.
    Minted(Vec<MintedTicket>),
}

pub(super) fn channel() -> (mpsc::Sender<Remember>, mpsc::Receiver<Remember>) {
    mpsc::channel(QUEUE)
}

/// Tells the cache until the shutdown.
pub(super) async fn run(cache: Caching, mut news: mpsc::Receiver<Remember>, shutdown: CancellationToken) {
    let tell = async {
        while let Some(some) = news.recv().await {
            match some {
                Remember::Published(uris) => cache.remember_uris(uris).await,
                Remember::Minted(tickets) => {
                    let key = |ticket: &MintedTicket| TicketKey::new(&ticket.venue_id, &ticket.ticket_id);
                    let signatures = tickets.into_iter().filter_map(|ticket| Some((key(&ticket), ticket.signature?)));
                    cache.remember_signatures(signatures).await
                }
            };
        }
    };
    shutdown.run_until_cancelled(tell).await;
}

/// The transactions that other boxes say minted tickets of a venue, and their slots, as far as the chain says that they
/// landed. Two questions for hundreds of tickets; without an answer, each is looked for by itself.
pub(super) async fn signatures(shared: &Arc<Shared>, tickets: &[TicketKey]) -> Vec<Option<(Signature, u64)>> {
    let mut known: Vec<Option<(Signature, u64)>> = vec![None; tickets.len()];
    if tickets.is_empty() {
        return known;
    }
    let told = shared.cache.signatures(tickets).await;
    let told: Vec<(usize, Signature)> =
        told.into_iter().enumerate().filter_map(|(at, signature)| Some((at, signature?.parse().ok()?))).collect();
    let asked: Vec<Signature> = told.iter().map(|(_, signature)| *signature).collect();
    if asked.is_empty() {
        return known;
    }
    let Ok(statuses) = shared.chain.statuses(&asked, true).await else { return known };
    for ((at, signature), status) in told.into_iter().zip(statuses.value) {
        let landed = status.filter(|landed| landed.settled && landed.error.is_none());
        if let (Some(place), Some(landed)) = (known.get_mut(at), landed) {
            *place = Some((signature, landed.slot));
        }
    }
    known
}
