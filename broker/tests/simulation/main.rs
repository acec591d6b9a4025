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
#[path = "../damage/seeds.rs"]
mod seeds;
mod shell;
mod storage;

use schedule::Schedule;
use seeds::{number, seeds};

/// How many seeds are tried when nobody says otherwise.
const SEEDS: u64 = 3_000;

#[test]
fn whatever_happens_what_was_promised_is_kept() {
    if let Some(seed) = number("SEED") {
        Schedule::new(seed, true).run();
        return;
    }
    for seed in seeds("SEEDS", SEEDS) {
        let outcome = std::panic::catch_unwind(|| Schedule::new(seed, false).run());
        assert!(outcome.is_ok(), "the schedule of SEED={seed} failed");
    }
}
