//! The transaction that mints tickets: who pays, what it may use, how it is laid out. Pure: no network, no clock, no key.

use solana_compute_budget_interface::ComputeBudgetInstruction;
use solana_hash::Hash;
use solana_instruction::Instruction;
use solana_message::{CompileError, Message, VersionedMessage, v1};
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_transaction::versioned::VersionedTransaction;

use super::instructions::{TicketMint, mint_ticket};
use crate::domain::lamports::Lamports;

/// Compute units allowed for one ticket whose need is not known. 119,000 to 158,000 are used by nearly all, depending on the
/// bump seeds of its accounts; a rare one has been seen to need more than this, and is signed again with more.
pub const COMPUTE_UNITS_PER_TICKET: u32 = 220_000;
/// Most compute units that a transaction may ask for (Agave's `MAX_COMPUTE_UNIT_LIMIT`).
pub const MAX_COMPUTE_UNITS: u32 = 1_400_000;
/// Bytes of accounts and programs that a v1 transaction may load. It must say a number, for none means zero; this is enough by
/// far: the largest program that is called has less than one megabyte.
const LOADED_BYTES: u32 = 16 * 1_024 * 1_024;
/// Bytes of a packet (Agave's `PACKET_DATA_SIZE`).
const PACKET_BYTES: usize = 1_232;
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

    /// For all that ride in one transaction: it offers no more than each of them would by itself.
    #[must_use]
    pub fn together(each: impl IntoIterator<Item = Self>) -> Self {
        let (units, offered) = each.into_iter().fold((0_u32, 0_u64), |(units, offered), one| {
            let offer = one.compute_unit_price.saturating_mul(one.compute_units.into());
            (units.saturating_add(one.compute_units), offered.saturating_add(offer))
        });
        let compute_unit_price = offered.checked_div(units.into()).unwrap_or_default();
        Self { compute_units: units.min(MAX_COMPUTE_UNITS), compute_unit_price }
    }
}

/// How a transaction is laid out on the wire. There is none with an address lookup table: programs that are called cannot be
/// looked up, so that a table would save 26 bytes, and two tickets are a hundred bytes too long for a packet all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As the first messages of Solana: every cluster takes it.
    Legacy,
    /// A v1 message, which may be longer than a packet. Not every cluster takes it.
    V1,
}

impl Layout {
    /// Tickets that fit at most (measured). Two in a legacy message are longer than a packet; four in a v1 message are more than
    /// the 64 instructions that the runtime traces in one transaction, about 20 for each.
    #[must_use]
    pub fn most_tickets(self) -> usize {
        match self {
            Self::Legacy => 1,
            Self::V1 => 3,
        }
    }

    /// Bytes of the longest transaction.
    #[must_use]
    pub fn most_bytes(self) -> usize {
        match self {
            Self::Legacy => PACKET_BYTES,
            Self::V1 => v1::MAX_TRANSACTION_SIZE,
        }
    }

    /// Its name in logs and in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::V1 => "v1",
        }
    }
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
    ///
    /// # Errors
    /// When a v1 message would name more accounts than it can; never for a single ticket, and never in the legacy layout.
    pub fn message(&self, layout: Layout, blockhash: &Hash) -> Result<VersionedMessage, CompileError> {
        let Allowance { compute_units, compute_unit_price } = self.allowance;
        let tickets = self.tickets.iter().flat_map(|ticket| mint_ticket(&self.authority, &self.payer, ticket));
        match layout {
            Layout::Legacy => {
                let limit = ComputeBudgetInstruction::set_compute_unit_limit(compute_units);
                let price = (compute_unit_price > 0)
                    .then(|| ComputeBudgetInstruction::set_compute_unit_price(compute_unit_price));
                let instructions: Vec<Instruction> = std::iter::once(limit).chain(price).chain(tickets).collect();
                let message = Message::new_with_blockhash(&instructions, Some(&self.payer), blockhash);
                Ok(VersionedMessage::Legacy(message))
            }
            Layout::V1 => {
                // It says itself what the compute budget program is told in a legacy message, and what it does not say is zero.
                let mut config = v1::TransactionConfig::empty()
                    .with_compute_unit_limit(compute_units)
                    .with_loaded_accounts_data_size_limit(LOADED_BYTES);
                // Here it is the whole fee that is named, in lamports.
                config.priority_fee = Some(self.allowance.priority_fee().0).filter(|fee| *fee > 0);
                let instructions: Vec<Instruction> = tickets.collect();
                let message = v1::Message::try_compile_with_config(&self.payer, &instructions, *blockhash, config);
                message.map(VersionedMessage::V1)
            }
        }
    }

    /// Its bytes without a blockhash and without signatures: for simulations, worth nothing to anybody else.
    #[must_use]
    pub fn unsigned(&self, layout: Layout) -> Option<Vec<u8>> {
        let message = self.message(layout, &Hash::default()).ok()?;
        let signatures = vec![Signature::default(); message.header().num_required_signatures.into()];
        wincode::serialize(&VersionedTransaction { signatures, message }).ok()
    }
}

