//! Where a remote signer is, as the settings say it.

use std::fmt;

use reqwest::Url;
use solana_pubkey::Pubkey;

/// A token that must never be seen.
#[derive(Clone, PartialEq, Eq)]
pub struct SignerToken(String);

impl SignerToken {
    /// A token.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The token itself, for the one header that needs it.
    #[cfg(feature = "remote-signers")]
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SignerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A key on another machine that signs what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSigner {
    /// `SIGNER_PUBLIC_KEY`: the authority. A signer with another key is not believed.
    pub public_key: Pubkey,
    /// Where it is.
    pub place: SignerPlace,
}

/// Where a remote signer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignerPlace {
    /// The transit engine of `HashiCorp` Vault, or of what speaks like it.
    Vault {
        /// `SIGNER_URL`.
        url: Url,
        /// `SIGNER_TOKEN`.
        token: SignerToken,
        /// `SIGNER_KEY`: the name of an ed25519 key.
        key: String,
    },
    /// Amazon's key management service; region and credentials are found as Amazon's tools do.
    AwsKms {
        /// `SIGNER_KEY`: id or ARN of an `ECC_NIST_EDWARDS25519` key.
        key: String,
    },
}

impl RemoteSigner {
    /// What to look at when it does not sign.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self.place {
            SignerPlace::Vault { .. } => {
                "check SIGNER_URL, that SIGNER_TOKEN is in force and may update transit/sign/SIGNER_KEY, and SIGNER_PUBLIC_KEY"
            }
            SignerPlace::AwsKms { .. } => {
                "check SIGNER_KEY, SIGNER_PUBLIC_KEY, region and credentials, and that they may use kms:Sign"
            }
        }
    }
}

impl fmt::Display for RemoteSigner {
    /// Its kind and host.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            SignerPlace::Vault { url, key, .. } => {
                write!(f, "vault at {} (key {key})", url.host_str().unwrap_or_default())
            }
            SignerPlace::AwsKms { key } => write!(f, "aws-kms (key {key})"),
        }
    }
}
