//! How fast transactions are handed over. Pure: it is told the time, and what came of each send.
//!
//! - **Fixed**: waves of `MAX_BATCH_SIZE` tickets with `BATCH_DELAY_MS` between them, whatever the endpoints bear; after a fault
//!   everything pauses.
//! - **Adaptive**: single sends, evenly spaced, at a rate that begins where the waves would be and finds what the endpoints
//!   bear. It grows while sends are taken and more of them wait; a limit or a timeout sets it back, a lost answer does not.

mod adaptive;

use std::time::Duration;

use tokio::time::Instant;

use super::Backoff;
use crate::{chain::Strain, estimate::Pacing};
use adaptive::{Adaptive, OUTAGE, whole};

/// Tickets that are being sent at once with a fixed pace; more only queue up at the endpoint.
const FIXED_PARALLEL: usize = 64;
/// The same with an adaptive pace, which keeps to the rate that the endpoint bears: room for the highest one at 300 ms, three
/// tickets to a transaction.
const ADAPTIVE_PARALLEL: usize = 192;

/// What to do with a transaction whose send came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It goes back to the head of the queue.
    SendAgain,
    /// It may have arrived. It is sent again if nothing is heard of it.
    Wait,
}

/// The pace of one box.
#[derive(Debug)]
pub(super) enum Pacer {
    /// `PACING=fixed`.
    Fixed(Fixed),
    /// `PACING=adaptive`.
    Adaptive(Adaptive),
}

/// Waves.
#[derive(Debug)]
pub(super) struct Fixed {
    pacing: Pacing,
    next_wave: Instant,
    paused_until: Instant,
    backoff: Backoff,
}

impl Pacer {
    pub(super) fn new(pacing: Pacing, now: Instant) -> Self {
        if !pacing.adaptive {
            return Self::Fixed(Fixed { pacing, next_wave: now, paused_until: now, backoff: Backoff::default() });
        }
        Self::Adaptive(Adaptive::new(pacing, now))
    }

    /// Sends a second that are allowed now.
    pub(super) fn rate(&self) -> f64 {
        match self {
            Self::Fixed(fixed) => fixed.pacing.initial_rate(),
            Self::Adaptive(adaptive) => adaptive.send_rate(),
        }
    }

    /// Transactions that are worth signing ahead: what is sent in a second, or in two while a plan counts every question.
    pub(super) fn ahead(&self) -> usize {
        match self {
            Self::Fixed(fixed) => {
                let Pacing { wave_size, wave_gap, .. } = fixed.pacing;
                let waves = 1_000_u128.checked_div(wave_gap.as_millis()).unwrap_or(u128::MAX).max(1);
                wave_size.saturating_mul(usize::try_from(waves).unwrap_or(usize::MAX))
            }
            Self::Adaptive(adaptive) => adaptive.ahead(),
        }
    }

    /// The least time between two questions of one kind, as things are now.
    pub(super) fn pause(&self) -> Duration {
        match self {
            Self::Fixed(_) => Duration::ZERO,
            Self::Adaptive(adaptive) => adaptive.pause(),
        }
    }

    /// Tickets that may be on their way to the endpoints at once.
    pub(super) fn parallel(&self) -> usize {
        match self {
            Self::Fixed(_) => FIXED_PARALLEL,
            Self::Adaptive(_) => ADAPTIVE_PARALLEL,
        }
    }

    /// Transactions to have at hand.
    pub(super) fn at_hand(&self) -> usize {
        match self {
            Self::Fixed(fixed) => fixed.pacing.wave_size,
            Self::Adaptive(adaptive) => whole(adaptive.burst()),
        }
    }

    /// When the next transaction may be sent.
    pub(super) fn next(&self) -> Instant {
        match self {
            Self::Fixed(fixed) => fixed.next_wave,
            Self::Adaptive(adaptive) => (adaptive.refilled + adaptive.refilled_in()).max(adaptive.paused_until),
        }
    }

