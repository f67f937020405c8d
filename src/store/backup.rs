//! Backups: consistent copies of the databases of a data folder in one file, taken while the box goes on minting.
//!
//! The file is a plain tar of `manifest.json` and the databases: every tool can look inside, and each part opens as the
//! database that it is. Both parts are written through SQLite's backup interface in one step, so each is one moment's state and
//! the writer never waits. The books come first: whatever they refer to was published before, and is in the copy of the
//! content that follows. The live files are never opened but by SQLite: closing them otherwise would drop its locks.

mod archive;
mod encryption;
mod error;

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
    time::Duration,
};

use archive::{BackupCounts, BackupPart};
pub use archive::{BackupManifest, read_manifest, unpack};
pub use encryption::{BackupKeys, Recipients};
pub use error::BackupError;
use error::{io_fault, sqlite_fault};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};
use sha2::{Digest as _, Sha256};

use super::{FILE_NAME, identity, mints};
use crate::domain::mint::MintStatus;

/// How files are named while they are written.
pub const PARTIAL_PREFIX: &str = ".boxoffice-backup-";
/// Tries to read a database that another process locks, and the pause between them.
const COPY_TRIES: u32 = 200;
const COPY_PAUSE: Duration = Duration::from_millis(50);

/// Writes a backup of the books and of `others`, databases of the same data folder that the books refer to. Beside a running
/// box or without one; encrypted if there are recipients. Blocks until the file is on disk and was read back.
///
/// # Errors
/// See [`BackupError`]; no file is left behind then.
pub fn write(
    folder: &Path,
    others: &[&str],
    target: &Path,
    created_at: &str,
    recipients: &Recipients,
) -> Result<BackupManifest, BackupError> {
    if target.exists() {
        return Err(BackupError::Exists { path: target.to_owned() });
    }
    if !folder.join(FILE_NAME).exists() {
        return Err(BackupError::NoBooks { folder: folder.to_owned() });
    }
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Beside the target, where a backup has room; but what is to be encrypted reaches no other disk before it is. Readable
    // by this user only, as the books are.
    let room = if recipients.is_empty() { parent } else { folder };
    let copies = tempfile::Builder::new().prefix(PARTIAL_PREFIX).tempdir_in(room).map_err(io_fault(room))?;
    let mut parts = Vec::new();
    for name in std::iter::once(&FILE_NAME).chain(others) {
        parts.push(copy(folder, copies.path(), name)?);
    }
    let manifest = describe(folder, copies.path(), parts, created_at)?;
    let partial = tempfile::Builder::new().prefix(PARTIAL_PREFIX).tempfile_in(parent).map_err(io_fault(parent))?;
    let reader = fill(&manifest, copies.path(), partial.as_file(), recipients).map_err(io_fault(target))?;
    drop(copies);
    archive::check(partial.path(), &reader, |_part, content| io::copy(content, &mut io::sink()).map(drop))?;
    match partial.persist_noclobber(target) {
        Ok(file) => file.sync_all().and_then(|()| sync_folder(parent)).map_err(io_fault(target))?,
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(BackupError::Exists { path: target.to_owned() });
        }
        Err(error) => return Err(BackupError::Io { path: target.to_owned(), source: error.error }),
    }
    Ok(manifest)
}

/// Writes the file, and returns what opens it again.
fn fill(manifest: &BackupManifest, copies: &Path, file: &File, recipients: &Recipients) -> io::Result<BackupKeys> {
    let mut output = BufWriter::new(file);
    let reader = if recipients.is_empty() {
        archive::pack(manifest, copies, &mut output)?;
        BackupKeys::default()
    } else {
        let (encrypted, reader) = recipients.encrypt(&mut output)?;
        archive::pack(manifest, copies, encrypted)?.finish()?;
        reader
    };
    output.flush()?;
    file.sync_all()?;
    Ok(reader)
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
        format: archive::FORMAT,
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

fn private_file(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
