//! Which endpoints a call is put to, and when another one is asked too.
//!
//! - **Order**: endpoints with which nothing is wrong, by their score; then those whose last call failed; last those that rest.
//!   One that limits our rate is left alone until it may be asked again. If nobody else is left, resting ones are asked too.
//! - **Reads** are put to the first one. A fault puts them to the next, and so does an answer that takes longer than
//!   nineteen of twenty others did (a hedge), provided that the next one is well. The first good answer counts, and carries its
//!   own slot: whoever proves something by it compares slots, and never relies on which endpoint it was.
//! - **Sends** go to the first [`COPIES`] at once. Identical bytes are taken by the chain once, so that any success is success;
//!   the slower ones go on by themselves for as long as a call lasts at most.
//! - **Probes** ask endpoints that failed whether they are well again, beside the calls that are made.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{
    StreamExt as _,
    future::{BoxFuture, join_all},
    stream::FuturesUnordered,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    call::Told,
    endpoint::{Endpoint, EndpointHealth, Standing},
    instruments::Instruments,
    redact::redacted,
    score::is_better,
};
use crate::chain::{ChainError, NextStep, Strain};

/// The method that hands a transaction over; everything else is a read.
pub(super) const SEND: &str = "sendTransaction";
/// Endpoints that a transaction is sent to at once.
const COPIES: usize = 2;
/// A read tries for so long to be heard by endpoints that limit our rate: two seconds of a plan that counts by the second.
const PATIENCE: Duration = Duration::from_secs(2);

/// All endpoints.
pub(super) struct Pool {
    pub(super) http: reqwest::Client,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    /// Genesis hash of the chain that the books belong to, once that is known.
    pub(super) genesis: OnceLock<String>,
    /// The newest slot that any endpoint named, by method: methods differ in which commitment they speak of.
    pub(super) newest: Mutex<BTreeMap<&'static str, u64>>,
    /// What came of reads; the rest of it is looked up when somebody asks.
    strained: Mutex<Strain>,
    /// Calls that were no sends.
    pub(super) reads: AtomicU64,
    pub(super) instruments: Instruments,
}

type Asked<T> = (Arc<Endpoint>, Result<T, ChainError>);

impl Pool {
    pub(super) fn new(http: reqwest::Client, endpoints: Vec<Arc<Endpoint>>, instruments: Instruments) -> Self {
        let (newest, strained, reads) = (Mutex::default(), Mutex::default(), AtomicU64::default());
        Self { http, endpoints, genesis: OnceLock::new(), newest, strained, reads, instruments }
    }

    pub(super) fn health(&self) -> Vec<EndpointHealth> {
        let order = order(self.endpoints.iter().map(|endpoint| endpoint.standing()).enumerate().collect());
        let preferred = order.first();
        self.endpoints.iter().enumerate().map(|(index, e)| e.health(Some(&index) == preferred)).collect()
    }

    /// Asks every endpoint whether it serves the chain of the books, those too that nothing was asked of yet.
    pub(super) async fn ask_all(&self) {
        join_all(self.endpoints.iter().map(|endpoint| self.probe(endpoint))).await;
    }

    /// Asks the endpoints that failed last whether they are well again, however long they are to rest.
    pub(super) async fn ask_faulty_again(&self) {
        // Each notes by itself how it went.
        join_all(self.endpoints.iter().filter(|endpoint| endpoint.is_faulty()).map(|e| self.probe(e))).await;
    }

    /// How the plans of the endpoints bear what is asked of them.
    pub(super) fn strain(&self) -> Strain {
        let ends = self.endpoints.iter().map(|endpoint| endpoint.standing().limited_until);
        // Limited is the pool only if every endpoint is.
        let until = ends.min().flatten();
        let strained = *self.strained.lock().unwrap_or_else(PoisonError::into_inner);
        Strain { until, reads: self.reads.load(Ordering::Relaxed), ..strained }
    }

    /// Puts a question to the endpoints until one answers.
    pub(super) async fn read<T: DeserializeOwned + Send>(
        self: &Arc<Self>,
        method: &'static str,
        params: Value,
        told: impl Fn(&T) -> Told + Send + Sync,
    ) -> Result<T, ChainError> {
        let (first, body) = (Instant::now(), body(method, &params));
        loop {
            let began = Instant::now();
            self.wait_for_limits().await;
            // Otherwise nobody is asked, and that is no news.
            let is_asked = self.strain().until.is_none();
            let answer = self.first_answer(method, &body, &told).await;
            let is_limited = matches!(answer, Err(ChainError::RateLimited { .. }));
            if is_asked && answer.as_ref().is_err_and(ChainError::is_overload) {
                let mut strained = self.strained.lock().unwrap_or_else(PoisonError::into_inner);
                let last = if is_limited { &mut strained.limited_read } else { &mut strained.slow_read };
                *last = Some(began);
            }
            // What an endpoint asked us to wait for may be longer.
            let soon = self.strain().until.is_none_or(|until| until.saturating_duration_since(first) <= PATIENCE);
            if !is_limited || first.elapsed() >= PATIENCE || !soon {
                return answer;
            }
        }
    }

