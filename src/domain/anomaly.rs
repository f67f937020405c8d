//! Whether an hour was as hours usually are: failures, time and cost of its tickets, against those of the 30 days before.
//!
//! The newest hour with enough tickets is judged, the running one too; only hours with enough tickets say what is usual, and
//! before there are enough of those nothing is said. Only what is worse than usual is unusual.
//!
//! - **Failures** are compared with those of all these hours together. With the upper end `b` of that share's Wilson interval,
//!   an hour of `n` tickets is unusual if the lower end of its own Wilson interval is above `b`: that is, if its share is above
//!   `b + z √(b (1 − b) / n)`. Both intervals are three standard deviations wide, and two failures are never unusual.
//! - **Time and cost** are compared with the median of the hours' means: unusual is what is more than five standard deviations
//!   above it. Those are worked out from the median absolute deviation, so that no bad night says what is usual, and are never
//!   less than a share of the median, so that noise around a constant is not unusual.

mod statistics;

use serde::Serialize;
use utoipa::ToSchema;

use super::lamports::Lamports;
use statistics::{median, spread, wilson_upper};

/// Tickets that an hour must have to say something.
pub const ENOUGH_TICKETS: u64 = 20;
/// Hours with enough tickets that it takes to say what is usual.
pub const ENOUGH_HOURS: usize = 24;
/// Hours that say what is usual: 30 days.
pub const HISTORY_HOURS: i64 = 30 * 24;
/// An hour that is longer ago than this is not judged any more.
const RECENT_HOURS: i64 = 24;
/// Standard deviations between what is usual and what is not, for shares and for means. Means of hours vary for more reasons.
const SHARE_WIDTH: f64 = 3.0;
const MEAN_WIDTH: f64 = 5.0;
/// So many failures are never unusual.
const HARMLESS_FAILURES: f64 = 2.0;
/// What was unusual is usual again once it has come down by this share of the way back.
const RETURN: f64 = 0.25;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(rename_all = "snake_case")]
pub enum Measure {
    /// Percentage of the settled tickets that were given up.
    FailureRate,
    /// Seconds from when a ticket might be minted (acceptance, or the later time that it was to wait for) to its settlement.
    MintTime,
    /// Lamports that left the wallet for a minted ticket, failed attempts included.
    CostPerTicket,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::FailureRate, Self::MintTime, Self::CostPerTicket];

    /// Its name in the API, and as the subject of an alert.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FailureRate => "failure_rate",
            Self::MintTime => "mint_time",
            Self::CostPerTicket => "cost_per_ticket",
        }
    }

    /// What its values count.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::FailureRate => "percent",
            Self::MintTime => "seconds",
            Self::CostPerTicket => "lamports",
        }
    }

    /// A standard deviation is taken to be this much at least.
    fn least_spread(self, median: f64) -> f64 {
        match self {
            Self::FailureRate => 0.0,
            Self::MintTime => (median * 0.1).max(1.0),
            Self::CostPerTicket => median * 0.01,
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::FailureRate if value > 0.0 && value < 0.1 => format!("{value:.2} %"),
            Self::FailureRate => format!("{value:.1} %"),
            Self::MintTime => format!("{value:.1} s"),
            Self::CostPerTicket => whole(value).to_string(),
        }
    }
}

/// What happened in an hour. Tickets that an earlier life of the books paid for are left out: they cost nothing, and say nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hour {
    /// Unix time in hours.
    pub hour: i64,
    /// Tickets minted.
    pub minted: u64,
    /// Tickets given up.
    pub failed: u64,
    /// What left the wallet.
    pub spent: Lamports,
    /// Milliseconds from when they might be minted to settlement, summed over the minted.
    pub due_ms: u64,
}

/// What is to be said. Only what is worse than usual is unusual; that is also an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(rename_all = "lowercase")]
pub enum Verdict {
    /// As it usually is, or better.
    Usual,
    /// Worse than it usually is.
    Unusual,
    /// Too little happened lately, or ever, to say.
    Unknown,
}

/// A measure, and what is to be said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// What was measured.
    pub measure: Measure,
    /// What is to be said.
    pub verdict: Verdict,
    /// What it was in the hour that was judged; none without one.
    pub value: Option<f64>,
    /// The usual range, as far as one is known.
    pub usual: Option<(f64, f64)>,
    /// The hour that was judged, Unix time in hours.
    pub hour: Option<i64>,
    /// Its tickets.
    pub tickets: u64,
    /// All of it in a sentence.
    pub explanation: String,
}

/// A measure in an hour with enough tickets.
#[derive(Clone, Copy)]
struct Sample {
    hour: i64,
    tickets: u64,
    failed: u64,
    value: f64,
}

fn sample(measure: Measure, hour: &Hour) -> Option<Sample> {
    let Hour { minted, failed, spent, due_ms, .. } = *hour;
    let (sum, tickets) = match measure {
        Measure::FailureRate => (as_f64(failed) * 100.0, minted.saturating_add(failed)),
        Measure::MintTime => (as_f64(due_ms) / 1_000.0, minted),
        Measure::CostPerTicket => (as_f64(spent.0), minted),
    };
    let value = sum / as_f64(tickets);
    (tickets >= ENOUGH_TICKETS).then_some(Sample { hour: hour.hour, tickets, failed, value })
}

