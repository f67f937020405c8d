//! What can go wrong with a wallet's key, and with a signature. None of it holds any of a key or a token.

use std::{io, path::PathBuf};

use solana_pubkey::Pubkey;
use thiserror::Error;

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
    /// Nothing to derive a secret from.
    #[error(
        "FEE_PAYERS and REDIS_ENABLED need a secret of this box beside its remote signer; make one with `boxoffice keygen \
         PATH` and name it in WALLET_PATH, on several boxes the same"
    )]
    NoSecret,
    /// A remote signer that cannot be used.
    #[error("the signer {signer} cannot be used: {reason}; check the settings that begin with SIGNER")]
    Signer {
        /// Its kind and host.
        signer: String,
        /// Why.
        reason: String,
    },
    /// `keygen` never overwrites.
    #[error("{path} exists already; a key file is never overwritten, choose another path", path = path.display())]
    Exists {
        /// The path given to `keygen`.
        path: PathBuf,
    },
}

/// Why a transaction is not signed.
#[derive(Debug, Error)]
pub enum SignError {
    /// A remote signer did not sign, or not rightly.
    #[error("the signer {signer} does not sign ({reason}); {remedy}")]
    Remote {
        /// Its kind and host.
        signer: String,
        /// What it said or did.
        reason: String,
        /// What to look at.
        remedy: &'static str,
    },
    /// The message names a signer that this wallet knows nothing of.
    #[error("a transaction wants the signature of {signer}, which is none of this wallet's keys")]
    Stranger {
        /// Whose signature.
        signer: Pubkey,
    },
    /// It cannot be written as bytes.
    #[error("a transaction cannot be written: {0}")]
    Unwritable(String),
}
