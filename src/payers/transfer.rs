//! Money between a wallet and its fee payers, by hand: up to a level, and back.
//!
//! A transfer is written ahead of its first byte, beside the books, and the next one is signed only when it is known what became
//! of it: settled, or provably dead. A command that is cut off and run again first finishes what the earlier run left, and then
//! looks at the balances anew. These are transfers between accounts of one owner: no spending limit counts them, and the books
//! do not know them; what is gone is the fee.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use solana_instruction::Instruction;
use solana_message::{Message, VersionedMessage};
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_system_interface::instruction::transfer;
use solana_transaction_error::TransactionError;
use thiserror::Error;
use tokio::time::Instant;

use super::Holdings;
use crate::{
    chain::{
        Chain, ChainError,
        instructions::signature_fee,
        wallet::{SignError, Wallet},
    },
    domain::lamports::Lamports,
    folder::{FolderError, Outbox},
};

/// Transfers that fit one transaction with one signature: 20 need 1,146 of 1,232 bytes.
const TRANSFERS: usize = 20;
/// Senders that fit one transaction: each adds its signature, and 10 need all of the 1,232 bytes.
const SENDERS: usize = 8;
/// The same bytes are sent again after this time without news.
const RESEND: Duration = Duration::from_secs(2);
/// So long a chain may be silent before the command ends.
const SILENCE: Duration = Duration::from_secs(30);
/// Times that a transaction is signed anew after it provably died.
const TRIES: u32 = 3;
/// Blocks above the last one that could hold a transfer until it counts as dead. With so many on top of it, no fork takes that
/// block back: a ticket cannot be minted twice, but money can be moved twice.
const ROOTED: u64 = 32;

/// Why money was not moved, or not all of it.
#[derive(Debug, Error)]
pub enum TransferError {
    /// The chain does not answer.
    #[error("{0}; what was signed is written down, run the command again to go on with it")]
    Chain(#[from] ChainError),
    /// The place where transfers are written ahead.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The wallet cannot sign.
    #[error("a transfer cannot be signed: {0}")]
    Sign(#[from] SignError),
    /// A level at which nothing could be paid.
    #[error("{each} is too little to pay for a ticket, which takes {least} in a fee payer; give each at least that")]
    TooLow {
        /// The level asked for.
        each: Lamports,
        /// One ticket, and what an account must be left with.
        least: Lamports,
    },
    /// The wallet holds too little.
    #[error(
        "the wallet {wallet} has {balance}, but {needed} are needed to bring the fee payers to that level (fees, and {reserve} \
         that must stay in it, included): send it {missing} more, or choose a lower level"
    )]
    NotEnough {
        /// Its address.
        wallet: Pubkey,
        /// What it holds.
        balance: Lamports,
        /// What it must hold.
        needed: Lamports,
        /// What an account must be left with.
        reserve: Lamports,
        /// The difference.
        missing: Lamports,
    },
    /// The chain executed it and refused.
    #[error(
        "the chain refused the transfer {signature}: {reason}; nothing was moved by it but its fee, run the command again"
    )]
    Refused {
        /// Its name on the chain.
        signature: Signature,
        /// The chain's reason.
        reason: TransactionError,
    },
    /// Balances that may be old say nothing.
    #[error(
        "the RPC endpoints stay behind what they have said already, and old balances decide nothing; try again later"
    )]
    Behind,
    /// It died again and again.
    #[error("the network never took the transfer, {TRIES} times; nothing was moved by it, try again later")]
    NeverLanded,
    /// What was written ahead makes no sense.
    #[error(
        "{path} is damaged: it speaks of a transfer that may be under way; look at the wallet's history, and then remove it"
    )]
    Damaged {
        /// The file.
        path: std::path::PathBuf,
    },
}

/// A transfer that is on the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// Its name on the chain, base58.
    pub signature: String,
    /// What went to a fee payer, or came from it.
    pub parts: Vec<Part>,
    /// What the network took.
    pub fee_lamports: Lamports,
    /// An earlier run of the command had begun it.
    pub of_earlier_run: bool,
}

