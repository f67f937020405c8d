//! What the books decide about money by themselves, when things change between a look at the chain and the commit.

use std::{collections::HashSet, path::Path};

use boxoffice::{
    domain::{
        ids::VenueId,
        lamports::Lamports,
        mint::MintStatus,
        spending::{Opening, Refusal, SpendingLimits},
    },
    store::{
        Accepted, Change, Correction, Entry, NewBatch, NewTicket, Settlement, SpendingRules, Step, Store, StoreError,
        TicketVerdict, Verdict,
    },
};
use uuid::Uuid;

const PRICE: Lamports = Lamports(100);
const NOW_MS: i64 = 1_800_000_000_000;

fn open(folder: &Path) -> Store {
    Store::open(folder).unwrap()
}

fn batch(ids: &[&str], not_before_ms: Option<i64>) -> NewBatch {
    let ticket = |id: &&str| {
        Entry::Ticket(NewTicket {
            ticket_id: (*id).to_owned(),
            event_id: "e".into(),
            ticket: "{}".into(),
            content_digest: [0; 32],
            has_image: false,
            mint_address: format!("at-{id}"),
        })
    };
    let venue_id = VenueId::new("v".to_owned()).unwrap();
    let entries = ids.iter().map(ticket).collect();
    NewBatch { venue_id, not_before_ms, budget: None, has_periods: true, forecast: None, entries }
}

/// With a balance for so many tickets.
fn rules(tickets: u64) -> SpendingRules {
    SpendingRules {
        price: PRICE,
        expected: PRICE,
        fee: Lamports(5),
        together: 1,
        budget: None,
        wallet: "w".into(),
        payers: 0,
        balance: PRICE * tickets,
        own: PRICE * tickets,
        settled: Lamports::ZERO,
        limits: SpendingLimits::default(),
        on_chain: HashSet::new(),
    }
}

async fn accept(store: &Store, ids: &[&str], rules: &SpendingRules) -> Result<Accepted, StoreError> {
    store.accept(batch(ids, None), Some(rules.clone()), Uuid::now_v7(), NOW_MS).await
}

#[tokio::test]
async fn a_ticket_that_the_chain_holds_pays_for_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    // Another batch brings it after it was looked for, and before this batch is accepted.
    accept(&store, &["1"], &rules(9)).await.unwrap();
    let one = SpendingRules { on_chain: HashSet::from(["at-1".to_owned()]), ..rules(2) };
    let refused = accept(&store, &["1", "2", "3"], &one).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused(_)), "{refused}");
    let enough = SpendingRules { balance: PRICE * 3, ..one };
    assert_eq!(accept(&store, &["1", "2", "3"], &enough).await.unwrap().new_tickets, 2);
    store.close().await;
}

/// Mints by their rows, each with a transaction of its own.
async fn settle(store: &Store, mint_ids: impl IntoIterator<Item = i64>) {
    let minted = |mint_id| {
        let verdict = Verdict::Minted { signature: None, slot: Some(1), adopted: None };
        let tickets = vec![TicketVerdict { mint_id, cost: PRICE, paid: PRICE, verdict }];
        Settlement { attempt: None, slot: None, error: None, never_sent: false, tickets }
    };
    let minted = mint_ids.into_iter().map(minted).collect();
    store.settle(Vec::new(), minted, NOW_MS).await.unwrap();
}

#[tokio::test]
async fn money_that_is_spent_after_it_was_counted_is_not_promised_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    // The wallet is looked at for two batches at once. The first is accepted and minted before the second is accepted.
    let looked = SpendingRules { settled: store.settled(), ..rules(5) };
    accept(&store, &["1", "2", "3"], &looked).await.unwrap();
    settle(&store, 1..=3).await;
    let refused = accept(&store, &["4", "5", "6"], &looked).await.unwrap_err();
    let StoreError::Refused(Refusal::InsufficientFunds { reserved, missing, .. }) = refused else {
        panic!("{refused}");
    };
    assert_eq!((reserved, missing), (PRICE * 3, PRICE));
    // Whoever looks again sees what is left, and no more counts than that.
    let looked = SpendingRules { settled: store.settled(), ..rules(2) };
    accept(&store, &["4", "5"], &looked).await.unwrap();
    store.close().await;
}

