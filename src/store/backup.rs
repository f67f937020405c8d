//! Backups: consistent copies of the databases of a data folder in one file, taken while the box goes on minting.
//!
//! The file is a plain tar of `manifest.json` and the databases: every tool can look inside, and each part opens as the
//! database that it is. Both parts are written through SQLite's backup interface in one step, so each is one moment's state and
//! the writer never waits. The books come first: whatever they refer to was published before, and is in the copy of the
//! content that follows. The live files are never opened but by SQLite: closing them otherwise would drop its locks.

use std::{
    fs::{self, File},
    io::{self, Read, Seek as _, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use thiserror::Error;

use super::{FILE_NAME, MIGRATIONS, StoreError, identity, mints};
use crate::domain::mint::MintStatus;

/// Version of the layout of the file.
const FORMAT: u32 = 1;
/// The first part of the file.
const MANIFEST: &str = "manifest.json";
/// No manifest is longer, in bytes.
const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;
/// How files are named while they are written.
pub const PARTIAL_PREFIX: &str = ".boxoffice-backup-";
/// Tries to read a database that another process locks, and the pause between them.
const COPY_TRIES: u32 = 200;
const COPY_PAUSE: Duration = Duration::from_millis(50);

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupManifest {
    /// Layout of the file.
    pub format: u32,
    /// Version of the program that wrote it.
    pub version: String,
    /// Schema version of the books.
    pub schema: usize,
    /// The network's name when the books were begun.
    pub network: String,
    /// Genesis hash of the chain, base58.
    pub genesis_hash: String,
    /// Public key of the wallet that mints, base58.
    pub authority: String,
    /// When it was written, RFC 3339 in UTC.
    pub created_at: String,
    /// Tickets in the books by state.
    pub counts: BackupCounts,
    /// The databases, in their order in the file.
    pub parts: Vec<BackupPart>,
}

/// The part of a manifest that every version has.
#[derive(Deserialize)]
struct Layout {
    format: u32,
    version: String,
    schema: usize,
}

/// Tickets by state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupCounts {
    /// All of them.
    pub total: u64,
    /// Accepted, nothing signed.
    pub pending: u64,
    /// Signed, and not settled.
    pub minting: u64,
    /// On the chain.
    pub minted: u64,
    /// Given up.
    pub failed: u64,
}

/// One database inside a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupPart {
    /// Its name in the data folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of it, in hexadecimal.
    pub sha256: String,
}

/// Why a backup cannot be written or read.
#[derive(Debug, Error)]
pub enum BackupError {
    /// There is nothing to back up.
    #[error("there are no books in {folder}; correct DATA_DIR", folder = folder.display())]
    NoBooks {
        /// The data folder.
        folder: PathBuf,
    },
    /// The books were made but never used.
    #[error("the books in {folder} belong to no chain yet: the box has not been started with them", folder = folder.display())]
    Unbound {
        /// The data folder.
        folder: PathBuf,
    },
    /// Nothing is ever overwritten.
    #[error("{path} exists already, and a backup overwrites nothing; choose another name", path = path.display())]
    Exists {
        /// The file that was to be written.
        path: PathBuf,
    },
    /// A file or folder.
    #[error("cannot use {path}: {source}", path = path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A database cannot be copied or opened.
    #[error("cannot copy or open the database {path}: {source}", path = path.display())]
    Sqlite {
        /// Which one.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// A copy was made, and SQLite finds fault with it: so it would with the original.
    #[error("{part} is damaged: {said}; keep the backups that there are, and see `boxoffice restore --help`")]
    Damaged {
        /// The database.
        part: String,
        /// SQLite's finding.
        said: String,
    },
    /// The books cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something else.
    #[error("{path} is no backup made by `boxoffice backup`, or was cut short: {detail}", path = path.display())]
    NotABackup {
        /// The file.
        path: PathBuf,
        /// What is missing or too much.
        detail: &'static str,
    },
    /// A part is not what the manifest says.
    #[error("{path} is damaged: its {part} has not the checksum that its manifest has; take another backup", path = path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The database inside.
        part: String,
    },
    /// A later version wrote it.
    #[error("{path} was written by boxoffice {version} with schema {found}, and this version knows {known}; install that version or a later one", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version that wrote it.
        version: String,
        /// Its schema.
        found: usize,
        /// Newest schema of this program.
        known: usize,
    },
}

fn io_fault(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::Io { path: path.to_owned(), source }
}

fn sqlite_fault(path: &Path) -> impl FnOnce(rusqlite::Error) -> BackupError {
    move |source| BackupError::Sqlite { path: path.to_owned(), source }
}

