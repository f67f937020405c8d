//! How many tickets ride in one transaction: found out from the network, never assumed.
//!
//! A transaction with several tickets needs a layout that not every cluster takes. A node is asked by a simulation, at the start
//! and every few hours; until it says yes, each ticket has a transaction of its own, which every cluster takes. A node's yes
//! proves little: when transactions with several tickets come to nothing again and again, tickets ride alone, and single
//! transactions with several are tried now and then until one lands.

mod ask;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus::{Gauge, Registry};
use tokio::{
    sync::{Notify, SetOnce},
    time::{Instant, timeout},
};

use crate::chain::transaction::Layout;

pub(super) use ask::run;

/// Transactions with several tickets that come to nothing in a row before tickets ride alone.
const TOO_MANY: u32 = 6;
/// Time from then until one is tried again; it doubles with each that comes to nothing.
const FIRST_TRIAL: Duration = Duration::from_mins(1);
const LATEST_TRIAL: Duration = Duration::from_hours(6);
/// A trial whose end is never told is over after this time: longer than a blockhash lives.
const TRIAL_LASTS: Duration = Duration::from_mins(5);
/// Who reckons with tickets that ride together waits so long at most until it was asked for the first time.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is known of the network.
pub(super) struct Packing {
    /// Whether several tickets may ride together at all (`PACKING`).
    wanted: bool,
    known: Mutex<Known>,
    /// Rung when a node should be asked again before its time.
    doubt: Notify,
    /// It was asked once, whatever came of it.
    asked: SetOnce<()>,
    shown: Gauge,
}

#[derive(Debug, Default)]
struct Known {
    /// A node has said yes.
    taken: bool,
    /// Came to nothing, one after the other.
    in_vain: u32,
    /// When one was last seen to have landed.
    worked: Option<Instant>,
    trial: Option<Trial>,
}

/// The network does not keep what the node promised, it seems.
#[derive(Debug)]
struct Trial {
    next: Instant,
    wait: Duration,
    /// One is on its way.
    out: bool,
}

/// How tickets are to ride now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ride {
    /// The layout of transactions with several tickets.
    pub(super) layout: Layout,
    /// How many such transactions may be signed.
    pub(super) packs: usize,
    /// Tickets in each at most.
    pub(super) most: usize,
}

impl Ride {
    /// Each ticket by itself.
    pub(super) const ALONE: Self = Self { layout: Layout::Legacy, packs: 0, most: 1 };

    fn together(packs: usize) -> Self {
        let layout = Layout::V1;
        Self { layout, packs, most: layout.most_tickets() }
    }
}

impl Packing {
    pub(super) fn new(wanted: bool, registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Tickets that the network takes in one transaction now, as far as is known.";
        let shown = Gauge::new("boxoffice_tickets_per_transaction", help)?;
        registry.register(Box::new(shown.clone()))?;
        shown.set(1.0);
        let asked = SetOnce::new_with((!wanted).then_some(()));
        Ok(Self { wanted, known: Mutex::default(), doubt: Notify::new(), asked, shown })
    }

    /// The layout to reckon with: just after the start, the node is given a moment to answer.
    pub(super) async fn expected_layout(&self) -> Layout {
        // Without an answer, the most that it can cost is what is reckoned with.
        drop(timeout(PATIENCE, self.asked.wait()).await);
        self.layout()
    }

    /// The layout that is used now, if there is more than one ticket.
    pub(super) fn layout(&self) -> Layout {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).layout()
    }

    /// How the next tickets are to ride; whoever asks signs for them.
    pub(super) fn next_ride(&self) -> Ride {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).next_ride(Instant::now())
    }

    /// A transaction with several tickets landed.
    pub(super) fn worked(&self) {
        self.change(|known| known.worked(Instant::now()));
    }

    /// A transaction with several tickets came to nothing, and not for want of money. `sent` if it ever left the box.
    /// Where another one has landed since this one was signed, the network takes them, and the reason is another.
    pub(super) fn failed(&self, sent: bool, signed: Instant) {
        if self.change(|known| known.failed(sent, signed, Instant::now())) {
            self.doubt.notify_one();
        }
    }

    /// A node said whether it takes the layout.
    fn told(&self, taken: bool) {
        self.change(|known| known.told(taken));
    }

    /// Returns whether tickets ride otherwise than before.
    fn change(&self, how: impl FnOnce(&mut Known)) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.layout();
        how(&mut known);
        let now = known.layout();
        drop(known);
        if before == now {
            return false;
        }
        let most = u32::try_from(now.most_tickets()).unwrap_or(1);
        self.shown.set(most.into());
        tracing::info!(
            layout = now.name(),
            tickets_per_transaction = most,
            before = before.name(),
            "tickets ride otherwise now"
        );
        true
    }
}

