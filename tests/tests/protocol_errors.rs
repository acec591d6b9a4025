//! Every error of the V2 protocol, over a raw socket: the exact text, and whether the connection
//! stays open. The texts are NSQ behaviour; clients compare them.

use std::time::Duration;

use tests::broker::Broker;
use tests::client::{Client, Frame, MAGIC, many, sized, with_body};
use tests::programs::{Maker, only_ours, under_test};

/// One conversation. `sent` goes out in one piece after the magic; then come `answers`, then `error`.
struct Case {
    sent: Vec<u8>,
    answers: &'static [&'static str],
    error: String,
}

fn case(sent: impl Into<Vec<u8>>, error: &str) -> Case {
    after(&[], sent, error)
}

fn after(answers: &'static [&'static str], sent: impl Into<Vec<u8>>, error: &str) -> Case {
    Case { sent: sent.into(), answers, error: error.to_owned() }
}

fn check(broker: &Broker, cases: impl IntoIterator<Item = Case>, closes: bool) {
    for Case { sent, answers, error } in cases {
        let mut client = broker.client();
        client.try_send(&sent);
        let shown = String::from_utf8_lossy(&sent[..sent.len().min(80)]).into_owned();
        for &answer in answers {
            assert_eq!(client.frame(), Frame::Response(answer.into()), "{shown}");
        }
        assert_eq!(client.frame(), Frame::Error(error), "{shown}");
        if closes {
            client.closed();
        } else {
            client.works();
        }
    }
}

fn identify(json: &str) -> Vec<u8> {
    with_body("IDENTIFY", json.as_bytes())
}

const ID: &str = "0123456789abcdef";

#[test]
fn a_wrong_magic_is_answered_with_a_bare_code_and_closed() {
    let broker = Broker::start();
    for magic in [b"  V1", b"GET ", b"V2  ", b"\0\0\0\0"] {
        let mut client = Client::silent(broker.tcp);
        client.send(magic);
        assert_eq!(client.error(), "E_BAD_PROTOCOL");
        client.closed();
    }
}

#[test]
fn an_unfinished_magic_is_closed_without_a_word() {
    let broker = Broker::start();
    let mut client = Client::silent(broker.tcp);
    client.send(b"  V");
    client.finish_sending();
    client.closed();
}

#[test]
fn an_unknown_command_is_named_and_closed() {
    let broker = Broker::start();
    check(
        &broker,
        [
            case("FOO\n", "E_INVALID invalid command FOO"),
            case("pub t\n", "E_INVALID invalid command pub"),
            case("\n", "E_INVALID invalid command "),
            case("PING x y\n", "E_INVALID invalid command PING"),
        ],
        true,
    );
}

#[test]
fn a_line_longer_than_the_read_buffer_ends_the_connection_without_a_frame() {
    let broker = Broker::start();
    let mut client = broker.client();
    client.try_send(&[b'A'; 20_000]);
    client.closed();
}

