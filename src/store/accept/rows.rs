//! The rows of a batch, each written once.
//!
//! SQLite sets up what a statement with triggers needs, a journal of its own among it, once for the statement, however many rows
//! it has; so large batches are written with many rows to a statement.

use std::collections::{HashMap, hash_map};

use rusqlite::{
    Connection, OptionalExtension as _, params, params_from_iter,
    types::{ToSqlOutput, Value, ValueRef},
};

use super::{DOOR_BATCH, NewBatch, NewTicket, Place, StoreError};
use crate::domain::lamports::Lamports;

/// Rows to a statement: as many of the first as there are, then of the next.
const ROWS: [usize; 3] = [64, 8, 1];
const NULL: ToSqlOutput<'static> = ToSqlOutput::Owned(Value::Null);

/// What is written with a batch.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) public_id: &'a str,
    /// What it is expected to cost.
    pub(super) estimate: Lamports,
    /// So many of its tickets are expected to cost something.
    pub(super) to_pay: u64,
    pub(super) now_ms: i64,
}

/// A picture: where it is, and its media type.
type Image = (String, String);

/// Writes a batch, its new tickets, and its entries; returns the batch's row.
pub(super) fn write(
    connection: &Connection,
    batch: &NewBatch,
    places: &[Place<'_>],
    terms: Terms<'_>,
) -> Result<i64, StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO batches
                 (public_id, venue_id, total, estimated_lamports, created_at, not_before, max_lamports, forecast)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            terms.public_id,
            batch.venue_id.as_str(),
            batch.entries.len(),
            terms.estimate.0,
            terms.now_ms,
            batch.not_before_ms,
            batch.budget.map(|budget| budget.0),
            batch.forecast.as_deref()
        ])?;
    let batch_id = connection.last_insert_rowid();
    let mut new_ids = write_mints(connection, batch, places, terms)?.into_iter();
    let faults = |place: &Place<'_>| {
        let Place::Refused { faults: faults @ [_, ..], .. } = place else { return None };
        // A list of plain strings: serialising cannot fail.
        Some(serde_json::to_string(faults).unwrap_or_default())
    };
    let faults: Vec<Option<String>> = places.iter().map(faults).collect();
    let entries = places.iter().zip(&faults).zip(0_i64..).map(|((place, faults), position)| {
        let (ticket_id, mint_id, replayed, failure) = match place {
            Place::New(ticket) => (&ticket.ticket_id, new_ids.next(), false, None),
            Place::Again(ticket, known) => (&ticket.ticket_id, Some(known.id), false, None),
            Place::Known { ticket_id, mint_id, .. } => (*ticket_id, Some(*mint_id), true, None),
            Place::Refused { ticket_id, failure, .. } => (*ticket_id, None, false, Some(failure)),
        };
        [
            batch_id.into(),
            position.into(),
            ticket_id.as_str().into(),
            mint_id.map_or(NULL, Into::into),
            replayed.into(),
            failure.map_or(NULL, |failure| failure.code.as_str().into()),
            failure.map_or(NULL, |failure| failure.message.as_str().into()),
            faults.as_deref().map_or(NULL, Into::into),
        ]
    });
    let entries: Vec<[ToSqlOutput<'_>; 8]> = entries.collect();
    let names = "batch_entries (batch_id, position, ticket_id, mint_id, replayed, error_code, error_message, faults)";
    insert(connection, names, &entries)?;
    Ok(batch_id)
}

