//! Where a ticket lives on the chain: addresses that are pure functions of public facts.
//!
//! No mint keypair exists, so none can be lost, and the chain itself refuses a second mint at the same address.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mpl_token_metadata::accounts::{MasterEdition, Metadata};
use sha2::{Digest, Sha256};
use solana_pubkey::Pubkey;

use super::ids::{TicketId, VenueId};

/// Separates these hashes from all others. It is part of every address ever derived and must never change.
const DOMAIN_TAG: &[u8] = b"boxoffice/ticket/v1";
/// Longest seed that `create_with_seed` takes, in bytes (`solana_pubkey::MAX_SEED_LEN`).
const SEED_BYTES: usize = 32;

/// Counts deliberate re-issues of a ticket; 0 is the first issue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub u32);

/// The accounts of one ticket. Finding them takes tens of microseconds, so that they are found once and handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketAccounts {
    /// The SPL Token mint, which is the ticket's address.
    pub mint: Pubkey,
    /// Token Metadata's account with name, symbol and URI.
    pub metadata: Pubkey,
    /// Token Metadata's master edition, which makes the token non-fungible.
    pub edition: Pubkey,
    /// The token account in which the owner holds the ticket.
    pub token: Pubkey,
    /// The bump seeds of metadata, edition and token account.
    pub bumps: [u8; 3],
}

impl TicketAccounts {
    /// The accounts of the ticket at `mint` that is made for `owner`.
    #[must_use]
    pub fn of(mint: Pubkey, owner: &Pubkey) -> Self {
        let (metadata, metadata_bump) = Metadata::find_pda(&mint);
        let (edition, edition_bump) = MasterEdition::find_pda(&mint);
        let (token, token_bump) = find_token_account(&mint, owner);
        Self { mint, metadata, edition, token, bumps: [metadata_bump, edition_bump, token_bump] }
    }

    /// Mint, metadata, edition and token account.
    #[must_use]
    pub fn addresses(&self) -> [Pubkey; 4] {
        [self.mint, self.metadata, self.edition, self.token]
    }
}

/// The seed of a ticket's mint address.
#[must_use]
pub fn mint_seed(venue: &VenueId, ticket: &TicketId, generation: Generation) -> String {
    let mut hash = Sha256::new();
    hash.update(DOMAIN_TAG);
    for part in [venue.as_str(), ticket.as_str()] {
        // The length comes first, so that ("a", "bc") and ("ab", "c") differ.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(generation.0.to_le_bytes());
    let mut seed = URL_SAFE_NO_PAD.encode(hash.finalize());
    seed.truncate(SEED_BYTES);
    seed
}

/// A ticket's mint address under an authority.
#[must_use]
pub fn mint_address(authority: &Pubkey, venue: &VenueId, ticket: &TicketId, generation: Generation) -> Pubkey {
    let seed = mint_seed(venue, ticket, generation);
    // SHA-256(base, seed, owner), as `Pubkey::create_with_seed` does; it only refuses seeds over 32 bytes (ours have 32)
    // and owners that end in "ProgramDerivedAddress" (the token program's id does not).
    let mut hash = Sha256::new();
    hash.update(authority);
    hash.update(&seed);
    hash.update(spl_token_interface::ID);
    Pubkey::new_from_array(hash.finalize().into())
}

/// The token account in which `owner` holds the ticket.
#[must_use]
pub fn token_account(mint: &Pubkey, owner: &Pubkey) -> Pubkey {
    find_token_account(mint, owner).0
}

fn find_token_account(mint: &Pubkey, owner: &Pubkey) -> (Pubkey, u8) {
    let seeds = [owner.as_ref(), spl_token_interface::ID.as_ref(), mint.as_ref()];
    Pubkey::find_program_address(&seeds, &spl_associated_token_account_interface::program::ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(venue: &str, ticket: &str) -> (VenueId, TicketId) {
        (VenueId::new(venue).unwrap(), TicketId::new(ticket).unwrap())
    }

    #[test]
    fn addresses_are_those_of_create_with_seed_and_never_change() {
        let authority = Pubkey::new_from_array([7; 32]);
        let (venue, ticket) = ids("venue-123", "ticket-1");
        let seed = mint_seed(&venue, &ticket, Generation(0));
        assert_eq!(seed.len(), SEED_BYTES);
        let address = mint_address(&authority, &venue, &ticket, Generation(0));
        assert_eq!(address, Pubkey::create_with_seed(&authority, &seed, &spl_token_interface::ID).unwrap());
        // Recorded once: a change here would orphan every ticket ever minted.
        assert_eq!(seed, "-0jQHcqc2Iw0Ua-tjObvCO9De71FeDcd");
    }

    #[test]
    fn accounts_are_where_the_programs_look_for_them() {
        let (mint, owner) = (Pubkey::new_from_array([1; 32]), Pubkey::new_from_array([2; 32]));
        let accounts = TicketAccounts::of(mint, &owner);
        let token = spl_associated_token_account_interface::address::get_associated_token_address(&owner, &mint);
        assert_eq!(accounts.addresses(), [mint, Metadata::find_pda(&mint).0, MasterEdition::find_pda(&mint).0, token]);
        assert_eq!(token_account(&mint, &owner), token);
    }

    #[test]
    fn no_two_identities_share_a_seed() {
        let (a, b) = ids("a", "bc");
        let (c, d) = ids("ab", "c");
        assert_ne!(mint_seed(&a, &b, Generation(0)), mint_seed(&c, &d, Generation(0)));
        assert_ne!(mint_seed(&a, &b, Generation(0)), mint_seed(&a, &b, Generation(1)));
    }
}
