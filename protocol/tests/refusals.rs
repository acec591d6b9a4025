//! Every error text of the V2 protocol, and the moment at which it is due.

use std::time::Duration;

use protocol::command::Verb;
use protocol::conversation::{Conversation, Phase};
use protocol::decoder::{DecodeError, Decoded, Decoder};
use protocol::limits::Limits;
use protocol::message_id::MessageId;
use protocol::refusal::{Code, MessageFault, Refusal};

const FRESH: Conversation =
    Conversation { phase: Phase::Fresh, heartbeats: true, tls_missing: false };
const SUBSCRIBED: Conversation = Conversation { phase: Phase::Subscribed, ..FRESH };
const CLOSING: Conversation = Conversation { phase: Phase::Closing, ..FRESH };
const SILENT: Conversation = Conversation { heartbeats: false, ..FRESH };
const TLS_MISSING: Conversation = Conversation { tls_missing: true, ..FRESH };

/// Holds each refusal against the bytes that prove it: with the last of them it is there, and one
/// byte before the decoder still asks for more.
fn check(conversation: Conversation, cases: &[(&[u8], &str)]) {
    for (input, expected) in cases {
        let mut decoder = Decoder::new(Limits::default());
        for length in 0..input.len() {
            let found = decoder.decode(&input[..length], conversation);
            assert!(matches!(found, Ok(Decoded::NeedMore { .. })), "{expected}: {found:?}");
        }
        for mut decoder in [decoder, Decoder::new(Limits::default())] {
            match decoder.decode(input, conversation) {
                Err(DecodeError::Refused(refusal)) => {
                    assert_eq!(refusal.text(), *expected);
                    assert!(refusal.closes_connection(), "{expected}");
                }
                other => panic!("{expected}: {other:?}"),
            }
        }
    }
}

#[test]
fn what_is_no_command_is_repeated_to_the_client() {
    let cases: [(&[u8], &str); 5] = [
        (b"BOGUS a b\n", "E_INVALID invalid command BOGUS"),
        (b"nop\n", "E_INVALID invalid command nop"),
        (b"\n", "E_INVALID invalid command "),
        (b"\r\n", "E_INVALID invalid command "),
        (b" NOP\n", "E_INVALID invalid command "),
    ];
    check(FRESH, &cases);
    check(SUBSCRIBED, &cases);
}

#[test]
fn bytes_that_are_not_text_are_repeated_as_they_came() {
    let decoded = Decoder::new(Limits::default()).decode(b"\xff\x00\n", FRESH);
    let Err(DecodeError::Refused(refusal)) = decoded else { panic!("{decoded:?}") };
    let mut out = b"before ".to_vec();
    refusal.push_text(&mut out);
    assert_eq!(out, b"before E_INVALID invalid command \xff\x00");
}

#[test]
fn the_state_is_judged_before_parameters_and_bodies() {
    check(
        FRESH,
        &[
            (b"RDY x\n", "E_INVALID cannot RDY in current state"),
            (b"FIN\n", "E_INVALID cannot FIN in current state"),
            (b"FIN 0123456789abcdef\n", "E_INVALID cannot FIN in current state"),
            (b"REQ\n", "E_INVALID cannot REQ in current state"),
            (b"TOUCH x\n", "E_INVALID cannot TOUCH in current state"),
            (b"CLS\n", "E_INVALID cannot CLS in current state"),
        ],
    );
    for conversation in [SUBSCRIBED, CLOSING] {
        check(
            conversation,
            &[
                (b"IDENTIFY\n", "E_INVALID cannot IDENTIFY in current state"),
                (b"AUTH x\n", "E_INVALID cannot AUTH in current state"),
                (b"SUB\n", "E_INVALID cannot SUB in current state"),
            ],
        );
    }
    check(CLOSING, &[(b"CLS\n", "E_INVALID cannot CLS in current state")]);
    check(SILENT, &[(b"SUB\n", "E_INVALID cannot SUB with heartbeats disabled")]);
}

