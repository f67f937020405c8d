//! Publishing by providers: nothing is minted before its metadata is where wallets look for it, and nothing is sent twice.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use boxoffice::{
    domain::alert::AlertKind,
    metadata::{Content, ContentId, Publisher as _, local::LocalContent, replicated::Replicated},
};
use serde_json::{Value, json};

use crate::support::{
    ipfs::{Asked, Deed, Ipfs, JWT},
    ipfs_daemon::IpfsDaemon,
    proxy::{Call, Fate, Proxy},
    *,
};

const URI_PREFIX: &[u8] = b"ipfs://";
const CID_CHARS: usize = 59;

/// The address of the metadata that a transaction carries.
fn cid_in(call: &Call) -> String {
    let bytes = STANDARD.decode(call.params[0].as_str().unwrap()).unwrap();
    let at = bytes.windows(URI_PREFIX.len()).position(|window| window == URI_PREFIX).unwrap() + URI_PREFIX.len();
    String::from_utf8(bytes[at..at + CID_CHARS].to_vec()).unwrap()
}

/// A box that reaches the chain through a proxy, which looks at every transaction: its metadata must be published by then.
struct Watched {
    office: TestBox,
    proxy: Proxy,
    premature: Arc<Mutex<Vec<String>>>,
    folder: tempfile::TempDir,
}