/// A fee payer's part of a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its address, base58.
    pub payer: String,
    /// What was moved.
    pub lamports: Lamports,
}

/// A transfer as it is written ahead.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    signature: String,
    /// Base64.
    transaction: String,
    last_valid_block_height: u64,
    parts: Vec<Part>,
    fee_lamports: Lamports,
}

/// What became of a transfer.
enum Fate {
    Settled(u64),
    Refused(TransactionError),
    Dead,
}

/// Moves money between a wallet and its fee payers.
pub struct Transfers {
    chain: Arc<dyn Chain>,
    /// With all payers that may hold something.
    wallet: Wallet,
    outbox: Outbox,
    slot: Duration,
    /// The chain's answers must not be older.
    seen_slot: u64,
    /// What is on the chain by now.
    moved: Vec<Moved>,
}

impl Transfers {
    /// Ready to move money; nothing is done yet. `slot` is the time between two blocks.
    #[must_use]
    pub fn new(chain: Arc<dyn Chain>, wallet: Wallet, outbox: Outbox, slot: Duration) -> Self {
        Self { chain, wallet, outbox, slot, seen_slot: 0, moved: Vec::new() }
    }

    /// What was moved by now, also when the rest failed.
    #[must_use]
    pub fn moved(&self) -> &[Moved] {
        &self.moved
    }

    /// Brings the first `count` payers up to a level. A ticket costs `price`.
    ///
    /// # Errors
    /// See [`TransferError`]; [`Transfers::moved`] says what was moved all the same.
    pub async fn fund(&mut self, count: usize, each: Lamports, price: Lamports) -> Result<(), TransferError> {
        self.finish_earlier().await?;
        let holdings = self.look().await?;
        let least = holdings.reserve + price;
        if each < least {
            return Err(TransferError::TooLow { each, least });
        }
        // Decided once: a box that spends meanwhile must not draw more after it.
        let wanting = holdings.payers.iter().take(count).filter(|(_, holds)| *holds < each);
        let wanting: Vec<(Pubkey, Lamports)> =
            wanting.map(|(payer, holds)| (*payer, each.saturating_sub(*holds))).collect();
        let fees = signature_fee(1) * wanting.len().div_ceil(TRANSFERS) as u64;
        let needed = wanting.iter().map(|(_, lamports)| *lamports).sum::<Lamports>() + fees + holdings.reserve;
        let (wallet, balance, reserve) = (self.wallet.address(), holdings.wallet, holdings.reserve);
        let missing = needed.saturating_sub(balance);
        if !wanting.is_empty() && missing > Lamports::ZERO {
            return Err(TransferError::NotEnough { wallet, balance, needed, reserve, missing });
        }
        let (mut wanting, mut died) = (wanting, 0);
        while !wanting.is_empty() {
            let parts: Vec<_> = wanting.iter().take(TRANSFERS).copied().collect();
            let instructions: Vec<_> =
                parts.iter().map(|(payer, lamports)| transfer(&wallet, payer, lamports.0)).collect();
            if self.execute(&instructions, wallet, &parts, signature_fee(1)).await? {
                wanting.drain(..parts.len());
                died = 0;
                continue;
            }
            died = one_more(died)?;
            let payers = self.look().await?.payers;
            wanting = still_wanting(wanting, &payers, each);
        }
        Ok(())
    }

    /// Brings everything that the payers hold back to the wallet. Says who holds too little for a fee and was left alone.
    ///
    /// # Errors
    /// See [`TransferError`]; [`Transfers::moved`] says what was moved all the same.
    pub async fn drain(&mut self) -> Result<Vec<Part>, TransferError> {
        self.finish_earlier().await?;
        let mut died = 0;
        loop {
            let before = self.moved.len();
            if let Some(left) = self.drain_all().await? {
                return Ok(left.iter().map(part).collect());
            }
            died = one_more(if self.moved.len() > before { 0 } else { died })?;
        }
    }