/// Signatures of a transaction that mints: the authority's, and that of its payer where a wallet has so many fee payers.
#[must_use]
pub fn signatures(fee_payers: usize) -> u64 {
    if fee_payers == 0 { 1 } else { 2 }
}

/// Who pays for a signed transaction. None if the bytes are no transaction.
#[must_use]
pub fn payer_of(bytes: &[u8]) -> Option<Pubkey> {
    let transaction: VersionedTransaction = wincode::deserialize(bytes).ok()?;
    transaction.message.static_account_keys().first().copied()
}

#[cfg(test)]
mod tests {
    use solana_message::{AddressLookupTableAccount, v0};

    use crate::{
        chain::wallet::Wallet,
        domain::{
            address::{Generation, TicketAccounts, mint_address, mint_seed},
            ids::{TicketId, VenueId},
        },
    };

    use super::*;

    /// The longest ticket that the box makes: its URIs are those of CIDs, 66 bytes and never the 200 that a program would take.
    fn longest(authority: &Pubkey, prefunded: Option<Lamports>) -> TicketMint {
        let (venue, ticket) = (VenueId::new("venue").unwrap(), TicketId::new("ticket").unwrap());
        let owner = Pubkey::new_unique();
        TicketMint {
            seed: mint_seed(&venue, &ticket, Generation(0)),
            accounts: TicketAccounts::of(mint_address(authority, &venue, &ticket, Generation(0)), &owner),
            owner,
            name: "n".repeat(32),
            symbol: "s".repeat(10),
            uri: "u".repeat(66),
            seller_fee_basis_points: 500,
            mint_rent: Lamports(1_461_600),
            prefunded,
        }
    }

    #[tokio::test]
    async fn the_authority_of_a_paid_mint_is_only_read_and_the_longest_fits_a_packet() {
        let wallet = Wallet::ephemeral().with_payers(2).unwrap();
        let (authority, payer) = (wallet.address(), wallet.payers()[1]);
        let mut lengths = Vec::new();
        for prefunded in [None, Some(Lamports(5))] {
            let tickets = vec![longest(&authority, prefunded)];
            let draft = Draft { authority, payer, tickets, allowance: Allowance::of_attempt(0) };
            let message = draft.message(Layout::Legacy, &Hash::default()).unwrap();
            let header = *message.header();
            let writable = usize::from(header.num_required_signatures - header.num_readonly_signed_accounts);
            // Signers come first, and of them those whose accounts the transaction holds for itself.
            assert_eq!(message.static_account_keys()[..2], [payer, authority]);
            assert_eq!(
                writable, 1,
                "the authority is only read, so that transactions of other payers run beside this one"
            );
            let signed = wallet.sign(message).await.unwrap();
            assert!(signed.bytes.len() <= 1_232, "{} bytes do not fit a packet", signed.bytes.len());
            lengths.push(signed.bytes.len());
            assert_eq!(payer_of(&signed.bytes), Some(payer));
        }
        assert_eq!(lengths, [1_007, 1_128], "README has these");
        let alone = Draft {
            payer: authority,
            authority,
            tickets: vec![longest(&authority, None)],
            allowance: Allowance::of_attempt(0),
        };
        let signed = wallet.sign(alone.message(Layout::Legacy, &Hash::default()).unwrap()).await.unwrap();
        assert_eq!(payer_of(&signed.bytes), Some(authority));
        assert_eq!(payer_of(b"no transaction"), None);
    }

    #[test]
    fn every_attempt_is_allowed_more() {
        let limit = |earlier| Allowance::of_attempt(earlier).compute_units;
        assert_eq!([limit(0), limit(1), limit(4), limit(40)], [220_000, 440_000, 1_100_000, MAX_COMPUTE_UNITS]);
        let together = |earlier: &[u32]| Allowance::together(earlier.iter().copied().map(Allowance::of_attempt));
        assert_eq!(together(&[0, 1, 0]).compute_units, 880_000);
        assert_eq!(together(&[4, 4]).compute_units, MAX_COMPUTE_UNITS);
        let of = |compute_units, compute_unit_price| Allowance { compute_units, compute_unit_price };
        assert_eq!(Allowance::together([of(100_000, 30), of(50_000, 0)]), of(150_000, 20));
        assert_eq!(Allowance::together([]), of(0, 0));
    }

