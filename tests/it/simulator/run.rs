//! One seed: lives of the process on one database, one after the other, while the venue sells and the weather changes.

use std::{path::Path, sync::Arc, time::Duration};

use boxoffice::{
    cache::{Cache, Caching},
    chain::{Chain, transaction::signatures, wallet::Wallet},
    domain::{mint::MintStatus, spending::SpendingLimits, ticket::TicketRules},
    estimate::{Pacing, Prices},
    minting::{Minter, MintingSettings},
    store::{FILE_NAME, Identity, Store},
};
use prometheus::Registry;
use rusqlite::{Connection, OpenFlags};
use solana_keypair::Keypair;
use tokio::{runtime::Builder, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Options, Outcome, invariants,
    ledger::SLOT_MS,
    node::Nodes,
    publisher::Shelf,
    venue::Venue,
    weather::Death,
    world::{WallClock, World, enter},
};

/// Lives of a process that may end badly; one more follows in good weather.
const MOST_BAD_LIVES: u64 = 5;
/// How long a healed world is given to settle everything: far more than every time-out of the engine together.
const PATIENCE: Duration = Duration::from_hours(1);

/// How a life ended.
#[derive(PartialEq)]
enum End {
    Died,
    Stopped,
    Finished,
}

pub fn run(seed: u64, options: Options) -> Outcome {
    let world = Arc::new(World::new(seed, options));
    let _entered = enter(&world);
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.unwrap();
    let mut secret = [0; 32];
    secret[..8].copy_from_slice(&seed.to_le_bytes());
    let key = Keypair::new_from_array(secret);
    write_key(folder.path(), &key);
    let mut venue = Venue::open(&world, &wallet(folder.path(), options));
    let bad_lives = world.state().random.below(MOST_BAD_LIVES);
    let mut lives = 0;
    loop {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let end = runtime.block_on(live(&world, folder.path(), &mut venue, lives < bad_lives));
        let mut state = world.state();
        let downtime = if state.random.chance(500) { state.random.of_any_size(17) } else { 0 };
        // The clock is the runtime's: it is read for the last time.
        runtime.block_on(async { state.end_life(downtime) });
        drop(state);
        drop(runtime);
        if end == End::Finished {
            break;
        }
        lives += 1;
        if lives <= bad_lives && world.state().random.chance(150) {
            lose_books(&world, folder.path(), &venue);
        }
    }
    invariants::check(&world, folder.path(), &venue);
    Outcome::of(seed, &mut world.state())
}

/// The disk is replaced: a new database begins, and the venue sends everything again.
fn lose_books(world: &World, folder: &Path, venue: &Venue) {
    for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(FILE_NAME)) {
            std::fs::remove_file(file).unwrap();
        }
    }
    venue.batches.lock().unwrap().iter_mut().for_each(|batch| batch.accepted.clear());
    world.state().lose_books();
}

fn write_key(folder: &Path, key: &Keypair) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("wallet.json");
    std::fs::write(&path, serde_json::to_string(&key.to_bytes()[..]).unwrap()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn wallet(folder: &Path, options: Options) -> Wallet {
    Wallet::load(&folder.join("wallet.json")).unwrap().with_payers(options.payers).unwrap()
}

async fn live(world: &Arc<World>, folder: &Path, venue: &mut Venue, bad: bool) -> End {
    // As `App::start` does; the schema is not what is tested here.
    let store = Store::open(folder).unwrap();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let books = Connection::open_with_flags(folder.join(FILE_NAME), flags).unwrap();
    {
        let mut state = world.state();
        let death = if bad { Death::draw(&mut state.random) } else { Death::Never };
        state.begin_life(death, books);
        state.say("a process begins");
        if state.random.chance(800) {
            state.change_weather();
        }
    }
    let life = async {
        let Some(engine) = Engine::start(world, folder, &store, venue).await else { return End::Stopped };
        venue.sell(&engine.minter, world, bad).await;
        if !bad {
            venue.finish(&engine.minter, world).await;
            everything_settles(&engine, world).await;
        }
        engine.stop().await;
        world.state().note("graceful stop");
        if bad { End::Stopped } else { End::Finished }
    };
    let end = tokio::select! {
        biased;
        () = world.died.notified() => End::Died,
        end = life => end,
    };
    if end != End::Died {
        store.close().await;
    }
    end
}

async fn everything_settles(engine: &Engine, world: &Arc<World>) {
    let open = async || {
        let counts = engine.store.counts(None).await.unwrap();
        let unproven = engine.store.count_unproven().await.unwrap();
        counts.of(MintStatus::Pending) + counts.of(MintStatus::Minting) + unproven
    };
    for round in ["", " after the retry"] {
        let settled = async {
            while open().await > 0 || engine.minter.in_flight() > 0 {
                sleep(Duration::from_secs(2)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, settled).await.is_err() {
            let what = format!("{} tickets never settle{round}: {:?}", open().await, engine.minter.condition());
            world.state().violated(what);
            return;
        }
        // In good weather everything that a retry can help is minted; what the limit of an hour forbids waits for it.
        if round.is_empty() {
            let queued = engine.minter.retry_failed().await;
            world.state().say(&format!("retried: {queued:?}"));
            if queued.is_ok_and(|queued| queued > 0) {
                world.state().note("retry of failed tickets");
            }
        }
    }
}

struct Engine {
    minter: Minter,
    store: Store,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Engine {
    /// As `App::start` does. None if it fails: the service manager starts the process again.
    async fn start(world: &Arc<World>, folder: &Path, store: &Store, venue: &Venue) -> Option<Self> {
        let chain: Arc<dyn Chain> = Arc::new(Nodes(Arc::clone(world)));
        let options = world.state().options;
        let wallet = wallet(folder, options);
        let clock = Arc::new(WallClock(Arc::clone(world)));
        let genesis = chain.genesis_hash().await.ok()?;
        let identity = Identity {
            genesis_hash: genesis.to_string(),
            authority: wallet.address().to_string(),
            network: "simulated".into(),
        };
        store.bind(identity, boxoffice::clock::Clock::now_ms(clock.as_ref())).await.ok()?;
        let pacing = Pacing {
            wave_size: 10,
            wave_gap: Duration::from_millis(200),
            slot: Duration::from_millis(SLOT_MS),
            adaptive: world.state().adaptive,
        };
        let settings = MintingSettings {
            symbol: "SIM".into(),
            seller_fee_basis_points: 0,
            ticket_rules: TicketRules::default(),
            limits: SpendingLimits { per_hour: venue.limit, ..SpendingLimits::default() },
            pacing,
            packing: true,
            quiet_hours: None,
        };
        let registry = Registry::new();
        let minter = Minter::new(
            store.clone(),
            Arc::clone(&chain),
            Arc::new(Shelf(Arc::clone(world))),
            Caching::new(Cache::in_memory(1 << 20), "memory", &registry).unwrap(),
            wallet,
            Arc::new(
                Prices::new(chain).with_priority_fees(venue.priority_fees).with_signatures(signatures(options.payers)),
            ),
            clock,
            settings,
            &registry,
        );
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let minter = minter.unwrap();
        minter.start(&tasks, &shutdown).await.ok()?;
        Some(Self { minter, store: store.clone(), tasks, shutdown })
    }

    async fn stop(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
