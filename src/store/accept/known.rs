//! What the books know already of the tickets of a batch.

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, named_params};

use super::{super::images, NewTicket, StoreError};
use crate::domain::{failure::FailureCode, mint::MintStatus};

/// What the books know of a ticket.
pub(super) struct KnownMint {
    pub(super) id: i64,
    /// Where this issue of it lives.
    pub(super) address: String,
    pub(super) content_digest: Vec<u8>,
    status: String,
    error_code: Option<String>,
    /// Its event has another picture now than the ticket got.
    image_changed: bool,
    /// When it may be minted, Unix milliseconds; 0 for at once.
    not_before_ms: i64,
}

impl KnownMint {
    /// The time that it waits for, if that is later than a batch wants it.
    pub(super) fn waits_beyond(&self, wanted_ms: Option<i64>) -> Option<i64> {
        let waits = self.status == MintStatus::Pending.as_str();
        Some(self.not_before_ms).filter(|not_before_ms| waits && *not_before_ms > wanted_ms.unwrap_or_default())
    }

    pub(super) fn can_be_retried(&self) -> bool {
        let code = self.error_code.as_deref().and_then(FailureCode::parse);
        let retryable = code.is_some_and(FailureCode::retryable) || self.gets_new_image();
        self.status == MintStatus::Failed.as_str() && retryable
    }

    /// The chain holds the ticket with other metadata, and with the event's present picture it may be the same: books that
    /// are rebuilt may have been told of the picture only after the ticket. These books have not minted it, so nothing that
    /// follows from its picture is public yet.
    pub(super) fn gets_new_image(&self) -> bool {
        self.image_changed && self.error_code.as_deref() == Some(FailureCode::ChainConflict.as_str())
    }
}

/// Looks tickets of a venue up.
pub(super) struct Lookup<'c> {
    statement: CachedStatement<'c>,
    venue_id: &'c str,
}

impl<'c> Lookup<'c> {
    pub(super) fn new(connection: &'c Connection, venue_id: &'c str) -> Result<Self, StoreError> {
        let sql = format!(
            "SELECT id, content_digest, status, error_code, image_uri IS NOT {}, mint_address, not_before FROM mints
             WHERE venue_id = :venue AND ticket_id = :ticket ORDER BY generation DESC LIMIT 1",
            images::URI_NOW
        );
        Ok(Self { statement: connection.prepare_cached(&sql)?, venue_id })
    }

    pub(super) fn find(&mut self, ticket: &NewTicket) -> Result<Option<KnownMint>, StoreError> {
        let parameters = named_params! {
            ":venue": self.venue_id, ":event": ticket.event_id, ":own": ticket.has_image, ":ticket": ticket.ticket_id
        };
        let known = self.statement.query_row(parameters, |row| {
            Ok(KnownMint {
                id: row.get(0)?,
                content_digest: row.get(1)?,
                status: row.get(2)?,
                error_code: row.get(3)?,
                image_changed: row.get(4)?,
                address: row.get(5)?,
                not_before_ms: row.get(6)?,
            })
        });
        Ok(known.optional()?)
    }
}
