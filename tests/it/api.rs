//! The HTTP contract.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_served_by_its_hash() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let result = office.mint("v", &[ticket("t")]).await;
    let cid = result["successful"][0]["metadataUri"].as_str().unwrap().trim_start_matches("ipfs://").to_owned();
    let response = office.request(Method::GET, &format!("/ipfs/{cid}")).send().await.unwrap();
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(header("access-control-allow-origin"), "*");
    assert_eq!(header("cross-origin-resource-policy"), "cross-origin", "wallets on other sites show it");
    let etag = header("etag");
    let bytes = response.bytes().await.unwrap();
    assert_eq!(boxoffice::metadata::ContentId::of(&bytes).to_string(), cid);
    let document: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(document["name"], "Concert · VIP · t");
    let image = document["image"].as_str().unwrap().replace("ipfs://", "/ipfs/");
    let image = office.request(Method::GET, &image).send().await.unwrap();
    assert_eq!(image.headers()["content-type"], "image/svg+xml");
    for tags in [etag.clone(), "*".into(), format!("\"x\", W/{etag}"), format!("W/\"y\",{etag}")] {
        let request = office.request(Method::GET, &format!("/ipfs/{cid}")).header("if-none-match", &tags);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::NOT_MODIFIED, "{tags}");
    }
    let request = office.request(Method::GET, &format!("/ipfs/{cid}")).header("if-none-match", "W/\"y\"");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    for missing in ["bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e", "nonsense", "..%2f..%2fetc%2fpasswd"]
    {
        assert_eq!(office.get(&format!("/ipfs/{missing}")).await.0, StatusCode::NOT_FOUND, "{missing}");
    }
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_opens_admin_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), SOL);
    let mut office = BoxOptions::new(folder.path(), &wallet).set("ADMIN_API_KEY", "correct horse").start().await;
    assert_eq!(office.get("/admin/mints").await.0, StatusCode::OK);
    for wrong in [None, Some("correct hors"), Some("correct horse "), Some("CORRECT HORSE"), Some("")] {
        office.key = wrong.map(str::to_owned);
        for path in ["/admin/mints", "/admin/nothing", "/admin/batch-mint/estimate?count=1"] {
            let (status, problem) = office.get(path).await;
            // A header cannot carry the blank at its end: that one arrives as the right key.
            let expected = if wrong == Some("correct horse ") { status } else { StatusCode::UNAUTHORIZED };
            assert_eq!(status, expected, "{wrong:?} {path}");
            assert!(!problem.to_string().contains("correct horse"), "{problem}");
        }
        assert_eq!(office.get("/health").await.0, StatusCode::OK);
    }
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_name_every_fault_with_its_pointer() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let (status, problem) = office.post("/admin/batch-mint", &json!({ "venue": "v", "tickets": {} })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let pointers: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
    assert_eq!(pointers, ["/venueId", "/tickets", "/venue"]);
    for member in ["type", "title", "status", "detail", "code", "retryable", "requestId", "error"] {
        assert!(!problem[member].is_null(), "{member} is missing: {problem}");
    }
    assert_eq!(problem["error"], problem["detail"]);
    for (tickets, wanted) in [(json!([]), "1 to 10000"), (json!(vec![1; 10_001]), "this one has 10001")] {
        let (status, problem) = office.post("/admin/batch-mint", &json!({ "venueId": "v", "tickets": tickets })).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(problem["detail"].as_str().unwrap().contains(wanted), "{problem}");
    }
    let post = office.request(Method::POST, "/admin/batch-mint").header("content-type", "application/json");
    let broken = post.body("{\"venueId\": \"v\", \"tick");
    let (status, problem) = answer(broken).await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("malformed_json")));
    for path in [
        "/admin/batch-mint/estimate",
        "/admin/batch-mint/estimate?count=0",
        "/admin/batch-mint/estimate?count=x",
        "/admin/mints?limit=501",
        "/admin/mints?status=done",
        "/admin/mints?cursor=%21",
    ] {
        assert_eq!(office.get(path).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
    }
    assert_eq!(office.get("/admin/mints/nobody").await.0, StatusCode::NOT_FOUND);
    assert_eq!(office.get("/admin/batches/nobody").await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        office.request(Method::DELETE, "/admin/mints").send().await.unwrap().status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    let id = office.request(Method::GET, "/nowhere").header("x-request-id", "mine").send().await.unwrap();
    assert_eq!(id.headers()["x-request-id"], "mine");
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mints_are_listed_newest_first_in_pages() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    office.mint("a", &tickets("t", 7)).await;
    office.mint("b", &tickets("t", 3)).await;
    let mut seen = Vec::new();
    let mut path = "/admin/mints?limit=4".to_owned();
    loop {
        let response = office.request(Method::GET, &path).send().await.unwrap();
        let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let page: serde_json::Value = response.json().await.unwrap();
        for mint in page["mints"].as_array().unwrap() {
            seen.push(format!("{} {}", mint["venueId"].as_str().unwrap(), mint["ticketId"].as_str().unwrap()));
        }
        assert_eq!(link.is_some(), page["nextCursor"].is_string());
        let Some(link) = link else { break };
        path = link.split(['<', '>']).nth(1).unwrap().to_owned();
    }
    let wanted: Vec<String> =
        (0..3).rev().map(|n| format!("b t-{n}")).chain((0..7).rev().map(|n| format!("a t-{n}"))).collect();
    assert_eq!(seen, wanted);
    assert_eq!(office.get("/admin/mints?venueId=b&status=minted").await.1["mints"].as_array().unwrap().len(), 3);
    assert_eq!(office.get("/admin/mints?eventId=other").await.1["mints"], json!([]));

    let (status, problem) = office.get("/admin/mints/t-1").await;
    assert_eq!((status, &problem["venueIds"]), (StatusCode::CONFLICT, &json!(["a", "b"])));
    assert_eq!(office.get("/admin/mints/t-1?venueId=b").await.1["venueId"], "b");
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_leave_and_come_back_for_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let body = json!({ "venueId": "v", "tickets": tickets("t", 5) });
    let dry = office.post("/admin/batch-mint?dryRun=true", &body).await.1;
    assert_eq!((&dry["new"], &dry["known"], &dry["refusal"]), (&json!(5), &json!(0), &json!(null)));
    let mixed = json!({ "venueId": "v", "tickets": [ticket("a"), { "id": "b" }, ticket("a"), 7] });
    let dry_mixed = office.post("/admin/batch-mint?dryRun=true", &mixed).await.1;
    let failed = dry_mixed["failed"].as_array().unwrap().iter().map(|failed| (&failed["index"], &failed["code"]));
    let (invalid, twice) = (json!("invalid_ticket"), json!("duplicate_in_batch"));
    assert_eq!(failed.collect::<Vec<_>>(), [(&json!(1), &invalid), (&json!(2), &twice), (&json!(3), &invalid)]);
    assert_eq!(office.get("/admin/mints").await.1["mints"], json!([]), "a dry run keeps nothing");
    let request = office.request(Method::POST, "/admin/batch-mint").header("prefer", "respond-async").json(&body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let result = office.mint("v", &tickets("t", 5)).await;
    let (_, batch) = office.get(&location).await;
    assert_eq!(batch["state"], "finished");
    assert_eq!(batch["successful"][2]["signature"], result["successful"][2]["signature"]);
    let (_, ready) = office.get("/health/ready").await;
    assert_eq!(ready, json!({ "ready": true, "database": true, "chain": true, "minting": true }));
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_of_someone_else_cannot_mint() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let body = json!({ "venueId": "v", "tickets": tickets("t", 1) }).to_string();
    let json = ("content-type", "application/json");
    let attacks: [&[(&str, &str)]; 5] = [
        &[("content-type", "text/plain")],
        &[],
        &[json, ("origin", "http://evil.example")],
        &[json, ("host", "evil.example")],
        &[json, ("host", "evil.example"), ("origin", "http://evil.example")],
    ];
    for (attack, wanted) in attacks.into_iter().zip([415, 415, 403, 403, 403]) {
        let mut request = office.request(Method::POST, "/admin/batch-mint").body(body.clone());
        for (name, value) in attack {
            request = request.header(*name, *value);
        }
        let (status, problem) = answer(request).await;
        assert_eq!(status.as_u16(), wanted, "{attack:?} {problem}");
    }
    assert_eq!(office.get("/admin/mints").await.1["mints"], json!([]));
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_framework_refuses_has_the_same_shape_and_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let body = json!({ "venueId": "v", "tickets": tickets("t", 1) });
    for path in ["/admin/batch-mint?dryrun=true", "/admin/batch-mint?dryRun=perhaps"] {
        let (status, problem) = office.post(path, &body).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_request")),
            "{path}: {problem}"
        );
    }
    assert_eq!(office.get("/admin/mints?bogus=1").await.0, StatusCode::BAD_REQUEST);
    assert!(office.get("/admin/mints/%FF").await.1["requestId"].is_string());
    let (status, problem) = office.get("/docs/nothing").await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("not_found")), "{problem}");
    assert_eq!(problem["detail"], "there is nothing at this path");
    let unreadable = r#"{"venueId":"v","tickets":[{"id":"x","ticketData":{"eventName":1e400}},{"id":"\ud800"}]}"#;
    let request =
        office.request(Method::POST, "/admin/batch-mint?dryRun=true").header("content-type", "application/json");
    let (status, dry) = answer(request.body(unreadable)).await;
    assert_eq!(status, StatusCode::OK, "{dry}");
    for (failed, id) in dry["failed"].as_array().unwrap().iter().zip(["x", ""]) {
        let error = failed["error"].as_str().unwrap();
        assert!(error.starts_with("the ticket is not readable JSON: "), "{dry}");
        assert_eq!(failed["ticketId"], id, "{dry}");
    }
    // One byte too much: the server has read it all when it refuses, so that its answer is not lost in a reset.
    let huge = " ".repeat(16 * 1024 * 1024 + 1);
    let request = office.request(Method::POST, "/admin/batch-mint").header("connection", "close");
    let (status, problem) = answer(request.header("content-type", "application/json").body(huge)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("body_too_large")));
    assert_eq!(office.get("/admin/mints").await.1["mints"], json!([]));
    office.finish().await;
}
