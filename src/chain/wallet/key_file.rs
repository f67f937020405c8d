//! Key files as the Solana CLI has them, which only their owner may read.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _, Write as _},
    path::Path,
};

use solana_keypair::Keypair;

use super::WalletError;
#[cfg(unix)]
use super::exposure::exposure;

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
    // Looked at before it is opened: opening a pipe would wait for somebody to write into it.
    if !std::fs::metadata(path).map_err(fault)?.is_file() {
        return Err(WalletError::NotAKey { path: path.to_owned() });
    }
    let mut file = File::open(path).map_err(fault)?;
    refuse_exposed(path, &file, &file.metadata().map_err(fault)?)?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(fault)?;
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
fn refuse_exposed(path: &Path, file: &File, metadata: &Metadata) -> Result<(), WalletError> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
    let exposed = exposure(file, mode);
    exposed.map_or(Ok(()), |mode| Err(WalletError::Exposed { path: path.to_owned(), mode }))
}

#[cfg(not(unix))]
fn refuse_exposed(_path: &Path, _file: &File, _metadata: &Metadata) -> Result<(), WalletError> {
    Ok(())
}
