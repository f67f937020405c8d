//! The books: one SQLite file, one writer, a pool of readers.
//!
//! Services call the typed functions of the submodules (one for each aggregate) and never see SQL. Every write is durable
//! when its future resolves: WAL with `synchronous=FULL`, and writes that wait at the same time share one commit.

mod accept;
mod alerts;
mod answers;
mod attempt_history;
mod attempts;
mod audit;
pub mod backup;
mod batches;
mod budgets;
mod finality;
mod forecast;
mod housekeeping;
mod identity;
mod images;
mod jobs;
mod keys;
mod mints;
mod readers;
mod reconciliation;
mod retry;
#[cfg(feature = "localnet")]
mod sample;
mod settlements;
mod spending;
mod stats;
mod tally;
mod trends;
mod venues;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus::{HistogramOpts, HistogramVec, Registry};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rusqlite_migration::{M, Migrations, SchemaVersion};
use thiserror::Error;

pub use accept::{Accepted, DOOR_BATCH, Entry, NewBatch, NewTicket, Preview, PreviewFailure, SpendingRules};
pub(crate) use alerts::Compose;
pub use alerts::{AlertFilter, AlertRecord, Attempt, DeliveryRecord, NewDelivery, Place, QueuedDelivery};
pub use answers::KeptAnswer;
pub use attempt_history::AttemptRecord;
pub use attempts::{LastAttempt, NewAttempt, OpenAttempt, OpenTicket, PendingMint, Published};
pub use audit::{AuditRecord, NewAuditRecord};
pub use batches::{BatchEntry, BatchFilter, BatchRecord};
pub use budgets::{Budget, Budgets};
pub use finality::{Proof, UnprovenMint};
pub use forecast::{Record, Retries, peek_record};
pub use housekeeping::Housekeeping;
pub use identity::Identity;
pub use images::EventImage;
pub use jobs::{JobPast, JobRun, JobSuccess, NewJobRun, RunOutcome, Trigger};
pub use keys::{ApiKey, NewApiKey};
pub use mints::{Counts, MintFilter, MintRecord};
pub use reconciliation::{BookedMint, Change, Correction, LatestReport, Report, SignedFor};
pub use settlements::{MintedTicket, Settled, Settlement, TicketVerdict, Verdict};
pub use stats::{Period, Step, VenueStats};
pub use trends::{BoxCounts, BoxPeriod, EndpointPeriod};
pub use venues::{EventRecord, VenueRecord};

use readers::Readers;
use writer::Writer;

/// Name of the database inside the data folder.
pub const FILE_NAME: &str = "boxoffice.db";

const MIGRATIONS: &[M<'static>] = &[
    M::up(include_str!("../migrations/0001_books.sql")),
    M::up(include_str!("../migrations/0002_api.sql")),
    M::up(include_str!("../migrations/0003_alerts.sql")),
    M::up(include_str!("../migrations/0004_jobs.sql")),
    M::up(include_str!("../migrations/0005_reconciliation.sql")),
    M::up(include_str!("../migrations/0006_not_before.sql")),
    M::up(include_str!("../migrations/0007_event_images.sql")),
    M::up(include_str!("../migrations/0008_finality.sql")),
    M::up(include_str!("../migrations/0009_fees_and_budgets.sql")),
    M::up(include_str!("../migrations/0010_forecast.sql")),
    M::up(include_str!("../migrations/0011_trends.sql")),
];
/// Connections that read. Reads take microseconds; four cover a page that asks for everything at once.
const READERS: usize = 4;
/// How long SQLite waits for a lock that another process (a backup, a curious operator) holds, in milliseconds.
const BUSY_TIMEOUT_MS: u32 = 5_000;

