//! The venue and the world around it: batches that are sold, sent again and contradicted, money that comes and goes, strangers,
//! and clocks that jump.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use boxoffice::{
    chain::{transaction::signatures, wallet::Wallet},
    domain::{
        address::{Generation, mint_address},
        ids::{TicketId, VenueId},
        lamports::Lamports,
        spending::Refusal,
    },
    estimate::PriorityFeeSettings,
    minting::{AcceptError, BatchRequest, Minter},
    store::StoreError,
};
use serde_json::{json, value::RawValue};
use solana_pubkey::Pubkey;
use tokio::time::{Instant, sleep, timeout};

use super::{ledger::Nature, transaction::price, world::World};

/// What the network takes when nothing is offered.
const USUAL_FEE: u64 = 5_000;
/// Most tickets sold in one seed.
const MOST_TICKETS: u64 = 40;

/// A batch that the venue wants minted.
#[derive(Clone)]
pub struct Batch {
    /// Ticket and seat: the same ticket with another seat is a contradiction.
    pub tickets: Vec<(String, String)>,
    /// Most that it may cost.
    pub budget: Option<Lamports>,
    /// Public ids under which it was accepted.
    pub accepted: Vec<String>,
}

pub struct Venue {
    pub id: VenueId,
    pub wallet: Pubkey,
    pub limit: Option<Lamports>,
    pub priority_fees: PriorityFeeSettings,
    pub batches: Arc<Mutex<Vec<Batch>>>,
    next_ticket: u64,
}

impl Venue {
    pub fn open(world: &Arc<World>, wallet: &Wallet) -> Self {
        let (payers, wallet) = (wallet.payers(), wallet.address());
        let mut state = world.state();
        state.ledger.payers = if payers.is_empty() { vec![wallet] } else { payers };
        let full = price() + USUAL_FEE * signatures(state.options.payers);
        let limit = state.random.chance(200).then(|| Lamports(full * state.random.between(5, MOST_TICKETS)));
        let funds = full * state.random.between(0, 3 * MOST_TICKETS) + state.random.below(full);
        state.ledger.add_money(funds.cast_signed());
        let priority_fees = PriorityFeeSettings {
            percentile: state.random.chance(700).then_some(75),
            floor: *state.random.pick(&[0, 0, 777]),
            cap: 50_000,
        };
        state.say(&format!("funds {funds}, limit {limit:?}, {priority_fees:?}"));
        Self { id: VenueId::new("v").unwrap(), wallet, limit, priority_fees, batches: Arc::default(), next_ticket: 0 }
    }

    /// Sells for a while, in whatever weather.
    pub async fn sell(&mut self, minter: &Minter, world: &Arc<World>, bad: bool) {
        let longest = match world.state().random.below(10) {
            _ if !bad => 60_000,
            0 => 1_200_000,
            _ => 300_000,
        };
        let time = world.state().random.ms(10_000, longest);
        let end = Instant::now() + time;
        let goes_on = || {
            let state = world.state();
            Instant::now() < end || state.now_ms() < state.weather_stays_until_ms
        };
        self.send(minter, world);
        while goes_on() {
            let pause = {
                let mut state = world.state();
                state.advance();
                let pause = state.random.of_any_size(15);
                Duration::from_millis(pause)
            };
            sleep(pause).await;
            let event = world.state().random.below(10);
            match event {
                0..=3 => self.send(minter, world),
                4 | 5 => world.state().change_weather(),
                6 => Self::move_money(world),
                7 => self.jump_clock(world),
                8 => self.throw_dust(world),
                _ => world.state().say("a quiet moment"),
            }
        }
    }

    /// In good weather: pays all, and sends again what was never taken, until it is.
    pub async fn finish(&mut self, minter: &Minter, world: &Arc<World>) {
        {
            let mut state = world.state();
            state.heal();
            state.ledger.add_money((price() * 2 * MOST_TICKETS).cast_signed());
            state.advance();
        }
        let count = self.batches.lock().unwrap().len();
        for number in 0..count {
            for _try in 0..100 {
                if !self.batches.lock().unwrap()[number].accepted.is_empty() {
                    break;
                }
                if accept(minter.clone(), self.id.clone(), Arc::clone(&self.batches), number, Arc::clone(world)).await {
                    break;
                }
                sleep(Duration::from_secs(2)).await;
            }
        }
    }

