//! Fee payers: who pays, how much, what is left, and how money gets to them and back, on the embedded chain.

use std::{
    path::Path,
    process::{Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use boxoffice::{
    chain::{Chain as _, wallet::Wallet},
    domain::{lamports::Lamports, mint::MintStatus},
};
use serde_json::{Value, json};
use solana_pubkey::Pubkey;
use solana_transaction::versioned::VersionedTransaction;

use crate::support::{
    proxy::{Fate, Proxy},
    *,
};

fn payers(key: &Path, count: usize) -> Vec<Pubkey> {
    Wallet::load(key).unwrap().with_payers(count).unwrap().payers()
}

async fn holds(address: &Pubkey) -> u64 {
    let params = json!([address.to_string(), { "commitment": "confirmed" }]);
    rpc_call(chain().rpc_url(), "getBalance", params).await["value"].as_u64().unwrap()
}

async fn all_hold(addresses: &[Pubkey]) -> Vec<u64> {
    let mut all = Vec::new();
    for address in addresses {
        all.push(holds(address).await);
    }
    all
}

async fn price(office: &TestBox) -> u64 {
    office.app.prices.ticket().await.unwrap().total().0
}

/// A transaction as the chain has it.
async fn landed(signature: &Value) -> VersionedTransaction {
    let how = json!({ "encoding": "base64", "commitment": "confirmed", "maxSupportedTransactionVersion": 0 });
    let found = rpc_call(chain().rpc_url(), "getTransaction", json!([signature, how])).await;
    let bytes = STANDARD.decode(found["transaction"][0].as_str().unwrap()).unwrap();
    wincode::deserialize(&bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn payers_take_turns_and_the_authority_neither_pays_nor_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let (key, authority) = wallet(folder.path(), SOL);
    let payers = payers(&key, 4);
    for payer in &payers {
        fund(chain(), payer, SOL);
    }
    let office = BoxOptions::new(folder.path(), &key).set("FEE_PAYERS", "4").set("PACKING", "off").start().await;
    let (_, estimate) = office.get("/admin/batch-mint/estimate?count=40").await;
    let batch = office.mint("venue", &tickets("t", 40)).await;
    assert_eq!(batch["summary"]["succeeded"], 40, "{batch}");

    // To the lamport, and two signatures each.
    assert_eq!(estimate["breakdown"]["signatureFeeLamports"], 40 * 10_000);
    assert_eq!(estimate["estimatedLamports"], batch["summary"]["spentLamports"]);
    let price = price(&office).await;
    assert_eq!(all_hold(&payers).await, [SOL - 10 * price; 4], "each paid for ten");
    assert_eq!(holds(&authority).await, SOL, "the wallet itself pays nothing");
    for minted in batch["successful"].as_array().unwrap() {
        let transaction = landed(&minted["signature"]).await;
        let header = transaction.message.header();
        assert_eq!((header.num_required_signatures, header.num_readonly_signed_accounts), (2, 1));
        assert_eq!(transaction.message.static_account_keys()[1], authority);
    }
    // The same addresses as without payers, and the books are true.
    let (_, found) = office.get("/admin/mints/t-7").await;
    let address = ["address", "--venue", "venue", "--authority", &authority.to_string(), "t-7"];
    assert_eq!(stdout(&run(folder.path(), &address, &[])).trim(), found["mintAddress"].as_str().unwrap());
    let (_, report) = office.post("/admin/reconcile/venue", &json!({})).await;
    assert_eq!((&report["confirmed"], &report["errors"]), (&json!(40), &json!(0)), "{report}");
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, 40);
    office.finish().await;

    // The books are lost. The chain lists what was minted under the authority, which only signed, and all of it is taken back.
    let lost = folder.path().join("new");
    let office = BoxOptions { folder: lost, ..BoxOptions::new(folder.path(), &key) };
    let office = office.set("FEE_PAYERS", "4").start().await;
    let before = all_hold(&payers).await;
    assert_eq!(office.mint("venue", &tickets("t", 2)).await["summary"]["succeeded"], 2);
    let (_, report) = office.post("/admin/reconcile/venue", &json!({})).await;
    assert_eq!(report["unknownToBooks"].as_array().map(Vec::len), Some(38), "{report}");
    let again = office.mint("venue", &tickets("t", 40)).await;
    assert_eq!(
        (&again["summary"]["succeeded"], &again["summary"]["spentLamports"]),
        (&json!(40), &json!(0)),
        "{again}"
    );
    let (_, found_again) = office.get("/admin/mints/t-7").await;
    assert_eq!(
        (&found["signature"], &found["costLamports"]),
        (&found_again["signature"], &found_again["costLamports"])
    );
    assert_eq!(all_hold(&payers).await, before);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_whole_tickets_are_promised_and_a_low_payer_is_skipped_and_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let (key, authority) = wallet(folder.path(), 50 * SOL);
    let payers = payers(&key, 3);
    let mut config = BoxOptions::new(folder.path(), &key).set("FEE_PAYERS", "3").set("MIN_SOL_BALANCE", "0").config();
    config.alerts.watch_every = Duration::from_millis(50);
    let office = TestBox::start(config).await;
    let price = price(&office).await;
    let reserve = office.app.chain.rent(0).await.unwrap().0;

    // What the wallet holds is no promise, and the refusal says what to do.
    let body = json!({ "venueId": "v", "tickets": tickets("t", 1) });
    let (status, refusal) = office.post("/admin/batch-mint", &body).await;
    assert_eq!(status, 402, "{refusal}");
    assert!(refusal["detail"].as_str().unwrap().contains("boxoffice payers fund"), "{refusal}");

    // Enough for five tickets together, and for two and two where it lies; the third pays for none.
    fund(chain(), &payers[0], reserve + 2 * price + price / 2);
    fund(chain(), &payers[1], reserve + 2 * price + price / 2);
    fund(chain(), &payers[2], reserve + price - 1);
    let body = json!({ "venueId": "v", "tickets": tickets("t", 5) });
    let (status, refusal) = office.post("/admin/batch-mint", &body).await;
    assert_eq!((status.as_u16(), &refusal["missingLamports"]), (402, &json!(price)), "{refusal}");
    office.app.balance.check().await.unwrap();
    let (_, status) = office.get("/admin/system/status").await;
    let monitor = &status["balanceMonitor"];
    let payable: Vec<_> = monitor["payers"].as_array().unwrap().iter().map(|payer| &payer["payableTickets"]).collect();
    assert_eq!(payable, [2, 2, 0], "{monitor}");
    assert_eq!((&monitor["runwayTickets"], &monitor["balanceLamports"]), (&json!(4), &json!(50 * SOL)), "{monitor}");
    let third = format!("low_balance:{}", payers[2]);
    let is_told = async |open: bool| {
        let (_, page) = office.get(&format!("/admin/alerts?open={open}")).await;
        page["alerts"].as_array().unwrap().iter().any(|alert| alert["key"] == third.as_str())
    };
    until(async || is_told(true).await).await;

    let batch = office.mint("v", &tickets("t", 4)).await;
    assert_eq!(batch["summary"]["succeeded"], 4, "{batch}");
    let left = reserve + price / 2;
    assert_eq!(all_hold(&payers).await, [left, left, reserve + price - 1]);
    let metrics = office.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let gauge = format!("boxoffice_payer_payable_tickets{{payer=\"{}\"}} 0", payers[2]);
    assert!(metrics.contains(&gauge), "{metrics}");

    // Filled, it pays again, and the incident is over.
    fund(chain(), &payers[2], price);
    until(async || {
        office.app.balance.check().await.unwrap();
        is_told(false).await && !is_told(true).await
    })
    .await;
    assert_eq!(office.mint("v", &tickets("late", 1)).await["summary"]["succeeded"], 1);
    assert_eq!(all_hold(&payers).await, [left, left, reserve + price - 1]);
    assert_eq!(holds(&authority).await, 50 * SOL);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_leaves_the_payers_holds_the_tickets_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (key, authority) = wallet(folder.path(), 10 * SOL);
    let payers = payers(&key, 2);
    for payer in &payers {
        fund(chain(), payer, SOL);
    }
    // Accepted while the money was there, and not begun.
    let proxy = Proxy::start(chain().rpc_url(), |call| match call.method.as_str() {
        "getLatestBlockhash" => Fate::Lost,
        _ => Fate::Pass,
    });
    let proxy = proxy.await;
    let options = BoxOptions { rpc: proxy.url.clone(), ..BoxOptions::new(folder.path(), &key) };
    let office = options.set("FEE_PAYERS", "2").start().await;
    let body = json!({ "venueId": "v", "tickets": tickets("t", 10) });
    let request = office.request(reqwest::Method::POST, "/admin/batch-mint").header("prefer", "respond-async");
    assert_eq!(answer(request.json(&body)).await.0, 202);
    for payer in &payers {
        rpc_call(chain().rpc_url(), "surfnet_setAccount", json!([payer.to_string(), { "lamports": 1_000_000 }])).await;
    }
    proxy.set(|_| Fate::Pass);
    let held = async || office.get("/admin/system/status").await.1["queue"]["held"].as_str().map(str::to_owned);
    until(async || held().await.is_some_and(|reason| reason.contains("boxoffice payers fund"))).await;
    let teller = Teller { folder: folder.path(), rpc: chain().rpc_url().to_string(), payers: "2" };
    teller.json(&["payers", "fund", "--each", "1"]);
    until(async || office.app.store.counts(None).await.unwrap().of(MintStatus::Minted) == 10).await;
    assert_eq!(held().await, None);
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, 10);
    office.finish().await;
}

/// The command, on the shared chain or through something that stands before it.
struct Teller<'a> {
    folder: &'a Path,
    rpc: String,
    payers: &'a str,
}

