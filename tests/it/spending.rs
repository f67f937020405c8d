//! Money is bounded: budgets of batches, limits of hours and days, and what a refusal says.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use boxoffice::{
    chain::Chain as _,
    domain::{lamports::Lamports, mint::MintStatus},
};
use reqwest::{Method, StatusCode};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{
    proxy::{Call, Fate, Proxy},
    *,
};

fn books(folder: &Path) -> Connection {
    let books = Connection::open(folder.join("data/boxoffice.db")).unwrap();
    books.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    books
}

async fn price(office: &TestBox) -> u64 {
    office.get("/admin/batch-mint/estimate?count=1").await.1["estimatedLamports"].as_u64().unwrap()
}

fn batch(prefix: &str, count: usize, max_lamports: u64) -> Value {
    json!({ "venueId": "v", "tickets": tickets(prefix, count), "maxLamports": max_lamports })
}

/// Answer, `Retry-After` included.
async fn post(office: &TestBox, body: &Value) -> (StatusCode, Option<u64>, Value) {
    let response = office.request(Method::POST, "/admin/batch-mint").json(body).send().await.unwrap();
    let after = response.headers().get("retry-after").map(|seconds| seconds.to_str().unwrap().parse().unwrap());
    (response.status(), after, response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_above_its_budget_is_refused_and_one_within_it_is_minted() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let five = office.get("/admin/batch-mint/estimate?count=5").await.1["estimatedLamports"].as_u64().unwrap();
    let (status, after, problem) = post(&office, &batch("t", 5, five - 1)).await;
    assert_eq!((status, after), (StatusCode::PAYMENT_REQUIRED, None));
    assert_eq!((&problem["code"], &problem["retryable"]), (&json!("over_budget"), &json!(false)));
    assert_eq!(problem["missingLamports"], 1);
    assert!(problem["detail"].as_str().unwrap().contains("send fewer tickets or a larger budget"), "{problem}");
    let (_, dry) = office.post("/admin/batch-mint?dryRun=true", &batch("t", 5, 1)).await;
    assert!(dry["refusal"].as_str().unwrap().contains("maxLamports"), "{dry}");
    assert_eq!(office.get("/admin/mints").await.1["mints"], json!([]), "nothing was kept");
    for wrong in [json!(0), json!(-1), json!("1"), json!(1.5), json!(1_u64 << 63), json!(u64::MAX)] {
        let mut body = batch("t", 1, 1);
        body["maxLamports"] = wrong;
        let (status, _, problem) = post(&office, &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem["errors"][0]["pointer"], "/maxLamports", "{problem}");
    }

    let none = json!({ "venueId": "v", "tickets": tickets("t", 5), "maxLamports": null, "notBefore": null });
    let (status, dry) = office.post("/admin/batch-mint?dryRun=true", &none).await;
    assert_eq!((status, &dry["refusal"]), (StatusCode::OK, &json!(null)), "null says that there is none: {dry}");

    let (status, _, result) = post(&office, &batch("t", 5, five)).await;
    assert_eq!(status, StatusCode::OK, "{result}");
    let (_, found) = office.get(&format!("/admin/batches/{}", result["batchId"].as_str().unwrap())).await;
    let summary = &found["summary"];
    assert_eq!((&summary["succeeded"], &summary["estimatedLamports"]), (&json!(5), &json!(five)));
    assert_eq!((&summary["spentLamports"], &summary["maxLamports"]), (&json!(five), &json!(five)));
    // What is known already costs nothing, whatever the budget.
    let (status, _, again) = post(&office, &batch("t", 5, 1)).await;
    assert_eq!((status, &again["summary"]["spentLamports"]), (StatusCode::OK, &json!(0)));
    office.finish().await;
}

fn far_too_few(mut answer: Value) -> Value {
    answer["result"]["value"]["unitsConsumed"] = json!(60_000);
    answer
}

/// Transactions that fail cost their fees: a budget that was enough without them is not any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_never_exceeded_and_no_other_batch_suffers() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, authority) = wallet(folder.path(), 100 * SOL);
    let rule = |call: &Call| match call.method.as_str() {
        "simulateTransaction" => Fate::Altered(far_too_few),
        _ => Fate::Pass,
    };
    let proxy = Proxy::start(chain().rpc_url(), rule).await;
    let options = BoxOptions { rpc: proxy.url.clone(), ..BoxOptions::new(folder.path(), &wallet) };
    let office = options.start().await;
    let price = price(&office).await;
    let (bounded, free) = (batch("bounded", 3, 3 * price), json!({ "venueId": "v", "tickets": tickets("free", 3) }));
    let ((status, _, result), (_, _, other)) = tokio::join!(post(&office, &bounded), post(&office, &free));
    assert_eq!(status, StatusCode::OK, "{result}");
    assert_eq!(other["summary"]["succeeded"], 3, "{other}");
    let summary = &result["summary"];
    assert_eq!((&summary["succeeded"], &summary["failed"]), (&json!(2), &json!(1)), "{result}");
    assert!(summary["spentLamports"].as_u64().unwrap() <= 3 * price, "{summary}");
    let failed = &result["failed"][0];
    assert_eq!((&failed["code"], &failed["retryable"]), (&json!("budget_used_up"), &json!(true)), "{failed}");
    assert_eq!(failed["status"], 402);
    assert!(failed["error"].as_str().unwrap().contains("send it again with a larger budget"), "{failed}");
    let spent = summary["spentLamports"].as_u64().unwrap() + other["summary"]["spentLamports"].as_u64().unwrap();
    assert_eq!(100 * SOL - office.balance().await, spent);

    // The job that retries would meet the same budget; whoever sends it again brings a new one.
    assert_eq!(office.app.minter.retry_failed().await.unwrap(), 0);
    let (_, _, again) = post(&office, &batch("bounded", 3, 2 * price)).await;
    assert_eq!((&again["summary"]["succeeded"], &again["summary"]["failed"]), (&json!(3), &json!(0)), "{again}");
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, 6);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_when_it_can_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 100 * SOL);
    let office = BoxOptions::new(folder.path(), &wallet).set("HOURLY_LIMIT_SOL", "0.1").start().await;
    office.mint("v", &tickets("t", 4)).await;
    let two = json!({ "venueId": "v", "tickets": tickets("u", 2) });
    let (status, after, problem) = post(&office, &two).await;
    assert_eq!((status, &problem["code"]), (StatusCode::PAYMENT_REQUIRED, &json!("spending_limit")), "{problem}");
    assert_eq!(problem["retryable"], true);
    let (after, at) = (after.unwrap(), problem["retryAt"].as_str().unwrap());
    assert!((3_500..=3_661).contains(&after), "{after} s");
    let until = at.parse::<jiff::Timestamp>().unwrap().as_millisecond() - jiff::Timestamp::now().as_millisecond();
    assert!((until / 1_000).abs_diff(i64::try_from(after).unwrap()) < 10, "{at} is in {until} ms");
    assert!(problem["detail"].as_str().unwrap().contains(&format!("send the batch again at {at}")), "{problem}");
    let (status, after, problem) = post(&office, &json!({ "venueId": "v", "tickets": tickets("x", 6) })).await;
    assert_eq!((status, after, &problem["retryable"]), (StatusCode::PAYMENT_REQUIRED, None, &json!(false)));
    assert!(problem["detail"].as_str().unwrap().contains("send at most 5 tickets at once"), "{problem}");
    assert!(problem["retryAt"].is_null(), "{problem}");

    // An hour passes.
    books(folder.path()).execute("UPDATE spending SET minute = minute - 61", []).unwrap();
    assert_eq!(post(&office, &two).await.0, StatusCode::OK);
    office.finish().await;
}

