//! The hot wallet: the key that signs and pays, or signs and has fee payers of its own pay.

use std::{
    fmt,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use solana_keypair::Keypair;
use solana_message::VersionedMessage;
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_signer::{Signer as _, SignerError};
use solana_transaction::versioned::VersionedTransaction;
use thiserror::Error;

/// Most fee payers of a wallet: as many accounts as one call of the chain answers for, with room to spare.
pub const MAX_FEE_PAYERS: usize = 64;

/// What can be wrong with a key file. None of these holds any of its content.
#[derive(Debug, Error)]
pub enum WalletError {
    /// No such file.
    #[error("there is no key file at {path}; make one with `boxoffice keygen {path}`, or correct WALLET_PATH", path = path.display())]
    Missing {
        /// `WALLET_PATH`.
        path: PathBuf,
    },
    /// Unreadable for another reason.
    #[error("cannot read or write the key file {path}: {source}", path = path.display())]
    Io {
        /// `WALLET_PATH`.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Others on this machine could steal the key.
    #[error("the key file {path} can be read by others (mode {mode:03o}); run `chmod 600 {path}`", path = path.display())]
    Exposed {
        /// `WALLET_PATH`.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a Solana CLI key file.
    #[error("{path} is not a Solana key file (a JSON list of 64 numbers, as `solana-keygen` and `boxoffice keygen` write it)", path = path.display())]
    NotAKey {
        /// `WALLET_PATH`.
        path: PathBuf,
    },
    /// `keygen` never overwrites.
    #[error("{path} exists already; a key file is never overwritten, choose another path", path = path.display())]
    Exists {
        /// The path given to `keygen`.
        path: PathBuf,
    },
}

/// A transaction ready to be recorded and sent.
#[derive(Clone, Debug)]
pub struct SignedTransaction {
    /// Its name on the chain.
    pub signature: Signature,
    /// Its bytes on the wire.
    pub bytes: Vec<u8>,
}

/// The key that signs and pays, and the keys of its fee payers if it has any. Prints as its public half.
pub struct Wallet {
    keypair: Keypair,
    /// Derived from the wallet's own key, so that whoever has that has these.
    payers: Vec<Keypair>,
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wallet").field(&self.address()).finish()
    }
}

impl Wallet {
    fn of(keypair: Keypair) -> Self {
        Self { keypair, payers: Vec::new() }
    }

    /// The same wallet with so many fee payers, which then pay for everything in its place. The same wallet has the same payers
    /// on every machine, and a longer row of them begins like a shorter one.
    #[must_use]
    pub fn with_payers(mut self, count: usize) -> Self {
        let derive = |number: usize| Keypair::new_from_array(self.secret_for(&format!("fee-payer/{number}")));
        self.payers = (0..count).map(derive).collect();
        self
    }

    /// The public keys of its fee payers; empty when the wallet pays itself.
    #[must_use]
    pub fn payers(&self) -> Vec<Pubkey> {
        self.payers.iter().map(Keypair::pubkey).collect()
    }

    /// A new key that is nowhere on disk, for chains that vanish with the process.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self::of(Keypair::new())
    }

    /// Reads a Solana CLI key file.
    ///
    /// # Errors
    /// See [`WalletError`].
    pub fn load(path: &Path) -> Result<Self, WalletError> {
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
        keypair.map(Self::of).ok_or_else(|| WalletError::NotAKey { path: path.to_owned() })
    }

    /// Makes a new key file that only its owner can read.
    ///
    /// # Errors
    /// [`WalletError::Exists`] rather than overwriting, or the system's reason.
    pub fn create(path: &Path) -> Result<Self, WalletError> {
        let keypair = Keypair::new();
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let json = serde_json::to_string(keypair.to_bytes().as_slice()).unwrap_or_default();
        let written = options.open(path).and_then(|mut file| {
            file.write_all(json.as_bytes())?;
            file.sync_all()
        });
        match written {
            Ok(()) => Ok(Self::of(keypair)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(WalletError::Exists { path: path.to_owned() })
            }
            Err(source) => Err(WalletError::Io { path: path.to_owned(), source }),
        }
    }

    /// The public key: the authority of every mint, and its payer too when there are no fee payers.
    #[must_use]
    pub fn address(&self) -> Pubkey {
        self.keypair.pubkey()
    }

    /// A secret that everyone with this key, and nobody else, can derive: SHA-256 of a tag, the purpose and the private half.
    #[must_use]
    pub fn secret_for(&self, purpose: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"boxoffice-secret-v1\0");
        hash.update(purpose);
        hash.update([0]);
        hash.update(self.keypair.secret_bytes());
        hash.finalize().into()
    }

    /// Signs a transaction with those of its keys that the message asks for.
    ///
    /// # Errors
    /// When the message asks for another signature too.
    pub fn sign(&self, message: VersionedMessage) -> Result<SignedTransaction, SignerError> {
        let wanted = usize::from(message.header().num_required_signatures);
        let signers: Vec<Pubkey> = message.static_account_keys().iter().take(wanted).copied().collect();
        let keys = std::iter::once(&self.keypair).chain(&self.payers);
        let keys: Vec<&Keypair> = keys.filter(|key| signers.contains(&key.pubkey())).collect();
        let transaction = VersionedTransaction::try_new(message, &keys)?;
        let signature = transaction.signatures.first().copied().ok_or(SignerError::NotEnoughSigners)?;
        let bytes = wincode::serialize(&transaction).map_err(|error| SignerError::Custom(error.to_string()))?;
        Ok(SignedTransaction { signature, bytes })
    }
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn key_files_are_private_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.json");
        let made = Wallet::create(&path).unwrap();
        assert_eq!(Wallet::load(&path).unwrap().address(), made.address());
        assert!(matches!(Wallet::create(&path), Err(WalletError::Exists { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let exposed = Wallet::load(&path).unwrap_err();
        assert!(exposed.to_string().contains("chmod 600"), "{exposed}");
        assert!(matches!(Wallet::load(&folder.path().join("none")), Err(WalletError::Missing { .. })));
    }

    #[test]
    fn half_a_key_file_is_no_key_and_nothing_of_it_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.json");
        for text in ["", "[1,2,3", "{\"secret\":\"hunter2\"}", "[300]", &format!("{:?}", [7_u8; 64])] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let error = Wallet::load(&path).unwrap_err();
            assert!(matches!(error, WalletError::NotAKey { .. }), "{text}: {error}");
            assert!(!error.to_string().contains("hunter2"));
        }
        let wallet = Wallet::ephemeral().with_payers(3);
        assert_eq!(format!("{wallet:?}"), format!("Wallet({})", wallet.address()));
    }

    #[test]
    fn the_key_file_alone_restores_the_fee_payers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.json");
        // A key that never changes: other payers than these would be others' money lost.
        let key = Keypair::new_from_array([7; 32]);
        std::fs::write(&path, serde_json::to_string(key.to_bytes().as_slice()).unwrap()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let (few, many) = (Wallet::load(&path).unwrap().with_payers(2), Wallet::load(&path).unwrap().with_payers(5));
        assert_eq!(few.payers(), many.payers()[..2]);
        assert_eq!(
            few.payers().iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["6AbBCHtS723yF3T5xgZyjZHck1wUHaV8TobcxaChD9oj", "E8YYTy1nfDpWbVGEzfhrt7j6uGmVbT7qtRGmMktesx2u"]
        );
        assert_eq!((few.address(), Wallet::load(&path).unwrap().payers()), (key.pubkey(), Vec::new()));
    }
}
