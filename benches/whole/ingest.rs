//! From a file of tickets to a promise: read, checked, priced, and on the disk.

use std::{fmt::Write as _, time::Instant};

use clap::Args;
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{
    chain::Chain,
    figures::{Spread, head, row},
    office::{Office, tickets},
};

#[derive(Debug, Args)]
pub struct Options {
    /// Each time with new books
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Rows of the file
    #[arg(long, default_value_t = 100_000)]
    rows: u64,
}

/// A file as shops export it.
fn csv(rows: u64) -> String {
    let mut file = String::from("id,eventId,userId,eventName,eventDate,venue,tier,seatNumber\n");
    for number in 1..=rows {
        let (row, seat) = (number / 40 + 1, number % 40 + 1);
        writeln!(file, "{number},winter-gala,user-{number},Winter Gala,2026-12-31T20:00:00Z,The Hall,Standard,Row {row} Seat {seat}")
            .unwrap();
    }
    file
}

/// Nothing is minted meanwhile: the batches wait for an hour that is far away, so that the engine takes no share of the machine.
pub async fn run(options: &Options) {
    let file = csv(options.rows);
    let mut figures: [Vec<f64>; 6] = Default::default();
    for _ in 0..options.rounds {
        let chain = Chain::start();
        // One request with as many as it may have, to an office with nothing in its books.
        let batch = tickets("another", 10_000);
        let office = Office::open(&chain, &chain.rpc, &[]).await;
        figures[3].push(rate(&office, &batch).await);
        drop(office);
        let office = Office::open(&chain, &chain.rpc, &[]).await;
        let began = Instant::now();
        let url = office.url.join("/admin/tickets/read?venueId=hall").unwrap();
        let request = office.http.post(url).header("content-type", "text/csv").body(file.clone());
        let read: Value = request.send().await.unwrap().json().await.unwrap();
        let checked = began.elapsed().as_secs_f64();
        let read = read["tickets"].as_array().unwrap_or_else(|| panic!("{read}"));
        assert_eq!(read.len() as u64, options.rows);
        for batch in read.chunks(10_000) {
            accept(&office, batch).await;
        }
        let seconds = began.elapsed().as_secs_f64();
        figures[0].push(checked);
        figures[1].push(seconds);
        figures[2].push((office.usage().peak_kb / 1_024) as f64);
        // The same beside all of those.
        figures[4].push(rate(&office, &batch).await);
        // Several shops at once: one request is read and checked while another is written.
        let batches: Vec<_> = (0..10).map(|number| tickets(&format!("of-shop-{number}"), 10_000)).collect();
        let began = Instant::now();
        join_all(batches.iter().map(|batch| accept(&office, batch))).await;
        figures[5].push(100_000.0 / began.elapsed().as_secs_f64());
    }
    let [checked, seconds, peak, alone, beside, together] = figures.map(Spread::of);
    head(&["", "median (least – most)"]);
    row(&[&format!("{} rows of CSV, read and checked, s", options.rows), &checked]);
    row(&[&"the same, and accepted: each ticket is on the disk, s", &seconds]);
    row(&[&"memory at the peak, MB", &peak]);
    row(&[&"10,000 tickets in one request on new books, tickets/s from the request to the promise", &alone]);
    row(&[&format!("the same on books with {} tickets, tickets/s", options.rows), &beside]);
    row(&[&"ten such requests at once, tickets/s", &together]);
}

async fn rate(office: &Office, batch: &[Value]) -> f64 {
    let began = Instant::now();
    accept(office, batch).await;
    batch.len() as f64 / began.elapsed().as_secs_f64()
}

async fn accept(office: &Office, batch: &[Value]) {
    let body = json!({ "venueId": "hall", "tickets": batch, "notBefore": "2100-01-01T00:00:00Z" });
    let (status, answer) = office.post("/admin/batch-mint", &body, true).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
}
