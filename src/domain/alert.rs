//! What somebody should know, when they are told, and how often a message about it is tried.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// An incident that stays open is brought to mind at most once in this time, in milliseconds.
pub const REMIND_EVERY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Tickets below which the wallet's runway is short.
pub const SHORT_RUNWAY: u64 = 20;
/// Tickets from which a runway that was short is long enough again: a gap, so that an alert does not flicker.
const LONG_RUNWAY: u64 = 30;
/// Free bytes below which the disk is nearly full.
const DISK_LOW: u64 = 512 * MIB;
/// Free bytes below which minting is about to stop.
const DISK_ALL_BUT_FULL: u64 = 64 * MIB;
/// Free bytes from which a disk that was low is well again.
const DISK_WELL: u64 = 640 * MIB;
const MIB: u64 = 1_024 * 1_024;
/// The share of a batch's tickets, in percent, that may fail before somebody is told.
const TOLERATED_FAILURES_PERCENT: u64 = 5;
/// From this share on it is the batch that fails, not some of its tickets.
const MOST_PERCENT: u64 = 50;

macro_rules! alert_kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        /// What is wrong. Codes are stable: new ones may be added, none is renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ToSchema)]
        #[schema(rename_all = "snake_case")]
        pub enum AlertKind { $($(#[$doc])* $name),* }

        impl AlertKind {
            /// The code in the database, the API and the webhook.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }

            /// Reads a code.
            #[must_use]
            pub fn parse(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

alert_kinds! {
    /// Books and chain differ.
    Discrepancies = "discrepancies";
    /// The wallet runs out of money.
    LowBalance = "low_balance";
    /// Tickets wait for something.
    MintingHeld = "minting_held";
    /// Many tickets of a batch could not be minted.
    BatchFailing = "batch_failing";
    /// An RPC endpoint does not answer.
    EndpointDown = "endpoint_down";
    /// There is no new backup.
    BackupFailed = "backup_failed";
    /// A job of the scheduler failed.
    JobFailed = "job_failed";
    /// A provider does not take what is to be published.
    PublisherDown = "publisher_down";
    /// A provider has lost published files.
    ContentMissing = "content_missing";
    /// The disk is nearly full.
    DiskLow = "disk_low";
    /// Failures, time or cost of tickets are not as they usually are.
    Anomaly = "anomaly";
}

impl Serialize for AlertKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(rename_all = "lowercase")]
pub enum Severity {
    /// It can wait until tomorrow.
    Warning,
    /// Tickets are not minted, or soon will not be.
    Critical,
}

impl Severity {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Warning, Self::Critical];

    /// The name in the database and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// Reads the name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == name)
    }
}

/// A report that something is wrong. The same key while it is open is the same incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// What makes two reports the same incident.
    pub key: String,
    /// What is wrong.
    pub kind: AlertKind,
    /// How bad it is.
    pub severity: Severity,
    /// The venue, endpoint, wallet or job that it is about.
    pub subject: Option<String>,
    /// What is wrong and what to do, for a person.
    pub summary: String,
    /// For programs: an object. Nothing secret goes in here.
    pub data: Value,
}

impl Alert {
    /// A report about a subject, or about the whole box.
    #[must_use]
    pub fn new(kind: AlertKind, severity: Severity, subject: Option<&str>, summary: impl Into<String>) -> Self {
        Self {
            key: alert_key(kind, subject),
            kind,
            severity,
            subject: subject.map(str::to_owned),
            summary: summary.into(),
            data: Value::Object(serde_json::Map::new()),
        }
    }

    /// Adds what programs want to know.
    #[must_use]
    pub fn with(self, data: Value) -> Self {
        Self { data, ..self }
    }
}

/// The key of a kind of incident of a subject: what to name when it is over.
#[must_use]
pub fn alert_key(kind: AlertKind, subject: Option<&str>) -> String {
    subject.map_or_else(|| kind.as_str().to_owned(), |subject| format!("{}:{subject}", kind.as_str()))
}

/// Why somebody is told of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It is new.
    Opened,
    /// It is better or worse than it was.
    SeverityChanged,
    /// It is still there.
    Reminder,
    /// It is over.
    Closed,
}

