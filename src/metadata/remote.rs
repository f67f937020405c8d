//! What a service that keeps content for others must be able to do, and what can go wrong with it.
//!
//! Kubo (`kubo`) and Pinata (`pinata`) are behind the [`Remote`] trait. A remote makes one attempt and says
//! how that went; [`super::delivery`] decides when to try again.

use std::{collections::HashSet, fmt, time::Duration};

use async_trait::async_trait;
use reqwest::Url;
use thiserror::Error;

use super::{Content, ContentId};

/// A token that must never be seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Where content is published, and what opens the door there.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// An IPFS node with Kubo's RPC API. User and password in the address are sent as basic authentication.
    Kubo {
        /// Its address, without `/api/v0`.
        url: Url,
        /// Sent as bearer token, if there is one.
        token: Option<Token>,
    },
    /// Pinata.
    Pinata {
        /// `https://api.pinata.cloud`.
        api: Url,
        /// `https://uploads.pinata.cloud`.
        uploads: Url,
        /// The account's JWT.
        jwt: Token,
    },
}

impl Place {
    /// The provider's name in settings, metrics and messages.
    #[must_use]
    pub fn provider(&self) -> &'static str {
        match self {
            Self::Kubo { .. } => "kubo",
            Self::Pinata { .. } => "pinata",
        }
    }

    /// Scheme, host and port: what may be shown.
    #[must_use]
    pub fn host(&self) -> String {
        match self {
            Self::Kubo { url, .. } | Self::Pinata { api: url, .. } => url.origin().ascii_serialization(),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.provider(), self.host())
    }
}

/// How files go to a remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// Files in one request at most.
    pub files: usize,
    /// Bytes in one request at most, unless a single file has more.
    pub bytes: usize,
    /// Requests under way at once.
    pub at_once: usize,
}

/// A service that keeps content where others can fetch it.
#[async_trait]
pub trait Remote: Send + Sync + fmt::Debug {
    /// Its name in settings, metrics and messages.
    fn provider(&self) -> &'static str;
    /// Scheme, host and port: what may be shown.
    fn host(&self) -> &str;
    /// Provider, endpoint and account, without secrets: what is recorded under it holds for nobody else.
    fn account(&self) -> &str;
    /// How files go there.
    fn parcel(&self) -> Parcel;
    /// Uploads files in one request and returns those that it confirmed under our own addresses.
    async fn upload(&self, files: &[Content]) -> Result<Vec<ContentId>, RemoteError>;
    /// Which of some files it keeps by its own account.
    async fn held(&self, ids: &[ContentId]) -> Result<HashSet<ContentId>, RemoteError>;
    /// Whether [`Remote::read`] reads anything.
    fn can_read(&self) -> bool;
    /// The bytes of a file of `size` from its own store; none when it does not have them at once.
    async fn read(&self, id: ContentId, size: usize) -> Result<Option<Vec<u8>>, RemoteError>;
    /// A cheap call that needs what uploads need.
    async fn check(&self) -> Result<(), RemoteError>;
}

/// Why a remote did not do what it was asked.
#[derive(Debug, Error)]
pub enum RemoteError {
    /// TLS or sockets cannot be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Setup(#[source] reqwest::Error),
    /// It was not reached, or the answer broke off: what was sent may have arrived.
    #[error("{host} does not answer: {}", root(.source))]
    Unreachable {
        /// Scheme, host and port.
        host: String,
        /// The client's reason, without the address.
        source: reqwest::Error,
    },
    /// It wants to be left alone for a while (429).
    #[error("{host} limits the rate and asks to wait {} s; a larger plan is quicker", .retry_after.unwrap_or_default().as_secs())]
    RateLimited {
        /// Scheme, host and port.
        host: String,
        /// For how long.
        retry_after: Option<Duration>,
    },
    /// It is unwell (5xx): what was sent may have been taken.
    #[error("{host} is unwell (HTTP {status}): {message}")]
    Unwell {
        /// Scheme, host and port.
        host: String,
        /// HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// It took the request and refuses it (4xx).
    #[error("{host} refuses (HTTP {status}: {message}); {remedy}")]
    Refused {
        /// Scheme, host and port.
        host: String,
        /// HTTP status.
        status: u16,
        /// What it said.
        message: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Its answer cannot be read: what was sent may have been taken.
    #[error("{host} answered something that is not its API: {what}; is the address right?")]
    Garbled {
        /// Scheme, host and port.
        host: String,
        /// What was expected.
        what: &'static str,
    },
    /// It answered without confirming everything.
    #[error("{host} did not confirm {missing} of {asked} files: {message}")]
    Unconfirmed {
        /// Scheme, host and port.
        host: String,
        /// Files without a confirmation.
        missing: usize,
        /// Files sent.
        asked: usize,
        /// What it said of the first of them.
        message: String,
    },
    /// It stored something else than what was sent.
    #[error(
        "{host} stored {ours} under the address {theirs}: wallets would not find it, so nothing is minted that names it; let it use CIDv1 with \
         raw leaves and pieces of 262,144 bytes, or publish elsewhere"
    )]
    WrongAddress {
        /// Scheme, host and port.
        host: String,
        /// Our address.
        ours: String,
        /// Its address, in its own spelling.
        theirs: String,
    },
    /// It refuses a file for what it is; the others are none the worse for it.
    #[error("the file {file} is not taken: {reason}")]
    File {
        /// Its address.
        file: String,
        /// What the remote said of it.
        reason: String,
    },
    /// It is left alone after an earlier fault.
    #[error("{reason} (it is asked again in {seconds} s)")]
    Paused {
        /// That fault.
        reason: String,
        /// Seconds until it is asked again.
        seconds: u64,
    },
}

impl RemoteError {
    /// Whether it lies in what was sent, so that other files may well be taken.
    pub(super) fn is_of_files(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 400 | 413 | 415 | 422),
            Self::WrongAddress { .. } | Self::File { .. } => true,
            Self::Setup(_)
            | Self::Unreachable { .. }
            | Self::RateLimited { .. }
            | Self::Unwell { .. }
            | Self::Garbled { .. }
            | Self::Unconfirmed { .. }
            | Self::Paused { .. } => false,
        }
    }

    /// Whether what was sent may have arrived all the same.
    pub(super) fn may_have_arrived(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !source.is_connect(),
            Self::Unwell { .. } | Self::Garbled { .. } | Self::Unconfirmed { .. } | Self::WrongAddress { .. } => true,
            Self::Setup(_)
            | Self::RateLimited { .. }
            | Self::Refused { .. }
            | Self::File { .. }
            | Self::Paused { .. } => false,
        }
    }

    /// Whether the same request can help soon.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::RateLimited { .. }
            | Self::Unwell { .. }
            | Self::Garbled { .. }
            | Self::Unconfirmed { .. } => true,
            Self::Setup(_)
            | Self::Refused { .. }
            | Self::WrongAddress { .. }
            | Self::File { .. }
            | Self::Paused { .. } => false,
        }
    }
}

/// The innermost cause: the outer ones only say that a request failed.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