    /// Tickets with the shortest names, which the wallet itself will hold: smaller ones do not exist.
    fn smallest(count: usize) -> Draft {
        let authority = Pubkey::new_unique();
        let tickets = (0..count).map(|number| {
            let (venue, ticket) = (VenueId::new("v").unwrap(), TicketId::new(format!("t-{number}")).unwrap());
            TicketMint {
                seed: mint_seed(&venue, &ticket, Generation(0)),
                accounts: TicketAccounts::of(mint_address(&authority, &venue, &ticket, Generation(0)), &authority),
                owner: authority,
                name: "n".into(),
                symbol: "T".into(),
                uri: format!("ipfs://{}", "b".repeat(59)),
                seller_fee_basis_points: 0,
                mint_rent: Lamports(1),
                prefunded: None,
            }
        });
        Draft { authority, payer: authority, tickets: tickets.collect(), allowance: Allowance::of_attempt(0) }
    }

    fn largest(count: usize) -> Draft {
        let mut draft = smallest(count);
        for ticket in &mut draft.tickets {
            (ticket.owner, ticket.name, ticket.symbol) = (Pubkey::new_unique(), "n".repeat(32), "T".repeat(10));
            ticket.accounts = TicketAccounts::of(ticket.accounts.mint, &ticket.owner);
        }
        draft
    }

    #[test]
    fn as_many_fit_as_is_said() {
        let size = |draft: &Draft, layout| draft.unsigned(layout).unwrap().len();
        for layout in [Layout::Legacy, Layout::V1] {
            let count = layout.most_tickets();
            assert!(size(&largest(count), layout) <= layout.most_bytes(), "{layout:?}");
        }
        assert!(size(&smallest(2), Layout::Legacy) > Layout::Legacy.most_bytes());
    }

    /// Whether a table on the chain, with all that tickets have in common, is worth its rent.
    #[test]
    fn two_tickets_do_not_fit_a_packet_even_with_a_lookup_table() {
        let draft = smallest(2);
        let VersionedMessage::Legacy(legacy) = draft.message(Layout::Legacy, &Hash::default()).unwrap() else {
            panic!("a legacy message");
        };
        let instructions: Vec<Instruction> = draft
            .tickets
            .iter()
            .flat_map(|ticket| mint_ticket(&draft.authority, &draft.payer, ticket))
            .chain([ComputeBudgetInstruction::set_compute_unit_limit(1)])
            .collect();
        // Every account there is: what may be looked up is.
        let own = |key: &Pubkey| draft.tickets.iter().any(|ticket| ticket.accounts.addresses().contains(key));
        let addresses = legacy.account_keys.iter().copied().filter(|key| !own(key)).collect();
        let table = AddressLookupTableAccount { key: Pubkey::new_unique(), addresses };
        let message = v0::Message::try_compile(&draft.payer, &instructions, &[table], Hash::default()).unwrap();
        assert_eq!(message.address_table_lookups.len(), 1);
        let transaction =
            VersionedTransaction { signatures: vec![Signature::default()], message: VersionedMessage::V0(message) };
        let bytes = wincode::serialize(&transaction).unwrap().len();
        assert!(bytes > PACKET_BYTES + 80, "{bytes}");
    }

    #[test]
    fn priority_fees_are_rounded_up_and_bounded() {
        let of = |compute_units, compute_unit_price| Allowance { compute_units, compute_unit_price };
        let fee = |units, price| of(units, price).priority_fee().0;
        assert_eq!([fee(150_000, 0), fee(150_000, 1), fee(200_000, 5), fee(200_001, 5)], [0, 1, 1, 2]);
        assert_eq!(of(150_000, 10_000).priority_fee(), Lamports(1_500));
        assert_eq!(fee(u32::MAX, u64::MAX), u64::MAX.div_ceil(MICRO), "never wraps around");
        for units in [1, 7, 149_999, 150_000, 1_400_000] {
            let capped = of(units, 1_000_000).capped(Lamports(220));
            assert!(capped.priority_fee() <= Lamports(220), "{capped:?}");
            assert!(capped.compute_unit_price == 1_000_000 || capped.priority_fee() == Lamports(220), "{capped:?}");
        }
    }
}
