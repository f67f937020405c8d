//! The transaction that mints tickets: who pays, what it may use, how it is laid out. Pure: no network, no clock, no key.

use solana_compute_budget_interface::ComputeBudgetInstruction;
use solana_hash::Hash;
use solana_message::{Message, VersionedMessage};
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_transaction::versioned::VersionedTransaction;

use super::instructions::{SIGNATURE_FEE, TicketMint, mint_ticket};
use crate::domain::lamports::Lamports;

/// Compute units allowed for one ticket whose need is not known. 119,000 to 158,000 are used by nearly all, depending on the
/// bump seeds of its accounts; a rare one has been seen to need more than this, and is signed again with more.
pub const COMPUTE_UNITS_PER_TICKET: u32 = 220_000;
/// Most compute units that a transaction may ask for (Agave's `MAX_COMPUTE_UNIT_LIMIT`).
pub const MAX_COMPUTE_UNITS: u32 = 1_400_000;
/// Micro-lamports in a lamport.
const MICRO: u64 = 1_000_000;

/// What a transaction may use, and what it offers for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Compute units.
    pub compute_units: u32,
    /// Offered for each of them, used or not, in micro-lamports.
    pub compute_unit_price: u64,
}

impl Allowance {
    /// For one ticket whose need is not known, so many transactions of which came to nothing before. It offers nothing.
    #[must_use]
    pub fn of_attempt(earlier_attempts: u32) -> Self {
        let limit = COMPUTE_UNITS_PER_TICKET.saturating_mul(earlier_attempts.saturating_add(1));
        Self { compute_units: limit.min(MAX_COMPUTE_UNITS), compute_unit_price: 0 }
    }

    /// What is offered to land sooner: paid by a transaction that fails on the chain too.
    #[must_use]
    pub fn priority_fee(&self) -> Lamports {
        // As the chain reckons (Agave's `calculate_priority_fee`): rounded up.
        Lamports(self.compute_unit_price.saturating_mul(u64::from(self.compute_units)).div_ceil(MICRO))
    }

    /// The highest price per unit that makes a priority fee of no more than `most`.
    #[must_use]
    pub fn capped(self, most: Lamports) -> Self {
        let highest = most.0.saturating_mul(MICRO).checked_div(u64::from(self.compute_units)).unwrap_or_default();
        Self { compute_unit_price: self.compute_unit_price.min(highest), ..self }
    }

    /// What the network takes for the transaction, whether it works or fails on the chain.
    #[must_use]
    pub fn fee(&self) -> Lamports {
        SIGNATURE_FEE + self.priority_fee()
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
        let Allowance { compute_units, compute_unit_price } = self.allowance;
        let mut instructions = vec![ComputeBudgetInstruction::set_compute_unit_limit(compute_units)];
        if compute_unit_price > 0 {
            instructions.push(ComputeBudgetInstruction::set_compute_unit_price(compute_unit_price));
        }
        for ticket in &self.tickets {
            instructions.extend(mint_ticket(&self.authority, &self.payer, ticket));
        }
        match layout {
            Layout::Legacy => {
                VersionedMessage::Legacy(Message::new_with_blockhash(&instructions, Some(&self.payer), blockhash))
            }
        }
    }

    /// The bytes of the transaction without signatures and blockhash: to be tried out, never to land. None if it cannot be
    /// written, which a draft of ours always can.
    #[must_use]
    pub fn to_try_out(&self, layout: &Layout) -> Option<Vec<u8>> {
        let message = self.message(layout, &Hash::default());
        let signatures = vec![Signature::default(); usize::from(message.header().num_required_signatures)];
        wincode::serialize(&VersionedTransaction { signatures, message }).ok()
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

    #[test]
    fn priority_fees_are_rounded_up_and_bounded() {
        let of = |compute_units, compute_unit_price| Allowance { compute_units, compute_unit_price };
        let fee = |units, price| of(units, price).priority_fee().0;
        assert_eq!([fee(150_000, 0), fee(150_000, 1), fee(200_000, 5), fee(200_001, 5)], [0, 1, 1, 2]);
        assert_eq!(of(150_000, 10_000).fee(), Lamports(6_500));
        assert_eq!(fee(u32::MAX, u64::MAX), u64::MAX.div_ceil(MICRO), "never wraps around");
        for units in [1, 7, 149_999, 150_000, 1_400_000] {
            let capped = of(units, 1_000_000).capped(Lamports(220));
            assert!(capped.priority_fee() <= Lamports(220), "{capped:?}");
            assert!(capped.compute_unit_price == 1_000_000 || capped.priority_fee() == Lamports(220), "{capped:?}");
        }
    }
}
