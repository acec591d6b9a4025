//! `nsq_tail` and `to_nsq`, NSQ's own and ours: the same input, flags and brokers, and the same
//! output, exit codes, log lines and bytes on the wire.

use std::net::SocketAddr;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use tests::auth_server::{AuthServer, Told};
use tests::broker::Broker;
use tests::client::Client;
use tests::layers::Certificates;
use tests::lookup_server::LookupServer;
use tests::patience::{SOON, eventually};
use tests::process::Process;
use tests::programs::Maker;
use tests::relay::Relay;
use tests::utility::{Ended, MAKERS, command, is_here, masked, run, run_command, start};

/// Bodies that a line could not hold, and some that it could.
const BODIES: [&[u8]; 7] =
    [b"plain", b"two\nlines", b"\0\xff\xfe", b"\r", b" ", "\u{e4}\u{20ac}".as_bytes(), b"last"];

/// A channel for each maker's utility; what is published goes to both.
fn channel(maker: Maker) -> String {
    format!("{maker:?}")
}

/// A broker with a topic that has a channel for each maker.
fn broker_with(maker: Maker, flags: &[&str], topics: &[&str]) -> Broker {
    let broker = Broker::of(maker, flags);
    for topic in topics {
        broker.order(&format!("/topic/create?topic={topic}"));
        for maker in MAKERS {
            let channel = channel(maker);
            broker.order(&format!("/channel/create?topic={topic}&channel={channel}"));
        }
    }
    broker
}

fn at(flag: &str, address: SocketAddr) -> String {
    format!("--{flag}={address}")
}

/// The log without the name of the maker's channel.
fn log_of(maker: Maker, log: &str) -> Vec<String> {
    masked(&log.replace(&format!("/{}]", channel(maker)), "/CHANNEL]"))
}

/// The same run with both; both must leave the same behind.
fn same(name: &str, flags: &[&str], input: &[u8]) -> Ended {
    let [real, ours] = MAKERS.map(|maker| run(maker, name, flags, input));
    let (real, ours) = (real.masked(), ours.masked());
    assert_eq!(ours, real, "{name} {flags:?}");
    ours
}

