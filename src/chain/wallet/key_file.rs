//! Key files as the Solana CLI has them, which only their owner may read.

use std::{
    io::{self, Write as _},
    path::Path,
};

use solana_keypair::Keypair;

use super::WalletError;

/// Reads one.
pub(super) fn read_key(path: &Path) -> Result<Keypair, WalletError> {
    let fault = |source: io::Error| {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            WalletError::Missing { path }
        } else {
            WalletError::Io { path, source }
        }
    };
    let metadata = std::fs::metadata(path).map_err(fault)?;
    if !metadata.is_file() {
        return Err(WalletError::NotAKey { path: path.to_owned() });
    }
    refuse_exposed(path, &metadata)?;
    let text = std::fs::read_to_string(path).map_err(fault)?;
    let bytes: Option<Vec<u8>> = serde_json::from_str(&text).ok();
    // Also checks that the public half belongs to the private one.
    let keypair = bytes.and_then(|bytes| Keypair::try_from(bytes.as_slice()).ok());
    keypair.ok_or_else(|| WalletError::NotAKey { path: path.to_owned() })
}

/// Makes a new one, and never overwrites.
pub(super) fn write_key(path: &Path, keypair: &Keypair) -> Result<(), WalletError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let json = serde_json::to_string(keypair.to_bytes().as_slice()).unwrap_or_default();
    let written = options.open(path).and_then(|mut file| {
        file.write_all(json.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|source| {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::AlreadyExists {
            WalletError::Exists { path }
        } else {
            WalletError::Io { path, source }
        }
    })
}

#[cfg(unix)]
fn refuse_exposed(path: &Path, metadata: &std::fs::Metadata) -> Result<(), WalletError> {
    /// Permission bits, and those of group and others among them.
    const PERMISSIONS: u32 = 0o777;
    const OTHERS: u32 = 0o077;
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & PERMISSIONS;
    if mode & OTHERS == 0 { Ok(()) } else { Err(WalletError::Exposed { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn refuse_exposed(_path: &Path, _metadata: &std::fs::Metadata) -> Result<(), WalletError> {
    Ok(())
}
