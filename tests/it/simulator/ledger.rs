//! The scripted chain itself: slots, blocks, expiry, forks, and what transactions do. No faults of nodes in here: this is the
//! truth, and the world judges by it.

use std::collections::BTreeMap;

use boxoffice::chain::Account;
use sha2::{Digest as _, Sha256};
use solana_hash::Hash;
use solana_instruction::error::InstructionError;
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_transaction_error::TransactionError;

use super::{
    random::Random,
    transaction::{BASE_UNITS, Minting, Transaction, rent},
};

pub const SLOT_MS: u64 = 400;
/// Blocks in which a transaction can land after its blockhash's.
pub const LIFETIME: u64 = 150;
/// Slots behind the newest block.
pub const CONFIRMED: u64 = 2;
/// Slots behind the newest block from which on no block is ever given up.
pub const FINAL: u64 = 32;

#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub slot: u64,
    pub height: u64,
    pub hash: Hash,
}

/// A transaction in a block.
#[derive(Clone, Debug)]
pub struct Landing {
    pub slot: u64,
    pub error: Option<TransactionError>,
    pub transaction: Transaction,
    /// What left the wallet, or its payer.
    pub paid: u64,
}

/// What a ticket's address needs, whatever the transaction says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    Healthy,
    /// Needs more compute units than the first transaction allows.
    Heavy,
    /// Refused for what is in it.
    Impossible,
}

pub struct Ledger {
    /// Blocks of the present fork, oldest first.
    pub blocks: Vec<Block>,
    /// Transactions on the present fork.
    pub landed: BTreeMap<Signature, Landing>,
    /// Accounts, and the slot in which each was made.
    pub accounts: BTreeMap<Pubkey, (u64, Account)>,
    /// Those who pay: the wallet alone, or fee payers.
    pub payers: Vec<Pubkey>,
    /// Money that came and went: slot, lamports, the transaction if there was one, and whose it was by its place in `payers`.
    pub flows: Vec<(u64, i64, Option<Signature>, usize)>,
    /// Lamports that strangers sent to addresses of mints.
    pub dust: BTreeMap<Pubkey, (u64, u64)>,
    pub nature: BTreeMap<Pubkey, Nature>,
    /// On their way: slot and order of arrival.
    mempool: BTreeMap<(u64, u64), Transaction>,
    /// Whether leaders take v1 transactions.
    pub takes_v1: bool,
    slot: u64,
    arrivals: u64,
    forks: u64,
    pub expired: u64,
    /// Of a layout that leaders do not take.
    pub dropped: u64,
    pub unpaid: u64,
    pub vanished: u64,
    /// Mints in blocks that were given up, since the world last looked.
    pub given_up: Vec<Pubkey>,
}

impl Ledger {
    pub fn new(funds: u64) -> Self {
        let genesis = Block { slot: 0, height: 0, hash: Hash::new_from_array([7; 32]) };
        Self {
            blocks: vec![genesis],
            landed: BTreeMap::new(),
            accounts: BTreeMap::new(),
            payers: Vec::new(),
            flows: vec![(0, i64::try_from(funds).unwrap(), None, 0)],
            dust: BTreeMap::new(),
            nature: BTreeMap::new(),
            mempool: BTreeMap::new(),
            takes_v1: true,
            slot: 0,
            arrivals: 0,
            forks: 0,
            expired: 0,
            dropped: 0,
            unpaid: 0,
            vanished: 0,
            given_up: Vec::new(),
        }
    }

    /// The newest block at or before a slot.
    pub fn block_at(&self, slot: u64) -> Block {
        let after = self.blocks.partition_point(|block| block.slot <= slot);
        self.blocks[after.saturating_sub(1)]
    }

    pub fn newest(&self) -> Block {
        *self.blocks.last().unwrap()
    }

    pub fn balance_at(&self, slot: u64) -> u64 {
        (0..self.payers.len().max(1)).map(|payer| self.balance_of(payer, slot)).sum()
    }

    /// What one of those who pay holds.
    pub fn balance_of(&self, payer: usize, slot: u64) -> u64 {
        let flows = self.flows.iter().filter(|(at, _, _, whose)| *at <= slot && *whose == payer);
        let sum: i64 = flows.map(|(_, lamports, ..)| lamports).sum();
        u64::try_from(sum).expect("a wallet cannot owe")
    }

    /// The last height at which a transaction with this blockhash can land; none for one that this fork does not know.
    pub fn last_height(&self, blockhash: &Hash) -> Option<u64> {
        self.blocks.iter().rev().find(|block| block.hash == *blockhash).map(|block| block.height + LIFETIME)
    }

    pub fn dust_at(&self, mint: &Pubkey) -> u64 {
        self.dust.get(mint).map_or(0, |(_, lamports)| *lamports)
    }

    /// A transaction reaches a leader.
    pub fn submit(&mut self, transaction: Transaction, slots: u64) {
        self.arrivals += 1;
        self.mempool.insert((self.slot + slots, self.arrivals), transaction);
    }

    pub fn has_come_to(&self, now_ms: u64) -> bool {
        self.slot >= now_ms / SLOT_MS
    }