/// Writes what is minted for a batch, with each ticket's share of the estimate. Returns the rows of those that are new.
fn write_mints(
    connection: &Connection,
    batch: &NewBatch,
    places: &[Place<'_>],
    Terms { estimate, to_pay, now_ms, .. }: Terms<'_>,
) -> Result<Vec<i64>, StoreError> {
    let not_before_ms = batch.not_before_ms.unwrap_or_default();
    let due_ms = now_ms.max(not_before_ms);
    let lane = i64::from(batch.entries.len() > DOOR_BATCH);
    let mut shares = shares(estimate, to_pay);
    let mut new: Vec<(&NewTicket, i64)> = Vec::new();
    for place in places {
        match place {
            Place::New(ticket) => new.extend(shares.next().map(|share| (*ticket, share))),
            Place::Again(ticket, known) => {
                if known.gets_new_image() {
                    give_new_image(connection, batch.venue_id.as_str(), ticket, known.id)?;
                }
                connection
                    .prepare_cached(
                        "UPDATE mints SET status = 'pending', lane = ?, not_before = ?, attempts = 0, error_code = NULL,
                                          error_message = NULL, settled_at = NULL, estimated_lamports = ?, due_at = ?
                         WHERE id = ?",
                    )?
                    .execute(params![lane, not_before_ms, shares.next(), due_ms, known.id])?;
            }
            // Whoever asks for a waiting ticket earlier gets it earlier.
            Place::Known { mint_id, sooner_than: Some(_), .. } => {
                connection
                    .prepare_cached("UPDATE mints SET not_before = ?, due_at = ? WHERE id = ?")?
                    .execute(params![not_before_ms, due_ms, mint_id])?;
            }
            Place::Known { .. } | Place::Refused { .. } => {}
        }
    }
    let images = images(connection, batch.venue_id.as_str(), &new)?;
    let rows = new.iter().map(|(ticket, share)| {
        // A ticket without a picture gets that of its event: as it is now, for ever.
        let image = images.get(ticket.event_id.as_str()).and_then(Option::as_ref).filter(|_| !ticket.has_image);
        [
            batch.venue_id.as_str().into(),
            ticket.ticket_id.as_str().into(),
            ticket.event_id.as_str().into(),
            ticket.ticket.as_str().into(),
            ToSqlOutput::Borrowed(ValueRef::Blob(&ticket.content_digest)),
            ticket.mint_address.as_str().into(),
            lane.into(),
            not_before_ms.into(),
            now_ms.into(),
            image.map_or(NULL, |(uri, _)| uri.as_str().into()),
            image.map_or(NULL, |(_, media_type)| media_type.as_str().into()),
            (*share).into(),
            due_ms.into(),
        ]
    });
    let rows: Vec<[ToSqlOutput<'_>; 13]> = rows.collect();
    let names =
        "mints (venue_id, ticket_id, event_id, ticket, content_digest, mint_address, lane, not_before, created_at,
         image_uri, image_type, estimated_lamports, due_at)";
    insert(connection, names, &rows)
}

/// What each of the tickets that a batch is to mint is expected to cost, lamports: an equal part of the estimate, of which
/// `to_pay` of them were thought. What does not divide goes to the first of them, one lamport each, so that the shares of those add
/// up to it.
fn shares(estimate: Lamports, to_pay: u64) -> impl Iterator<Item = i64> {
    let count = to_pay.max(1);
    let each = estimate.0.checked_div(count).unwrap_or_default();
    let rest = estimate.0.checked_rem(count).unwrap_or_default();
    (0..).map(move |place: u64| i64::try_from(each.saturating_add(u64::from(place < rest))).unwrap_or(i64::MAX))
}

/// The pictures that the events of some tickets have now.
fn images<'a>(
    connection: &Connection,
    venue_id: &str,
    tickets: &[(&'a NewTicket, i64)],
) -> Result<HashMap<&'a str, Option<Image>>, StoreError> {
    let mut images = HashMap::new();
    let mut find = connection
        .prepare_cached("SELECT 'ipfs://' || cid, media_type FROM event_images WHERE venue_id = ? AND event_id = ?")?;
    for (ticket, _) in tickets {
        if let hash_map::Entry::Vacant(event) = images.entry(ticket.event_id.as_str()) {
            let found = find.query_row([venue_id, &ticket.event_id], |row| Ok((row.get(0)?, row.get(1)?)));
            event.insert(found.optional()?);
        }
    }
    Ok(images)
}

/// Gives a ticket that has no picture the one that its event has now.
fn give_new_image(connection: &Connection, venue_id: &str, ticket: &NewTicket, mint_id: i64) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE mints SET (image_uri, image_type) =
                 (SELECT 'ipfs://' || cid, media_type FROM event_images WHERE venue_id = ? AND event_id = ? AND NOT ?)
             WHERE id = ?",
        )?
        .execute(params![venue_id, ticket.event_id, ticket.has_image, mint_id])?;
    Ok(())
}

/// Inserts rows, many with each statement; `into` is the table and its columns. Returns their ids, where the table gives
/// each row the next one.
fn insert<const COLUMNS: usize>(
    connection: &Connection,
    into: &str,
    mut rows: &[[ToSqlOutput<'_>; COLUMNS]],
) -> Result<Vec<i64>, StoreError> {
    let mut ids = Vec::with_capacity(rows.len());
    let row = format!("({})", ["?"; COLUMNS].join(", "));
    for size in ROWS {
        // A ticket at the door needs no text of 64 rows.
        if rows.len() < size {
            continue;
        }
        let sql = format!("INSERT INTO {into} VALUES {}", vec![row.as_str(); size].join(", "));
        while let Some((chunk, others)) = rows.split_at_checked(size) {
            connection.prepare_cached(&sql)?.execute(params_from_iter(chunk.iter().flatten()))?;
            let last = connection.last_insert_rowid();
            ids.extend(last.saturating_sub_unsigned(chunk.len() as u64).saturating_add(1)..=last);
            rows = others;
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_estimate() {
        let of = |estimate, to_pay| shares(Lamports(estimate), to_pay).take(4).collect::<Vec<_>>();
        assert_eq!(of(11, 4), [3, 3, 3, 2]);
        assert_eq!(of(8, 4), [2, 2, 2, 2]);
        assert_eq!(of(7, 2), [4, 3, 3, 3], "the chain holds two of them");
        assert_eq!(of(0, 0), [0, 0, 0, 0]);
    }
}