/// A ticket that turns out not to be on the chain has cost nothing: neither its batch, nor any window, nor the statistics.
#[tokio::test]
async fn a_minted_ticket_that_is_queued_again_is_not_paid_for_twice() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let accepted = accept(&store, &["1", "2"], &rules(2)).await.unwrap();
    settle(&store, 1..=2).await;
    let queue = || Correction { mint_id: 1, seen: MintStatus::Minted, change: Change::Queue };
    assert_eq!(store.correct(vec![queue(), queue()], NOW_MS).await.unwrap(), 1, "once");
    let spent = store.commitments(NOW_MS).await.unwrap();
    assert_eq!((spent.open_tickets, spent.spent.iter().map(|(_, lamports)| *lamports).sum()), (1, PRICE));
    let found = store.batch(accepted.public_id).await.unwrap().unwrap();
    assert_eq!(found.spent, PRICE);
    let stats = store.venue_stats("v".into(), 0, Step::Day).await.unwrap();
    assert_eq!((stats.total.minted, stats.total.spent), (1, PRICE));
    // Minted in the end, each is paid for once.
    settle(&store, [1]).await;
    let stats = store.venue_stats("v".into(), 0, Step::Day).await.unwrap();
    assert_eq!((stats.total.minted, stats.total.spent), (2, PRICE * 2));
    store.close().await;
}

/// Tickets that wait for tomorrow take nothing from the limit of this hour, and what is told of it comes true.
#[tokio::test]
async fn a_limit_counts_tickets_when_they_are_minted() {
    const MINUTE_MS: i64 = 60_000;
    const HOUR_MS: i64 = 60 * MINUTE_MS;
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let limits = SpendingLimits { per_hour: Some(PRICE * 50), ..SpendingLimits::default() };
    let rules = SpendingRules { limits, ..rules(1_000) };
    let forty = async |prefix: &str, not_before_ms: Option<i64>, now_ms: i64| {
        let ids: Vec<String> = (0..40).map(|number| format!("{prefix}-{number}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        store.accept(batch(&ids, not_before_ms), Some(rules.clone()), Uuid::now_v7(), now_ms).await
    };
    let opens_at = |refused: Result<Accepted, StoreError>| {
        let error = refused.unwrap_err();
        let StoreError::Refused(Refusal::PeriodLimit { opening: Opening::At { unix_ms, .. }, .. }) = error else {
            panic!("{error}");
        };
        unix_ms
    };
    forty("later", Some(NOW_MS + 5 * HOUR_MS), NOW_MS).await.unwrap();
    forty("now", None, NOW_MS).await.unwrap();
    let at_ms = opens_at(forty("third", None, NOW_MS).await);
    assert_eq!(at_ms, NOW_MS + 61 * MINUTE_MS);
    assert_eq!(opens_at(forty("third", None, NOW_MS + MINUTE_MS).await), at_ms + MINUTE_MS, "none was minted yet");
    settle(&store, 41..=80).await;
    assert_eq!(opens_at(forty("third", None, NOW_MS + MINUTE_MS).await), at_ms, "it stays as it is");
    let ten_minutes_after = NOW_MS + 5 * HOUR_MS + 10 * MINUTE_MS;
    assert_eq!(opens_at(forty("fourth", Some(ten_minutes_after), NOW_MS).await), NOW_MS + 5 * HOUR_MS + 61 * MINUTE_MS);
    // Nor are they to be had sooner, past the limit.
    assert_eq!(opens_at(forty("later", None, NOW_MS + MINUTE_MS).await), at_ms);
    forty("third", None, at_ms).await.unwrap();
    let free_ms = at_ms + 61 * MINUTE_MS;
    settle(&store, 81..=120).await;
    forty("later", None, free_ms).await.unwrap();
    assert_eq!(store.commitments(free_ms).await.unwrap().later, []);
    store.close().await;
}
