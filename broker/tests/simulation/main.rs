//! A topic with its log, its channels and its checkpoint through random schedules, on a disk that
//! fails, tears and forgets; whatever happens, nobody gets a wrong byte, nothing that was promised
//! is missing, and nothing comes early.
//!
//! [`storage`] is the disk, [`shell`] does what a shard and its folder do, [`model`] says on a page
//! what is owed, [`schedule`] chooses what happens and compares. Everything follows from the seed.
//!
//! A run that fails prints its seed. `SEED=7 cargo test -p broker --test simulation` plays it again
//! and tells every step; `SEEDS=1000000` tries so many, `SOAK_SECONDS=600` new ones for so long.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod model;
#[path = "../damage/random.rs"]
mod random;
mod schedule;
mod shell;
mod storage;

use schedule::Schedule;

/// How many seeds are tried when nobody says otherwise.
const SEEDS: u64 = 3_000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, and is {text}")))
}

/// The seeds to try: so many, or for so many seconds (`SOAK_SECONDS`), then from anywhere.
#[expect(clippy::disallowed_methods, reason = "how long a test runs is no part of what it tests")]
fn seeds() -> impl Iterator<Item = u64> {
    let start = std::time::Instant::now();
    let seconds = number("SOAK_SECONDS");
    let anywhere = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.expect("it is later than 1970").as_secs() << 24
    };
    let first = number("FIRST_SEED").unwrap_or_else(|| seconds.map_or(0, |_| anywhere()));
    let count = number("SEEDS").unwrap_or(if seconds.is_some() { u64::MAX } else { SEEDS });
    (0..count)
        .map(move |number| first + number)
        .take_while(move |_| seconds.is_none_or(|seconds| start.elapsed().as_secs() < seconds))
}

#[test]
fn whatever_happens_what_was_promised_is_kept() {
    if let Some(seed) = number("SEED") {
        Schedule::new(seed, true).run();
        return;
    }
    for seed in seeds() {
        let outcome = std::panic::catch_unwind(|| Schedule::new(seed, false).run());
        assert!(outcome.is_ok(), "the schedule of SEED={seed} failed");
    }
}
