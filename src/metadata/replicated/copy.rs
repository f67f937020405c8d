//! One provider: the way to it, what is on its way, and what that came to.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use tokio::sync::Notify;

use crate::metadata::{
    Content, ContentId,
    delivery::{Delivery, Health},
    local::publications::{PublisherRow, Totals},
};

/// Files that are remembered as not there when they were asked for; bounds memory. Many times what is prepared at once.
const MOST_UNANSWERED: usize = 10_000;

/// A provider that holds a copy of everything.
#[derive(Debug)]
pub(in crate::metadata) struct Copy {
    pub(in crate::metadata) row: PublisherRow,
    pub(in crate::metadata) delivery: Delivery,
    /// Files on their way there.
    under_way: Mutex<HashSet<ContentId>>,
    pub(super) landed: Notify,
    /// Files that were not there when they were asked for, and whose request is not answered yet: it may be made again, and
    /// that they are there by then saves nothing.
    unanswered: Mutex<HashSet<ContentId>>,
    /// Rung when there is something to catch up.
    pub(in crate::metadata) work: Notify,
    pub(super) meter: Meter,
}

/// How a provider is.
#[derive(Clone, Debug)]
pub struct CopyStatus {
    /// Its name.
    pub provider: &'static str,
    /// Scheme, host and port.
    pub host: String,
    /// Nothing is minted before it has confirmed.
    pub required: bool,
    /// What is known of its health.
    pub health: Health,
    /// Files that it has not confirmed.
    pub unpublished: u64,
    /// What uploading came to.
    pub totals: Totals,
}

#[derive(Debug)]
pub(super) struct Meter {
    requests: IntCounter,
    pub(super) files: IntCounter,
    bytes: IntCounter,
    pub(super) saved_files: IntCounter,
    pub(super) saved_bytes: IntCounter,
}

/// Files that nobody else sends meanwhile.
pub(super) struct Claim<'a> {
    copy: &'a Copy,
    pub(super) files: Vec<Content>,
}

impl Copy {
    pub(super) fn new(row: PublisherRow, delivery: Delivery, meter: Meter) -> Self {
        Self {
            row,
            delivery,
            under_way: Mutex::default(),
            landed: Notify::new(),
            unanswered: Mutex::default(),
            work: Notify::new(),
            meter,
        }
    }

    /// Notes files that were asked for, or soon will be, and are not there yet.
    pub(super) fn expect(&self, open: &[ContentId]) {
        let mut unanswered = lock(&self.unanswered);
        // Some may never be asked for again.
        if unanswered.len() > MOST_UNANSWERED {
            unanswered.clear();
        }
        unanswered.extend(open);
    }

    /// Files and bytes of those that were there when they were asked for; the others are answered now.
    pub(super) fn there_already(&self, contents: &[Content]) -> (u64, u64) {
        let mut unanswered = lock(&self.unanswered);
        let there = contents.iter().filter(|content| !unanswered.remove(&content.id));
        there.fold((0, 0), |(files, bytes), content| {
            (files.saturating_add(1), bytes.saturating_add(content.bytes.len() as u64))
        })
    }

    /// Claims what nobody sends yet, and returns the rest.
    pub(super) fn claim(&self, wanted: Vec<Content>) -> (Claim<'_>, Vec<Content>) {
        let mut under_way = lock(&self.under_way);
        let (files, others) = wanted.into_iter().partition(|file| under_way.insert(file.id));
        (Claim { copy: self, files }, others)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // Nobody waits for nothing, and who waits for others must not wake itself.
        if self.files.is_empty() {
            return;
        }
        let mut under_way = lock(&self.copy.under_way);
        for file in &self.files {
            under_way.remove(&file.id);
        }
        drop(under_way);
        self.copy.landed.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meter {
    pub(super) fn vectors(registry: &Registry) -> Result<[IntCounterVec; 5], prometheus::Error> {
        let names = [
            ("boxoffice_upload_requests_total", "Uploads that a provider took; one may carry many files."),
            ("boxoffice_uploads_total", "Files uploaded to a provider."),
            ("boxoffice_uploaded_bytes_total", "Bytes of the files uploaded to a provider."),
            ("boxoffice_uploads_saved_total", "Files that were to be published and were at the provider already."),
            ("boxoffice_saved_bytes_total", "Bytes of the files that were to be published and were there already."),
        ];
        let [requests, files, bytes, saved_files, saved_bytes] = names.map(|(name, help)| {
            let vector = IntCounterVec::new(Opts::new(name, help), &["provider"])?;
            registry.register(Box::new(vector.clone()))?;
            Ok::<_, prometheus::Error>(vector)
        });
        Ok([requests?, files?, bytes?, saved_files?, saved_bytes?])
    }

    pub(super) fn of(vectors: &[IntCounterVec; 5], provider: &str) -> Self {
        let [requests, files, bytes, saved_files, saved_bytes] =
            vectors.each_ref().map(|vector| vector.with_label_values(&[provider]));
        Self { requests, files, bytes, saved_files, saved_bytes }
    }

    pub(super) fn confirmed(&self, confirmed: &[(ContentId, u64, bool)], requests: u64) {
        self.requests.inc_by(requests);
        for (_, bytes, _) in confirmed.iter().filter(|(_, _, sent)| *sent) {
            self.files.inc();
            self.bytes.inc_by(*bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

    use super::*;
    use crate::metadata::kubo::Kubo;

    #[tokio::test]
    async fn who_waits_for_others_is_woken_by_them_alone() {
        let kubo = Kubo::new(&"http://localhost:5001".parse().unwrap(), None, Arc::new(|| 0)).unwrap();
        let meter = Meter::of(&Meter::vectors(&Registry::new()).unwrap(), "kubo");
        let copy = Copy::new(1, Delivery::new(Arc::new(kubo)), meter);
        let file = Content::new("text/plain", "x");
        let (theirs, _) = copy.claim(vec![file.clone()]);
        let mut landed = pin!(copy.landed.notified());
        landed.as_mut().enable();
        let (own, others) = copy.claim(vec![file.clone()]);
        assert_eq!((own.files.len(), others.len()), (0, 1));
        drop(own);
        let landed_now = poll_fn(|context| Poll::Ready(landed.as_mut().poll(context).is_ready())).await;
        assert!(!landed_now, "its own empty claim has woken it");
        drop(theirs);
        landed.await;
        assert_eq!(copy.claim(vec![file]).0.files.len(), 1);
    }
}
