//! The local content store: a SQLite file of blobs, for small files are quicker there than one by one on a file system, and
//! a thousand of them cost one fsync. Beside them it records what was published where (`publications`).

pub(super) mod publications;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, params};

use super::{Content, ContentId, PublishError, Publisher};
use publications::PublisherRow;

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
    /// The providers for which every file that comes in is registered.
    registered: Arc<Mutex<Vec<PublisherRow>>>,
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
            connection.execute_batch(publications::SCHEMA)?;
            Ok(Arc::new(Mutex::new(connection)))
        };
        let connect = || connect().map_err(|source| fault(&path, source));
        let (writer, reader) = (connect()?, connect()?);
        Ok(Self { path, writer, reader, registered: Arc::default() })
    }

    fn registered(&self) -> Vec<PublisherRow> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, PublishError> {
        self.with(&self.reader, work).await
    }

    /// Does some work in one commit.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, PublishError> {
        let work = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        self.with(&self.writer, work).await
    }

    /// The media type of a file, and its bytes in number; none if it is not kept here.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn describe(&self, id: ContentId) -> Result<Option<(String, u64)>, PublishError> {
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT media_type, length(bytes) FROM content WHERE cid = ?")?
                .query_row([id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .await
    }

    /// A piece of a file: at most `length` bytes from `from` on; empty beyond its end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn piece(&self, id: ContentId, from: u64, length: u64) -> Result<Vec<u8>, PublishError> {
        self.read(move |connection| {
            // Counted from 1.
            let piece = connection
                .prepare_cached("SELECT substr(bytes, ? + 1, ?) FROM content WHERE cid = ?")?
                .query_row(params![from, length, id.to_string()], |row| row.get(0))
                .optional()?;
            Ok(piece.unwrap_or_default())
        })
        .await
    }

    /// Lets SQLite refresh what it knows of its table, and brings over from the write-ahead log what nobody reads just now:
    /// publishing waits meanwhile, so it waits for nobody.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn keep_house(&self) -> Result<(), PublishError> {
        let tidy = |connection: &mut Connection| {
            connection.execute_batch("PRAGMA optimize")?;
            connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_row| Ok(()))
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

/// Takes a file in. What was damaged is mended; what is there as it should be costs nothing.
fn insert(transaction: &Transaction<'_>, cid: &str, content: &Content) -> rusqlite::Result<()> {
    let sql = "INSERT INTO content VALUES (?, ?, ?)
               ON CONFLICT (cid) DO UPDATE SET bytes = excluded.bytes WHERE bytes <> excluded.bytes";
    transaction.prepare_cached(sql)?.execute(params![cid, content.media_type, content.bytes.as_ref()]).map(drop)
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
        self.keep(contents, None).await.map(drop)
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
