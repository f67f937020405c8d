//! What to expect of a batch, from how minting went of late: a plain statistic that says what it rests on.
//!
//! - **Share signed again**: transactions that had to be signed again, of all. The range is Wilson's for 95 %, for a batch of the
//!   size that is asked about; hours that differ more from each other than chance would have them make it wider.
//! - **Duration**: tickets by the speed at which tickets were settled while more of them waited, or by what the pace allows now
//!   if that is less, and the time that the last transaction takes to be settled. If a transaction is likely to expire, the
//!   batch waits for the proof of that.
//!
//! What is older counts less: half after three days, nothing after thirty. Pure: the record is read by `store`, and what makes
//! no sense in it (a negative count, an hour to come) is left out.

mod record;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use record::{EndpointHour, MintHour, SETTLE_BUCKETS, Settles};

use record::as_f64;

/// After so many hours what was recorded counts half.
const HALF_LIFE_HOURS: f64 = 72.0;
/// What is older does not count, in hours.
pub const LONGEST_HOURS: i64 = 30 * 24;
/// With fewer transactions, by their weight, nothing is forecast.
const ENOUGH_TRANSACTIONS: f64 = 30.0;
/// With less time in which tickets waited, the speed is not known, in milliseconds.
const ENOUGH_MS: f64 = 3_000.0;
/// 95 % of a normal distribution lie within so many standard deviations.
const Z: f64 = 1.96;
/// No speed is known better than by this share: other work on the box and other clients of a plan are not recorded.
const LEAST_SPREAD: f64 = 0.15;
/// From the last send to settlement as long as nothing else is known, in slots.
const USUAL_SLOTS: f64 = 2.5;

/// What a pace allows in a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowed {
    /// So many transactions, however many tickets ride in each.
    Transactions(f64),
    /// So many tickets, however few transactions they take.
    Tickets(f64),
}

impl Allowed {
    fn transactions(self, tickets_in_each: f64) -> f64 {
        match self {
            Self::Transactions(rate) => rate,
            Self::Tickets(rate) => rate / tickets_in_each.max(1.0),
        }
    }
}

/// What is asked, and how things stand.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Tickets to mint.
    pub tickets: u64,
    /// Tickets that come before them.
    pub waiting: u64,
    /// Unix milliseconds.
    pub now_ms: i64,
    /// What the pace allows now.
    pub allowed: Allowed,
    /// Time between two blocks, in seconds.
    pub slot_seconds: f64,
    /// The endpoints of the settings.
    pub endpoints: &'a [(String, EndpointState)],
}

/// How an endpoint does now.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EndpointState {
    /// Nothing is wrong.
    Well,
    /// It limits our rate.
    Limited,
    /// It failed so often that it is left alone.
    Resting,
}

/// What to expect of a batch.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// Seconds from acceptance to the last settlement; null as long as there is no record.
    pub duration_seconds: Option<Expected>,
    /// Share of the transactions that have to be signed again, from 0 to 1; null as long as there is no record.
    pub signed_again_share: Option<Expected>,
    /// What it rests on.
    pub basis: Basis,
    /// The same in words.
    pub explanation: String,
}

/// A figure and the range in which it should be nineteen times of twenty.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Expected {
    /// The likely one.
    pub expected: f64,
    /// Hardly less.
    pub low: f64,
    /// Hardly more.
    pub high: f64,
}

impl Expected {
    /// Whether a figure is in the range.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    fn new(low: f64, expected: f64, high: f64) -> Option<Self> {
        let round = |value: f64| (value * 10_000.0).round() / 10_000.0;
        let is_sound = [low, expected, high].iter().all(|value| value.is_finite() && *value >= 0.0);
        let expected = round(expected);
        is_sound.then(|| Self { low: round(low).min(expected), expected, high: round(high).max(expected) })
    }
}