#[test]
fn nsq_tail_refuses_what_cannot_be_in_nsqs_words() {
    if !is_here("nsq_tail") {
        return;
    }
    let broker = Broker::start();
    let there = at("nsqd-tcp-address", broker.tcp);
    let there = there.as_str();
    let refused: &[(&[&str], i32, &str)] = &[
        (&[], 1, "--nsqd-tcp-address or --lookupd-http-address required"),
        (&["--topic=t"], 1, "--nsqd-tcp-address or --lookupd-http-address required"),
        (
            &["--nsqd-tcp-address=a", "--lookupd-http-address=b"],
            1,
            "use --nsqd-tcp-address or --lookupd-http-address not both",
        ),
        (&["--nsqd-tcp-address=a"], 1, "--topic required"),
        (&[there, "--topic=a*"], 1, "invalid topic name"),
        (&[there, "--topic=t", "--channel=a*"], 1, "invalid channel name"),
        (&[there, "--topic=t", "--max-in-flight=-1"], 1, "invalid MaxInFlight ! -1 < 0"),
        (
            &[there, "--topic=t", "--consumer-opt=heartbeat_interval,2m"],
            1,
            "HeartbeatInterval 2m0s must be less than ReadTimeout 1m0s",
        ),
        (
            &["--nsqd-tcp-address=127.0.0.1:1", "--topic=t"],
            1,
            "dial tcp 127.0.0.1:1: connect: connection refused",
        ),
        (&["--nsqd-tcp-address=:1", "--topic=t"], 1, "dial tcp :1: connect: connection refused"),
        (&["--nsqd-tcp-address=localhost", "--topic=t"], 1, "missing port in address"),
        (&["--lookupd-http-address=localhost", "--topic=t"], 1, "missing port"),
        (&[there, there, "--topic=t", "--channel=c"], 1, "already connected"),
        (&["--bogus"], 2, "flag provided but not defined: -bogus"),
        (&["--n=x"], 2, "invalid value \"x\" for flag -n: parse error"),
        (&["--print-topic=2"], 2, "invalid boolean value \"2\" for -print-topic: parse error"),
        (&["--topic"], 2, "flag needs an argument: -topic"),
        (&["--consumer-opt=bogus"], 2, "invalid option bogus"),
        (&["--consumer-opt=,"], 2, "failed to coerce option  () - strconv.ParseBool"),
        // An option that is empty is none.
        (
            &["--consumer-opt=", "--nsqd-tcp-address=127.0.0.1:1", "--topic=t"],
            1,
            "dial tcp 127.0.0.1:1: connect: connection refused",
        ),
        (&["--consumer-opt=msg_timeout,5"], 2, "time: missing unit in duration \"5\""),
        (&["--consumer-opt=msg-timeout,5x"], 2, "time: unknown unit \"x\" in duration \"5x\""),
        (&["--consumer-opt=read_timeout,1ms"], 2, "invalid read_timeout ! 1ms < 100ms"),
        (&["--consumer-opt=lookupd_poll_jitter,1.5"], 2, "invalid lookupd_poll_jitter ! 1.5 > 1"),
        (&["--consumer-opt=snappy,maybe"], 2, "strconv.ParseBool: parsing \"maybe\""),
        (&["--consumer-opt=max_attempts,-1"], 2, "strconv.ParseUint: parsing \"-1\""),
        (&["--consumer-opt=deflate_level,0"], 2, "invalid deflate_level ! 0 < 1"),
        (&["--consumer-opt=dial_timeout"], 2, "(true) - invalid value type"),
        (&["--consumer-opt=tls_min_version,x"], 2, "ERROR: x is not a tls version"),
        (&["--consumer-opt=tls_root_ca_file,/no"], 2, "open /no: no such file or directory"),
        (
            &["--consumer-opt=tls_cert,/no", "--consumer-opt=tls_key,/no"],
            2,
            "open /no: no such file or directory",
        ),
    ];
    for &(flags, exit_code, words) in refused {
        let ended = same("nsq_tail", flags, b"");
        assert_eq!(ended.exit_code, Some(exit_code), "{ended:?}");
        assert!(ended.log.contains(words), "{flags:?}: {ended:?}");
    }
}

#[test]
fn to_nsq_refuses_what_cannot_be_in_nsqs_words() {
    if !is_here("to_nsq") {
        return;
    }
    let refused: &[(&[&str], i32, &str)] = &[
        (&[], 1, "--topic required"),
        (&["--topic=t", "--delimiter=ab"], 1, "--delimiter must be a single byte"),
        (&["--topic=t", "--delimiter="], 1, "--delimiter must be a single byte"),
        (&["--topic=t"], 1, "--nsqd-tcp-address required"),
        (&["--topic=t", "--nsqd-tcp-address=127.0.0.1:1"], 1, "connect: connection refused"),
        (
            &["--topic=t", "--nsqd-tcp-address=a:1", "--producer-opt=heartbeat_interval,2m"],
            1,
            "failed to create nsq.Producer - HeartbeatInterval 2m0s must be less than",
        ),
        (
            &["--topic=t", "--nsqd-tcp-address=127.0.0.1:1", "--producer-opt="],
            1,
            "connect: connection refused",
        ),
        (&["--version"], 2, "flag provided but not defined: -version"),
        (&["--rate=x"], 2, "invalid value \"x\" for flag -rate: parse error"),
        (&["--producer-opt=bogus,1"], 2, "invalid option bogus"),
    ];
    for &(flags, exit_code, words) in refused {
        let ended = same("to_nsq", flags, b"a line\n");
        assert_eq!(ended.exit_code, Some(exit_code), "{ended:?}");
        assert!(ended.log.contains(words), "{flags:?}: {ended:?}");
    }
}

#[test]
fn the_usage_is_nsqs_to_the_byte() {
    if !(is_here("nsq_tail") && is_here("to_nsq")) {
        return;
    }
    for name in ["nsq_tail", "to_nsq"] {
        let [real, ours] = MAKERS.map(|maker| {
            let ended = run(maker, name, &["-h"], b"");
            assert_eq!((ended.exit_code, ended.output.len()), (Some(0), 0), "{ended:?}");
            // Go's flag package says by which path it was called.
            let (first, rest) = ended.log.split_once('\n').expect("there are flags");
            let called_as = first.rsplit([' ', '/']).next().map(str::to_owned);
            (called_as, rest.to_owned())
        });
        assert_eq!(ours, real, "{name}");
    }
    let ended = same("nsq_tail", &["--version"], b"");
    assert_eq!((ended.exit_code, &*ended.output), (Some(0), &b"nsq_tail v1.3.0\n"[..]));
}

