//! What was counted since the last write.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::new_sends;
use crate::{
    chain::EndpointSends,
    domain::{
        forecast::{EndpointHour, MintHour},
        mint::AttemptState,
    },
    store::Record,
};

/// A window of the speed: what is shorter says little about how much it varies.
const WINDOW: Duration = Duration::from_secs(5);
/// The end of a stretch of work is a window too, if it is this long.
const SHORTEST: Duration = Duration::from_secs(1);
/// When nothing was settled for longer than this, minting stood still, and that is no speed.
const STANDSTILL: Duration = Duration::from_secs(30);

/// A transaction that has come to its end.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// How.
    pub state: AttemptState,
    /// Tickets in it.
    pub tickets: u64,
    /// Some of them are to be signed for again.
    pub again: bool,
    /// Since its first send; none if it never left the box, or not in this process.
    pub sent_for: Option<Duration>,
    /// Since it was signed, or came to be known to this process.
    pub known_for: Duration,
}

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Whether more tickets wait than are under way.
    pub(super) backlog: bool,
    counts: MintHour,
    /// The last commit, if more tickets waited then.
    last: Option<Instant>,
    window_ms: u64,
    window_tickets: u64,
    /// What came of sends until the last write, by endpoint.
    sends: BTreeMap<String, EndpointHour>,
}

impl Live {
    pub(super) fn ended(&mut self, ended: &[Ended], settled_tickets: u64) {
        for ended in ended {
            let counts = &mut self.counts;
            match ended.state {
                AttemptState::Landed => {
                    counts.landed = counts.landed.saturating_add(1);
                    if let Some(took) = ended.sent_for {
                        counts.settle.count(took);
                    }
                }
                AttemptState::Dead => {
                    counts.expired = counts.expired.saturating_add(1);
                    counts.expiry_ms = counts.expiry_ms.saturating_add(ms(ended.known_for));
                }
                AttemptState::Rejected => counts.rejected = counts.rejected.saturating_add(1),
                AttemptState::Recorded | AttemptState::Sent | AttemptState::Unknown => continue,
            }
            counts.tickets = counts.tickets.saturating_add(ended.tickets);
            let again = ended.again && ended.state != AttemptState::Landed;
            counts.again = counts.again.saturating_add(u64::from(again));
        }
        self.pace(settled_tickets, Instant::now());
    }

    /// Between two commits the speed is measured, if more tickets waited all the time.
    fn pace(&mut self, settled_tickets: u64, now: Instant) {
        let passed = self.last.map(|last| now.saturating_duration_since(last)).filter(|passed| *passed < STANDSTILL);
        if let Some(passed) = passed {
            self.window_ms = self.window_ms.saturating_add(ms(passed));
            self.window_tickets = self.window_tickets.saturating_add(settled_tickets);
        }
        let enough = if self.backlog && passed.is_some() { WINDOW } else { SHORTEST };
        if self.window_ms >= ms(enough) {
            self.close_window();
        }
        if !self.backlog {
            (self.window_ms, self.window_tickets) = (0, 0);
        }
        self.last = self.backlog.then_some(now);
    }

    #[expect(clippy::cast_precision_loss, reason = "a statistic")]
    fn close_window(&mut self) {
        let counts = &mut self.counts;
        counts.paced_ms = counts.paced_ms.saturating_add(self.window_ms);
        counts.paced_tickets = counts.paced_tickets.saturating_add(self.window_tickets);
        let tickets = self.window_tickets as f64;
        counts.paced_squares += tickets * tickets / (self.window_ms.max(1) as f64);
        (self.window_ms, self.window_tickets) = (0, 0);
    }

    pub(super) fn prepared(&mut self, took: Duration) {
        self.counts.chunks = self.counts.chunks.saturating_add(1);
        self.counts.prepare_ms = self.counts.prepare_ms.saturating_add(ms(took));
    }

    /// What is to be written, as of an hour.
    pub(super) fn fresh(&self, sends: &[EndpointSends], hour: i64) -> Record {
        let counts = MintHour { hour, ..self.counts.clone() };
        let hours = if counts.is_empty() { Vec::new() } else { vec![counts] };
        let new = |now: &EndpointSends| new_sends(now, self.sends.get(&now.counts.endpoint), hour);
        Record { hours, sends: sends.iter().filter_map(new).collect() }
    }

    /// This was written: what was counted meanwhile stays.
    pub(super) fn written(&mut self, written: &Record) {
        for hour in &written.hours {
            self.counts.subtract(hour);
        }
        for sends in &written.sends {
            let known = self.sends.entry(sends.endpoint.clone());
            known.or_default().add(sends);
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