async fn watched(ipfs: &Ipfs, settings: Vec<(&'static str, String)>) -> Watched {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 100 * SOL);
    let premature: Arc<Mutex<Vec<String>>> = Arc::default();
    let (seen, places) = (Arc::clone(&premature), ipfs.clone());
    let proxy = Proxy::start(chain().rpc_url(), move |call| {
        if call.method == "sendTransaction" && !places.holds_all_of(&cid_in(call)) {
            seen.lock().unwrap().push(cid_in(call));
        }
        Fate::Pass
    })
    .await;
    let mut options = BoxOptions { rpc: proxy.url.clone(), ..BoxOptions::new(folder.path(), &wallet) };
    options.settings.extend(settings);
    Watched { office: options.start().await, proxy, premature, folder }
}

impl Watched {
    /// Queues a batch and goes on; its address.
    async fn queue(&self, tickets: &[Value]) -> String {
        let body = json!({ "venueId": "v", "tickets": tickets });
        let request = self.office.request(reqwest::Method::POST, "/admin/batch-mint").header("prefer", "respond-async");
        let (status, accepted) = answer(request.json(&body)).await;
        assert_eq!(status.as_u16(), 202, "{accepted}");
        format!("/admin/batches/{}", accepted["batchId"].as_str().or(accepted["id"].as_str()).unwrap())
    }

    async fn until_minted(&self, batch: &str, count: usize) {
        until(async || {
            let (_, batch) = self.office.get(batch).await;
            batch["summary"]["succeeded"] == count || batch["succeeded"] == count
        })
        .await;
    }

    async fn held(&self) -> Option<String> {
        let (_, status) = self.office.get("/admin/system/status").await;
        status["queue"]["held"].as_str().map(str::to_owned)
    }

    async fn until_held(&self, by: &str) -> String {
        until(async || self.held().await.is_some_and(|reason| reason.contains(by))).await;
        self.held().await.unwrap_or_default()
    }

    /// Asserts that what the chain has is published, and stops the box.
    async fn finish(self, ipfs: &Ipfs) -> tempfile::TempDir {
        assert_eq!(*self.premature.lock().unwrap(), Vec::<String>::new(), "sent before they were published");
        let (_, page) = self.office.get("/admin/mints?status=minted&limit=500").await;
        for mint in page["mints"].as_array().unwrap() {
            let cid = mint["metadataUri"].as_str().unwrap().strip_prefix("ipfs://").unwrap();
            assert!(ipfs.holds(cid), "{cid} is minted and not published");
        }
        self.office.finish().await;
        self.folder
    }
}

/// Whether a call uploads something.
fn uploads(asked: &Asked) -> bool {
    ["api/v0/dag/import", "api/v0/add", "v3/files"].contains(&asked.path.as_str())
}

/// The first uploads go wrong in every way.
fn bad_morning(asked: &Asked) -> Deed {
    if !uploads(asked) {
        return Deed::Well;
    }
    match asked.nth {
        0 => Deed::Says(429, Some("1")),
        1 => Deed::Says(503, None),
        2 => Deed::Cut,
        3 => Deed::DoneBut(502),
        4 => Deed::Garbage,
        5 => Deed::Late(Duration::from_secs(1)),
        6 => Deed::Says(500, None),
        7 => Deed::Says(429, None),
        _ => Deed::Well,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_a_bad_morning_gets_everything_once() {
    let ipfs = Ipfs::start(bad_morning).await;
    let watched = watched(&ipfs, ipfs.kubo()).await;
    let result = watched.office.mint("v", &tickets("k", 200)).await;
    assert_eq!(result["summary"]["succeeded"], 200, "{result}");
    ipfs.assert_once();
    assert_eq!(ipfs.stored().len(), 201, "a document for each ticket, and their picture");
    watched.finish(&ipfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pinata_on_a_bad_morning_gets_everything_once() {
    let ipfs = Ipfs::start(|asked| {
        // Now and then for as long as it lasts, for here every file is a request.
        match (uploads(asked), asked.nth % 20) {
            (true, 3) => Deed::Cut,
            (true, 7) => Deed::DoneBut(504),
            (true, 11) => Deed::Says(429, Some("1")),
            (true, 13) => Deed::Garbage,
            (true, 17) => Deed::Says(503, None),
            _ => Deed::Well,
        }
    })
    .await;
    let watched = watched(&ipfs, ipfs.pinata()).await;
    let result = watched.office.mint("v", &tickets("p", 200)).await;
    assert_eq!(result["summary"]["succeeded"], 200, "{result}");
    ipfs.assert_once();
    assert_eq!(ipfs.stored().len(), 201);
    watched.finish(&ipfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_an_import_is_not_imported_again() {
    let ipfs = Ipfs::start(|asked| if uploads(asked) && asked.nth == 0 { Deed::Half } else { Deed::Well }).await;
    let watched = watched(&ipfs, ipfs.kubo()).await;
    assert_eq!(watched.office.mint("v", &tickets("h", 50)).await["summary"]["succeeded"], 50);
    ipfs.assert_once();
    watched.finish(&ipfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_imports_gets_the_files_themselves() {
    let ipfs = Ipfs::start(|asked| if asked.path == "api/v0/add" { bad_morning(asked) } else { Deed::Well }).await;
    ipfs.does_not_know("dag/import");
    let watched = watched(&ipfs, ipfs.kubo()).await;
    assert_eq!(watched.office.mint("v", &tickets("a", 50)).await["summary"]["succeeded"], 50);
    ipfs.assert_once();
    watched.finish(&ipfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_holds_minting_and_is_told_plainly() {
    for settings in [Ipfs::kubo, Ipfs::pinata] {
        let ipfs = Ipfs::start(|asked| if uploads(asked) { Deed::WrongAddress } else { Deed::Well }).await;
        let watched = watched(&ipfs, settings(&ipfs)).await;
        let batch = watched.queue(&tickets("w", 3)).await;
        let reason = watched.until_held("under the address").await;
        assert!(reason.contains("nothing is minted") && !reason.contains(JWT), "{reason}");
        assert_eq!(watched.proxy.count("sendTransaction"), 0);
        ipfs.set(|_| Deed::Well);
        watched.until_minted(&batch, 3).await;
        watched.finish(&ipfs).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_to_do_and_pass_by_themselves() {
    for (settings, status, told) in [
        (Ipfs::pinata as fn(&Ipfs) -> _, 401, "PINATA_JWT"),
        (Ipfs::pinata, 402, "plan is used up"),
        (Ipfs::kubo, 403, "KUBO_API_TOKEN"),
        (Ipfs::kubo, 413, "no room"),
    ] {
        let ipfs = Ipfs::start(move |asked| if uploads(asked) { Deed::Says(status, None) } else { Deed::Well }).await;
        let watched = watched(&ipfs, settings(&ipfs)).await;
        let batch = watched.queue(&tickets("r", 2)).await;
        let reason = watched.until_held(told).await;
        assert!(!reason.contains(JWT), "{reason}");
        let (_, system) = watched.office.get("/admin/system/status").await;
        let publisher = &system["publisher"][0];
        assert!(publisher["lastError"].as_str().unwrap().contains(told), "{publisher}");
        assert_eq!((&publisher["required"], &publisher["unpublished"]), (&json!(true), &json!(3)), "{publisher}");
        assert_eq!(watched.proxy.count("sendTransaction"), 0);
        let asked = ipfs.calls("v3/files") + ipfs.calls("api/v0/dag/import");
        assert!(asked <= 16, "a provider that refuses is left alone, and was asked {asked} times");
        ipfs.set(|_| Deed::Well);
        watched.until_minted(&batch, 2).await;
        assert_eq!(watched.held().await, None);
        ipfs.assert_once();
        watched.finish(&ipfs).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_holds_minting_until_it_is_back() {
    let ipfs = Ipfs::start(|_| Deed::Well).await;
    ipfs.go_down();
    let watched = watched(&ipfs, ipfs.kubo()).await;
    let batch = watched.queue(&tickets("d", 30)).await;
    watched.until_held("does not answer").await;
    let (_, system) = watched.office.get("/admin/system/status").await;
    assert_eq!(system["publisher"][0]["reachable"], false, "{system}");
    assert_eq!(watched.proxy.count("sendTransaction"), 0);
    ipfs.come_back().await;
    watched.until_minted(&batch, 30).await;
    ipfs.assert_once();
    watched.finish(&ipfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_need_not_wait_mints_first_and_publishes_later() {
    let ipfs = Ipfs::start(|_| Deed::Well).await;
    ipfs.go_down();
    let mut settings = ipfs.kubo();
    settings.push(("MINT_UNPUBLISHED", "true".into()));
    let watched = watched(&ipfs, settings).await;
    assert_eq!(watched.office.mint("v", &tickets("u", 20)).await["summary"]["succeeded"], 20);
    assert_eq!(ipfs.stored().len(), 0);
    ipfs.come_back().await;
    until(async || ipfs.stored().len() == 21).await;
    until(async || watched.office.get("/admin/system/status").await.1["publisher"][0]["unpublished"] == 0).await;
    ipfs.assert_once();
    watched.premature.lock().unwrap().clear();
    watched.finish(&ipfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_restart_nor_a_second_batch_uploads_again() {
    let ipfs = Ipfs::start(|_| Deed::Well).await;
    let watched = watched(&ipfs, ipfs.kubo()).await;
    assert_eq!(watched.office.mint("v", &tickets("s", 20)).await["summary"]["succeeded"], 20);
    let config = watched.office.app.config.clone();
    let folder = watched.finish(&ipfs).await;
    let (requests, office) = (ipfs.calls("api/v0/dag/import"), TestBox::start(config.clone()).await);
    // The same tickets for another venue: other mints, the same documents.
    assert_eq!(office.mint("w", &tickets("s", 20)).await["summary"]["succeeded"], 20);
    assert_eq!(ipfs.calls("api/v0/dag/import"), requests, "nothing was sent");
    let savings = office.app.publishing.savings().await.unwrap();
    assert_eq!((savings.uploaded_files, savings.saved_files), (21, 21), "{savings:?}");
    let metrics = office.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("boxoffice_uploads_saved_total{provider=\"kubo\"} 21"), "{metrics}");
    office.finish().await;
    // Another provider is another matter: it gets everything anew.
    let other = Ipfs::start(|_| Deed::Well).await;
    let mut options = BoxOptions::new(folder.path(), &folder.path().join("wallet.json"));
    options.settings.extend(other.kubo());
    let office = options.start().await;
    until(async || other.stored().len() == 21).await;
    other.assert_once();
    office.finish().await;
    ipfs.assert_once();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_of_an_event_is_published_before_its_tickets_are_minted() {
    for settings in [Ipfs::kubo as fn(&Ipfs) -> _, Ipfs::pinata] {
        let ipfs = Ipfs::start(bad_morning).await;
        let watched = watched(&ipfs, settings(&ipfs)).await;
        let image = crate::images::png(8, 600_000);
        let request = watched.office.request(reqwest::Method::PUT, "/admin/events/event-1/image?venueId=v");
        let (status, set) = answer(request.body(image.clone())).await;
        assert!(status.is_success(), "{set}");
        assert_eq!(watched.office.mint("v", &tickets("i", 20)).await["summary"]["succeeded"], 20);
        let cid = set["uri"].as_str().unwrap().strip_prefix("ipfs://").unwrap().to_owned();
        assert_eq!(ipfs.stored()[&cid].bytes, image);
        ipfs.assert_once();
        watched.finish(&ipfs).await;
    }
}

/// One file that is refused keeps its own tickets waiting, and nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_refused_holds_only_the_tickets_that_name_it() {
    for (settings, status) in [(Ipfs::kubo as fn(&Ipfs) -> _, 413), (Ipfs::pinata, 413), (Ipfs::kubo, 400)] {
        let ipfs = Ipfs::start(|_| Deed::Well).await;
        let watched = watched(&ipfs, settings(&ipfs)).await;
        let image = crate::images::png(8, 300_000);
        let request = watched.office.request(reqwest::Method::PUT, "/admin/events/event-9/image?venueId=v");
        assert!(answer(request.body(image.clone())).await.0.is_success());
        // The picture of six tickets, which stand first.
        ipfs.refuse(Some((&image[image.len() - 200_000..][..64], status)));
        let mut some = tickets("f", 40);
        for ticket in &mut some[0..6] {
            ticket["eventId"] = json!("event-9");
        }
        let batch = watched.queue(&some).await;
        watched.until_minted(&batch, 34).await;
        let reason = watched.until_held("is not taken").await;
        assert!(reason.contains(&format!("HTTP {status}")), "{reason}");
        assert!(reason.contains(&ContentId::of(&image).to_string()), "{reason}");
        // Tickets that are sold meanwhile are not kept either.
        assert_eq!(watched.office.mint("v", &tickets("later", 5)).await["summary"]["succeeded"], 5);
        assert!(watched.held().await.is_some());
        let uploads = ipfs.calls("v3/files") + ipfs.calls("api/v0/dag/import");
        assert!(uploads < 100, "{uploads} uploads");
        ipfs.refuse(None);
        watched.until_minted(&batch, 40).await;
        until(async || watched.held().await.is_none()).await;
        ipfs.assert_once();
        watched.finish(&ipfs).await;
    }
}

/// What is refused on an early page does not end catching up.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_refused_does_not_keep_later_ones_from_being_caught_up() {
    for settings in [Ipfs::kubo as fn(&Ipfs) -> _, Ipfs::pinata] {
        let ipfs = Ipfs::start(|_| Deed::Well).await;
        ipfs.go_down();
        let folder = tempfile::tempdir().unwrap();
        let publisher = publisher(folder.path(), settings(&ipfs)).await;
        let mut some = files(600, 100);
        some.sort_by_key(|file| file.id.to_string());
        publisher.publish(some.clone()).await.unwrap_err();
        ipfs.come_back().await;
        ipfs.refuse(Some((&some[3].bytes, 422)));
        until(async || {
            // The provider may still be left alone for a moment.
            publisher.catch_up(0).await.unwrap_err().to_string().contains(&some[3].id.to_string())
        })
        .await;
        assert_eq!(ipfs.stored().len(), 599);
        ipfs.refuse(None);
        until(async || publisher.catch_up(0).await.is_ok_and(|files| files == 1)).await;
        ipfs.assert_once();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_provider_catches_up() {
    let (first, second) = (Ipfs::start(|_| Deed::Well).await, Ipfs::start(|_| Deed::Well).await);
    second.go_down();
    let mut settings = first.kubo();
    settings.extend(second.pinata().into_iter().filter(|(name, _)| *name != "IPFS_PROVIDER"));
    settings.push(("IPFS_SECOND_PROVIDER", "pinata".into()));
    let watched = watched(&first, settings).await;
    assert_eq!(watched.office.mint("v", &tickets("c", 20)).await["summary"]["succeeded"], 20, "it is not waited for");
    let (_, system) = watched.office.get("/admin/system/status").await;
    let publisher = &system["publisher"][1];
    assert_eq!((&publisher["required"], &publisher["unpublished"]), (&json!(false), &json!(21)), "{publisher}");
    second.come_back().await;
    until(async || second.stored().len() == 21).await;
    second.assert_once();
    first.assert_once();
    watched.finish(&first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_pin_is_found_and_published_again() {
    let ipfs = Ipfs::start(|_| Deed::Well).await;
    let watched = watched(&ipfs, ipfs.kubo()).await;
    assert_eq!(watched.office.mint("v", &tickets("l", 10)).await["summary"]["succeeded"], 10);
    let cids: Vec<String> = ipfs.stored().into_keys().collect();
    let run = async || {
        let (status, _) = watched.office.post("/admin/jobs/verify-content/run", &json!({})).await;
        assert!(status.is_success(), "{status}");
        let mut last = Value::Null;
        until(async || {
            let (_, jobs) = watched.office.get("/admin/jobs").await;
            let jobs = jobs["jobs"].as_array().unwrap().clone();
            jobs.iter().any(|job| job["id"] == "verify-content" && job["running"] == false)
        })
        .await;
        let (_, jobs) = watched.office.get("/admin/jobs").await;
        for job in jobs["jobs"].as_array().unwrap() {
            if job["id"] == "verify-content" {
                last = job["lastRun"].clone();
            }
        }
        last.to_string()
    };
    let open = async || {
        let (_, alerts) = watched.office.get("/admin/alerts?open=true").await;
        let alerts = alerts["alerts"].as_array().unwrap().clone();
        alerts.iter().any(|alert| alert["kind"] == AlertKind::ContentMissing.as_str())
    };
    let said = run().await;
    assert!(said.contains("of 11 published files") && said.contains("0 were missing"), "{said}");
    assert!(!open().await);
    ipfs.lose(&cids[3]);
    ipfs.spoil(&cids[5]);
    let said = run().await;
    assert!(said.contains("2 were missing, 2 of them are published anew"), "{said}");
    assert!(open().await);
    assert_eq!(ipfs.stored().len(), 11);
    assert!(
        ipfs.stored().iter().all(|(cid, stored)| boxoffice::metadata::ContentId::of(&stored.bytes).to_string() == *cid)
    );
    // A provider that does not answer has not lost anything, and does not end the incident either.
    ipfs.set(|asked| if asked.path == "api/v0/pin/ls" { Deed::Says(503, None) } else { Deed::Well });
    let said = run().await;
    assert!(said.contains("0 were missing") && said.contains("nothing can be said of 11"), "{said}");
    assert!(open().await);
    ipfs.set(|_| Deed::Well);
    run().await;
    until(async || !open().await).await;
    watched.finish(&ipfs).await;
}

/// A sample shows only what it looks at: a provider that lost much is believed no more, and gets everything again.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_lost_everything_gets_everything_again() {
    for settings in [Ipfs::kubo as fn(&Ipfs) -> _, Ipfs::pinata] {
        let ipfs = Ipfs::start(|_| Deed::Well).await;
        let folder = tempfile::tempdir().unwrap();
        let publisher = publisher(folder.path(), settings(&ipfs)).await;
        publisher.publish(files(40, 100)).await.unwrap();
        let lost: Vec<String> = ipfs.stored().into_keys().take(35).collect();
        for cid in &lost {
            ipfs.lose(cid);
        }
        let verified = publisher.verify(20).await.unwrap().remove(0);
        assert!(verified.missing >= 15 && verified.repaired == verified.missing, "{verified:?}");
        assert_eq!(verified.missing + verified.forgotten, 40, "{verified:?}");
        publisher.catch_up(0).await.unwrap();
        assert_eq!(ipfs.stored().len(), 40);
        // What it still had is looked for and not sent.
        ipfs.assert_once();
        assert_eq!(publisher.status().await.unwrap()[0].unpublished, 0);
        // A few are repaired one by one.
        ipfs.lose(&lost[0]);
        let verified = publisher.verify(40).await.unwrap().remove(0);
        assert_eq!((verified.missing, verified.repaired, verified.forgotten), (1, 1, 0), "{verified:?}");
    }
}

/// The address of a gateway may hold a token; where it redirects to is not told of it, and it does not lead on for ever.
#[tokio::test(flavor = "multi_thread")]
async fn where_a_gateway_redirects_to_does_not_learn_its_token() {
    use axum::{Router, http::HeaderMap, response::Redirect, routing::get};

    let ipfs = Ipfs::start(|_| Deed::Well).await;
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let (seen, target) = (Arc::clone(&told), format!("{}ipfs/", ipfs.url));
    let once = move |headers: HeaderMap, cid: axum::extract::Path<String>| async move {
        seen.lock().unwrap().push(format!("{headers:?}"));
        Redirect::temporary(&format!("{target}{}", *cid))
    };
    let router = Router::new()
        .route(
            "/first/{cid}",
            get(|cid: axum::extract::Path<String>| async move { Redirect::temporary(&format!("/second/{}", *cid)) }),
        )
        .route("/second/{cid}", get(once))
        .route(
            "/round/{cid}",
            get(|cid: axum::extract::Path<String>| async move { Redirect::temporary(&format!("/round/{}", *cid)) }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    for (path, sound, unreachable) in [("first", 4, 0), ("round", 0, 4)] {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = ipfs.pinata();
        settings.push(("IPFS_GATEWAYS", format!("{gateway}/{path}/{{cid}}?token=hunter2")));
        let publisher = publisher(folder.path(), settings).await;
        publisher.publish(files(4, 100)).await.unwrap();
        let verified = publisher.verify(4).await.unwrap().remove(0);
        assert_eq!((verified.sound, verified.unreachable), (sound, unreachable), "{verified:?}");
    }
    let told = told.lock().unwrap();
    assert!(told.len() == 4 && told.iter().all(|headers| !headers.contains("hunter2")), "{told:?}");
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_are_asked_and_their_silence_proves_nothing() {
    let ipfs = Ipfs::start(|_| Deed::Well).await;
    let mut settings = ipfs.pinata();
    settings.push(("IPFS_GATEWAYS", ipfs.url.to_string()));
    let watched = watched(&ipfs, settings).await;
    assert_eq!(watched.office.mint("v", &tickets("g", 5)).await["summary"]["succeeded"], 5);
    let verify = async || watched.office.app.publishing.verify().await.unwrap().remove(0);
    let verified = verify().await;
    assert_eq!((verified.checked, verified.sound, verified.missing), (6, 6, 0), "{verified:?}");
    ipfs.set(|asked| if asked.path.starts_with("ipfs/") { Deed::Says(504, None) } else { Deed::Well });
    let verified = verify().await;
    assert_eq!((verified.sound, verified.missing, verified.unreachable), (0, 0, 6), "{verified:?}");
    ipfs.set(|_| Deed::Well);
    let cid = ipfs.stored().into_keys().next().unwrap();
    ipfs.lose(&cid);
    let verified = verify().await;
    assert_eq!((verified.sound, verified.missing, verified.repaired), (5, 1, 1), "{verified:?}");
    ipfs.assert_once();
    watched.finish(&ipfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_config_tries_the_provider() {
    let ipfs = Ipfs::start(|_| Deed::Well).await;
    let folder = tempfile::tempdir().unwrap();
    wallet(folder.path(), SOL);
    let with = |jwt: &str| {
        let mut settings = ipfs.pinata();
        settings.retain(|(name, _)| *name != "PINATA_JWT");
        settings.push(("PINATA_JWT", jwt.to_owned()));
        settings.extend([
            ("NETWORK", "localnet".to_owned()),
            ("SOLANA_RPC_URLS", chain().rpc_url().to_string()),
            ("WALLET_PATH", "wallet.json".to_owned()),
            ("DATA_DIR", "data".to_owned()),
        ]);
        let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        run(folder.path(), &["check-config", "--online"], &settings)
    };
    let (good, bad) = tokio::task::block_in_place(|| (with(JWT), with("hunter3")));
    assert!(good.status.success(), "{}", stderr(&good));
    assert!(stdout(&good).contains("pinata at http://127.0.0.1"), "{}", stdout(&good));
    assert_fails(&bad, 1, &["PINATA_JWT is not valid there"]);
    assert!(!stdout(&good).contains(JWT) && !stderr(&bad).contains("hunter3"));
}

/// A box without a chain: only its publisher, on a content store of its own.
async fn publisher(folder: &Path, settings: Vec<(&'static str, String)>) -> Replicated {
    let mut options = BoxOptions::new(folder, &folder.join("wallet.json"));
    options.settings.extend(settings);
    let local = LocalContent::open(folder).unwrap();
    Replicated::open(local, options.config().publish, || 0, &prometheus::Registry::new()).await.unwrap()
}

/// No two are alike.
fn files(count: u64, size: usize) -> Vec<Content> {
    let file = |number: u64| {
        let bytes: Vec<u8> = (number << 32..).flat_map(u64::to_le_bytes).take(size).collect();
        Content::new("image/png", bytes)
    };
    (0..count).map(file).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_keep_their_addresses() {
    for (settings, call) in [(Ipfs::kubo as fn(&Ipfs) -> _, ""), (Ipfs::kubo, "dag/import"), (Ipfs::pinata, "")] {
        let ipfs = Ipfs::start(|_| Deed::Well).await;
        ipfs.does_not_know(call);
        let folder = tempfile::tempdir().unwrap();
        let publisher = publisher(folder.path(), settings(&ipfs)).await;
        // More than one request takes.
        let files = [files(12, 1_000_000), files(3, 100)].concat();
        publisher.publish(files.clone()).await.unwrap();
        ipfs.assert_once();
        for file in files {
            assert_eq!(ipfs.stored()[&file.id.to_string()].bytes, file.bytes);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_want_the_same_file_published_share_one_upload() {
    let ipfs = Ipfs::start(|_| Deed::Late(Duration::from_millis(100))).await;
    let folder = tempfile::tempdir().unwrap();
    let publisher = publisher(folder.path(), ipfs.pinata()).await;
    let (first, second) = (files(20, 100), files(30, 100));
    publisher.publish_ahead(files(5, 100)).await;
    let both = tokio::join!(publisher.publish(first), publisher.publish(second), publisher.catch_up(0));
    both.0.unwrap();
    both.1.unwrap();
    assert_eq!(ipfs.stored().len(), 30);
    ipfs.assert_once();
    // What was begun early, or shared, was not there when it was asked for: nothing is saved by that.
    let totals = publisher.status().await.unwrap()[0].totals;
    assert!(totals.saved_files <= 20, "{totals:?}");
    publisher.publish(files(30, 100)).await.unwrap();
    let more = publisher.status().await.unwrap()[0].totals;
    assert_eq!((more.files, more.saved_files - totals.saved_files), (30, 30), "{more:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_provider_that_is_down_saves_nothing() {
    let ipfs = Ipfs::start(|_| Deed::Well).await;
    ipfs.go_down();
    let folder = tempfile::tempdir().unwrap();
    let publisher = publisher(folder.path(), ipfs.kubo()).await;
    publisher.publish(files(10, 100)).await.unwrap_err();
    ipfs.come_back().await;
    // The background is quicker than the request that is made again.
    assert_eq!(publisher.catch_up(0).await.unwrap(), 10);
    publisher.publish(files(10, 100)).await.unwrap();
    let totals = publisher.status().await.unwrap()[0].totals;
    assert_eq!((totals.files, totals.saved_files), (10, 0), "{totals:?}");
    ipfs.assert_once();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_repeats_the_token_does_not_bring_it_into_messages() {
    let ipfs = Ipfs::start(|_| Deed::SaysToken).await;
    for settings in [ipfs.pinata(), [ipfs.kubo(), vec![("KUBO_API_TOKEN", JWT.into())]].concat()] {
        let folder = tempfile::tempdir().unwrap();
        let publisher = publisher(folder.path(), settings).await;
        let told = publisher.publish(files(1, 100)).await.unwrap_err();
        assert!(told.to_string().contains("[redacted]"), "{told}");
        assert!(!format!("{told} {told:?}").contains(JWT), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_told_when_a_provider_does_not_take_metadata() {
    let ipfs = Ipfs::start(|asked| if uploads(asked) { Deed::Says(401, None) } else { Deed::Well }).await;
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 100 * SOL);
    let mut options = BoxOptions::new(folder.path(), &wallet);
    options.settings.extend(ipfs.pinata());
    let mut config = options.config();
    (config.alerts.watch_every, config.alerts.patience) = (Duration::from_millis(50), Duration::from_millis(200));
    let office = TestBox::start(config).await;
    let body = json!({ "venueId": "v", "tickets": tickets("o", 1) });
    let request = office.request(reqwest::Method::POST, "/admin/batch-mint").header("prefer", "respond-async");
    answer(request.json(&body)).await;
    let open = async || {
        let (_, alerts) = office.get("/admin/alerts?open=true").await;
        let alerts = alerts["alerts"].as_array().unwrap().clone();
        alerts.into_iter().find(|alert| alert["kind"] == AlertKind::PublisherDown.as_str())
    };
    until(async || open().await.is_some()).await;
    let alert = open().await.unwrap();
    assert_eq!((&alert["severity"], &alert["subject"]), (&json!("critical"), &json!("pinata")), "{alert}");
    assert!(alert["summary"].as_str().unwrap().contains("PINATA_JWT is not valid there"), "{alert}");
    ipfs.set(|_| Deed::Well);
    until(async || open().await.is_none()).await;
    until(async || office.get("/admin/dashboard").await.1["totalMints"] == 1).await;
    office.finish().await;
}

/// Prints how long it takes to publish what is published already, with and without the record.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn duplicates_with_and_without_the_record() {
    for settings in [Ipfs::kubo as fn(&Ipfs) -> _, Ipfs::pinata] {
        let ipfs = Ipfs::start(|_| Deed::Late(Duration::from_millis(300))).await;
        let folder = tempfile::tempdir().unwrap();
        let publish = async |folder: &Path| {
            let publisher = publisher(folder, settings(&ipfs)).await;
            let began = Instant::now();
            publisher.publish(files(256, 540)).await.unwrap();
            began.elapsed()
        };
        let (first, again) = (publish(folder.path()).await, publish(folder.path()).await);
        let without = tempfile::tempdir().unwrap();
        println!("256 files: {first:?}, with the record {again:?}, without it {:?}", publish(without.path()).await);
    }
}

/// Prints how quickly tickets are minted with providers of some latency: `cargo test … -- --ignored --nocapture speed`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn speed_with_a_provider_of_some_latency() {
    for (name, latency) in
        [("local", None), ("kubo", Some(50)), ("kubo", Some(300)), ("pinata", Some(50)), ("pinata", Some(300))]
    {
        let wait = Duration::from_millis(latency.unwrap_or_default());
        let ipfs = Ipfs::start(move |_| Deed::Late(wait)).await;
        let mut settings = match name {
            "kubo" => ipfs.kubo(),
            "pinata" => ipfs.pinata(),
            _ => Vec::new(),
        };
        settings.extend([("MAX_BATCH_SIZE", "200".into()), ("BATCH_DELAY_MS", "50".into())]);
        let folder = tempfile::tempdir().unwrap();
        let (wallet, _) = wallet(folder.path(), 100 * SOL);
        let mut options = BoxOptions::new(folder.path(), &wallet);
        options.settings.extend(settings);
        let office = options.start().await;
        let began = Instant::now();
        assert_eq!(office.mint("v", &tickets("m", 1_000)).await["summary"]["succeeded"], 1_000);
        let rate = 1_000.0 / began.elapsed().as_secs_f64();
        let savings = office.app.publishing.savings().await.unwrap();
        println!("{name} {latency:?} ms: {rate:.0} tickets/s, {savings:?}");
        office.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_ipfs_daemon_hands_out_what_was_minted_even_if_it_is_killed_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = IpfsDaemon::start(folder.path()).await;
    let settings = [("IPFS_PROVIDER", "kubo".into()), ("KUBO_API_URL", daemon.url.to_string())];
    let (wallet, _) = wallet(folder.path(), 100 * SOL);
    let mut options = BoxOptions::new(folder.path(), &wallet);
    options.settings.extend(settings);
    // Slow enough that most of the batch is not published yet when its first tickets are minted.
    let options = options.set("MAX_BATCH_SIZE", "10").set("BATCH_DELAY_MS", "100").set("CONTENT_VERIFY_SAMPLE", "1000");
    let office = options.start().await;
    office.app.publishing.check().await.unwrap();
    assert_eq!(office.mint("v", &tickets("q", 5)).await["summary"]["succeeded"], 5);
    // A batch, in the midst of which the daemon dies.
    let batch = json!({ "venueId": "v", "tickets": tickets("x", 600) });
    let request = office.request(reqwest::Method::POST, "/admin/batch-mint").header("prefer", "respond-async");
    let (_, accepted) = answer(request.json(&batch)).await;
    let path = format!("/admin/batches/{}?entries=false", accepted["batchId"].as_str().unwrap());
    let succeeded = async || office.get(&path).await.1["summary"]["succeeded"].as_u64().unwrap();
    until(async || succeeded().await > 0).await;
    daemon.kill();
    let held = async || office.get("/admin/system/status").await.1["queue"]["held"].to_string();
    until(async || held().await.contains("does not answer")).await;
    assert!(succeeded().await < 600);
    daemon.come_back().await;
    until(async || succeeded().await == 600).await;
    let (_, mints) = office.get("/admin/mints?status=minted&limit=500").await;
    let mints = mints["mints"].as_array().unwrap();
    assert_eq!(mints.len(), 500);
    for mint in mints.iter().step_by(25) {
        let cid = mint["metadataUri"].as_str().unwrap().strip_prefix("ipfs://").unwrap();
        let theirs = daemon.call("cat", &[("arg", cid)]).await.unwrap();
        let ours = office.request(reqwest::Method::GET, &format!("/ipfs/{cid}")).send().await.unwrap();
        assert_eq!(theirs, ours.bytes().await.unwrap());
    }
    let pins = daemon.call("pin/ls", &[("type", "recursive")]).await.unwrap();
    let pins: Value = serde_json::from_slice(&pins).unwrap();
    assert_eq!(pins["Keys"].as_object().unwrap().len(), 606, "each is pinned by itself, and nothing else is");
    // Files of several blocks, too.
    let own = folder.path().join("own");
    std::fs::create_dir(&own).unwrap();
    let settings = vec![("IPFS_PROVIDER", "kubo".into()), ("KUBO_API_URL", daemon.url.to_string())];
    publisher(&own, settings).await.publish(files(2, 1_000_000)).await.unwrap();
    for file in files(2, 1_000_000) {
        assert_eq!(daemon.call("cat", &[("arg", &file.id.to_string())]).await.unwrap(), file.bytes);
    }
    // A pin that goes away is found and made anew.
    let cid = office.get("/admin/mints/q-1").await.1["metadataUri"].as_str().unwrap()[7..].to_owned();
    daemon.call("pin/rm", &[("arg", &cid)]).await.unwrap();
    daemon.call("repo/gc", &[]).await.unwrap();
    let verified = office.app.publishing.verify().await.unwrap().remove(0);
    assert_eq!((verified.checked, verified.missing, verified.repaired), (606, 1, 1), "{verified:?}");
    assert!(daemon.call("cat", &[("arg", &cid)]).await.is_some());
    office.finish().await;
}

/// Kills the box between a provider's confirmation and its record: it looks before it sends again.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_confirmation_and_record_it_looks_before_it_sends_again() {
    use std::io::{BufRead as _, BufReader};

    for (settings, passes) in [(Ipfs::kubo as fn(&Ipfs) -> Vec<(&'static str, String)>, [1, 2]), (Ipfs::pinata, [1, 7])]
    {
        let ipfs = Ipfs::start(|_| Deed::Well).await;
        let folder = tempfile::tempdir().unwrap();
        wallet(folder.path(), 100 * SOL);
        let start = |kill_at: Option<String>| {
            let mut command = boxoffice(folder.path());
            command.arg("serve").envs(settings(&ipfs)).envs([
                ("NETWORK", "localnet"),
                ("WALLET_PATH", "wallet.json"),
                ("SOLANA_RPC_URLS", chain().rpc_url().as_str()),
                ("DATA_DIR", "data"),
                ("PORT", "0"),
                ("LOG_LEVEL", "warn"),
            ]);
            command.envs(kill_at.map(|at| ("BOXOFFICE_KILL_AT", at)));
            let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
            let listening = |line: String| line.strip_prefix("Listening on ").map(str::to_owned);
            let url = lines.by_ref().map_while(Result::ok).find_map(listening);
            std::thread::spawn(move || lines.for_each(drop));
            (child, url)
        };
        let mut submitted = false;
        for pass in passes {
            let (mut child, url) = start(Some(format!("publish.confirmed:{pass}")));
            if let (Some(url), false) = (url, submitted) {
                let batch = json!({ "venueId": "v", "tickets": tickets("z", 150) });
                let request = reqwest::Client::new().post(format!("{url}/admin/batch-mint"));
                let request = request.header("prefer", "respond-async").json(&batch);
                submitted = request.send().await.is_ok_and(|response| response.status().as_u16() == 202);
            }
            let ended = tokio::task::block_in_place(|| child.wait().unwrap());
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(9), "{ended}");
        }
        let (mut child, url) = start(None);
        let dashboard = format!("{}/admin/dashboard", url.unwrap());
        until(async || {
            let seen = answer(reqwest::Client::new().get(&dashboard)).await.1;
            seen["totalMints"] == 150 && seen["pendingMints"] == 0
        })
        .await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(ipfs.stored().len(), 151);
        ipfs.assert_once();
    }
}
