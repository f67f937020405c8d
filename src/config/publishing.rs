//! Where metadata is published besides the box itself.

use reqwest::Url;

use super::{
    parse::{Parsed, boolean},
    sources::Values,
};
use crate::metadata::{
    remote::{Place, Token},
    replicated::PublishSettings,
    verify::Gateway,
};

/// What can be named as a provider.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Provider {
    Local,
    Kubo,
    Pinata,
}

pub(super) fn read(values: &mut Values) -> Option<PublishSettings> {
    let first = values.parse("IPFS_PROVIDER", provider)?;
    let second = values.optional("IPFS_SECOND_PROVIDER", provider).unwrap_or(Provider::Local);
    if second != Provider::Local && first == Provider::Local {
        let detail = "has no first one beside it; name it in IPFS_PROVIDER instead";
        values.fault("IPFS_SECOND_PROVIDER", detail.into());
    } else if second != Provider::Local && first == second {
        values.fault("IPFS_SECOND_PROVIDER", "is the same as IPFS_PROVIDER; a second copy belongs elsewhere".into());
    }
    let mint_unpublished = values.parse("MINT_UNPUBLISHED", boolean)?;
    let gateways = values.optional("IPFS_GATEWAYS", gateways).unwrap_or_default();
    let mut place = |provider| match provider {
        Provider::Local => Some(None),
        Provider::Kubo => kubo(values).map(Some),
        Provider::Pinata => pinata(values).map(Some),
    };
    let (first, second) = (place(first), place(second));
    Some(PublishSettings { first: first?, second: second?, mint_unpublished, gateways })
}

fn provider(text: &str) -> Parsed<Provider> {
    match text {
        "local" => Ok(Provider::Local),
        "kubo" => Ok(Provider::Kubo),
        "pinata" => Ok(Provider::Pinata),
        _ => Err("must be local, kubo or pinata".into()),
    }
}

fn kubo(values: &mut Values) -> Option<Place> {
    // On a private network plain HTTP is usual: a node's RPC API belongs on no other.
    let url = values.parse("KUBO_API_URL", |text| address(text, true));
    let token = values.optional("KUBO_API_TOKEN", token);
    Some(Place::Kubo { url: url?, token })
}

fn pinata(values: &mut Values) -> Option<Place> {
    let api = values.parse("PINATA_API_URL", |text| address(text, false));
    let uploads = values.parse("PINATA_UPLOAD_URL", |text| address(text, false));
    if !values.is_set("PINATA_JWT") {
        let detail =
            "is missing: pinata needs the JWT of an API key that may read and write files (Pinata's page API Keys)";
        values.fault("PINATA_JWT", detail.into());
    }
    let jwt = values.optional("PINATA_JWT", token);
    Some(Place::Pinata { api: api?, uploads: uploads?, jwt: jwt? })
}

/// The address is not repeated: it may hold a password.
fn address(text: &str, plain: bool) -> Parsed<Url> {
    let url = text.parse::<Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or("is not an http:// or https:// address")?;
    if plain || url.scheme() == "https" || super::alerts::is_here(&url) {
        return Ok(url);
    }
    Err("is http://, and the JWT could be read on the way; use https://".into())
}

fn token(text: &str) -> Parsed<Token> {
    let fits = text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(Token::new(text)) } else { Err("must be plain ASCII without blanks, to fit into a header".into()) }
}

fn gateways(text: &str) -> Parsed<Vec<Gateway>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let parse = |(number, part): (usize, &str)| {
        let fault =
            || format!("entry {number} is no address such as https://ipfs.io or https://{{cid}}.ipfs.dweb.link");
        Gateway::parse(part).ok_or_else(fault)
    };
    (1_usize..).zip(parts).map(parse).collect()
}