/// What can go wrong with the books.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file cannot be opened.
    #[error("cannot open {path}: {source}; check that the folder exists, that this user may write to it, and that files can be opened at all (ulimit -n)", path = path.display())]
    Open {
        /// The database file.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// The file is something else or damaged.
    #[error("{path} is not a healthy SQLite database; restore a backup, or move the file away: minted tickets are found again on the chain", path = path.display())]
    Corrupt {
        /// The database file.
        path: PathBuf,
    },
    /// A later version of the program wrote the file.
    #[error("{path} was written by a newer boxoffice (schema {found}, this one knows {known}); install that version again, or restore the backup from before the upgrade", path = path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Schema version of the file.
        found: usize,
        /// Newest schema version of this program.
        known: usize,
    },
    /// The file's schema is of an earlier version, and its owner is running.
    #[error("{path} is still in the hands of an older boxoffice; stop that one and start this version once", path = path.display())]
    Older {
        /// The database file.
        path: PathBuf,
    },
    /// The schema cannot be brought up to date.
    #[error("cannot upgrade {path}: {source}", path = path.display())]
    Migration {
        /// The database file.
        path: PathBuf,
        /// The migration's reason.
        source: rusqlite_migration::Error,
    },
    /// No space left; nothing of the refused write is kept.
    #[error("the disk that holds the data folder is full; free some space, and everything goes on by itself")]
    DiskFull,
    /// The database is bound to another chain or wallet.
    #[error(
        "this data folder belongs to {what} {bound}, but the settings lead to {found}; \
         use another DATA_DIR for another chain or wallet, or correct {setting}"
    )]
    OtherIdentity {
        /// What differs: "the chain with genesis hash" or "the wallet".
        what: &'static str,
        /// What the database is bound to.
        bound: String,
        /// What the settings lead to.
        found: String,
        /// The setting to correct.
        setting: &'static str,
    },
    /// Another process holds the lock for too long, or a neighbour's write met a full disk.
    #[error(
        "the database is busy, or its disk fails or has become read-only (the system's log says so); the same request may be sent again"
    )]
    Unavailable,
    /// A batch would cost more than may be spent.
    #[error(transparent)]
    Refused(#[from] crate::domain::spending::Refusal),
    /// A row changed under a writer that relied on it: a bug, never a user's fault.
    #[error("the books changed underneath a write ({0}); nothing was written")]
    Conflict(&'static str),
    /// A key's name is taken.
    #[error("there is or was a key named {0}, and the audit trail speaks of it; choose another name")]
    KeyExists(String),
    /// Any other fault of SQLite.
    #[error("the database refused: {0}")]
    Sqlite(#[source] rusqlite::Error),
    /// An instrument with an impossible name: a bug.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// The writer has ended: the process is shutting down.
    #[error("the database is closed")]
    Closed,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            // A disk that fails, or that the kernel has made read-only because it does.
            Some(ErrorCode::ReadOnly | ErrorCode::SystemIoFailure) => Self::Unavailable,
            _ => Self::Sqlite(error),
        }
    }
}

/// The books. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    writer: Writer,
    readers: Readers,
    seconds: HistogramVec,
    version: Arc<AtomicU64>,
    /// Lamports that settled tickets have cost since the process began.
    settled: Arc<AtomicU64>,
}

impl Store {
    /// Opens the database in a data folder, creates it if it is missing, and brings its schema up to date.
    ///
    /// # Errors
    /// See [`StoreError`]; each names the file and the remedy.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE_NAME);
        let mut connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        connection
            .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))
            .map_err(|source| unhealthy(&path, source))?;
        migrate(&path, &mut connection)?;
        Self::over(&path, connection)
    }

    fn over(path: &Path, connection: Connection) -> Result<Self, StoreError> {
        connection.pragma_update(None, "synchronous", "full")?;
        let seconds = HistogramOpts::new("boxoffice_sqlite_seconds", "Seconds that queries and group commits took.");
        let buckets = vec![0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];
        let seconds = HistogramVec::new(seconds.buckets(buckets), &["operation"])?;
        let (reads, commits) = (seconds.with_label_values(&["read"]), seconds.with_label_values(&["commit"]));
        let readers = Readers::open(READERS, reads, || connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY))?;
        let version = Arc::default();
        let writer = Writer::start(connection, commits, Arc::clone(&version));
        Ok(Self { path: path.to_owned(), writer, readers, seconds, version, settled: Arc::default() })
    }

    /// Opens the books beside the process that owns them, for small writes: the schema is left as it is.
    ///
    /// # Errors
    /// [`StoreError::Older`] when the schema is not this program's, or another fault.
    pub fn open_beside(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE_NAME);
        let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let version = Migrations::from_slice(MIGRATIONS).current_version(&connection);
        match version.map_err(|source| StoreError::Migration { path: path.clone(), source })? {
            SchemaVersion::Inside(version) if version.get() == MIGRATIONS.len() => Self::over(&path, connection),
            SchemaVersion::NoneSet | SchemaVersion::Inside(_) => Err(StoreError::Older { path }),
            SchemaVersion::Outside(found) => {
                Err(StoreError::Newer { path, found: found.get(), known: MIGRATIONS.len() })
            }
        }
    }

    /// Grows with every commit of this process: what was read at a version is what would be read at the same version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Has its instruments shown.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.seconds.clone()))
    }

    /// Waits for what is under way and closes the file. The writer comes last, so that it leaves no write-ahead log behind:
    /// the one file is all of the books.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Whether there are books in a data folder whose schema is older than this program's. The caller owns the folder.
