//! Alerts: who is told, of what, how often; and that it arrives.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use boxoffice::{
    alerts::{Alerts, Origin},
    clock::{Clock, SystemClock},
    config::Config,
    domain::alert::{Alert, AlertKind, REMIND_EVERY_MS, RetrySchedule, Severity, alert_key},
    store::{AlertFilter, DeliveryRecord, Store},
    webhook::{self, SigningSecret, Webhook},
};
use prometheus::{Registry, TextEncoder};
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    interop,
    support::{
        proxy::{Fate, Proxy},
        receiver::Receiver,
        *,
    },
};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// The machine's clock, with a lead that a test sets.
#[derive(Debug, Default)]
struct AdvancedClock(AtomicI64);

impl Clock for AdvancedClock {
    fn now_ms(&self) -> i64 {
        SystemClock.now_ms() + self.0.load(Ordering::Relaxed)
    }
}

/// The service alone, on books of its own.
struct Service {
    alerts: Alerts,
    store: Store,
    clock: Arc<AdvancedClock>,
    registry: Registry,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Service {
    /// Tries again after `delays` milliseconds.
    fn start(folder: &Path, url: &Url, delays: &[u64]) -> Self {
        let (registry, clock) = (Registry::new(), Arc::new(AdvancedClock::default()));
        let store = Store::open(folder).unwrap();
        let receiver = webhook::Receiver { url: url.clone(), secret: SigningSecret::parse(SECRET).unwrap() };
        let schedule = RetrySchedule::new(delays.iter().copied().map(Duration::from_millis).collect());
        let origin = Origin { network: "localnet".into(), wallet: "W".into() };
        let webhook = Some(Webhook::new(receiver).unwrap());
        let alerts = Alerts::new(store.clone(), webhook, clock.clone(), schedule, origin, &registry).unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(alerts.clone().run(shutdown.clone()));
        Self { alerts, store, clock, registry, shutdown, task }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
        self.store.close().await;
    }

    /// The record of every message, the oldest first.
    async fn deliveries(&self) -> Vec<DeliveryRecord> {
        let incidents = self.store.alerts(AlertFilter::default(), 100).await.unwrap();
        let mut ids: Vec<i64> = incidents.iter().map(|incident| incident.id).collect();
        ids.sort_unstable();
        self.store.deliveries(ids).await.unwrap().into_iter().map(|(_, delivery)| delivery).collect()
    }

    /// Waits until nothing is on its way any more.
    async fn settle(&self) {
        until(async || self.store.next_delivery_at_ms().await.unwrap().is_none()).await;
    }

    fn metric(&self, line: &str) -> bool {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap().lines().any(|found| found == line)
    }
}

fn low_balance(severity: Severity) -> Alert {
    Alert::new(AlertKind::LowBalance, severity, Some("W"), "send SOL").with(json!({ "balanceLamports": 5 }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_tried_until_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let answers = [(500, None), (429, Some("1")), (200, None)];
    let receiver = Receiver::start(move |nth| answers[nth.min(2)]).await;
    let service = Service::start(folder.path(), &receiver.url, &[20; 9]);
    service.alerts.raise(low_balance(Severity::Critical)).await;
    service.settle().await;
    let arrived = receiver.received();
    assert_eq!(arrived.len(), 3);
    assert!(arrived[2].at - arrived[1].at >= Duration::from_secs(1), "Retry-After is honoured");
    for attempt in &arrived {
        assert_eq!((attempt.id(), &attempt.body), (arrived[0].id(), &arrived[0].body), "the same message");
        assert_eq!(attempt.headers["content-type"], "application/json");
    }
    let message = arrived[0].json();
    assert_eq!(message["type"], "alert.opened");
    assert!(message["timestamp"].as_str().unwrap().ends_with('Z'));
    for (name, wanted) in [
        ("key", json!("low_balance:W")),
        ("kind", json!("low_balance")),
        ("severity", json!("critical")),
        ("subject", json!("W")),
        ("summary", json!("send SOL")),
        ("notice", json!("opened")),
        ("timesSeen", json!(1)),
        ("closedAt", Value::Null),
        ("details", json!({ "balanceLamports": 5 })),
        ("network", json!("localnet")),
        ("wallet", json!("W")),
    ] {
        assert_eq!(message["data"][name], wanted, "{name}");
    }
    let record = service.deliveries().await.remove(0);
    assert_eq!((record.attempts, record.last_status, record.last_error), (3, Some(200), None));
    assert!(record.delivered_at_ms.is_some() && record.given_up_at_ms.is_none());
    assert!(service.metric("boxoffice_webhook_deliveries_total{outcome=\"delivered\"} 1"));
    assert!(service.metric("boxoffice_webhook_deliveries_total{outcome=\"failed\"} 2"));
    assert!(service.metric("boxoffice_alerts_open{severity=\"critical\"} 1"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_is_told_once_when_it_changes_once_a_day_and_when_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_| (204, None)).await;
    let service = Service::start(folder.path(), &receiver.url, &[20; 9]);
    let key = alert_key(AlertKind::LowBalance, Some("W"));
    service.alerts.resolve(&key).await;
    for severity in [Severity::Warning, Severity::Warning, Severity::Warning, Severity::Critical, Severity::Critical] {
        service.alerts.raise(low_balance(severity)).await;
    }
    service.clock.0.store(REMIND_EVERY_MS, Ordering::Relaxed);
    service.alerts.raise(low_balance(Severity::Critical)).await;
    service.alerts.raise(low_balance(Severity::Critical)).await;
    // Another subject is another incident.
    service.alerts.raise(Alert::new(AlertKind::Discrepancies, Severity::Warning, Some("v"), "3 of 10")).await;
    service.alerts.resolve(&key).await;
    service.alerts.resolve(&key).await;
    service.alerts.raise(low_balance(Severity::Warning)).await;
    service.settle().await;
    let of_wallet: Vec<String> = receiver.gists().into_iter().filter(|gist| gist.contains("low_balance:W")).collect();
    let wanted = [
        "alert.opened low_balance:W warning opened",
        "alert.opened low_balance:W critical severity_changed",
        "alert.opened low_balance:W critical reminder",
        "alert.closed low_balance:W critical closed",
        "alert.opened low_balance:W warning opened",
    ];
    assert_eq!(of_wallet, wanted);
    assert_eq!(receiver.received().len(), wanted.len() + 1);
    let incidents = service.store.alerts(AlertFilter::default(), 100).await.unwrap();
    let seen = incidents.iter().map(|incident| (incident.id, incident.seen, incident.closed_at_ms.is_some()));
    assert_eq!(seen.collect::<Vec<_>>(), [(3, 1, false), (2, 1, false), (1, 7, true)], "open ones first, then newest");
    assert!(service.metric("boxoffice_alerts_open{severity=\"warning\"} 2"));
    assert!(service.metric("boxoffice_alerts_open{severity=\"critical\"} 0"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_all_clear_never_overtakes_its_alarm_and_others_need_not_wait() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|nth| if nth == 0 { (500, None) } else { (200, None) }).await;
    let service = Service::start(folder.path(), &receiver.url, &[700]);
    service.alerts.raise(low_balance(Severity::Warning)).await;
    until(async || receiver.received().len() == 1).await;
    service.alerts.resolve("low_balance:W").await;
    service.alerts.raise(Alert::new(AlertKind::MintingHeld, Severity::Critical, None, "tickets wait")).await;
    service.settle().await;
    let wanted = [
        "alert.opened low_balance:W warning opened",
        "alert.opened minting_held critical opened",
        "alert.opened low_balance:W warning opened",
        "alert.closed low_balance:W warning closed",
    ];
    assert_eq!(receiver.gists(), wanted);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}/hook").parse().unwrap();
    let service = Service::start(folder.path(), &url, &[100; 9]);
    service.alerts.raise(low_balance(Severity::Warning)).await;
    until(async || service.deliveries().await[0].attempts > 0).await;
    let before = service.deliveries().await.remove(0);
    assert_eq!(before.last_status, None);
    assert!(before.last_error.as_ref().unwrap().contains("does not answer"), "{before:?}");
    until(async || service.metric("boxoffice_webhook_messages_waiting 1")).await;
    service.stop().await;
    let receiver = Receiver::on(TcpListener::bind(address).await.unwrap(), |_| (200, None));
    let service = Service::start(folder.path(), &receiver.url, &[100; 9]);
    service.settle().await;
    assert_eq!(receiver.received()[0].id(), before.message_id);
    let after = service.deliveries().await.remove(0);
    assert!(after.delivered_at_ms.is_some() && after.attempts > before.attempts, "{after:?}");
    assert_eq!(receiver.received().len(), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_given_up_in_the_end_and_the_next_one_is_tried_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|nth| (if nth < 2 { 302 } else { 410 }, None)).await;
    let service = Service::start(folder.path(), &receiver.url, &[20]);
    service.alerts.raise(low_balance(Severity::Warning)).await;
    service.settle().await;
    service.alerts.resolve("low_balance:W").await;
    service.settle().await;
    receiver.set(|_| (200, None));
    service.alerts.raise(low_balance(Severity::Warning)).await;
    service.settle().await;
    let records = service.deliveries().await;
    let ends: Vec<_> = records
        .iter()
        .map(|record| (record.attempts, record.last_status.unwrap(), record.given_up_at_ms.is_some()))
        .collect();
    assert_eq!(ends, [(2, 302, true), (1, 410, true), (1, 200, false)], "410 says that asking again is no use");
    assert!(service.metric("boxoffice_webhook_deliveries_total{outcome=\"given_up\"} 2"));
    assert!(service.metric("boxoffice_webhook_deliveries_total{outcome=\"delivered\"} 1"));
    until(async || service.metric("boxoffice_webhook_messages_waiting 0")).await;
    service.stop().await;
}

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_and_over_is_forgotten_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_| (200, None)).await;
    let service = Service::start(folder.path(), &receiver.url, &[]);
    let disk = Alert::new(AlertKind::DiskLow, Severity::Warning, None, "make room");
    service.alerts.raise(disk).await;
    service.alerts.raise(low_balance(Severity::Warning)).await;
    service.alerts.resolve("low_balance:W").await;
    service.settle().await;
    // More of each than one step takes; and a message that still waits, on which an incident depends.
    let books = rusqlite::Connection::open(folder.path().join("boxoffice.db")).unwrap();
    books
        .execute_batch(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2500)
             INSERT INTO alerts (key, kind, severity, summary, data, opened_at, last_seen_at, told_at, closed_at)
                 SELECT 'k' || n, 'job_failed', 'warning', 's', '{}', 1, 1, 1, 1 FROM n;
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2500)
             INSERT INTO webhook_deliveries (message_id, event_type, lane, alert_id, payload, created_at, delivered_at)
                 SELECT 'm' || n, 'alert.opened', 'k' || n, (SELECT id FROM alerts WHERE key = 'k' || n), '{}', 1, 1 FROM n;
             UPDATE webhook_deliveries SET next_attempt_at = 9e18, delivered_at = NULL WHERE message_id = 'm7';
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1500)
             INSERT INTO job_runs (job, trigger, scheduled_for, started_at, finished_at, outcome)
                 SELECT 'backup', 'manual', n, n, n, iif(n = 20, 'ok', 'failed') FROM n;
             INSERT INTO job_runs (job, trigger, scheduled_for, started_at) VALUES ('backup', 'manual', 5, 5);",
        )
        .unwrap();
    let now_ms = SystemClock.now_ms();
    let done = service.store.keep_house(now_ms).await.unwrap();
    assert_eq!((done.forgotten_deliveries, done.forgotten_alerts, done.forgotten_runs), (2_499, 2_499, 1_499));
    // The last run that ended well stays, and so does one that has not ended.
    let runs = service.store.job_runs("backup".into(), 10).await.unwrap();
    assert_eq!(runs.iter().map(|run| run.started_at_ms).collect::<Vec<_>>(), [5, 20]);
    let keys = async || {
        let incidents = service.store.alerts(AlertFilter::default(), 100).await.unwrap();
        incidents.into_iter().map(|incident| incident.key).collect::<Vec<_>>()
    };
    assert_eq!(keys().await, ["disk_low", "k7", "low_balance:W"]);

    // Messages are kept for ninety days, what is over for a year, what is open for ever.
    let forgotten = async |days: i64| {
        let done = service.store.keep_house(now_ms + days * DAY_MS).await.unwrap();
        (done.forgotten_deliveries, done.forgotten_alerts)
    };
    assert_eq!(forgotten(89).await, (0, 0));
    assert_eq!(forgotten(91).await, (3, 0));
    assert_eq!(forgotten(364).await, (0, 0));
    assert_eq!(forgotten(366).await, (0, 1));
    assert_eq!(keys().await, ["disk_low", "k7"]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_silences_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_| (200, None)).await;
    let service = Service::start(folder.path(), &receiver.url, &[20]);
    service.store.limit_pages(1).await.unwrap();
    // More than fits into the pages that are there.
    let held = Alert::new(AlertKind::MintingHeld, Severity::Critical, None, "the disk is full".repeat(10_000));
    for _report in 0..3 {
        service.alerts.raise(held.clone()).await;
    }
    service.alerts.resolve("minting_held").await;
    until(async || receiver.received().len() == 1).await;
    assert_eq!(receiver.gists(), ["alert.opened minting_held critical opened"]);
    assert!(service.store.alerts(AlertFilter::default(), 10).await.unwrap().is_empty());
    service.store.limit_pages(100_000).await.unwrap();
    service.alerts.resolve("minting_held").await;
    service.settle().await;
    assert_eq!(receiver.gists()[1..], ["alert.closed minting_held critical closed"]);
    service.stop().await;
}

