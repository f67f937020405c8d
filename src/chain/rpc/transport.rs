//! One JSON-RPC call over HTTP: what was answered, or which fault it was.

use std::time::Duration;

use reqwest::{
    StatusCode, Url,
    header::{DATE, HeaderMap, HeaderName, RETRY_AFTER},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use solana_rpc_client_api::custom_error::JSON_RPC_SERVER_ERROR_NODE_UNHEALTHY;

use super::redact::{redacted, without_keys};
use crate::chain::ChainError;

/// A call without an answer for this long has failed.
const TIMEOUT: Duration = Duration::from_secs(15);
/// An endpoint that asks for more patience than this is asked again all the same.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

#[derive(Deserialize)]
struct Envelope<T> {
    result: Option<T>,
    error: Option<NodeError>,
}

#[derive(Deserialize)]
struct NodeError {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Value,
}

impl NodeError {
    /// Whether the provider in front of the node turned the call away. The node itself uses -32005 too, and then says how far it
    /// is behind.
    fn is_limit(&self) -> bool {
        match self.code {
            429 | -32_429 => true,
            JSON_RPC_SERVER_ERROR_NODE_UNHEALTHY => self.data.get("numSlotsBehind").is_none(),
            _ => false,
        }
    }
}

/// The HTTP client of all endpoints.
pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .timeout(TIMEOUT)
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .user_agent(concat!("boxoffice/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Makes a call.
pub(super) async fn post<T: DeserializeOwned>(
    http: &reqwest::Client,
    url: &Url,
    method: &'static str,
    body: String,
) -> Result<T, ChainError> {
    let endpoint = || redacted(url);
    let unreachable =
        |source: reqwest::Error| ChainError::Unreachable { endpoint: endpoint(), source: source.without_url() };
    let request = http.post(url.clone()).header("content-type", "application/json").body(body);
    let response = request.send().await.map_err(unreachable)?;
    let retry_after = retry_after(response.headers());
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS => return Err(ChainError::RateLimited { endpoint: endpoint(), retry_after }),
        status if !status.is_success() => {
            return Err(ChainError::Http { endpoint: endpoint(), status: status.as_u16() });
        }
        _ => {}
    }
    let bytes = response.bytes().await.map_err(unreachable)?;
    // Serde's messages quote what they do not like.
    let malformed = |source: serde_json::Error| {
        let source = serde::de::Error::custom(without_keys(&source.to_string(), url));
        ChainError::Malformed { endpoint: endpoint(), method, source }
    };
    let envelope: Envelope<T> = serde_json::from_slice(&bytes).map_err(malformed)?;
    match envelope {
        Envelope { error: Some(error), .. } if error.is_limit() => {
            Err(ChainError::RateLimited { endpoint: endpoint(), retry_after })
        }
        Envelope { error: Some(NodeError { code, message, .. }), .. } => {
            let message = without_keys(&message, url);
            Err(ChainError::Refused { endpoint: endpoint(), method, code, message })
        }
        Envelope { result: Some(result), .. } => Ok(result),
        Envelope { result: None, error: None } => serde_json::from_value(Value::Null).map_err(malformed),
    }
}

/// What the endpoint asks for: seconds, or a time, which is compared with the endpoint's own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let asked = text(RETRY_AFTER)?.trim();
    let pause = if let Ok(seconds) = asked.parse() {
        Duration::from_secs(seconds)
    } else {
        let (until, now) = (httpdate::parse_http_date(asked).ok()?, httpdate::parse_http_date(text(DATE)?).ok()?);
        until.duration_since(now).unwrap_or_default()
    };
    Some(pause.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_time() {
        let date = "Tue, 24 Nov 2026 10:00:00 GMT";
        for (asked, date, wanted) in [
            (Some("7"), None, Some(7)),
            (Some(" 0 "), None, Some(0)),
            (Some("86400"), None, Some(60)),
            (Some("Tue, 24 Nov 2026 10:00:20 GMT"), Some(date), Some(20)),
            (Some("Tue, 24 Nov 2026 09:00:00 GMT"), Some(date), Some(0)),
            (Some("Tue, 24 Nov 2026 10:00:20 GMT"), None, None),
            (Some("soon"), Some(date), None),
            (Some("-1"), Some(date), None),
            (None, Some(date), None),
        ] {
            let mut headers = HeaderMap::new();
            asked.map(|asked| headers.insert(RETRY_AFTER, asked.parse().unwrap()));
            date.map(|date| headers.insert(DATE, date.parse().unwrap()));
            assert_eq!(retry_after(&headers), wanted.map(Duration::from_secs), "{asked:?}");
        }
    }

    #[test]
    fn a_limit_is_told_from_a_node_that_is_behind() {
        for (error, is_limit) in [
            (r#"{"code":-32429,"message":"rate limited"}"#, true),
            (r#"{"code":429,"message":"Too many requests"}"#, true),
            (r#"{"code":-32005,"message":"daily request count exceeded"}"#, true),
            (r#"{"code":-32005,"message":"limit","data":{"rate":{"allowed_rps":1}}}"#, true),
            (r#"{"code":-32005,"message":"Node is behind by 42 slots","data":{"numSlotsBehind":42}}"#, false),
            (r#"{"code":-32005,"message":"Node is unhealthy","data":{"numSlotsBehind":null}}"#, false),
            (r#"{"code":-32602,"message":"rate limit"}"#, false),
        ] {
            let error: NodeError = serde_json::from_str(error).unwrap();
            assert_eq!(error.is_limit(), is_limit, "{}", error.message);
        }
    }
}
