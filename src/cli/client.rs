//! A client of the HTTP API, as `mint` and `demo` use it: of a running server, or of one that lives in this process only.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use reqwest::{Method, RequestBuilder, StatusCode, Url, header::RETRY_AFTER};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    config::{Config, Secret},
    domain::{forecast::Forecast, lamports::Lamports},
};

/// A client of one server.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    key: Option<Secret>,
}

/// A batch as the API takes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    venue_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_lamports: Option<Lamports>,
    tickets: &'a [Value],
}

/// A batch as the API answers it.
#[expect(clippy::struct_field_names, reason = "the names are the API's")]
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Batch {
    pub(super) batch_id: String,
    pub(super) state: String,
    pub(super) successful: Vec<Successful>,
    pub(super) failed: Vec<Failed>,
    pub(super) summary: Summary,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Successful {
    pub(super) ticket_id: String,
    pub(super) signature: Option<String>,
    pub(super) metadata_uri: String,
    pub(super) mint_address: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failed {
    pub(super) ticket_id: String,
    pub(super) error: String,
    pub(super) code: String,
    pub(super) retryable: bool,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    pub(super) total: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) pending: u64,
    pub(super) total_duration: f64,
    pub(super) estimated_lamports: Lamports,
    pub(super) spent_lamports: Lamports,
    /// Servers of earlier versions know none.
    #[serde(default)]
    pub(super) max_lamports: Option<Lamports>,
}

/// What a batch would do.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DryRun {
    pub(super) total: u64,
    pub(super) new: u64,
    pub(super) known: u64,
    pub(super) failed: Vec<Failed>,
    pub(super) estimate: DryRunEstimate,
    /// Of a server that makes none: none.
    pub(super) forecast: Option<Forecast>,
    pub(super) wallet: String,
    pub(super) fee_payers: usize,
    pub(super) balance_lamports: Lamports,
    pub(super) spendable_lamports: Lamports,
    pub(super) refusal: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DryRunEstimate {
    pub(super) estimated_lamports: Lamports,
    pub(super) estimated_time_seconds: f64,
}

impl Client {
    pub(super) fn new(base: Url, key: Option<Secret>) -> anyhow::Result<Self> {
        // Batches are followed, not waited for, so no answer takes long.
        let http = reqwest::Client::builder().timeout(Duration::from_mins(2)).build()?;
        Ok(Self { http, base, key })
    }

    /// Where the server listens.
    #[cfg(feature = "localnet")]
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    fn request(&self, method: Method, path: &str) -> anyhow::Result<RequestBuilder> {
        let request = self.http.request(method, self.base.join(path)?);
        Ok(match &self.key {
            Some(key) => request.header("x-admin-api-key", key.expose()),
            None => request,
        })
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> anyhow::Result<T> {
        let response = loop {
            // A body of text is shared, not copied.
            let attempt = request.try_clone().context("a request that cannot be repeated")?;
            let response = attempt.send().await.map_err(reqwest::Error::without_url);
            let response = response.with_context(|| format!("no answer from {}", self.base))?;
            if response.status() != StatusCode::TOO_MANY_REQUESTS {
                break response;
            }
            let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            tokio::time::sleep(Duration::from_secs(seconds.unwrap_or(1))).await;
        };
        let status = response.status();
        let body = response.bytes().await?;
        if status.is_success() {
            return serde_json::from_slice(&body).context("the server's answer makes no sense; is it a boxoffice?");
        }
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        let detail = problem.get("detail").and_then(Value::as_str).unwrap_or("no reason given");
        if status == StatusCode::UNAUTHORIZED {
            bail!("{detail}; set ADMIN_API_KEY to a key of the server");
        }
        bail!("{detail}")
    }

    pub(super) async fn dry_run(
        &self,
        venue_id: &str,
        tickets: &[Value],
        max_lamports: Option<Lamports>,
    ) -> anyhow::Result<DryRun> {
        let body = Body { venue_id, max_lamports, tickets };
        self.answer(self.request(Method::POST, "/admin/batch-mint?dryRun=true")?.json(&body)).await
    }

    /// Hands a batch over; it is durable when this returns.
    pub(super) async fn submit(
        &self,
        venue_id: &str,
        tickets: &[Value],
        max_lamports: Option<Lamports>,
    ) -> anyhow::Result<Batch> {
        let body = Body { venue_id, max_lamports, tickets };
        let request = self.request(Method::POST, "/admin/batch-mint")?.header("prefer", "respond-async");
        self.answer(request.json(&body)).await
    }

    /// Has those tickets of a batch taken into the books that the chain holds already.
    pub(super) async fn recover(&self, venue_id: &str, tickets: &[Value]) -> anyhow::Result<Batch> {
        let request = self.request(Method::POST, "/admin/batch-mint?recover=true")?.timeout(LONG);
        self.answer(request.json(&Body { venue_id, max_lamports: None, tickets })).await
    }

    /// Hands a batch over and waits for its result.
    #[cfg(feature = "localnet")]
    pub(super) async fn mint(&self, venue_id: &str, tickets: Vec<Value>) -> anyhow::Result<Batch> {
        let request = self.request(Method::POST, "/admin/batch-mint")?.timeout(Duration::from_hours(24));
        let request = request.json(&Body { venue_id, max_lamports: None, tickets: &tickets });
        // The wait may be long, and the request is text by now.
        drop(tickets);
        self.answer(request).await
    }

    pub(super) async fn progress(&self, batch_id: &str) -> anyhow::Result<Summary> {
        let path = format!("/admin/batches/{batch_id}?entries=false");
        let batch: Batch = self.answer(self.request(Method::GET, &path)?).await?;
        Ok(batch.summary)
    }

    /// Compares a venue's tickets with the chain.
    pub(super) async fn reconcile(&self, venue_id: &str) -> anyhow::Result<Value> {
        let request = self.request(Method::POST, &reconcile_path(venue_id, "")?)?.timeout(LONG);
        self.answer(request.json(&json!({}))).await
    }

    /// Repairs a venue's books.
    pub(super) async fn fix(&self, venue_id: &str, dry_run: bool) -> anyhow::Result<Value> {
        let path = format!("{}?dryRun={dry_run}", reconcile_path(venue_id, "/fix")?);
        self.answer(self.request(Method::POST, &path)?.timeout(LONG).json(&json!({}))).await
    }

    /// How the cache fares.
    pub(super) async fn cache_stats(&self) -> anyhow::Result<Value> {
        self.answer(self.request(Method::GET, "/admin/cache/stats")?).await
    }

    /// Puts what the books know of minted tickets into the cache.
    pub(super) async fn warm_cache(&self, venue: Option<&str>, event: Option<&str>) -> anyhow::Result<Value> {
        let filter = [("venueId", venue), ("eventId", event)];
        let filter: Vec<_> = filter.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        self.answer(self.request(Method::POST, "/admin/cache/warm")?.query(&filter).timeout(LONG)).await
    }

    /// Has the cache forget a ticket.
    pub(super) async fn forget_ticket(&self, ticket_id: &str, venue: Option<&str>) -> anyhow::Result<Value> {
        let path = match ticket_id {
            // Those that are called like the routes beside it.
            "clear" => "/admin/cache/%63lear".to_owned(),
            "stats" => "/admin/cache/%73tats".to_owned(),
            "warm" => "/admin/cache/%77arm".to_owned(),
            _ => path_of(&["admin", "cache", ticket_id])?,
        };
        let filter: Vec<_> = venue.map(|venue| ("venueId", venue)).into_iter().collect();
        self.answer(self.request(Method::DELETE, &path)?.query(&filter)).await
    }

    /// Has the cache forget everything.
    pub(super) async fn clear_cache(&self) -> anyhow::Result<Value> {
        self.answer(self.request(Method::DELETE, "/admin/cache/clear")?).await
    }

    /// Waits until nothing is left to mint, or minting is held.
    pub(super) async fn until_idle(&self) -> anyhow::Result<()> {
        loop {
            let status: Value = self.answer(self.request(Method::GET, "/admin/system/status")?).await?;
            let count = |name: &str| status.pointer(&format!("/queue/{name}")).and_then(Value::as_u64);
            let is_held = status.pointer("/queue/held").is_some_and(Value::is_string);
            if is_held || (count("pending") == Some(0) && count("minting") == Some(0)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    pub(super) async fn batch(&self, batch_id: &str) -> anyhow::Result<Batch> {
        self.answer(self.request(Method::GET, &format!("/admin/batches/{batch_id}"))?).await
    }
}

impl Client {
    /// Sets the image of an event.
    pub(super) async fn set_image(&self, venue_id: &str, event_id: &str, file: Bytes) -> anyhow::Result<Value> {
        self.answer(self.request(Method::PUT, &image_path(venue_id, event_id)?)?.body(file)).await
    }

    /// The image of an event.
    pub(super) async fn image(&self, venue_id: &str, event_id: &str) -> anyhow::Result<Value> {
        self.answer(self.request(Method::GET, &image_path(venue_id, event_id)?)?).await
    }

    /// Removes the image of an event.
    pub(super) async fn remove_image(&self, venue_id: &str, event_id: &str) -> anyhow::Result<Value> {
        self.answer(self.request(Method::DELETE, &image_path(venue_id, event_id)?)?).await
    }
}

/// Comparing a venue of any size takes its time.
const LONG: Duration = Duration::from_hours(24);

/// Ids are free text: the address escapes them.
fn path_of(segments: &[&str]) -> anyhow::Result<String> {
    let mut url: Url = "http://box".parse()?;
    url.path_segments_mut().map_err(|()| anyhow::anyhow!("no path"))?.extend(segments);
    Ok(url.path().to_owned())
}

fn reconcile_path(venue_id: &str, rest: &str) -> anyhow::Result<String> {
    Ok(path_of(&["admin", "reconcile", venue_id])? + rest)
}

fn image_path(venue_id: &str, event_id: &str) -> anyhow::Result<String> {
    let mut url: Url = "http://box".parse()?;
    url.path_segments_mut().map_err(|()| anyhow::anyhow!("no path"))?.extend(["admin", "events", event_id, "image"]);
    url.query_pairs_mut().append_pair("venueId", venue_id);
    Ok(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
}

/// A server inside this process.
pub(super) struct OwnServer {
    pub(super) app: Arc<App>,
    pub(super) client: Client,
    stop: CancellationToken,
    server: JoinHandle<Result<(), prometheus::Error>>,
}

impl OwnServer {
    /// Starts a box for this process alone: nobody needs to be kept from asking too often.
    pub(super) async fn start(config: Config, listener: tokio::net::TcpListener) -> anyhow::Result<Self> {
        let app = App::start(config.for_one_command()).await?;
        let url: Url = format!("http://{}", listener.local_addr()?).parse()?;
        let client = Client::new(url, app.config.admin_api_key.clone())?;
        let (app, stop) = (Arc::new(app), CancellationToken::new());
        let (serving, until) = (Arc::clone(&app), stop.clone());
        let server = tokio::spawn(async move { serving.serve(listener, until).await });
        Ok(Self { app, client, stop, server })
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.app.stop().await;
        Ok(self.server.await??)
    }
}
