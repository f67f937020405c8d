//! The compute units that a ticket's transaction needs. Pure: no network, no clock.
//!
//! They are the same for every ticket but for the search for the addresses of its accounts, which the programs do again: each
//! try costs the same, and how many it takes follows from the ticket's own address. So one transaction that was tried out
//! tells what all others need. Measured with the deployed programs on 300 tickets: what is left differs by 1,230 units.

use crate::domain::address::TicketAccounts;

/// Compute units of one try to find a program's address (Agave's `create_program_address_units`).
const UNITS_PER_TRY: u32 = 1_500;
/// How often the programs look for the metadata account, for the edition and for the token account (measured).
const SEARCHES: [u32; 3] = [2, 3, 2];
/// Tries that a search takes on average: every second address will do.
const MEAN_TRIES: u32 = 2;

/// Compute units that go into the search for a ticket's addresses.
#[must_use]
pub fn search_units(accounts: &TicketAccounts) -> u32 {
    let units = accounts.bumps.into_iter().zip(SEARCHES).map(|(bump, searches)| {
        let tries = u32::from(u8::MAX.saturating_sub(bump)).saturating_add(1);
        tries.saturating_mul(searches).saturating_mul(UNITS_PER_TRY)
    });
    units.fold(0, u32::saturating_add)
}

/// [`search_units`] of a ticket that is not known yet.
#[must_use]
pub fn mean_search_units() -> u32 {
    let searches = SEARCHES.into_iter().fold(0, u32::saturating_add);
    searches.saturating_mul(MEAN_TRIES).saturating_mul(UNITS_PER_TRY)
}
