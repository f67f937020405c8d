//! Nodes that answer for the scripted chain, and lie as real ones do: late, from the past, in part, or not at all.

use std::sync::Arc;

use async_trait::async_trait;
use boxoffice::{
    chain::{Account, Chain, ChainError, Landed, Observed, PastTransaction, RecentBlockhash, Simulated, Tip},
    domain::lamports::Lamports,
};
use solana_hash::Hash;
use solana_pubkey::Pubkey;
use solana_signature::Signature;
use solana_transaction_error::TransactionError;
use tokio::time::sleep;

use super::{
    ledger::{CONFIRMED, FINAL, LIFETIME},
    transaction::{BASE_UNITS, Transaction, price, rent},
    world::{Sent, State, V1, World},
};

const ENDPOINT: &str = "http://node.example";
/// Slots that a node remembers without looking into its history.
const RECENT: u64 = 150;

pub struct Nodes(pub Arc<World>);

/// How much of the chain the node that answers has seen.
#[derive(Clone, Copy)]
struct View {
    processed: u64,
    confirmed: u64,
}

impl Nodes {
    async fn call<T>(
        &self,
        method: &'static str,
        answer: impl FnOnce(&mut State, View) -> T + Send,
    ) -> Result<T, ChainError> {
        self.0.outlives(method).await;
        let delay = self.0.state().delay();
        sleep(delay).await;
        self.0.outlives(method).await;
        let value = {
            let mut state = self.0.state();
            state.advance();
            if let Some(error) = state.fault(method) {
                return Err(error);
            }
            let view = state.view();
            answer(&mut state, view)
        };
        let delay = self.0.state().delay();
        sleep(delay).await;
        self.0.outlives(method).await;
        if self.0.state().strikes("answer lost") { Err(unreachable()) } else { Ok(value) }
    }
}

fn unreachable() -> ChainError {
    // The cheapest way to an error of this kind.
    let source = reqwest::Proxy::all("http://[").unwrap_err();
    ChainError::Unreachable { endpoint: ENDPOINT.into(), source }
}

impl State {
    fn delay(&mut self) -> std::time::Duration {
        if self.strikes("slow call") { self.random.ms(200, 15_000) } else { self.random.ms(1, 60) }
    }

    fn fault(&mut self, method: &'static str) -> Option<ChainError> {
        let endpoint = ENDPOINT.to_owned();
        if self.strikes("call lost") {
            return Some(unreachable());
        }
        if self.strikes("rate limit") {
            let retry_after = self.random.chance(500).then(|| self.random.ms(100, 20_000));
            self.note(if retry_after.is_some() { "rate limit with a time" } else { "rate limit without a time" });
            return Some(ChainError::RateLimited { endpoint, retry_after });
        }
        if self.strikes("HTTP 503") {
            return Some(ChainError::Http { endpoint, status: 503 });
        }
        if self.strikes("refused") {
            let code = *self.random.pick(&[-32_005, -32_603, -32_016, -32_602]);
            return Some(ChainError::Refused { endpoint, method, code, message: "no".into() });
        }
        if self.strikes("malformed") {
            let source = serde_json::from_str::<()>("<html>").unwrap_err();
            return Some(ChainError::Malformed { endpoint, method, source });
        }
        if matches!(method, "accounts" | "statuses") && self.strikes("wrong count") {
            return Some(ChainError::WrongCount { endpoint, method, wanted: 2, found: 1 });
        }
        None
    }

    fn view(&mut self) -> View {
        let lag = if self.strikes("lagging node") { self.random.of_any_size(8) } else { self.random.below(3) };
        let newest = self.ledger.newest().slot.saturating_sub(lag);
        let at = |slot| self.ledger.block_at(slot).slot;
        View { processed: at(newest), confirmed: at(newest.saturating_sub(CONFIRMED)) }
    }

    fn status(&mut self, signature: &Signature, view: View, history: bool) -> Option<Landed> {
        let landing = self.ledger.landed.get(signature).filter(|landing| landing.slot <= view.processed)?;
        let landed = Landed {
            slot: landing.slot,
            settled: landing.slot <= view.confirmed,
            finalized: landing.slot + FINAL <= view.processed,
            error: landing.error.clone(),
        };
        let recent = landed.slot + RECENT >= view.processed;
        if !history && (!recent || self.strikes("null status")) {
            return None;
        }
        if history && self.strikes("forgotten history") {
            self.forgotten.insert(*signature);
            return None;
        }
        Some(landed)
    }

