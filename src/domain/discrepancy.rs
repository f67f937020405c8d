//! How books and chain can differ, and what can be done about it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the comparison of a ticket came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// Books and chain agree.
    Confirmed,
    /// The books say that it is minted, and it provably does not exist.
    NotFound,
    /// It cannot be told now: it is under way, or the chain's answers do not suffice.
    Pending,
    /// Books and chain disagree.
    Error,
}

/// A kind of difference. New ones may be added; none is renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiscrepancyKind {
    /// The books say minted; the ticket provably does not exist.
    NotOnChain,
    /// The books say failed; the chain holds the ticket.
    MintedAllTheSame,
    /// The transaction in the books is not the one that minted the ticket.
    WrongSignature,
    /// The slot in the books is not that of the transaction.
    WrongSlot,
    /// The block was made at a time when the ticket was not under way.
    WrongTime,
    /// The address in the books is not the ticket's.
    WrongAddress,
    /// The name in the books is not the one on the chain.
    WrongName,
    /// The metadata URI in the books is not the one on the chain.
    WrongUri,
    /// The symbol on the chain is not the published one.
    WrongSymbol,
    /// Someone else may change the metadata.
    WrongAuthority,
    /// This wallet has not signed as the creator.
    WrongCreator,
    /// It is not one of a kind.
    WrongSupply,
    /// The mint account is gone, though its transaction worked.
    MintMissing,
    /// The mint's address holds something else.
    MintForeign,
    /// The metadata account is gone or unreadable.
    MetadataMissing,
    /// The published metadata is not in the content store.
    ContentMissing,
    /// The published metadata is not what its address says.
    ContentAltered,
    /// What was sold was changed in the books after it was accepted.
    TicketAltered,
}

/// What repair does about a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum Remedy {
    /// The chain holds the ticket: it is taken into the books as it is.
    Adopt,
    /// The books are corrected from the chain.
    Correct,
    /// It provably does not exist: it is queued to be minted.
    Queue,
    /// The metadata is published again.
    Publish,
    /// Nothing can be done by itself.
    Refuse {
        /// Why, and what a person can do.
        reason: String,
    },
}

/// A difference between books and chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Discrepancy {
    /// The ticket's id.
    pub ticket_id: String,
    /// The venue that sells.
    pub venue_id: String,
    /// The kind.
    pub kind: DiscrepancyKind,
    /// What the ticket came to.
    pub status: CheckStatus,
    /// What the books say.
    pub books: Option<String>,
    /// What the chain says.
    pub chain: Option<String>,
    /// What that means, for a person.
    pub explanation: String,
    /// What repair does about it.
    pub remedy: Remedy,
}
