//! The chain over JSON-RPC.
//!
//! Every endpoint must prove that it serves the chain of the books, by its genesis hash: before its first use, after each
//! fault, every few seconds, and always before a blockhash or the end of the chain is taken from it.
//! Every call is counted by endpoint, method and outcome. Several endpoints may be named; a call whose endpoint fails is put
//! to the next one, and the one that answered is preferred from then on. Sending the same bytes twice is harmless: the chain
//! takes them once.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{StreamExt as _, TryStreamExt as _, future::join_all, stream};
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, core::Collector as _, exponential_buckets,
};
use reqwest::{StatusCode, Url, header::RETRY_AFTER};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use solana_account_decoder_client_types::UiAccount;
use solana_commitment_config::CommitmentConfig;
use solana_hash::Hash;
use solana_pubkey::Pubkey;
use solana_rpc_client_api::response::{Response, RpcBlockhash, RpcConfirmedTransactionStatusWithSignature};
use solana_signature::Signature;
use solana_transaction_status_client_types::TransactionStatus;
use thiserror::Error;
use tokio::time::Instant;

use super::{Account, Chain, ChainError, Landed, NextStep, Observed, PastTransaction, RecentBlockhash, Tip};
use crate::domain::lamports::Lamports;

/// Accounts in one `getMultipleAccounts` (Agave's `MAX_MULTIPLE_ACCOUNTS`).
const ACCOUNTS_PER_CALL: usize = 100;
/// Signatures in one `getSignatureStatuses` (Agave's `MAX_GET_SIGNATURE_STATUSES_QUERY_ITEMS`).
const STATUSES_PER_CALL: usize = 256;
/// Bulk calls under way at once for one question.
const PARALLEL_CALLS: usize = 8;
/// A call without an answer for this long has failed.
const TIMEOUT: Duration = Duration::from_secs(15);
/// An endpoint that asks for more patience than this is asked again all the same.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How long an endpoint's proof counts.
const PROOF_LIFETIME: Duration = Duration::from_secs(5);
/// Characters of a node's message that are told.
const MOST_SAID: usize = 300;
/// From this length on, a part of a URL may be a key.
const KEY_BYTES: usize = 8;
/// Pages of an address's history that are read before giving up; a thousand transactions each.
const HISTORY_PAGES: usize = 20;

/// A JSON-RPC client for one or more endpoints of the same chain.
pub struct RpcChain {
    http: reqwest::Client,
    endpoints: Vec<Endpoint>,
    preferred: AtomicUsize,
    /// Genesis hash of the chain that the books belong to, once that is known.
    genesis: OnceLock<String>,
    commitment: CommitmentConfig,
    calls: IntCounterVec,
    seconds: HistogramVec,
}

impl fmt::Debug for RpcChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<_> = self.endpoints.iter().map(|endpoint| redacted(&endpoint.url)).collect();
        f.debug_struct("RpcChain").field("endpoints", &endpoints).finish_non_exhaustive()
    }
}

/// An address, when it last proved to serve the right chain, and how it did.
struct Endpoint {
    url: Url,
    /// How it is named where its URL must not be shown.
    name: String,
    proven: Mutex<Option<Instant>>,
    seen: Mutex<Seen>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    last_answer: Option<Instant>,
    last_latency: Option<Duration>,
    /// The last fault, while no answer has followed it.
    fault: Option<String>,
}

/// How an endpoint is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointHealth {
    /// Scheme, host and port.
    pub endpoint: String,
    /// Asked first.
    pub preferred: bool,
    /// Since its last answer; none if it never gave one.
    pub last_answer_ago: Option<Duration>,
    /// How long that answer took.
    pub last_latency: Option<Duration>,
    /// Its last fault, if no answer has followed it.
    pub fault: Option<String>,
}

impl Endpoint {
    fn set_proven(&self, at: Option<Instant>) {
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Notes a fault that its answer shows.
    fn failed(&self, error: ChainError) -> ChainError {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).fault = Some(error.to_string());
        error
    }

