//! What goes wrong before anything begins: each message names the thing and the remedy.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::support::*;

#[test]
fn settings_and_wallets() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let devnet = ("NETWORK", "devnet");
    assert_fails(&run(here, &["serve"], &[devnet]), 2, &["WALLET_PATH is missing", "boxoffice keygen"]);
    let nowhere = ("WALLET_PATH", "nowhere.json");
    assert_fails(
        &run(here, &["serve"], &[devnet, nowhere, ("PORT", "0")]),
        1,
        &["no key file at nowhere.json", "boxoffice keygen nowhere.json"],
    );
    assert!(run(here, &["keygen", "w.json"], &[]).status.success());
    assert_fails(&run(here, &["keygen", "w.json"], &[]), 1, &["w.json exists already", "never overwritten"]);
    fs::set_permissions(here.join("w.json"), fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = ("WALLET_PATH", "w.json");
    assert_fails(
        &run(here, &["serve"], &[devnet, exposed, ("PORT", "0")]),
        1,
        &["can be read by others (mode 644)", "chmod 600 w.json"],
    );
    assert_fails(&run(here, &["serve", "--set", "PROT=1"], &[]), 2, &["PROT is not a setting; did you mean PORT?"]);
    assert_fails(&run(here, &["--config", "gone.toml", "serve"], &[]), 2, &["gone.toml does not exist"]);
    let settings = [("NETWORK", "localnet"), ("DATA_DIR", "mistyped")];
    fs::set_permissions(here.join("w.json"), fs::Permissions::from_mode(0o600)).unwrap();
    for command in [&["key", "list"][..], &["key", "revoke", "door"]] {
        let wanted = ["there are no books in the data folder mistyped", "DATA_DIR"];
        assert_fails(&run(here, command, &[&settings[..], &[("WALLET_PATH", "w.json")]].concat()), 1, &wanted);
    }
    let open = [&settings[..], &[("WALLET_PATH", "w.json"), ("HOST", "0.0.0.0")]].concat();
    let no_key = ["HOST lets others than this machine reach the box", "boxoffice key create", "(environment)"];
    assert_fails(&run(here, &["check-config"], &open), 2, &no_key);
    assert!(!here.join("mistyped").exists(), "none of these makes a folder");
    let embedded = run(here, &["check-config"], &[("HOST", "0.0.0.0")]);
    assert_fails(&embedded, 2, &["it has no key: set ADMIN_API_KEY"]);
    assert!(!stderr(&embedded).contains("key create"), "{}", stderr(&embedded));
    assert!(run(here, &["key", "create", "door", "--role", "read"], &open).status.success());
    let checked = run(here, &["check-config"], &open);
    assert!(checked.status.success(), "{}", stderr(&checked));
    fs::write(here.join("boxoffice.toml"), "[solana\n").unwrap();
    assert_fails(&run(here, &["check-config"], &[]), 2, &["boxoffice.toml is not valid TOML"]);
}

#[test]
fn a_chain_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    assert!(run(folder.path(), &["keygen", "w.json"], &[]).status.success());
    let environment = [
        ("NETWORK", "localnet"),
        ("WALLET_PATH", "w.json"),
        ("SOLANA_RPC_URLS", "http://127.0.0.1:1/?api-key=hunter2"),
        ("PORT", "0"),
    ];
    let output = run(folder.path(), &["serve"], &environment);
    assert_fails(&output, 1, &["http://127.0.0.1:1 cannot be reached", "SOLANA_RPC_URLS"]);
    assert!(!stderr(&output).contains("hunter2"), "{}", stderr(&output));
}

#[test]
fn a_ticket_file_that_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("t.csv"), "id,eventName,tier\n1,Concert,VIP\n2,Conc").unwrap();
    let output = run(folder.path(), &["mint", "t.csv", "--venue", "v", "--event", "e", "--yes"], &[]);
    assert_fails(&output, 2, &["t.csv has 1 fault", "line 3: has 2 cells instead of 3", "Nothing was minted"]);
    assert_fails(&run(folder.path(), &["mint", "none.csv", "--venue", "v"], &[]), 1, &["cannot read none.csv"]);
}