    pub fn add_money(&mut self, lamports: i64) {
        let (payers, all) = (self.payers.len().max(1), self.balance_at(u64::MAX));
        for payer in 0..payers {
            let share = if lamports >= 0 {
                lamports / i64::try_from(payers).unwrap()
            } else {
                // In the proportion in which they hold it.
                let own = self.balance_of(payer, u64::MAX);
                -((i128::from(-lamports) * i128::from(own) / i128::from(all.max(1))) as i64)
            };
            self.flows.push((self.slot, if payers == 1 { lamports } else { share }, None, payer));
        }
    }

    /// Makes the blocks up to a time; `fork` of a thousand slots abandon the unconfirmed blocks before them, and `deep` of a
    /// thousand abandon confirmed ones. Says which slots did.
    pub fn advance(&mut self, now_ms: u64, random: &mut Random, fork: u64, deep: u64) -> Vec<u64> {
        let mut forked = Vec::new();
        while self.slot < now_ms / SLOT_MS {
            self.slot += 1;
            if random.chance(50) {
                continue;
            }
            let depth = if random.chance(deep) { random.between(3, 12) } else { CONFIRMED };
            if random.chance(fork) || depth > CONFIRMED {
                self.abandon_after(self.slot.saturating_sub(depth + 1), random);
                forked.push(self.slot);
            }
            let parent = self.newest();
            let number = [self.slot.to_le_bytes(), self.forks.to_le_bytes()].concat();
            let hash = Hash::new_from_array(Sha256::digest(number).into());
            let block = Block { slot: self.slot, height: parent.height + 1, hash };
            self.blocks.push(block);
            let later = self.mempool.split_off(&(self.slot + 1, 0));
            for transaction in std::mem::replace(&mut self.mempool, later).into_values() {
                self.execute(block, transaction);
            }
        }
        forked
    }

    /// The network gives up all blocks after a slot; most of their transactions land again, the others vanish.
    fn abandon_after(&mut self, slot: u64, random: &mut Random) {
        self.forks += 1;
        self.blocks.retain(|block| block.slot <= slot);
        self.accounts.retain(|_, (made, _)| *made <= slot);
        self.flows.retain(|(at, _, signature, _)| signature.is_none() || *at <= slot);
        let abandoned: Vec<Signature> =
            self.landed.iter().filter(|(_, landing)| landing.slot > slot).map(|(signature, _)| *signature).collect();
        for signature in abandoned {
            let landing = self.landed.remove(&signature).unwrap();
            self.given_up.extend(landing.transaction.tickets.iter().map(|ticket| ticket.mint));
            if random.chance(700) {
                let slots = random.between(1, 40);
                self.submit(landing.transaction, slots);
            } else {
                self.vanished += 1;
            }
        }
    }

    fn execute(&mut self, block: Block, transaction: Transaction) {
        if self.landed.contains_key(&transaction.signature) {
            return;
        }
        if transaction.is_v1 && !self.takes_v1 {
            self.dropped += 1;
            return;
        }
        if self.last_height(&transaction.blockhash).is_none_or(|last| block.height > last) {
            self.expired += 1;
            return;
        }
        let payer = self.payers.iter().position(|payer| *payer == transaction.payer).expect("a payer of this wallet");
        let balance = self.balance_of(payer, block.slot);
        // An account must be left with what it needs to live; the single wallet is spared this, as its box reckons without.
        let reserve = if self.payers.len() > 1 { rent(0) } else { 0 };
        if balance < transaction.fee + reserve {
            self.unpaid += 1;
            return;
        }
        let error = self.error_of(&transaction, balance - transaction.fee - reserve);
        let mut paid = transaction.fee;
        if error.is_none() {
            for ticket in &transaction.tickets {
                let at_mint = self.dust_at(&ticket.mint);
                paid += Minting::cost(at_mint);
                let accounts = ticket.accounts(at_mint).into_iter();
                self.accounts.extend(accounts.map(|(address, account)| (address, (block.slot, account))));
            }
        }
        self.flows.push((block.slot, -i64::try_from(paid).unwrap(), Some(transaction.signature), payer));
        self.landed.insert(transaction.signature, Landing { slot: block.slot, error, transaction, paid });
    }

    /// As the real programs answer, code by code; the first fault undoes everything.
    fn error_of(&self, transaction: &Transaction, mut balance: u64) -> Option<TransactionError> {
        let (mut units, mut first) = (0, transaction.budget_instructions);
        for ticket in &transaction.tickets {
            let at = |index, error| Some(TransactionError::InstructionError(first + index, error));
            let nature = self.nature.get(&ticket.mint).copied().unwrap_or(Nature::Healthy);
            let (dust, exists) = (self.dust_at(&ticket.mint), self.accounts.contains_key(&ticket.mint));
            if exists || (dust > 0 && !ticket.prefunded) {
                return at(u8::from(ticket.prefunded), InstructionError::Custom(0));
            }
            let Some(left) = balance.checked_sub(Minting::cost(dust)) else {
                return at(0, InstructionError::Custom(1));
            };
            balance = left;
            let needed = BASE_UNITS + ticket.search_units;
            units += if nature == Nature::Heavy { needed.max(300_000) } else { needed };
            if units > transaction.compute_limit {
                return at(2, InstructionError::ComputationalBudgetExceeded);
            }
            if nature == Nature::Impossible {
                return at(3, InstructionError::InvalidAccountData);
            }
            first += if ticket.prefunded { 6 } else { 4 };
        }
        None
    }
}
