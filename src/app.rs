//! The wiring: builds adapters and services once, serves them, and stops them in order.

mod life;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use prometheus::Registry;
use solana_pubkey::Pubkey;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    access::Access,
    alerts::{Alerts, Origin, Watch, WatchRules},
    anomalies::Anomalies,
    backup::Backups,
    balance::BalanceMonitor,
    cache::{Cache, Caching},
    chain::{
        Chain as _, ChainError, NextStep,
        rpc::{RpcChain, RpcSetupError},
        transaction::signatures,
        wallet::{Wallet, WalletError},
    },
    clock::{Clock as _, SharedClock, SystemClock},
    config::{Config, Network},
    domain::{alert::RetrySchedule, mint::MintStatus, ticket::TicketRules},
    estimate::Prices,
    fleet::{Fleet, FleetError},
    folder::{DataFolder, FolderError},
    http,
    images::Images,
    metadata::{
        PublishError, Publisher,
        local::{self, LocalContent},
        replicated::Replicated,
    },
    minting::{Minter, MintingSettings},
    publishing::Publishing,
    reconcile::Reconciler,
    schedule::{self, Scheduler, Services},
    store::{self, Identity, Store, StoreError, backup::BackupError},
    supervisor::Supervisor,
    trends::Trends,
    webhook::{Webhook, WebhookError},
};

/// Tries to reach the chain at start-up, and the pause between them.
const START_TRIES: u32 = 4;
const START_PAUSE: Duration = Duration::from_secs(1);
/// How long a stop waits for tasks; what is under way is on disk, so nothing is lost by ending them.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// What the wallet of an embedded chain begins with.
#[cfg(feature = "localnet")]
const EMBEDDED_FUNDS: crate::domain::lamports::Lamports = crate::domain::lamports::Lamports(10_000_000_000_000);

