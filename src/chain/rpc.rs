//! The chain over JSON-RPC.
//!
//! Every endpoint must prove that it serves the chain of the books, by its genesis hash: before its first use, after each
//! fault, every few seconds, and always before a blockhash or the end of the chain is taken from it.
//! Every call is counted by endpoint, method and outcome. Several endpoints may be named: `pool` says which of them is asked,
//! `score` what makes one better than another, `circuit` when one is left alone.

mod call;
mod circuit;
mod endpoint;
mod instruments;
mod pool;
mod redact;
mod score;
mod transport;

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use prometheus::Registry;
use reqwest::Url;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, json};
use solana_account_decoder_client_types::UiAccount;
use solana_commitment_config::CommitmentConfig;
use solana_hash::Hash;
use solana_pubkey::Pubkey;
use solana_rpc_client_api::response::{Response, RpcConfirmedTransactionStatusWithSignature, RpcPrioritizationFee};
use solana_signature::Signature;
use solana_transaction_status_client_types::{TransactionStatus, UiTransactionError};
use thiserror::Error;

pub use circuit::CircuitState;
pub use endpoint::EndpointHealth;
pub use redact::redacted;

use super::{
    Account, Chain, ChainError, EndpointSends, Landed, Observed, PastTransaction, RecentBlockhash, Simulated, Strain,
    Tip,
};
use crate::domain::lamports::Lamports;
use call::Told;
use endpoint::Endpoint;
use instruments::Instruments;
use pool::Pool;

/// Accounts in one `getMultipleAccounts` (Agave's `MAX_MULTIPLE_ACCOUNTS`).
const ACCOUNTS_PER_CALL: usize = 100;
/// Signatures in one `getSignatureStatuses` (Agave's `MAX_GET_SIGNATURE_STATUSES_QUERY_ITEMS`).
const STATUSES_PER_CALL: usize = 256;
/// Bulk calls under way at once for one question.
const PARALLEL_CALLS: usize = 16;
/// Pages of an address's history that are read before giving up; a thousand transactions each.
const HISTORY_PAGES: usize = 20;

/// A JSON-RPC client for one or more endpoints of the same chain.
pub struct RpcChain {
    pool: Arc<Pool>,
    commitment: CommitmentConfig,
}

impl fmt::Debug for RpcChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcChain").field("endpoints", &self.names()).finish_non_exhaustive()
    }
}

/// Why the client cannot be set up.
#[derive(Debug, Error)]
pub enum RpcSetupError {
    /// TLS or sockets.
    #[error("the HTTP client cannot be set up: {0}")]
    Http(#[from] reqwest::Error),
    /// An instrument with an impossible name: a bug.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EpochInfo {
    absolute_slot: u64,
    block_height: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LatestBlockhash {
    blockhash: Base58<Hash>,
    last_valid_block_height: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Simulation {
    err: Option<UiTransactionError>,
    units_consumed: Option<u64>,
}

/// A value that is written in base58.
struct Base58<T>(T);

impl<'de, T: FromStr> Deserialize<'de> for Base58<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_not_base58| serde::de::Error::custom("not a hash in base58"))
    }
}

/// An account that could be decoded.
#[derive(Deserialize)]
#[serde(try_from = "UiAccount")]
struct Decoded(Account);

impl TryFrom<UiAccount> for Decoded {
    type Error = &'static str;

    fn try_from(account: UiAccount) -> Result<Self, Self::Error> {
        let undecodable = "an account that cannot be decoded";
        let owner = account.owner.parse().map_err(|_not_an_address| undecodable)?;
        let data = account.data.decode().ok_or(undecodable)?;
        Ok(Self(Account { owner, lamports: Lamports(account.lamports), data }))
    }
}

fn slot_of<T>(answer: &Response<T>) -> Told {
    Told { slot: Some(answer.context.slot), entries: None }
}

impl RpcChain {
    /// A client for `endpoints`, the first preferred.
    ///
    /// # Errors
    /// When the platform's TLS or sockets cannot be set up.
    pub fn new(endpoints: Vec<Url>, commitment: CommitmentConfig) -> Result<Self, RpcSetupError> {
        let named = endpoints.into_iter().enumerate().map(|(index, url)| Arc::new(Endpoint::new(index, url)));
        let pool = Pool::new(transport::client()?, named.collect(), Instruments::new()?);
        Ok(Self { pool: Arc::new(pool), commitment })
    }

