//! The transaction that mints tickets: who pays, what it may use, how it is laid out. Pure: no network, no clock, no key.

use solana_compute_budget_interface::ComputeBudgetInstruction;
use solana_hash::Hash;
use solana_message::{Message, VersionedMessage};
use solana_pubkey::Pubkey;
use solana_transaction::versioned::VersionedTransaction;

use super::instructions::{TicketMint, mint_ticket, signature_fee};
use crate::domain::lamports::Lamports;

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
    /// Who mints: signs, and is only read when another pays.
    pub authority: Pubkey,
    /// Who pays: each transaction holds its payer's account for itself, so that one payer is one queue.
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

/// Signatures of a transaction that mints: the authority's, and that of its payer where a wallet has so many fee payers.
#[must_use]
pub fn signatures(fee_payers: usize) -> u64 {
    if fee_payers == 0 { 1 } else { 2 }
}

/// Who pays for a signed transaction, and what the network takes for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bill {
    /// The fee payer.
    pub payer: Pubkey,
    /// Gone whether the transaction works or not.
    pub fee: Lamports,
}

impl Bill {
    /// Read from the bytes themselves: settings may have changed since they were signed. None if they are no transaction.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let transaction: VersionedTransaction = wincode::deserialize(bytes).ok()?;
        let payer = *transaction.message.static_account_keys().first()?;
        Some(Self { payer, fee: signature_fee(transaction.signatures.len() as u64) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chain::wallet::Wallet,
        domain::address::{Generation, mint_address, mint_seed},
        domain::ids::{TicketId, VenueId},
    };

    /// The longest ticket that the box makes: its URIs are those of CIDs, 66 bytes and never the 200 that a program would take.
    fn longest(authority: &Pubkey, prefunded: Option<Lamports>) -> TicketMint {
        let (venue, ticket) = (VenueId::new("venue").unwrap(), TicketId::new("ticket").unwrap());
        TicketMint {
            seed: mint_seed(&venue, &ticket, Generation(0)),
            mint: mint_address(authority, &venue, &ticket, Generation(0)),
            owner: Pubkey::new_unique(),
            name: "n".repeat(32),
            symbol: "s".repeat(10),
            uri: "u".repeat(66),
            seller_fee_basis_points: 500,
            mint_rent: Lamports(1_461_600),
            prefunded,
        }
    }

    #[test]
    fn the_authority_of_a_paid_mint_is_only_read_and_the_longest_fits_a_packet() {
        let wallet = Wallet::ephemeral().with_payers(2);
        let (authority, payer) = (wallet.address(), wallet.payers()[1]);
        let mut lengths = Vec::new();
        for prefunded in [None, Some(Lamports(5))] {
            let tickets = vec![longest(&authority, prefunded)];
            let draft = Draft { authority, payer, tickets, allowance: Allowance::of_attempt(0) };
            let message = draft.message(&Layout::Legacy, &Hash::default());
            let header = *message.header();
            let writable = usize::from(header.num_required_signatures - header.num_readonly_signed_accounts);
            // Signers come first, and of them those whose accounts the transaction holds for itself.
            assert_eq!(message.static_account_keys()[..2], [payer, authority]);
            assert_eq!(
                writable, 1,
                "the authority is only read, so that transactions of other payers run beside this one"
            );
            let signed = wallet.sign(message).unwrap();
            assert!(signed.bytes.len() <= 1_232, "{} bytes do not fit a packet", signed.bytes.len());
            lengths.push(signed.bytes.len());
            assert_eq!(Bill::of(&signed.bytes), Some(Bill { payer, fee: Lamports(10_000) }));
        }
        assert_eq!(lengths, [1_007, 1_128], "README has these");
        let alone = Draft {
            payer: authority,
            authority,
            tickets: vec![longest(&authority, None)],
            allowance: Allowance::of_attempt(0),
        };
        let signed = wallet.sign(alone.message(&Layout::Legacy, &Hash::default())).unwrap();
        assert_eq!(Bill::of(&signed.bytes), Some(Bill { payer: authority, fee: Lamports(5_000) }));
        assert_eq!(Bill::of(b"no transaction"), None);
    }

    #[test]
    fn every_attempt_is_allowed_more() {
        let limit = |earlier| Allowance::of_attempt(earlier).compute_units;
        assert_eq!([limit(0), limit(1), limit(4), limit(40)], [220_000, 440_000, 1_100_000, MAX_COMPUTE_UNITS]);
    }
}
