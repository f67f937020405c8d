//! Every path, field and example of the specification that the box began with, posted as it is written there.
//!
//! | specification | test |
//! |---|---|
//! | `POST /admin/batch-mint`, its body and answer | `batch_mint_answers_as_its_example` |
//! | `GET /admin/batch-mint/estimate?count=` | `estimate_answers_as_its_use_case` |
//! | `GET /admin/dashboard`, `GET /admin/mints`, `GET /admin/mints/{ticketId}` | `dashboard_and_mints_answer_as_their_examples` |
//! | `GET /admin/stats/{venueId}` | `stats_answer_as_their_example` |
//! | `GET /admin/system/status` | `system_status_answers_as_its_example` |
//! | Monitoring: names of all metrics | `metrics_have_the_names_of_the_monitoring_section` |
//! | Security: `x-admin-api-key`, 401 with `error` | `api::the_key_opens_admin_and_nothing_else_does`, `access::…` |
//! | Security: IP list, rate limit of 10 a minute | `access::only_allowed_addresses…`, `access::those_who_ask_too_often…` |
//! | Use case 1: estimate 1,000, mint them, handle what failed | `bulk_event_minting_works_as_its_use_case` |
//! | `.env` as it is written there | `settings::settings_of_later_versions_are_named_and_do_not_stop_the_box` |

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    proxy::{Fate, Proxy},
    *,
};

/// The example of the batch mint API, to the letter.
fn example() -> Value {
    serde_json::from_str(
        r#"{
          "venueId": "venue-123",
          "tickets": [
            {
              "id": "ticket-1",
              "eventId": "event-1",
              "userId": "user-1",
              "ticketData": {
                "eventName": "Concert",
                "eventDate": "2025-12-01",
                "venue": "Stadium",
                "tier": "VIP",
                "seatNumber": "A1"
              }
            }
          ]
        }"#,
    )
    .unwrap()
}