    /// Has its instruments shown.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        self.pool.instruments.register(registry, &self.names())
    }

    /// How each endpoint is doing.
    #[must_use]
    pub fn health(&self) -> Vec<EndpointHealth> {
        self.pool.health()
    }

    /// Asks every endpoint whether it serves the chain of the books, those too that nothing was asked of yet.
    pub async fn ask_all(&self) {
        self.pool.ask_all().await;
    }

    /// Asks the endpoints that failed last whether they are well again. Those that are not preferred are asked by nobody else
    /// while the preferred one answers, and would look down for ever.
    pub async fn ask_faulty_again(&self) {
        self.pool.ask_faulty_again().await;
    }

    /// From now on only endpoints that serve this chain are listened to.
    pub fn bind(&self, genesis_hash: String) {
        // Bound once, at start-up; a second time would be the same hash.
        drop(self.pool.genesis.set(genesis_hash));
    }

    /// Calls made so far, by method; one that was put to two endpoints counts twice.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.pool.instruments.calls()
    }

    fn names(&self) -> Vec<&str> {
        self.pool.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect()
    }

    async fn call<T: DeserializeOwned + Send>(&self, method: &'static str, params: Value) -> Result<T, ChainError> {
        self.pool.read(method, params, |_answer| Told::default()).await
    }

    /// Puts a question about many things in calls of at most `size`; the answer is as old as its oldest part.
    async fn in_bulk<A: fmt::Display + Sync, T: DeserializeOwned + Send>(
        &self,
        method: &'static str,
        subjects: &[A],
        size: usize,
        config: &Value,
    ) -> Result<Observed<Vec<Option<T>>>, ChainError> {
        let calls = subjects.chunks(size).map(|chunk| {
            let names: Vec<String> = chunk.iter().map(A::to_string).collect();
            let wanted = chunk.len();
            self.pool.read(method, json!([names, config]), move |answer: &Response<Vec<Option<T>>>| Told {
                slot: Some(answer.context.slot),
                entries: Some((wanted, answer.value.len())),
            })
        });
        let calls: Vec<_> = calls.collect();
        let answers: Vec<Response<Vec<Option<T>>>> = stream::iter(calls).buffered(PARALLEL_CALLS).try_collect().await?;
        let slot = answers.iter().map(|answer| answer.context.slot).min().unwrap_or_default();
        Ok(Observed { slot, value: answers.into_iter().flat_map(|answer| answer.value).collect() })
    }
}

#[async_trait]
impl Chain for RpcChain {
    async fn genesis_hash(&self) -> Result<Hash, ChainError> {
        let Base58(hash) = self.call("getGenesisHash", json!([])).await?;
        Ok(hash)
    }

    async fn tip(&self) -> Result<Tip, ChainError> {
        let told = |info: &EpochInfo| Told { slot: Some(info.absolute_slot), entries: None };
        let info = self.pool.read("getEpochInfo", json!([self.commitment]), told).await?;
        Ok(Tip { slot: info.absolute_slot, block_height: info.block_height })
    }

    async fn latest_blockhash(&self) -> Result<RecentBlockhash, ChainError> {
        // Always `confirmed`: a finalized blockhash is half as old already when it arrives.
        let params = json!([CommitmentConfig::confirmed()]);
        let answer = self.pool.read("getLatestBlockhash", params, slot_of::<LatestBlockhash>).await?;
        let LatestBlockhash { blockhash: Base58(hash), last_valid_block_height } = answer.value;
        Ok(RecentBlockhash { hash, last_valid_block_height })
    }

    async fn balance(&self, address: &Pubkey) -> Result<Lamports, ChainError> {
        let params = json!([address.to_string(), CommitmentConfig::confirmed()]);
        let answer = self.pool.read("getBalance", params, slot_of::<u64>).await?;
        Ok(Lamports(answer.value))
    }

    async fn rent(&self, size: usize) -> Result<Lamports, ChainError> {
        self.call("getMinimumBalanceForRentExemption", json!([size])).await.map(Lamports)
    }

    async fn accounts(&self, addresses: &[Pubkey]) -> Result<Observed<Vec<Option<Account>>>, ChainError> {
        let config = json!({ "encoding": "base64", "commitment": self.commitment.commitment });
        let method = "getMultipleAccounts";
        let answer = self.in_bulk::<_, Decoded>(method, addresses, ACCOUNTS_PER_CALL, &config).await?;
        let accounts = answer.value.into_iter().map(|account| account.map(|Decoded(account)| account));
        Ok(Observed { slot: answer.slot, value: accounts.collect() })
    }