#[test]
fn nsq_tail_prints_the_bodies_of_messages_and_their_topics_byte_by_byte() {
    if !is_here("nsq_tail") {
        return;
    }
    for brokers in MAKERS {
        let broker = broker_with(brokers, &[], &["t"]);
        broker.client().publish_many("t", &BODIES);
        for (more, prefix) in [(&["-n=3"][..], ""), (&["-n", "4", "--print-topic"], "t | ")] {
            let count = if prefix.is_empty() { 3 } else { 4 };
            let mut logs = Vec::new();
            for maker in MAKERS {
                // One at a time, so that NSQ's leaves no more than its last one behind.
                let flags = [
                    "--topic=t",
                    "--max-in-flight=1",
                    &at("nsqd-tcp-address", broker.tcp),
                    &format!("--channel={}", channel(maker)),
                ];
                let flags: Vec<&str> = flags.into_iter().chain(more.iter().copied()).collect();
                let ended = run(maker, "nsq_tail", &flags, b"");
                assert_eq!(ended.exit_code, Some(0), "{ended:?}");
                let bodies = if prefix.is_empty() { &BODIES[..3] } else { &BODIES[3..] };
                let expected: Vec<u8> = bodies
                    .iter()
                    .flat_map(|body| [prefix.as_bytes(), body, b"\n"].concat())
                    .collect();
                assert_eq!(ended.output, expected, "{maker:?} at {brokers:?}, {count}");
                logs.push(log_of(maker, &ended.log));
            }
            assert_eq!(logs[1], logs[0]);
            assert_eq!(logs[1].len(), 2, "{:?}", logs[1]);
        }
    }
}

#[test]
fn with_a_number_messages_are_finished_before_the_end_and_the_last_not_in_nsq() {
    if !is_here("nsq_tail") {
        return;
    }
    let broker = broker_with(Maker::Real, &[], &["t"]);
    broker.client().publish_many("t", &["a", "b", "c"]);
    for (maker, left_in_flight) in [(Maker::Real, 1), (Maker::Ours, 0)] {
        let channel = channel(maker);
        let address = at("nsqd-tcp-address", broker.tcp);
        let flags = ["--topic=t", "-n=2", &address, &format!("--channel={channel}")];
        let ended = run(maker, "nsq_tail", &flags, b"");
        assert_eq!(&*ended.output, b"a\nb\n", "{ended:?}");
        broker.count_becomes("t", &channel, "client_count", 0);
        let in_flight = broker.count("t", &channel, "in_flight_count");
        assert!(left_in_flight <= in_flight, "{in_flight}");
        if maker == Maker::Ours {
            assert_eq!((in_flight, broker.count("t", &channel, "depth")), (0, 1));
        }
    }
}

/// Waits until this many clients of the channel are there.
fn subscribed(broker: &Broker, topic: &str, channel: &str) {
    broker.count_becomes(topic, channel, "client_count", 1);
}

fn printed(tool: &Process, count: usize) -> Vec<String> {
    let mut lines = tool.output();
    let end = Instant::now() + SOON * 2;
    while lines.len() != count {
        assert!(Instant::now() < end, "{} of {count} lines; its log:\n{}", lines.len(), tool.log());
        thread::sleep(Duration::from_millis(20));
        lines = tool.output();
    }
    lines.sort();
    lines
}

