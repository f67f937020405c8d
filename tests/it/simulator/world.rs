//! The world of one seed: its truth, its weather, its log, and the moment at which the process dies.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use boxoffice::{clock::Clock, simulation};
use rusqlite::Connection;
use solana_pubkey::Pubkey;
use tokio::{sync::Notify, time::Instant};

use super::{
    Options,
    ledger::{CONFIRMED, Ledger},
    random::Random,
    transaction::Transaction,
    weather::{Death, KILL_POINTS},
};

/// Where the wall clock stands when a world begins, Unix milliseconds.
const EPOCH_MS: u64 = 1_800_000_000_000;
pub struct World {
    state: Mutex<State>,
    /// Rung when the process dies.
    pub died: Notify,
}

#[expect(clippy::struct_excessive_bools, reason = "what kind of world it is, and what has happened in it")]
pub struct State {
    pub options: Options,
    /// Whether the box finds its pace by itself.
    pub adaptive: bool,
    /// Whether others want to land too, and offer something for it.
    pub busy: bool,
    pub random: Random,
    pub ledger: Ledger,
    /// Of a thousand occasions.
    pub weather: BTreeMap<&'static str, u64>,
    /// How often each thing happened or was reached.
    pub counts: BTreeMap<String, u64>,
    pub violations: Vec<String>,
    pub log: Vec<String>,
    log_hash: u64,
    /// When this life of the process began, on its own clock and on the world's.
    life: Option<Instant>,
    base_ms: u64,
    /// What the wall clock is off by.
    pub clock_offset_ms: i64,
    pub dead: bool,
    pub death: Death,
    /// No change of weather before this time.
    pub weather_stays_until_ms: u64,
    /// A look into the books that the process cannot prevent.
    pub books: Option<Connection>,
    /// Transactions whose bytes left the box, by the ticket that they mint.
    pub sent: BTreeMap<Pubkey, Vec<Sent>>,
    /// All bytes that left the box, and what they are.
    pub seen: BTreeMap<Vec<u8>, Transaction>,
    /// Addresses of what can be fetched.
    pub published: BTreeSet<String>,
    /// A node with full history denied a transaction that had landed: what was paid for it cannot be known by the box.
    pub forgotten: BTreeSet<solana_signature::Signature>,
    /// The database was lost once, and begun anew.
    pub books_lost: bool,
    pub v1: V1,
}

/// What becomes of v1 transactions, which take several tickets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum V1 {
    Taken,
    /// Nodes say that they are taken, and leaders drop them.
    Promised,
    Refused,
}

pub struct Sent {
    pub transaction: Transaction,
    /// It once was beyond its last block without having landed: whoever saw that had proof.
    pub was_dead: bool,
}

impl World {
    pub fn new(seed: u64, options: Options) -> Self {
        let mut state = State {
            options,
            adaptive: seed.is_multiple_of(2),
            busy: !seed.is_multiple_of(3),
            random: Random::new(seed),
            ledger: Ledger::new(0),
            weather: BTreeMap::new(),
            counts: BTreeMap::new(),
            violations: Vec::new(),
            log: Vec::new(),
            log_hash: 0xcbf2_9ce4_8422_2325,
            life: None,
            base_ms: 0,
            clock_offset_ms: 0,
            dead: false,
            death: Death::Never,
            weather_stays_until_ms: 0,
            books: None,
            sent: BTreeMap::new(),
            seen: BTreeMap::new(),
            published: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            books_lost: false,
            v1: match seed % 10 {
                0 | 5 => V1::Refused,
                3 => V1::Promised,
                _ => V1::Taken,
            },
        };
        state.ledger.takes_v1 = state.v1 == V1::Taken;
        Self { state: Mutex::new(state), died: Notify::new() }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Something that a process may die at. Says whether it has.
    pub fn passes(&self, point: &'static str) -> bool {
        let mut state = self.state();
        if !state.dead && state.death.strikes(point) {
            state.dead = true;
            state.note(&format!("death at {point}"));
            self.died.notify_one();
        }
        state.dead
    }

    /// As [`World::passes`], and nothing follows if it died.
    pub async fn outlives(&self, point: &'static str) {
        if self.passes(point) {
            std::future::pending::<()>().await;
        }
    }
}

impl State {
    pub fn begin_life(&mut self, death: Death, books: Connection) {
        self.life = Some(Instant::now());
        self.dead = false;
        self.death = death;
        self.books = Some(books);
    }

