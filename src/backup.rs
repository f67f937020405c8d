//! Backups by name and age, and the way back: which file a scheduled backup goes to, how many are kept, and what is checked
//! and moved aside before an old state takes the place of a newer one. Nothing of the books is ever deleted here.
//!
//! Called by the scheduler and the command line. How a backup looks is the store's affair.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use thiserror::Error;

use crate::{
    clock::rfc3339,
    metadata::local,
    store::{
        self,
        backup::{self, BackupError, BackupKeys, BackupManifest, PARTIAL_PREFIX, Recipients},
    },
};

/// The databases that the books refer to.
const OTHERS: &[&str] = &[local::FILE_NAME];
/// What SQLite may leave beside a database.
const COMPANIONS: [&str; 4] = ["", "-wal", "-shm", "-journal"];
/// How the files of scheduled backups begin and end, and what is added to the end of those that are encrypted.
const PREFIX: &str = "boxoffice-";
const SUFFIX: &str = ".tar";
const ENCRYPTED: &str = ".age";
/// How the files of backups before an upgrade begin, and how many of them are kept.
const BEFORE_UPGRADE: &str = "before-upgrade-";
const KEEP_BEFORE_UPGRADE: usize = 3;
/// What an interrupted backup left behind is removed at this age; before, it may be one that is being written.
const ABANDONED: Duration = Duration::from_hours(24);

/// Backups of one data folder into one folder.
#[derive(Clone, Debug)]
pub struct Backups {
    /// The data folder.
    pub data: PathBuf,
    /// Where backups go (`BACKUP_DIR`).
    pub folder: PathBuf,
    /// How many are kept (`BACKUP_KEEP`).
    pub keep: usize,
    /// Who can read them (`BACKUP_RECIPIENTS`).
    pub recipients: Recipients,
}

impl Backups {
    /// Writes a backup under a name of its own, then removes those that are older than the newest `keep`. Blocks.
    ///
    /// # Errors
    /// See [`BackupError`]; nothing is removed then.
    pub fn make(&self, now_ms: i64) -> Result<(PathBuf, BackupManifest), BackupError> {
        self.rotate(PREFIX, self.keep, now_ms)
    }

    /// Writes a backup that is kept apart from the others, for the way back from an upgrade. None of books that were never used.
    /// Blocks.
    ///
    /// # Errors
    /// See [`BackupError`].
    pub fn before_upgrade(&self, now_ms: i64) -> Result<Option<PathBuf>, BackupError> {
        match self.rotate(BEFORE_UPGRADE, KEEP_BEFORE_UPGRADE, now_ms) {
            Ok((path, _manifest)) => Ok(Some(path)),
            Err(BackupError::Unbound { .. }) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    fn rotate(&self, prefix: &str, keep: usize, now_ms: i64) -> Result<(PathBuf, BackupManifest), BackupError> {
        let fault = |source| BackupError::Io { path: self.folder.clone(), source };
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.folder).map_err(fault)?;
        let suffix = if self.recipients.is_empty() { "" } else { ENCRYPTED };
        let path = self.folder.join(format!("{prefix}{}{SUFFIX}{suffix}", stamp(now_ms)));
        let manifest = write(&self.data, &path, now_ms, &self.recipients)?;
        self.tidy(&path, prefix, keep).map_err(fault)?;
        Ok((path, manifest))
    }

    fn tidy(&self, written: &Path, prefix: &str, keep: usize) -> io::Result<()> {
        let mut backups = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if is_made_by_itself(&entry.file_name().to_string_lossy(), prefix) && entry.path() != written {
                backups.push(entry.path());
            }
        }
        // What is encrypted was copied inside the data folder first.
        remove_abandoned(&self.folder)?;
        remove_abandoned(&self.data)?;
        // The names sort by time. The one just written stays in any case, even if the clock was set back.
        backups.sort();
        let surplus = backups.len().saturating_sub(keep.saturating_sub(1));
        backups.iter().take(surplus).try_for_each(fs::remove_file)
    }
}

/// Writes a backup of a data folder to a file that must not exist. Blocks; works beside a running box.
///
/// # Errors
/// See [`BackupError`].
pub fn write(data: &Path, target: &Path, now_ms: i64, recipients: &Recipients) -> Result<BackupManifest, BackupError> {
    backup::write(data, OTHERS, target, &rfc3339(now_ms), recipients)
}

/// What the settings say the books must belong to.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The network's name.
    pub network: &'static str,
    /// The chain's genesis hash, where it is known.
    pub genesis_hash: Option<String>,
    /// The wallet's public key, base58.
    pub authority: String,
}

/// Why a backup is not restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The file.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// It belongs to another chain or wallet.
    #[error("{path} belongs to {what} {theirs}, but the settings lead to {ours}; restore another backup, or correct {setting}", path = path.display())]
    OtherOwner {
        /// The backup.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What the backup belongs to.
        theirs: String,
        /// What the settings say.
        ours: String,
        /// The setting to correct.
        setting: &'static str,
    },
    /// There are books already.
    #[error("{folder} has books already; with --force they are moved aside into a folder beside them, never deleted", folder = folder.display())]
    NotEmpty {
        /// The data folder.
        folder: PathBuf,
    },
    /// A file or folder.
    #[error("cannot use {path}: {source}", path = path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What the backup says of itself.
    pub manifest: BackupManifest,
    /// Where the books are that were there before.
    pub moved_aside: Option<PathBuf>,
}

