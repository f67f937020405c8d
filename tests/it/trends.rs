//! What charts are drawn from: sums that must equal the books, and what is said to be unusual.

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use boxoffice::{
    anomalies::Anomalies,
    clock::{Clock as _, ManualClock, SystemClock},
    domain::{
        anomaly::{Measure, Verdict as Said},
        failure::{Failure, FailureCode},
        ids::VenueId,
        lamports::Lamports,
        mint::{AttemptState, MintStatus},
        spending::SpendingLimits,
    },
    store::{
        Change, Correction, Entry, NewAttempt, NewBatch, NewTicket, Proof, Published, Settlement, SpendingRules, Step,
        Store, TicketVerdict, Verdict,
    },
};
use reqwest::StatusCode;
use rusqlite::Connection;
use serde_json::{Value, json};
use solana_hash::Hash;
use solana_signature::Signature;
use uuid::Uuid;

use crate::support::{
    ipfs::{Deed, Ipfs},
    proxy::{Proxy, plan},
    *,
};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const PRICE: u64 = 19_651_560;
const FEE: u64 = 5_000;

/// Every sum that is kept, as text, without rows in which there is nothing.
fn sums(books: &Connection) -> Vec<String> {
    let mut all = Vec::new();
    for (table, columns) in [
        ("mint_minutes", "minute, venue_id"),
        ("mint_hours", "venue_id, hour"),
        ("mint_days", "venue_id, day"),
        ("mint_events", "venue_id, event_id, given_up"),
        ("mint_venues", "venue_id"),
        ("box_periods", "step, period, iif(step = 60, 0, adopted), iif(step = 60, 0, due_ms)"),
    ] {
        let figures = "minted, failed, spent_lamports, mint_ms, estimated_lamports";
        let sql = format!("SELECT concat_ws(' ', '{table}', {columns}, {figures}) FROM {table} ORDER BY 1");
        let mut statement = books.prepare(&sql).unwrap();
        all.extend(statement.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap));
    }
    all
}

/// The same, worked out from the tickets themselves.
fn assert_sums_equal_the_books(books: &Connection) {
    let one = |sql: &str| books.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    for (table, group, of) in [
        ("mint_hours", "venue_id, hour", "venue_id, settled_at / 3600000"),
        ("mint_days", "venue_id, day", "venue_id, settled_at / 86400000"),
        ("mint_minutes", "venue_id, minute", "venue_id, settled_at / 60000"),
        ("mint_events", "venue_id, event_id", "venue_id, event_id"),
    ] {
        let wrong = format!(
            "SELECT count(*) FROM
                 (SELECT {group}, minted, estimated_lamports AS estimated, mint_ms FROM {table}
                  WHERE minted <> 0 OR estimated <> 0 OR mint_ms <> 0
                  EXCEPT
                  SELECT {of}, count(*), sum(iif(adopted, 0, estimated_lamports)), sum(settled_at - created_at) FROM mints
                  WHERE status = 'minted' GROUP BY 1, 2)"
        );
        assert_eq!(one(&wrong), 0, "{table}: {:?}", sums(books));
    }
    let sum = |what: &str, table: &str| one(&format!("SELECT coalesce(sum({what}), 0) FROM {table}"));
    for (step, table) in [(60, "mint_minutes"), (3_600, "mint_hours"), (86_400, "mint_days")] {
        for what in ["minted", "failed", "spent_lamports", "estimated_lamports", "mint_ms"] {
            let venues = sum(what, table);
            assert_eq!(sum(what, &format!("box_periods WHERE step = {step}")), venues, "{what} of {table}");
            assert_eq!(sum(what, "mint_events"), venues, "{what} of {table} and events");
            assert_eq!(sum(what, "mint_venues"), venues, "{what} of {table} and venues");
        }
    }
    assert_eq!(sum("given_up", "mint_events"), one("SELECT count(*) FROM mints WHERE status = 'failed'"));
    assert_eq!(sum("spent_lamports", "mint_hours"), one("SELECT sum(iif(adopted, 0, cost_lamports)) FROM mints"));
}

fn books_of(folder: &Path) -> Connection {
    Connection::open(folder.join("data/boxoffice.db")).unwrap()
}

async fn trend(office: &TestBox, query: &str) -> Value {
    let (status, trend) = office.get(&format!("/admin/trends{query}")).await;
    assert_eq!(status, StatusCode::OK, "{trend}");
    trend
}

fn total(trend: &Value, what: &str) -> u64 {
    trend["periods"].as_array().unwrap().iter().map(|period| period[what].as_u64().unwrap()).sum()
}

fn ticket_of(id: &str, event: &str) -> Value {
    let mut ticket = ticket(id);
    ticket["eventId"] = event.into();
    ticket
}

