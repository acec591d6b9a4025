//! What clients send, cut into commands: whole, in pieces, and when it is nothing of the kind.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use protocol::command::{Command, Verb};
use protocol::conversation::{Conversation, Phase};
use protocol::decoder::{DecodeError, Decoded, Decoder, check_magic};
use protocol::limits::{LINE_BYTES_MAX, Limits};
use protocol::message_id::MessageId;
use protocol::name::{ChannelName, TopicName};
use protocol::request;

const FRESH: Conversation =
    Conversation { phase: Phase::Fresh, heartbeats: true, tls_missing: false };
const SUBSCRIBED: Conversation = Conversation { phase: Phase::Subscribed, ..FRESH };
const CLOSING: Conversation = Conversation { phase: Phase::Closing, ..FRESH };

const ID: MessageId = MessageId(*b"0123456789abcdef");

fn topic(name: &str) -> TopicName {
    TopicName::parse(name.as_bytes()).expect("a legal name")
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name.as_bytes()).expect("a legal name")
}

/// Decodes `input`, of which all must be one command, and holds it against `expected`. Every
/// shorter input must ask for more, and for no more than there is.
fn check(conversation: Conversation, input: &[u8], expected: Command<'_>) {
    let mut resumed = Decoder::new(Limits::default());
    for length in 0..input.len() {
        let start = &input[..length];
        let found = resumed.decode(start, conversation).expect("nothing is wrong with it");
        let Decoded::NeedMore { at_least } = found else { panic!("{start:?} is {found:?}") };
        assert!(length < at_least && at_least <= input.len(), "{start:?} wants {at_least}");
    }
    let consumed = input.len();
    let whole = Ok(Decoded::Command { command: expected, consumed });
    assert_eq!(resumed.decode(input, conversation), whole);
    let with_more_behind = [input, b"NOP\n"].concat();
    let decoded = Decoder::new(Limits::default()).decode(&with_more_behind, conversation);
    assert_eq!(decoded, whole);
}

