//! Remote signers. A Vault cannot be had for tests: a stand-in speaks the documented API of its transit engine and of Amazon's key
//! management service, and signs with a real key.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use boxoffice::chain::wallet::{RemoteSigner, SignError, SignerPlace, SignerToken, Wallet, WalletError};
use serde_json::{Value, json};
use solana_keypair::Keypair;
use solana_message::{Message, VersionedMessage};
use solana_pubkey::Pubkey;
use solana_signer::Signer as _;
use solana_transaction::versioned::VersionedTransaction;
use tokio::net::TcpListener;

use crate::support::*;

const TOKEN: &str = "hvs.never-to-be-seen";

/// What says that an Ed25519 key follows (RFC 8410).
const SPKI_PREFIX: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What the signer does when it is asked to sign.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Signs,
    Forbids,
    SignsWrongly,
    /// Signs every other time.
    Limits,
    /// Signs every other time, ten times in all, and then answers nothing until it is told otherwise.
    LimitsThenHangs,
    /// Answers nothing, ever.
    Hangs,
}

#[derive(Clone)]
struct Signer {
    key: Arc<Keypair>,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    url: String,
}

impl Signer {
    async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mood = Arc::new(Mutex::new(mood));
        let signer = Self { key: Arc::new(Keypair::new()), mood, asked: Arc::default(), refused: Arc::default(), url };
        let router = Router::new().fallback(answer_call).with_state(signer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        signer
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn address(&self) -> Pubkey {
        self.key.pubkey()
    }

    async fn sign(&self, message: &[u8]) -> Result<String, StatusCode> {
        let nth = self.asked.fetch_add(1, Ordering::SeqCst);
        let mood = *self.mood.lock().unwrap();
        let refusal = match mood {
            Mood::LimitsThenHangs if nth >= 10 => std::future::pending().await,
            Mood::Limits | Mood::LimitsThenHangs if !nth.is_multiple_of(2) => StatusCode::TOO_MANY_REQUESTS,
            Mood::Forbids => StatusCode::FORBIDDEN,
            Mood::Hangs => std::future::pending().await,
            Mood::SignsWrongly => return Ok(STANDARD.encode(self.key.sign_message(b"something else"))),
            Mood::Signs | Mood::Limits | Mood::LimitsThenHangs => {
                return Ok(STANDARD.encode(self.key.sign_message(message)));
            }
        };
        self.refused.fetch_add(1, Ordering::SeqCst);
        Err(refusal)
    }

    /// The settings of a box whose key this Vault has.
    fn settings<'a>(&'a self, address: &'a str) -> [(&'static str, &'a str); 5] {
        [
            ("SIGNER", "vault"),
            ("SIGNER_PUBLIC_KEY", address),
            ("SIGNER_KEY", "tickets"),
            ("SIGNER_URL", &self.url),
            ("SIGNER_TOKEN", TOKEN),
        ]
    }
}

