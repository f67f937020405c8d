//! What is unusual: failures, time and cost of the tickets of the newest hour, against the 30 days before.
//!
//! How that is judged is in [`crate::domain::anomaly`]; here is where the figures come from, and what was said last. The watch of
//! the alerts has it checked from time to time, and tells somebody.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::Mutex;

use crate::{
    clock::SharedClock,
    domain::{
        alert::AlertKind,
        anomaly::{HISTORY_HOURS, Hour, Judgement, Measure, Verdict, judge},
    },
    store::{AlertFilter, BoxPeriod, Step, Store, StoreError},
};

/// Open incidents that are looked through for those of an earlier process.
const MOST_OPEN: usize = 1_000;
/// The oldest hour that is judged is of yesterday, and its history begins 30 days before it.
const HOURS: i64 = HISTORY_HOURS.saturating_add(24);

/// What a check found.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// Each measure, in a fixed order.
    pub judgements: Vec<Judgement>,
}

/// The checks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Anomalies {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    clock: SharedClock,
    said: Mutex<Said>,
}

/// What was said last.
#[derive(Debug, Default)]
struct Said {
    /// Measures that are unusual; none before the first check.
    unusual: Option<BTreeSet<Measure>>,
    latest: Option<Checked>,
}

impl Anomalies {
    /// Checks of these books.
    #[must_use]
    pub fn new(store: Store, clock: SharedClock) -> Self {
        Self { shared: Arc::new(Shared { store, clock, said: Mutex::default() }) }
    }

    /// Judges every measure as it is now.
    ///
    /// # Errors
    /// When the books cannot be read; what was said last holds then.
    pub async fn check(&self) -> Result<Checked, StoreError> {
        let mut said = self.shared.said.lock().await;
        self.judge(&mut said).await
    }

    /// What the last check found; the first is made now if there was none yet.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn latest(&self) -> Result<Checked, StoreError> {
        let mut said = self.shared.said.lock().await;
        match &said.latest {
            Some(latest) => Ok(latest.clone()),
            None => self.judge(&mut said).await,
        }
    }

    async fn judge(&self, said: &mut Said) -> Result<Checked, StoreError> {
        let Shared { store, clock, .. } = &*self.shared;
        let unusual = match said.unusual.take() {
            Some(unusual) => unusual,
            None => told(store).await?,
        };
        let at_ms = clock.now_ms();
        let from_ms = at_ms.saturating_sub(HOURS.saturating_mul(Step::Hour.ms()));
        let hours = store.box_periods(from_ms, Step::Hour).await;
        // Whatever comes of it, what was said is not forgotten.
        said.unusual = Some(unusual.clone());
        let hours: Vec<Hour> = hours?.iter().map(hour).collect();
        let judged = |measure| judge(measure, &hours, at_ms, unusual.contains(&measure));
        let judgements: Vec<Judgement> = Measure::ALL.map(judged).into();
        let now_unusual = judgements.iter().filter(|judgement| judgement.verdict == Verdict::Unusual);
        said.unusual = Some(now_unusual.map(|judgement| judgement.measure).collect());
        let checked = Checked { at_ms, judgements };
        said.latest = Some(checked.clone());
        Ok(checked)
    }
}

/// What an earlier process has told somebody of.
async fn told(store: &Store) -> Result<BTreeSet<Measure>, StoreError> {
    let open = store.alerts(AlertFilter { open: Some(true), after: None }, MOST_OPEN).await?;
    let open = open.into_iter().filter(|incident| incident.kind == AlertKind::Anomaly);
    let subjects: Vec<String> = open.filter_map(|incident| incident.subject).collect();
    let measures = Measure::ALL.into_iter();
    Ok(measures.filter(|measure| subjects.iter().any(|subject| subject == measure.as_str())).collect())
}

fn hour(period: &BoxPeriod) -> Hour {
    let tickets = &period.tickets;
    Hour {
        hour: Step::Hour.of(tickets.from_ms),
        minted: tickets.minted.saturating_sub(period.adopted),
        failed: tickets.failed,
        spent: tickets.spent,
        due_ms: period.due_ms,
    }
}
