//! The other way round: NFTs of this wallet that the books do not know.
//!
//! Everything that the wallet ever made is in its history, a thousand transactions to a call. Those that the books know are
//! skipped; the rest is looked into one by one, up to a bound.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use utoipa::ToSchema;

use super::{ReconcileError, Shared};
use crate::chain::{ChainError, ticket::minted_by};

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
            let worked = worked.map(|transaction| transaction.signature).collect();
            let mut unknown = self.store.unknown_transactions(worked).await?;
            let room = MAX_LOOKED_INTO.saturating_sub(looked_into);
            let too_many = unknown.len() > room;
            unknown.truncate(room);
            looked_into = looked_into.saturating_add(unknown.len());
            match self.minted_in(&unknown).await {
                Ok(minted) => {
                    let addresses = minted.iter().map(|(address, _)| *address).collect();
                    let unknown = self.store.unknown_addresses(addresses).await?;
                    let strangers = minted.into_iter().filter(|(address, _)| unknown.contains(address));
                    search.found.extend(strangers.map(|(_, stranger)| stranger));
                }
                Err(error) => return Ok(search.stopped(error.to_string())),
            }
            if too_many {
                let reason = format!("more than {MAX_LOOKED_INTO} transactions of this wallet are not the books'");
                return Ok(search.stopped(reason));
            }
            self.give_way().await;
        }
    }

    /// The NFTs of this wallet among the accounts of some transactions: a call for each transaction, and one for a hundred
    /// accounts.
    async fn minted_in(&self, signatures: &[Signature]) -> Result<Vec<(Pubkey, Stranger)>, ChainError> {
        let mut named: HashMap<Pubkey, Signature> = HashMap::new();
        for signature in signatures {
            let addresses = self.chain.accounts_of(signature).await?.unwrap_or_default();
            for address in addresses {
                named.entry(address).or_insert(*signature);
            }
        }
        let (addresses, signatures): (Vec<Pubkey>, Vec<Signature>) = named.into_iter().unzip();
        let accounts = self.chain.accounts(&addresses).await?.value;
        let minted = accounts.iter().zip(signatures).filter_map(|(account, signature)| {
            let (mint, name, metadata_uri) = minted_by(&self.wallet, account.as_ref()?)?;
            let (mint_address, signature) = (mint.to_string(), signature.to_string());
            Some((mint, Stranger { mint_address, name, metadata_uri, signature }))
        });
        Ok(minted.collect())
    }
}

impl Search {
    fn stopped(self, reason: String) -> Self {
        Self { incomplete: Some(reason), ..self }
    }
}
