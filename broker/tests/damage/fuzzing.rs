//! Everything that reads bytes is given bytes that nobody thought of: those of the corpus, changed
//! by a seed, half of them with checksums that are right again.
//!
//! A failure prints target and seed, and leaves the input behind; put into `corpus/<target>/` it is
//! tried first from then on. `ROUNDS` says how many inputs each target gets, `SOAK_SECONDS` for how
//! long they get new ones; `SEED` plays one again.

#![expect(clippy::disallowed_methods, reason = "a test may wait for the disk")]

use crate::mutation::mutated;
use crate::random::Random;
use crate::seeds::{number, seeds};
use crate::targets::{TARGETS, Target};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// Inputs for each target when nobody says otherwise.
const ROUNDS: u64 = 10_000;

/// What to start from: the bytes that we write today, and those in the corpus.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let mut inputs = (target.seeds)();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/damage/corpus");
    let files = folder.join(target.name).read_dir().expect("every target has a corpus");
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    inputs.extend(paths.iter().map(|path| std::fs::read(path).unwrap()));
    inputs
}

fn input(target: &Target, corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let (from, other) = (random.choose(corpus).clone(), random.choose(corpus).clone());
    let mut input = mutated(&from, &other, &mut random);
    if let Some(seal) = target.seal
        && random.below(2) == 0
    {
        seal(&mut input);
    }
    input
}

#[track_caller]
fn check(target: &Target, input: &[u8], what: &str) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_ok() {
        return;
    }
    let path = std::env::temp_dir().join(format!("{}-{}", target.name, crc32fast::hash(input)));
    std::fs::write(&path, input).unwrap();
    panic!("{} fails on {what}, which is in {}", target.name, path.display());
}

fn fuzz(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let corpus = corpus(target);
    for (number, input) in corpus.iter().enumerate() {
        check(target, input, &format!("input {number} of the corpus"));
    }
    let inputs: Box<dyn Iterator<Item = u64>> = match number("SEED") {
        Some(seed) => Box::new(std::iter::once(seed)),
        None => Box::new(seeds("ROUNDS", ROUNDS)),
    };
    for seed in inputs {
        check(target, &input(target, &corpus, seed), &format!("the input of SEED={seed}"));
    }
}

#[test]
fn any_bytes_are_a_block_or_none() {
    fuzz("block");
}

#[test]
fn any_files_are_read_to_their_end() {
    fuzz("segments");
}

#[test]
fn any_checkpoint_describes_a_topic_that_works() {
    fuzz("checkpoint");
}

#[test]
fn any_list_of_topics_is_one_or_is_refused() {
    fuzz("list");
}

#[test]
fn any_disk_queue_is_read_to_its_end() {
    fuzz("queue");
}

#[test]
fn any_notes_of_an_import_are_some_or_none() {
    fuzz("import");
}

#[test]
fn commands_are_the_same_however_they_arrive() {
    fuzz("commands");
}

#[test]
fn requests_are_the_same_however_they_arrive() {
    fuzz("http");
}

/// Writes the inputs that we make today to the corpus, where later versions find them.
#[test]
#[ignore = "changes the corpus"]
fn keep_the_inputs_of_today() {
    for target in &TARGETS {
        let folder =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/damage/corpus").join(target.name);
        std::fs::create_dir_all(&folder).unwrap();
        for input in (target.seeds)() {
            let path = folder.join(format!("{:08x}", crc32fast::hash(&input)));
            std::fs::write(path, input).unwrap();
        }
    }
}