    fn account(&self, address: &Pubkey, view: View) -> Option<Account> {
        let account = self.ledger.accounts.get(address).filter(|(made, _)| *made <= view.confirmed);
        let dust = self.ledger.dust.get(address).filter(|(sent, _)| *sent <= view.confirmed);
        let dust = dust.map(|(_, lamports)| Account {
            owner: solana_system_interface::program::ID,
            lamports: Lamports(*lamports),
            data: Vec::new(),
        });
        let payer = self.ledger.payers.iter().position(|payer| payer == address);
        let money = payer.map(|payer| self.ledger.balance_of(payer, view.confirmed)).filter(|lamports| *lamports > 0);
        let money = money.map(|lamports| Account {
            owner: solana_system_interface::program::ID,
            lamports: Lamports(lamports),
            data: Vec::new(),
        });
        account.map(|(_, account)| account.clone()).or(dust).or(money)
    }

    /// Bytes leave the box: was that allowed?
    fn leaves(&mut self, bytes: &[u8]) -> Transaction {
        self.advance();
        // The same bytes again need no second look: what made them right cannot have changed.
        if let Some(transaction) = self.seen.get(bytes).cloned() {
            self.say(&format!("send {} again", short(transaction.signature.as_ref())));
            return transaction;
        }
        let transaction = Transaction::decode(bytes);
        self.seen.insert(bytes.to_vec(), transaction.clone());
        let signature = transaction.signature;
        let books = self.books.as_ref().unwrap();
        let row = books
            .prepare_cached("SELECT transaction_bytes FROM attempts WHERE signature = ?")
            .and_then(|mut row| row.query_row([signature.to_string()], |row| row.get::<_, Vec<u8>>(0)));
        if row.map_or(true, |written| written != bytes) {
            self.violated(format!("{} was sent before it was written ahead", short(signature.as_ref())));
        }
        for ticket in &transaction.tickets {
            self.say(&format!("send {} for {}", short(signature.as_ref()), short(ticket.mint.as_ref())));
            let earlier = self.sent.entry(ticket.mint).or_default();
            let unproven = earlier.iter().find(|sent| {
                let landing = self.ledger.landed.get(&sent.transaction.signature);
                !sent.was_dead && landing.is_none_or(|landing| landing.error.is_none())
            });
            let unproven = unproven.map(|sent| short(sent.transaction.signature.as_ref()));
            earlier.push(Sent { transaction: transaction.clone(), was_dead: false });
            if let Some(unproven) = unproven {
                self.violated(format!("{} was signed while {unproven} may still land", short(signature.as_ref())));
            }
            if !self.published.contains(&ticket.uri) {
                self.violated(format!("{} names metadata that was not published", short(signature.as_ref())));
            }
        }
        if transaction.tickets.len() > 1 {
            self.packed(&transaction);
        }
        transaction
    }

    /// Several tickets leave the box together: were they allowed to?
    fn packed(&mut self, transaction: &Transaction) {
        self.note("several tickets sent together");
        let refused = transaction.tickets.iter().find(|ticket| {
            let books = self.books.as_ref().unwrap();
            let mut refused = books
                .prepare_cached(
                    "SELECT 1 FROM attempts a JOIN attempt_tickets t ON t.attempt_id = a.id
                     JOIN mints m ON m.id = t.mint_id WHERE a.state = 'rejected' AND m.mint_address = ?",
                )
                .unwrap();
            refused.exists([ticket.mint.to_string()]).unwrap()
        });
        if let Some(mint) = refused.map(|ticket| ticket.mint) {
            self.violated(format!("{mint} was refused once, and rides with others again"));
        }
    }

    /// Bytes reach the network.
    fn arrives(&mut self, transaction: Transaction) {
        if self.strikes("dropped transaction") {
            return;
        }
        let slots = if self.strikes("late landing") {
            self.random.between(20, LIFETIME + 20)
        } else {
            self.random.between(1, 3)
        };
        if self.strikes("duplicated transaction") {
            let later = self.random.between(1, LIFETIME + 20);
            self.ledger.submit(transaction.clone(), later);
        }
        self.ledger.submit(transaction, slots);
    }
}

impl State {
    /// What others have offered of late: nothing in quiet worlds, and in the others now this and now that.
    fn offers(&mut self) -> Vec<u64> {
        if !self.busy || self.random.chance(100) {
            return Vec::new();
        }
        self.note("others offer more");
        let level = self.random.of_any_size(17);
        (0..150).map(|_| self.random.below(level + 1)).collect()
    }
}

pub fn short(bytes: &[u8]) -> String {
    format!("{:08x}", u32::from_be_bytes(bytes[..4].try_into().unwrap()))
}

