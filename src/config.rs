//! Settings: the only reader of the environment and of configuration files.
//!
//! Defaults < `boxoffice.toml` < `.env` < credentials < environment < flags. Every fault is found and told at once, with the place it came
//! from. Secrets print as `[redacted]`.

mod alerts;
mod backup;
mod cache;
mod credentials;
mod parse;
mod process;
mod publishing;
mod settings;
mod sources;
mod spending;
mod wallet;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use jiff::tz::TimeZone;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use solana_commitment_config::CommitmentConfig;
use thiserror::Error;
use utoipa::ToSchema;

pub use alerts::AlertSettings;
pub use backup::BackupSettings;
pub use cache::{CacheSettings, RedisSettings};
pub use process::Supervision;
pub use settings::{SETTINGS, Setting};
pub use sources::{Sources, describe};
pub use wallet::WalletSettings;

use crate::{
    access,
    domain::{cron::Cron, quiet_hours::QuietHours, spending::SpendingLimits},
    estimate::{Pacing, PriorityFeeSettings},
    metadata::replicated::PublishSettings,
    reconcile::ReconcileSettings,
};
use parse::{boolean, count_or_off, log_level, networks, number, one_of, path, share, symbol, urls};
use sources::Values;
use spending::{priority_fees, spending_limits};

/// Milliseconds between blocks: mainnet's since 2026, and what other clusters and the embedded chain use.
const MAINNET_SLOT_MS: u64 = 200;
const SLOT_MS: u64 = 400;
/// An `ADMIN_API_KEY` below this many bytes is worth a warning.
const SHORT_KEY: usize = 16;

/// The cluster that the box mints on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Network {
    /// A chain inside this process, gone with it.
    Embedded,
    /// A chain on this machine, such as `boxoffice localnet`.
    Localnet,
    /// Solana's devnet.
    Devnet,
    /// Solana's testnet.
    Testnet,
    /// Solana's mainnet: real money.
    MainnetBeta,
}

impl Network {
    const ALL: [Self; 5] = [Self::Embedded, Self::Localnet, Self::Devnet, Self::Testnet, Self::MainnetBeta];

    /// The name in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Localnet => "localnet",
            Self::Devnet => "devnet",
            Self::Testnet => "testnet",
            Self::MainnetBeta => "mainnet-beta",
        }
    }

    fn default_rpc(self) -> &'static str {
        match self {
            Self::Embedded => "",
            Self::Localnet => "http://127.0.0.1:8899",
            Self::Devnet => "https://api.devnet.solana.com",
            Self::Testnet => "https://api.testnet.solana.com",
            Self::MainnetBeta => "https://api.mainnet-beta.solana.com",
        }
    }

    /// The genesis hash that a public cluster is known by (Agave's `ClusterType`).
    #[must_use]
    pub fn genesis_hash(self) -> Option<&'static str> {
        match self {
            Self::Embedded | Self::Localnet => None,
            Self::Devnet => Some("EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG"),
            Self::Testnet => Some("4uhcVJyU9pJkvQyS88uRDiswHXSCkY3zQawwpjk2NsNY"),
            Self::MainnetBeta => Some("5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"),
        }
    }

    /// The public cluster with a genesis hash.
    #[must_use]
    pub fn of_genesis(hash: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|network| network.genesis_hash() == Some(hash))
    }

    /// Pages of the Solana Foundation's explorer for transactions and accounts; none for a chain that it cannot see.
    #[must_use]
    pub fn explorer(self) -> Option<Explorer> {
        let cluster = match self {
            Self::Embedded | Self::Localnet => return None,
            Self::Devnet => "?cluster=devnet",
            Self::Testnet => "?cluster=testnet",
            Self::MainnetBeta => "",
        };
        let page = |kind: &str| format!("https://explorer.solana.com/{kind}{cluster}");
        Some(Explorer { transaction: page("tx/{signature}"), address: page("address/{address}") })
    }

    fn slot(self) -> Duration {
        Duration::from_millis(if self == Self::MainnetBeta { MAINNET_SLOT_MS } else { SLOT_MS })
    }
}

