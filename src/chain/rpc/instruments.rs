//! What is counted of the calls, by endpoint.

use std::{collections::BTreeMap, time::Duration};

use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, core::Collector as _, exponential_buckets,
};

/// The instruments of all endpoints.
pub(super) struct Instruments {
    calls: IntCounterVec,
    seconds: HistogramVec,
    hedges: IntCounterVec,
}

impl Instruments {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let calls = Opts::new("boxoffice_rpc_calls_total", "JSON-RPC calls, by endpoint, method and outcome.");
        let seconds = HistogramOpts::new("boxoffice_rpc_call_duration_seconds", "Seconds that JSON-RPC calls took.");
        let hedges = "Reads that were put to another endpoint too, because this one did not answer in its usual time.";
        Ok(Self {
            calls: IntCounterVec::new(calls, &["endpoint", "method", "outcome"])?,
            seconds: HistogramVec::new(seconds.buckets(exponential_buckets(0.001, 2.0, 14)?), &["endpoint", "method"])?,
            hedges: IntCounterVec::new(Opts::new("boxoffice_rpc_hedges_total", hedges), &["endpoint"])?,
        })
    }

    pub(super) fn register(&self, registry: &Registry, endpoints: &[&str]) -> Result<(), prometheus::Error> {
        for endpoint in endpoints {
            drop(self.hedges.with_label_values(&[*endpoint]));
        }
        registry.register(Box::new(self.calls.clone()))?;
        registry.register(Box::new(self.seconds.clone()))?;
        registry.register(Box::new(self.hedges.clone()))
    }

    pub(super) fn called(&self, endpoint: &str, method: &str, outcome: &str, took: Duration) {
        self.counted(endpoint, method, outcome);
        self.seconds.with_label_values(&[endpoint, method]).observe(took.as_secs_f64());
    }

    /// A call that took no time of its own.
    pub(super) fn counted(&self, endpoint: &str, method: &str, outcome: &str) {
        self.calls.with_label_values(&[endpoint, method, outcome]).inc();
    }

    pub(super) fn hedged(&self, endpoint: &str) {
        self.hedges.with_label_values(&[endpoint]).inc();
    }

    /// Calls made so far, by method.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter holds whole numbers")]
    pub(super) fn calls(&self) -> BTreeMap<String, u64> {
        let mut by_method = BTreeMap::new();
        for metric in self.calls.collect().iter().flat_map(prometheus::proto::MetricFamily::get_metric) {
            let method = metric.get_label().iter().find(|label| label.name() == "method");
            let count: &mut u64 =
                by_method.entry(method.map(|m| m.value().to_owned()).unwrap_or_default()).or_default();
            *count = count.saturating_add(metric.get_counter().get_value() as u64);
        }
        by_method
    }
}
