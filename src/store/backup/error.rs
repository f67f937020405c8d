//! Why a backup cannot be written or read: each names the file and the remedy.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::store::StoreError;

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
    #[error("{path} exists already, and nothing is ever overwritten; choose another name", path = path.display())]
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
    /// It is encrypted, and no key was given.
    #[error("{path} is encrypted; name the file that holds the key with --identity", path = path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// It is encrypted for others.
    #[error("none of the {keys} keys given opens {path}: it was encrypted for others; find the key whose public half was in BACKUP_RECIPIENTS when it was written", path = path.display())]
    WrongKey {
        /// The file.
        path: PathBuf,
        /// How many keys were tried.
        keys: usize,
    },
    /// Not what was encrypted.
    #[error("{path} was changed or cut short after it was encrypted; take another backup", path = path.display())]
    Altered {
        /// The file.
        path: PathBuf,
    },
    /// A file that should hold keys.
    #[error("{path} holds no key that opens backups ({detail}); `boxoffice keygen --backup FILE` makes one, and so does age-keygen", path = path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, without its content.
        detail: String,
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

pub(super) fn io_fault(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::Io { path: path.to_owned(), source }
}

pub(super) fn sqlite_fault(path: &Path) -> impl FnOnce(rusqlite::Error) -> BackupError {
    move |source| BackupError::Sqlite { path: path.to_owned(), source }
}
