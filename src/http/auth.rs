//! Who may use `/admin`: whoever knows the key.

use axum::{
    extract::{Request, State},
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
