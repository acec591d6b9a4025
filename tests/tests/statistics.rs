//! What is measured and pushed: statsd and the times from publish to FIN, beside the real nsqd, and
//! `/stats` of many clients.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use serde_json::Value;
use tests::broker::Broker;
use tests::http::request;
use tests::patience::{SOON, eventually};
use tests::programs::{Maker, only_ours, real, under_test};

const QUANTILES: &str = "--e2e-processing-latency-percentile=0.5,1.0,0.955";

/// A statsd daemon.
struct Daemon(UdpSocket);

impl Daemon {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit can be set");
        Self(socket)
    }

    fn flag(&self) -> String {
        let address = self.0.local_addr().expect("it is bound");
        format!("--statsd-address={address}")
    }

    /// The datagrams up to the one that has a line with `last`.
    fn push(&self, last: &str) -> Vec<String> {
        let mut datagrams: Vec<String> = Vec::new();
        let mut buffer = [0; 65_536];
        while !datagrams.last().is_some_and(|datagram| datagram.contains(last)) {
            let bytes = match self.0.recv(&mut buffer) {
                // This process was held up, and goes on.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                received => received.expect("datagrams come"),
            };
            datagrams.push(String::from_utf8(buffer[..bytes].to_vec()).expect("they are text"));
        }
        datagrams
    }
}

/// A topic with consumers, one without, an ephemeral one, and messages in every state.
fn load(broker: &Broker) {
    let mut consumer = broker.subscribed("busy", "c");
    broker.order("/channel/create?topic=busy&channel=waits%23ephemeral");
    let bodies: Vec<&[u8]> = vec![b"one"; 5];
    broker.client().publish_many("busy", &bodies);
    consumer.ready(3);
    let messages = consumer.messages(3);
    consumer.ready(1);
    consumer.finish(&messages[0]);
    consumer.requeue(&messages[1], 60_000);
    broker.client().publish("idle", b"m");
    broker.order("/topic/create?topic=gone%23ephemeral");
    broker.order("/channel/create?topic=gone%23ephemeral&channel=c");
    broker.count_becomes("busy", "c", "requeue_count", 1);
    broker.count_becomes("busy", "c", "in_flight_count", 1);
    broker.count_becomes("busy", "waits#ephemeral", "depth", 5);
    // The consumer stays until the push; it goes with the broker.
    std::mem::forget(consumer);
}

/// A push's lines. Figures that depend on the time and the process are left out, their names stay.
fn lines(maker: Maker, flags: &[&str], datagram_bytes_max: usize) -> Vec<String> {
    let daemon = Daemon::start();
    let address = daemon.flag();
    // The first push is that of a broker that has got all of its load.
    let mut all = vec![address.as_str(), "--statsd-interval=6s", QUANTILES];
    all.extend(flags);
    let broker = Broker::of(maker, &all);
    load(&broker);
    let datagrams = daemon.push("mem.gc_runs");
    for datagram in &datagrams {
        assert!(datagram.len() <= datagram_bytes_max && datagram.ends_with('\n'), "{datagram:?}");
    }
    let place = format!("127_0_0_1_{}", broker.http.port());
    datagrams.concat().lines().map(|line| masked(&line.replace(&place, "HERE"))).collect()
}

fn masked(line: &str) -> String {
    let (name, value) = line.split_once(':').expect("a line has a value");
    let (value, kind) = value.split_once('|').expect("a value has a kind");
    value.parse::<i64>().unwrap_or_else(|_| panic!("no whole number: {line}"));
    let changes = name.contains("mem.") || name.contains("e2e_processing_latency");
    format!("{name}:{}|{kind}", if changes { "N" } else { value })
}

#[test]
fn statsd_gets_the_lines_that_the_real_nsqd_pushes() {
    if real("nsqd").is_none() {
        return;
    }
    for (flags, bytes_max) in [
        (&[][..], 508),
        (&["--statsd-prefix=", "--statsd-udp-packet-size=100"], 100),
        (&["--statsd-prefix=a.%s.%s", "--statsd-exclude-ephemeral"], 508),
    ] {
        // Both wait for their push most of the time.
        let (theirs, own) = std::thread::scope(|scope| {
            let theirs = scope.spawn(|| lines(Maker::Real, flags, bytes_max));
            let own = lines(under_test(), flags, bytes_max);
            (theirs.join().expect("its pushes come"), own)
        });
        let set = |lines: &[String]| lines.iter().cloned().collect::<BTreeSet<_>>();
        assert_eq!(set(&own), set(&theirs), "{flags:?}");
        assert!(25 <= own.len(), "{own:?}");
        // Topics and channels by name, and nothing twice.
        assert_eq!(own.len(), set(&own).len(), "{own:?}");
    }
}

