//! What must be true after every run, whatever happened in it: the books against the truth of the chain.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use boxoffice::store::FILE_NAME;
use rusqlite::Connection;
use solana_pubkey::Pubkey;
use solana_signature::Signature;

use super::{
    ledger::{Landing, Nature},
    venue::Venue,
    world::{State, World},
};

struct Booked {
    ticket: String,
    seat: String,
    status: String,
    mint: Pubkey,
    signature: Option<String>,
    uri: Option<String>,
    error: Option<String>,
    adopted: bool,
}

pub fn check(world: &Arc<World>, folder: &Path, venue: &Venue) {
    let mut state = world.state();
    let connection = Connection::open(folder.join(FILE_NAME)).unwrap();
    let healthy: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    if healthy != "ok" {
        state.violated(format!("the database is damaged: {healthy}"));
    }
    let booked = booked(&connection);
    let addresses = booked.values().map(|row| row.mint).collect::<Vec<_>>();
    promises(&mut state, &connection, venue, &booked);
    for row in booked.values() {
        compare(&mut state, &connection, row);
    }
    once(&mut state, &addresses);
    money(&mut state, &connection, venue);
    fees(&mut state, &connection);
    budgets(&mut state, &connection);
    states(&mut state, &connection);
}

fn booked(connection: &Connection) -> BTreeMap<i64, Booked> {
    let mut rows = connection
        .prepare(
            "SELECT id, ticket_id, ticket ->> '$.ticketData.seatNumber', status, mint_address, signature, metadata_uri,
                    error_code, adopted FROM mints ORDER BY id",
        )
        .unwrap();
    let rows = rows.query_map([], |row| {
        let mint: String = row.get(4)?;
        let booked = Booked {
            ticket: row.get(1)?,
            seat: row.get(2)?,
            status: row.get(3)?,
            mint: mint.parse().unwrap(),
            signature: row.get(5)?,
            uri: row.get(6)?,
            error: row.get(7)?,
            adopted: row.get(8)?,
        };
        Ok((row.get(0)?, booked))
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

/// Nothing that was accepted is forgotten, and no ticket changed its content.
fn promises(state: &mut State, connection: &Connection, venue: &Venue, booked: &BTreeMap<i64, Booked>) {
    for (public_id, tickets) in venue.promises() {
        let finished = connection.query_row(
            "SELECT id, open = 0 AND finished_at IS NOT NULL FROM batches WHERE public_id = ?",
            [&public_id],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?)),
        );
        let Ok((id, finished)) = finished else {
            state.violated("an accepted batch is not in the books".to_owned());
            continue;
        };
        if !finished {
            state.violated(format!("batch {id} never finishes"));
        }
        let mut entries = connection
            .prepare_cached("SELECT mint_id, error_code FROM batch_entries WHERE batch_id = ? ORDER BY position")
            .unwrap();
        let entries = entries.query_map([id], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let entries: Vec<(Option<i64>, Option<String>)> = entries.collect::<Result<_, _>>().unwrap();
        if entries.len() != tickets.len() {
            state.violated(format!("batch {id} of {} has {} entries", tickets.len(), entries.len()));
        }
        for ((mint, error), (ticket, seat)) in entries.iter().zip(&tickets) {
            let row = mint.and_then(|mint| booked.get(&mint));
            match (row, error) {
                (Some(row), None) if row.ticket == *ticket && row.seat == *seat => {}
                (None, Some(code)) if code == "content_conflict" => state.note("reached content_conflict"),
                _ => state.violated(format!("{ticket} with seat {seat} was promised and is not in the books")),
            }
        }
    }
}

/// The books say of a ticket what the chain says.
fn compare(state: &mut State, connection: &Connection, row: &Booked) {
    let Booked { ticket, status, mint, .. } = row;
    let made = state.ledger.landed.values().find(|landing| landing.transaction.mints(mint) && landing.error.is_none());
    let made = made.map(|Landing { transaction, .. }| {
        let ticket = transaction.tickets.iter().find(|ticket| ticket.mint == *mint).unwrap();
        (transaction.signature, ticket.uri.clone())
    });
    let on_chain = state.ledger.accounts.contains_key(mint);
    let nature = state.ledger.nature.get(mint).copied().unwrap_or(Nature::Healthy);
    match (status.as_str(), &made) {
        ("minted", Some((signature, uri))) => {
            let unknown = row.signature.is_none() && state.forgotten.contains(signature);
            if !unknown && row.signature.as_ref() != Some(&signature.to_string()) {
                state.violated(format!("{ticket} has the signature {:?} instead of {signature}", row.signature));
            }
            if row.uri.as_ref() != Some(uri) {
                state.violated(format!("{ticket} has the metadata {:?} instead of {uri}", row.uri));
            }
            state.note(if row.adopted { "reached minted by adoption" } else { "reached minted" });
        }
        ("failed", None) if !on_chain => {
            let code = row.error.clone().unwrap_or_default();
            state.note(&format!("reached {code}"));
            let deserved = match code.as_str() {
                "rejected_by_chain" => nature == Nature::Impossible,
                // Bad luck in all of its attempts; the retry at the end may be one too many for the limit of an hour.
                "never_landed" => true,
                "budget_used_up" => budgeted(connection, *mint),
                _ => false,
            };
            if !deserved {
                state.violated(format!("{ticket} failed with {code:?} and did not deserve it"));
            }
        }
        // The new books were told other content first than the lost ones.
        ("failed", Some((_, uri))) if state.books_lost && row.error.as_deref() == Some("chain_conflict") => {
            if row.uri.as_ref() == Some(uri) {
                state.violated(format!("{ticket} conflicts with itself"));
            }
            state.note("reached chain_conflict");
        }
        // A transaction of the lost books landed after their budget had been refused: sent again, the ticket would be adopted.
        ("failed", Some(_)) if state.books_lost && row.error.as_deref() == Some("budget_used_up") => {
            state.note("reached budget_used_up, and minted by lost books");
        }
        _ => {
            let error = row.error.as_deref().unwrap_or_default();
            state.violated(format!("{ticket} is {status} in the books ({error}), and on the chain: {on_chain}"));
        }
    }
    if nature == Nature::Heavy && status == "minted" {
        state.note("reached minted with more compute units");
    }
}

/// Whether the batch that a ticket is charged to has a budget.
fn budgeted(connection: &Connection, mint: Pubkey) -> bool {
    let sql = "SELECT max_lamports IS NOT NULL FROM batches WHERE id = (SELECT max(batch_id) FROM batch_entries e
                   JOIN mints m ON m.id = e.mint_id WHERE m.mint_address = ? AND replayed = 0)";
    connection.query_row(sql, [mint.to_string()], |row| row.get(0)).unwrap()
}

/// No ticket was minted twice, and nothing was minted that was not sold.
fn once(state: &mut State, addresses: &[Pubkey]) {
    let mut mints: BTreeMap<Pubkey, u64> = BTreeMap::new();
    for landing in state.ledger.landed.values().filter(|landing| landing.error.is_none()) {
        for ticket in &landing.transaction.tickets {
            *mints.entry(ticket.mint).or_default() += 1;
        }
    }
    for (mint, times) in mints {
        if times != 1 {
            state.violated(format!("{mint} was minted {times} times"));
        }
        if !addresses.contains(&mint) && !state.books_lost {
            state.violated(format!("{mint} was minted and is not in the books"));
        }
    }
}

/// The books' spending is what left the wallet, and within its limit.
fn money(state: &mut State, connection: &Connection, venue: &Venue) {
    let sum = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u64>(0)).unwrap();
    let spent = sum("SELECT coalesce(sum(lamports), 0) FROM spending");
    let charged = sum("SELECT coalesce(sum(spent_lamports), 0) FROM batches");
    let paid = |landing: &Landing| landing.paid;
    // Books that were lost took with them what they had paid.
    let mut own = connection.prepare("SELECT signature FROM attempts").unwrap();
    let own = own.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let own: Vec<Signature> = own.map(|signature| signature.unwrap().parse().unwrap()).collect();
    let left: u64 = own.iter().filter_map(|signature| state.ledger.landed.get(signature)).map(paid).sum();
    let forgotten = state.forgotten.iter().filter_map(|signature| state.ledger.landed.get(signature));
    let forgotten: u64 = forgotten.map(paid).sum();
    // A stranger's gift lies in the ticket's accounts.
    let gifts = state.ledger.landed.values().filter(|landing| landing.error.is_none());
    let gifts = gifts.flat_map(|landing| &landing.transaction.tickets);
    let gifts: u64 = gifts.map(|ticket| state.ledger.dust_at(&ticket.mint)).sum();
    if spent > left + gifts || spent + forgotten < left {
        state.violated(format!("{left} left the wallet, the books say {spent} (forgotten {forgotten}, gifts {gifts})"));
    }
    if charged != spent {
        state.violated(format!("batches were charged {charged} of {spent}"));
    }
    if let Some(limit) = venue.limit.filter(|_| !state.books_lost) {
        let hour = 3_600_000 / super::ledger::SLOT_MS;
        let outs: Vec<(u64, u64)> = state
            .ledger
            .landed
            .values()
            // Fees of rejected transactions come on top of a ticket's price.
            .map(|landing| {
                (
                    landing.slot,
                    if landing.error.is_some() { landing.paid - landing.transaction.fee } else { landing.paid },
                )
            })
            .collect();
        for (slot, _) in &outs {
            let in_hour: u64 =
                outs.iter().filter(|(at, _)| (*slot..slot + hour).contains(at)).map(|(_, out)| out).sum();
            if in_hour > limit.0 {
                state.violated(format!("{in_hour} left the wallet within an hour; the limit is {limit}"));
                break;
            }
        }
    }
}

