//! Images of events: set once, shown by the tickets that are accepted afterwards, and by no other.

use std::{collections::BTreeMap, fs, path::Path, process::Output};

use axum::{Router, http::StatusCode as Status, response::Redirect, routing::get};
use boxoffice::{
    domain::image::MAX_IMAGE_BYTES,
    metadata::{ContentId, unixfs},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::*;

const VENUE: &str = "v";

/// A PNG of some width with `bytes` bytes of comment, checksums and all.
pub fn png(width: u32, bytes: usize) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let header = [&width.to_be_bytes()[..], &[0, 0, 0, 2, 8, 0, 0, 0, 0]].concat();
    let comment: Vec<u8> = (0..bytes).map(|position| (position / 251) as u8).collect();
    for (name, data) in [(b"IHDR", header), (b"teXt", comment), (b"IDAT", vec![0]), (b"IEND", Vec::new())] {
        let mut checksum = flate2::Crc::new();
        checksum.update(name);
        checksum.update(&data);
        png.extend((data.len() as u32).to_be_bytes());
        png.extend(name);
        png.extend(data);
        png.extend(checksum.sum().to_be_bytes());
    }
    png
}

fn path(venue: &str, event: &str) -> String {
    format!("/admin/events/{event}/image?venueId={venue}")
}

async fn set(office: &TestBox, venue: &str, event: &str, image: Vec<u8>) -> (StatusCode, Value) {
    answer(office.request(Method::PUT, &path(venue, event)).body(image)).await
}

async fn uri(office: &TestBox, venue: &str, event: &str, image: Vec<u8>) -> String {
    let (status, body) = set(office, venue, event, image).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body["uri"].as_str().unwrap().to_owned()
}

/// Address and type of the picture in the metadata of a ticket just minted.
async fn shown(office: &TestBox, minted: &Value) -> (String, String) {
    let uri = minted["metadataUri"].as_str().unwrap_or_else(|| panic!("{minted}"));
    let (status, document) = office.get(&uri.replace("ipfs://", "/ipfs/")).await;
    assert_eq!(status, StatusCode::OK);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let file = &document["properties"]["files"][0];
    assert_eq!(document["image"], file["uri"]);
    (text(&document["image"]), text(&file["type"]))
}

