//! TLS, snappy and deflate on the TCP port: what is offered, in which order layers begin, that
//! everything gets through them on whichever core, and what becomes of clients who misuse them.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tests::broker::Broker;
use tests::client::{Client, Frame, Seen, with_body};
use tests::dice::Dice;
use tests::layers::Certificates;
use tests::patience::{SOON, eventually};
use tests::programs::{Maker, only_ours, under_test};

/// Both versions that we have.
const MODERN: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

/// What a client asks for.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    tls: Option<&'static [&'static SupportedProtocolVersion]>,
    snappy: bool,
    deflate: bool,
}

impl Wanted {
    const PLAIN: Self = Self { tls: None, snappy: false, deflate: false };
    const SNAPPY: Self = Self { snappy: true, ..Self::PLAIN };
    const DEFLATE: Self = Self { deflate: true, ..Self::PLAIN };
    const TLS: Self = Self { tls: Some(MODERN), ..Self::PLAIN };
    const ALL: [Self; 7] = [
        Self::SNAPPY,
        Self::DEFLATE,
        Self::TLS,
        Self { tls: Some(&[&TLS12]), ..Self::PLAIN },
        Self { tls: Some(&[&TLS13]), ..Self::PLAIN },
        Self { snappy: true, ..Self::TLS },
        Self { deflate: true, ..Self::TLS },
    ];

    fn json(self) -> String {
        format!(
            r#"{{"client_id":"c","feature_negotiation":true,"tls_v1":{},"snappy":{},"deflate":{}}}"#,
            self.tls.is_some(),
            self.snappy,
            self.deflate
        )
    }

    /// Identifies, and begins what was agreed.
    fn agree(self, client: &mut Client, certificates: &Certificates) {
        self.agree_and(client, certificates, "");
    }

    /// The same with `more` in front in the JSON, `"msg_timeout":1000,` for instance.
    fn agree_and(self, client: &mut Client, certificates: &Certificates, more: &str) {
        let answer = client.identify(&self.json().replacen('{', &format!("{{{more}"), 1));
        for (key, wanted) in
            [("tls_v1", self.tls.is_some()), ("snappy", self.snappy), ("deflate", self.deflate)]
        {
            assert!(answer.contains(&format!("\"{key}\":{wanted}")), "{answer}");
        }
        if let Some(versions) = self.tls {
            client.begin_tls(certificates.client(None, versions));
        }
        if self.snappy {
            client.begin_snappy();
        }
        if self.deflate {
            client.begin_deflate();
        }
    }
}

