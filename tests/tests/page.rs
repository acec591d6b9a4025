//! The administration page in a real Chromium, and its modules without one.
//!
//! Here is what the cluster is like before each case; what is done and seen is in `tests/browser`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tests::broker::Broker;
use tests::browser::{has_node, is_installed, play};
use tests::client::Client;
use tests::lookup_server::LookupServer;
use tests::nsqadmin::Nsqadmin;
use tests::patience::{SOON, eventually};
use tests::process::{Process, run};
use tests::programs::{Maker, ours, real, workspace};
use tests::scripted_http::ScriptedHttp;
use tests::simulated_cluster::SimulatedCluster;

/// One browser at a time: two would only wait for each other.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Our nsqadmin, with these flags, and where it is.
fn admin(flags: &[&str]) -> (Process, String) {
    let mut command = Command::new(ours("admin-cli"));
    command.args(["nsqadmin", "--http-address=127.0.0.1:0"]).args(flags);
    let mut process = Process::start(&mut command);
    let address = process.logged("HTTP: listening on ");
    (process, format!("http://{}", address.trim()))
}

/// Two brokers that their directory knows.
struct Cluster {
    lookup: LookupServer,
    brokers: [Broker; 2],
    /// Who reads `orders/audit`, while this is there.
    reader: Option<Client>,
}

impl Cluster {
    fn of(maker: Maker) -> Self {
        let lookup = LookupServer::of(maker);
        let brokers = [(); 2].map(|()| Broker::of(maker, &[&lookup.flag()]));
        Self { lookup, brokers, reader: None }
    }

    fn start() -> Self {
        Self::of(Maker::Ours)
    }

    /// Makes a topic on a broker, and waits until the directory knows it there.
    fn topic(&self, broker: usize, topic: &str, channels: &[&str]) {
        let broker = &self.brokers[broker];
        broker.order(&format!("/topic/create?topic={topic}"));
        for channel in channels {
            broker.order(&format!("/channel/create?topic={topic}&channel={channel}"));
        }
        let port = format!("\"http_port\":{}", broker.http.port());
        eventually(SOON, "the directory knows the topic", || {
            let answer = self.lookup.get(&format!("/lookup?topic={topic}"));
            answer.text().contains(&port).then_some(())
        });
    }

    /// 1,204 messages in `orders/email`, which nobody reads; `orders/audit`, with a reader that has
    /// read all; and `quiet`, in which there is nothing.
    fn with_orders() -> Self {
        Self::of_with_orders(Maker::Ours)
    }

    fn of_with_orders(maker: Maker) -> Self {
        let mut cluster = Self::of(maker);
        cluster.topic(0, "orders", &["email", "audit"]);
        cluster.topic(1, "quiet", &["nothing"]);
        let messages: Vec<_> = (0..1204).map(|number| format!("message {number}")).collect();
        let mut publisher = cluster.brokers[0].client();
        for batch in messages.chunks(301) {
            publisher.publish_many("orders", batch);
        }
        let mut reader = Client::connect(cluster.brokers[0].tcp);
        let told = json!({"client_id": "reader", "hostname": "reader.example",
            "user_agent": "test/1", "heartbeat_interval": 60_000});
        reader.identify(&told.to_string());
        reader.subscribe("orders", "audit");
        reader.ready(2000);
        for message in reader.messages(messages.len()) {
            reader.finish(&message);
        }
        reader.ready(0);
        cluster.brokers[0].count_becomes("orders", "audit", "in_flight_count", 0);
        cluster.reader = Some(reader);
        cluster
    }

    fn admin(&self, flags: &[&str]) -> (Process, String) {
        let lookup = format!("--lookupd-http-address={}", self.lookup.http);
        admin(&[flags, &[&lookup]].concat())
    }

    fn nsqds(&self) -> [SocketAddr; 2] {
        [self.brokers[0].http, self.brokers[1].http]
    }

    fn play(&self, case: &str) {
        let (_admin, address) = self.admin(&[]);
        play(case, &address, &self.nsqds());
    }
}

#[test]
fn the_modules_of_the_page_do_what_they_say() {
    if !has_node() {
        return;
    }
    let file = workspace().join("tests/browser/modules.test.js");
    let ended = run(Command::new("node").arg("--test").arg(file), b"", SOON * 6);
    assert!(ended.status.success(), "{}\n{}", ended.output.join("\n"), ended.log);
}

#[test]
fn every_page_shows_what_the_cluster_has() {
    if !is_installed() {
        return;
    }
    let _turn = turn();
    let cluster = Cluster::with_orders();
    assert_eq!(cluster.lookup.post("/topic/create?topic=retired").status, 200);
    cluster.play("pages");
}