#[async_trait]
impl Chain for Nodes {
    async fn genesis_hash(&self) -> Result<Hash, ChainError> {
        self.call("genesis_hash", |state, _| state.ledger.blocks[0].hash).await
    }

    async fn tip(&self) -> Result<Tip, ChainError> {
        let answer = |state: &mut State, view: View| {
            let block = state.ledger.block_at(view.confirmed);
            Tip { slot: block.slot, block_height: block.height }
        };
        self.call("tip", answer).await
    }

    async fn latest_blockhash(&self) -> Result<RecentBlockhash, ChainError> {
        let answer = |state: &mut State, view: View| {
            let block = state.ledger.block_at(view.confirmed);
            RecentBlockhash { hash: block.hash, last_valid_block_height: block.height + LIFETIME }
        };
        self.call("latest_blockhash", answer).await
    }

    async fn balance(&self, _address: &Pubkey) -> Result<Lamports, ChainError> {
        self.call("balance", |state, view| Lamports(state.ledger.balance_at(view.confirmed))).await
    }

    async fn rent(&self, size: usize) -> Result<Lamports, ChainError> {
        self.call("rent", |_, _| Lamports(rent(size))).await
    }

    async fn accounts(&self, addresses: &[Pubkey]) -> Result<Observed<Vec<Option<Account>>>, ChainError> {
        // Without addresses nobody is asked.
        if addresses.is_empty() {
            return Ok(Observed { slot: 0, value: Vec::new() });
        }
        let answer = |state: &mut State, view: View| {
            let value = addresses.iter().map(|address| state.account(address, view)).collect();
            Observed { slot: view.confirmed, value }
        };
        self.call("accounts", answer).await
    }

    async fn statuses(
        &self,
        signatures: &[Signature],
        search_history: bool,
    ) -> Result<Observed<Vec<Option<Landed>>>, ChainError> {
        let answer = |state: &mut State, view: View| {
            let value = signatures.iter().map(|signature| state.status(signature, view, search_history)).collect();
            Observed { slot: view.processed, value }
        };
        self.call("statuses", answer).await
    }

    async fn send(&self, transaction: &[u8]) -> Result<(), ChainError> {
        self.0.outlives("send").await;
        let transaction = self.0.state().leaves(transaction);
        self.call("send", |state, _| state.arrives(transaction)).await
    }

    async fn simulate(&self, transaction: &[u8]) -> Result<Simulated, ChainError> {
        let transaction = Transaction::decode_unsigned(transaction);
        assert_eq!(transaction.signature, Signature::default(), "what is simulated is worth nothing to anybody");
        let answer = |state: &mut State, view: View| {
            state.note("tried out");
            let lies = state.strikes("wrong simulation");
            let error = if transaction.is_v1 && (state.v1 != V1::Refused) == lies {
                Some(TransactionError::UnsupportedVersion)
            } else if state.ledger.balance_at(view.confirmed) < price() * transaction.tickets.len() as u64 {
                Some(TransactionError::InsufficientFundsForFee)
            } else {
                None
            };
            let needed = transaction.tickets.iter().map(|ticket| u64::from(BASE_UNITS + ticket.search_units));
            Simulated { error, units_consumed: state.random.chance(950).then(|| needed.sum()) }
        };
        self.call("simulate", answer).await
    }

    async fn priority_fees(&self, _written: &[Pubkey]) -> Result<Vec<u64>, ChainError> {
        self.call("priority_fees", |state, _| state.offers()).await
    }

    async fn block_time_ms(&self, _slot: u64) -> Result<Option<i64>, ChainError> {
        Ok(None)
    }

    async fn history(&self, _: &Pubkey, _: Option<Signature>) -> Result<Vec<PastTransaction>, ChainError> {
        Ok(Vec::new())
    }

    async fn accounts_of(&self, _signature: &Signature) -> Result<Option<Vec<Pubkey>>, ChainError> {
        Ok(None)
    }

    async fn first_signature(&self, address: &Pubkey) -> Result<Option<(Signature, u64)>, ChainError> {
        let answer = |state: &mut State, view: View| {
            let made_it = |landing: &super::ledger::Landing| {
                landing.transaction.mints(address) && landing.error.is_none() && landing.slot <= view.confirmed
            };
            let found = state.ledger.landed.iter().find(|(_, landing)| made_it(landing));
            let found = found.map(|(signature, landing)| (*signature, landing.slot));
            if let Some((signature, _)) = found
                && state.strikes("first signature unknown")
            {
                state.forgotten.insert(signature);
                return None;
            }
            found
        };
        self.call("first_signature", answer).await
    }
}
