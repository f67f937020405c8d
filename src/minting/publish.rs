//! Publishing what the chain will name, before anything is signed.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::task::JoinSet;

use super::{MAX_CHUNK, Shared, StepError, remember::Remember};
use crate::{
    cache::TicketKey,
    domain::document::chain_name,
    metadata::{Content, ContentId, PublishError},
    store::{PendingMint, Published, StoreError},
};

/// How many tickets are prepared at once, and what is published ahead of them.
///
/// A provider may take minutes for what the chain takes in a second, and so may a remote signer. A ticket sold at the door must
/// not be stuck behind that, so chunks shrink until each step is done within [`Pace::LONG`]. Meanwhile the metadata of the next
/// chunk is under way.
pub(super) struct Pace {
    /// Tickets at once that publishing bears, and signing; the pace of sending may ask for less.
    publishing: usize,
    signing: usize,
    ahead: JoinSet<()>,
}

impl Pace {
    const LONG: Duration = Duration::from_secs(2);
    const SHORT: Duration = Duration::from_millis(500);
    const LEAST: usize = 16;

    pub(super) fn new() -> Self {
        Self { publishing: MAX_CHUNK, signing: MAX_CHUNK, ahead: JoinSet::new() }
    }

    /// Tickets to prepare at once: no more than are sent in a second or two.
    fn size(&self, shared: &Shared) -> usize {
        let (size, together) = (shared.chunk_size(), shared.together(shared.packing.layout()));
        let size = size.min(self.publishing).min(self.signing);
        // In whole transactions.
        size.saturating_sub(size.checked_rem(together).unwrap_or_default()).max(together)
    }

    /// Notes how long it took to publish a chunk.
    pub(super) fn note_published(&mut self, shared: &Shared, took: Duration) {
        self.publishing = Self::bearable(self.publishing, self.size(shared), took);
    }

    /// Notes how long it took to sign a chunk. Of who signed only a part of it, no more is asked for next.
    pub(super) fn note_signed(&mut self, shared: &Shared, part: Option<usize>, took: Duration) {
        self.signing = match part {
            None => Self::bearable(self.signing, self.size(shared), took),
            Some(signed) => self.signing.min(signed.max(1)),
        };
    }

    /// What a step bears that bore so much so far, and has just taken that time for a chunk of this size.
    fn bearable(so_far: usize, size: usize, took: Duration) -> usize {
        if took < Self::SHORT || so_far < Self::LEAST {
            so_far.saturating_mul(2).min(MAX_CHUNK)
        } else if took > Self::LONG {
            so_far.min(size.div_ceil(2).max(Self::LEAST))
        } else {
            so_far
        }
    }

    /// The next tickets and, if publishing takes time, those behind them.
    pub(super) async fn take(
        &self,
        shared: &Shared,
        skip: usize,
    ) -> Result<(Vec<PendingMint>, Vec<PendingMint>), StoreError> {
        let size = self.size(shared);
        let more = if shared.publisher.waits_for_others() { size } else { 0 };
        let mut pending = shared.store.next_pending(skip, size.saturating_add(more), shared.now_ms()).await?;
        let behind = pending.split_off(size.min(pending.len()));
        Ok((pending, behind))
    }

    /// Whether so many are as many as are taken at once, so that more may wait behind them.
    pub(super) fn is_full(&self, shared: &Shared, taken: usize) -> bool {
        taken >= self.size(shared)
    }

    /// Publishes in the background, until the engine ends.
    pub(super) fn publish_ahead(&mut self, shared: &Arc<Shared>, behind: &[PendingMint]) {
        while self.ahead.try_join_next().is_some() {}
        if !behind.is_empty() && self.ahead.is_empty() {
            let documents = behind.iter().map(|mint| shared.document(&mint.ticket, mint.image.as_ref())).collect();
            let publisher = Arc::clone(&shared.publisher);
            self.ahead.spawn(async move { publisher.publish_ahead(documents).await });
        }
    }
}

/// Pictures in memory at once, each of ten megabytes at most.
const IMAGES_AT_ONCE: usize = 3;

/// What publishing came to.
pub(super) struct Publication {
    /// Tickets whose files are all where wallets look for them.
    pub(super) ready: Vec<(PendingMint, Published)>,
    /// How many others there are.
    pub(super) waiting: usize,
    /// Why they wait.
    pub(super) cause: Option<PublishError>,
}

