//! Who may do what: keys, and the roles they carry.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look at everything, change nothing: for screens and dashboards.
    Read,
    /// Everything: mint, retry, repair.
    Operate,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 2] = [Self::Read, Self::Operate];

    /// The name in the database, the API and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }

    /// Reads the name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// Someone whose key was right.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Actor {
    /// Name of the key.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// What is kept of a key. Keys that the box makes are 256 random bits, so a plain hash gives nothing away.
#[must_use]
pub fn key_digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}