#[test]
fn nsq_tail_follows_several_topics_and_ends_in_order_when_it_is_told_to() {
    if !is_here("nsq_tail") {
        return;
    }
    for brokers in MAKERS {
        let lookup = LookupServer::of(brokers);
        let broker = broker_with(brokers, &[&lookup.flag()], &["t", "u"]);
        for topic in ["t", "u"] {
            eventually(SOON, "the broker is registered", || {
                let found = lookup.get(&format!("/lookup?topic={topic}"));
                found.text().contains("tcp_port").then_some(())
            });
        }
        let ways = [at("nsqd-tcp-address", broker.tcp), at("lookupd-http-address", lookup.http)];
        for way in &ways {
            let mut left = Vec::new();
            for maker in MAKERS {
                let channel = channel(maker);
                let flag = format!("--channel={channel}");
                let flags = ["--topic=t", "--topic=u", "--print-topic", way, &flag];
                for topic in ["t", "u"] {
                    // What was published for the other maker is in it, too.
                    broker.order(&format!("/channel/delete?topic={topic}&channel={channel}"));
                }
                let mut tool = start(maker, "nsq_tail", &flags);
                for topic in ["t", "u"] {
                    subscribed(&broker, topic, &channel);
                    broker.client().publish_many(topic, &["one", "two"]);
                }
                assert_eq!(printed(&tool, 4), ["t | one", "t | two", "u | one", "u | two"]);
                for topic in ["t", "u"] {
                    broker.count_becomes(topic, &channel, "in_flight_count", 0);
                }
                assert_eq!(tool.terminate().code(), Some(0), "{}", tool.log());
                left.push(log_of(maker, &tool.whole_log()));
            }
            assert_eq!(left[1], left[0], "{way}");
            assert!(left[1].iter().any(|line| line.ends_with("clean close complete")));
        }
    }
}

/// The commands that a client sent, up to and with the first that begins with `last`.
fn sent_up_to(relay: &Relay, last: &str) -> Vec<u8> {
    eventually(SOON, &format!("{last} is sent"), || {
        let up = relay.seen().up;
        let at = up.windows(last.len()).position(|part| part == last.as_bytes())?;
        let end = at + up[at..].iter().position(|&byte| byte == b'\n')?;
        Some(up[..=end].to_vec())
    })
}

#[test]
fn what_nsq_tail_says_to_a_broker_is_what_nsqs_says() {
    if !is_here("nsq_tail") {
        return;
    }
    let broker = Broker::of(Maker::Real, &[]);
    for options in [
        &[][..],
        &["max_in_flight,7", "client_id,me", "hostname,here.example", "user_agent,nobody"],
        &["sample_rate,10", "msg_timeout,2s", "output_buffer_size,-1", "heartbeat_interval,10s"],
        &["output_buffer_timeout,-1ns", "deflate_level,3"],
    ] {
        let [real, ours] = MAKERS.map(|maker| {
            let relay = Relay::to(broker.tcp);
            let address = at("nsqd-tcp-address", relay.address);
            let options: Vec<String> =
                options.iter().map(|option| format!("--consumer-opt={option}")).collect();
            let flags = ["--topic=t", "--channel=c", "--max-in-flight=9", &address];
            let flags: Vec<&str> =
                flags.into_iter().chain(options.iter().map(String::as_str)).collect();
            let mut tool = start(maker, "nsq_tail", &flags);
            let up = sent_up_to(&relay, "RDY ");
            tool.terminate();
            String::from_utf8_lossy(&up).into_owned()
        });
        assert_eq!(ours, real, "{options:?}");
        assert!(ours.ends_with("SUB t c\nRDY 9\n"), "{ours}");
        assert!(ours.contains("\"user_agent\":\"nsq_tail/1.3.0 go-nsq/1.1.0\""), "{ours}");
    }
}

#[test]
fn what_to_nsq_says_to_a_broker_is_what_nsqs_says() {
    if !is_here("to_nsq") {
        return;
    }
    let broker = Broker::of(Maker::Real, &[]);
    let [real, ours] = MAKERS.map(|maker| {
        let relay = Relay::to(broker.tcp);
        let address = at("nsqd-tcp-address", relay.address);
        let flags = ["--topic=t", "--delimiter=|", &address];
        let ended = run(maker, "to_nsq", &flags, b"one|two||th\nree|\0\xff|");
        assert_eq!(ended.exit_code, Some(0), "{ended:?}");
        let said = eventually(SOON, "the last is sent", || {
            let up = relay.seen().up;
            up.ends_with(b"\0\0\0\x02\0\xff").then_some(up)
        });
        String::from_utf8_lossy(&said).into_owned()
    });
    assert_eq!(ours, real);
    assert!(ours.contains("PUB t\n\0\0\0\x03onePUB t\n\0\0\0\x03twoPUB t\n\0\0\0\x06th\nree"));
}