#[test]
fn identify_refuses_bodies_and_values_out_of_range() {
    let broker = Broker::start();
    let bad_json = "E_BAD_BODY IDENTIFY failed to decode JSON body";
    check(
        &broker,
        [
            case(
                [&b"IDENTIFY\n"[..], &5_242_881_u32.to_be_bytes()].concat(),
                "E_BAD_BODY IDENTIFY body too big 5242881 > 5242880",
            ),
            case(with_body("IDENTIFY", b""), "E_BAD_BODY IDENTIFY invalid body size 0"),
            case(b"IDENTIFY\n\xff\xff\xff\xff", "E_BAD_BODY IDENTIFY invalid body size -1"),
            case(identify("{"), bad_json),
            case(identify("[]"), bad_json),
            case(identify(r#"{"heartbeat_interval":"1"}"#), bad_json),
            case(identify(r#"{"heartbeat_interval":30000.0}"#), bad_json),
            case(identify(r#"{"feature_negotiation":1}"#), bad_json),
            case(identify("{} x"), bad_json),
            case(
                identify(r#"{"heartbeat_interval":999}"#),
                "E_BAD_BODY IDENTIFY heartbeat interval (999) is invalid",
            ),
            case(
                identify(r#"{"heartbeat_interval":60001}"#),
                "E_BAD_BODY IDENTIFY heartbeat interval (60001) is invalid",
            ),
            case(
                identify(r#"{"output_buffer_timeout":24}"#),
                "E_BAD_BODY IDENTIFY output buffer timeout (24) is invalid",
            ),
            case(
                identify(r#"{"output_buffer_size":63}"#),
                "E_BAD_BODY IDENTIFY output buffer size (63) is invalid",
            ),
            case(
                identify(r#"{"sample_rate":100}"#),
                "E_BAD_BODY IDENTIFY sample rate (100) is invalid",
            ),
            case(
                identify(r#"{"msg_timeout":999}"#),
                "E_BAD_BODY IDENTIFY msg timeout (999) is invalid",
            ),
            case(
                identify(r#"{"msg_timeout":900001}"#),
                "E_BAD_BODY IDENTIFY msg timeout (900001) is invalid",
            ),
            after(
                &["OK"],
                [b"SUB t c\n".to_vec(), identify("{}")].concat(),
                "E_INVALID cannot IDENTIFY in current state",
            ),
        ],
        true,
    );
}

#[test]
fn a_second_identify_replaces_the_first_and_adds_to_it_in_nsq() {
    let broker = Broker::start();
    let mut client = broker.client();
    let first = client.identify(r#"{"feature_negotiation":true,"msg_timeout":2000}"#);
    assert!(first.contains(r#""msg_timeout":2000,"#), "{first}");
    let second = client.identify(r#"{"feature_negotiation":true}"#);
    let timeout = match under_test() {
        Maker::Ours => r#""msg_timeout":60000,"#,
        Maker::Real => r#""msg_timeout":2000,"#,
    };
    assert!(second.contains(timeout), "{second}");
}

#[test]
fn identify_refuses_two_compressions_at_once() {
    check(
        &Broker::start(),
        [case(
            identify(r#"{"feature_negotiation":true,"snappy":true,"deflate":true}"#),
            "E_IDENTIFY_FAILED cannot enable both deflate and snappy compression",
        )],
        true,
    );
}

#[test]
fn auth_is_refused_where_no_auth_server_is_configured() {
    let broker = Broker::start();
    check(
        &broker,
        [
            case(with_body("AUTH", b"secret"), "E_AUTH_DISABLED AUTH disabled"),
            case(with_body("AUTH x", b"secret"), "E_INVALID AUTH invalid number of parameters"),
            case(with_body("AUTH", b""), "E_BAD_BODY AUTH invalid body size 0"),
            after(
                &["OK"],
                [b"SUB t c\n".to_vec(), with_body("AUTH", b"s")].concat(),
                "E_INVALID cannot AUTH in current state",
            ),
        ],
        true,
    );
}

#[test]
fn subscribe_refuses_names_parameters_and_states() {
    let broker = Broker::start();
    let long = "t".repeat(65);
    check(
        &broker,
        [
            case("SUB\n", "E_INVALID SUB insufficient number of parameters"),
            case("SUB t\n", "E_INVALID SUB insufficient number of parameters"),
            case("SUB bad*t c\n", r#"E_BAD_TOPIC SUB topic name "bad*t" is not valid"#),
            case("SUB t c*\n", r#"E_BAD_CHANNEL SUB channel name "c*" is not valid"#),
            case("SUB  t\n", r#"E_BAD_TOPIC SUB topic name "" is not valid"#),
            case("SUB t \n", r#"E_BAD_CHANNEL SUB channel name "" is not valid"#),
            case("SUB #ephemeral c\n", r##"E_BAD_TOPIC SUB topic name "#ephemeral" is not valid"##),
            case(
                format!("SUB {long} c\n"),
                &format!(r#"E_BAD_TOPIC SUB topic name "{long}" is not valid"#),
            ),
            after(&["OK"], "SUB t c\nSUB t c\n", "E_INVALID cannot SUB in current state"),
            after(
                &["OK"],
                [identify(r#"{"heartbeat_interval":-1}"#), b"SUB t c\n".to_vec()].concat(),
                "E_INVALID cannot SUB with heartbeats disabled",
            ),
        ],
        true,
    );
}

#[test]
fn ready_refuses_counts_out_of_range_and_states() {
    let broker = Broker::start();
    check(
        &broker,
        [
            case("RDY 1\n", "E_INVALID cannot RDY in current state"),
            after(&["OK"], "SUB t c\nRDY x\n", "E_INVALID RDY could not parse count x"),
            after(&["OK"], "SUB t c\nRDY -1\n", "E_INVALID RDY could not parse count -1"),
            after(&["OK"], "SUB t c\nRDY 2501\n", "E_INVALID RDY count 2501 out of range 0-2500"),
            after(
                &["OK"],
                "SUB t c\nRDY 18446744073709551615\n",
                "E_INVALID RDY count -1 out of range 0-2500",
            ),
        ],
        true,
    );
}

#[test]
fn finish_requeue_and_touch_refuse_states_parameters_and_ids() {
    let broker = Broker::start();
    let params = |verb: &str| format!("E_INVALID {verb} insufficient number of params");
    let state = |verb: &str| format!("E_INVALID cannot {verb} in current state");
    let subscribed = |line: &str| format!("SUB t c\n{line}\n");
    check(
        &broker,
        [
            case(format!("FIN {ID}\n"), &state("FIN")),
            case(format!("REQ {ID} 0\n"), &state("REQ")),
            case(format!("TOUCH {ID}\n"), &state("TOUCH")),
            case("CLS\n", &state("CLS")),
            after(&["OK"], subscribed("FIN"), &params("FIN")),
            after(&["OK"], subscribed(&format!("REQ {ID}")), &params("REQ")),
            after(&["OK"], subscribed("TOUCH"), &params("TOUCH")),
            after(&["OK"], subscribed("FIN short"), "E_INVALID invalid message ID"),
            after(&["OK"], subscribed("REQ short 0"), "E_INVALID invalid message ID"),
            after(&["OK"], subscribed("TOUCH 0123456789abcdefg"), "E_INVALID invalid message ID"),
            after(
                &["OK"],
                subscribed(&format!("REQ {ID} -1")),
                "E_INVALID REQ could not parse timeout -1",
            ),
            after(&["OK", "CLOSE_WAIT"], "SUB t c\nCLS\nCLS\n", &state("CLS")),
            after(&["OK", "CLOSE_WAIT"], "SUB t c\nCLS\nSUB t c\n", &state("SUB")),
        ],
        true,
    );
}

#[test]
fn failed_finish_requeue_and_touch_leave_the_connection_open() {
    let broker = Broker::start();
    let failed = |verb: &str, rest: &str| {
        after(
            &["OK"],
            format!("SUB t c\n{verb} {ID}{rest}\n"),
            &format!("E_{verb}_FAILED {verb} {ID} failed ID not in flight"),
        )
    };
    let cases = [failed("FIN", ""), failed("REQ", " 0"), failed("TOUCH", "")];
    check(&broker, cases, false);
}

#[test]
fn another_clients_message_can_not_be_answered() {
    let broker = Broker::start();
    let mut owner = broker.subscribed("t", "c");
    owner.ready(1);
    broker.client().publish("t", b"m");
    let id = owner.message().id;
    let mut other = broker.subscribed("t", "c");
    for (verb, rest) in [("FIN", ""), ("REQ", " 0"), ("TOUCH", "")] {
        other.send(format!("{verb} {id}{rest}\n").as_bytes());
        let said = format!("E_{verb}_FAILED {verb} {id} failed client does not own message");
        assert_eq!(other.error(), said);
    }
    other.works();
}

#[test]
fn publish_refuses_names_and_sizes() {
    let broker = Broker::start();
    let sizes = |verb: &str, line: &str| {
        [
            case(
                with_body(line, b""),
                &format!("E_BAD_MESSAGE {verb} invalid message body size 0"),
            ),
            case(
                [line.as_bytes(), b"\n\xff\xff\xff\xff"].concat(),
                &format!("E_BAD_MESSAGE {verb} invalid message body size -1"),
            ),
            case(
                [line.as_bytes(), b"\n", &1_048_577_u32.to_be_bytes()].concat(),
                &format!("E_BAD_MESSAGE {verb} message too big 1048577 > 1048576"),
            ),
        ]
    };
    check(&broker, sizes("PUB", "PUB t"), true);
    check(&broker, sizes("DPUB", "DPUB t 0"), true);
    check(
        &broker,
        [
            case("PUB\n", "E_INVALID PUB insufficient number of parameters"),
            case(with_body("PUB x*", b"m"), r#"E_BAD_TOPIC PUB topic name "x*" is not valid"#),
            case(with_body("PUB  t", b"m"), r#"E_BAD_TOPIC PUB topic name "" is not valid"#),
            case("DPUB t\n", "E_INVALID DPUB insufficient number of parameters"),
            case(with_body("DPUB x* 0", b"m"), r#"E_BAD_TOPIC DPUB topic name "x*" is not valid"#),
            case(with_body("DPUB t -1", b"m"), "E_INVALID DPUB could not parse timeout -1"),
            case(
                with_body("DPUB t 3600001", b"m"),
                "E_INVALID DPUB timeout 3600001 out of range 0-3600000",
            ),
        ],
        true,
    );
}

#[test]
fn publish_of_many_refuses_names_counts_and_sizes() {
    let broker = Broker::start();
    let one = |rest: &[u8]| with_body("MPUB t", &[&1_u32.to_be_bytes(), rest].concat());
    check(
        &broker,
        [
            case("MPUB\n", "E_INVALID MPUB insufficient number of parameters"),
            case(
                many("bad*topic", &["m"]),
                r#"E_BAD_TOPIC E_BAD_TOPIC MPUB topic name "bad*topic" is not valid"#,
            ),
            case(with_body("MPUB t", b""), "E_BAD_BODY MPUB invalid body size 0"),
            case(b"MPUB t\n\xff\xff\xff\xff", "E_BAD_BODY MPUB invalid body size -1"),
            case(
                [&b"MPUB t\n"[..], &5_242_881_u32.to_be_bytes()].concat(),
                "E_BAD_BODY MPUB body too big 5242881 > 5242880",
            ),
            case(
                with_body("MPUB t", &0_u32.to_be_bytes()),
                "E_BAD_BODY MPUB invalid message count 0",
            ),
            case(
                with_body("MPUB t", &1_048_576_u32.to_be_bytes()),
                "E_BAD_BODY MPUB invalid message count 1048576",
            ),
            case(one(&sized(b"")), "E_BAD_MESSAGE MPUB invalid message(0) body size 0"),
            case(
                one(&1_048_577_u32.to_be_bytes()),
                "E_BAD_MESSAGE MPUB message too big 1048577 > 1048576",
            ),
        ],
        true,
    );
}

#[test]
fn nothing_of_a_refused_batch_is_published() {
    let broker = Broker::start();
    let body = [&2_u32.to_be_bytes()[..], &sized(b"good"), &sized(b"")].concat();
    check(
        &broker,
        [case(with_body("MPUB t", &body), "E_BAD_MESSAGE MPUB invalid message(1) body size 0")],
        true,
    );
    let published = broker.topic("t").map(|topic| topic["message_count"].clone());
    assert!(published.is_none_or(|count| count == 0));
}

#[test]
fn a_consumer_beyond_the_limit_is_refused() {
    let broker = Broker::with(&["--max-channel-consumers=2"]);
    let _first = broker.subscribed("top", "ch");
    let _second = broker.subscribed("top", "ch");
    let said = "E_SUB_FAILED SUB failed consumers for top:ch exceeds limit of 2";
    check(&broker, [case("SUB top ch\n", said)], true);
    broker.subscribed("top", "other").works();
}

#[test]
fn commands_may_arrive_byte_by_byte_or_all_at_once() {
    let broker = Broker::start();
    let all = [
        MAGIC,
        &with_body("PUB t", b"one"),
        b"NOP\n",
        b"NOP\r\n",
        &with_body("PUB t extra parameters", b"two"),
        b"SUB t c\r\nRDY 2\n",
    ]
    .concat();
    for size in [1, all.len()] {
        let mut client = Client::silent(broker.tcp);
        for piece in all.chunks(size) {
            client.send(piece);
        }
        client.ok();
        client.ok();
        client.ok();
        let got = client.messages(2);
        let mut bodies: Vec<_> = got.iter().map(tests::client::Message::text).collect();
        bodies.sort();
        assert_eq!(bodies, ["one", "two"]);
        for message in &got {
            client.finish(message);
        }
        client.works();
        client.send(b"CLS\n");
        assert_eq!(client.response(), "CLOSE_WAIT");
    }
}

#[test]
fn a_client_that_reads_late_gets_all_it_is_owed_and_the_error_last() {
    let broker = Broker::start();
    let body = vec![b'm'; 1_000_000];
    let mut publisher = broker.client();
    for _ in 0..16 {
        publisher.publish("t", &body);
    }
    let mut client = broker.subscribed("t", "c");
    // More than the system holds on the way to a client that does not read.
    client.ready(16);
    client.message();
    std::thread::sleep(Duration::from_millis(300));
    client.send(b"NONSENSE\n");
    client.finish_sending();
    std::thread::sleep(Duration::from_millis(300));
    let error = loop {
        match client.frame() {
            Frame::Message(message) => assert_eq!(message.body.len(), body.len()),
            Frame::Error(text) => break text,
            other @ Frame::Response(_) => panic!("{other:?}"),
        }
    };
    assert_eq!(error, "E_INVALID invalid command NONSENSE");
    if only_ours("the real nsqd may send another message behind the error") {
        client.closed();
    }
}
