//! What the cache in memory knows of ten thousand tickets, asked by one and by many at once.

use boxoffice::cache::{Cache, Caching, SIGNATURE_TTL, TicketKey};
use criterion::{Criterion, Throughput};
use prometheus::Registry;
use tokio::runtime::Runtime;

use crate::samples;

const KNOWN: u64 = 10_000;
const MANY: u64 = 256;
/// Room for all of it.
const MAX_BYTES: u64 = 64 << 20;

pub fn measure(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let cache = Caching::new(Cache::in_memory(MAX_BYTES), "local", &Registry::new()).unwrap();
    let key = |number: u64| format!("ticket:order-{number:08}:{}:signature", samples::venue(number));
    let ticket = |number: u64| TicketKey::new(samples::venue(number).as_str(), &format!("order-{number:08}"));
    let signature = |number: u64| solana_signature::Signature::from([number as u8; 64]).to_string();
    let told = runtime.block_on(async {
        let uri = format!("ipfs://{}", "b".repeat(59));
        cache.set_many((0..KNOWN).map(|number| (key(number), signature(number), SIGNATURE_TTL))).await
            && cache.remember_uris((0..KNOWN).map(|number| (ticket(number), uri.clone()))).await
    });
    assert!(told, "it has room for all");
    let keys: Vec<String> = (0..MANY).map(|number| key(number * 37 % KNOWN)).collect();
    let tickets: Vec<TicketKey> = (0..MANY).map(|number| ticket(number * 37 % KNOWN)).collect();
    let mut group = criterion.benchmark_group("cache");
    group.throughput(Throughput::Elements(1));
    group.bench_function("get", |bencher| {
        let mut turns = keys.iter().cycle();
        bencher.to_async(&runtime).iter(|| cache.get::<String>(turns.next().unwrap()));
    });
    group.throughput(Throughput::Elements(MANY));
    group.bench_function("get_many of 256", |bencher| {
        bencher.to_async(&runtime).iter(|| cache.get_many::<String>(&keys));
    });
    group.bench_function("published_uris of 256", |bencher| {
        bencher.to_async(&runtime).iter(|| cache.published_uris(&tickets));
    });
    let (hits, misses) = cache.look_ups();
    assert_eq!(misses, 0, "besides {hits} hits");
}