/// The bodies of the one MPUB that `input` is.
fn batch_of(input: &[u8]) -> Vec<&[u8]> {
    let decoded = Decoder::new(Limits::default()).decode(input, FRESH);
    match decoded {
        Ok(Decoded::Command {
            command: Command::PublishMany { topic: name, bodies },
            consumed,
        }) => {
            assert_eq!((name, consumed), (topic("t"), input.len()));
            assert_eq!(bodies.len(), bodies.iter().count());
            bodies.iter().collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_command_is_read_as_nsq_reads_it() {
    check(FRESH, b"IDENTIFY\n\0\0\0\x02{}", Command::Identify(b"{}"));
    check(FRESH, b"AUTH\n\0\0\0\x06secret", Command::Auth(b"secret"));
    let subscribe = Command::Subscribe { topic: topic("top"), channel: channel("ch#ephemeral") };
    check(FRESH, b"SUB top ch#ephemeral\n", subscribe);
    check(SUBSCRIBED, b"RDY 2500\n", Command::Ready(2500));
    check(SUBSCRIBED, b"FIN 0123456789abcdef\n", Command::Finish(ID));
    let requeue = Command::Requeue { id: ID, delay: Duration::from_millis(1500) };
    check(SUBSCRIBED, b"REQ 0123456789abcdef 1500\n", requeue);
    check(SUBSCRIBED, b"TOUCH 0123456789abcdef\n", Command::Touch(ID));
    let publish = Command::Publish { topic: topic("top"), body: b"m0" };
    check(FRESH, b"PUB top\n\0\0\0\x02m0", publish);
    let deferred = Command::PublishDeferred {
        topic: topic("t"),
        delay: Duration::from_millis(600),
        body: b"dd",
    };
    check(FRESH, b"DPUB t 600\n\0\0\0\x02dd", deferred);
    check(SUBSCRIBED, b"CLS\n", Command::StartClose);
    check(FRESH, b"NOP\n", Command::Nop);
    let batch = b"MPUB t\n\0\0\0\x11\0\0\0\x02\0\0\0\x03abc\0\0\0\x02de";
    assert_eq!(batch_of(batch), [&b"abc"[..], b"de"]);
}

#[test]
fn one_carriage_return_before_the_line_feed_is_dropped() {
    check(FRESH, b"NOP\r\n", Command::Nop);
    check(SUBSCRIBED, b"FIN 0123456789abcdef\r\n", Command::Finish(ID));
    check(SUBSCRIBED, b"RDY 7\r\n", Command::Ready(7));
    check(FRESH, b"PUB t\r\n\0\0\0\x01x", Command::Publish { topic: topic("t"), body: b"x" });
}

#[test]
fn parameters_beyond_those_used_are_ignored() {
    check(SUBSCRIBED, b"FIN 0123456789abcdef more\n", Command::Finish(ID));
    check(SUBSCRIBED, b"RDY 7 8\n", Command::Ready(7));
    check(FRESH, b"NOP at all\n", Command::Nop);
    check(FRESH, b"PUB t u \n\0\0\0\x01x", Command::Publish { topic: topic("t"), body: b"x" });
    check(FRESH, b"IDENTIFY x\n\0\0\0\x02{}", Command::Identify(b"{}"));
}

#[test]
fn a_number_left_out_is_one_for_ready_and_an_empty_one_is_zero() {
    check(SUBSCRIBED, b"RDY\n", Command::Ready(1));
    check(SUBSCRIBED, b"RDY \n", Command::Ready(0));
    check(SUBSCRIBED, b"RDY 00012\n", Command::Ready(12));
    let requeue = Command::Requeue { id: ID, delay: Duration::ZERO };
    check(SUBSCRIBED, b"REQ 0123456789abcdef \n", requeue);
    let deferred =
        Command::PublishDeferred { topic: topic("t"), delay: Duration::ZERO, body: b"x" };
    check(FRESH, b"DPUB t \n\0\0\0\x01x", deferred);
}

#[test]
fn numbers_wrap_at_64_bits() {
    // 2^64 + 3.
    check(SUBSCRIBED, b"RDY 18446744073709551619\n", Command::Ready(3));
}

#[test]
fn the_delay_of_a_requeue_is_clamped_and_never_refused() {
    for (digits, delay) in [
        ("3600000", Duration::from_hours(1)),
        ("3600001", Duration::from_hours(1)),
        // Reads as one millisecond less than none.
        ("18446744073709551615", Duration::ZERO),
    ] {
        let line = format!("REQ 0123456789abcdef {digits}\n");
        check(SUBSCRIBED, line.as_bytes(), Command::Requeue { id: ID, delay });
    }
}

#[test]
fn the_delay_of_a_publish_may_be_as_long_as_the_limit() {
    let delay = Duration::from_hours(1);
    let deferred = Command::PublishDeferred { topic: topic("t"), delay, body: b"x" };
    check(FRESH, b"DPUB t 3600000\n\0\0\0\x01x", deferred);
}

#[test]
fn a_closing_conversation_ignores_ready_whatever_its_count() {
    for line in ["RDY 1\n", "RDY x\n", "RDY 99999\n"] {
        check(CLOSING, line.as_bytes(), Command::Nop);
    }
    check(CLOSING, b"FIN 0123456789abcdef\n", Command::Finish(ID));
}

#[test]
fn an_id_is_any_sixteen_bytes_without_space_or_line_feed() {
    let id = MessageId([0xff, 0, 1, b'\r', b'\t', 0x7f, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17]);
    let mut line = Vec::new();
    request::finish(&mut line, id);
    check(SUBSCRIBED, &line, Command::Finish(id));
}

#[test]
fn the_announced_size_of_a_batch_is_not_compared_with_its_content() {
    let understated = b"MPUB t\n\0\0\0\x01\0\0\0\x02\0\0\0\x03abc\0\0\0\x02de";
    assert_eq!(batch_of(understated), [&b"abc"[..], b"de"]);
    let overstated = b"MPUB t\n\0\x10\0\0\0\0\0\x01\0\0\0\x03abc";
    assert_eq!(batch_of(overstated), [b"abc"]);
}

#[test]
fn the_largest_batch_passes_and_one_byte_more_is_refused() {
    let limits = Limits { max_message_bytes: 60, max_body_bytes: 100, ..Limits::default() };
    let refusal = |bodies: &[&[u8]]| {
        let mut input = b"MPUB t\n\0\0\0\x01".to_vec();
        input.extend(i32::try_from(bodies.len()).unwrap().to_be_bytes());
        for body in bodies {
            input.extend(i32::try_from(body.len()).unwrap().to_be_bytes());
            input.extend_from_slice(body);
        }
        match Decoder::new(limits.clone()).decode(&input, FRESH) {
            Ok(Decoded::Command { consumed, .. }) => {
                assert_eq!(consumed, input.len());
                None
            }
            Err(DecodeError::Refused(refusal)) => Some(refusal.text()),
            other => panic!("{other:?}"),
        }
    };
    // 4 bytes of count, 4 of each size.
    assert_eq!(refusal(&[&[b'x'; 44], &[b'x'; 44]]), None);
    let too_big = "E_BAD_BODY MPUB body too big 101 > 100";
    assert_eq!(refusal(&[&[b'x'; 44], &[b'x'; 45]]).as_deref(), Some(too_big));
    let too_big = "E_BAD_BODY MPUB body too big 103 > 100";
    assert_eq!(refusal(&[&[b'x'; 60], &[b'x'; 26], b"x"]).as_deref(), Some(too_big));
    assert_eq!(refusal(&[&b"x"[..]; 19]), None);
}

#[test]
fn a_line_may_have_16384_bytes_and_no_more() {
    let mut line = b"NOP ".to_vec();
    line.resize(LINE_BYTES_MAX - 1, b'x');
    line.push(b'\n');
    assert_eq!(line.len(), LINE_BYTES_MAX);
    let whole = Decoded::Command { command: Command::Nop, consumed: LINE_BYTES_MAX };
    assert_eq!(Decoder::new(Limits::default()).decode(&line, FRESH), Ok(whole));

    let mut decoder = Decoder::new(Limits::default());
    line.insert(4, b'x');
    for length in [1, LINE_BYTES_MAX - 1] {
        let more = Decoded::NeedMore { at_least: length + 1 };
        assert_eq!(decoder.decode(&line[..length], FRESH), Ok(more));
    }
    let start = &line[..LINE_BYTES_MAX];
    assert_eq!(decoder.decode(start, FRESH), Err(DecodeError::LineTooLong));
    let whole = Decoder::new(Limits::default()).decode(&line, FRESH);
    assert_eq!(whole, Err(DecodeError::LineTooLong));
}

#[test]
fn the_magic_is_two_spaces_and_v2() {
    assert_eq!(check_magic(b"  V"), None);
    assert_eq!(check_magic(b"  V2IDENTIFY"), Some(Ok(())));
    for wrong in [b"  V1", b"GET ", b"V2  "] {
        let refusal = check_magic(wrong).unwrap().unwrap_err();
        assert_eq!(refusal.text(), "E_BAD_PROTOCOL");
        assert!(refusal.closes_connection());
    }
}

/// One command as a test chose it, so that it can be written and told apart.
#[derive(Clone, Debug)]
enum Said {
    Identify(Vec<u8>),
    Auth(Vec<u8>),
    Subscribe(String, String),
    Ready(u64),
    Finish(MessageId),
    Requeue(MessageId, u64),
    Touch(MessageId),
    Publish(String, Vec<u8>),
    PublishMany(String, Vec<Vec<u8>>),
    PublishDeferred(String, u64, Vec<u8>),
    StartClose,
    Nop,
}

impl Said {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Identify(body) => request::identify(out, body),
            Self::Auth(secret) => request::auth(out, secret),
            Self::Subscribe(topic, channel) => {
                request::subscribe(out, topic.as_bytes(), channel.as_bytes());
            }
            Self::Ready(count) => request::ready(out, *count),
            Self::Finish(id) => request::finish(out, *id),
            Self::Requeue(id, delay) => request::requeue(out, *id, Duration::from_millis(*delay)),
            Self::Touch(id) => request::touch(out, *id),
            Self::Publish(topic, body) => request::publish(out, topic.as_bytes(), body),
            Self::PublishMany(topic, bodies) => {
                let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
                request::publish_many(out, topic.as_bytes(), &bodies);
            }
            Self::PublishDeferred(topic, delay, body) => {
                let delay = Duration::from_millis(*delay);
                request::publish_deferred(out, topic.as_bytes(), delay, body);
            }
            Self::StartClose => request::start_close(out),
            Self::Nop => request::nop(out),
        }
    }

    fn heard(command: &Command<'_>) -> Self {
        let milliseconds = |delay: Duration| u64::try_from(delay.as_millis()).expect("small");
        match *command {
            Command::Identify(body) => Self::Identify(body.to_vec()),
            Command::Auth(secret) => Self::Auth(secret.to_vec()),
            Command::Subscribe { topic, channel } => {
                Self::Subscribe(topic.to_string(), channel.to_string())
            }
            Command::Ready(count) => Self::Ready(count),
            Command::Finish(id) => Self::Finish(id),
            Command::Requeue { id, delay } => Self::Requeue(id, milliseconds(delay)),
            Command::Touch(id) => Self::Touch(id),
            Command::Publish { topic, body } => Self::Publish(topic.to_string(), body.to_vec()),
            Command::PublishMany { topic, bodies } => {
                Self::PublishMany(topic.to_string(), bodies.iter().map(<[u8]>::to_vec).collect())
            }
            Command::PublishDeferred { topic, delay, body } => {
                Self::PublishDeferred(topic.to_string(), milliseconds(delay), body.to_vec())
            }
            Command::StartClose => Self::StartClose,
            Command::Nop => Self::Nop,
        }
    }

    /// A conversation in which it is legal.
    fn conversation(&self) -> Conversation {
        match self {
            Self::Identify(_) | Self::Auth(_) | Self::Subscribe(..) => FRESH,
            _ => SUBSCRIBED,
        }
    }
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 1..40)
}