    /// Brings back what the payers hold now, and says what is left; none when a transfer died.
    async fn drain_all(&mut self) -> Result<Option<Vec<(Pubkey, Lamports)>>, TransferError> {
        let mut holding = self.look().await?.payers;
        holding.retain(|(_, holds)| *holds > Lamports::ZERO);
        holding.sort_by_key(|(_, holds)| std::cmp::Reverse(*holds));
        let mut left = Vec::new();
        // The richest of each group pays for all of it; dealt out, so that each group has a rich one.
        let groups = holding.len().div_ceil(SENDERS);
        let wallet = self.wallet.address();
        for first in 0..groups {
            let mut group: Vec<_> = holding.iter().skip(first).step_by(groups).copied().collect();
            let Some((richest, most)) = group.first().copied() else { continue };
            while group.len() > 1 && most < signature_fee(group.len() as u64) {
                left.extend(group.pop());
            }
            let fee = signature_fee(group.len() as u64);
            if most <= fee {
                left.extend(group);
                continue;
            }
            if let Some((_, lamports)) = group.first_mut() {
                *lamports = most.saturating_sub(fee);
            }
            let instructions: Vec<_> =
                group.iter().map(|(payer, lamports)| transfer(payer, &wallet, lamports.0)).collect();
            if !self.execute(&instructions, richest, &group, fee).await? {
                return Ok(None);
            }
        }
        Ok(Some(left))
    }

    /// What everyone holds, as of the last transfer or later.
    ///
    /// # Errors
    /// When the chain does not answer.
    pub async fn look(&self) -> Result<Holdings, TransferError> {
        let reserve = self.chain.rent(0).await?;
        let payers = self.wallet.payers();
        let addresses: Vec<Pubkey> = std::iter::once(self.wallet.address()).chain(payers.iter().copied()).collect();
        let since = Instant::now();
        // Balances from before a transfer would have it made again.
        let not_before = self.chain.tip().await?.slot.max(self.seen_slot);
        let accounts = loop {
            let answer = self.chain.accounts(&addresses).await?;
            if answer.slot >= not_before {
                break answer.value;
            }
            if since.elapsed() >= SILENCE {
                return Err(TransferError::Behind);
            }
            tokio::time::sleep(self.slot).await;
        };
        let mut lamports = accounts.into_iter().map(|account| account.map_or(Lamports::ZERO, |there| there.lamports));
        let wallet = lamports.next().unwrap_or_default();
        Ok(Holdings { wallet, payers: payers.into_iter().zip(lamports).collect(), reserve })
    }

    /// Goes on with what a run that was cut off has left.
    async fn finish_earlier(&mut self) -> Result<(), TransferError> {
        let Some(bytes) = self.outbox.read()? else { return Ok(()) };
        let damaged = || TransferError::Damaged { path: self.outbox.path().to_owned() };
        let written: Written = serde_json::from_slice(&bytes).map_err(|_damaged| damaged())?;
        let (signature, transaction) = (written.signature.parse(), STANDARD.decode(&written.transaction));
        let (Ok(signature), Ok(transaction)) = (signature, transaction) else { return Err(damaged()) };
        match self.follow(&signature, &transaction, written.last_valid_block_height).await? {
            Fate::Settled(slot) => self.note(slot, written, true)?,
            // Whatever it was to move is still where it was; the balances say what is to be done now.
            Fate::Refused(_) | Fate::Dead => self.outbox.clear()?,
        }
        Ok(())
    }