    fn saw<T>(&self, began: Instant, answer: &Result<T, ChainError>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            // A refusal is an answer too: the endpoint is there.
            Ok(_) | Err(ChainError::Refused { .. }) => {
                *seen = Seen { last_answer: Some(Instant::now()), last_latency: Some(began.elapsed()), fault: None };
            }
            Err(error) => seen.fault = Some(error.to_string()),
        }
    }
}

/// An endpoint by scheme, host and port: paths, queries and passwords often hold keys.
#[must_use]
pub fn redacted(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// What a node said, without what could be a key of its URL, and cut to [`MOST_SAID`]: clients and logs see it.
fn without_keys(said: &str, url: &Url) -> String {
    let query = url.query().unwrap_or_default();
    let pairs: Vec<_> = url.query_pairs().collect();
    let parts = url.path().split('/').chain(query.split(['&', '='])).chain([url.username()]);
    let parts = parts.chain(pairs.iter().flat_map(|(name, value)| [name.as_ref(), value.as_ref()]));
    let whole = [url.path(), query, url.password().unwrap_or_default()];
    let whole = whole.into_iter().filter(|part| !part.is_empty() && *part != "/");
    let mut keys: Vec<&str> = parts.filter(|part| part.len() >= KEY_BYTES).chain(whole).collect();
    keys.sort_unstable_by_key(|key| std::cmp::Reverse(key.len()));
    let (mut told, mut rest) = (String::new(), said);
    while let Some(sign) = rest.chars().next() {
        rest = if let Some(behind) = keys.iter().find_map(|key| rest.strip_prefix(key)) {
            told.push_str("[redacted]");
            behind
        } else {
            told.push(sign);
            rest.strip_prefix(sign).unwrap_or_default()
        };
    }
    if told.chars().count() <= MOST_SAID {
        return told;
    }
    told.chars().take(MOST_SAID.saturating_sub(1)).chain(['…']).collect()
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
struct Envelope<T> {
    result: Option<T>,
    error: Option<NodeError>,
}

#[derive(Deserialize)]
struct NodeError {
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EpochInfo {
    absolute_slot: u64,
    block_height: u64,
}

impl RpcChain {
    /// A client for `endpoints`, the first preferred.
    ///
    /// # Errors
    /// When the platform's TLS or sockets cannot be set up.
    pub fn new(endpoints: Vec<Url>, commitment: CommitmentConfig) -> Result<Self, RpcSetupError> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .user_agent(concat!("boxoffice/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let calls = Opts::new("boxoffice_rpc_calls_total", "JSON-RPC calls, by endpoint, method and outcome.");
        let seconds = HistogramOpts::new("boxoffice_rpc_call_duration_seconds", "Seconds that JSON-RPC calls took.");
        let named = endpoints.into_iter().enumerate().map(|(index, url)| {
            let host = redacted(&url);
            // Two plans of one provider differ only in what must not be shown.
            let name = if index == 0 { host } else { format!("{host} #{}", index.saturating_add(1)) };
            Endpoint { url, name, proven: Mutex::new(None), seen: Mutex::default() }
        });
        Ok(Self {
            http,
            endpoints: named.collect(),
            preferred: AtomicUsize::new(0),
            genesis: OnceLock::new(),
            commitment,
            calls: IntCounterVec::new(calls, &["endpoint", "method", "outcome"])?,
            seconds: HistogramVec::new(seconds.buckets(exponential_buckets(0.001, 2.0, 14)?), &["endpoint", "method"])?,
        })
    }

    /// Has its instruments shown.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.calls.clone()))?;
        registry.register(Box::new(self.seconds.clone()))
    }

    /// How each endpoint is doing.
    #[must_use]
    pub fn health(&self) -> Vec<EndpointHealth> {
        let preferred = self.preferred.load(Ordering::Relaxed);
        let health = |(index, endpoint): (usize, &Endpoint)| {
            let seen = endpoint.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
            EndpointHealth {
                endpoint: endpoint.name.clone(),
                preferred: index == preferred,
                last_answer_ago: seen.last_answer.map(|at| at.elapsed()),
                last_latency: seen.last_latency,
                fault: seen.fault,
            }
        };
        self.endpoints.iter().enumerate().map(health).collect()
    }

    /// Asks the endpoints that failed last whether they are well again. Those that are not preferred are asked by nobody else
    /// while the preferred one answers, and would look down for ever.
    pub async fn ask_faulty_again(&self) {
        let is_faulty =
            |endpoint: &&Endpoint| endpoint.seen.lock().unwrap_or_else(PoisonError::into_inner).fault.is_some();
        // Each notes by itself how it went.
        let ask = async |endpoint: &Endpoint| {
            if self.prove(endpoint, "getEpochInfo").await.is_err() {
                endpoint.set_proven(None);
            }
        };
        join_all(self.endpoints.iter().filter(is_faulty).map(ask)).await;
    }

    /// From now on only endpoints that serve this chain are listened to.
    pub fn bind(&self, genesis_hash: String) {
        // Bound once, at start-up; a second time would be the same hash.
        drop(self.genesis.set(genesis_hash));
    }

    fn first_endpoint(&self) -> String {
        self.endpoints.first().map(|endpoint| redacted(&endpoint.url)).unwrap_or_default()
    }

    /// Calls made so far, by method; one that was put to two endpoints counts twice.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter holds whole numbers")]
    pub fn calls(&self) -> BTreeMap<String, u64> {
        let mut by_method = BTreeMap::new();
        for metric in self.calls.collect().iter().flat_map(prometheus::proto::MetricFamily::get_metric) {
            let method = metric.get_label().iter().find(|label| label.name() == "method");
            let count: &mut u64 =
                by_method.entry(method.map(|m| m.value().to_owned()).unwrap_or_default()).or_default();
            *count = count.saturating_add(metric.get_counter().get_value() as u64);
        }
        by_method
    }

    async fn call<T: DeserializeOwned>(&self, method: &'static str, params: Value) -> Result<T, ChainError> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let first = self.preferred.load(Ordering::Relaxed);
        let mut failed = None;
        for (index, endpoint) in self.endpoints.iter().enumerate().cycle().skip(first).take(self.endpoints.len()) {
            let answer = match self.prove(endpoint, method).await {
                Ok(()) => self.call_one(endpoint, method, body.clone()).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) if error.next_step() == NextStep::GiveUp => return Err(error),
                // The preferred endpoint's fault is the one to tell of.
                Err(error) => {
                    endpoint.set_proven(None);
                    failed = failed.or(Some(error));
                }
            }
        }
        Err(failed.unwrap_or_else(|| ChainError::Http { endpoint: "(none)".into(), status: 0 }))
    }

    /// Makes sure that an endpoint serves the chain of the books.
    async fn prove(&self, endpoint: &Endpoint, method: &'static str) -> Result<(), ChainError> {
        let Some(expected) = self.genesis.get() else { return Ok(()) };
        // What is signed and what is declared dead depends on these two: they are asked of a chain that is known.
        let decisive = matches!(method, "getLatestBlockhash" | "getEpochInfo");
        let proven = *endpoint.proven.lock().unwrap_or_else(PoisonError::into_inner);
        if !decisive && proven.is_some_and(|at| at.elapsed() < PROOF_LIFETIME) {
            return Ok(());
        }
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "getGenesisHash", "params": [] }).to_string();
        let found: String = self.call_one(endpoint, "getGenesisHash", body).await?;
        if found != *expected {
            let (host, expected) = (redacted(&endpoint.url), expected.clone());
            let error = ChainError::OtherChain { endpoint: host, expected, found };
            self.calls.with_label_values(&[endpoint.name.as_str(), "getGenesisHash", error.kind()]).inc();
            return Err(endpoint.failed(error));
        }
        endpoint.set_proven(Some(Instant::now()));
        Ok(())
    }

    async fn call_one<T: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        method: &'static str,
        body: String,
    ) -> Result<T, ChainError> {
        let began = Instant::now();
        let answer = self.ask(&endpoint.url, method, body).await;
        let outcome = answer.as_ref().map_or_else(ChainError::kind, |_answer| "ok");
        self.calls.with_label_values(&[endpoint.name.as_str(), method, outcome]).inc();
        self.seconds.with_label_values(&[endpoint.name.as_str(), method]).observe(began.elapsed().as_secs_f64());
        endpoint.saw(began, &answer);
        answer
    }

    async fn ask<T: DeserializeOwned>(&self, url: &Url, method: &'static str, body: String) -> Result<T, ChainError> {
        let endpoint = || redacted(url);
        let unreachable =
            |source: reqwest::Error| ChainError::Unreachable { endpoint: endpoint(), source: source.without_url() };
        let request = self.http.post(url.clone()).header("content-type", "application/json").body(body);
        let response = request.send().await.map_err(unreachable)?;
        match response.status() {
            StatusCode::TOO_MANY_REQUESTS => {
                let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                return Err(ChainError::RateLimited {
                    endpoint: endpoint(),
                    retry_after: seconds.map(|seconds: u64| Duration::from_secs(seconds).min(LONGEST_PAUSE)),
                });
            }
            status if !status.is_success() => {
                return Err(ChainError::Http { endpoint: endpoint(), status: status.as_u16() });
            }
            _ => {}
        }
        let bytes = response.bytes().await.map_err(unreachable)?;
        // Serde's messages quote what they do not like.
        let malformed = |source: serde_json::Error| {
            let source = serde::de::Error::custom(without_keys(&source.to_string(), url));
            ChainError::Malformed { endpoint: endpoint(), method, source }
        };
        let envelope: Envelope<T> = serde_json::from_slice(&bytes).map_err(malformed)?;
        match envelope {
            Envelope { error: Some(NodeError { code, message }), .. } => {
                let message = without_keys(&message, url);
                Err(ChainError::Refused { endpoint: endpoint(), method, code, message })
            }
            Envelope { result: Some(result), .. } => Ok(result),
            Envelope { result: None, error: None } => serde_json::from_value(Value::Null).map_err(malformed),
        }
    }

    /// Puts a question about many things in calls of at most `size`; the answer is as old as its oldest part.
    async fn in_bulk<A: fmt::Display + Sync, T: DeserializeOwned>(
        &self,
        method: &'static str,
        subjects: &[A],
        size: usize,
        config: &Value,
    ) -> Result<Observed<Vec<Option<T>>>, ChainError> {
        let calls = subjects.chunks(size).map(|chunk| async move {
            let names: Vec<String> = chunk.iter().map(A::to_string).collect();
            let answer: Response<Vec<Option<T>>> = self.call(method, json!([names, config])).await?;
            if answer.value.len() == chunk.len() {
                return Ok(answer);
            }
            let endpoint = self.first_endpoint();
            Err(ChainError::WrongCount { endpoint, method, wanted: chunk.len(), found: answer.value.len() })
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
        let hash: String = self.call("getGenesisHash", json!([])).await?;
        hash.parse().map_err(|_not_base58| ChainError::Malformed {
            endpoint: self.first_endpoint(),
            method: "getGenesisHash",
            source: serde::de::Error::custom("not a hash in base58"),
        })
    }

    async fn tip(&self) -> Result<Tip, ChainError> {
        let info: EpochInfo = self.call("getEpochInfo", json!([self.commitment])).await?;
        Ok(Tip { slot: info.absolute_slot, block_height: info.block_height })
    }

    async fn latest_blockhash(&self) -> Result<RecentBlockhash, ChainError> {
        // Always `confirmed`: a finalized blockhash is half as old already when it arrives.
        let method = "getLatestBlockhash";
        let answer: Response<RpcBlockhash> = self.call(method, json!([CommitmentConfig::confirmed()])).await?;
        let hash = answer.value.blockhash.parse().map_err(|_not_base58| ChainError::Malformed {
            endpoint: self.first_endpoint(),
            method,
            source: serde::de::Error::custom("not a blockhash in base58"),
        })?;
        Ok(RecentBlockhash { hash, last_valid_block_height: answer.value.last_valid_block_height })
    }

    async fn balance(&self, address: &Pubkey) -> Result<Lamports, ChainError> {
        let params = json!([address.to_string(), CommitmentConfig::confirmed()]);
        let answer: Response<u64> = self.call("getBalance", params).await?;
        Ok(Lamports(answer.value))
    }

    async fn rent(&self, size: usize) -> Result<Lamports, ChainError> {
        self.call("getMinimumBalanceForRentExemption", json!([size])).await.map(Lamports)
    }

    async fn accounts(&self, addresses: &[Pubkey]) -> Result<Observed<Vec<Option<Account>>>, ChainError> {
        let config = json!({ "encoding": "base64", "commitment": self.commitment.commitment });
        let method = "getMultipleAccounts";
        let answer = self.in_bulk::<_, UiAccount>(method, addresses, ACCOUNTS_PER_CALL, &config).await?;
        let decode = |account: UiAccount| {
            let (owner, data) = (account.owner.parse().ok()?, account.data.decode()?);
            Some(Account { owner, lamports: Lamports(account.lamports), data })
        };
        let malformed = || ChainError::Malformed {
            endpoint: self.first_endpoint(),
            method,
            source: serde::de::Error::custom("an account that cannot be decoded"),
        };
        let decoded =
            answer.value.into_iter().map(|account| account.map(|a| decode(a).ok_or_else(malformed)).transpose());
        Ok(Observed { slot: answer.slot, value: decoded.collect::<Result<_, _>>()? })
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
            error: status.err,
        };
        Ok(Observed { slot: answer.slot, value: answer.value.into_iter().map(|status| status.map(landed)).collect() })
    }

    async fn send(&self, transaction: &[u8]) -> Result<(), ChainError> {
        // Without preflight: a lagging node's simulation proves nothing, and the status poll tells the truth for hundreds of
        // transactions at once. Retries are ours, so that we know what is on its way.
        let config = json!({ "encoding": "base64", "skipPreflight": true, "maxRetries": 0 });
        let _signature: String = self.call("sendTransaction", json!([STANDARD.encode(transaction), config])).await?;
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_repeats_the_key_is_not_quoted() {
        let url: Url = "https://user:pw-1@rpc.example/v2/PATHKEY-1/solana?api-key=QUERY%2BKEY&x=1".parse().unwrap();
        for (said, told) in [
            ("blockhash not found", "blockhash not found"),
            ("the key PATHKEY-1 has no plan", "the key [redacted] has no plan"),
            ("no QUERY%2BKEY, no QUERY+KEY", "no [redacted], no [redacted]"),
            ("api-key=QUERY%2BKEY&x=1 at /v2/PATHKEY-1/solana", "[redacted] at [redacted]"),
            ("pw-1pw-1 for user", "[redacted][redacted] for user"),
        ] {
            assert_eq!(without_keys(said, &url), told);
        }
        let long = without_keys(&"é PATHKEY-1 ".repeat(100), &url);
        assert_eq!(long.chars().count(), 300);
        assert!(long.ends_with('…') && !long.contains("PATHKEY"), "{long}");
        let bare: Url = "http://127.0.0.1:8899".parse().unwrap();
        assert_eq!(without_keys("a/b", &bare), "a/b");
    }
}
