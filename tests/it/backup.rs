//! Backups beside a running box, and the way back.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Output,
};

use boxoffice::{
    app::App,
    domain::mint::MintStatus,
    store::{self, Store},
};
use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use solana_pubkey::Pubkey;

use crate::support::*;

/// The program with the settings of the boxes in `folder`.
fn command(folder: &Path, arguments: &[&str], more: &[(&str, &str)]) -> Output {
    let rpc = chain().rpc_url().to_string();
    let mut environment = vec![
        ("NETWORK", "localnet"),
        ("WALLET_PATH", "wallet.json"),
        ("SOLANA_RPC_URLS", rpc.as_str()),
        ("DATA_DIR", "data"),
    ];
    environment.extend(more);
    run(folder, arguments, &environment)
}

fn backup(folder: &Path, file: &str) -> Value {
    let output = command(folder, &["backup", file, "--json"], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).unwrap()
}

fn restore(folder: &Path, file: &str, more: &[&str]) -> Output {
    command(folder, &[&["restore", file], more].concat(), &[])
}

/// What a batch made of each ticket.
fn signatures(result: &Value) -> BTreeMap<String, Value> {
    let minted = result["successful"].as_array().unwrap().iter();
    minted.map(|minted| (minted["ticketId"].as_str().unwrap().to_owned(), minted["signature"].clone())).collect()
}

type Parts = Vec<(String, Vec<u8>)>;

/// The parts of a backup, as any tool for tar files gets at them.
fn parts(file: &Path) -> Parts {
    let mut archive = tar::Archive::new(fs::File::open(file).unwrap());
    let read = |entry: std::io::Result<tar::Entry<'_, fs::File>>| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    };
    archive.entries().unwrap().map(read).collect()
}