#[test]
fn databases_that_are_not_ours() {
    let folder = tempfile::tempdir().unwrap();
    let open = |content: &[u8]| {
        let data = tempfile::tempdir_in(folder.path()).unwrap();
        fs::write(data.path().join("boxoffice.db"), content).unwrap();
        boxoffice::store::Store::open(data.path()).unwrap_err().to_string()
    };
    assert!(open(&[7; 4096]).contains("not a healthy SQLite database"));
    let data = tempfile::tempdir().unwrap();
    drop(boxoffice::store::Store::open(data.path()).unwrap());
    let connection = rusqlite::Connection::open(data.path().join("boxoffice.db")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let newer = boxoffice::store::Store::open(data.path()).unwrap_err().to_string();
    assert!(newer.contains("written by a newer boxoffice (schema 99"), "{newer}");
}

#[cfg(feature = "localnet")]
mod on_a_chain {
    use super::*;

    fn environment<'a>(wallet: &'a str, rpc: &'a str) -> Vec<(&'a str, &'a str)> {
        vec![
            ("NETWORK", "localnet"),
            ("WALLET_PATH", wallet),
            ("SOLANA_RPC_URLS", rpc),
            ("DATA_DIR", "data"),
            ("PORT", "0"),
        ]
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn check_config_tries_every_endpoint_also_beside_a_running_box() {
        let folder = tempfile::tempdir().unwrap();
        let office = TestBox::new(folder.path()).await;
        let (good, other) = (chain().rpc_url().to_string(), start_chain(400));
        let both = format!("{good},{},http://127.0.0.1:1", other.rpc_url());
        let online = ["check-config", "--online"];
        let output = run(folder.path(), &online, &environment("wallet.json", &both));
        assert_fails(&output, 1, &["the box works with the other endpoints"]);
        let said = stdout(&output);
        for wanted in [
            "a box is running on the books",
            "answers, and serves the chain",
            "serves the chain with genesis hash",
            "127.0.0.1:1",
        ] {
            assert!(said.contains(wanted), "{wanted:?} is not in:\n{said}");
        }
        let output = run(folder.path(), &online, &environment("wallet.json", &good));
        assert!(output.status.success(), "{}", stderr(&output));
        office.finish().await;
        let mut nowhere = environment("wallet.json", &good);
        nowhere.push(("BACKUP_DIR", "not/there"));
        assert_fails(
            &run(folder.path(), &["check-config"], &nowhere),
            1,
            &["BACKUP_DIR not/there cannot be written to"],
        );
    }

    /// Root may write anywhere, and would leave files behind that the service's user cannot.
    #[test]
    fn root_leaves_the_books_of_others_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        if std::os::unix::fs::chown(&data, Some(12_345), None).is_err() {
            eprintln!("only root can try this");
            return;
        }
        let settings = [("NETWORK", "localnet"), ("WALLET_PATH", "wallet.json"), ("DATA_DIR", "data")];
        let refused = run(folder.path(), &["key", "create", "shop", "--role", "read"], &settings);
        assert_fails(&refused, 1, &["belongs to the user with the id 12345", "boxofficectl"]);
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_folder_that_is_taken_or_belongs_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let office = TestBox::new(folder.path()).await;
        office.mint("v", &[ticket("t")]).await;
        let rpc = chain().rpc_url().to_string();
        let taken = run(folder.path(), &["serve"], &environment("wallet.json", &rpc));
        assert_fails(&taken, 1, &["is in use by another boxoffice (process ", "--url"]);
        let port = office.url.port().unwrap().to_string();
        let mut same_port = environment("wallet.json", &rpc);
        same_port.push(("PORT", &port));
        assert_fails(
            &run(folder.path(), &["serve"], &same_port),
            1,
            &[&format!("cannot listen on 127.0.0.1:{port}"), "PORT"],
        );
        office.finish().await;
        let mut status = environment("wallet.json", &rpc);
        status.push(("NETWORK", "devnet"));
        assert_fails(
            &run(folder.path(), &["status"], &status),
            1,
            &["NETWORK is devnet, but the books in data were begun on localnet", "correct NETWORK"],
        );

        let other_chain = start_chain(400);
        let vanished = run(folder.path(), &["serve"], &environment("wallet.json", other_chain.rpc_url().as_str()));
        assert_fails(&vanished, 1, &["belongs to the chain with genesis hash", "NETWORK or SOLANA_RPC_URLS"]);
        assert!(run(folder.path(), &["keygen", "other.json"], &[]).status.success());
        let stranger = run(folder.path(), &["serve"], &environment("other.json", &rpc));
        assert_fails(&stranger, 1, &["belongs to the wallet", "WALLET_PATH"]);
        let mut devnet = environment("wallet.json", &rpc);
        devnet.push(("NETWORK", "devnet"));
        assert_fails(
            &run(folder.path(), &["serve"], &devnet),
            1,
            &["NETWORK is devnet, but SOLANA_RPC_URLS leads to a chain"],
        );
    }

    #[test]
    fn an_empty_wallet() {
        let folder = tempfile::tempdir().unwrap();
        let (_, address) = wallet(folder.path(), 0);
        fs::write(folder.path().join("t.csv"), "id,eventName\n1,Concert\n").unwrap();
        let arguments = ["mint", "t.csv", "--venue", "v", "--event", "e", "--yes"];
        let output = run(folder.path(), &arguments, &environment("wallet.json", chain().rpc_url().as_str()));
        assert_fails(
            &output,
            1,
            &["has 0 SOL", "send it 0.11965156 SOL more", "nothing was minted", &address.to_string()],
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_disk() {
        let folder = tempfile::tempdir().unwrap();
        let office = TestBox::new(folder.path()).await;
        // SQLite's own limit plays the full disk.
        let path = folder.path().join("data/boxoffice.db");
        let pages = fs::metadata(&path).unwrap().len() / 4096;
        office.app.store.limit_pages(u32::try_from(pages).unwrap() + 2).await.unwrap();
        let body = serde_json::json!({ "venueId": "v", "tickets": tickets("t", 500) });
        let (status, problem) = office.post("/admin/batch-mint", &body).await;
        assert_eq!((status.as_u16(), problem["code"].as_str()), (507, Some("disk_full")), "{problem}");
        office.app.store.limit_pages(u32::MAX - 1).await.unwrap();
        let result = office.mint("v", &tickets("t", 50)).await;
        assert_eq!(result["summary"]["succeeded"], 50, "it goes on by itself");
        office.finish().await;
    }
}
