//! What waits to be signed for, and the write-ahead log of signed transactions. How they ended: `settlements`.

use fail::fail_point;
use rusqlite::{Connection, Row, Statement, params, types::Type};
use solana_hash::Hash;
use solana_pubkey::Pubkey;
use solana_signature::Signature;

use super::{Store, StoreError, images::read_image};
use crate::domain::{address::Generation, document::Image, lamports::Lamports, mint::MintStatus, ticket::Ticket};

/// An accepted ticket that nothing is signed for.
#[derive(Clone, Debug)]
pub struct PendingMint {
    /// The row.
    pub id: i64,
    /// The venue, as it was sent.
    pub venue_id: String,
    /// Which issue of the ticket.
    pub generation: Generation,
    /// What was sold.
    pub ticket: Ticket,
    /// The picture that it got from its event.
    pub image: Option<Image>,
    /// Where it will live.
    pub mint_address: Pubkey,
    /// Transactions signed for it so far, all of them dead or rejected.
    pub attempts: u32,
    /// Transactions with it that the chain ever refused.
    pub refused: u32,
    /// Of those, the ones in which it was not alone: another ticket may have been to blame.
    pub refused_with_others: u32,
    /// The last transaction that was signed for it.
    pub last: Option<LastAttempt>,
}

/// The last transaction that was signed for a ticket and came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastAttempt {
    /// Compute units that it might use, for each ticket in it.
    pub compute_units: u32,
    /// What it offered for each, in micro-lamports.
    pub compute_unit_price: u64,
    /// It was sent, and died without landing: the blocks were full of others, perhaps.
    pub expired: bool,
    /// It landed and failed.
    pub rejected: bool,
}

/// What is public about a ticket once its metadata is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Name on the chain.
    pub name: String,
    /// `ipfs://` address of the metadata JSON.
    pub uri: String,
}

/// A signed transaction that is about to be written ahead.
#[derive(Clone, Debug)]
pub struct NewAttempt {
    /// Its first signature, which names it on the chain.
    pub signature: Signature,
    /// The bytes that will be sent, always the same.
    pub bytes: Vec<u8>,
    /// The blockhash it is signed with.
    pub blockhash: Hash,
    /// It can land in no block above this height.
    pub last_valid_block_height: u64,
    /// Compute units that it may use.
    pub compute_units: u32,
    /// What it offers for each, in micro-lamports.
    pub compute_unit_price: u64,
    /// What the network takes for it, whether it works or not.
    pub fee: Lamports,
    /// What stays in each ticket's accounts at most.
    pub rent: Lamports,
    /// The tickets that ride in it.
    pub tickets: Vec<(i64, Published)>,
}

/// A recorded transaction whose end is not known.
#[derive(Clone, Debug)]
pub struct OpenAttempt {
    /// The row.
    pub id: i64,
    /// Its name on the chain.
    pub signature: Signature,
    /// The bytes to send again.
    pub bytes: Vec<u8>,
    /// It can land in no block above this height.
    pub last_valid_block_height: u64,
    /// What the network takes for it, whether it works or not.
    pub fee: Lamports,
    /// The tickets that ride in it.
    pub tickets: Vec<OpenTicket>,
}

/// A ticket inside an open attempt.
#[derive(Clone, Debug)]
pub struct OpenTicket {
    /// The row of the mint.
    pub mint_id: i64,
    /// The venue that sells.
    pub venue_id: String,
    /// The venue's name for it.
    pub ticket_id: String,
    /// Where it lives.
    pub mint_address: Pubkey,
    /// Who will hold it; the box's wallet when absent.
    pub owner: Option<Pubkey>,
    /// Transactions signed for it, this one included.
    pub attempts: u32,
    /// Transactions with it and others that the chain ever refused: another ticket may have been to blame.
    pub refused_with_others: u32,
    /// What was published for it.
    pub published: Published,
}

