//! What the cache knows of tickets: where their metadata was published, and which transaction minted them.
//!
//! Keys are `ticket:{ticket}:{venue}:{what}`, ids being escaped, so that all of one ticket begins alike.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{Caching, SIGNATURE_TTL, URI_TTL, Unavailable};

/// A ticket, as the cache names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketKey {
    venue_id: String,
    ticket_id: String,
}

/// That a ticket's metadata was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PublishedUri {
    uri: String,
    /// Where: a box with another provider must not rely on it.
    provider: String,
}

impl TicketKey {
    /// A ticket of a venue.
    #[must_use]
    pub fn new(venue_id: &str, ticket_id: &str) -> Self {
        Self { venue_id: escaped(venue_id), ticket_id: escaped(ticket_id) }
    }

    fn uri(&self) -> String {
        format!("ticket:{}:{}:uri", self.ticket_id, self.venue_id)
    }

    fn signature(&self) -> String {
        format!("ticket:{}:{}:signature", self.ticket_id, self.venue_id)
    }
}

/// Letters and digits as they are, everything else by its bytes: no id can look like another's key, or like a pattern.
fn escaped(id: &str) -> String {
    let mut escaped = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

impl Caching {
    /// The `ipfs://` URIs at which tickets' metadata was published with this box's provider, as far as that is known.
    pub async fn published_uris(&self, tickets: &[TicketKey]) -> Vec<Option<String>> {
        let found = self.get_many::<PublishedUri>(&tickets.iter().map(TicketKey::uri).collect::<Vec<_>>()).await;
        let ours = |found: PublishedUri| (*found.provider == *self.provider).then_some(found.uri);
        found.into_iter().map(|found| ours(found?)).collect()
    }

    /// Remembers where tickets' metadata was published.
    pub async fn remember_uris(&self, published: impl IntoIterator<Item = (TicketKey, String)>) -> bool {
        let entry = |(ticket, uri): (TicketKey, String)| {
            (ticket.uri(), PublishedUri { uri, provider: self.provider.to_string() }, URI_TTL)
        };
        self.set_many(published.into_iter().map(entry)).await
    }

    /// The transactions that minted tickets, base58, as far as they are known: a hint, to be proven by the chain.
    pub async fn signatures(&self, tickets: &[TicketKey]) -> Vec<Option<String>> {
        self.get_many(&tickets.iter().map(TicketKey::signature).collect::<Vec<_>>()).await
    }

    /// Remembers which transactions minted tickets.
    pub async fn remember_signatures(&self, signatures: impl IntoIterator<Item = (TicketKey, String)>) -> bool {
        let entry = |(ticket, signature): (TicketKey, String)| (ticket.signature(), signature, SIGNATURE_TTL);
        self.set_many(signatures.into_iter().map(entry)).await
    }

    /// Forgets all that is known of a ticket, in one venue or in all; how many values that were.
    ///
    /// # Errors
    /// When the cache does not answer.
    pub async fn forget_ticket(&self, ticket_id: &str, venue_id: Option<&str>) -> Result<u64, Unavailable> {
        let venue = venue_id.map(|venue| format!("{}:", escaped(venue))).unwrap_or_default();
        self.forget(&format!("ticket:{}:{venue}", escaped(ticket_id))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_is_anothers_key_or_a_pattern() {
        assert_eq!(TicketKey::new("v:1", "a*").uri(), "ticket:a%2A:v%3A1:uri");
        assert_ne!(TicketKey::new("b", "a:b").uri(), TicketKey::new("b:b", "a").uri());
        assert_eq!(escaped("Ü%"), "%C3%9C%25");
    }
}