fn any_name() -> impl Strategy<Value = String> {
    "[.a-zA-Z0-9_-]{1,54}(#ephemeral)?"
}

fn any_id() -> impl Strategy<Value = MessageId> {
    // Any byte but a space and a line feed; a carriage return last would be cut.
    let byte =
        any::<u8>().prop_map(|byte| if matches!(byte, b' ' | b'\n' | b'\r') { b'x' } else { byte });
    proptest::array::uniform16(byte).prop_map(MessageId)
}

fn anything_said() -> impl Strategy<Value = Said> {
    prop_oneof![
        any_body().prop_map(Said::Identify),
        any_body().prop_map(Said::Auth),
        (any_name(), any_name()).prop_map(|(topic, channel)| Said::Subscribe(topic, channel)),
        (0..=2500_u64).prop_map(Said::Ready),
        any_id().prop_map(Said::Finish),
        (any_id(), 0..=3_600_000_u64).prop_map(|(id, delay)| Said::Requeue(id, delay)),
        any_id().prop_map(Said::Touch),
        (any_name(), any_body()).prop_map(|(topic, body)| Said::Publish(topic, body)),
        (any_name(), vec(any_body(), 1..8))
            .prop_map(|(topic, bodies)| Said::PublishMany(topic, bodies)),
        (any_name(), 0..=3_600_000_u64, any_body())
            .prop_map(|(topic, delay, body)| Said::PublishDeferred(topic, delay, body)),
        Just(Said::StartClose),
        Just(Said::Nop),
    ]
}

