//! Looks at the box from time to time, and says what is wrong with it.
//!
//! It decides nothing from a missing answer: a balance that is unknown or old is not low, and a price that is unknown says
//! nothing about how far the money goes. What comes and goes by itself counts only once it has lasted.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use serde_json::json;
use solana_pubkey::Pubkey;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Alerts;
use crate::{
    anomalies::Anomalies,
    balance::BalanceMonitor,
    chain::rpc::RpcChain,
    clock::{SharedClock, rfc3339},
    domain::{
        alert::{Alert, AlertKind, SHORT_RUNWAY, Severity, Verdict, alert_key, batch_severity},
        anomaly::{self, Judgement},
        lamports::Lamports,
        mint::MintStatus,
    },
    folder,
    metadata::replicated::CopyStatus,
    minting::{Condition, Minter},
    payers::Holdings,
    publishing::Publishing,
    store::{AlertFilter, BatchRecord, Store, StoreError},
};

/// A balance that is older than this says nothing, in milliseconds. It is asked for every 30 seconds.
const STALE_MS: i64 = 120_000;
/// Finished batches that are looked at in one go.
const BATCHES: usize = 100;
/// A busy box settles tickets many times in a second; its batches are looked at this often at most.
const BATCHES_EVERY: Duration = Duration::from_secs(1);
/// What is unusual is looked for this often, or with every second look at the box if that is sooner.
const ANOMALIES_EVERY: Duration = Duration::from_mins(1);
/// Open incidents that are looked through at the start.
const MOST_OPEN: usize = 1_000;

/// When something is wrong.
#[derive(Clone, Copy, Debug)]
pub struct WatchRules {
    /// How often to look.
    pub every: Duration,
    /// How long something that comes and goes must last before it counts.
    pub patience: Duration,
    /// `MIN_SOL_BALANCE`.
    pub keep_back: Lamports,
    /// Whether batches that went well are told of too.
    pub batch_finished: bool,
}

/// Everything that is looked at.
#[derive(Debug)]
pub struct Watch {
    /// Who is told.
    pub alerts: Alerts,
    /// The books.
    pub store: Store,
    /// The endpoints.
    pub chain: Arc<RpcChain>,
    /// The engine.
    pub minter: Minter,
    /// The wallet's balance.
    pub balance: BalanceMonitor,
    /// Where metadata is published.
    pub publishing: Publishing,
    /// What is unusual.
    pub anomalies: Anomalies,
    /// The time.
    pub clock: SharedClock,
    /// The wallet.
    pub wallet: Pubkey,
    /// Where the books are.
    pub folder: PathBuf,
    /// When something is wrong.
    pub rules: WatchRules,
}

impl Watch {
    /// Watches until the shutdown.
    pub async fn run(self, shutdown: CancellationToken) {
        let watch = async {
            self.forget_former_endpoints().await;
            let mut tick = interval(self.rules.every);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut settled = self.minter.settlements();
            let mut held = Lasting::default();
            let mut down = BTreeMap::new();
            let mut not_published = BTreeMap::new();
            let mut checked = None;
            loop {
                tokio::select! {
                    _ = tick.tick() => {
                        self.look_at_balance().await;
                        self.look_at_minting(&mut held).await;
                        self.look_at_endpoints(&mut down).await;
                        self.look_at_publishers(&mut not_published).await;
                        self.look_at_disk().await;
                        self.look_for_anomalies(&mut checked).await;
                        self.look_at_batches().await;
                    }
                    Ok(()) = settled.changed() => {
                        self.look_at_batches().await;
                        tokio::time::sleep(BATCHES_EVERY.min(self.rules.every)).await;
                    }
                }
            }
        };
        shutdown.run_until_cancelled(watch).await;
    }

