//! What a ticket goes through before the books: reading and checking, and the metadata that is published of it.

use std::{fmt::Write as _, hint::black_box};

use boxoffice::{
    domain::{
        document::metadata_json,
        ticket::{Ticket, TicketRules},
        ticket_file::{self, FileFormat},
    },
    metadata::ContentId,
};
use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use serde_json::Value;

use crate::samples::{self, EVENT, IMAGE, SYMBOL};

/// Inputs that take turns.
const TURNS: u64 = 256;

pub fn measure(criterion: &mut Criterion) {
    metadata(&mut criterion.benchmark_group("metadata"));
    reading(&mut criterion.benchmark_group("tickets"));
}

fn metadata(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.throughput(Throughput::Elements(1));
    let tickets: Vec<Ticket> = (0..TURNS).map(samples::ticket).collect();
    let documents: Vec<_> = tickets.iter().map(|ticket| metadata_json(ticket, SYMBOL, &IMAGE)).collect();
    group.bench_function("metadata_json", |bencher| {
        let mut turns = tickets.iter().cycle();
        bencher.iter(|| turns.next().map(|ticket| metadata_json(ticket, SYMBOL, &IMAGE)));
    });
    group.bench_function("ContentId::of", |bencher| {
        let mut turns = documents.iter().cycle();
        bencher.iter(|| turns.next().map(|document| ContentId::of(document)));
    });
    group.bench_function("both", |bencher| {
        let mut turns = tickets.iter().cycle();
        bencher.iter(|| turns.next().map(|ticket| ContentId::of(&metadata_json(ticket, SYMBOL, &IMAGE))));
    });
}

/// A thousand tickets at once.
fn reading(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.throughput(Throughput::Elements(EVENT));
    // A buyer's address must be a point on the curve, which costs more than all else.
    for (name, request) in [
        ("from_json, for the box's wallet", samples::request as fn(u64) -> Value),
        ("from_json, for buyers' wallets", samples::request_of_buyer),
    ] {
        let requests: Vec<Value> = (0..EVENT).map(request).collect();
        let read = |request| Ticket::from_json(request, TicketRules::default()).unwrap();
        group.bench_function(name, |bencher| bencher.iter(|| requests.iter().map(read).collect::<Vec<_>>()));
    }
    for (name, has_owners) in [("CSV, for the box's wallet", false), ("CSV, for buyers' wallets", true)] {
        let file = csv(has_owners);
        let read = || {
            let venue = samples::venue(0);
            let rules = TicketRules::default();
            ticket_file::read(black_box(&file), FileFormat::Csv, venue.as_str(), None, rules, EVENT as usize).unwrap()
        };
        let found = read();
        assert_eq!((found.tickets.len() as u64, found.fault_count), (EVENT, 0), "{:?}", found.faults);
        group.bench_function(name, |bencher| bencher.iter(read));
    }
}

/// The same tickets as a spreadsheet would save them.
fn csv(has_owners: bool) -> Vec<u8> {
    let mut text = "id,Event ID,User ID,Event Name,Event Date,Venue,Tier,Seat Number,Gate,Owner Address\r\n".to_owned();
    for number in 0..EVENT {
        let request = samples::request(number);
        let cell = |pointer: &str| match request.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            other => other.unwrap().to_string(),
        };
        for pointer in ["/id", "/eventId", "/userId"] {
            write!(text, "{},", cell(pointer)).unwrap();
        }
        write!(text, "\"{}\",", cell("/ticketData/eventName")).unwrap();
        for name in ["eventDate", "venue", "tier", "seatNumber", "gate"] {
            write!(text, "{},", cell(&format!("/ticketData/{name}"))).unwrap();
        }
        let owner = if has_owners { samples::buyer(number).to_string() } else { String::new() };
        write!(text, "{owner}\r\n").unwrap();
    }
    text.into_bytes()
}
