//! The table of settings: names, places in the file, defaults.

/// A setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Name in the environment; in the file it is written in lower case.
    pub name: &'static str,
    /// Its table in `boxoffice.toml`.
    pub group: &'static str,
    /// The default as it would be written; empty when there is none.
    pub default: &'static str,
    /// Never shown.
    pub secret: bool,
}

const fn setting(group: &'static str, name: &'static str, default: &'static str) -> Setting {
    Setting { name, group, default, secret: false }
}

/// Every setting of this version.
pub const SETTINGS: &[Setting] = &[
    setting("solana", "NETWORK", "embedded"),
    // Public endpoints are no secret, but paid ones carry keys in their paths.
    Setting { secret: true, ..setting("solana", "SOLANA_RPC_URLS", "") },
    setting("solana", "WALLET_PATH", ""),
    setting("solana", "FEE_PAYERS", "0"),
    setting("solana", "SIGNER", "file"),
    setting("solana", "SIGNER_PUBLIC_KEY", ""),
    setting("solana", "SIGNER_KEY", ""),
    setting("solana", "SIGNER_URL", ""),
    Setting { secret: true, ..setting("solana", "SIGNER_TOKEN", "") },
    setting("solana", "CONFIRMATION_COMMITMENT", "confirmed"),
    setting("server", "DATA_DIR", ""),
    setting("server", "HOST", "127.0.0.1"),
    setting("server", "PORT", "3018"),
    Setting { secret: true, ..setting("server", "ADMIN_API_KEY", "") },
    setting("server", "ALLOWED_IPS", ""),
    setting("server", "TRUSTED_PROXIES", ""),
    setting("server", "PUBLIC_STATUS", "false"),
    setting("server", "RATE_LIMIT_MAX", "10"),
    setting("server", "RATE_LIMIT_READ_MAX", "600"),
    setting("server", "RATE_LIMIT_WINDOW_MS", "60000"),
    setting("minting", "PACING", "adaptive"),
    setting("minting", "PACKING", "auto"),
    setting("minting", "MAX_BATCH_SIZE", "10"),
    setting("minting", "BATCH_DELAY_MS", "100"),
    setting("minting", "SELLER_FEE_BASIS_POINTS", "0"),
    setting("minting", "SYMBOL", "TKT"),
    setting("minting", "ALLOW_OFF_CURVE_OWNERS", "false"),
    setting("spending", "MIN_SOL_BALANCE", "0.1"),
    setting("spending", "TX_LIMIT_SOL", "off"),
    setting("spending", "HOURLY_LIMIT_SOL", "off"),
    setting("spending", "DAILY_LIMIT_SOL", "off"),
    // Empty: 75 on mainnet-beta, off elsewhere.
    setting("spending", "PRIORITY_FEE_PERCENTILE", ""),
    setting("spending", "PRIORITY_FEE_FLOOR", "0"),
    setting("spending", "PRIORITY_FEE_CAP", "100000"),
    setting("reconciliation", "AUTO_FIX_MAX_RATE", "0.05"),
    setting("reconciliation", "RECONCILIATION_KEEP_DAYS", "365"),
    setting("metadata", "IPFS_PROVIDER", "local"),
    setting("metadata", "IPFS_SECOND_PROVIDER", ""),
    setting("metadata", "MINT_UNPUBLISHED", "false"),
    // Such addresses may hold a user and a password, or a gateway's token.
    Setting { secret: true, ..setting("metadata", "KUBO_API_URL", "http://127.0.0.1:5001") },
    Setting { secret: true, ..setting("metadata", "KUBO_API_TOKEN", "") },
    Setting { secret: true, ..setting("metadata", "PINATA_JWT", "") },
    setting("metadata", "PINATA_API_URL", "https://api.pinata.cloud"),
    setting("metadata", "PINATA_UPLOAD_URL", "https://uploads.pinata.cloud"),
    Setting { secret: true, ..setting("metadata", "IPFS_GATEWAYS", "") },
    setting("metadata", "CONTENT_VERIFY_SAMPLE", "50"),
    setting("cache", "CACHE_MAX_MB", "64"),
    setting("cache", "REDIS_ENABLED", "false"),
    // Such addresses may hold a password.
    Setting { secret: true, ..setting("cache", "REDIS_URL", "redis://localhost:6379") },
    Setting { secret: true, ..setting("cache", "REDIS_PASSWORD", "") },
    setting("cache", "REDIS_KEY_PREFIX", "boxoffice"),
    // Addresses of receivers often carry keys in their paths.
    Setting { secret: true, ..setting("alerts", "ALERT_WEBHOOK_URL", "") },
    Setting { secret: true, ..setting("alerts", "ALERT_WEBHOOK_SECRET", "") },
    setting("alerts", "ALERT_WEBHOOK_ALLOW_HTTP", "false"),
    setting("alerts", "ALERT_BATCH_FINISHED", "false"),
    // An empty schedule turns a job off.
    setting("schedule", "TIMEZONE", "UTC"),
    setting("schedule", "QUIET_HOURS", ""),
    setting("schedule", "HOUSEKEEPING_SCHEDULE", "30 3 * * *"),
    setting("schedule", "BALANCE_CHECK_SCHEDULE", "*/15 * * * *"),
    setting("schedule", "RETRY_SCHEDULE", ""),
    setting("schedule", "RECONCILIATION_SCHEDULE", "0 2 * * *"),
    setting("schedule", "CACHE_WARM_SCHEDULE", ""),
    setting("schedule", "CONTENT_VERIFY_SCHEDULE", "45 4 * * *"),
    setting("backup", "BACKUP_SCHEDULE", ""),
    setting("backup", "BACKUP_DIR", ""),
    setting("backup", "BACKUP_KEEP", "7"),
    setting("backup", "BACKUP_RECIPIENTS", ""),
    setting("log", "LOG_LEVEL", "info"),
    setting("log", "LOG_FORMAT", ""),
];

/// Names that users of this kind of service know, and that have no effect in this version: they are told so, and the box
/// starts.
pub(super) const WITHOUT_EFFECT: &[&str] = &["SOLANA_WS_URL"];