    async fn first_answer<T: DeserializeOwned + Send>(
        self: &Arc<Self>,
        method: &'static str,
        body: &str,
        told: &(impl Fn(&T) -> Told + Send + Sync),
    ) -> Result<T, ChainError> {
        let mut candidates = self.candidates().into_iter().peekable();
        let mut under_way: FuturesUnordered<BoxFuture<'_, Asked<T>>> = FuturesUnordered::new();
        let mut waited_for: Vec<(Arc<Endpoint>, Instant)> = Vec::new();
        let (mut failed, mut refused, mut hedge_at) = (None, None, None);
        loop {
            let hedge_due = hedge_at.is_some_and(|at| at <= Instant::now());
            if hedge_due || under_way.is_empty() {
                let next = if refused.is_none() { candidates.next() } else { None };
                let Some((endpoint, _)) = next else {
                    return Err(refused.or(failed).unwrap_or_else(|| self.limited()));
                };
                let hedged = hedge_due.then(|| waited_for.first()).flatten();
                hedged.inspect(|(slow, _)| self.instruments.hedged(&slow.name));
                let now = Instant::now();
                // One hedge for a read, to an endpoint that is well.
                let may_hedge = hedged.is_none() && candidates.peek().is_some_and(|(_, next)| next.trouble == 0);
                hedge_at = may_hedge.then(|| now + endpoint.hedge_after());
                waited_for.push((Arc::clone(&endpoint), now));
                under_way.push(Box::pin(async move {
                    let answer = self.ask(&endpoint, method, body, told).await;
                    (endpoint, answer)
                }));
            }
            let hedge = sleep_until(hedge_at.unwrap_or_else(Instant::now));
            tokio::select! {
                Some((endpoint, answer)) = under_way.next() => {
                    waited_for.retain(|(other, _)| !Arc::ptr_eq(other, &endpoint));
                    match answer {
                        Ok(answer) => {
                            for (slow, began) in &waited_for {
                                slow.slow(*began);
                            }
                            return Ok(answer);
                        }
                        Err(error) if error.next_step() == NextStep::GiveUp => refused = Some(error),
                        // The first one's fault is the one to tell of.
                        Err(error) => failed = failed.or(Some(error)),
                    }
                }
                () = hedge, if hedge_at.is_some() => {}
            }
        }
    }

    /// Sends a transaction to the best endpoints at once; whichever takes it first will do.
    pub(super) async fn send(self: &Arc<Self>, params: Value) -> Result<(), ChainError> {
        let method = SEND;
        let body: Arc<str> = body(method, &params).into();
        let (mut copies, mut others): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
        for (endpoint, standing) in self.candidates() {
            let is_well = standing.trouble < 2 && copies.len() < COPIES;
            if is_well || copies.is_empty() { copies.push(endpoint) } else { others.push(endpoint) }
        }
        let (done, mut answers) = mpsc::unbounded_channel();
        for endpoint in copies {
            let (pool, body, done) = (Arc::clone(self), Arc::clone(&body), done.clone());
            // Ends by itself with the call. Nobody waits for the slower one, and the bytes should reach it all the same.
            tokio::spawn(async move {
                let answer: Result<String, _> = pool.ask(&endpoint, method, &body, &|_| Told::default()).await;
                drop(done.send(answer));
            });
        }
        drop(done);
        let mut failed: Option<ChainError> = None;
        let mut tell = |error: ChainError| {
            // A limit says most about what to do next: wait, and send again.
            let is_limit = matches!(error, ChainError::RateLimited { .. });
            if failed.is_none() || is_limit {
                failed = Some(error);
            }
        };
        while let Some(answer) = answers.recv().await {
            match answer {
                Ok(_signature) => return Ok(()),
                Err(error) => tell(error),
            }
        }
        for endpoint in others {
            match self.ask::<String>(&endpoint, method, &body, &|_| Told::default()).await {
                Ok(_signature) => return Ok(()),
                Err(error) => tell(error),
            }
        }
        Err(failed.unwrap_or_else(|| self.limited()))
    }

    /// The endpoints that may be asked now, the best one first.
    fn candidates(self: &Arc<Self>) -> Vec<(Arc<Endpoint>, Standing)> {
        // With one endpoint the calls themselves are the probes.
        if self.endpoints.len() > 1 {
            for endpoint in self.endpoints.iter().filter(|endpoint| endpoint.take_probe()) {
                let (pool, endpoint) = (Arc::clone(self), Arc::clone(endpoint));
                // Ends by itself with the call.
                tokio::spawn(async move { pool.probe(&endpoint).await });
            }
        }
        let standings: Vec<_> = self.endpoints.iter().map(|endpoint| endpoint.standing()).collect();
        let free = standings.iter().copied().enumerate().filter(|(_, standing)| standing.limited_until.is_none());
        let chosen = order(free.collect()).into_iter();
        chosen.filter_map(|at| Some((Arc::clone(self.endpoints.get(at)?), *standings.get(at)?))).collect()
    }

    async fn wait_for_limits(&self) {
        if let Some(until) = self.strain().until
            && until.saturating_duration_since(Instant::now()) <= PATIENCE
        {
            sleep_until(until).await;
        }
    }

    /// Why nobody was asked.
    fn limited(&self) -> ChainError {
        let limited = |endpoint: &Arc<Endpoint>| Some((endpoint.standing().limited_until?, redacted(&endpoint.url)));
        let first = self.endpoints.iter().filter_map(limited).min();
        let (until, endpoint) = first.unwrap_or_else(|| (Instant::now(), "(none)".into()));
        ChainError::RateLimited { endpoint, retry_after: Some(until.saturating_duration_since(Instant::now())) }
    }
}

/// The best first. The earlier in the settings wins unless the other is clearly better.
fn order(mut left: Vec<(usize, Standing)>) -> Vec<usize> {
    let mut order = Vec::with_capacity(left.len());
    while let Some(&first) = left.first() {
        let better = |best: (usize, Standing), next: &(usize, Standing)| {
            let (one, other) = (next.1, best.1);
            let wins =
                one.trouble < other.trouble || one.trouble == other.trouble && is_better(one.cost_ms, other.cost_ms);
            if wins { *next } else { best }
        };
        let (best, _) = left.iter().fold(first, better);
        order.push(best);
        left.retain(|(index, _)| *index != best);
    }
    order
}

pub(super) fn body(method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
}
