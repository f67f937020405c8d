//! Pinata, by version 3 of its API.
//!
//! What is relied on (<https://docs.pinata.cloud>, and the source of its own SDK, npm `pinata` 2.5):
//! - `POST https://uploads.pinata.cloud/v3/files` with a bearer JWT and the form fields `file`, `network=public` (the default is
//!   private, where no wallet could look), `name`, `cid_version=v1`, and `car=true` for a file that is a CAR ("only supported
//!   for public network"). It answers `{"data":{"cid":…}}`; the same file again is a success with `is_duplicate`.
//! - Small files get `CIDv1` with a raw leaf, as in the examples there. A file of several blocks goes as a CAR of our own blocks, so
//!   that its address does not depend on how Pinata would cut it.
//! - `GET https://api.pinata.cloud/v3/files/public?cid=…` lists the account's files with that address: `{"data":{"files":[…]}}`.
//! - 60, 250 or 500 requests a minute, by plan; 429 beyond. Files above 100 MB need another kind of upload, and are refused here
//!   before (`MOST_FILE_BYTES`).
//!
//! One file goes in one request. Version 3 does not take folders as such. A CAR of a folder would be one request for hundreds of
//! tickets, but nothing there promises that a file inside it can be fetched, listed or deleted by its own address, and that
//! address is what stands on the chain.

use std::collections::HashSet;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{Method, RequestBuilder, Url};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{
    Content, ContentId, NowMs,
    exchange::{Exchange, Form, MOST_BYTES, Remedies},
    kubo::car_of,
    remote::{Parcel, Remote, RemoteError, Token},
    unixfs::PIECE_BYTES,
};

/// Requests under way at once.
const AT_ONCE: usize = 32;

/// Pinata.
pub(super) struct Pinata {
    api: Exchange,
    uploads: Exchange,
    api_url: Url,
    uploads_url: Url,
    jwt: Token,
    account: String,
}

impl std::fmt::Debug for Pinata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pinata").field(&self.account).finish()
    }
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct File {
    cid: String,
}

#[derive(Deserialize)]
struct Files {
    /// Null when there are none.
    files: Option<Vec<File>>,
}

impl Pinata {
    pub(super) fn new(api: &Url, uploads: &Url, jwt: Token, now_ms: &NowMs) -> Result<Self, RemoteError> {
        let remedies = Remedies {
            entry: "PINATA_JWT is not valid there, or its key may not read and write files; make a new one and set it",
            room: "the account's plan is used up, or the file is too large for it; a larger plan helps",
            path: "are PINATA_API_URL and PINATA_UPLOAD_URL those of Pinata's version 3?",
        };
        let exchange = |url: &Url| Exchange::new(url, remedies, vec![jwt.clone()], NowMs::clone(now_ms));
        let (api_exchange, uploads_exchange) = (exchange(api)?, exchange(uploads)?);
        let account = format!("pinata {} {}", api_exchange.host, account_of(jwt.expose()));
        let (api_url, uploads_url) = (under(api, "v3/files/public"), under(uploads, "v3/files"));
        Ok(Self { api: api_exchange, uploads: uploads_exchange, api_url, uploads_url, jwt, account })
    }

    fn list(&self, query: &[(&str, String)]) -> RequestBuilder {
        let mut url = self.api_url.clone();
        url.query_pairs_mut().extend_pairs(query);
        self.api.http.request(Method::GET, url).bearer_auth(self.jwt.expose())
    }

    async fn is_listed(&self, id: ContentId) -> Result<bool, RemoteError> {
        let query = [("cid", id.to_string()), ("limit", "10".to_owned())];
        let body = self.api.send(self.list(&query), 0, MOST_BYTES).await?;
        let files: Answer<Files> =
            serde_json::from_slice(&body).map_err(|_other| self.api.garbled("a list of files"))?;
        // The filter is Pinata's; the comparison is ours.
        Ok(files.data.files.unwrap_or_default().iter().any(|file| ContentId::parse(&file.cid) == Some(id)))
    }