/// Bytes of which some look like commands.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        vec(any::<u8>(), 0..12),
        prop::sample::select(vec![
            &b"MPUB t\n"[..],
            b"MPUB t\n\0\0\0\x20\0\0\0\x02\0\0\0\x03abc",
            b"PUB t\n",
            b"DPUB t 5\n",
            b"IDENTIFY\n",
            b"AUTH\n",
            b"FIN 0123456789abcdef",
            b"RDY ",
            b"REQ 0123456789abcdef 5",
            b"NOP\n",
            b"\r\n",
            b"\0\0\0\x01",
            b"\0\0\0\x05",
            b"\0\0\0\x29",
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    vec(fragment, 0..12).prop_map(|fragments| fragments.concat())
}

/// Small, so that garbage meets them.
fn small_limits() -> Limits {
    Limits { max_message_bytes: 40, max_body_bytes: 60, ..Limits::default() }
}

/// All that a decoder finds when `input` arrives in pieces of the given lengths, which are used in
/// turn, and how it ends: with an error, or waiting for so many bytes.
fn decode_in_pieces(
    input: &[u8],
    pieces: &[usize],
    conversation_of: impl Fn(usize) -> Conversation,
) -> (Vec<Said>, Result<usize, DecodeError>) {
    let limits = small_limits();
    let largest = LINE_BYTES_MAX + 4 + limits.max_body_bytes.max(limits.max_message_bytes);
    let mut decoder = Decoder::new(limits);
    let mut said = Vec::new();
    let (mut start, mut end, mut turn) = (0, 0, 0);
    loop {
        let at_least = loop {
            let there = &input[start..end];
            match decoder.decode(there, conversation_of(said.len())) {
                Ok(Decoded::Command { command, consumed }) => {
                    assert!(0 < consumed && consumed <= there.len());
                    said.push(Said::heard(&command));
                    start += consumed;
                }
                Ok(Decoded::NeedMore { at_least }) => {
                    assert!(there.len() < at_least && at_least <= largest, "{at_least}");
                    break at_least;
                }
                Err(error) => return (said, Err(error)),
            }
        };
        if end == input.len() {
            return (said, Ok(start + at_least));
        }
        end = input.len().min(end + pieces[turn % pieces.len()]);
        turn += 1;
    }
}

proptest! {
    #[test]
    fn commands_cut_anywhere_are_decoded_as_they_were_said(
        said in vec(anything_said(), 1..12),
        pieces in vec(1..90_usize, 1..12),
    ) {
        // The small limits are for garbage: none of these may meet them.
        let said: Vec<Said> = said
            .into_iter()
            .map(|said| match said {
                Said::PublishMany(topic, mut bodies) => {
                    bodies.iter_mut().for_each(|body| body.truncate(3));
                    Said::PublishMany(topic, bodies)
                }
                other => other,
            })
            .collect();
        let mut input = Vec::new();
        said.iter().for_each(|said| said.write(&mut input));
        let conversation = |index: usize| said.get(index).map_or(FRESH, Said::conversation);
        let (heard, rest) = decode_in_pieces(&input, &pieces, conversation);
        prop_assert_eq!(rest, Ok(input.len() + 1));
        prop_assert_eq!(format!("{heard:?}"), format!("{said:?}"));
    }

    #[test]
    fn garbage_is_refused_or_waited_for_and_pieces_make_no_difference(
        input in garbage(),
        pieces in vec(1..20_usize, 1..12),
        conversation in prop::sample::select(vec![FRESH, SUBSCRIBED, CLOSING]),
    ) {
        let whole = decode_in_pieces(&input, &[input.len().max(1)], |_| conversation);
        let cut = decode_in_pieces(&input, &pieces, |_| conversation);
        prop_assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
    }

    #[test]
    fn a_decoder_made_afresh_in_the_middle_of_a_batch_finds_the_same(
        bodies in vec(vec(any::<u8>(), 1..4), 1..8),
        cut in 0..80_usize,
    ) {
        let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
        let mut input = Vec::new();
        request::publish_many(&mut input, b"t", &bodies);
        let mut decoder = Decoder::new(small_limits());
        let start = &input[..cut.min(input.len() - 1)];
        let more = matches!(decoder.decode(start, FRESH), Ok(Decoded::NeedMore { .. }));
        prop_assert!(more);
        let mut afresh = Decoder::new(small_limits());
        prop_assert_eq!(decoder.decode(&input, FRESH), afresh.decode(&input, FRESH));
    }
}

#[test]
fn a_command_knows_its_verb() {
    let mut decoder = Decoder::new(Limits::default());
    let decoded = decoder.decode(b"DPUB t 1\n\0\0\0\x01x", FRESH);
    let Ok(Decoded::Command { command, .. }) = decoded else { panic!("{decoded:?}") };
    assert_eq!(command.verb(), Verb::PublishDeferred);
}

#[test]
fn the_topic_of_a_batch_is_known_from_its_line() {
    let known = |decoder: &Decoder, input: &[u8], conversation| {
        decoder.batch_topic(input, conversation).map(|topic| topic.to_string())
    };
    let fresh = Decoder::new(Limits::default());
    let without_tls = Conversation { tls_missing: true, ..FRESH };
    for (input, conversation, topic) in [
        (&b"MPUB t\n"[..], FRESH, Some("t")),
        (b"MPUB t\r\n", SUBSCRIBED, Some("t")),
        (b"MPUB t more\n\0", CLOSING, Some("t")),
        (b"MPUB t", FRESH, None),
        (b"MPUB t\n", without_tls, None),
        (b"MPUB t*\n", FRESH, None),
        (b"MPUB\n", FRESH, None),
        (b"PUB t\n", FRESH, None),
        (b"", FRESH, None),
    ] {
        assert_eq!(known(&fresh, input, conversation).as_deref(), topic, "{input:?}");
    }
    let mut decoder = Decoder::new(Limits::default());
    let begun = b"MPUB t\n\0\0\0\x0e\0\0\0\x02\0\0\0\x01a";
    assert!(matches!(decoder.decode(begun, FRESH), Ok(Decoded::NeedMore { .. })));
    assert_eq!(known(&decoder, begun, FRESH).as_deref(), Some("t"));
}