async fn mint_later(office: &TestBox, id: &str) {
    let body = json!({ "venueId": "v", "tickets": [ticket(id)] });
    let request = office.request(Method::POST, "/admin/batch-mint").header("prefer", "respond-async");
    assert_eq!(answer(request.json(&body)).await.0, StatusCode::ACCEPTED);
}

async fn minted(office: &TestBox) -> u64 {
    office.app.store.counts(None).await.unwrap().of(MintStatus::Minted)
}

/// Accepts, but signs nothing.
fn signs_nothing(call: &Call) -> Fate {
    if call.method == "getLatestBlockhash" { Fate::Lost } else { Fate::Pass }
}

/// What would leave a wallet with less than an account needs to live is refused by the chain, at the price of a fee.
#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_pays_itself_keeps_what_an_account_needs() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, authority) = wallet(folder.path(), SOL);
    let proxy = Proxy::start(chain().rpc_url(), |_| Fate::Pass).await;
    let options = BoxOptions { rpc: proxy.url.clone(), ..BoxOptions::new(folder.path(), &wallet) };
    let office = options.set("MIN_SOL_BALANCE", "0").set("PACKING", "off").start().await;
    let (price, reserve) = (price(&office).await, office.app.chain.rent(0).await.unwrap().0);
    let holds = async |lamports: u64| {
        let params = json!([authority.to_string(), { "lamports": lamports }]);
        rpc_call(chain().rpc_url(), "surfnet_setAccount", params).await;
    };
    holds(price + 100_000).await;
    let missing = reserve - 100_000;
    let (status, _, problem) = post(&office, &json!({ "venueId": "v", "tickets": [ticket("t")] })).await;
    assert_eq!((status, &problem["missingLamports"]), (StatusCode::PAYMENT_REQUIRED, &json!(missing)), "{problem}");

    // Accepted while the money was there.
    proxy.set(signs_nothing);
    holds(price + reserve).await;
    mint_later(&office, "t").await;
    holds(price + 100_000).await;
    proxy.set(|_| Fate::Pass);
    let remedy = format!("too little for the next ticket: send it at least {}", Lamports(missing));
    let held = async || office.get("/admin/system/status").await.1["queue"]["held"].as_str().map(str::to_owned);
    until(async || held().await.is_some_and(|told| told.contains(&remedy))).await;
    holds(price + 100_000 + missing).await;
    until(async || minted(&office).await == 1).await;
    assert_eq!(office.balance().await, reserve, "no fee was lost");
    office.finish().await;
}

