//! `/ipfs/{cid}`: published content by its address, as an IPFS gateway serves it.

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures_util::{Stream, stream};

use super::{
    Api,
    error::{Problem, ProblemBody},
};
use crate::metadata::{ContentId, PublishError, local::LocalContent};

/// Content never changes under its address; gateways say 29 weeks for historical reasons, a year is the longest that counts.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Bytes of a file that are in memory for one client.
const PIECE_BYTES: u64 = 256 * 1024;
/// Content is other people's: it must not run anything in this origin.
const SANDBOX: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// Published metadata and images, as an IPFS gateway serves them.
#[utoipa::path(get, path = "/ipfs/{cid}", operation_id = "getContent", tag = "public", params(("cid" = String, Path)),
    responses((status = 200, description = "The content, with its media type.", content_type = "application/octet-stream"),
        (status = 304, description = "It is what `If-None-Match` names."),
        (status = 404, body = ProblemBody, content_type = "application/problem+json",
            description = "This box has not published it.")))]
pub(super) async fn by_cid(
    State(api): State<Api>,
    Path(cid): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let missing = || Problem::not_found("this box has not published anything under this CID");
    let id = ContentId::parse(&cid).ok_or_else(missing)?;
    let (media_type, size) = api.app.content.describe(id).await?.ok_or_else(missing)?;
    let etag = format!("\"{id}\"");
    let known = is_known(&headers, &etag);
    let fixed = [
        // Pages of others show these images: that is what they are for.
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin".to_owned()),
        (header::CACHE_CONTROL, FOR_EVER.to_owned()),
        (header::ETAG, etag),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned()),
        (header::CONTENT_SECURITY_POLICY, SANDBOX.to_owned()),
    ];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, fixed).into_response());
    }
    let told = [(header::CONTENT_TYPE, media_type), (header::CONTENT_LENGTH, size.to_string())];
    Ok((fixed, told, Body::from_stream(pieces(api.app.content.clone(), id, size))).into_response())
}

/// Whether the client has what a tag stands for.
pub(super) fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let tags = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    let mut tags = tags.flat_map(|tags| tags.split(',')).map(str::trim);
    // Weakly, as RFC 9110 compares here.
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// A file piece by piece, each read when the client has taken the one before: whoever is slow holds one of them.
fn pieces(content: LocalContent, id: ContentId, size: u64) -> impl Stream<Item = Result<Vec<u8>, PublishError>> {
    stream::try_unfold((content, 0_u64), move |(content, from)| async move {
        if from >= size {
            return Ok(None);
        }
        let piece = content.piece(id, from, PIECE_BYTES).await?;
        let next = from.saturating_add(piece.len() as u64);
        // An empty one would be asked for again and again; a body that is too short is noticed by the client.
        Ok((!piece.is_empty()).then_some((piece, (content, next))))
    })
}