impl Notice {
    /// The name in the webhook's payload.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::SeverityChanged => "severity_changed",
            Self::Reminder => "reminder",
            Self::Closed => "closed",
        }
    }

    /// Whether a report is worth a message. `open` is the incident that it belongs to, if there is one: its severity, and when
    /// somebody was last told of it.
    #[must_use]
    pub fn of_report(open: Option<(Severity, i64)>, severity: Severity, now_ms: i64) -> Option<Self> {
        match open {
            None => Some(Self::Opened),
            Some((known, _)) if known != severity => Some(Self::SeverityChanged),
            Some((_, told_at_ms)) if now_ms.saturating_sub(told_at_ms) >= REMIND_EVERY_MS => Some(Self::Reminder),
            Some(_) => None,
        }
    }
}

/// How long to wait before each further attempt to deliver a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySchedule {
    delays: Vec<Duration>,
}

impl Default for RetrySchedule {
    /// The example of Standard Webhooks 1.0: ten attempts in a little more than three days.
    fn default() -> Self {
        let hours = [2, 5, 10, 14, 20, 24].map(Duration::from_hours);
        let first = [Duration::from_secs(5), Duration::from_mins(5), Duration::from_mins(30)];
        Self { delays: first.into_iter().chain(hours).collect() }
    }
}

impl RetrySchedule {
    /// The most that a receiver may ask for with `Retry-After`.
    const LONGEST: Duration = Duration::from_hours(24);
    /// Delays are drawn out by up to this share of them, in percent: receivers that fail together are not met together again.
    const JITTER_PERCENT: u64 = 20;

    /// A schedule of one attempt more than there are delays.
    #[must_use]
    pub fn new(delays: Vec<Duration>) -> Self {
        Self { delays }
    }

    /// How long to wait after `attempts` attempts; none when that was the last. Never shorter than the receiver asked for.
    /// `jitter` is a random number.
    #[must_use]
    pub fn wait(&self, attempts: u32, retry_after: Option<Duration>, jitter: u32) -> Option<Duration> {
        let passed = usize::try_from(attempts.checked_sub(1)?).ok()?;
        let delay = *self.delays.get(passed)?;
        let most = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).saturating_mul(Self::JITTER_PERCENT) / 100;
        let extra = most.saturating_mul(jitter.into()).checked_div(u32::MAX.into()).unwrap_or_default();
        let drawn_out = delay.saturating_add(Duration::from_millis(extra));
        Some(drawn_out.max(retry_after.unwrap_or_default().min(Self::LONGEST)))
    }
}

/// What a measurement means. Between wrong and well lies a gap, in which nothing changes: so an alert does not flicker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Somebody should know.
    Wrong(Severity),
    /// Not wrong, and not yet enough for the all-clear.
    Between,
    /// All is well.
    Well,
}

impl Verdict {
    /// Judges a balance in lamports by the minimum (`MIN_SOL_BALANCE`) and the tickets that it still pays for beyond that; none
    /// when their price is not known. Only for a balance that is known and fresh: one that is not says nothing.
    #[must_use]
    pub fn of_funds(balance: u64, minimum: u64, runway: Option<u64>) -> Self {
        let recovered = minimum.saturating_add(minimum / 10);
        match runway {
            _ if balance < minimum => Self::Wrong(Severity::Critical),
            Some(0) => Self::Wrong(Severity::Critical),
            Some(runway) if runway < SHORT_RUNWAY => Self::Wrong(Severity::Warning),
            Some(runway) if runway >= LONG_RUNWAY && balance >= recovered => Self::Well,
            Some(_) | None => Self::Between,
        }
    }

    /// Judges the bytes that are free on the disk of the books.
    #[must_use]
    pub fn of_disk(free_bytes: u64) -> Self {
        match free_bytes {
            0..DISK_ALL_BUT_FULL => Self::Wrong(Severity::Critical),
            DISK_ALL_BUT_FULL..DISK_LOW => Self::Wrong(Severity::Warning),
            DISK_LOW..DISK_WELL => Self::Between,
            DISK_WELL.. => Self::Well,
        }
    }
}

