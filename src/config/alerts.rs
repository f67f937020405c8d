//! Who is told when something is wrong.

use std::{net::IpAddr, time::Duration};

use reqwest::Url;

use super::{parse::boolean, sources::Values};
use crate::webhook::{Receiver, SigningSecret};

/// How often the box looks at itself.
const WATCH_EVERY: Duration = Duration::from_secs(30);
/// How long something that comes and goes must last before it is an incident, or over.
const PATIENCE: Duration = Duration::from_mins(1);

/// Who is told, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertSettings {
    /// `ALERT_WEBHOOK_URL` and `ALERT_WEBHOOK_SECRET`; without them incidents are only logged and listed.
    pub receiver: Option<Receiver>,
    /// `ALERT_BATCH_FINISHED`: whether the receiver also hears of batches that went well.
    pub batch_finished: bool,
    /// How often the box looks at itself; no setting, so that only tests hurry it.
    pub watch_every: Duration,
    /// How long something that comes and goes must last before it counts; no setting either.
    pub patience: Duration,
}

impl AlertSettings {
    pub(super) fn read(values: &mut Values) -> Option<Self> {
        let allow_http = values.parse("ALERT_WEBHOOK_ALLOW_HTTP", boolean);
        // A faulty switch is told of by itself; the address is not blamed for it too.
        let url = values.optional("ALERT_WEBHOOK_URL", |text| receiver_url(text, allow_http.unwrap_or(true)));
        let secret = values.optional("ALERT_WEBHOOK_SECRET", |text| SigningSecret::parse(text).map_err(str::to_owned));
        let (has_url, has_secret) = (values.is_set("ALERT_WEBHOOK_URL"), values.is_set("ALERT_WEBHOOK_SECRET"));
        if has_url && !has_secret {
            let remedy = "make one with `echo whsec_$(openssl rand -base64 32)`, and give it to the receiver too";
            values.fault("ALERT_WEBHOOK_SECRET", format!("is missing: ALERT_WEBHOOK_URL needs it; {remedy}"));
        }
        if has_secret && !has_url {
            values.warnings.push("ALERT_WEBHOOK_SECRET has no effect without ALERT_WEBHOOK_URL".into());
        }
        Some(Self {
            receiver: url.zip(secret).map(|(url, secret)| Receiver { url, secret }),
            batch_finished: values.parse("ALERT_BATCH_FINISHED", boolean)?,
            watch_every: WATCH_EVERY,
            patience: PATIENCE,
        })
    }
}

/// The address is not repeated: it may hold a key.
fn receiver_url(text: &str, allow_http: bool) -> Result<Url, String> {
    let url = text.parse::<Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or("is not an http:// or https:// address")?;
    if url.scheme() == "https" || is_here(&url) || allow_http {
        return Ok(url);
    }
    Err("is http://, which others can read on the way; use https://, or set ALERT_WEBHOOK_ALLOW_HTTP=true".into())
}

/// Whether an address leads to this machine.
pub(super) fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
