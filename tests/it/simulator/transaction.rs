//! The engine's transactions as the scripted chain reads them, and the accounts that they make.

use std::collections::BTreeMap;

use boxoffice::{
    chain::{Account, compute::search_units},
    domain::{address::TicketAccounts, lamports::Lamports},
};
use solana_hash::Hash;
use solana_message::{VersionedMessage, compiled_instruction::CompiledInstruction};
use solana_program_pack::Pack as _;
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_transaction::versioned::VersionedTransaction;
use spl_token_interface::state::{Account as TokenAccount, AccountState, Mint};

const SIGNATURE_FEE: u64 = 5_000;
/// What a healthy ticket takes, apart from the search for its addresses, in compute units.
pub const BASE_UNITS: u32 = 114_000;
const MINT_BYTES: usize = 82;
const METADATA_BYTES: usize = 607;
const EDITION_BYTES: usize = 20;
const TOKEN_BYTES: usize = 165;

/// A transaction that mints tickets, as it was decoded and verified.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub signature: Signature,
    pub blockhash: Hash,
    pub compute_limit: u32,
    /// What the network takes, in lamports.
    pub fee: u64,
    pub budget_instructions: u8,
    pub payer: Pubkey,
    pub is_v1: bool,
    pub tickets: Vec<Minting>,
}

/// One ticket in it.
#[derive(Clone, Debug)]
pub struct Minting {
    pub wallet: Pubkey,
    pub mint: Pubkey,
    pub uri: String,
    /// What the search for its addresses takes, in compute units.
    pub search_units: u32,
    /// It expects lamports at the mint's address already.
    pub prefunded: bool,
    name: String,
    symbol: String,
    owner: Pubkey,
    metadata: Pubkey,
    edition: Pubkey,
    token: Pubkey,
}

pub fn rent(size: usize) -> u64 {
    (128 + size as u64) * 6_960
}

/// What a ticket's accounts hold together.
pub fn price() -> u64 {
    rent(MINT_BYTES) + rent(METADATA_BYTES) + metaplex_fee() + rent(EDITION_BYTES) + rent(TOKEN_BYTES)
}

fn metaplex_fee() -> u64 {
    rent(1_308) + 5_440
}

impl Transaction {
    /// Reads the bytes as a validator would, or panics: the engine must never send anything else.
    pub fn decode(bytes: &[u8]) -> Self {
        let transaction = Self::decode_unsigned(bytes);
        let signed: VersionedTransaction = wincode::deserialize(bytes).unwrap();
        assert!(signed.verify_with_results().iter().all(|good| *good), "the signature is good");
        assert!(!transaction.is_v1 || transaction.tickets.len() > 1, "a ticket alone needs no new layout");
        transaction
    }

    /// As a node reads what it is to simulate.
    pub fn decode_unsigned(bytes: &[u8]) -> Self {
        let transaction: VersionedTransaction = wincode::deserialize(bytes).expect("a transaction");
        let (message, keys) = (&transaction.message, transaction.message.static_account_keys());
        let is_budget =
            |one: &CompiledInstruction| keys[usize::from(one.program_id_index)] == solana_compute_budget_interface::ID;
        let (mut compute_limit, mut priority_fee) = (0, 0);
        let (longest, budget_instructions) = if let VersionedMessage::V1(v1) = message {
            assert!(v1.config.loaded_accounts_data_size_limit.unwrap() > 2_000_000, "none means zero");
            compute_limit = v1.config.compute_unit_limit.unwrap();
            priority_fee = v1.config.priority_fee.unwrap_or_default();
            (4_096, 0)
        } else {
            let mut price = 0;
            let budget: Vec<_> = message.instructions().iter().take_while(|one| is_budget(one)).collect();
            for instruction in &budget {
                match instruction.data.split_first().unwrap() {
                    (2, limit) => compute_limit = u32::from_le_bytes(limit.try_into().unwrap()),
                    (3, offer) => price = u64::from_le_bytes(offer.try_into().unwrap()),
                    (other, _) => panic!("compute budget instruction {other}"),
                }
            }
            priority_fee += (price * u64::from(compute_limit)).div_ceil(1_000_000);
            (1_232, budget.len())
        };
        let instructions = &message.instructions()[budget_instructions..];
        assert!(bytes.len() <= longest, "{} bytes are too long", bytes.len());
        // A ticket's last instruction is the second of the program that makes it.
        let is_metadata = |one: &CompiledInstruction| keys[usize::from(one.program_id_index)] == mpl_token_metadata::ID;
        let ends = instructions.windows(2).enumerate().filter(|(_, two)| two.iter().all(is_metadata));
        let ends: Vec<usize> = ends.map(|(at, _)| at + 2).collect();
        assert_eq!(ends.last(), Some(&instructions.len()), "nothing else is in it");
        let begins = std::iter::once(0).chain(ends.iter().copied());
        let tickets = begins.zip(&ends).map(|(begin, end)| Minting::read(&instructions[begin..*end], keys));
        Self {
            signature: transaction.signatures[0],
            blockhash: *message.recent_blockhash(),
            compute_limit,
            fee: SIGNATURE_FEE * transaction.signatures.len() as u64 + priority_fee,
            payer: keys[0],
            budget_instructions: budget_instructions as u8,
            is_v1: matches!(message, VersionedMessage::V1(_)),
            tickets: tickets.collect(),
        }
    }

