//! The chain: what the product asks of it, and the adapters that answer.
//!
//! Services speak to the [`Chain`] trait. [`rpc`] implements it over JSON-RPC; tests script it where the real chain cannot be
//! made to fail on demand. Building and signing transactions ([`instructions`], [`transaction`], [`wallet`]) needs no network.

pub mod compute;
pub mod instructions;
#[cfg(feature = "localnet")]
pub mod local;
pub mod rpc;
pub mod ticket;
pub mod transaction;
pub mod wallet;

use std::time::Duration;

use async_trait::async_trait;
use solana_hash::Hash;
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_transaction_error::TransactionError;
use thiserror::Error;
use tokio::time::Instant;

use crate::domain::{
    forecast::{EndpointHour, EndpointState},
    lamports::Lamports,
};

/// Something the chain said, and the slot as of which it is true.
#[derive(Clone, Debug)]
pub struct Observed<T> {
    /// The slot.
    pub slot: u64,
    /// What was said.
    pub value: T,
}

/// The end of the chain at the configured commitment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Its slot.
    pub slot: u64,
    /// Its block height, the scale of `last_valid_block_height`.
    pub block_height: u64,
}

/// A blockhash to sign with.
#[derive(Clone, Copy, Debug)]
pub struct RecentBlockhash {
    /// The hash.
    pub hash: Hash,
    /// A transaction signed with it can land in no block above this height.
    pub last_valid_block_height: u64,
}

/// What became of a transaction that reached the chain.
#[derive(Clone, Debug)]
pub struct Landed {
    /// The slot it is in.
    pub slot: u64,
    /// Whether the configured commitment is reached; before that it may still vanish in a fork.
    pub settled: bool,
    /// Whether no fork can take it back any more.
    pub finalized: bool,
    /// Why it failed, if it did: it paid its fee and changed nothing.
    pub error: Option<TransactionError>,
}

impl Landed {
    /// Whether its outcome may be written down. Success is at the configured commitment, since people wait for it; in the rare
    /// case that a fork takes it back, that is noticed. Failure can wait until no fork can turn it into success.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        if self.error.is_none() { self.settled } else { self.finalized }
    }
}

/// A transaction in an address's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastTransaction {
    /// Its name on the chain.
    pub signature: Signature,
    /// The slot it is in.
    pub slot: u64,
    /// It worked.
    pub succeeded: bool,
}

/// An account as it is on the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The program that owns it.
    pub owner: Pubkey,
    /// What it holds.
    pub lamports: Lamports,
    /// Its data.
    pub data: Vec<u8>,
}

/// What a transaction would come to, as one node sees it: a hint, never a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulated {
    /// Why it would fail.
    pub error: Option<TransactionError>,
    /// Compute units that it would use, if the node says.
    pub units_consumed: Option<u64>,
}

/// What to do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Wait and ask again; it says nothing about any transaction's fate.
    Retry,
    /// Asking the same again will be answered the same.
    GiveUp,
}

/// Why the chain did not answer. Endpoints are named by host only: their paths often hold keys.
#[derive(Debug, Error)]
pub enum ChainError {
    /// No connection, a timeout, or a broken one.
    #[error("the RPC endpoint {endpoint} cannot be reached ({reason}); check SOLANA_RPC_URLS and the network", reason = root_cause(source))]
    Unreachable {
        /// Scheme, host and port.
        endpoint: String,
        /// Without its URL.
        source: reqwest::Error,
    },
    /// The plan's limit is reached.
    #[error("the RPC endpoint {endpoint} limits our rate; a larger plan or a second endpoint in SOLANA_RPC_URLS helps")]
    RateLimited {
        /// Scheme, host and port.
        endpoint: String,
        /// What the endpoint asks for.
        retry_after: Option<Duration>,
    },
    /// Another HTTP status than 200.
    #[error("the RPC endpoint {endpoint} answered HTTP {status}; check the address and the key in SOLANA_RPC_URLS")]
    Http {
        /// Scheme, host and port.
        endpoint: String,
        /// The status.
        status: u16,
    },
    /// An error by the node.
    #[error("the RPC endpoint {endpoint} refused {method} with code {code}: {message}")]
    Refused {
        /// Scheme, host and port.
        endpoint: String,
        /// The JSON-RPC method.
        method: &'static str,
        /// The JSON-RPC code.
        code: i64,
        /// The node's words.
        message: String,
    },
    /// An answer that is not what the method promises.
    #[error("the RPC endpoint {endpoint} gave an answer to {method} that makes no sense: {source}")]
    Malformed {
        /// Scheme, host and port.
        endpoint: String,
        /// The JSON-RPC method.
        method: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The endpoint serves another chain than before.
    #[error(
        "the RPC endpoint {endpoint} serves the chain with genesis hash {found}, but these books belong to {expected}; \
         correct SOLANA_RPC_URLS"
    )]
    OtherChain {
        /// Scheme, host and port.
        endpoint: String,
        /// Genesis hash of the chain that the books belong to.
        expected: String,
        /// Genesis hash of the chain that answers there.
        found: String,
    },
    /// An answer with fewer or more entries than were asked for.
    #[error("the RPC endpoint {endpoint} answered {method} with {found} entries instead of {wanted}")]
    WrongCount {
        /// Scheme, host and port.
        endpoint: String,
        /// The JSON-RPC method.
        method: &'static str,
        /// How many were asked for.
        wanted: usize,
        /// How many came.
        found: usize,
    },
}

