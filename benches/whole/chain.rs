//! The chain that all contenders share: a process of its own, as a provider's node would be.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use reqwest::Url;
use serde_json::{Value, json};
use solana_pubkey::Pubkey;

/// Milliseconds between blocks, as on mainnet.
pub const SLOT_MS: u64 = 400;
/// What a contender's wallet begins with, in lamports: a thousand tickets cost 20 SOL.
const MONEY: u64 = 5_000_000_000_000;

/// The program that is measured.
pub fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_boxoffice"))
}

/// A running chain; it ends when this is dropped.
pub struct Chain {
    process: Child,
    pub rpc: Url,
    pub ws: Url,
    http: reqwest::Client,
}

impl Chain {
    pub fn start() -> Self {
        let mut process = Command::new(program())
            .args(["localnet", "--rpc-port", "0", "--ws-port", "0", "--slot-ms", &SLOT_MS.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["RPC", rpc, "WebSocket", ws] = words[..] else { panic!("the chain said {line:?}") };
        let (rpc, ws) = (rpc.parse().unwrap(), ws.parse().unwrap());
        Self { process, rpc, ws, http: reqwest::Client::new() }
    }

    /// Asks the chain itself, past every line.
    pub async fn ask(&self, method: &str, params: Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer: Value = self.http.post(self.rpc.clone()).json(&body).send().await.unwrap().json().await.unwrap();
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    pub async fn fund(&self, address: &Pubkey) {
        self.ask("requestAirdrop", json!([address.to_string(), MONEY])).await;
    }

    /// NFTs that an address holds. The chain has the last word on what was minted, whatever a contender says.
    pub async fn nfts(&self, owner: &Pubkey) -> u64 {
        let amount = json!({ "offset": 64, "length": 8 });
        let options = json!({ "encoding": "base64", "commitment": "confirmed", "dataSlice": amount });
        let program = json!({ "programId": spl_token_interface::ID.to_string() });
        let accounts = self.ask("getTokenAccountsByOwner", json!([owner.to_string(), program, options])).await;
        let one = "AQAAAAAAAAA=";
        accounts["value"].as_array().unwrap().iter().filter(|found| found["account"]["data"][0] == one).count() as u64
    }

    /// Megabytes that its process has in memory.
    pub fn memory_mb(&self) -> u64 {
        super::office::Usage::of(self.process.id()).memory_kb / 1_024
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
