//! Where the cache lives.

use reqwest::Url;

use super::{
    Secret,
    parse::{boolean, number},
    sources::Values,
};

/// The cache, and the Redis that boxes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// `CACHE_MAX_MB`, in bytes: what the cache in memory may take.
    pub max_bytes: u64,
    /// `REDIS_ENABLED`, with what is needed to reach it.
    pub redis: Option<RedisSettings>,
}

/// How to reach Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSettings {
    /// `REDIS_URL`; it may hold a password.
    pub url: Secret,
    /// `REDIS_PASSWORD`; wins over the one in the address.
    pub password: Option<Secret>,
    /// `REDIS_KEY_PREFIX`: begins every key.
    pub key_prefix: String,
}

impl CacheSettings {
    pub(super) fn read(values: &mut Values) -> Option<Self> {
        let megabytes = values.parse("CACHE_MAX_MB", |text| number::<u64>(text, 1, 1_048_576));
        let enabled = values.parse("REDIS_ENABLED", |text| match boolean(text)? {
            true if !cfg!(feature = "redis") => {
                Err("is true, but this build lacks the cargo feature `redis`; set it to \
                 false, or build with `cargo build --release --features redis`"
                    .into())
            }
            wanted => Ok(wanted),
        });
        // What is looked at only if it counts is not blamed otherwise.
        let is_enabled = enabled.unwrap_or_default();
        let url = values.parse("REDIS_URL", |text| {
            let url = text.parse::<Url>().ok();
            let known = url.is_some_and(|url| match url.scheme() {
                "redis" | "rediss" | "valkey" | "valkeys" => url.has_host(),
                "unix" | "redis+unix" => true,
                _ => false,
            });
            let fault = "must be an address such as redis://127.0.0.1:6379, or rediss://… for TLS";
            if known || !is_enabled { Ok(Secret::new(text)) } else { Err(fault.into()) }
        });
        let password = values.optional("REDIS_PASSWORD", |text| Ok(Secret::new(text)));
        let key_prefix = values.parse("REDIS_KEY_PREFIX", |text| {
            let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
            if plain && text.len() <= 64 {
                Ok(text.to_owned())
            } else {
                Err("must be at most 64 letters, digits, and -_.:".into())
            }
        });
        let redis = RedisSettings { url: url?, password, key_prefix: key_prefix? };
        Some(Self { max_bytes: megabytes?.saturating_mul(1 << 20), redis: enabled?.then_some(redis) })
    }
}