/// Why the appliance does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The key file.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The books.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Books that would be upgraded without a way back.
    #[error(
        "the books are of an earlier version, and the backup before their upgrade failed, so that nothing was changed: {0} \
         (BACKUP_DIR says where backups go)"
    )]
    NoBackup(#[source] BackupError),
    /// The content store.
    #[error(transparent)]
    Content(#[from] PublishError),
    /// The chain does not answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The RPC client cannot be set up.
    #[error(transparent)]
    Client(#[from] RpcSetupError),
    /// The client of the webhook cannot be set up.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// The Redis that boxes share.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// An instrument is registered twice: a bug.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// Strangers could come in.
    #[error(
        "{setting} lets others than this machine reach the box, but it has no key: {remedy}, or set HOST=127.0.0.1 \
         without TRUSTED_PROXIES"
    )]
    NoKey {
        /// The setting that opens it.
        setting: &'static str,
        /// How to give it a key.
        remedy: &'static str,
    },
    /// The endpoint serves another cluster than the setting says.
    #[error("NETWORK is {configured}, but SOLANA_RPC_URLS leads to {found}; correct one of them")]
    WrongCluster {
        /// `NETWORK`.
        configured: Network,
        /// The cluster by its genesis hash.
        found: String,
    },
    /// The embedded chain does not start.
    #[cfg(feature = "localnet")]
    #[error(transparent)]
    Local(#[from] crate::chain::local::LocalChainError),
    /// No temporary folder for the embedded chain's books.
    #[error("cannot make a temporary data folder: {0}")]
    Temporary(std::io::Error),
    /// The embedded chain is not in this build.
    #[error("NETWORK=embedded needs the cargo feature `localnet`, which this build lacks; choose another NETWORK")]
    NoEmbeddedChain,
    /// The process is ending.
    #[error("interrupted")]
    Interrupted,
}

/// The whole appliance.
#[derive(Debug)]
pub struct App {
    /// The settings it runs with.
    pub config: Config,
    /// The minting service.
    pub minter: Minter,
    /// The books.
    pub store: Store,
    /// The chain.
    pub chain: Arc<RpcChain>,
    /// Published content.
    pub content: LocalContent,
    /// What was found out before.
    pub cache: Caching,
    /// The Redis that boxes share; none for a box that is alone.
    pub fleet: Option<Fleet>,
    /// Where else it is published.
    pub publishing: Publishing,
    /// What tickets cost.
    pub prices: Arc<Prices>,
    /// Who is let in.
    pub access: Access,
    /// Pictures of events.
    pub images: Images,
    /// Compares books and chain.
    pub reconciler: Reconciler,
    /// The wallet's balance, watched.
    pub balance: BalanceMonitor,
    /// Who is told when something is wrong.
    pub alerts: Alerts,
    /// How things went.
    pub trends: Trends,
    /// What is unusual.
    pub anomalies: Anomalies,
    /// What the box does by itself.
    pub scheduler: Scheduler,
    /// Every instrument of the box.
    pub registry: Registry,
    /// The time.
    pub clock: SharedClock,
    /// The wallet's public key.
    pub authority: Pubkey,
    /// What the box does in the background; awaited by [`App::stop`].
    pub tasks: TaskTracker,
    shutdown: CancellationToken,
    _embedded: Embedded,
    _folder: DataFolder,
}

/// What lives and ends with an embedded chain; empty for all other networks.
#[derive(Debug, Default)]
pub struct Embedded {
    #[cfg(feature = "localnet")]
    _chain: Option<crate::chain::local::LocalChain>,
    /// Its books: lasting ones would outlive the chain that they speak of.
    temporary: Option<tempfile::TempDir>,
}

impl App {
    /// Builds everything, checks that wallet, chain and books belong together, and starts the engine.
    ///
    /// # Errors
    /// See [`StartError`]; each names the thing and the remedy.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        // Boxed: the wiring holds much across its waits, and whoever waits for it would hold that too.
        Box::pin(Self::wire(config)).await
    }

    #[expect(clippy::too_many_lines, reason = "the whole wiring, in the order in which things depend on each other")]
    async fn wire(config: Config) -> Result<Self, StartError> {
        let wallet = open_wallet(&config).await?.with_payers(config.wallet.fee_payers)?;
        if !wallet.is_ready().await {
            tracing::warn!(
                "the signer does not answer, or has another key than SIGNER_PUBLIC_KEY; tickets wait until it signs"
            );
        }
        let authority = wallet.address();
        let (chain, embedded) = connect(&config, wallet.payers().into_iter().chain([authority]).collect()).await?;
        let chain = Arc::new(chain);
        let files = [store::FILE_NAME, local::FILE_NAME];
        let folder =
            DataFolder::take(embedded.temporary.as_ref().map_or(config.data_dir.as_path(), |dir| dir.path()), &files)?;
        let backups = backups(&config, &folder);
        let store = open_books(&config, &folder).await?;
        let access = close(&config, &store).await?;
        let content = LocalContent::open(folder.path())?;
        let clock: SharedClock = Arc::new(SystemClock);
        let identity = identify(&config, &chain, authority).await?;
        let fleet = join_fleet(&config, &identity).await?;
        chain.bind(identity.genesis_hash.clone());
        store.bind(identity, clock.now_ms()).await?;
        store.close_audit().await?;

        let registry = instruments(&store, &chain)?;
        let prices = Prices::new(Arc::clone(&chain) as _)
            .with_priority_fees(config.priority_fees)
            .with_signatures(signatures(config.wallet.fee_payers));
        let prices = Arc::new(prices);
        let now = Arc::clone(&clock);
        let publish = config.publish.clone();
        let replicated = Replicated::open(content.clone(), publish, move || now.now_ms(), &registry).await?;
        let cache = match &fleet {
            Some(fleet) => Cache::in_redis(fleet.clone(), wallet.secret_for("cache")?),
            None => Cache::in_memory(config.cache.max_bytes),
        };
        let cache = Caching::new(cache, replicated.account().unwrap_or("local"), &registry)?;
        let publishing = Publishing::new(replicated.clone(), config.verify_sample);
        let publisher: Arc<dyn Publisher> = Arc::new(replicated);
        let minter = Minter::new(
            store.clone(),
            Arc::clone(&chain) as _,
            publisher,
            cache.clone(),
            wallet,
            Arc::clone(&prices),
            Arc::clone(&clock),
            minting_settings(&config),
            &registry,
        )?;
        let images = Images::new(store.clone(), Arc::new(content.clone()), Arc::clone(&clock));
        let reconciler = Reconciler::new(
            store.clone(),
            Arc::clone(&chain) as _,
            Arc::new(content.clone()),
            minter.clone(),
            authority,
            Arc::clone(&clock),
            config.reconcile,
            &registry,
        )?;
        reconciler.recall().await?;
        let keep_back = config.limits.keep_back;
        let balance = BalanceMonitor::new(
            minter.purse().clone(),
            store.clone(),
            Arc::clone(&prices),
            keep_back,
            Arc::clone(&clock),
        );
        let origin = Origin { network: config.network.to_string(), wallet: authority.to_string() };
        let webhook = config.alerts.receiver.clone().map(Webhook::new).transpose()?;
        let schedule = RetrySchedule::default();
        let alerts = Alerts::new(store.clone(), webhook, Arc::clone(&clock), schedule, origin, &registry)?;
        let anomalies = Anomalies::new(store.clone(), Arc::clone(&clock));
        let trends = Trends::new(
            store.clone(),
            Arc::clone(&chain) as _,
            Arc::clone(&clock),
            cache.clone(),
            publishing.clone(),
            minter.forecaster().clone(),
        );
        let watch = Watch {
            alerts: alerts.clone(),
            store: store.clone(),
            chain: Arc::clone(&chain),
            minter: minter.clone(),
            balance: balance.clone(),
            publishing: publishing.clone(),
            anomalies: anomalies.clone(),
            clock: Arc::clone(&clock),
            wallet: authority,
            folder: folder.path().to_owned(),
            rules: watch_rules(&config),
        };
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        minter.start(&tasks, &shutdown).await?;
        if let Some(fleet) = &fleet {
            tasks.spawn(fleet.clone().run(shutdown.clone()));
        }
        tasks.spawn(balance.clone().run(shutdown.clone()));
        tasks.spawn(publishing.clone().run(shutdown.clone()));
        tasks.spawn(alerts.clone().run(shutdown.clone()));
        tasks.spawn(watch.run(shutdown.clone()));
        tasks.spawn(trends.clone().run(shutdown.clone()));
        let services = Services {
            store: store.clone(),
            content: content.clone(),
            cache: cache.clone(),
            minter: minter.clone(),
            balance: balance.clone(),
            prices: Arc::clone(&prices),
            reconciler: reconciler.clone(),
            publishing: publishing.clone(),
            alerts: alerts.clone(),
            backups,
            clock: Arc::clone(&clock),
        };
        let jobs = schedule::table(&services, &config.schedules);
        let (running, ending) = (tasks.clone(), shutdown.clone());
        let scheduler =
            Scheduler::new(store.clone(), Arc::clone(&clock), jobs, fleet.clone(), running, ending, &registry)?;
        scheduler.start().await?;
        tracing::info!(network = %config.network, wallet = %authority, data = %folder.path().display(), "started");
        Ok(Self {
            config,
            minter,
            store,
            chain,
            content,
            cache,
            fleet,
            publishing,
            prices,
            access,
            images,
            reconciler,
            balance,
            alerts,
            trends,
            anomalies,
            scheduler,
            registry,
            clock,
            authority,
            tasks,
            shutdown,
            _embedded: embedded,
            _folder: folder,
        })
    }

    /// Serves the HTTP API until `stop` is cancelled; requests under way are finished first.
    ///
    /// # Errors
    /// When the instruments of the HTTP API are registered already: an app is served once.
    pub async fn serve(
        self: &Arc<Self>,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> Result<(), prometheus::Error> {
        http::serve(Arc::clone(self), listener, stop).await
    }

    /// Tells the supervisor when the box is ready and that it lives, until `stop` is cancelled. `listening` is where it is
    /// served.
    pub async fn report(self: Arc<Self>, supervisor: Supervisor, listening: SocketAddr, stop: CancellationToken) {
        life::run(self, supervisor, listening, stop).await;
    }

    /// Stops the engine: nothing new is begun, what is under way is settled or parked, and the books are closed.
    pub async fn stop(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_TIMEOUT, self.tasks.wait()).await.is_err() {
            tracing::warn!("some work did not end in time; it is on disk, and the next start goes on with it");
        }
        if let Ok(counts) = self.store.counts(None).await {
            let (under_way, waiting) = (counts.of(MintStatus::Minting), counts.of(MintStatus::Pending));
            tracing::info!(under_way, waiting, "stopped; the next start goes on with what is left");
        }
        self.store.close().await;
    }
}