/// Writes a backup of the books and of `others`, databases of the same data folder that the books refer to. Beside a running
/// box or without one; blocks until the file is on disk and was read back.
///
/// # Errors
/// See [`BackupError`]; no file is left behind then.
pub fn write(folder: &Path, others: &[&str], target: &Path, created_at: &str) -> Result<BackupManifest, BackupError> {
    if target.exists() {
        return Err(BackupError::Exists { path: target.to_owned() });
    }
    if !folder.join(FILE_NAME).exists() {
        return Err(BackupError::NoBooks { folder: folder.to_owned() });
    }
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Beside the target, where a backup has room; readable by this user only, as the books are.
    let copies = tempfile::Builder::new().prefix(PARTIAL_PREFIX).tempdir_in(parent).map_err(io_fault(parent))?;
    let mut parts = Vec::new();
    for name in std::iter::once(&FILE_NAME).chain(others) {
        parts.push(copy(folder, copies.path(), name)?);
    }
    let manifest = describe(folder, copies.path(), parts, created_at)?;
    let partial = tempfile::Builder::new().prefix(PARTIAL_PREFIX).tempfile_in(parent).map_err(io_fault(parent))?;
    pack(&manifest, copies.path(), &partial).map_err(io_fault(target))?;
    drop(copies);
    check(partial.path(), |_part, content| io::copy(content, &mut io::sink()).map(drop))?;
    match partial.persist_noclobber(target) {
        Ok(file) => file.sync_all().and_then(|()| sync_folder(parent)).map_err(io_fault(target))?,
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(BackupError::Exists { path: target.to_owned() });
        }
        Err(error) => return Err(BackupError::Io { path: target.to_owned(), source: error.error }),
    }
    Ok(manifest)
}

/// Reads what a backup says of itself, without looking at its parts.
///
/// # Errors
/// When the file is no backup, or one of a later version.
pub fn read_manifest(path: &Path) -> Result<BackupManifest, BackupError> {
    let mut archive = tar::Archive::new(File::open(path).map_err(io_fault(path))?);
    let not_a_backup = |detail| BackupError::NotABackup { path: path.to_owned(), detail };
    let damaged = |_error: io::Error| not_a_backup("it is no tar file");
    let first = archive.entries().map_err(damaged)?.next().ok_or_else(|| not_a_backup("it is empty"))?;
    let first = first.map_err(damaged)?;
    if first.path_bytes() != MANIFEST.as_bytes() {
        return Err(not_a_backup("it does not begin with a manifest"));
    }
    let mut text = Vec::new();
    first.take(MAX_MANIFEST_BYTES).read_to_end(&mut text).map_err(damaged)?;
    let layout: Layout =
        serde_json::from_slice(&text).map_err(|_invalid| not_a_backup("its manifest makes no sense"))?;
    if layout.format > FORMAT || layout.schema > MIGRATIONS.len() {
        let (version, found, known) = (layout.version, layout.schema, MIGRATIONS.len());
        return Err(BackupError::Newer { path: path.to_owned(), version, found, known });
    }
    let manifest: BackupManifest =
        serde_json::from_slice(&text).map_err(|_invalid| not_a_backup("its manifest makes no sense"))?;
    let has_books = manifest.parts.first().is_some_and(|part| part.name == FILE_NAME);
    if has_books { Ok(manifest) } else { Err(not_a_backup("the books are not in it")) }
}

/// Unpacks the databases of a backup into a folder, checks each against its checksum, and opens it.
///
/// # Errors
/// When the file is damaged or no backup; what was unpacked so far is left to the caller.
pub fn unpack(path: &Path, into: &Path, allowed: &[&str]) -> Result<BackupManifest, BackupError> {
    let manifest = check(path, |part, content| {
        if part.name != FILE_NAME && !allowed.contains(&part.name.as_str()) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{:?} has no place here", part.name)));
        }
        let mut file = private_file(&into.join(&part.name))?;
        io::copy(content, &mut file)?;
        file.sync_all()
    })?;
    for part in &manifest.parts {
        let unpacked = into.join(&part.name);
        let connection = Connection::open_with_flags(&unpacked, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .map_err(sqlite_fault(&unpacked))?;
        inspect(&connection, &part.name, &unpacked)?;
        let found = schema(&connection).map_err(sqlite_fault(&unpacked))?;
        if part.name == FILE_NAME && found > MIGRATIONS.len() {
            let (version, known) = (manifest.version.clone(), MIGRATIONS.len());
            return Err(BackupError::Newer { path: path.to_owned(), version, found, known });
        }
    }
    Ok(manifest)
}

