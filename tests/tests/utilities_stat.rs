//! `nsq_stat` beside NSQ's own: the same flags, output, requests and ends.

use std::time::Duration;

use rustix::process::Signal;
use tests::broker::Broker;
use tests::lookup_server::LookupServer;
use tests::patience::{SOON, eventually};
use tests::programs::Maker;
use tests::scripted_http::{Scripted, ScriptedHttp};
use tests::utility::{self, MAKERS, is_here};

const NAME: &str = "nsq_stat";

/// How a run ended: its exit code, the lines of its output, and its log without times and without the
/// path by which the program was called.
type Ended = (Option<i32>, Vec<String>, String);

fn ran(maker: Maker, flags: &str) -> Ended {
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let ended = utility::run(maker, NAME, &flags, b"").masked();
    let output = String::from_utf8(ended.output).expect("the output is text");
    let log =
        ended.log.lines().map(|line| if line.starts_with("Usage of ") { "Usage" } else { line });
    let log = log.collect::<Vec<_>>().join("\n");
    (ended.exit_code, output.lines().map(str::to_owned).collect(), log)
}

/// What `run` makes of NSQ's program and of ours; `None`, said aloud, where NSQ's is not built.
fn both<T>(run: impl FnMut(Maker) -> T) -> Option<[T; 2]> {
    is_here(NAME).then(|| MAKERS.map(run))
}

#[test]
fn flags_are_refused_as_nsq_refuses_them() {
    let lines = [
        "",
        "--topic=t",
        "--channel=c",
        "--topic=t --channel=c",
        "--topic=t --channel=c --interval=0s",
        "--topic=t --channel=c --interval=-1s",
        "--topic=t --channel=c --interval=1",
        "--topic=t --channel=c --http-client-connect-timeout=0s",
        "--topic=t --channel=c --http-client-request-timeout=0s",
        "--topic=t --channel=c --count=0",
        "--topic=t --channel=c --count=-1",
        "--topic=t --channel=c --count=x",
        "--topic=t --channel=c --count=",
        "--topic=t --channel=c --count=2147483648",
        "--topic=t --channel=c --nsqd-http-address=a:1 --lookupd-http-address=b:1",
        "--topic=t --channel=c --nsqd-http-address=http://127.0.0.1:1",
        "--topic=t --channel=c --lookupd-http-address=https://127.0.0.1:1",
        "--topic=t --channel=c --nsqd-http-address=127.0.0.1:1",
        "--topic=t --channel=c --lookupd-http-address=127.0.0.1:1",
        "--topic=t#ephemeral --channel=c --nsqd-http-address=127.0.0.1:1 rest --bogus",
        "--topic=t --channel=c --nsqd-http-address=127.0.0.1:1 --nsqd-http-address=127.0.0.1:1",
        "-topic t -channel c -interval 1s -nsqd-http-address 127.0.0.1:1 -count 1",
        "--bogus",
        "--version",
        "-version=true --topic=t",
        "-h",
        "--help",
    ];
    for line in lines {
        let Some([nsqs, own]) = both(|maker| ran(maker, line)) else { return };
        assert_eq!(own, nsqs, "{line}");
    }
}

#[test]
fn a_line_is_nsqs_byte_for_byte_whoever_made_the_broker() {
    for maker in [Maker::Ours, Maker::Real] {
        let lookup = LookupServer::of(maker);
        let brokers = [1, 2].map(|_| Broker::of(maker, &[&lookup.flag()]));
        for broker in &brokers {
            broker.order("/topic/create?topic=t");
            broker.order("/channel/create?topic=t&channel=c");
            broker.client().publish_many("t", &["a", "b", "c", "d"]);
        }
        let deferred = brokers[0].post("/pub?topic=t&defer=60000", b"deferred");
        assert_eq!(deferred.status, 200);
        let mut client = brokers[0].subscribed("t", "c");
        client.ready(1);
        client.message();
        brokers[0].count_becomes("t", "c", "in_flight_count", 1);
        brokers[0].count_becomes("t", "c", "deferred_count", 1);
        brokers[1].count_becomes("t", "c", "depth", 4);
        eventually(SOON, "both brokers are registered", || {
            let answer = lookup.get("/lookup?topic=t");
            (answer.text().matches("tcp_port").count() == 2).then_some(())
        });
        let ways = [
            format!("--lookupd-http-address={}", lookup.http),
            format!(
                "--nsqd-http-address={} --nsqd-http-address={}",
                brokers[0].http, brokers[1].http
            ),
        ];
        for way in &ways {
            let line = format!("--topic=t --channel=c --count=2 --interval=50ms {way}");
            let Some([nsqs, own]) = both(|maker| ran(maker, &line)) else { return };
            let row = "      0       0 |       7       7       0     1     1 |       0       0            9       1";
            assert_eq!(nsqs.1.last().map(String::as_str), Some(row));
            assert_eq!(own, nsqs, "{way}");
        }
        // What cannot be found is an end with words.
        for wrong in ["--topic=t --channel=none", "--topic=none --channel=c"] {
            for way in &ways {
                let line = format!("{wrong} {way}");
                let Some([nsqs, own]) = both(|maker| ran(maker, &line)) else { return };
                assert_eq!(nsqs.0, Some(1));
                assert_eq!(own, nsqs, "{wrong}");
            }
        }
    }
}

