//! The hot wallet: the key that signs and pays, or signs and has fee payers of its own pay.

#[cfg(unix)]
mod exposure;
mod fault;
mod key_file;
mod place;
#[cfg(feature = "remote-signers")]
mod remote;

use std::{fmt, path::Path};

use sha2::{Digest as _, Sha256};
use solana_keypair::Keypair;
use solana_message::VersionedMessage;
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_signer::Signer as _;
use solana_transaction::versioned::VersionedTransaction;

use key_file::{read_key, write_key};

pub use fault::{SignError, WalletError};
pub use place::{RemoteSigner, SignerPlace, SignerToken};

/// Most fee payers of a wallet: as many accounts as one call of the chain answers for, with room to spare.
pub const MAX_FEE_PAYERS: usize = 64;

/// A transaction that has the signatures of the keys in this process.
#[derive(Clone, Debug)]
pub struct HalfSigned {
    /// As it will be; where another machine has to sign, with zeros for that.
    signed: SignedTransaction,
    /// What another machine has to sign, and where its signature goes. None if all are there.
    #[cfg_attr(
        not(feature = "remote-signers"),
        expect(dead_code, reason = "always none: all keys are in this process")
    )]
    missing: Option<(VersionedTransaction, usize)>,
}

impl HalfSigned {
    /// Its length on the wire, which the missing signature does not change, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.signed.bytes.len()
    }
}

/// A transaction ready to be recorded and sent.
#[derive(Clone, Debug)]
pub struct SignedTransaction {
    /// Its name on the chain.
    pub signature: Signature,
    /// Its bytes on the wire.
    pub bytes: Vec<u8>,
}

impl SignedTransaction {
    fn of(transaction: &VersionedTransaction) -> Result<Self, SignError> {
        let signature = transaction.signatures.first().copied().unwrap_or_default();
        let bytes = wincode::serialize(transaction).map_err(|error| SignError::Unwritable(error.to_string()))?;
        Ok(Self { signature, bytes })
    }
}

/// The key that signs and pays, and the keys of its fee payers if it has any. Prints as its public half.
pub struct Wallet {
    key: Key,
    /// Derived from the key in the wallet's file, so that whoever has that has these.
    payers: Vec<Keypair>,
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wallet").field(&self.address()).finish()
    }
}

impl Wallet {
    fn of(keypair: Keypair) -> Self {
        Self { key: Key::Here(keypair), payers: Vec::new() }
    }

    /// The same wallet with so many fee payers, which then pay for everything in its place. The same wallet has the same payers
    /// on every machine, and a longer row of them begins like a shorter one.
    ///
    /// # Errors
    /// [`WalletError::NoSecret`] for a remote signer without a key file.
    pub fn with_payers(mut self, count: usize) -> Result<Self, WalletError> {
        let derive = |number| Ok(Keypair::new_from_array(self.secret_for(&format!("fee-payer/{number}"))?));
        self.payers = (0..count).map(derive).collect::<Result<_, WalletError>>()?;
        Ok(self)
    }

    /// A wallet whose key is on another machine. Secrets are derived from the key in a file, if there is one: a key of its own
    /// that signs for no ticket.
    ///
    /// # Errors
    /// When the file is no good, or the settings of the signer are not.
    #[cfg(feature = "remote-signers")]
    pub async fn remote(settings: RemoteSigner, secrets: Option<&Path>) -> Result<Self, WalletError> {
        let secrets = secrets.map(read_key).transpose()?;
        Ok(Self { key: Key::There { signer: remote::Remote::new(settings).await?, secrets }, payers: Vec::new() })
    }

    /// The same in a build that cannot.
    ///
    /// # Errors
    /// Always: the settings refuse it before.
    #[cfg(not(feature = "remote-signers"))]
    #[expect(clippy::unused_async, reason = "stands in for the one that can")]
    pub async fn remote(settings: RemoteSigner, _secrets: Option<&Path>) -> Result<Self, WalletError> {
        let reason = "this build lacks the cargo feature remote-signers".to_owned();
        Err(WalletError::Signer { signer: settings.to_string(), reason })
    }

