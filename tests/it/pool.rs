//! Several endpoints, some of them unwell, and plans that limit the rate.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, extract::State, http::HeaderMap, response::IntoResponse as _, routing::any};
use boxoffice::chain::{
    Chain as _, ChainError,
    rpc::{CircuitState, RpcChain},
};
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};
use solana_commitment_config::CommitmentConfig;

use crate::support::{
    proxy::{Call, Fate, Proxy, plan},
    *,
};

fn pool(urls: &[&Url]) -> RpcChain {
    RpcChain::new(urls.iter().map(|url| (*url).clone()).collect(), CommitmentConfig::confirmed()).unwrap()
}

/// A box in front of several endpoints.
async fn office(folder: &tempfile::TempDir, urls: &[&Url], pacing: &str) -> TestBox {
    let (wallet, _) = wallet(folder.path(), 100 * SOL);
    let urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
    let options = BoxOptions::new(folder.path(), &wallet).set("SOLANA_RPC_URLS", urls.join(","));
    options.set("PACING", pacing).start().await
}

/// Mints a batch; in its middle the proxies get worse. All is minted in the end, once, and paid for once.
async fn mint_on_a_bad_day(urls: &[&Url], worse: impl Fn()) {
    let folder = tempfile::tempdir().unwrap();
    let office = office(&folder, urls, "adaptive").await;
    let body = json!({ "venueId": "v", "tickets": tickets("t", 60) });
    let request = office.request(reqwest::Method::POST, "/admin/batch-mint").header("prefer", "respond-async");
    let (status, accepted) = answer(request.json(&body)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
    until(async || office.app.minter.in_flight() > 0).await;
    worse();
    let result = office.mint("v", &tickets("t", 60)).await;
    assert_eq!(result["summary"]["succeeded"], 60, "{}", result["failed"]);
    let truth = chain().rpc_url();
    assert_eq!(nfts_of(truth, &office.app.authority).await, 60, "one NFT for each ticket");
    let (_, batch) = office.get(&format!("/admin/batches/{}", accepted["batchId"].as_str().unwrap())).await;
    let config = json!([office.app.authority.to_string(), { "commitment": "confirmed" }]);
    let left = rpc_call(truth, "getBalance", config).await["value"].as_u64().unwrap();
    assert_eq!(batch["summary"]["spentLamports"], 100 * SOL - left, "books and chain agree");
    office.finish().await;
}

/// It knows of nothing that happened since. What is sent to it is passed on, or not.
fn stuck(passes_on: bool) -> impl Fn(&Call) -> Fate + Send + Sync + 'static {
    move |call| match call.method.as_str() {
        "sendTransaction" if !passes_on => Fate::Swallowed(json!("taken")),
        "getSignatureStatuses" | "getMultipleAccounts" => Fate::Altered(|mut answer| {
            answer["result"]["context"]["slot"] = json!(1);
            answer["result"]["value"].as_array_mut().unwrap().fill(Value::Null);
            answer
        }),
        "getEpochInfo" => Fate::Altered(|mut answer| {
            answer["result"]["absoluteSlot"] = json!(1);
            answer["result"]["blockHeight"] = json!(1);
            answer
        }),
        _ => Fate::Pass,
    }
}

