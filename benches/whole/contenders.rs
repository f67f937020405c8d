//! Who mints: boxoffice, a script on Metaplex's Umi, `metaboss`, and a pipeline that does nothing but send.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use boxoffice::{
    chain::{
        instructions::{MINT_BYTES, TicketMint},
        transaction::{Allowance, Draft, Layout},
        wallet::Wallet,
    },
    domain::{
        address::{Generation, TicketAccounts, mint_address, mint_seed},
        ids::{TicketId, VenueId},
        lamports::Lamports,
    },
};
use futures_util::{StreamExt as _, future, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    chain::Chain,
    line::{Line, Terms, Traffic},
    office::{Office, tickets},
};

/// Transactions that the bare pipeline has under way at once: as many as boxoffice.
const AT_ONCE: usize = 128;
/// Signatures that a node tells the status of in one call.
const STATUSES: usize = 256;

/// One way to mint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// As shipped, with nothing set but where the chain is.
    Boxoffice,
    /// So many at once, and so many milliseconds from the last of them to the next group.
    Umi { at_once: u64, gap_ms: u64 },
    /// `metaboss mint list` over a folder of files, so many at once.
    Metaboss { at_once: u64 },
    /// Signed before the clock starts, sent as fast as the chain takes them, and nothing kept: what the chain itself allows.
    Bare(Layout),
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Run {
    pub minted: u64,
    pub seconds: f64,
    pub traffic: Traffic,
}

impl Run {
    pub fn per_second(&self) -> f64 {
        self.minted as f64 / self.seconds
    }

    pub fn calls_per_ticket(&self) -> f64 {
        self.traffic.total() as f64 / self.minted.max(1) as f64
    }
}

impl Contender {
    pub fn name(self) -> String {
        match self {
            Self::Boxoffice => "boxoffice".into(),
            Self::Umi { at_once: 1, .. } => "Umi, one at a time".into(),
            Self::Umi { at_once, .. } => format!("Umi, {at_once} at once"),
            Self::Metaboss { at_once } => format!("metaboss, {at_once} at once"),
            Self::Bare(layout) => match layout.most_tickets() {
                1 => "bare pipeline".into(),
                most => format!("bare pipeline, {most} to a transaction"),
            },
        }
    }

    /// Mints with a wallet of its own over a line of its own.
    pub async fn mint(self, chain: &Chain, terms: Terms, count: u64) -> Run {
        let line = Line::lay(&chain.rpc, &chain.ws, terms).await.unwrap();
        match self {
            Self::Boxoffice => boxoffice(chain, &line, count).await,
            Self::Umi { at_once, gap_ms } => umi(chain, &line, count, at_once, gap_ms).await,
            Self::Metaboss { at_once } => metaboss(chain, &line, count, at_once).await,
            Self::Bare(layout) => bare(chain, &line, count, layout).await,
        }
    }
}

async fn boxoffice(chain: &Chain, line: &Line, count: u64) -> Run {
    let office = Office::open(chain, &line.rpc, &[]).await;
    // A box is up for months, so its start does not count; that of a script does not either.
    office.mint(tickets("first", 1)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    line.take_traffic();
    let (_, time) = office.mint(tickets("t", count)).await;
    let traffic = line.take_traffic();
    Run { minted: chain.nfts(&office.authority).await - 1, seconds: time.as_secs_f64(), traffic }
}

#[derive(Deserialize)]
struct Said {
    minted: u64,
    seconds: f64,
    faults: Value,
}

/// The folder in which the script can run, with the libraries of its lock file.
fn umi_folder() -> PathBuf {
    let (here, there) = (
        Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/umi"),
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("umi"),
    );
    std::fs::create_dir_all(&there).unwrap();
    for file in ["mint.mjs", "package.json", "package-lock.json"] {
        std::fs::copy(here.join(file), there.join(file)).unwrap();
    }
    if !there.join("node_modules").exists() {
        eprintln!("npm ci in {}", there.display());
        let installed = Command::new("npm").args(["ci", "--silent", "--no-audit"]).current_dir(&there).status();
        assert!(installed.is_ok_and(|status| status.success()), "npm ci failed; Node.js 20 and npm are needed");
    }
    there
}

async fn umi(chain: &Chain, line: &Line, count: u64, at_once: u64, gap_ms: u64) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("wallet.json");
    let wallet = Wallet::create(&key).unwrap().address();
    chain.fund(&wallet).await;
    let mut command = Command::new("node");
    command.current_dir(umi_folder()).arg("mint.mjs").args([line.rpc.as_str(), line.ws.as_str()]).arg(&key);
    command.args([count, at_once, gap_ms].map(|number| number.to_string()));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said: Said = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        let words = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = words.lines().rev().take(5).collect();
        panic!("Umi ended with {}: {last:?}", output.status)
    });
    if said.faults.as_object().is_some_and(|faults| !faults.is_empty()) {
        eprintln!("Umi: {}", said.faults);
    }
    let minted = chain.nfts(&wallet).await;
    if minted != said.minted {
        eprintln!("Umi believes that it minted {}, and the chain has {minted}", said.minted);
    }
    Run { minted, seconds: said.seconds, traffic: line.take_traffic() }
}

