//! The API described by itself: OpenAPI 3.1 generated from the handlers, and a page to read and try it.

use axum::{
    Router,
    body::Bytes,
    http::{HeaderName, HeaderValue, header},
    routing::get,
};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::{
    OpenApi,
    openapi::{
        self, ContentBuilder, HeaderBuilder, Ref, RefOr, ResponseBuilder,
        path::{Operation, PathItem},
        security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{Api, error::ProblemBody};

/// What is said once for the whole API.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "boxoffice",
        description = "Mints a venue's tickets as NFTs on Solana, each exactly once.\n\n\
            Times are RFC 3339 in UTC. Names that end in `Lamports` are integers of 0.000000001 SOL. A ticket id is an \
            idempotency key that never expires: sent again, a ticket is answered with its existing result. Errors are \
            `application/problem+json` (RFC 9457) with a stable `code`."
    ),
    components(schemas(ProblemBody)),
    tags(
        (name = "minting", description = "Tickets, and the batches they come in."),
        (name = "reconciliation", description = "Books and chain, compared and repaired."),
        (name = "statistics", description = "Numbers."),
        (name = "system", description = "The box itself."),
        (name = "public", description = "Needs no key."),
    )
)]
pub(super) struct ApiDoc;

/// The page loads nothing from anywhere else. Swagger UI sets styles in the page.
const CONTENT_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const KEY: &str = "key";

/// What an admin request of any kind can be answered with.
const COMMON: &[(u16, &str)] = &[
    (400, "`invalid_request`: the path or the query cannot be read."),
    (401, "`unauthorized`: the key is missing or wrong."),
    (
        403,
        "`forbidden`: the address, the web site or the key's role is not allowed. `too_many_wrong_keys`: `Retry-After` says \
         when a key is looked at again.",
    ),
    (422, "`invalid_request`: `errors` says what is wrong, and where."),
    (429, "`too_many_requests`: `Retry-After` says when to come back."),
    (500, "`internal_error`: a fault of the box; the log has its cause."),
    (503, "`chain_unavailable`, `database_unavailable` or `timed_out`: the same request may succeed later."),
];
/// And what one that may change something can be answered with besides.
const OF_WRITES: &[(u16, &str)] = &[
    (408, "`request_timeout`: the body took too long."),
    (409, "`request_in_flight`: a request with this `Idempotency-Key` is being carried out."),
    (413, "`body_too_large`."),
    (415, "`unsupported_media_type`: the body must be JSON."),
];

/// Adds to the generated description what holds for all of `/admin`: the key, and what every request can be answered with.
fn complete(mut description: openapi::OpenApi) -> openapi::OpenApi {
    let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-admin-api-key")));
    description.components.get_or_insert_default().add_security_scheme(KEY, key);
    for (path, item) in &mut description.paths.paths {
        let writes = operations(item);
        for (operation, is_write) in writes {
            let is_admin = path.starts_with("/admin");
            if is_admin {
                operation.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(KEY, [])]);
            }
            let common = if is_admin { COMMON } else { &[] };
            let of_writes = if is_write { OF_WRITES } else { &[] };
            let said = operation.summary.clone().unwrap_or_else(|| "The answer.".to_owned());
            for response in operation.responses.responses.values_mut() {
                if let RefOr::T(response) = response
                    && response.description.is_empty()
                {
                    response.description.clone_from(&said);
                }
            }
            for (status, meaning) in common.iter().chain(of_writes) {
                let response = || RefOr::T(problem(*status, meaning));
                operation.responses.responses.entry(status.to_string()).or_insert_with(response);
            }
        }
    }
    description
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&mut Operation, bool)> {
    let reads = item.get.as_mut().into_iter().map(|operation| (operation, false));
    let writes = item.post.as_mut().into_iter().chain(item.put.as_mut()).chain(item.delete.as_mut());
    let writes = writes.map(|operation| (operation, true));
    reads.chain(writes)
}

fn problem(status: u16, meaning: &str) -> openapi::Response {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let mut response = ResponseBuilder::new().description(meaning).content("application/problem+json", body);
    if status == 429 {
        let seconds = HeaderBuilder::new().description(Some("Seconds until the next request is welcome.")).build();
        response = response.header("retry-after", seconds);
    }
    response.build()
}

/// `/openapi.json`, and `/docs`, which works without any network.
pub(super) fn routes(description: openapi::OpenApi) -> Router<Api> {
    // Plain structs and maps with text for keys: serialising cannot fail.
    let json = Bytes::from(serde_json::to_vec(&complete(description)).unwrap_or_default());
    let policy = HeaderName::from_static("content-security-policy");
    let config = Config::from("/openapi.json").try_it_out_enabled(true).validator_url("none");
    let page = Router::from(SwaggerUi::new("/docs").config(config))
        .layer(SetResponseHeaderLayer::overriding(policy, HeaderValue::from_static(CONTENT_POLICY)));
    let kind = [(header::CONTENT_TYPE, "application/json")];
    page.route("/openapi.json", get(async move || (kind, json)))
}