/// What NSQ's program cannot do without.
const E2E: &str = r#""e2e_processing_latency":{"count":0,"percentiles":null}"#;

/// An nsqd whose channel grows between two questions.
fn growing(name: &'static str) -> ScriptedHttp {
    ScriptedHttp::start(move |request, before| {
        if request == "GET /info" {
            return ("404 Not Found", String::new());
        }
        let step = before + 1;
        let (messages, depth) = (step * step * 10, step * 3 % 7);
        let body = format!(
            r#"{{"topics":[{{"topic_name":"t","channels":[{{"channel_name":"{name}","depth":{depth},"backend_depth":1,"in_flight_count":{step},"message_count":{messages},"client_count":2,{E2E}}}],{E2E}}}]}}"#
        );
        ("200 OK", body)
    })
}

/// An nsqlookupd that knows these producers.
fn directory(producers: &[&ScriptedHttp]) -> ScriptedHttp {
    let producers: Vec<String> = producers
        .iter()
        .map(|producer| {
            let port = producer.address.port();
            format!(r#"{{"broadcast_address":"127.0.0.1","hostname":"h","tcp_port":1,"http_port":{port},"version":"1.3.0"}}"#)
        })
        .collect();
    let body = format!(r#"{{"channels":["c"],"producers":[{}]}}"#, producers.join(","));
    ScriptedHttp::start(move |_, _| ("200 OK", body.clone()))
}

#[test]
fn rates_are_nsqs_and_the_heading_comes_again_after_25_lines() {
    let runs = both(|maker| {
        let broker = growing("c");
        let lookup = directory(&[&broker]);
        let line = format!(
            "--topic=t --channel=c --count=55 --interval=3ms --lookupd-http-address={}",
            lookup.address
        );
        (ran(maker, &line), broker.asked(), lookup.asked())
    });
    let Some([nsqs, own]) = runs else { return };
    let output = &nsqs.0.1;
    assert_eq!(output.iter().filter(|line| line.starts_with("ingress")).count(), 3);
    assert_eq!(output.len(), 55 + 2 * 3);
    assert_eq!(own, nsqs);
}

#[test]
fn whatever_fails_ends_it_with_nsqs_words() {
    let refuses: fn(&str, usize) -> Scripted =
        |_, _| ("500 Internal Server Error", r#"{"message":"INTERNAL_ERROR"}"#.to_owned());
    let is_wrong: fn(&str, usize) -> Scripted = |_, _| ("200 OK", String::new());
    for broken in [refuses, is_wrong] {
        let runs = both(|maker| {
            let (good, bad) = (growing("c"), ScriptedHttp::start(broken));
            let lookup = directory(&[&good, &bad]);
            let flag = format!("--lookupd-http-address={}", lookup.address);
            let (code, output, log) = ran(maker, &format!("--topic=t --channel=c {flag}"));
            (code, output, log.replace(&bad.address.to_string(), "BAD"), bad.asked())
        });
        let Some([nsqs, own]) = runs else { return };
        assert_eq!(nsqs.0, Some(1));
        assert_eq!((&own.0, &own.1, &own.3), (&nsqs.0, &nsqs.1, &nsqs.3));
        let words = "ERROR: failed to get nsqd stats - ";
        assert!(nsqs.2.starts_with(words) && own.2.starts_with(words), "{} {}", nsqs.2, own.2);
        // How JSON is wrong, Go says in other words.
        if nsqs.2.contains("got response") {
            assert_eq!(own.2, nsqs.2);
        }
    }
}

#[test]
fn one_dead_broker_ends_it_also_between_two_lines() {
    let runs = both(|maker| {
        let broker = growing("c");
        let address = broker.address.port();
        // From the fourth time on nsqlookupd tells of a broker where nobody listens, on port 1.
        let lookup = ScriptedHttp::start(move |_, before| {
            let ports: &[u16] = if before < 3 { &[address] } else { &[address, 1] };
            let producers: Vec<String> = ports
                .iter()
                .map(|port| format!(r#"{{"broadcast_address":"127.0.0.1","http_port":{port}}}"#))
                .collect();
            ("200 OK", format!(r#"{{"producers":[{}]}}"#, producers.join(",")))
        });
        let flag = format!("--lookupd-http-address={}", lookup.address);
        ran(maker, &format!("--topic=t --channel=c --interval=2ms {flag}"))
    });
    let Some([nsqs, own]) = runs else { return };
    assert_eq!((nsqs.0, nsqs.1.len()), (Some(1), 4));
    assert!(nsqs.2.ends_with("dial tcp 127.0.0.1:1: connect: connection refused"), "{}", nsqs.2);
    assert_eq!(own, nsqs);
}

#[test]
fn a_signal_ends_it_with_status_0() {
    for signal in [Signal::HUP, Signal::INT, Signal::TERM] {
        let runs = both(|maker| {
            let broker = growing("c");
            let flag = format!("--lookupd-http-address={}", directory(&[&broker]).address);
            let flags = ["--topic=t", "--channel=c", "--interval=1h", &flag];
            let mut process = utility::start(maker, NAME, &flags);
            eventually(SOON, "it prints", || (process.output().len() == 2).then_some(()));
            process.signal(signal);
            process.ended_within(Duration::from_secs(30)).code()
        });
        let Some(codes) = runs else { return };
        assert_eq!(codes, [Some(0); 2], "{signal:?}");
    }
}

#[test]
fn it_asks_over_https_where_a_broker_wants_that() {
    // NSQ follows a 403 to the port that it names; nobody listens there, and both say so.
    let runs = both(|maker| {
        let broker = ScriptedHttp::start(|_, _| {
            ("403 Forbidden", r#"{"message": "TLS_REQUIRED", "https_port": 1}"#.to_owned())
        });
        let flag = format!("--nsqd-http-address={}", broker.address);
        ran(maker, &format!("--topic=t --channel=c {flag}"))
    });
    let Some([nsqs, own]) = runs else { return };
    assert_eq!(nsqs.0, Some(1));
    assert!(nsqs.2.contains("https://127.0.0.1:1/stats"), "{}", nsqs.2);
    assert_eq!(own, nsqs);
}

/// An nsqd that answers by these three bodies: `/info`, whether it has the topic, and its counters.
fn scripted(info: &'static str, counters: String) -> ScriptedHttp {
    ScriptedHttp::start(move |request, _| {
        let body = if request == "GET /info" { info.to_owned() } else { counters.clone() };
        ("200 OK", body)
    })
}

/// Counters of `t/c`, with this behind the channel's and the topic's own.
fn counters(latency: &str) -> String {
    format!(
        r#"{{"topics":[{{"topic_name":"t","channels":[{{"channel_name":"c","depth":7{latency}}}]{latency}}}]}}"#
    )
}

#[test]
fn the_address_that_was_given_is_asked_and_the_broadcast_one_by_nsq() {
    let runs = both(|maker| {
        // Nobody listens on port 1.
        let info = r#"{"version":"1.3.0","broadcast_address":"127.0.0.1","http_port":1}"#;
        let broker = scripted(info, counters(&format!(",{E2E}")));
        let flag = format!("--nsqd-http-address={}", broker.address);
        ran(maker, &format!("--topic=t --channel=c --count=1 --interval=1ms {flag}"))
    });
    let Some([nsqs, own]) = runs else { return };
    assert_eq!((nsqs.0, own.0), (Some(1), Some(0)), "{} {}", nsqs.2, own.2);
    assert!(nsqs.2.contains("dial tcp 127.0.0.1:1: connect: connection refused"), "{}", nsqs.2);
    assert_eq!(own.1.len(), 3);
}

#[test]
fn statistics_without_latencies_are_read_and_end_nsqs_program() {
    let runs = both(|maker| {
        let broker = scripted("{}", counters(""));
        let lookup = directory(&[&broker]);
        let flag = format!("--lookupd-http-address={}", lookup.address);
        ran(maker, &format!("--topic=t --channel=c --count=1 --interval=1ms {flag}"))
    });
    let Some([nsqs, own]) = runs else { return };
    assert_eq!((nsqs.0, own.0), (Some(2), Some(0)), "{} {}", nsqs.2, own.2);
    assert!(own.1[2].starts_with("      0       0 |       7       7       0 "), "{:?}", own.1);
}
