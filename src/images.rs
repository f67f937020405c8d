//! Pictures of events: given once, shown by every ticket of the event that is accepted afterwards and has none of its own.
//!
//! A picture is checked, put into the content store under its address, and then noted in the books: in this order, so that
//! what the books name is there. It never changes a ticket that is accepted already, for that one's metadata is public.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use crate::{
    clock::SharedClock,
    domain::{
        ids::VenueId,
        image::{ImageFault, recognize},
    },
    metadata::{Content, PublishError, Publisher},
    store::{EventImage, Store, StoreError},
};

/// Why a picture was not set.
#[derive(Debug, Error)]
pub enum ImageError {
    /// It is not one that is taken.
    #[error(transparent)]
    Image(#[from] ImageFault),
    /// The content store.
    #[error(transparent)]
    Content(#[from] PublishError),
    /// The books.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The pictures of events. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    store: Store,
    content: Arc<dyn Publisher>,
    clock: SharedClock,
}

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Images")
    }
}

impl Images {
    /// Keeps its files in `content`.
    #[must_use]
    pub fn new(store: Store, content: Arc<dyn Publisher>, clock: SharedClock) -> Self {
        Self { store, content, clock }
    }

    /// Checks a picture and sets it; when this returns, file and books are durable. The same picture again changes nothing.
    ///
    /// # Errors
    /// See [`ImageError`]; what was set before holds then.
    pub async fn set(&self, venue_id: &VenueId, event_id: String, bytes: Bytes) -> Result<EventImage, ImageError> {
        let look = move || {
            let picture = recognize(&bytes)?;
            Ok::<_, ImageFault>((picture, Content::new(picture.media_type, bytes)))
        };
        let looked = tokio::task::spawn_blocking(look).await.map_err(|_panicked| StoreError::Closed)?;
        let (picture, content) = looked?;
        let image = EventImage {
            cid: content.id.to_string(),
            media_type: content.media_type.clone(),
            bytes: content.bytes.len() as u64,
            width: picture.width,
            height: picture.height,
            set_at_ms: self.clock.now_ms(),
        };
        self.content.publish(vec![content]).await?;
        let image = self.store.set_event_image(venue_id.to_string(), event_id.clone(), image).await?;
        tracing::info!(venue = %venue_id, event = event_id, cid = image.cid, "event image set");
        Ok(image)
    }

    /// An event's picture, if it has one.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn of(&self, venue_id: &VenueId, event_id: String) -> Result<Option<EventImage>, StoreError> {
        self.store.event_image(venue_id.to_string(), event_id).await
    }

    /// Takes an event's picture away from tickets that are accepted from now on; the file stays, for others show it.
    ///
    /// # Errors
    /// When the books cannot be written.
    pub async fn remove(&self, venue_id: &VenueId, event_id: String) -> Result<Option<EventImage>, StoreError> {
        self.store.remove_event_image(venue_id.to_string(), event_id).await
    }
}