async fn assert_agrees(office: &TestBox, tickets: u64) {
    let (status, summary) = office.post("/admin/reconcile/v", &json!({})).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&summary["confirmed"], &summary["discrepancyCount"]), (&json!(tickets), &json!(0)), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_show_the_image_that_their_event_had_when_they_were_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let before = office.mint(VENUE, &[ticket("before")]).await;
    let (drawn, kind) = shown(&office, &before["successful"][0]).await;
    assert_eq!(kind, "image/svg+xml");

    // Two pieces: a tree of blocks, and the file is served whole under its root all the same.
    let first = png(5, 300_000);
    let (status, told) = set(&office, VENUE, "event-1", first.clone()).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    let first_uri = format!("ipfs://{}", unixfs::file_address(&first));
    let wanted = json!({
        "venueId": VENUE, "eventId": "event-1", "uri": first_uri, "mediaType": "image/png",
        "bytes": first.len(), "width": 5, "height": 2, "setAt": told["setAt"]
    });
    assert_eq!(told, wanted);
    assert_eq!(office.get(&path(VENUE, "event-1")).await, (StatusCode::OK, wanted.clone()));
    assert_eq!(set(&office, VENUE, "event-1", first.clone()).await.1, wanted, "the same again changes nothing");
    let served = office.request(Method::GET, &first_uri.replace("ipfs://", "/ipfs/")).send().await.unwrap();
    assert_eq!(served.headers()["content-type"], "image/png");
    assert_eq!(served.bytes().await.unwrap(), first);

    // A ticket with a picture of its own keeps it; another event, and the same event of another venue, have none.
    let mut batch = vec![ticket("first"), ticket("own"), ticket("other-event")];
    batch[1]["image"] = json!("https://example.com/mine.gif");
    batch[2]["eventId"] = json!("event-2");
    let result = office.mint(VENUE, &batch).await;
    let mut found = BTreeMap::new();
    for minted in result["successful"].as_array().unwrap() {
        found.insert(minted["ticketId"].as_str().unwrap(), shown(&office, minted).await);
    }
    let pair = |uri: &str, kind: &str| (uri.to_owned(), kind.to_owned());
    assert_eq!(found["first"], pair(&first_uri, "image/png"));
    assert_eq!(found["own"], pair("https://example.com/mine.gif", "image/gif"));
    assert_eq!(found["other-event"], pair(&drawn, "image/svg+xml"));
    let elsewhere = office.mint("w", &[ticket("first")]).await;
    assert_eq!(shown(&office, &elsewhere["successful"][0]).await, pair(&drawn, "image/svg+xml"));
    assert_eq!(office.get(&path("w", "event-1")).await.0, StatusCode::NOT_FOUND);

    // Another image: tickets sent again are the same tickets, new ones get the new image.
    let second = uri(&office, VENUE, "event-1", png(7, 10)).await;
    let again = office.mint(VENUE, &[ticket("before"), batch[0].clone(), ticket("second")]).await;
    let of = |id: &str| {
        let all = again["successful"].as_array().unwrap();
        all.iter().find(|minted| minted["ticketId"] == id).unwrap().clone()
    };
    assert_eq!(of("before")["signature"], before["successful"][0]["signature"]);
    assert_eq!(of("first")["signature"], result["successful"][0]["signature"]);
    assert_eq!(shown(&office, &of("first")).await, pair(&first_uri, "image/png"));
    assert_eq!(shown(&office, &of("second")).await, pair(&second, "image/png"));

    // And none any more.
    let removed = answer(office.request(Method::DELETE, &path(VENUE, "event-1"))).await;
    assert_eq!((removed.0, &removed.1["uri"]), (StatusCode::OK, &json!(second)));
    assert_eq!(office.get(&path(VENUE, "event-1")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(answer(office.request(Method::DELETE, &path(VENUE, "event-1"))).await.0, StatusCode::NOT_FOUND);
    let after = office.mint(VENUE, &[ticket("after"), ticket("second")]).await;
    assert_eq!(shown(&office, &after["successful"][0]).await, pair(&drawn, "image/svg+xml"));
    assert_agrees(&office, 6).await;

    // Metadata that was lost comes out as it was, whatever the event's image is now.
    let content = rusqlite::Connection::open(folder.path().join("data/content.db")).unwrap();
    let lost = content.execute("DELETE FROM content WHERE media_type = 'application/json'", []).unwrap();
    assert_eq!(lost, 7);
    let (_, repair) = office.post("/admin/reconcile/v/fix", &json!({})).await;
    assert_eq!(repair["published"], 6, "{repair}");
    assert_agrees(&office, 6).await;
    let (_, audit) = office.get("/admin/audit").await;
    assert!(audit.to_string().contains(&format!("the image of event-1 of v is {first_uri}")), "{audit}");
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_that_wait_keep_the_image_they_were_accepted_with() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 100 * SOL);
    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    let first = uri(&office, VENUE, "event-1", png(5, 10)).await;
    let body = json!({ "venueId": VENUE, "tickets": [ticket("A")], "notBefore": "2099-01-01T00:00:00Z" });
    let (status, batch) =
        answer(office.request(Method::POST, "/admin/batch-mint").header("prefer", "respond-async").json(&body)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{batch}");
    uri(&office, VENUE, "event-1", png(6, 10)).await;
    office.abandon().await;
    // Over a restart, and asked for earlier.
    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    let result = office.mint(VENUE, &[ticket("A")]).await;
    assert_eq!(shown(&office, &result["successful"][0]).await.0, first);
    assert_agrees(&office, 1).await;
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_books_are_rebuilt_once_the_image_is_set_again() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 100 * SOL);
    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    uri(&office, VENUE, "event-1", png(5, 10)).await;
    let minted = office.mint(VENUE, &tickets("A", 3)).await;
    office.finish().await;
    fs::remove_dir_all(folder.path().join("data")).unwrap();

    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    let recover = async || {
        let body = json!({ "venueId": VENUE, "tickets": tickets("A", 3) });
        let (status, result) = office.post("/admin/batch-mint?recover=true", &body).await;
        assert_eq!(status, StatusCode::OK, "{result}");
        result
    };
    // Without the image, and with a wrong one: the chain has other metadata, and it is said what may be the cause.
    for wrong in [None, Some(png(9, 10))] {
        if let Some(image) = wrong {
            uri(&office, VENUE, "event-1", image).await;
        }
        let result = recover().await;
        assert_eq!(result["summary"]["failed"], 3, "{result}");
        assert_eq!(result["failed"][0]["code"], "chain_conflict");
        assert!(result["failed"][0]["error"].as_str().unwrap().contains("boxoffice image set"), "{result}");
    }
    assert_eq!(recover().await["summary"]["failed"], 3, "nothing has changed");
    uri(&office, VENUE, "event-1", png(5, 10)).await;
    let (_, preview) =
        office.post("/admin/batch-mint?dryRun=true", &json!({ "venueId": VENUE, "tickets": tickets("A", 3) })).await;
    assert_eq!((&preview["new"], &preview["known"]), (&json!(3), &json!(0)), "{preview}");
    let result = recover().await;
    assert_eq!(result["summary"]["succeeded"], 3, "{result}");
    for (old, new) in minted["successful"].as_array().unwrap().iter().zip(result["successful"].as_array().unwrap()) {
        assert_eq!(old["signature"], new["signature"]);
    }
    assert_agrees(&office, 3).await;
    assert_eq!(nfts_of(chain().rpc_url(), &office.app.authority).await, 3);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_image_is_refused_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let good = uri(&office, VENUE, "e", png(5, 10)).await;
    let mut cut = png(5, 10);
    cut.truncate(cut.len() - 5);
    let script = b"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 1 1'><script/></svg>".to_vec();
    for (bytes, status, code, said) in [
        (Vec::new(), 422, "invalid_request", "nothing was sent"),
        (b"%PDF-1.7".to_vec(), 415, "unsupported_media_type", "no PNG, JPEG, GIF, WebP or SVG"),
        (cut, 422, "invalid_request", "it ends too early"),
        (script, 422, "invalid_request", "<script>"),
        (png(0, 10), 422, "invalid_request", "0 x 2 pixels"),
        (png(5, MAX_IMAGE_BYTES), 413, "body_too_large", "10485760 bytes"),
    ] {
        let (found, problem) = set(&office, VENUE, "e", bytes).await;
        assert_eq!((found.as_u16(), problem["code"].as_str().unwrap()), (status, code), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
    // Its name and its type say nothing, only its bytes do.
    let request = office.request(Method::PUT, &path(VENUE, "e")).header("content-type", "text/html").body(png(5, 10));
    assert_eq!(answer(request).await.1["mediaType"], "image/png");
    for (path, status) in [
        ("/admin/events/e/image", 400),
        ("/admin/events/e/image?venueId=", 422),
        ("/admin/events/%20e/image?venueId=v", 422),
        ("/admin/events/e/image?venueId=v&x=1", 400),
    ] {
        assert_eq!(answer(office.request(Method::PUT, path).body(png(5, 10))).await.0.as_u16(), status, "{path}");
    }
    assert_eq!(office.get(&path(VENUE, "e")).await.1["uri"], good, "what was set before holds");
    // The largest that is taken.
    let largest = png(5, MAX_IMAGE_BYTES - png(5, 0).len());
    assert_eq!(largest.len(), MAX_IMAGE_BYTES);
    let largest_uri = uri(&office, VENUE, "e", largest.clone()).await;
    assert_eq!(ContentId::of(&largest).uri(), largest_uri);
    // A slash in an event's id is part of it.
    uri(&office, VENUE, "a%2Fb", png(5, 10)).await;
    assert_eq!(office.get(&path(VENUE, "a%2Fb")).await.1["eventId"], "a/b");
    office.finish().await;
}

/// The command line against a running server.
fn image(folder: &Path, office: &TestBox, arguments: &[&str]) -> Output {
    let arguments = [&["image"], arguments, &["--venue", "Town Hall", "--event", "a/b?", "--url", office.url.as_str()]];
    run(folder, &arguments.concat(), &[("NETWORK", "localnet"), ("WALLET_PATH", "wallet.json")])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_sets_files_and_fetches_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    fs::write(folder.path().join("poster.txt"), png(5, 10)).unwrap();
    fs::write(folder.path().join("huge.png"), png(5, MAX_IMAGE_BYTES)).unwrap();
    let pages = Router::new()
        .route("/poster", get(async || png(6, 10)))
        .route("/moved", get(async || Redirect::temporary("/poster")))
        .route("/loop", get(async || Redirect::temporary("/loop")))
        .route("/huge", get(async || png(5, MAX_IMAGE_BYTES)))
        .route("/page", get(async || "<html>"))
        .route("/gone", get(async || Status::GONE));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let pages = tokio::spawn(async move { axum::serve(listener, pages).await });
    let (sets, web) = (["set", "poster.txt"], |page: &str| format!("{address}/{page}?token=hunter2"));
    let run = async |arguments: Vec<String>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        tokio::task::block_in_place(|| image(folder.path(), &office, &arguments))
    };
    let owned = |arguments: &[&str]| arguments.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>();

    let output = run(owned(&[&sets[..], &["--json"]].concat())).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let told: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&told["width"], &told["venueId"], &told["eventId"]), (&json!(5), &json!("Town Hall"), &json!("a/b?")));
    for page in ["poster", "moved"] {
        let output = run(owned(&["set", &web(page)])).await;
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stdout(&output).contains("6 x 2 pixels"), "{}", stdout(&output));
    }
    for (source, said) in [
        ("nowhere.png".to_owned(), "cannot read nowhere.png"),
        ("huge.png".to_owned(), "larger than 10485760 bytes"),
        ("ftp://example.com/x.png".to_owned(), "only files, http:// and https://"),
        (web("huge"), "larger than 10485760 bytes"),
        (web("page"), "cannot be read as plain XML"),
        (web("gone"), "410"),
        (web("loop"), "cannot fetch the image from 127.0.0.1"),
        (web("page").replace("http", "HTTP"), "cannot be read as plain XML"),
    ] {
        let output = run(owned(&["set", &source])).await;
        assert_fails(&output, 1, &[said]);
    }
    let output = run(owned(&["show"])).await;
    assert!(stdout(&output).contains("6 x 2 pixels"), "{}", stdout(&output));
    assert!(run(owned(&["remove"])).await.status.success());
    assert_fails(&run(owned(&["show"])).await, 1, &["has no image"]);
    pages.abort();
    office.finish().await;

    // Without a server, on the data folder itself.
    let rpc = chain().rpc_url().to_string();
    let environment =
        [("NETWORK", "localnet"), ("WALLET_PATH", "wallet.json"), ("SOLANA_RPC_URLS", &rpc), ("DATA_DIR", "data")];
    let of = ["--venue", "v", "--event", "e"];
    let output = tokio::task::block_in_place(|| {
        crate::support::run(folder.path(), &[&["image", "set", "poster.txt"], &of[..]].concat(), &environment)
    });
    assert!(output.status.success(), "{}", stderr(&output));
    let output = tokio::task::block_in_place(|| {
        crate::support::run(folder.path(), &[&["image", "show"], &of[..]].concat(), &environment)
    });
    assert!(stdout(&output).contains("5 x 2 pixels"), "{}", stderr(&output));
}