/// What a forecast rests on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Basis {
    /// The first hour that counts; null without a record.
    #[schema(format = DateTime)]
    pub since: Option<String>,
    /// Transactions that ended since then, through the endpoints of the settings.
    pub transactions: u64,
    /// Those that had to be signed again.
    pub signed_again: u64,
    /// Tickets settled a second while more of them waited; null as long as no batch took long enough.
    pub tickets_per_second: Option<f64>,
    /// Transactions a second that the pace allows now.
    pub allowed_per_second: f64,
    /// Tickets that come before these.
    pub waiting_tickets: u64,
    /// How each endpoint took what was sent to it since then; with a batch, only those with which something was wrong.
    pub endpoints: Vec<EndpointBasis>,
}

/// How an endpoint took what was sent to it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointBasis {
    /// Scheme, host and port.
    pub endpoint: String,
    /// How it does now.
    pub state: EndpointState,
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

/// The sums of a record, each hour by its weight.
#[derive(Debug, Default)]
struct Sums {
    transactions: f64,
    again: f64,
    squares: f64,
    tickets: f64,
    settles: [f64; SETTLE_BUCKETS],
    expired: f64,
    expiry_ms: f64,
    chunks: f64,
    prepare_ms: f64,
    paced_ms: f64,
    paced_tickets: f64,
    paced_squares: f64,
}

impl Forecast {
    /// The forecast for a question.
    #[must_use]
    pub fn new(question: &Question<'_>, hours: &[MintHour], sends: &[EndpointHour]) -> Self {
        let now_hour = question.now_ms.div_euclid(3_600_000);
        let counts = |hour: i64| hour <= now_hour && hour >= now_hour.saturating_sub(LONGEST_HOURS);
        let hours: Vec<&MintHour> = hours.iter().filter(|hour| counts(hour.hour) && hour.is_sound()).collect();
        let sends: Vec<&EndpointHour> = sends.iter().filter(|hour| counts(hour.hour) && hour.is_sound()).collect();
        let sums = Sums::of(&hours, now_hour);
        let transactions = hours.iter().fold(0_u64, |sum, hour| sum.saturating_add(hour.transactions()));
        let enough = sums.transactions >= ENOUGH_TRANSACTIONS;
        let speed = sums.speed();
        let basis = Basis {
            since: hours.iter().map(|hour| hour.hour).min().and_then(rfc3339),
            transactions,
            signed_again: hours.iter().fold(0_u64, |sum, hour| sum.saturating_add(hour.again)),
            tickets_per_second: speed.map(|(mean, _)| round(mean)),
            allowed_per_second: round(question.allowed.transactions(sums.tickets_per_transaction())),
            waiting_tickets: question.waiting,
            endpoints: question.endpoints.iter().map(|(name, state)| basis_of(name, *state, &sends)).collect(),
        };
        let (duration_seconds, signed_again_share) = if enough && question.tickets > 0 {
            (sums.duration(question), sums.share(&hours, as_f64(question.tickets)))
        } else {
            (None, None)
        };
        let explanation = explain(&basis, duration_seconds, signed_again_share);
        Self { duration_seconds, signed_again_share, basis, explanation }
    }

    /// The short form that is kept with a batch, as JSON: without words, and without endpoints with which nothing is wrong.
    #[must_use]
    pub fn to_keep(mut self) -> Option<String> {
        self.explanation.clear();
        self.basis.endpoints.retain(|endpoint| endpoint.state != EndpointState::Well);
        serde_json::to_string(&self).ok()
    }

    /// What was kept; none if it makes no sense.
    #[must_use]
    pub fn kept(text: &str) -> Option<Self> {
        let mut kept: Self = serde_json::from_str(text).ok()?;
        kept.explanation = explain(&kept.basis, kept.duration_seconds, kept.signed_again_share);
        Some(kept)
    }
}

