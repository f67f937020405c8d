//! Settings about backups.

use std::path::PathBuf;

use super::{
    parse::{number, path},
    sources::Values,
};
use crate::store::backup::Recipients;

/// Where backups go, how many are kept, and who can read them.
#[derive(Clone, Debug)]
pub struct BackupSettings {
    /// `BACKUP_DIR`; a folder inside the data folder when not set.
    pub dir: Option<PathBuf>,
    /// `BACKUP_KEEP`: how many backups of the job are kept.
    pub keep: usize,
    /// `BACKUP_RECIPIENTS`.
    pub recipients: Recipients,
}

impl BackupSettings {
    pub(super) fn read(values: &mut Values) -> Option<Self> {
        let dir = values.optional("BACKUP_DIR", path);
        let keep = values.parse("BACKUP_KEEP", |text| number::<usize>(text, 1, 10_000));
        let recipients = values.parse("BACKUP_RECIPIENTS", str::parse);
        Some(Self { dir, keep: keep?, recipients: recipients? })
    }
}
