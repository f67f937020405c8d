//! How many recorded transactions may wait for their turn to be sent.
//!
//! About a second of them, or two while a plan counts every question: a ticket sold at the door must not be stuck behind a long queue of bulk work that is signed
//! already, and signed transactions grow old. What a second is changes with the pace, and a channel's capacity does not: the
//! valve takes places away by keeping them to itself.

use std::sync::Arc;

use tokio::sync::mpsc::{OwnedPermit, Sender};

use super::flight::Flight;

/// The valve of the queue between preparing and sending.
pub(super) struct Valve {
    queue: Sender<Arc<Flight>>,
    places: usize,
    kept: Vec<OwnedPermit<Arc<Flight>>>,
}

impl Valve {
    /// For a queue with so many places.
    pub(super) fn new(queue: Sender<Arc<Flight>>, places: usize) -> Self {
        Self { queue, places, kept: Vec::new() }
    }

    /// Leaves so many places open, as soon as those that are taken are free.
    pub(super) fn open(&mut self, places: usize) {
        let to_keep = self.places.saturating_sub(places.max(1));
        self.kept.truncate(to_keep);
        while self.kept.len() < to_keep {
            let Ok(place) = self.queue.clone().try_reserve_owned() else { return };
            self.kept.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn places_are_taken_away_and_given_back() {
        let (queue, _waiting) = mpsc::channel(256);
        let mut valve = Valve::new(queue.clone(), 256);
        for (places, open) in [(10, 10), (200, 200), (1, 1), (0, 1), (256, 256), (300, 256)] {
            valve.open(places);
            assert_eq!(queue.capacity(), open);
        }
    }
}