/// Whether `metaboss` is there to be run.
pub fn has_metaboss() -> bool {
    Command::new("metaboss").arg("--version").output().is_ok_and(|said| said.status.success())
}

async fn metaboss(chain: &Chain, line: &Line, count: u64, at_once: u64) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let (key, files) = (folder.path().join("wallet.json"), folder.path().join("nfts"));
    let wallet = Wallet::create(&key).unwrap().address();
    chain.fund(&wallet).await;
    std::fs::create_dir(&files).unwrap();
    for number in 1..=count {
        let file = json!({
            "name": format!("Winter Gala #{number}"),
            "symbol": "TICKET",
            "uri": format!("ipfs://{number:059}"),
            "seller_fee_basis_points": 0,
            "creators": [{ "address": wallet.to_string(), "verified": true, "share": 100 }],
        });
        std::fs::write(files.join(format!("{number}.json")), file.to_string()).unwrap();
    }
    let mut command = Command::new("metaboss");
    command.current_dir(folder.path()).env("HOME", folder.path()).env("RAYON_NUM_THREADS", at_once.to_string());
    command.args(["--rpc", line.rpc.as_str(), "mint", "list", "--keypair"]).arg(&key).arg("--nft-data-dir").arg(&files);
    let began = Instant::now();
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let seconds = began.elapsed().as_secs_f64();
    if !output.status.success() {
        eprintln!("metaboss ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Run { minted: chain.nfts(&wallet).await, seconds, traffic: line.take_traffic() }
}

async fn bare(chain: &Chain, line: &Line, count: u64, layout: Layout) -> Run {
    let wallet = Wallet::ephemeral();
    chain.fund(&wallet.address()).await;
    let signed = signed(chain, &wallet, count, layout).await;
    let http = reqwest::Client::new();
    let ask = async |method: &str, params: Value| -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer: Value = http.post(line.rpc.clone()).json(&body).send().await.unwrap().json().await.unwrap();
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    };
    let began = Instant::now();
    let options = json!({ "encoding": "base64", "skipPreflight": true, "maxRetries": 0 });
    let sending = stream::iter(&signed)
        .map(|(_, bytes)| ask("sendTransaction", json!([bytes, options])))
        .buffer_unordered(AT_ONCE)
        .for_each(|_| future::ready(()));
    let watching = async {
        let mut open: Vec<&str> = signed.iter().map(|(signature, _)| signature.as_str()).collect();
        while !open.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let asked: Vec<&str> = open.drain(..open.len().min(STATUSES)).collect();
            let found = ask("getSignatureStatuses", json!([asked])).await;
            let statuses = found["value"].as_array().unwrap();
            let left = asked.into_iter().zip(statuses).filter(|(_, status)| {
                assert!(status["err"].is_null(), "{status}");
                !matches!(status["confirmationStatus"].as_str(), Some("confirmed" | "finalized"))
            });
            // Those that are still open are asked for again before the ones behind them, which were sent later.
            let mut left: Vec<&str> = left.map(|(signature, _)| signature).collect();
            left.append(&mut open);
            open = left;
        }
    };
    future::join(sending, watching).await;
    let seconds = began.elapsed().as_secs_f64();
    Run { minted: chain.nfts(&wallet.address()).await, seconds, traffic: line.take_traffic() }
}

/// Signatures and transactions in base64, for so many tickets.
async fn signed(chain: &Chain, wallet: &Wallet, count: u64, layout: Layout) -> Vec<(String, String)> {
    let rent = chain.ask("getMinimumBalanceForRentExemption", json!([MINT_BYTES])).await;
    let mint_rent = Lamports(rent.as_u64().unwrap());
    let latest = chain.ask("getLatestBlockhash", json!([{ "commitment": "confirmed" }])).await;
    let blockhash = latest["value"]["blockhash"].as_str().unwrap().parse().unwrap();
    let (authority, venue) = (wallet.address(), VenueId::new("hall").unwrap());
    let minted: Vec<TicketMint> = (1..=count)
        .map(|number| {
            let ticket = TicketId::new(format!("t-{number}")).unwrap();
            TicketMint {
                seed: mint_seed(&venue, &ticket, Generation(0)),
                accounts: TicketAccounts::of(mint_address(&authority, &venue, &ticket, Generation(0)), &authority),
                owner: authority,
                name: format!("Winter Gala #{number}"),
                symbol: "TICKET".into(),
                uri: format!("ipfs://{number:059}"),
                seller_fee_basis_points: 0,
                mint_rent,
                prefunded: None,
            }
        })
        .collect();
    let mut transactions = Vec::new();
    for tickets in minted.chunks(layout.most_tickets()) {
        let allowance = Allowance::together(tickets.iter().map(|_| Allowance::of_attempt(0)));
        let draft = Draft { authority, payer: authority, tickets: tickets.to_vec(), allowance };
        let signed = wallet.sign(draft.message(layout, &blockhash).unwrap()).await.unwrap();
        transactions.push((signed.signature.to_string(), BASE64_STANDARD.encode(&signed.bytes)));
    }
    transactions
}