    /// Returns false if it died: before anything is signed anew, the balances are looked at again.
    async fn execute(
        &mut self,
        instructions: &[Instruction],
        payer: Pubkey,
        parts: &[(Pubkey, Lamports)],
        fee: Lamports,
    ) -> Result<bool, TransferError> {
        let blockhash = self.chain.latest_blockhash().await?;
        let message = Message::new_with_blockhash(instructions, Some(&payer), &blockhash.hash);
        let signed = self.wallet.sign(VersionedMessage::Legacy(message)).await?;
        let written = Written {
            signature: signed.signature.to_string(),
            transaction: STANDARD.encode(&signed.bytes),
            last_valid_block_height: blockhash.last_valid_block_height,
            parts: parts.iter().map(part).collect(),
            fee_lamports: fee,
        };
        self.outbox.write(&serde_json::to_vec(&written).unwrap_or_default())?;
        match self.follow(&signed.signature, &signed.bytes, blockhash.last_valid_block_height).await? {
            Fate::Settled(slot) => self.note(slot, written, false).map(|()| true),
            Fate::Refused(reason) => {
                self.outbox.clear()?;
                Err(TransferError::Refused { signature: signed.signature, reason })
            }
            Fate::Dead => {
                self.outbox.clear()?;
                Ok(false)
            }
        }
    }

    fn note(&mut self, slot: u64, written: Written, of_earlier_run: bool) -> Result<(), TransferError> {
        self.outbox.clear()?;
        self.seen_slot = self.seen_slot.max(slot);
        let Written { signature, parts, fee_lamports, .. } = written;
        self.moved.push(Moved { signature, parts, fee_lamports, of_earlier_run });
        Ok(())
    }

    /// Sends a transfer until it is known what became of it. A chain that is silent for a moment is asked again.
    async fn follow(&self, signature: &Signature, bytes: &[u8], last_height: u64) -> Result<Fate, ChainError> {
        let (mut sent, mut answered) = (None::<Instant>, Instant::now());
        loop {
            if sent.is_none_or(|at| at.elapsed() >= RESEND) {
                if let Err(error) = self.chain.send(bytes).await {
                    tracing::debug!(%error, "a transfer was not taken; it is sent again");
                }
                sent = Some(Instant::now());
            }
            match self.fate(signature, last_height).await {
                Ok(Some(fate)) => return Ok(fate),
                Ok(None) => answered = Instant::now(),
                Err(error) if answered.elapsed() >= SILENCE => return Err(error),
                Err(error) => tracing::debug!(%error, "what became of a transfer is asked again"),
            }
            tokio::time::sleep(self.slot).await;
        }
    }

    /// Proof of death: well past its last block, and unknown to a node with all history that has seen the end of the chain.
    /// What was refused may work in another fork, and counts once there can be none.
    async fn fate(&self, signature: &Signature, last_height: u64) -> Result<Option<Fate>, ChainError> {
        let tip = self.chain.tip().await?;
        let over = tip.block_height > last_height.saturating_add(ROOTED);
        let statuses = self.chain.statuses(std::slice::from_ref(signature), over).await?;
        let known = statuses.value.into_iter().next().flatten();
        Ok(match known {
            Some(landed) if landed.is_settled() => Some(landed.error.map_or(Fate::Settled(landed.slot), Fate::Refused)),
            None if over && statuses.slot >= tip.slot => Some(Fate::Dead),
            Some(_) | None => None,
        })
    }
}

impl std::fmt::Debug for Transfers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transfers").field("wallet", &self.wallet).field("outbox", &self.outbox).finish_non_exhaustive()
    }
}

/// Counts a transfer that died.
fn one_more(died: u32) -> Result<u32, TransferError> {
    let died = died.saturating_add(1);
    if died < TRIES { Ok(died) } else { Err(TransferError::NeverLanded) }
}

/// What is still to be moved, by what the payers hold now: no more than was decided on at first.
fn still_wanting(
    wanting: Vec<(Pubkey, Lamports)>,
    payers: &[(Pubkey, Lamports)],
    each: Lamports,
) -> Vec<(Pubkey, Lamports)> {
    let lacks = |payer: Pubkey| {
        let holds = payers.iter().find(|(other, _)| *other == payer).map(|(_, holds)| *holds);
        each.saturating_sub(holds.unwrap_or_default())
    };
    let wanting = wanting.into_iter().map(|(payer, lamports)| (payer, lamports.min(lacks(payer))));
    wanting.filter(|(_, lamports)| *lamports > Lamports::ZERO).collect()
}

fn part((payer, lamports): &(Pubkey, Lamports)) -> Part {
    Part { payer: payer.to_string(), lamports: *lamports }
}