/// Addresses of an explorer's pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Explorer {
    /// Of a transaction, with `{signature}` in place of its signature.
    #[schema(example = "https://explorer.solana.com/tx/{signature}?cluster=devnet")]
    pub transaction: String,
    /// Of an account, with `{address}` in place of its address.
    #[schema(example = "https://explorer.solana.com/address/{address}?cluster=devnet")]
    pub address: String,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that must never be seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself; for comparing and signing only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For programs.
    Json,
}

/// Requests that a client may make in a window of time; none for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests that may change something.
    pub writes: Option<NonZeroU32>,
    /// All others.
    pub reads: Option<NonZeroU32>,
    /// The window.
    pub window: Duration,
}

/// When each job is due; none for one that is off.
#[derive(Clone, Debug)]
pub struct Schedules {
    /// `TIMEZONE`: where the clock hangs that they speak of.
    pub zone_name: String,
    /// `QUIET_HOURS`: when what can wait is minted.
    pub quiet_hours: Option<QuietHours>,
    /// `HOUSEKEEPING_SCHEDULE`.
    pub housekeeping: Option<Cron>,
    /// `BACKUP_SCHEDULE`.
    pub backup: Option<Cron>,
    /// `BALANCE_CHECK_SCHEDULE`.
    pub balance_check: Option<Cron>,
    /// `RETRY_SCHEDULE`.
    pub retry: Option<Cron>,
    /// `RECONCILIATION_SCHEDULE`.
    pub reconcile: Option<Cron>,
    /// `CACHE_WARM_SCHEDULE`.
    pub cache_warm: Option<Cron>,
    /// `CONTENT_VERIFY_SCHEDULE`; off without a provider.
    pub verify_content: Option<Cron>,
}

/// Every setting, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `NETWORK`.
    pub network: Network,
    /// `SOLANA_RPC_URLS`; empty for the embedded chain.
    pub rpc_urls: Vec<Url>,
    /// `SIGNER` and the settings that begin so, `WALLET_PATH`, `FEE_PAYERS`.
    pub wallet: WalletSettings,
    /// `DATA_DIR`.
    pub data_dir: PathBuf,
    /// `HOST` and `PORT`.
    pub listen: SocketAddr,
    /// `ADMIN_API_KEY`.
    pub admin_api_key: Option<Secret>,
    /// How that key is named in the audit trail.
    pub admin_key_name: &'static str,
    /// `ALLOWED_IPS`: who may use the admin API; everyone when empty.
    pub allowed_ips: Vec<IpNet>,
    /// `TRUSTED_PROXIES`: whose word counts on where a request comes from.
    pub trusted_proxies: Vec<IpNet>,
    /// `PUBLIC_STATUS`: whether a few numbers are shown without a key.
    pub public_status: bool,
    /// `RATE_LIMIT_MAX`, `RATE_LIMIT_READ_MAX`, `RATE_LIMIT_WINDOW_MS`.
    pub rate_limits: RateLimits,
    /// `PACKING`: whether several tickets ride in one transaction where the network takes that.
    pub packing: bool,
    /// `PACING`, `MAX_BATCH_SIZE`, `BATCH_DELAY_MS`, and the network's slot time.
    pub pacing: Pacing,
    /// `CONFIRMATION_COMMITMENT`.
    pub commitment: CommitmentConfig,
    /// `MIN_SOL_BALANCE`, `TX_LIMIT_SOL`, `HOURLY_LIMIT_SOL`, `DAILY_LIMIT_SOL`.
    pub limits: SpendingLimits,
    /// `PRIORITY_FEE_PERCENTILE`, `PRIORITY_FEE_FLOOR`, `PRIORITY_FEE_CAP`.
    pub priority_fees: PriorityFeeSettings,
    /// `SELLER_FEE_BASIS_POINTS`.
    pub seller_fee_basis_points: u16,
    /// `SYMBOL`.
    pub symbol: String,
    /// `ALLOW_OFF_CURVE_OWNERS`.
    pub allow_off_curve_owners: bool,
    /// `RECONCILIATION_KEEP_DAYS`, `AUTO_FIX_MAX_RATE`.
    pub reconcile: ReconcileSettings,
    /// `CACHE_MAX_MB`, `REDIS_ENABLED`, `REDIS_URL`, `REDIS_PASSWORD`, `REDIS_KEY_PREFIX`.
    pub cache: CacheSettings,
    /// `IPFS_PROVIDER`, `IPFS_SECOND_PROVIDER`, `MINT_UNPUBLISHED`, `IPFS_GATEWAYS`, and the providers' own settings.
    pub publish: PublishSettings,
    /// `CONTENT_VERIFY_SAMPLE`: published files that are looked at again each time.
    pub verify_sample: usize,
    /// `ALERT_WEBHOOK_URL`, `ALERT_WEBHOOK_SECRET`, `ALERT_WEBHOOK_ALLOW_HTTP`, `ALERT_BATCH_FINISHED`.
    pub alerts: AlertSettings,
    /// The jobs, in the time zone `TIMEZONE`.
    pub schedules: Schedules,
    /// Where backups go, how many are kept, and who can read them.
    pub backup: BackupSettings,
    /// `LOG_LEVEL`.
    pub log_level: String,
    /// `LOG_FORMAT`; by the terminal when not set.
    pub log_format: Option<LogFormat>,
    /// Things to tell the operator that do not keep the box from starting.
    pub warnings: Vec<String>,
}

