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
         or talk to it instead, with a command that has --url", path = path.display()
    )]
    Locked {
        /// `DATA_DIR`.
        path: PathBuf,
        /// Its process, as it wrote itself down.
        holder: String,
    },
    /// Its files would belong to root, and its user could no longer write them.
    #[error(
        "the data folder {path} belongs to the user with the id {owner}, and root would leave files in it that this one cannot \
         write: run this as that user (sudo boxofficectl … where the package is installed, or sudo -u '#{owner}' boxoffice …)",
        path = path.display()
    )]
    OfAnother {
        /// `DATA_DIR`.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Another process moves money just now.
    #[error("another `boxoffice payers` is moving money already ({path}); wait until it has finished", path = path.display())]
    Busy {
        /// The lock that it holds.
        path: PathBuf,
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
        leave_to_its_owner(path)?;
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

/// Root may do everything, but must not begin books in a folder of somebody else's.
fn leave_to_its_owner(path: &Path) -> Result<(), FolderError> {
    use std::os::unix::fs::MetadataExt as _;
    let owner = std::fs::metadata(path).map_or(0, |folder| folder.uid());
    if owner != 0 && rustix::process::geteuid().is_root() {
        return Err(FolderError::OfAnother { path: path.to_owned(), owner });
    }
    Ok(())
}

/// A place for one thing that is written ahead of being done: it is whole on the disk, or not there. One process at a time has
/// it, beside the one that owns the data folder.
#[derive(Debug)]
pub struct Outbox {
    folder: PathBuf,
    file: PathBuf,
    _lock: File,
}

impl Outbox {
    /// Takes the place called `name` in a folder, which is made if it is missing.
    ///
    /// # Errors
    /// [`FolderError::Busy`] if another process has it.
    pub fn take(folder: &Path, name: &str) -> Result<Self, FolderError> {
        let fault = |source| FolderError::Io { path: folder.to_owned(), source };
        let path = folder.join(format!("{name}.lock"));
        create_private(folder).and_then(|()| create_private_file(&path)).map_err(fault)?;
        let lock = OpenOptions::new().write(true).open(&path).map_err(fault)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FolderError::Busy { path }),
            Err(TryLockError::Error(source)) => return Err(fault(source)),
        }
        Ok(Self { folder: folder.to_owned(), file: folder.join(format!("{name}.json")), _lock: lock })
    }

    /// What was written and not cleared; none if there is nothing.
    ///
    /// # Errors
    /// When the disk does not give it.
    pub fn read(&self) -> Result<Option<Vec<u8>>, FolderError> {
        match std::fs::read(&self.file) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FolderError::Io { path: self.file.clone(), source }),
        }
    }

    /// Writes it; it is on the disk when this returns.
    ///
    /// # Errors
    /// When it is not: what was there before is there still.
    pub fn write(&self, bytes: &[u8]) -> Result<(), FolderError> {
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(&self.file)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|source| FolderError::Io { path: self.file.clone(), source })
    }

    /// Takes it away: what it speaks of is done.
    ///
    /// # Errors
    /// When the disk refuses; it is then there still.
    pub fn clear(&self) -> Result<(), FolderError> {
        let removed = std::fs::remove_file(&self.file).and_then(|()| File::open(&self.folder)?.sync_all());
        removed.map_err(|source| FolderError::Io { path: self.file.clone(), source })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file
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
