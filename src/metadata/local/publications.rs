//! The record of publications: what was confirmed by which provider, account and endpoint, and what was saved by knowing it.
//!
//! A file is registered for every provider of the settings in the commit that takes it in. An upload is noted before it begins
//! and confirmed afterwards: whatever happens in between, it is known that the file may be there.

use std::collections::HashMap;

use fail::fail_point;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::LocalContent;
use crate::metadata::{Content, ContentId, PublishError};

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS publishers (
        id          INTEGER PRIMARY KEY,
        account     TEXT NOT NULL UNIQUE,          -- provider, endpoint and account; nothing secret
        complete    INTEGER NOT NULL DEFAULT 0,    -- 1: every file is registered for it
        requests    INTEGER NOT NULL DEFAULT 0,    -- uploads that it took
        files       INTEGER NOT NULL DEFAULT 0,    -- files in them, and their bytes
        bytes       INTEGER NOT NULL DEFAULT 0,
        saved_files INTEGER NOT NULL DEFAULT 0,    -- files that were asked for and already there, and their bytes
        saved_bytes INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE IF NOT EXISTS publications (
        publisher       INTEGER NOT NULL REFERENCES publishers (id),
        cid             TEXT NOT NULL,
        bytes           INTEGER NOT NULL,
        attempts        INTEGER NOT NULL,          -- uploads begun; above 0 it may be there without a confirmation
        published_at_ms INTEGER,                   -- when it was confirmed; null until then
        verified_at_ms  INTEGER,                   -- when it was last seen there
        PRIMARY KEY (publisher, cid)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS publications_open ON publications (publisher, cid) WHERE published_at_ms IS NULL;";

/// Files that are registered in one commit.
const REGISTER_AT_ONCE: i64 = 5_000;

/// The row of a provider.
pub(in crate::metadata) type PublisherRow = i64;

/// What uploading came to at one provider, since the books of content were begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Uploads that it took; one may carry many files.
    pub requests: u64,
    /// Files in them.
    pub files: u64,
    /// Bytes in those files.
    pub bytes: u64,
    /// Files that were to be published and were there already.
    pub saved_files: u64,
    /// Bytes in those files.
    pub saved_bytes: u64,
}

impl LocalContent {
    /// The rows of the providers of the settings, in their order. From now on every file that comes in is registered for them.
    pub(in crate::metadata) async fn publishers(
        &self,
        accounts: Vec<String>,
    ) -> Result<Vec<PublisherRow>, PublishError> {
        let rows = self
            .write(move |transaction| {
                // What comes in from now on is registered for the others only when they are back.
                transaction.execute(
                    "UPDATE publishers SET complete = 0 WHERE account NOT IN (SELECT value FROM json_each(?))",
                    [serde_json::Value::from(accounts.clone()).to_string()],
                )?;
                let mut rows = Vec::new();
                for account in accounts {
                    transaction.execute("INSERT OR IGNORE INTO publishers (account) VALUES (?)", [&account])?;
                    let row = "SELECT id FROM publishers WHERE account = ?";
                    rows.push(transaction.query_row(row, [&account], |row| row.get(0))?);
                }
                Ok(rows)
            })
            .await?;
        rows.clone_into(&mut self.registered.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        Ok(rows)
    }

    /// Takes files in, registers them for all providers, and returns those that `publisher` has not confirmed.
    pub(in crate::metadata) async fn keep(
        &self,
        contents: Vec<Content>,
        publisher: Option<PublisherRow>,
    ) -> Result<Vec<ContentId>, PublishError> {
        let registered = self.registered();
        let kept = self.write(move |transaction| {
            let mut open = Vec::new();
            for content in contents {
                let cid = content.id.to_string();
                super::insert(transaction, &cid, &content)?;
                for publisher in &registered {
                    register(transaction, *publisher, &cid, content.bytes.len(), 0)?;
                }
                open.extend(
                    publisher.map(|publisher| find_open(transaction, publisher, content.id)).transpose()?.flatten(),
                );
            }
            Ok(open)
        });
        let open = kept.await?;
        fail_point!("publish.after_commit");
        Ok(open)
    }

    /// Those of some files that a provider has not confirmed.
    pub(in crate::metadata) async fn open_among(
        &self,
        publisher: PublisherRow,
        ids: Vec<ContentId>,
    ) -> Result<Vec<ContentId>, PublishError> {
        self.read(move |connection| {
            let found = ids.into_iter().map(|id| find_open(connection, publisher, id));
            found.filter_map(Result::transpose).collect()
        })
        .await
    }

    /// Registers the files that came in while a provider was not in the settings; they may be there. Returns how many it were.
    pub(in crate::metadata) async fn register_all(&self, publisher: PublisherRow) -> Result<u64, PublishError> {
        let complete = "SELECT complete FROM publishers WHERE id = ?";
        if self.read(move |connection| connection.query_row(complete, [publisher], |row| row.get(0))).await? {
            return Ok(0);
        }
        let (mut after, mut registered) = (String::new(), 0_u64);
        loop {
            let from = after.clone();
            let (last, count) = self.write(move |transaction| register_some(transaction, publisher, &from)).await?;
            registered = registered.saturating_add(count);
            let Some(last) = last else { break };
            after = last;
        }
        self.write(move |transaction| {
            transaction.execute("UPDATE publishers SET complete = 1 WHERE id = ?", [publisher]).map(|_rows| registered)
        })
        .await
    }

    /// Notes that uploads are about to begin. Returns those that are still to be done, for somebody else may have been quicker,
    /// and whether an earlier one may have arrived.
    pub(in crate::metadata) async fn begin(
        &self,
        publisher: PublisherRow,
        ids: Vec<ContentId>,
    ) -> Result<HashMap<ContentId, bool>, PublishError> {
        self.write(move |transaction| {
            let sql = "UPDATE publications SET attempts = attempts + 1
                       WHERE publisher = ? AND cid = ? AND published_at_ms IS NULL RETURNING attempts";
            let mut statement = transaction.prepare_cached(sql)?;
            let mut begun = HashMap::new();
            for id in ids {
                let attempts = statement.query_row(params![publisher, id.to_string()], |row| row.get::<_, u32>(0));
                begun.extend(attempts.optional()?.map(|attempts| (id, attempts > 1)));
            }
            Ok(begun)
        })
        .await
    }

    /// Notes what a provider has confirmed: file, bytes, and whether it was sent now.
    pub(in crate::metadata) async fn confirm(
        &self,
        publisher: PublisherRow,
        confirmed: Vec<(ContentId, u64, bool)>,
        requests: u64,
        now_ms: i64,
    ) -> Result<(), PublishError> {
        self.write(move |transaction| {
            let sql = "UPDATE publications SET published_at_ms = ?3 WHERE publisher = ?1 AND cid = ?2";
            let mut statement = transaction.prepare_cached(sql)?;
            let (mut files, mut bytes) = (0_u64, 0_u64);
            for (id, size, sent) in confirmed {
                statement.execute(params![publisher, id.to_string(), now_ms])?;
                if sent {
                    files = files.saturating_add(1);
                    bytes = bytes.saturating_add(size);
                }
            }
            let sql =
                "UPDATE publishers SET requests = requests + ?2, files = files + ?3, bytes = bytes + ?4 WHERE id = ?1";
            transaction.prepare_cached(sql)?.execute(params![publisher, requests, files, bytes]).map(drop)
        })
        .await
    }

    /// Counts files that were to be published and were there already.
    pub(in crate::metadata) async fn saved(
        &self,
        publisher: PublisherRow,
        files: u64,
        bytes: u64,
    ) -> Result<(), PublishError> {
        let sql = "UPDATE publishers SET saved_files = saved_files + ?2, saved_bytes = saved_bytes + ?3 WHERE id = ?1";
        self.write(move |transaction| {
            transaction.prepare_cached(sql)?.execute(params![publisher, files, bytes]).map(drop)
        })
        .await
    }

    /// Files that a provider has not confirmed, behind a cursor; the cursor of the next page is the last of them.
    pub(in crate::metadata) async fn next_open(
        &self,
        publisher: PublisherRow,
        after: String,
        most: usize,
    ) -> Result<Vec<ContentId>, PublishError> {
        self.read(move |connection| {
            let sql = "SELECT cid FROM publications
                       WHERE publisher = ? AND published_at_ms IS NULL AND cid > ? ORDER BY cid LIMIT ?";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![publisher, after, most], read_id)?;
            rows.filter_map(Result::transpose).collect()
        })
        .await
    }

    /// How many files a provider has not confirmed.
    pub(in crate::metadata) async fn count_open(&self, publisher: PublisherRow) -> Result<u64, PublishError> {
        let sql = "SELECT count(*) FROM publications WHERE publisher = ? AND published_at_ms IS NULL";
        self.read(move |connection| connection.prepare_cached(sql)?.query_row([publisher], |row| row.get(0))).await
    }

    /// Some files that a provider has confirmed, at random, and their bytes.
    pub(in crate::metadata) async fn sample(
        &self,
        publisher: PublisherRow,
        most: usize,
    ) -> Result<Vec<(ContentId, usize)>, PublishError> {
        self.read(move |connection| {
            let sql = "SELECT cid, bytes FROM publications WHERE publisher = ? AND published_at_ms IS NOT NULL
                       ORDER BY random() LIMIT ?";
            let mut statement = connection.prepare_cached(sql)?;
            let read = |row: &Row<'_>| Ok(read_id(row)?.zip(Some(row.get(1)?)));
            let rows = statement.query_map(params![publisher, most], read)?;
            rows.filter_map(Result::transpose).collect()
        })
        .await
    }

    /// Notes what was seen at a provider, and what it has lost: that is to be published again.
    pub(in crate::metadata) async fn seen(
        &self,
        publisher: PublisherRow,
        seen: Vec<ContentId>,
        lost: Vec<ContentId>,
        now_ms: i64,
    ) -> Result<(), PublishError> {
        self.write(move |transaction| {
            let verified = "UPDATE publications SET verified_at_ms = ?3 WHERE publisher = ?1 AND cid = ?2";
            let mut verified = transaction.prepare_cached(verified)?;
            seen.iter().try_for_each(|id| verified.execute(params![publisher, id.to_string(), now_ms]).map(drop))?;
            // It is known that they are not there: the next upload need not look for them.
            let gone = "UPDATE publications SET published_at_ms = NULL, attempts = 0 WHERE publisher = ?1 AND cid = ?2";
            let mut gone = transaction.prepare_cached(gone)?;
            lost.iter().try_for_each(|id| gone.execute(params![publisher, id.to_string()]).map(drop))
        })
        .await
    }

    /// Believes a provider no more: whatever it has confirmed is to be looked for, and published again if it is not there.
    /// Returns how many files it were.
    pub(in crate::metadata) async fn forget(&self, publisher: PublisherRow) -> Result<u64, PublishError> {
        let sql = "UPDATE publications SET published_at_ms = NULL, attempts = 1
                   WHERE publisher = ? AND published_at_ms IS NOT NULL";
        self.write(move |transaction| transaction.execute(sql, [publisher]).map(|files| files as u64)).await
    }

    /// What uploading came to at a provider.
    pub(in crate::metadata) async fn totals(&self, publisher: PublisherRow) -> Result<Totals, PublishError> {
        self.read(move |connection| {
            let sql = "SELECT requests, files, bytes, saved_files, saved_bytes FROM publishers WHERE id = ?";
            connection.prepare_cached(sql)?.query_row([publisher], |row| {
                Ok(Totals {
                    requests: row.get(0)?,
                    files: row.get(1)?,
                    bytes: row.get(2)?,
                    saved_files: row.get(3)?,
                    saved_bytes: row.get(4)?,
                })
            })
        })
        .await
    }
}

pub(super) fn register(
    transaction: &Transaction<'_>,
    publisher: PublisherRow,
    cid: &str,
    bytes: usize,
    attempts: u32,
) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO publications VALUES (?, ?, ?, ?, NULL, NULL)";
    transaction.prepare_cached(sql)?.execute(params![publisher, cid, bytes, attempts]).map(drop)
}

/// Registers the next files behind a cursor; returns the new cursor, if there are more, and how many were new.
fn register_some(
    transaction: &Transaction<'_>,
    publisher: PublisherRow,
    after: &str,
) -> rusqlite::Result<(Option<String>, u64)> {
    let last = "SELECT max(cid) FROM (SELECT cid FROM content WHERE cid > ? ORDER BY cid LIMIT ?)";
    let last: Option<String> =
        transaction.query_row(last, params![after, REGISTER_AT_ONCE], |row| row.get(0)).optional()?.flatten();
    let Some(last) = last else { return Ok((None, 0)) };
    let sql = "INSERT OR IGNORE INTO publications
               SELECT ?, cid, length(bytes), 1, NULL, NULL FROM content WHERE cid > ? AND cid <= ?";
    let registered = transaction.execute(sql, params![publisher, after, last])?;
    Ok((Some(last), registered as u64))
}

fn find_open(connection: &Connection, publisher: PublisherRow, id: ContentId) -> rusqlite::Result<Option<ContentId>> {
    let sql = "SELECT cid FROM publications WHERE publisher = ? AND cid = ? AND published_at_ms IS NULL";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row(params![publisher, id.to_string()], read_id).optional()?.flatten())
}

fn read_id(row: &Row<'_>) -> rusqlite::Result<Option<ContentId>> {
    Ok(ContentId::parse(&row.get::<_, String>(0)?))
}