#[tokio::test(flavor = "multi_thread")]
async fn trends_equal_the_books_and_spend_equals_estimate_to_the_lamport() {
    let folder = tempfile::tempdir().unwrap();
    let (key_file, _) = wallet(folder.path(), 100 * SOL);
    let proxy = Proxy::start(chain().rpc_url(), plan(40, None, Duration::ZERO)).await;
    let options = BoxOptions { rpc: proxy.url.clone(), ..BoxOptions::new(folder.path(), &key_file) };
    let office = options.start().await;
    let empty = trend(&office, "").await;
    assert_eq!((total(&empty, "minted"), &empty["venueId"], &empty["range"]), (0, &Value::Null, &json!("24h")));
    assert_eq!(empty["rpc"][0]["sends"].as_array().unwrap().len(), 24);

    // Seven do not divide by three: one transaction is smaller than the others, and the fee of each is shared to the lamport.
    office.packs().await;
    let first = office.mint("v", &tickets("a", 7)).await;
    assert_eq!(first["summary"]["succeeded"], 7, "{first}");
    let mut second: Vec<Value> = (0..5).map(|number| ticket_of(&format!("b-{number}"), "event-2")).collect();
    second.extend(tickets("a", 3));
    assert_eq!(office.mint("v", &second).await["summary"]["succeeded"], 8, "three of them were known");
    office.mint("w", &tickets("c", 2)).await;

    for (range, periods, step) in
        [("1h", 60, 60), ("24h", 24, 3_600), ("7d", 168, 3_600), ("30d", 30, 86_400), ("365d", 365, 86_400)]
    {
        for venue in ["", "&venueId=v"] {
            let trend = trend(&office, &format!("?range={range}{venue}")).await;
            let list = trend["periods"].as_array().unwrap();
            assert_eq!((list.len(), &trend["stepSeconds"]), (periods, &json!(step)), "{range}");
            let starts: Vec<i64> = list
                .iter()
                .map(|period| period["from"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second())
                .collect();
            assert!(starts.iter().all(|start| start % step == 0), "{starts:?}");
            assert!(starts.windows(2).all(|pair| pair[1] - pair[0] == step), "{starts:?}");
            let now = SystemClock.now_ms() / 1_000;
            assert!((0..step + 5).contains(&(now - starts.last().unwrap())), "the last is running");
            assert_eq!((total(&trend, "minted"), total(&trend, "failed")), (if venue.is_empty() { 14 } else { 12 }, 0));
            let spent = total(&trend, "spentLamports");
            assert!(spent > 0 && spent == total(&trend, "estimatedLamports"), "{range}: {trend}");
            let quiet = list.first().unwrap();
            assert_eq!((&quiet["minted"], &quiet["avgMintTimeSeconds"]), (&json!(0), &Value::Null));
            if !venue.is_empty() {
                assert_eq!((&quiet["cacheHits"], &trend["rpc"]), (&Value::Null, &json!([])));
            }
        }
    }
    // A look-up that finds nothing.
    office.get("/admin/stats/v").await;
    // Every send is counted, those that are not in the books yet too, and before and after they are written.
    let counted = async |range: &str| {
        let trend = trend(&office, &format!("?range={range}")).await;
        let rpc = &trend["rpc"].as_array().unwrap()[0];
        let sum = |what: &str| rpc[what].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum::<u64>();
        (sum("sends"), sum("errors"), sum("limited"), total(&trend, "cacheMisses") > 0)
    };
    let all = (proxy.count("sendTransaction") as u64, 0, proxy.limited() as u64, true);
    for _ in 0..2 {
        for range in ["1h", "24h", "7d", "30d", "365d"] {
            assert_eq!(counted(range).await, all, "{range}");
        }
        office.app.trends.write(SystemClock.now_ms()).await.unwrap();
        office.app.minter.forecaster().write().await.unwrap();
    }

    let (_, venues) = office.get("/admin/venues?limit=1").await;
    let venue = &venues["venues"][0];
    assert_eq!(
        (&venue["venueId"], &venue["totalMints"], &venue["successfulMints"]),
        (&json!("v"), &json!(12), &json!(12))
    );
    assert_eq!((&venues["nextAfter"], &venue["spentLamports"]), (&json!("v"), &venue["estimatedLamports"]));
    let (_, rest) = office.get("/admin/venues?after=v").await;
    assert_eq!((&rest["venues"][0]["venueId"], &rest["nextAfter"]), (&json!("w"), &Value::Null));
    let (_, events) = office.get("/admin/venues/v/events?limit=1").await;
    assert_eq!((&events["events"][0]["eventId"], &events["nextAfter"]), (&json!("event-1"), &json!("event-1")));
    let (_, events) = office.get("/admin/venues/v/events?after=event-1").await;
    let event = &events["events"][0];
    assert_eq!(
        (&event["eventId"], &event["successfulMints"], &event["failedMints"]),
        (&json!("event-2"), &json!(5), &json!(0))
    );
    assert!(event["avgMintTimeSeconds"].as_f64().unwrap() > 0.0);
    assert_eq!(event["spentLamports"], event["estimatedLamports"]);
    for unknown in ["/admin/trends?venueId=x", "/admin/venues/x/events", "/admin/trends?venueId="] {
        assert_eq!(office.get(unknown).await.0, StatusCode::NOT_FOUND, "{unknown}");
    }
    assert_ne!(office.get("/admin/trends?range=2h").await.0, StatusCode::OK);

    // Books that have lost a ticket's mint queue it again: it counts once, then as now.
    assert_sums_equal_the_books(&books_of(folder.path()));
    let booked = office.app.store.booked_tickets("v".into(), vec!["a-1".into()]).await.unwrap().remove(0);
    let again = Correction { mint_id: booked.id, seen: MintStatus::Minted, change: Change::Queue };
    assert_eq!(office.app.store.correct(vec![again], SystemClock.now_ms()).await.unwrap(), 1);
    assert_sums_equal_the_books(&books_of(folder.path()));
    office.app.minter.wake();
    until(async || office.app.store.counts(None).await.unwrap().of(MintStatus::Minted) == 14).await;
    // It is found on the chain. Once its transaction is known to be ours, it is paid for by these books again.
    let unproven = async || office.app.store.count_unproven().await.unwrap();
    until(async || unproven().await == 0).await;
    assert_sums_equal_the_books(&books_of(folder.path()));
    assert_eq!(total(&trend(&office, "").await, "minted"), 14);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_and_what_needed_none_are_counted_and_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (key_file, _) = wallet(folder.path(), 100 * SOL);
    let node = Ipfs::start(|_| Deed::Well).await;
    let start = async || {
        let mut options = BoxOptions::new(folder.path(), &key_file);
        for (name, value) in node.kubo() {
            options = options.set(name, value);
        }
        options.start().await
    };
    let office = start().await;
    office.mint("v", &tickets("a", 20)).await;
    office.mint("w", &tickets("a", 20)).await;
    let before = trend(&office, "?range=1h").await;
    assert_eq!(total(&before, "uploads"), 21, "twenty tickets and the image that they share");
    assert_eq!(total(&before, "uploadsSaved"), 21);
    let hits = total(&before, "cacheHits") + total(&before, "cacheMisses");
    assert!(hits > 0);
    office.finish().await;

    let office = start().await;
    for range in ["1h", "24h", "30d"] {
        let after = trend(&office, &format!("?range={range}")).await;
        assert_eq!((total(&after, "uploads"), total(&after, "uploadsSaved")), (21, 21), "{range}");
        assert!(total(&after, "cacheHits") + total(&after, "cacheMisses") >= hits, "{range}");
    }
    // Nothing is written when nothing was counted.
    let trends = &office.app.trends;
    trends.write(SystemClock.now_ms()).await.unwrap();
    let rows = || {
        let books = books_of(folder.path());
        let sql = "SELECT coalesce(sum(cache_hits + cache_misses + uploads), 0) + count(*) FROM box_periods";
        books.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let known = rows();
    trends.write(SystemClock.now_ms() + 60_000).await.unwrap();
    assert_eq!(rows(), known);
    office.finish().await;
}

/// A store that is told of batches and settlements at times of the test's own.
struct Books {
    store: Store,
    last: u64,
}

impl Books {
    fn open(folder: &Path) -> Self {
        Self { store: Store::open(folder).unwrap(), last: 0 }
    }

    fn rules(together: u64) -> SpendingRules {
        let (price, limits) = (Lamports(PRICE), SpendingLimits::default());
        let wallet = "wallet".to_owned();
        let balance = Lamports(PRICE * 1_000_000);
        let (expected, fee) = (price, Lamports(FEE));
        let (settled, on_chain) = (Lamports::ZERO, HashSet::new());
        SpendingRules {
            price,
            expected,
            fee,
            together,
            budget: None,
            wallet,
            payers: 0,
            balance,
            own: balance,
            settled,
            limits,
            on_chain,
        }
    }

    /// Accepts a batch; returns the rows of its tickets.
    async fn accept(&self, venue: &str, event: &str, ids: &[String], rules: SpendingRules, at_ms: i64) -> Vec<i64> {
        let entry = |id: &String| {
            Entry::Ticket(NewTicket {
                ticket_id: id.clone(),
                event_id: event.into(),
                ticket: json!({ "id": id, "eventId": event, "ticketData": { "eventName": "Concert" } }).to_string(),
                content_digest: [0; 32],
                has_image: false,
                mint_address: address_of(id, venue),
            })
        };
        let batch = NewBatch {
            venue_id: VenueId::new(venue).unwrap(),
            not_before_ms: None,
            budget: None,
            has_periods: false,
            forecast: None,
            entries: ids.iter().map(entry).collect(),
        };
        self.store.accept(batch, Some(rules), Uuid::now_v7(), at_ms).await.unwrap();
        let booked = self.store.booked_tickets(venue.into(), ids.to_vec()).await.unwrap();
        booked.into_iter().map(|booked| booked.id).collect()
    }

    /// Records a transaction for some tickets.
    async fn attempt(&mut self, mint_ids: &[i64], at_ms: i64) -> (i64, Signature) {
        self.last += 1;
        let signature = Signature::from([u8::try_from(self.last).unwrap(); 64]);
        let attempt = NewAttempt {
            signature,
            bytes: vec![1],
            blockhash: Hash::default(),
            last_valid_block_height: 100,
            compute_units: 0,
            compute_unit_price: 0,
            fee: Lamports(FEE),
            rent: Lamports(PRICE - FEE),
            tickets: mint_ids
                .iter()
                .map(|id| (*id, Published { name: "Concert".into(), uri: "ipfs://x".into() }))
                .collect(),
        };
        (self.store.record(vec![attempt], at_ms).await.unwrap()[0], signature)
    }

    async fn settle(&self, attempt: Option<(i64, AttemptState)>, tickets: Vec<TicketVerdict>, at_ms: i64) {
        let settlement = Settlement { attempt, slot: Some(5), error: None, never_sent: false, tickets };
        self.store.settle(Vec::new(), vec![settlement], at_ms).await.unwrap();
    }
}

fn address_of(id: &str, venue: &str) -> String {
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(format!("{id} at {venue}").bytes()).for_each(|(byte, of)| *byte = of);
    solana_pubkey::Pubkey::from(bytes).to_string()
}

fn verdict(mint_id: i64, paid: u64, verdict: Verdict) -> TicketVerdict {
    TicketVerdict { mint_id, cost: Lamports(paid), paid: Lamports(paid), verdict }
}

fn minted(mint_id: i64, paid: u64, signature: Option<Signature>) -> TicketVerdict {
    verdict(mint_id, paid, Verdict::Minted { signature, slot: Some(5), adopted: None })
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number}")).collect()
}

/// 2026-01-31 19:30 UTC.
const THEN_MS: i64 = 1_769_887_800_000;

/// What each of so many tickets in one transaction costs: its fee is shared to the lamport.
fn costs(tickets: u64) -> impl Iterator<Item = u64> {
    (0..tickets).map(move |place| PRICE - FEE + FEE / tickets + u64::from(place < FEE % tickets))
}

impl Books {
    /// Mints tickets in transactions of three.
    async fn mint(&mut self, mint_ids: &[i64], at_ms: i64) {
        for chunk in mint_ids.chunks(3) {
            let (attempt, signature) = self.attempt(chunk, at_ms - 500).await;
            let tickets = chunk.iter().zip(costs(chunk.len() as u64));
            let tickets = tickets.map(|(id, cost)| minted(*id, cost, Some(signature))).collect();
            self.settle(Some((attempt, AttemptState::Landed)), tickets, at_ms).await;
        }
    }

    async fn fail(&mut self, mint_id: i64, at_ms: i64) {
        let (attempt, _) = self.attempt(&[mint_id], at_ms - 500).await;
        let failed = Verdict::Failed(Failure::new(FailureCode::NeverLanded, "it never landed"));
        self.settle(Some((attempt, AttemptState::Rejected)), vec![verdict(mint_id, FEE, failed)], at_ms).await;
    }

    async fn sums_of(&self, venue: &str) -> (u64, u64, u64, u64) {
        let total = self.store.venue_stats(venue.into(), 0, Step::Day).await.unwrap().total;
        (total.minted, total.failed, total.spent.0, total.estimated.0)
    }
}

#[tokio::test]
async fn sums_follow_failures_retries_adoption_and_what_forks_take_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut books = Books::open(folder.path());
    let file = Connection::open(folder.path().join("boxoffice.db")).unwrap();
    let estimate = Books::rules(3).estimate(10).0;
    assert_eq!(estimate, 10 * PRICE - 6 * FEE);
    let ids = books.accept("v", "e", &names("a", 10), Books::rules(3), THEN_MS).await;
    let shares: i64 = file.query_row("SELECT sum(estimated_lamports) FROM mints", [], |row| row.get(0)).unwrap();
    assert_eq!(shares.cast_unsigned(), estimate, "what does not divide is not lost");
    let (last, nine) = ids.split_last().unwrap();
    books.mint(nine, THEN_MS + 2_000).await;
    books.fail(*last, THEN_MS + 3_000).await;
    assert_sums_equal_the_books(&file);
    let event = books.store.event_page("v".into(), String::new(), 5).await.unwrap().remove(0);
    assert_eq!((event.total.minted, event.total.failed, event.given_up), (9, 1, 1));

    // A retry a day later: the failure has happened, and the ticket is not failed any more.
    let later = THEN_MS + DAY_MS;
    assert_eq!(books.store.retry(vec![*last], Books::rules(3), later).await.unwrap(), 1);
    books.mint(&[*last], later + 2_000).await;
    assert_sums_equal_the_books(&file);
    assert_eq!(
        books.sums_of("v").await,
        (10, 1, estimate + FEE, estimate),
        "a failed attempt is no part of the estimate"
    );
    let event = books.store.event_page("v".into(), String::new(), 5).await.unwrap().remove(0);
    assert_eq!((event.total.failed, event.given_up), (1, 0));
    let hours = books.store.box_periods(0, Step::Hour).await.unwrap();
    assert_eq!(hours.last().unwrap().due_ms, 2_000, "the day between was nobody's to wait for");
    assert_eq!(hours.last().unwrap().tickets.mint_ms, u64::try_from(DAY_MS).unwrap() + 2_000);

    // A fork takes a transaction of three back; they are minted again an hour later.
    let before = sums(&file);
    books.store.prove(vec![(ids[0], Proof::TakenBack)], THEN_MS).await.unwrap();
    assert_sums_equal_the_books(&file);
    assert_eq!(books.sums_of("v").await.0, 7);
    let open = books.store.open_attempts().await.unwrap().remove(0);
    let tickets = ids[..3].iter().zip(costs(3)).map(|(id, cost)| minted(*id, cost, Some(open.signature)));
    books.settle(Some((open.id, AttemptState::Landed)), tickets.collect(), THEN_MS + 2_000).await;
    assert_eq!(sums(&file), before, "as if nothing had been");

    // A batch of four, one of which the chain is known to hold already.
    let held = address_of(&names("b", 4)[1], "w");
    let rules = SpendingRules { on_chain: HashSet::from([held]), ..Books::rules(1) };
    let ids = books.accept("w", "e", &names("b", 4), rules.clone(), later).await;
    assert_eq!(rules.estimate(3).0, 3 * PRICE);
    books.fail(ids[0], later + 1_000).await;
    let (_, signature) = books.attempt(&[ids[1]], later).await;
    let found = Published { name: "Concert".into(), uri: "ipfs://x".into() };
    let adopted = Verdict::Minted { signature: None, slot: None, adopted: Some(found) };
    let costs_nothing = TicketVerdict { paid: Lamports::ZERO, ..verdict(ids[1], PRICE, adopted) };
    books.settle(None, vec![costs_nothing], later + 2_000).await;
    assert_sums_equal_the_books(&file);
    assert_eq!(books.sums_of("w").await, (1, 1, FEE, 0), "what is found was not paid for, nor expected to be");
    let day = books.store.box_periods(0, Step::Day).await.unwrap().pop().unwrap();
    assert_eq!((day.adopted, day.due_ms), (1, 2_000));
    // Its transaction turns out to be one of these books.
    books.store.prove(vec![(ids[1], Proof::Found { signature, slot: 7 })], later + 9_000).await.unwrap();
    assert_sums_equal_the_books(&file);
    assert_eq!(books.sums_of("w").await, (1, 1, FEE + PRICE, PRICE));
    let day = books.store.box_periods(0, Step::Day).await.unwrap().pop().unwrap();
    assert_eq!((day.adopted, day.due_ms), (0, 4_000));

    // What is old goes, and what is needed stays.
    books.store.keep_house(later + DAY_MS + 2 * HOUR_MS).await.unwrap();
    let periods = async |step| books.store.box_periods(0, step).await.unwrap().len();
    assert_eq!((periods(Step::Minute).await, periods(Step::Hour).await, periods(Step::Day).await), (0, 2, 2));
    books.store.keep_house(later + 36 * DAY_MS).await.unwrap();
    assert_eq!((periods(Step::Hour).await, periods(Step::Day).await), (0, 2));
    books.store.keep_house(later + 400 * DAY_MS).await.unwrap();
    assert_eq!(periods(Step::Day).await, 1);
    assert_eq!(books.sums_of("v").await.0, 10);
}