impl Teller<'_> {
    fn environment(&self) -> Vec<(&str, &str)> {
        vec![
            ("NETWORK", "localnet"),
            ("WALLET_PATH", "wallet.json"),
            ("SOLANA_RPC_URLS", &self.rpc),
            ("DATA_DIR", "data"),
            ("FEE_PAYERS", self.payers),
        ]
    }

    fn run(&self, arguments: &[&str]) -> Output {
        tokio::task::block_in_place(|| run(self.folder, arguments, &self.environment()))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_str(&stdout(&output)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payers_are_filled_up_to_a_level_and_drained_to_the_last_lamport() {
    let folder = tempfile::tempdir().unwrap();
    let (key, authority) = wallet(folder.path(), 10 * SOL);
    // More than fit one transaction, either way.
    let payers = payers(&key, 25);
    let teller = Teller { folder: folder.path(), rpc: chain().rpc_url().to_string(), payers: "25" };
    assert_fails(&teller.run(&["payers", "fund", "--each", "0.001"]), 1, &["too little to pay for a ticket"]);
    assert_fails(&teller.run(&["payers", "fund", "--each", "1"]), 1, &["has 10 SOL", "send it", "more"]);
    assert_eq!(all_hold(&payers).await, [0; 25], "all or nothing");

    fund(chain(), &payers[3], SOL / 5);
    fund(chain(), &payers[4], SOL / 10);
    let result = teller.json(&["payers", "fund", "--each", "0.2"]);
    assert_eq!(result["moved"].as_array().unwrap().len(), 2, "{result}");
    assert_eq!(all_hold(&payers).await, [SOL / 5; 25]);
    let fees = 2 * 5_000;
    assert_eq!(holds(&authority).await, 10 * SOL - 23 * SOL / 5 - SOL / 10 - fees);
    let again = teller.json(&["payers", "fund", "--each", "0.2"]);
    assert_eq!(again["moved"], json!([]), "{again}");

    // Payers that the settings no longer name are drained too; for dust that pays no fee, another of its group does.
    let dust = self::payers(&key, 31)[30];
    rpc_call(chain().rpc_url(), "surfnet_setAccount", json!([dust.to_string(), { "lamports": 4_000 }])).await;
    let fewer = Teller { payers: "2", ..teller };
    let listed = fewer.json(&["payers", "list"]);
    assert_eq!(listed["payers"].as_array().unwrap().len(), 26, "{listed}");
    assert_eq!((&listed["payers"][1]["used"], &listed["payers"][2]["used"]), (&json!(true), &json!(false)));
    let result = fewer.json(&["payers", "drain"]);
    assert_eq!(all_hold(&payers).await, [0; 25], "{result}");
    assert_eq!(holds(&dust).await, 0, "{result}");
    let fees = fees + 26 * 5_000;
    assert_eq!(holds(&authority).await, 10 * SOL + SOL * 3 / 10 + 4_000 - fees, "what is gone is the fees");
    assert!(stdout(&fewer.run(&["payers", "drain"])).contains("nothing to move"));
}

/// What the command counts as a ticket's money is what a box keeps ready for one, the highest offer included.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_reckons_with_the_highest_offer() {
    let folder = tempfile::tempdir().unwrap();
    let (key, _) = wallet(folder.path(), SOL);
    let office = BoxOptions { folder: folder.path().join("other"), ..BoxOptions::new(folder.path(), &key) };
    let offers = [("PRIORITY_FEE_FLOOR", "1"), ("PRIORITY_FEE_CAP", "5000000")];
    let office = offers.into_iter().fold(office, |office, (name, value)| office.set(name, value));
    let office = office.set("FEE_PAYERS", "1").start().await;
    let (most, reserve) =
        (office.app.prices.most().await.unwrap().total().0, office.app.chain.rent(0).await.unwrap().0);
    office.finish().await;
    let payer = payers(&key, 1)[0];
    let teller = Teller { folder: folder.path(), rpc: chain().rpc_url().to_string(), payers: "1" };
    let offers = ["--set", "PRIORITY_FEE_FLOOR=1", "--set", "PRIORITY_FEE_CAP=5000000"];
    for (lamports, tickets) in [(reserve + 2 * most - 1, 1), (reserve + 2 * most, 2)] {
        rpc_call(chain().rpc_url(), "surfnet_setAccount", json!([payer.to_string(), { "lamports": lamports }])).await;
        let listed = teller.json(&[&["payers", "list"], &offers[..]].concat());
        assert_eq!(listed["payers"][0]["payableTickets"], tickets, "{listed}");
    }
    let each = Lamports(reserve + most - 1).to_string();
    let each = each.trim_end_matches(" SOL");
    let output = teller.run(&[&["payers", "fund", "--each", each], &offers[..]].concat());
    assert_fails(&output, 1, &["too little to pay for a ticket"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_runs_keeps_its_payers_money() {
    let folder = tempfile::tempdir().unwrap();
    let (key, _) = wallet(folder.path(), 10 * SOL);
    let teller = Teller { folder: folder.path(), rpc: chain().rpc_url().to_string(), payers: "2" };
    let office = BoxOptions::new(folder.path(), &key).set("FEE_PAYERS", "2").start().await;
    assert_fails(&teller.run(&["payers", "drain"]), 1, &["in use by another boxoffice"]);
    teller.json(&["payers", "fund", "--each", "1"]);
    let batch = office.mint("v", &tickets("t", 6)).await;
    assert_eq!(batch["summary"]["succeeded"], 6, "{batch}");
    office.finish().await;
    Wallet::create(&folder.path().join("other.json")).unwrap();
    let output = run(folder.path(), &["payers", "drain", "--set", "WALLET_PATH=other.json"], &teller.environment());
    assert_fails(&output, 1, &["belong to another chain or wallet"]);
    assert_eq!(teller.json(&["payers", "drain"])["moved"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_was_cut_off_is_not_made_twice() {
    for reaches_the_chain in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (key, authority) = wallet(folder.path(), 10 * SOL);
        let payers = payers(&key, 3);
        // The command never learns what became of its transfer, and is killed while it waits.
        let sent = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&sent);
        let proxy = Proxy::start(chain().rpc_url(), move |call| match call.method.as_str() {
            "sendTransaction" => {
                seen.store(true, Ordering::SeqCst);
                if reaches_the_chain { Fate::Pass } else { Fate::Lost }
            }
            "getSignatureStatuses" => Fate::Lost,
            _ => Fate::Pass,
        })
        .await;
        let cut_off = Teller { folder: folder.path(), rpc: proxy.url.to_string(), payers: "3" };
        let mut command = boxoffice(folder.path());
        command.args(["payers", "fund", "--each", "1"]).envs(cut_off.environment());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until(async || sent.load(Ordering::SeqCst)).await;
        child.kill().unwrap();
        child.wait().unwrap();

        let teller = Teller { rpc: chain().rpc_url().to_string(), ..cut_off };
        let result = teller.json(&["payers", "fund", "--each", "1"]);
        assert_eq!(all_hold(&payers).await, [SOL; 3], "{result}");
        assert_eq!(holds(&authority).await, 7 * SOL - 5_000, "one transfer, one fee: {result}");
        assert_eq!(result["moved"].as_array().unwrap().len(), 1, "{result}");
        assert_eq!(result["moved"][0]["ofEarlierRun"], true, "{result}");
    }
}

/// The last block in which the last transfer can land, and how many statuses were told; of one test only.
static LAST_HEIGHT: AtomicU64 = AtomicU64::new(0);
static TOLD: AtomicU64 = AtomicU64::new(0);
static LANDED: AtomicBool = AtomicBool::new(false);

fn note_height(answer: Value) -> Value {
    LAST_HEIGHT.store(answer["result"]["value"]["lastValidBlockHeight"].as_u64().unwrap(), Ordering::SeqCst);
    answer
}

/// A block just above that one, which a fork may still take back; or one far above, once the transfer has landed all the same.
fn fork(mut answer: Value) -> Value {
    let last = LAST_HEIGHT.load(Ordering::SeqCst);
    if last > 0 {
        answer["result"]["blockHeight"] = json!(last + if LANDED.load(Ordering::SeqCst) { 40 } else { 10 });
    }
    answer
}

fn unknown_at_first(mut answer: Value) -> Value {
    if TOLD.fetch_add(1, Ordering::SeqCst) < 3 {
        answer["result"]["value"] = json!([null]);
    }
    answer
}

fn refused_at_first(mut answer: Value) -> Value {
    let error = json!({ "InstructionError": [0, { "Custom": 1 }] });
    if !answer["result"]["value"][0].is_null() && TOLD.fetch_add(1, Ordering::SeqCst) < 3 {
        let status = &mut answer["result"]["value"][0];
        status["err"] = error.clone();
        status["status"] = json!({ "Err": error });
        status["confirmations"] = json!(1);
        status["confirmationStatus"] = json!("confirmed");
    }
    answer
}

fn never_known(mut answer: Value) -> Value {
    if answer["result"]["value"][0]["confirmationStatus"].as_str().is_some_and(|status| status != "processed") {
        LANDED.store(true, Ordering::SeqCst);
    }
    answer["result"]["value"] = json!([null]);
    answer
}

/// No ticket can be minted twice, but money can be moved twice: by a node that does not know a transfer, or knows it from a fork.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_is_not_made_again_because_of_what_a_fork_may_take_back() {
    for (statuses, told) in [(unknown_at_first as fn(Value) -> Value, 1), (refused_at_first, 1), (never_known, 0)] {
        let folder = tempfile::tempdir().unwrap();
        let (key, authority) = wallet(folder.path(), 10 * SOL);
        let payers = payers(&key, 3);
        LAST_HEIGHT.store(0, Ordering::SeqCst);
        TOLD.store(0, Ordering::SeqCst);
        LANDED.store(false, Ordering::SeqCst);
        let proxy = Proxy::start(chain().rpc_url(), move |call| match call.method.as_str() {
            "getLatestBlockhash" => Fate::Altered(note_height),
            "getEpochInfo" => Fate::Altered(fork),
            "getSignatureStatuses" => Fate::Altered(statuses),
            _ => Fate::Pass,
        })
        .await;
        let teller = Teller { folder: folder.path(), rpc: proxy.url.to_string(), payers: "3" };
        let result = teller.json(&["payers", "fund", "--each", "1"]);
        assert_eq!(all_hold(&payers).await, [SOL; 3], "{result}");
        assert_eq!(holds(&authority).await, 7 * SOL - 5_000, "one transfer, one fee: {result}");
        assert_eq!(result["moved"].as_array().unwrap().len(), told, "{result}");
    }
}

#[test]
fn an_embedded_chain_gives_its_fee_payers_money() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["demo", "--tickets", "12", "--exit", "--json", "--port", "0", "--set", "FEE_PAYERS=3"];
    let output = run(folder.path(), &arguments, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let summary: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&summary["minted"], &summary["readBack"]), (&json!(12), &json!(12)), "{summary}");
    assert_eq!(summary["spentLamports"], summary["walletLostLamports"]);
    assert_eq!(summary["spentLamports"], summary["estimatedLamports"]);
}
