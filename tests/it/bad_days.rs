//! Bad days, played by a proxy in front of the real chain: whatever happens, one NFT each, and honest books.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use boxoffice::domain::mint::MintStatus;
use serde_json::{Value, json};

use crate::support::{
    proxy::{Call, Fate, Proxy},
    *,
};

const FUNDS: u64 = 100 * SOL;

struct BadDay {
    _folder: tempfile::TempDir,
    proxy: Proxy,
    office: TestBox,
}

/// A box that reaches the chain only through a proxy.
async fn bad_day(rule: impl Fn(&Call) -> Fate + Send + Sync + 'static) -> BadDay {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), FUNDS);
    let proxy = Proxy::start(chain().rpc_url(), rule).await;
    let options = BoxOptions { rpc: proxy.url.clone(), ..BoxOptions::new(folder.path(), &wallet) };
    BadDay { office: options.start().await, proxy, _folder: folder }
}

impl BadDay {
    /// Mints a batch and proves that all is well in the end.
    async fn mint_and_check(self, count: usize) {
        let result = self.office.mint("v", &tickets("t", count)).await;
        assert_eq!(result["summary"]["succeeded"], count, "{result}");
        assert_eq!(nfts_of(chain().rpc_url(), &self.office.app.authority).await, count, "one NFT for each ticket");
        let spent = FUNDS - rpc_balance(&self.office).await;
        let (_, page) = self.office.get("/admin/mints?limit=500").await;
        let costs = page["mints"].as_array().unwrap().iter().map(|mint| {
            assert_eq!(mint["adopted"], false, "these books signed for it themselves: {mint}");
            mint["costLamports"].as_u64().unwrap()
        });
        assert_eq!(costs.sum::<u64>(), spent, "the bill is what the wallet lost");
        self.office.finish().await;
    }
}