#[test]
fn where_tls_is_required_nothing_but_identify_is_heard_before_it() {
    check(
        TLS_MISSING,
        &[
            (b"NOP\n", "E_INVALID cannot NOP in current state (TLS required)"),
            (b"FIN 0123456789abcdef\n", "E_INVALID cannot FIN in current state (TLS required)"),
            (b"PUB\n", "E_INVALID cannot PUB in current state (TLS required)"),
            (b"BOGUS\n", "E_INVALID cannot BOGUS in current state (TLS required)"),
            (b"IDENTIFY\n\0\0\0\0", "E_BAD_BODY IDENTIFY invalid body size 0"),
        ],
    );
}

#[test]
fn identify_and_auth_are_refused_for_their_bodies() {
    check(
        FRESH,
        &[
            (b"IDENTIFY\n\0\x50\0\x01", "E_BAD_BODY IDENTIFY body too big 5242881 > 5242880"),
            (b"IDENTIFY\n\0\0\0\0", "E_BAD_BODY IDENTIFY invalid body size 0"),
            (b"IDENTIFY\n\xff\xff\xff\xff", "E_BAD_BODY IDENTIFY invalid body size -1"),
            (b"AUTH \n", "E_INVALID AUTH invalid number of parameters"),
            (b"AUTH x\n", "E_INVALID AUTH invalid number of parameters"),
            (b"AUTH\n\0\x50\0\x01", "E_BAD_BODY AUTH body too big 5242881 > 5242880"),
            (b"AUTH\n\0\0\0\0", "E_BAD_BODY AUTH invalid body size 0"),
            (b"AUTH\n\x80\0\0\0", "E_BAD_BODY AUTH invalid body size -2147483648"),
        ],
    );
}