/// What is usual.
struct Usual {
    /// In the middle.
    centre: f64,
    low: f64,
    high: f64,
}

fn usual(measure: Measure, history: &[Sample], judged: &Sample) -> Usual {
    if measure == Measure::FailureRate {
        let sum = |part: fn(&Sample) -> u64| as_f64(history.iter().map(part).fold(0, u64::saturating_add));
        let (failed, tickets) = (sum(|hour| hour.failed), sum(|hour| hour.tickets));
        let at_most = wilson_upper(failed, tickets, SHARE_WIDTH);
        let n = as_f64(judged.tickets);
        let high = (at_most * (1.0 - at_most) / n).sqrt().mul_add(SHARE_WIDTH, at_most);
        let high = high.max(HARMLESS_FAILURES / n).min(1.0);
        return Usual { centre: failed / tickets * 100.0, low: 0.0, high: high * 100.0 };
    }
    let values: Vec<f64> = history.iter().map(|hour| hour.value).collect();
    let centre = median(values.clone());
    let width = MEAN_WIDTH * spread(values, centre).max(measure.least_spread(centre));
    Usual { centre, low: (centre - width).max(0.0), high: centre + width }
}

/// Judges a measure. `hours` may be in any order, and hold others than those that count; `was_unusual` is what was said last: what
/// is close to the bound stays what it was.
#[must_use]
pub fn judge(measure: Measure, hours: &[Hour], now_ms: i64, was_unusual: bool) -> Judgement {
    let now = now_ms.div_euclid(3_600_000);
    let mut samples: Vec<Sample> = hours.iter().filter_map(|hour| sample(measure, hour)).collect();
    samples.retain(|sample| sample.hour <= now);
    samples.sort_unstable_by_key(|sample| sample.hour);
    let recent = samples.pop().filter(|sample| sample.hour > now.saturating_sub(RECENT_HOURS));
    let Some(judged) = recent else {
        let explanation =
            format!("no hour of the last {RECENT_HOURS} had {ENOUGH_TICKETS} tickets, so nothing is said");
        let verdict = Verdict::Unknown;
        return Judgement { measure, verdict, value: None, usual: None, hour: None, tickets: 0, explanation };
    };
    samples.retain(|sample| sample.hour >= judged.hour.saturating_sub(HISTORY_HOURS));
    let said = said(measure, &judged, now);
    let (value, hour, tickets) = (Some(judged.value), Some(judged.hour), judged.tickets);
    if samples.len() < ENOUGH_HOURS {
        let explanation = format!(
            "{said}; what is usual is not known yet: {} hours of the 30 days before had {ENOUGH_TICKETS} tickets, and \
             {ENOUGH_HOURS} are needed",
            samples.len()
        );
        return Judgement { measure, verdict: Verdict::Unknown, value, usual: None, hour, tickets, explanation };
    }
    let Usual { centre, low, high } = usual(measure, &samples, &judged);
    let bound = if was_unusual { (high - centre).mul_add(-RETURN, high) } else { high };
    let verdict = if judged.value > bound { Verdict::Unusual } else { Verdict::Usual };
    let (centre, most) = (measure.show(centre), measure.show(high));
    let explanation = match measure {
        Measure::FailureRate => format!("{said}; of the 30 days before it was {centre}, and at most {most} is usual"),
        Measure::MintTime | Measure::CostPerTicket => format!(
            "{said}; the median of {} hours of the 30 days before is {centre}, and at most {most} is usual",
            samples.len()
        ),
    };
    Judgement { measure, verdict, value, usual: Some((low, high)), hour, tickets, explanation }
}

fn said(measure: Measure, judged: &Sample, now: i64) -> String {
    let Sample { tickets, failed, value, .. } = judged;
    let (hour, value) = (hour_name(judged.hour, now), measure.show(*value));
    match measure {
        Measure::FailureRate => format!("{failed} of {tickets} tickets failed in the hour from {hour} ({value})"),
        Measure::MintTime => format!("a ticket took {value} on average in the hour from {hour} ({tickets} tickets)"),
        Measure::CostPerTicket => {
            format!("a ticket cost {value} on average in the hour from {hour} ({tickets} tickets)")
        }
    }
}

/// `18:00 UTC`, with the date unless it is of today.
fn hour_name(hour: i64, now: i64) -> String {
    let time = jiff::Timestamp::from_second(hour.saturating_mul(3_600)).unwrap_or_default();
    let form = if hour.div_euclid(24) == now.div_euclid(24) { "%H:%M UTC" } else { "%Y-%m-%d %H:%M UTC" };
    time.strftime(form).to_string()
}

#[expect(clippy::cast_precision_loss, reason = "a statistic")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Lamports of a mean, to the nearest.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded, and what is out of bounds is cut"
)]
pub fn whole(lamports: f64) -> Lamports {
    Lamports(lamports.round() as u64)
}

#[cfg(test)]
mod tests;
