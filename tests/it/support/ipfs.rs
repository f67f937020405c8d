//! Places where content is published: stand-ins of Kubo and Pinata that behave as documented, and misbehave as in life.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use boxoffice::metadata::{ContentId, unixfs};
use cid::{Cid, multibase::Base};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// What the JWT of every test is.
pub const JWT: &str = "hunter2-jwt";
/// Bytes of a CID of this kind.
const CID_BYTES: usize = 36;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Deed {
    /// It is answered as documented.
    Well,
    /// It is answered with a status, and perhaps `Retry-After`; nothing is stored.
    Says(u16, Option<&'static str>),
    /// It refuses, and repeats what it was sent as a token.
    SaysToken,
    /// It is carried out, and the answer is a status.
    DoneBut(u16),
    /// It is carried out, and the connection is cut before the answer.
    Cut,
    /// It is carried out, and the answer is nonsense.
    Garbage,
    /// It is stored under another address, which the answer names.
    WrongAddress,
    /// It is answered well, but late.
    Late(Duration),
    /// The first half of the files is stored, and the answer names only those.
    Half,
}

/// A call: its path below the base, and how many to that path came before it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub nth: usize,
}

type Rule = Box<dyn Fn(&Asked) -> Deed + Send + Sync>;

/// A file as it was stored.
#[derive(Clone, Debug)]
pub struct Stored {
    pub bytes: Bytes,
    /// How often it was uploaded.
    pub uploads: usize,
}

struct Shared {
    rule: Mutex<Rule>,
    counts: Mutex<HashMap<String, usize>>,
    stored: Mutex<BTreeMap<String, Stored>>,
    /// Kubo: calls that it does not know.
    unknown: Mutex<Vec<&'static str>>,
    /// Files that it refuses, by something in their bytes, and the status.
    refused: Mutex<Option<(Vec<u8>, u16)>>,
}

/// A running stand-in; it speaks both APIs, and ends when it is dropped.
#[derive(Clone)]
pub struct Ipfs {
    pub url: Url,
    shared: Arc<Shared>,
    server: Arc<Server>,
}

struct Server(Mutex<JoinHandle<()>>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.lock().unwrap().abort();
    }
}

impl Ipfs {
    pub async fn start(rule: impl Fn(&Asked) -> Deed + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            rule: Mutex::new(Box::new(rule)),
            counts: Mutex::default(),
            stored: Mutex::default(),
            unknown: Mutex::default(),
            refused: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let server = serve(listener, &shared);
        Self { url, shared, server: Arc::new(Server(Mutex::new(server))) }
    }

    /// Settings of a box that publishes here with Kubo's API.
    pub fn kubo(&self) -> Vec<(&'static str, String)> {
        vec![("IPFS_PROVIDER", "kubo".into()), ("KUBO_API_URL", self.url.to_string())]
    }

    /// Settings of a box that publishes here with Pinata's API.
    pub fn pinata(&self) -> Vec<(&'static str, String)> {
        vec![
            ("IPFS_PROVIDER", "pinata".into()),
            ("PINATA_API_URL", self.url.to_string()),
            ("PINATA_UPLOAD_URL", self.url.to_string()),
            ("PINATA_JWT", JWT.into()),
        ]
    }

    /// From now on another rule holds, and calls are counted anew.
    pub fn set(&self, rule: impl Fn(&Asked) -> Deed + Send + Sync + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
        self.shared.counts.lock().unwrap().clear();
    }

    /// Kubo does not know a call.
    pub fn does_not_know(&self, call: &'static str) {
        self.shared.unknown.lock().unwrap().push(call);
    }

    /// Uploads with something in their bytes are refused with a status; none to take all again.
    pub fn refuse(&self, what: Option<(&[u8], u16)>) {
        *self.shared.refused.lock().unwrap() = what.map(|(bytes, status)| (bytes.to_vec(), status));
    }

    /// Nobody answers any more, until [`Ipfs::come_back`].
    pub fn go_down(&self) {
        self.server.0.lock().unwrap().abort();
    }