/// All that waits in the channel, of that many messages.
fn taken(broker: &Broker, channel: &str, count: usize) -> Vec<Vec<u8>> {
    broker.count_becomes("t", channel, "depth", i64::try_from(count).expect("few"));
    let mut client: Client = broker.subscribed("t", channel);
    client.ready(u32::try_from(count).expect("few"));
    let messages = client.messages(count);
    messages.iter().for_each(|message| client.finish(message));
    messages.into_iter().map(|message| message.body).collect()
}

#[test]
fn to_nsq_publishes_every_piece_to_every_broker() {
    if !is_here("to_nsq") {
        return;
    }
    for brokers in MAKERS {
        let two = [(), ()].map(|()| broker_with(brokers, &[], &["t"]));
        let addresses = [0, 1].map(|number| at("nsqd-tcp-address", two[number].tcp));
        let lines: Vec<u8> =
            (0..2_000).flat_map(|n| format!("line {n}\n\n").into_bytes()).collect();
        let expected: Vec<Vec<u8>> = (0..2_000).map(|n| format!("line {n}").into_bytes()).collect();
        for maker in MAKERS {
            let flags = ["--topic=t", &addresses[0], &addresses[1]];
            let ended = run(maker, "to_nsq", &flags, &lines);
            assert_eq!((ended.exit_code, ended.output.len()), (Some(0), 0), "{ended:?}");
            for broker in &two {
                for reader in MAKERS {
                    assert_eq!(taken(broker, &channel(reader), 2_000), expected, "{maker:?}");
                }
            }
        }
    }
}

#[test]
fn a_last_piece_without_its_delimiter_is_whole_and_loses_a_byte_in_nsq() {
    if !is_here("to_nsq") {
        return;
    }
    for (maker, last) in [(Maker::Real, &b"las"[..]), (Maker::Ours, b"last")] {
        let broker = broker_with(Maker::Real, &[], &["t"]);
        let address = at("nsqd-tcp-address", broker.tcp);
        let ended = run(maker, "to_nsq", &["--topic=t", &address], b"first\nlast");
        assert_eq!(ended.exit_code, Some(0), "{ended:?}");
        assert_eq!(taken(&broker, "Ours", 2), [b"first", last]);
    }
}

#[test]
fn to_nsq_goes_slowly_when_it_is_told_to_and_names_what_a_broker_refuses() {
    if !is_here("to_nsq") {
        return;
    }
    let broker = broker_with(Maker::Real, &["--max-msg-size=10"], &["t"]);
    let address = at("nsqd-tcp-address", broker.tcp);
    for maker in MAKERS {
        let flags = ["--topic=t", "--rate=500", &address];
        let ended = run(maker, "to_nsq", &flags, b"a\nb\nc\n");
        assert_eq!(ended.exit_code, Some(0), "{ended:?}");
        assert!(ended.log.contains("Throttling messages rate to max:500/second"), "{ended:?}");
        assert_eq!(taken(&broker, "Ours", 3), [b"a", b"b", b"c"]);

        let ended = run(maker, "to_nsq", &["--topic=t", &address], b"a message too large\n");
        assert_eq!(ended.exit_code, Some(1), "{ended:?}");
        let words = "E_BAD_MESSAGE PUB message too big 19 > 10";
        assert!(masked(&ended.log).iter().any(|line| line == words), "{ended:?}");

        let ended = run(maker, "to_nsq", &["--topic=a*", &address], b"a\n");
        assert_eq!(ended.exit_code, Some(1), "{ended:?}");
        let words = "E_BAD_TOPIC PUB topic name \"a*\" is not valid";
        assert!(masked(&ended.log).iter().any(|line| line == words), "{ended:?}");
    }
}

