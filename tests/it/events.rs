//! A batch's progress as server-sent events: every one once, in order, whatever happens to the connection.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::*;

#[derive(Debug)]
struct Received {
    id: String,
    event: String,
    data: Value,
}

/// Reads events until the stream ends, or `enough` of them with an id were read and the connection is cut.
async fn read(office: &TestBox, path: &str, last: Option<&str>, enough: usize) -> (StatusCode, Vec<Received>) {
    let mut request = office.request(Method::GET, path);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let mut response = request.send().await.unwrap();
    let status = response.status();
    let (mut text, mut events) = (String::new(), Vec::new());
    while let Some(chunk) = response.chunk().await.unwrap() {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
        while let Some((event, rest)) = text.split_once("\n\n") {
            let field = |name: &str| {
                let line = event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                line.unwrap_or_default().trim().to_owned()
            };
            let data = serde_json::from_str(&field("data")).unwrap_or_default();
            events.push(Received { id: field("id"), event: field("event"), data });
            text = rest.to_owned();
            if events.iter().filter(|event| !event.id.is_empty()).count() >= enough {
                return (status, events);
            }
        }
    }
    (status, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_comes_once_and_in_order_however_often_the_connection_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let mut batch = tickets("t", 300);
    batch.push(json!({ "id": "wrong" }));
    let body = json!({ "venueId": "v", "tickets": batch });
    let request = office.request(Method::POST, "/admin/batch-mint").header("prefer", "respond-async");
    let response = request.json(&body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let path = format!("{}/events", response.headers()["location"].to_str().unwrap());

    let mut all: Vec<Received> = Vec::new();
    for enough in [40, 100, usize::MAX] {
        let last = all.iter().rev().find(|event| !event.id.is_empty()).map(|event| event.id.clone());
        all.extend(read(&office, &path, last.as_deref(), enough).await.1);
    }
    let numbered: Vec<&Received> = all.iter().filter(|event| !event.id.is_empty()).collect();
    let ids: Vec<String> = numbered.iter().map(|event| event.id.clone()).collect();
    let wanted: Vec<String> = (1..=301).map(|id| id.to_string()).chain(["301-finished".into()]).collect();
    assert_eq!(ids, wanted);
    let ticket_ids: std::collections::BTreeSet<&str> =
        numbered.iter().filter_map(|event| event.data["ticketId"].as_str()).collect();
    assert_eq!(ticket_ids.len(), 301, "every ticket once");
    assert_eq!((&numbered[0].data["ticketId"], &numbered[0].data["code"]), (&json!("wrong"), &json!("invalid_ticket")));
    let progress: Vec<&Received> = all.iter().filter(|event| event.event == "progress").collect();
    assert!(progress.iter().all(|event| event.data["summary"]["etaSeconds"].is_number()));
    let finished = all.last().unwrap();
    assert_eq!((finished.event.as_str(), &finished.data["state"]), ("finished", &json!("finished")));
    assert_eq!(finished.data["summary"]["succeeded"], 300);

    // A browser that comes back for more is told to stay away; anyone else may hear it all again.
    assert_eq!(read(&office, &path, Some("301-finished"), 1).await.0, StatusCode::NO_CONTENT);
    assert_eq!(read(&office, &path, Some("300"), usize::MAX).await.1.len(), 2);
    assert_eq!(read(&office, &path, None, usize::MAX).await.1.len(), 302);
    assert_eq!(office.get("/admin/batches/nobody/events").await.0, StatusCode::NOT_FOUND);
    let nonsense = office.request(Method::GET, &path).header("last-event-id", "x").send().await.unwrap();
    assert_eq!(nonsense.status(), StatusCode::UNPROCESSABLE_ENTITY);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_streams_and_the_next_start_goes_on_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 100 * SOL);
    // One transaction a wave: the batch outlives the first box.
    let slow = || BoxOptions::new(folder.path(), &wallet).set("MAX_BATCH_SIZE", "1").set("BATCH_DELAY_MS", "60");
    let office = slow().start().await;
    let body = json!({ "venueId": "v", "tickets": tickets("t", 60) });
    let request = office.request(Method::POST, "/admin/batch-mint").header("prefer", "respond-async");
    let response = request.json(&body).send().await.unwrap();
    let path = format!("{}/events", response.headers()["location"].to_str().unwrap());
    let reading = async {
        let (_, events) = read(&office, &path, None, usize::MAX).await;
        events
    };
    let stopping = async {
        until(async || {
            office.app.store.counts(None).await.unwrap().of(boxoffice::domain::mint::MintStatus::Minted) > 5
        })
        .await;
        office.interrupt();
    };
    let (mut events, ()) =
        tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(reading, stopping) }).await.unwrap();
    office.abandon().await;
    assert!(events.iter().all(|event| event.event != "finished"), "the stream ended before the batch");

    let office = slow().start().await;
    let last = events.iter().rev().find(|event| !event.id.is_empty()).map(|event| event.id.clone());
    events.extend(read(&office, &path, last.as_deref(), usize::MAX).await.1);
    let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).filter(|id| !id.is_empty()).collect();
    let wanted: Vec<String> = (1..=60).map(|id| id.to_string()).chain(["60-finished".into()]).collect();
    assert_eq!(ids, wanted);
    office.finish().await;
}
