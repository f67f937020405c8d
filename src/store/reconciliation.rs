//! What reconciliation reads from the books, what it corrects in them, and its reports.

use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use solana_pubkey::Pubkey;
use solana_signature::Signature;

use super::{
    Store, StoreError,
    attempts::{parse, read_status, read_ticket},
    finality,
    images::read_image,
    tally::{self, Tally},
};
use crate::domain::{
    address::Generation, document::Image, failure::FailureCode, lamports::Lamports, mint::MintStatus, ticket::Ticket,
};

/// A ticket as the books have it, with everything that can be compared.
#[derive(Clone, Debug)]
pub struct BookedMint {
    /// The row.
    pub id: i64,
    /// The venue that sells.
    pub venue_id: String,
    /// The ticket's id.
    pub ticket_id: String,
    /// Which issue of the ticket.
    pub generation: Generation,
    /// What was sold.
    pub ticket: Ticket,
    /// The picture that it got from its event.
    pub image: Option<Image>,
    /// SHA-256 of what was sold, from when it was accepted.
    pub content_digest: Vec<u8>,
    /// Where it lives, base58.
    pub mint_address: String,
    /// Its state.
    pub status: MintStatus,
    /// Name on the chain.
    pub name: Option<String>,
    /// Metadata URI.
    pub metadata_uri: Option<String>,
    /// The transaction that minted it, base58.
    pub signature: Option<String>,
    /// Its slot.
    pub slot: Option<u64>,
    /// Found on the chain, minted by an earlier life of these books.
    pub adopted: bool,
    /// Why it failed.
    pub failure: Option<FailureCode>,
    /// When it was accepted, Unix milliseconds.
    pub created_at_ms: i64,
    /// When it was settled.
    pub settled_at_ms: Option<i64>,
}

/// A transaction that was signed for a ticket.
#[derive(Clone, Copy, Debug)]
pub struct SignedFor {
    /// The row of the mint.
    pub mint_id: i64,
    /// Its name on the chain.
    pub signature: Signature,
    /// It can land in no block above this height.
    pub last_valid_block_height: u64,
}

/// A change that brings the books in line with the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// The row of the mint.
    pub mint_id: i64,
    /// The state it was seen in; if that has changed since, nothing is done.
    pub seen: MintStatus,
    /// What is changed.
    pub change: Change,
}

/// What is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Fields are set to what the chain has; those that are none stay.
    Fields {
        /// Where it lives, base58.
        mint_address: Option<String>,
        /// Name on the chain.
        name: Option<String>,
        /// Metadata URI.
        metadata_uri: Option<String>,
        /// The transaction that minted it, and its slot.
        minted_in: Option<(Signature, u64)>,
    },
    /// It goes back to the queue: the engine looks at the chain first, adopts what is there, and mints what is not.
    Queue,
}

/// A report, with the columns of the specification.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The row, which serves as a cursor.
    pub id: i64,
    /// The venue.
    pub venue_id: String,
    /// When the comparison began, Unix milliseconds.
    pub report_date_ms: i64,
    /// Tickets compared.
    pub total_checked: u64,
    /// Books and chain agree.
    pub confirmed: u64,
    /// Provably not on the chain.
    pub not_found: u64,
    /// Cannot be told now.
    pub pending: u64,
    /// Books and chain disagree.
    pub errors: u64,
    /// Tickets with a difference.
    pub discrepancy_count: u64,
    /// Their share of the tickets compared, from 0 to 1.
    pub discrepancy_rate: f64,
    /// The differences, as JSON.
    pub report_data: Option<String>,
}

/// What a venue's latest report says, in short.
#[derive(Clone, Debug, PartialEq)]
pub struct LatestReport {
    /// The venue.
    pub venue_id: String,
    /// Tickets with a difference.
    pub discrepancy_count: u64,
    /// Seconds that the comparison took.
    pub duration_seconds: f64,
}