#[test]
fn both_go_through_tls_snappy_and_deflate() {
    if !(is_here("nsq_tail") && is_here("to_nsq")) {
        return;
    }
    const PHRASE: &str = "all work and no play ";
    let certificates = Certificates::new();
    let authority = format!("tls_root_ca_file,{}", certificates.file("ca.pem").display());
    let client = ["pem", "key"].map(|end| {
        let option = if end == "pem" { "tls_cert" } else { "tls_key" };
        format!("{option},{}", certificates.file(&format!("client.{end}")).display())
    });
    let trusting = [["tls_v1", &authority].as_slice(), &[&client[0], &client[1]]].concat();
    let with = |more: &'static str| [trusting.as_slice(), &[more]].concat();
    let ways = [
        vec!["snappy"],
        vec!["deflate", "deflate_level,6"],
        trusting.clone(),
        with("snappy"),
        with("deflate,true"),
        vec!["tls_v1", "tls_insecure_skip_verify", "tls_min_version,tls1.2"],
    ];
    let flags = certificates.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    // Of many sizes, and one larger than any buffer.
    let mut lines: Vec<Vec<u8>> =
        (0..300).map(|n| PHRASE.repeat(n % 40 + 1).into_bytes()).collect();
    lines.push(PHRASE.repeat(20_000).into_bytes());
    let input: Vec<u8> = lines.iter().flat_map(|line| [line, b"\n".as_slice()].concat()).collect();
    for brokers in MAKERS {
        let broker = broker_with(brokers, &flags, &["t"]);
        for way in &ways {
            let relay = Relay::to(broker.tcp);
            let address = at("nsqd-tcp-address", relay.address);
            // The handshake has to be over within a second of IDENTIFY, unless more is given.
            let way = [way.as_slice(), &["write_timeout,1m", "dial_timeout,1m"]].concat();
            let option = |kind: &str| -> Vec<String> {
                way.iter().map(|option| format!("--{kind}-opt={option}")).collect()
            };
            for publisher in MAKERS {
                let before = relay.seen().up.len();
                let options = option("producer");
                let flags = ["--topic=t", &address];
                let flags: Vec<&str> =
                    flags.into_iter().chain(options.iter().map(String::as_str)).collect();
                let ended = run(publisher, "to_nsq", &flags, &input);
                assert_eq!(ended.exit_code, Some(0), "{way:?} {ended:?}");
                let up = &relay.seen().up[before..];
                let phrase = PHRASE.repeat(2);
                assert!(!up.windows(phrase.len()).any(|part| part == phrase.as_bytes()), "{way:?}");

                let mut logs = Vec::new();
                for maker in MAKERS {
                    let options = option("consumer");
                    let channel = channel(maker);
                    let channel_flag = format!("--channel={channel}");
                    let flags = ["--topic=t", &channel_flag, &address];
                    let flags: Vec<&str> =
                        flags.into_iter().chain(options.iter().map(String::as_str)).collect();
                    let mut tool = start(maker, "nsq_tail", &flags);
                    let mut expected: Vec<String> = lines
                        .iter()
                        .map(|line| String::from_utf8_lossy(line).into_owned())
                        .collect();
                    expected.sort();
                    let found = printed(&tool, lines.len());
                    assert!(found == expected, "{way:?}: {maker:?} prints something else");
                    broker.count_becomes("t", &channel, "in_flight_count", 0);
                    assert_eq!(tool.terminate().code(), Some(0), "{}", tool.log());
                    logs.push(log_of(maker, &tool.whole_log()));
                }
                assert_eq!(logs[1], logs[0], "{way:?}");
                assert!(logs[1].iter().any(|line| line.contains("upgrading to ")), "{way:?}");
            }
        }
    }
}

#[test]
fn a_broker_whose_authority_nobody_trusts_is_refused() {
    if !is_here("nsq_tail") {
        return;
    }
    let certificates = Certificates::new();
    let flags = certificates.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let broker = Broker::of(Maker::Real, &flags);
    let address = at("nsqd-tcp-address", broker.tcp);
    let flags = ["--topic=t", "--channel=c", &address, "--consumer-opt=tls_v1"];
    let ended = same("nsq_tail", &flags, b"");
    assert_eq!(ended.exit_code, Some(1), "{ended:?}");
    assert!(ended.log.contains("certificate signed by unknown authority"), "{ended:?}");
}

