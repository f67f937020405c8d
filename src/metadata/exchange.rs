//! One HTTP exchange with a remote: bounded in time and size, with its answer sorted by what to do next.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{
    RequestBuilder, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
    redirect,
};
use sha2::{Digest as _, Sha256};

use super::{
    NowMs,
    remote::{RemoteError, Token},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An exchange takes this long at most, and a second more for every [`SLOW_UPLINK`] bytes that are sent.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes a second of a slow uplink.
const SLOW_UPLINK: usize = 100_000;
/// Bytes of an answer that are read; confirmations of a full parcel need a tenth of it.
pub(super) const MOST_BYTES: usize = 1 << 20;
/// Characters of a remote's own words that are repeated.
const MOST_WORDS: usize = 200;

/// A client of one host.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) http: reqwest::Client,
    /// Scheme, host and port.
    pub(super) host: String,
    /// What to do about refusals that everybody knows: no entry, no room.
    pub(super) remedies: Remedies,
    /// What a peer that repeats its request must not bring into messages.
    secrets: Vec<Token>,
    now_ms: NowMs,
}

/// What to do about a refusal, by its kind.
#[derive(Clone, Copy)]
pub(super) struct Remedies {
    /// 401 and 403.
    pub(super) entry: &'static str,
    /// 402, 413 and 507.
    pub(super) room: &'static str,
    /// 404, 405 and 501.
    pub(super) path: &'static str,
}

impl Exchange {
    pub(super) fn new(url: &Url, remedies: Remedies, secrets: Vec<Token>, now_ms: NowMs) -> Result<Self, RemoteError> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect would carry the token to whom nobody named.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("boxoffice/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(RemoteError::Setup)?;
        Ok(Self { http, host: url.origin().ascii_serialization(), remedies, secrets, now_ms })
    }

    /// Sends a request whose body has `size` bytes; the answer's body if it is a success.
    pub(super) async fn send(&self, request: RequestBuilder, size: usize, most: usize) -> Result<Vec<u8>, RemoteError> {
        let for_size = size.checked_div(SLOW_UPLINK).unwrap_or_default();
        let timeout = TIMEOUT.saturating_add(Duration::from_secs(for_size as u64));
        let mut response = request.timeout(timeout).send().await.map_err(|error| self.unreachable(error))?;
        let (status, retry_after) = (response.status(), self.retry_after(response.headers()));
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            body.extend_from_slice(&part);
            if body.len() > most {
                return Err(self.garbled("an answer of a reasonable size"));
            }
        }
        if status.is_success() { Ok(body) } else { Err(self.fault(status, retry_after, &body)) }
    }

    fn unreachable(&self, source: reqwest::Error) -> RemoteError {
        RemoteError::Unreachable { host: self.host.clone(), source: source.without_url() }
    }

    pub(super) fn garbled(&self, what: &'static str) -> RemoteError {
        RemoteError::Garbled { host: self.host.clone(), what }
    }

    fn fault(&self, status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> RemoteError {
        let (host, code, message) = (self.host.clone(), status.as_u16(), self.words(body));
        let remedy = match code {
            429 => return RemoteError::RateLimited { host, retry_after },
            401 | 403 => self.remedies.entry,
            402 | 413 | 507 => self.remedies.room,
            404 | 405 | 501 => self.remedies.path,
            408 | 425 | 500.. => return RemoteError::Unwell { host, status: code, message },
            300..=399 => "the address redirects, and redirects are not followed; name the one that it leads to",
            _ => "the request does not suit it; is this its API, in a version that is known?",
        };
        RemoteError::Refused { host, status: code, message, remedy }
    }

    /// What a remote says, for a person: one line, cut, and without our secrets.
    pub(super) fn words(&self, said: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(said).into_owned();
        for secret in self.secrets.iter().map(Token::expose).filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, "[redacted]");
        }
        let text: String =
            text.chars().take(MOST_WORDS).map(|sign| if sign.is_control() { ' ' } else { sign }).collect();
        let text = text.trim();
        if text.is_empty() { "no reason given".to_owned() } else { text.to_owned() }
    }

    /// `Retry-After` in either of its forms (RFC 9110, section 10.2.3): seconds, or a date.
    fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = jiff::fmt::rfc2822::parse(text).ok()?;
        let ms = at.timestamp().as_millisecond().saturating_sub((self.now_ms)());
        Some(Duration::from_millis(u64::try_from(ms).unwrap_or_default()))
    }
}

/// A body of `multipart/form-data` (RFC 7578).
#[derive(Default)]
pub(super) struct Form {
    parts: Vec<(String, Bytes)>,
}

impl Form {
    /// A field of text.
    pub(super) fn text(mut self, name: &str, value: &str) -> Self {
        let head = format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        self.parts.push((head, Bytes::copy_from_slice(value.as_bytes())));
        self
    }

    /// A file; its name is ours, so that nothing in it must be escaped.
    pub(super) fn file(mut self, name: &str, file_name: &str, media_type: &str, bytes: Bytes) -> Self {
        let plain = media_type.chars().all(|sign| sign.is_ascii_graphic() || sign == ' ');
        let media_type = if plain { media_type } else { "application/octet-stream" };
        let head = format!(
            "Content-Disposition: form-data; name=\"{name}\"; filename=\"{file_name}\"\r\nContent-Type: {media_type}\r\n\r\n"
        );
        self.parts.push((head, bytes));
        self
    }

    /// Puts the form into a request, and tells how many bytes it has.
    pub(super) fn into(self, request: RequestBuilder) -> (RequestBuilder, usize) {
        // A hash of everything cannot be part of it.
        let mut digest = Sha256::new();
        for (head, bytes) in &self.parts {
            digest.update(head);
            digest.update(bytes);
        }
        let boundary = format!("boxoffice-{:x}", digest.finalize());
        let mut body = Vec::new();
        for (head, bytes) in &self.parts {
            body.extend_from_slice(format!("--{boundary}\r\n{head}").as_bytes());
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let size = body.len();
        (request.header(CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}")).body(body), size)
    }
}
