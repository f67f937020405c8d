//! What goes wrong, how often, and when the process dies: all drawn from the seed.

use std::time::Duration;

use boxoffice::simulation;

use super::{
    random::Random,
    world::{State, World},
};

/// What can go wrong at any time, with how often it may do so on a bad day, of a thousand.
pub const FAULTS: [(&str, u64); 20] = [
    ("call lost", 100),
    ("answer lost", 300),
    ("slow call", 150),
    ("rate limit", 100),
    ("HTTP 503", 50),
    ("refused", 50),
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
    ("wrong simulation", 300),
];

/// The product's own kill points: a simulated process may die at any of them.
pub const KILL_POINTS: [&str; 14] = [
    "accept.before",
    "accept.inside",
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

pub fn kill_points() -> impl Iterator<Item = String> {
    KILL_POINTS.into_iter().map(|point| format!("death at {point}"))
}

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
            4..=8 => Self::At(KILL_POINTS[random.below(KILL_POINTS.len() as u64) as usize], random.of_any_size(3)),
            _ => Self::Never,
        }
    }

    /// Whether passing a point is the end.
    pub fn strikes(&mut self, point: &'static str) -> bool {
        let left = match self {
            Self::Never => return false,
            Self::At(name, _) if *name != point => return false,
            Self::After(left) | Self::At(_, left) => left,
        };
        *left = left.saturating_sub(1);
        *left == 0
    }
}

impl State {
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