#[test]
fn a_secret_is_said_where_it_is_asked_for() {
    if !is_here("nsq_tail") {
        return;
    }
    const GRANTED: &str = r#"{"ttl":60,"identity":"me","identity_url":"http://me","authorizations":[{"topic":"t","channels":[".*"],"permissions":["subscribe"]}]}"#;
    let server = AuthServer::start(|asked| match asked.secret() {
        "secret" => Told::ok(GRANTED),
        _ => Told::status("403 Forbidden"),
    });
    for brokers in MAKERS {
        let broker = Broker::of(brokers, &[&server.flag()]);
        let address = at("nsqd-tcp-address", broker.tcp);
        for (options, words) in [
            (&[][..], "Auth Required"),
            (&["--consumer-opt=auth_secret,wrong"][..], "Error authenticating E_AUTH_FAILED"),
        ] {
            let flags = ["--topic=t", "--channel=c", &address];
            let flags: Vec<&str> = flags.into_iter().chain(options.iter().copied()).collect();
            let ended = same("nsq_tail", &flags, b"");
            assert_eq!(ended.exit_code, Some(1), "{ended:?}");
            assert!(ended.log.contains(words), "{ended:?}");
        }
        let logs = MAKERS.map(|maker| {
            let channel = channel(maker);
            let flag = format!("--channel={channel}");
            let secret = "--consumer-opt=auth-secret,secret";
            let mut tool = start(maker, "nsq_tail", &["--topic=t", &flag, &address, secret]);
            subscribed(&broker, "t", &channel);
            assert_eq!(tool.terminate().code(), Some(0), "{}", tool.log());
            log_of(maker, &tool.whole_log())
        });
        assert_eq!(logs[1], logs[0]);
        let words = "Auth accepted. Identity: \"me\" http://me Permissions: 1";
        assert!(logs[1].iter().any(|line| line.ends_with(words)), "{:?}", logs[1]);
    }
}

#[test]
fn a_message_that_was_tried_too_often_is_finished_and_not_printed() {
    if !is_here("nsq_tail") {
        return;
    }
    let broker = broker_with(Maker::Real, &[], &["t"]);
    broker.client().publish("t", b"tried");
    let logs = MAKERS.map(|maker| {
        let channel = channel(maker);
        let mut client = broker.subscribed("t", &channel);
        client.ready(1);
        for _ in 0..5 {
            let message = client.message();
            client.requeue(&message, 0);
        }
        // It is in flight for the sixth time, and comes back when the client has gone.
        let message = client.message();
        assert_eq!(message.attempts, 6);
        client.ready(0);
        client.requeue(&message, 0);
        broker.count_becomes("t", &channel, "depth", 1);
        drop(client);
        broker.count_becomes("t", &channel, "client_count", 0);

        let flag = format!("--channel={channel}");
        let address = at("nsqd-tcp-address", broker.tcp);
        let mut tool = start(maker, "nsq_tail", &["--topic=t", &flag, &address]);
        tool.logged("attempted 7 times, giving up");
        broker.count_becomes("t", &channel, "in_flight_count", 0);
        assert_eq!(broker.count("t", &channel, "depth"), 0);
        assert_eq!(tool.terminate().code(), Some(0), "{}", tool.log());
        assert_eq!(tool.whole_output(), Vec::<String>::new());
        log_of(maker, &tool.whole_log())
    });
    assert_eq!(logs[1], logs[0]);
}