/// Sees to it that strangers are not let in.
async fn close(config: &Config, store: &Store) -> Result<Access, StartError> {
    let key = config.admin_api_key.as_ref().map(|key| key.expose().as_bytes());
    let access = Access::new(store.clone(), key, config.admin_key_name, config.is_exposed());
    let has_key = access.has_key().await?;
    match config.opened_by() {
        Some(setting) if !has_key => Err(StartError::NoKey { setting, remedy: config.key_remedy() }),
        _ => Ok(access),
    }
}

fn instruments(store: &Store, chain: &RpcChain) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    store.register(&registry)?;
    chain.register(&registry)?;
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(registry)
}

/// Reaches for the Redis that boxes share, if the settings name one. Its absence is no reason not to start.
#[cfg(feature = "redis")]
async fn join_fleet(config: &Config, identity: &Identity) -> Result<Option<Fleet>, StartError> {
    use sha2::{Digest as _, Sha256};

    let Some(redis) = &config.cache.redis else { return Ok(None) };
    // Boxes of another wallet or chain never meet, whatever Redis they use.
    let digest = Sha256::digest(format!("{}\n{}", identity.genesis_hash, identity.authority));
    let digest = u64::from_be_bytes(digest.first_chunk().copied().unwrap_or_default());
    let namespace = format!("{}:{digest:016x}", redis.key_prefix);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let id = format!("{host}-{}", uuid::Uuid::now_v7().simple());
    let password = redis.password.as_ref().map(crate::config::Secret::expose);
    let fleet = Fleet::new(redis.url.expose(), password, namespace, id)?;
    if !fleet.probe().await {
        let why = fleet.fault().unwrap_or_default();
        tracing::warn!(%why, "Redis does not answer; the box goes on without it, and looks again every second");
    }
    Ok(Some(fleet))
}

