//! Who is let in, and how often: keys, roles, addresses, limits, and the trail that all of it leaves.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::*;

/// Makes a key as an operator does, beside the running box.
#[tokio::test(flavor = "multi_thread")]
async fn named_keys_have_roles_and_can_be_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let mut office = TestBox::new(folder.path()).await;
    assert_eq!(office.get("/admin/mints").await.0, StatusCode::OK, "without any key, this machine is let in");
    let screen = create_key(&office, folder.path(), "screen", "read");
    assert_eq!(office.get("/admin/mints").await.0, StatusCode::UNAUTHORIZED, "the first key closes the box");
    let door = create_key(&office, folder.path(), "door", "operate");
    assert!(screen.starts_with("boxoffice_") && screen.len() > 50 && screen != door);

    let body = json!({ "venueId": "v", "tickets": tickets("t", 1) });
    office.key = Some(screen.clone());
    assert_eq!(office.get("/admin/dashboard").await.0, StatusCode::OK);
    let (status, problem) = office.post("/admin/batch-mint", &body).await;
    assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("forbidden")));
    office.key = Some(door.clone());
    assert_eq!(office.post("/admin/batch-mint", &body).await.0, StatusCode::OK);

    let twice = run(folder.path(), &["key", "create", "door", "--role", "read"], &environment(&office));
    assert_fails(&twice, 1, &["there is or was a key named door", "choose another name"]);
    for name in ["local", "admin_api_key", "Command line", ""] {
        assert_eq!(
            run(folder.path(), &["key", "create", name, "--role", "read"], &environment(&office)).status.code(),
            Some(1)
        );
    }
    let unknown_role = run(folder.path(), &["key", "create", "x", "--role", "admin"], &environment(&office));
    assert_fails(&unknown_role, 2, &["must be read (look at everything, change nothing) or operate (everything)"]);
    let list = run(folder.path(), &["key", "list", "--json"], &environment(&office));
    let keys: Value = serde_json::from_str(&stdout(&list)).unwrap();
    assert_eq!((&keys[0]["name"], &keys[0]["role"]), (&json!("screen"), &json!("read")));
    assert!(!stdout(&list).contains(&door) && !stdout(&list).contains(&screen));
    assert!(run(folder.path(), &["key", "revoke", "door"], &environment(&office)).status.success());
    assert_eq!(office.get("/admin/mints").await.0, StatusCode::UNAUTHORIZED, "at once");
    assert_fails(
        &run(folder.path(), &["key", "revoke", "door"], &environment(&office)),
        1,
        &["no key in force is named door"],
    );
    assert!(run(folder.path(), &["key", "revoke", "screen"], &environment(&office)).status.success());
    office.key = None;
    assert_eq!(office.get("/admin/mints").await.0, StatusCode::UNAUTHORIZED, "no key left opens nothing");

    // Only digests are in the books.
    let books = std::fs::read(folder.path().join("data/boxoffice.db")).unwrap();
    let wal = std::fs::read(folder.path().join("data/boxoffice.db-wal")).unwrap_or_default();
    for bytes in [books, wal] {
        for key in [&screen, &door] {
            assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()));
        }
    }
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_ends_its_event_stream() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 10 * SOL);
    // One ticket a minute: the batch does not end by itself.
    let options = BoxOptions::new(folder.path(), &wallet).set("MAX_BATCH_SIZE", "1").set("BATCH_DELAY_MS", "60000");
    let mut office = options.start().await;
    let screen = create_key(&office, folder.path(), "screen", "read");
    office.key = Some(create_key(&office, folder.path(), "door", "operate"));
    let body = json!({ "venueId": "v", "tickets": tickets("t", 20) });
    let begun = office.request(Method::POST, "/admin/batch-mint").header("prefer", "respond-async").json(&body);
    let begun = begun.send().await.unwrap();
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    office.key = Some(screen);
    let path = format!("{}/events", begun.headers()["location"].to_str().unwrap());
    let mut stream = office.request(Method::GET, &path).send().await.unwrap();
    assert!(stream.chunk().await.unwrap().is_some());
    assert!(run(folder.path(), &["key", "revoke", "screen"], &environment(&office)).status.success());
    let ended = async { while stream.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
    office.abandon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_is_in_the_audit_trail() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), 10 * SOL);
    let office = BoxOptions::new(folder.path(), &wallet).set("ADMIN_API_KEY", "0123456789abcdef").start().await;
    let body = json!({ "venueId": "venue-123", "tickets": tickets("t", 2) });
    let request = office.request(Method::POST, "/admin/batch-mint").header("x-request-id", "mine-1");
    assert_eq!(answer(request.json(&body)).await.0, StatusCode::OK);
    office.post("/admin/batch-mint", &json!({ "venueId": "" })).await;
    let request = office.request(Method::POST, "/admin/batch-mint?dryRun=true");
    assert_eq!(answer(request.json(&body)).await.0, StatusCode::OK);
    let (status, trail) = office.get("/admin/audit").await;
    assert_eq!(status, StatusCode::OK);
    let entries = trail["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 3, "{trail}");
    assert_eq!(entries[0]["action"], "POST /admin/batch-mint");
    assert!(entries[0]["outcome"].as_str().unwrap().starts_with("dry run for venue-123"), "{trail}");
    assert_eq!(entries[1]["status"], 422);
    let minted = &entries[2];
    for (name, wanted) in [
        ("actor", "ADMIN_API_KEY"),
        ("client", "127.0.0.1"),
        ("action", "POST /admin/batch-mint"),
        ("requestId", "mine-1"),
    ] {
        assert_eq!(minted[name], wanted, "{trail}");
    }
    assert!(minted["outcome"].as_str().unwrap().contains("for venue-123: 2 tickets, 2 of them new"), "{trail}");
    assert!(!trail.to_string().contains("0123456789abcdef"));
    let page = office.get("/admin/audit?limit=1").await.1;
    let next = office.get(&format!("/admin/audit?limit=1&cursor={}", page["nextCursor"].as_str().unwrap())).await.1;
    assert_eq!(next["entries"][0], entries[1]);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_addresses_come_in_and_only_trusted_proxies_speak_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), SOL);
    let office = BoxOptions::new(folder.path(), &wallet)
        .set("ADMIN_API_KEY", "0123456789abcdef")
        .set("ALLOWED_IPS", "10.0.0.0/8, 2001:db8::/32")
        .set("TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    let from = async |forwarded: &str| {
        let request = office.request(Method::GET, "/admin/mints").header("x-forwarded-for", forwarded);
        answer(request).await.0
    };
    assert_eq!(from("10.1.2.3").await, StatusCode::OK);
    assert_eq!(from("2001:db8::1").await, StatusCode::OK);
    assert_eq!(from("203.0.113.9").await, StatusCode::FORBIDDEN);
    // What a client puts in front of what the proxy wrote counts for nothing.
    assert_eq!(from("10.1.2.3, 203.0.113.9").await, StatusCode::FORBIDDEN);
    assert_eq!(from("nonsense").await, StatusCode::FORBIDDEN);
    for header in ["x-real-ip", "forwarded", "x-client-ip", "true-client-ip", "cf-connecting-ip"] {
        let request = office.request(Method::GET, "/admin/mints").header(header, "10.1.2.3");
        assert_eq!(answer(request).await.0, StatusCode::FORBIDDEN, "{header}");
    }
    assert_eq!(office.get("/health").await.0, StatusCode::OK, "health is for everyone");
    let metrics = office.request(Method::GET, "/metrics").header("x-forwarded-for", "203.0.113.9");
    assert_eq!(metrics.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    office.finish().await;

    // A proxy that does not say for whom it speaks may speak for anyone.
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = crate::support::wallet(folder.path(), SOL);
    let options = BoxOptions::new(folder.path(), &wallet).set("ADMIN_API_KEY", "0123456789abcdef");
    let options = options.set("ALLOWED_IPS", "127.0.0.1, 10.0.0.0/8");
    let mut office = options.set("TRUSTED_PROXIES", "127.0.0.1").start().await;
    office.key = None;
    for (forwarded, wanted) in
        [(None, 401), (Some("nonsense"), 401), (Some("203.0.113.9"), 403), (Some("10.1.2.3:5"), 200)]
    {
        let mut request = office.request(Method::GET, "/metrics");
        if let Some(forwarded) = forwarded {
            request = request.header("x-forwarded-for", forwarded);
        }
        assert_eq!(request.send().await.unwrap().status(), wanted, "{forwarded:?}");
    }
    office.finish().await;

    // Without a trusted proxy the header is noise.
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = crate::support::wallet(folder.path(), SOL);
    let office = BoxOptions::new(folder.path(), &wallet).set("ALLOWED_IPS", "10.0.0.0/8").start().await;
    let request = office.request(Method::GET, "/admin/mints").header("x-forwarded-for", "10.1.2.3");
    assert_eq!(answer(request).await.0, StatusCode::FORBIDDEN);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_strangers_can_reach_needs_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), SOL);
    for (name, value) in [("HOST", "0.0.0.0"), ("TRUSTED_PROXIES", "127.0.0.1")] {
        let config = BoxOptions::new(folder.path(), &wallet).set(name, value).config();
        let refused = boxoffice::app::App::start(config).await.unwrap_err().to_string();
        assert!(refused.contains(name) && refused.contains("boxoffice key create"), "{refused}");
    }
    let environment = [
        ("NETWORK", "localnet"),
        ("WALLET_PATH", "wallet.json"),
        ("DATA_DIR", "data"),
        ("SOLANA_RPC_URLS", chain().rpc_url().as_str()),
    ];
    assert!(run(folder.path(), &["key", "create", "door", "--role", "operate"], &environment).status.success());
    let office = BoxOptions::new(folder.path(), &wallet).set("HOST", "0.0.0.0").start().await;
    assert_eq!(office.get("/admin/mints").await.0, StatusCode::UNAUTHORIZED);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_behind_a_proxy_that_is_not_named_are_not_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    for (header, value) in [("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.9"), ("via", "1.1 nginx")]
    {
        for path in ["/admin/mints", "/metrics"] {
            let request = office.request(Method::GET, path).header(header, value);
            assert_eq!(request.send().await.unwrap().status(), StatusCode::FORBIDDEN, "{header} {path}");
        }
    }
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_ask_too_often_are_told_when_to_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), SOL);
    let mut office = BoxOptions::new(folder.path(), &wallet)
        .set("ADMIN_API_KEY", "0123456789abcdef")
        .set("RATE_LIMIT_MAX", "10")
        .set("RATE_LIMIT_READ_MAX", "20")
        .start()
        .await;
    let wrong = json!({ "venueId": "" });
    for _ in 0..10 {
        assert_eq!(office.post("/admin/batch-mint", &wrong).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let response = office.request(Method::POST, "/admin/batch-mint").json(&wrong).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let seconds: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=7).contains(&seconds), "{seconds}");
    let problem: Value = response.json().await.unwrap();
    assert_eq!((&problem["code"], &problem["retryable"]), (&json!("too_many_requests"), &json!(true)));
    // Reads have their own, larger budget.
    for _ in 0..20 {
        assert_eq!(office.get("/admin/mints").await.0, StatusCode::OK);
    }
    assert_eq!(office.get("/admin/mints").await.0, StatusCode::TOO_MANY_REQUESTS);

    // Ten wrong keys are looked at; then none, the right one neither, so that guessing gets nowhere.
    office.key = Some("wrong".into());
    let mut seen = Vec::new();
    for _ in 0..13 {
        seen.push(office.get("/admin/audit").await.0);
    }
    assert_eq!(seen[..10], [StatusCode::UNAUTHORIZED; 10]);
    assert_eq!(seen[11..], [StatusCode::FORBIDDEN; 2]);
    // A right one that was in use there goes on; one that is new there waits.
    office.key = Some("0123456789abcdef".into());
    let (_, limited) = office.post("/admin/batch-mint", &wrong).await;
    assert!(limited["detail"].as_str().unwrap().contains("RATE_LIMIT_MAX"), "{limited}");
    let fresh = create_key(&office, folder.path(), "fresh", "read");
    office.key = Some(fresh);
    assert_eq!(office.get("/admin/audit").await.0, StatusCode::FORBIDDEN);
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_answered_alike() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let send = async |header: &str, key: &str, tickets: Vec<Value>| {
        let request = office.request(Method::POST, "/admin/batch-mint").header(header, key);
        let response = request.json(&json!({ "venueId": "v", "tickets": tickets })).send().await.unwrap();
        let replayed = response.headers().contains_key("idempotent-replayed");
        (response.status(), replayed, response.json::<Value>().await.unwrap())
    };
    let first = send("idempotency-key", "k-1", tickets("t", 3)).await;
    assert_eq!((first.0, first.1), (StatusCode::OK, false));
    for header in ["idempotency-key", "x-idempotency-key"] {
        let again = send(header, "k-1", tickets("t", 3)).await;
        assert_eq!((again.0, again.1, &again.2), (StatusCode::OK, true, &first.2));
    }
    let (status, _, problem) = send("idempotency-key", "k-1", tickets("t", 4)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("idempotency_key_reused")));
    let (status, _, problem) = send("idempotency-key", &"k".repeat(256), tickets("t", 1)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_idempotency_key")));
    // What failed may be tried again.
    assert_eq!(send("idempotency-key", "k-2", vec![]).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(send("idempotency-key", "k-2", tickets("u", 1)).await.0, StatusCode::OK);
    // What was only begun is not the answer: a client that wanted to wait gets the result, one that did not the same again.
    let body = json!({ "venueId": "v", "tickets": tickets("x", 3) });
    let request = || office.request(Method::POST, "/admin/batch-mint").header("idempotency-key", "k-4").json(&body);
    let begun = request().header("prefer", "respond-async").send().await.unwrap();
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    let again = request().header("prefer", "respond-async").send().await.unwrap();
    assert_eq!(
        (again.status(), again.headers().get("location")),
        (StatusCode::ACCEPTED, begun.headers().get("location"))
    );
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    // Two at once: one is carried out, the other is told so or answered alike.
    let (a, b) = tokio::join!(
        send("idempotency-key", "k-3", tickets("w", 40)),
        send("idempotency-key", "k-3", tickets("w", 40))
    );
    let mut both = [a, b];
    both.sort_by_key(|(status, ..)| *status);
    assert_eq!((both[0].0, both[1].0), (StatusCode::OK, StatusCode::CONFLICT));
    assert_eq!(both[1].2["code"], "request_in_flight");
    assert_eq!(office.get("/admin/batches").await.1["batches"].as_array().unwrap().len(), 4, "one batch for each key");
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let body = json!({ "venueId": "v", "tickets": tickets("t", 60) }).to_string();
    let head = format!(
        "POST /admin/batch-mint HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        office.url.authority(),
        body.len()
    );
    let mut stream = TcpStream::connect(office.url.authority()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    until(async || !office.get("/admin/batches").await.1["batches"].as_array().unwrap().is_empty()).await;
    drop(stream);
    until(async || office.get("/admin/batches").await.1["batches"][0]["state"] == "finished").await;
    assert_eq!(office.get("/admin/batches").await.1["batches"][0]["summary"]["succeeded"], 60);
    until(async || office.get("/admin/audit").await.1["entries"][0]["status"] == 200).await;
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bodies_and_paths_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (wallet, _) = wallet(folder.path(), SOL);
    let office = BoxOptions::new(folder.path(), &wallet).set("ADMIN_API_KEY", "0123456789abcdef").start().await;
    let post = || office.request(Method::POST, "/admin/batch-mint").header("content-type", "application/json");
    // Deep nesting is cut off by the parser, not by the stack; inside a ticket it fails that ticket alone.
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let (status, answered) = answer(post().body(format!("{{\"venueId\":\"v\",\"tickets\":[{deep}]}}"))).await;
    assert_eq!((status, &answered["failed"][0]["code"]), (StatusCode::OK, &json!("invalid_ticket")));
    assert_eq!(answer(post().body(deep)).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    // 100 MB are read and thrown away; with a length or without one, the answer arrives.
    let (status, problem) = answer(post().body(vec![b' '; 100 * 1024 * 1024])).await;
    assert_eq!((status, &problem["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("body_too_large")));
    // A ticket of two million faults has one.
    let fields: Vec<String> = (0..200_000).map(|n| format!("\"f{n}\":0")).collect();
    let wild = format!("{{\"venueId\":\"v\",\"tickets\":[{{{}}}]}}", fields.join(","));
    let (status, answered) = answer(post().body(wild)).await;
    assert_eq!(status, StatusCode::OK);
    assert!(answered["failed"][0]["error"].as_str().unwrap().contains("bytes long as JSON"), "{answered}");
    let wild = format!("{{{}}}", fields.join(","));
    let (_, problem) = answer(post().body(wild)).await;
    assert_eq!(problem["errors"].as_array().unwrap().len(), 21);
    assert!(problem.to_string().len() < 8_000);
    for path in ["..%2f..%2fetc%2fpasswd", "%00", "%ff", "a%2fb", "'; DROP TABLE mints; --"] {
        for (route, statuses) in
            [("/ipfs/", [404, 400]), ("/admin/mints/", [404, 400]), ("/admin/batches/", [404, 400])]
        {
            let status = office.get(&format!("{route}{path}")).await.0.as_u16();
            assert!(statuses.contains(&status), "{route}{path}: {status}");
        }
    }
    // Another web site gets nothing to read, and nothing is done for it.
    let preflight = office
        .request(Method::OPTIONS, "/admin/batch-mint")
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "POST");
    let response = preflight.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(!response.headers().keys().any(|name| name.as_str().starts_with("access-control")));
    for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("origin", "null")] {
        let body = json!({ "venueId": "v", "tickets": tickets("t", 1) });
        assert_eq!(answer(post().header(name, value).json(&body)).await.0, StatusCode::FORBIDDEN, "{name}: {value}");
    }
    // Ids that could forge a log line are replaced.
    let forged = office.request(Method::GET, "/health").header("x-request-id", "a\" level=\"ERROR");
    let id = forged.send().await.unwrap().headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(id.len(), 36, "{id}");
    let response = office.request(Method::GET, "/admin/mints").send().await.unwrap();
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    assert_eq!(office.get("/admin/mints").await.1["mints"], json!([]));
    office.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_heads_are_refused_and_answers_are_compressed() {
    let folder = tempfile::tempdir().unwrap();
    let office = TestBox::new(folder.path()).await;
    let large = office.request(Method::GET, "/health").header("x-filler", "x".repeat(64 * 1024)).send().await.unwrap();
    assert_eq!(large.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let mut stream = TcpStream::connect(office.url.authority()).await.unwrap();
    let request = format!(
        "GET /openapi.json HTTP/1.1\r\nhost: {}\r\naccept-encoding: gzip\r\nconnection: close\r\n\r\n",
        office.url.authority()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let head = String::from_utf8_lossy(&answer[..600]).to_lowercase();
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let plain = office.request(Method::GET, "/openapi.json").send().await.unwrap().bytes().await.unwrap();
    assert!(answer.len() * 3 < plain.len(), "{} of {}", answer.len(), plain.len());
    office.finish().await;
}

#[test]
fn logs_hold_one_line_for_each_request_and_no_secrets() {
    let folder = tempfile::tempdir().unwrap();
    wallet(folder.path(), SOL);
    let mut command = boxoffice(folder.path());
    command.arg("serve").envs([
        ("NETWORK", "localnet"),
        ("WALLET_PATH", "wallet.json"),
        ("DATA_DIR", "data"),
        ("PORT", "0"),
        ("ADMIN_API_KEY", "correct-horse-battery"),
        ("LOG_FORMAT", "json"),
        ("SOLANA_RPC_URLS", &format!("{}?api-key=hunter2", chain().rpc_url())),
    ]);
    let mut server = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(server.stderr.take().unwrap()));
    let port: u16 = lines
        .by_ref()
        .find_map(|line| line.unwrap().strip_prefix("Listening on http://127.0.0.1:").map(|port| port.parse().unwrap()))
        .unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::new();
        let url = format!("http://127.0.0.1:{port}/admin");
        let key = ("x-admin-api-key", "correct-horse-battery");
        let body = json!({ "venueId": "v", "tickets": tickets("t", 2) });
        client.post(format!("{url}/batch-mint")).header(key.0, key.1).json(&body).send().await.unwrap();
        client
            .get(format!("{url}/mints?key=correct-horse-battery"))
            .header(key.0, "wrong-secret")
            .send()
            .await
            .unwrap();
    });
    let pid = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let log: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(server.wait().unwrap().success());
    let text = log.join("\n");
    for secret in ["correct-horse", "wrong-secret", "hunter2"] {
        assert!(!text.contains(secret), "{text}");
    }
    let entries: Vec<Value> = log.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    let of = |message: &str| entries.iter().filter(|entry| entry["message"] == message).collect::<Vec<_>>();
    let answered = of("answered");
    assert_eq!(answered.len(), 2, "{text}");
    assert_eq!(
        (&answered[0]["status"], &answered[1]["status"], &answered[1]["code"]),
        (&json!(200), &json!(401), &json!("unauthorized"))
    );
    assert_eq!(answered[0]["span"]["path"], "/admin/batch-mint");
    assert_eq!((of("batch accepted").len(), of("batch finished").len()), (1, 1), "{text}");
    assert_eq!(of("batch finished")[0]["succeeded"], 2);
}