/// A box that looks at itself all the time, and tells `receiver`.
fn config(options: BoxOptions, receiver: &Receiver) -> Config {
    let options = options.set("ALERT_WEBHOOK_URL", receiver.url.as_str()).set("ALERT_WEBHOOK_SECRET", SECRET);
    let mut config = options.config();
    (config.alerts.watch_every, config.alerts.patience) = (Duration::from_millis(50), Duration::from_millis(200));
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_balance_alerts_nobody_and_an_empty_wallet_does() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, address) = wallet(folder.path(), 0);
    let receiver = Receiver::start(|_| (200, None)).await;
    let proxy = Proxy::start(chain().rpc_url(), |call| match call.method.as_str() {
        "getBalance" => Fate::Lost,
        _ => Fate::Pass,
    })
    .await;
    let options = BoxOptions { rpc: proxy.url.clone(), ..BoxOptions::new(folder.path(), &wallet) };
    let office = TestBox::start(config(options, &receiver)).await;
    let key = format!("low_balance:{address}");
    let about_money = async || {
        let (_, page) = office.get("/admin/alerts").await;
        page["alerts"].as_array().unwrap().iter().find(|alert| alert["key"] == key.as_str()).cloned()
    };
    // Long enough for several looks. Whoever asks for the status has the chain asked, as long as it has not said.
    until(async || {
        office.get("/admin/system/status").await;
        proxy.count("getBalance") > 20
    })
    .await;
    assert_eq!(office.app.balance.known(), None);
    assert_eq!(about_money().await, None, "an error is no empty wallet");
    proxy.set(|_| Fate::Pass);
    until(async || {
        office.get("/admin/system/status").await;
        about_money().await.is_some()
    })
    .await;
    let alert = about_money().await.unwrap();
    assert_eq!((&alert["kind"], &alert["severity"]), (&json!("low_balance"), &json!("critical")));
    assert_eq!(alert["details"]["balanceLamports"], 0);
    fund(chain(), &address, 10 * SOL);
    until(async || {
        office.get("/admin/system/status").await;
        about_money().await.unwrap()["closedAt"].is_string()
    })
    .await;
    let of_wallet = || receiver.gists().into_iter().filter(|gist| gist.contains(&key)).collect::<Vec<_>>();
    until(async || of_wallet().len() == 2).await;
    assert!(of_wallet()[1].starts_with("alert.closed"), "{:?}", of_wallet());
    office.abandon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_stays_away_is_told_of_until_it_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 10 * SOL);
    let receiver = Receiver::start(|_| (200, None)).await;
    let proxy = Proxy::start(chain().rpc_url(), |_| Fate::Lost).await;
    let urls = format!("{}hidden-key,{}", proxy.url, chain().rpc_url());
    let office =
        TestBox::start(config(BoxOptions::new(folder.path(), &wallet).set("SOLANA_RPC_URLS", urls), &receiver)).await;
    let open = async || office.get("/admin/alerts?open=true").await.1["alerts"].as_array().unwrap().clone();
    until(async || !open().await.is_empty()).await;
    let alert = open().await.remove(0);
    assert_eq!((&alert["kind"], &alert["severity"]), (&json!("endpoint_down"), &json!("warning")));
    assert!(!alert.to_string().contains("hidden-key"), "{alert}");
    proxy.set(|_| Fate::Pass);
    until(async || open().await.is_empty()).await;
    until(async || receiver.received().len() == 2).await;
    assert!(receiver.gists()[1].starts_with("alert.closed endpoint_down:"), "{:?}", receiver.gists());
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_batches_are_told_of_and_finished_ones_if_the_settings_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 10 * SOL);
    let receiver = Receiver::start(|_| (200, None)).await;
    let options = BoxOptions::new(folder.path(), &wallet).set("ALERT_BATCH_FINISHED", "true");
    let office = TestBox::start(config(options, &receiver)).await;
    let mut batch = tickets("A", 4);
    batch[1]["ticketData"]["eventDate"] = json!("someday");
    let result = office.mint("v", &batch).await;
    assert_eq!(result["summary"]["failed"], 1);
    until(async || receiver.received().len() == 2).await;
    office.mint("v", &tickets("B", 2)).await;
    until(async || receiver.received().len() == 4).await;
    let mut gists = receiver.gists();
    gists.sort();
    let wanted = [
        "alert.closed batch_failing:v warning closed",
        "alert.opened batch_failing:v warning opened",
        "batch.finished",
        "batch.finished",
    ];
    assert_eq!(gists, wanted);
    let finished: Vec<Value> = receiver.received().iter().map(|message| message.json()["data"].clone()).collect();
    let finished: Vec<_> = finished.iter().filter(|data| data["batchId"].is_string()).collect();
    assert_eq!(
        (&finished[0]["total"], &finished[0]["succeeded"], &finished[0]["failed"]),
        (&json!(4), &json!(3), &json!(1))
    );
    assert!(finished[1]["spentLamports"].as_u64().unwrap() > 0);

    let (_, page) = office.get("/admin/alerts").await;
    assert_eq!(page["alerts"][0]["deliveries"].as_array().unwrap().len(), 2);
    assert!(page["alerts"][0]["deliveries"][1]["deliveredAt"].is_string());
    let log = page.to_string();
    assert!(!log.contains("hunter2") && !log.contains("secret-path"), "{log}");
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn incidents_come_in_pages_the_open_ones_first() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    for venue in ["a", "b", "c", "d"] {
        office.app.alerts.raise(Alert::new(AlertKind::Discrepancies, Severity::Warning, Some(venue), "differs")).await;
    }
    for venue in ["d", "b"] {
        office.app.alerts.resolve(&alert_key(AlertKind::Discrepancies, Some(venue))).await;
    }
    for (filter, wanted) in
        [("", vec!["c", "a", "d", "b"]), ("&open=true", vec!["c", "a"]), ("&open=false", vec!["d", "b"])]
    {
        let mut found = Vec::new();
        let mut path = Some(format!("/admin/alerts?limit=1{filter}"));
        while let Some(next) = path.take() {
            let (status, page) = office.get(&next).await;
            assert_eq!(status, StatusCode::OK, "{page}");
            let subjects =
                page["alerts"].as_array().unwrap().iter().map(|alert| alert["subject"].as_str().unwrap().to_owned());
            found.extend(subjects);
            path = page["nextCursor"].as_str().map(|cursor| format!("/admin/alerts?limit=1{filter}&cursor={cursor}"));
        }
        assert_eq!(found, wanted, "{filter}");
    }
    let (status, problem) = office.get("/admin/alerts?open=perhaps&limit=0").await;
    assert_eq!((status, problem["errors"].as_array().unwrap().len()), (StatusCode::UNPROCESSABLE_ENTITY, 2));
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_that_we_did_not_write_verifies_the_signature() {
    let folder = tempfile::tempdir().unwrap();
    interop::install(folder.path());
    let receiver = Receiver::start(|_| (200, None)).await;
    let service = Service::start(folder.path(), &receiver.url, &[20]);
    let alert = Alert::new(AlertKind::Discrepancies, Severity::Critical, Some("Café · №7"), "\"3\" of 10 differ\n");
    service.alerts.raise(alert).await;
    service.settle().await;
    let message = receiver.received().remove(0);
    let verify = |secret: &str, body: &str| {
        let mut child = Command::new("node")
            .args(["verify_webhook.mjs", secret])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = json!({ "headers": message.headers, "body": body }).to_string();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let verified = verify(SECRET, &message.body);
    assert!(verified.status.success(), "{}", stderr(&verified));
    assert_eq!(serde_json::from_str::<Value>(&stdout(&verified)).unwrap(), message.json());
    let changed = verify(SECRET, &message.body.replace("10", "11"));
    assert!(!changed.status.success() && stderr(&changed).contains("No matching signature"), "{}", stderr(&changed));
    assert!(!verify("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &message.body).status.success());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_tries_the_webhook_and_needs_no_books() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|nth| (if nth < 2 { 200 } else { 500 }, None)).await;
    let url = receiver.url.to_string();
    let environment = [("ALERT_WEBHOOK_URL", url.as_str()), ("ALERT_WEBHOOK_SECRET", SECRET), ("DATA_DIR", "data")];
    let taken = run(folder.path(), &["alert", "test"], &environment);
    assert!(taken.status.success(), "{}", stderr(&taken));
    assert!(stdout(&taken).contains("answered 200") && stdout(&taken).contains("noted"), "{}", stdout(&taken));
    assert_eq!(receiver.gists(), ["alert.test"]);
    let report = run(folder.path(), &["alert", "test", "--json"], &environment);
    let report: Value = serde_json::from_str(&stdout(&report)).unwrap();
    assert_eq!((&report["delivered"], &report["status"]), (&json!(true), &json!(200)));
    let refused = run(folder.path(), &["alert", "test"], &environment);
    assert_fails(&refused, 1, &["did not take the message"]);
    assert!(stdout(&refused).contains("answered 500"));
    drop(receiver);
    let gone = run(folder.path(), &["alert", "test"], &environment);
    assert_fails(&gone, 1, &["does not answer"]);
    assert_fails(&run(folder.path(), &["alert", "test"], &[]), 1, &["ALERT_WEBHOOK_URL"]);
    for output in [taken, refused, gone] {
        let said = stdout(&output) + &stderr(&output);
        assert!(!said.contains("hunter2") && !said.contains("secret-path") && !said.contains(SECRET), "{said}");
    }
    assert!(!folder.path().join("data").exists());
}
