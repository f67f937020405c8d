//! Metadata where everybody can fetch it: how the providers are, what is left to publish, and whether what was published is
//! still there.
//!
//! The publisher itself is an adapter ([`crate::metadata::replicated`]); the minting engine uses it directly. This service
//! catches up in the background, and does what the scheduler and people ask for.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::metadata::{
    PublishError,
    replicated::{CopyStatus, Replicated},
    verify::Verified,
};

/// What a provider did not take is tried again after this time.
const AGAIN: Duration = Duration::from_secs(15);
/// Files come in bursts: a moment lets them go in few requests.
const GATHER: Duration = Duration::from_millis(200);

/// Publishing. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Publishing {
    publisher: Replicated,
    sample: usize,
}

impl Publishing {
    /// `sample` is how many published files are looked at again each time.
    #[must_use]
    pub fn new(publisher: Replicated, sample: usize) -> Self {
        Self { publisher, sample }
    }

    /// Publishes what providers have not confirmed, until the shutdown. Begins with what an earlier process left.
    pub async fn run(self, shutdown: CancellationToken) {
        // Each by itself: one that is down or slow does not keep the other waiting.
        let work = join_all((0..self.publisher.providers()).map(|provider| self.catch_up(provider)));
        shutdown.run_until_cancelled(work).await;
    }

    async fn catch_up(&self, provider: usize) {
        loop {
            match self.publisher.catch_up(provider).await {
                Ok(0) => {}
                Ok(files) => tracing::info!(files, "content was caught up"),
                Err(error) => tracing::debug!(%error, "content cannot be caught up yet"),
            }
            // Time that passes without news is no fault: it is looked again.
            drop(timeout(AGAIN, self.publisher.work(provider)).await);
            sleep(GATHER).await;
        }
    }

    /// Publishes what is left, looks at some published files again, and publishes anew what is missing.
    ///
    /// # Errors
    /// When the content store cannot be used. Providers that do not answer are in the result.
    pub async fn verify(&self) -> Result<Vec<Verified>, PublishError> {
        for provider in 0..self.publisher.providers() {
            match self.publisher.catch_up(provider).await {
                Ok(_) | Err(PublishError::Remote { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.publisher.verify(self.sample).await
    }

    /// Asks every provider something cheap.
    ///
    /// # Errors
    /// What keeps a provider from being used, and the remedy.
    pub async fn check(&self) -> Result<(), PublishError> {
        self.publisher.check().await
    }

    /// How the providers are, in the order of the settings; none when everything stays on this box.
    ///
    /// # Errors
    /// When the content store cannot be read.
    pub async fn status(&self) -> Result<Vec<CopyStatus>, PublishError> {
        self.publisher.status().await
    }

    /// Files that were sent to providers since the start of this process, and files that were to be sent and were there already.
    #[must_use]
    pub fn uploads(&self) -> (u64, u64) {
        self.publisher.uploads()
    }

    /// What uploading came to since the content store was begun, over all providers.
    ///
    /// # Errors
    /// When the content store cannot be read.
    pub async fn savings(&self) -> Result<Savings, PublishError> {
        let mut savings = Savings::default();
        for CopyStatus { totals, .. } in self.status().await? {
            savings.uploads = savings.uploads.saturating_add(totals.requests);
            savings.uploaded_files = savings.uploaded_files.saturating_add(totals.files);
            savings.uploaded_bytes = savings.uploaded_bytes.saturating_add(totals.bytes);
            savings.saved_files = savings.saved_files.saturating_add(totals.saved_files);
            savings.saved_bytes = savings.saved_bytes.saturating_add(totals.saved_bytes);
        }
        Ok(savings)
    }
}

/// What uploading came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Savings {
    /// Uploads that providers took; one may carry many files.
    pub uploads: u64,
    /// Files in them.
    pub uploaded_files: u64,
    /// Bytes in those files.
    pub uploaded_bytes: u64,
    /// Files that were to be published and were there already.
    pub saved_files: u64,
    /// Bytes in those files.
    pub saved_bytes: u64,
}