/// Makes what happened to a folder's names durable.
///
/// # Errors
/// The system's reason.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Copies one database as it is at one moment, and has SQLite look through the copy.
fn copy(folder: &Path, copies: &Path, name: &str) -> Result<BackupPart, BackupError> {
    let (source, target) = (folder.join(name), copies.join(name));
    drop(private_file(&target).map_err(io_fault(&target))?);
    // Not read-only, so that the last to close an idle database leaves no write-ahead log behind.
    let from =
        Connection::open_with_flags(&source, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(sqlite_fault(&source))?;
    let mut to = Connection::open(&target).map_err(sqlite_fault(&target))?;
    copy_pages(&from, &mut to).map_err(sqlite_fault(&source))?;
    drop(from);
    // A single file, whatever happens to it from here on.
    to.pragma_update_and_check(None, "journal_mode", "delete", |_row| Ok(())).map_err(sqlite_fault(&target))?;
    inspect(&to, name, &target)?;
    to.close().map_err(|(_connection, source)| BackupError::Sqlite { path: target.clone(), source })?;
    let mut digest = Sha256::new();
    let bytes = File::open(&target).and_then(|mut file| io::copy(&mut file, &mut digest)).map_err(io_fault(&target))?;
    Ok(BackupPart { name: name.to_owned(), bytes, sha256: format!("{:x}", digest.finalize()) })
}

fn copy_pages(from: &Connection, to: &mut Connection) -> rusqlite::Result<()> {
    to.pragma_update(None, "synchronous", "off")?;
    let backup = Backup::new(from, to)?;
    for _ in 0..COPY_TRIES {
        // All pages in one step: in several, every write of the box in between would have it begin again.
        match backup.step(-1)? {
            StepResult::Done => return Ok(()),
            StepResult::More | StepResult::Busy | StepResult::Locked | _ => std::thread::sleep(COPY_PAUSE),
        }
    }
    Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None))
}

fn schema(connection: &Connection) -> rusqlite::Result<usize> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn inspect(connection: &Connection, part: &str, path: &Path) -> Result<(), BackupError> {
    let said: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sqlite_fault(path))?;
    if said == "ok" { Ok(()) } else { Err(BackupError::Damaged { part: part.to_owned(), said }) }
}

fn describe(
    folder: &Path,
    copies: &Path,
    parts: Vec<BackupPart>,
    created_at: &str,
) -> Result<BackupManifest, BackupError> {
    let books = copies.join(FILE_NAME);
    let connection =
        Connection::open_with_flags(&books, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(sqlite_fault(&books))?;
    let schema = schema(&connection).map_err(sqlite_fault(&books))?;
    let bound = if schema == 0 { None } else { identity::read(&connection)? };
    let identity = bound.ok_or_else(|| BackupError::Unbound { folder: folder.to_owned() })?;
    let counts = mints::counts(&connection, None)?;
    Ok(BackupManifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        schema,
        network: identity.network,
        genesis_hash: identity.genesis_hash,
        authority: identity.authority,
        created_at: created_at.to_owned(),
        counts: BackupCounts {
            total: counts.total(),
            pending: counts.of(MintStatus::Pending),
            minting: counts.of(MintStatus::Minting),
            minted: counts.of(MintStatus::Minted),
            failed: counts.of(MintStatus::Failed),
        },
        parts,
    })
}

fn pack(manifest: &BackupManifest, copies: &Path, target: &NamedTempFile) -> io::Result<()> {
    let mut archive = tar::Builder::new(io::BufWriter::new(target.as_file()));
    let seconds = manifest.created_at.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second).unwrap_or_default();
    let header = |bytes: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(seconds).unwrap_or_default());
        header
    };
    let text = serde_json::to_vec_pretty(manifest)?;
    archive.append_data(&mut header(text.len() as u64), MANIFEST, text.as_slice())?;
    for part in &manifest.parts {
        archive.append_data(&mut header(part.bytes), &part.name, File::open(copies.join(&part.name))?)?;
    }
    archive.into_inner()?.flush()?;
    target.as_file().sync_all()
}

/// Reads a backup from end to end, hands the content of each part on, and compares what was read with the manifest.
fn check(
    path: &Path,
    mut take: impl FnMut(&BackupPart, &mut dyn Read) -> io::Result<()>,
) -> Result<BackupManifest, BackupError> {
    let manifest = read_manifest(path)?;
    let not_a_backup = |detail| BackupError::NotABackup { path: path.to_owned(), detail };
    let cut_short = |_error: io::Error| not_a_backup("it ends too soon");
    let mut file = File::open(path).map_err(io_fault(path))?;
    file.rewind().map_err(io_fault(path))?;
    let mut archive = tar::Archive::new(file);
    let mut entries = archive.entries().map_err(cut_short)?.skip(1);
    for part in &manifest.parts {
        let entry = entries.next().ok_or_else(|| not_a_backup("a part is missing"))?.map_err(cut_short)?;
        if entry.path_bytes() != part.name.as_bytes() {
            return Err(not_a_backup("its parts are not those of its manifest"));
        }
        let mut content = Digesting { inner: entry, bytes: 0, digest: Sha256::new() };
        let taken = take(part, &mut content);
        let ended = taken.as_ref().is_err_and(|fault| fault.kind() == io::ErrorKind::UnexpectedEof);
        if ended || (taken.is_ok() && content.bytes != part.bytes) {
            return Err(not_a_backup("it ends too soon"));
        }
        taken.map_err(io_fault(path))?;
        if format!("{:x}", content.digest.finalize()) != part.sha256 {
            return Err(BackupError::Checksum { path: path.to_owned(), part: part.name.clone() });
        }
    }
    Ok(manifest)
}

/// Counts and digests what is read through it.
struct Digesting<R> {
    inner: R,
    bytes: u64,
    digest: Sha256,
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes = self.bytes.saturating_add(read as u64);
        self.digest.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
