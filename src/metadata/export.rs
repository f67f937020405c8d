//! Everything that is published, in one CAR file.
//!
//! The content store is read beside the process that owns it, as it is at one moment, and twice: a CAR names its roots
//! first, and they follow from all that comes after them. Memory holds one file and one directory at a time.

use std::{
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use cid::Cid;
use rusqlite::{Connection, OpenFlags};
use tempfile::NamedTempFile;
use thiserror::Error;

use super::{car, local, unixfs};
use unixfs::{Block, MAX_ENTRIES};

/// Why nothing was exported.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The content store cannot be read.
    #[error("cannot read the content store {path}: {source}; check DATA_DIR, and that `boxoffice serve` has run there", path = path.display())]
    Store {
        /// Its file.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// The file is there already.
    #[error("{path} exists, and nothing is overwritten; choose another name", path = path.display())]
    Exists {
        /// The file to write.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// The file to write.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// What is published under an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its address in base32.
    pub cid: String,
    /// Its size.
    pub bytes: u64,
    /// Its media type.
    pub media_type: String,
}

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Directories from which everything can be reached; one up to 6,250,000 files.
    pub roots: Vec<Cid>,
    /// Files, as they were published.
    pub files: u64,
    /// Blocks, those of the directories too.
    pub blocks: u64,
    /// Size of the CAR file.
    pub bytes: u64,
    /// Addresses of files whose bytes are not what they say; they are left out.
    pub damaged: Vec<String>,
}

/// A fault on the way: of the source, or of the target.
#[derive(Debug, Error)]
enum Fault {
    #[error(transparent)]
    Source(#[from] rusqlite::Error),
    #[error(transparent)]
    Target(#[from] io::Error),
}

/// Lists what is published in a data folder, in the order of addresses.
///
/// # Errors
/// When the content store cannot be read, or `each` fails.
pub fn list(folder: &Path, mut each: impl FnMut(Entry) -> io::Result<()>) -> Result<(), ExportError> {
    let path = folder.join(local::FILE_NAME);
    let mut work = || -> Result<(), Fault> {
        let connection = open(&path)?;
        let mut statement = connection.prepare("SELECT cid, length(bytes), media_type FROM content ORDER BY cid")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            each(Entry { cid: row.get(0)?, bytes: row.get(1)?, media_type: row.get(2)? })?;
        }
        Ok(())
    };
    work().map_err(|fault| told(fault, &path, Path::new("the list")))
}

/// Writes everything that is published in a data folder to `target`: under a temporary name first, so that a file of this
/// name is always whole.
///
/// # Errors
/// See [`ExportError`]; nothing is left behind then.
pub fn write(folder: &Path, target: &Path) -> Result<Exported, ExportError> {
    let path = folder.join(local::FILE_NAME);
    let exists = || ExportError::Exists { path: target.to_owned() };
    if target.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let work = || {
        let mut connection = open(&path)?;
        // Both passes see the same moment.
        let snapshot = connection.transaction()?;
        let place = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = NamedTempFile::new_in(place)?;
        let exported = pack(&snapshot, &file)?;
        file.as_file().sync_all()?;
        Ok((file, exported))
    };
    let (file, exported) = work().map_err(|fault: Fault| told(fault, &path, target))?;
    file.persist_noclobber(target).map_err(|refused| {
        // Somebody else was quicker.
        let taken = refused.error.kind() == io::ErrorKind::AlreadyExists;
        if taken { exists() } else { ExportError::Write { path: target.to_owned(), source: refused.error } }
    })?;
    Ok(exported)
}

fn told(fault: Fault, store: &Path, target: &Path) -> ExportError {
    match fault {
        Fault::Source(source) => ExportError::Store { path: store.to_owned(), source },
        Fault::Target(source) => ExportError::Write { path: target.to_owned(), source },
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

fn pack(snapshot: &Connection, file: &NamedTempFile) -> Result<Exported, Fault> {
    let mut exported = Exported::default();
    let mut plan = Tree::default();
    walk(snapshot, &mut plan, &mut exported, |_block| Ok(()))?;
    exported.roots = plan.roots;

    let mut out = BufWriter::with_capacity(1 << 20, file.as_file());
    let mut writer = car::Writer::begin(&mut out, &exported.roots)?;
    // The same walk gives the same blocks.
    walk(snapshot, &mut Tree::default(), &mut Exported::default(), |block| writer.add(&block))?;
    let car::Written { blocks, bytes } = writer.written();
    out.flush()?;
    Ok(Exported { blocks, bytes, ..exported })
}

/// Directories in the making.
#[derive(Debug, Default)]
struct Tree {
    /// Of the directory of files that is being filled.
    files: Vec<(String, Cid, u64)>,
    /// Full directories of files, and what is below each in bytes.
    directories: Vec<(String, Cid, u64)>,
    roots: Vec<Cid>,
}

/// Takes every file that is whole, and every directory when it is full: each block once, in an order that is always the same.
fn walk(
    snapshot: &Connection,
    tree: &mut Tree,
    exported: &mut Exported,
    mut each: impl FnMut(Block) -> io::Result<()>,
) -> Result<(), Fault> {
    let mut statement = snapshot.prepare("SELECT cid, bytes FROM content ORDER BY cid")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (name, bytes): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let file = unixfs::file(&bytes.into());
        if file.root.to_string() != name {
            exported.damaged.push(name);
            continue;
        }
        exported.files = exported.files.saturating_add(1);
        file.blocks.into_iter().try_for_each(&mut each)?;
        tree.files.push((name, file.root, file.cumulative_size));
        if tree.files.len() == MAX_ENTRIES {
            tree.close_directory(&mut each)?;
        }
    }
    tree.finish(&mut each)?;
    Ok(())
}

impl Tree {
    /// Ends the directory of files that is being filled.
    fn close_directory(&mut self, each: &mut impl FnMut(Block) -> io::Result<()>) -> io::Result<()> {
        if self.directories.len() == MAX_ENTRIES {
            self.close_root(each)?;
        }
        let directory = unixfs::directory(&self.files);
        let size = sizes(&self.files).saturating_add(directory.bytes.len() as u64);
        self.directories.push((format!("{:06}", self.directories.len()), directory.cid, size));
        self.files.clear();
        each(directory)
    }

    /// Ends the directory of directories that is being filled.
    fn close_root(&mut self, each: &mut impl FnMut(Block) -> io::Result<()>) -> io::Result<()> {
        let root = unixfs::directory(&self.directories);
        self.roots.push(root.cid);
        self.directories.clear();
        each(root)
    }

    fn finish(&mut self, each: &mut impl FnMut(Block) -> io::Result<()>) -> io::Result<()> {
        // A few files, or none: one directory is all.
        if self.directories.is_empty() && self.roots.is_empty() {
            let only = unixfs::directory(&self.files);
            self.roots.push(only.cid);
            return each(only);
        }
        if !self.files.is_empty() {
            self.close_directory(each)?;
        }
        self.close_root(each)
    }
}

fn sizes(entries: &[(String, Cid, u64)]) -> u64 {
    entries.iter().map(|(_, _, size)| *size).fold(0, u64::saturating_add)
}
