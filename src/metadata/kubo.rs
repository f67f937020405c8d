//! An IPFS node: Kubo's RPC API (`/api/v0`), which js-ipfs and others speak too.
//!
//! Everything is a `POST`. What is relied on (<https://docs.ipfs.tech/reference/kubo/rpc/>, and both kinds of node tried):
//! - `dag/import?pin-roots=true` takes a CAR in a multipart field and answers a line of JSON for each root,
//!   `{"Root":{"Cid":{"/":…},"PinErrorMsg":""}}`. Many files go in one CAR, the root of each being a root of the CAR, so that
//!   each is pinned by itself.
//! - `add?cid-version=1&raw-leaves=true&pin=true` takes many files in one form and answers `{"Name":…,"Hash":…}` for each: for
//!   nodes that do not know `dag/import`. Each part needs a content type (js-ipfs insists).
//! - `pin/ls?type=recursive&arg=…` answers `{"Keys":{cid:…}}`, or 500 for all when one of them "is not pinned"; no code of its
//!   own tells that from other faults, so the words are looked at, of one file at a time.
//! - `cat?arg=…&offline=true` answers a file's bytes. Addresses come in any spelling (js-ipfs: base58btc) and are compared as
//!   bytes.

mod answers;

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{RequestBuilder, Url};
use sha2::{Digest as _, Sha256};

use super::{
    Content, ContentId, NowMs, car,
    exchange::{Exchange, Form, MOST_BYTES, Remedies},
    remote::{Parcel, Remote, RemoteError, Token},
    unixfs,
};
use answers::{Line, Pins, Root};

/// Bytes in a CAR, beyond which the next is begun.
const CAR_BYTES: usize = 8 << 20;
/// Files that are asked after in one request: the address stays below 8 KiB.
const ASK_AT_ONCE: usize = 100;
/// Requests of one look-up under way at once.
const LOOKUPS: usize = 8;

/// An IPFS node.
pub(super) struct Kubo {
    exchange: Exchange,
    /// `…/api/v0/`.
    base: Url,
    user: Option<(String, Option<Token>)>,
    token: Option<Token>,
    account: String,
    /// It does not know `dag/import`.
    no_import: AtomicBool,
}

impl std::fmt::Debug for Kubo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kubo").field(&self.account).finish()
    }
}

impl Kubo {
    pub(super) fn new(url: &Url, token: Option<Token>, now_ms: NowMs) -> Result<Self, RemoteError> {
        let remedies = Remedies {
            entry: "KUBO_API_URL lacks the right user and password, or KUBO_API_TOKEN is wrong",
            room: "the node or the proxy before it has no room for it",
            path: "is KUBO_API_URL the address of a node's RPC API, without /api/v0?",
        };
        let user = Some(url.username()).filter(|user| !user.is_empty()).map(|user| {
            let decoded = |text: &str| percent_decoded(text);
            (decoded(user), url.password().map(|password| Token::new(decoded(password))))
        });
        let password = user.as_ref().and_then(|(_, password)| password.clone());
        // The password as it stands in the address, and as it is sent: a server may echo either.
        let echoed = user.as_ref().zip(url.password()).map(|((user, password), written)| {
            let password = password.as_ref().map(Token::expose).unwrap_or_default();
            [Token::new(STANDARD.encode(format!("{user}:{password}"))), Token::new(written.to_owned())]
        });
        let secrets = password.into_iter().chain(token.clone()).chain(echoed.into_iter().flatten());
        let exchange = Exchange::new(url, remedies, secrets.collect(), now_ms)?;
        let mut base = url.clone();
        // Both can only fail for addresses without a host, which the settings refuse.
        let _ = (base.set_username(""), base.set_password(None));
        base.set_query(None);
        base.set_fragment(None);
        let path = base.path().trim_end_matches('/').trim_end_matches("/api/v0").to_owned();
        base.set_path(&format!("{path}/api/v0/"));
        let account = format!("kubo {}{path}{}", exchange.host, entry_of(user.as_ref(), token.as_ref()));
        Ok(Self { exchange, base, user, token, account, no_import: AtomicBool::new(false) })
    }