/// Asserts that an answer has exactly these kinds of values in these fields, whatever else it has.
fn assert_shape(answer: &Value, shape: &Value, at: &str) {
    match shape {
        Value::Object(fields) => {
            for (name, shape) in fields {
                let value = answer.get(name).unwrap_or_else(|| panic!("{at}/{name} is missing in {answer}"));
                assert_shape(value, shape, &format!("{at}/{name}"));
            }
        }
        Value::Array(entries) => {
            let found = answer.as_array().unwrap_or_else(|| panic!("{at} is no array"));
            for entry in found {
                assert_shape(entry, &entries[0], &format!("{at}/0"));
            }
        }
        Value::String(_) => assert!(answer.is_string(), "{at} is {answer}"),
        Value::Number(_) => assert!(answer.is_number(), "{at} is {answer}"),
        Value::Bool(_) => assert!(answer.is_boolean(), "{at} is {answer}"),
        Value::Null => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_mint_answers_as_its_example() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let (status, answer) = office.post("/admin/batch-mint", &example()).await;
    assert_eq!(status, StatusCode::OK);
    let shape = json!({
        "successful": [{ "ticketId": "", "signature": "", "metadataUri": "" }],
        "failed": [{ "ticketId": "", "error": "" }],
        "summary": { "total": 0, "succeeded": 0, "failed": 0, "totalDuration": 0.0, "avgDuration": 0.0 }
    });
    assert_shape(&answer, &shape, "");
    assert_eq!(answer["successful"][0]["ticketId"], "ticket-1");
    assert!(answer["successful"][0]["signature"].as_str().unwrap().len() > 80);
    assert!(answer["successful"][0]["metadataUri"].as_str().unwrap().starts_with("ipfs://bafkrei"));
    assert_eq!((&answer["summary"]["total"], &answer["summary"]["succeeded"]), (&json!(1), &json!(1)));

    // The same with a ticket that cannot be minted: the example's `failed`.
    let mut mixed = example();
    mixed["tickets"].as_array_mut().unwrap().push(json!({ "id": "ticket-2" }));
    let (status, answer) = office.post("/admin/batch-mint", &mixed).await;
    assert_eq!(status, StatusCode::OK);
    assert_shape(&answer, &shape, "");
    assert_eq!(answer["failed"][0]["ticketId"], "ticket-2");
    assert_eq!(answer["failed"][0]["code"], "invalid_ticket");
    assert_eq!((&answer["summary"]["total"], &answer["summary"]["failed"]), (&json!(2), &json!(1)));
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn estimate_answers_as_its_use_case() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let (status, estimate) = office.get("/admin/batch-mint/estimate?count=100").await;
    assert_eq!(status, StatusCode::OK);
    assert_shape(
        &estimate,
        &json!({ "count": 0, "estimatedSOL": 0.0, "estimatedTimeSeconds": 0.0, "breakdown": {} }),
        "",
    );
    assert_eq!(estimate["count"], 100);
    let lamports = estimate["estimatedLamports"].as_u64().unwrap();
    // Tickets that ride together share a fee.
    let saved = estimate["breakdown"]["perTicketLamports"].as_u64().unwrap() * 100 - lamports;
    assert!(saved == 0 || saved == (100 - 34) * 5_000, "{saved}");
    let parts = estimate["breakdown"].as_object().unwrap().iter().filter(|(name, _)| *name != "perTicketLamports");
    assert_eq!(parts.map(|(_, part)| part.as_u64().unwrap()).sum::<u64>(), lamports, "the parts are the whole");
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_event_minting_works_as_its_use_case() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let (_, estimate) = office.get("/admin/batch-mint/estimate?count=1000").await;
    let minutes = estimate["estimatedTimeSeconds"].as_f64().unwrap() / 60.0;
    assert!(minutes > 0.0 && minutes < 5.0, "{minutes}");
    let result = office.mint("venue-123", &tickets("t", 1000)).await;
    assert_eq!((&result["summary"]["succeeded"], &result["failed"]), (&json!(1000), &json!([])));
    assert_eq!(result["summary"]["spentLamports"], estimate["estimatedLamports"], "an honest price");
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_and_mints_answer_as_their_examples() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let mut batch = tickets("t", 12);
    batch.push(json!({ "id": "wrong" }));
    office.mint("venue-123", &batch).await;
    let (status, dashboard) = office.get("/admin/dashboard").await;
    assert_eq!(status, StatusCode::OK);
    assert_shape(&dashboard, &json!({ "totalMints": 0, "pendingMints": 0, "failedMints": 0, "recentMints": [{}] }), "");
    assert_eq!((&dashboard["totalMints"], &dashboard["pendingMints"]), (&json!(12), &json!(0)));
    let recent: Vec<&Value> =
        dashboard["recentMints"].as_array().unwrap().iter().map(|mint| &mint["ticketId"]).collect();
    assert_eq!(recent, ["t-11", "t-10", "t-9", "t-8", "t-7", "t-6", "t-5", "t-4", "t-3", "t-2"], "the ten newest");
    let (status, mints) = office.get("/admin/mints").await;
    assert_eq!((status, mints["mints"].as_array().unwrap().len()), (StatusCode::OK, 12));
    let (status, mint) = office.get("/admin/mints/t-3").await;
    assert_eq!((status, &mint["status"], &mint["venueId"]), (StatusCode::OK, &json!("minted"), &json!("venue-123")));
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_answer_as_their_example() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let result = office.mint("venue-123", &tickets("t", 20)).await;
    let (status, venue) = office.get("/admin/stats/venue-123").await;
    assert_eq!(status, StatusCode::OK);
    let shape = json!({ "venueId": "", "totalMints": 0, "successfulMints": 0, "failedMints": 0, "successRate": 0.0,
        "avgMintTimeSeconds": 0.0 });
    assert_shape(&venue, &shape, "");
    assert_eq!((&venue["totalMints"], &venue["successfulMints"]), (&json!(20), &json!(20)));
    assert_eq!(venue["successRate"], 100.0);
    assert_eq!(venue["spentLamports"], result["summary"]["spentLamports"]);
    let seconds = venue["avgMintTimeSeconds"].as_f64().unwrap();
    assert!(seconds > 0.0 && seconds < 60.0, "{seconds}");
    let series = venue["series"].as_array().unwrap();
    assert_eq!(series.iter().map(|period| period["minted"].as_u64().unwrap()).sum::<u64>(), 20);
    for range in ["24h", "7d", "30d", "365d"] {
        let (status, _) = office.get(&format!("/admin/stats/venue-123?range={range}")).await;
        assert_eq!(status, StatusCode::OK, "{range}");
    }
    assert_eq!(office.get("/admin/stats/venue-123?range=1h").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(office.get("/admin/stats/nowhere").await.0, StatusCode::NOT_FOUND);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn system_status_answers_as_its_example() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let (status, system) = office.get("/admin/system/status").await;
    assert_eq!(status, StatusCode::OK);
    let shape = json!({
        "balanceMonitor": { "balance": 0.0, "sufficient": true, "minRequired": 0.0, "lastCheck": "" },
        "cache": { "enabled": true, "connected": true, "keyCount": 0 },
        "database": { "connected": true },
        "timestamp": ""
    });
    assert_shape(&system, &shape, "");
    assert_eq!(system["balanceMonitor"]["balance"], 100.0);
    assert_eq!(
        (&system["balanceMonitor"]["sufficient"], &system["balanceMonitor"]["minRequired"]),
        (&json!(true), &json!(0.1))
    );
    let price = office.get("/admin/batch-mint/estimate?count=1").await.1["estimatedLamports"].as_u64().unwrap();
    assert_eq!(system["balanceMonitor"]["runwayTickets"], (100 * SOL - SOL / 10) / price);
    assert_eq!((&system["rpc"][0]["healthy"], &system["rpc"][0]["preferred"]), (&json!(true), &json!(true)));
    assert_eq!(system["queue"]["pending"], 0);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_does_not_answer_is_no_empty_wallet() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 5 * SOL);
    let proxy = Proxy::start(chain().rpc_url(), |_call| Fate::Pass).await;
    let mut options = BoxOptions::new(folder.path(), &wallet);
    options.rpc = proxy.url.clone();
    let office = options.start().await;
    assert_eq!(office.get("/admin/system/status").await.1["balanceMonitor"]["balance"], 5.0);
    proxy.set(|_call| Fate::Lost);
    let (status, system) = office.get("/admin/system/status").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(system["balanceMonitor"]["balance"], 5.0, "the last answer, with its time");
    assert_eq!(office.get("/health/full").await.0, StatusCode::SERVICE_UNAVAILABLE);
    let metrics = office.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains(" 5000000000\n"), "{metrics}");
    office.abandon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_names_of_the_monitoring_section() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let mut batch = tickets("t", 3);
    batch.push(json!("no ticket"));
    office.mint("v", &batch).await;
    office.get("/admin/mints/nobody").await;
    let response = office.request(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4");
    let text = response.text().await.unwrap();
    for line in [
        "# TYPE minting_batch_size histogram",
        "minting_batch_size_sum 4",
        "# TYPE minting_batch_duration_seconds histogram",
        "minting_batch_duration_seconds_count 1",
        "# TYPE minting_batch_success_rate gauge",
        "minting_batch_success_rate 75",
        "minting_tickets_total{outcome=\"minted\"} 3",
        "# TYPE minting_cache_hits_total counter",
        "# TYPE minting_cache_misses_total counter",
        "# TYPE minting_cache_hit_rate gauge",
        "# TYPE minting_reconciliation_discrepancies gauge",
        "# TYPE minting_reconciliation_fixed counter",
        "# TYPE minting_reconciliation_duration gauge",
        "minting_admin_requests_total{method=\"POST\",route=\"/admin/batch-mint\"} 1",
        "minting_admin_requests_total{method=\"GET\",route=\"/admin/mints/{ticketId}\"} 1",
        "minting_admin_errors_total{code=\"not_found\",route=\"/admin/mints/{ticketId}\"} 1",
        "boxoffice_http_request_duration_seconds_count{method=\"POST\",route=\"/admin/batch-mint\",status=\"200\"} 1",
        "minting_queue_depth{status=\"pending\"} 0",
        "boxoffice_sqlite_seconds_count{operation=\"commit\"}",
        "process_resident_memory_bytes",
    ] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
    let sends =
        text.lines().find(|line| line.contains("boxoffice_rpc_calls_total") && line.contains("sendTransaction"));
    assert!(sends.unwrap().contains("outcome=\"ok\""), "{sends:?}");
    office.finish().await;
}
