//! The commands, as a user runs them.

use std::fs;

use serde_json::Value;

use crate::support::*;

fn environment<'a>(wallet: &'a str, rpc: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("NETWORK", "localnet"),
        ("WALLET_PATH", wallet),
        ("SOLANA_RPC_URLS", rpc),
        ("DATA_DIR", "data"),
        ("MAX_BATCH_SIZE", "100"),
    ]
}

fn csv(rows: usize) -> String {
    let rows: Vec<String> = (0..rows).map(|n| format!("ticket-{n},Concert,2025-12-01,A{n}\n")).collect();
    format!("id,eventName,eventDate,seatNumber\n{}", rows.concat())
}

#[test]
fn demo_mints_reads_back_and_shows_the_bill() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["demo", "--tickets", "12", "--exit", "--json", "--port", "0"], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let summary: Value = serde_json::from_str(&stdout(&output)).unwrap();
    for (name, wanted) in [("tickets", 12), ("minted", 12), ("failed", 0), ("readBack", 12)] {
        assert_eq!(summary[name], wanted, "{summary}");
    }
    assert_eq!(summary["spentLamports"], summary["walletLostLamports"]);
    assert_eq!(summary["spentLamports"], summary["estimatedLamports"]);
    assert!((0.3..3.0).contains(&summary["rpcCallsPerTicket"].as_f64().unwrap()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a demo leaves nothing behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_minted_once_however_often_it_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let (_, authority) = wallet(folder.path(), 10 * SOL);
    fs::write(folder.path().join("t.csv"), csv(40)).unwrap();
    let rpc = chain().rpc_url().to_string();
    let environment = environment("wallet.json", &rpc);
    let mint = |more: &[&str]| {
        let arguments = [&["mint", "t.csv", "--venue", "v", "--event", "e", "--json"], more].concat();
        run(folder.path(), &arguments, &environment)
    };
    assert_fails(&mint(&[]), 1, &["nobody is there to say yes", "--yes"]);
    let dry = mint(&["--dry-run"]);
    assert!(dry.status.success(), "{}", stderr(&dry));
    let plan: Value = serde_json::from_str(&stdout(&dry)).unwrap();
    assert_eq!((&plan["new"], &plan["known"]), (&Value::from(40), &Value::from(0)));
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, 0);

    // A budget holds for the whole file.
    let cost = plan["estimate"]["estimatedLamports"].as_u64().unwrap();
    assert_fails(&mint(&["--yes", "--max-lamports", &(cost - 1).to_string()]), 1, &["larger budget"]);
    assert_fails(&mint(&["--yes", "--max-sol", "0.1"]), 1, &["nothing was minted", "budget of 0.1 SOL"]);
    assert_fails(&mint(&["--max-sol", "1", "--max-lamports", "1"]), 2, &["--max-sol", "--max-lamports"]);
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, 0);

    let first = mint(&["--yes", "--max-lamports", &cost.to_string()]);
    assert!(first.status.success(), "{}", stderr(&first));
    let second = mint(&[]);
    assert!(second.status.success(), "a second run has nothing to ask: {}", stderr(&second));
    let signatures = |output: &std::process::Output| -> Vec<Value> {
        let result: Value = serde_json::from_str(&stdout(output)).unwrap();
        assert_eq!(result["failed"], serde_json::json!([]));
        result["successful"].as_array().unwrap().iter().map(|ticket| ticket["signature"].clone()).collect()
    };
    assert_eq!(signatures(&first).len(), 40);
    assert_eq!(signatures(&first), signatures(&second));

    // A running server is asked instead of the data folder.
    let options = BoxOptions::new(folder.path(), &folder.path().join("wallet.json"));
    let office = options.set("ADMIN_API_KEY", "key").start().await;
    let mut with_key = environment.clone();
    with_key.push(("ADMIN_API_KEY", "key"));
    let url = office.url.to_string();
    let arguments = ["mint", "t.csv", "--venue", "v", "--event", "e", "--json", "--url", &url];
    let third = run(folder.path(), &arguments, &with_key);
    assert!(third.status.success(), "{}", stderr(&third));
    assert_eq!(signatures(&first), signatures(&third));
    assert_fails(&run(folder.path(), &arguments, &environment), 1, &["x-admin-api-key", "ADMIN_API_KEY"]);
    let status = run(folder.path(), &["status", "--json"], &environment);
    let status: Value = serde_json::from_str(&stdout(&status)).unwrap();
    assert_eq!(status["tickets"]["minted"], 40, "status works beside a running server");
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, 40);
    office.finish().await;
}

