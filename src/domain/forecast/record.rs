//! The record that forecasts are made from: sums by the hour.

use std::time::Duration;

/// Buckets of the time from first send to settlement.
pub const SETTLE_BUCKETS: usize = 20;
/// The first bound, in seconds; each is by two fifths larger than the one before, and the last one is a minute.
const FIRST_BOUND: f64 = 0.1;
const GROWTH: f64 = 1.4;
/// More than this was never counted within an hour: what is larger makes no sense.
const LARGEST: u64 = 1_000_000_000;

/// A histogram of the time from first send to settlement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settles([u64; SETTLE_BUCKETS]);

impl Settles {
    /// Upper bounds in seconds; the last bucket takes what is longer, too.
    pub fn bounds() -> impl Iterator<Item = f64> {
        std::iter::successors(Some(FIRST_BOUND), |bound| Some(bound * GROWTH)).take(SETTLE_BUCKETS)
    }

    /// Counts one.
    pub fn count(&mut self, took: Duration) {
        let fitting = Self::bounds().position(|bound| took.as_secs_f64() <= bound);
        let index = fitting.unwrap_or(SETTLE_BUCKETS.saturating_sub(1));
        if let Some(count) = self.0.get_mut(index) {
            *count = count.saturating_add(1);
        }
    }

    /// How many in each bucket.
    #[must_use]
    pub fn counts(&self) -> &[u64; SETTLE_BUCKETS] {
        &self.0
    }

    /// What was kept; nothing if it makes no sense.
    #[must_use]
    pub fn read(counts: &[i64]) -> Self {
        let mut read = [0; SETTLE_BUCKETS];
        if counts.len() == SETTLE_BUCKETS {
            for (count, kept) in read.iter_mut().zip(counts) {
                *count = u64::try_from(*kept).unwrap_or_default().min(LARGEST);
            }
        }
        Self(read)
    }
}

/// How minting went through one set of endpoints within an hour.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MintHour {
    /// Unix time in hours.
    pub hour: i64,
    /// Transactions that worked.
    pub landed: u64,
    /// That provably never will.
    pub expired: u64,
    /// That the chain refused.
    pub rejected: u64,
    /// Of the last two, those with tickets that were to be signed for again.
    pub again: u64,
    /// Tickets in all of them.
    pub tickets: u64,
    /// From first send to settlement, of those that landed.
    pub settle: Settles,
    /// From signing to the proof of death in milliseconds, summed over the expired.
    pub expiry_ms: u64,
    /// Chunks that were published, looked up and signed.
    pub chunks: u64,
    /// Milliseconds that took, summed.
    pub prepare_ms: u64,
    /// Milliseconds in which more tickets waited than were under way.
    pub paced_ms: u64,
    /// Tickets settled in that time.
    pub paced_tickets: u64,
    /// Sum of tickets² / milliseconds of the windows of that time.
    pub paced_squares: f64,
}

impl MintHour {
    /// Transactions that ended.
    #[must_use]
    pub fn transactions(&self) -> u64 {
        self.landed.saturating_add(self.expired).saturating_add(self.rejected)
    }

    /// Whether anything was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self { hour: self.hour, ..Self::default() }
    }

    /// Whether its figures can be those of an hour.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let Self { landed, expired, rejected, again, tickets, expiry_ms, chunks, prepare_ms, .. } = *self;
        let counts = [landed, expired, rejected, tickets, chunks, self.paced_tickets];
        let times = [expiry_ms, prepare_ms, self.paced_ms];
        counts.iter().all(|count| *count <= LARGEST)
            && times.iter().all(|ms| *ms <= LARGEST.saturating_mul(1_000))
            && again <= expired.saturating_add(rejected)
            && self.paced_squares.is_finite()
            && self.paced_squares >= 0.0
    }

    /// Adds what was counted later.
    pub fn add(&mut self, more: &Self) {
        self.combine(more, u64::saturating_add);
        self.paced_squares += more.paced_squares;
    }

    /// Takes away what is counted elsewhere now.
    pub fn subtract(&mut self, counted: &Self) {
        self.combine(counted, u64::saturating_sub);
        self.paced_squares = (self.paced_squares - counted.paced_squares).max(0.0);
    }

    fn combine(&mut self, other: &Self, how: fn(u64, u64) -> u64) {
        let sums = [
            (&mut self.landed, other.landed),
            (&mut self.expired, other.expired),
            (&mut self.rejected, other.rejected),
            (&mut self.again, other.again),
            (&mut self.tickets, other.tickets),
            (&mut self.expiry_ms, other.expiry_ms),
            (&mut self.chunks, other.chunks),
            (&mut self.prepare_ms, other.prepare_ms),
            (&mut self.paced_ms, other.paced_ms),
            (&mut self.paced_tickets, other.paced_tickets),
        ];
        for (sum, other) in sums.into_iter().chain(self.settle.0.iter_mut().zip(other.settle.0)) {
            *sum = how(*sum, other);
        }
    }
}

/// How an endpoint took what was sent to it within an hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointHour {
    /// Scheme, host and port.
    pub endpoint: String,
    /// Unix time in hours.
    pub hour: i64,
    /// Transactions sent to it, repetitions too.
    pub sends: u64,
    /// Of them refused by the node.
    pub refused: u64,
    /// Of them turned away because of the plan's limit.
    pub limited: u64,
    /// Of them without an answer that makes sense.
    pub failed: u64,
    /// Of them without any answer in time.
    pub timed_out: u64,
}

impl EndpointHour {
    /// Whether its figures can be those of an hour.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let parts = [self.refused, self.limited, self.failed, self.timed_out];
        self.sends <= LARGEST && parts.iter().all(|part| *part <= self.sends)
    }

    /// Sends that were refused, or had no answer that makes sense, or none in time.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.refused.saturating_add(self.failed).saturating_add(self.timed_out)
    }

    /// Adds what was counted later.
    pub fn add(&mut self, more: &Self) {
        for (sum, more) in [
            (&mut self.sends, more.sends),
            (&mut self.refused, more.refused),
            (&mut self.limited, more.limited),
            (&mut self.failed, more.failed),
            (&mut self.timed_out, more.timed_out),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    /// What was counted since `earlier`, another count of the same.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            endpoint: self.endpoint.clone(),
            hour: self.hour,
            sends: self.sends.saturating_sub(earlier.sends),
            refused: self.refused.saturating_sub(earlier.refused),
            limited: self.limited.saturating_sub(earlier.limited),
            failed: self.failed.saturating_sub(earlier.failed),
            timed_out: self.timed_out.saturating_sub(earlier.timed_out),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a statistic")]
pub(super) fn as_f64(count: u64) -> f64 {
    count as f64
}
