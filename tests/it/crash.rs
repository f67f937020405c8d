//! SIGKILL at named points and at random times, on a chain that goes on in its own process.

use std::{
    collections::HashSet,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use boxoffice::chain::wallet::Wallet;
use reqwest::Url;
use serde_json::{Value, json};
use solana_pubkey::Pubkey;
use tokio::time::{Instant, sleep};

use crate::support::*;

const TICKETS_PER_BATCH: usize = 120;
const FUNDS: u64 = 10_000;
/// Named points, and how often each is passed before the process dies there.
const POINTS: [(&str, [u32; 3]); 14] = [
    ("accept.before", [1, 1, 1]),
    ("accept.inside", [1, 1, 1]),
    ("accept.after", [1, 1, 1]),
    ("store.before_commit", [1, 3, 6]),
    ("store.after_commit", [2, 3, 5]),
    ("publish.after_commit", [1, 2, 2]),
    ("prepare.looked_up", [1, 2, 2]),
    ("record.before", [1, 2, 2]),
    ("record.inside", [1, 2, 2]),
    ("record.after", [1, 2, 2]),
    ("send.before", [1, 17, 100]),
    ("send.after_wave", [1, 3, 8]),
    ("settle.before", [1, 2, 3]),
    ("settle.after", [1, 2, 3]),
];
/// Kills at random times, besides those at named points.
const RANDOM_KILLS: u64 = 21;

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

struct Server {
    child: Process,
    url: Url,
}

fn start(folder: &Path, rpc: &str, kill_at: Option<(&str, u32)>) -> Option<Server> {
    let mut command = boxoffice(folder);
    let settings = [
        ("NETWORK", "localnet"),
        ("WALLET_PATH", "wallet.json"),
        ("SOLANA_RPC_URLS", rpc),
        ("DATA_DIR", "data"),
        ("PORT", "0"),
        ("MAX_BATCH_SIZE", "20"),
        ("RATE_LIMIT_MAX", "off"),
        ("RATE_LIMIT_READ_MAX", "off"),
        ("BATCH_DELAY_MS", "40"),
        // So that the bill shows whether what was offered before a kill is known after it.
        ("PRIORITY_FEE_FLOOR", "5000"),
        ("LOG_LEVEL", "warn"),
    ];
    command.arg("serve").envs(settings).stdout(Stdio::null()).stderr(Stdio::piped());
    if let Some((point, passes)) = kill_at {
        command.env("BOXOFFICE_KILL_AT", format!("{point}:{passes}"));
    }
    let mut child = Process(command.spawn().unwrap());
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
    // A kill during the recovery may come before the server listens.
    let url = lines.by_ref().map_while(Result::ok).find_map(|line| {
        assert!(!line.starts_with("error:"), "{line}");
        line.strip_prefix("Listening on ").map(|url| url.parse().unwrap())
    });
    std::thread::spawn(move || lines.for_each(drop));
    if url.is_none() {
        assert_killed(&mut child);
    }
    Some(Server { child, url: url? })
}

fn assert_killed(child: &mut Process) {
    assert_eq!(child.0.wait().unwrap().signal(), Some(9), "the process ended by itself");
}

/// Sends a batch; true if it was acknowledged.
async fn submit(url: &Url, batch: &[Value]) -> bool {
    let body = json!({ "venueId": "v", "tickets": batch });
    let request = reqwest::Client::new().post(url.join("/admin/batch-mint").unwrap()).header("prefer", "respond-async");
    match request.json(&body).send().await {
        Ok(response) => {
            let status = response.status();
            let answer = response.text().await;
            assert_eq!(status, 202, "{answer:?}");
            true
        }
        Err(_) => false,
    }
}

/// A sequence that looks random and is the same every time.
fn scattered(seed: u64) -> u64 {
    let mixed = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33
}

/// A chain in a process of its own, with money for a wallet, and its address.
fn localnet(folder: &Path, wallet: &Pubkey) -> (Process, String) {
    let funds = format!("{wallet}={FUNDS}");
    let arguments = ["localnet", "--rpc-port", "0", "--ws-port", "0", "--slot-ms", "100", "--fund", &funds];
    let mut command = boxoffice(folder);
    let localnet = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut localnet = Process(localnet);
    let mut line = String::new();
    BufReader::new(localnet.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let rpc = line.split_whitespace().nth(1).unwrap().to_owned();
    (localnet, rpc)
}

/// Killed between the look at the money and its reservation, or right behind: what was not committed is not reserved, and what
/// was is reserved once.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_money_is_reserved_it_is_reserved_once_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let wallet = Wallet::create(&folder.join("wallet.json")).unwrap().address();
    let (_localnet, rpc) = localnet(folder, &wallet);
    for (round, (point, is_reserved)) in
        [("accept.before", false), ("accept.inside", false), ("accept.after", true)].into_iter().enumerate()
    {
        // Money of five tickets may leave the wallet in an hour, and each round is an hour of its own.
        fs::write(folder.join("boxoffice.toml"), "[spending]\nhourly_limit_sol = 0.1\n").unwrap();
        let (first, second) = (tickets(&format!("first-{round}"), 3), tickets(&format!("second-{round}"), 3));
        let mut server = start(folder, &rpc, Some((point, 1))).unwrap();
        assert!(!submit(&server.url, &first).await, "it died before it could answer");
        assert_killed(&mut server.child);

        let mut server = start(folder, &rpc, None).unwrap();
        let send = async |batch: &[Value]| {
            let body = json!({ "venueId": "v", "tickets": batch });
            let url = server.url.join("/admin/batch-mint").unwrap();
            answer(reqwest::Client::new().post(url).json(&body)).await
        };
        let (status, problem) = send(&second).await;
        assert_eq!(status == 200, !is_reserved, "{point}: {problem}");
        let (status, problem) = send(&first).await;
        assert_eq!(status == 200, is_reserved, "{point}: {problem}");
        server.child.0.kill().unwrap();
        drop(server.child.0.wait());
        let books = rusqlite::Connection::open(folder.join("data/boxoffice.db")).unwrap();
        let minted = "SELECT count(*) FROM mints WHERE status = 'minted'";
        let minted: usize = books.query_row(minted, [], |row| row.get(0)).unwrap();
        assert_eq!((minted, nfts_of(&rpc.parse().unwrap(), &wallet).await), (3 * (round + 1), minted), "{point}");
        books.execute("UPDATE spending SET minute = minute - 61", []).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_every_accepted_ticket_is_minted_exactly_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let wallet = Wallet::create(&folder.join("wallet.json")).unwrap().address();
    let (_localnet, rpc) = localnet(folder, &wallet);

    let named = POINTS.iter().flat_map(|(point, passes)| passes.iter().map(|pass| Some((*point, *pass))));
    let plan = named.chain((0..RANDOM_KILLS).map(|_| None));
    let mut acknowledged = HashSet::new();
    let mut kills = 0_u64;
    let mut lost_requests = Vec::new();
    for (round, kill_at) in plan.enumerate() {
        let batch = tickets(&format!("round-{round}"), TICKETS_PER_BATCH);
        let Some(mut server) = start(folder, &rpc, kill_at) else {
            kills += 1;
            lost_requests.push(batch);
            continue;
        };
        let accepted = submit(&server.url, &batch).await;
        if accepted {
            acknowledged.extend(batch.iter().map(|ticket| ticket["id"].as_str().unwrap().to_owned()));
        } else {
            lost_requests.push(batch);
        }
        // Long enough for a named point to be reached; a random kill comes somewhere in the life of the batch.
        let patience = if kill_at.is_some() {
            Duration::from_secs(4)
        } else {
            Duration::from_millis(scattered(round as u64) % 1_500)
        };
        let deadline = Instant::now() + patience;
        while server.child.0.try_wait().unwrap().is_none() && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
        if server.child.0.try_wait().unwrap().is_none() {
            server.child.0.kill().unwrap();
        }
        assert_killed(&mut server.child);
        kills += 1;
    }
    assert!(kills >= 50, "only {kills} kills");

    // The clients that were not answered ask again, and everyone waits for the end.
    let server = start(folder, &rpc, None).unwrap();
    for batch in &lost_requests {
        assert!(submit(&server.url, batch).await);
        acknowledged.extend(batch.iter().map(|ticket| ticket["id"].as_str().unwrap().to_owned()));
    }
    let http = reqwest::Client::new();
    let deadline = Instant::now() + Duration::from_mins(5);
    // A dead transaction leads from minting back to pending: three empty answers in a row leave no gap for it.
    let mut empty = 0;
    while empty < 3 {
        let status = if empty == 1 { "pending" } else { "minting" };
        let url = server.url.join(&format!("/admin/mints?limit=1&status={status}")).unwrap();
        empty = if answer(http.get(url)).await.1["mints"] == json!([]) { empty + 1 } else { 0 };
        assert!(Instant::now() < deadline, "tickets are {status} for ever");
        if empty == 0 {
            sleep(Duration::from_millis(100)).await;
        }
    }

    // The books: every acknowledged ticket is minted, and nothing else is in them.
    let (mut minted, mut bill) = (HashSet::new(), 0);
    let mut page = "/admin/mints?limit=500".to_owned();
    loop {
        let (_, answer) = answer(http.get(server.url.join(&page).unwrap())).await;
        for mint in answer["mints"].as_array().unwrap() {
            assert_eq!(mint["status"], "minted", "{mint}");
            assert!(mint["signature"].is_string(), "{mint}");
            assert!(minted.insert(mint["ticketId"].as_str().unwrap().to_owned()));
            bill += mint["costLamports"].as_u64().unwrap();
        }
        let Some(cursor) = answer["nextCursor"].as_str() else { break };
        page = format!("/admin/mints?limit=500&cursor={cursor}");
    }
    assert_eq!(minted, acknowledged);

    // The chain: one NFT each, wherever it may be, and the wallet lost exactly what the books say.
    let rpc: Url = rpc.parse().unwrap();
    assert_eq!(nfts_of(&rpc, &wallet).await, minted.len());
    let balance = rpc_call(&rpc, "getBalance", json!([wallet.to_string(), { "commitment": "confirmed" }])).await;
    assert_eq!(FUNDS * SOL - balance["value"].as_u64().unwrap(), bill);
    println!("{kills} kills, {} tickets, {} requests unanswered and sent again", minted.len(), lost_requests.len());
}