#[test]
fn faulty_rows_are_listed_and_the_good_ones_can_go_on() {
    let folder = tempfile::tempdir().unwrap();
    wallet(folder.path(), 10 * SOL);
    let bad = "bad-1,,2025-12-01,B1\nbad-2,Concert,someday,B2\n";
    fs::write(folder.path().join("t.csv"), csv(5) + bad).unwrap();
    let rpc = chain().rpc_url().to_string();
    let environment = environment("wallet.json", &rpc);
    let arguments = ["mint", "t.csv", "--venue", "v", "--event", "e", "--yes"];
    let refused = run(folder.path(), &arguments, &environment);
    assert_fails(&refused, 2, &["line 7, eventName: is missing", "line 8, eventDate: is not a date", "--skip-faulty"]);
    let arguments = [&arguments[..], &["--skip-faulty"]].concat();
    let skipped = run(folder.path(), &arguments, &environment);
    assert_eq!(skipped.status.code(), Some(3), "rows were left out: {}", stderr(&skipped));
    assert!(stdout(&skipped).contains("5 tickets are on the chain, 0 failed"), "{}", stdout(&skipped));
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_books_are_rebuilt_from_the_chain_and_nothing_is_minted() {
    let folder = tempfile::tempdir().unwrap();
    let (_, authority) = wallet(folder.path(), 10 * SOL);
    fs::write(folder.path().join("sold.csv"), csv(20)).unwrap();
    fs::write(folder.path().join("all.csv"), csv(25)).unwrap();
    let rpc = chain().rpc_url().to_string();
    let environment = environment("wallet.json", &rpc);
    let command = |name: &str, file: &str, more: &[&str]| {
        run(folder.path(), &[&[name, file, "--venue", "v", "--event", "e"], more].concat(), &environment)
    };
    assert!(command("mint", "sold.csv", &["--yes"]).status.success());
    fs::remove_dir_all(folder.path().join("data")).unwrap();
    let recovered = command("recover", "all.csv", &[]);
    assert_eq!(recovered.status.code(), Some(3), "{}", stderr(&recovered));
    let said = stdout(&recovered);
    assert!(said.contains("20 of 25 tickets are on the chain and in the books; 5 are not."), "{said}");
    assert!(said.contains("[not_on_chain]"), "{said}");
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, 20);
    let again = command("recover", "sold.csv", &["--json"]);
    assert!(again.status.success());
    assert_eq!(serde_json::from_str::<Value>(&stdout(&again)).unwrap()["inTheBooks"], 20);
    assert!(
        command("mint", "all.csv", &["--yes"]).status.success(),
        "what is not on the chain can be minted afterwards"
    );
    assert_eq!(nfts_of(chain().rpc_url(), &authority).await, 25);
}

#[test]
fn an_address_needs_only_the_public_key() {
    let folder = tempfile::tempdir().unwrap();
    let made = run(folder.path(), &["keygen", "w.json"], &[]);
    let authority = stdout(&made).trim().to_owned();
    let by_key = run(folder.path(), &["address", "--venue", "v", "t", "--authority", &authority], &[]);
    let by_wallet = run(folder.path(), &["address", "--venue", "v", "t"], &[("WALLET_PATH", "w.json")]);
    let next =
        run(folder.path(), &["address", "--venue", "v", "t", "--authority", &authority, "--generation", "1"], &[]);
    assert_eq!(stdout(&by_key), stdout(&by_wallet));
    assert_ne!(stdout(&by_key), stdout(&next));
    assert_fails(&run(folder.path(), &["address", "--venue", "v", "t"], &[]), 1, &["--authority", "WALLET_PATH"]);
}

#[test]
fn an_estimate_and_the_settings_need_no_books() {
    let folder = tempfile::tempdir().unwrap();
    let estimate = run(folder.path(), &["estimate", "100", "--json"], &[]);
    assert!(estimate.status.success(), "{}", stderr(&estimate));
    let estimate: Value = serde_json::from_str(&stdout(&estimate)).unwrap();
    assert_eq!(estimate["count"], 100);
    let checked = run(folder.path(), &["check-config"], &[("ADMIN_API_KEY", "hunter2")]);
    assert!(checked.status.success(), "{}", stderr(&checked));
    assert!(stdout(&checked).contains("the settings are in order") && !stdout(&checked).contains("hunter2"));
}

/// As `| head -1` does: whoever has read enough closes the pipe.
#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = boxoffice(folder.path());
    let authority = "11111111111111111111111111111112";
    command.args(["address", "--venue", "v", "--authority", authority, "t-1"]);
    let output = command.stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}