    /// It answers again, at the same address and with what it had.
    pub async fn come_back(&self) {
        let address = format!("127.0.0.1:{}", self.url.port().unwrap());
        let listener = TcpListener::bind(address).await.unwrap();
        *self.server.0.lock().unwrap() = serve(listener, &self.shared);
    }

    pub fn calls(&self, path: &str) -> usize {
        self.shared.counts.lock().unwrap().get(path).copied().unwrap_or_default()
    }

    pub fn stored(&self) -> BTreeMap<String, Stored> {
        self.shared.stored.lock().unwrap().clone()
    }

    pub fn holds(&self, cid: &str) -> bool {
        self.shared.stored.lock().unwrap().contains_key(cid)
    }

    /// Whether it has a ticket's metadata, and the picture that this names.
    pub fn holds_all_of(&self, cid: &str) -> bool {
        let stored = self.shared.stored.lock().unwrap();
        let Some(document) = stored.get(cid) else { return false };
        let document: Value = serde_json::from_slice(&document.bytes).unwrap();
        stored.contains_key(document["image"].as_str().unwrap().strip_prefix("ipfs://").unwrap())
    }

    /// Loses a file.
    pub fn lose(&self, cid: &str) {
        assert!(self.shared.stored.lock().unwrap().remove(cid).is_some());
    }

    /// A file stays listed, and its bytes are no longer what they were.
    pub fn spoil(&self, cid: &str) {
        self.shared.stored.lock().unwrap().get_mut(cid).unwrap().bytes = Bytes::from_static(b"spoilt");
    }

    /// Asserts that no file was uploaded twice, and that all are what their addresses say.
    pub fn assert_once(&self) {
        for (cid, stored) in self.stored() {
            assert_eq!(stored.uploads, 1, "{cid} was uploaded {} times", stored.uploads);
            assert_eq!(ContentId::of(&stored.bytes).to_string(), cid);
        }
    }
}

fn serve(listener: TcpListener, shared: &Arc<Shared>) -> JoinHandle<()> {
    let router = Router::new().fallback(handle).with_state(Arc::clone(shared));
    let router = router.layer(axum::extract::DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().trim_start_matches('/').to_owned();
    let nth = {
        let mut counts = shared.counts.lock().unwrap();
        let count = counts.entry(path.clone()).or_default();
        *count += 1;
        *count - 1
    };
    let deed = shared.rule.lock().unwrap()(&Asked { path: path.clone(), nth });
    if let Some((what, status)) = &*shared.refused.lock().unwrap()
        && body.windows(what.len()).any(|window| window == what)
    {
        return (StatusCode::from_u16(*status).unwrap(), "not this one").into_response();
    }
    match deed {
        Deed::Says(status, retry_after) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), "not now").into_response();
            if let Some(retry_after) = retry_after {
                response.headers_mut().insert("retry-after", retry_after.parse().unwrap());
            }
            return response;
        }
        Deed::SaysToken => {
            let token = headers.get("authorization").map(|token| token.to_str().unwrap().to_owned());
            return (StatusCode::FORBIDDEN, token.unwrap_or_default()).into_response();
        }
        Deed::Late(wait) => tokio::time::sleep(wait).await,
        Deed::Well | Deed::DoneBut(_) | Deed::Cut | Deed::Garbage | Deed::WrongAddress | Deed::Half => {}
    }
    let query: Vec<(String, String)> =
        Url::parse(&format!("http://x{uri}")).unwrap().query_pairs().into_owned().collect();
    let answer = match path.strip_prefix("api/v0/") {
        Some(call) => {
            assert_eq!(method, Method::POST, "Kubo takes nothing else");
            kubo(&shared, call, &query, &headers, &body, deed)
        }
        None => pinata(&shared, &path, &query, &headers, &body, deed),
    };
    match deed {
        Deed::DoneBut(status) => (StatusCode::from_u16(status).unwrap(), "done, but").into_response(),
        Deed::Garbage => "<html>It works!</html>".into_response(),
        Deed::Cut => {
            let cut = futures_util::stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut")) });
            Body::from_stream(cut).into_response()
        }
        Deed::Well | Deed::Says(..) | Deed::SaysToken | Deed::WrongAddress | Deed::Late(_) | Deed::Half => answer,
    }
}