fn pack(file: &Path, parts: &[(String, Vec<u8>)]) {
    let mut archive = tar::Builder::new(fs::File::create(file).unwrap());
    for (name, bytes) in parts {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    archive.finish().unwrap();
}

/// Opens the parts of a backup, and checks that they belong together.
fn assert_consistent(file: &Path) -> BTreeMap<String, u64> {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in parts(file).into_iter().skip(1) {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let books = Connection::open(folder.path().join("boxoffice.db")).unwrap();
    let text = |sql: &str| -> String { books.query_row(sql, [], |row| row.get(0)).unwrap() };
    let number = |sql: &str| -> u64 { books.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(text("PRAGMA integrity_check"), "ok");
    assert_eq!(number("SELECT count(*) FROM pragma_foreign_key_check"), 0);
    books.execute("ATTACH ? AS content", [folder.path().join("content.db").display().to_string()]).unwrap();
    assert_eq!(text("PRAGMA content.integrity_check"), "ok");
    let unpublished = "SELECT count(*) FROM mints WHERE metadata_uri IS NOT NULL
                       AND substr(metadata_uri, 8) NOT IN (SELECT cid FROM content.content)";
    assert_eq!(number(unpublished), 0, "what the books refer to is there");
    let unsigned = "SELECT count(*) FROM mints WHERE status = 'minting' AND id NOT IN
                    (SELECT mint_id FROM attempt_tickets JOIN attempts ON attempts.id = attempt_id
                     WHERE state IN ('recorded', 'sent', 'unknown'))";
    assert_eq!(number(unsigned), 0, "what is under way has its transaction");
    let mut statement = books.prepare("SELECT status, count(*) FROM mints GROUP BY status").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_in_the_middle_of_a_batch_is_one_moment_and_goes_on_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, authority) = wallet(folder.path(), 100 * SOL);
    let slow = BoxOptions::new(folder.path(), &wallet).set("PACING", "fixed");
    let slow = slow.set("MAX_BATCH_SIZE", "10").set("BATCH_DELAY_MS", "200");
    let running = slow.start().await;
    let body = json!({ "venueId": "v", "tickets": tickets("t", 200) });
    let request = running.request(Method::POST, "/admin/batch-mint").header("prefer", "respond-async");
    answer(request.json(&body)).await;
    let settled = async || running.app.store.counts(None).await.unwrap().of(MintStatus::Minted);
    let mut middle = None;
    for number in 1..=3 {
        until(async || settled().await >= number * 30).await;
        let file = format!("{number}.tar");
        let path = folder.path().to_owned();
        let manifest = tokio::task::spawn_blocking(move || backup(&path, &file)).await.unwrap();
        let file = folder.path().join(format!("{number}.tar"));
        let states = assert_consistent(&file);
        assert_eq!(states.values().sum::<u64>(), 200, "{states:?}");
        assert_eq!(manifest["counts"]["minted"], states.get("minted").copied().unwrap_or_default());
        if states.contains_key("minting") && states.contains_key("pending") {
            middle = Some(file);
        }
    }
    let middle = middle.expect("none of the backups was taken in the middle");
    let first = running.mint("v", &tickets("t", 200)).await;
    assert_eq!(first["summary"]["succeeded"], 200, "{first}");
    let balance = running.balance().await;
    running.finish().await;

    // Back to the middle of the batch: what was under way then has long landed.
    let output = restore(folder.path(), middle.to_str().unwrap(), &["--force"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let restored = BoxOptions::new(folder.path(), &wallet).start().await;
    let second = restored.mint("v", &tickets("t", 200)).await;
    assert_eq!(signatures(&second), signatures(&first));
    assert_eq!(restored.balance().await, balance, "nothing was paid twice");
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, 200);
    restored.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn yesterdays_backup_and_a_hundred_mints_since() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, authority) = wallet(folder.path(), 100 * SOL);
    let all = tickets("t", 250);
    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    let yesterday = office.mint("v", &all[..150]).await;
    let manifest = backup(folder.path(), "yesterday.tar");
    let wanted = json!({ "total": 150, "pending": 0, "minting": 0, "minted": 150, "failed": 0 });
    assert_eq!((&manifest["counts"], &manifest["network"]), (&wanted, &json!("localnet")));
    assert_eq!(manifest["authority"], authority.to_string());
    let today = office.mint("v", &all[150..]).await;
    let balance = office.balance().await;
    office.finish().await;

    let output = restore(folder.path(), "yesterday.tar", &["--force"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stdout(&output);
    for wanted in ["150 tickets, 150 of them minted", "before-restore-", "send them again", "boxoffice key list"] {
        assert!(said.contains(wanted), "{wanted:?} is not in:\n{said}");
    }
    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    assert_eq!(office.get("/admin/dashboard").await.1["totalMints"], 150);
    let again = office.mint("v", &all).await;
    assert_eq!(again["summary"]["succeeded"], 250, "{}", again["summary"]);
    let mut before = signatures(&yesterday);
    before.extend(signatures(&today));
    assert_eq!(signatures(&again), before, "every ticket has the transaction that it had");
    let adopted = again["successful"].as_array().unwrap().iter().filter(|minted| minted["adopted"] == true).count();
    assert_eq!(adopted, 100, "those since the backup were found on the chain");
    assert_eq!(again["summary"]["spentLamports"], 0);
    assert_eq!(office.balance().await, balance, "nothing was paid twice");
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, 250);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_refuses_what_does_not_belong_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet_path, _) = wallet(folder.path(), SOL);
    let running = BoxOptions::new(folder.path(), &wallet_path).start().await;
    running.mint("v", &tickets("t", 3)).await;
    backup(folder.path(), "good.tar");
    let good = folder.path().join("good.tar");
    assert_fails(&command(folder.path(), &["backup", "good.tar"], &[]), 1, &["good.tar exists already"]);
    let nowhere = command(folder.path(), &["backup", "new.tar"], &[("DATA_DIR", "nowhere")]);
    assert_fails(&nowhere, 1, &["there are no books in nowhere", "DATA_DIR"]);
    assert_fails(&restore(folder.path(), "good.tar", &["--force"]), 1, &["in use by another boxoffice"]);
    running.finish().await;
    assert_fails(&restore(folder.path(), "good.tar", &[]), 1, &["has books already", "--force", "never deleted"]);

    let refused = |file: &str, more: &[(&str, &str)], names: &[&str]| {
        let arguments = ["restore", file, "--force"];
        assert_fails(&command(folder.path(), &arguments, more), 1, names);
    };
    // Another wallet, another network, another chain of the same name.
    assert!(run(folder.path(), &["keygen", "other.json"], &[]).status.success());
    refused("good.tar", &[("WALLET_PATH", "other.json")], &["belongs to the wallet", "correct WALLET_PATH"]);
    refused("good.tar", &[("NETWORK", "devnet")], &["belongs to the network localnet", "devnet", "correct NETWORK"]);
    let other = tokio::task::spawn_blocking(|| start_chain(SLOT_MS)).await.unwrap();
    let other_rpc = other.rpc_url().to_string();
    refused("good.tar", &[("SOLANA_RPC_URLS", &other_rpc)], &["the chain with genesis hash", "SOLANA_RPC_URLS"]);
    refused("good.tar", &[("NETWORK", "embedded")], &["NETWORK=embedded"]);

    // Files that are not what they should be.
    let whole = fs::read(&good).unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    refused("absent.tar", &[], &["cannot use absent.tar"]);
    write("text.tar", b"this is no backup");
    refused("text.tar", &[], &["text.tar is no backup made by `boxoffice backup`"]);
    write("short.tar", &whole[..whole.len() / 2]);
    refused("short.tar", &[], &["short.tar is no backup", "was cut short: it ends too soon"]);
    let parts = parts(&good);
    let names: Vec<_> = parts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["manifest.json", "boxoffice.db", "content.db"]);
    let changed = |name: &str, change: &dyn Fn(&mut Parts)| {
        let mut parts = parts.clone();
        change(&mut parts);
        pack(&folder.path().join(name), &parts);
    };
    changed("bit.tar", &|parts| parts[2].1[5_000] ^= 1);
    refused("bit.tar", &[], &["bit.tar is damaged", "content.db", "checksum"]);
    changed("lacking.tar", &|parts| drop(parts.pop()));
    refused("lacking.tar", &[], &["a part is missing"]);
    changed("bare.tar", &|parts| parts.truncate(1));
    refused("bare.tar", &[], &["a part is missing"]);
    let manifest = |change: &dyn Fn(&mut Value)| {
        let mut manifest: Value = serde_json::from_slice(&parts[0].1).unwrap();
        change(&mut manifest);
        serde_json::to_vec(&manifest).unwrap()
    };
    let newer = manifest(&|manifest| {
        manifest["schema"] = json!(999);
        manifest["version"] = json!("9.9.9");
    });
    changed("newer.tar", &|parts| parts[0].1.clone_from(&newer));
    refused("newer.tar", &[], &["newer.tar was written by boxoffice 9.9.9 with schema 999", "install that version"]);
    // A file that would land outside the data folder.
    let elsewhere = manifest(&|manifest| manifest["parts"][1]["name"] = json!("wallet.json"));
    changed("elsewhere.tar", &|parts| {
        parts[0].1.clone_from(&elsewhere);
        parts[2].0 = "wallet.json".into();
    });
    refused("elsewhere.tar", &[], &["wallet.json", "has no place here"]);
    // Whole by its checksums, but no database.
    let garbage = vec![7_u8; 9_000];
    let sha256 = format!("{:x}", Sha256::digest(&garbage));
    let broken = manifest(&|manifest| {
        manifest["parts"][0] = json!({ "name": "boxoffice.db", "bytes": garbage.len(), "sha256": sha256 });
    });
    changed("broken.tar", &|parts| {
        parts[0].1.clone_from(&broken);
        parts[1].1.clone_from(&garbage);
    });
    refused("broken.tar", &[], &["boxoffice.db", "not a database"]);

    // Nothing was moved, and nothing is left behind.
    let left: Vec<String> = fs::read_dir(folder.path().join("data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("boxoffice.") && !name.starts_with("content."))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(store::peek(&folder.path().join("data")).unwrap().1.total(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_can_be_run_again_and_deletes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), SOL);
    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    office.mint("v", &tickets("t", 2)).await;
    backup(folder.path(), "two.tar");
    office.mint("v", &tickets("u", 1)).await;
    office.finish().await;
    let data = folder.path().join("data");
    // Without a server it works as well.
    backup(folder.path(), "three.tar");

    let moved = |output: &Output| {
        assert!(output.status.success(), "{}", stderr(output));
        let said = stdout(output);
        let line = said.lines().find_map(|line| line.strip_prefix("The books that were there are in ")).unwrap();
        folder.path().join(line)
    };
    let first = moved(&restore(folder.path(), "two.tar", &["--force"]));
    assert_eq!(store::peek(&first).unwrap().1.total(), 3, "the newer books are whole");
    assert_eq!(store::peek(&data).unwrap().1.total(), 2);
    assert_fails(&restore(folder.path(), "two.tar", &[]), 1, &["has books already"]);
    let second = moved(&restore(folder.path(), "two.tar", &["--force"]));
    assert_ne!(first, second);
    assert_eq!(store::peek(&second).unwrap().1.total(), 2);
    moved(&restore(folder.path(), "three.tar", &["--force"]));
    assert_eq!(store::peek(&data).unwrap().1.total(), 3);

    // An empty data folder needs no force, and is readable by this user only.
    fs::remove_dir_all(&data).unwrap();
    // Nor does it need the chain: whether the two belong together is checked again at the next start.
    let output = command(folder.path(), &["restore", "two.tar"], &[("SOLANA_RPC_URLS", "http://127.0.0.1:9")]);
    assert!(stderr(&output).contains("The chain does not answer"), "{}", stderr(&output));
    assert!(output.status.success() && !stdout(&output).contains("before-restore"), "{}", stderr(&output));
    let mode =
        |path: PathBuf| std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777;
    assert_eq!(mode(data.join("boxoffice.db")), 0o600);
    assert_eq!(mode(folder.path().join("two.tar")), 0o600);
    let store = Store::open(&data).unwrap();
    assert_eq!(store.counts(None).await.unwrap().total(), 2);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_backup_opens_with_its_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (wallet, _) = wallet(folder.path(), SOL);
    let key = |name: &str| {
        let made = run(folder.path(), &["keygen", "--backup", name], &[]);
        assert!(made.status.success(), "{}", stderr(&made));
        stdout(&made).trim().to_owned()
    };
    let (ours, safe, _other) = (key("ours.key"), key("safe.key"), key("other.key"));
    assert!(ours.starts_with("age1") && ours != safe);
    assert_eq!(fs::metadata(path("ours.key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_fails(&run(folder.path(), &["keygen", "--backup", "ours.key"], &[]), 1, &["ours.key", "exists"]);

    let office = BoxOptions::new(folder.path(), &wallet).start().await;
    office.mint("v", &tickets("t", 3)).await;
    let both = format!("{ours}, {safe}");
    let recipients = [("BACKUP_RECIPIENTS", both.as_str())];
    let written = command(folder.path(), &["backup", "sealed.tar.age"], &recipients);
    assert!(stdout(&written).contains("encrypted for 2 keys, read back and whole"), "{}", stderr(&written));
    let sealed = fs::read(path("sealed.tar.age")).unwrap();
    for plain in [&b"SQLite format 3"[..], b"manifest.json", b"genesisHash"] {
        assert!(!sealed.windows(plain.len()).any(|window| window == plain));
    }

    // Each of the two keys opens it, and so does the program age, which leads to what any tool for tar files reads.
    for key in ["ours.key", "safe.key"] {
        let checked = command(folder.path(), &["restore", "sealed.tar.age", "--check", "--identity", key], &[]);
        assert!(stdout(&checked).contains("3 tickets, 3 of them minted"), "{}", stderr(&checked));
        let opened = std::process::Command::new("age")
            .args(["--decrypt", "--identity", key, "--output", "opened.tar", "sealed.tar.age"])
            .current_dir(folder.path())
            .output()
            .expect("the program age is installed by tests/run");
        assert!(opened.status.success(), "{}", stderr(&opened));
        assert_eq!(assert_consistent(&path("opened.tar"))["minted"], 3);
    }

    // Everything else is refused, and says why.
    let refused = |file: &str, more: &[&str], names: &[&str]| {
        assert_fails(&restore(folder.path(), file, &[more, &["--check"]].concat()), 1, names);
    };
    refused("sealed.tar.age", &[], &["sealed.tar.age is encrypted", "--identity"]);
    refused(
        "sealed.tar.age",
        &["-i", "other.key"],
        &["none of the 1 keys given opens sealed.tar.age", "BACKUP_RECIPIENTS"],
    );
    refused(
        "sealed.tar.age",
        &["-i", "wallet.json"],
        &["wallet.json holds no key that opens backups", "keygen --backup"],
    );
    refused("sealed.tar.age", &["-i", "absent.key"], &["cannot use absent.key"]);
    for (name, change) in [
        (
            "header",
            Box::new(|bytes: &mut Vec<u8>| {
                let end = bytes.windows(5).position(|window| window == b"\n--- ").unwrap();
                bytes[end + 8] ^= 1;
            }) as Box<dyn Fn(&mut Vec<u8>)>,
        ),
        (
            "middle",
            Box::new(|bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }),
        ),
        ("short", Box::new(|bytes| bytes.truncate(bytes.len() / 2))),
    ] {
        let mut changed = sealed.clone();
        change(&mut changed);
        fs::write(path(name), changed).unwrap();
        refused(name, &["-i", "ours.key"], &["was changed or cut short after it was encrypted"]);
    }
    // A secret key among the settings is not repeated.
    let secret = fs::read_to_string(path("ours.key")).unwrap().lines().last().unwrap().to_owned();
    let mistaken = command(folder.path(), &["backup", "no.tar"], &[("BACKUP_RECIPIENTS", &secret)]);
    assert_fails(&mistaken, 2, &["BACKUP_RECIPIENTS", "holds a secret key"]);
    assert!(!stderr(&mistaken).contains(&secret) && !path("no.tar").exists());

    office.finish().await;
    fs::remove_dir_all(path("data")).unwrap();
    let restored = restore(folder.path(), "sealed.tar.age", &["--identity", "safe.key"]);
    assert!(restored.status.success(), "{}", stderr(&restored));
    assert_eq!(store::peek(&path("data")).unwrap().1.of(MintStatus::Minted), 3);
    let left: Vec<_> = fs::read_dir(path("data")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.') || name == ".lock"), "{left:?}");
}

/// Books as the version left them that knew so many migrations: one ticket, given up.
fn books_of(schema: usize, folder: &Path, authority: &Pubkey, genesis_hash: &str) {
    std::fs::create_dir_all(folder).unwrap();
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut files: Vec<_> = std::fs::read_dir(migrations).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let books = Connection::open(folder.join("boxoffice.db")).unwrap();
    let migrate = |files: &[PathBuf]| {
        for file in files {
            books.execute_batch(&std::fs::read_to_string(file).unwrap()).unwrap();
        }
    };
    migrate(&files[..1]);
    let row = (genesis_hash, authority.to_string());
    books.execute("INSERT INTO identity VALUES (1, ?, ?, 'localnet', 3600000)", row).unwrap();
    let failed = crate::upgrades::OLD_BOOKS
        .replace("'minted', 100, NULL", "'failed', 0, 'never_landed'")
        .replace("'pending', 0, NULL", "'failed', 0, 'never_landed'");
    books.execute_batch(&failed).unwrap();
    migrate(&files[1..schema]);
    books.pragma_update(None, "user_version", schema).unwrap();
}

fn kept(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut kept: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    kept.sort();
    kept
}

fn schema_of(folder: &Path) -> usize {
    let books = Connection::open(folder.join("boxoffice.db")).unwrap();
    books.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn books_of_every_version_are_kept_before_they_are_upgraded() {
    let latest = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")).unwrap().count();
    let genesis_hash = rpc_call(chain().rpc_url(), "getGenesisHash", json!([])).await;
    let genesis_hash = genesis_hash.as_str().unwrap();
    for schema in 1..latest {
        let folder = tempfile::tempdir().unwrap();
        let (wallet, authority) = wallet(folder.path(), SOL);
        let data = folder.path().join("data");
        books_of(schema, &data, &authority, genesis_hash);

        // Without a way back nothing is changed.
        std::fs::write(folder.path().join("file"), "").unwrap();
        let unwritable = BoxOptions::new(folder.path(), &wallet)
            .set("BACKUP_DIR", folder.path().join("file/backups").to_str().unwrap());
        let refused = App::start(unwritable.config()).await.unwrap_err().to_string();
        for part in ["backup before their upgrade failed", "nothing was changed", "file/backups", "BACKUP_DIR"] {
            assert!(refused.contains(part), "{refused}");
        }
        assert_eq!(schema_of(&data), schema);
        // Whoever opens the books first, there is a backup: here a command.
        let settings = [
            ("NETWORK", "localnet"),
            ("WALLET_PATH", "wallet.json"),
            ("DATA_DIR", "data"),
            ("BACKUP_DIR", "elsewhere"),
        ];
        let listed = run(folder.path(), &["key", "list"], &settings);
        assert!(listed.status.success(), "{}", stderr(&listed));
        assert_eq!((schema_of(&data), kept(&folder.path().join("elsewhere")).len()), (latest, 1));
        std::fs::remove_dir_all(&data).unwrap();
        books_of(schema, &data, &authority, genesis_hash);

        let office = BoxOptions::new(folder.path(), &wallet).start().await;
        assert_eq!(schema_of(&data), latest);
        assert_eq!(office.mint("v", &tickets("t", 1)).await["summary"]["succeeded"], 1);
        office.finish().await;
        let [backup] = kept(&data.join("backups")).try_into().unwrap();
        assert!(backup.file_name().unwrap().to_str().unwrap().starts_with("before-upgrade-"), "{backup:?}");

        // The way back: the backup restores to what there was, and an upgrade of that works as well.
        let rpc = chain().rpc_url().to_string();
        let settings =
            [("NETWORK", "localnet"), ("WALLET_PATH", "wallet.json"), ("SOLANA_RPC_URLS", &rpc), ("DATA_DIR", "data")];
        let restored = run(folder.path(), &["restore", backup.to_str().unwrap(), "--force"], &settings);
        assert!(restored.status.success(), "{}", stderr(&restored));
        assert_eq!(schema_of(&data), schema);
        let again = BoxOptions::new(folder.path(), &wallet).start().await;
        let failed = again.app.store.counts(None).await.unwrap().of(MintStatus::Failed);
        assert_eq!((schema_of(&data), failed), (latest, 3));
        again.finish().await;
        assert_eq!(kept(&data.join("backups")).len(), 2);

        // Once upgraded, a start makes no backup.
        BoxOptions::new(folder.path(), &wallet).start().await.finish().await;
        assert_eq!(kept(&data.join("backups")).len(), 2);
    }
}