/// Publishes what the chain will name, and says how it will be named there. With several boxes, what another one has published
/// is looked for rather than sent again.
///
/// A ticket one of whose files a provider does not take waits alone: it is not among those returned, and why is told.
pub(super) async fn publish(shared: &Shared, pending: Vec<PendingMint>) -> Result<Publication, StepError> {
    let documents: Vec<Content> =
        pending.iter().map(|mint| shared.document(&mint.ticket, mint.image.as_ref())).collect();
    let published = pending
        .iter()
        .zip(&documents)
        .map(|(mint, document)| Published { name: chain_name(&mint.ticket.ticket_data), uri: document.id.uri() });
    let published: Vec<Published> = published.collect();
    let keys = pending.iter().map(|mint| TicketKey::new(&mint.venue_id, &mint.ticket.id)).collect::<Vec<_>>();
    let others = shared.publisher.waits_for_others();
    if others {
        let told = shared.cache.published_uris(&keys).await;
        let known = told.into_iter().zip(&documents).filter(|(told, document)| *told == Some(document.id.uri()));
        shared.publisher.may_be_there(known.map(|(_, document)| document.id).collect());
    }
    let mut contents = documents;
    contents.push(shared.default_image.clone());
    let images = images_to_publish(shared, &pending);
    let (mut missing, mut cause, mut found) = (HashSet::new(), None, Vec::new());
    for group in images.chunks(IMAGES_AT_ONCE) {
        let images = read_images(shared, group).await?;
        found.extend(images.iter().map(|image| image.id));
        note(shared.publisher.publish(images).await, &mut missing, &mut cause)?;
    }
    note(shared.publisher.publish(contents).await, &mut missing, &mut cause)?;
    let mut known = shared.published_images.lock().unwrap_or_else(PoisonError::into_inner);
    known.extend(found.into_iter().filter(|id| !missing.contains(&id.uri())));
    drop(known);

    let all = pending.len();
    let drawn = shared.default_image.id.uri();
    let is_there = |mint: &PendingMint, published: &Published| {
        let image = mint.image.as_ref().map_or(&drawn, |image| &image.uri);
        !missing.contains(&published.uri) && !missing.contains(image)
    };
    let ready = pending.into_iter().zip(published).zip(keys);
    let ready = ready.filter(|((mint, published), _)| is_there(mint, published));
    let (ready, keys): (Vec<_>, Vec<_>) = ready.unzip();
    if others {
        let uris = ready.iter().map(|(_, published)| published.uri.clone());
        shared.remember(Remember::Published(keys.into_iter().zip(uris).collect()));
    }
    Ok(Publication { waiting: all.saturating_sub(ready.len()), ready, cause })
}

/// Notes which files are not published, and why; the cause that concerns more is kept.
fn note(
    published: Result<(), PublishError>,
    unpublished: &mut HashSet<String>,
    cause: &mut Option<PublishError>,
) -> Result<(), StepError> {
    let Err(error) = published else { return Ok(()) };
    let PublishError::Unpublished { missing, .. } = &error else { return Err(error.into()) };
    unpublished.extend(missing.iter().map(ContentId::uri));
    if cause.as_ref().is_none_or(|earlier| earlier.is_of_files() && !error.is_of_files()) {
        *cause = Some(error);
    }
    Ok(())
}

/// Pictures that tickets got from their events and that this process has not published yet: each is large, and once is enough.
fn images_to_publish(shared: &Shared, pending: &[PendingMint]) -> Vec<ContentId> {
    let uris = pending.iter().filter_map(|mint| mint.image.as_ref()?.uri.strip_prefix("ipfs://"));
    let mut wanted: HashSet<ContentId> = uris.filter_map(ContentId::parse).collect();
    wanted.retain(|id| !shared.published_images.lock().unwrap_or_else(PoisonError::into_inner).contains(id));
    wanted.into_iter().collect()
}

async fn read_images(shared: &Shared, ids: &[ContentId]) -> Result<Vec<Content>, StepError> {
    let mut images = Vec::new();
    for id in ids {
        match shared.publisher.fetch(*id).await? {
            Some(image) if image.is_sound() => images.push(image),
            // What the tickets say is settled, and the people at the gate need them; the file can be brought back any time.
            Some(_) | None => tracing::warn!(
                image = %id,
                "an event's image is not in the content store, or damaged there; set it again, or wallets cannot show it"
            ),
        }
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_steps_get_less_and_quick_ones_more() {
        let (slow, usual, quick) = (Duration::from_secs(3), Duration::from_secs(1), Duration::from_millis(10));
        for (so_far, size, took, next) in [
            (256, 256, slow, 128),
            (256, 40, slow, 20),
            (128, 128, usual, 128),
            (128, 40, quick, 256),
            (256, 256, quick, 256),
            (20, 20, slow, 16),
            (3, 3, slow, 6),
            (1, 1, quick, 2),
        ] {
            assert_eq!(Pace::bearable(so_far, size, took), next, "{so_far} {size} {took:?}");
        }
    }
}