/// It takes everything, passes nothing on, and says that all of it is final.
fn liar(call: &Call) -> Fate {
    match call.method.as_str() {
        "sendTransaction" => Fate::Swallowed(json!("taken")),
        "getSignatureStatuses" => Fate::Altered(|mut answer| {
            let slot = answer["result"]["context"]["slot"].clone();
            let confirmed = json!({ "slot": slot, "confirmations": null, "err": null, "status": { "Ok": null },
                "confirmationStatus": "finalized" });
            answer["result"]["value"].as_array_mut().unwrap().fill(confirmed);
            answer
        }),
        _ => Fate::Pass,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_dies_in_the_middle_of_a_batch_is_not_missed() {
    for is_killed in [true, false] {
        let (dying, good) = (Proxy::start(chain().rpc_url(), |_| Fate::Pass).await, chain().rpc_url());
        let die = || if is_killed { dying.kill() } else { dying.set(|_| Fate::Lost) };
        mint_on_a_bad_day(&[&dying.url, good], die).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_stuck_in_the_past_does_not_hold_a_batch_up() {
    let lagging = Proxy::start(chain().rpc_url(), |_| Fate::Pass).await;
    mint_on_a_bad_day(&[&lagging.url, chain().rpc_url()], || lagging.set(stuck(false))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_lies_about_confirmations_is_not_believed() {
    let lying = Proxy::start(chain().rpc_url(), |_| Fate::Pass).await;
    mint_on_a_bad_day(&[&lying.url, chain().rpc_url()], || lying.set(liar)).await;
}

/// None of the three is well: the lagging one passes on what it is sent, and the liar lies about confirmations only.
#[tokio::test(flavor = "multi_thread")]
async fn one_killed_one_lagging_and_one_lying_in_the_same_batch() {
    let proxies = [
        Proxy::start(chain().rpc_url(), |_| Fate::Pass).await,
        Proxy::start(chain().rpc_url(), |_| Fate::Pass).await,
        Proxy::start(chain().rpc_url(), |_| Fate::Pass).await,
    ];
    let [dying, lagging, lying] = &proxies;
    mint_on_a_bad_day(&[&dying.url, &lagging.url, &lying.url], || {
        dying.kill();
        lagging.set(stuck(true));
        lying.set(liar);
    })
    .await;
}

/// The one that is asked says that all has landed, and the other one loses the first transactions.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_to_have_landed_and_is_not_there_is_sent_again() {
    let lying = Proxy::start(chain().rpc_url(), liar).await;
    let sent = AtomicUsize::new(0);
    let losing = Proxy::start(chain().rpc_url(), move |call| match call.method.as_str() {
        "sendTransaction" if sent.fetch_add(1, Ordering::Relaxed) < 5 => Fate::Swallowed(json!("taken")),
        _ => Fate::Pass,
    });
    mint_on_a_bad_day(&[&lying.url, &losing.await.url], || ()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_endpoint_is_not_waited_for() {
    let slow = Proxy::start(chain().rpc_url(), |call| match call.method.as_str() {
        "getBalance" => Fate::Delayed(Duration::from_secs(8)),
        _ => Fate::Pass,
    });
    let (slow, good) = (slow.await, Proxy::start(chain().rpc_url(), |_| Fate::Pass).await);
    let pool = pool(&[&slow.url, &good.url]);
    for _ in 0..10 {
        pool.tip().await.unwrap();
    }
    assert_eq!(good.count("getEpochInfo"), 0, "nothing is wrong yet");
    let began = Instant::now();
    pool.balance(&solana_pubkey::Pubkey::new_unique()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!((slow.count("getBalance"), good.count("getBalance")), (1, 1));
    let registry = prometheus::Registry::new();
    pool.register(&registry).unwrap();
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let hedges = text.lines().find(|line| line.starts_with("boxoffice_rpc_hedges_total") && line.ends_with(" 1"));
    assert!(hedges.is_some_and(|line| line.contains(slow.url.as_str().trim_end_matches('/'))), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_rests_and_one_probe_brings_it_back() {
    let sick = Proxy::start(chain().rpc_url(), |_| Fate::Pass).await;
    let good = Proxy::start(chain().rpc_url(), |_| Fate::Pass).await;
    let pool = pool(&[&sick.url, &good.url]);
    pool.bind(pool.genesis_hash().await.unwrap().to_string());
    let state = || pool.health()[0].state;
    sick.set(|_| Fate::Lost);
    until(async || {
        pool.tip().await.unwrap();
        state() == CircuitState::Open
    })
    .await;
    assert!(pool.health()[0].fault.is_some() && pool.health()[1].preferred);
    // Nothing but probes reaches it while it rests.
    let asked = sick.count("getEpochInfo");
    for _ in 0..20 {
        pool.tip().await.unwrap();
    }
    assert_eq!(sick.count("getEpochInfo"), asked);
    sick.set(|_| Fate::Pass);
    until(async || {
        pool.tip().await.unwrap();
        state() == CircuitState::Closed
    })
    .await;
    assert!(pool.health()[0].fault.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_to_two_endpoints_and_either_will_do() {
    let deaf = Proxy::start(chain().rpc_url(), |call| match call.method.as_str() {
        "sendTransaction" => Fate::Delayed(Duration::from_secs(10)),
        _ => Fate::Pass,
    });
    let taking = |call: &Call| match call.method.as_str() {
        "sendTransaction" => Fate::Swallowed(json!("taken")),
        _ => Fate::Pass,
    };
    let (deaf, good, third) =
        (deaf.await, Proxy::start(chain().rpc_url(), taking).await, Proxy::start(chain().rpc_url(), taking).await);
    let pool = pool(&[&deaf.url, &good.url, &third.url]);
    let began = Instant::now();
    pool.send(b"anything").await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
    until(async || deaf.count("sendTransaction") == 1).await;
    assert_eq!((good.count("sendTransaction"), third.count("sendTransaction")), (1, 0), "two copies are enough");
}

/// Endpoints whose plan is limited, by what they say.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_limits_our_rate_is_left_alone_and_others_go_on() {
    let good = Proxy::start(chain().rpc_url(), |_| Fate::Pass).await;
    for limit in [Fate::LimitedFor("2".into()), Fate::LimitedFor(http_date_in(3)), Fate::Swallowed(Value::Null)] {
        let by_body = matches!(limit, Fate::Swallowed(_));
        let by_body_only = Fate::Altered(
            |_answer| json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -32429, "message": "slow down" } }),
        );
        let fate = if by_body { by_body_only } else { limit };
        let limited = Proxy::start(chain().rpc_url(), move |_| fate.clone()).await;
        let pool = pool(&[&limited.url, &good.url]);
        for _ in 0..5 {
            pool.tip().await.unwrap();
        }
        // Beside its genesis hash, which it has to prove in the same moment.
        let asked = limited.count("getEpochInfo");
        assert!(asked <= if by_body { 2 } else { 1 }, "it was asked {asked} times");
        let health = pool.health();
        assert!(health[1].preferred || by_body);
        assert_eq!(health[0].state, CircuitState::Closed, "a limit is no failure");
        if !by_body {
            let left = health[0].limited_for.unwrap();
            assert!(left > Duration::from_secs(1) && left <= Duration::from_secs(3), "{left:?}");
        }
    }
}

fn http_date_in(seconds: u64) -> String {
    httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(seconds))
}

/// Every kind of fault, by endpoints that repeat whatever they were asked with.
#[tokio::test(flavor = "multi_thread")]
async fn no_fault_tells_a_key() {
    const KEYS: [&str; 4] = ["PATH-KEY-123", "QUERY-KEY-456", "USER-NAME-789", "PASS-WORD-012"];
    let kind = Arc::new(AtomicUsize::new(0));
    let router = Router::new().fallback(any(echo)).with_state(Arc::clone(&kind));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let [path, query, user, password] = KEYS;
    let with_keys = |port: u16| -> Url {
        format!("http://{user}:{password}@127.0.0.1:{port}/v2/{path}?api-key={query}").parse().unwrap()
    };
    let (url, nobody) = (with_keys(port), with_keys(1));
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..7 {
        kind.store(number, Ordering::SeqCst);
        let pool = pool(&[if number == 6 { &nobody } else { &url }]);
        if number == 5 {
            pool.bind("another chain's".into());
        }
        let error = match number {
            4 => pool.statuses(&[solana_signature::Signature::default()], false).await.unwrap_err(),
            5 => pool.tip().await.unwrap_err(),
            _ => pool.genesis_hash().await.unwrap_err(),
        };
        seen.insert(error.kind());
        let mut causes = vec![format!("{error} {error:?} {error:#?}"), format!("{pool:?} {:?}", pool.health())];
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
        while let Some(deeper) = cause {
            causes.push(format!("{deeper} {deeper:?}"));
            cause = deeper.source();
        }
        for key in KEYS {
            assert!(!causes.iter().any(|text| text.contains(key)), "{}: {causes:#?}", error.kind());
        }
        assert!(!matches!(error, ChainError::Unreachable { .. }) || number == 6);
    }
    let kinds: Vec<_> = seen.into_iter().collect();
    assert_eq!(kinds, ["http", "malformed", "other_chain", "rate_limited", "refused", "unreachable"]);
}

async fn echo(
    State(kind): State<Arc<AtomicUsize>>,
    uri: axum::http::Uri,
    headers: HeaderMap,
) -> axum::response::Response {
    let said = format!("{uri} {} PASS-WORD-012 USER-NAME-789", headers["host"].to_str().unwrap());
    match kind.load(Ordering::SeqCst) {
        0 => (StatusCode::FORBIDDEN, said).into_response(),
        1 => (StatusCode::TOO_MANY_REQUESTS, said).into_response(),
        2 => json!({ "error": { "code": -32601, "message": said } }).to_string().into_response(),
        3 => json!({ "result": { said: 1 } }).to_string().into_response(),
        4 => json!({ "result": { "context": { "slot": 1 }, "value": [null, null] } }).to_string().into_response(),
        _ => json!({ "result": "that one's" }).to_string().into_response(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_pace_sends_waves_and_an_adaptive_one_spreads_them() {
    for pacing in ["fixed", "adaptive"] {
        let folder = tempfile::tempdir().unwrap();
        let firsts: Arc<Mutex<Vec<(String, Instant)>>> = Arc::default();
        let seen = Arc::clone(&firsts);
        let proxy = Proxy::start(chain().rpc_url(), move |call| {
            if call.method == "sendTransaction" {
                let (bytes, mut seen) = (call.params[0].as_str().unwrap().to_owned(), seen.lock().unwrap());
                if seen.iter().all(|(other, _)| *other != bytes) {
                    seen.push((bytes, Instant::now()));
                }
            }
            Fate::Pass
        });
        let proxy = proxy.await;
        let (wallet, _) = wallet(folder.path(), 100 * SOL);
        let options = BoxOptions { rpc: proxy.url.clone(), ..BoxOptions::new(folder.path(), &wallet) };
        let options = options.set("MAX_BATCH_SIZE", "10").set("BATCH_DELAY_MS", "400").set("PACING", pacing);
        let office = options.set("PACKING", "off").start().await;
        assert_eq!(office.mint("v", &tickets("t", 20)).await["summary"]["succeeded"], 20);
        let at: Vec<Instant> = firsts.lock().unwrap().iter().map(|(_, at)| *at).collect();
        let gaps: Vec<Duration> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        if pacing == "fixed" {
            // A wave may be smaller, when no more was signed yet.
            let waves = at.windows(11).map(|eleven| eleven[10] - eleven[0]);
            assert!(waves.min().unwrap() >= Duration::from_millis(300), "more than ten in a wave: {gaps:?}");
        } else {
            assert!(at[9] - at[0] >= Duration::from_millis(150), "not spread: {gaps:?}");
        }
        let (_, status) = office.get("/admin/system/status").await;
        let rate = status["queue"]["sendRateLimit"].as_f64().unwrap();
        assert!(rate > 24.99 && (pacing == "adaptive" || rate < 25.01), "{status}");
        let endpoint = &status["rpc"][0];
        assert_eq!((&endpoint["state"], &endpoint["limitedUntil"]), (&json!("closed"), &Value::Null));
        assert!(endpoint["lagSlots"].is_u64(), "{endpoint}");
        office.finish().await;
    }
}

/// What a box gets out of a plan, with a chain of its own, in a line.
async fn measure(limit: usize, retry_after: Option<&'static str>, count: usize, pacing: &str) -> String {
    let (folder, chain) = (tempfile::tempdir().unwrap(), start_chain(SLOT_MS));
    let (limits, sent) = (plan(limit, retry_after, Duration::from_millis(200)), Arc::new(Mutex::new(HashSet::new())));
    let distinct = Arc::clone(&sent);
    let proxy = Proxy::start(chain.rpc_url(), move |call| {
        if call.method == "sendTransaction" {
            distinct.lock().unwrap().insert(call.params[0].as_str().unwrap().to_owned());
        }
        limits(call)
    });
    let proxy = proxy.await;
    let (wallet, address) = wallet(folder.path(), 0);
    fund(&chain, &address, 1_000 * SOL);
    let options = BoxOptions { rpc: proxy.url.clone(), ..BoxOptions::new(folder.path(), &wallet) };
    let options = options.set("MAX_BATCH_SIZE", "10").set("BATCH_DELAY_MS", "100").set("PACING", pacing);
    let office = options.start().await;
    let calls = |office: &TestBox| office.app.chain.calls().values().sum::<u64>();
    let (before, began) = (calls(&office), Instant::now());
    let result = office.mint("v", &tickets("t", count)).await;
    let seconds = began.elapsed().as_secs_f64();
    let batch = office.app.store.batch(result["batchId"].as_str().unwrap().into()).await.unwrap().unwrap();
    let signed = office.app.store.retries_of(batch.id).await.unwrap();
    let (sends, distinct) = (proxy.count("sendTransaction"), sent.lock().unwrap().len());
    let per_transaction = count as f64 / (signed.transactions - signed.signed_again) as f64;
    let ceiling = limit as f64 * per_transaction;
    let line = format!(
        "{limit} sends/s, Retry-After {}: {count} tickets in {seconds:.1} s = {:.1} tickets/s, {:.0} % of the ceiling of {ceiling:.0} \
         ({per_transaction:.2} tickets in a transaction); {} failed, {} turned away, {} sent again, {} signed again, {:.2} RPC calls \
         per ticket; allowed in the end: {:.1}/s",
        retry_after.unwrap_or("-"),
        count as f64 / seconds,
        count as f64 / seconds / ceiling * 100.0,
        result["summary"]["failed"],
        proxy.limited(),
        sends - proxy.limited() - distinct.min(sends - proxy.limited()),
        signed.signed_again,
        (calls(&office) - before) as f64 / count as f64,
        office.app.minter.allowed_rate(),
    );
    assert_eq!(result["summary"]["succeeded"], count, "{}", result["failed"]);
    assert_eq!(nfts_of(chain.rpc_url(), &office.app.authority).await, count, "one NFT for each ticket");
    office.finish().await;
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pace_finds_what_a_plan_allows() {
    println!("{}", measure(20, Some("1"), 40, "adaptive").await);
}

/// A measurement, by hand and in a release build: with `BOXOFFICE_TEST_PLANS=5,20` plans by their sends a second, with
/// `BOXOFFICE_TEST_TICKETS` so many tickets for each, with `BOXOFFICE_TEST_PACING=fixed` the other pace.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of ten minutes"]
async fn what_a_plan_allows() {
    let setting = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.into());
    let count = setting("BOXOFFICE_TEST_TICKETS", "1000").parse().unwrap();
    let pacing = setting("BOXOFFICE_TEST_PACING", "adaptive");
    for limit in setting("BOXOFFICE_TEST_PLANS", "5,20,100").split(',') {
        for retry_after in [Some("1"), None] {
            println!("{}", measure(limit.parse().unwrap(), retry_after, count, &pacing).await);
        }
    }
}