/// How many transactions with a ticket the chain refused, and how many of those had other tickets in them too.
const REFUSED: &str = "SELECT count(*), coalesce(sum(tickets > 1), 0) FROM (
    SELECT (SELECT count(*) FROM attempt_tickets AS of_same WHERE of_same.attempt_id = a.id) AS tickets
    FROM attempt_tickets t JOIN attempts a ON a.id = t.attempt_id WHERE t.mint_id = ? AND a.state = 'rejected')";

fn refused(statement: &mut Statement<'_>, mint_id: i64) -> rusqlite::Result<(u32, u32)> {
    statement.query_row([mint_id], |row| Ok((row.get(0)?, row.get(1)?)))
}

impl Store {
    /// The next tickets to sign for, behind the first `skip`: those that someone waits for first, then in order of acceptance.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next_pending(&self, skip: usize, limit: usize, now_ms: i64) -> Result<Vec<PendingMint>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT m.id, m.venue_id, m.generation, m.ticket, m.mint_address, m.attempts, m.image_uri, m.image_type,
                        a.compute_units / (SELECT count(*) FROM attempt_tickets WHERE attempt_id = a.id),
                        a.compute_unit_price, a.state = 'dead' AND NOT a.never_sent, a.state = 'rejected'
                 FROM mints AS m LEFT JOIN attempts AS a ON a.id = CASE WHEN m.attempts > 0
                     THEN (SELECT max(attempt_id) FROM attempt_tickets WHERE mint_id = m.id) END
                 WHERE m.status = 'pending' AND m.not_before <= ? ORDER BY m.lane, m.id LIMIT ? OFFSET ?",
            )?;
            let mut past = connection.prepare_cached(REFUSED)?;
            let rows = statement.query_map(params![now_ms, limit, skip], |row| {
                Ok(PendingMint {
                    id: row.get(0)?,
                    venue_id: row.get(1)?,
                    generation: Generation(row.get(2)?),
                    ticket: read_ticket(row, 3)?,
                    image: read_image(row, 6)?,
                    mint_address: parse(row, 4)?,
                    attempts: row.get(5)?,
                    refused: 0,
                    refused_with_others: 0,
                    last: read_last(row, 8)?,
                })
            })?;
            let mut pending = rows.collect::<Result<Vec<_>, _>>()?;
            for mint in &mut pending {
                (mint.refused, mint.refused_with_others) = refused(&mut past, mint.id)?;
            }
            Ok(pending)
        })
        .await
    }

    /// When the next of the tickets that wait for their time is due, Unix milliseconds.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next_due(&self, now_ms: i64) -> Result<Option<i64>, StoreError> {
        self.read(move |connection| {
            let due = connection
                .prepare_cached(
                    "SELECT min(not_before) FROM mints WHERE status = 'pending' AND not_before > 0 AND not_before > ?",
                )?
                .query_row([now_ms], |row| row.get(0))?;
            Ok(due)
        })
        .await
    }

    /// Writes signed transactions ahead: one commit for all of them. Only when this returns may their bytes leave the box.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if a ticket is no longer pending, or a database fault; nothing is kept then.
    pub async fn record(&self, attempts: Vec<NewAttempt>, now_ms: i64) -> Result<Vec<i64>, StoreError> {
        let tickets = attempts.iter().map(|attempt| attempt.tickets.len()).sum();
        self.write_many(tickets, move |connection| {
            fail_point!("record.inside");
            attempts.iter().map(|attempt| record(connection, attempt, now_ms)).collect()
        })
        .await
    }

    /// Every attempt whose end is not known, oldest first: where a process that was killed goes on.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn open_attempts(&self) -> Result<Vec<OpenAttempt>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT id, signature, transaction_bytes, last_valid_block_height, fee_lamports FROM attempts
                 WHERE state IN ('recorded', 'sent', 'unknown') ORDER BY id",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(OpenAttempt {
                    id: row.get(0)?,
                    signature: parse(row, 1)?,
                    bytes: row.get(2)?,
                    last_valid_block_height: row.get(3)?,
                    fee: Lamports(row.get(4)?),
                    tickets: Vec::new(),
                })
            })?;
            let mut attempts = rows.collect::<Result<Vec<_>, _>>()?;
            for attempt in &mut attempts {
                attempt.tickets = open_tickets(connection, attempt.id)?;
            }
            Ok(attempts)
        })
        .await
    }
}

