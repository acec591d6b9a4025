//! Topology-aware consumption. NSQ 1.3.0 does not have it yet: the rule is that of its newest
//! sources.

use serde_json::json;
use tests::broker::Broker;
use tests::client::Client;
use tests::programs::only_ours;

fn consumer(broker: &Broker, region: &str, zone: &str) -> Client {
    let mut client = broker.client();
    let answer = client.identify(&format!(
        r#"{{"feature_negotiation":true,"topology_region":"{region}","topology_zone":"{zone}"}}"#
    ));
    assert!(answer.ends_with(r#","topology_region":"r","topology_zone":"z"}"#), "{answer}");
    client.subscribe("t", "c");
    client
}

fn counts(broker: &Broker) -> [Option<i64>; 3] {
    let channel = broker.channel("t", "c").expect("it is there");
    ["zone_local_msg_count", "region_local_msg_count", "global_msg_count"]
        .map(|key| channel[key].as_i64())
}

#[test]
fn whoever_is_nearer_is_served_first_where_the_experiment_is_on() {
    if !only_ours("NSQ 1.3.0 has no topology") {
        return;
    }
    let place = ["--topology-region=r", "--topology-zone=z"];
    let experiment = "--enable-experiment=topology-aware-consumption";
    let broker = Broker::with(&[place[0], place[1], experiment]);
    let info = broker.get("/info").json();
    assert_eq!((&info["topology_region"], &info["topology_zone"]), (&json!("r"), &json!("z")));
    let mut far = consumer(&broker, "q", "y");
    let mut near = consumer(&broker, "r", "y");
    let mut nearest = consumer(&broker, "r", "z");
    // One that has said nothing about itself is nowhere.
    let mut silent = broker.subscribed("t", "c");
    for client in [&mut silent, &mut far, &mut near, &mut nearest] {
        client.ready(3);
        // The broker has heard the one before the next.
        client.publish("other", b"m");
    }
    broker.client().publish_many("t", &["m"; 8]);
    let held = nearest.messages(3);
    assert_eq!(near.messages(3).len(), 3);
    broker.count_becomes("t", "c", "in_flight_count", 8);
    assert_eq!(counts(&broker), [3, 3, 2].map(Some));
    // As soon as the nearest can take more it is its turn again.
    nearest.finish(&held[0]);
    broker.count_becomes("t", "c", "in_flight_count", 7);
    broker.client().publish("t", b"m");
    nearest.message();
    assert_eq!(counts(&broker), [4, 3, 2].map(Some));

    // Without the experiment all are alike.
    let broker = Broker::with(&place);
    let mut clients = [("q", "y"), ("r", "y"), ("r", "z")].map(|(region, zone)| {
        let mut client = consumer(&broker, region, zone);
        client.ready(3);
        client.publish("other", b"m");
        client
    });
    broker.client().publish_many("t", &["m"; 6]);
    for client in &mut clients {
        client.message();
    }
    broker.count_becomes("t", "c", "in_flight_count", 6);
    assert_eq!(counts(&broker), [None, None, Some(6)]);
}