    /// Sends a batch: a new one, an old one again, or one that contradicts an old one. Nobody waits for the answer.
    fn send(&mut self, minter: &Minter, world: &Arc<World>) {
        let mut state = world.state();
        let mut batches = self.batches.lock().unwrap();
        let kind = state.random.below(10);
        let number = if batches.is_empty() || kind < 7 && self.next_ticket < MOST_TICKETS {
            let size = state.random.of_any_size(5).min(MOST_TICKETS);
            let tickets = (0..size).map(|_| {
                self.next_ticket += 1;
                (format!("t-{}", self.next_ticket), "A".to_owned())
            });
            let tickets: Vec<_> = tickets.collect();
            for (ticket, _) in &tickets {
                let nature = match state.random.below(40) {
                    0 => Nature::Impossible,
                    1 | 2 => Nature::Heavy,
                    _ => Nature::Healthy,
                };
                state.ledger.nature.insert(self.address_of(ticket), nature);
            }
            // Enough for what is expected, or a little less or more.
            let most = tickets.len() as u64 * (price() + USUAL_FEE) + state.random.of_any_size(15);
            let budget = state.random.chance(300).then(|| Lamports(most.saturating_sub(state.random.of_any_size(8))));
            batches.push(Batch { tickets, budget, accepted: Vec::new() });
            batches.len() - 1
        } else if kind < 9 {
            state.note("batch sent again");
            state.random.below(batches.len() as u64) as usize
        } else {
            state.note("contradicting batch");
            let mut batch = state.random.pick(&batches).clone();
            batch.accepted.clear();
            batch.tickets.iter_mut().step_by(2).for_each(|(_, seat)| seat.push('x'));
            batches.push(batch);
            batches.len() - 1
        };
        state.say(&format!("batch {number} of {} is sent", batches[number].tickets.len()));
        drop((state, batches));
        // Whoever asks for what was sold twice asks twice.
        drop(tokio::spawn(accept(
            minter.clone(),
            self.id.clone(),
            Arc::clone(&self.batches),
            number,
            Arc::clone(world),
        )));
    }

    pub fn address_of(&self, ticket: &str) -> Pubkey {
        mint_address(&self.wallet, &self.id, &TicketId::new(ticket).unwrap(), Generation(0))
    }

    fn move_money(world: &Arc<World>) {
        let mut state = world.state();
        state.advance();
        let balance = state.ledger.balance_at(u64::MAX);
        if state.random.chance(300) {
            // Another hand empties the wallet, nearly.
            let left = state.random.below(2 * price());
            state.note("wallet emptied");
            state.ledger.add_money(-balance.saturating_sub(left).cast_signed());
        } else {
            let lamports = price() * state.random.between(1, MOST_TICKETS);
            state.note("wallet refilled");
            state.ledger.add_money(lamports.cast_signed());
        }
    }

    fn jump_clock(&mut self, world: &Arc<World>) {
        let mut state = world.state();
        let ms = state.random.of_any_size(33).cast_signed();
        // A limit of an hour is by the wall clock: a jump forward over it makes a new hour. One back must not.
        let forward = state.random.chance(500) && self.limit.is_none();
        state.clock_offset_ms += if forward { ms } else { -ms };
        state.note(if self.limit.is_none() { "clock jump" } else { "clock back under a limit" });
    }

    /// A stranger sends lamports to the address of a ticket.
    fn throw_dust(&mut self, world: &Arc<World>) {
        let mut state = world.state();
        state.advance();
        let number = state.random.between(1, self.next_ticket.max(1) + 5);
        let address = self.address_of(&format!("t-{number}"));
        if !state.ledger.accounts.contains_key(&address) && !state.ledger.dust.contains_key(&address) {
            let lamports = state.random.of_any_size(22);
            let slot = state.ledger.newest().slot;
            state.ledger.dust.insert(address, (slot, lamports));
            state.note("dust");
        }
    }

    /// Batches with their tickets, by the public id of each acceptance.
    pub fn promises(&self) -> BTreeMap<String, Vec<(String, String)>> {
        let batches = self.batches.lock().unwrap();
        batches.iter().flat_map(|batch| batch.accepted.iter().map(|id| (id.clone(), batch.tickets.clone()))).collect()
    }
}

/// Sends a batch and notes the answer; says whether asking again is of no use.
async fn accept(
    minter: Minter,
    venue: VenueId,
    batches: Arc<Mutex<Vec<Batch>>>,
    number: usize,
    world: Arc<World>,
) -> bool {
    let Batch { tickets, budget, .. } = batches.lock().unwrap()[number].clone();
    let tickets = tickets.iter().map(|(id, seat)| {
        let ticket = json!({ "id": id, "eventId": "e", "userId": "u", "ticketData": {
            "eventName": "Concert", "eventDate": "2025-12-01", "venue": "Stadium", "tier": "VIP", "seatNumber": seat
        }});
        RawValue::from_string(ticket.to_string()).unwrap()
    });
    let request = BatchRequest { venue_id: venue, not_before: None, budget, tickets: tickets.collect() };
    // Clients hang up.
    let patience = world.state().random.ms(500, 30_000);
    let answer = timeout(patience, minter.accept(request)).await;
    if world.passes("accept answered") {
        return false;
    }
    let mut state = world.state();
    match answer {
        Ok(Ok(accepted)) => {
            state.note("batch accepted");
            batches.lock().unwrap()[number].accepted.push(accepted.public_id);
            true
        }
        Ok(Err(AcceptError::Store(StoreError::Refused(refusal)))) => {
            state.note("batch refused");
            state.say(&refusal.to_string());
            if matches!(refusal, Refusal::OverBudget { .. }) {
                state.note("batch over its budget");
            }
            matches!(refusal, Refusal::PeriodLimit { .. } | Refusal::OverBudget { .. })
        }
        Ok(Err(error)) => {
            state.note("batch not accepted");
            state.say(&error.to_string());
            false
        }
        Err(_elapsed) => {
            state.note("client hung up");
            false
        }
    }
}