fn rich(mut answer: Value) -> Value {
    answer["result"]["value"] = json!(SOL);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn no_ticket_is_given_up_because_money_was_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, authority) = wallet(folder.path(), SOL);
    let proxy = Proxy::start(chain().rpc_url(), signs_nothing).await;
    let options = BoxOptions { rpc: proxy.url.clone(), ..BoxOptions::new(folder.path(), &wallet) };
    let office = options.set("PACKING", "off").start().await;
    mint_later(&office, "t").await;
    // Its last chance; and the money leaves between the look at it and the transaction.
    books(folder.path()).execute("UPDATE mints SET attempts = 4", []).unwrap();
    let params = json!([authority.to_string(), { "lamports": 10_000_000 }]);
    rpc_call(chain().rpc_url(), "surfnet_setAccount", params).await;
    let sent = AtomicBool::new(false);
    proxy.set(move |call| match call.method.as_str() {
        "sendTransaction" => {
            sent.store(true, Ordering::SeqCst);
            Fate::Pass
        }
        "getBalance" if !sent.load(Ordering::SeqCst) => Fate::Altered(rich),
        _ => Fate::Pass,
    });
    let state = "SELECT status, attempts FROM mints WHERE EXISTS (SELECT 1 FROM attempts WHERE state = 'rejected')";
    let state = || {
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?));
        books(folder.path()).query_row(state, [], row).ok()
    };
    until(async || state().is_some()).await;
    assert_eq!(state(), Some(("pending".into(), 4)));
    fund(chain(), &authority, SOL);
    until(async || minted(&office).await == 1).await;
    office.finish().await;
}