/// How the plans that are paid for bear what is asked of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strain {
    /// When the last read began that every endpoint turned away, because it limits our rate.
    pub limited_read: Option<Instant>,
    /// When the last read began that took too long.
    pub slow_read: Option<Instant>,
    /// Until then every endpoint is to be left alone.
    pub until: Option<Instant>,
    /// Calls made so far that were no sends.
    pub reads: u64,
}

/// What came of the transactions that were sent to an endpoint since the start, and how it does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSends {
    /// The counts; the hour is not set.
    pub counts: EndpointHour,
    /// How it does now.
    pub state: EndpointState,
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

impl ChainError {
    /// One word for instruments.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::RateLimited { .. } => "rate_limited",
            Self::Http { .. } => "http",
            Self::Refused { .. } => "refused",
            Self::Malformed { .. } | Self::WrongCount { .. } => "malformed",
            Self::OtherChain { .. } => "other_chain",
        }
    }

    /// Whether it means that less should be asked: the plan's limit is reached, or the endpoint cannot keep up.
    #[must_use]
    pub fn is_overload(&self) -> bool {
        match self {
            Self::RateLimited { .. } => true,
            Self::Unreachable { source, .. } => source.is_timeout(),
            Self::Http { .. }
            | Self::Refused { .. }
            | Self::Malformed { .. }
            | Self::OtherChain { .. }
            | Self::WrongCount { .. } => false,
        }
    }

    /// What to do about it. Faults of the way there can pass; a node that refuses a request as such will refuse it again.
    #[must_use]
    pub fn next_step(&self) -> NextStep {
        use solana_rpc_client_api::custom_error as codes;
        match self {
            Self::Refused { code, .. } => match *code {
                codes::JSON_RPC_SERVER_ERROR_NODE_UNHEALTHY
                | codes::JSON_RPC_SERVER_ERROR_BLOCK_NOT_AVAILABLE
                | codes::JSON_RPC_SERVER_ERROR_MIN_CONTEXT_SLOT_NOT_REACHED
                | codes::JSON_RPC_SERVER_ERROR_SEND_TRANSACTION_PREFLIGHT_FAILURE
                // "Internal error" of JSON-RPC 2.0: the node's trouble, not the request's.
                | -32603 => NextStep::Retry,
                _ => NextStep::GiveUp,
            },
            Self::Unreachable { .. }
            | Self::RateLimited { .. }
            | Self::Http { .. }
            | Self::OtherChain { .. }
            | Self::Malformed { .. }
            | Self::WrongCount { .. } => NextStep::Retry,
        }
    }
}

/// What the product asks of a chain. Reads are at the configured commitment.
#[async_trait]
pub trait Chain: Send + Sync {
    /// The hash that tells chains apart.
    async fn genesis_hash(&self) -> Result<Hash, ChainError>;
    /// The end of the chain.
    async fn tip(&self) -> Result<Tip, ChainError>;
    /// A blockhash to sign with.
    async fn latest_blockhash(&self) -> Result<RecentBlockhash, ChainError>;
    /// What an address holds.
    async fn balance(&self, address: &Pubkey) -> Result<Lamports, ChainError>;
    /// What an account of `size` bytes must hold to live for ever.
    async fn rent(&self, size: usize) -> Result<Lamports, ChainError>;
    /// Accounts in bulk, 100 to a call; the slot is the oldest of the answers.
    async fn accounts(&self, addresses: &[Pubkey]) -> Result<Observed<Vec<Option<Account>>>, ChainError>;
    /// What became of transactions, 256 to a call; the slot is the oldest of the answers. Without `search_history` only the
    /// last minutes are looked at.
    async fn statuses(
        &self,
        signatures: &[Signature],
        search_history: bool,
    ) -> Result<Observed<Vec<Option<Landed>>>, ChainError>;
    /// Hands a signed transaction to the network. Success means no more than that.
    async fn send(&self, transaction: &[u8]) -> Result<(), ChainError>;
    /// Tries a transaction out: nothing is kept, and neither its signatures nor its blockhash matter. Whoever asks gives one
    /// that is not signed, for a signed one could be sent by whoever reads it.
    async fn simulate(&self, transaction: &[u8]) -> Result<Simulated, ChainError>;
    /// What had to be offered of late to land in a block, in micro-lamports for each compute unit, one entry for each of the
    /// last 150 blocks at most: the least that got a transaction into it, and if that is more, the least of those that
    /// wrote to one of `written`. Empty when the node keeps no record.
    async fn priority_fees(&self, written: &[Pubkey]) -> Result<Vec<u64>, ChainError>;
    /// How much more may be asked of it.
    fn strain(&self) -> Strain {
        Strain::default()
    }
    /// What came of the transactions that were sent, by endpoint.
    fn sends(&self) -> Vec<EndpointSends> {
        Vec::new()
    }
    /// When a block was made, Unix milliseconds; none if the node does not know.
    async fn block_time_ms(&self, slot: u64) -> Result<Option<i64>, ChainError>;
    /// Up to a thousand transactions that touched an address, newest first, from before one of them if it is given.
    async fn history(&self, address: &Pubkey, before: Option<Signature>) -> Result<Vec<PastTransaction>, ChainError>;
    /// The accounts that a transaction names; none if the node does not know it.
    async fn accounts_of(&self, signature: &Signature) -> Result<Option<Vec<Pubkey>>, ChainError>;
    /// The oldest successful transaction that touched an address: for a mint, the one that created it.
    async fn first_signature(&self, address: &Pubkey) -> Result<Option<(Signature, u64)>, ChainError>;
}
