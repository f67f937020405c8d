//! Several tickets in one transaction: where the network takes that, and where it does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use boxoffice::domain::{
    address::{Generation, mint_address},
    ids::{TicketId, VenueId},
};
use mpl_token_metadata::accounts::Metadata;
use serde_json::{Value, json};

use crate::support::{
    proxy::{Call, Fate, Proxy},
    *,
};

const FUNDS: u64 = 100 * SOL;

struct Day {
    _folder: tempfile::TempDir,
    proxy: Proxy,
    office: TestBox,
}

/// A box that reaches the chain only through a proxy.
async fn day(settings: &[(&'static str, &str)], rule: impl Fn(&Call) -> Fate + Send + Sync + 'static) -> Day {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), FUNDS);
    let proxy = Proxy::start(chain().rpc_url(), rule).await;
    let mut options = BoxOptions { rpc: proxy.url.clone(), ..BoxOptions::new(folder.path(), &wallet) };
    for (name, value) in settings {
        options = options.set(name, *value);
    }
    Day { office: options.start().await, proxy, _folder: folder }
}

/// What a `sendTransaction` sends is in the layout that takes several tickets.
fn sends_several(call: &Call) -> bool {
    const V1: u8 = 0x81;
    call.method == "sendTransaction" && STANDARD.decode(call.params[0].as_str().unwrap()).unwrap()[0] == V1
}

/// The transactions of minted tickets, and how many tickets each has.
fn transactions(result: &Value) -> BTreeMap<&str, usize> {
    let mut transactions = BTreeMap::new();
    for minted in result["successful"].as_array().unwrap() {
        *transactions.entry(minted["signature"].as_str().unwrap()).or_default() += 1;
    }
    transactions
}

async fn queue(office: &TestBox) -> Value {
    office.get("/admin/system/status").await.1["queue"].clone()
}

/// Calls per ticket are printed for those who want to know; `BOXOFFICE_TEST_TICKETS` says of how many.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
async fn several_tickets_ride_in_one_transaction() {
    let count = std::env::var("BOXOFFICE_TEST_TICKETS").map_or(301, |count| count.parse::<usize>().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), FUNDS);
    let proxy = Proxy::start(chain().rpc_url(), |_| Fate::Pass).await;
    let mut config = BoxOptions { rpc: proxy.url.clone(), ..BoxOptions::new(folder.path(), &wallet) }.config();
    // Polls as on a real network: how many calls there are must not hang on how busy this machine is.
    config.pacing.slot = Duration::from_millis(400);
    let office = TestBox::start(config).await;
    office.packs().await;
    let (_, estimate) = office.get(&format!("/admin/batch-mint/estimate?count={count}")).await;
    let (balance, calls) = (office.balance().await, proxy.calls());
    let result = office.mint("v", &tickets("t", count)).await;
    let calls = (proxy.calls() - calls) as f64 / count as f64;
    assert_eq!(result["summary"]["succeeded"], count, "{}", result["failed"]);
    let together = transactions(&result);
    assert_eq!(together.len(), count.div_ceil(3));
    assert!(together.values().all(|tickets| *tickets <= 3));
    println!("{count} tickets: {calls:.3} RPC calls per ticket");
    assert!(calls <= 0.6, "{calls} RPC calls per ticket");

    let spent = balance - office.balance().await;
    let costs = result["successful"].as_array().unwrap().iter();
    assert_eq!(costs.map(|minted| minted["costLamports"].as_u64().unwrap()).sum::<u64>(), spent);
    for found in
        [&result["summary"]["spentLamports"], &result["summary"]["estimatedLamports"], &estimate["estimatedLamports"]]
    {
        assert_eq!(*found, spent);
    }
    let parts = &estimate["breakdown"];
    assert_eq!(parts["signatureFeeLamports"], 5_000 * count.div_ceil(3));
    assert!(parts["perTicketLamports"].as_u64().unwrap() * count as u64 > spent, "that of a ticket by itself");
    let queue = queue(&office).await;
    assert_eq!((&queue["ticketsPerTransaction"], &queue["layout"]), (&json!(3), &json!("v1")));
    let metrics = office.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("boxoffice_tickets_per_transaction 3"), "{metrics}");

    // One ticket is not held back until others come.
    let single = office.mint("v", &tickets("single", 1)).await;
    assert_eq!(single["summary"]["succeeded"], 1);
    let (_, report) = office.post("/admin/reconcile/v", &json!({})).await;
    assert_eq!(report["confirmed"], count + 1, "{report}");
    assert_eq!((&report["errors"], &report["unknownToBooks"]), (&json!(0), &json!([])), "{report}");
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_network_takes_no_such_transaction_each_ticket_has_its_own() {
    let refusal = |call: &Call| match call.method.as_str() {
        "simulateTransaction" => Fate::Altered(|_| {
            let error = json!({ "code": -32_602, "message": "failed to deserialize the transaction" });
            json!({ "jsonrpc": "2.0", "id": 1, "error": error })
        }),
        _ => Fate::Pass,
    };
    let unsupported = |call: &Call| match call.method.as_str() {
        "simulateTransaction" => {
            Fate::Swallowed(json!({ "context": { "slot": 1 }, "value": { "err": "UnsupportedVersion", "logs": null } }))
        }
        _ => Fate::Pass,
    };
    // Not a word about it: nothing is assumed, and nothing waits.
    let silence = |call: &Call| if call.method == "simulateTransaction" { Fate::Lost } else { Fate::Pass };
    let days = [day(&[], refusal).await, day(&[], unsupported).await, day(&[], silence).await];
    for Day { proxy, office, _folder } in days {
        until(async || proxy.count("simulateTransaction") > 0).await;
        mint_apart(&office).await;
        office.finish().await;
    }
    let Day { proxy, office, _folder } = day(&[("PACKING", "off")], |_| Fate::Pass).await;
    mint_apart(&office).await;
    // Of layouts nothing is asked; one ticket is tried out, to learn what it needs of the chain's time.
    assert_eq!(proxy.count("simulateTransaction"), 1);
    office.finish().await;
}