impl Sums {
    fn of(hours: &[&MintHour], now_hour: i64) -> Self {
        let mut sums = Self::default();
        for hour in hours {
            let age = as_f64(now_hour.saturating_sub(hour.hour).unsigned_abs());
            let weight = 0.5_f64.powf(age / HALF_LIFE_HOURS);
            let add = |sum: &mut f64, value: f64| *sum += weight * value;
            add(&mut sums.transactions, as_f64(hour.transactions()));
            add(&mut sums.again, as_f64(hour.again));
            sums.squares += weight * weight * as_f64(hour.transactions());
            add(&mut sums.tickets, as_f64(hour.tickets));
            for (sum, count) in sums.settles.iter_mut().zip(hour.settle.counts()) {
                add(sum, as_f64(*count));
            }
            add(&mut sums.expired, as_f64(hour.expired));
            add(&mut sums.expiry_ms, as_f64(hour.expiry_ms));
            add(&mut sums.chunks, as_f64(hour.chunks));
            add(&mut sums.prepare_ms, as_f64(hour.prepare_ms));
            add(&mut sums.paced_ms, as_f64(hour.paced_ms));
            add(&mut sums.paced_tickets, as_f64(hour.paced_tickets));
            add(&mut sums.paced_squares, hour.paced_squares);
        }
        sums
    }

    fn tickets_per_transaction(&self) -> f64 {
        (self.tickets / self.transactions).max(1.0)
    }

    /// Tickets a second while more of them waited, and how much that varied (a standard deviation).
    fn speed(&self) -> Option<(f64, f64)> {
        if self.paced_ms < ENOUGH_MS || self.paced_tickets < 1.0 {
            return None;
        }
        let mean = self.paced_tickets / self.paced_ms;
        let variance = (self.paced_squares / self.paced_ms - mean * mean).max(0.0);
        Some((mean * 1_000.0, variance.sqrt() * 1_000.0))
    }

    fn share(&self, hours: &[&MintHour], tickets: f64) -> Option<Expected> {
        let share = (self.again / self.transactions).min(1.0);
        // What the hours differ by, measured by what chance would have them differ by (Pearson).
        let differ = |hour: &&&MintHour| {
            let count = as_f64(hour.transactions());
            (as_f64(hour.again) - count * share).powi(2) / (count * share * (1.0 - share))
        };
        let busy: Vec<&&MintHour> = hours.iter().filter(|hour| hour.transactions() > 0).collect();
        let spread = if share > 0.0 && share < 1.0 && busy.len() > 1 {
            (busy.iter().map(differ).sum::<f64>() / (as_f64(busy.len() as u64) - 1.0)).max(1.0)
        } else {
            1.0
        };
        let known = self.transactions.powi(2) / self.squares;
        let asked = (tickets / self.tickets_per_transaction()).ceil().max(1.0);
        let (low, high) = wilson(share, 1.0 / (1.0 / known + 1.0 / asked) / spread);
        // There is no half of a transaction.
        Expected::new((low * asked).floor() / asked, share, ((high * asked).ceil() / asked).min(1.0))
    }

    fn duration(&self, question: &Question<'_>) -> Option<Expected> {
        let tickets = as_f64(question.tickets.saturating_add(question.waiting));
        let per_transaction = self.tickets_per_transaction();
        let allowed = question.allowed.transactions(per_transaction) * per_transaction;
        let known = self.speed();
        let (usual, spread) = known.unwrap_or((allowed, allowed / 2.0));
        let spread = (2.0 * spread).max(usual * LEAST_SPREAD);
        let expected = usual.min(allowed);
        let fast = if known.is_some() { usual + spread } else { allowed };
        let slow = (usual - spread).min(allowed * (1.0 - LEAST_SPREAD)).max(expected / 4.0);

        let transactions = (tickets / per_transaction).ceil();
        // The batch ends with the slowest of those that were sent in its last second.
        let last = transactions.min(expected / per_transaction).max(1.0);
        let usual_settle = question.slot_seconds * USUAL_SLOTS;
        let settle = |share: f64| self.settle(share).unwrap_or(usual_settle);
        let prepare = if self.chunks > 0.0 { self.prepare_ms / self.chunks / 1_000.0 } else { 0.0 };
        let mut low = tickets / fast + settle(0.05) + prepare * 0.5;
        let mut likely = tickets / expected + settle(last / (last + 1.0)) + prepare;
        let mut high = tickets / slow + settle(1.0) + prepare * 2.0;
        // Those that expire are signed again when that is proven.
        let again = transactions * (self.again / self.transactions);
        if self.expired > 0.0 {
            let proof = self.expiry_ms / self.expired / 1_000.0;
            if again >= 0.5 {
                likely = likely.max(tickets / expected * again / (again + 1.0) + proof + settle(0.5));
            }
            if again >= 0.05 {
                high = high.max(tickets / slow + proof * (1.0 + LEAST_SPREAD) + settle(1.0));
            }
        }
        low = low.min(likely);
        high = high.max(likely);
        Expected::new(low, likely, high)
    }

