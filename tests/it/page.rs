//! What the status page is made of, asked for as the page does.

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::support::*;

async fn send_file(office: &TestBox, query: &str, kind: &str, file: &str) -> (StatusCode, Value) {
    let request = office.request(Method::POST, &format!("/admin/tickets/read?{query}"));
    let response = request.header(header::CONTENT_TYPE, kind).body(file.to_owned()).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_runs_only_what_came_with_it_and_is_sent_once() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), SOL);
    let mut office = BoxOptions::new(folder.path(), &wallet).set("ADMIN_API_KEY", "a-key-of-some-length").start().await;
    // Its files hold no data and need no key.
    let key = office.key.take();
    let page = office.request(Method::GET, "/").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    assert_eq!(page.headers()["content-type"], "text/html");
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let etag = page.headers()["etag"].clone();
    let again = office.request(Method::GET, "/").header("if-none-match", &etag).send().await.unwrap();
    assert_eq!((again.status(), again.headers().get("etag")), (StatusCode::NOT_MODIFIED, Some(&etag)));
    for (path, status) in [
        ("/assets/index.html", StatusCode::OK),
        ("/assets/none.js", StatusCode::NOT_FOUND),
        ("/assets/..%2fCargo.toml", StatusCode::NOT_FOUND),
        ("/assets/%2e%2e/Cargo.toml", StatusCode::NOT_FOUND),
        ("/admin/session", StatusCode::UNAUTHORIZED),
        ("/admin/status/events", StatusCode::UNAUTHORIZED),
        ("/status", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(office.request(Method::GET, path).send().await.unwrap().status(), status, "{path}");
    }
    office.key = key;
    let (_, session) = office.get("/admin/session").await;
    let wanted = json!({ "key": "ADMIN_API_KEY", "role": "operate", "network": "localnet",
        "version": env!("CARGO_PKG_VERSION"), "explorer": null });
    assert_eq!(session, wanted);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_looked_through_and_what_is_good_in_it_can_be_minted() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let csv = "Ticket ID;Event Name;Seat\n1;Gala;A1\n2;;A2\n1;Gala;A3\n3;Gala;A4\n";
    let (status, file) = send_file(&office, "venueId=v&eventId=gala", "text/csv; charset=utf-8", csv).await;
    assert_eq!((status, &file["rowName"], &file["faultCount"]), (StatusCode::OK, &json!("line"), &json!(2)), "{file}");
    assert_eq!((&file["faults"][0]["row"], &file["faults"][0]["column"]), (&json!(3), &json!("eventName")));
    assert!(file["faults"][1]["detail"].as_str().unwrap().contains("line 2 already"), "{file}");
    let body = json!({ "venueId": "v", "tickets": file["tickets"] });
    let (_, dry_run) = office.post("/admin/batch-mint?dryRun=true", &body).await;
    assert_eq!((&dry_run["new"], &dry_run["failed"]), (&json!(2), &json!([])), "{dry_run}");
    let (_, result) = office.post("/admin/batch-mint", &body).await;
    assert_eq!(result["summary"]["succeeded"], 2, "{result}");

    let list =
        json!([{ "id": "4", "eventId": "gala", "ticketData": { "eventName": "Gala" } }, { "id": 5 }]).to_string();
    let (_, file) = send_file(&office, "venueId=v", "application/json", &list).await;
    assert_eq!((&file["rowName"], &file["faults"][0]["row"]), (&json!("entry"), &json!(2)), "{file}");
    let other = json!({ "venueId": "w", "tickets": [] }).to_string();
    for (query, kind, body, status, code) in [
        ("venueId=v", "application/json", "[{", StatusCode::BAD_REQUEST, "malformed_json"),
        ("venueId=v", "application/json", &*other, StatusCode::BAD_REQUEST, "malformed_json"),
        ("venueId=%20", "text/csv", csv, StatusCode::UNPROCESSABLE_ENTITY, "invalid_request"),
        ("venueId=v&eventId=%20", "text/csv", csv, StatusCode::UNPROCESSABLE_ENTITY, "invalid_request"),
        // A form of another site can send this one without asking.
        ("venueId=v", "text/plain", csv, StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
    ] {
        let (found, problem) = send_file(&office, query, kind, body).await;
        assert_eq!((found, &problem["code"]), (status, &json!(code)), "{query} {kind}: {problem}");
    }
    // The page sends the wrong file in full as well, and hears of a thousand faults.
    let wrong = format!("id,eventName\n{}", ",\n".repeat(3_000));
    let (_, file) = send_file(&office, "venueId=v&eventId=e", "text/csv", &wrong).await;
    assert_eq!(file["faults"].as_array().unwrap().len(), 1_000);
    assert!(file["faultCount"].as_u64().unwrap() >= 3_000, "{}", file["faultCount"]);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tickets_transactions_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let result = office.mint("v", &tickets("t", 3)).await;
    let signature = &result["successful"][0]["signature"];
    let (status, shown) = office.get("/admin/mints/t-0/attempts?venueId=v").await;
    assert_eq!(status, StatusCode::OK, "{shown}");
    let attempts = shown["attempts"].as_array().unwrap();
    let last = attempts.last().unwrap();
    assert_eq!((&last["state"], &last["error"]), (&json!("landed"), &Value::Null), "{shown}");
    assert!(attempts.iter().any(|attempt| attempt["signature"] == *signature), "{shown}");
    assert!(last["settledAt"].as_str() >= last["recordedAt"].as_str() && last["feeLamports"].as_u64() >= Some(5_000));
    assert_eq!(office.get("/admin/mints/nobody/attempts").await.0, StatusCode::NOT_FOUND);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_box_at_a_glance_follows_a_batch() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 100 * SOL);
    let office = BoxOptions::new(folder.path(), &wallet).set("PUBLIC_STATUS", "true").start().await;
    let mut stream = office.request(Method::GET, "/admin/status/events").send().await.unwrap();
    let mut text = String::new();
    let mut next = async || {
        loop {
            if let Some((event, rest)) = text.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data:")).map(str::to_owned);
                text = rest.to_owned();
                if let Some(data) = data {
                    return serde_json::from_str::<Value>(&data).unwrap();
                }
            } else {
                text.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
            }
        }
    };
    let first = next().await;
    assert_eq!((&first["dashboard"]["totalMints"], &first["batches"]), (&json!(0), &json!([])), "{first}");
    assert_eq!(first["system"]["network"], "localnet");
    let body = json!({ "venueId": "v", "tickets": tickets("t", 400) });
    let request = office.request(Method::POST, "/admin/batch-mint").header("prefer", "respond-async");
    let accepted: Value = request.json(&body).send().await.unwrap().json().await.unwrap();
    let under_way = loop {
        let glance = next().await;
        if glance["batches"] != json!([]) {
            break glance;
        }
    };
    assert_eq!(under_way["batches"][0]["batchId"], accepted["batchId"], "{under_way}");
    let end = loop {
        let glance = next().await;
        if glance["dashboard"]["pendingMints"] == 0 && glance["batches"] == json!([]) {
            break glance;
        }
    };
    assert_eq!((&end["dashboard"]["totalMints"], &end["alerts"]), (&json!(400), &json!([])), "{end}");
    let (_, public) = office.get("/status").await;
    let figures = (&public["status"], &public["minted"], &public["pending"], &public["failed"]);
    assert_eq!(figures, (&json!("ok"), &json!(400), &json!(0), &json!(0)), "{public}");
    assert!(!public.to_string().contains(&office.app.authority.to_string()));
    drop(stream);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_looks_changes_nothing_and_may_look_often() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 100 * SOL);
    let office = BoxOptions::new(folder.path(), &wallet).set("RATE_LIMIT_MAX", "1").start().await;
    let body = json!({ "venueId": "v", "tickets": tickets("t", 2) });
    for _ in 0..5 {
        let (status, read) = send_file(&office, "venueId=v", "application/json", &body.to_string()).await;
        assert_eq!((status, read["tickets"].as_array().unwrap().len()), (StatusCode::OK, 2), "{read}");
        let (status, dry) = office.post("/admin/batch-mint?dryRun=true", &body).await;
        assert_eq!((status, &dry["new"]), (StatusCode::OK, &json!(2)), "{dry}");
    }
    assert_eq!(office.post("/admin/batch-mint", &body).await.0, StatusCode::OK);
    assert_eq!(office.post("/admin/batch-mint?dryRun=false", &body).await.0, StatusCode::TOO_MANY_REQUESTS);

    // Files longer than ten full batches are for the command line.
    let long = format!("id,eventName\n{}", "1\n".repeat(100_001));
    let (status, problem) = send_file(&office, "venueId=v&eventId=e", "text/csv", &long).await;
    assert_eq!((status, &problem["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("body_too_large")));
    assert!(problem["detail"].as_str().unwrap().contains("more than 100000 rows; split it"), "{problem}");
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_leave_room_and_end_when_the_box_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let follow = async || office.request(Method::GET, "/admin/status/events").send().await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..512 {
        streams.push(follow().await);
    }
    assert!(streams.iter().all(|stream| stream.status() == StatusCode::OK));
    let refused = follow().await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(office.get("/health/ready").await.0, StatusCode::OK, "others are served");
    // A place that is given back is taken again.
    streams.truncate(511);
    until(async || follow().await.status() == StatusCode::OK).await;

    // Who came without a key is shown nothing more once there is one.
    let mut open = streams.swap_remove(0);
    drop(streams);
    create_key(&office, folder.path(), "first", "operate");
    tokio::time::timeout(std::time::Duration::from_secs(20), async { while open.chunk().await.unwrap().is_some() {} })
        .await
        .expect("the stream ends");
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_wallet_pays_for_does_not_grow_as_money_is_spent() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    office.mint("v", &tickets("t", 1)).await;
    office.app.balance.check().await.unwrap();
    let before = office.app.balance.runway(0).unwrap();
    office.mint("v", &tickets("u", 90)).await;
    // Three in one transaction pay one fee: hardly more is left than if each had paid its own.
    let after = office.app.balance.runway(0).unwrap();
    assert!((before - 90..before - 88).contains(&after), "{before} then {after}");
    office.finish().await;
}
