//! The transaction that mints tickets: who pays, what it may use, how it is laid out. Pure: no network, no clock, no key.

use solana_compute_budget_interface::ComputeBudgetInstruction;
use solana_hash::Hash;
use solana_message::{Message, VersionedMessage};
use solana_pubkey::Pubkey;

use super::instructions::{TicketMint, mint_ticket};

/// Compute units allowed for one ticket at first. 119,000 to 158,000 are used by nearly all, depending on the bump seeds of its
/// accounts; a rare one has been seen to need more than this, and is signed again with more.
const COMPUTE_UNITS_PER_TICKET: u32 = 220_000;
/// Most compute units that a transaction may ask for (Agave's `MAX_COMPUTE_UNIT_LIMIT`).
const MAX_COMPUTE_UNITS: u32 = 1_400_000;

/// What a transaction may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Compute units.
    pub compute_units: u32,
}

impl Allowance {
    /// For one ticket, so many transactions of which came to nothing before.
    #[must_use]
    pub fn of_attempt(earlier_attempts: u32) -> Self {
        let limit = COMPUTE_UNITS_PER_TICKET.saturating_mul(earlier_attempts.saturating_add(1));
        Self { compute_units: limit.min(MAX_COMPUTE_UNITS) }
    }
}

/// How a transaction is laid out on the wire.
#[derive(Clone, Debug)]
pub enum Layout {
    /// As the first messages of Solana: every cluster takes it.
    Legacy,
}

/// A transaction that mints tickets, all or none.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Who mints.
    pub authority: Pubkey,
    /// Who pays.
    pub payer: Pubkey,
    /// What is minted.
    pub tickets: Vec<TicketMint>,
    /// What it may use.
    pub allowance: Allowance,
}

impl Draft {
    /// What is to be signed.
    #[must_use]
    pub fn message(&self, layout: &Layout, blockhash: &Hash) -> VersionedMessage {
        let mut instructions = vec![ComputeBudgetInstruction::set_compute_unit_limit(self.allowance.compute_units)];
        for ticket in &self.tickets {
            instructions.extend(mint_ticket(&self.authority, &self.payer, ticket));
        }
        match layout {
            Layout::Legacy => {
                VersionedMessage::Legacy(Message::new_with_blockhash(&instructions, Some(&self.payer), blockhash))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attempt_is_allowed_more() {
        let limit = |earlier| Allowance::of_attempt(earlier).compute_units;
        assert_eq!([limit(0), limit(1), limit(4), limit(40)], [220_000, 440_000, 1_100_000, MAX_COMPUTE_UNITS]);
    }
}