    pub fn mints(&self, mint: &Pubkey) -> bool {
        self.tickets.iter().any(|ticket| ticket.mint == *mint)
    }
}

impl Minting {
    fn read(instructions: &[CompiledInstruction], keys: &[Pubkey]) -> Self {
        let [.., create, mint_one] = instructions else { panic!("instructions are missing") };
        let key = |index: u8| keys[usize::from(index)];
        assert_eq!(create.data[..2], [42, 0], "CreateV1");
        let mut texts = &create.data[2..];
        let mut text = || {
            let (length, rest) = texts.split_first_chunk::<4>().unwrap();
            let (text, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
            texts = rest;
            String::from_utf8(text.to_vec()).unwrap()
        };
        let (name, symbol, uri) = (text(), text(), text());
        assert!(matches!(instructions.len(), 4 | 6), "{} instructions for a ticket", instructions.len());
        Self {
            wallet: key(create.accounts[3]),
            mint: key(create.accounts[2]),
            uri,
            search_units: search_units(&TicketAccounts::of(key(create.accounts[2]), &key(mint_one.accounts[1]))),
            prefunded: instructions.len() == 6,
            name,
            symbol,
            owner: key(mint_one.accounts[1]),
            metadata: key(create.accounts[0]),
            edition: key(create.accounts[1]),
            token: key(mint_one.accounts[0]),
        }
    }

    /// The ticket's accounts; `at_mint` was there already.
    pub fn accounts(&self, at_mint: u64) -> BTreeMap<Pubkey, Account> {
        let mut mint = vec![0; MINT_BYTES];
        let edition = Some(self.edition).into();
        Mint { mint_authority: edition, supply: 1, decimals: 0, is_initialized: true, freeze_authority: edition }
            .pack_into_slice(&mut mint);
        let mut token = vec![0; TOKEN_BYTES];
        let state = AccountState::Initialized;
        TokenAccount { mint: self.mint, owner: self.owner, amount: 1, state, ..TokenAccount::default() }
            .pack_into_slice(&mut token);
        let account =
            |owner, data: Vec<u8>, more: u64| Account { owner, lamports: Lamports(rent(data.len()) + more), data };
        let above_rent = at_mint.saturating_sub(rent(MINT_BYTES));
        BTreeMap::from([
            (self.mint, account(spl_token_interface::ID, mint, above_rent)),
            (self.metadata, account(mpl_token_metadata::ID, self.metadata_bytes(), metaplex_fee())),
            (self.edition, account(mpl_token_metadata::ID, vec![6; EDITION_BYTES], 0)),
            (self.token, account(spl_token_interface::ID, token, 0)),
        ])
    }

    /// What the wallet pays for the accounts.
    pub fn cost(at_mint: u64) -> u64 {
        price() - at_mint.min(rent(MINT_BYTES))
    }

    /// Borsh, as Token Metadata writes it: texts padded, then one creator, then flags and absent options.
    fn metadata_bytes(&self) -> Vec<u8> {
        let mut data = vec![4];
        data.extend(self.wallet.as_ref());
        data.extend(self.mint.as_ref());
        for (text, padded) in [(&self.name, 32), (&self.symbol, 10), (&self.uri, 200)] {
            data.extend(u32::to_le_bytes(padded));
            data.extend(text.as_bytes());
            data.resize(data.len() + padded as usize - text.len(), 0);
        }
        data.extend([0, 0, 1, 1, 0, 0, 0]);
        data.extend(self.wallet.as_ref());
        data.extend([1, 100, 0, 1, 1, 255, 1, 0]);
        data.resize(METADATA_BYTES, 0);
        data
    }
}
