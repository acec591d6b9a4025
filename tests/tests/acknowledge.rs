//! What an `OK` means: the setting, and that the same promise holds for every way to publish.
//!
//! That a synced message survives a loss of power is proved where power can be cut, in simulation.

use std::time::Duration;

use std::process::Command;

use tests::broker::Broker;
use tests::client::Client;
use tests::process::{Ended, run};
use tests::programs::{only_ours, ours};

/// What `nsqd` says when it does not start.
fn refused(flags: &[&str]) -> String {
    let Ended { status, log, .. } =
        run(Command::new(ours("nsqd")).args(flags), b"", Duration::from_secs(20));
    assert_eq!(status.code(), Some(1), "{flags:?}: {log}");
    log
}

#[test]
fn ours_refuses_to_start_with_settings_that_contradict_each_other() {
    if !only_ours("nsqd has no such setting") {
        return;
    }
    for flags in [
        &["--acknowledge=written", "--sync-every=1"],
        &["--acknowledge=buffered", "--sync-every=1"],
        &["--acknowledge=synced", "--sync-every=100"],
    ] {
        let reason = refused(flags);
        assert!(reason.contains("--acknowledge=synced"), "{flags:?}: {reason}");
    }
    assert!(refused(&["--sync-timeout=0s"]).contains("--sync-timeout must be more than 0"));
}

/// Publishes in every way there is, each answered with success.
fn publish_in_every_way(broker: &Broker, client: &mut Client) {
    client.publish("t", b"PUB");
    client.publish_many("t", &[b"MPUB 1", b"MPUB 2"]);
    client.publish_deferred("t", 1, b"DPUB");
    assert_eq!(broker.post("/pub?topic=t", b"pub").status, 200);
    assert_eq!(broker.post("/mpub?topic=t", b"mpub 1\nmpub 2").status, 200);
}

#[test]
fn ours_keeps_what_it_acknowledged_whatever_the_policy_and_the_way_to_publish() {
    if !only_ours("nsqd has no such setting") {
        return;
    }
    for flag in ["--acknowledge=synced", "--acknowledge=written", "--sync-every=1"] {
        let mut broker = Broker::with(&[flag]);
        publish_in_every_way(&broker, &mut broker.client());
        broker.crash();
        assert_eq!(broker.topic_count("t", "depth"), 7, "{flag}");
    }
    // What is only buffered is written when the turn ends, and a clean stop loses nothing.
    let mut broker = Broker::with(&["--acknowledge=buffered"]);
    publish_in_every_way(&broker, &mut broker.client());
    broker.restart();
    assert_eq!(broker.topic_count("t", "depth"), 7);
}