#[test]
fn a_push_tells_what_came_since_the_one_before() {
    let daemon = Daemon::start();
    let flags = [&daemon.flag(), "--statsd-interval=2s", "--statsd-prefix=x"];
    let broker = Broker::with(&flags);
    broker.client().publish("t", b"12345");
    // In which push it is told depends on when it was published.
    let told = |lines: [&str; 2]| {
        eventually(SOON, "a push tells of it", || {
            let push = daemon.push("mem.gc_runs").concat();
            lines.iter().all(|line| push.lines().any(|found| found == *line)).then_some(())
        });
    };
    told(["x.topic.t.message_count:1|c", "x.topic.t.message_bytes:5|c"]);
    broker.client().publish("t", b"123");
    told(["x.topic.t.message_bytes:3|c", "x.topic.t.depth:2|g"]);
}

#[test]
fn without_memory_nothing_of_it_is_pushed() {
    let daemon = Daemon::start();
    let flags = [&daemon.flag(), "--statsd-interval=2s", "--statsd-mem-stats=false"];
    let broker = Broker::with(&flags);
    broker.client().publish("t", b"1");
    let push = daemon.push("topic.t.backend_depth").concat();
    assert!(!push.contains("mem."), "{push}");
}

#[test]
fn ours_pushes_every_second_if_it_is_to() {
    if !only_ours("the real nsqd ends with a panic") {
        return;
    }
    for interval in ["1s", "100ms"] {
        let daemon = Daemon::start();
        let flag = format!("--statsd-interval={interval}");
        let mut broker = Broker::with(&[&daemon.flag(), &flag]);
        for _ in 0..3 {
            daemon.push("mem.gc_runs");
        }
        assert!(broker.process.is_running());
    }
}

/// The count and the values of a latency, in milliseconds.
fn latency(found: &Value) -> (u64, Vec<(f64, f64)>) {
    let points = found["percentiles"].as_array().expect("they are measured");
    let point = |point: &Value| {
        let number = |key: &str| point[key].as_f64().expect("a number");
        (number("quantile"), number("value") / 1e6)
    };
    (found["count"].as_u64().expect("a number"), points.iter().map(point).collect())
}

fn is_measured(maker: Maker) {
    let broker = Broker::of(maker, &[QUANTILES]);
    let mut consumers = ["a", "b"].map(|channel| broker.subscribed("t", channel));
    for _ in 0..4 {
        broker.client().publish("t", b"m");
    }
    let [a, b] = &mut consumers;
    a.ready(10);
    b.ready(10);
    let (of_a, of_b) = (a.messages(4), b.messages(4));
    std::thread::sleep(Duration::from_millis(300));
    of_a.iter().for_each(|message| a.finish(message));
    b.finish(&of_b[0]);
    broker.count_becomes("t", "a", "in_flight_count", 0);
    broker.count_becomes("t", "b", "in_flight_count", 3);
    // The real one measures a message when it is not in flight any more.
    let [of_topic, of_a, of_b] = eventually(SOON, "all are measured", || {
        let topic = broker.topic("t")?;
        let found = [
            &topic["e2e_processing_latency"],
            &topic["channels"][0]["e2e_processing_latency"],
            &topic["channels"][1]["e2e_processing_latency"],
        ]
        .map(latency);
        (found.each_ref().map(|of| of.0) == [5, 4, 1]).then_some(found)
    });
    for (_, points) in [of_topic, of_a, of_b] {
        let quantiles: Vec<f64> = points.iter().map(|&(quantile, _)| quantile).collect();
        assert_eq!(quantiles, [1.0, 0.955, 0.5], "{maker:?}");
        for (_, milliseconds) in points {
            assert!((295.0..60_000.0).contains(&milliseconds), "{maker:?}: {milliseconds}");
        }
    }
    let text = broker.get("/stats").text();
    let line = text.lines().find(|line| line.contains("[t ")).expect("it is there").to_owned();
    let shown = line.split("e2e%: ").nth(1).expect("they are shown");
    assert_eq!(shown.split(", ").count(), 3, "{line}");
    assert!(shown.ends_with('s'), "{line}");
}