#[cfg(not(feature = "redis"))]
#[expect(clippy::unused_async, reason = "stands in for the one that reaches for Redis")]
async fn join_fleet(_config: &Config, _identity: &Identity) -> Result<Option<Fleet>, StartError> {
    Ok(None)
}

fn minting_settings(config: &Config) -> MintingSettings {
    MintingSettings {
        symbol: config.symbol.clone(),
        seller_fee_basis_points: config.seller_fee_basis_points,
        ticket_rules: TicketRules { allow_off_curve_owners: config.allow_off_curve_owners },
        limits: config.limits,
        pacing: config.pacing,
        packing: config.packing,
        quiet_hours: config.schedules.quiet_hours.clone(),
    }
}

fn watch_rules(config: &Config) -> WatchRules {
    WatchRules {
        every: config.alerts.watch_every,
        patience: config.alerts.patience,
        keep_back: config.limits.keep_back,
        batch_finished: config.alerts.batch_finished,
    }
}

fn backups(config: &Config, folder: &DataFolder) -> Backups {
    let data = folder.path().to_owned();
    Backups {
        folder: config.backup.dir.clone().unwrap_or_else(|| data.join("backups")),
        data,
        keep: config.backup.keep,
        recipients: config.backup.recipients.clone(),
    }
}

