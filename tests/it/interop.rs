//! What we make, read by tools that we did not write: tickets by Metaplex's own JavaScript client, and signed messages by the
//! library of Standard Webhooks (see `alerts.rs`).

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::support::*;

/// Copies the readers out of the source tree and installs what they need.
pub fn install(folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    for file in ["package.json", "package-lock.json", "read.mjs", "verify_webhook.mjs"] {
        fs::copy(source.join(file), folder.join(file)).unwrap();
    }
    let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let output = Command::new("npm").args(arguments).current_dir(folder).output();
    let output = output.expect("this test needs Node.js and npm; tests/run installs them");
    assert!(output.status.success(), "{}", stderr(&output));
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
        let output = Command::new("node")
            .args(["read.mjs", chain().rpc_url().as_str(), owner, minted["mintAddress"].as_str().unwrap()])
            .current_dir(&read)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let seen: Value = serde_json::from_str(&stdout(&output)).unwrap();
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