    fn request(&self, call: &str, query: &[(&str, String)]) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{call}", self.base.path()));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.exchange.http.post(url);
        match (&self.token, &self.user) {
            (Some(token), _) => request.bearer_auth(token.expose()),
            (None, Some((user, password))) => request.basic_auth(user, password.as_ref().map(Token::expose)),
            (None, None) => request,
        }
    }

    async fn call(&self, call: &str, query: &[(&str, String)], most: usize) -> Result<Vec<u8>, RemoteError> {
        self.exchange.send(self.request(call, query), 0, most).await
    }

    /// One CAR, with the root of each file among its roots.
    async fn import(&self, files: &[Content]) -> Result<Vec<ContentId>, RemoteError> {
        let car = car_of(files);
        let form = Form::default().file("file", "content.car", "application/vnd.ipld.car", car);
        let query = [("pin-roots", "true".to_owned())];
        let (request, size) = form.into(self.request("dag/import", &query));
        let body = self.exchange.send(request, size, MOST_BYTES).await?;
        let (mut confirmed, mut complaint) = (Vec::new(), None);
        for line in self.lines(&body)? {
            match line.root {
                Some(Root { cid, pin_error_msg }) if pin_error_msg.as_ref().is_none_or(String::is_empty) => {
                    confirmed.extend(ContentId::parse(&cid.cid));
                }
                Some(Root { pin_error_msg, .. }) => complaint = complaint.or(pin_error_msg),
                None => complaint = complaint.or(line.message),
            }
        }
        self.confirmed(files, confirmed, complaint)
    }

    /// The files themselves, cut into blocks by the node.
    async fn add(&self, files: &[Content]) -> Result<Vec<ContentId>, RemoteError> {
        let mut form = Form::default();
        for (name, file) in (0_usize..).zip(files) {
            form = form.file("file", &name.to_string(), "application/octet-stream", file.bytes.clone());
        }
        let options = [("cid-version", "1"), ("raw-leaves", "true"), ("pin", "true"), ("chunker", "size-262144")];
        let options = options.map(|(name, value)| (name, value.to_owned()));
        let (request, size) = form.into(self.request("add", &options));
        let body = self.exchange.send(request, size, MOST_BYTES).await?;
        let (mut confirmed, mut complaint) = (Vec::new(), None);
        for line in self.lines(&body)? {
            let file = line.name.parse::<usize>().ok().and_then(|name| files.get(name));
            match (file, line.hash) {
                (Some(file), Some(theirs)) if ContentId::parse(&theirs) == Some(file.id) => confirmed.push(file.id),
                (Some(file), Some(theirs)) => {
                    let (host, theirs) = (self.exchange.host.clone(), self.exchange.words(theirs.as_bytes()));
                    return Err(RemoteError::WrongAddress { host, ours: file.id.to_string(), theirs });
                }
                (None, _) | (_, None) => complaint = complaint.or(line.message),
            }
        }
        self.confirmed(files, confirmed, complaint)
    }

    fn lines(&self, body: &[u8]) -> Result<Vec<Line>, RemoteError> {
        let lines = serde_json::Deserializer::from_slice(body).into_iter();
        lines.collect::<Result<_, _>>().map_err(|_no_json| self.exchange.garbled("lines of JSON"))
    }

    /// What it confirmed of what was sent. Something else in its place is told as what it is.
    fn confirmed(
        &self,
        files: &[Content],
        confirmed: Vec<ContentId>,
        complaint: Option<String>,
    ) -> Result<Vec<ContentId>, RemoteError> {
        let ours: HashSet<ContentId> = files.iter().map(|file| file.id).collect();
        let theirs: HashSet<ContentId> = confirmed.into_iter().collect();
        let (host, missing) = (self.exchange.host.clone(), ours.difference(&theirs).next());
        if let (Some(ours), Some(theirs)) = (missing, theirs.difference(&ours).next()) {
            return Err(RemoteError::WrongAddress { host, ours: ours.to_string(), theirs: theirs.to_string() });
        }
        let confirmed: Vec<ContentId> = ours.intersection(&theirs).copied().collect();
        let missing = ours.len().saturating_sub(confirmed.len());
        if confirmed.is_empty() && missing > 0 {
            let message = complaint.map(|words| self.exchange.words(words.as_bytes()));
            let message = message.unwrap_or_else(|| "it did not say why".to_owned());
            return Err(RemoteError::Unconfirmed { host, missing, asked: files.len(), message });
        }
        Ok(confirmed)
    }

    /// Which of some files are pinned: all in one question and, when that fails, in halves.
    async fn pinned(&self, ids: &[ContentId]) -> Result<Vec<ContentId>, RemoteError> {
        let mut questions = vec![ids.to_vec()];
        let mut pinned = Vec::new();
        while !questions.is_empty() {
            let answers = stream::iter(questions).map(|ids| async {
                let answer = self.ask(&ids).await?;
                Ok::<_, RemoteError>((ids, answer))
            });
            let answers: Vec<_> = answers.buffer_unordered(LOOKUPS).try_collect().await?;
            questions = Vec::new();
            for (ids, answer) in answers {
                match answer {
                    Some(found) => pinned.extend(ids.into_iter().filter(|id| found.contains(id))),
                    None if ids.len() > 1 => {
                        let (first, second) = ids.split_at(ids.len().div_ceil(2));
                        questions.extend([first.to_vec(), second.to_vec()]);
                    }
                    None => {}
                }
            }
        }
        Ok(pinned)
    }

    /// Those of some files that are pinned; none when at least one is not.
    async fn ask(&self, ids: &[ContentId]) -> Result<Option<HashSet<ContentId>>, RemoteError> {
        let mut query = vec![("type", "recursive".to_owned())];
        query.extend(ids.iter().map(|id| ("arg", id.to_string())));
        match self.call("pin/ls", &query, MOST_BYTES).await {
            Ok(body) => {
                let pins: Pins =
                    serde_json::from_slice(&body).map_err(|_no_json| self.exchange.garbled("a list of pins"))?;
                Ok(Some(pins.keys.unwrap_or_default().keys().filter_map(|cid| ContentId::parse(cid)).collect()))
            }
            Err(RemoteError::Unwell { status: 500, message, .. }) if message.contains("not pinned") => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Remote for Kubo {
    fn provider(&self) -> &'static str {
        "kubo"
    }

    fn host(&self) -> &str {
        &self.exchange.host
    }

    fn account(&self) -> &str {
        &self.account
    }

    fn parcel(&self) -> Parcel {
        Parcel { files: 512, bytes: CAR_BYTES, at_once: 2 }
    }

    async fn upload(&self, files: &[Content]) -> Result<Vec<ContentId>, RemoteError> {
        if self.no_import.load(Ordering::Relaxed) {
            return self.add(files).await;
        }
        match self.import(files).await {
            Err(RemoteError::Refused { status: 404 | 405 | 501, .. }) => {
                let added = self.add(files).await?;
                tracing::info!(host = %self.exchange.host, "the node does not know dag/import; files are added instead");
                self.no_import.store(true, Ordering::Relaxed);
                Ok(added)
            }
            done => done,
        }
    }

    async fn held(&self, ids: &[ContentId]) -> Result<HashSet<ContentId>, RemoteError> {
        let mut held = HashSet::new();
        for ids in ids.chunks(ASK_AT_ONCE) {
            held.extend(self.pinned(ids).await?);
        }
        Ok(held)
    }

    fn can_read(&self) -> bool {
        true
    }

    async fn read(&self, id: ContentId, size: usize) -> Result<Option<Vec<u8>>, RemoteError> {
        // What is pinned is there at once; without `offline` a node would search the network for what it lost.
        let query = [("arg", id.to_string()), ("offline", "true".to_owned()), ("timeout", "10s".to_owned())];
        // What it says instead of a small file is larger.
        match self.call("cat", &query, size.max(MOST_BYTES)).await {
            Ok(bytes) => Ok(Some(bytes)),
            // In its words alone is the difference between what it lost and what took it too long.
            Err(RemoteError::Unwell { status: 500, message, .. }) if is_absence(&message) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn check(&self) -> Result<(), RemoteError> {
        let body = self.call("version", &[], MOST_BYTES).await?;
        let version: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let known = version.is_some_and(|version| version.get("Version").is_some());
        if known { Ok(()) } else { Err(self.exchange.garbled("a node's version")) }
    }
}

pub(super) fn car_of(files: &[Content]) -> Bytes {
    let files: Vec<unixfs::File> = files.iter().map(|file| unixfs::file(&file.bytes)).collect();
    let roots: Vec<_> = files.iter().map(|file| file.root).collect();
    let mut car = Vec::new();
    let blocks = files.into_iter().flat_map(|file| file.blocks).map(Ok::<_, std::io::Error>);
    // Writing to memory cannot fail.
    drop(car::write(&mut car, &roots, blocks));
    car.into()
}

/// Whether a node says that it does not have something, rather than that it could not look.
fn is_absence(message: &str) -> bool {
    ["not found", "could not find", "not have"].iter().any(|words| message.contains(words))
}

/// Who is let in, without anything secret: several may share a node's address and see different pins.
fn entry_of(user: Option<&(String, Option<Token>)>, token: Option<&Token>) -> String {
    let hashed = |token: &Token| format!("{:x}", Sha256::digest(token.expose())).chars().take(12).collect::<String>();
    match (token, user) {
        (_, Some((user, _))) => format!(" user {user}"),
        (Some(token), None) => format!(" token {}", hashed(token)),
        (None, None) => String::new(),
    }
}

/// User names and passwords stand percent-encoded in addresses.
fn percent_decoded(text: &str) -> String {
    let mut bytes = text.as_bytes().iter();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        let hex = bytes.as_slice().get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(code) if *byte == b'%' => {
                decoded.push(code);
                bytes.nth(1);
            }
            Some(_) | None => decoded.push(*byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn an_account_is_of_whom_the_node_lets_in_and_tells_no_secret() {
        let account = |url: &str, token: Option<&str>| {
            let kubo = Kubo::new(&url.parse().unwrap(), token.map(Token::new), Arc::new(|| 0)).unwrap();
            kubo.account().to_owned()
        };
        assert_eq!(account("http://node:5001", None), "kubo http://node:5001");
        assert_eq!(account("http://ann:hunter2@node:5001/x", None), "kubo http://node:5001/x user ann");
        assert_eq!(account("http://ann:other@node:5001/x", None), account("http://ann:hunter2@node:5001/x", None));
        assert_ne!(account("http://bob:hunter2@node:5001/x", None), account("http://ann:hunter2@node:5001/x", None));
        let (one, other) = (account("http://node:5001", Some("hunter2")), account("http://node:5001", Some("hunter3")));
        assert_ne!(one, other);
        assert!(!one.contains("hunter2") && one.starts_with("kubo http://node:5001 token "), "{one}");
    }
}