/// The wallet's balance, asked past the proxy.
async fn rpc_balance(office: &TestBox) -> u64 {
    let params = json!([office.app.authority.to_string(), { "commitment": "processed" }]);
    rpc_call(chain().rpc_url(), "getBalance", params).await["value"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_but_landed_is_minted_once() {
    let day = bad_day(|call| match call.method.as_str() {
        "sendTransaction" => Fate::AnswerLost,
        _ => Fate::Pass,
    });
    let day = day.await;
    let resend_nothing = Arc::new(Mutex::new(HashSet::new()));
    let seen = Arc::clone(&resend_nothing);
    day.proxy.set(move |call| match call.method.as_str() {
        "sendTransaction" => {
            seen.lock().unwrap().insert(call.params[0].as_str().unwrap().to_owned());
            Fate::AnswerLost
        }
        _ => Fate::Pass,
    });
    day.mint_and_check(20).await;
    // Three tickets to a transaction.
    assert_eq!(resend_nothing.lock().unwrap().len(), 7, "the same bytes may be sent again, other bytes may not");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_break_off_or_come_late_and_out_of_order_mint_nothing_twice() {
    let day = bad_day(|call| match (call.method.as_str(), call.nth % 3) {
        ("sendTransaction" | "getMultipleAccounts" | "getSignatureStatuses", 0) => Fate::Cut,
        ("sendTransaction", 1) => Fate::Delayed(Duration::from_millis(1_500)),
        ("getSignatureStatuses", 1) => Fate::Delayed(Duration::from_millis(400)),
        _ => Fate::Pass,
    });
    day.await.mint_and_check(20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn landed_that_the_node_forgot_is_adopted_not_minted_again() {
    // The node takes transactions, and never admits having seen them: only the accounts tell.
    let day = bad_day(|call| match call.method.as_str() {
        "getSignatureStatuses" => Fate::Altered(|mut answer| {
            for status in answer["result"]["value"].as_array_mut().unwrap() {
                *status = Value::Null;
            }
            answer
        }),
        _ => Fate::Pass,
    });
    day.await.mint_and_check(5).await;
}

/// A node's answer without anything in it: nothing is known of any transaction, account or history.
fn nothing_known(mut answer: Value) -> Value {
    let list = if answer["result"].is_array() { &mut answer["result"] } else { &mut answer["result"]["value"] };
    match list.as_array_mut() {
        Some(entries) if entries.iter().any(|entry| entry["signature"].is_string()) => entries.clear(),
        Some(entries) => entries.iter_mut().for_each(|entry| *entry = Value::Null),
        None => {}
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_ticket_gets_its_transaction_when_the_node_remembers() {
    let day = bad_day(|call| match call.method.as_str() {
        "getSignatureStatuses" | "getSignaturesForAddress" => Fate::Altered(nothing_known),
        _ => Fate::Pass,
    });
    let day = day.await;
    let result = day.office.mint("v", &tickets("t", 3)).await;
    assert_eq!(result["summary"]["succeeded"], 3, "{result}");
    let (_, page) = day.office.get("/admin/mints").await;
    assert!(page["mints"].as_array().unwrap().iter().all(|mint| mint["signature"].is_null()), "{page}");
    day.proxy.set(|_| Fate::Pass);
    until(async || day.office.app.store.count_unproven().await.unwrap() == 0).await;
    let (_, page) = day.office.get("/admin/mints").await;
    assert!(page["mints"].as_array().unwrap().iter().all(|mint| mint["signature"].is_string()), "{page}");
    let spent = FUNDS - rpc_balance(&day.office).await;
    let (_, batch) = day.office.get(&format!("/admin/batches/{}", result["batchId"].as_str().unwrap())).await;
    assert_eq!(batch["summary"]["spentLamports"], spent, "these books had paid for them after all: {batch}");
    day.mint_and_check(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_fork_takes_back_is_followed_again() {
    let day = bad_day(|_| Fate::Pass).await;
    let result = day.office.mint("v", &tickets("t", 5)).await;
    assert_eq!(result["summary"]["succeeded"], 5, "{result}");
    // The embedded chain has no forks: to the box it looks as if the blocks were gone, until the transactions land again.
    day.proxy.set(|call| match call.method.as_str() {
        "getSignatureStatuses" | "getMultipleAccounts" => Fate::Altered(nothing_known),
        _ => Fate::Pass,
    });
    until(async || day.office.app.store.counts(None).await.unwrap().of(MintStatus::Minting) == 5).await;
    let (_, batch) = day.office.get(&format!("/admin/batches/{}", result["batchId"].as_str().unwrap())).await;
    assert_eq!((&batch["summary"]["spentLamports"], &batch["finishedAt"]), (&json!(0), &Value::Null), "{batch}");
    day.proxy.set(|_| Fate::Pass);
    until(async || day.office.app.store.counts(None).await.unwrap().of(MintStatus::Minted) == 5).await;
    day.mint_and_check(5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn swallowed_transactions_are_signed_again_only_when_they_are_dead() {
    let signed: Arc<Mutex<HashSet<String>>> = Arc::default();
    let seen = Arc::clone(&signed);
    // The first four transactions, with three tickets each at most, vanish however often they are sent.
    let day = bad_day(move |call| match call.method.as_str() {
        "sendTransaction" => {
            let bytes = call.params[0].as_str().unwrap().to_owned();
            let mut seen = seen.lock().unwrap();
            let number = seen.len();
            let is_new = seen.insert(bytes);
            if number >= 4 && is_new {
                Fate::Pass
            } else {
                Fate::Swallowed(json!("1111111111111111111111111111111111111111111111111111111111111111"))
            }
        }
        _ => Fate::Pass,
    });
    day.await.mint_and_check(10).await;
    assert_eq!(signed.lock().unwrap().len(), 8, "each ticket was signed for twice, and no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_the_past_is_no_proof_of_death() {
    // Sends vanish; the node that is asked for statuses and accounts is stuck at an early slot, so that nothing it says can
    // prove a transaction dead, until it catches up.
    let day = bad_day(|call| match call.method.as_str() {
        "sendTransaction" => Fate::Swallowed(json!("1111111111111111111111111111111111111111111111111111111111111111")),
        "getSignatureStatuses" | "getMultipleAccounts" => Fate::Altered(|mut answer| {
            answer["result"]["context"]["slot"] = json!(1);
            answer
        }),
        _ => Fate::Pass,
    });
    let day = day.await;
    let body = json!({ "venueId": "v", "tickets": tickets("t", 3) });
    let request = day.office.request(reqwest::Method::POST, "/admin/batch-mint").header("prefer", "respond-async");
    answer(request.json(&body)).await;
    // Long past the last valid block of the first signatures.
    tokio::time::sleep(Duration::from_millis(SLOT_MS * 220)).await;
    let attempts = day.office.app.store.open_attempts().await.unwrap();
    assert_eq!(attempts.len(), 1, "three tickets to a transaction");
    assert_eq!(attempts[0].tickets.len(), 3);
    assert!(attempts[0].tickets.iter().all(|ticket| ticket.attempts == 1), "signed again without proof");
    assert!(day.proxy.count("sendTransaction") > 1, "the same bytes are sent again");
    day.proxy.set(|_| Fate::Pass);
    day.mint_and_check(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_goes_away_in_the_middle_is_waited_for() {
    let day = bad_day(|_| Fate::Pass).await;
    let body = json!({ "venueId": "v", "tickets": tickets("t", 40) });
    // Ten transactions get out; then everything stops.
    day.proxy.set(|call| match call.method.as_str() {
        "getSignatureStatuses" => Fate::Lost,
        "sendTransaction" if call.nth >= 10 => Fate::Lost,
        _ => Fate::Pass,
    });
    let request = day.office.request(reqwest::Method::POST, "/admin/batch-mint").header("prefer", "respond-async");
    let (_, accepted) = answer(request.json(&body)).await;
    day.proxy.set(|_| Fate::Lost);
    let mut health = Value::Null;
    for _ in 0..100 {
        health = day.office.get("/health").await.1;
        if health["status"] == "degraded" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(health["status"], "degraded");
    let (status, problem) =
        day.office.post("/admin/batch-mint", &json!({ "venueId": "v", "tickets": tickets("new", 1) })).await;
    assert_eq!(
        (status.as_u16(), &problem["code"], &problem["retryable"]),
        (503, &json!("chain_unavailable"), &json!(true))
    );
    day.proxy.set(|_| Fate::Pass);
    let location = format!("/admin/batches/{}", accepted["batchId"].as_str().unwrap());
    let result = day.office.mint("v", &tickets("t", 40)).await;
    assert_eq!(result["summary"]["succeeded"], 40);
    assert_eq!(day.office.get(&location).await.1["summary"]["succeeded"], 40);
    assert_eq!(nfts_of(chain().rpc_url(), &day.office.app.authority).await, 40);
    assert_eq!(day.office.get("/health").await.1["status"], "ok");
    day.office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_limits_our_rate_does_not_end_the_run() {
    let day = bad_day(|call| match call.method.as_str() {
        "sendTransaction" if call.nth % 3 != 0 => Fate::Limited,
        "getSignatureStatuses" if call.nth % 2 == 0 => Fate::Limited,
        _ => Fate::Pass,
    });
    day.await.mint_and_check(15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_endpoint_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 10 * SOL);
    let dead = Proxy::start(chain().rpc_url(), |_| Fate::Lost).await;
    let both = format!("{},{}", dead.url, chain().rpc_url());
    let options = BoxOptions::new(folder.path(), &wallet);
    let mut config = options.config();
    config.rpc_urls = both.split(',').map(|url| url.parse().unwrap()).collect();
    let app = boxoffice::app::App::start(config).await.unwrap();
    let health = app.chain.health();
    assert!(!health[0].preferred && health[1].preferred, "the endpoint that answered is preferred from then on");
    // Its health is asked after from time to time, and nothing else.
    assert_eq!(dead.count("getBalance"), 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_another_chain_is_never_listened_to() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, authority) = wallet(folder.path(), 10 * SOL);
    let other = start_chain(SLOT_MS);
    fund(&other, &authority, 10 * SOL);
    let proxy = Proxy::start(chain().rpc_url(), |_| Fate::Pass).await;
    let settings = format!("{},{}", proxy.url, other.rpc_url());
    let office = BoxOptions::new(folder.path(), &wallet).set("SOLANA_RPC_URLS", settings).start().await;
    assert_eq!(office.mint("v", &tickets("t", 2)).await["summary"]["succeeded"], 2);
    proxy.set(|_| Fate::Lost);
    let (status, problem) =
        office.post("/admin/batch-mint", &json!({ "venueId": "v", "tickets": tickets("u", 1) })).await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("chain_unavailable")), "{problem}");
    assert_eq!(office.get("/health/ready").await.0.as_u16(), 503);
    assert_eq!(nfts_of(other.rpc_url(), &authority).await, 0);
    proxy.set(|_| Fate::Pass);
    assert_eq!(office.mint("v", &tickets("u", 1)).await["summary"]["succeeded"], 1);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_replaced_under_a_running_box_gets_nothing() {
    let day = bad_day(|_| Fate::Pass).await;
    assert_eq!(day.office.mint("v", &tickets("t", 2)).await["summary"]["succeeded"], 2);
    // Another chain answers at the same address from now on; nothing but its genesis hash tells.
    day.proxy.set(|call| match call.method.as_str() {
        "getGenesisHash" => Fate::Swallowed(json!("4uhcVJyU9pJkvQyS88uRDiswHXSCkY3zQawwpjk2NsNY")),
        _ => Fate::Pass,
    });
    let sent = day.proxy.count("sendTransaction");
    let body = json!({ "venueId": "v", "tickets": tickets("u", 2) });
    let request = day.office.request(reqwest::Method::POST, "/admin/batch-mint").header("prefer", "respond-async");
    let (_, accepted) = answer(request.json(&body)).await;
    let mut held = false;
    for _ in 0..100 {
        held = held || day.office.get("/health").await.1["status"] == "degraded";
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Within the few seconds of the last proof the batch may be accepted; it is not signed for.
    assert!(held || accepted["code"] == "chain_unavailable", "{accepted}");
    assert_eq!(day.proxy.count("sendTransaction"), sent, "something was sent to another chain");
    day.proxy.set(|_| Fate::Pass);
    let result = day.office.mint("v", &tickets("u", 2)).await;
    assert_eq!(result["summary"]["succeeded"], 2, "{result}");
    day.office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_needs_more_compute_units_gets_them() {
    // The first transaction ends for want of compute units, as those with unlucky bump seeds do.
    let day = bad_day(|call| match (call.method.as_str(), call.nth) {
        ("sendTransaction", 0) => Fate::Swallowed(json!("taken")),
        ("getSignatureStatuses", 0) => Fate::Altered(|mut answer| {
            let error = json!({ "InstructionError": [4, "ComputationalBudgetExceeded"] });
            for status in answer["result"]["value"].as_array_mut().into_iter().flatten() {
                *status = json!({ "slot": 1, "confirmations": null, "err": error, "status": { "Err": error },
                    "confirmationStatus": "finalized" });
            }
            answer
        }),
        _ => Fate::Pass,
    })
    .await;
    let result = day.office.mint("v", &tickets("t", 1)).await;
    assert_eq!(result["summary"]["succeeded"], 1, "{result}");
    let (_, mint) = day.office.get("/admin/mints/t-0").await;
    assert_eq!((&mint["attempts"], &mint["status"]), (&json!(2), &json!("minted")), "{mint}");
    day.office.finish().await;
}

/// Lost books, and a wallet that was emptied by another hand after it had been found full enough.
#[tokio::test(flavor = "multi_thread")]
async fn tickets_that_wait_for_money_do_not_stand_in_the_way_of_those_that_the_chain_has() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, authority) = wallet(folder.path(), 20 * SOL);
    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    office.mint("v", &tickets("t", 300)).await;
    office.finish().await;
    std::fs::remove_dir_all(folder.path().join("data")).unwrap();

    // Nothing is looked up, and so nothing is minted, before both batches are in the books.
    let lost = |call: &Call| if call.method == "getMultipleAccounts" { Fate::Lost } else { Fate::Pass };
    let proxy = Proxy::start(chain().rpc_url(), lost).await;
    let office = BoxOptions { rpc: proxy.url.clone(), ..BoxOptions::new(folder.path(), &wallet) }.start().await;
    for prefix in ["u", "t"] {
        let body = json!({ "venueId": "v", "tickets": tickets(prefix, 300) });
        let request = office.request(reqwest::Method::POST, "/admin/batch-mint").header("prefer", "respond-async");
        let (status, accepted) = answer(request.json(&body)).await;
        assert_eq!(status, reqwest::StatusCode::ACCEPTED, "{accepted}");
    }
    let emptied = json!({ "lamports": 1_000_000, "owner": "11111111111111111111111111111111", "data": "" });
    rpc_call(chain().rpc_url(), "surfnet_setAccount", json!([authority.to_string(), emptied])).await;
    proxy.set(|_call| Fate::Pass);

    let queue = async || office.get("/admin/system/status").await.1["queue"].clone();
    until(async || {
        let queue = queue().await;
        queue["pending"] == 300 && queue["held"].as_str().is_some_and(|held| held.contains("too little for the next"))
    })
    .await;
    let (_, minted) = office.get("/admin/mints?status=minted&limit=500").await;
    let minted = minted["mints"].as_array().unwrap();
    assert_eq!(minted.len(), 300);
    for mint in minted {
        assert!(mint["ticketId"].as_str().unwrap().starts_with("t-") && mint["adopted"] == true, "{mint}");
    }
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, 300);

    fund(chain(), &authority, 20 * SOL);
    until(async || queue().await["pending"] == 0 && queue().await["minting"] == 0).await;
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, 600);
    office.finish().await;
}
