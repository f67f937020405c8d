//! One endpoint: its address, when it last proved to serve the right chain, and how it does.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::Url;
use solana_rpc_client_api::custom_error::JSON_RPC_SERVER_ERROR_NODE_UNHEALTHY;
use tokio::time::Instant;

use super::{
    circuit::{Circuit, CircuitState},
    redact::redacted,
    score::Score,
};
use crate::{
    chain::{ChainError, EndpointSends},
    domain::forecast::{EndpointHour, EndpointState},
};

/// How long an endpoint's proof counts.
const PROOF_LIFETIME: Duration = Duration::from_secs(5);
/// How long an endpoint that limits our rate is left alone if it does not say; doubled each time in a row.
const FIRST_LIMIT: Duration = Duration::from_millis(250);
const LONGEST_LIMIT: Duration = Duration::from_secs(5);

/// An RPC endpoint.
pub(super) struct Endpoint {
    pub(super) url: Url,
    /// How it is named where its URL must not be shown.
    pub(super) name: String,
    /// Held while it proves itself, so that calls that begin together ask for one proof.
    pub(super) proving: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    proven: Option<Instant>,
    score: Score,
    circuit: Circuit,
    /// What came of transactions that were sent to it.
    sends: EndpointHour,
    limited_until: Option<Instant>,
    /// Limits in a row.
    limits: u32,
    last_answer: Option<Instant>,
    last_latency: Option<Duration>,
    /// The last fault, while no answer has followed it.
    fault: Option<String>,
}

/// Where an endpoint stands when one is chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// 0: nothing is wrong; 1: its last call failed; 2: it rests.
    pub(super) trouble: u8,
    /// Its score.
    pub(super) cost_ms: f64,
    /// It is to be left alone until then.
    pub(super) limited_until: Option<Instant>,
}

/// How an endpoint is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointHealth {
    /// Scheme, host and port.
    pub endpoint: String,
    /// Asked first.
    pub preferred: bool,
    /// Since its last answer; none if it never gave one.
    pub last_answer_ago: Option<Duration>,
    /// How long that answer took.
    pub last_latency: Option<Duration>,
    /// Its last fault, if no answer has followed it.
    pub fault: Option<String>,
    /// Whether it is asked.
    pub state: CircuitState,
    /// Blocks behind the best endpoint when it last named its slot; none if it never did.
    pub lag_slots: Option<u64>,
    /// For how long it is left alone because it limits our rate.
    pub limited_for: Option<Duration>,
    /// Milliseconds that a good answer costs there; less is better.
    pub score_ms: f64,
}

