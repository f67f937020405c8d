//! Who signs for tickets and who pays: the key file, or a key on another machine, and fee payers.

use std::path::PathBuf;

use reqwest::Url;
use solana_pubkey::Pubkey;

use super::{
    Network,
    alerts::is_here,
    parse::{Parsed, number, path},
    sources::Values,
};
use crate::chain::wallet::{MAX_FEE_PAYERS, RemoteSigner, SignerPlace, SignerToken, Wallet, WalletError};

/// Where the wallet's keys are.
#[derive(Clone, Debug)]
pub struct WalletSettings {
    /// `SIGNER` and the settings that begin so: a key on another machine; none for that of `WALLET_PATH`.
    pub signer: Option<RemoteSigner>,
    /// `WALLET_PATH`; none only for the embedded chain, which then makes a wallet of its own, or with a remote signer, whose box
    /// has its secrets from it.
    pub key_file: Option<PathBuf>,
    /// `FEE_PAYERS`: how many accounts of the wallet's pay in its place; none when it pays itself.
    pub fee_payers: usize,
}

impl WalletSettings {
    /// The authority's address; none for an embedded chain that makes a wallet of its own.
    ///
    /// # Errors
    /// When the key file cannot be used.
    pub fn address(&self) -> Result<Option<Pubkey>, WalletError> {
        match (&self.signer, &self.key_file) {
            (Some(signer), _) => Ok(Some(signer.public_key)),
            (None, Some(path)) => Wallet::load(path).map(|wallet| Some(wallet.address())),
            (None, None) => Ok(None),
        }
    }

    pub(super) fn read(values: &mut Values, network: Network) -> Option<Self> {
        let key_file = values.optional("WALLET_PATH", path);
        let fee_payers = values.parse("FEE_PAYERS", |text| number::<usize>(text, 0, MAX_FEE_PAYERS));
        let kind = values.parse("SIGNER", kind)?;
        let signer = if kind == Kind::File { None } else { Some(remote(values, kind)?) };
        if key_file.is_none() && network != Network::Embedded && signer.is_none() {
            let name = network.as_str();
            values.fault(
                "WALLET_PATH",
                format!("is missing: NETWORK={name} needs a wallet; make one with `boxoffice keygen wallet.json`"),
            );
        }
        Some(Self { signer, key_file, fee_payers: fee_payers? })
    }
}

/// What can be named in `SIGNER`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Vault,
    AwsKms,
}

fn kind(text: &str) -> Parsed<Kind> {
    match text {
        "file" => Ok(Kind::File),
        "vault" | "aws-kms" if cfg!(not(feature = "remote-signers")) => {
            Err("needs a build with the cargo feature remote-signers".into())
        }
        "vault" => Ok(Kind::Vault),
        "aws-kms" => Ok(Kind::AwsKms),
        _ => Err("must be file, vault or aws-kms".into()),
    }
}

fn remote(values: &mut Values, kind: Kind) -> Option<RemoteSigner> {
    let wanted: &[&str] = match kind {
        Kind::Vault => &["SIGNER_PUBLIC_KEY", "SIGNER_KEY", "SIGNER_URL", "SIGNER_TOKEN"],
        Kind::File | Kind::AwsKms => &["SIGNER_PUBLIC_KEY", "SIGNER_KEY"],
    };
    for name in wanted.iter().filter(|name| !values.is_set(name)).collect::<Vec<_>>() {
        values.fault(name, "is missing: a remote signer needs it".into());
    }
    let public_key = values.optional("SIGNER_PUBLIC_KEY", |text| {
        text.parse::<Pubkey>().map_err(|_invalid| "is not a Solana address, which a public key looks like".into())
    });
    let key = values.optional("SIGNER_KEY", key);
    let place = match kind {
        Kind::AwsKms => SignerPlace::AwsKms { key: key? },
        Kind::File | Kind::Vault => {
            let url = values.optional("SIGNER_URL", address);
            let token = values.optional("SIGNER_TOKEN", token);
            SignerPlace::Vault { url: url?, token: token?, key: key? }
        }
    };
    Some(RemoteSigner { public_key: public_key?, place })
}

/// It becomes part of an address.
fn key(text: &str) -> Parsed<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
    let fine = text.chars().all(fits) && !text.contains("..");
    if fine { Ok(text.to_owned()) } else { Err("is no name of a key (letters, digits and - _ . : /)".into()) }
}

fn address(text: &str) -> Parsed<Url> {
    let url = text.parse::<Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or("is not an http:// or https:// address")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or a password; SIGNER_TOKEN is what lets the box in".into());
    }
    if url.scheme() == "https" || is_here(&url) {
        return Ok(url);
    }
    Err("is http://, and the token could be read on the way; use https://".into())
}

fn token(text: &str) -> Parsed<SignerToken> {
    let fits = text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(SignerToken::new(text))
    } else {
        Err("must be plain ASCII without blanks, to fit into a header".into())
    }
}
