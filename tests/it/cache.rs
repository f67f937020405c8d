//! The cache: one suite for both places where it may live, and what becomes of the box when Redis does not do as it should.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use boxoffice::{
    cache::{Cache, Caching, TicketKey},
    store::StoreError,
};
use futures_util::future::join_all;
use prometheus::Registry;

use crate::support::until;

const MINUTE: Duration = Duration::from_mins(1);

fn caching(cache: Cache) -> Caching {
    Caching::new(cache, "here", &Registry::new()).unwrap()
}

fn keys(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What every cache does.
async fn conforms(cache: &Caching) {
    // Values, and the lack of them, in the order asked for.
    assert_eq!(cache.get::<String>("a").await, None);
    assert!(cache.set("a", &"one", MINUTE).await);
    assert!(cache.set_many([("b".to_owned(), 2, MINUTE), ("ü/*?[x]".to_owned(), 3, MINUTE)]).await);
    assert_eq!(cache.get::<String>("a").await.as_deref(), Some("one"));
    let found = cache.get_many::<u32>(&keys(&["ü/*?[x]", "none", "b"])).await;
    assert_eq!(found, [Some(3), None, Some(2)]);
    assert!(cache.set("a", &"two", MINUTE).await);
    assert_eq!(cache.get::<String>("a").await.as_deref(), Some("two"));
    // What cannot be read as what it should be is nothing, and can be replaced.
    assert_eq!(cache.get::<u32>("a").await, None);
    assert_eq!(cache.stats().await.errors, 1);
    let stats = cache.stats().await;
    assert_eq!((stats.hits, stats.misses, stats.keys, stats.connected), (4, 3, Some(3), true));
    assert!((stats.hit_rate() - 57.14).abs() < 0.001, "{}", stats.hit_rate());

    // Each for its time.
    cache.set("short", &1, Duration::from_millis(300)).await;
    cache.set("long", &1, MINUTE).await;
    assert_eq!(cache.get::<u32>("short").await, Some(1));
    until(async || cache.get::<u32>("short").await.is_none()).await;
    assert_eq!(cache.get::<u32>("long").await, Some(1));

    // More than one message holds.
    let many: Vec<String> = (0..2_500).map(|number| format!("many-{number}")).collect();
    assert!(cache.set_many(many.iter().map(|key| (key.clone(), key.clone(), MINUTE))).await);
    let found = cache.get_many::<String>(&many).await;
    assert!(many.iter().zip(&found).all(|(key, found)| found.as_ref() == Some(key)));

    tickets(cache).await;
    flights(cache).await;

    // Everything at once.
    let kept = cache.stats().await.keys.unwrap();
    assert!(kept > 2_500, "{kept}");
    assert_eq!(cache.clear().await, Ok(kept));
    assert_eq!(cache.clear().await, Ok(0));
    assert_eq!(cache.stats().await.keys, Some(0));
    assert_eq!(cache.get::<String>("a").await, None);
}

/// What is known of tickets, and forgotten one by one.
async fn tickets(cache: &Caching) {
    let ticket = |venue, id| TicketKey::new(venue, id);
    let all = [ticket("v", "t-1"), ticket("w", "t-1"), ticket("v", "t-11"), ticket("v", "t*"), ticket("v:x", "t")];
    let remembered = all.iter().enumerate().map(|(at, key)| (key.clone(), format!("ipfs://{at}")));
    assert!(cache.remember_uris(remembered).await);
    assert!(cache.remember_signatures([(all[0].clone(), "signature".to_owned())]).await);
    let known = async || {
        let uris = cache.published_uris(&all).await;
        uris.iter().map(|uri| if uri.is_some() { 'x' } else { '-' }).collect::<String>()
    };
    assert_eq!(known().await, "xxxxx");
    assert_eq!(cache.published_uris(&all[1..2]).await, [Some("ipfs://1".to_owned())]);
    assert_eq!(cache.signatures(&all[..2]).await, [Some("signature".to_owned()), None]);
    // A ticket's name is no pattern, and another's name that begins alike is another's.
    assert_eq!(cache.forget_ticket("t*", None).await, Ok(1));
    assert_eq!(known().await, "xxx-x");
    assert_eq!(cache.forget_ticket("t-1", Some("w")).await, Ok(1));
    assert_eq!(known().await, "x-x-x");
    assert_eq!(cache.forget_ticket("t-1", None).await, Ok(2));
    assert_eq!(known().await, "--x-x");
    assert_eq!(cache.signatures(&all[..1]).await, [None]);
    assert_eq!(cache.forget_ticket("t-1", None).await, Ok(0));
}

/// Whoever asks for what is being found out waits for it.
async fn flights(cache: &Caching) {
    let made = AtomicU32::new(0);
    let find_out = async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok::<_, StoreError>(made.fetch_add(1, Ordering::SeqCst))
    };
    let asked = (0..50).map(|_| cache.get_or_set("flight", MINUTE, find_out()));
    assert!(join_all(asked).await.into_iter().all(|found| found.unwrap() == 0));
    assert_eq!(cache.get_or_set("flight", MINUTE, find_out()).await.unwrap(), 0);
    assert_eq!(made.load(Ordering::SeqCst), 1);
    // A failure is nobody else's, and is not remembered.
    let fails = async { Err::<u32, _>(StoreError::Unavailable) };
    assert!(matches!(cache.get_or_set("fails", MINUTE, fails).await, Err(StoreError::Unavailable)));
    assert_eq!(cache.get_or_set("fails", MINUTE, async { Ok::<_, StoreError>(7) }).await.unwrap(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    conforms(&caching(Cache::in_memory(64 << 20))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_by_bytes() {
    let cache = caching(Cache::in_memory(1 << 20));
    for number in 0..100 {
        cache.set(&format!("key-{number}"), &"x".repeat(100_000), MINUTE).await;
    }
    let stats = cache.stats().await;
    assert!(stats.bytes.unwrap() <= 1 << 20, "{stats:?}");
    assert!((1..=10).contains(&stats.keys.unwrap()), "{stats:?}");
    // What is larger than everything is not kept.
    assert!(!cache.set("huge", &"x".repeat(2 << 20), MINUTE).await);
    cache.stats().await;
    assert_eq!(cache.get::<String>("huge").await, None);
}

#[cfg(feature = "redis")]
mod redis {
    use std::time::Instant;

    use boxoffice::fleet::{Claim, Quota};

    use super::*;
    use crate::support::redis::RedisServer;

    fn in_redis(fleet: boxoffice::fleet::Fleet) -> Cache {
        Cache::in_redis(fleet, [7; 32])
    }

    async fn shared(server: &RedisServer, id: &str) -> Caching {
        caching(in_redis(server.fleet(id).await))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn redis_conforms() {
        let server = RedisServer::start(&[]);
        server.cli(&["SET", "somebody:else", "1"]);
        server.cli(&["SET", "test:box", "1"]);
        server.cli(&["SET", "test:boxes:c:a", "1"]);
        conforms(&shared(&server, "a").await).await;
        // An hour, unless told otherwise.
        let cache = shared(&server, "b").await;
        cache.get_or_set("default", None, async { Ok::<_, StoreError>(1) }).await.unwrap();
        let left: u64 = server.cli(&["PTTL", "test:box:c:default"]).parse().unwrap();
        assert!((3_590_000..=3_600_000).contains(&left), "{left}");
        cache.clear().await.unwrap();
        // What others keep there is not touched, and nobody had to wait for us.
        assert_eq!(server.cli(&["DBSIZE"]), "3");
        let used = server.cli(&["INFO", "commandstats"]);
        assert!(used.contains("cmdstat_scan:") && !used.contains("cmdstat_keys:") && !used.contains("cmdstat_flush"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn two_boxes_find_out_once() {
        let server = RedisServer::start(&[]);
        let boxes = [shared(&server, "a").await, shared(&server, "b").await];
        let made = AtomicU32::new(0);
        let find_out = async || {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok::<_, StoreError>(made.fetch_add(1, Ordering::SeqCst))
        };
        let asked = (0..20).flat_map(|_| &boxes).map(|cache| cache.get_or_set("k", MINUTE, find_out()));
        assert!(join_all(asked).await.into_iter().all(|found| found.unwrap() == 0));
        assert_eq!(made.load(Ordering::SeqCst), 1);
        // A box that dies while it finds something out keeps the others waiting only so long.
        server.cli(&["SET", "test:box:flight:dead", "somebody", "PX", "300"]);
        assert_eq!(boxes[0].get_or_set("dead", MINUTE, find_out()).await.unwrap(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn garbage_is_no_value() {
        let server = RedisServer::start(&[]);
        let cache = shared(&server, "a").await;
        server.cli(&["SET", "test:box:c:text", "\u{1}not json"]);
        server.cli(&["LPUSH", "test:box:c:list", "1"]);
        server.cli(&["SET", "test:box:c:ticket:t:v:uri", "{\"uri\":7}"]);
        assert_eq!(cache.get_many::<u32>(&keys(&["text", "list"])).await, [None, None]);
        assert_eq!(cache.published_uris(&[TicketKey::new("v", "t")]).await, [None]);
        assert_eq!(cache.get_or_set("list", MINUTE, async { Ok::<_, StoreError>(1) }).await.unwrap(), 1);
        assert_eq!(cache.get::<u32>("list").await, Some(1));
        // Nor is what somebody else has written, even what was ours under another key.
        cache.set("mine", &7, MINUTE).await;
        server.cli(&["COPY", "test:box:c:mine", "test:box:c:other"]);
        let stranger = caching(Cache::in_redis(server.fleet("s").await, [8; 32]));
        stranger.set("theirs", &7, MINUTE).await;
        assert_eq!(cache.get_many::<u32>(&keys(&["mine", "other", "theirs"])).await, [Some(7), None, None]);
        assert!(cache.stats().await.connected);
        // What another provider holds does not count.
        let elsewhere = Caching::new(in_redis(server.fleet("b").await), "elsewhere", &Registry::new()).unwrap();
        elsewhere.remember_uris([(TicketKey::new("v", "t"), "ipfs://x".to_owned())]).await;
        assert_eq!(cache.published_uris(&[TicketKey::new("v", "t")]).await, [None]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_redis_evicts_or_refuses() {
        let big = "x".repeat(100_000);
        let lru = RedisServer::start(&["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru"]);
        let cache = shared(&lru, "a").await;
        for number in 0..100 {
            assert!(cache.set(&format!("k-{number}"), &big, MINUTE).await);
        }
        assert_eq!(cache.get::<String>("k-0").await, None);
        assert!(cache.get::<String>("k-99").await.is_some());

        let full = RedisServer::start(&["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]);
        let cache = shared(&full, "a").await;
        let mut taken = 0;
        while cache.set(&format!("k-{taken}"), &big, MINUTE).await {
            taken += 1;
        }
        let stats = cache.stats().await;
        assert!(stats.connected && stats.errors > 0, "{stats:?}");
        assert!(stats.fault.as_ref().unwrap().contains("maxmemory"), "{stats:?}");
        assert!(cache.get::<String>("k-0").await.is_some());
        assert!(cache.clear().await.unwrap() >= taken);
        assert!(cache.set("k", &big, MINUTE).await);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn away_it_costs_next_to_nothing_and_comes_back() {
        let mut server = RedisServer::start(&[]);
        let fleet = server.fleet("a").await;
        let stop = tokio_util::sync::CancellationToken::new();
        let watch = tokio::spawn(fleet.clone().run(stop.clone()));
        let cache = caching(in_redis(fleet.clone()));
        for kind in ["paused", "killed"] {
            cache.set("k", &1, MINUTE).await;
            if kind == "paused" {
                server.pause();
            } else {
                server.kill();
            }
            let begun = Instant::now();
            for _ in 0..1_000 {
                assert_eq!(cache.get::<u32>("k").await, None);
                assert!(!cache.set("k", &1, MINUTE).await);
            }
            let begun = begun.elapsed();
            assert!(begun < Duration::from_secs(1), "{kind}: 2,000 calls took {begun:?}");
            assert!(!cache.stats().await.connected && cache.stats().await.keys.is_none());
            assert_eq!(cache.get_or_set("k", MINUTE, async { Ok::<_, StoreError>(5) }).await.unwrap(), 5);
            assert!(cache.clear().await.is_err() && cache.forget_ticket("t", None).await.is_err());
            if kind == "paused" {
                server.resume();
            } else {
                server.restart();
            }
            until(async || fleet.is_connected()).await;
            assert!(cache.set("k", &2, MINUTE).await);
            assert_eq!(cache.get::<u32>("k").await, Some(2));
            assert_eq!(fleet.fault(), None);
        }
        stop.cancel();
        watch.await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_password_is_needed_and_never_told() {
        let server = RedisServer::start(&["--requirepass", "open-sesame"]);
        let connect = |password| boxoffice::fleet::Fleet::new(&server.url(), password, "n".into(), "a".into()).unwrap();
        assert!(connect(Some("open-sesame")).probe().await);
        let url = server.url().replace("//", "//:open-sesame@");
        assert!(boxoffice::fleet::Fleet::new(&url, None, "n".into(), "a".into()).unwrap().probe().await);
        for (wrong, said) in [(None, "NOAUTH"), (Some("guess-4711"), "AuthenticationFailed")] {
            let fleet = connect(wrong);
            assert!(!fleet.probe().await);
            let fault = format!("{:?} {fleet:?}", fleet.fault());
            assert!(fault.contains(said) && !fault.contains("guess-4711"), "{fault}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_quota_counts_all_boxes() {
        let mut server = RedisServer::start(&[]);
        let boxes = [server.fleet("a").await, server.fleet("b").await];
        let quota = Quota { max: 10.try_into().unwrap(), window: Duration::from_mins(1) };
        let mut allowed = 0;
        for turn in 0..16 {
            allowed += u32::from(boxes[turn % 2].take("key", quota).await.unwrap().is_ok());
        }
        assert_eq!(allowed, 10);
        let wait = boxes[1].take("key", quota).await.unwrap().unwrap_err();
        assert!(wait > Duration::from_secs(4) && wait <= Duration::from_secs(6), "{wait:?}");
        assert_eq!(boxes[0].take("other", quota).await, Some(Ok(())));
        // A garbled count does not lock anyone out.
        server.cli(&["SET", "test:box:quota:key", "9e99"]);
        let wait = boxes[0].take("key", quota).await.unwrap().unwrap_err();
        assert!(wait <= Duration::from_secs(6), "{wait:?}");
        server.cli(&["SET", "test:box:quota:key", "garbage"]);
        assert_eq!(boxes[0].take("key", quota).await, Some(Ok(())));
        server.kill();
        assert_eq!(boxes[0].take("key", quota).await, None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_box_leads() {
        let server = RedisServer::start(&[]);
        let (a, b) = (server.fleet("a").await, server.fleet("b").await);
        a.campaign().await;
        b.campaign().await;
        assert!(a.leads() && !b.leads());
        assert_eq!((a.leader().as_deref(), b.leader().as_deref()), (Some("a"), Some("a")));
        // A due time is run once, by the leader.
        assert_eq!(b.claim("job", 1_000).await, Claim::NotOurs);
        assert_eq!(a.claim("job", 1_000).await, Claim::Ours);
        assert_eq!(a.claim("job", 1_000).await, Claim::Done);
        assert_eq!(b.claim("job", 1_000).await, Claim::Done);
        assert_eq!(b.claim("job", 2_000).await, Claim::NotOurs);
        // The lease is lost behind the leader's back, as when it was asleep: it still believes, and is refused.
        server.cli(&["DEL", "test:box:lease"]);
        b.campaign().await;
        assert!(a.leads() && b.leads());
        assert_eq!(a.claim("job", 2_000).await, Claim::NotOurs);
        assert_eq!(b.claim("job", 2_000).await, Claim::Ours);
        a.campaign().await;
        assert!(!a.leads());
        // An evicted token is made anew, larger than all before.
        server.cli(&["DEL", "test:box:lease-token"]);
        b.campaign().await;
        assert_eq!(b.claim("job", 2_500).await, Claim::Ours);
        // Garbage in place of the lease does not stop the boxes for good.
        for garbage in [&["SET", "test:box:lease", "garbage"][..], &["LPUSH", "test:box:lease", "garbage"]] {
            server.cli(&["DEL", "test:box:lease"]);
            server.cli(garbage);
            server.cli(&["SET", "test:box:lease-token", "garbage"]);
            b.campaign().await;
            assert!(b.leads(), "{garbage:?}");
        }
        // Even were the lease its own again by name, an older token would not do: a later one has been seen.
        server.cli(&["HSET", "test:box:job:job", "token", "99999999999999999"]);
        assert_eq!(b.claim("job", 3_000).await, Claim::NotOurs);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_box_takes_over_from_one_that_dies() {
        let server = RedisServer::start(&[]);
        let (a, b) = (server.fleet("a").await, server.fleet("b").await);
        let stop = tokio_util::sync::CancellationToken::new();
        let dies = tokio::spawn(a.clone().run(stop.clone()));
        until(async || a.leads()).await;
        let watch = tokio::spawn(b.clone().run(stop.clone()));
        dies.abort();
        drop(dies.await);
        // Never two at once: the dead one's belief ends before the other's begins.
        let begun = Instant::now();
        until(async || {
            assert!(!(a.leads() && b.leads()), "two lead after {:?}", begun.elapsed());
            b.leads()
        })
        .await;
        // One that stops in order hands over at once.
        stop.cancel();
        watch.await.unwrap();
        assert_eq!(server.cli(&["EXISTS", "test:box:lease"]), "0");
        a.campaign().await;
        assert!(a.leads() && !b.leads());
    }
}

#[cfg(feature = "localnet")]
mod over_http {
    use reqwest::{Method, StatusCode};
    use serde_json::{Value, json};

    use crate::support::*;

    async fn send(office: &TestBox, method: Method, path: &str) -> Value {
        let (status, body) = answer(office.request(method, path)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn tickets_are_warmed_seen_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let office = TestBox::new(folder.path()).await;
        let mut batch = tickets("W", 3);
        batch[2]["eventId"] = json!("another");
        batch[1]["id"] = json!("clear");
        office.mint("v", &batch).await;
        let cache = office.app.cache.clone();
        let stats = async || send(&office, Method::GET, "/admin/cache/stats").await;
        // What was minted just now is known without being asked for.
        until(async || stats().await["keyCount"] == 3).await;
        assert_eq!(send(&office, Method::DELETE, "/admin/cache/clear").await["removed"], 3);
        let warmed = send(&office, Method::POST, "/admin/cache/warm?venueId=v&eventId=event-1").await;
        assert_eq!(warmed, json!({ "tickets": 2, "uris": 2, "signatures": 2, "complete": true }));
        assert_eq!(stats().await["keyCount"], 4);
        let known = cache.published_uris(&[boxoffice::cache::TicketKey::new("v", "W-0")]).await;
        let (_, mint) = office.get("/admin/mints/W-0").await;
        assert_eq!(json!(known), json!([mint["metadataUri"]]));
        // The literal route, and the ticket of that name.
        let (refused, _) = answer(office.request(Method::DELETE, "/admin/cache/clear?venueId=v")).await;
        assert_eq!(refused, StatusCode::BAD_REQUEST);
        assert_eq!(send(&office, Method::DELETE, "/admin/cache/%73tats").await["removed"], 0);
        assert_eq!(send(&office, Method::DELETE, "/admin/cache/%63lear?venueId=w").await["removed"], 0);
        assert_eq!(send(&office, Method::DELETE, "/admin/cache/%63lear").await["removed"], 2);
        assert_eq!(send(&office, Method::DELETE, "/admin/cache/W-0").await["removed"], 2);
        let all = send(&office, Method::POST, "/admin/cache/warm").await;
        assert_eq!((&all["tickets"], &all["complete"]), (&json!(3), &json!(true)));
        // As a job, for the events that are to come: those of the sample tickets are over.
        let (accepted, _) = office.post("/admin/jobs/cache-warm/run", &json!({})).await;
        assert_eq!(accepted, StatusCode::ACCEPTED);
        let last = async || office.get("/admin/jobs").await.1["jobs"][5]["lastRun"].clone();
        until(async || last().await["outcome"] == "ok").await;
        assert_eq!(last().await["detail"], "0 URIs and 0 signatures of 3 tickets");
        let (_, system) = office.get("/admin/system/status").await;
        assert_eq!(system["cache"], json!({ "enabled": true, "connected": true, "backend": "memory", "keyCount": 6 }));
        office.finish().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn answers_are_kept_while_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let office = TestBox::new(folder.path()).await;
        office.mint("v", &tickets("S", 1)).await;
        let total = async || office.get("/admin/stats/v").await.1["totalMints"].clone();
        let hits = async || office.get("/admin/cache/stats").await.1["hits"].as_u64().unwrap();
        // The box writes now and then by itself; between two of its commits the second answer comes from the cache.
        let begun = hits().await;
        until(async || total().await == 1 && total().await == 1 && hits().await > begun).await;
        // What is written is seen at once.
        office.mint("v", &tickets("T", 1)).await;
        assert_eq!(total().await, 2);
        office.finish().await;
    }
}

/// What a cache saves, in one run: a query of books with a million tickets, and the answer that the API makes of it.
#[cfg(all(feature = "localnet", feature = "redis"))]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn what_a_cache_saves() {
    use std::time::Instant;

    use boxoffice::store::{Step, Store};

    use crate::support::{redis::RedisServer, *};

    const ROUNDS: usize = 500;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let store = Store::open(&folder.path().join("data")).unwrap();
    let now_ms = jiff::Timestamp::now().as_millisecond();
    store.fill_with_samples(1_000_000, 10, now_ms).await.unwrap();
    let query = async || {
        store.counts(Some("venue-3".into())).await.unwrap();
        let stats = store.venue_stats("venue-3".into(), now_ms - 365 * 86_400_000, Step::Day).await.unwrap();
        Ok::<_, StoreError>(stats.series.len())
    };
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1_000.0
    };
    let redis = RedisServer::start(&[]);
    let memory = caching(Cache::in_memory(64 << 20));
    let shared = caching(Cache::in_redis(redis.fleet("a").await, [7; 32]));
    for (name, cache) in [("without", None), ("memory", Some(&memory)), ("redis", Some(&shared))] {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            match cache {
                None => _ = query().await.unwrap(),
                Some(cache) => _ = cache.get_or_set("stats", MINUTE, query()).await.unwrap(),
            }
            times.push(began.elapsed());
        }
        println!("database query, {name}: {:.3} ms", median(times));
    }
    store.close().await;
    let (key_file, _) = wallet(folder.path(), SOL);
    let office = BoxOptions::new(folder.path(), &key_file).start().await;
    for cached in [false, true] {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            if !cached {
                office.app.cache.clear().await.unwrap();
            }
            let began = Instant::now();
            office.get("/admin/stats/venue-3?range=365d").await;
            times.push(began.elapsed());
        }
        println!("API response, {}: {:.3} ms", if cached { "with" } else { "without" }, median(times));
    }
    office.abandon().await;
}