impl Store {
    /// The next tickets of a venue to compare, in order of acceptance, behind the row `after`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn booked_mints(
        &self,
        venue_id: String,
        after: i64,
        limit: usize,
    ) -> Result<Vec<BookedMint>, StoreError> {
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM mints WHERE venue_id = ? AND id > ? ORDER BY id LIMIT ?");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params![venue_id, after, limit], read_booked)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Venues that have tickets, and how many.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn venues(&self) -> Result<Vec<String>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT venue_id FROM mint_counts GROUP BY venue_id HAVING sum(count) > 0 ORDER BY 1",
            )?;
            Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Every transaction that was ever signed for some tickets.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn signed_for(&self, mint_ids: Vec<i64>) -> Result<Vec<SignedFor>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT t.mint_id, a.signature, a.last_valid_block_height
                 FROM attempt_tickets t JOIN attempts a ON a.id = t.attempt_id WHERE t.mint_id = ?",
            )?;
            let mut found = Vec::new();
            for mint_id in mint_ids {
                let rows = statement.query_map([mint_id], |row| {
                    Ok(SignedFor {
                        mint_id: row.get(0)?,
                        signature: parse(row, 1)?,
                        last_valid_block_height: row.get(2)?,
                    })
                })?;
                for row in rows {
                    found.push(row?);
                }
            }
            Ok(found)
        })
        .await
    }

    /// A few of the transactions that landed up to a slot, the newest of them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn landed_before(&self, slot: u64) -> Result<Vec<Signature>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT signature FROM attempts WHERE state = 'landed' AND slot <= ? ORDER BY id DESC LIMIT 5",
            )?;
            Ok(statement.query_map([slot], |row| parse(row, 0))?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Brings the books in line with the chain; returns how many tickets were changed. One that is no longer as it was seen
    /// is left alone.
    ///
    /// # Errors
    /// A database fault; nothing is kept then.
    pub async fn correct(&self, corrections: Vec<Correction>, now_ms: i64) -> Result<u64, StoreError> {
        self.write(move |connection| {
            let mut changed = 0_u64;
            for correction in &corrections {
                changed = changed.saturating_add(correct(connection, correction, now_ms)? as u64);
            }
            Ok(changed)
        })
        .await
    }

    /// Those of some transactions that no ticket in the books was minted by.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unknown_transactions(&self, signatures: Vec<Signature>) -> Result<Vec<Signature>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                // All tickets of a transaction must be there: one of several may be missing.
                "SELECT EXISTS (SELECT 1 FROM attempts a JOIN attempt_tickets t ON t.attempt_id = a.id
                                LEFT JOIN mints m ON m.id = t.mint_id WHERE a.signature = ?1
                                GROUP BY a.id HAVING count(*) = count(m.id))
                     OR EXISTS (SELECT 1 FROM mints WHERE adopted = 1 AND signature = ?1)",
            )?;
            let mut unknown = Vec::new();
            for signature in signatures {
                let known: bool = statement.query_row([signature.to_string()], |row| row.get(0))?;
                if !known {
                    unknown.push(signature);
                }
            }
            Ok(unknown)
        })
        .await
    }

    /// Those of some addresses that no ticket in the books lives at.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unknown_addresses(&self, addresses: Vec<Pubkey>) -> Result<Vec<Pubkey>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT 1 FROM mints WHERE mint_address = ?")?;
            let mut unknown = Vec::new();
            for address in addresses {
                if !statement.exists([address.to_string()])? {
                    unknown.push(address);
                }
            }
            Ok(unknown)
        })
        .await
    }

    /// Writes a report down and forgets those of the venue that are older than `keep_from_ms`; returns its row.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn add_report(&self, report: Report, keep_from_ms: i64, now_ms: i64) -> Result<i64, StoreError> {
        self.write(move |connection| {
            connection.execute(
                "DELETE FROM reconciliation_reports WHERE venue_id = ? AND report_date < ?",
                params![report.venue_id, keep_from_ms],
            )?;
            connection
                .prepare_cached(
                    "INSERT INTO reconciliation_reports (venue_id, report_date, total_checked, confirmed, not_found,
                         pending, errors, discrepancy_count, discrepancy_rate, report_data, created_at)
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                )?
                .execute(params![
                    report.venue_id,
                    report.report_date_ms,
                    report.total_checked,
                    report.confirmed,
                    report.not_found,
                    report.pending,
                    report.errors,
                    report.discrepancy_count,
                    report.discrepancy_rate,
                    report.report_data,
                    now_ms
                ])?;
            Ok(connection.last_insert_rowid())
        })
        .await
    }

    /// The latest report of every venue, in short.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn latest_reports(&self) -> Result<Vec<LatestReport>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT venue_id, discrepancy_count, 
                        iif(json_valid(report_data), json_extract(report_data, '$.durationSeconds'), 0.0)
                 FROM reconciliation_reports
                 WHERE id IN (SELECT max(id) FROM reconciliation_reports GROUP BY venue_id)",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(LatestReport {
                    venue_id: row.get(0)?,
                    discrepancy_count: row.get(1)?,
                    duration_seconds: row.get(2)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Reports of a venue, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn reports(
        &self,
        venue_id: String,
        before_id: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Report>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, venue_id, report_date, total_checked, confirmed, not_found, pending, errors,
                        discrepancy_count, discrepancy_rate, report_data
                 FROM reconciliation_reports WHERE venue_id = ? AND id < ? ORDER BY id DESC LIMIT ?",
            )?;
            let rows = statement.query_map(params![venue_id, before_id.unwrap_or(i64::MAX), limit], |row| {
                Ok(Report {
                    id: row.get(0)?,
                    venue_id: row.get(1)?,
                    report_date_ms: row.get(2)?,
                    total_checked: row.get(3)?,
                    confirmed: row.get(4)?,
                    not_found: row.get(5)?,
                    pending: row.get(6)?,
                    errors: row.get(7)?,
                    discrepancy_count: row.get(8)?,
                    discrepancy_rate: row.get(9)?,
                    report_data: row.get(10)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The tickets of a venue with these ids, in their newest issue.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn booked_tickets(
        &self,
        venue_id: String,
        ticket_ids: Vec<String>,
    ) -> Result<Vec<BookedMint>, StoreError> {
        self.read(move |connection| {
            let mut found = Vec::new();
            // SQLite takes 32,766 parameters; a thousand at a time keep the statement in the cache.
            for chunk in ticket_ids.chunks(1_000) {
                let marks = vec!["?"; chunk.len()].join(", ");
                let sql =
                    format!("SELECT {COLUMNS} FROM mints WHERE venue_id = ? AND ticket_id IN ({marks}) ORDER BY id");
                let mut statement = connection.prepare_cached(&sql)?;
                let parameters = std::iter::once(&venue_id).chain(chunk);
                let rows = statement.query_map(params_from_iter(parameters), read_booked)?;
                for row in rows {
                    found.push(row?);
                }
            }
            Ok(found)
        })
        .await
    }
}

fn correct(connection: &Connection, correction: &Correction, now_ms: i64) -> Result<usize, StoreError> {
    let Correction { mint_id, seen, change } = correction;
    let changed = match change {
        Change::Fields { mint_address, name, metadata_uri, minted_in } => connection
            .prepare_cached(
                "UPDATE mints SET mint_address = coalesce(?, mint_address), name = coalesce(?, name),
                        metadata_uri = coalesce(?, metadata_uri), signature = coalesce(?, signature),
                        slot = coalesce(?, slot)
                 WHERE id = ? AND status = ?",
            )?
            .execute(params![
                mint_address,
                name,
                metadata_uri,
                minted_in.map(|(signature, _)| signature.to_string()),
                minted_in.map(|(_, slot)| slot),
                mint_id,
                seen.as_str()
            ])?,
        Change::Queue => queue(connection, *mint_id, *seen, now_ms)?,
    };
    Ok(changed)
}

/// Puts a ticket back into the queue: the engine begins anew. Of one that was minted just now, everything that was booked is
/// undone; what an older one that does not exist has cost is not known any more.
fn queue(connection: &Connection, mint_id: i64, seen: MintStatus, now_ms: i64) -> Result<usize, StoreError> {
    if seen == MintStatus::Minted && finality::undo_minted(connection, mint_id)? {
        let again = "UPDATE mints SET lane = 1, attempts = 0, due_at = ? WHERE id = ?";
        return Ok(connection.prepare_cached(again)?.execute(params![now_ms, mint_id])?);
    }
    finality::forget(connection, mint_id)?;
    uncount(connection, mint_id, seen)?;
    // What it was expected to cost is kept for when it is minted again.
    let sql = format!(
        "UPDATE mints SET status = 'pending', lane = 1, attempts = 0, signature = NULL, slot = NULL, adopted = 0,
                cost_lamports = iif(status = 'minted', 0, cost_lamports), error_code = NULL,
                error_message = NULL, settled_at = NULL, due_at = ?3,
                estimated_lamports = coalesce(estimated_lamports, {})
         WHERE id = ?1 AND status = ?2 AND status IN ('minted', 'failed')",
        tally::share("mints.id")
    );
    Ok(connection.prepare_cached(&sql)?.execute(params![mint_id, seen.as_str(), now_ms])?)
}

/// A ticket that counts as minted is to be minted again: the sums follow the books, which have it once and say that it has cost
/// nothing so far.
fn uncount(connection: &Connection, mint_id: i64, seen: MintStatus) -> Result<(), StoreError> {
    let minted: Option<(i64, u64)> = connection
        .prepare_cached(
            "SELECT settled_at, iif(adopted, 0, max(cost_lamports, 0)) FROM mints
             WHERE id = ?1 AND status = 'minted' AND status = ?2 AND settled_at IS NOT NULL",
        )?
        .query_row(params![mint_id, seen.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((settled_at_ms, paid)) = minted else { return Ok(()) };
    let mut tally = Tally::at(settled_at_ms);
    tally.undo(connection, mint_id, Lamports(paid))?;
    tally.write(connection)
}

const COLUMNS: &str = "id, venue_id, ticket_id, generation, ticket, content_digest, mint_address, status, name,
     metadata_uri, signature, slot, adopted, error_code, created_at, settled_at, image_uri, image_type";

fn read_booked(row: &Row<'_>) -> rusqlite::Result<BookedMint> {
    let failure: Option<String> = row.get(13)?;
    Ok(BookedMint {
        id: row.get(0)?,
        venue_id: row.get(1)?,
        ticket_id: row.get(2)?,
        generation: Generation(row.get(3)?),
        ticket: read_ticket(row, 4)?,
        image: read_image(row, 16)?,
        content_digest: row.get(5)?,
        mint_address: row.get(6)?,
        status: read_status(row, 7)?,
        name: row.get(8)?,
        metadata_uri: row.get(9)?,
        signature: row.get(10)?,
        slot: row.get(11)?,
        adopted: row.get(12)?,
        failure: failure.as_deref().and_then(FailureCode::parse),
        created_at_ms: row.get(14)?,
        settled_at_ms: row.get(15)?,
    })
}