/// One wrong setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// The setting's name.
    pub name: String,
    /// Where its value came from.
    pub source: String,
    /// What is wrong with it, without a subject.
    pub detail: String,
}

/// Everything that is wrong with the settings.
#[derive(Clone, Debug, Error)]
pub struct ConfigErrors(pub Vec<ConfigFault>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings have {} fault{}:", self.0.len(), if self.0.len() == 1 { "" } else { "s" })?;
        for fault in &self.0 {
            write!(f, "\n  {} {} ({})", fault.name, fault.detail, fault.source)?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads and checks all settings.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        let mut values = Values::read(sources);
        let config = Self::check(&mut values);
        match config {
            Some(config) if values.faults.is_empty() => Ok(config),
            _ => Err(ConfigErrors(values.faults)),
        }
    }

    /// For a box that lives as long as one command: nobody needs to be kept from it, and its jobs are those of the server.
    #[must_use]
    pub fn for_one_command(mut self) -> Self {
        self.rate_limits = RateLimits { reads: None, writes: None, ..self.rate_limits };
        self.admin_key_name = access::COMMAND_LINE;
        self.allowed_ips.clear();
        self.trusted_proxies.clear();
        self.schedules = Schedules {
            zone_name: self.schedules.zone_name,
            quiet_hours: self.schedules.quiet_hours,
            housekeeping: None,
            backup: None,
            balance_check: None,
            retry: None,
            reconcile: None,
            cache_warm: None,
            verify_content: None,
        };
        self
    }

    /// How to give the box a key. An embedded chain's books end with it, and so would the keys in them.
    #[must_use]
    pub fn key_remedy(&self) -> &'static str {
        match self.network {
            Network::Embedded => "set ADMIN_API_KEY",
            Network::Localnet | Network::Devnet | Network::Testnet | Network::MainnetBeta => {
                "make a key with `boxoffice key create NAME --role operate`, or set ADMIN_API_KEY"
            }
        }
    }

    /// The setting by which strangers can reach the box: over the network, or through a proxy on this machine.
    #[must_use]
    pub fn opened_by(&self) -> Option<&'static str> {
        match (self.listen.ip().is_loopback(), self.trusted_proxies.is_empty()) {
            (false, _) => Some("HOST"),
            (true, false) => Some("TRUSTED_PROXIES"),
            (true, true) => None,
        }
    }

    /// Whether strangers can reach the box: over the network, or through a proxy on this machine.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.opened_by().is_some()
    }

    /// Reads every setting, so that all faults are found; the result counts only if there are none.
    fn check(values: &mut Values) -> Option<Self> {
        let network = values.parse("NETWORK", |text| {
            let names = Network::ALL.map(Network::as_str).join(", ");
            Network::ALL.into_iter().find(|n| n.as_str() == text).ok_or_else(|| format!("must be one of {names}"))
        });
        let network_or_default = network.unwrap_or(Network::Embedded);
        let rpc_urls = values.optional("SOLANA_RPC_URLS", urls);
        let rpc_urls = rpc_urls.or_else(|| urls(network_or_default.default_rpc()).ok()).unwrap_or_default();
        let wallet = WalletSettings::read(values, network_or_default);
        let data_dir = values.optional("DATA_DIR", path).or_else(default_data_dir);
        if data_dir.is_none() {
            values.fault("DATA_DIR", "is missing, and this user has no home folder to default to".into());
        }
        let host = values.parse("HOST", |text| {
            text.parse::<IpAddr>().map_err(|_invalid| "is not an IP address such as 127.0.0.1 or 0.0.0.0".into())
        });
        let port = values.parse("PORT", |text| number::<u16>(text, 0, u16::MAX));
        let admin_api_key = admin_api_key(values, network_or_default);
        let allowed_ips = values.optional("ALLOWED_IPS", networks).unwrap_or_default();
        let trusted_proxies = values.optional("TRUSTED_PROXIES", networks).unwrap_or_default();
        let public_status = values.parse("PUBLIC_STATUS", boolean);
        let writes = values.parse("RATE_LIMIT_MAX", count_or_off);
        let reads = values.parse("RATE_LIMIT_READ_MAX", count_or_off);
        let window = values.parse("RATE_LIMIT_WINDOW_MS", |text| number::<u64>(text, 1_000, 86_400_000));
        let adaptive = values.parse("PACING", |text| one_of(text, "adaptive", "fixed"));
        let packing = values.parse("PACKING", |text| one_of(text, "auto", "off"));
        let wave_size = values.parse("MAX_BATCH_SIZE", |text| number::<usize>(text, 1, 1_000));
        let wave_gap = values.parse("BATCH_DELAY_MS", |text| number::<u64>(text, 0, 60_000));
        let commitment = values.parse("CONFIRMATION_COMMITMENT", |text| match text {
            "confirmed" => Ok(CommitmentConfig::confirmed()),
            "finalized" => Ok(CommitmentConfig::finalized()),
            _ => Err("must be confirmed or finalized (processed can still be undone)".into()),
        });
        let limits = spending_limits(values);
        let priority_fees = priority_fees(values, network_or_default);
        let seller_fee_basis_points = values.parse("SELLER_FEE_BASIS_POINTS", |text| number::<u16>(text, 0, 10_000));
        let symbol = values.parse("SYMBOL", symbol);
        let allow_off_curve_owners = values.parse("ALLOW_OFF_CURVE_OWNERS", boolean);
        let keep_reports_days = values.parse("RECONCILIATION_KEEP_DAYS", |text| number::<u32>(text, 1, 36_500));
        let auto_fix_max_rate = values.parse("AUTO_FIX_MAX_RATE", share);
        let cache = CacheSettings::read(values);
        let publish = publishing::read(values);
        let verify_sample = values.parse("CONTENT_VERIFY_SAMPLE", |text| number::<usize>(text, 1, 10_000));
        let alerts = AlertSettings::read(values);
        let schedules = schedules(values, publish.as_ref().is_some_and(|publish| publish.first.is_some()));
        let backup = BackupSettings::read(values);
        let log_level = values.parse("LOG_LEVEL", log_level);
        let log_format = values.optional("LOG_FORMAT", |text| match text {
            "pretty" => Ok(LogFormat::Pretty),
            "json" => Ok(LogFormat::Json),
            _ => Err("must be pretty or json".into()),
        });
        Some(Self {
            network: network?,
            rpc_urls,
            wallet: wallet?,
            data_dir: data_dir?,
            listen: SocketAddr::new(host?, port?),
            admin_api_key,
            admin_key_name: access::SETTING,
            allowed_ips,
            trusted_proxies,
            public_status: public_status?,
            rate_limits: RateLimits { writes: writes?, reads: reads?, window: Duration::from_millis(window?) },
            packing: packing?,
            pacing: Pacing {
                wave_size: wave_size?,
                wave_gap: Duration::from_millis(wave_gap?),
                slot: network?.slot(),
                adaptive: adaptive?,
            },
            commitment: commitment?,
            limits,
            priority_fees: priority_fees?,
            seller_fee_basis_points: seller_fee_basis_points?,
            symbol: symbol?,
            allow_off_curve_owners: allow_off_curve_owners?,
            reconcile: ReconcileSettings {
                keep_reports_days: keep_reports_days?,
                auto_fix_max_rate: auto_fix_max_rate?,
            },
            cache: cache?,
            publish: publish?,
            verify_sample: verify_sample?,
            alerts: alerts?,
            schedules: schedules?,
            backup: backup?,
            log_level: log_level?,
            log_format,
            warnings: std::mem::take(&mut values.warnings),
        })
    }
}

