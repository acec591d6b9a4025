//! What the steps of a message take that are ours alone, without system calls.
//!
//! `cargo bench --package broker`, with a word behind `--` only those benchmarks whose name has it.
//! A line is the time of one call; where a call is for many messages or entries, these are its items,
//! and 10 Mitem/s are 100 ns each.

mod decoder;
mod in_flight;
mod record;

/// The bytes of every body.
const BODY_BYTES: usize = 200;
/// Messages that are published together.
const BATCH: usize = 200;

fn main() {
    divan::main();
}
