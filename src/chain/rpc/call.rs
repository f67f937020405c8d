//! One call to one endpoint: it proves itself, is asked, and what came of it is noted.

use std::sync::{PoisonError, atomic::Ordering};

use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::Instant;

use super::{
    endpoint::Endpoint,
    pool::{Pool, SEND, body},
    redact::redacted,
    transport,
};
use crate::chain::{ChainError, NextStep};

/// What an answer says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// The slot as of which it is true.
    pub(super) slot: Option<u64>,
    /// How many entries were asked for, and how many came.
    pub(super) entries: Option<(usize, usize)>,
}

impl Pool {
    /// Asks an endpoint that serves the chain of the books.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        method: &'static str,
        body: &str,
        told: &(impl Fn(&T) -> Told + Sync),
    ) -> Result<T, ChainError> {
        // What is signed and what is declared dead depends on these two: they are asked of a chain that proves itself again, in
        // the same moment.
        let decisive = matches!(method, "getLatestBlockhash" | "getEpochInfo");
        let began;
        let answer = if decisive {
            began = Instant::now();
            let (proof, answer) = tokio::join!(self.prove(endpoint), self.call::<T>(endpoint, method, body.to_owned()));
            proof?;
            answer
        } else {
            self.prove_once(endpoint).await?;
            began = Instant::now();
            self.call::<T>(endpoint, method, body.to_owned()).await
        };
        let answer = answer.and_then(|answer| {
            let told = told(&answer);
            match told.entries {
                Some((wanted, found)) if wanted != found => {
                    Err(ChainError::WrongCount { endpoint: redacted(&endpoint.url), method, wanted, found })
                }
                _ => Ok((answer, told.slot)),
            }
        });
        note(endpoint, began, answer.as_ref().err());
        if method == SEND {
            endpoint.count_send(answer.as_ref().err());
        }
        let (answer, slot) = answer?;
        if let Some(slot) = slot {
            let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            let newest = newest.entry(method).or_default();
            *newest = slot.max(*newest);
            endpoint.lags(newest.saturating_sub(slot));
        }
        Ok(answer)
    }

    /// Asks an endpoint whether it is well again. Its genesis hash is what it must prove in any case.
    pub(super) async fn probe(&self, endpoint: &Endpoint) {
        // How it went is noted.
        drop(self.prove(endpoint).await);
    }

    /// Makes sure that an endpoint served the chain of the books a moment ago. Calls that come together wait for one proof.
    async fn prove_once(&self, endpoint: &Endpoint) -> Result<(), ChainError> {
        if self.genesis.get().is_none() || endpoint.is_proven() {
            return Ok(());
        }
        let _proving = endpoint.proving.lock().await;
        if endpoint.is_proven() {
            return Ok(());
        }
        self.prove(endpoint).await
    }

    /// Makes sure that an endpoint serves the chain of the books.
    async fn prove(&self, endpoint: &Endpoint) -> Result<(), ChainError> {
        let expected = self.genesis.get();
        let (method, began) = ("getGenesisHash", Instant::now());
        let found = self.call::<String>(endpoint, method, body(method, &json!([]))).await;
        let proof = found.and_then(|found| match expected {
            Some(expected) if found != *expected => {
                let error =
                    ChainError::OtherChain { endpoint: redacted(&endpoint.url), expected: expected.clone(), found };
                self.instruments.counted(&endpoint.name, method, error.kind());
                Err(error)
            }
            _ => Ok(()),
        });
        note(endpoint, began, proof.as_ref().err());
        if proof.is_ok() {
            endpoint.set_proven(expected.is_some());
        }
        proof
    }

    async fn call<T: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        method: &'static str,
        body: String,
    ) -> Result<T, ChainError> {
        if method != SEND {
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
        let began = Instant::now();
        let answer = transport::post(&self.http, &endpoint.url, method, body).await;
        let outcome = answer.as_ref().map_or_else(ChainError::kind, |_answer| "ok");
        self.instruments.called(&endpoint.name, method, outcome, began.elapsed());
        answer
    }
}

fn note(endpoint: &Endpoint, began: Instant, error: Option<&ChainError>) {
    let Some(error) = error else { return endpoint.answered(began) };
    endpoint.failed(began, error);
    // Who is told to wait is told so by the same provider as before: to ask for its proof again would only be one call more.
    if error.next_step() == NextStep::Retry && !matches!(error, ChainError::RateLimited { .. }) {
        endpoint.set_proven(false);
    }
}
