//! A box in the test's own process, on a chain that all tests share.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use boxoffice::{
    app::App,
    chain::{
        local::{LocalChain, LocalChainOptions},
        wallet::Wallet,
    },
    config::{Config, Sources},
    domain::{lamports::Lamports, mint::MintStatus},
};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};
use solana_pubkey::Pubkey;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{run, stderr, stdout};

/// Blocks come quickly in tests, so that a blockhash dies within seconds.
pub const SLOT_MS: u64 = 50;
pub const SOL: u64 = 1_000_000_000;

/// Starts a chain; the engine wants a thread without a runtime.
pub fn start_chain(slot_ms: u64) -> LocalChain {
    let options = LocalChainOptions { slot_ms, ..LocalChainOptions::default() };
    std::thread::spawn(move || LocalChain::start(&options).unwrap()).join().unwrap()
}

/// The chain that tests share. Each brings its own wallet, so their tickets never meet.
pub fn chain() -> &'static LocalChain {
    static CHAIN: OnceLock<LocalChain> = OnceLock::new();
    CHAIN.get_or_init(|| start_chain(SLOT_MS))
}

pub fn fund(chain: &LocalChain, address: &Pubkey, lamports: u64) {
    std::thread::scope(|scope| {
        scope.spawn(|| chain.fund(address, Lamports(lamports)).unwrap()).join().unwrap();
    });
}

/// A wallet with money, and its key file.
pub fn wallet(folder: &Path, lamports: u64) -> (PathBuf, Pubkey) {
    let path = folder.join("wallet.json");
    let address = Wallet::create(&path).unwrap().address();
    if lamports > 0 {
        fund(chain(), &address, lamports);
    }
    (path, address)
}

/// How to start a box.
pub struct BoxOptions {
    pub folder: PathBuf,
    pub wallet: PathBuf,
    pub rpc: Url,
    pub settings: Vec<(&'static str, String)>,
}

/// A running box and a client of it.
pub struct TestBox {
    pub app: Arc<App>,
    pub url: Url,
    pub key: Option<String>,
    http: reqwest::Client,
    stop: CancellationToken,
    server: JoinHandle<Result<(), prometheus::Error>>,
}

impl BoxOptions {
    /// A box with its data in `folder`, on the shared chain, sending as quickly as it can.
    pub fn new(folder: &Path, wallet: &Path) -> Self {
        Self {
            folder: folder.join("data"),
            wallet: wallet.to_owned(),
            rpc: chain().rpc_url().clone(),
            settings: vec![
                ("MAX_BATCH_SIZE", "100".into()),
                ("BATCH_DELAY_MS", "10".into()),
                ("RATE_LIMIT_MAX", "off".into()),
                ("RATE_LIMIT_READ_MAX", "off".into()),
            ],
        }
    }

    pub fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((name, value.into()));
        self
    }

    pub fn config(&self) -> Config {
        let mut environment: BTreeMap<String, String> =
            self.settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        environment.insert("NETWORK".into(), "localnet".into());
        environment.entry("SOLANA_RPC_URLS".into()).or_insert_with(|| self.rpc.to_string());
        environment.insert("WALLET_PATH".into(), self.wallet.display().to_string());
        environment.insert("DATA_DIR".into(), self.folder.display().to_string());
        let none = Some(PathBuf::from("/dev/null"));
        let mut config = Config::load(&Sources { file: none, environment, ..Sources::default() }).unwrap();
        config.pacing.slot = Duration::from_millis(SLOT_MS);
        config
    }

    pub async fn start(self) -> TestBox {
        TestBox::start(self.config()).await
    }
}

impl TestBox {
    pub async fn start(config: Config) -> Self {
        let key = config.admin_api_key.as_ref().map(|key| key.expose().to_owned());
        let app = Arc::new(App::start(config).await.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let stop = CancellationToken::new();
        let (serving, until) = (Arc::clone(&app), stop.clone());
        let server = tokio::spawn(async move { serving.serve(listener, until).await });
        TestBox { app, url, key, http: reqwest::Client::new(), stop, server }
    }
}

impl TestBox {
    /// A box with 100 SOL on the shared chain.
    pub async fn new(folder: &Path) -> Self {
        let (wallet, _) = wallet(folder, 100 * SOL);
        BoxOptions::new(folder, &wallet).start().await
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, self.url.join(path).unwrap());
        match &self.key {
            Some(key) => request.header("x-admin-api-key", key),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(self.request(Method::POST, path).json(body)).await
    }

