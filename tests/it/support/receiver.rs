//! Somebody who is told: a real HTTP server that keeps what it gets and answers as a test wants.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use reqwest::Url;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

/// A message as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub headers: BTreeMap<String, String>,
    pub body: String,
    pub at: Instant,
}

impl Received {
    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Type, and for incidents key, severity and notice: enough to tell messages apart.
    pub fn gist(&self) -> String {
        let message = self.json();
        let data = &message["data"];
        let parts = [&message["type"], &data["key"], &data["severity"], &data["notice"]];
        parts.iter().filter_map(|part| part.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// An answer: a status, and `Retry-After`.
pub type Reply = (u16, Option<&'static str>);
type Rule = Box<dyn Fn(usize) -> Reply + Send + Sync>;

struct Shared {
    rule: Mutex<Rule>,
    received: Mutex<Vec<Received>>,
}

/// A running receiver; it ends when it is dropped.
pub struct Receiver {
    pub url: Url,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Receiver {
    /// Answers the message with this number, from 0, as the rule says.
    pub async fn start(rule: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), rule)
    }

    pub fn on(listener: TcpListener, rule: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared { rule: Mutex::new(Box::new(rule)), received: Mutex::default() });
        let url = format!("http://{}/hooks/secret-path?key=hunter2", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().fallback(take).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, server }
    }

    /// From now on another rule holds.
    pub fn set(&self, rule: impl Fn(usize) -> Reply + Send + Sync + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    pub fn gists(&self) -> Vec<String> {
        self.received().iter().map(Received::gist).collect()
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    let at = Instant::now();
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    let nth = {
        let mut received = shared.received.lock().unwrap();
        received.push(Received { headers, body, at });
        received.len() - 1
    };
    let (status, retry_after) = shared.rule.lock().unwrap()(nth);
    let mut response = (StatusCode::from_u16(status).unwrap(), "noted").into_response();
    if let Some(retry_after) = retry_after {
        response.headers_mut().insert("retry-after", retry_after.parse().unwrap());
    }
    response
}