    async fn look_at_balance(&self) {
        let Some(known) = self.balance.known() else { return };
        if self.clock.now_ms().saturating_sub(known.at_ms) > STALE_MS {
            return;
        }
        self.look_at_payers(&known.holdings).await;
        let (balance, keep_back) = (known.holdings.paying(), self.rules.keep_back);
        let runway = self.runway().await;
        let wallet = self.wallet.to_string();
        let severity = match Verdict::of_funds(balance.0, keep_back.0, runway) {
            Verdict::Wrong(severity) => severity,
            Verdict::Between => return,
            Verdict::Well => return self.alerts.resolve(&alert_key(AlertKind::LowBalance, Some(&wallet))).await,
        };
        let tickets = match runway {
            Some(1) => "1 more ticket".to_owned(),
            Some(runway) => format!("{runway} more tickets"),
            None => "an unknown number of tickets".to_owned(),
        };
        let (payers, own) = (known.holdings.payers.len(), known.holdings.wallet);
        let (who, remedy) = match payers {
            0 => (format!("the wallet {wallet} holds"), "send it more SOL".to_owned()),
            _ => (
                format!("the {payers} fee payers of the wallet {wallet} hold"),
                format!(
                    "the wallet itself holds {own}: send it more SOL, and move that to them with `boxoffice payers fund`"
                ),
            ),
        };
        let summary =
            format!("{who} {balance}, which beyond the {keep_back} of MIN_SOL_BALANCE pays for {tickets}; {remedy}");
        let alert = Alert::new(AlertKind::LowBalance, severity, Some(&wallet), summary);
        let data = json!({
            "balanceLamports": balance,
            "walletLamports": own,
            "feePayers": payers,
            "minimumLamports": keep_back,
            "runwayTickets": runway,
            "shortRunwayTickets": SHORT_RUNWAY,
        });
        self.alerts.raise(alert.with(data)).await;
    }

    /// A fee payer that cannot pay for a ticket is skipped: the others go on, one queue fewer.
    async fn look_at_payers(&self, holdings: &Holdings) {
        let Some(price) = self.balance.price() else { return };
        for (payer, holds) in &holdings.payers {
            let name = payer.to_string();
            if holdings.tickets_of(*holds, price) > 0 {
                self.alerts.resolve(&alert_key(AlertKind::LowBalance, Some(&name))).await;
                continue;
            }
            let summary = format!(
                "the fee payer {name} holds {holds}, which pays for no ticket, and is skipped; fill it with `boxoffice payers \
                 fund`"
            );
            let alert = Alert::new(AlertKind::LowBalance, Severity::Warning, Some(&name), summary);
            let data = json!({ "balanceLamports": holds, "ticketLamports": price, "feePayer": name });
            self.alerts.raise(alert.with(data)).await;
        }
    }

    /// Tickets that the balance still pays for, beyond those accepted; none when that cannot be said.
    async fn runway(&self) -> Option<u64> {
        let counts = self.store.counts(None).await.ok()?;
        let open = counts.of(MintStatus::Pending).saturating_add(counts.of(MintStatus::Minting));
        self.balance.runway(open)
    }

    async fn look_at_minting(&self, held: &mut Lasting) {
        let condition = self.minter.condition();
        match held.see(condition != Condition::Clear, Instant::now(), self.rules.patience) {
            Some(false) => self.alerts.resolve(&alert_key(AlertKind::MintingHeld, None)).await,
            Some(true) => {
                let Condition::Held { reason } = condition else { return };
                let alert =
                    Alert::new(AlertKind::MintingHeld, Severity::Critical, None, format!("tickets wait: {reason}"));
                self.alerts.raise(alert.with(json!({ "reason": reason }))).await;
            }
            None => {}
        }
    }

