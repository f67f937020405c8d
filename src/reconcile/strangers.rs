//! The other way round: NFTs of this wallet that the books do not know.
//!
//! Everything that the wallet ever made is in its history, a thousand transactions to a call. Those that the books know are
//! skipped; the rest is looked into one by one, up to a bound.

use serde::{Deserialize, Serialize};
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use utoipa::ToSchema;

use super::{ReconcileError, Shared};
use crate::chain::{Account, ChainError, ticket::minted_by};

/// Transactions that are looked into one by one in one search.
const MAX_LOOKED_INTO: usize = 200;

/// An NFT of this wallet that the books do not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stranger {
    /// Where it lives, base58.
    pub mint_address: String,
    /// Its name.
    pub name: String,
    /// Its metadata.
    pub metadata_uri: String,
    /// The transaction that made it, base58.
    pub signature: String,
}

/// What a search came to.
pub(super) struct Search {
    pub(super) found: Vec<Stranger>,
    /// Why it is not complete.
    pub(super) incomplete: Option<String>,
}

impl Shared {
    /// Searches the wallet's history for NFTs that the books do not know.
    pub(super) async fn strangers(&self) -> Result<Search, ReconcileError> {
        let mut search = Search { found: Vec::new(), incomplete: None };
        let (mut before, mut looked_into) = (None, 0_usize);
        loop {
            let page = match self.chain.history(&self.wallet, before).await {
                Ok(page) => page,
                Err(error) => return Ok(search.stopped(error.to_string())),
            };
            let Some(last) = page.last() else { return Ok(search) };
            before = Some(last.signature);
            let worked = page.iter().filter(|transaction| transaction.succeeded);
            let unknown = worked.map(|transaction| transaction.signature).collect();
            for signature in self.store.unknown_transactions(unknown).await? {
                if looked_into >= MAX_LOOKED_INTO {
                    let reason = format!("more than {MAX_LOOKED_INTO} transactions of this wallet are not the books'");
                    return Ok(search.stopped(reason));
                }
                looked_into = looked_into.saturating_add(1);
                match self.minted_in(signature).await {
                    Ok(minted) => {
                        let addresses = minted.iter().map(|(address, _)| *address).collect();
                        let unknown = self.store.unknown_addresses(addresses).await?;
                        let strangers = minted.into_iter().filter(|(address, _)| unknown.contains(address));
                        search.found.extend(strangers.map(|(_, stranger)| stranger));
                    }
                    Err(error) => return Ok(search.stopped(error.to_string())),
                }
            }
            self.give_way().await;
        }
    }

    /// The NFTs of this wallet among the accounts of a transaction.
    async fn minted_in(&self, signature: Signature) -> Result<Vec<(Pubkey, Stranger)>, ChainError> {
        let Some(addresses) = self.chain.accounts_of(&signature).await? else { return Ok(Vec::new()) };
        let accounts = self.chain.accounts(&addresses).await?.value;
        let stranger = |(mint, name, uri): (Pubkey, String, String)| {
            let stranger =
                Stranger { mint_address: mint.to_string(), name, metadata_uri: uri, signature: signature.to_string() };
            (mint, stranger)
        };
        let accounts = accounts.iter().flatten();
        Ok(accounts.filter_map(|account: &Account| minted_by(&self.wallet, account)).map(stranger).collect())
    }
}

impl Search {
    fn stopped(self, reason: String) -> Self {
        Self { incomplete: Some(reason), ..self }
    }
}
