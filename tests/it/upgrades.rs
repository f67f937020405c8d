//! Books that an older version began.

use boxoffice::{
    domain::{lamports::Lamports, mint::MintStatus},
    store::{BatchFilter, MintFilter, Step, Store},
};
use rusqlite::Connection;

/// Books of schema 1 with a batch of four: minted, failed, never taken, and one still waiting.
pub const OLD_BOOKS: &str = "
    INSERT INTO batches (id, public_id, venue_id, total, estimated_lamports, created_at)
        VALUES (1, 'old', 'v', 4, 300, 3600000);
    INSERT INTO mints (id, venue_id, ticket_id, event_id, ticket, content_digest, mint_address, status, cost_lamports,
                       error_code, created_at, settled_at)
        VALUES (1, 'v', 'a', 'e', '{\"id\":\"a\",\"eventId\":\"e\",\"ticketData\":{\"eventName\":\"Concert\"}}', x'00', 'A', 'minted', 100, NULL, 3600000, 3602000),
               (2, 'v', 'b', 'e', '{\"id\":\"a\",\"eventId\":\"e\",\"ticketData\":{\"eventName\":\"Concert\"}}', x'00', 'B', 'failed', 5, 'never_landed', 3600000, 3601000),
               (3, 'v', 'c', 'e', '{\"id\":\"a\",\"eventId\":\"e\",\"ticketData\":{\"eventName\":\"Concert\"}}', x'00', 'C', 'pending', 0, NULL, 3600000, NULL);
    INSERT INTO batch_entries (batch_id, position, ticket_id, mint_id, error_code)
        VALUES (1, 0, 'a', 1, NULL), (1, 1, 'b', 2, NULL), (1, 2, 'x', NULL, 'invalid_ticket'), (1, 3, 'c', 3, NULL);
    PRAGMA user_version = 1;";

#[tokio::test]
async fn sums_events_and_statistics_are_made_up_for() {
    let folder = tempfile::tempdir().unwrap();
    let old = Connection::open(folder.path().join("boxoffice.db")).unwrap();
    old.execute_batch(include_str!("../../migrations/0001_books.sql")).unwrap();
    old.execute_batch(OLD_BOOKS).unwrap();
    drop(old);

    let store = Store::open(folder.path()).unwrap();
    let batch = store.batches(BatchFilter::default(), 10).await.unwrap().remove(0);
    assert_eq!((batch.total, batch.open, batch.succeeded, batch.failed), (4, 1, 1, 2));
    assert_eq!(batch.spent, Lamports(105));
    let events = store.batch_events(batch.id, 0, 10).await.unwrap();
    let order: Vec<_> = events.iter().map(|entry| (entry.event.unwrap(), entry.ticket_id.as_str())).collect();
    assert_eq!(order, [(1, "x"), (2, "b"), (3, "a")], "in the order of settlement");
    let stats = store.venue_stats("v".into(), 0, Step::Hour).await.unwrap();
    assert_eq!((stats.total.minted, stats.total.failed, stats.total.mint_ms), (1, 1, 2000));
    assert_eq!((stats.series.len(), stats.series[0].from_ms), (1, 3_600_000));
    for status in MintStatus::ALL {
        let filter = MintFilter { status: Some(status), venue_id: Some("v".into()), ..MintFilter::default() };
        let listed = store.mints(filter, 10).await.unwrap();
        assert_eq!(listed.len(), usize::from(status != MintStatus::Minting), "{status:?}");
    }
    // However they are filtered, lists use an index and never sort.
    let connection = Connection::open(folder.path().join("boxoffice.db")).unwrap();
    for (condition, index) in [
        ("venue_id = 'v'", "mints_of_venue"),
        ("event_id = 'e'", "mints_of_event"),
        ("status <> 'minted' AND status = 'pending'", "mints_unminted "),
        ("venue_id = 'v' AND status <> 'minted' AND status = 'failed'", "mints_unminted_of_venue"),
        ("event_id = 'e' AND status <> 'minted' AND status = 'failed'", "mints_unminted_of_event"),
    ] {
        let sql =
            format!("EXPLAIN QUERY PLAN SELECT * FROM mints WHERE {condition} AND id < 9 ORDER BY id DESC LIMIT 5");
        let plan: Vec<String> =
            connection.prepare(&sql).unwrap().query_map([], |row| row.get(3)).unwrap().map(Result::unwrap).collect();
        assert!(plan.len() == 1 && plan[0].contains(index), "{condition}: {plan:?}");
    }
    drop(connection);
    store.close().await;
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["boxoffice.db"], "closed books are one file");
}
