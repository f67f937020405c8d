//! The program under measurement: `boxoffice serve` as an operator runs it, in a process of its own, its books on the disk.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use boxoffice::chain::wallet::Wallet;
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};
use solana_pubkey::Pubkey;
use tempfile::TempDir;

use super::chain::{Chain, program};

/// What a process took of its machine so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu_seconds: f64,
    pub memory_kb: u64,
    pub peak_kb: u64,
    /// Bytes that it had the disk write.
    pub written: u64,
}

impl Usage {
    pub fn of(process: u32) -> Self {
        let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
        let value = |file: &str, name: &str| -> u64 {
            let text = read(file);
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
        };
        let stat = read("stat");
        // Fields 14 and 15 of proc_pid_stat(5), in hundredths of a second; the name before them may hold spaces.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields.iter().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Self {
            cpu_seconds: ticks as f64 / 100.0,
            memory_kb: value("status", "VmRSS:"),
            peak_kb: value("status", "VmHWM:"),
            written: value("io", "write_bytes:"),
        }
    }
}

/// A running box; it ends when this is dropped.
pub struct Office {
    process: Child,
    pub url: Url,
    pub authority: Pubkey,
    pub http: reqwest::Client,
    _folder: TempDir,
}

impl Office {
    /// With a wallet that has money on `chain`, and `rpc` as its only endpoint. `settings` are those that are not as shipped.
    pub async fn open(chain: &Chain, rpc: &Url, settings: &[(&str, &str)]) -> Self {
        Self::open_with(chain, rpc, settings, 0).await
    }

    /// The same, with so many tickets in its books already.
    pub async fn open_with(chain: &Chain, rpc: &Url, settings: &[(&str, &str)], tickets: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("wallet.json");
        let authority = Wallet::create(&key).unwrap().address();
        chain.fund(&authority).await;
        let command = || {
            let mut command = Command::new(program());
            command
                .env_clear()
                .current_dir(folder.path())
                .envs([
                    ("NETWORK", "localnet"),
                    ("SOLANA_RPC_URLS", rpc.as_str()),
                    ("LOG_LEVEL", "error"),
                    ("PORT", "0"),
                ])
                .envs([("RATE_LIMIT_MAX", "off"), ("RATE_LIMIT_READ_MAX", "off")])
                .env("WALLET_PATH", &key)
                .env("DATA_DIR", folder.path().join("data"))
                .envs(settings.iter().copied())
                .stdin(Stdio::null())
                .stdout(Stdio::null());
            command
        };
        if tickets > 0 {
            assert!(command().args(["sample-books", &tickets.to_string()]).status().unwrap().success());
        }
        let mut process = command().arg("serve").stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
        let url = loop {
            let line = said.next().expect("it ended").unwrap();
            if let Some(url) = line.strip_prefix("Listening on ") {
                break url.parse().unwrap();
            }
        };
        std::thread::spawn(move || {
            for line in said.map_while(Result::ok) {
                eprintln!("boxoffice: {line}");
            }
        });
        Self { process, url, authority, http: reqwest::Client::new(), _folder: folder }
    }

    /// Sends a batch and waits until it is done. Returns how many were minted, and how long that took.
    pub async fn mint(&self, tickets: Vec<Value>) -> (u64, Duration) {
        let body = json!({ "venueId": "hall", "tickets": tickets });
        let began = Instant::now();
        let (status, answer) = self.post("/admin/batch-mint", &body, false).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        (answer["summary"]["succeeded"].as_u64().unwrap(), began.elapsed())
    }

    pub async fn post(&self, path: &str, body: &Value, only_accept: bool) -> (StatusCode, Value) {
        let request = self.http.post(self.url.join(path).unwrap()).json(body);
        let request = if only_accept { request.header("prefer", "respond-async") } else { request };
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    pub fn usage(&self) -> Usage {
        Usage::of(self.process.id())
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Tickets that nobody has seen before, as a shop would send them.
pub fn tickets(prefix: &str, count: u64) -> Vec<Value> {
    (1..=count)
        .map(|number| {
            json!({
                "id": format!("{prefix}-{number}"),
                "eventId": "winter-gala",
                "userId": format!("user-{number}"),
                "ticketData": {
                    "eventName": "Winter Gala",
                    "eventDate": "2026-12-31T20:00:00Z",
                    "venue": "The Hall",
                    "tier": if number % 10 == 0 { "VIP" } else { "Standard" },
                    "seatNumber": format!("Row {} Seat {}", number / 40 + 1, number % 40 + 1),
                },
            })
        })
        .collect()
}