/// How bad the failures of a finished batch are; none when they are tolerable.
#[must_use]
pub fn batch_severity(total: u64, failed: u64) -> Option<Severity> {
    let exceeds = |percent: u64| failed.saturating_mul(100) > total.saturating_mul(percent);
    match () {
        () if exceeds(MOST_PERCENT) => Some(Severity::Critical),
        () if exceeds(TOLERATED_FAILURES_PERCENT) => Some(Severity::Warning),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_incident_is_told_of_again_only_when_it_changes_or_a_day_has_passed() {
        let (warning, critical) = (Severity::Warning, Severity::Critical);
        assert_eq!(Notice::of_report(None, warning, 0), Some(Notice::Opened));
        assert_eq!(Notice::of_report(Some((warning, 0)), warning, REMIND_EVERY_MS - 1), None);
        assert_eq!(Notice::of_report(Some((warning, 0)), critical, 1), Some(Notice::SeverityChanged));
        assert_eq!(Notice::of_report(Some((critical, 0)), warning, 1), Some(Notice::SeverityChanged));
        assert_eq!(Notice::of_report(Some((warning, 0)), warning, REMIND_EVERY_MS), Some(Notice::Reminder));
    }

    #[test]
    fn attempts_spread_over_days_and_end() {
        let schedule = RetrySchedule::default();
        assert_eq!(schedule.wait(1, None, 0), Some(Duration::from_secs(5)));
        assert_eq!(schedule.wait(1, None, u32::MAX), Some(Duration::from_secs(6)));
        assert_eq!(schedule.wait(9, None, 0), Some(Duration::from_hours(24)));
        assert_eq!(schedule.wait(10, None, 0), None);
        let total: Duration = (1..10).map(|attempts| schedule.wait(attempts, None, 0).unwrap()).sum();
        assert!(total > Duration::from_hours(72), "{total:?}");
    }

    #[test]
    fn what_the_receiver_asks_for_is_honoured_within_reason() {
        let schedule = RetrySchedule::default();
        assert_eq!(schedule.wait(1, Some(Duration::from_secs(90)), 0), Some(Duration::from_secs(90)));
        assert_eq!(schedule.wait(2, Some(Duration::from_secs(90)), 0), Some(Duration::from_mins(5)));
        assert_eq!(schedule.wait(1, Some(Duration::from_hours(999)), 0), Some(RetrySchedule::LONGEST));
        assert_eq!(schedule.wait(10, Some(Duration::from_secs(90)), 0), None, "a request to wait adds no attempts");
    }

    #[test]
    fn a_measurement_flickers_around_no_threshold() {
        let (warning, critical) = (Verdict::Wrong(Severity::Warning), Verdict::Wrong(Severity::Critical));
        assert_eq!(Verdict::of_funds(99, 100, Some(1_000)), critical);
        assert_eq!(
            Verdict::of_funds(100, 100, None),
            Verdict::Between,
            "without a price nothing is said about tickets"
        );
        assert_eq!(Verdict::of_funds(150, 100, Some(0)), critical);
        assert_eq!(Verdict::of_funds(150, 100, Some(19)), warning);
        assert_eq!(Verdict::of_funds(150, 100, Some(20)), Verdict::Between);
        assert_eq!(Verdict::of_funds(109, 100, Some(30)), Verdict::Between);
        assert_eq!(Verdict::of_funds(110, 100, Some(30)), Verdict::Well);
        assert_eq!(Verdict::of_disk(63 * MIB), critical);
        assert_eq!(Verdict::of_disk(511 * MIB), warning);
        assert_eq!(Verdict::of_disk(512 * MIB), Verdict::Between);
        assert_eq!(Verdict::of_disk(640 * MIB), Verdict::Well);
    }

    #[test]
    fn five_percent_may_fail() {
        assert_eq!(batch_severity(100, 5), None);
        assert_eq!(batch_severity(100, 6), Some(Severity::Warning));
        assert_eq!(batch_severity(100, 50), Some(Severity::Warning));
        assert_eq!(batch_severity(100, 51), Some(Severity::Critical));
        assert_eq!(batch_severity(0, 0), None);
    }
}