fn record(connection: &Connection, attempt: &NewAttempt, now_ms: i64) -> Result<i64, StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO attempts (signature, transaction_bytes, blockhash, last_valid_block_height, state, recorded_at,
                                   fee_lamports, compute_units, compute_unit_price)
             VALUES (?, ?, ?, ?, 'recorded', ?, ?, ?, ?)",
        )?
        .execute(params![
            attempt.signature.to_string(),
            attempt.bytes,
            attempt.blockhash.to_string(),
            attempt.last_valid_block_height,
            now_ms,
            attempt.fee.0,
            attempt.compute_units,
            attempt.compute_unit_price
        ])?;
    let attempt_id = connection.last_insert_rowid();
    for ((mint_id, published), fee) in attempt.tickets.iter().zip(attempt.fee.split(attempt.tickets.len())) {
        let claimed = connection
            .prepare_cached(
                "UPDATE mints SET status = 'minting', attempts = attempts + 1, name = ?, metadata_uri = ?
                 WHERE id = ? AND status = 'pending'",
            )?
            .execute(params![published.name, published.uri, mint_id])?;
        if claimed != 1 {
            return Err(StoreError::Conflict("a ticket to sign for is not pending"));
        }
        connection
            .prepare_cached("INSERT INTO attempt_tickets (attempt_id, mint_id, reserved_lamports) VALUES (?, ?, ?)")?
            .execute(params![attempt_id, mint_id, (attempt.rent + fee).0])?;
    }
    Ok(attempt_id)
}

pub(super) fn open_tickets(connection: &Connection, attempt_id: i64) -> Result<Vec<OpenTicket>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT m.id, m.venue_id, m.mint_address, m.ticket, m.attempts, m.name, m.metadata_uri
         FROM attempt_tickets t JOIN mints m ON m.id = t.mint_id WHERE t.attempt_id = ? AND m.status = 'minting'",
    )?;
    let rows = statement.query_map([attempt_id], |row| {
        let ticket = read_ticket(row, 3)?;
        Ok(OpenTicket {
            mint_id: row.get(0)?,
            venue_id: row.get(1)?,
            mint_address: parse(row, 2)?,
            owner: ticket.owner(),
            ticket_id: ticket.id,
            attempts: row.get(4)?,
            refused_with_others: 0,
            published: Published { name: row.get(5)?, uri: row.get(6)? },
        })
    })?;
    let mut tickets = rows.collect::<Result<Vec<_>, _>>()?;
    let mut past = connection.prepare_cached(REFUSED)?;
    for ticket in &mut tickets {
        (_, ticket.refused_with_others) = refused(&mut past, ticket.mint_id)?;
    }
    Ok(tickets)
}

/// The last attempt, if there is one.
fn read_last(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<LastAttempt>> {
    let Some(compute_units) = row.get(column)? else { return Ok(None) };
    let [price, expired, rejected] = [1, 2, 3].map(|more| column.saturating_add(more));
    Ok(Some(LastAttempt {
        compute_units,
        compute_unit_price: row.get(price)?,
        expired: row.get(expired)?,
        rejected: row.get(rejected)?,
    }))
}

/// A column in base58.
pub(super) fn parse<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_invalid| {
        let reason = format!("{text:?} is not base58 of the right length");
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, reason.into())
    })
}

pub(super) fn read_ticket(row: &Row<'_>, column: usize) -> rusqlite::Result<Ticket> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

pub(super) fn read_status(row: &Row<'_>, column: usize) -> rusqlite::Result<MintStatus> {
    let text: String = row.get(column)?;
    MintStatus::parse(&text).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, format!("unknown status {text:?}").into())
    })
}