    pub fn end_life(&mut self, downtime_ms: u64) {
        self.base_ms = self.now_ms() + downtime_ms;
        self.life = None;
        self.books = None;
    }

    /// The database is gone, and with it all that it knew; what it had sent may still land.
    pub fn lose_books(&mut self) {
        self.note("books lost");
        self.books_lost = true;
        self.sent.values_mut().flatten().for_each(|sent| sent.was_dead = true);
    }

    /// Milliseconds since the world began.
    pub fn now_ms(&self) -> u64 {
        self.base_ms + self.life.map_or(0, |life| life.elapsed().as_millis() as u64)
    }

    /// Counts something that happened, and logs it.
    pub fn note(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
        self.say(what);
    }

    pub fn say(&mut self, what: &str) {
        let now = self.now_ms();
        let line = format!("{:>6}.{:03} {what}", now / 1_000, now % 1_000);
        for byte in line.bytes() {
            self.log_hash = (self.log_hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.options.keep_log {
            self.log.push(line);
        }
    }

    pub fn log_hash(&self) -> u64 {
        self.log_hash
    }

    pub fn violated(&mut self, what: String) {
        self.note(&format!("VIOLATED: {what}"));
        self.violations.push(what);
    }

    /// Lets the chain come to the present.
    pub fn advance(&mut self) {
        let now = self.now_ms();
        if self.ledger.has_come_to(now) {
            return;
        }
        let deep = u64::from(self.options.deep_forks) * 25;
        let fork = self.weather.get("fork").copied().unwrap_or_default();
        for slot in self.ledger.advance(now, &mut self.random, fork, deep) {
            self.note("fork");
            self.say(&format!("the blocks before slot {slot} are given up"));
        }
        for mint in std::mem::take(&mut self.ledger.given_up) {
            let sql = "SELECT EXISTS (SELECT 1 FROM mints WHERE mint_address = ? AND status = 'minted')";
            let books = self.books.as_ref().and_then(|books| books.prepare_cached(sql).ok());
            let minted = books.map(|mut books| books.query_row([mint.to_string()], |row| row.get::<_, bool>(0)));
            if matches!(minted, Some(Ok(true))) {
                self.note("minted and taken back");
            }
        }
        self.mark_dead();
    }

    fn mark_dead(&mut self) {
        let confirmed = self.ledger.newest().slot.saturating_sub(CONFIRMED);
        let height = self.ledger.block_at(confirmed).height;
        for sent in self.sent.values_mut().flatten().filter(|sent| !sent.was_dead) {
            sent.was_dead = !self.ledger.landed.contains_key(&sent.transaction.signature)
                && self.ledger.last_height(&sent.transaction.blockhash).is_none_or(|last| last < height);
        }
    }
}

/// The wall clock of the simulated machine.
#[derive(Clone)]
pub struct WallClock(pub Arc<World>);

impl std::fmt::Debug for WallClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WallClock")
    }
}

impl Clock for WallClock {
    fn now_ms(&self) -> i64 {
        let state = self.0.state();
        (EPOCH_MS + state.now_ms()).cast_signed() + state.clock_offset_ms
    }
}

thread_local! {
    static HERE: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
}

/// Enters a world on this thread, until the guard is dropped.
pub fn enter(world: &Arc<World>) -> Entered {
    static ARM: std::sync::Once = std::sync::Once::new();
    ARM.call_once(|| {
        for point in KILL_POINTS {
            let pass = move || {
                let here = HERE.with_borrow(Clone::clone);
                if here.is_some_and(|world| world.passes(point)) {
                    // Ends the task without a word; the world ends the others.
                    std::panic::resume_unwind(Box::new("death"));
                }
            };
            fail::cfg_callback(point, pass).unwrap();
        }
    });
    HERE.set(Some(Arc::clone(world)));
    simulation::enter(Arc::clone(world) as _);
    Entered
}

pub struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        simulation::leave();
        HERE.set(None);
    }
}