async fn answer_call(
    State(signer): State<Signer>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    if let Some(target) = target {
        assert!(headers["authorization"].to_str().unwrap().contains("kms/aws4_request"));
        return match target {
            "TrentService.Sign" => {
                assert_eq!(
                    (&body["SigningAlgorithm"], &body["MessageType"]),
                    (&json!("ED25519_SHA_512"), &json!("RAW"))
                );
                let message = STANDARD.decode(body["Message"].as_str().unwrap()).unwrap();
                signer.sign(&message).await.map(|signature| Json(json!({ "Signature": signature }))).into_response()
            }
            "TrentService.DescribeKey" => {
                let key = json!({ "KeyId": "k", "KeySpec": "ECC_NIST_EDWARDS25519", "Enabled": true, "KeyUsage": "SIGN_VERIFY" });
                Json(json!({ "KeyMetadata": key })).into_response()
            }
            "TrentService.GetPublicKey" => {
                let der = [SPKI_PREFIX, signer.key.pubkey().as_ref()].concat();
                Json(json!({ "KeyId": "k", "PublicKey": STANDARD.encode(der) })).into_response()
            }
            _ => StatusCode::BAD_REQUEST.into_response(),
        };
    }
    if headers.get("x-vault-token").is_none_or(|token| token != TOKEN) {
        return StatusCode::FORBIDDEN.into_response();
    }
    match (method, uri.path()) {
        (Method::POST, "/v1/transit/sign/tickets") => {
            let message = STANDARD.decode(body["input"].as_str().unwrap()).unwrap();
            let data = |signature| Json(json!({ "data": { "signature": format!("vault:v1:{signature}") } }));
            signer.sign(&message).await.map(data).into_response()
        }
        (Method::GET, "/v1/transit/keys/tickets") => {
            let keys = json!({ "1": { "public_key": STANDARD.encode(signer.key.pubkey()) } });
            let key = json!({ "type": "ed25519", "supports_signing": true, "latest_version": 1, "keys": keys });
            Json(json!({ "data": key })).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_signs_and_while_it_does_not_nothing_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    // A key file that signs for no ticket: the fee payers are derived from it.
    let (secrets, _) = wallet(folder.path(), 0);
    let signer = Signer::start(Mood::Signs).await;
    let address = signer.address().to_string();
    fund(chain(), &signer.address(), 3 * SOL);
    let (rpc, secrets_path) = (chain().rpc_url().to_string(), secrets.to_str().unwrap());
    let mut environment = vec![
        ("NETWORK", "localnet"),
        ("SOLANA_RPC_URLS", rpc.as_str()),
        ("DATA_DIR", "command"),
        ("WALLET_PATH", secrets_path),
        ("FEE_PAYERS", "2"),
    ];
    environment.extend(signer.settings(&address));
    let filled = ["payers", "fund", "--each", "1"];
    let filled = tokio::task::block_in_place(|| run(folder.path(), &filled, &environment));
    assert!(filled.status.success(), "{}", stderr(&filled));
    assert_eq!(signer.asked.load(Ordering::SeqCst), 1, "the transfer is the Vault's to sign");

    signer.set(Mood::Forbids);
    let options = BoxOptions::new(folder.path(), &secrets).set("FEE_PAYERS", "2").set("PACKING", "off");
    let options =
        signer.settings(&address).into_iter().fold(options, |options, (name, value)| options.set(name, value));
    let office = options.start().await;
    assert!(!format!("{:?} {:?}", office.app.config, office.app.minter).contains(TOKEN));
    let body = json!({ "venueId": "v", "tickets": tickets("t", 20) });
    let request = office.request(reqwest::Method::POST, "/admin/batch-mint").header("prefer", "respond-async");
    assert_eq!(answer(request.json(&body)).await.0, 202);
    assert!(signer.refused.load(Ordering::SeqCst) <= 40, "who refuses is not pressed");
    let held = async || office.get("/admin/system/status").await.1["queue"]["held"].as_str().map(str::to_owned);
    let is_held_for = async |reason: &str| {
        held().await.is_some_and(|told| {
            assert!(!told.contains(TOKEN), "{told}");
            told.contains(reason)
        })
    };
    until(async || is_held_for("vault at 127.0.0.1 (key tickets) does not sign").await).await;
    assert!(is_held_for("SIGNER_TOKEN is in force").await);
    signer.set(Mood::SignsWrongly);
    until(async || is_held_for("does not match").await).await;
    assert_eq!(office.app.store.open_attempts().await.unwrap().len(), 0, "nothing is recorded half");

    assert!(is_held_for("vault at 127.0.0.1 (key tickets) does not sign").await);
    signer.set(Mood::Hangs);
    until(async || is_held_for("no answer within 10 s").await).await;
    assert_eq!(office.app.store.open_attempts().await.unwrap().len(), 0, "nothing is recorded half");

    // One that limits signs some: those go on, the others are asked for again, and it goes on by itself.
    let (asked, refused) = (signer.asked.load(Ordering::SeqCst), signer.refused.load(Ordering::SeqCst));
    signer.set(Mood::Limits);
    let minted = async || office.app.store.counts(None).await.unwrap().of(boxoffice::domain::mint::MintStatus::Minted);
    until(async || minted().await == 20).await;
    let refused = signer.refused.load(Ordering::SeqCst) - refused;
    assert!(refused > 0, "it limits");
    assert_eq!(signer.asked.load(Ordering::SeqCst) - asked, 20 + refused, "each is signed once");
    assert_eq!(held().await, None);
    assert_eq!(nfts_of(chain().rpc_url(), &signer.address()).await, 20, "the authority is the Vault's key");
    let (_, report) = office.post("/admin/reconcile/v", &json!({})).await;
    assert_eq!((&report["confirmed"], &report["errors"]), (&json!(20), &json!(0)), "{report}");
    office.finish().await;
}

/// What a signer gives is used, what it refuses is told, and it is asked for no more than that next time.
#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_limits_is_waited_for_and_what_it_has_signed_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (secrets, _) = wallet(folder.path(), 0);
    let signer = Signer::start(Mood::LimitsThenHangs).await;
    let address = signer.address().to_string();
    fund(chain(), &signer.address(), 2 * SOL);
    let options = BoxOptions::new(folder.path(), &secrets).set("PACKING", "off");
    let options =
        signer.settings(&address).into_iter().fold(options, |options, (name, value)| options.set(name, value));
    let office = options.start().await;
    let body = json!({ "venueId": "v", "tickets": tickets("t", 10) });
    let request = office.request(reqwest::Method::POST, "/admin/batch-mint").header("prefer", "respond-async");
    assert_eq!(answer(request.json(&body)).await.0, 202);
    // Nothing but the refusals of its first ten answers can hold it: later ones are silence.
    let held = async || office.get("/admin/system/status").await.1["queue"]["held"].as_str().map(str::to_owned);
    until(async || held().await.is_some_and(|told| told.contains("429"))).await;
    let minted = async || office.app.store.counts(None).await.unwrap().of(boxoffice::domain::mint::MintStatus::Minted);
    until(async || minted().await == 5).await;
    let asked = signer.asked.load(Ordering::SeqCst);
    assert!(asked <= 15, "asked for {asked}: five of those that it signed last time are enough at once");
    signer.set(Mood::Signs);
    until(async || minted().await == 10).await;
    assert_eq!((held().await, signer.refused.load(Ordering::SeqCst)), (None, 5));
    assert_eq!(nfts_of(chain().rpc_url(), &signer.address()).await, 10);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn amazons_key_service_signs_for_a_wallet_that_pays_itself() {
    let folder = tempfile::tempdir().unwrap();
    let signer = Signer::start(Mood::Signs).await;
    fund(chain(), &signer.address(), SOL);
    std::fs::write(folder.path().join("t.csv"), "id,eventName,eventDate\n1,Gala,2026-12-31\n2,Gala,2026-12-31\n")
        .unwrap();
    let (address, rpc) = (signer.address().to_string(), chain().rpc_url().to_string());
    let mut environment = [
        ("NETWORK", "localnet"),
        ("SOLANA_RPC_URLS", rpc.as_str()),
        ("PACKING", "off"),
        ("DATA_DIR", "data"),
        ("SIGNER", "aws-kms"),
        ("SIGNER_KEY", "alias/tickets"),
        ("SIGNER_PUBLIC_KEY", &address),
        ("AWS_ENDPOINT_URL", &signer.url),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let online = ["check-config", "--online"];
    let output = tokio::task::block_in_place(|| run(folder.path(), &online, &environment));
    assert!(output.status.success() && stdout(&output).contains("it answers, and has that key"), "{}", stderr(&output));
    let arguments = ["mint", "t.csv", "--venue", "v", "--event", "e", "--yes"];
    let output = tokio::task::block_in_place(|| run(folder.path(), &arguments, &environment));
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(nfts_of(chain().rpc_url(), &signer.address()).await, 2);
    assert_eq!(signer.asked.load(Ordering::SeqCst), 2);

    let other = Keypair::new().pubkey().to_string();
    environment.iter_mut().filter(|(name, _)| *name == "SIGNER_PUBLIC_KEY").for_each(|setting| setting.1 = &other);
    let output = tokio::task::block_in_place(|| run(folder.path(), &online, &environment));
    assert_fails(&output, 1, &["aws-kms (key alias/tickets)", "has another key", "kms:Sign"]);
}

#[tokio::test]
async fn a_signer_that_hangs_holds_up_many_transactions_no_longer_than_one() {
    let signer = Signer::start(Mood::Hangs).await;
    let place =
        SignerPlace::Vault { url: signer.url.parse().unwrap(), token: SignerToken::new(TOKEN), key: "tickets".into() };
    let settings = RemoteSigner { public_key: signer.address(), place };
    let wallet = Wallet::remote(settings, None).await.unwrap();
    let draft = || {
        let message = Message::new(&[], Some(&signer.address()));
        wallet.sign_here(VersionedMessage::Legacy(message)).unwrap()
    };
    let began = Instant::now();
    let answers = wallet.complete((0..100).map(|_| draft()).collect()).await;
    assert!(began.elapsed() < Duration::from_secs(15), "a blockhash does not live long");
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 100);
    assert_eq!(signer.asked.load(Ordering::SeqCst), 16);

    signer.set(Mood::Signs);
    let answers = wallet.complete((0..100).map(|_| draft()).collect()).await;
    assert_eq!(answers.len(), 100);
    for answer in answers {
        let complete = answer.unwrap();
        assert_eq!(complete.bytes.len(), draft().bytes());
        let transaction: VersionedTransaction = wincode::deserialize(&complete.bytes).unwrap();
        assert!(transaction.verify_with_results().iter().all(|valid| *valid));
    }
    let stranger = Message::new(&[], Some(&Keypair::new().pubkey()));
    assert!(matches!(wallet.sign_here(VersionedMessage::Legacy(stranger)), Err(SignError::Stranger { .. })));
    assert!(matches!(wallet.with_payers(1), Err(WalletError::NoSecret)));
}

#[test]
fn a_remote_signer_that_is_half_set_is_told_of_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let environment =
        [("NETWORK", "devnet"), ("SIGNER", "vault"), ("SIGNER_URL", "http://vault.example"), ("SIGNER_TOKEN", TOKEN)];
    let output = run(folder.path(), &["check-config"], &environment);
    assert_fails(&output, 2, &["SIGNER_PUBLIC_KEY is missing", "SIGNER_KEY is missing", "use https://"]);
    assert!(!stderr(&output).contains(TOKEN) && !stdout(&output).contains(TOKEN));
}