/// A broker with a certificate, and ours with two cores.
fn broker(certificates: &Certificates, more: &[&str]) -> Broker {
    let mut flags = certificates.flags();
    if under_test() == Maker::Ours {
        flags.push("--shards=2".to_owned());
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    Broker::with(&flags)
}

/// Bytes that nothing can compress.
fn noise(dice: &mut Dice, length: usize) -> Vec<u8> {
    let numbers = std::iter::repeat_with(|| dice.number().to_be_bytes());
    numbers.flatten().take(length).collect()
}

/// Bodies of many sizes: nothing to compress, much to compress, and some larger than any buffer.
fn bodies() -> Vec<Vec<u8>> {
    let mut dice = Dice::of(7, 0);
    let mut noise = |length| noise(&mut dice, length);
    let mut bodies: Vec<Vec<u8>> = (1..40).map(|length| noise(length * 17)).collect();
    bodies.push(noise(200_000));
    bodies.push(vec![b'a'; 900_000]);
    bodies.push(noise(70_000));
    bodies
}

#[test]
fn everything_gets_through_every_combination_of_layers_on_every_core() {
    let certificates = Certificates::new();
    let broker = broker(&certificates, &[]);
    let bodies = bodies();
    for (number, wanted) in Wanted::ALL.into_iter().enumerate() {
        // Several topics, so that some live on the core of the client and some on the other.
        for part in 0..4 {
            let topic = format!("layers-{number}-{part}");
            let mut consumer = broker.client();
            wanted.agree(&mut consumer, &certificates);
            consumer.subscribe(&topic, "c");
            consumer.ready(20);
            let mut publisher = broker.client();
            wanted.agree(&mut publisher, &certificates);
            for body in &bodies[..20] {
                publisher.publish(&topic, body);
            }
            publisher.publish_many(&topic, &bodies[20..]);
            let mut got = Vec::new();
            for _ in &bodies {
                let message = consumer.message();
                consumer.finish(&message);
                got.push(message.body);
            }
            got.sort();
            let mut expected = bodies.clone();
            expected.sort();
            assert!(got == expected, "{wanted:?} on {topic}");
            consumer.send(b"CLS\n");
            assert_eq!(consumer.response(), "CLOSE_WAIT", "{wanted:?}");
            broker.count_becomes(&topic, "c", "in_flight_count", 0);
        }
    }
}

#[test]
fn a_layer_begins_only_behind_the_json_answer_that_agrees_to_it() {
    let certificates = Certificates::new();
    let broker = broker(&certificates, &["--snappy=false", "--max-deflate-level=4"]);
    let asks = |json: &str| {
        let mut client = broker.client();
        let answer = client.identify(json);
        // Nothing is behind it, and the connection is as it was.
        client.works();
        answer
    };
    let answer = asks(r#"{"feature_negotiation":true,"snappy":true}"#);
    assert!(answer.contains(r#""tls_v1":false,"deflate":false,"deflate_level":4,"max_deflate_level":4,"snappy":false"#), "{answer}");
    for without in
        [r#"{"tls_v1":true,"deflate":true,"snappy":true}"#, r#"{"feature_negotiation":false}"#]
    {
        assert_eq!(asks(without), "OK");
    }
    for (asked, agreed) in [(0, 4), (1, 1), (3, 3), (4, 4), (9, 4), (-1, 4)] {
        let mut client = broker.client();
        let answer = client.identify(&format!(
            r#"{{"feature_negotiation":true,"deflate":true,"deflate_level":{asked}}}"#
        ));
        let expected = format!(r#""deflate":true,"deflate_level":{agreed},"#);
        assert!(answer.contains(&expected), "{asked}: {answer}");
        client.begin_deflate();
        client.works();
    }
}

#[test]
fn two_compressions_at_once_are_refused() {
    let certificates = Certificates::new();
    let broker = broker(&certificates, &[]);
    let mut client = broker.client();
    client
        .send(&with_body("IDENTIFY", Wanted { snappy: true, ..Wanted::DEFLATE }.json().as_bytes()));
    assert_eq!(
        client.error(),
        "E_IDENTIFY_FAILED cannot enable both deflate and snappy compression"
    );
    client.closed();
}

#[test]
fn what_is_compressed_is_small_on_the_wire() {
    let certificates = Certificates::new();
    let broker = broker(&certificates, &[]);
    let body = vec![b'z'; 500_000];
    for (wanted, at_most) in [
        (Wanted::SNAPPY, 50_000),
        (Wanted::DEFLATE, 5_000),
        (Wanted { snappy: true, ..Wanted::TLS }, 60_000),
        (Wanted { deflate: true, ..Wanted::TLS }, 10_000),
    ] {
        let mut consumer = broker.client();
        wanted.agree(&mut consumer, &certificates);
        consumer.subscribe("small", "c");
        consumer.ready(1);
        broker.client().publish("small", &body);
        let message = consumer.message();
        assert_eq!(message.body.len(), 500_000);
        consumer.finish(&message);
        let wire = consumer.wire_bytes();
        assert!((100..at_most).contains(&wire), "{wanted:?}: {wire}");
    }
    let mut consumer = broker.subscribed("small", "c");
    consumer.ready(1);
    broker.client().publish("small", &body);
    consumer.message();
    assert!(500_000 < consumer.wire_bytes());
}

#[test]
fn a_compressed_message_is_flushed_to_its_consumer_at_once() {
    let certificates = Certificates::new();
    // What is held back would be so for longer than the test waits.
    let broker = broker(&certificates, &["--max-output-buffer-timeout=10m"]);
    for wanted in Wanted::ALL {
        let mut consumer = broker.client();
        wanted.agree_and(&mut consumer, &certificates, r#""output_buffer_timeout":600000,"#);
        consumer.subscribe("once", "c");
        // One at a time is never held back, in NSQ neither.
        consumer.ready(1);
        let mut publisher = broker.client();
        for _ in 0..5 {
            publisher.publish("once", b"small");
            let message = consumer.message();
            consumer.finish(&message);
        }
    }
}

#[test]
fn heartbeats_come_through_layers_and_begin_behind_them() {
    let certificates = Certificates::new();
    let broker = broker(&certificates, &[]);
    for wanted in [Wanted::SNAPPY, Wanted { deflate: true, ..Wanted::TLS }] {
        let mut client = broker.client();
        wanted.agree_and(&mut client, &certificates, r#""heartbeat_interval":3000,"#);
        for _ in 0..3 {
            let seen = client.see(SOON);
            assert_eq!(seen, Seen::Frame(Frame::Response("_heartbeat_".to_owned())));
            client.send(b"NOP\n");
        }
    }
}

#[test]
fn where_tls_is_required_only_identify_is_heard_without_it() {
    let certificates = Certificates::new();
    for flags in [
        &["--tls-required"][..],
        &["--tls-required=true"],
        &["--tls-required=tcp-https"],
        &["--tls-client-auth-policy=anything"],
    ] {
        let broker = broker(&certificates, flags);
        for (command, word) in [
            (&b"NOP\n"[..], "NOP"),
            (b"SUB t c\n", "SUB"),
            (b"PUB t\n\0\0\0\x01x", "PUB"),
            (b"WHAT\n", "WHAT"),
        ] {
            let mut client = broker.client();
            // Which is no way around it.
            assert!(
                client.identify(r#"{"feature_negotiation":true}"#).contains("\"tls_v1\":false")
            );
            client.send(command);
            let expected = format!("E_INVALID cannot {word} in current state (TLS required)");
            assert_eq!(client.error(), expected, "{flags:?}");
            client.closed();
        }
        let mut client = broker.client();
        Wanted::TLS.agree(&mut client, &certificates);
        client.works();
    }
}

#[test]
fn statistics_show_what_a_client_agreed() {
    let certificates = Certificates::new();
    let broker = broker(&certificates, &[]);
    for (number, wanted) in Wanted::ALL.into_iter().enumerate() {
        let topic = format!("shown-{number}");
        let mut consumer = broker.client();
        wanted.agree(&mut consumer, &certificates);
        consumer.subscribe(&topic, "c");
        let mut publisher = broker.client();
        wanted.agree(&mut publisher, &certificates);
        publisher.publish(&topic, b"x");
        let stats = broker.get(&format!("/stats?format=json&topic={topic}")).json();
        let clients = [&stats["topics"][0]["channels"][0]["clients"][0], &stats["producers"][0]];
        for client in clients {
            let expected = [
                ("tls", wanted.tls.is_some()),
                ("tls_negotiated_protocol_is_mutual", wanted.tls.is_some()),
                ("snappy", wanted.snappy),
                ("deflate", wanted.deflate),
            ];
            for (key, value) in expected {
                assert_eq!(client[key], value, "{key} of {wanted:?}: {client}");
            }
            let version = match wanted.tls {
                None => "",
                Some([only]) if *only == &TLS12 => "TLS1.2",
                Some(_) => "TLS1.3",
            };
            assert_eq!(client["tls_version"], version, "{client}");
            assert_eq!(client["tls_negotiated_protocol"], "", "{client}");
            let suite = client["tls_cipher_suite"].as_str().expect("a text");
            match (under_test(), version) {
                (_, "") => assert_eq!(suite, ""),
                (Maker::Ours, "TLS1.3") => assert!(suite.starts_with("TLS_AES_"), "{suite}"),
                (Maker::Ours, _) => assert!(suite.starts_with("TLS_ECDHE_ECDSA_"), "{suite}"),
                // NSQ has names for few.
                (Maker::Real, "TLS1.3") => assert!(suite.starts_with("Unknown "), "{suite}"),
                (Maker::Real, _) => {}
            }
        }
    }
}

#[test]
fn what_is_no_handshake_is_refused_outside_tls() {
    let certificates = Certificates::new();
    let mut broker = broker(&certificates, &[]);
    for bytes in [&b"SUB t c\n"[..], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut client = broker.client();
        client.identify(&Wanted::TLS.json());
        client.send_raw(bytes);
        assert_eq!(
            client.error(),
            "E_IDENTIFY_FAILED IDENTIFY failed \
             tls: first record does not look like a TLS handshake"
        );
        client.closed();
    }
    // Commands in the clear behind the wish for TLS are never executed.
    let mut client = broker.client();
    let wish = with_body("IDENTIFY", Wanted::TLS.json().as_bytes());
    client.send_raw(&[&wish, &b"PUB smuggled\n\0\0\0\x01x"[..]].concat());
    client.response();
    if under_test() == Maker::Ours {
        let refused = client.error();
        assert!(refused.starts_with("E_IDENTIFY_FAILED IDENTIFY failed tls: "), "{refused}");
        client.closed();
    }
    assert_eq!(broker.topic("smuggled"), None);
    assert!(broker.process.is_running());
}

#[test]
fn a_handshake_that_stops_half_way_ends_after_five_seconds_and_holds_up_nobody() {
    let certificates = Certificates::new();
    let broker = broker(&certificates, &[]);
    let hello = {
        let mut bytes = Vec::new();
        certificates.client(None, MODERN).write_tls(&mut bytes).expect("memory takes all");
        bytes
    };
    let begun = Instant::now();
    let halves: Vec<Client> = [0, 3, hello.len() / 2, hello.len() - 1]
        .into_iter()
        .map(|sent| {
            let mut client = broker.client();
            client.identify(&Wanted::TLS.json());
            client.send_raw(&hello[..sent]);
            client
        })
        .collect();
    let is_refusal = |text: &str| {
        text.starts_with("E_IDENTIFY_FAILED IDENTIFY failed read tcp 127.0.0.1:")
            && text.ends_with(": i/o timeout")
    };
    // A client whose handshake drips in, a byte at a time, is not given more time: were it so, the
    // bytes would come to their end.
    let mut slow = broker.client();
    slow.identify(&Wanted::TLS.json());
    let mut bytes = hello.iter();
    let mut served_meanwhile = 0;
    let refused = loop {
        slow.try_send(&[*bytes.next().expect("it is refused before its handshake is whole")]);
        let mut other = broker.client();
        Wanted::TLS.agree(&mut other, &certificates);
        other.works();
        // Nobody can have been given up by then.
        served_meanwhile += usize::from(begun.elapsed() < Duration::from_secs(5));
        match slow.see(Duration::from_millis(100)) {
            Seen::Silence => {}
            Seen::Frame(Frame::Error(text)) => break text,
            other => panic!("{other:?}"),
        }
    };
    assert!(is_refusal(&refused), "{refused}");
    slow.closed();
    assert!(0 < served_meanwhile, "others wait for those that stop half way");
    for mut half in halves {
        let refused = half.error();
        assert!(is_refusal(&refused), "{refused}");
        half.closed();
    }
    assert!(Duration::from_secs(5) <= begun.elapsed(), "{:?}", begun.elapsed());
}

/// What the broker says of a client that shows this certificate.
fn shown_to(
    broker: &Broker,
    certificates: &Certificates,
    shows: Option<&str>,
) -> Result<(), String> {
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let mut client = broker.client();
        client.identify(&Wanted::TLS.json());
        let tls = certificates.client(shows, versions);
        if let Err(error) = client.try_tls(tls) {
            return Err(error.to_string());
        }
        // With TLS 1.3 the client is done before the broker has looked at its certificate.
        match client.see(SOON) {
            Seen::Frame(Frame::Response(ok)) => assert_eq!(ok, "OK"),
            Seen::Broken(reason) => return Err(reason),
            other => panic!("{other:?}"),
        }
        client.works();
    }
    Ok(())
}

#[test]
fn certificates_of_clients_are_asked_for_as_the_policy_says() {
    let certificates = Certificates::new();
    let root = format!("--tls-root-ca-file={}", certificates.file("ca.pem").display());
    let good = Some("client");
    let stranger = Some("stranger");
    let mut none = broker(&certificates, &[]);
    for shows in [None, good, stranger] {
        assert_eq!(shown_to(&none, &certificates, shows), Ok(()), "{shows:?}");
    }
    assert!(none.process.is_running());

    let mut any = broker(&certificates, &["--tls-client-auth-policy=require"]);
    assert_eq!(shown_to(&any, &certificates, good), Ok(()));
    assert_eq!(shown_to(&any, &certificates, stranger), Ok(()));
    let refused = shown_to(&any, &certificates, None).unwrap_err();
    assert!(refused.contains("received fatal alert"), "{refused}");
    any.process
        .logged("E_IDENTIFY_FAILED IDENTIFY failed tls: client didn't provide a certificate");

    let mut verified = broker(&certificates, &["--tls-client-auth-policy=require-verify", &root]);
    assert_eq!(shown_to(&verified, &certificates, good), Ok(()));
    let refused = shown_to(&verified, &certificates, None).unwrap_err();
    assert!(refused.contains("received fatal alert"), "{refused}");
    verified
        .process
        .logged("E_IDENTIFY_FAILED IDENTIFY failed tls: client didn't provide a certificate");
    let refused = shown_to(&verified, &certificates, stranger).unwrap_err();
    assert!(refused.contains("received fatal alert"), "{refused}");
    verified.process.logged(
        "E_IDENTIFY_FAILED IDENTIFY failed tls: failed to verify certificate: \
         x509: certificate signed by unknown authority",
    );
}

#[test]
fn a_stream_that_is_no_stream_of_its_layer_closes_that_connection_alone() {
    let certificates = Certificates::new();
    let broker = broker(&certificates, &[]);
    let mut neighbour = broker.client();
    for wanted in Wanted::ALL {
        for garbage in [&b"PUB t\n\0\0\0\x01x"[..], &[0xff; 4096], &[0; 4096]] {
            let mut client = broker.client();
            wanted.agree(&mut client, &certificates);
            client.send_raw(garbage);
            // So short a stream may only be unfinished, and then nothing comes of it.
            let may_be_unfinished = garbage.len() < 4096;
            let limit = if may_be_unfinished { Duration::from_secs(1) } else { SOON };
            // With TLS an alert may come first.
            match client.see_of_a_mortal(limit) {
                Seen::Closed | Seen::Broken(_) => {}
                Seen::Silence if may_be_unfinished => {}
                other => panic!("{wanted:?} on {:?}: {other:?}", &garbage[..4]),
            }
            neighbour.works();
        }
    }
    assert_eq!(broker.topic("t"), None);
}

#[test]
fn a_small_input_that_becomes_large_takes_no_memory() {
    let certificates = Certificates::new();
    let broker = broker(&certificates, &[]);
    let before = broker.process.resident_bytes();
    let zeros = vec![0; 1 << 20];
    for wanted in [Wanted::DEFLATE, Wanted::SNAPPY, Wanted { deflate: true, ..Wanted::TLS }] {
        let mut client = broker.client();
        wanted.agree(&mut client, &certificates);
        // 64 MB of what is one command line without an end.
        for _ in 0..64 {
            client.try_send(&zeros);
        }
        assert!(matches!(client.see_of_a_mortal(SOON), Seen::Closed | Seen::Broken(_)));
    }
    // 10 MB of commands in 40 kB, which are executed; others have their turn meanwhile.
    let commands = b"NOP\n".repeat(1 << 18);
    let mut client = broker.client();
    Wanted::DEFLATE.agree(&mut client, &certificates);
    let mut neighbour = broker.client();
    for _ in 0..10 {
        client.try_send(&commands);
    }
    neighbour.works();
    client.works();
    let grown = broker.process.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes");
}

#[test]
fn a_consumer_behind_layers_that_reads_nothing_is_given_up_like_any() {
    if !only_ours("the real nsqd leaves such a client subscribed") {
        return;
    }
    let certificates = Certificates::new();
    let broker = broker(&certificates, &[]);
    let mut publisher = broker.client();
    let body = noise(&mut Dice::of(3, 0), 900_000);
    for _ in 0..40 {
        publisher.publish("deaf", &body);
    }
    for wanted in [Wanted::TLS, Wanted { snappy: true, ..Wanted::TLS }] {
        let mut consumer = broker.client();
        wanted.agree_and(&mut consumer, &certificates, r#""heartbeat_interval":3000,"#);
        consumer.subscribe("deaf", "c");
        consumer.ready(2_500);
        eventually(SOON, "it is closed", || {
            (broker.count("deaf", "c", "client_count") == 0).then_some(())
        });
    }
    assert!(broker.process.resident_bytes() < 400 << 20);
}

#[test]
fn a_client_that_goes_in_the_middle_of_its_handshake_is_forgotten() {
    let certificates = Certificates::new();
    let mut broker = broker(&certificates, &[]);
    for _ in 0..20 {
        let mut client = broker.client();
        client.identify(&Wanted::TLS.json());
        client.send_raw(&[22, 3, 1]);
        drop(client);
        drop(TcpStream::connect(broker.tcp).expect("the broker accepts"));
    }
    broker.process.logged("E_IDENTIFY_FAILED IDENTIFY failed ");
    let mut client = broker.client();
    Wanted::TLS.agree(&mut client, &certificates);
    client.works();
}
