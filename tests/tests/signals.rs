//! What signals do to a broker, beside what they do to the real one.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use rustix::process::Signal;
use tests::broker::Broker;
use tests::programs::{Maker, real, under_test};

const LIMIT: Duration = Duration::from_secs(60);

/// How a process ends: its status, or the signal that ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Status(i32),
    Signal(i32),
}

fn ends(maker: Maker, signal: Signal) -> End {
    let mut broker = Broker::of(maker, &[]);
    broker.client().publish("t", b"m");
    broker.process.signal(signal);
    let status = broker.process.ended_within(LIMIT);
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Status(code),
        (None, signal) => End::Signal(signal.expect("a process ends in one of the two ways")),
    }
}

#[test]
fn signals_end_a_broker_as_they_end_the_real_one() {
    for (signal, end) in [
        (Signal::TERM, End::Status(0)),
        (Signal::INT, End::Status(0)),
        (Signal::HUP, End::Signal(1)),
        (Signal::QUIT, End::Status(2)),
    ] {
        assert_eq!(ends(under_test(), signal), end, "{signal:?}");
        if real("nsqd").is_some() {
            assert_eq!(ends(Maker::Real, signal), end, "{signal:?} to the real one");
        }
    }
}

#[test]
fn signals_that_mean_nothing_to_a_broker_do_nothing() {
    let makers = [Some(under_test()), real("nsqd").map(|_| Maker::Real)];
    for maker in makers.into_iter().flatten() {
        let mut broker = Broker::of(maker, &[]);
        for signal in [Signal::USR1, Signal::USR2, Signal::ALARM, Signal::PIPE] {
            broker.process.signal(signal);
            broker.client().works();
            assert!(broker.process.is_running(), "{maker:?} ended by {signal:?}");
        }
        assert_eq!(broker.stop().code(), Some(0));
    }
}
