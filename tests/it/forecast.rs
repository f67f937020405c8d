//! What is to be expected of a batch: from the record, compared with what came of it.

use std::{path::Path, time::Duration};

use reqwest::StatusCode;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{
    proxy::{Fate, Proxy, plan},
    *,
};

fn office(folder: &Path, wallet: &Path, rpc: &Proxy) -> BoxOptions {
    let options = BoxOptions { rpc: rpc.url.clone(), ..BoxOptions::new(folder, wallet) };
    options.set("MAX_BATCH_SIZE", "10").set("BATCH_DELAY_MS", "100").set("PACING", "adaptive")
}

async fn estimate(office: &TestBox, count: usize) -> Value {
    let (status, estimate) = office.get(&format!("/admin/batch-mint/estimate?count={count}")).await;
    assert_eq!(status, StatusCode::OK, "{estimate}");
    assert_eq!(estimate["count"], count);
    estimate["forecast"].clone()
}

async fn batch(office: &TestBox, result: &Value) -> Value {
    let (_, batch) = office.get(&format!("/admin/batches/{}", result["batchId"].as_str().unwrap())).await;
    batch["forecast"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forecast_of_the_next_batch_is_kept_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 100 * SOL);
    let proxy = Proxy::start(chain().rpc_url(), plan(30, Some("1"), Duration::from_millis(50))).await;
    let office = office(folder.path(), &wallet, &proxy).start().await;

    // Nothing is known, and nothing is pretended.
    let forecast = estimate(&office, 100).await;
    assert_eq!((&forecast["durationSeconds"], &forecast["signedAgainShare"]), (&Value::Null, &Value::Null));
    assert!(forecast["explanation"].as_str().unwrap().starts_with("no record yet: 0 transactions"), "{forecast}");
    assert_eq!(forecast["basis"]["since"], Value::Null);

    let first = office.mint("v", &tickets("first", 700)).await;
    assert_eq!(first["summary"]["succeeded"], 700, "{}", first["failed"]);
    let without = batch(&office, &first).await;
    assert_eq!((&without["durationSeconds"], &without["actual"]["withinRange"]), (&Value::Null, &Value::Null));
    assert!(without["actual"]["durationSeconds"].as_f64().unwrap() > 3.0, "{without}");

    let forecast = estimate(&office, 200).await;
    let basis = &forecast["basis"];
    assert!(basis["ticketsPerSecond"].as_f64().unwrap() > 10.0, "{forecast}");
    assert!(basis["since"].as_str().unwrap().ends_with(":00:00Z"), "{forecast}");
    let endpoint = &basis["endpoints"][0];
    assert!(proxy.url.as_str().starts_with(endpoint["endpoint"].as_str().unwrap()), "{endpoint}");
    // Counted when the answer comes: none is under way.
    assert_eq!(endpoint["sends"], proxy.count("sendTransaction"), "{endpoint}");
    assert_eq!(endpoint["limited"], proxy.limited(), "{endpoint}");
    assert!(endpoint["failed"].as_u64().unwrap() > 0, "{endpoint}");
    let body = json!({ "venueId": "v", "tickets": tickets("second", 200) });
    let (_, dry_run) = office.post("/admin/batch-mint?dryRun=true", &body).await;
    assert_eq!(dry_run["forecast"]["signedAgainShare"], forecast["signedAgainShare"]);

    // What was told is kept, and compared with what came of it. How well it holds depends on what else this machine does.
    let told = estimate(&office, 200).await["signedAgainShare"].clone();
    let result = office.mint("v", &tickets("second", 200)).await;
    let kept = batch(&office, &result).await;
    assert_eq!(result["forecast"]["durationSeconds"], kept["durationSeconds"]);
    assert_eq!(kept["signedAgainShare"], told);
    assert!(kept["explanation"].as_str().unwrap().starts_with("about "), "{kept}");
    let holds = |figure: &str| {
        let at = |end: &str| kept[figure][end].as_f64().unwrap();
        (at("low")..=at("high")).contains(&kept["actual"][figure].as_f64().unwrap())
    };
    let within = holds("durationSeconds") && holds("signedAgainShare");
    assert_eq!(kept["actual"]["withinRange"], within, "{kept:#}");
    let metrics = office.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let compared = |outcome: &str| metrics.contains(&format!("boxoffice_forecasts_total{{outcome=\"{outcome}\"}} 1"));
    assert_eq!(compared("within"), holds("durationSeconds"), "{metrics}");
    assert_eq!(compared("below") || compared("above"), !holds("durationSeconds"), "{metrics}");
    assert!(metrics.contains("boxoffice_forecast_error_ratio_count 1"), "{metrics}");
    // Tickets that are known already are not expected to do anything.
    let again = office.mint("v", &tickets("second", 200)).await;
    assert_eq!(again["forecast"], Value::Null);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_outlives_a_restart_and_belongs_to_its_endpoints() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 100 * SOL);
    let proxy = Proxy::start(chain().rpc_url(), |_| Fate::Pass).await;
    let first = office(folder.path(), &wallet, &proxy).start().await;
    assert_eq!(first.mint("v", &tickets("t", 120)).await["summary"]["succeeded"], 120);
    // The last of them are counted a moment after they are settled, and so are those that were sent again meanwhile.
    let sends = |forecast: &Value| forecast["basis"]["endpoints"][0]["sends"].clone();
    until(async || {
        let now = estimate(&first, 20).await;
        !now["durationSeconds"].is_null() && sends(&now) == proxy.count("sendTransaction")
    })
    .await;
    let before = estimate(&first, 20).await;
    assert!(before["durationSeconds"]["expected"].as_f64().unwrap() > 0.0, "{before}");
    first.finish().await;

    let second = office(folder.path(), &wallet, &proxy).start().await;
    let after = estimate(&second, 20).await;
    assert_eq!(after["signedAgainShare"], before["signedAgainShare"]);
    assert_eq!(after["basis"]["transactions"], before["basis"]["transactions"]);
    assert_eq!(sends(&after), sends(&before));
    second.finish().await;

    // The command reads the same record.
    let (rpc, data) = (proxy.url.to_string(), folder.path().join("data").display().to_string());
    let (key_file, command_folder) = (wallet.display().to_string(), folder.path().to_owned());
    let said = tokio::task::spawn_blocking(move || {
        let environment = [
            ("NETWORK", "localnet"),
            ("SOLANA_RPC_URLS", rpc.as_str()),
            ("DATA_DIR", data.as_str()),
            ("WALLET_PATH", key_file.as_str()),
        ];
        let said = |arguments: &[&str]| {
            let output = run(&command_folder, arguments, &environment);
            assert!(output.status.success(), "{}", stderr(&output));
            stdout(&output)
        };
        (said(&["estimate", "20"]), said(&["estimate", "20", "--json"]))
    });
    let (text, json) = said.await.unwrap();
    assert!(text.lines().last().unwrap().starts_with("forecast: about "), "{text}");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["forecast"]["basis"]["transactions"], before["basis"]["transactions"]);

    // Another plan is another record.
    let other = Proxy::start(chain().rpc_url(), |_| Fate::Pass).await;
    let third = office(folder.path(), &wallet, &other).start().await;
    assert_eq!(estimate(&third, 20).await["durationSeconds"], Value::Null);
    third.finish().await;
}