/// Opens the books of a folder. Those that an earlier version wrote are backed up as they are, before this one changes their schema.
///
/// # Errors
/// When that backup or the books fail; nothing is changed then.
pub(crate) async fn open_books(config: &Config, folder: &DataFolder) -> Result<Store, StartError> {
    if store::is_outdated(folder.path())? {
        let backups = backups(config, folder);
        let writing = tokio::task::spawn_blocking(move || backups.before_upgrade(SystemClock.now_ms()));
        let written = writing.await.map_err(|_ended| StartError::Interrupted)?.map_err(StartError::NoBackup)?;
        if let Some(path) = written {
            tracing::info!(backup = %path.display(), "the books are of an earlier version: backed up before their upgrade");
        }
    }
    Ok(Store::open(folder.path())?)
}

/// The wallet of the settings, without fee payers.
///
/// # Errors
/// When its key file or its signer cannot be used.
pub async fn open_wallet(config: &Config) -> Result<Wallet, WalletError> {
    match (&config.wallet.signer, &config.wallet.key_file) {
        (Some(signer), secrets) => Wallet::remote(signer.clone(), secrets.as_deref()).await,
        (None, Some(path)) => Wallet::load(path),
        // Only the embedded chain goes without a key file: the settings refuse it for every other network.
        (None, None) => Ok(Wallet::ephemeral()),
    }
}

/// Connects to the chain of the settings; the embedded one is started first, and all of `fund` begin with money there.
///
/// # Errors
/// When the embedded chain does not start, or the HTTP client cannot be set up.
pub async fn connect(config: &Config, fund: Vec<Pubkey>) -> Result<(RpcChain, Embedded), StartError> {
    if config.network == Network::Embedded {
        return start_embedded(config, fund).await;
    }
    Ok((RpcChain::new(config.rpc_urls.clone(), config.commitment)?, Embedded::default()))
}

#[cfg(feature = "localnet")]
async fn start_embedded(config: &Config, fund: Vec<Pubkey>) -> Result<(RpcChain, Embedded), StartError> {
    use crate::chain::local::{LocalChain, LocalChainOptions};

    let temporary = tempfile::Builder::new().prefix("boxoffice-").tempdir().map_err(StartError::Temporary)?;
    let options = LocalChainOptions {
        slot_ms: u64::try_from(config.pacing.slot.as_millis()).unwrap_or(u64::MAX),
        fund: fund.into_iter().map(|address| (address, EMBEDDED_FUNDS)).collect(),
        ..LocalChainOptions::default()
    };
    let start = tokio::task::spawn_blocking(move || LocalChain::start(&options));
    let local = start.await.map_err(|_panicked| StartError::Interrupted)??;
    let chain = RpcChain::new(vec![local.rpc_url().clone()], config.commitment)?;
    Ok((chain, Embedded { _chain: Some(local), temporary: Some(temporary) }))
}

#[cfg(not(feature = "localnet"))]
#[expect(clippy::unused_async, reason = "stands in for the one that starts a chain")]
async fn start_embedded(_config: &Config, _fund: Vec<Pubkey>) -> Result<(RpcChain, Embedded), StartError> {
    Err(StartError::NoEmbeddedChain)
}

/// Asks the chain who it is, and refuses one that is not the network that was configured.
///
/// # Errors
/// When it does not answer, or is another one.
pub async fn identify(config: &Config, chain: &RpcChain, authority: Pubkey) -> Result<Identity, StartError> {
    let mut tries = 0_u32;
    let hash = loop {
        tries = tries.saturating_add(1);
        match chain.genesis_hash().await {
            Ok(hash) => break hash.to_string(),
            Err(error) if tries < START_TRIES && error.next_step() == NextStep::Retry => {
                tracing::warn!(%error, "the chain does not answer yet");
                tokio::time::sleep(START_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    };
    let found = Network::of_genesis(&hash);
    let expected = config.network.genesis_hash();
    if found.is_some_and(|found| found != config.network) || expected.is_some_and(|expected| expected != hash) {
        let found = found.map_or_else(|| format!("a chain with genesis hash {hash}"), |found| found.to_string());
        return Err(StartError::WrongCluster { configured: config.network, found });
    }
    Ok(Identity { genesis_hash: hash, authority: authority.to_string(), network: config.network.to_string() })
}