    /// Mints a batch and waits for its result.
    pub async fn mint(&self, venue: &str, tickets: &[Value]) -> Value {
        let (status, body) = self.post("/admin/batch-mint", &json!({ "venueId": venue, "tickets": tickets })).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    /// Waits until the box knows that several tickets may ride in one transaction: from then on, estimates are exact.
    pub async fn packs(&self) {
        super::until(async || self.app.minter.layout().most_tickets() > 1).await;
    }

    pub async fn balance(&self) -> u64 {
        boxoffice::chain::Chain::balance(self.app.chain.as_ref(), &self.app.authority).await.unwrap().0
    }

    /// Stops the box and proves that nothing is left under way.
    pub async fn finish(self) {
        let counts = self.app.store.counts(None).await.unwrap();
        assert_eq!(counts.of(MintStatus::Pending), 0, "tickets are still pending");
        assert_eq!(counts.of(MintStatus::Minting), 0, "tickets are still under way");
        assert_eq!(self.app.store.open_attempts().await.unwrap().len(), 0, "attempts are still open");
        assert_eq!(self.app.minter.in_flight(), 0, "transactions are still in flight");
        self.abandon().await;
    }

    /// Begins to stop the HTTP server; [`TestBox::abandon`] ends the rest.
    pub fn interrupt(&self) {
        self.stop.cancel();
    }

    /// Stops the box with whatever is under way.
    pub async fn abandon(self) {
        self.stop.cancel();
        self.app.stop().await;
        self.server.await.unwrap().unwrap();
        // Connections that clients keep open are closed by their own tasks, a moment later.
        let gone = async {
            while Arc::strong_count(&self.app) > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), gone).await.expect("a task still holds the box");
    }
}

pub async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let body = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

pub fn ticket(id: &str) -> Value {
    json!({
        "id": id, "eventId": "event-1", "userId": "user-1",
        "ticketData": { "eventName": "Concert", "eventDate": "2025-12-01", "venue": "Stadium", "tier": "VIP", "seatNumber": id }
    })
}

pub fn tickets(prefix: &str, count: usize) -> Vec<Value> {
    (0..count).map(|number| ticket(&format!("{prefix}-{number}"))).collect()
}

/// Token accounts of an owner that hold one token: the NFTs that it has, wherever they came from.
pub async fn nfts_of(rpc: &Url, owner: &Pubkey) -> usize {
    let params = json!([owner.to_string(), { "programId": "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA" },
        { "encoding": "jsonParsed", "commitment": "confirmed" }]);
    let answer = rpc_call(rpc, "getTokenAccountsByOwner", params).await;
    let accounts = answer["value"].as_array().unwrap();
    accounts
        .iter()
        .filter(|account| account["account"]["data"]["parsed"]["info"]["tokenAmount"]["amount"] == "1")
        .count()
}

pub async fn rpc_call(rpc: &Url, method: &str, params: Value) -> Value {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let (_, answer) = answer(reqwest::Client::new().post(rpc.clone()).json(&body)).await;
    assert!(answer["error"].is_null(), "{method}: {answer}");
    answer["result"].clone()
}

/// A key made on the command line, beside the running box.
pub fn create_key(office: &TestBox, folder: &Path, name: &str, role: &str) -> String {
    let made = run(folder, &["key", "create", name, "--role", role], &environment(office));
    assert!(made.status.success(), "{}", stderr(&made));
    assert!(!stderr(&made).contains(stdout(&made).trim()), "the key goes to standard output only");
    stdout(&made).trim().to_owned()
}

/// What commands need to find the books of a running box.
pub fn environment(office: &TestBox) -> Vec<(&'static str, &'static str)> {
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let wallet = office.app.config.wallet.key_file.as_ref().unwrap().display().to_string();
    let data = office.app.config.data_dir.display().to_string();
    vec![("NETWORK", "localnet"), ("WALLET_PATH", leak(wallet)), ("DATA_DIR", leak(data))]
}
