//! Looking at published files again: what a provider has lost is published again, and what cannot be told is not called lost.

use std::{fmt, time::Duration};

use futures_util::{StreamExt as _, stream};
use reqwest::{Url, redirect};
use tokio::sync::Semaphore;

use super::{
    ContentId, PublishError,
    replicated::{Copy, Replicated, Shared},
};

/// Files that are looked at at once.
const AT_ONCE: usize = 8;
/// A gateway may take this long: a file that nobody asked for lately has to be found first.
const TIMEOUT: Duration = Duration::from_secs(30);

/// MiB of files that are looked at at once.
const MOST_MIB_AT_ONCE: u32 = 32;
/// With so many files missing, and a tenth of those looked at, the others are doubted as well.
const GREAT_LOSS: u64 = 3;
/// Redirects of a gateway that are followed, from one form of its address to another.
const MOST_REDIRECTS: usize = 3;

/// A public gateway, as a template of addresses.
#[derive(Clone, PartialEq, Eq)]
pub struct Gateway(String);

impl Gateway {
    /// Where a file's address goes in a template.
    pub const CID: &'static str = "{cid}";

    /// Reads a template such as `https://{cid}.ipfs.dweb.link`, or a base such as `https://ipfs.io`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let base = text.trim_end_matches('/');
        let template = match text.contains(Self::CID) {
            true => text.to_owned(),
            false if base.ends_with("/ipfs") => format!("{base}/{}", Self::CID),
            false => format!("{base}/ipfs/{}", Self::CID),
        };
        let gateway = Self(template);
        let url = gateway.url("bafkqaaa")?;
        (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(gateway)
    }

    fn url(&self, cid: &str) -> Option<Url> {
        self.0.replace(Self::CID, cid).parse().ok()
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url("cid").map(|url| url.origin().ascii_serialization());
        f.debug_tuple("Gateway").field(&host.unwrap_or_default()).finish()
    }
}

/// What looking again came to at one provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The provider's name.
    pub provider: &'static str,
    /// Scheme, host and port.
    pub host: String,
    /// Files that were looked at.
    pub checked: u64,
    /// The provider has them and, where their bytes could be read, they are right.
    pub sound: u64,
    /// The provider does not have them, or has something else.
    pub missing: u64,
    /// Those that it has confirmed anew.
    pub repaired: u64,
    /// So many of them are missing that nothing is believed of so many others any more: each is looked for, and published
    /// again if it is not there.
    pub forgotten: u64,
    /// Nothing can be said of them.
    pub unreachable: u64,
    /// Why not.
    pub reason: Option<String>,
}

/// What was seen of a file.
enum Sight {
    Sound,
    Missing,
    Unknown(String),
}

impl Replicated {
    /// Looks at some published files of every provider, at random, and publishes again what is missing.
    ///
    /// # Errors
    /// When the store cannot be used. A provider or a gateway that does not answer makes files unreachable.
    pub async fn verify(&self, sample: usize) -> Result<Vec<Verified>, PublishError> {
        let mut verified = Vec::new();
        for copy in &self.shared.copies {
            verified.push(self.shared.verify(copy, sample).await?);
        }
        Ok(verified)
    }
}

impl Shared {
    async fn verify(&self, copy: &Copy, sample: usize) -> Result<Verified, PublishError> {
        let remote = &copy.delivery.remote;
        let files = self.local.sample(copy.row, sample).await?;
        let ids: Vec<ContentId> = files.iter().map(|(id, _)| *id).collect();
        let mut result = Verified {
            provider: remote.provider(),
            host: remote.host().to_owned(),
            checked: ids.len() as u64,
            ..Verified::default()
        };
        let held = match copy.delivery.asked(remote.held(&ids)).await {
            Ok(held) => held,
            Err(error) => {
                result.unreachable = result.checked;
                result.reason = Some(error.to_string());
                return Ok(result);
            }
        };
        let http = client().ok();
        let memory = Semaphore::new(MOST_MIB_AT_ONCE as usize);
        let sights = stream::iter(files).map(|(id, bytes)| {
            let (held, http, memory) = (held.contains(&id), http.as_ref(), &memory);
            async move {
                let mib = u32::try_from(bytes >> 20).unwrap_or(u32::MAX).saturating_add(1).min(MOST_MIB_AT_ONCE);
                // It is never closed.
                let _turn = memory.acquire_many(mib).await;
                (id, if held { self.look(copy, http, id, bytes).await } else { Sight::Missing })
            }
        });
        let sights: Vec<(ContentId, Sight)> = sights.buffer_unordered(AT_ONCE).collect().await;
        let (mut sound, mut missing) = (Vec::new(), Vec::new());
        for (id, sight) in sights {
            match sight {
                Sight::Sound => sound.push(id),
                Sight::Missing => missing.push(id),
                Sight::Unknown(reason) => {
                    result.unreachable = result.unreachable.saturating_add(1);
                    result.reason.get_or_insert(reason);
                }
            }
        }
        (result.sound, result.missing) = (sound.len() as u64, missing.len() as u64);
        self.local.seen(copy.row, sound, missing.clone(), (self.now_ms)()).await?;
        if is_a_great_loss(&result) {
            result.forgotten = self.local.forget(copy.row).await?;
            copy.work.notify_one();
        }
        self.repair(copy, missing, &mut result).await?;
        Ok(result)
    }