/// The same books as version 10 of the schema had them.
fn as_of_version_10(from: &Path, to: &Path) {
    let old = Connection::open(to.join("boxoffice.db")).unwrap();
    for migration in [
        include_str!("../../migrations/0001_books.sql"),
        include_str!("../../migrations/0002_api.sql"),
        include_str!("../../migrations/0003_alerts.sql"),
        include_str!("../../migrations/0004_jobs.sql"),
        include_str!("../../migrations/0005_reconciliation.sql"),
        include_str!("../../migrations/0006_not_before.sql"),
        include_str!("../../migrations/0007_event_images.sql"),
        include_str!("../../migrations/0008_finality.sql"),
        include_str!("../../migrations/0009_fees_and_budgets.sql"),
        include_str!("../../migrations/0010_forecast.sql"),
    ] {
        old.execute_batch(migration).unwrap();
    }
    let texts = |sql: &str| {
        let mut statement = old.prepare(sql).unwrap();
        statement.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    let triggers = texts("SELECT sql FROM sqlite_schema WHERE type = 'trigger'");
    for name in texts("SELECT name FROM sqlite_schema WHERE type = 'trigger'") {
        old.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
    old.execute("ATTACH ? AS new", [from.join("boxoffice.db").display().to_string()]).unwrap();
    for table in texts("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'") {
        let columns = texts(&format!("SELECT name FROM pragma_table_info('{table}')")).join(", ");
        old.execute_batch(&format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM new.{table}")).unwrap();
    }
    for trigger in &triggers {
        old.execute_batch(trigger).unwrap();
    }
    old.execute_batch("DETACH new; PRAGMA user_version = 10").unwrap();
}

#[tokio::test]
async fn old_books_get_the_sums_that_counting_would_have_given_them() {
    let (new_folder, old_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut books = Books::open(new_folder.path());
    let (mut waiting, mut at_ms) = (Vec::new(), THEN_MS);
    for (venue, count) in [("v", 10), ("w", 8), ("v", 4)] {
        let (prefix, event) = (format!("{venue}{count}"), format!("event-{count}"));
        let mut ids = books.accept(venue, &event, &names(&prefix, count), Books::rules(3), at_ms).await;
        // Once more: every ticket is known.
        books.accept(venue, &event, &names(&prefix, count), Books::rules(3), at_ms + 5).await;
        waiting.push(ids.pop().unwrap());
        books.fail(ids.pop().unwrap(), at_ms + 1_500).await;
        let found = Published { name: "Concert".into(), uri: "ipfs://x".into() };
        let adopted = Verdict::Minted { signature: None, slot: None, adopted: Some(found) };
        let free = TicketVerdict { paid: Lamports::ZERO, ..verdict(ids.pop().unwrap(), PRICE, adopted) };
        books.settle(None, vec![free], at_ms + 1_700).await;
        books.mint(&ids, at_ms + 2_000).await;
        at_ms += 8 * HOUR_MS;
    }
    // A ticket that is brought again after it failed is charged to, and expected of, the batch that brought it last.
    let again = ["v10-8".to_owned(), "more".to_owned()];
    let ids = books.accept("v", "event-10", &again, Books::rules(3), at_ms).await;
    waiting.extend(&ids);
    as_of_version_10(new_folder.path(), old_folder.path());

    let old = Books { store: Store::open(old_folder.path()).unwrap(), last: books.last };
    let files = [new_folder.path(), old_folder.path()].map(|it| Connection::open(it.join("boxoffice.db")).unwrap());
    let without_failures_of_minutes = |file: &Connection| {
        // A failure that was tried again is known to the hours, and not to the tickets that minutes are made from.
        file.execute("UPDATE mint_minutes SET failed = 0, spent_lamports = 0", []).unwrap();
        file.execute("UPDATE box_periods SET failed = 0, spent_lamports = 0 WHERE step = 60", []).unwrap();
        let all = sums(file).into_iter();
        all.filter(|row| !row.ends_with(" 0 0 0 0 0")).collect::<Vec<_>>()
    };
    let [counted, made_up] = files.each_ref().map(without_failures_of_minutes);
    // Minutes are kept for 25 hours, and so are they made up for.
    assert_eq!(made_up, counted);
    assert!(counted.iter().any(|row| row.starts_with("box_periods")) && counted.len() > 20, "{counted:#?}");

    // What waits then, and what is minted once more, goes on as it would have.
    let mut both = [books, old];
    for books in &mut both {
        books.mint(&waiting, at_ms + 3_000).await;
        let queued = books.store.booked_tickets("w".into(), vec!["w8-0".into()]).await.unwrap().remove(0);
        let queue = Correction { mint_id: queued.id, seen: MintStatus::Minted, change: Change::Queue };
        assert_eq!(books.store.correct(vec![queue], at_ms + 3_500).await.unwrap(), 1);
        books.mint(&[queued.id], at_ms + 4_000).await;
    }
    let [counted, made_up] = files.each_ref().map(without_failures_of_minutes);
    assert_eq!(made_up, counted);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn how_long_an_upgrade_and_answers_take_with_a_million_tickets() {
    let (folder, old_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let store = Store::open(&data).unwrap();
    store.fill_with_samples(1_000_000, 300, SystemClock.now_ms()).await.unwrap();
    store.close().await;
    let (key_file, _) = wallet(folder.path(), SOL);
    let office = BoxOptions::new(folder.path(), &key_file).start().await;
    for path in [
        "/admin/trends?range=1h",
        "/admin/trends?range=24h",
        "/admin/trends?range=7d",
        "/admin/trends?range=365d",
        "/admin/trends?range=1h&venueId=venue-7",
        "/admin/trends?range=365d&venueId=venue-7",
        "/admin/venues",
        "/admin/venues?limit=500",
        "/admin/venues/venue-7/events",
        "/admin/venues/venue-7/events?limit=500",
        "/admin/anomalies",
    ] {
        let mut times = Vec::new();
        for _ in 0..100 {
            let began = std::time::Instant::now();
            assert_eq!(office.get(path).await.0, StatusCode::OK, "{path}");
            times.push(began.elapsed());
        }
        times.sort_unstable();
        println!("{path}: {:?} at the median, {:?} at most", times[50], times[99]);
    }
    office.finish().await;

    // The samples come in no batches; an old version's books do.
    let file = Connection::open(data.join("boxoffice.db")).unwrap();
    file.execute_batch(
        "INSERT INTO batches (public_id, venue_id, total, estimated_lamports, created_at, finished_at)
             SELECT 'batch ' || (id / 1000), venue_id, count(*), count(*) * 19649007, min(created_at), max(settled_at)
             FROM mints GROUP BY id / 1000;
         INSERT INTO batch_entries (batch_id, position, ticket_id, mint_id)
             SELECT b.id, m.id, m.ticket_id, m.id FROM mints m JOIN batches b ON b.public_id = 'batch ' || (m.id / 1000);",
    )
    .unwrap();
    drop(file);
    as_of_version_10(&data, old_folder.path());
    let began = std::time::Instant::now();
    drop(Store::open(old_folder.path()).unwrap());
    println!("upgraded in {:?}", began.elapsed());
}

/// An hour of all venues, as the books would have it.
fn write_hour(books: &Connection, hour: i64, minted: u64, failed: u64, spent: u64, due_ms: u64) {
    let sql = "INSERT OR REPLACE INTO box_periods (step, period, minted, failed, spent_lamports, due_ms, mint_ms)
               VALUES (3600, ?, ?, ?, ?, ?, ?)";
    books.execute(sql, (hour, minted, failed, spent, due_ms, due_ms)).unwrap();
}

#[tokio::test]
async fn thirty_days_say_what_is_usual() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let file = Connection::open(folder.path().join("boxoffice.db")).unwrap();
    let clock = Arc::new(ManualClock::new(THEN_MS));
    let anomalies = Anomalies::new(store.clone(), Arc::clone(&clock) as _);
    let said = async || {
        let checked = anomalies.check().await.unwrap();
        checked.judgements.into_iter().map(|judgement| judgement.verdict).collect::<Vec<_>>()
    };
    let (usual, unusual, unknown) = (Said::Usual, Said::Unusual, Said::Unknown);
    assert_eq!(said().await, [unknown; 3], "a quiet box");

    // Thirty days, with doors open from 17:00 to 23:00, of exactly the same.
    let now = THEN_MS / HOUR_MS;
    for day in 1..=30 {
        for hour in 17..23 {
            write_hour(&file, (now / 24 - day) * 24 + hour, 200, 1, 200 * PRICE + FEE, 200 * 3_000);
        }
    }
    assert_eq!(said().await, [usual; 3], "yesterday's last hour");
    for hour in 0..3 {
        // A little more of everything.
        write_hour(&file, now - hour, 300, 3, 300 * PRICE + 3 * FEE + 300 * 2_000, 300 * 3_500);
        assert_eq!(said().await, [usual; 3], "noise");
    }
    // A night of failures, in which the others become slow and dear.
    clock.set(THEN_MS + HOUR_MS);
    write_hour(&file, now + 1, 60, 40, 60 * 30_000_000, 60 * 40_000);
    let checked = anomalies.check().await.unwrap();
    let failures = &checked.judgements[0];
    assert_eq!(
        (failures.verdict, failures.value, failures.tickets, failures.hour),
        (unusual, Some(40.0), 100, Some(now + 1))
    );
    let explained = "40 of 100 tickets failed in the hour from 20:00 UTC (40.0 %); of the 30 days before it was 0.5 %, and at \
                     most ";
    assert!(failures.explanation.starts_with(explained), "{}", failures.explanation);
    assert_eq!(said().await, [unusual; 3]);
    // Books that are rebuilt meanwhile find tickets that cost nothing and take no time: those say nothing.
    file.execute(
        "UPDATE box_periods SET minted = minted + 5000, adopted = 5000 WHERE step = 3600 AND period = ?",
        [now + 1],
    )
    .unwrap();
    assert_eq!(said().await, [unusual; 3]);
    // It has come down, but hardly: what is close to the bound stays what it was, for a process that begins anew too.
    clock.set(THEN_MS + 2 * HOUR_MS);
    write_hour(&file, now + 2, 195, 5, 195 * PRICE, 195 * 3_000);
    assert_eq!(said().await, [unusual, usual, usual]);
    let another = Anomalies::new(store.clone(), Arc::clone(&clock) as _);
    assert_eq!(another.check().await.unwrap().judgements[0].verdict, usual);
    let alert = boxoffice::domain::alert::Alert::new(
        boxoffice::domain::alert::AlertKind::Anomaly,
        boxoffice::domain::alert::Severity::Warning,
        Some(Measure::FailureRate.as_str()),
        "so said an earlier process",
    );
    let origin = boxoffice::alerts::Origin { network: "n".into(), wallet: "w".into() };
    let registry = prometheus::Registry::new();
    let schedule = boxoffice::domain::alert::RetrySchedule::default();
    let alerts =
        boxoffice::alerts::Alerts::new(store.clone(), None, Arc::clone(&clock) as _, schedule, origin, &registry);
    alerts.unwrap().raise(alert).await;
    let heir = Anomalies::new(store.clone(), Arc::clone(&clock) as _);
    assert_eq!(heir.latest().await.unwrap().judgements[0].verdict, unusual);
    write_hour(&file, now + 2, 299, 1, 300 * PRICE, 299 * 3_000);
    assert_eq!(said().await, [usual; 3]);
    // A day without tickets later nothing is to be said.
    clock.set(THEN_MS + 27 * HOUR_MS);
    assert_eq!(said().await, [unknown; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unusual_is_told_once_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (key_file, _) = wallet(folder.path(), 100 * SOL);
    let mut config = BoxOptions::new(folder.path(), &key_file).config();
    config.alerts.watch_every = Duration::from_millis(50);
    let office = TestBox::start(config).await;
    let file = books_of(folder.path());
    file.busy_timeout(Duration::from_secs(5)).unwrap();
    let measure = async || {
        let (status, answer) = office.get("/admin/anomalies").await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["measures"][0].clone()
    };
    let alerts = async || {
        let (_, alerts) = office.get("/admin/alerts").await;
        let list = alerts["alerts"].as_array().unwrap().clone();
        list.into_iter().filter(|alert| alert["kind"] == "anomaly").collect::<Vec<_>>()
    };
    let quiet = measure().await;
    assert_eq!(
        (&quiet["measure"], &quiet["verdict"], &quiet["value"]),
        (&json!("failure_rate"), &json!("unknown"), &Value::Null)
    );

    let now = SystemClock.now_ms() / HOUR_MS;
    let write = |hour: i64, minted: u64, failed: u64| {
        write_hour(&file, hour, minted, failed, minted * PRICE, minted * 3_000);
    };
    (2..50).for_each(|ago| write(now - ago, 300, 1));
    until(async || measure().await["verdict"] == "usual").await;
    write(now - 1, 100, 100);
    until(async || alerts().await.len() == 1).await;
    let told = alerts().await.remove(0);
    assert_eq!((&told["subject"], &told["severity"]), (&json!("failure_rate"), &json!("warning")));
    assert!(told["summary"].as_str().unwrap().starts_with("100 of 200 tickets failed in the hour from "), "{told}");
    assert_eq!((&told["closedAt"], &told["details"]["value"]), (&Value::Null, &json!(50.0)));
    let judged = measure().await;
    assert_eq!(
        (&judged["verdict"], &judged["value"], &judged["unit"]),
        (&json!("unusual"), &json!(50.0), &json!("percent"))
    );
    // Seen again and again, it is the same incident.
    until(async || alerts().await[0]["timesSeen"].as_u64().unwrap() > 2).await;
    // The running hour is judged as soon as it has enough tickets, in whichever hour that is by now.
    write(now, 400, 1);
    write(now + 1, 400, 1);
    until(async || !alerts().await[0]["closedAt"].is_null()).await;
    assert_eq!(alerts().await.len(), 1);
    assert_eq!(measure().await["verdict"], "usual");
    let (_, answer) = office.get("/admin/anomalies").await;
    let cost = &answer["measures"][2];
    assert_eq!(
        (&cost["measure"], &cost["value"], &cost["unit"]),
        (&json!("cost_per_ticket"), &json!(PRICE), &json!("lamports"))
    );
    office.finish().await;
}
