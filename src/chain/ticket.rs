//! Reading a ticket back from its accounts.

use mpl_token_metadata::accounts::{MasterEdition, Metadata};
use solana_program_pack::Pack as _;
use solana_pubkey::Pubkey;
use spl_token_interface::state::{Account as TokenAccount, Mint};

use super::Account;
use crate::domain::{address::token_account, lamports::Lamports};

/// Accounts of one ticket: mint, metadata, edition, the owner's token account.
pub const ACCOUNTS_PER_TICKET: usize = 4;

/// Accounts of one ticket that tell all there is to compare: mint, metadata, the owner's token account. The mint says itself
/// whether its authority has passed to the edition.
pub const ACCOUNTS_TO_INSPECT: usize = 3;

/// A ticket's accounts one by one, as far as they are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The mint account.
    pub mint: MintState,
    /// The metadata account, if it is one.
    pub metadata: Option<MetadataState>,
    /// Whether the given owner holds the ticket now.
    pub held: bool,
    /// Another ticket's account stands where one of this ticket's should: the answers are mixed up.
    pub mixed_up: bool,
}

/// What is at a ticket's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MintState {
    /// Nothing, or only lamports that someone sent there.
    Absent,
    /// An account of this program that is no mint.
    Foreign(Pubkey),
    /// A mint.
    Mint {
        /// Tokens in existence.
        supply: u64,
        /// Nobody can make more: the authority is the master edition's.
        is_edition: bool,
    },
}

/// What a metadata account says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataState {
    /// Name.
    pub name: String,
    /// Symbol.
    pub symbol: String,
    /// Metadata URI.
    pub uri: String,
    /// Who may change it.
    pub update_authority: Pubkey,
    /// Those who made it and have signed for that.
    pub verified_creators: Vec<Pubkey>,
}

/// The addresses to [`inspect`].
#[must_use]
pub fn addresses_to_inspect(mint: Pubkey, owner: &Pubkey) -> [Pubkey; ACCOUNTS_TO_INSPECT] {
    [mint, Metadata::find_pda(&mint).0, token_account(&mint, owner)]
}

/// Reads a ticket from the accounts at its [`addresses_to_inspect`].
#[must_use]
pub fn inspect(address: &Pubkey, accounts: [Option<&Account>; ACCOUNTS_TO_INSPECT]) -> Inspection {
    let [mint, metadata, token] = accounts;
    let mixed_up = is_metadata(mint)
        || is_token_account(mint)
        || is_token_account(metadata)
        || is_metadata(token)
        || metadata.and_then(mint_of_metadata).is_some_and(|mint| mint != *address)
        || token.and_then(mint_of_token_account).is_some_and(|mint| mint != *address);
    let mint = match mint {
        None => MintState::Absent,
        Some(account) if account.owner == solana_system_interface::program::ID && account.data.is_empty() => {
            MintState::Absent
        }
        Some(account) => match Mint::unpack(&account.data) {
            Ok(mint) if account.owner == spl_token_interface::ID => {
                let edition = MasterEdition::find_pda(address).0;
                MintState::Mint { supply: mint.supply, is_edition: mint.mint_authority.contains(&edition) }
            }
            Ok(_) | Err(_) => MintState::Foreign(account.owner),
        },
    };
    Inspection { mint, metadata: metadata.and_then(read_metadata), held: token.is_some_and(holds_one), mixed_up }
}

fn is_metadata(account: Option<&Account>) -> bool {
    account.is_some_and(|account| account.owner == mpl_token_metadata::ID)
}

fn is_token_account(account: Option<&Account>) -> bool {
    account.is_some_and(|a| a.owner == spl_token_interface::ID && a.data.len() == TokenAccount::LEN)
}

fn mint_of_metadata(account: &Account) -> Option<Pubkey> {
    Metadata::from_bytes(&account.data).ok().map(|metadata| metadata.mint)
}

fn mint_of_token_account(account: &Account) -> Option<Pubkey> {
    TokenAccount::unpack(&account.data).ok().map(|account| account.mint)
}

fn read_metadata(account: &Account) -> Option<MetadataState> {
    if account.owner != mpl_token_metadata::ID {
        return None;
    }
    let fields = Metadata::from_bytes(&account.data).ok()?;
    let padded = |text: &str| text.trim_end_matches('\0').to_owned();
    let creators = fields.creators.unwrap_or_default();
    Some(MetadataState {
        name: padded(&fields.name),
        symbol: padded(&fields.symbol),
        uri: padded(&fields.uri),
        update_authority: fields.update_authority,
        verified_creators: creators.into_iter().filter(|creator| creator.verified).map(|c| c.address).collect(),
    })
}

/// Mint, name and URI, if an account is the metadata of an NFT that `wallet` may change.
#[must_use]
pub fn minted_by(wallet: &Pubkey, account: &Account) -> Option<(Pubkey, String, String)> {
    let state = read_metadata(account).filter(|state| state.update_authority == *wallet)?;
    Some((mint_of_metadata(account)?, state.name, state.uri))
}

fn holds_one(account: &Account) -> bool {
    TokenAccount::unpack(&account.data).is_ok_and(|held| held.amount == 1)
}

/// What the chain holds at a ticket's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnChain {
    /// Nothing; the lamports that someone sent to the address already, if any.
    Absent {
        /// Sent by a stranger before the account existed.
        prefunded: Option<Lamports>,
    },
    /// An NFT.
    Ticket(TicketOnChain),
    /// Something that is no NFT: an account of another program, or a bare mint.
    Foreign,
}

/// A ticket as the chain has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketOnChain {
    /// Name.
    pub name: String,
    /// Symbol.
    pub symbol: String,
    /// Metadata URI.
    pub uri: String,
    /// Who may change it.
    pub update_authority: Pubkey,
    /// Tokens in existence: one.
    pub supply: u64,
    /// Whether the given owner holds it now.
    pub held_by_owner: bool,
    /// Everything that its accounts hold: rent, and the Metaplex fee that sits in the metadata account.
    pub lamports: Lamports,
    /// Whether the given owner's token account exists and is in `lamports`.
    pub has_token_account: bool,
}

/// Reads a ticket from the accounts at its [`TicketAccounts::addresses`](crate::domain::address::TicketAccounts::addresses).
#[must_use]
pub fn read(accounts: [Option<&Account>; ACCOUNTS_PER_TICKET]) -> OnChain {
    let [mint, metadata, edition, token] = accounts;
    let Some(mint) = mint else { return OnChain::Absent { prefunded: None } };
    if mint.owner == solana_system_interface::program::ID && mint.data.is_empty() {
        return OnChain::Absent { prefunded: Some(mint.lamports) };
    }
    let unpacked = if mint.owner == spl_token_interface::ID { Mint::unpack(&mint.data).ok() } else { None };
    let (Some(unpacked), Some(fields)) = (unpacked, metadata.and_then(read_metadata)) else { return OnChain::Foreign };
    OnChain::Ticket(TicketOnChain {
        name: fields.name,
        symbol: fields.symbol,
        uri: fields.uri,
        update_authority: fields.update_authority,
        supply: unpacked.supply,
        held_by_owner: token.is_some_and(holds_one),
        lamports: [Some(mint), metadata, edition, token].into_iter().flatten().map(|account| account.lamports).sum(),
        has_token_account: token.is_some(),
    })
}