fn kubo(
    shared: &Shared,
    call: &str,
    query: &[(String, String)],
    headers: &HeaderMap,
    body: &Bytes,
    deed: Deed,
) -> Response {
    if shared.unknown.lock().unwrap().contains(&call) {
        return (StatusCode::NOT_FOUND, "404 page not found").into_response();
    }
    let failed = |message: String| {
        let body = json!({ "Message": message, "Code": 0, "Type": "error" });
        (StatusCode::INTERNAL_SERVER_ERROR, body.to_string()).into_response()
    };
    match call {
        "version" => json!({ "Version": "0.39.0" }).to_string().into_response(),
        "dag/import" => {
            assert!(query.contains(&("pin-roots".into(), "true".into())));
            let (mut roots, blocks) = read_car(&form(headers, body)[0].1);
            let asked = roots.len();
            roots.truncate(if deed == Deed::Half { asked / 2 } else { asked });
            let lines = roots.into_iter().map(|root| {
                let shown = if deed == Deed::WrongAddress { wrong(root) } else { root };
                store(shared, shown, file_of(root, &blocks));
                json!({ "Root": { "Cid": { "/": shown.to_string() }, "PinErrorMsg": "" } }).to_string() + "\n"
            });
            lines.collect::<String>().into_response()
        }
        "add" => {
            let lines = form(headers, body).into_iter().map(|(part, bytes)| {
                let root = ContentId::of(&bytes).cid();
                let shown = if deed == Deed::WrongAddress { wrong(root) } else { root };
                store(shared, shown, bytes);
                // As js-ipfs spells them.
                let shown = shown.to_string_of_base(Base::Base58Btc).unwrap();
                let name = part.split("filename=\"").nth(1).unwrap().split('"').next().unwrap();
                json!({ "Name": name, "Hash": shown, "Size": 1 }).to_string() + "\n"
            });
            lines.collect::<String>().into_response()
        }
        "pin/ls" => {
            let wanted: Vec<&String> = query.iter().filter(|(name, _)| name == "arg").map(|(_, cid)| cid).collect();
            let stored = shared.stored.lock().unwrap();
            if let Some(cid) = wanted.iter().find(|cid| !stored.contains_key(**cid)) {
                return failed(format!("path '/ipfs/{cid}' is not pinned"));
            }
            let keys: serde_json::Map<String, Value> =
                wanted.into_iter().map(|cid| (cid.clone(), json!({ "Type": "recursive" }))).collect();
            json!({ "Keys": keys }).to_string().into_response()
        }
        "cat" => {
            let cid = &query.iter().find(|(name, _)| name == "arg").unwrap().1;
            match shared.stored.lock().unwrap().get(cid) {
                Some(stored) => stored.bytes.clone().into_response(),
                None => failed("block was not found locally (offline)".into()),
            }
        }
        _ => (StatusCode::NOT_FOUND, "404 page not found").into_response(),
    }
}