/// Moved back, the clock opens no window; and what was spent by a clock that stood a year ahead shuts none for a year.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_moved_neither_opens_a_window_nor_shuts_it_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 100 * SOL);
    let office = BoxOptions::new(folder.path(), &wallet).set("HOURLY_LIMIT_SOL", "0.1").start().await;
    office.mint("v", &tickets("t", 4)).await;
    let books = books(folder.path());
    let spent = |sql: &str| books.query_row(sql, [], |row| row.get::<_, u64>(0)).unwrap();
    let before = spent("SELECT sum(lamports) FROM spending");
    let two = json!({ "venueId": "v", "tickets": tickets("u", 2) });
    // The clock stood so many minutes ahead when the money was spent: two hours, a year.
    for ahead in [120, 525_600] {
        books.execute("UPDATE spending SET minute = minute + ?", [ahead]).unwrap();
        let (status, after, problem) = post(&office, &two).await;
        assert_eq!(status, StatusCode::PAYMENT_REQUIRED, "the window opened: {problem}");
        assert!(after.unwrap() <= 3_661, "shut for {after:?} s");
        let minutes = "SELECT max(minute) - unixepoch() / 60 + 1 FROM spending";
        assert_eq!((spent(minutes).min(1), spent("SELECT sum(lamports) FROM spending")), (1, before), "booked anew");
    }
    // The hour that was told is enough, though the machine was told a wrong time a year long.
    books.execute("UPDATE spending SET minute = minute - 61", []).unwrap();
    assert_eq!(post(&office, &two).await.0, StatusCode::OK);
    drop(books);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_batches_that_race_for_the_last_money_one_is_accepted() {
    for (round, setting) in
        [("MIN_SOL_BALANCE", "0"), ("HOURLY_LIMIT_SOL", "0.1"), ("DAILY_LIMIT_SOL", "0.1")].iter().enumerate()
    {
        let folder = tempfile::tempdir().unwrap();
        // Money, or limits, for five tickets.
        let funds = if round == 0 { SOL / 10 } else { 100 * SOL };
        let (wallet, authority) = wallet(folder.path(), funds);
        let office = BoxOptions::new(folder.path(), &wallet).set("MIN_SOL_BALANCE", "0").set(setting.0, setting.1);
        let office = office.start().await;
        let rival = |n: usize| json!({ "venueId": "v", "tickets": tickets(&format!("r{n}"), 3) });
        let rivals: Vec<Value> = (0..8).map(rival).collect();
        let answers = futures_util::future::join_all(rivals.iter().map(|body| post(&office, body))).await;
        let accepted = answers.iter().filter(|(status, ..)| *status == StatusCode::OK).count();
        assert_eq!(accepted, 1, "{setting:?}: {answers:?}");
        let code = if round == 0 { "insufficient_funds" } else { "spending_limit" };
        let refused = answers
            .iter()
            .filter(|(status, _, problem)| *status == StatusCode::PAYMENT_REQUIRED && problem["code"] == code);
        assert_eq!(refused.count(), 7, "{answers:?}");
        assert_eq!(nfts_of(chain().rpc_url(), &authority).await, 3);
        office.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_within_its_limit_also_with_the_highest_offer() {
    let folder = tempfile::tempdir().unwrap();
    // Three tickets cost less than that as long as little is offered, and more with 1,100,000 lamports for each.
    let offers = [("PRIORITY_FEE_FLOOR", "1"), ("PRIORITY_FEE_CAP", "5000000"), ("TX_LIMIT_SOL", "0.06")];
    let (wallet, _) = wallet(folder.path(), 100 * SOL);
    let options = BoxOptions::new(folder.path(), &wallet);
    let options = offers.into_iter().fold(options, |options, (name, value)| options.set(name, value));
    let office = options.start().await;
    office.packs().await;
    let usual = office.app.prices.ticket().await.unwrap().total();
    assert!(usual * 3 < Lamports(60_000_000), "{usual}");
    assert_eq!(office.app.minter.tickets_per_transaction(), 2);
    assert_eq!(office.mint("v", &tickets("t", 5)).await["summary"]["succeeded"], 5);
    office.finish().await;
}