    /// Looks at a file that the provider says it has.
    async fn look(&self, copy: &Copy, http: Option<&reqwest::Client>, id: ContentId, bytes: usize) -> Sight {
        if let Some(http) = http.filter(|_| !self.gateways.is_empty()) {
            let mut reason = String::new();
            for gateway in &self.gateways {
                match fetch(http, gateway, id, bytes).await {
                    Ok(true) => return Sight::Sound,
                    Ok(false) => reason = format!("{gateway:?} hands out other bytes"),
                    Err(why) => reason = format!("{gateway:?} {why}"),
                }
            }
            // A gateway that does not find it proves nothing: the provider says that it is there.
            return Sight::Unknown(reason);
        }
        let remote = &copy.delivery.remote;
        if !remote.can_read() {
            return Sight::Sound;
        }
        match copy.delivery.asked(remote.read(id, bytes)).await {
            Ok(Some(bytes)) if ContentId::of(&bytes) == id => Sight::Sound,
            Ok(Some(_) | None) => Sight::Missing,
            Err(error) => Sight::Unknown(error.to_string()),
        }
    }

    /// Publishes again what is missing; what does not work now is caught up later.
    async fn repair(&self, copy: &Copy, missing: Vec<ContentId>, result: &mut Verified) -> Result<(), PublishError> {
        let ids = self.local.open_among(copy.row, missing.clone()).await?;
        let fault = match self.bring_kept(copy, ids).await {
            Ok((_, fault)) => fault,
            Err(error @ PublishError::Remote { .. }) => Some(error),
            Err(error) => return Err(error),
        };
        if let Some(fault) = fault {
            result.reason.get_or_insert(fault.to_string());
        }
        let left = self.local.open_among(copy.row, missing.clone()).await?.len();
        result.repaired = missing.len().saturating_sub(left) as u64;
        Ok(())
    }
}

/// Whether the sample says that a provider has lost far more than what was looked at.
fn is_a_great_loss(seen: &Verified) -> bool {
    seen.missing >= GREAT_LOSS && seen.missing.saturating_mul(10) >= seen.checked
}

/// A client of gateways. Their addresses may hold a token, which goes to nobody else; and where they redirect to, only what
/// they themselves could be may answer.
fn client() -> reqwest::Result<reqwest::Client> {
    let policy = redirect::Policy::custom(|attempt| {
        let scheme = attempt.previous().last().map(|url| url.scheme().to_owned());
        let is_as_safe = attempt.url().scheme() == "https" || scheme.as_deref() == Some(attempt.url().scheme());
        if attempt.previous().len() > MOST_REDIRECTS || !is_as_safe { attempt.stop() } else { attempt.follow() }
    });
    reqwest::Client::builder().timeout(TIMEOUT).referer(false).redirect(policy).build()
}

/// Fetches a file through a gateway: whether its bytes are right, or why nothing can be said.
async fn fetch(http: &reqwest::Client, gateway: &Gateway, id: ContentId, size: usize) -> Result<bool, String> {
    let url = gateway.url(&id.to_string()).ok_or("has no such address")?;
    let said = |error: reqwest::Error| format!("does not answer: {}", error.without_url());
    let mut response = http.get(url).send().await.map_err(said)?;
    if !response.status().is_success() {
        return Err(format!("answers {}", response.status()));
    }
    let mut bytes = Vec::new();
    while let Some(part) = response.chunk().await.map_err(said)? {
        bytes.extend_from_slice(&part);
        if bytes.len() > size {
            return Ok(false);
        }
    }
    Ok(ContentId::of(&bytes) == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_a_template_or_a_base() {
        let url = |text| Gateway::parse(text).and_then(|gateway| gateway.url("bafy")).map(|url| url.to_string());
        assert_eq!(url("https://ipfs.io").as_deref(), Some("https://ipfs.io/ipfs/bafy"));
        assert_eq!(url("https://ipfs.io/ipfs/").as_deref(), Some("https://ipfs.io/ipfs/bafy"));
        assert_eq!(url("https://{cid}.ipfs.dweb.link").as_deref(), Some("https://bafy.ipfs.dweb.link/"));
        let own = "https://me.mypinata.cloud/ipfs/{cid}?pinataGatewayToken=secret";
        assert_eq!(url(own).as_deref(), Some("https://me.mypinata.cloud/ipfs/bafy?pinataGatewayToken=secret"));
        assert!(!format!("{:?}", Gateway::parse(own)).contains("secret"));
        assert_eq!(url("ftp://ipfs.io"), None);
        assert_eq!(url("nonsense"), None);
    }
}
