//! The world of one seed: its truth, its weather, its log, and the moment at which the process dies.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use boxoffice::{clock::Clock, simulation};
use rusqlite::Connection;
use solana_pubkey::Pubkey;
use tokio::{sync::Notify, time::Instant};

use super::{
    Options,
    ledger::{CONFIRMED, Ledger},
    random::Random,
    transaction::Minting,
};

/// Where the wall clock stands when a world begins, Unix milliseconds.
const EPOCH_MS: u64 = 1_800_000_000_000;
/// What can go wrong at any time, with how often it may do so on a bad day, of a thousand.
pub const FAULTS: [(&str, u64); 19] = [
    ("call lost", 200),
    ("answer lost", 300),
    ("slow call", 150),
    ("rate limit", 200),
    ("HTTP 503", 100),
    ("refused", 100),
    ("malformed", 50),
    ("wrong count", 50),
    ("lagging node", 300),
    ("null status", 1_000),
    ("forgotten history", 300),
    ("dropped transaction", 600),
    ("late landing", 200),
    ("duplicated transaction", 300),
    ("fork", 100),
    ("slow disk", 200),
    ("failed commit", 150),
    ("failed publish", 100),
    ("first signature unknown", 300),
];

/// When a process dies.
#[derive(Clone, Copy, Debug, Default)]
pub enum Death {
    #[default]
    Never,
    /// After it has passed so many points of any kind.
    After(u64),
    /// After it has passed one of the product's own kill points so often.
    At(&'static str, u64),
}

impl Death {
    pub fn draw(random: &mut Random) -> Self {
        match random.below(10) {
            0..=3 => Self::After(20 + random.of_any_size(11)),
            4..=7 => Self::At(*random.pick(&KILL_POINTS), random.of_any_size(5)),
            _ => Self::Never,
        }
    }

    /// Whether passing a point is the end.
    fn strikes(&mut self, point: &'static str) -> bool {
        let left = match self {
            Self::Never => return false,
            Self::At(name, _) if *name != point => return false,
            Self::After(left) | Self::At(_, left) => left,
        };
        *left = left.saturating_sub(1);
        *left == 0
    }
}

pub struct World {
    state: Mutex<State>,
    /// Rung when the process dies.
    pub died: Notify,
}

pub struct State {
    pub options: Options,
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
    dead: bool,
    death: Death,
    /// No change of weather before this time.
    pub weather_stays_until_ms: u64,
    /// A look into the books that the process cannot prevent.
    pub books: Option<Connection>,
    /// Transactions whose bytes left the box, by the ticket that they mint.
    pub sent: BTreeMap<Pubkey, Vec<Sent>>,
    /// All bytes that left the box, and what they are.
    pub seen: BTreeMap<Vec<u8>, Minting>,
    /// Addresses of what can be fetched.
    pub published: BTreeSet<String>,
    /// A node with full history denied a transaction that had landed: what was paid for it cannot be known by the box.
    pub forgotten: BTreeSet<solana_signature::Signature>,
    /// The database was lost once, and begun anew.
    pub books_lost: bool,
}

pub struct Sent {
    pub minting: Minting,
    /// It once was beyond its last block without having landed: whoever saw that had proof.
    pub was_dead: bool,
}

impl World {
    pub fn new(seed: u64, options: Options) -> Self {
        let state = State {
            options,
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
        };
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
        let line = format!("{:>9.3} {what}", self.now_ms() as f64 / 1_000.0);
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

    /// Whether a fault strikes now.
    pub fn strikes(&mut self, fault: &'static str) -> bool {
        let of_a_thousand = self.weather.get(fault).copied().unwrap_or_default();
        let strikes = of_a_thousand > 0 && self.random.chance(of_a_thousand);
        if strikes {
            self.note(fault);
        }
        strikes
    }

    /// Draws the weather anew: each fault is absent, rare or frequent by itself, and now and then nothing is reached at all.
    pub fn change_weather(&mut self) {
        if self.now_ms() < self.weather_stays_until_ms {
            return;
        }
        self.weather.clear();
        for (fault, worst) in FAULTS {
            let of_worst = *self.random.pick(&[0, 0, 5, 20, 100, 100]);
            self.weather.insert(fault, worst * of_worst / 100);
        }
        if self.random.chance(50) {
            self.weather.insert("call lost", 1_000);
            self.note("outage");
        } else if self.random.chance(6) {
            // Nothing that is sent ever lands, for so long that tickets are given up.
            self.weather.clear();
            self.weather.insert("dropped transaction", 1_000);
            self.weather_stays_until_ms = self.now_ms() + 500_000;
            self.death = Death::Never;
            self.note("black hole");
        }
        self.say(&format!("weather {:?}", self.weather));
    }

    pub fn heal(&mut self) {
        self.weather.clear();
        self.weather_stays_until_ms = 0;
        self.options.deep_forks = false;
        self.say("healed");
    }

    /// Lets the chain come to the present.
    pub fn advance(&mut self) {
        let now = self.now_ms();
        if self.ledger.has_come_to(now) {
            return;
        }
        let deep = u64::from(self.options.deep_forks) * 4;
        let fork = self.weather.get("fork").copied().unwrap_or_default();
        for slot in self.ledger.advance(now, &mut self.random, fork, deep) {
            self.note("fork");
            self.say(&format!("the blocks before slot {slot} are given up"));
        }
        self.mark_dead();
    }

    fn mark_dead(&mut self) {
        let confirmed = self.ledger.newest().slot.saturating_sub(CONFIRMED);
        let height = self.ledger.block_at(confirmed).height;
        for sent in self.sent.values_mut().flatten().filter(|sent| !sent.was_dead) {
            sent.was_dead = !self.ledger.landed.contains_key(&sent.minting.signature)
                && self.ledger.last_height(&sent.minting.blockhash).is_none_or(|last| last < height);
        }
    }
}

impl simulation::World for World {
    fn disk_delay(&self) -> Duration {
        if self.passes("disk") {
            return Duration::from_hours(10_000);
        }
        let mut state = self.state();
        if state.strikes("slow disk") { state.random.ms(50, 3_000) } else { state.random.ms(1, 8) }
    }

    fn commit_fails(&self) -> bool {
        let mut state = self.state();
        state.dead || state.strikes("failed commit")
    }

    fn sabotages(&self, bug: &'static str) -> bool {
        self.state().options.sabotage == Some(bug)
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

/// The product's own kill points: a simulated process may die at any of them.
const KILL_POINTS: [&str; 13] = [
    "accept.before",
    "accept.after",
    "prepare.published",
    "prepare.looked_up",
    "record.before",
    "record.inside",
    "record.after",
    "send.before",
    "send.after_wave",
    "settle.before",
    "settle.inside",
    "store.before_commit",
    "store.after_commit",
];

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

pub fn kill_points() -> impl Iterator<Item = String> {
    KILL_POINTS.into_iter().map(|point| format!("death at {point}"))
}