#[test]
fn a_broker_that_is_gone_is_named_and_connected_to_again() {
    if !is_here("nsq_tail") {
        return;
    }
    let logs = MAKERS.map(|maker| {
        let mut broker = Broker::of(Maker::Real, &[]);
        let address = at("nsqd-tcp-address", broker.tcp);
        let pause = "--consumer-opt=lookupd_poll_interval,4m";
        let flags = ["--topic=t", "--channel=c", pause, &address];
        let mut tool = start(maker, "nsq_tail", &flags);
        // It has read all that it was sent: else the connection would be reset, not closed.
        eventually(SOON, "it is ready", || {
            let ready = broker.channel("t", "c")?["clients"][0]["ready_count"].as_u64()?;
            (0 < ready).then_some(())
        });
        let port = broker.tcp.port();
        broker.process.kill();
        tool.logged("re-connecting in 4m0s");
        assert_eq!(tool.terminate().code(), Some(0), "{}", tool.log());
        masked(&tool.whole_log().replace(&format!(":{port})"), ":PORT)"))
    });
    assert_eq!(logs[1], logs[0]);

    // A relay stays where it is, and its broker is there again.
    for maker in MAKERS {
        let broker = Broker::of(Maker::Real, &[]);
        let relay = Relay::to(broker.tcp);
        let address = at("nsqd-tcp-address", relay.address);
        let pause = "--consumer-opt=lookupd_poll_interval,100ms";
        let mut tool = start(maker, "nsq_tail", &["--topic=t", "--channel=c", pause, &address]);
        subscribed(&broker, "t", "c");
        // Deleting a topic closes its consumers' connections.
        broker.order("/topic/delete?topic=t");
        subscribed(&broker, "t", "c");
        broker.client().publish("t", b"after");
        assert_eq!(printed(&tool, 1), ["after"]);
        assert_eq!(tool.terminate().code(), Some(0), "{}", tool.log());
    }
}

#[test]
fn an_output_that_takes_no_more_ends_nsq_tail() {
    if !is_here("nsq_tail") {
        return;
    }
    let broker = broker_with(Maker::Real, &[], &["t"]);
    broker.client().publish("t", b"a message");
    let left = MAKERS.map(|maker| {
        let address = at("nsqd-tcp-address", broker.tcp);
        let flag = format!("--channel={}", channel(maker));
        let flags = ["--topic=t", &flag, &address];
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let full = full.expect("Linux has /dev/full");
        let mut tool =
            Process::start_to(&mut command(maker, "nsq_tail", &flags), b"", Stdio::from(full));
        let status = tool.ended_within(Duration::from_secs(30));
        (status.code(), log_of(maker, &tool.whole_log()))
    });
    assert_eq!(left[1], left[0]);
    let words = "ERROR: failed to write to os.Stdout - write /dev/stdout: no space left on device";
    assert!(left[1].0 == Some(1) && left[1].1.iter().any(|line| line == words), "{left:?}");

    // As behind `| head`, whose end is a broken pipe.
    for maker in MAKERS {
        let channel = channel(maker);
        broker.order(&format!("/channel/delete?topic=t&channel={channel}"));
        broker.order(&format!("/channel/create?topic=t&channel={channel}"));
        // More than a pipe holds, lest all be written before `head` is there.
        let body = format!("one of many{}", ".".repeat(2_000));
        broker.client().publish_many("t", &vec![body.as_str(); 300]);
        let address = at("nsqd-tcp-address", broker.tcp);
        let program = command(maker, "nsq_tail", &[]).get_program().to_owned();
        let mut shell = std::process::Command::new("sh");
        shell
            .arg("-c")
            .arg("{ \"$0\" --topic=t --channel=\"$1\" --max-in-flight=1 \"$2\"; echo $? >&2; } | head -n 1")
            .arg(program)
            .args([&channel, &address]);
        let ended = run_command(&mut shell, b"");
        assert_eq!(ended.output, format!("{body}\n").as_bytes(), "{ended:?}");
        // A shell says 128 and the signal's number.
        assert!(ended.log.lines().any(|line| line == "141"), "{maker:?}: {ended:?}");
    }
}

#[test]
fn a_name_that_is_a_first_argument_does_as_well() {
    let broker = broker_with(Maker::Ours, &[], &["t"]);
    let address = at("nsqd-tcp-address", broker.tcp);
    let program = tests::programs::ours("admin-cli");
    let mut publish = std::process::Command::new(&program);
    let ended =
        run_command(publish.args(["to_nsq", "--topic=t", &address]), b"through admin-cli\n");
    assert_eq!(ended.exit_code, Some(0), "{ended:?}");
    let mut tail = std::process::Command::new(&program);
    let flags = ["nsq_tail", "--topic=t", "--channel=Ours", "-n=1", &address];
    let ended = run_command(tail.args(flags), b"");
    assert_eq!((ended.exit_code, &*ended.output), (Some(0), &b"through admin-cli\n"[..]));
}
