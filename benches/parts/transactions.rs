//! From a ticket's id to a signed transaction: addresses, instructions, messages, signatures.

use std::hint::black_box;

use boxoffice::{
    chain::{
        instructions::mint_ticket,
        transaction::{Draft, Layout},
    },
    domain::address::{Generation, TicketAccounts, mint_address},
};
use criterion::{BatchSize, Criterion, Throughput};

use crate::samples::{self, WALLET};

/// Inputs that take turns.
const TURNS: u64 = 256;

pub fn measure(criterion: &mut Criterion) {
    addresses(criterion);
    instructions(criterion);
    messages(criterion);
    signatures(criterion);
}

fn addresses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("address");
    group.throughput(Throughput::Elements(1));
    let authority = WALLET.address();
    let tickets: Vec<_> = (0..TURNS).map(|number| (samples::venue(number), samples::ticket_id(number))).collect();
    let mints: Vec<_> = (0..TURNS).map(|number| (samples::mint(number), samples::buyer(number))).collect();
    group.bench_function("mint_address", |bencher| {
        let mut turns = tickets.iter().cycle();
        bencher.iter(|| turns.next().map(|(venue, ticket)| mint_address(&authority, venue, ticket, Generation(0))));
    });
    group.bench_function("ticket_accounts", |bencher| {
        let mut turns = mints.iter().cycle();
        bencher.iter(|| turns.next().map(|(mint, owner)| TicketAccounts::of(*mint, owner)));
    });
}

fn instructions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("instructions");
    group.throughput(Throughput::Elements(1));
    let authority = WALLET.address();
    let tickets: Vec<_> = (0..TURNS).map(samples::ticket_mint).collect();
    group.bench_function("mint_ticket", |bencher| {
        let mut turns = tickets.iter().cycle();
        bencher.iter(|| turns.next().map(|ticket| mint_ticket(&authority, &authority, ticket)));
    });
}

/// Transactions that fit: the smallest and the largest, and one that a fee payer pays and so signs too.
fn transactions() -> [(&'static str, Layout, Vec<Draft>); 3] {
    let (wallet, payer) = (WALLET.address(), WALLET.payers()[0]);
    let three = Layout::V1.most_tickets() as u64;
    [
        ("1 ticket, legacy", Layout::Legacy, samples::drafts(TURNS, 1, wallet)),
        ("1 ticket, legacy, fee payer", Layout::Legacy, samples::drafts(TURNS, 1, payer)),
        ("3 tickets, v1", Layout::V1, samples::drafts(TURNS / three, three, wallet)),
    ]
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message");
    let blockhash = samples::blockhash();
    for (name, layout, drafts) in transactions() {
        group.throughput(Throughput::Elements(drafts[0].tickets.len() as u64));
        group.bench_function(name, |bencher| {
            let mut turns = drafts.iter().cycle();
            bencher.iter(|| turns.next().map(|draft| draft.message(layout, &blockhash).unwrap()));
        });
    }
}

/// With a wallet in this process, up to the bytes that are sent.
fn signatures(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sign");
    let blockhash = samples::blockhash();
    for (name, layout, drafts) in transactions() {
        let messages: Vec<_> = drafts.iter().map(|draft| draft.message(layout, &blockhash).unwrap()).collect();
        let signed = WALLET.sign_here(messages[0].clone()).unwrap();
        assert!(signed.bytes() <= layout.most_bytes(), "{name}: {} bytes", signed.bytes());
        group.throughput(Throughput::Elements(drafts[0].tickets.len() as u64));
        group.bench_function(name, |bencher| {
            let mut turns = messages.iter().cycle();
            bencher.iter_batched(
                || turns.next().cloned().unwrap(),
                |message| WALLET.sign_here(black_box(message)).unwrap(),
                BatchSize::SmallInput,
            );
        });
    }
}