#[test]
fn the_time_from_publish_to_finish_is_shown_where_it_is_asked_for() {
    is_measured(under_test());
    if real("nsqd").is_some() {
        is_measured(Maker::Real);
    }
}

#[test]
fn times_include_delays_and_attempts_and_are_forgotten_after_the_window() {
    let window = "--e2e-processing-latency-window-time=10s";
    let broker = Broker::with(&[QUANTILES, window]);
    let mut consumer = broker.subscribed("t", "c");
    consumer.ready(1);
    broker.client().publish_deferred("t", 200, b"m");
    let message = consumer.message();
    consumer.requeue(&message, 200);
    let message = consumer.message();
    consumer.finish(&message);
    broker.count_becomes("t", "c", "in_flight_count", 0);
    let shown = || {
        let channel = broker.channel("t", "c").expect("it is there");
        latency(&channel["e2e_processing_latency"])
    };
    let (count, points) = shown();
    assert_eq!(count, 1);
    assert!(points.iter().all(|&(_, milliseconds)| 395.0 <= milliseconds), "{points:?}");
    eventually(SOON, "the window passes", || (shown().0 == 0).then_some(()));
    assert!(shown().1.iter().all(|&(_, milliseconds)| milliseconds == 0.0));
}

#[test]
fn bad_percentiles_end_the_start_as_with_the_real_nsqd() {
    use tests::process::{Ended, run};
    for maker in [Some(under_test()), real("nsqd").map(|_| Maker::Real)].into_iter().flatten() {
        for (value, reason) in [
            ("2", "invalid E2E processing latency percentile: 2"),
            ("0", "invalid E2E processing latency percentile: 0"),
            ("x", "Could not parse: x"),
        ] {
            let folder = tempfile::TempDir::new().expect("it can be made");
            let mut command = std::process::Command::new(maker.program("nsqd"));
            command.arg(format!("--e2e-processing-latency-percentile={value}"));
            command.arg("--tcp-address=127.0.0.1:0").arg("--http-address=127.0.0.1:0");
            command.arg(format!("--data-path={}", folder.path().display()));
            let Ended { status, log, .. } = run(&mut command, b"", Duration::from_secs(20));
            assert_eq!(status.code(), Some(1), "{maker:?}: {log}");
            assert!(log.contains(reason), "{maker:?}: {log}");
        }
    }
}

#[test]
fn many_clients_are_all_listed_once_in_both_forms() {
    let broker = Broker::start();
    let mut clients = Vec::new();
    for channel in ["a", "b"] {
        for _ in 0..150 {
            clients.push(broker.subscribed("t", channel));
        }
    }
    for _ in 0..70 {
        let mut client = broker.client();
        client.publish("t", b"m");
        clients.push(client);
    }
    let stats = broker.get("/stats?format=json").json();
    let mut addresses = BTreeSet::new();
    let mut count = 0;
    let mut add = |list: &Value| {
        for client in list.as_array().expect("clients are listed") {
            addresses.insert(client["remote_address"].to_string());
            count += 1;
        }
    };
    for channel in stats["topics"][0]["channels"].as_array().expect("channels are listed") {
        assert_eq!(channel["client_count"], 150);
        add(&channel["clients"]);
    }
    add(&stats["producers"]);
    assert_eq!((count, addresses.len()), (370, 370));
    let text = broker.get("/stats").text();
    assert_eq!(text.matches("\n        [V2 ").count(), 300);
    assert_eq!(text.matches("\n   [V2 ").count(), 70);
    let few = request(broker.http, "GET", "/stats?format=json&include_clients=false", b"").json();
    assert!(few["topics"][0]["channels"][0]["clients"].is_null() && few["producers"].is_null());
    assert_eq!(few["topics"][0]["channels"][0]["client_count"], 150);
}