    async fn look_at_endpoints(&self, down: &mut BTreeMap<String, Lasting>) {
        self.chain.ask_faulty_again().await;
        let endpoints = self.chain.health();
        let all_are = endpoints.iter().all(|endpoint| endpoint.fault.is_some());
        let severity = if all_are { Severity::Critical } else { Severity::Warning };
        for health in endpoints {
            let name = health.endpoint;
            let lasting = down.entry(name.clone()).or_default();
            match (lasting.see(health.fault.is_some(), Instant::now(), self.rules.patience), health.fault) {
                (Some(true), Some(fault)) => {
                    let summary = format!("the RPC endpoint {name} does not work: {fault}");
                    let alert = Alert::new(AlertKind::EndpointDown, severity, Some(&name), summary);
                    let ago = health.last_answer_ago.map(|ago| ago.as_secs());
                    self.alerts.raise(alert.with(json!({ "fault": fault, "lastAnswerSecondsAgo": ago }))).await;
                }
                (Some(false), _) => self.alerts.resolve(&alert_key(AlertKind::EndpointDown, Some(&name))).await,
                (Some(true), None) | (None, _) => {}
            }
        }
    }

    async fn look_at_publishers(&self, down: &mut BTreeMap<&'static str, Lasting>) {
        for status in self.publishing.status().await.unwrap_or_default() {
            let CopyStatus { provider, host, required, health, unpublished, .. } = status;
            // A fault without anything to publish keeps nobody waiting.
            let fault = health.error.filter(|_| unpublished > 0);
            let lasting = down.entry(provider).or_default();
            match (lasting.see(fault.is_some(), Instant::now(), self.rules.patience), fault) {
                (Some(true), Some(fault)) => {
                    let severity = if required { Severity::Critical } else { Severity::Warning };
                    let waiting = if required { "are not minted before" } else { "are published later" };
                    let summary = format!("{provider} does not take metadata: {fault}; {unpublished} files {waiting}");
                    let alert = Alert::new(AlertKind::PublisherDown, severity, Some(provider), summary);
                    let data =
                        json!({ "host": host, "fault": fault, "unpublished": unpublished, "required": required });
                    self.alerts.raise(alert.with(data)).await;
                }
                (Some(false), _) => {
                    self.alerts.resolve(&alert_key(AlertKind::PublisherDown, Some(provider))).await;
                }
                (Some(true), None) | (None, _) => {}
            }
        }
    }

    async fn look_at_disk(&self) {
        let free_bytes = match folder::free_bytes(&self.folder) {
            Ok(free_bytes) => free_bytes,
            Err(error) => return tracing::debug!(%error, "the free space of the disk is not known"),
        };
        let severity = match Verdict::of_disk(free_bytes) {
            Verdict::Wrong(severity) => severity,
            Verdict::Between => return,
            Verdict::Well => return self.alerts.resolve(&alert_key(AlertKind::DiskLow, None)).await,
        };
        let mib = free_bytes >> 20;
        let summary =
            format!("the disk that holds the data folder has {mib} MiB left; free some space before minting stops");
        let alert = Alert::new(AlertKind::DiskLow, severity, None, summary);
        self.alerts.raise(alert.with(json!({ "freeBytes": free_bytes }))).await;
    }

    /// What happened is in the books: that too little happened to say is no missing answer, and ends what was unusual.
    async fn look_for_anomalies(&self, checked: &mut Option<Instant>) {
        let every = ANOMALIES_EVERY.min(self.rules.every.saturating_mul(2));
        if checked.is_some_and(|checked| checked.elapsed() < every) {
            return;
        }
        *checked = Some(Instant::now());
        let found = match self.anomalies.check().await {
            Ok(found) => found,
            Err(error) => return tracing::debug!(%error, "what is unusual cannot be looked for now"),
        };
        for Judgement { measure, verdict, value, usual, hour, tickets, explanation } in found.judgements {
            let subject = measure.as_str();
            if verdict != anomaly::Verdict::Unusual {
                self.alerts.resolve(&alert_key(AlertKind::Anomaly, Some(subject))).await;
                continue;
            }
            let alert = Alert::new(AlertKind::Anomaly, Severity::Warning, Some(subject), explanation);
            let data = json!({
                "measure": measure,
                "unit": measure.unit(),
                "value": value,
                "usualHigh": usual.map(|(_low, high)| high),
                "from": hour.map(|hour| rfc3339(hour.saturating_mul(3_600_000))),
                "tickets": tickets,
            });
            self.alerts.raise(alert.with(data)).await;
        }
    }