#[test]
fn subscribe_is_refused_for_its_parameters_the_topic_first() {
    check(
        FRESH,
        &[
            (b"SUB\n", "E_INVALID SUB insufficient number of parameters"),
            (b"SUB bad*t\n", "E_INVALID SUB insufficient number of parameters"),
            (b"SUB bad*t c*\n", r#"E_BAD_TOPIC SUB topic name "bad*t" is not valid"#),
            (b"SUB  ch\n", r#"E_BAD_TOPIC SUB topic name "" is not valid"#),
            (b"SUB top c*\n", r#"E_BAD_CHANNEL SUB channel name "c*" is not valid"#),
            (b"SUB top \n", r#"E_BAD_CHANNEL SUB channel name "" is not valid"#),
        ],
    );
}

#[test]
fn ready_is_refused_for_its_count() {
    check(
        SUBSCRIBED,
        &[
            (b"RDY x\n", "E_INVALID RDY could not parse count x"),
            (b"RDY -1\n", "E_INVALID RDY could not parse count -1"),
            (b"RDY +1\n", "E_INVALID RDY could not parse count +1"),
            (b"RDY 2501\n", "E_INVALID RDY count 2501 out of range 0-2500"),
            (b"RDY 18446744073709551615\n", "E_INVALID RDY count -1 out of range 0-2500"),
        ],
    );
}

#[test]
fn finish_requeue_and_touch_are_refused_for_their_parameters() {
    for conversation in [SUBSCRIBED, CLOSING] {
        check(
            conversation,
            &[
                (b"FIN\n", "E_INVALID FIN insufficient number of params"),
                (b"FIN \n", "E_INVALID invalid message ID"),
                (b"FIN 0123456789abcde\n", "E_INVALID invalid message ID"),
                (b"FIN 0123456789abcde\r\n", "E_INVALID invalid message ID"),
                (b"FIN 0123456 89abcdef\n", "E_INVALID invalid message ID"),
                (b"FIN 0123456789abcdef0\n", "E_INVALID invalid message ID"),
                (b"REQ\n", "E_INVALID REQ insufficient number of params"),
                (b"REQ 0123456789abcdef\n", "E_INVALID REQ insufficient number of params"),
                (b"REQ 0123 -1\n", "E_INVALID invalid message ID"),
                (b"REQ 0123456789abcdef -1\n", "E_INVALID REQ could not parse timeout -1"),
                (b"REQ 0123456789abcdef 1.5\n", "E_INVALID REQ could not parse timeout 1.5"),
                (b"TOUCH\n", "E_INVALID TOUCH insufficient number of params"),
                (b"TOUCH 0123\n", "E_INVALID invalid message ID"),
            ],
        );
    }
}

#[test]
fn publish_is_refused_for_its_topic_then_for_its_size() {
    check(
        FRESH,
        &[
            (b"PUB\n", "E_INVALID PUB insufficient number of parameters"),
            (b"PUB x*\n", r#"E_BAD_TOPIC PUB topic name "x*" is not valid"#),
            (b"PUB  t\n", r#"E_BAD_TOPIC PUB topic name "" is not valid"#),
            (b"PUB t\n\0\0\0\0", "E_BAD_MESSAGE PUB invalid message body size 0"),
            (b"PUB t\n\xff\xff\xff\xff", "E_BAD_MESSAGE PUB invalid message body size -1"),
            (b"PUB t\n\0\x10\0\x01", "E_BAD_MESSAGE PUB message too big 1048577 > 1048576"),
        ],
    );
}

#[test]
fn a_deferred_publish_is_refused_for_its_topic_then_its_delay_then_its_size() {
    check(
        FRESH,
        &[
            (b"DPUB\n", "E_INVALID DPUB insufficient number of parameters"),
            (b"DPUB x*\n", "E_INVALID DPUB insufficient number of parameters"),
            (b"DPUB x* -1\n", r#"E_BAD_TOPIC DPUB topic name "x*" is not valid"#),
            (b"DPUB t -1\n", "E_INVALID DPUB could not parse timeout -1"),
            (b"DPUB t 3600001\n", "E_INVALID DPUB timeout 3600001 out of range 0-3600000"),
            (
                b"DPUB t 18446744073709551615\n",
                "E_INVALID DPUB timeout 18446744073709551615 out of range 0-3600000",
            ),
            (b"DPUB t 1\n\0\0\0\0", "E_BAD_MESSAGE DPUB invalid message body size 0"),
            (b"DPUB t 1\n\0\x10\0\x01", "E_BAD_MESSAGE DPUB message too big 1048577 > 1048576"),
        ],
    );
}

#[test]
fn a_batch_is_refused_for_its_topic_then_for_each_number_as_it_comes() {
    let bad_topic = r#"E_BAD_TOPIC E_BAD_TOPIC MPUB topic name "bad*topic" is not valid"#;
    check(
        FRESH,
        &[
            (b"MPUB\n", "E_INVALID MPUB insufficient number of parameters"),
            (b"MPUB bad*topic\n", bad_topic),
            (b"MPUB t\n\0\0\0\0", "E_BAD_BODY MPUB invalid body size 0"),
            (b"MPUB t\n\xff\xff\xff\xfe", "E_BAD_BODY MPUB invalid body size -2"),
            (b"MPUB t\n\0\x50\0\x01", "E_BAD_BODY MPUB body too big 5242881 > 5242880"),
            (b"MPUB t\n\0\0\0\x10\0\0\0\0", "E_BAD_BODY MPUB invalid message count 0"),
            (b"MPUB t\n\0\0\0\x10\xff\xff\xff\xff", "E_BAD_BODY MPUB invalid message count -1"),
            (b"MPUB t\n\0\0\0\x10\0\x10\0\0", "E_BAD_BODY MPUB invalid message count 1048576"),
            (
                b"MPUB t\n\0\0\0\x10\0\0\0\x02\0\0\0\0",
                "E_BAD_MESSAGE MPUB invalid message(0) body size 0",
            ),
            (
                b"MPUB t\n\0\0\0\x10\0\0\0\x02\0\0\0\x01x\xff\xff\xff\xff",
                "E_BAD_MESSAGE MPUB invalid message(1) body size -1",
            ),
            (
                b"MPUB t\n\0\0\0\x10\0\0\0\x02\0\0\0\x01x\0\x10\0\x01",
                "E_BAD_MESSAGE MPUB message too big 1048577 > 1048576",
            ),
            // 4 of count, 4 and 1,048,576 of this message, 5 each of the 1,048,574 others.
            (
                b"MPUB t\n\0\0\0\x10\0\x0f\xff\xff\0\x10\0\0",
                "E_BAD_BODY MPUB body too big 6291454 > 5242880",
            ),
        ],
    );
}

#[test]
fn input_that_ends_in_a_body_is_refused_by_what_is_missing() {
    let cases: [(&[u8], Option<&str>); 13] = [
        (b"", None),
        (b"PUB t", None),
        (b"IDENTIFY\n\0\0\0", Some("E_BAD_BODY IDENTIFY failed to read body size")),
        (b"IDENTIFY\n\0\0\0\x02{", Some("E_BAD_BODY IDENTIFY failed to read body")),
        (b"AUTH\n", Some("E_BAD_BODY AUTH failed to read body size")),
        (b"AUTH\n\0\0\0\x02x", Some("E_BAD_BODY AUTH failed to read body")),
        (b"PUB t\n\0", Some("E_BAD_MESSAGE PUB failed to read message body size")),
        (b"PUB t\n\0\0\0\x02x", Some("E_BAD_MESSAGE PUB failed to read message body")),
        (b"DPUB t 1\n\0\0\0\x01", Some("E_BAD_MESSAGE DPUB failed to read message body")),
        (b"MPUB t\n\0", Some("E_BAD_BODY MPUB failed to read body size")),
        (b"MPUB t\n\0\0\0\x10\0", Some("E_BAD_BODY MPUB failed to read message count")),
        (
            b"MPUB t\n\0\0\0\x10\0\0\0\x02\0\0\0\x01x\0",
            Some("E_BAD_MESSAGE MPUB failed to read message(1) body size"),
        ),
        (
            b"MPUB t\n\0\0\0\x10\0\0\0\x02\0\0\0\x01x\0\0\0\x02y",
            Some("E_BAD_MESSAGE MPUB failed to read message body"),
        ),
    ];
    for (input, expected) in cases {
        let mut decoder = Decoder::new(Limits::default());
        let found = decoder.decode(input, FRESH);
        assert!(matches!(found, Ok(Decoded::NeedMore { .. })), "{found:?}");
        let refusal = decoder.refuse_truncated(input).map(|refusal| refusal.text());
        assert_eq!(refusal.as_deref(), expected);
    }
}

#[test]
fn what_only_a_broker_can_know_has_its_text_too() {
    let id = MessageId(*b"0123456789abcdef");
    let cases = [
        (Refusal::bad_protocol(), "E_BAD_PROTOCOL"),
        (Refusal::identify_failed("EOF"), "E_IDENTIFY_FAILED IDENTIFY failed EOF"),
        (Refusal::auth_already_set(), "E_INVALID AUTH already set"),
        (Refusal::auth_disabled(), "E_AUTH_DISABLED AUTH disabled"),
        (Refusal::auth_failed(), "E_AUTH_FAILED AUTH failed"),
        (Refusal::no_authorizations(), "E_UNAUTHORIZED AUTH no authorizations found"),
        (Refusal::auth_error("EOF"), "E_AUTH_ERROR AUTH error EOF"),
        (Refusal::auth_first(Verb::Subscribe), "E_AUTH_FIRST AUTH required before SUB"),
        (Refusal::auth_first(Verb::PublishMany), "E_AUTH_FIRST AUTH required before MPUB"),
        (
            Refusal::unauthorized(Verb::Subscribe, "topic", "channel"),
            r#"E_UNAUTHORIZED AUTH failed for SUB on "topic" "channel""#,
        ),
        (
            Refusal::unauthorized(Verb::Publish, "topic", ""),
            r#"E_UNAUTHORIZED AUTH failed for PUB on "topic" """#,
        ),
        (
            Refusal::consumer_limit("top", "ch", 2),
            "E_SUB_FAILED SUB failed consumers for top:ch exceeds limit of 2",
        ),
        (Refusal::subscribe_failed("exiting"), "E_SUB_FAILED SUB failed exiting"),
        (Refusal::subscribed_to_deleted(), "E_SUB_FAILED SUB failed to deleted topic/channel"),
        (Refusal::publish_failed("exiting"), "E_PUB_FAILED PUB failed exiting"),
        (Refusal::publish_many_failed("exiting"), "E_MPUB_FAILED MPUB failed exiting"),
        (Refusal::publish_deferred_failed("exiting"), "E_DPUB_FAILED DPUB failed exiting"),
    ];
    for (refusal, text) in cases {
        assert_eq!(refusal.text(), text);
        assert!(refusal.closes_connection(), "{text}");
    }
    let cases = [
        (
            Refusal::finish_failed(id, MessageFault::NotInFlight),
            "E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight",
        ),
        (
            Refusal::finish_failed(id, MessageFault::NotOwner),
            "E_FIN_FAILED FIN 0123456789abcdef failed client does not own message",
        ),
        (
            Refusal::requeue_failed(id, MessageFault::Exiting),
            "E_REQ_FAILED REQ 0123456789abcdef failed exiting",
        ),
        (
            Refusal::requeue_failed(id, MessageFault::AlreadyDeferred),
            "E_REQ_FAILED REQ 0123456789abcdef failed ID already deferred",
        ),
        (
            Refusal::touch_failed(id, MessageFault::NotInFlight),
            "E_TOUCH_FAILED TOUCH 0123456789abcdef failed ID not in flight",
        ),
    ];
    for (refusal, text) in cases {
        assert_eq!(refusal.text(), text);
        assert!(!refusal.closes_connection(), "{text}");
    }
}

#[test]
fn only_a_message_that_cannot_be_settled_leaves_the_connection_open() {
    let all = [
        Code::Invalid,
        Code::BadProtocol,
        Code::BadBody,
        Code::BadTopic,
        Code::BadChannel,
        Code::BadMessage,
        Code::FinFailed,
        Code::ReqFailed,
        Code::TouchFailed,
        Code::PubFailed,
        Code::MpubFailed,
        Code::DpubFailed,
        Code::SubFailed,
        Code::IdentifyFailed,
        Code::AuthFirst,
        Code::AuthFailed,
        Code::AuthDisabled,
        Code::AuthError,
        Code::Unauthorized,
    ];
    let open: Vec<_> =
        all.into_iter().filter(|code| !code.closes_connection()).map(Code::word).collect();
    assert_eq!(open, ["E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED"]);
}

#[test]
fn a_refused_name_is_quoted_as_go_quotes_it() {
    let cases: [(&[u8], &str); 14] = [
        (b"plain", r#""plain""#),
        (b"a\"b\\c'd", r#""a\"b\\c'd""#),
        (b"\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
        (b"\x00\x1f\x7f", r#""\x00\x1f\x7f""#),
        (b"\xff\xc3", r#""\xff\xc3""#),
        (b"a\xf0\x9f\x98z", r#""a\xf0\x9f\x98z""#),
        ("äé日本😀".as_bytes(), r#""äé日本😀""#),
        ("\u{85}\u{a0}\u{ad}".as_bytes(), r#""\u0085\u00a0\u00ad""#),
        ("e\u{301}".as_bytes(), "\"e\u{301}\""),
        ("\u{301}".as_bytes(), "\"\u{301}\""),
        ("\u{200b}\u{2028}\u{feff}".as_bytes(), r#""\u200b\u2028\ufeff""#),
        ("\u{e000}".as_bytes(), r#""\ue000""#),
        ("\u{10ffff}".as_bytes(), r#""\U0010ffff""#),
        ("\u{fffd}".as_bytes(), "\"\u{fffd}\""),
    ];
    for (name, quoted) in cases {
        let expected = format!("E_BAD_CHANNEL SUB channel name {quoted} is not valid");
        assert_eq!(Refusal::bad_channel(name).text(), expected);
    }
}

#[test]
fn texts_name_the_limits_in_force() {
    let limits = Limits {
        max_message_bytes: 9,
        max_body_bytes: 99,
        max_ready_count: 5,
        max_requeue_delay: Duration::from_millis(1500),
        ..Limits::default()
    };
    let cases: [(Conversation, &[u8], &str); 4] = [
        (FRESH, b"PUB t\n\0\0\0\x0a", "E_BAD_MESSAGE PUB message too big 10 > 9"),
        (FRESH, b"IDENTIFY\n\0\0\0\x64", "E_BAD_BODY IDENTIFY body too big 100 > 99"),
        (SUBSCRIBED, b"RDY 6\n", "E_INVALID RDY count 6 out of range 0-5"),
        (FRESH, b"DPUB t 1501\n", "E_INVALID DPUB timeout 1501 out of range 0-1500"),
    ];
    for (conversation, input, expected) in cases {
        match Decoder::new(limits.clone()).decode(input, conversation) {
            Err(DecodeError::Refused(refusal)) => assert_eq!(refusal.text(), expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}
