//! What an endpoint's answers are worth. Pure: it is told the time.
//!
//! The score is the time in milliseconds that a good answer costs there, and less is better: the usual latency, plus a block's
//! time for every block that the endpoint is behind the best one, divided by the share of calls that succeed. An endpoint that
//! takes 100 ms and fails every second time is as good as one that takes 200 ms. What was found out fades with a half-life of
//! 30 s without news, so that an endpoint that did badly once is tried again.
//!
//! Another endpoint is asked first only if it is better by a quarter and 25 ms more: ties go to the order of the settings.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Weight of the newest observation.
const NEWEST: f64 = 0.2;
/// Without news, what is known of an endpoint counts half after this long.
const HALF_LIFE_SECONDS: f64 = 30.0;
/// A score does not fade below this, or two quick endpoints would change places for nothing.
const LEAST_FADED_MS: f64 = 30.0;
/// Blocks behind that are no more than the order in which answers arrive.
const USUAL_LAG: u64 = 2;
/// What being one block behind is worth.
const BLOCK_MS: f64 = 400.0;
/// Answers whose latency is remembered for hedging.
const REMEMBERED: usize = 40;
/// With fewer than these, hedging waits for [`UNKNOWN_HEDGE`].
const ENOUGH: usize = 8;
/// No read is hedged earlier.
const LEAST_HEDGE: Duration = Duration::from_millis(250);
const UNKNOWN_HEDGE: Duration = Duration::from_millis(500);
/// What is assumed of an endpoint that has not answered yet.
const UNKNOWN_LATENCY_MS: f64 = 100.0;

/// What is known of an endpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct Score {
    latency_ms: Option<f64>,
    /// Share of calls that failed.
    errors: f64,
    /// Blocks behind the best endpoint, when it last named its slot.
    lag: Option<u64>,
    at: Option<Instant>,
    recent: VecDeque<Duration>,
}

impl Score {
    /// A good answer.
    pub(super) fn answered(&mut self, latency: Duration, now: Instant) {
        self.slow(latency, now);
        self.errors *= 1.0 - NEWEST;
        if self.recent.len() >= REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(latency);
    }

    /// No answer for this long, and it was not waited for.
    pub(super) fn slow(&mut self, latency: Duration, now: Instant) {
        let ms = latency.as_secs_f64() * 1_000.0;
        self.latency_ms = Some(self.latency_ms.map_or(ms, |known| (ms - known).mul_add(NEWEST, known)));
        self.at = Some(now);
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.errors = (1.0 - self.errors).mul_add(NEWEST, self.errors);
        self.at = Some(now);
    }

    /// It named its slot, and the best endpoint was this far ahead.
    pub(super) fn lags(&mut self, blocks: u64, now: Instant) {
        self.lag = Some(blocks);
        self.at = Some(now);
    }

    pub(super) fn lag(&self) -> Option<u64> {
        self.lag
    }

    /// The score in milliseconds; less is better.
    #[expect(clippy::cast_precision_loss, reason = "a score")]
    pub(super) fn cost_ms(&self, now: Instant) -> f64 {
        let behind = self.lag.unwrap_or_default().saturating_sub(USUAL_LAG) as f64;
        let latency = behind.mul_add(BLOCK_MS, self.latency_ms.unwrap_or(UNKNOWN_LATENCY_MS));
        let cost = latency / (1.0 - self.errors).max(0.01);
        let age = self.at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        (cost * 0.5_f64.powf(age / HALF_LIFE_SECONDS)).max(cost.min(LEAST_FADED_MS))
    }

    /// How long to wait for an answer before another endpoint is asked too: nineteen of twenty recent answers were quicker.
    pub(super) fn hedge_after(&self) -> Duration {
        if self.recent.len() < ENOUGH {
            return UNKNOWN_HEDGE;
        }
        let mut recent: Vec<Duration> = self.recent.iter().copied().collect();
        recent.sort_unstable();
        let index = recent.len().saturating_mul(95).div_ceil(100).saturating_sub(1);
        recent.get(index).copied().unwrap_or(UNKNOWN_HEDGE).max(LEAST_HEDGE)
    }
}

/// Whether an endpoint with the first cost is asked before one with the second that comes earlier in the settings.
pub(super) fn is_better(cost_ms: f64, than_ms: f64) -> bool {
    cost_ms.mul_add(1.25, 25.0) < than_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn scored(latencies: &[u64]) -> (Score, Instant) {
        let (mut score, now) = (Score::default(), Instant::now());
        for latency in latencies {
            score.answered(ms(*latency), now);
        }
        (score, now)
    }

    #[test]
    fn slow_faulty_and_lagging_endpoints_cost_more() {
        let (good, now) = scored(&[100; 20]);
        let (slow, _) = scored(&[300; 20]);
        let mut faulty = good.clone();
        (0..5).for_each(|_| faulty.failed(now));
        let mut lagging = good.clone();
        lagging.lags(2, now);
        assert!((lagging.cost_ms(now) - 100.0).abs() < 0.1, "two blocks are nothing");
        lagging.lags(7, now);
        for bad in [&slow, &faulty, &lagging] {
            assert!(is_better(good.cost_ms(now), bad.cost_ms(now)), "{bad:?}");
            assert!(!is_better(bad.cost_ms(now), good.cost_ms(now)), "{bad:?}");
        }
        let (nearly, _) = scored(&[80; 20]);
        assert!(!is_better(nearly.cost_ms(now), good.cost_ms(now)), "a tie");
    }

    #[test]
    fn a_bad_moment_is_forgotten() {
        let (slow, now) = scored(&[5_000; 20]);
        let (good, _) = scored(&[100; 20]);
        let later = now + Duration::from_mins(5);
        assert!(slow.cost_ms(later) < good.cost_ms(now));
        assert!(!is_better(scored(&[20]).0.cost_ms(later), 40.0), "quick ones stay where they are");
    }

    #[test]
    fn hedging_waits_for_what_is_usual() {
        assert_eq!(scored(&[10; 3]).0.hedge_after(), UNKNOWN_HEDGE);
        assert_eq!(scored(&[10; 30]).0.hedge_after(), LEAST_HEDGE);
        let mut latencies = [400; 38].to_vec();
        latencies.extend([9_000, 9_000]);
        assert_eq!(scored(&latencies).0.hedge_after(), ms(400), "two of forty are no rule");
    }
}
