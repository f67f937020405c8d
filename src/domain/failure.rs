//! Why a ticket was not minted: a stable code for programs, a sentence for people, and whether trying again can help.

use serde::Serialize;
use utoipa::ToSchema;

macro_rules! failure_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, retryable: $retryable:literal;)*) => {
        /// A stable code. New ones may be added; none is renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ToSchema)]
        #[schema(rename_all = "snake_case")]
        pub enum FailureCode { $($(#[$doc])* $name),* }

        impl FailureCode {
            /// The code in the database and the API.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }

            /// Whether the same ticket, sent again unchanged, may succeed.
            #[must_use]
            pub fn retryable(self) -> bool {
                match self { $(Self::$name => $retryable),* }
            }

            /// Reads a code.
            #[must_use]
            pub fn parse(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

failure_codes! {
    /// The ticket breaks a rule; `faults` says which.
    InvalidTicket = "invalid_ticket", retryable: false;
    /// The batch names the same ticket twice; the first is taken.
    DuplicateInBatch = "duplicate_in_batch", retryable: false;
    /// The ticket id is known with other content.
    ContentConflict = "content_conflict", retryable: false;
    /// The ticket's address holds an NFT with other metadata.
    ChainConflict = "chain_conflict", retryable: false;
    /// The ticket's address holds an account that is no NFT of ours.
    AddressTaken = "address_taken", retryable: false;
    /// The chain refused the transaction for what is in it.
    RejectedByChain = "rejected_by_chain", retryable: false;
    /// The books were to be rebuilt from the chain, and the chain does not hold the ticket.
    NotOnChain = "not_on_chain", retryable: false;
    /// Every attempt expired without landing.
    NeverLanded = "never_landed", retryable: true;
    /// The batch may not cost more; another one, with a budget of its own, may mint it.
    BudgetUsedUp = "budget_used_up", retryable: true;
}

impl FailureCode {
    /// Those that a ticket can get after it was accepted.
    pub const OF_MINTING: [Self; 5] =
        [Self::ChainConflict, Self::AddressTaken, Self::RejectedByChain, Self::NeverLanded, Self::BudgetUsedUp];
}

impl Serialize for FailureCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A failure with its sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Stable code.
    pub code: FailureCode,
    /// What happened and what to do, for a person.
    pub message: String,
}

impl Failure {
    /// Puts code and sentence together.
    #[must_use]
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}
