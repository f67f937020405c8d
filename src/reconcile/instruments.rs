//! What Prometheus is told of comparisons: the state of all venues, each as its latest comparison left it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use prometheus::{Gauge, IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

use super::Summary;
use crate::store::LatestReport;

/// Venues that are shown one by one: those with the most differences. Bounds what Prometheus has to keep.
const MOST_VENUES: usize = 100;

/// The instruments of reconciliation.
#[derive(Debug)]
pub(super) struct Instruments {
    latest: Mutex<Latest>,
    discrepancies: IntGauge,
    of_venue: IntGaugeVec,
    fixed: IntCounter,
    duration: Gauge,
}

#[derive(Debug, Default)]
struct Latest {
    /// The latest comparison of each venue.
    venues: BTreeMap<String, Comparison>,
    /// Venues that are shown one by one now.
    shown: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug)]
struct Comparison {
    discrepancies: u64,
    seconds: f64,
}

impl Instruments {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let discrepancies =
            "Tickets with a difference between books and chain: the sum of every venue's latest comparison.";
        let of_venue = "Tickets with a difference in a venue's latest comparison; of the 100 venues with the most.";
        let of_venue = Opts::new("boxoffice_reconciliation_discrepancies", of_venue);
        let fixed = "Tickets whose differences between books and chain were repaired, since the start.";
        let duration = "Seconds that the comparison of all venues took: the sum of every venue's latest comparison.";
        let instruments = Self {
            latest: Mutex::default(),
            discrepancies: IntGauge::new("minting_reconciliation_discrepancies", discrepancies)?,
            of_venue: IntGaugeVec::new(of_venue, &["venue"])?,
            fixed: IntCounter::new("minting_reconciliation_fixed", fixed)?,
            duration: Gauge::new("minting_reconciliation_duration", duration)?,
        };
        registry.register(Box::new(instruments.discrepancies.clone()))?;
        registry.register(Box::new(instruments.of_venue.clone()))?;
        registry.register(Box::new(instruments.fixed.clone()))?;
        registry.register(Box::new(instruments.duration.clone()))?;
        Ok(instruments)
    }

    /// Takes up what earlier processes reported.
    pub(super) fn recall(&self, reports: Vec<LatestReport>) {
        let compared = reports.into_iter().map(|report| {
            let comparison = Comparison { discrepancies: report.discrepancy_count, seconds: report.duration_seconds };
            (report.venue_id, comparison)
        });
        self.show(compared);
    }

    /// Takes what a comparison came to.
    pub(super) fn compared(&self, summary: &Summary) {
        let comparison = Comparison { discrepancies: summary.discrepancy_count, seconds: summary.duration_seconds };
        self.show([(summary.venue_id.clone(), comparison)]);
    }

    /// Counts tickets that were repaired.
    pub(super) fn fixed(&self, tickets: u64) {
        self.fixed.inc_by(tickets);
    }

    fn show(&self, compared: impl IntoIterator<Item = (String, Comparison)>) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.venues.extend(compared);
        let mut venues: Vec<(&String, u64)> =
            latest.venues.iter().map(|(venue, comparison)| (venue, comparison.discrepancies)).collect();
        self.discrepancies.set(gauge(venues.iter().fold(0, |sum: u64, (_, count)| sum.saturating_add(*count))));
        self.duration.set(latest.venues.values().map(|comparison| comparison.seconds).sum());
        // A stable sort: among equals those that come first by name stay, so that none comes and goes.
        venues.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        venues.truncate(MOST_VENUES);
        let shown: BTreeSet<String> = venues.iter().map(|(venue, _)| (*venue).clone()).collect();
        for (venue, count) in venues {
            self.of_venue.with_label_values(&[venue]).set(gauge(count));
        }
        for gone in latest.shown.difference(&shown) {
            // What is not there cannot be removed, and need not be.
            drop(self.of_venue.remove_label_values(&[gone]));
        }
        latest.shown = shown;
    }
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(venue: &str, discrepancies: u64, seconds: f64) -> Summary {
        Summary {
            venue_id: venue.into(),
            discrepancy_count: discrepancies,
            duration_seconds: seconds,
            ..Summary::default()
        }
    }

    fn shown(registry: &Registry) -> BTreeMap<String, u64> {
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let lines = text.lines().filter(|line| line.contains("discrepancies") && !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(k, v)| (k.into(), v.parse().unwrap())).collect()
    }

    #[test]
    fn the_seeds_gauges_are_sums_over_venues_and_those_by_venue_are_bounded() {
        let registry = Registry::new();
        let instruments = Instruments::new(&registry).unwrap();
        for venue in 0..150 {
            instruments.compared(&summary(&format!("v-{venue:03}"), 1, 0.5));
        }
        let all = shown(&registry);
        assert_eq!(all["minting_reconciliation_discrepancies"], 150);
        assert_eq!(all.len(), 1 + MOST_VENUES);
        assert!(!all.contains_key("boxoffice_reconciliation_discrepancies{venue=\"v-149\"}"));
        // The one that is worst comes in, and another goes.
        instruments.compared(&summary("v-149", 7, 0.5));
        // A comparison that finds nothing takes the venue's earlier one back, and no other's.
        instruments.compared(&summary("v-000", 0, 2.5));
        let all = shown(&registry);
        assert_eq!(all["minting_reconciliation_discrepancies"], 155);
        assert_eq!(all["boxoffice_reconciliation_discrepancies{venue=\"v-149\"}"], 7);
        assert!(!all.contains_key("boxoffice_reconciliation_discrepancies{venue=\"v-000\"}"));
        assert_eq!(all.len(), 1 + MOST_VENUES);
        assert!((instruments.duration.get() - 77.0).abs() < 1e-9);
    }
}
