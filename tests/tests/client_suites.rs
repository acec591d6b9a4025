//! The tests that clients are published with, unmodified, against the real nsqd and against ours in
//! one run: go-nsq's, nsqjs's and tokio-nsq's. What passes there passes here.

use std::thread;
use std::time::Duration;

use tests::patience::eventually;
use tests::programs::{Maker, real, say};
use tests::suite::{Outcome, Outcomes, Suite};

/// Both makers' programs are there, and the suite; else says what is missing.
fn can_run(suite: Suite) -> bool {
    real("nsqd").is_some() && suite.is_installed()
}

/// Runs a suite against both makers, and compares test by test. `count` is how many tests the
/// suite has.
///
/// The machine may be too busy for a suite that waits for so long and no longer. Hence a test that
/// did not pass with one of them gets a second run with both, and counts if it passed in one.
fn check(suite: Suite, count: usize) {
    if !can_run(suite) {
        return;
    }
    let (mut real, mut ours) = (Outcomes::new(), Outcomes::new());
    let mut story = String::new();
    for turn in 1..=2 {
        for (maker, outcomes) in [(Maker::Real, &mut real), (Maker::Ours, &mut ours)] {
            let mut run = suite.start(maker, "");
            for (name, outcome) in run.outcomes() {
                if outcome != Outcome::Passed {
                    say(&format!("{suite:?}: {name}: {outcome:?} with {maker:?}"));
                }
                if outcomes.get(&name) != Some(&Outcome::Passed) {
                    outcomes.insert(name, outcome);
                }
            }
            if maker == Maker::Ours {
                story = run.story();
            }
        }
        if real == ours && ours.values().all(|&outcome| outcome == Outcome::Passed) {
            break;
        }
        if turn == 1 {
            say(&format!("{suite:?}: not everything passed, so all runs again"));
        }
    }
    let passed =
        |all: &Outcomes| all.values().filter(|outcome| **outcome == Outcome::Passed).count();
    let (with_real, with_ours) = (passed(&real), passed(&ours));
    say(&format!(
        "{suite:?}: of {count} tests {with_real} pass with the real nsqd, {with_ours} with ours"
    ));
    let differs: Vec<_> = real
        .keys()
        .chain(ours.keys().filter(|name| !real.contains_key(*name)))
        .filter(|name| real.get(*name) != ours.get(*name))
        .map(|name| format!("{name}: {:?} and {:?}", real.get(name), ours.get(name)))
        .collect();
    assert!(differs.is_empty(), "real and ours differ:\n{}\n{story}", differs.join("\n"));
    assert_eq!(real.len(), count, "the suite did not run whole:\n{story}");
}

#[test]
fn what_passes_of_go_nsqs_tests_with_the_real_nsqd_passes_with_ours() {
    check(Suite::Go, 24);
}

#[test]
fn what_passes_of_nsqjss_tests_with_the_real_nsqd_passes_with_ours() {
    check(Suite::Node, 171);
}

#[test]
fn what_passes_of_tokio_nsqs_tests_with_the_real_nsqd_passes_with_ours() {
    check(Suite::Rust, 12);
}

/// tokio-nsq compresses without looking at the broker's answer. So its tests show that a suite can
/// fail, and that the brokers above compressed indeed; go-nsq's and nsqjs's pass without, too.
#[test]
fn tokio_nsqs_tests_notice_a_broker_that_does_not_compress() {
    if !can_run(Suite::Rust) {
        return;
    }
    let runs = [Maker::Real, Maker::Ours]
        .map(|maker| (maker, Suite::Rust.start(maker, "--snappy=false --deflate=false")));
    for (maker, run) in &runs {
        eventually(Duration::from_secs(60), "what does not compress passes", || {
            let passed = run.outcomes_so_far().get("direct_connection_basic").copied();
            (passed == Some(Outcome::Passed)).then_some(())
        });
        // Those that compress wait for ever, as the broker understands nothing of what they say.
        thread::sleep(Duration::from_secs(5));
        let outcomes = run.outcomes_so_far();
        let mut compressing = outcomes
            .keys()
            .filter(|name| name.contains("deflate") || name.contains("direct_connection_snappy"));
        assert_eq!(compressing.next(), None, "with {maker:?}\n{}", run.story());
    }
}
