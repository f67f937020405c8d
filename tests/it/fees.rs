//! Priority fees and compute limits: what is offered, what is allowed, and that the books say what the chain took.

use std::sync::Mutex;

use reqwest::StatusCode;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{
    proxy::{Call, Fate, Proxy},
    *,
};

const FUNDS: u64 = 100 * SOL;

struct Venue {
    folder: tempfile::TempDir,
    proxy: Proxy,
    office: TestBox,
}

/// An attempt as the books have it.
#[derive(Debug)]
struct Attempt {
    signature: String,
    state: String,
    fee: u64,
    units: u64,
    price: u64,
}

impl Venue {
    async fn open(settings: &[(&'static str, &str)], rule: impl Fn(&Call) -> Fate + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (wallet, _) = wallet(folder.path(), FUNDS);
        let proxy = Proxy::start(chain().rpc_url(), rule).await;
        let options = BoxOptions { rpc: proxy.url.clone(), ..BoxOptions::new(folder.path(), &wallet) };
        // What a transaction may use and offers is looked at ticket by ticket.
        let options = options.set("PACKING", "off");
        let options = settings.iter().fold(options, |options, (name, value)| options.set(name, *value));
        Self { office: options.start().await, proxy, folder }
    }

    /// All attempts in the order in which they were signed.
    fn attempts(&self) -> Vec<Attempt> {
        let books = Connection::open(self.folder.path().join("data/boxoffice.db")).unwrap();
        let mut rows = books
            .prepare(
                "SELECT signature, state, fee_lamports, compute_units, compute_unit_price FROM attempts ORDER BY id",
            )
            .unwrap();
        let read = |row: &rusqlite::Row<'_>| {
            let (signature, state) = (row.get(0)?, row.get(1)?);
            Ok(Attempt { signature, state, fee: row.get(2)?, units: row.get(3)?, price: row.get(4)? })
        };
        rows.query_map([], read).unwrap().map(Result::unwrap).collect()
    }

    /// What the chain took for an attempt, and the compute units that it used.
    async fn on_chain(&self, attempt: &Attempt) -> (u64, u64) {
        let config = json!({ "commitment": "confirmed", "maxSupportedTransactionVersion": 0 });
        let found = rpc_call(chain().rpc_url(), "getTransaction", json!([attempt.signature, config])).await;
        let meta = |name: &str| found["meta"][name].as_u64().unwrap();
        (meta("fee"), meta("computeUnitsConsumed"))
    }

    async fn spent(&self) -> u64 {
        FUNDS - self.office.balance().await
    }

    async fn estimate(&self, count: usize) -> Value {
        self.office.get(&format!("/admin/batch-mint/estimate?count={count}")).await.1
    }
}

fn others_offer(_: Value) -> Value {
    let fees: Vec<Value> = (1..=100).map(|n| json!({ "slot": n, "prioritizationFee": n * 100 })).collect();
    json!({ "jsonrpc": "2.0", "id": 1, "result": fees })
}

fn offers(call: &Call) -> Fate {
    match call.method.as_str() {
        "getRecentPrioritizationFees" => Fate::Altered(others_offer),
        _ => Fate::Pass,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_offered_is_estimated_paid_and_booked_to_the_lamport() {
    let venue = Venue::open(&[("PRIORITY_FEE_PERCENTILE", "75")], offers).await;
    // The first ticket teaches how many compute units there are to pay for.
    let first = venue.office.mint("v", &tickets("first", 1)).await;
    let estimate = venue.estimate(20).await;
    let result = venue.office.mint("v", &tickets("t", 20)).await;
    let paid: u64 = [&first, &result].iter().map(|batch| batch["summary"]["spentLamports"].as_u64().unwrap()).sum();
    assert_eq!(venue.spent().await, paid, "the books say what the wallet lost");
    for attempt in venue.attempts() {
        assert_eq!((attempt.state.as_str(), attempt.price), ("landed", 7_500), "three of four offer no more");
        assert_eq!(attempt.fee, 5_000 + (7_500 * attempt.units).div_ceil(1_000_000));
        assert_eq!(venue.on_chain(&attempt).await.0, attempt.fee);
    }
    let expected = estimate["breakdown"]["priorityFeeLamports"].as_u64().unwrap();
    let actual: u64 = venue.attempts()[1..].iter().map(|attempt| attempt.fee - 5_000).sum();
    assert!(expected.abs_diff(actual) * 10 < actual, "estimated {expected}, paid {actual}");
    let (questions, trials) =
        (venue.proxy.count("getRecentPrioritizationFees"), venue.proxy.count("simulateTransaction"));
    assert!(questions <= 3 && trials == 1, "{questions} questions, {trials} trials for 21 tickets");
    venue.office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_the_floor_is_offered_and_nothing_waits() {
    let silent = |call: &Call| match call.method.as_str() {
        "getRecentPrioritizationFees" | "simulateTransaction" => Fate::Lost,
        _ => Fate::Pass,
    };
    for (floor, price) in [("0", 0), ("40", 40)] {
        let settings = [("PRIORITY_FEE_PERCENTILE", "75"), ("PRIORITY_FEE_FLOOR", floor)];
        let venue = Venue::open(&settings, silent).await;
        let estimate = venue.estimate(10).await;
        let result = venue.office.mint("v", &tickets("t", 10)).await;
        assert_eq!(result["summary"]["spentLamports"], venue.spent().await);
        assert_eq!(
            result["summary"]["spentLamports"], estimate["estimatedLamports"],
            "the fixed limit is known before"
        );
        let attempts = venue.attempts();
        assert!(attempts.iter().all(|a| (a.price, a.units) == (price, 220_000)), "{attempts:?}");
        venue.office.finish().await;
    }
    // The embedded chain answers with an empty list.
    let venue = Venue::open(&[("PRIORITY_FEE_PERCENTILE", "75")], |_| Fate::Pass).await;
    venue.office.mint("v", &tickets("t", 3)).await;
    assert!(venue.attempts().iter().all(|a| (a.price, a.fee) == (0, 5_000)));
    assert_eq!(venue.proxy.count("getRecentPrioritizationFees"), 1);
    venue.office.finish().await;
}

/// How far off the prediction is, and that the limit is never too small: on some hundred tickets of all kinds.
#[tokio::test(flavor = "multi_thread")]
async fn the_reckoned_compute_limit_holds_for_hundreds_of_tickets() {
    let venue = Venue::open(&[], |_| Fate::Pass).await;
    let mut batch = tickets("t", 400);
    for (number, ticket) in batch.iter_mut().enumerate() {
        ticket["ticketData"]["eventName"] = json!("Ω".repeat(1 + number % 40));
        if number % 2 == 0 {
            ticket["ownerAddress"] = json!(boxoffice::chain::wallet::Wallet::ephemeral().address().to_string());
        }
    }
    let result = venue.office.mint("v", &batch).await;
    assert_eq!(result["summary"]["succeeded"], 400, "{}", result["failed"]);
    let attempts = venue.attempts();
    assert_eq!(attempts.iter().filter(|attempt| attempt.state == "landed").count(), 400);
    assert!(attempts.iter().all(|attempt| attempt.state != "rejected"), "none was allowed too little");
    let (mut worst, mut most, mut allowed) = (0_i64, 0, 0);
    for attempt in attempts.iter().filter(|attempt| attempt.state == "landed") {
        let used = venue.on_chain(attempt).await.1;
        let predicted = attempt.units * 10 / 11;
        let error = i64::try_from(used).unwrap() - i64::try_from(predicted).unwrap();
        worst = if error.abs() > worst.abs() { error } else { worst };
        most = most.max(used);
        allowed += attempt.units;
    }
    let mean = allowed / 400;
    println!(
        "400 tickets: the prediction is off by {worst} units at worst; up to {most} used, {mean} allowed on average"
    );
    assert!(worst.abs() < 2_000, "off by {worst} units");
    assert!(mean < 165_000, "{mean} is no better than a fixed limit");
    assert_eq!(venue.proxy.count("simulateTransaction"), 1);
    venue.office.finish().await;
}

fn far_too_few(mut answer: Value) -> Value {
    answer["result"]["value"]["unitsConsumed"] = json!(60_000);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_allowed_too_little_is_allowed_more_and_pays_for_both() {
    let rule = |call: &Call| match call.method.as_str() {
        "simulateTransaction" => Fate::Altered(far_too_few),
        _ => offers(call),
    };
    let venue = Venue::open(&[("PRIORITY_FEE_PERCENTILE", "75"), ("PRIORITY_FEE_CAP", "8000")], rule).await;
    let result = venue.office.mint("v", &tickets("t", 4)).await;
    assert_eq!(result["summary"]["succeeded"], 4, "{result}");
    let attempts = venue.attempts();
    let rejected = attempts.iter().filter(|attempt| attempt.state == "rejected").count();
    assert!(rejected >= 4, "{attempts:?}");
    // However much one may use, its offer is no more than that of a usual transaction at the cap.
    assert!(attempts.iter().all(|attempt| attempt.fee <= 5_000 + 1_760), "{attempts:?}");
    for attempt in &attempts {
        assert_eq!(venue.on_chain(attempt).await.0, attempt.fee, "{attempt:?}");
    }
    assert_eq!(result["summary"]["spentLamports"], venue.spent().await, "fees of the failed ones are in the bill");
    venue.office.finish().await;
}

/// More is offered for what was sent and expired, and only for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_expired_offers_more_when_it_is_signed_again() {
    let sent: Mutex<Vec<String>> = Mutex::default();
    let rule = move |call: &Call| match call.method.as_str() {
        // The network forgets the first two transactions, however often it is sent them.
        "sendTransaction" => {
            let (mut sent, bytes) = (sent.lock().unwrap(), call.params[0].as_str().unwrap().to_owned());
            let nth = sent.iter().position(|seen| *seen == bytes).unwrap_or_else(|| {
                sent.push(bytes);
                sent.len() - 1
            });
            if nth < 2 { Fate::Swallowed(json!("1".repeat(64))) } else { Fate::Pass }
        }
        _ => offers(call),
    };
    let venue = Venue::open(&[("PRIORITY_FEE_PERCENTILE", "50"), ("PRIORITY_FEE_CAP", "12000")], rule).await;
    let result = venue.office.mint("v", &tickets("t", 1)).await;
    assert_eq!(result["summary"]["succeeded"], 1, "{result}");
    let attempts = venue.attempts();
    let offered: Vec<_> = attempts.iter().map(|attempt| (attempt.state.as_str(), attempt.price)).collect();
    assert_eq!(offered, [("dead", 5_000), ("dead", 10_000), ("landed", 12_000)], "doubled, up to the cap");
    assert_eq!(result["summary"]["spentLamports"], venue.spent().await, "what expired has cost nothing");
    venue.office.finish().await;
}

/// What is reserved is the most that may be offered; what is told is what is expected.
#[tokio::test(flavor = "multi_thread")]
async fn the_cap_is_reserved_and_the_expected_price_is_told() {
    let settings = [("PRIORITY_FEE_PERCENTILE", "75"), ("PRIORITY_FEE_CAP", "1000000")];
    let venue = Venue::open(&settings, offers).await;
    let estimate = venue.estimate(1).await["estimatedLamports"].as_u64().unwrap();
    let without = estimate - venue.estimate(1).await["breakdown"]["priorityFeeLamports"].as_u64().unwrap();
    let body = json!({ "venueId": "v", "tickets": tickets("t", 6_000) });
    let (status, problem) = venue.office.post("/admin/batch-mint", &body).await;
    assert_eq!((status, &problem["code"]), (StatusCode::PAYMENT_REQUIRED, &json!("insufficient_funds")));
    assert_eq!(problem["missingLamports"], 6_000 * (without + 220_000) + SOL / 10 - FUNDS, "{estimate}");
    venue.office.finish().await;
}