/// The books know of every transaction what the network took for it.
fn fees(state: &mut State, connection: &Connection) {
    let mut rows = connection.prepare("SELECT signature, fee_lamports, compute_unit_price FROM attempts").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?, row.get::<_, u64>(2)?)));
    for row in rows.unwrap() {
        let (signature, booked, price) = row.unwrap();
        let Some(landing) = state.ledger.landed.get(&signature.parse::<Signature>().unwrap()) else { continue };
        let (paid, failed) = (landing.transaction.fee, landing.error.is_some());
        if paid != booked {
            state.violated(format!("{signature} took a fee of {paid}, the books say {booked}"));
        }
        if price > 0 {
            state.note(if failed { "priority fee of a failed transaction" } else { "priority fee" });
        }
    }
    let raised = "SELECT count(*) FROM attempts a JOIN attempt_tickets t ON t.attempt_id = a.id
                  JOIN attempt_tickets u ON u.mint_id = t.mint_id AND u.attempt_id > t.attempt_id
                  JOIN attempts b ON b.id = u.attempt_id
                  WHERE a.state = 'dead' AND NOT a.never_sent AND b.compute_unit_price > a.compute_unit_price";
    if connection.query_row(raised, [], |row| row.get::<_, u64>(0)).unwrap() > 0 {
        state.note("offer raised");
    }
}

