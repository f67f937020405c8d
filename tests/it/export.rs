//! Everything that is published in one CAR file, read by the tools of IPFS.

use std::{collections::BTreeMap, fs, path::Path, process::Output};

use boxoffice::metadata::{Content, Publisher as _, export, local::LocalContent};
use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    images::png,
    interop::{install, node},
    support::*,
};

fn export(folder: &Path, arguments: &[&str]) -> Output {
    let environment = [("NETWORK", "localnet"), ("WALLET_PATH", "wallet.json"), ("DATA_DIR", "data")];
    run(folder, &[&["export"], arguments].concat(), &environment)
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// Every published file: address, and the hash of its bytes.
fn published(data: &Path) -> BTreeMap<String, String> {
    let content = Connection::open(data.join("content.db")).unwrap();
    let mut statement = content.prepare("SELECT cid, bytes FROM content").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, hex(&row.get::<_, Vec<u8>>(1)?))));
    rows.unwrap().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_published_is_in_the_file_and_below_its_root() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let data = folder.path().join("data");
    let tools = folder.path().join("tools");
    fs::create_dir(&tools).unwrap();
    install(&tools);
    // Of several pieces.
    let image = office.request(Method::PUT, "/admin/events/event-1/image?venueId=v").body(png(5, 1_000_000));
    let image = answer(image).await.1["uri"].as_str().unwrap().replace("ipfs://", "");
    office.mint("v", &tickets("A", 5)).await;
    let files = published(&data);
    assert_eq!(files.len(), 7, "five tickets, their event's image, and the picture of those that have none");

    // Beside the running server.
    let output = export(folder.path(), &["--car", "published.car", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let told: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let found = node(&tools, &["car.mjs", "../published.car"]);
    assert_eq!(found["files"], json!(files));
    assert_eq!(found["roots"], told["roots"]);
    assert_eq!(found["roots"].as_array().unwrap().len(), 1);
    assert_eq!((&found["blocks"], &told["files"], &told["damaged"]), (&told["blocks"], &json!(7), &json!([])));
    // Six files of one block, the image with four pieces and a node, and the directory.
    assert_eq!(told["blocks"], 6 + 5 + 1);
    assert_eq!(told["bytes"], fs::metadata(folder.path().join("published.car")).unwrap().len());
    assert_fails(&export(folder.path(), &["--car", "published.car"]), 1, &["published.car exists"]);
    assert_fails(
        &export(folder.path(), &["--car", "nowhere/published.car"]),
        1,
        &["cannot write nowhere/published.car"],
    );
    assert_fails(&export(folder.path(), &[]), 2, &["--car"]);

    // A damaged file is named and left out; the others are there.
    let content = Connection::open(data.join("content.db")).unwrap();
    content.execute("UPDATE content SET bytes = x'00' WHERE cid = ?", [&image]).unwrap();
    office.finish().await;
    let output = export(folder.path(), &["--car", "rest.car"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains(&image), "{}", stderr(&output));
    assert_eq!(node(&tools, &["car.mjs", "../rest.car"])["files"].as_object().unwrap().len(), 6);

    // Without a server; the same content gives the same bytes.
    content.execute("UPDATE content SET bytes = ? WHERE cid = ?", (png(5, 1_000_000), &image)).unwrap();
    drop(content);
    let output = export(folder.path(), &["--car", "again.car"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains(&format!("root {}", told["roots"][0].as_str().unwrap())), "{}", stdout(&output));
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert!(read("again.car") == read("published.car"));
    let listed = stdout(&export(folder.path(), &["--list"]));
    let listed: Vec<&str> = listed.lines().collect();
    assert_eq!(listed.len(), 7);
    assert!(listed.contains(&format!("{image} {} image/png", png(5, 1_000_000).len()).as_str()), "{listed:?}");
    let line = stdout(&export(folder.path(), &["--list", "--json"]));
    let line: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert_eq!(line["cid"], files.keys().next().unwrap().as_str());
    // Nothing else is left behind.
    let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(left.filter(|name| name.starts_with('.')).collect::<Vec<_>>(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_are_spread_over_directories_below_one_root() {
    let folder = tempfile::tempdir().unwrap();
    let tools = folder.path().join("tools");
    fs::create_dir(&tools).unwrap();
    install(&tools);
    let data = folder.path();
    let content = LocalContent::open(data).unwrap();
    // None, one full directory, and one more file.
    for (count, name, blocks) in [(0, "none.car", 1), (2_500, "full.car", 2_502), (2_501, "more.car", 2_504)] {
        let files = (0..count).map(|number: u32| Content::new("text/plain", number.to_string().into_bytes()));
        content.publish(files.collect()).await.unwrap();
        let exported = export::write(data, &data.join(name)).unwrap();
        assert_eq!((exported.files, exported.blocks, exported.roots.len()), (count.into(), blocks, 1), "{name}");
        let found = node(&tools, &["car.mjs", &format!("../{name}")]);
        assert_eq!(found["files"], json!(published(data)), "{name}");
        assert_eq!(found["blocks"], blocks);
    }
}
