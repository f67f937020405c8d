//! The file that a backup is: a tar of a manifest and databases, and what is checked when it is read.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    encryption::{self, BackupKeys},
    error::{BackupError, io_fault, sqlite_fault},
    inspect, private_file, schema,
};
use crate::store::{FILE_NAME, MIGRATIONS};

/// Version of the layout of the file.
pub(super) const FORMAT: u32 = 1;
/// The first part of the file.
const MANIFEST: &str = "manifest.json";
/// No manifest is longer, in bytes.
const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;

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

/// Reads what a backup says of itself, without looking at its parts.
///
/// # Errors
/// When the file is no backup, one of a later version, or encrypted for others.
pub fn read_manifest(path: &Path, keys: &BackupKeys) -> Result<BackupManifest, BackupError> {
    let mut archive = tar::Archive::new(encryption::open(path, keys)?);
    let not_a_backup = |detail| BackupError::NotABackup { path: path.to_owned(), detail };
    let damaged = |fault: io::Error| altered(path, &fault).unwrap_or_else(|| not_a_backup("it is no tar file"));
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
pub fn unpack(path: &Path, keys: &BackupKeys, into: &Path, allowed: &[&str]) -> Result<BackupManifest, BackupError> {
    let manifest = check(path, keys, |part, content| {
        if part.name != FILE_NAME && !allowed.contains(&part.name.as_str()) {
            return Err(io::Error::other(format!("{:?} has no place here", part.name)));
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

/// Writes manifest and databases, and hands the target back, to be finished as its kind needs it.
pub(super) fn pack<W: Write>(manifest: &BackupManifest, copies: &Path, target: W) -> io::Result<W> {
    let mut archive = tar::Builder::new(target);
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
    archive.into_inner()
}

/// Reads a backup from end to end, hands the content of each part on, and compares what was read with the manifest.
pub(super) fn check(
    path: &Path,
    keys: &BackupKeys,
    mut take: impl FnMut(&BackupPart, &mut dyn Read) -> io::Result<()>,
) -> Result<BackupManifest, BackupError> {
    let manifest = read_manifest(path, keys)?;
    let not_a_backup = |detail| BackupError::NotABackup { path: path.to_owned(), detail };
    let cut_short = |fault: io::Error| altered(path, &fault).unwrap_or_else(|| not_a_backup("it ends too soon"));
    let mut archive = tar::Archive::new(encryption::open(path, keys)?);
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
        taken.map_err(|fault| altered(path, &fault).unwrap_or_else(|| io_fault(path)(fault)))?;
        if format!("{:x}", content.digest.finalize()) != part.sha256 {
            return Err(BackupError::Checksum { path: path.to_owned(), part: part.name.clone() });
        }
    }
    Ok(manifest)
}

/// Whether a fault is that of a file that was changed after it was encrypted.
fn altered(path: &Path, fault: &io::Error) -> Option<BackupError> {
    (fault.kind() == io::ErrorKind::InvalidData).then(|| BackupError::Altered { path: path.to_owned() })
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
