//! The life of a mint: what its states mean and which may follow which.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// State of a ticket's mint. `pending` → `minting` → `minted` | `failed`; an attempt that provably died leads back from
/// `minting` to `pending`, and a retry from `failed` to `pending`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MintStatus {
    /// Accepted and durable; nothing is signed.
    Pending,
    /// A signed transaction is on disk and may be anywhere.
    Minting,
    /// The chain holds the ticket.
    Minted,
    /// The ticket was given up, with a code that says why.
    Failed,
}

impl MintStatus {
    /// All states, in the order of a mint's life.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Minting, Self::Minted, Self::Failed];

    /// The name in the database and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Minting => "minting",
            Self::Minted => "minted",
            Self::Failed => "failed",
        }
    }

    /// Reads the name in the database and the API.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// How far a signed transaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptState {
    /// On disk, not yet sent.
    Recorded,
    /// Handed to the network.
    Sent,
    /// Sent, and no answer can be trusted yet.
    Unknown,
    /// On the chain, and it worked.
    Landed,
    /// On the chain, and it failed: only the fee was paid.
    Rejected,
    /// Proven never to land: expired, unknown to the chain, and its mints do not exist.
    Dead,
}

impl AttemptState {
    /// The name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Sent => "sent",
            Self::Unknown => "unknown",
            Self::Landed => "landed",
            Self::Rejected => "rejected",
            Self::Dead => "dead",
        }
    }
}