    async fn upload_one(&self, file: &Content) -> Result<ContentId, RemoteError> {
        let name = file.id.to_string();
        let form = Form::default().text("network", "public").text("name", &name).text("cid_version", "v1");
        let form = if file.bytes.len() > PIECE_BYTES {
            let car: Bytes = car_of(std::slice::from_ref(file));
            form.text("car", "true").file("file", &format!("{name}.car"), "application/vnd.ipld.car", car)
        } else {
            form.file("file", &name, &file.media_type, file.bytes.clone())
        };
        let request = self.uploads.http.post(self.uploads_url.clone()).bearer_auth(self.jwt.expose());
        let (request, size) = form.into(request);
        let body = self.uploads.send(request, size, MOST_BYTES).await?;
        let stored: Answer<File> =
            serde_json::from_slice(&body).map_err(|_other| self.uploads.garbled("a stored file's address"))?;
        let theirs = stored.data.cid;
        let host = self.uploads.host.clone();
        match ContentId::parse(&theirs) {
            Some(id) if id == file.id => Ok(id),
            // Its documentation knows this word for files whose address is not computed yet.
            None if theirs == "pending" => {
                let message = "the address is not known there yet".to_owned();
                Err(RemoteError::Unconfirmed { host, missing: 1, asked: 1, message })
            }
            Some(_) | None => {
                let theirs = self.uploads.words(theirs.as_bytes());
                Err(RemoteError::WrongAddress { host, ours: name, theirs })
            }
        }
    }
}

#[async_trait]
impl Remote for Pinata {
    fn provider(&self) -> &'static str {
        "pinata"
    }

    fn host(&self) -> &str {
        &self.api.host
    }

    fn account(&self) -> &str {
        &self.account
    }

    fn parcel(&self) -> Parcel {
        Parcel { files: 1, bytes: usize::MAX, at_once: AT_ONCE }
    }

    async fn upload(&self, files: &[Content]) -> Result<Vec<ContentId>, RemoteError> {
        let uploads = stream::iter(files).then(|file| self.upload_one(file));
        uploads.try_collect().await
    }

    async fn held(&self, ids: &[ContentId]) -> Result<HashSet<ContentId>, RemoteError> {
        let ids = ids.to_vec();
        let answers = stream::iter(ids).map(async |id| Ok((id, self.is_listed(id).await?)));
        let answers: Vec<(ContentId, bool)> = answers.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(answers.into_iter().filter(|(_, listed)| *listed).map(|(id, _)| id).collect())
    }

    fn can_read(&self) -> bool {
        false
    }

    async fn read(&self, _id: ContentId, _size: usize) -> Result<Option<Vec<u8>>, RemoteError> {
        // Only gateways hand files out.
        Ok(None)
    }

    async fn check(&self) -> Result<(), RemoteError> {
        let body = self.api.send(self.list(&[("limit", "1".to_owned())]), 0, MOST_BYTES).await?;
        let files: Result<Answer<Files>, _> = serde_json::from_slice(&body);
        files.map(drop).map_err(|_other| self.api.garbled("a list of files"))
    }
}

fn under(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// A short name for an account: a hash of the user's id inside the JWT, so that a new JWT of the same user is the same account;
/// of the JWT itself when it holds none.
fn account_of(jwt: &str) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Claims {
        user_information: User,
    }
    #[derive(Deserialize)]
    struct User {
        id: String,
    }
    let payload = jwt.split('.').nth(1).and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
    let claims = payload.and_then(|payload| serde_json::from_slice::<Claims>(&payload).ok());
    let name = claims.map_or_else(|| jwt.to_owned(), |claims| claims.user_information.id);
    format!("{:x}", Sha256::digest(name)).chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_outlives_its_tokens() {
        let jwt = |claims: &str| format!("header.{}.signature", URL_SAFE_NO_PAD.encode(claims));
        let first = account_of(&jwt(r#"{"userInformation":{"id":"a","email":"x"},"exp":1}"#));
        assert_eq!(first, account_of(&jwt(r#"{"userInformation":{"id":"a"},"exp":2}"#)));
        assert_ne!(first, account_of(&jwt(r#"{"userInformation":{"id":"b"}}"#)));
        assert_ne!(account_of("opaque"), account_of("other"));
        assert!(!account_of("opaque").contains("opaque"));
    }
}
