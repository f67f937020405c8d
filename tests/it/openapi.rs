//! The API's description of itself.

use std::{collections::BTreeSet, fs, path::Path};

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_description_and_the_handlers_agree() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let (status, description) = office.get("/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = description["paths"].as_object().unwrap();
    let wanted = [
        "/admin/alerts",
        "/admin/anomalies",
        "/admin/audit",
        "/admin/batch-mint",
        "/admin/batch-mint/estimate",
        "/admin/batches",
        "/admin/batches/{id}",
        "/admin/batches/{id}/events",
        "/admin/cache/clear",
        "/admin/cache/stats",
        "/admin/cache/warm",
        "/admin/cache/{ticketId}",
        "/admin/dashboard",
        "/admin/events/{eventId}/image",
        "/admin/jobs",
        "/admin/jobs/{id}/run",
        "/admin/mints",
        "/admin/mints/{ticketId}",
        "/admin/mints/{ticketId}/attempts",
        "/admin/reconcile/{venueId}",
        "/admin/reconcile/{venueId}/fix",
        "/admin/reconcile/{venueId}/history",
        "/admin/session",
        "/admin/stats/{venueId}",
        "/admin/status/events",
        "/admin/system/status",
        "/admin/tickets/read",
        "/admin/trends",
        "/admin/venues",
        "/admin/venues/{venueId}/events",
        "/health",
        "/health/full",
        "/health/live",
        "/health/ready",
        "/ipfs/{cid}",
        "/metrics",
        "/status",
    ];
    assert_eq!(paths.keys().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(wanted));
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            assert!(operation["summary"].is_string() || operation["description"].is_string(), "{at} says nothing");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{at}");
            assert_eq!(operation["security"].is_array(), path.starts_with("/admin") || path == "/metrics", "{at}");
            // What is described exists: a path that no handler serves is answered by the fallback, without a method.
            let method: Method = method.to_uppercase().parse().unwrap();
            if path == "/admin/status/events" {
                // A stream without an end, which another test follows.
                assert_eq!(office.request(method, path).send().await.unwrap().status(), StatusCode::OK);
                continue;
            }
            let found = answer(office.request(method.clone(), &path.replace(['{', '}'], ""))).await;
            let said = found.1["detail"].as_str().unwrap_or_default();
            assert!(
                !said.contains("nothing at this path") && found.0 != StatusCode::METHOD_NOT_ALLOWED,
                "{at}: {found:?}"
            );
            assert!(responses.contains_key(found.0.as_str()), "{at} answers {} without saying so", found.0);
        }
    }
    office.finish().await;
}

#[test]
fn no_handler_is_served_without_a_description() {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http.rs")).unwrap();
    let plain: Vec<&str> = source.lines().map(str::trim).filter(|line| line.starts_with(".route(")).collect();
    assert!(plain.is_empty(), "{plain:?}: use routes!(), which describes what it serves");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_to_read_it_comes_from_the_box_alone() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let page = office.request(Method::GET, "/docs").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    let html = page.text().await.unwrap();
    assert!(!html.contains("https://") && !html.contains("http://"), "{html}");
    let mut loaded = 0;
    for attribute in html.split(['"', '\'']).filter(|text| text.starts_with("./")) {
        let part = office.request(Method::GET, &format!("/docs/{}", &attribute[2..])).send().await.unwrap();
        assert_eq!(part.status(), StatusCode::OK, "{attribute}");
        loaded += 1;
    }
    assert!(loaded >= 4, "{html}");
    let settings =
        office.request(Method::GET, "/docs/swagger-initializer.js").send().await.unwrap().text().await.unwrap();
    assert!(settings.contains("/openapi.json"), "{settings}");
    office.finish().await;
}

/// Every reference inside the description leads somewhere.
#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let (_, description) = office.get("/openapi.json").await;
    let mut references = BTreeSet::new();
    collect(&description, &mut references);
    assert!(references.len() > 15);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(description.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    office.finish().await;
}

fn collect(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect(value, references));
        }
        Value::Array(entries) => entries.iter().for_each(|value| collect(value, references)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
