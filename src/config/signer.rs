//! Who signs for tickets: the key file, or a key on another machine.

use reqwest::Url;
use solana_pubkey::Pubkey;

use super::{Parsed, alerts::is_here, sources::Values};
use crate::chain::wallet::{RemoteSigner, SignerPlace, SignerToken};

/// What can be named in `SIGNER`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Vault,
    AwsKms,
}

/// The remote signer of the settings; none for the key file.
pub(super) fn read(values: &mut Values) -> Option<Option<RemoteSigner>> {
    let kind = values.parse("SIGNER", |text| match text {
        "file" => Ok(Kind::File),
        "vault" | "aws-kms" if cfg!(not(feature = "remote-signers")) => {
            Err("needs a build with the cargo feature remote-signers".into())
        }
        "vault" => Ok(Kind::Vault),
        "aws-kms" => Ok(Kind::AwsKms),
        _ => Err("must be file, vault or aws-kms".into()),
    })?;
    let wanted: &[&str] = match kind {
        Kind::File => return Some(None),
        Kind::Vault => &["SIGNER_PUBLIC_KEY", "SIGNER_KEY", "SIGNER_URL", "SIGNER_TOKEN"],
        Kind::AwsKms => &["SIGNER_PUBLIC_KEY", "SIGNER_KEY"],
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
    Some(Some(RemoteSigner { public_key: public_key?, place }))
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