fn admin_api_key(values: &mut Values, network: Network) -> Option<Secret> {
    let key = values.optional("ADMIN_API_KEY", |text| {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if visible { Ok(Secret(text.to_owned())) } else { Err("must be plain ASCII, to fit into a header".into()) }
    });
    if key.as_ref().is_some_and(|key| key.expose().len() < SHORT_KEY) {
        let advice = match network {
            Network::Embedded => "take a longer one",
            Network::Localnet | Network::Devnet | Network::Testnet | Network::MainnetBeta => {
                "make one with `boxoffice key create`"
            }
        };
        values.warnings.push(format!("ADMIN_API_KEY is short enough to be guessed; {advice}"));
    }
    key
}

fn schedules(values: &mut Values, has_provider: bool) -> Option<Schedules> {
    let zone = values.parse("TIMEZONE", |text| {
        TimeZone::get(text).map_err(|_unknown| "is no time zone such as UTC, Europe/Berlin or America/New_York".into())
    });
    let zone_or_default = zone.clone().unwrap_or(TimeZone::UTC);
    let parse = {
        let zone = zone_or_default.clone();
        move |text: &str| Cron::parse(text, zone.clone()).map_err(|error| error.to_string())
    };
    let quiet_hours = values.optional("QUIET_HOURS", |text| {
        QuietHours::parse(text, zone_or_default.clone()).map_err(|error| error.to_string())
    });
    let mut schedule = |name| values.optional(name, &parse);
    let schedules = Schedules {
        zone_name: zone_or_default.iana_name().unwrap_or("UTC").to_owned(),
        quiet_hours,
        housekeeping: schedule("HOUSEKEEPING_SCHEDULE"),
        backup: schedule("BACKUP_SCHEDULE"),
        balance_check: schedule("BALANCE_CHECK_SCHEDULE"),
        retry: schedule("RETRY_SCHEDULE"),
        reconcile: schedule("RECONCILIATION_SCHEDULE"),
        cache_warm: schedule("CACHE_WARM_SCHEDULE"),
        verify_content: schedule("CONTENT_VERIFY_SCHEDULE").filter(|_| has_provider),
    };
    zone.map(|_zone| schedules)
}

fn default_data_dir() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "boxoffice").map(|dirs| dirs.data_dir().to_owned())
}

/// The configuration file that is read when none is named, if it exists.
#[must_use]
pub fn default_file() -> &'static Path {
    Path::new("boxoffice.toml")
}
