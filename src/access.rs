//! Who is let in: what needs a key, and whose a key is. Knows nothing of requests.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use subtle::ConstantTimeEq as _;

use crate::{
    domain::access::{Actor, Role, key_digest},
    store::{Store, StoreError},
};

/// Name of the key that is a setting, where keys are named.
pub const SETTING: &str = "ADMIN_API_KEY";
/// Name of those who need no key: no one but this machine can reach the box, and it has none.
pub const LOCAL: &str = "local";
/// Name of those who use the command line beside the books.
pub const COMMAND_LINE: &str = "command line";

/// The keys of the box. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Access {
    store: Store,
    /// SHA-256 of the key in the settings.
    setting: Option<[u8; 32]>,
    /// How that key is named.
    setting_name: &'static str,
    /// Others than this machine can reach the box.
    exposed: bool,
    /// Once a key was made, the box stays closed.
    closed: Arc<AtomicBool>,
}

impl Access {
    /// Keys from the books, and the one from the settings.
    #[must_use]
    pub fn new(store: Store, setting: Option<&[u8]>, setting_name: &'static str, exposed: bool) -> Self {
        Self { store, setting: setting.map(key_digest), setting_name, exposed, closed: Arc::default() }
    }

    /// Whether there is, or ever was, a key.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn has_key(&self) -> Result<bool, StoreError> {
        if self.setting.is_some() || self.closed.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let has_keys = self.store.has_keys().await?;
        self.closed.store(has_keys, Ordering::Relaxed);
        Ok(has_keys)
    }

    /// Whether nobody is let in without a key.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn needs_key(&self) -> Result<bool, StoreError> {
        Ok(self.exposed || self.has_key().await?)
    }

    /// Those who are let in without a key, where that is allowed.
    #[must_use]
    pub fn local(&self) -> Actor {
        Actor { name: LOCAL.into(), role: Role::Operate }
    }

    /// Whose a key is; nobody's if it is wrong or revoked. Digests are compared, which hides the length of the keys as well
    /// as their letters.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn actor(&self, key: &[u8]) -> Result<Option<Actor>, StoreError> {
        let digest = key_digest(key);
        if self.setting.is_some_and(|setting| setting.ct_eq(&digest).into()) {
            return Ok(Some(Actor { name: self.setting_name.into(), role: Role::Operate }));
        }
        self.store.actor_of(digest).await
    }

    /// Whether someone who was let in would be let in still: their key may have been revoked since.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub async fn is_still_in(&self, actor: &Actor) -> Result<bool, StoreError> {
        match actor.name.as_str() {
            SETTING => Ok(true),
            LOCAL => Ok(!self.needs_key().await?),
            _ => self.store.is_key_in_force(actor.name.clone()).await,
        }
    }
}

/// Whether a key may have this name: those that the audit trail uses for others are taken.
#[must_use]
pub fn is_free_name(name: &str) -> bool {
    ![SETTING, LOCAL, COMMAND_LINE].iter().any(|taken| name.eq_ignore_ascii_case(taken))
}
