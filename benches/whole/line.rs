//! The line between a contender and the chain: so long, with so many calls a second, and every call counted.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _, future};
use reqwest::Url;
use serde::Deserialize;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tokio_tungstenite::{accept_async, connect_async, tungstenite::Message};

/// What a provider's plan allows in each second. The rest is turned away with 429 and no hint when to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    Unlimited,
    /// So many transactions; everything else is free.
    Sends(u32),
    /// So many calls of any kind over HTTP. Subscriptions are free.
    Calls(u32),
}

/// How long and how wide a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// From a call to its answer, beside what the chain itself takes.
    pub latency: Duration,
    pub plan: Plan,
}

/// What went over a line.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Calls by method, over HTTP and WebSocket, those that were turned away too.
    pub calls: BTreeMap<String, u64>,
    /// Calls that were turned away.
    pub refused: u64,
}

impl Traffic {
    pub fn total(&self) -> u64 {
        self.calls.values().sum()
    }

    pub fn sends(&self) -> u64 {
        self.calls.get("sendTransaction").copied().unwrap_or_default()
    }
}

struct Shared {
    terms: Terms,
    upstream: Url,
    http: reqwest::Client,
    traffic: Mutex<Traffic>,
    /// When this second of the plan began, and what was let through in it.
    second: Mutex<(Instant, u32)>,
}

impl Shared {
    /// Half of the way.
    async fn travel(&self) {
        if !self.terms.latency.is_zero() {
            sleep(self.terms.latency / 2).await;
        }
    }

    fn count(&self, method: &str) {
        let mut traffic = self.traffic.lock().unwrap();
        *traffic.calls.entry(method.to_owned()).or_default() += 1;
    }

    fn admits(&self, method: &str) -> bool {
        let most = match self.terms.plan {
            Plan::Calls(most) => most,
            Plan::Sends(most) if method == "sendTransaction" => most,
            Plan::Sends(_) | Plan::Unlimited => return true,
        };
        let mut second = self.second.lock().unwrap();
        if second.0.elapsed() >= Duration::from_secs(1) {
            *second = (Instant::now(), 0);
        }
        second.1 += 1;
        second.1 <= most
    }
}

/// An open line; it is cut when this is dropped.
pub struct Line {
    pub rpc: Url,
    pub ws: Url,
    shared: Arc<Shared>,
    servers: [JoinHandle<()>; 2],
}

impl Line {
    pub async fn lay(rpc: &Url, ws: &Url, terms: Terms) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            terms,
            upstream: rpc.clone(),
            http: reqwest::Client::new(),
            traffic: Mutex::default(),
            second: Mutex::new((Instant::now(), 0)),
        });
        let (calls, subscriptions) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
        let url = |scheme: &str, listener: &TcpListener| {
            let address = listener.local_addr().unwrap();
            Url::parse(&format!("{scheme}://{address}")).unwrap()
        };
        let (near_rpc, near_ws) = (url("http", &calls), url("ws", &subscriptions));
        let router = Router::new().fallback(call).with_state(Arc::clone(&shared));
        let calling = tokio::spawn(async move { axum::serve(calls, router).await.unwrap() });
        let (relayed, far) = (Arc::clone(&shared), ws.clone());
        let subscribing = tokio::spawn(async move {
            while let Ok((near, _)) = subscriptions.accept().await {
                tokio::spawn(relay(Arc::clone(&relayed), near, far.clone()));
            }
        });
        Ok(Self { rpc: near_rpc, ws: near_ws, shared, servers: [calling, subscribing] })
    }

    /// What went over it since this was asked last.
    pub fn take_traffic(&self) -> Traffic {
        std::mem::take(&mut *self.shared.traffic.lock().unwrap())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
}

fn method_of(body: &[u8]) -> String {
    serde_json::from_slice::<Head<'_>>(body).map_or_else(|_| "unreadable".into(), |head| head.method.into_owned())
}

async fn call(State(line): State<Arc<Shared>>, body: Bytes) -> Response {
    let method = method_of(&body);
    line.count(&method);
    line.travel().await;
    if !line.admits(&method) {
        line.traffic.lock().unwrap().refused += 1;
        line.travel().await;
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    }
    let request = line.http.post(line.upstream.clone()).header("content-type", "application/json").body(body);
    let answer = match request.send().await {
        Ok(answer) => answer.bytes().await,
        Err(fault) => Err(fault),
    };
    line.travel().await;
    match answer {
        Ok(answer) => ([("content-type", "application/json")], answer).into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

async fn relay(line: Arc<Shared>, near: TcpStream, far: Url) {
    let Ok(near) = accept_async(near).await else { return };
    let Ok((far, _)) = connect_async(far.as_str()).await else { return };
    let ((to_near, from_near), (to_far, from_far)) = (near.split(), far.split());
    let half = line.terms.latency / 2;
    let up = carry(from_near, to_far, half, |message| {
        let method = method_of(message);
        if method.ends_with("ubscribe") {
            line.count(&method);
        }
    });
    let down = carry(from_far, to_near, half, |_| ());
    future::join(up, down).await;
}

/// Carries messages in their order, each so much later than it came.
async fn carry<E>(
    mut from: impl Stream<Item = Result<Message, E>> + Unpin,
    mut to: impl Sink<Message> + Unpin,
    delay: Duration,
    look: impl Fn(&[u8]),
) {
    let (sender, mut under_way) = mpsc::unbounded_channel();
    let taking = async move {
        while let Some(Ok(message)) = from.next().await {
            if let Message::Text(text) = &message {
                look(text.as_bytes());
            }
            if sender.send((Instant::now() + delay, message)).is_err() {
                break;
            }
        }
    };
    let giving = async {
        while let Some((at, message)) = under_way.recv().await {
            sleep_until(at).await;
            if to.send(message).await.is_err() {
                break;
            }
        }
    };
    future::join(taking, giving).await;
}