    /// An endpoint, a provider or a fee payer that the settings no longer name will not come back.
    async fn forget_former_endpoints(&self) {
        let names: Vec<String> = self.chain.health().into_iter().map(|health| health.endpoint).collect();
        let Ok(providers) = self.publishing.status().await else { return };
        let payers: Vec<String> = self.minter.purse().payers().iter().map(ToString::to_string).collect();
        let filter = AlertFilter { open: Some(true), after: None };
        for incident in self.store.alerts(filter, MOST_OPEN).await.unwrap_or_default() {
            let Some(subject) = &incident.subject else { continue };
            let is_former = match incident.kind {
                AlertKind::LowBalance => *subject != self.wallet.to_string() && !payers.contains(subject),
                AlertKind::EndpointDown => !names.contains(subject),
                AlertKind::PublisherDown | AlertKind::ContentMissing => {
                    !providers.iter().any(|provider| provider.provider == subject)
                }
                AlertKind::Discrepancies
                | AlertKind::MintingHeld
                | AlertKind::BatchFailing
                | AlertKind::BackupFailed
                | AlertKind::JobFailed
                | AlertKind::DiskLow
                | AlertKind::Anomaly => false,
            };
            if is_former {
                self.alerts.resolve(&incident.key).await;
            }
        }
    }

    async fn look_at_batches(&self) {
        match self.judge_batches().await {
            Ok(()) | Err(StoreError::Closed) => {}
            Err(error) => tracing::warn!(%error, "finished batches cannot be looked at; they are looked at again"),
        }
    }

    async fn judge_batches(&self) -> Result<(), StoreError> {
        loop {
            let batches = self.store.unjudged_batches(BATCHES).await?;
            for batch in &batches {
                self.judge_batch(batch).await;
                if self.rules.batch_finished {
                    self.alerts.batch_finished(batch).await?;
                }
                self.store.batch_judged(batch).await?;
            }
            if batches.len() < BATCHES {
                return Ok(());
            }
        }
    }

    async fn judge_batch(&self, batch: &BatchRecord) {
        let BatchRecord { public_id, venue_id, total, failed, .. } = batch;
        let Some(severity) = batch_severity(*total, *failed) else {
            return self.alerts.resolve(&alert_key(AlertKind::BatchFailing, Some(venue_id))).await;
        };
        let summary = format!(
            "{failed} of the {total} tickets of batch {public_id} of venue {venue_id} were not minted; \
             GET /admin/batches/{public_id} says why"
        );
        let alert = Alert::new(AlertKind::BatchFailing, severity, Some(venue_id), summary);
        let data = json!({ "batchId": public_id, "venueId": venue_id, "total": total, "failed": failed });
        self.alerts.raise(alert.with(data)).await;
    }
}

/// Since when something is as it is.
#[derive(Debug, Default)]
struct Lasting {
    since: Option<(bool, Instant)>,
}

impl Lasting {
    /// Takes what was seen now; returns it if it has been so for long enough.
    fn see(&mut self, is_so: bool, now: Instant, patience: Duration) -> Option<bool> {
        let (was_so, since) = *self.since.get_or_insert((is_so, now));
        if was_so != is_so {
            self.since = Some((is_so, now));
            return None;
        }
        (now.duration_since(since) >= patience).then_some(is_so)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_counts_only_once_it_has_lasted() {
        let patience = Duration::from_mins(1);
        let (mut held, mut now) = (Lasting::default(), Instant::now());
        let mut seen = Vec::new();
        for is_so in [true, false, true, true, true, false, false, false] {
            seen.push(held.see(is_so, now, patience));
            now += Duration::from_secs(30);
        }
        assert_eq!(seen, [None, None, None, None, Some(true), None, None, Some(false)]);
    }
}
