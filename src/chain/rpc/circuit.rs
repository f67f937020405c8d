//! When an endpoint that fails is left alone, and when it is tried again. Pure: it is told the time.
//!
//! Three failures in a row open the circuit: the endpoint rests for a second. After its rest one probe decides: an answer closes
//! the circuit, another failure doubles the rest, up to a minute. Of calls that fail together only the first counts, so that
//! one bad moment of a busy box is one failure.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open the circuit.
const THRESHOLD: u32 = 3;
/// The first rest.
const FIRST_REST: Duration = Duration::from_secs(1);
/// The longest rest.
const LONGEST_REST: Duration = Duration::from_mins(1);

/// Whether an endpoint is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// Yes.
    Closed,
    /// No: it rests, and is asked only when all others fail too.
    Open,
    /// Its rest is over, and one probe decides.
    HalfOpen,
}

impl CircuitState {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }

    /// The value of the instrument.
    #[must_use]
    pub fn as_number(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

/// The circuit of one endpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct Circuit {
    /// In a row.
    failures: u32,
    failed_at: Option<Instant>,
    rest_until: Option<Instant>,
    probing: bool,
}

impl Circuit {
    /// A call that began then has failed now.
    pub(super) fn failed(&mut self, began: Instant, now: Instant) {
        if self.failed_at.is_some_and(|at| began < at) {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.rest(now);
    }

    /// It must not be used, whatever it answered before.
    pub(super) fn trip(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1).max(THRESHOLD);
        self.rest(now);
    }

    fn rest(&mut self, now: Instant) {
        let doublings = self.failures.saturating_sub(THRESHOLD);
        let rest = FIRST_REST.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_REST);
        (self.failed_at, self.rest_until, self.probing) = (Some(now), Some(now + rest), false);
    }

    /// It has answered.
    pub(super) fn answered(&mut self) {
        *self = Self::default();
    }

    /// Its last call failed, and nothing was heard of it since.
    pub(super) fn is_suspect(&self) -> bool {
        self.failures > 0
    }

    pub(super) fn state(&self, now: Instant) -> CircuitState {
        let rests = self.rest_until.is_some_and(|until| now < until);
        match (self.failures < THRESHOLD, rests) {
            (true, _) => CircuitState::Closed,
            (false, true) => CircuitState::Open,
            (false, false) => CircuitState::HalfOpen,
        }
    }

    /// Whether a probe is due; whoever is told so makes it, and nobody else does.
    pub(super) fn take_probe(&mut self, now: Instant) -> bool {
        let is_due = !self.probing && self.failures > 0 && self.rest_until.is_none_or(|until| until <= now);
        self.probing |= is_due;
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_open_it_and_one_probe_decides() {
        let (mut circuit, start) = (Circuit::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!circuit.take_probe(start), "nothing is wrong with it");
        circuit.failed(at(0), at(10));
        circuit.failed(at(5), at(20));
        assert_eq!(circuit.failures, 1, "it failed together with the first");
        circuit.failed(at(30), at(40));
        assert!(circuit.is_suspect());
        assert_eq!(circuit.state(at(40)), CircuitState::Closed);
        circuit.failed(at(50), at(60));
        assert_eq!(circuit.state(at(1_059)), CircuitState::Open);
        assert!(!circuit.take_probe(at(1_059)));
        assert_eq!(circuit.state(at(1_060)), CircuitState::HalfOpen);
        assert!(circuit.take_probe(at(1_060)));
        assert!(!circuit.take_probe(at(1_060)), "one probe at a time");
        circuit.failed(at(1_060), at(1_070));
        assert_eq!(circuit.state(at(3_069)), CircuitState::Open, "it rests for twice as long");
        assert!(circuit.take_probe(at(3_070)));
        circuit.answered();
        assert_eq!(circuit.state(at(3_071)), CircuitState::Closed);
        assert!(!circuit.is_suspect());
    }

    #[test]
    fn no_rest_is_longer_than_a_minute_and_a_wrong_chain_rests_at_once() {
        let (mut circuit, mut now) = (Circuit::default(), Instant::now());
        circuit.trip(now);
        assert_eq!(circuit.state(now), CircuitState::Open);
        for _ in 0..40 {
            now += LONGEST_REST;
            assert!(circuit.take_probe(now));
            circuit.failed(now, now);
        }
        assert_eq!(circuit.state(now + LONGEST_REST - Duration::from_millis(1)), CircuitState::Open);
    }
}
