//! The engine's transactions as the scripted chain reads them, and the accounts that they make.

use std::collections::BTreeMap;

use boxoffice::{chain::Account, domain::lamports::Lamports};
use solana_hash::Hash;
use solana_program_pack::Pack as _;
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_transaction::versioned::VersionedTransaction;
use spl_token_interface::state::{Account as TokenAccount, AccountState, Mint};

pub const SIGNATURE_FEE: u64 = 5_000;
const MINT_BYTES: usize = 82;
const METADATA_BYTES: usize = 607;
const EDITION_BYTES: usize = 20;
const TOKEN_BYTES: usize = 165;

/// A transaction that mints one ticket, as it was decoded and verified.
#[derive(Clone, Debug)]
pub struct Minting {
    pub signature: Signature,
    pub blockhash: Hash,
    pub wallet: Pubkey,
    pub payer: Pubkey,
    /// What the network takes for it.
    pub fee: u64,
    pub mint: Pubkey,
    pub uri: String,
    pub compute_limit: u32,
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

impl Minting {
    /// Reads the bytes as a validator would, or panics: the engine must never send anything else.
    pub fn decode(bytes: &[u8]) -> Self {
        let transaction: VersionedTransaction = wincode::deserialize(bytes).expect("a transaction");
        assert!(bytes.len() <= 1_232, "a transaction fits a packet");
        assert!(transaction.verify_with_results().iter().all(|good| *good), "the signature is good");
        let (message, keys) = (&transaction.message, transaction.message.static_account_keys());
        let [compute, .., create, mint_one] = message.instructions() else { panic!("instructions are missing") };
        let key = |index: u8| keys[usize::from(index)];
        assert_eq!(key(create.program_id_index), mpl_token_metadata::ID);
        assert_eq!(create.data[..2], [42, 0], "CreateV1");
        let mut texts = &create.data[2..];
        let mut text = || {
            let (length, rest) = texts.split_first_chunk::<4>().unwrap();
            let (text, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
            texts = rest;
            String::from_utf8(text.to_vec()).unwrap()
        };
        let (name, symbol, uri) = (text(), text(), text());
        Self {
            signature: transaction.signatures[0],
            blockhash: *message.recent_blockhash(),
            wallet: key(create.accounts[3]),
            payer: keys[0],
            fee: SIGNATURE_FEE * transaction.signatures.len() as u64,
            mint: key(create.accounts[2]),
            uri,
            compute_limit: u32::from_le_bytes(compute.data[1..5].try_into().unwrap()),
            prefunded: message.instructions().len() == 7,
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
