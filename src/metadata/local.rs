//! The local content store: a SQLite file of blobs, for small files are quicker there than one by one on a file system, and
//! a thousand of them cost one fsync.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use fail::fail_point;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};

use super::{Content, ContentId, PublishError, Publisher};

/// Name of the store inside the data folder.
pub const FILE_NAME: &str = "content.db";

const SCHEMA: &str = "
    PRAGMA journal_mode = wal;
    PRAGMA synchronous = full;
    CREATE TABLE IF NOT EXISTS content (
        cid        TEXT PRIMARY KEY,   -- CIDv1 in base32
        media_type TEXT NOT NULL,
        bytes      BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;";

/// The local content store. Cheap to clone.
#[derive(Clone)]
pub struct LocalContent {
    path: PathBuf,
    writer: Arc<Mutex<Connection>>,
    reader: Arc<Mutex<Connection>>,
}

impl fmt::Debug for LocalContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalContent").field(&self.path).finish()
    }
}

impl LocalContent {
    /// Opens the store in a data folder, or creates it.
    ///
    /// # Errors
    /// When the file cannot be opened or is something else.
    pub fn open(folder: &Path) -> Result<Self, PublishError> {
        let path = folder.join(FILE_NAME);
        let connect = || {
            let connection = Connection::open(&path)?;
            connection.busy_timeout(std::time::Duration::from_secs(5))?;
            connection.execute_batch(SCHEMA)?;
            Ok(Arc::new(Mutex::new(connection)))
        };
        let connect = || connect().map_err(|source| fault(&path, source));
        let (writer, reader) = (connect()?, connect()?);
        Ok(Self { path, writer, reader })
    }

    /// Lets SQLite refresh what it knows of its table, and empties the write-ahead log if nobody reads just now.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn keep_house(&self) -> Result<(), PublishError> {
        let tidy = |connection: &mut Connection| {
            connection.execute_batch("PRAGMA optimize")?;
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_row| Ok(()))
        };
        self.with(&self.writer, tidy).await
    }

    async fn with<T: Send + 'static>(
        &self,
        connection: &Arc<Mutex<Connection>>,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, PublishError> {
        let connection = Arc::clone(connection);
        let work = move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
        let result = tokio::task::spawn_blocking(work).await.map_err(|_panicked| PublishError::Closed)?;
        result.map_err(|source| fault(&self.path, source))
    }
}

fn fault(path: &Path, source: rusqlite::Error) -> PublishError {
    match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => PublishError::DiskFull,
        _ => PublishError::Store { path: path.to_owned(), source },
    }
}

#[async_trait]
impl Publisher for LocalContent {
    async fn publish(&self, contents: Vec<Content>) -> Result<(), PublishError> {
        self.with(&self.writer, move |connection| {
            let transaction = connection.transaction()?;
            for content in contents {
                transaction
                    // What was damaged is mended; what is there as it should be costs nothing.
                    .prepare_cached(
                        "INSERT INTO content VALUES (?, ?, ?)
                         ON CONFLICT (cid) DO UPDATE SET bytes = excluded.bytes WHERE bytes <> excluded.bytes",
                    )?
                    .execute(params![content.id.to_string(), content.media_type, content.bytes.as_ref()])?;
            }
            transaction.commit()?;
            fail_point!("publish.after_commit");
            Ok(())
        })
        .await
    }

    async fn fetch(&self, id: ContentId) -> Result<Option<Content>, PublishError> {
        self.with(&self.reader, move |connection| {
            connection
                .prepare_cached("SELECT media_type, bytes FROM content WHERE cid = ?")?
                .query_row([id.to_string()], |row| {
                    Ok(Content { id, media_type: row.get(0)?, bytes: row.get::<_, Vec<u8>>(1)?.into() })
                })
                .optional()
        })
        .await
    }
}
