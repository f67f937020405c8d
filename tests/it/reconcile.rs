//! Books and chain compared: every difference found, none invented, and repaired without ever a second NFT.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use boxoffice::{
    chain::ticket::addresses_to_inspect,
    domain::{
        address::{Generation, mint_address},
        ids::{TicketId, VenueId},
        ticket::Ticket,
    },
};
use reqwest::StatusCode;
use rusqlite::Connection;
use serde_json::{Value, json};
use solana_pubkey::Pubkey;

use crate::support::{
    proxy::{Fate, Proxy},
    *,
};

const VENUE: &str = "venue-123";

/// What becomes of a call, by its method.
type Lie = Box<dyn Fn(&str) -> Fate + Send + Sync>;

fn address(office: &TestBox, ticket: &str) -> Pubkey {
    let (venue, id) = (VenueId::new(VENUE).unwrap(), TicketId::new(ticket).unwrap());
    mint_address(&office.app.authority, &venue, &id, Generation(0))
}

/// Mint, metadata and token account of a ticket that the wallet holds.
fn accounts(office: &TestBox, ticket: &str) -> [Pubkey; 3] {
    addresses_to_inspect(address(office, ticket), &office.app.authority)
}

/// Changes the bytes of an account on the chain, as no program would.
async fn alter(address: Pubkey, change: impl FnOnce(&mut Vec<u8>, &mut Value)) {
    let rpc = chain().rpc_url();
    let info = rpc_call(
        rpc,
        "getAccountInfo",
        json!([address.to_string(), { "encoding": "base64", "commitment": "confirmed" }]),
    )
    .await;
    let mut data = STANDARD.decode(info["value"]["data"][0].as_str().unwrap()).unwrap();
    let mut fields = json!({ "lamports": info["value"]["lamports"], "owner": info["value"]["owner"] });
    change(&mut data, &mut fields);
    fields["data"] = json!(data.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")));
    rpc_call(rpc, "surfnet_setAccount", json!([address.to_string(), fields])).await;
}

async fn remove(address: Pubkey) {
    // An empty account without money is none.
    let fields = json!({ "lamports": 0, "owner": "11111111111111111111111111111111", "data": "" });
    rpc_call(chain().rpc_url(), "surfnet_setAccount", json!([address.to_string(), fields])).await;
}

/// Where a text begins in an account's data.
fn position(data: &[u8], text: &str) -> usize {
    data.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
}

fn books(office: &TestBox) -> Connection {
    let connection = Connection::open(office.app.config.data_dir.join("boxoffice.db")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    connection.pragma_update(None, "foreign_keys", false).unwrap();
    connection
}

fn content(office: &TestBox) -> Connection {
    let connection = Connection::open(office.app.config.data_dir.join("content.db")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    connection
}

async fn reconcile(office: &TestBox) -> Value {
    let (status, summary) = office.post(&format!("/admin/reconcile/{VENUE}"), &json!({})).await;
    assert_eq!(status, StatusCode::OK, "{summary}");
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(
        count("totalChecked"),
        count("confirmed") + count("notFound") + count("pending") + count("errors"),
        "{summary}"
    );
    summary
}

async fn fix(office: &TestBox, query: &str) -> Value {
    let (status, repair) = office.post(&format!("/admin/reconcile/{VENUE}/fix{query}"), &json!({})).await;
    assert_eq!(status, StatusCode::OK, "{repair}");
    repair
}

async fn settled(office: &TestBox) {
    until(async || {
        let queue = office.get("/admin/system/status").await.1["queue"].clone();
        queue["pending"] == 0 && queue["minting"] == 0
    })
    .await;
}

/// Kinds of differences by ticket.
fn kinds(summary: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut kinds: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for found in summary["discrepancies"].as_array().unwrap() {
        let ticket = found["ticketId"].as_str().unwrap().to_owned();
        kinds.entry(ticket).or_default().insert(found["kind"].as_str().unwrap().to_owned());
        assert!(!found["explanation"].as_str().unwrap().is_empty());
    }
    kinds
}

/// What is wrong with each ticket, and what repair must say of it.
struct Seeded {
    kinds: BTreeMap<String, BTreeSet<String>>,
    /// Tickets that repair brings in order.
    repairable: BTreeSet<String>,
    news: BTreeSet<String>,
    strangers: usize,
}

/// Seeds differences of every kind, `each` of every kind, in tickets `t-0` and up.
#[expect(clippy::too_many_lines, reason = "a list of everything that can be wrong")]
async fn seed(office: &TestBox, count: usize, each: usize) -> Seeded {
    // In order itself, and never changed.
    let donor = format!("t-{}", count - 1);
    let mut seeded =
        Seeded { kinds: BTreeMap::new(), repairable: BTreeSet::new(), news: BTreeSet::new(), strangers: 0 };
    let mut next = 0..;
    let mut take = |count: usize| -> Vec<String> { next.by_ref().take(count).map(|n| format!("t-{n}")).collect() };
    let (books, content) = (books(office), content(office));
    let uri = |ticket: &str| -> String {
        books.query_row("SELECT metadata_uri FROM mints WHERE ticket_id = ?", [ticket], |row| row.get(0)).unwrap()
    };
    let row = |sql: &str, ticket: &str| {
        assert_eq!(books.execute(sql, [ticket]).unwrap(), 1, "{sql}");
    };
    let mut expect = |ticket: &str, kind: &str, repairable: bool| {
        seeded.kinds.entry(ticket.to_owned()).or_default().insert(kind.to_owned());
        if repairable {
            seeded.repairable.insert(ticket.to_owned());
        }
    };

    // On the chain.
    for ticket in take(each) {
        remove(accounts(office, &ticket)[0]).await;
        expect(&ticket, "mint_missing", false);
    }
    for ticket in take(each) {
        alter(accounts(office, &ticket)[0], |data, _| data[36] = 2).await;
        expect(&ticket, "wrong_supply", false);
    }
    for ticket in take(each) {
        alter(accounts(office, &ticket)[0], |_, fields| {
            fields["owner"] = json!("Stake11111111111111111111111111111111111111");
        })
        .await;
        expect(&ticket, "mint_foreign", false);
    }
    for ticket in take(each) {
        remove(accounts(office, &ticket)[1]).await;
        expect(&ticket, "metadata_missing", false);
    }
    for ticket in take(each) {
        alter(accounts(office, &ticket)[1], |data, _| {
            let at = position(data, "Concert");
            data[at] = b'X';
        })
        .await;
        expect(&ticket, "wrong_name", false);
    }
    for ticket in take(each) {
        alter(accounts(office, &ticket)[1], |data, _| {
            let at = position(data, "TKT");
            data[at] = b'X';
        })
        .await;
        expect(&ticket, "wrong_symbol", false);
    }
    for ticket in take(each) {
        alter(accounts(office, &ticket)[1], |data, _| data[1] ^= 1).await;
        expect(&ticket, "wrong_authority", false);
    }
    for ticket in take(each) {
        let wallet = office.app.authority.to_bytes();
        alter(accounts(office, &ticket)[1], |data, _| {
            // The creator stands behind the fields; the byte after its address says that it has signed.
            let at = data.windows(32).rposition(|window| window == wallet).unwrap();
            data[at + 32] = 0;
        })
        .await;
        expect(&ticket, "wrong_creator", false);
    }
    for ticket in take(each) {
        alter(accounts(office, &ticket)[2], |data, _| data[64] = 0).await;
        seeded.news.insert(ticket);
    }
    for ticket in take(each) {
        alter(accounts(office, &ticket)[0], |data, _| data[36] = 0).await;
        seeded.news.insert(ticket);
    }

    // In the books.
    let mut expect = |ticket: &str, kind: &str, repairable: bool| {
        seeded.kinds.entry(ticket.to_owned()).or_default().insert(kind.to_owned());
        if repairable {
            seeded.repairable.insert(ticket.to_owned());
        }
    };
    for (number, ticket) in take(each).into_iter().enumerate() {
        let forged = solana_signature::Signature::from([u8::try_from(number % 250).unwrap() + 1; 64]).to_string();
        books.execute("UPDATE mints SET signature = ? WHERE ticket_id = ?", [&forged, &ticket]).unwrap();
        expect(&ticket, "wrong_signature", true);
    }
    for ticket in take(each) {
        row("UPDATE mints SET slot = slot - 1 WHERE ticket_id = ?", &ticket);
        expect(&ticket, "wrong_slot", true);
    }
    for ticket in take(each) {
        row(
            "UPDATE mints SET status = 'failed', error_code = 'never_landed', signature = NULL, slot = NULL WHERE ticket_id = ?",
            &ticket,
        );
        expect(&ticket, "minted_all_the_same", true);
    }
    for ticket in take(each) {
        row("UPDATE mints SET name = 'Other' WHERE ticket_id = ?", &ticket);
        expect(&ticket, "wrong_name", true);
    }
    for ticket in take(each) {
        row("UPDATE mints SET mint_address = '11111111111111111111111111111111' WHERE ticket_id = ?", &ticket);
        expect(&ticket, "wrong_address", true);
    }
    for ticket in take(each) {
        row("UPDATE mints SET ticket = replace(ticket, 'VIP', 'Standing') WHERE ticket_id = ?", &ticket);
        expect(&ticket, "ticket_altered", false);
    }
    for ticket in take(each) {
        row(
            "UPDATE mints SET created_at = created_at - 90000000, settled_at = settled_at - 86400000 WHERE ticket_id = ?",
            &ticket,
        );
        expect(&ticket, "wrong_time", false);
    }
    for ticket in take(each) {
        let cid = uri(&ticket).trim_start_matches("ipfs://").to_owned();
        content.execute("DELETE FROM content WHERE cid = ?", [cid]).unwrap();
        expect(&ticket, "content_missing", true);
    }
    for ticket in take(each) {
        let cid = uri(&ticket).trim_start_matches("ipfs://").to_owned();
        content.execute("UPDATE content SET bytes = x'7b7d' WHERE cid = ?", [cid]).unwrap();
        expect(&ticket, "content_altered", true);
    }
    for ticket in take(each) {
        books.execute("UPDATE mints SET metadata_uri = ? WHERE ticket_id = ?", [uri(&donor), ticket.clone()]).unwrap();
        expect(&ticket, "wrong_uri", true);
    }
    for ticket in take(each) {
        row("DELETE FROM mints WHERE ticket_id = ?", &ticket);
        seeded.strangers += 1;
    }
    // Tickets that never were.
    for ticket in 0..each {
        let ticket = format!("ghost-{ticket}");
        let forged = solana_signature::Signature::from([99; 64]).to_string();
        let lives = address(office, &ticket).to_string();
        let sold: String =
            books.query_row("SELECT ticket FROM mints WHERE ticket_id = ?", [&donor], |row| row.get(0)).unwrap();
        let mut sold: Ticket = serde_json::from_str(&sold).unwrap();
        sold.id.clone_from(&ticket);
        books
            .execute(
                "INSERT INTO mints (venue_id, ticket_id, event_id, ticket, content_digest, mint_address, status, name,
                                    metadata_uri, signature, slot, created_at, settled_at)
                 SELECT venue_id, ?1, event_id, ?2, ?3, ?4, 'minted', name, metadata_uri, ?5, slot, created_at, settled_at
                 FROM mints WHERE ticket_id = ?6",
                rusqlite::params![ticket, sold.canonical_json(), sold.content_digest(), lives, forged, donor],
            )
            .unwrap();
        let mut expect = |kind: &str| {
            seeded.kinds.entry(ticket.clone()).or_default().insert(kind.to_owned());
        };
        expect("not_on_chain");
        seeded.repairable.insert(ticket);
    }
    seeded
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_of_every_kind_are_found_and_none_is_invented() {
    let folder = tempfile::tempdir().unwrap();
    let count: usize = std::env::var("RECONCILE_TICKETS").map_or(400, |count| count.parse().unwrap());
    let each = (count / 40).min(20);
    let (wallet, authority) = wallet(folder.path(), count as u64 * SOL / 20);
    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    for batch in tickets("t", count).chunks(10_000) {
        office.mint(VENUE, batch).await;
    }
    let clean = reconcile(&office).await;
    assert_eq!((&clean["confirmed"], &clean["discrepancies"]), (&json!(count), &json!([])), "{clean}");
    assert_eq!(clean["unknownToBooks"], json!([]));

    // What can still be taken back is looked at by the engine, too.
    until(async || office.app.store.count_unproven().await.unwrap() == 0).await;
    let seeded = seed(&office, count, each).await;
    let calls = |office: &TestBox| office.app.chain.calls().values().sum::<u64>();
    let before = calls(&office);
    let summary = reconcile(&office).await;
    let used = calls(&office) - before;
    println!(
        "{count} tickets: {used} RPC calls, {} s, {} differences",
        summary["durationSeconds"], summary["discrepancyCount"]
    );
    assert!(used <= 50 + count as u64 / 25, "{used} calls");
    assert_eq!(kinds(&summary), seeded.kinds);
    assert_eq!(summary["pending"], 0, "{}", summary["reasons"]);
    assert_eq!(summary["notFound"], each);
    assert_eq!(summary["unknownToBooks"].as_array().unwrap().len(), seeded.strangers.min(200));
    let news: BTreeSet<String> =
        summary["news"].as_array().unwrap().iter().map(|note| note["ticketId"].as_str().unwrap().to_owned()).collect();
    // A mint that is gone or something else has no holder to speak of.
    assert_eq!(news, seeded.news);

    // A dry run changes nothing.
    let plan = fix(&office, "?dryRun=true").await;
    assert_eq!((&plan["adopted"], &plan["queued"]), (&json!(each), &json!(each)));
    assert_eq!(kinds(&reconcile(&office).await), seeded.kinds);

    let nfts = nfts_of(chain().rpc_url(), &authority).await;
    let repair = fix(&office, "").await;
    assert_eq!(
        (&repair["adopted"], &repair["queued"], &repair["published"]),
        (&json!(each), &json!(each), &json!(2 * each))
    );
    settled(&office).await;
    let left = kinds(&reconcile(&office).await);
    let unrepairable: BTreeMap<_, _> =
        seeded.kinds.into_iter().filter(|(ticket, _)| !seeded.repairable.contains(ticket)).collect();
    assert_eq!(left, unrepairable);
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, nfts + each, "only what never was is minted");

    // Again, it finds nothing to do.
    let again = fix(&office, "").await;
    for name in ["adopted", "corrected", "queued", "published"] {
        assert_eq!(again[name], 0, "{name}: {again}");
    }
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, nfts + each);

    let (_, history) = office.get(&format!("/admin/reconcile/{VENUE}/history?details=true")).await;
    assert_eq!(history["reports"].as_array().unwrap().len(), 4);
    assert_eq!(history["reports"][3]["report"]["confirmed"], count);
    let csv = office.request(reqwest::Method::GET, &format!("/admin/reconcile/{VENUE}/history?format=csv"));
    let csv = csv.send().await.unwrap().text().await.unwrap();
    assert_eq!(csv.lines().count(), 5);
    assert!(
        csv.starts_with("id,venue_id,report_date,total_checked,confirmed,not_found,pending,errors,discrepancy_count,")
    );
    office.abandon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_lies_makes_tickets_pending_never_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, authority) = wallet(folder.path(), 10 * SOL);
    let proxy = Proxy::start(chain().rpc_url(), |_call| Fate::Pass).await;
    let mut options = BoxOptions::new(folder.path(), &wallet);
    options.rpc = proxy.url.clone();
    let office = options.start().await;
    office.mint(VENUE, &tickets("t", 30)).await;
    // Final, so that the engine does not itself follow what the endpoint is about to lie about.
    let unproven = async || {
        let count = "SELECT count(*) FROM unproven_mints";
        books(&office).query_row(count, [], |row| row.get::<_, u64>(0)).unwrap()
    };
    until(async || unproven().await == 0).await;

    let nothing: fn(Value) -> Value = |mut answer| {
        for entry in answer["result"]["value"].as_array_mut().into_iter().flatten() {
            *entry = Value::Null;
        }
        answer
    };
    let behind: fn(Value) -> Value = |mut answer| {
        answer["result"]["context"]["slot"] = json!(1);
        answer
    };
    let reversed: fn(Value) -> Value = |mut answer| {
        if let Some(entries) = answer["result"]["value"].as_array_mut() {
            entries.reverse();
        }
        answer
    };
    // Dropped, broken off, null for everything, an endpoint without history, one that is behind, one that mixes up what it says.
    let lies: [(&str, Lie); 7] = [
        ("lost", Box::new(|method| if method == "getMultipleAccounts" { Fate::Lost } else { Fate::Pass })),
        ("cut", Box::new(|method| if method == "getMultipleAccounts" { Fate::Cut } else { Fate::Pass })),
        ("cut later", Box::new(|method| if method == "getSignatureStatuses" { Fate::Cut } else { Fate::Pass })),
        (
            "null",
            Box::new(move |method| match method {
                "getMultipleAccounts" | "getSignatureStatuses" => Fate::Altered(nothing),
                _ => Fate::Pass,
            }),
        ),
        (
            "forgotten",
            Box::new(move |method| match method {
                "getSignatureStatuses" => Fate::Altered(nothing),
                _ => Fate::Pass,
            }),
        ),
        (
            "mixed up",
            Box::new(move |method| match method {
                "getMultipleAccounts" | "getSignatureStatuses" => Fate::Altered(reversed),
                _ => Fate::Pass,
            }),
        ),
        (
            "behind",
            Box::new(move |method| match method {
                "getMultipleAccounts" => Fate::Altered(behind),
                _ => Fate::Pass,
            }),
        ),
    ];
    for (name, lie) in lies {
        proxy.set(move |call| lie(&call.method));
        let summary = reconcile(&office).await;
        assert_eq!((&summary["pending"], &summary["notFound"]), (&json!(30), &json!(0)), "{name}: {summary}");
        assert_eq!(summary["discrepancies"], json!([]), "{name}");
        assert_eq!(summary["reasons"].as_array().unwrap().len(), 30, "{name}");
        let repair = fix(&office, "").await;
        assert_eq!((&repair["queued"], &repair["adopted"]), (&json!(0), &json!(0)), "{name}: {repair}");
        assert_eq!(repair["refused"].as_array().unwrap().len(), 30, "{name}");
    }
    // Null for accounts alone: their transactions worked, so a difference is told of, and nothing is done about it.
    proxy.set(move |call| if call.method == "getMultipleAccounts" { Fate::Altered(nothing) } else { Fate::Pass });
    let summary = reconcile(&office).await;
    assert_eq!(summary["notFound"], 0, "{summary}");
    assert_eq!(fix(&office, "").await["queued"], 0);
    proxy.set(|_call| Fate::Pass);
    let summary = reconcile(&office).await;
    assert_eq!((&summary["confirmed"], &summary["unknownToBooks"]), (&json!(30), &json!([])), "{summary}");
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, 30);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_out_of_order_change_nothing_and_those_that_are_too_late_prove_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, authority) = wallet(folder.path(), 10 * SOL);
    let proxy = Proxy::start(chain().rpc_url(), |_call| Fate::Pass).await;
    let mut options = BoxOptions::new(folder.path(), &wallet);
    options.rpc = proxy.url.clone();
    let office = options.start().await;
    // Their accounts take three calls, which are under way at the same time.
    office.mint(VENUE, &tickets("t", 100)).await;

    let first = proxy.count("getMultipleAccounts");
    proxy.set(move |call| match call.method.as_str() {
        "getMultipleAccounts" if call.nth == first => Fate::Delayed(Duration::from_millis(500)),
        _ => Fate::Pass,
    });
    let summary = reconcile(&office).await;
    assert_eq!((&summary["confirmed"], &summary["discrepancies"]), (&json!(100), &json!([])), "{summary}");
    let order = proxy.answered("getMultipleAccounts", first);
    assert!(order.len() >= 3 && order.iter().position(|nth| *nth == first).unwrap() >= 2, "out of order: {order:?}");

    // Longer than the client waits. What arrives in the end is heard by nobody.
    let late = Duration::from_secs(20);
    proxy.set(move |call| if call.method == "getSignatureStatuses" { Fate::Delayed(late) } else { Fate::Pass });
    let summary = reconcile(&office).await;
    assert_eq!((&summary["pending"], &summary["discrepancies"]), (&json!(100), &json!([])), "{summary}");
    let reason = summary["reasons"][0]["text"].as_str().unwrap();
    assert!(reason.contains("timed out") && reason.contains("SOLANA_RPC_URLS"), "{reason}");
    let repair = fix(&office, "").await;
    assert_eq!((&repair["queued"], &repair["adopted"]), (&json!(0), &json!(0)), "{repair}");
    assert_eq!(repair["refused"].as_array().unwrap().len(), 100, "{repair}");

    proxy.set(|_call| Fate::Pass);
    assert_eq!(reconcile(&office).await["confirmed"], 100);
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, 100);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nightly_rule_repairs_by_itself_only_where_little_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 10 * SOL);
    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    office.mint(VENUE, &tickets("t", 50)).await;
    office.mint("other", &tickets("u", 10)).await;
    let books = books(&office);
    let fail = |ticket: &str| {
        let sql = "UPDATE mints SET status = 'failed', error_code = 'never_landed' WHERE ticket_id = ?";
        assert_eq!(books.execute(sql, [ticket]).unwrap(), 1);
    };
    // 2 of 50 are 4 %, 1 of 10 is 10 %.
    fail("t-1");
    fail("t-2");
    fail("u-1");
    let nightly = office.app.reconciler.nightly().await.unwrap();
    let by_venue: BTreeMap<_, _> = nightly
        .iter()
        .map(|night| (night.summary.venue_id.as_str(), night.repair.as_ref().map(|r| r.adopted)))
        .collect();
    assert_eq!(by_venue, BTreeMap::from([("other", None), (VENUE, Some(2))]));
    settled(&office).await;
    assert_eq!(office.get("/admin/mints/t-1").await.1["status"], "minted");
    assert_eq!(office.get("/admin/mints/t-1").await.1["adopted"], true);
    assert_eq!(office.get("/admin/mints/u-1").await.1["status"], "failed");
    assert_eq!(office.post("/admin/reconcile/nowhere", &json!({})).await.0, StatusCode::NOT_FOUND);
    let shown = async |office: &TestBox, wanted: &[&str]| {
        let metrics = office.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        for line in wanted {
            assert!(metrics.lines().any(|found| found == *line), "{line} is not in:\n{metrics}");
        }
    };
    let sums = [
        "minting_reconciliation_discrepancies 3",
        "boxoffice_reconciliation_discrepancies{venue=\"venue-123\"} 2",
        "boxoffice_reconciliation_discrepancies{venue=\"other\"} 1",
    ];
    shown(&office, &sums).await;
    shown(&office, &["minting_reconciliation_fixed 2"]).await;
    office.finish().await;

    // The next process shows the same, until the next comparison.
    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    shown(&office, &sums).await;
    assert_eq!(reconcile(&office).await["discrepancyCount"], 0);
    shown(&office, &["minting_reconciliation_discrepancies 1"]).await;
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_compares_and_repairs() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    office.mint(VENUE, &tickets("t", 10)).await;
    books(&office)
        .execute("UPDATE mints SET status = 'failed', error_code = 'never_landed' WHERE ticket_id = 't-3'", [])
        .unwrap();
    office.finish().await;
    let environment = [
        ("NETWORK", "localnet"),
        ("WALLET_PATH", "wallet.json"),
        ("DATA_DIR", "data"),
        ("SOLANA_RPC_URLS", chain().rpc_url().as_str()),
    ];
    let reconcile = |more: &[&str]| run(folder.path(), &[&["reconcile", VENUE], more].concat(), &environment);
    let found = reconcile(&[]);
    assert_eq!(found.status.code(), Some(3), "{}", stderr(&found));
    assert!(stdout(&found).contains("10 tickets of venue-123: 9 confirmed, 0 not found, 0 pending, 1 with errors."));
    assert!(stdout(&found).contains("t-3: minted_all_the_same: "), "{}", stdout(&found));
    let plan = reconcile(&["--fix", "--dry-run"]);
    assert!(stdout(&plan).contains("would be 1 adopted"), "{}", stdout(&plan));
    let fixed = reconcile(&["--fix"]);
    assert!(fixed.status.success(), "{}", stderr(&fixed));
    let clean: Value = serde_json::from_str(&stdout(&reconcile(&["--json"]))).unwrap();
    assert_eq!(clean["confirmed"], 10);
    assert_fails(&run(folder.path(), &["reconcile", "nowhere"], &environment), 1, &["no ticket of the venue nowhere"]);
}
