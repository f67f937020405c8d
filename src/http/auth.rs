//! Who may use `/admin`: whoever knows the key.

use axum::{
    extract::{Request, State},
    http::Method,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use super::{
    Api,
    error::{Problem, text},
};

const HEADER: &str = "x-admin-api-key";

/// Refuses what a web page of someone else could make a browser send: without a key in the settings, the address bar is all
/// that such a page lacks.
pub(super) async fn refuse_strangers(State(api): State<Api>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = text(headers, "host").unwrap_or_default();
    let origin = text(headers, "origin").map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host));
    if origin.is_some_and(|origin| origin != host) {
        return Problem::forbidden("requests from other web sites are refused").into_response();
    }
    if api.app.config.admin_api_key.is_none() && !is_loopback(host) {
        let detail = "without ADMIN_API_KEY the box answers on localhost only; this request was meant for another host";
        return Problem::forbidden(detail).into_response();
    }
    let is_json = text(headers, "content-type")
        .and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if request.method() == Method::POST && !is_json {
        return Problem::unsupported_media_type("the body must be sent as content-type: application/json")
            .into_response();
    }
    next.run(request).await
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.parse::<u16>().is_ok() { name } else { host });
    let address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Lets requests with the right key through. Without a key in the settings the server listens on loopback only.
pub(super) async fn require_key(State(api): State<Api>, request: Request, next: Next) -> Response {
    let Some(key) = &api.app.config.admin_api_key else { return next.run(request).await };
    match text(request.headers(), HEADER) {
        Some(given) if same(given, key.expose()) => next.run(request).await,
        Some(_) => Problem::unauthorized("the key in x-admin-api-key is not the one in ADMIN_API_KEY").into_response(),
        None => Problem::unauthorized("this needs a key in the header x-admin-api-key").into_response(),
    }
}

/// Compares in a time that depends on neither text: digests hide the length too.
fn same(given: &str, key: &str) -> bool {
    Sha256::digest(given).ct_eq(&Sha256::digest(key)).into()
}
