//! What was acknowledged is kept, whatever ends the broker and however often: publishers write down
//! every `OK`, consumers every FIN, and at the end the books must agree.
//!
//! `SOAK_SECONDS` makes the runs as long as that; `SEED` repeats what was left to chance.

use std::env;
use std::time::Duration;

use tests::crew::{Enough, Outcome, Run, run};
use tests::dice;
use tests::ledger::FORGETTABLE;
use tests::programs::{Maker, only_ours, real, say};

/// How long to go on, if not by the number of ends.
fn soak() -> Option<Duration> {
    let seconds = env::var("SOAK_SECONDS").ok()?;
    Some(Duration::from_secs(seconds.parse().expect("SOAK_SECONDS is a number")))
}

/// Works with a broker and tells the sums.
fn outcome(run_of: &Run<'_>) -> Outcome {
    say(&format!("ledger of {:?} {:?}: SEED={}", run_of.maker, run_of.flags, run_of.seed));
    let outcome = run(run_of);
    let Outcome { ledger, kills, terminations, cut_starts, slowest_start, refusals, .. } = &outcome;
    let sums = ledger.sums();
    let again = ledger.again();
    let most = again.iter().map(|again| again.messages).max().unwrap_or_default();
    let oldest = again.iter().map(|again| again.oldest).max().unwrap_or_default();
    let missing: usize = ledger.missing().values().map(Vec::len).sum();
    say(&format!(
        "ledger of {:?}: {kills} kills, {terminations} terminations, {cut_starts} starts cut short; \
         slowest start {slowest_start:?}; {sums:?}; missing {missing}; finished and delivered again \
         {} (at most {most} after one end, finished at most {oldest:?} before it); refused {refusals:?}",
        run_of.maker,
        again.iter().map(|again| again.messages).sum::<u64>(),
    ));
    outcome
}

/// Some of what is missing, with what is known of it.
fn words(outcome: &Outcome) -> Vec<String> {
    let missing = outcome.ledger.missing();
    let lines = missing.iter().map(|(name, numbers)| {
        let some = numbers.iter().take(10).map(|&number| {
            format!("{number} ({} deliveries)", outcome.ledger.deliveries(name, number))
        });
        format!("{name:?}: {} missing: {:?}", numbers.len(), some.collect::<Vec<_>>())
    });
    lines.collect()
}

#[test]
fn what_is_acknowledged_is_delivered_however_often_the_broker_ends() {
    if !only_ours("the real nsqd loses what is in its memory when it is killed") {
        return;
    }
    let outcome = outcome(&Run {
        seed: dice::seed(),
        maker: Maker::Ours,
        // Small segments, so that many are begun and deleted; little memory, so that some are read.
        flags: &["--shards=2", "--max-bytes-per-file=262144", "--memory-bytes=1048576"],
        enough: soak().map_or(Enough::Ends(22), Enough::Time),
        patience: Duration::from_secs(8),
    });
    assert_eq!(words(&outcome), Vec::<String>::new(), "acknowledged, and not delivered");
    let faults = outcome.ledger.faults();
    assert!(faults.is_empty(), "{} faults: {:#?}", faults.len(), &faults[..faults.len().min(20)]);
    assert!(outcome.left.values().all(|&count| count == 0), "left: {:?}", outcome.left);
    for again in outcome.ledger.again() {
        assert!(again.oldest < FORGETTABLE, "forgotten: {again:?}");
    }
    let sums = outcome.ledger.sums();
    assert!(1000 < sums.acknowledged, "little was published: {sums:?}");
    assert!(sums.owed <= sums.finished);
}

#[test]
fn the_ledger_shows_what_the_real_nsqd_loses() {
    if real("nsqd").is_none() {
        return;
    }
    let outcome = outcome(&Run {
        seed: dice::seed(),
        maker: Maker::Real,
        flags: &[],
        enough: Enough::Ends(8),
        patience: Duration::from_secs(5),
    });
    assert!(!outcome.ledger.missing().is_empty(), "nothing is missing: can this ledger fail?");
}
