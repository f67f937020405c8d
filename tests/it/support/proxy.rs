//! A proxy in front of the real chain that plays bad days.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// What happens to a call.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It goes through.
    Pass,
    /// It never reaches the chain; the client gets HTTP 502.
    Lost,
    /// It never reaches the chain; the client is told to slow down.
    Limited,
    /// The same, with a `Retry-After`.
    LimitedFor(String),
    /// It never reaches the chain, and the client is told that all went well.
    Swallowed(Value),
    /// It reaches the chain, and its answer is lost.
    AnswerLost,
    /// It reaches the chain, and the answer is changed.
    Altered(fn(Value) -> Value),
    /// It reaches the chain, and the answer comes so much later.
    Delayed(Duration),
    /// It reaches the chain, and the connection is cut in the middle of the answer.
    Cut,
}

/// A call: its method, and how many of that method came before it.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub params: Value,
    pub nth: usize,
}

/// A plan: so many sends in each second, or else 429 until the next begins. One answer of twenty is lost on its way back, all
/// others come after `latency`. Only sends are limited.
pub fn plan(
    sends: usize,
    retry_after: Option<&str>,
    latency: Duration,
) -> impl Fn(&Call) -> Fate + Send + Sync + 'static {
    let limited = retry_after.map_or(Fate::Limited, |asked| Fate::LimitedFor(asked.into()));
    let window = Mutex::new((Instant::now(), 0_usize));
    move |call| {
        if call.method != "sendTransaction" {
            return Fate::Pass;
        }
        let mut window = window.lock().unwrap();
        if window.0.elapsed() >= Duration::from_secs(1) {
            *window = (Instant::now(), 0);
        }
        window.1 += 1;
        match window.1 {
            count if count > sends => limited.clone(),
            _ if call.nth % 20 == 7 => Fate::AnswerLost,
            _ => Fate::Delayed(latency),
        }
    }
}

type Rule = Box<dyn Fn(&Call) -> Fate + Send + Sync>;

struct Shared {
    upstream: Url,
    http: reqwest::Client,
    rule: Mutex<Rule>,
    counts: Mutex<HashMap<String, usize>>,
    answered: Mutex<Vec<(String, usize)>>,
    limited: AtomicUsize,
}

/// A running proxy.
pub struct Proxy {
    pub url: Url,
    server: JoinHandle<io::Result<()>>,
    shared: Arc<Shared>,
}

impl Proxy {
    pub async fn start(upstream: &Url, rule: impl Fn(&Call) -> Fate + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            upstream: upstream.clone(),
            http: reqwest::Client::new(),
            rule: Mutex::new(Box::new(rule)),
            counts: Mutex::default(),
            answered: Mutex::default(),
            limited: AtomicUsize::new(0),
        });
        let router = Router::new().fallback(handle).with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, server, shared }
    }

    /// From now on another rule holds.
    pub fn set(&self, rule: impl Fn(&Call) -> Fate + Send + Sync + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// From now on nobody listens there, and connections that are open lead nowhere.
    pub fn kill(&self) {
        self.set(|_| Fate::Lost);
        self.server.abort();
    }

    /// Calls of a method so far.
    pub fn count(&self, method: &str) -> usize {
        self.shared.counts.lock().unwrap().get(method).copied().unwrap_or_default()
    }

    /// All calls so far.
    pub fn calls(&self) -> usize {
        self.shared.counts.lock().unwrap().values().sum()
    }

    /// Calls so far that were told to slow down.
    pub fn limited(&self) -> usize {
        self.shared.limited.load(Ordering::SeqCst)
    }

    /// The calls of a method from the one with this number on, in the order in which they were answered.
    pub fn answered(&self, method: &str, from: usize) -> Vec<usize> {
        let answered = self.shared.answered.lock().unwrap();
        answered.iter().filter(|(name, nth)| name == method && *nth >= from).map(|(_, nth)| *nth).collect()
    }
}

async fn handle(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap();
    let method = request["method"].as_str().unwrap().to_owned();
    let nth = {
        let mut counts = shared.counts.lock().unwrap();
        let count = counts.entry(method.clone()).or_default();
        *count += 1;
        *count - 1
    };
    let call = Call { method, params: request["params"].clone(), nth };
    let fate = shared.rule.lock().unwrap()(&call);
    if matches!(fate, Fate::Limited | Fate::LimitedFor(_)) {
        shared.limited.fetch_add(1, Ordering::SeqCst);
    }
    let response = answer(&shared, fate, body).await;
    shared.answered.lock().unwrap().push((call.method, nth));
    response
}

async fn answer(shared: &Shared, fate: Fate, body: Bytes) -> Response {
    match fate {
        Fate::Lost => StatusCode::BAD_GATEWAY.into_response(),
        Fate::Limited => StatusCode::TOO_MANY_REQUESTS.into_response(),
        Fate::LimitedFor(asked) => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", asked)]).into_response(),
        Fate::Swallowed(result) => answered(&json!({ "jsonrpc": "2.0", "id": 1, "result": result })),
        Fate::AnswerLost => {
            forward(shared, body).await;
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        Fate::Pass => answered(&forward(shared, body).await),
        Fate::Altered(alter) => answered(&alter(forward(shared, body).await)),
        Fate::Delayed(delay) => {
            let answer = forward(shared, body).await;
            tokio::time::sleep(delay).await;
            answered(&answer)
        }
        Fate::Cut => {
            let whole = forward(shared, body).await.to_string();
            let half = Bytes::copy_from_slice(&whole.as_bytes()[..whole.len() / 2]);
            let cut = Err(io::Error::from(io::ErrorKind::ConnectionReset));
            Body::from_stream(futures_util::stream::iter([Ok(half), cut])).into_response()
        }
    }
}

async fn forward(shared: &Shared, body: Bytes) -> Value {
    let request = shared.http.post(shared.upstream.clone()).header("content-type", "application/json").body(body);
    request.send().await.unwrap().json().await.unwrap()
}

fn answered(value: &Value) -> Response {
    ([("content-type", "application/json")], value.to_string()).into_response()
}