impl Endpoint {
    pub(super) fn new(index: usize, url: Url) -> Self {
        let host = redacted(&url);
        // Two plans of one provider differ only in what must not be shown.
        let name = if index == 0 { host } else { format!("{host} #{}", index.saturating_add(1)) };
        Self { url, name, proving: tokio::sync::Mutex::default(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_proven(&self) -> bool {
        self.state().proven.is_some_and(|at| at.elapsed() < PROOF_LIFETIME)
    }

    pub(super) fn set_proven(&self, is_proven: bool) {
        self.state().proven = is_proven.then(Instant::now);
    }

    /// It answered.
    pub(super) fn answered(&self, began: Instant) {
        let (now, mut state) = (Instant::now(), self.state());
        let latency = now.saturating_duration_since(began);
        state.score.answered(latency, now);
        state.circuit.answered();
        (state.last_answer, state.last_latency, state.fault, state.limits) = (Some(now), Some(latency), None, 0);
    }

    /// A call that began then came to nothing.
    pub(super) fn failed(&self, began: Instant, error: &ChainError) {
        match error {
            ChainError::Refused { code, .. } if *code != JSON_RPC_SERVER_ERROR_NODE_UNHEALTHY => {
                // A refusal is an answer too: the endpoint is there.
                return self.answered(began);
            }
            ChainError::RateLimited { retry_after, .. } => self.limit(*retry_after),
            ChainError::OtherChain { .. } => self.state().circuit.trip(Instant::now()),
            ChainError::Unreachable { .. }
            | ChainError::Http { .. }
            | ChainError::Refused { .. }
            | ChainError::Malformed { .. }
            | ChainError::WrongCount { .. } => {
                let (now, mut state) = (Instant::now(), self.state());
                state.score.failed(now);
                state.circuit.failed(began, now);
            }
        }
        self.state().fault = Some(error.to_string());
    }

    /// Counts what came of a transaction that was sent to it.
    pub(super) fn count_send(&self, error: Option<&ChainError>) {
        let mut state = self.state();
        let sends = &mut state.sends;
        sends.sends = sends.sends.saturating_add(1);
        let count = match error {
            None => return,
            Some(ChainError::Refused { .. }) => &mut sends.refused,
            Some(ChainError::RateLimited { .. }) => &mut sends.limited,
            Some(error) if error.is_overload() => &mut sends.timed_out,
            Some(_) => &mut sends.failed,
        };
        *count = count.saturating_add(1);
    }

    /// What came of transactions that were sent to it, and how it does now.
    pub(super) fn sends(&self) -> EndpointSends {
        let standing = self.standing();
        let state = match standing {
            Standing { trouble: 2.., .. } => EndpointState::Resting,
            Standing { limited_until: Some(_), .. } => EndpointState::Limited,
            Standing { .. } => EndpointState::Well,
        };
        EndpointSends { counts: EndpointHour { endpoint: self.name.clone(), ..self.state().sends.clone() }, state }
    }

    fn limit(&self, asked: Option<Duration>) {
        let (now, mut state) = (Instant::now(), self.state());
        // Calls that are turned away together are one limit.
        if asked.is_none() && state.limited_until.is_some_and(|until| now < until) {
            return;
        }
        let usual = FIRST_LIMIT.saturating_mul(2_u32.saturating_pow(state.limits)).min(LONGEST_LIMIT);
        state.limits = state.limits.saturating_add(1);
        let until = now + asked.unwrap_or(usual);
        state.limited_until = state.limited_until.max(Some(until));
    }

    /// Nobody waited for its answer any longer.
    pub(super) fn slow(&self, began: Instant) {
        let now = Instant::now();
        self.state().score.slow(now.saturating_duration_since(began), now);
    }

    pub(super) fn lags(&self, blocks: u64) {
        self.state().score.lags(blocks, Instant::now());
    }

    pub(super) fn hedge_after(&self) -> Duration {
        self.state().score.hedge_after()
    }

    pub(super) fn take_probe(&self) -> bool {
        self.state().circuit.take_probe(Instant::now())
    }

    pub(super) fn is_faulty(&self) -> bool {
        self.state().fault.is_some()
    }

    pub(super) fn standing(&self) -> Standing {
        let (now, state) = (Instant::now(), self.state());
        let trouble = match state.circuit.state(now) {
            CircuitState::Closed => u8::from(state.circuit.is_suspect()),
            CircuitState::Open | CircuitState::HalfOpen => 2,
        };
        let limited_until = state.limited_until.filter(|until| now < *until);
        Standing { trouble, cost_ms: state.score.cost_ms(now), limited_until }
    }

    pub(super) fn health(&self, preferred: bool) -> EndpointHealth {
        let (now, state) = (Instant::now(), self.state());
        EndpointHealth {
            endpoint: self.name.clone(),
            preferred,
            last_answer_ago: state.last_answer.map(|at| now.saturating_duration_since(at)),
            last_latency: state.last_latency,
            fault: state.fault.clone(),
            state: state.circuit.state(now),
            lag_slots: state.score.lag(),
            limited_for: state
                .limited_until
                .and_then(|until| until.checked_duration_since(now))
                .filter(|d| !d.is_zero()),
            score_ms: state.score.cost_ms(now),
        }
    }
}