    /// Whether it can sign now. A key in this process always can.
    #[cfg_attr(
        not(feature = "remote-signers"),
        expect(clippy::unused_async, reason = "stands in for the one that asks another machine")
    )]
    pub async fn is_ready(&self) -> bool {
        match &self.key {
            Key::Here(_) => true,
            #[cfg(feature = "remote-signers")]
            Key::There { signer, .. } => signer.is_ready().await,
        }
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
        read_key(path).map(Self::of)
    }

    /// Makes a new key file that only its owner can read.
    ///
    /// # Errors
    /// [`WalletError::Exists`] rather than overwriting, or the system's reason.
    pub fn create(path: &Path) -> Result<Self, WalletError> {
        let keypair = Keypair::new();
        write_key(path, &keypair)?;
        Ok(Self::of(keypair))
    }

    /// The public key: the authority of every mint, and its payer too when there are no fee payers.
    #[must_use]
    pub fn address(&self) -> Pubkey {
        match &self.key {
            Key::Here(keypair) => keypair.pubkey(),
            #[cfg(feature = "remote-signers")]
            Key::There { signer, .. } => signer.address(),
        }
    }

    /// A secret that everyone with the key file, and nobody else, can derive: SHA-256 of a tag, the purpose and the private half.
    ///
    /// # Errors
    /// [`WalletError::NoSecret`] for a remote signer without a key file.
    pub fn secret_for(&self, purpose: &str) -> Result<[u8; 32], WalletError> {
        let key = self.key.secrets().ok_or(WalletError::NoSecret)?;
        let mut hash = Sha256::new();
        hash.update(b"boxoffice-secret-v1\0");
        hash.update(purpose);
        hash.update([0]);
        hash.update(key.secret_bytes());
        Ok(hash.finalize().into())
    }

    /// Signs with those of its keys that are in this process; what another machine has to add is added by
    /// [`Wallet::complete`].
    ///
    /// # Errors
    /// When the message asks for a signature of somebody else.
    pub fn sign_here(&self, message: VersionedMessage) -> Result<HalfSigned, SignError> {
        let data = message.serialize();
        let wanted = usize::from(message.header().num_required_signatures);
        let (mut signatures, mut missing) = (Vec::with_capacity(wanted), None);
        for (at, signer) in message.static_account_keys().iter().take(wanted).enumerate() {
            let mut keys = self.key.signing().into_iter().chain(&self.payers);
            match keys.find(|key| key.pubkey() == *signer) {
                Some(key) => signatures.push(key.sign_message(&data)),
                None if missing.is_none() && *signer == self.address() => {
                    missing = Some(at);
                    signatures.push(Signature::default());
                }
                None => return Err(SignError::Stranger { signer: *signer }),
            }
        }
        let transaction = VersionedTransaction { signatures, message };
        Ok(HalfSigned { signed: SignedTransaction::of(&transaction)?, missing: missing.map(|at| (transaction, at)) })
    }

    /// Adds the signatures of a remote signer where they are missing. The answers are in the order of what was given, and each
    /// counts by itself. It takes no longer than a remote signer is given, however many they are: a blockhash does not live long.
    #[cfg_attr(
        not(feature = "remote-signers"),
        expect(clippy::unused_async, reason = "stands in for the one that asks another machine")
    )]
    pub async fn complete(&self, half_signed: Vec<HalfSigned>) -> Vec<Result<SignedTransaction, SignError>> {
        match &self.key {
            Key::Here(_) => half_signed.into_iter().map(|half| Ok(half.signed)).collect(),
            #[cfg(feature = "remote-signers")]
            Key::There { signer, .. } => signer.complete(half_signed).await,
        }
    }

    /// Signs a transaction with all keys that it takes.
    ///
    /// # Errors
    /// See [`SignError`].
    #[cfg_attr(
        not(feature = "remote-signers"),
        expect(clippy::unused_async, reason = "stands in for the one that asks another machine")
    )]
    pub async fn sign(&self, message: VersionedMessage) -> Result<SignedTransaction, SignError> {
        let half_signed = self.sign_here(message)?;
        match &self.key {
            Key::Here(_) => Ok(half_signed.signed),
            #[cfg(feature = "remote-signers")]
            Key::There { signer, .. } => signer.complete_one(half_signed).await,
        }
    }
}

/// Where the authority's key is.
enum Key {
    /// In this process.
    Here(Keypair),
    /// On another machine; with a key of this one from which secrets are derived, if there is one.
    #[cfg(feature = "remote-signers")]
    There { signer: remote::Remote, secrets: Option<Keypair> },
}

impl Key {
    /// The authority's key, if it is in this process.
    #[cfg_attr(
        not(feature = "remote-signers"),
        expect(clippy::unnecessary_wraps, reason = "none only where another machine signs")
    )]
    fn signing(&self) -> Option<&Keypair> {
        match self {
            Self::Here(keypair) => Some(keypair),
            #[cfg(feature = "remote-signers")]
            Self::There { .. } => None,
        }
    }

    /// What secrets are derived from.
    #[cfg_attr(
        not(feature = "remote-signers"),
        expect(clippy::unnecessary_wraps, reason = "none only where another machine signs")
    )]
    fn secrets(&self) -> Option<&Keypair> {
        match self {
            Self::Here(keypair) => Some(keypair),
            #[cfg(feature = "remote-signers")]
            Self::There { secrets, .. } => secrets.as_ref(),
        }
    }
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
        let wallet = Wallet::ephemeral().with_payers(3).unwrap();
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
        let (few, many) = (few.unwrap(), many.unwrap());
        assert_eq!(few.payers(), many.payers()[..2]);
        assert_eq!(
            few.payers().iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["6AbBCHtS723yF3T5xgZyjZHck1wUHaV8TobcxaChD9oj", "E8YYTy1nfDpWbVGEzfhrt7j6uGmVbT7qtRGmMktesx2u"]
        );
        assert_eq!((few.address(), Wallet::load(&path).unwrap().payers()), (key.pubkey(), Vec::new()));
    }
}
