//! Deliveries are noted, found again by their sequence, and looked at when one may have timed out. What
//! that takes must not depend on how many there are.

use broker::channel::Delivery;
use broker::channel::in_flight::InFlight;
use broker::clock::Tick;
use broker::keys::SubscriberKey;
use broker::message::Sequence;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

/// One as with RDY 1, what a client is often allowed, and more than a broker should ever have.
const ENTRIES: [u64; 3] = [1, 2_500, 1_000_000];

fn delivery() -> Delivery {
    Delivery {
        subscriber: SubscriberKey::default(),
        attempts: 1,
        sent: Tick(0),
        deadline: Tick(100),
        age: Default::default(),
        is_noted: false,
    }
}

fn table(entries: u64) -> InFlight {
    let mut in_flight = InFlight::default();
    (0..entries).for_each(|sequence| in_flight.insert(Sequence(sequence), delivery()));
    in_flight
}

/// The oldest is finished, and one more is sent.
#[divan::bench(args = ENTRIES)]
fn finish_and_send(bencher: Bencher<'_, '_>, entries: u64) {
    let mut in_flight = table(entries);
    let mut oldest = 0;
    bencher.bench_local(|| {
        let removed = in_flight.remove(black_box(Sequence(oldest)));
        in_flight.insert(Sequence(oldest + entries), delivery());
        oldest += 1;
        removed
    });
}

/// All are finished, in an order of no order.
#[divan::bench(args = ENTRIES, max_time = 1)]
fn finish_in_any_order(bencher: Bencher<'_, '_>, entries: u64) {
    // It has no divisor in common with the numbers of entries, so each has its turn once.
    const STRIDE: u64 = 611_953;
    bencher.counter(ItemsCount::new(entries)).with_inputs(|| table(entries)).bench_local_refs(
        |in_flight| {
            (0..entries)
                .filter(|turn| in_flight.remove(Sequence(turn * STRIDE % entries)).is_some())
                .count()
        },
    );
}

/// An alarm rings, and nothing has timed out. It does so about once a timeout.
#[divan::bench(args = ENTRIES, max_time = 1)]
fn look_for_timeouts(bencher: Bencher<'_, '_>, entries: u64) {
    let mut in_flight = table(entries);
    bencher
        .counter(ItemsCount::new(entries))
        .bench_local(|| in_flight.take_expired(black_box(Tick(99))));
}

/// All have timed out.
#[divan::bench(args = ENTRIES, max_time = 1)]
fn time_out(bencher: Bencher<'_, '_>, entries: u64) {
    bencher
        .counter(ItemsCount::new(entries))
        .with_inputs(|| table(entries))
        .bench_local_refs(|in_flight| in_flight.take_expired(black_box(Tick(100))));
}
