//! Published content: every byte has an address that is a hash of it.
//!
//! Services speak to the [`Publisher`] trait. The local store ([`local`]) keeps content in a database of its own and serves
//! it over HTTP, and records what was published where; [`replicated`] brings it from there to the providers of the settings,
//! [`remote`] and behind it Kubo and Pinata. [`unixfs`] knows the blocks and the address of a file of any size, [`car`] how
//! blocks travel in one file, and [`export`] puts all that is published into one.

pub mod car;
pub mod delivery;
mod exchange;
pub mod export;
mod kubo;
pub mod local;
mod pinata;
pub mod remote;
pub mod replicated;
pub mod unixfs;
pub mod verify;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use cid::Cid;
use thiserror::Error;

/// Bytes of a file that is published at most: Pinata's limit for one upload.
pub const MOST_FILE_BYTES: usize = 100_000_000;

/// Tells the time in Unix milliseconds; given from outside, for adapters do not know each other.
type NowMs = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The address of content: a `CIDv1` with sha2-256, as `ipfs add --cid-version=1 --raw-leaves` gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentId(Cid);

impl ContentId {
    /// The address of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(unixfs::file_address(bytes))
    }

    /// Reads an address in any of IPFS's spellings (base32, base58btc, …).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Cid::try_from(text).ok().map(Self)
    }

    /// As other tools know it.
    #[must_use]
    pub fn cid(&self) -> Cid {
        self.0
    }

    /// The `ipfs://` URI.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("ipfs://{}", self.0)
    }
}

impl fmt::Display for ContentId {
    /// In base32, the usual spelling of `CIDv1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A file to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its address.
    pub id: ContentId,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Content {
    /// A file with the address that its bytes give it.
    #[must_use]
    pub fn new(media_type: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { id: ContentId::of(&bytes), media_type: media_type.into(), bytes }
    }

    /// Whether its bytes are those of its address.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        ContentId::of(&self.bytes) == self.id
    }
}

/// Why content could not be published or read.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The content store's database.
    #[error("the content store {path} refused: {source}", path = path.display())]
    Store {
        /// Its file.
        path: std::path::PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// The disk is full.
    #[error("the disk that holds the content store is full; free some space, and everything goes on by itself")]
    DiskFull,
    /// The process is shutting down.
    #[error("the content store is closed")]
    Closed,
    /// A provider.
    #[error("metadata cannot be published by {provider}: {source}")]
    Remote {
        /// Its name.
        provider: &'static str,
        /// What is wrong with it.
        source: remote::RemoteError,
    },
    /// A provider has not confirmed all of what was to be published.
    #[error("metadata cannot be published by {provider}: {source}")]
    Unpublished {
        /// Its name.
        provider: &'static str,
        /// What is wrong.
        source: remote::RemoteError,
        /// The files that it has not confirmed; it has all others.
        missing: Vec<ContentId>,
    },
    /// No client for a provider.
    #[error(transparent)]
    Client(#[from] remote::RemoteError),
    /// An instrument is registered twice: a bug.
    #[error(transparent)]
    Metrics(prometheus::Error),
}

impl PublishError {
    /// Whether it lies in single files, so that others may well be published.
    pub(crate) fn is_of_files(&self) -> bool {
        match self {
            Self::Remote { source, .. } | Self::Unpublished { source, .. } => source.is_of_files(),
            Self::Store { .. } | Self::DiskFull | Self::Closed | Self::Client(_) | Self::Metrics(_) => false,
        }
    }
}

/// A place where content can be fetched by its address.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes files; when it returns, each is durable and can be fetched. What is there already costs nothing. After
    /// [`PublishError::Unpublished`] this holds for those that are not named there.
    async fn publish(&self, contents: Vec<Content>) -> Result<(), PublishError>;
    /// A file by its address, if it is kept here.
    async fn fetch(&self, id: ContentId) -> Result<Option<Content>, PublishError>;
    /// Whether publishing waits for others, so that it pays to begin early.
    fn waits_for_others(&self) -> bool {
        false
    }
    /// Tells that somebody else may have published files already: they are looked for before they are sent.
    fn may_be_there(&self, ids: Vec<ContentId>) {
        drop(ids);
    }
    /// Begins early: publishes files that [`Publisher::publish`] will ask for soon. What goes wrong shows there.
    async fn publish_ahead(&self, contents: Vec<Content>) {
        drop(contents);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_ipfs() {
        // `printf 'hello world' | ipfs add --cid-version=1 --raw-leaves`, a value printed in IPFS's own documentation.
        let id = ContentId::of(b"hello world");
        assert_eq!(id.to_string(), "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
        assert_eq!(ContentId::parse("zb2rhj7crUKTQYRGCRATFaQ6YFLTde2YzdqbbhAASkL9uRDXn"), Some(id));
        assert_eq!(ContentId::parse("../../etc/passwd"), None);
    }
}
