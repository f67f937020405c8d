//! What the books decide about money by themselves, when things change between a look at the chain and the commit.

use std::{collections::HashSet, path::Path};

use boxoffice::{
    domain::{ids::VenueId, lamports::Lamports, spending::SpendingLimits},
    store::{Accepted, Entry, NewBatch, NewTicket, SpendingRules, Store, StoreError},
};
use uuid::Uuid;

const PRICE: Lamports = Lamports(100);
const NOW_MS: i64 = 1_800_000_000_000;

fn open(folder: &Path) -> Store {
    Store::open(folder).unwrap()
}

fn batch(ids: &[&str]) -> NewBatch {
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
    NewBatch { venue_id, not_before_ms: None, budget: None, forecast: None, entries }
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
        limits: SpendingLimits::default(),
        on_chain: HashSet::new(),
    }
}

async fn accept(store: &Store, ids: &[&str], rules: &SpendingRules) -> Result<Accepted, StoreError> {
    store.accept(batch(ids), Some(rules.clone()), Uuid::now_v7(), NOW_MS).await
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