impl Known {
    fn layout(&self) -> Layout {
        if self.taken && self.trial.is_none() { Layout::V1 } else { Layout::Legacy }
    }

    fn next_ride(&mut self, now: Instant) -> Ride {
        let packs = match &mut self.trial {
            _ if !self.taken => 0,
            None => usize::MAX,
            Some(trial) if trial.next <= now => {
                trial.out = true;
                trial.next = now + TRIAL_LASTS;
                1
            }
            Some(_) => 0,
        };
        if packs > 0 { Ride::together(packs) } else { Ride::ALONE }
    }

    fn worked(&mut self, now: Instant) {
        self.worked = Some(now);
        self.believe();
    }

    fn believe(&mut self) {
        self.in_vain = 0;
        self.trial = None;
    }

    fn failed(&mut self, sent: bool, signed: Instant, now: Instant) {
        match &mut self.trial {
            Some(trial) if trial.out => {
                trial.out = false;
                // One that never left the box says nothing.
                if sent {
                    trial.wait = trial.wait.saturating_mul(2).min(LATEST_TRIAL);
                }
                trial.next = now + trial.wait;
            }
            None if sent && self.worked.is_none_or(|worked| worked < signed) => {
                self.in_vain = self.in_vain.saturating_add(1);
                if self.in_vain >= TOO_MANY {
                    self.trial = Some(Trial { next: now + FIRST_TRIAL, wait: FIRST_TRIAL, out: false });
                }
            }
            Some(_) | None => {}
        }
    }

    fn told(&mut self, taken: bool) {
        self.taken = taken;
        if !taken {
            // What it says later counts from the beginning.
            self.believe();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn taken() -> Known {
        let mut known = Known::default();
        known.told(true);
        known
    }

    #[test]
    fn nothing_is_assumed() {
        let mut known = Known::default();
        assert_eq!(known.next_ride(Instant::now()), Ride::ALONE);
        known.told(true);
        assert_eq!(known.next_ride(Instant::now()), Ride::together(usize::MAX));
        known.told(false);
        assert_eq!(known.layout(), Layout::Legacy);
    }

    #[test]
    fn a_promise_that_is_not_kept_is_tried_with_single_transactions() {
        let (mut known, now) = (taken(), Instant::now());
        for _ in 0..TOO_MANY {
            assert_eq!(known.layout(), Layout::V1);
            known.failed(true, now, now);
        }
        assert_eq!((known.layout(), known.next_ride(now).packs), (Layout::Legacy, 0));
        // More of those that were on their way already.
        known.failed(true, now, now);
        let later = now + FIRST_TRIAL;
        assert_eq!(known.next_ride(later - SECOND).packs, 0);
        assert_eq!([known.next_ride(later).packs, known.next_ride(later).packs], [1, 0]);
        known.failed(true, later, later);
        assert_eq!(known.next_ride(later + FIRST_TRIAL).packs, 0);
        assert_eq!(known.next_ride(later + FIRST_TRIAL * 2).packs, 1);
        known.worked(now);
        assert_eq!(known.next_ride(later).packs, usize::MAX);
    }

    #[test]
    fn what_never_left_the_box_says_nothing() {
        let (mut known, now) = (taken(), Instant::now());
        for _ in 0..100 {
            known.failed(false, now, now);
        }
        assert_eq!(known.layout(), Layout::V1);
        for _ in 1..TOO_MANY {
            known.failed(true, now, now);
            known.failed(true, now, now);
            known.worked(now);
        }
        assert_eq!(known.layout(), Layout::V1, "not in a row");
    }

    #[test]
    fn what_dies_while_others_land_says_nothing_of_the_layout() {
        let (mut known, now) = (taken(), Instant::now());
        known.worked(now + SECOND);
        for _ in 0..100 {
            known.failed(true, now, now + SECOND * 60);
        }
        assert_eq!(known.layout(), Layout::V1, "a busy network");
        for _ in 0..TOO_MANY {
            known.failed(true, now + SECOND * 2, now + SECOND * 60);
        }
        assert_eq!(known.layout(), Layout::Legacy);
    }
}