/// Whatever a hand, or a clock that jumped, has put into the record: the box starts, answers, mints, and goes on recording.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_the_record_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 100 * SOL);
    let proxy = Proxy::start(chain().rpc_url(), |_| Fate::Pass).await;
    let first = office(folder.path(), &wallet, &proxy).start().await;
    assert_eq!(first.mint("v", &tickets("a", 40)).await["summary"]["succeeded"], 40);
    let before = estimate(&first, 20).await;
    let name = before["basis"]["endpoints"][0]["endpoint"].as_str().unwrap().to_owned();
    first.finish().await;

    let books = Connection::open(folder.path().join("data/boxoffice.db")).unwrap();
    let hour = |ms: i64| ms.div_euclid(3_600_000);
    let now = hour(boxoffice::clock::Clock::now_ms(&boxoffice::clock::SystemClock));
    let huge = i64::MAX;
    for (at, landed, settle, squares) in [
        (now - 1, -5, "[]", "0.0"),
        (now - 2, huge, "[1]", "1e999"),
        (now - 3, 7, "no JSON", "-1.0"),
        (now - 4, huge, "[-1,-2]", "0.0"),
        // A clock that stood in the future, and one that stood at its beginning.
        (now + 50_000, 300, "[]", "0.0"),
        (huge, 300, "[]", "0.0"),
        (0, 300, "[]", "0.0"),
        (-7, 300, "[]", "0.0"),
    ] {
        let sql =
            format!("INSERT INTO engine_hours VALUES (?1, ?2, ?3, 0, 0, 0, ?3, ?4, ?3, ?3, ?3, ?3, ?3, {squares})");
        books.execute(&sql, (&name, at, landed, settle)).unwrap();
        books.execute("INSERT INTO endpoint_hours VALUES (?1, ?2, ?3, -1, ?3, 5, 5)", (&name, at, landed)).unwrap();
    }
    let read = |what: &str| books.query_row(what, [], |row| row.get::<_, i64>(0)).unwrap();

    let second = office(folder.path(), &wallet, &proxy).start().await;
    let after = estimate(&second, 20).await;
    assert_eq!(after["signedAgainShare"], before["signedAgainShare"]);
    for part in ["since", "transactions", "ticketsPerSecond", "endpoints"] {
        assert_eq!(after["basis"][part], before["basis"][part], "{part}");
    }
    // The hour that is being written makes no sense either.
    books
        .execute(
            "UPDATE engine_hours SET landed = ?1, paced_squares = 1e999 WHERE hour >= ?2 AND hour < ?2 + 10",
            (huge, now),
        )
        .unwrap();
    books.execute("UPDATE batches SET forecast = '{\"odd\":'", []).unwrap();
    let result = second.mint("v", &tickets("b", 40)).await;
    assert_eq!(result["summary"]["succeeded"], 40);
    let (status, list) = second.get("/admin/batches").await;
    assert_eq!((status, list["batches"].as_array().unwrap().len()), (StatusCode::OK, 2));
    second.finish().await;
    let landed = read(&format!(
        "SELECT landed FROM engine_hours WHERE hour >= {now} AND hour < {now} + 10 ORDER BY hour DESC LIMIT 1"
    ));
    assert!((1..=40).contains(&landed), "begun anew, with what was counted: {landed}");

    let third = office(folder.path(), &wallet, &proxy).start().await;
    assert!(estimate(&third, 20).await["basis"]["transactions"].as_i64().unwrap() >= landed);
    third.app.store.keep_house((now + 1) * 3_600_000).await.unwrap();
    let far = format!("SELECT count(*) FROM engine_hours WHERE hour < {now} - 900");
    assert_eq!(read(&far), 0, "what is too old is forgotten");
    third.finish().await;
}
