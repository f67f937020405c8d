//! Comparing the books with the chain.
//!
//! So far: reading a set of tickets back, in bulk and as a stranger would, and naming every difference.

use solana_pubkey::Pubkey;

use crate::chain::{
    Chain, ChainError,
    ticket::{ACCOUNTS_PER_TICKET, OnChain, addresses, read},
};

/// Tickets that are read in one step; bounds memory.
const CHUNK: usize = 250;

/// What the books say of a ticket.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The ticket's id, for the report.
    pub ticket_id: String,
    /// Where it lives.
    pub mint: Pubkey,
    /// Who was to hold it.
    pub owner: Pubkey,
    /// Its metadata.
    pub uri: String,
}

/// A ticket on which books and chain disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The ticket's id.
    pub ticket_id: String,
    /// What is different, for a person.
    pub detail: String,
}

/// Reads tickets back from the chain, 25 to a call, and returns those that are not as the books say.
///
/// # Errors
/// When the chain does not answer: that says nothing about the tickets.
pub async fn read_back(
    chain: &dyn Chain,
    authority: &Pubkey,
    expected: &[Expected],
) -> Result<Vec<Difference>, ChainError> {
    let mut differences = Vec::new();
    for chunk in expected.chunks(CHUNK) {
        let wanted: Vec<Pubkey> = chunk.iter().flat_map(|ticket| addresses(ticket.mint, &ticket.owner)).collect();
        let accounts = chain.accounts(&wanted).await?.value;
        let (accounts, _none_left_over) = accounts.as_chunks::<ACCOUNTS_PER_TICKET>();
        for (ticket, accounts) in chunk.iter().zip(accounts) {
            let found = read(accounts.each_ref().map(Option::as_ref));
            let is_edition = accounts.get(2).is_some_and(Option::is_some);
            let detail = compare(ticket, authority, &found, is_edition);
            differences.extend(detail.map(|detail| Difference { ticket_id: ticket.ticket_id.clone(), detail }));
        }
    }
    Ok(differences)
}

fn compare(ticket: &Expected, authority: &Pubkey, found: &OnChain, is_edition: bool) -> Option<String> {
    let OnChain::Ticket(found) = found else { return Some(format!("the chain holds no NFT at {}", ticket.mint)) };
    if found.uri != ticket.uri {
        return Some(format!("its metadata is {} on the chain, {} in the books", found.uri, ticket.uri));
    }
    if found.update_authority != *authority {
        return Some(format!("its update authority is {}, not this wallet", found.update_authority));
    }
    if found.supply != 1 || !is_edition {
        return Some("it is not a one-of-a-kind token".into());
    }
    (!found.held_by_owner).then(|| format!("{} does not hold it", ticket.owner))
}
