//! `/` and `/assets/…`: the status page. Its files are in the program; they hold no data, which the page asks the API for.

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rust_embed::{EmbeddedFile, RustEmbed};
use tower_http::set_header::SetResponseHeaderLayer;

use super::{Api, error::Problem};

/// Everything under `assets`. A debug build reads it from there at each request, so that the page can be worked on.
#[derive(RustEmbed)]
#[folder = "assets"]
struct Assets;

/// Only what comes with the page runs in it; published images are the box's own too.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
     connect-src 'self'; manifest-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

pub(super) fn routes() -> Router<Api> {
    let policy = HeaderName::from_static("content-security-policy");
    Router::new()
        .route("/", get(async |headers: HeaderMap| file("index.html", &headers)))
        .route("/assets/{*path}", get(async |Path(path): Path<String>, headers: HeaderMap| file(&path, &headers)))
        .layer(SetResponseHeaderLayer::overriding(policy, HeaderValue::from_static(CONTENT_POLICY)))
}

/// A file, or that the client has it already. It is asked for each time: a new version of the program has a new page.
fn file(path: &str, headers: &HeaderMap) -> Response {
    let Some(EmbeddedFile { data, metadata }) = Assets::get(path) else {
        return Problem::not_found("the status page has no such file").into_response();
    };
    let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(metadata.sha256_hash()));
    let known = super::content::is_known(headers, &etag);
    let told = [(header::CACHE_CONTROL, "no-cache".to_owned()), (header::ETAG, etag)];
    if known {
        return (StatusCode::NOT_MODIFIED, told).into_response();
    }
    (told, [(header::CONTENT_TYPE, metadata.mimetype().to_owned())], data).into_response()
}
