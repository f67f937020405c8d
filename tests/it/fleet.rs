//! Several boxes with one wallet and one Redis, and one box whose Redis comes and goes.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    ipfs::{Deed, Ipfs},
    redis::RedisServer,
    *,
};

async fn start(folder: &Path, wallet: &Path, redis: &RedisServer) -> TestBox {
    BoxOptions::new(folder, wallet).set("REDIS_ENABLED", "true").set("REDIS_URL", redis.url()).start().await
}

fn signatures(result: &Value) -> BTreeMap<String, String> {
    let successful = result["successful"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    successful.iter().map(|ticket| (text(&ticket["ticketId"]), text(&ticket["signature"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_boxes_with_one_wallet_mint_each_ticket_once_and_answer_alike() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let (key_file, address) = wallet(folder.path(), 100 * SOL);
    let (a_folder, b_folder) = (folder.path().join("a"), folder.path().join("b"));
    let (a, b) = (start(&a_folder, &key_file, &redis).await, start(&b_folder, &key_file, &redis).await);
    // 100 tickets, 60 of them in both batches, at once.
    let all = tickets("F", 100);
    let (of_a, of_b) = tokio::join!(a.mint("v", &all[..80]), b.mint("v", &all[20..]));
    let (of_a, of_b) = (signatures(&of_a), signatures(&of_b));
    assert_eq!((of_a.len(), of_b.len()), (80, 80));
    assert_eq!(nfts_of(chain().rpc_url(), &address).await, 100);
    let both: Vec<_> = of_a.iter().filter(|(ticket, _)| of_b.contains_key(*ticket)).collect();
    assert_eq!(both.len(), 60);
    assert!(both.into_iter().all(|(ticket, signature)| of_b[ticket] == *signature));
    // Either box, asked for everything, answers what the other one minted.
    let (of_a, of_b) = tokio::join!(a.mint("v", &all), b.mint("v", &all));
    assert_eq!(signatures(&of_a), signatures(&of_b));
    assert_eq!(nfts_of(chain().rpc_url(), &address).await, 100);
    for office in [&a, &b] {
        // Both know the transaction that won, and its slot.
        let (_, summary) = office.post("/admin/reconcile/v", &json!({})).await;
        assert_eq!(
            (&summary["confirmed"], &summary["discrepancyCount"]),
            (&json!(100), &json!(0)),
            "{:.2000}",
            summary.to_string()
        );
    }
    // One of them leads, and hands over when it stops.
    let leads = async |office: &TestBox| office.get("/admin/system/status").await.1["scheduler"]["leads"] == true;
    until(async || leads(&a).await != leads(&b).await).await;
    let (first, second) = if leads(&a).await { (a, b) } else { (b, a) };
    first.finish().await;
    until(async || leads(&second).await).await;
    second.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_box_has_published_the_other_looks_up() {
    let redis = RedisServer::start(&[]);
    let ipfs = Ipfs::start(|_| Deed::Well).await;
    let folder = tempfile::tempdir().unwrap();
    let (key_file, address) = wallet(folder.path(), 100 * SOL);
    let start = async |name: &str| {
        let options = BoxOptions::new(&folder.path().join(name), &key_file);
        let mut options = options.set("REDIS_ENABLED", "true").set("REDIS_URL", redis.url());
        options.settings.extend(ipfs.kubo());
        options.start().await
    };
    let (a, b) = (start("a").await, start("b").await);
    let minted = signatures(&a.mint("v", &tickets("P", 20)).await);
    let key = boxoffice::cache::TicketKey::new("v", "P-19");
    until(async || b.app.cache.published_uris(std::slice::from_ref(&key)).await[0].is_some()).await;
    // The other box has neither books nor content of them. All it sends is the picture, which is no ticket's.
    let sent = ipfs.stored().len();
    assert_eq!(signatures(&b.mint("v", &tickets("P", 20)).await), minted);
    assert_eq!(ipfs.stored().len(), sent);
    assert!(ipfs.stored().values().filter(|stored| stored.uploads > 1).count() <= 1, "{:?}", ipfs.stored().len());
    let (_, stats) = b.get("/admin/cache/stats").await;
    assert!(stats["uploads"]["files"].as_u64().unwrap() <= 1, "{stats}");
    assert_eq!(nfts_of(chain().rpc_url(), &address).await, 20);
    a.finish().await;
    b.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boxes_count_requests_together() {
    let mut redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let (key_file, _) = wallet(folder.path(), SOL);
    let (a_folder, b_folder) = (folder.path().join("a"), folder.path().join("b"));
    let start = async |folder: &Path| {
        let options = BoxOptions::new(folder, &key_file).set("REDIS_ENABLED", "true").set("REDIS_URL", redis.url());
        options.set("RATE_LIMIT_READ_MAX", "6").start().await
    };
    let (a, b) = (start(&a_folder).await, start(&b_folder).await);
    let mut answers = Vec::new();
    for office in [&a, &b, &a, &b, &a, &b, &a, &b] {
        answers.push(office.get("/admin/dashboard").await.0.as_u16());
    }
    assert_eq!(answers, [200, 200, 200, 200, 200, 200, 429, 429]);
    // Without Redis each counts for itself again.
    redis.kill();
    assert_eq!(a.get("/admin/dashboard").await.0, 200);
    a.finish().await;
    b.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_and_goes_is_not_felt() {
    let mut redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let (key_file, address) = wallet(folder.path(), 100 * SOL);
    let office = start(folder.path(), &key_file, &redis).await;
    let done = AtomicBool::new(false);
    let minting = async {
        let result = office.mint("v", &tickets("C", 1_000)).await;
        done.store(true, Ordering::Release);
        result
    };
    let trouble = async {
        let mut rounds = 0_u32;
        while !done.load(Ordering::Acquire) || rounds < 3 {
            tokio::task::block_in_place(|| match rounds % 3 {
                0 => redis.pause(),
                1 => redis.kill(),
                _ => drop(redis.cli(&["CONFIG", "SET", "maxmemory", "1mb"])),
            });
            tokio::time::sleep(Duration::from_millis(300)).await;
            tokio::task::block_in_place(|| match rounds % 3 {
                0 => redis.resume(),
                1 => redis.restart(),
                _ => drop(redis.cli(&["CONFIG", "SET", "maxmemory", "0"])),
            });
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            rounds += 1;
        }
        rounds
    };
    let (result, rounds) = tokio::join!(minting, trouble);
    assert!(rounds >= 3);
    assert_eq!(result["summary"]["succeeded"], 1_000, "{}", result["summary"]);
    assert_eq!(nfts_of(chain().rpc_url(), &address).await, 1_000);
    // It is there again by itself, and says so; and it knows what comes now.
    let metrics = office.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("\nboxoffice_redis_connected "), "{metrics}");
    until(async || office.get("/admin/system/status").await.1["cache"]["connected"] == true).await;
    office.mint("v", &tickets("D", 1)).await;
    let key = boxoffice::cache::TicketKey::new("v", "D-0");
    until(async || office.app.cache.signatures(std::slice::from_ref(&key)).await[0].is_some()).await;
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_from_redis_mints_nothing_twice_and_nothing_wrong() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let (key_file, address) = wallet(folder.path(), 100 * SOL);
    let first = start(&folder.path().join("a"), &key_file, &redis).await;
    let minted = signatures(&first.mint("v", &tickets("G", 6)).await);
    let key = boxoffice::cache::TicketKey::new("v", "G-5");
    until(async || first.app.cache.signatures(std::slice::from_ref(&key)).await[0].is_some()).await;
    first.finish().await;
    // What the cache says of every ticket is made wrong in another way.
    let found = redis.cli(&["--scan", "--pattern", "*:signature"]);
    let mut keys: Vec<&str> = found.lines().collect();
    keys.sort_unstable();
    assert_eq!(keys.len(), 6);
    redis.cli(&["SET", keys[0], "garbage"]);
    redis.cli(&["SET", keys[1], "\"not base58\""]);
    redis.cli(&["SET", keys[2], &format!("\"{}\"", solana_signature::Signature::from([7; 64]))]);
    redis.cli(&["DEL", keys[3]]);
    redis.cli(&["LPUSH", keys[3], "x"]);
    // That of another ticket, which has landed too.
    redis.cli(&["COPY", keys[5], keys[4], "REPLACE"]);
    // A box with books of its own adopts all of them, and writes down what the chain says.
    let second = start(&folder.path().join("b"), &key_file, &redis).await;
    assert_eq!(signatures(&second.mint("v", &tickets("G", 6)).await), minted);
    assert_eq!(nfts_of(chain().rpc_url(), &address).await, 6);
    second.finish().await;
}

/// Tickets a second with a Redis that is there, away, held, or comes and goes, in one run.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn speed_with_and_without_redis() {
    const COUNT: usize = 1_000;
    for kind in ["none", "up", "down", "paused", "flapping", "none again"] {
        let mut redis = RedisServer::start(&[]);
        let folder = tempfile::tempdir().unwrap();
        // A chain of its own: one that holds thousands of tickets already is slower.
        let own = start_chain(SLOT_MS);
        let (key_file, address) = wallet(folder.path(), 0);
        fund(&own, &address, 100 * SOL);
        let mut options = BoxOptions::new(folder.path(), &key_file);
        options.rpc = own.rpc_url().clone();
        if !kind.starts_with("none") {
            options = options.set("REDIS_ENABLED", "true").set("REDIS_URL", redis.url());
        }
        let office = options.start().await;
        let began = std::time::Instant::now();
        let minting = async {
            let result = office.mint("v", &tickets(kind, COUNT)).await;
            assert_eq!(result["summary"]["succeeded"], COUNT);
            began.elapsed().as_secs_f64()
        };
        let trouble = async {
            match kind {
                "down" => redis.kill(),
                "paused" => redis.pause(),
                "flapping" => loop {
                    redis.pause();
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    redis.resume();
                    tokio::time::sleep(Duration::from_millis(700)).await;
                },
                _ => {}
            }
            std::future::pending::<()>().await;
        };
        let seconds = tokio::select! {
            seconds = minting => seconds,
            () = trouble => unreachable!(),
        };
        println!("Redis {kind}: {:.0} tickets/s", COUNT as f64 / seconds);
        office.finish().await;
    }
}

/// Over TLS, with a certificate of an authority that the system is told of, and not otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn redis_is_reached_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (key_file, _) = wallet(folder.path(), SOL);
    let certificate = std::process::Command::new("openssl")
        .args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost".split(' '),
        )
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(folder.path())
        .output()
        .expect("this test needs openssl; tests/run installs it");
    assert!(certificate.status.success(), "{}", stderr(&certificate));
    let file = |name: &str| folder.path().join(name).display().to_string();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (cert, key) = (file("certificate.pem"), file("key.pem"));
    let _redis = RedisServer::start(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
    ]);
    let said = |trusted: &str| {
        let url = format!("rediss://localhost:{port}");
        let environment = [
            ("NETWORK", "localnet"),
            ("SOLANA_RPC_URLS", chain().rpc_url().as_str()),
            ("WALLET_PATH", key_file.to_str().unwrap()),
            ("DATA_DIR", &file("data")),
            ("REDIS_ENABLED", "true"),
            ("REDIS_URL", &url),
            ("SSL_CERT_FILE", trusted),
        ];
        stdout(&run(folder.path(), &["cache", "stats"], &environment))
    };
    assert!(said(&cert).starts_with("redis: answers"), "{}", said(&cert));
    assert!(said("/etc/ssl/certs/ca-certificates.crt").starts_with("redis: does not answer"));
}