    /// Seconds within which this share of the transactions was settled.
    fn settle(&self, share: f64) -> Option<f64> {
        let all: f64 = self.settles.iter().sum();
        if all <= 0.0 {
            return None;
        }
        let (wanted, mut counted) = (all * share.clamp(0.0, 1.0), 0.0);
        let mut from = 0.0;
        for (count, until) in self.settles.iter().zip(Settles::bounds()) {
            if *count > 0.0 && counted + count >= wanted - 1e-9 {
                return Some((until - from) * ((wanted - counted) / count).clamp(0.0, 1.0) + from);
            }
            counted += count;
            from = until;
        }
        Some(from)
    }
}

/// Wilson's range of a share that was seen in so many trials.
fn wilson(share: f64, trials: f64) -> (f64, f64) {
    let z2 = Z * Z;
    let middle = (share + z2 / (2.0 * trials)) / (1.0 + z2 / trials);
    let half = Z / (1.0 + z2 / trials) * (share * (1.0 - share) / trials + z2 / (4.0 * trials * trials)).sqrt();
    ((middle - half).clamp(0.0, 1.0), (middle + half).clamp(0.0, 1.0))
}

fn basis_of(endpoint: &str, state: EndpointState, sends: &[&EndpointHour]) -> EndpointBasis {
    let of_it = || sends.iter().filter(|hour| hour.endpoint == endpoint);
    let sum = |count: fn(&EndpointHour) -> u64| of_it().fold(0_u64, |sum, hour| sum.saturating_add(count(hour)));
    EndpointBasis {
        endpoint: endpoint.to_owned(),
        state,
        sends: sum(|hour| hour.sends),
        refused: sum(|hour| hour.refused),
        limited: sum(|hour| hour.limited),
        failed: sum(|hour| hour.failed),
        timed_out: sum(|hour| hour.timed_out),
    }
}

fn explain(basis: &Basis, duration: Option<Expected>, share: Option<Expected>) -> String {
    let mut text = match (duration, share) {
        (Some(duration), Some(share)) => format!(
            "about {:.1} s ({:.1} to {:.1}), and {:.1} % of the transactions signed again ({:.1} to {:.1}), from {} transactions \
             since {}",
            duration.expected,
            duration.low,
            duration.high,
            share.expected * 100.0,
            share.low * 100.0,
            share.high * 100.0,
            basis.transactions,
            basis.since.as_deref().unwrap_or_default(),
        ),
        _ => format!(
            "no record yet: {} transactions have ended through these endpoints of late, and a forecast needs {ENOUGH_TRANSACTIONS}",
            basis.transactions
        ),
    };
    if duration.is_some() && basis.tickets_per_second.is_none() {
        text.push_str("; no batch took long enough to show its speed, so that this is as quick as the pace allows");
    }
    for EndpointBasis { endpoint, state, .. } in &basis.endpoints {
        let what = match state {
            EndpointState::Well => continue,
            EndpointState::Limited => "limits our rate just now",
            EndpointState::Resting => "fails and rests just now",
        };
        text = [&text, "; ", endpoint, " ", what].concat();
    }
    text
}

fn rfc3339(hour: i64) -> Option<String> {
    jiff::Timestamp::from_second(hour.saturating_mul(3_600)).ok().map(|time| time.to_string())
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests;
