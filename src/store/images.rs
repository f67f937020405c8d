//! Pictures of events: which one new tickets get. The files are in the content store.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Store, StoreError};
use crate::domain::document::Image;

/// An event's picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventImage {
    /// Its address in base32.
    pub cid: String,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// When it was set, Unix milliseconds.
    pub set_at_ms: i64,
}

/// The picture that a ticket without one gets from its event now, as an SQL expression, for the named parameters `:venue`,
/// `:event` and `:own` (whether the ticket has one).
pub(super) const URI_NOW: &str = "(SELECT 'ipfs://' || cid FROM event_images
      WHERE venue_id = :venue AND event_id = :event AND NOT :own)";

impl Store {
    /// Sets an event's picture. Tickets that are accepted already keep what they have. The same picture again changes
    /// nothing; returns what holds now.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn set_event_image(
        &self,
        venue_id: String,
        event_id: String,
        image: EventImage,
    ) -> Result<EventImage, StoreError> {
        self.write(move |connection| {
            let EventImage { cid, media_type, bytes, width, height, set_at_ms } = &image;
            connection.execute(
                "INSERT INTO event_images (venue_id, event_id, cid, media_type, bytes, width, height, set_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT (venue_id, event_id) DO UPDATE SET
                     cid = excluded.cid, media_type = excluded.media_type, bytes = excluded.bytes,
                     width = excluded.width, height = excluded.height, set_at = excluded.set_at
                 WHERE cid <> excluded.cid",
                params![venue_id, event_id, cid, media_type, bytes, width, height, set_at_ms],
            )?;
            Ok(find(connection, &venue_id, &event_id)?.unwrap_or(image))
        })
        .await
    }

    /// An event's picture, if it has one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn event_image(&self, venue_id: String, event_id: String) -> Result<Option<EventImage>, StoreError> {
        self.read(move |connection| find(connection, &venue_id, &event_id)).await
    }

    /// Takes an event's picture away from tickets that are accepted from now on; returns it, if there was one.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn remove_event_image(
        &self,
        venue_id: String,
        event_id: String,
    ) -> Result<Option<EventImage>, StoreError> {
        self.write(move |connection| {
            let image = find(connection, &venue_id, &event_id)?;
            connection
                .execute("DELETE FROM event_images WHERE venue_id = ? AND event_id = ?", [&venue_id, &event_id])?;
            Ok(image)
        })
        .await
    }
}

fn find(connection: &Connection, venue_id: &str, event_id: &str) -> Result<Option<EventImage>, StoreError> {
    let image = connection
        .prepare_cached(
            "SELECT cid, media_type, bytes, width, height, set_at FROM event_images WHERE venue_id = ? AND event_id = ?",
        )?
        .query_row([venue_id, event_id], |row| {
            Ok(EventImage {
                cid: row.get(0)?,
                media_type: row.get(1)?,
                bytes: row.get(2)?,
                width: row.get(3)?,
                height: row.get(4)?,
                set_at_ms: row.get(5)?,
            })
        })
        .optional()?;
    Ok(image)
}

/// The picture that a ticket got from its event, in a column and the one behind it.
pub(super) fn read_image(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Image>> {
    let uri: Option<String> = row.get(column)?;
    let media_type: Option<String> = row.get(column.saturating_add(1))?;
    Ok(uri.zip(media_type).map(|(uri, media_type)| Image { uri, media_type }))
}
