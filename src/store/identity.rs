//! Which chain and which wallet these books belong to.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Store, StoreError};

/// The chain and the authority of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Genesis hash of the chain, base58.
    pub genesis_hash: String,
    /// Public key of the wallet that mints, base58.
    pub authority: String,
    /// The network's name when the books were begun.
    pub network: String,
}

impl Store {
    /// Binds new books to an identity, or checks that they are bound to it already.
    ///
    /// # Errors
    /// [`StoreError::OtherIdentity`] when they belong to another chain or wallet.
    pub async fn bind(&self, found: Identity, now_ms: i64) -> Result<(), StoreError> {
        self.write(move |connection| {
            let Some(bound) = read(connection)? else {
                connection.execute(
                    "INSERT INTO identity (id, genesis_hash, authority, network, created_at) VALUES (1, ?, ?, ?, ?)",
                    params![found.genesis_hash, found.authority, found.network, now_ms],
                )?;
                return Ok(());
            };
            if bound.genesis_hash != found.genesis_hash {
                return Err(StoreError::OtherIdentity {
                    what: "the chain with genesis hash",
                    bound: format!("{} ({})", bound.genesis_hash, bound.network),
                    found: format!("{} ({})", found.genesis_hash, found.network),
                    setting: "NETWORK or SOLANA_RPC_URLS",
                });
            }
            if bound.authority != found.authority {
                return Err(StoreError::OtherIdentity {
                    what: "the wallet",
                    bound: bound.authority,
                    found: found.authority,
                    setting: "WALLET_PATH",
                });
            }
            Ok(())
        })
        .await
    }
}

pub(super) fn read(connection: &Connection) -> Result<Option<Identity>, StoreError> {
    let identity = connection
        .query_row("SELECT genesis_hash, authority, network FROM identity", [], |row| {
            Ok(Identity { genesis_hash: row.get(0)?, authority: row.get(1)?, network: row.get(2)? })
        })
        .optional()?;
    Ok(identity)
}
