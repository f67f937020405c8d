//! The data folder: everything that must survive, owned by one process at a time.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use thiserror::Error;

const LOCK_FILE: &str = "boxoffice.lock";

/// Why the data folder cannot be used.
#[derive(Debug, Error)]
pub enum FolderError {
    /// It cannot be made or written to.
    #[error("cannot use the data folder {path}: {source}; correct DATA_DIR or its permissions", path = path.display())]
    Io {
        /// `DATA_DIR`.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another process owns it.
    #[error(
        "the data folder {path} is in use by another boxoffice ({holder}); stop that one, \
         or talk to it with --url (see `boxoffice mint --help`)", path = path.display()
    )]
    Locked {
        /// `DATA_DIR`.
        path: PathBuf,
        /// Its process, as it wrote itself down.
        holder: String,
    },
}

/// A data folder that this process owns; the lock ends with the process, however it ends.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder and `files` if they are missing, readable by this user only, and takes it.
    ///
    /// # Errors
    /// [`FolderError::Locked`] if another process has it.
    pub fn take(path: &Path, files: &[&str]) -> Result<Self, FolderError> {
        let fault = |source| FolderError::Io { path: path.to_owned(), source };
        prepare(path, files)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut lock = options.open(path.join(LOCK_FILE)).map_err(fault)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                drop(lock.read_to_string(&mut holder));
                let holder = if holder.is_empty() { "unknown process".to_owned() } else { holder };
                return Err(FolderError::Locked { path: path.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(fault(source)),
        }
        // Only tells people who holds it; the lock itself is the system's.
        let note = format!("process {}", std::process::id());
        lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| lock.write_all(note.as_bytes())).map_err(fault)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a data folder if it is missing, without taking it. `files` are made too, readable by this user only, whatever the
/// permissions of the folder.
fn prepare(path: &Path, files: &[&str]) -> Result<(), FolderError> {
    let fault = |source| FolderError::Io { path: path.to_owned(), source };
    create_private(path).map_err(fault)?;
    files.iter().try_for_each(|file| create_private_file(&path.join(file)).map_err(fault))
}

/// Bytes that this user may still write to the disk of a folder.
///
/// # Errors
/// When the system does not say.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn create_private_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The books say who bought what: nobody else on the machine should read them.
fn create_private(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