#[test]
fn every_page_shows_what_a_cluster_of_the_real_nsq_has() {
    if !is_installed() || real("nsqd").is_none() {
        return;
    }
    let _turn = turn();
    let cluster = Cluster::of_with_orders(Maker::Real);
    assert_eq!(cluster.lookup.post("/topic/create?topic=retired").status, 200);
    cluster.play("pages");
}

#[test]
fn every_action_asks_first_and_does_what_it_says() {
    if !is_installed() {
        return;
    }
    let _turn = turn();
    let mut cluster = Cluster::with_orders();
    // A channel that is read by nobody, and holds what it got.
    cluster.reader = None;
    cluster.brokers[0].order("/channel/delete?topic=orders&channel=audit");
    cluster.brokers[0].order("/channel/create?topic=orders&channel=audit");
    let messages: Vec<_> = (0..1204).map(|number| number.to_string()).collect();
    cluster.brokers[0].order("/channel/empty?topic=orders&channel=email");
    cluster.brokers[0].client().publish_many("orders", &messages);
    cluster.topic(0, "waiting", &[]);
    cluster.brokers[0].client().publish_many("waiting", &["a", "b", "c"]);
    for (broker, other) in [(0, "x"), (1, "y")] {
        cluster.topic(broker, "both", &[]);
        cluster.brokers[broker].client().publish_many("both", &[other, other]);
    }
    cluster.play("actions");
}

#[test]
fn a_name_is_never_taken_for_markup() {
    if !is_installed() {
        return;
    }
    let _turn = turn();
    let cluster = Cluster::start();
    cluster.topic(0, "orders", &["email"]);
    let markup = "<img src=x onerror=alert(1)>";
    let mut reader = Client::connect(cluster.brokers[0].tcp);
    let told = json!({"client_id": markup, "hostname": markup, "user_agent": markup,
        "heartbeat_interval": 60_000});
    reader.identify(&told.to_string());
    reader.subscribe("orders", "email");
    cluster.play("hostile");
}

#[test]
fn the_newest_messages_are_shown_as_json_text_and_hex_and_stay() {
    if !is_installed() {
        return;
    }
    let _turn = turn();
    let cluster = Cluster::start();
    cluster.topic(0, "orders", &["email"]);
    let bodies: [&[u8]; 3] =
        [br#"{"id":7,"to":["ann"]}"#, b"<img src=x onerror=alert(1)>", b"\0\xffA"];
    let mut publisher = cluster.brokers[0].client();
    for body in bodies {
        publisher.publish_many("orders", &[body]);
    }
    cluster.play("messages");
}

#[test]
fn a_dead_node_is_named_beside_what_the_others_say() {
    if !is_installed() {
        return;
    }
    let _turn = turn();
    let mut cluster = Cluster::with_orders();
    cluster.topic(1, "orders", &["email"]);
    let (_admin, address) = cluster.admin(&[]);
    cluster.brokers[1].process.signal(rustix::process::Signal::STOP);
    play("deadNode", &address, &cluster.nsqds());
    cluster.brokers[1].process.kill();
}

#[test]
fn silence_is_said_and_what_was_known_stays() {
    if !is_installed() {
        return;
    }
    let _turn = turn();
    Cluster::with_orders().play("silence");
}

#[test]
fn all_of_it_can_be_done_without_a_mouse() {
    if !is_installed() {
        return;
    }
    let _turn = turn();
    Cluster::with_orders().play("keyboard");
}

#[test]
fn every_page_fits_a_phone() {
    if !is_installed() {
        return;
    }
    let _turn = turn();
    Cluster::with_orders().play("phone");
}

#[test]
fn the_page_is_light_or_dark_as_the_system_or_the_reader_says() {
    if !is_installed() {
        return;
    }
    let _turn = turn();
    Cluster::with_orders().play("themes");
}

#[test]
fn ten_thousand_channels_on_a_hundred_nodes_are_shown() {
    if !is_installed() {
        return;
    }
    let _turn = turn();
    let cluster = SimulatedCluster::start();
    let lookup = format!("--lookupd-http-address={}", cluster.lookup());
    let (_admin, address) = admin(&[&lookup]);
    play("large", &address, &cluster.nodes());
}

#[test]
fn whoever_may_change_nothing_sees_no_buttons_and_is_told_why() {
    if !is_installed() {
        return;
    }
    let _turn = turn();
    let cluster = Cluster::with_orders();
    let (_admin, address) = cluster.admin(&["--admin-user=ann", "--acl-http-header=X-Known-User"]);
    play("readOnly", &address, &cluster.nsqds());
}

#[test]
fn the_page_lives_below_a_base_path() {
    if !is_installed() {
        return;
    }
    let _turn = turn();
    let cluster = Cluster::with_orders();
    let (_admin, address) = cluster.admin(&["--base-path=/tools/nsq"]);
    play("basePath", &format!("{address}/tools/nsq"), &cluster.nsqds());
}

#[test]
fn an_empty_cluster_says_what_to_do_next() {
    if !is_installed() {
        return;
    }
    let _turn = turn();
    Cluster::start().play("empty");
}

#[test]
fn without_a_directory_nsqds_are_asked_directly() {
    if !is_installed() {
        return;
    }
    let _turn = turn();
    let cluster = Cluster::with_orders();
    let flags = cluster.nsqds().map(|nsqd| format!("--nsqd-http-address={nsqd}"));
    let (_admin, address) = admin(&[&flags[0], &flags[1]]);
    play("direct", &address, &cluster.nsqds());
}

/// A Graphite whose every picture is one dot, of which no byte is beyond ASCII.
fn graphite() -> ScriptedHttp {
    const DOT: &str = "GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
    ScriptedHttp::start(|_, _| ("200 OK", DOT.to_owned()))
}

/// What it was asked to draw. It knows an argument of two names, of which NSQ's page uses the other.
fn targets(graphite: &ScriptedHttp) -> BTreeSet<String> {
    let asked = graphite.asked();
    let arguments = asked.iter().flat_map(|request| request.split(['?', '&']));
    let values = arguments.filter_map(|argument| {
        argument.strip_prefix("target=").or_else(|| argument.strip_prefix("target%5B%5D="))
    });
    values.map(plain).collect()
}

/// A text without its percent signs.
fn plain(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (code, rest) = piece.split_at(2);
        plain.push(char::from(u8::from_str_radix(code, 16).expect("two digits")));
        plain += rest;
    }
    plain
}

