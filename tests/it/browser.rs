//! The status page in a real browser: the scenarios of `tests/browser`, each against a real box.

use std::{fs, path::Path, process::Command};

use boxoffice::store::Store;
use rusqlite::Connection;

use crate::support::*;

/// Copies the scenarios out of the source tree, and runs some of them; their runner installs what they need.
fn scenarios(folder: &Path, url: &str, names: &[&str], environment: &[(&str, &str)]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let target = folder.join("browser");
    for below in ["", "scenarios"] {
        fs::create_dir_all(target.join(below)).unwrap();
        for entry in fs::read_dir(source.join(below)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), target.join(below).join(entry.file_name())).unwrap();
            }
        }
    }
    let output = Command::new(target.join("run"))
        .arg(url)
        .args(names)
        .envs(environment.iter().copied())
        // A busy machine is slow, not broken.
        .env("BOX_PATIENCE_MS", "60000")
        .output()
        .unwrap();
    let said = format!("{}\n{}", stdout(&output), stderr(&output));
    assert!(output.status.success(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_does_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut office = TestBox::new(folder.path()).await;
    let made = |name, role| create_key(&office, folder.path(), name, role);
    let (operate, read, session) = (made("office", "operate"), made("screen", "read"), made("door", "operate"));
    office.key = Some(operate.clone());
    // Books that differ from the chain: a ticket of which they know less than they should.
    assert_eq!(office.mint("differs", &tickets("d", 3)).await["summary"]["succeeded"], 3);
    let books = Connection::open(office.app.config.data_dir.join("boxoffice.db")).unwrap();
    books.execute("UPDATE mints SET name = 'Other' WHERE venue_id = 'differs' AND ticket_id = 'd-1'", []).unwrap();
    drop(books);
    let data = office.app.config.data_dir.display().to_string();
    let wallet = office.app.config.wallet.key_file.as_ref().unwrap().display().to_string();
    let program = env!("CARGO_BIN_EXE_boxoffice");
    let revoke = format!("env NETWORK=localnet 'WALLET_PATH={wallet}' 'DATA_DIR={data}' '{program}' key revoke door");
    let (url, at) = (office.url.to_string(), folder.path().to_owned());
    let run = move || {
        let environment = [
            ("BOX_KEY", operate.as_str()),
            ("BOX_READ_KEY", read.as_str()),
            ("BOX_SESSION_KEY", session.as_str()),
            ("BOX_REVOKE", revoke.as_str()),
            ("BOX_REPAIR", "differs"),
        ];
        let names = [
            "mint",
            "repair",
            "wrong_key",
            "read_only",
            "revoked_key",
            "cut_stream",
            "keyboard",
            "lists",
            "tabs",
            "words",
            "hostile_data",
            "faults",
            "alone",
            "accessible",
        ];
        scenarios(&at, &url, &names, &environment);
    };
    tokio::task::spawn_blocking(run).await.unwrap();
    office.abandon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_a_few_numbers_are_shown_if_the_box_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), SOL);
    let options = BoxOptions::new(folder.path(), &wallet).set("PUBLIC_STATUS", "true");
    let office = options.set("ADMIN_API_KEY", "a-key-of-some-length").start().await;
    assert_eq!(office.mint("v", &tickets("t", 3)).await["summary"]["succeeded"], 3);
    let (url, at) = (office.url.to_string(), folder.path().to_owned());
    let run = move || scenarios(&at, &url, &["public_status"], &[("BOX_KEY", "a-key-of-some-length")]);
    tokio::task::spawn_blocking(run).await.unwrap();
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_quick_with_a_million_tickets() {
    const TICKETS: u64 = 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), SOL);
    let options = BoxOptions::new(folder.path(), &wallet);
    fs::create_dir(&options.folder).unwrap();
    let store = Store::open(&options.folder).unwrap();
    store.fill_with_samples(TICKETS, 10, jiff::Timestamp::now().as_millisecond()).await.unwrap();
    store.close().await;
    let office = options.start().await;
    let (url, at) = (office.url.to_string(), folder.path().to_owned());
    let run = move || {
        let environment = [("BOX_MINTS", &*TICKETS.to_string()), ("BOX_MOST_MS", "30000")];
        scenarios(&at, &url, &["many_tickets"], &environment);
    };
    tokio::task::spawn_blocking(run).await.unwrap();
    office.abandon().await;
}