///
/// # Errors
/// See [`StoreError`].
pub fn is_outdated(folder: &Path) -> Result<bool, StoreError> {
    let path = folder.join(FILE_NAME);
    if !path.exists() {
        return Ok(false);
    }
    // Not read-only: after a crash there may be a write-ahead log to take in.
    let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let version = Migrations::from_slice(MIGRATIONS).current_version(&connection);
    let version = version.map_err(|source| StoreError::Migration { path, source })?;
    Ok(matches!(version, SchemaVersion::Inside(version) if version.get() < MIGRATIONS.len()))
}

/// Reads the counts of a data folder without taking it from the process that owns it.
///
/// # Errors
/// See [`StoreError`].
pub fn peek(folder: &Path) -> Result<(Option<Identity>, Counts), StoreError> {
    let path = folder.join(FILE_NAME);
    let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let read = || Ok((identity::read(&connection)?, mints::counts(&connection, None)?));
    read().map_err(|error| if let StoreError::Sqlite(source) = error { unhealthy(&path, source) } else { error })
}

/// Whether a key was ever made in a data folder, without taking it from the process that owns it.
///
/// # Errors
/// See [`StoreError`].
pub fn peek_keys(folder: &Path) -> Result<bool, StoreError> {
    let path = folder.join(FILE_NAME);
    let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    // Books that were only just begun, or that an early version wrote, have no place for keys.
    let read = || Ok(connection.table_exists(None, "api_keys")? && keys::has_keys(&connection)?);
    read().map_err(|error| if let StoreError::Sqlite(source) = error { unhealthy(&path, source) } else { error })
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let open = || {
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(std::time::Duration::from_millis(BUSY_TIMEOUT_MS.into()))?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "temp_store", "memory")?;
        connection.set_prepared_statement_cache_capacity(256);
        Ok(connection)
    };
    open().map_err(|source: rusqlite::Error| unhealthy(path, source))
}

fn unhealthy(path: &Path, source: rusqlite::Error) -> StoreError {
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::Corrupt { path: path.to_owned() },
        Some(ErrorCode::DiskFull) => StoreError::DiskFull,
        _ => StoreError::Open { path: path.to_owned(), source },
    }
}

fn migrate(path: &Path, connection: &mut Connection) -> Result<(), StoreError> {
    let migrations = Migrations::from_slice(MIGRATIONS);
    let failed = |source| StoreError::Migration { path: path.to_owned(), source };
    if let SchemaVersion::Outside(found) = migrations.current_version(connection).map_err(failed)? {
        return Err(StoreError::Newer { path: path.to_owned(), found: found.get(), known: MIGRATIONS.len() });
    }
    migrations.to_latest(connection).map_err(failed)
}

/// How SQLite goes about a query, in books that are new.
#[cfg(test)]
fn plan_of(sql: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    let mut books = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE).unwrap();
    migrate(&path, &mut books).unwrap();
    let mut plan = books.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let (mut rows, mut steps) = (plan.raw_query(), Vec::new());
    while let Some(row) = rows.next().unwrap() {
        steps.push(row.get::<_, String>(3).unwrap());
    }
    steps.join("; ")
}