fn pinata(
    shared: &Shared,
    path: &str,
    query: &[(String, String)],
    headers: &HeaderMap,
    body: &Bytes,
    deed: Deed,
) -> Response {
    if let Some(cid) = path.strip_prefix("ipfs/") {
        // A public gateway, of all that is stored.
        return match shared.stored.lock().unwrap().get(cid) {
            Some(stored) => stored.bytes.clone().into_response(),
            None => StatusCode::GATEWAY_TIMEOUT.into_response(),
        };
    }
    if headers.get("authorization").and_then(|value| value.to_str().ok()) != Some(&format!("Bearer {JWT}")) {
        let body = json!({ "error": { "code": 401, "message": "Not Authorized" } });
        return (StatusCode::UNAUTHORIZED, body.to_string()).into_response();
    }
    match path {
        "v3/files" => {
            let parts = form(headers, body);
            let text = |name: &str| {
                let part = parts.iter().find(|(head, _)| head.contains(&format!("name=\"{name}\"")));
                part.map(|(_, bytes)| String::from_utf8(bytes.to_vec()).unwrap())
            };
            assert_eq!(text("network").as_deref(), Some("public"), "private files are seen by nobody");
            let bytes = parts.iter().find(|(head, _)| head.contains("name=\"file\"")).unwrap().1.clone();
            let (root, bytes) = if text("car").as_deref() == Some("true") {
                let (roots, blocks) = read_car(&bytes);
                (roots[0], file_of(roots[0], &blocks))
            } else {
                (ContentId::of(&bytes).cid(), bytes)
            };
            let shown = if deed == Deed::WrongAddress { wrong(root) } else { root };
            let duplicate = store(shared, shown, bytes);
            json!({ "data": { "id": "id", "cid": shown.to_string(), "size": 1, "is_duplicate": duplicate } })
                .to_string()
                .into_response()
        }
        "v3/files/public" => {
            let cid = query.iter().find(|(name, _)| name == "cid").map(|(_, cid)| cid);
            let found = cid.filter(|cid| shared.stored.lock().unwrap().contains_key(*cid));
            let files: Vec<Value> = found.into_iter().map(|cid| json!({ "id": "id", "cid": cid })).collect();
            json!({ "data": { "files": files, "next_page_token": "" } }).to_string().into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Stores a file; whether it was there.
fn store(shared: &Shared, root: Cid, bytes: Bytes) -> bool {
    let mut stored = shared.stored.lock().unwrap();
    let entry = stored.entry(root.to_string()).or_insert(Stored { bytes: bytes.clone(), uploads: 0 });
    entry.uploads += 1;
    entry.bytes = bytes;
    entry.uploads > 1
}

/// Some other address.
fn wrong(root: Cid) -> Cid {
    ContentId::of(&root.to_bytes()).cid()
}

/// The parts of a form: head and body of each.
fn form(headers: &HeaderMap, body: &Bytes) -> Vec<(String, Bytes)> {
    let kind = headers["content-type"].to_str().unwrap();
    let boundary = format!("--{}", kind.split("boundary=").nth(1).unwrap());
    let find = |from: usize, what: &[u8]| {
        body[from..].windows(what.len()).position(|window| window == what).map(|position| from + position)
    };
    let (mut parts, mut at) = (Vec::new(), find(0, boundary.as_bytes()).unwrap());
    while let Some(next) = find(at + 1, boundary.as_bytes()) {
        let head_end = find(at, b"\r\n\r\n").unwrap();
        let head = String::from_utf8(body[at..head_end].to_vec()).unwrap();
        parts.push((head, body.slice(head_end + 4..next - 2)));
        at = next;
    }
    parts
}

/// Roots and blocks of a CAR; every block is what its address says.
fn read_car(car: &Bytes) -> (Vec<Cid>, HashMap<Cid, Bytes>) {
    let mut at = 0;
    let mut length = || {
        let (mut value, mut shift) = (0_usize, 0);
        loop {
            let byte = car[at];
            at += 1;
            value |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        at += value;
        (at - value, at)
    };
    let (from, to) = length();
    let header = &car[from..to];
    let link = [0xd8, 42, 0x58, 37, 0];
    let roots = (0..header.len()).filter(|at| header[*at..].starts_with(&link));
    let roots = roots.map(|at| Cid::try_from(&header[at + 5..at + 5 + CID_BYTES]).unwrap()).collect();
    let mut blocks = HashMap::new();
    let mut end = to;
    while end < car.len() {
        let (from, to) = length();
        let cid = Cid::try_from(&car[from..from + CID_BYTES]).unwrap();
        blocks.insert(cid, car.slice(from + CID_BYTES..to));
        end = to;
    }
    (roots, blocks)
}

/// A file's bytes from its blocks; only raw leaves are joined, in the order of the links of one node.
fn file_of(root: Cid, blocks: &HashMap<Cid, Bytes>) -> Bytes {
    let block = &blocks[&root];
    if root.codec() == 0x55 {
        return block.clone();
    }
    let mut bytes = Vec::new();
    let prefix = [1, 0x55, 0x12, 0x20];
    for at in (0..block.len()).filter(|at| block[*at..].starts_with(&prefix)) {
        let leaf = Cid::try_from(&block[at..at + CID_BYTES]).unwrap();
        bytes.extend_from_slice(&blocks[&leaf]);
    }
    let bytes = Bytes::from(bytes);
    assert_eq!(unixfs::file_address(&bytes), root);
    bytes
}
