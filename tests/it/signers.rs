//! Remote signers. A Vault cannot be had for tests: a stand-in speaks the documented API of its transit engine and of Amazon's key
//! management service, and signs with a real key.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use boxoffice::chain::wallet::Wallet;
use serde_json::{Value, json};
use solana_keypair::Keypair;
use solana_pubkey::Pubkey;
use solana_signer::Signer as _;
use tokio::net::TcpListener;

use crate::support::*;

const TOKEN: &str = "hvs.never-to-be-seen";

/// What the signer does when it is asked to sign.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Signs,
    Forbids,
    SignsWrongly,
    /// Signs every other time.
    Limits,
}

#[derive(Clone)]
struct Signer {
    key: Arc<Keypair>,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<AtomicUsize>,
    url: String,
}

impl Signer {
    async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mood = Arc::new(Mutex::new(mood));
        let signer = Self { key: Arc::new(Keypair::new()), mood, asked: Arc::default(), url };
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

    fn sign(&self, message: &[u8]) -> Result<String, StatusCode> {
        let nth = self.asked.fetch_add(1, Ordering::SeqCst);
        match *self.mood.lock().unwrap() {
            Mood::Signs => Ok(STANDARD.encode(self.key.sign_message(message))),
            Mood::SignsWrongly => Ok(STANDARD.encode(self.key.sign_message(b"something else"))),
            Mood::Forbids => Err(StatusCode::FORBIDDEN),
            Mood::Limits if nth.is_multiple_of(2) => Ok(STANDARD.encode(self.key.sign_message(message))),
            Mood::Limits => Err(StatusCode::TOO_MANY_REQUESTS),
        }
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
                signer.sign(&message).map(|signature| Json(json!({ "Signature": signature }))).into_response()
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
            let signed = |signature| Json(json!({ "data": { "signature": format!("vault:v1:{signature}") } }));
            signer.sign(&message).map(signed).into_response()
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
    for payer in Wallet::load(&secrets).unwrap().with_payers(2).unwrap().payers() {
        fund(chain(), &payer, SOL);
    }
    let signer = Signer::start(Mood::Forbids).await;
    let options = BoxOptions::new(folder.path(), &secrets)
        .set("SIGNER", "vault")
        .set("SIGNER_PUBLIC_KEY", signer.address().to_string())
        .set("SIGNER_KEY", "tickets")
        .set("SIGNER_URL", &signer.url)
        .set("SIGNER_TOKEN", TOKEN)
        .set("FEE_PAYERS", "2");
    let office = options.start().await;
    assert!(!format!("{:?} {:?}", office.app.config, office.app.minter).contains(TOKEN));
    let body = json!({ "venueId": "v", "tickets": tickets("t", 20) });
    let request = office.request(reqwest::Method::POST, "/admin/batch-mint").header("prefer", "respond-async");
    assert_eq!(answer(request.json(&body)).await.0, 202);
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

    // One that limits signs some: those go on, the others are asked for again, and it goes on by itself.
    signer.set(Mood::Limits);
    let minted = async || office.app.store.counts(None).await.unwrap().of(boxoffice::domain::mint::MintStatus::Minted);
    until(async || minted().await == 20).await;
    assert!(signer.asked.load(Ordering::SeqCst) > 39);
    assert_eq!(held().await, None);
    assert_eq!(nfts_of(chain().rpc_url(), &signer.address()).await, 20, "the authority is the Vault's key");
    let (_, report) = office.post("/admin/reconcile/v", &json!({})).await;
    assert_eq!((&report["confirmed"], &report["errors"]), (&json!(20), &json!(0)), "{report}");
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
    let environment = [
        ("NETWORK", "localnet"),
        ("SOLANA_RPC_URLS", rpc.as_str()),
        ("DATA_DIR", "data"),
        ("SIGNER", "aws-kms"),
        ("SIGNER_KEY", "alias/tickets"),
        ("SIGNER_PUBLIC_KEY", &address),
        ("AWS_ENDPOINT_URL", &signer.url),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let arguments = ["mint", "t.csv", "--venue", "v", "--event", "e", "--yes"];
    let output = tokio::task::block_in_place(|| run(folder.path(), &arguments, &environment));
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(nfts_of(chain().rpc_url(), &signer.address()).await, 2);
    assert_eq!(signer.asked.load(Ordering::SeqCst), 2);
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