async fn mint_apart(office: &TestBox) {
    let before = office.balance().await;
    let result = office.mint("v", &tickets("t", 10)).await;
    assert_eq!(transactions(&result).len(), 10, "{result}");
    assert_eq!(result["summary"]["estimatedLamports"], before - office.balance().await);
    let queue = queue(office).await;
    assert_eq!((&queue["ticketsPerTransaction"], &queue["layout"]), (&json!(1), &json!("legacy")));
}

/// Two tickets cost 0.039 SOL, three 0.059.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_never_costs_more_than_is_allowed() {
    let Day { office, _folder, .. } = day(&[("TX_LIMIT_SOL", "0.05")], |_| Fate::Pass).await;
    office.packs().await;
    let before = office.balance().await;
    let result = office.mint("v", &tickets("t", 11)).await;
    let together = transactions(&result);
    assert_eq!((together.len(), together.values().copied().max()), (6, Some(2)), "{result}");
    assert_eq!(result["summary"]["estimatedLamports"], before - office.balance().await);
    assert_eq!(queue(&office).await["ticketsPerTransaction"], 2);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_ticket_fails_alone() {
    let Day { proxy, office, _folder } = day(&[], |_| Fate::Pass).await;
    office.packs().await;
    // Where the metadata of the second ticket belongs, something else lives.
    let (venue, bad) = (VenueId::new("v").unwrap(), TicketId::new("t-1").unwrap());
    let metadata = Metadata::find_pda(&mint_address(&office.app.authority, &venue, &bad, Generation(0))).0;
    let foreign =
        json!({ "lamports": 10_000_000, "data": "00", "owner": "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr" });
    rpc_call(chain().rpc_url(), "surfnet_setAccount", json!([metadata.to_string(), foreign])).await;
    let before = office.balance().await;
    let result = office.mint("v", &tickets("t", 9)).await;
    assert_eq!(result["summary"]["succeeded"], 8, "{result}");
    let failed = &result["failed"][0];
    assert_eq!((&failed["ticketId"], &failed["code"]), (&json!("t-1"), &json!("rejected_by_chain")), "{failed}");
    // Its neighbours were tried apart, and the others rode together.
    let apart = transactions(&result);
    assert_eq!(apart.values().copied().collect::<BTreeSet<_>>(), BTreeSet::from([1, 3]));
    assert_eq!(apart.len(), 4);
    let (_, page) = office.get("/admin/mints?limit=50").await;
    let mints = page["mints"].as_array().unwrap();
    let cost = |mint: &Value| mint["costLamports"].as_u64().unwrap();
    assert_eq!(
        mints.iter().map(cost).sum::<u64>(),
        before - office.balance().await,
        "the bill is what the wallet lost"
    );
    let bad = mints.iter().find(|mint| mint["ticketId"] == "t-1").unwrap();
    assert_eq!(cost(bad), 5_000 + 5_000 / 3, "its own fee, and its part of the one that was shared");
    assert!(proxy.count("sendTransaction") >= 3 + 3);
    office.finish().await;
}

/// The node says yes, and leaders drop every such transaction without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_does_not_keep_its_promise_is_found_out() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&dropped);
    let day = day(&[], move |call| {
        if sends_several(call) {
            seen.fetch_add(1, Ordering::SeqCst);
            return Fate::Swallowed(json!("taken"));
        }
        Fate::Pass
    });
    let Day { office, _folder, .. } = day.await;
    office.packs().await;
    let before = office.balance().await;
    let result = office.mint("v", &tickets("t", 24)).await;
    assert_eq!(result["summary"]["succeeded"], 24, "{result}");
    assert!(dropped.load(Ordering::SeqCst) >= 8);
    let apart = transactions(&result).len();
    assert_eq!(apart, 24, "each got a transaction of its own in the end");
    assert_eq!(result["summary"]["spentLamports"], before - office.balance().await);
    let queue = queue(&office).await;
    assert_eq!((&queue["ticketsPerTransaction"], &queue["layout"]), (&json!(1), &json!("legacy")));
    assert_eq!(nfts_of(chain().rpc_url(), &office.app.authority).await, 24);
    office.finish().await;
}
