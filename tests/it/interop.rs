//! What we make, read by tools that we did not write: tickets by Metaplex's own JavaScript client, signed messages by the
//! library of Standard Webhooks (see `alerts.rs`), addresses and CAR files (see `export.rs`) by the tools of IPFS.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use boxoffice::metadata::unixfs;
use serde_json::{Value, json};

use crate::support::*;

/// Copies the readers out of the source tree and installs what they need.
pub fn install(folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    for file in ["package.json", "package-lock.json", "read.mjs", "verify_webhook.mjs", "unixfs.mjs", "car.mjs"] {
        fs::copy(source.join(file), folder.join(file)).unwrap();
    }
    let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let output = Command::new("npm").args(arguments).current_dir(folder).output();
    let output = output.expect("this test needs Node.js and npm; tests/run installs them");
    assert!(output.status.success(), "{}", stderr(&output));
}

/// What one of the scripts prints.
pub fn node(folder: &Path, arguments: &[&str]) -> Value {
    let output = Command::new("node").args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).unwrap()
}

/// Bytes of which no two pieces are alike: the numbers from 0 on, eight bytes each.
pub fn content(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    (0..).take(len.div_ceil(8)).for_each(|number: u64| bytes.extend_from_slice(&number.to_le_bytes()));
    bytes.truncate(len);
    bytes
}

#[test]
fn ipfss_own_importer_finds_the_same_addresses() {
    let folder = tempfile::tempdir().unwrap();
    install(folder.path());
    let files = folder.path().join("files");
    fs::create_dir_all(files.join("below")).unwrap();
    let mut directory = Vec::new();
    let mut wanted = BTreeMap::new();
    // Around one piece, around one node of 174 pieces, and two nodes and a bit.
    let full = 174 * unixfs::PIECE_BYTES;
    for len in [0, 1, 262_143, 262_144, 262_145, 1 << 20, full, full + 1, 50_000_000, 2 * full + 262_145] {
        let (name, bytes) = (format!("file {len}"), content(len));
        fs::write(files.join(&name), &bytes).unwrap();
        assert_eq!(unixfs::file_address(&bytes), unixfs::file(&bytes.clone().into()).root);
        let file = unixfs::file(&bytes.into());
        wanted.insert(name.clone(), json!([file.root.to_string(), file.cumulative_size]));
        directory.push((name, file.root, file.cumulative_size));
    }
    // Many names, in an order that is not that of any alphabet.
    let many = (0..2_000).map(|number| {
        let (name, bytes) = (format!("{}-Ä{number}é🎷", ["b", "B", "ä", "~"][number % 4]), content(number));
        fs::write(files.join("below").join(&name), &bytes).unwrap();
        let file = unixfs::file(&bytes.into());
        wanted.insert(format!("below/{name}"), json!([file.root.to_string(), file.cumulative_size]));
        (name, file.root, file.cumulative_size)
    });
    let many: Vec<_> = many.collect();
    let below = unixfs::directory(&many);
    let size = |entries: &[(_, _, u64)], block: &unixfs::Block| {
        entries.iter().map(|(_, _, size)| size).sum::<u64>() + block.bytes.len() as u64
    };
    wanted.insert("below".into(), json!([below.cid.to_string(), size(&many, &below)]));
    directory.push(("below".into(), below.cid, size(&many, &below)));
    let above = unixfs::directory(&directory);
    wanted.insert(String::new(), json!([above.cid.to_string(), size(&directory, &above)]));
    let found = node(folder.path(), &["unixfs.mjs", "files"]);
    assert_eq!(found, json!(wanted));
}

#[tokio::test(flavor = "multi_thread")]
async fn metaplexs_own_client_reads_our_tickets() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let person = boxoffice::chain::wallet::Wallet::ephemeral().address().to_string();
    let mut batch = tickets("A", 2);
    batch[1]["ownerAddress"] = json!(person);
    batch[1]["ticketData"]["eventName"] = json!("The Very Long Winter Festival of Music");
    let result = office.mint("v", &batch).await;
    let read = folder.path().join("read");
    fs::create_dir(&read).unwrap();
    install(&read);
    let authority = office.app.authority.to_string();
    for (position, owner, name) in
        [(0, &authority, "Concert · VIP · A-0"), (1, &person, "The Very Long Winter F… · A-1")]
    {
        let minted = &result["successful"][position];
        let seen =
            node(&read, &["read.mjs", chain().rpc_url().as_str(), owner, minted["mintAddress"].as_str().unwrap()]);
        let creators = json!([{ "address": authority, "verified": true, "share": 100 }]);
        let wanted = json!({
            "name": name, "symbol": "TKT", "uri": minted["metadataUri"], "updateAuthority": authority,
            "creators": creators, "tokenStandard": "NonFungible", "edition": true, "supply": 1, "decimals": 0,
            "owner": owner, "amount": 1
        });
        assert_eq!(seen, wanted);
    }
    office.finish().await;
}
