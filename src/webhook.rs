//! Sends signed messages to one receiver, as Standard Webhooks 1.0 has it (<https://www.standardwebhooks.com>).
//!
//! It owns the HTTP client, the receiver's address and the signing secret, none of which is ever logged. It makes one attempt
//! and says how that went; when to try again is not its business.

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use reqwest::{Url, header::RETRY_AFTER, redirect};
use sha2::Sha256;
use thiserror::Error;

/// An attempt without an answer for this long has failed; the standard recommends 15 to 30 seconds.
const TIMEOUT: Duration = Duration::from_secs(15);
/// What the standard puts in front of a secret.
const SECRET_PREFIX: &str = "whsec_";
/// Bytes of a secret (Standard Webhooks 1.0: 192 to 512 bits).
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Bytes of an answer's body that are read, for people.
const BODY_BYTES: usize = 1_024;

/// What messages are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(Vec<u8>);

impl SigningSecret {
    /// Reads a secret as the standard writes it: `whsec_` and 24 to 64 bytes in base64.
    ///
    /// # Errors
    /// What is wrong with it, without a subject; the secret itself is not repeated.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let fault =
            "must be whsec_ and 24 to 64 random bytes in base64, such as `echo whsec_$(openssl rand -base64 32)`";
        let bytes = text.strip_prefix(SECRET_PREFIX).and_then(|text| STANDARD.decode(text).ok()).ok_or(fault)?;
        if SECRET_BYTES.contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(fault) }
    }

    /// The header `webhook-signature` of a message.
    fn sign(&self, message_id: &str, timestamp_seconds: i64, payload: &str) -> Result<String, WebhookError> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).map_err(|_impossible_length| WebhookError::Key)?;
        mac.update(format!("{message_id}.{timestamp_seconds}.{payload}").as_bytes());
        Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Who is told, and what proves that it was us.
#[derive(Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Where; paths and queries of such addresses often hold keys.
    pub url: Url,
    /// The secret that the receiver has too.
    pub secret: SigningSecret,
}

impl Receiver {
    /// Scheme, host and port: what may be shown.
    #[must_use]
    pub fn host(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("host", &self.host()).finish_non_exhaustive()
    }
}

/// What the receiver said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// How long it wants to be left alone.
    pub retry_after: Option<Duration>,
    /// The beginning of the body, for people.
    pub body: String,
}

impl Answer {
    /// The message is delivered.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The receiver is no longer interested (410 Gone).
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.status == 410
    }
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum WebhookError {
    /// TLS or sockets cannot be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Setup(#[source] reqwest::Error),
    /// A key of an impossible length: a bug.
    #[error("the message cannot be signed")]
    Key,
    /// The receiver cannot be reached, or does not answer.
    #[error("{host} does not answer: {}", root(.source))]
    Unreachable {
        /// Scheme, host and port.
        host: String,
        /// The client's reason, without the address.
        source: reqwest::Error,
    },
}

/// The innermost cause: the outer ones only say that a request failed.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A client of one receiver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Webhook {
    http: reqwest::Client,
    receiver: Receiver,
}

impl Webhook {
    /// A client. Redirects are not followed: they would carry signed messages to whom nobody named.
    ///
    /// # Errors
    /// When the platform's TLS or sockets cannot be set up.
    pub fn new(receiver: Receiver) -> Result<Self, WebhookError> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("boxoffice/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(WebhookError::Setup)?;
        Ok(Self { http, receiver })
    }

    /// Who is told: scheme, host and port.
    #[must_use]
    pub fn host(&self) -> String {
        self.receiver.host()
    }

    /// Makes one attempt to deliver a message; `now_ms` is the time of the attempt in Unix milliseconds, which is signed too.
    ///
    /// # Errors
    /// When there is no answer. An answer that is not a success is no error here.
    pub async fn send(&self, message_id: &str, payload: &str, now_ms: i64) -> Result<Answer, WebhookError> {
        let seconds = now_ms.div_euclid(1_000);
        let unreachable =
            |source: reqwest::Error| WebhookError::Unreachable { host: self.host(), source: source.without_url() };
        let request = self
            .http
            .post(self.receiver.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", message_id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", self.receiver.secret.sign(message_id, seconds, payload)?)
            .body(payload.to_owned());
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| read_retry_after(text, now_ms));
        let mut body = Vec::new();
        // The status is the answer: a body that breaks off changes nothing.
        while body.len() < BODY_BYTES {
            let Ok(Some(part)) = response.chunk().await else { break };
            body.extend_from_slice(&part);
        }
        body.truncate(BODY_BYTES);
        Ok(Answer { status, retry_after, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

/// `Retry-After` in either of its forms (RFC 9110, section 10.2.3): seconds, or a date.
fn read_retry_after(text: &str, now_ms: i64) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
    let ms = at.timestamp().as_millisecond().saturating_sub(now_ms);
    Some(Duration::from_millis(u64::try_from(ms).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_own_example_is_signed_alike() {
        let secret = SigningSecret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
        let payload = r#"{"email":"test@example.com","username":"test_user"}"#;
        let signature = secret.sign("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, payload).unwrap();
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn a_secret_is_long_enough_and_never_shown() {
        for wrong in ["", "whsec_", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_aGVsbG8=", "whsec_!"] {
            assert!(SigningSecret::parse(wrong).is_err(), "{wrong}");
        }
        let secret = SigningSecret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
        let receiver = Receiver { url: "https://user:pw@example.com/hook?key=abc".parse().unwrap(), secret };
        assert_eq!(format!("{receiver:?}"), "Receiver { host: \"https://example.com\", .. }");
    }

    #[test]
    fn both_forms_of_retry_after_are_read() {
        let now_ms = 784_111_777_000; // Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110.
        assert_eq!(read_retry_after("120", now_ms), Some(Duration::from_mins(2)));
        assert_eq!(read_retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now_ms), Some(Duration::from_mins(1)));
        assert_eq!(read_retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now_ms), Some(Duration::ZERO));
        assert_eq!(read_retry_after("soon", now_ms), None);
    }
}