    /// How many of the transactions that wait may be sent now; given are the tickets in each, in order.
    pub(super) fn take(&mut self, tickets: impl Iterator<Item = usize>, now: Instant) -> usize {
        match self {
            Self::Fixed(fixed) => {
                fixed.next_wave = now + fixed.pacing.wave_gap;
                fixed.wave(tickets)
            }
            Self::Adaptive(adaptive) => adaptive.take(tickets.count(), now),
        }
    }

    /// A send was taken; `more` of them wait, and only the rate keeps them back.
    pub(super) fn taken(&mut self, more: bool, now: Instant) {
        match self {
            Self::Fixed(fixed) => fixed.backoff.reset(),
            Self::Adaptive(adaptive) => {
                adaptive.faults = 0;
                adaptive.backoff.reset();
                adaptive.grow(more, now);
            }
        }
    }

    /// The endpoints limit the rate, as a call that began at `began` was told.
    pub(super) fn limited(&mut self, began: Instant, asked: Option<Duration>, now: Instant) {
        match self {
            Self::Fixed(fixed) => fixed.pause(asked.unwrap_or_default(), now),
            Self::Adaptive(adaptive) => {
                if adaptive.limited(began, now) {
                    let pause = asked.unwrap_or_else(|| adaptive.backoff.next());
                    adaptive.paused_until = adaptive.paused_until.max(now + pause);
                } else if let Some(asked) = asked {
                    adaptive.paused_until = adaptive.paused_until.max(now + asked);
                }
            }
        }
    }

    /// A send that began at `began` was not answered in time.
    pub(super) fn timed_out(&mut self, began: Instant, now: Instant) -> Then {
        if let Self::Adaptive(adaptive) = self {
            adaptive.overloaded(began, now);
        }
        self.failed(now)
    }

    /// A send failed on its way there or back.
    pub(super) fn failed(&mut self, now: Instant) -> Then {
        match self {
            Self::Fixed(fixed) => {
                fixed.pause(Duration::ZERO, now);
                Then::SendAgain
            }
            Self::Adaptive(adaptive) => {
                adaptive.faults = adaptive.faults.saturating_add(1);
                if adaptive.faults < OUTAGE {
                    return Then::Wait;
                }
                // Of sends that fail together, only the first makes the pause longer.
                if adaptive.paused_until <= now {
                    adaptive.paused_until = now + adaptive.backoff.next();
                }
                Then::SendAgain
            }
        }
    }

    /// Whether faults have become an outage, which is worth telling.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Fixed(_) => true,
            Self::Adaptive(adaptive) => adaptive.faults >= OUTAGE,
        }
    }

    /// What the calls of all parts of the box have found out. Fixed waves are sent all the same.
    pub(super) fn heed(&mut self, Strain { limited_read, slow_read, until, reads }: Strain, now: Instant) {
        let Self::Adaptive(adaptive) = self else { return };
        adaptive.note_reads(reads, now);
        if let Some(began) = limited_read {
            adaptive.read_turned_away(began, now);
        }
        if let Some(began) = slow_read {
            adaptive.overloaded(began, now);
        }
        adaptive.paused_until = until.map_or(adaptive.paused_until, |until| until.max(adaptive.paused_until));
    }
}

impl Fixed {
    /// As many transactions as have the tickets of a wave; one that has more goes alone.
    fn wave(&self, tickets: impl Iterator<Item = usize>) -> usize {
        let so_far = tickets.scan(0_usize, |sum, tickets| {
            *sum = sum.saturating_add(tickets);
            Some(*sum)
        });
        so_far.enumerate().take_while(|(before, sum)| *before == 0 || *sum <= self.pacing.wave_size).count()
    }

    /// Of a wave that fails together, only the first failure makes the pause longer.
    fn pause(&mut self, at_least: Duration, now: Instant) {
        let until = if now < self.paused_until { self.paused_until } else { now + self.backoff.next() };
        self.paused_until = self.paused_until.max(until).max(now + at_least);
        self.next_wave = self.next_wave.max(self.paused_until);
    }
}

#[cfg(test)]
mod tests;