/// Does with a backup what a restore does, and changes nothing. Blocks; needs room for the databases in the folder `room`.
///
/// # Errors
/// See [`RestoreError`].
pub fn verify(backup: &Path, keys: &BackupKeys, owner: &Owner, room: &Path) -> Result<BackupManifest, RestoreError> {
    compare(backup, &backup::read_manifest(backup, keys)?, owner)?;
    let fault = |source| RestoreError::Io { path: room.to_owned(), source };
    let unpacked = tempfile::Builder::new().prefix(PARTIAL_PREFIX).tempdir_in(room).map_err(fault)?;
    Ok(backup::unpack(backup, keys, unpacked.path(), OTHERS)?)
}

/// Puts a backup in the place of the books of a data folder, which the caller owns. Blocks.
///
/// # Errors
/// See [`RestoreError`]; nothing has changed then, unless a rename fails halfway: then the rest is in the folder that the
/// books were moved aside to.
pub fn restore(
    backup: &Path,
    keys: &BackupKeys,
    data: &Path,
    owner: &Owner,
    force: bool,
    now_ms: i64,
) -> Result<Restored, RestoreError> {
    let fault = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::Io { path, source }
    };
    let manifest = backup::read_manifest(backup, keys)?;
    compare(backup, &manifest, owner)?;
    let names = || std::iter::once(&store::FILE_NAME).chain(OTHERS);
    let in_place: Vec<PathBuf> = names()
        .flat_map(|name| COMPANIONS.map(|companion| data.join(format!("{name}{companion}"))))
        .filter(|path| path.exists())
        .collect();
    if !in_place.is_empty() && !force {
        return Err(RestoreError::NotEmpty { folder: data.to_owned() });
    }
    // Inside the data folder, so that a rename is enough in the end; gone again if anything is wrong with the backup.
    let unpacked = tempfile::Builder::new().prefix(".boxoffice-restore-").tempdir_in(data).map_err(fault(data))?;
    let manifest = backup::unpack(backup, keys, unpacked.path(), OTHERS)?;
    let moved_aside = (!in_place.is_empty()).then(|| data.join(format!("before-restore-{}", stamp(now_ms))));
    if let Some(aside) = &moved_aside {
        fs::create_dir(aside).map_err(fault(aside))?;
        for path in &in_place {
            let to = aside.join(path.file_name().unwrap_or_default());
            fs::rename(path, to).map_err(fault(path))?;
        }
        backup::sync_folder(aside).map_err(fault(aside))?;
    }
    // The books last: a folder without them has nothing that a start could mistake for the whole.
    for part in manifest.parts.iter().rev() {
        let to = data.join(&part.name);
        fs::rename(unpacked.path().join(&part.name), &to).map_err(fault(&to))?;
    }
    backup::sync_folder(data).map_err(fault(data))?;
    Ok(Restored { manifest, moved_aside })
}

fn compare(path: &Path, manifest: &BackupManifest, owner: &Owner) -> Result<(), RestoreError> {
    let other = |what, theirs: &str, ours: &str, setting| {
        let (path, theirs, ours) = (path.to_owned(), theirs.to_owned(), ours.to_owned());
        Err(RestoreError::OtherOwner { path, what, theirs, ours, setting })
    };
    if manifest.network != owner.network {
        return other("the network", &manifest.network, owner.network, "NETWORK");
    }
    if let Some(ours) = owner.genesis_hash.as_ref().filter(|ours| **ours != manifest.genesis_hash) {
        let setting = "NETWORK or SOLANA_RPC_URLS";
        return other("the chain with genesis hash", &manifest.genesis_hash, ours, setting);
    }
    if manifest.authority != owner.authority {
        return other("the wallet", &manifest.authority, &owner.authority, "WALLET_PATH");
    }
    Ok(())
}

fn is_made_by_itself(name: &str, prefix: &str) -> bool {
    let plain = name.strip_suffix(ENCRYPTED).unwrap_or(name);
    let stamp = plain.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(SUFFIX));
    stamp.is_some_and(|stamp| stamp.len() == stamp_len() && stamp.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn stamp_len() -> usize {
    stamp(0).len()
}

/// A time in the names of files: UTC, sorted as it passes.
fn stamp(unix_ms: i64) -> String {
    let time = Timestamp::from_millisecond(unix_ms).unwrap_or_default();
    format!("{}{:03}Z", time.strftime("%Y%m%dT%H%M%S"), unix_ms.rem_euclid(1_000))
}

/// Removes what interrupted backups left behind in a folder.
fn remove_abandoned(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(PARTIAL_PREFIX) {
            continue;
        }
        let metadata = entry.metadata()?;
        #[expect(clippy::disallowed_methods, reason = "compared with what the file system wrote by the same clock")]
        let age = SystemTime::now().duration_since(metadata.modified()?).unwrap_or_default();
        match (age >= ABANDONED, metadata.is_dir()) {
            (false, _) => {}
            (true, true) => fs::remove_dir_all(entry.path())?,
            (true, false) => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}
