//! Reading a ticket back from its accounts.

use mpl_token_metadata::accounts::Metadata;
use solana_program_pack::Pack as _;
use solana_pubkey::Pubkey;
use spl_token_interface::state::{Account as TokenAccount, Mint};

use super::Account;
use crate::domain::{
    address::{ticket_accounts, token_account},
    lamports::Lamports,
};

/// Accounts of one ticket: mint, metadata, edition, the owner's token account.
pub const ACCOUNTS_PER_TICKET: usize = 4;

/// The addresses of a ticket's accounts, in the order that [`read`] takes them.
#[must_use]
pub fn addresses(mint: Pubkey, owner: &Pubkey) -> [Pubkey; ACCOUNTS_PER_TICKET] {
    let accounts = ticket_accounts(mint);
    [mint, accounts.metadata, accounts.edition, token_account(&mint, owner)]
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

/// Reads a ticket from the accounts at its [`addresses`].
#[must_use]
pub fn read(accounts: [Option<&Account>; ACCOUNTS_PER_TICKET]) -> OnChain {
    let [mint, metadata, edition, token] = accounts;
    let Some(mint) = mint else { return OnChain::Absent { prefunded: None } };
    if mint.owner == solana_system_interface::program::ID && mint.data.is_empty() {
        return OnChain::Absent { prefunded: Some(mint.lamports) };
    }
    let unpacked = if mint.owner == spl_token_interface::ID { Mint::unpack(&mint.data).ok() } else { None };
    let fields = metadata.filter(|account| account.owner == mpl_token_metadata::ID);
    let fields = fields.and_then(|account| Metadata::from_bytes(&account.data).ok());
    let (Some(unpacked), Some(fields)) = (unpacked, fields) else { return OnChain::Foreign };
    let held = token.and_then(|account| TokenAccount::unpack(&account.data).ok()).is_some_and(|held| held.amount == 1);
    let padded = |text: &str| text.trim_end_matches('\0').to_owned();
    OnChain::Ticket(TicketOnChain {
        name: padded(&fields.name),
        symbol: padded(&fields.symbol),
        uri: padded(&fields.uri),
        update_authority: fields.update_authority,
        supply: unpacked.supply,
        held_by_owner: held,
        lamports: [Some(mint), metadata, edition, token].into_iter().flatten().map(|account| account.lamports).sum(),
        has_token_account: token.is_some(),
    })
}
