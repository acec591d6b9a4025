//! What was acknowledged is kept, whatever ends the broker and however often: publishers write down
//! every `OK`, consumers every FIN, and at the end the books must agree.
//!
//! `SOAK_SECONDS` makes the runs as long as that; `SEED` repeats what was left to chance.

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use tests::broker::Broker;
use tests::client::{Client, Frame, Seen, many};
use tests::crew::{Enough, Outcome, Run, run};
use tests::dice::{self, Dice};
use tests::http::try_post;
use tests::ledger::FORGETTABLE;
use tests::patience::SOON;
use tests::programs::{Maker, only_ours, real, say};
use tests::register::{Order, Register};

/// How long to go on, if not by the number of ends.
fn soak() -> Option<Duration> {
    let seconds = env::var("SOAK_SECONDS").ok()?;
    Some(Duration::from_secs(seconds.parse().expect("SOAK_SECONDS is a number")))
}

/// Works with a broker and tells the sums.
fn outcome(run_of: &Run<'_>) -> Outcome {
    say(&format!("ledger of {:?} {:?}: SEED={}", run_of.maker, run_of.flags, run_of.seed));
    let outcome = run(run_of);
    let Outcome { ledger, kills, terminations, cut_starts, slowest_start, refusals, left } =
        &outcome;
    let sums = ledger.sums();
    let again = ledger.again();
    let most = again.iter().map(|again| again.messages).max().unwrap_or_default();
    let oldest = again.iter().map(|again| again.oldest).max().unwrap_or_default();
    let missing: usize = ledger.missing().values().map(Vec::len).sum();
    say(&format!(
        "ledger of {:?}: {kills} kills, {terminations} terminations, {cut_starts} starts cut short; \
         slowest start {slowest_start:?}; {sums:?}; missing {missing}; finished and delivered again \
         {} (at most {most} after one end, finished at most {oldest:?} before it); refused {refusals:?}; \
         left {}",
        run_of.maker,
        again.iter().map(|again| again.messages).sum::<u64>(),
        left.values().sum::<i64>(),
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
        patience: SOON,
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

/// Carries an order out. `None` when the broker went before it answered; false when what the order
/// is about is not there.
fn carry_out(order: &Order, tcp: std::net::SocketAddr, http: std::net::SocketAddr) -> Option<bool> {
    let Some(target) = order.target() else {
        let mut client = Client::try_connect(tcp)?;
        let command = match order {
            Order::Publish(topic, count) => {
                many(topic, &(0..*count).map(|number| number.to_string()).collect::<Vec<_>>())
            }
            Order::Subscribe(topic, channel) => format!("SUB {topic} {channel}\n").into_bytes(),
            Order::OfTopic(..) | Order::OfChannel(..) => unreachable!("these have a target"),
        };
        client.try_send(&command);
        return match client.see_of_a_mortal(SOON) {
            Seen::Frame(Frame::Response(text)) if text == "OK" => Some(true),
            Seen::Closed => None,
            other => panic!("{order:?}: {other:?}"),
        };
    };
    let answer = try_post(http, &target, b"")?;
    assert!([200, 404].contains(&answer.status), "{order:?}: {}", answer.text());
    Some(answer.status == 200)
}

/// Gives orders, kills the broker right after an answer or while it carries an order out, and
/// compares what it knows then with a model. Says what it had forgotten, if it did.
fn what_was_ordered_and_forgotten(maker: Maker, flags: &[&str], enough: Enough) -> Option<String> {
    let seed = dice::seed();
    say(&format!("orders to {maker:?}: SEED={seed}"));
    let mut dice = Dice::of(seed, 0);
    let mut broker = Broker::of(maker, flags);
    let mut register = Register::default();
    let start = Instant::now();
    let mut ends = 0;
    let mut orders = 0;
    loop {
        let is_enough = match enough {
            Enough::Ends(number) => number <= ends,
            Enough::Time(time) => time <= start.elapsed(),
        };
        if is_enough {
            say(&format!("orders to {maker:?}: {orders} orders, {ends} kills, nothing forgotten"));
            return None;
        }
        let mut story = Vec::new();
        for _ in 0..dice.within(1..8) {
            let order = Order::by_chance(&mut dice);
            let answer = carry_out(&order, broker.tcp, broker.http);
            let expected = register.apply(&order);
            assert_eq!(answer, Some(expected), "{order:?} after {story:?}");
            story.push(order);
        }
        // What must be, or may be because the broker was killed before it answered.
        let mut allowed = vec![register.clone()];
        if dice.hits(40) {
            let order = Order::by_chance(&mut dice);
            if let Some(step) = order.first_step() {
                let mut half_done = register.clone();
                half_done.apply(&step);
                allowed.push(half_done);
            }
            register.apply(&order);
            let time = Duration::from_micros(dice.within(0..3000));
            let (tcp, http) = (broker.tcp, broker.http);
            let answer = thread::scope(|scope| {
                let answer = scope.spawn(|| carry_out(&order, tcp, http));
                thread::sleep(time);
                broker.process.kill();
                answer.join().expect("it does not panic")
            });
            if answer.is_some() {
                allowed.clear();
            }
            allowed.push(register.clone());
            story.push(order);
        } else {
            broker.process.kill();
        }
        orders += story.len();
        ends += 1;
        broker.start_again();
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let found = Register::of_stats(&broker.get("/stats?format=json").json());
            if let Some(known) = allowed.iter().find(|&allowed| *allowed == found) {
                register = known.clone();
                break;
            }
            if end < Instant::now() {
                return Some(format!(
                    "after {ends} kills and {story:?}\n{found:?}\nis none of\n{allowed:?}"
                ));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn what_an_operator_was_answered_stays_so_after_kill_9() {
    if !only_ours("the real nsqd writes down later what it has answered") {
        return;
    }
    let enough = soak().map_or(Enough::Ends(150), Enough::Time);
    let forgotten = what_was_ordered_and_forgotten(Maker::Ours, &["--shards=2"], enough);
    assert!(forgotten.is_none(), "{}", forgotten.unwrap_or_default());
}

#[test]
fn the_register_shows_what_the_real_nsqd_forgets() {
    if real("nsqd").is_none() {
        return;
    }
    let forgotten = what_was_ordered_and_forgotten(Maker::Real, &[], Enough::Ends(40));
    assert!(forgotten.is_some(), "nothing was forgotten: can this test fail?");
}