/// No batch has cost more than its budget, the fees of transactions that came to nothing included.
fn budgets(state: &mut State, connection: &Connection) {
    let mut rows = connection
        .prepare(
            "SELECT b.id, b.max_lamports, b.spent_lamports, a.signature, m.mint_address FROM batches b
             JOIN batch_entries e ON e.batch_id = b.id AND e.replayed = 0 JOIN mints m ON m.id = e.mint_id
             JOIN attempt_tickets t ON t.mint_id = m.id JOIN attempts a ON a.id = t.attempt_id
             WHERE b.max_lamports IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM batch_entries o WHERE o.mint_id = m.id AND o.replayed = 0 AND o.batch_id <> b.id)",
        )
        .unwrap();
    let rows = rows.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?, row.get::<_, String>(3)?)));
    let mut paid: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
    for row in rows.unwrap() {
        let (batch, most, signature) = row.unwrap();
        let signature: Signature = signature.parse().unwrap();
        // What a node with full history denied, the box cannot know.
        let landing = state.ledger.landed.get(&signature).filter(|_| !state.forgotten.contains(&signature));
        let (_, sum) = paid.entry(batch).or_insert((most, 0));
        // One row for each ticket in it.
        *sum += landing.map_or(0, |landing| landing.paid / landing.transaction.tickets.len() as u64);
    }
    for (batch, (most, sum)) in paid {
        state.note("batch with a budget");
        if sum > most {
            state.violated(format!("batch {batch} has cost {sum}, and its budget is {most}"));
        }
    }
}

/// Counts how attempts ended.
fn states(state: &mut State, connection: &Connection) {
    let mut rows = connection.prepare("SELECT state, count(*) FROM attempts GROUP BY state ORDER BY state").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?)));
    for row in rows.unwrap() {
        let (name, count) = row.unwrap();
        if matches!(name.as_str(), "recorded" | "sent" | "unknown") {
            state.violated(format!("{count} attempts are still {name}"));
        }
        *state.counts.entry(format!("attempts {name}")).or_default() += count;
    }
    let packs: Vec<&Landing> =
        state.ledger.landed.values().filter(|landing| landing.transaction.tickets.len() > 1).collect();
    let landed = packs.iter().filter(|landing| landing.error.is_none()).count() as u64;
    let refused = packs.len() as u64 - landed;
    for (name, count) in [
        ("several tickets landed together", landed),
        ("several tickets refused together", refused),
        ("expired in the mempool", state.ledger.expired),
        ("promised and not taken", state.ledger.dropped),
        ("fee not paid", state.ledger.unpaid),
        ("vanished in a fork", state.ledger.vanished),
    ] {
        *state.counts.entry(name.to_owned()).or_default() += count;
    }
}