    async fn statuses(
        &self,
        signatures: &[Signature],
        search_history: bool,
    ) -> Result<Observed<Vec<Option<Landed>>>, ChainError> {
        let config = json!({ "searchTransactionHistory": search_history });
        let method = "getSignatureStatuses";
        let answer = self.in_bulk::<_, TransactionStatus>(method, signatures, STATUSES_PER_CALL, &config).await?;
        let landed = |status: TransactionStatus| Landed {
            slot: status.slot,
            settled: status.satisfies_commitment(self.commitment),
            finalized: status.satisfies_commitment(CommitmentConfig::finalized()),
            error: status.err,
        };
        Ok(Observed { slot: answer.slot, value: answer.value.into_iter().map(|status| status.map(landed)).collect() })
    }

    async fn send(&self, transaction: &[u8]) -> Result<(), ChainError> {
        // Without preflight: a lagging node's simulation proves nothing, and the status poll tells the truth for hundreds of
        // transactions at once. Retries are ours, so that we know what is on its way.
        let config = json!({ "encoding": "base64", "skipPreflight": true, "maxRetries": 0 });
        self.pool.send(json!([STANDARD.encode(transaction), config])).await
    }

    async fn simulate(&self, transaction: &[u8]) -> Result<Simulated, ChainError> {
        let config = json!({ "encoding": "base64", "sigVerify": false, "replaceRecentBlockhash": true,
            "commitment": CommitmentConfig::confirmed().commitment });
        let params = json!([STANDARD.encode(transaction), config]);
        let answer = self.pool.read("simulateTransaction", params, slot_of::<Simulation>).await?.value;
        Ok(Simulated { error: answer.err.map(Into::into), units_consumed: answer.units_consumed })
    }

    async fn priority_fees(&self, written: &[Pubkey]) -> Result<Vec<u64>, ChainError> {
        let written: Vec<String> = written.iter().map(Pubkey::to_string).collect();
        let fees: Vec<RpcPrioritizationFee> = self.call("getRecentPrioritizationFees", json!([written])).await?;
        Ok(fees.into_iter().map(|fee| fee.prioritization_fee).collect())
    }

    fn strain(&self) -> Strain {
        self.pool.strain()
    }

    fn sends(&self) -> Vec<EndpointSends> {
        self.pool.endpoints.iter().map(|endpoint| endpoint.sends()).collect()
    }

    async fn block_time_ms(&self, slot: u64) -> Result<Option<i64>, ChainError> {
        match self.call::<Option<i64>>("getBlockTime", json!([slot])).await {
            Ok(seconds) => Ok(seconds.map(|seconds| seconds.saturating_mul(1_000))),
            // Skipped slots and blocks from before the node's memory.
            Err(ChainError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn history(&self, address: &Pubkey, before: Option<Signature>) -> Result<Vec<PastTransaction>, ChainError> {
        let before = before.map(|signature| signature.to_string());
        let config = json!({ "commitment": self.commitment.commitment, "before": before });
        let page: Vec<RpcConfirmedTransactionStatusWithSignature> =
            self.call("getSignaturesForAddress", json!([address.to_string(), config])).await?;
        let read = |entry: RpcConfirmedTransactionStatusWithSignature| {
            let signature = entry.signature.parse().ok()?;
            Some(PastTransaction { signature, slot: entry.slot, succeeded: entry.err.is_none() })
        };
        Ok(page.into_iter().filter_map(read).collect())
    }

    async fn accounts_of(&self, signature: &Signature) -> Result<Option<Vec<Pubkey>>, ChainError> {
        let config = json!({ "encoding": "json", "commitment": self.commitment.commitment,
            "maxSupportedTransactionVersion": 1 });
        let found: Option<Value> = self.call("getTransaction", json!([signature.to_string(), config])).await?;
        let keys = found.as_ref().and_then(|found| found.pointer("/transaction/message/accountKeys")?.as_array());
        Ok(keys.map(|keys| keys.iter().filter_map(|key| key.as_str()?.parse().ok()).collect()))
    }

    async fn first_signature(&self, address: &Pubkey) -> Result<Option<(Signature, u64)>, ChainError> {
        let (mut oldest, mut before) = (None, None);
        for _page in 0..HISTORY_PAGES {
            let page = self.history(address, before).await?;
            let Some(last) = page.last() else { break };
            before = Some(last.signature);
            let succeeded = page.iter().rev().find(|entry| entry.succeeded);
            oldest = succeeded.map(|entry| (entry.signature, entry.slot)).or(oldest);
        }
        Ok(oldest)
    }
}