#[test]
fn graphites_pictures_are_asked_for_by_nsqs_names_and_shown() {
    if !is_installed() {
        return;
    }
    let _turn = turn();
    let lookup = LookupServer::start();
    let percentiles = "--e2e-processing-latency-percentile=0.99,0.95";
    let brokers = [(); 2].map(|()| Broker::with(&[&lookup.flag(), percentiles]));
    let cluster = Cluster { lookup, brokers, reader: None };
    cluster.topic(0, "orders", &["email"]);
    let node = cluster.nsqds()[0].to_string().replace(['.', ':'], "_");
    let mut expected = BTreeSet::new();
    let mut expect =
        |series: String| expected.insert(format!("summarize({series},\"60sec\",\"avg\")"));
    // By second in a large picture.
    let mut expect_counter = |key: &str| {
        let series = format!("sumSeries(stats.counters.nsq.*.topic.{key}.count)");
        expect(format!("scale({series},{})", 1.0 / 60.0));
        expect(series);
    };
    expect_counter("orders.message_count");
    expect_counter("*.channel.*.message_count");
    for figure in ["requeue_count", "timeout_count", "message_count"] {
        expect_counter(&format!("orders.channel.email.{figure}"));
    }
    for key in [
        "orders.depth",
        "orders.channel.email.depth",
        "orders.channel.email.in_flight_count",
        "orders.channel.email.deferred_count",
        "orders.channel.email.clients",
    ] {
        expect(format!("sumSeries(stats.gauges.nsq.*.topic.{key})"));
    }
    for figures in ["*_bytes", "heap_objects", "gc_pause_*"] {
        expect(format!("stats.gauges.nsq.{node}.mem.{figures}"));
    }
    let mut by_ours_alone = BTreeSet::new();
    for queue in ["orders", "orders.channel.email"] {
        for percentile in [99, 95] {
            let key = format!("{queue}.e2e_processing_latency_{percentile}");
            let series = format!("scale(averageSeries(stats.gauges.nsq.*.topic.{key}),0.000001)");
            by_ours_alone.insert(format!("summarize({series},\"60sec\",\"avg\")"));
        }
    }
    for flags in [&["--proxy-graphite"][..], &[]] {
        let graphite = graphite();
        let url = format!("--graphite-url=http://{}", graphite.address);
        let (_admin, address) = cluster.admin(&[&[url.as_str()], flags].concat());
        play("graphite", &address, &cluster.nsqds());
        assert_eq!(targets(&graphite), expected.union(&by_ours_alone).cloned().collect());
    }

    // NSQ's page asks for the same, and for the same of each node. Its counter has a large picture
    // alone, and the name of a latency over all nodes is one that Graphite does not understand.
    let asked = graphite();
    let flags = [
        format!("--graphite-url=http://{}", asked.address),
        format!("--lookupd-http-address={}", cluster.lookup.http),
    ];
    let Some(real) = Nsqadmin::of(Maker::Real, &flags) else { return };
    play("graphiteOfNsq", &format!("http://{}", real.http), &cluster.nsqds());
    let asked = targets(&asked);
    let missing: Vec<_> = expected.difference(&asked).map(String::as_str).collect();
    let counter = "sumSeries(stats.counters.nsq.*.topic.*.channel.*.message_count.count)";
    assert_eq!(missing, [format!("summarize({counter},\"60sec\",\"avg\")")], "{asked:#?}");
}
