//! Who gets which message, when, and how often: windows, answers, timeouts, copies, lifetimes.
//!
//! Times are long enough that a process may be held up for seconds between two steps, limits are
//! longer: a test fails when the order is wrong, not when the machine is busy. A time is measured from
//! before its cause, so that it can only be measured too long. The real nsqd looks at a new channel's
//! timeouts only every five seconds.

use std::time::{Duration, Instant};

use tests::broker::Broker;
use tests::client::{Client, Frame, Message, Seen, with_body};
use tests::patience::{SOON, eventually};
use tests::programs::only_ours;

/// Long enough that what should not come would have come.
const A_WHILE: Duration = Duration::from_millis(600);

/// After this time without an answer an [`impatient`] consumer's message times out.
const IMPATIENCE: Duration = Duration::from_secs(5);

/// How long a delay is, if something is looked at before it is over.
const DELAY: Duration = Duration::from_secs(5);

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).expect("the times of a test are short")
}

fn texts(messages: &[Message]) -> Vec<String> {
    let mut texts: Vec<_> = messages.iter().map(Message::text).collect();
    texts.sort();
    texts
}

/// A consumer whose messages time out soon.
fn impatient(broker: &Broker, topic: &str, channel: &str) -> Client {
    let mut client = broker.client();
    client.identify(&format!(r#"{{"msg_timeout":{}}}"#, milliseconds(IMPATIENCE)));
    client.subscribe(topic, channel);
    client
}

/// Receives, finishes, and returns this many messages.
fn drain(client: &mut Client, count: usize) -> Vec<Message> {
    client.ready(10);
    let messages = client.messages(count);
    for message in &messages {
        client.finish(message);
    }
    messages
}

#[test]
fn no_more_messages_are_outstanding_than_the_ready_count_allows() {
    let broker = Broker::start();
    broker.client().publish_many("t", &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let mut client = broker.subscribed("t", "c");
    client.silence(A_WHILE);
    client.ready(2);
    let first = client.messages(2);
    client.silence(A_WHILE);
    broker.count_becomes("t", "c", "in_flight_count", 2);
    assert_eq!(broker.count("t", "c", "depth"), 8);
    client.finish(&first[0]);
    client.message();
    client.silence(A_WHILE);
    client.ready(0);
    client.finish(&first[1]);
    client.silence(A_WHILE);
    client.ready(4);
    client.messages(3);
    client.silence(A_WHILE);
}

#[test]
fn a_first_delivery_carries_the_time_of_publishing_and_one_attempt() {
    let broker = Broker::start();
    let before = nanoseconds();
    broker.client().publish("t", b"body\n\0\xff");
    let after = nanoseconds();
    let mut client = broker.subscribed("t", "c");
    client.ready(1);
    let message = client.message();
    assert_eq!(message.attempts, 1);
    assert_eq!(message.body, b"body\n\0\xff");
    let timestamp = i128::from(message.timestamp);
    assert!(before <= timestamp && timestamp <= after, "{before} <= {timestamp} <= {after}");
    assert!(message.id.bytes().all(|byte| byte.is_ascii_graphic()), "{}", message.id);
}

fn nanoseconds() -> i128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i128::try_from(now.expect("it is after 1970").as_nanos()).expect("nanoseconds fit")
}

#[test]
fn a_finished_message_does_not_come_again() {
    let broker = Broker::start();
    broker.client().publish("t", b"m");
    let mut client = impatient(&broker, "t", "c");
    client.ready(1);
    let message = client.message();
    client.finish(&message);
    broker.count_becomes("t", "c", "in_flight_count", 0);
    assert_eq!(broker.count("t", "c", "depth"), 0);
    client.silence(IMPATIENCE + Duration::from_secs(1));
    client.finish(&message);
    let said = format!("E_FIN_FAILED FIN {} failed ID not in flight", message.id);
    assert_eq!(client.error(), said);
}

#[test]
fn a_requeued_message_comes_again_with_one_more_attempt() {
    let broker = Broker::start();
    broker.client().publish("t", b"m");
    let mut client = broker.subscribed("t", "c");
    client.ready(1);
    let first = client.message();
    client.requeue(&first, 0);
    let second = client.message();
    assert_eq!((second.attempts, &second.id, second.timestamp), (2, &first.id, first.timestamp));
    assert_eq!(broker.count("t", "c", "requeue_count"), 1);
    assert_eq!(broker.count("t", "c", "timeout_count"), 0);
    assert_eq!(broker.count("t", "c", "message_count"), 1);
}

#[test]
fn a_message_requeued_with_a_delay_is_deferred_for_it() {
    let broker = Broker::start();
    broker.client().publish("t", b"m");
    let mut client = broker.subscribed("t", "c");
    client.ready(1);
    let first = client.message();
    let asked = Instant::now();
    client.requeue(&first, milliseconds(DELAY));
    eventually(SOON, "it is deferred, and nothing else", || {
        let channel = broker.channel("t", "c")?;
        let counts =
            ["deferred_count", "depth", "in_flight_count"].map(|key| channel[key].as_i64());
        (counts == [Some(1), Some(0), Some(0)]).then_some(())
    });
    let second = client.message();
    assert!(DELAY <= asked.elapsed(), "{:?}", asked.elapsed());
    assert_eq!((second.attempts, second.id), (2, first.id));
    assert_eq!(broker.count("t", "c", "deferred_count"), 0);
}

#[test]
fn a_message_without_an_answer_times_out_and_comes_again() {
    let broker = Broker::start();
    broker.client().publish("t", b"m");
    let mut client = impatient(&broker, "t", "c");
    let asked = Instant::now();
    client.ready(1);
    let first = client.message();
    let second = client.message();
    assert!(IMPATIENCE <= asked.elapsed(), "{:?}", asked.elapsed());
    assert_eq!((second.attempts, &second.id), (2, &first.id));
    assert_eq!(broker.count("t", "c", "timeout_count"), 1);
    assert_eq!(broker.count("t", "c", "requeue_count"), 0);
    client.finish(&first);
    broker.count_becomes("t", "c", "in_flight_count", 0);
}

#[test]
fn a_touch_gives_a_message_its_time_again() {
    let broker = Broker::start();
    // The real nsqd knows a channel's timeouts after it has existed for five seconds.
    broker.order("/topic/create?topic=t");
    broker.order("/channel/create?topic=t&channel=c");
    std::thread::sleep(Duration::from_secs(6));
    broker.client().publish("t", b"m");
    let mut client = impatient(&broker, "t", "c");
    client.ready(1);
    let first = client.message();
    let mut touched = Instant::now();
    for _ in 0..5 {
        client.silence(IMPATIENCE / 4);
        touched = Instant::now();
        client.touch(&first);
    }
    assert_eq!(broker.count("t", "c", "timeout_count"), 0);
    let second = client.message();
    assert!(IMPATIENCE <= touched.elapsed(), "{:?}", touched.elapsed());
    assert_eq!(second.attempts, 2);
}

#[test]
fn touches_do_not_hold_a_message_beyond_the_longest_timeout() {
    const LONGEST: Duration = Duration::from_secs(9);
    let broker = Broker::with(&["--max-msg-timeout=9s"]);
    broker.order("/topic/create?topic=t");
    broker.order("/channel/create?topic=t&channel=c");
    std::thread::sleep(Duration::from_secs(6));
    broker.client().publish("t", b"m");
    let mut client = impatient(&broker, "t", "c");
    let asked = Instant::now();
    client.ready(1);
    let first = client.message();
    let second = eventually(SOON, "the message comes again", || {
        client.touch(&first);
        match client.see_beyond_heartbeats(Duration::from_millis(300)) {
            Seen::Frame(Frame::Message(message)) => Some(message),
            _ => None,
        }
    });
    assert!(LONGEST <= asked.elapsed(), "{:?}", asked.elapsed());
    assert_eq!(second.attempts, 2);
}

#[test]
fn the_messages_of_a_dead_consumer_wait_for_their_timeout() {
    let broker = Broker::start();
    broker.client().publish_many("t", &["a", "b", "c"]);
    let mut dead = broker.client();
    dead.identify(r#"{"msg_timeout":8000}"#);
    dead.subscribe("t", "c");
    let asked = Instant::now();
    dead.ready(3);
    dead.messages(3);
    drop(dead);
    let mut heir = broker.subscribed("t", "c");
    heir.ready(3);
    broker.count_becomes("t", "c", "client_count", 1);
    heir.silence(Duration::from_secs(1));
    assert_eq!(broker.count("t", "c", "in_flight_count"), 3);
    let mut messages = vec![heir.message()];
    assert!(Duration::from_secs(8) <= asked.elapsed(), "{:?}", asked.elapsed());
    messages.extend(heir.messages(2));
    assert_eq!(texts(&messages), ["a", "b", "c"]);
    assert!(messages.iter().all(|message| message.attempts == 2), "{messages:?}");
    assert_eq!(broker.count("t", "c", "timeout_count"), 3);
}

#[test]
fn a_closing_consumer_gets_no_more_and_may_finish_what_it_has() {
    let broker = Broker::start();
    broker.client().publish_many("t", &["a", "b", "c"]);
    let mut client = broker.subscribed("t", "c");
    client.ready(1);
    let message = client.message();
    client.send(b"CLS\n");
    assert_eq!(client.response(), "CLOSE_WAIT");
    client.send(b"RDY 100\n");
    client.finish(&message);
    client.silence(A_WHILE);
    broker.count_becomes("t", "c", "in_flight_count", 0);
    assert_eq!(broker.count("t", "c", "depth"), 2);
    client.works();
}

#[test]
fn the_first_channel_gets_the_backlog_and_a_later_one_only_what_is_new() {
    let broker = Broker::start();
    broker.client().publish_many("t", &["old 1", "old 2"]);
    assert_eq!(broker.topic_count("t", "depth"), 2);
    let mut first = broker.subscribed("t", "first");
    assert_eq!(texts(&drain(&mut first, 2)), ["old 1", "old 2"]);
    let mut second = broker.subscribed("t", "second");
    second.ready(10);
    second.silence(A_WHILE);
    broker.client().publish("t", b"new");
    assert_eq!(second.message().text(), "new");
    assert_eq!(first.message().text(), "new");
}

#[test]
fn every_channel_gets_every_message_and_its_consumers_share_them() {
    let broker = Broker::start();
    let mut consumers: Vec<_> = ["left", "left", "left", "right", "right"]
        .iter()
        .map(|channel| (channel, broker.subscribed("t", channel)))
        .collect();
    let bodies: Vec<String> = (0..200).map(|number| format!("{number:03}")).collect();
    broker.client().publish_many("t", &bodies);
    for (_, consumer) in &mut consumers {
        consumer.ready(5);
    }
    for side in ["left", "right"] {
        let mut got = Vec::new();
        eventually(SOON, "all messages arrive", || {
            for (channel, consumer) in &mut consumers {
                if *channel != &side {
                    continue;
                }
                if let Seen::Frame(Frame::Message(message)) =
                    consumer.see_beyond_heartbeats(Duration::from_millis(20))
                {
                    consumer.finish(&message);
                    got.push(message);
                }
            }
            (got.len() == bodies.len()).then_some(())
        });
        assert_eq!(texts(&got), bodies, "on channel {side}");
        broker.count_becomes("t", side, "in_flight_count", 0);
    }
}

#[test]
fn a_deferred_publish_is_delivered_after_its_delay_and_not_before() {
    let broker = Broker::start();
    broker.order("/topic/create?topic=t");
    broker.order("/channel/create?topic=t&channel=c");
    let mut client = broker.subscribed("t", "c");
    client.ready(10);
    let mut publisher = broker.client();
    let asked = Instant::now();
    publisher.publish_deferred("t", milliseconds(DELAY), b"later");
    publisher.publish_deferred("t", 0, b"now");
    assert_eq!(client.message().text(), "now");
    broker.count_becomes("t", "c", "deferred_count", 1);
    let later = client.message();
    assert!(DELAY <= asked.elapsed(), "{:?}", asked.elapsed());
    assert_eq!((later.text().as_str(), later.attempts), ("later", 1));
}

#[test]
fn a_paused_topic_keeps_its_messages_until_it_goes_on() {
    let broker = Broker::start();
    let mut client = broker.subscribed("t", "c");
    client.ready(10);
    broker.order("/topic/pause?topic=t");
    broker.client().publish("t", b"m");
    client.silence(A_WHILE);
    assert_eq!(broker.topic_count("t", "depth"), 1);
    assert_eq!(broker.topic("t").expect("it is there")["paused"], true);
    broker.order("/topic/unpause?topic=t");
    assert_eq!(client.message().text(), "m");
    assert_eq!(broker.topic("t").expect("it is there")["paused"], false);
}

#[test]
fn a_paused_channel_keeps_its_messages_and_others_do_not_notice() {
    let broker = Broker::start();
    let mut client = broker.subscribed("t", "c");
    let mut other = broker.subscribed("t", "other");
    client.ready(10);
    other.ready(10);
    broker.order("/channel/pause?topic=t&channel=c");
    broker.client().publish("t", b"m");
    assert_eq!(other.message().text(), "m");
    client.silence(A_WHILE);
    assert_eq!(broker.count("t", "c", "depth"), 1);
    assert_eq!(broker.channel("t", "c").expect("it is there")["paused"], true);
    broker.order("/channel/unpause?topic=t&channel=c");
    assert_eq!(client.message().text(), "m");
}

#[test]
fn emptying_a_channel_drops_what_waits_what_is_in_flight_and_what_is_deferred() {
    let broker = Broker::start();
    broker.client().publish_many("t", &["a", "b", "c", "d"]);
    let mut client = broker.subscribed("t", "c");
    client.ready(2);
    let messages = client.messages(2);
    client.requeue(&messages[0], 60_000);
    client.message();
    broker.count_becomes("t", "c", "deferred_count", 1);
    broker.order("/channel/empty?topic=t&channel=c");
    for key in ["depth", "in_flight_count", "deferred_count"] {
        assert_eq!(broker.count("t", "c", key), 0, "{key}");
    }
    client.finish(&messages[1]);
    let said = format!("E_FIN_FAILED FIN {} failed ID not in flight", messages[1].id);
    assert_eq!(client.error(), said);
    broker.client().publish_many("t", &["new 1", "new 2"]);
    assert_eq!(texts(&client.messages(2)), ["new 1", "new 2"]);
}

#[test]
fn emptying_a_topic_drops_what_waits_for_its_first_channel() {
    let broker = Broker::start();
    broker.client().publish_many("t", &["a", "b"]);
    broker.order("/topic/empty?topic=t");
    assert_eq!(broker.topic_count("t", "depth"), 0);
    let mut client = broker.subscribed("t", "c");
    client.ready(10);
    client.silence(A_WHILE);
    broker.client().publish("t", b"new");
    assert_eq!(client.message().text(), "new");
}

#[test]
fn deleting_a_channel_or_topic_closes_its_consumers() {
    let broker = Broker::start();
    let mut left = broker.subscribed("t", "left");
    let mut right = broker.subscribed("t", "right");
    broker.order("/channel/delete?topic=t&channel=left");
    left.closed();
    right.works();
    assert!(broker.channel("t", "left").is_none());
    broker.order("/topic/delete?topic=t");
    right.closed();
    eventually(SOON, "the topic is gone", || broker.topic("t").is_none().then_some(()));
    // The name may be used again, and nothing of the old topic comes back.
    broker.client().publish("t", b"new");
    let mut client = broker.subscribed("t", "left");
    client.ready(10);
    assert_eq!(client.message().text(), "new");
    client.silence(A_WHILE);
}

#[test]
fn an_ephemeral_channel_goes_with_its_last_consumer() {
    let broker = Broker::start();
    let first = broker.subscribed("t", "c#ephemeral");
    let second = broker.subscribed("t", "c#ephemeral");
    drop(first);
    broker.count_becomes("t", "c#ephemeral", "client_count", 1);
    drop(second);
    eventually(SOON, "the channel is gone", || {
        broker.channel("t", "c#ephemeral").is_none().then_some(())
    });
    assert!(broker.topic("t").is_some());
}

#[test]
fn an_ephemeral_topic_goes_with_its_last_channel() {
    let broker = Broker::start();
    let ephemeral = broker.subscribed("t#ephemeral", "c#ephemeral");
    let lasting = broker.subscribed("t#ephemeral", "lasting");
    drop(ephemeral);
    eventually(SOON, "the ephemeral channel is gone", || {
        broker.channel("t#ephemeral", "c#ephemeral").is_none().then_some(())
    });
    drop(lasting);
    broker.count_becomes("t#ephemeral", "lasting", "client_count", 0);
    broker.order("/channel/delete?topic=t%23ephemeral&channel=lasting");
    eventually(SOON, "the topic is gone", || broker.topic("t#ephemeral").is_none().then_some(()));
}

#[test]
fn an_ephemeral_channel_made_over_http_stays_until_a_consumer_has_come_and_gone() {
    let broker = Broker::start();
    broker.order("/topic/create?topic=t");
    broker.order("/channel/create?topic=t&channel=c%23ephemeral");
    broker.client().publish("t", b"m");
    let mut client = broker.subscribed("t", "c#ephemeral");
    client.ready(1);
    assert_eq!(client.message().text(), "m");
    drop(client);
    eventually(SOON, "the channel is gone", || {
        broker.channel("t", "c#ephemeral").is_none().then_some(())
    });
}

#[test]
fn a_full_ephemeral_channel_drops_what_is_new_and_still_says_ok() {
    let broker = Broker::with(&["--mem-queue-size=2"]);
    let mut client = broker.subscribed("t", "c#ephemeral");
    for body in ["1", "2", "3", "4", "5"] {
        broker.client().publish("t", body.as_bytes());
        // Each must have gone through the topic before the next, or the topic itself spills over.
        eventually(SOON, "the topic has handed it on", || {
            (broker.topic_count("t", "depth") == 0).then_some(())
        });
    }
    broker.count_becomes("t", "c#ephemeral", "depth", 2);
    client.ready(10);
    assert_eq!(texts(&client.messages(2)), ["1", "2"]);
    client.silence(A_WHILE);
}

#[test]
fn answers_keep_the_order_of_commands_over_many_topics() {
    let broker = Broker::start();
    let mut client = broker.client();
    let mut sent = Vec::new();
    for number in 0..500 {
        let topic = number % 40;
        sent.extend(with_body(&format!("PUB topic{topic}"), format!("{number}").as_bytes()));
    }
    // The one command with another answer shows whether an `OK` has overtaken it.
    sent.extend(b"SUB topic7 c\nCLS\n");
    sent.extend(with_body("PUB topic8", b"last"));
    sent.extend(b"FIN 0123456789abcdef\n");
    sent.extend(with_body("PUB bad*", b"m"));
    client.send(&sent);
    for _ in 0..501 {
        client.ok();
    }
    assert_eq!(client.response(), "CLOSE_WAIT");
    client.ok();
    let said = "E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight";
    assert_eq!(client.error(), said);
    assert_eq!(client.error(), r#"E_BAD_TOPIC PUB topic name "bad*" is not valid"#);
    client.closed();
    let counts: Vec<_> = (0..40)
        .map(|topic| broker.topic_count(&format!("topic{topic}"), "message_count"))
        .collect();
    // 500 over 40 topics: 20 topics with 13 messages, 20 with 12; topic 8 got one more.
    let expected: Vec<_> = (0..40)
        .map(|topic| {
            if topic == 8 {
                14
            } else if topic < 20 {
                13
            } else {
                12
            }
        })
        .collect();
    assert_eq!(counts, expected);
}

#[test]
fn a_busy_connection_gets_heartbeats_too() {
    let broker = Broker::start();
    let mut client = broker.client();
    let asked = Instant::now();
    client.identify(r#"{"heartbeat_interval":4000}"#);
    let mut heartbeats = 0;
    // They come, and no more of them than there were intervals.
    while heartbeats < 2 {
        assert!(asked.elapsed() < SOON, "{heartbeats} heartbeats");
        client.send(&with_body("PUB t", b"m"));
        let mut answered = false;
        while !answered {
            match client.see(SOON) {
                Seen::Frame(Frame::Response(text)) if text == "OK" => answered = true,
                Seen::Frame(Frame::Response(text)) if text == "_heartbeat_" => heartbeats += 1,
                other => panic!("{other:?}"),
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Duration::from_secs(8) <= asked.elapsed(), "{:?}", asked.elapsed());
}

#[test]
fn a_silent_client_is_closed_after_two_heartbeat_intervals() {
    let broker = Broker::start();
    let mut client = broker.client();
    let begin = Instant::now();
    client.identify(r#"{"heartbeat_interval":3000}"#);
    let mut heartbeats = 0;
    loop {
        match client.see(SOON) {
            Seen::Frame(Frame::Response(text)) if text == "_heartbeat_" => heartbeats += 1,
            Seen::Closed => break,
            other => panic!("{other:?}"),
        }
    }
    let lived = begin.elapsed();
    assert!((1..=2).contains(&heartbeats), "{heartbeats} heartbeats");
    assert!(Duration::from_secs(6) <= lived, "{lived:?}");
}

#[test]
fn a_client_that_answers_heartbeats_stays() {
    let broker = Broker::start();
    let mut client = broker.client();
    client.identify(r#"{"heartbeat_interval":3000}"#);
    client.silence(Duration::from_secs(8));
    client.works();
}

#[test]
fn a_client_without_heartbeats_may_be_silent_and_publish() {
    let broker = Broker::start();
    let mut client = broker.client();
    client.identify(r#"{"heartbeat_interval":-1}"#);
    assert_eq!(client.see(Duration::from_secs(3)), Seen::Silence);
    client.works();
}

#[test]
fn identify_answers_ok_or_what_was_agreed() {
    let broker = Broker::start();
    assert_eq!(broker.client().identify("{}"), "OK");
    let agreed = broker.client().identify(
        r#"{"feature_negotiation":true,"msg_timeout":2000,"sample_rate":7,"output_buffer_size":-1}"#,
    );
    let released = concat!(
        r#"{"max_rdy_count":2500,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":2000,"#,
        r#""tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"#,
        r#""sample_rate":7,"auth_required":false,"output_buffer_size":1,"#,
        r#""output_buffer_timeout":0"#
    );
    // NSQ says these two since its release of 1.3.0.
    let topology = r#","topology_region":"","topology_zone":"""#;
    let whole = [format!("{released}}}"), format!("{released}{topology}}}")];
    assert!(whole.contains(&agreed), "{agreed}");
}

#[test]
fn a_message_of_the_largest_size_arrives_whole() {
    let broker = Broker::start();
    let body: Vec<u8> = (0..1_048_576_u32).map(|at| (at % 251).to_le_bytes()[0]).collect();
    broker.client().publish("t", &body);
    let mut client = broker.subscribed("t", "c");
    client.ready(1);
    assert!(client.message().body == body, "the body is not as published");
}

#[test]
fn a_wide_window_is_filled_without_waiting_for_anything_else() {
    let broker = Broker::start();
    let mut publisher = broker.client();
    let bodies = vec![vec![b'm'; 8_000]; 500];
    for _ in 0..5 {
        publisher.publish_many("t", &bodies);
    }
    let mut client = broker.subscribed("t", "c");
    let begun = Instant::now();
    client.ready(2_500);
    client.messages(2_500);
    // Nothing happens meanwhile but what happens every second; 256 KiB at each would take longer.
    assert!(begun.elapsed() < SOON, "20 MB took {:?}", begun.elapsed());
}

#[test]
fn a_consumer_that_finishes_a_wide_window_one_by_one_is_heard_to_the_end() {
    const WINDOW: usize = 2_500;
    let broker = Broker::start();
    let mut publisher = broker.client();
    let bodies: Vec<_> = (0..4 * WINDOW).map(|number| number.to_string()).collect();
    for bodies in bodies.chunks(WINDOW) {
        publisher.publish_many("t", bodies);
    }
    let mut client = broker.subscribed("t", "c");
    client.ready(u32::try_from(WINDOW).expect("it is small"));
    let mut finished = 0;
    while finished < bodies.len() {
        // Whatever it holds, each in its own packet, as fast as that goes; all but a few, and then
        // those, behind which nothing comes that would have the broker listen.
        let messages = client.messages((bodies.len() - finished).min(WINDOW / 2));
        for message in &messages {
            client.finish(message);
        }
        finished += messages.len();
    }
    broker.count_becomes("t", "c", "in_flight_count", 0);
    assert_eq!(broker.count("t", "c", "depth"), 0);
    client.publish("t", b"behind");
    assert_eq!(client.message().text(), "behind");
    client.send(b"CLS\n");
    assert_eq!(client.response(), "CLOSE_WAIT");
}

#[test]
fn a_consumer_that_finishes_a_wide_window_one_by_one_is_closed_with_its_channel() {
    const MESSAGES: usize = 40_000;
    let broker = Broker::start();
    let bodies = vec![b"m"; MESSAGES];
    broker.client().publish_many("t", &bodies);
    let mut client = broker.subscribed("t", "c");
    client.ready(2_500);
    // It never rests, before its channel is deleted nor behind that.
    let mut seen = 0;
    loop {
        match client.see_beyond_heartbeats(SOON) {
            Seen::Frame(Frame::Message(message)) => {
                client.try_send(format!("FIN {}\n", message.id).as_bytes());
                seen += 1;
                if seen == MESSAGES / 2 {
                    broker.order("/channel/delete?topic=t&channel=c");
                }
            }
            // Messages that are not in flight any more.
            Seen::Frame(Frame::Error(error)) => {
                assert!(error.starts_with("E_FIN_FAILED"), "{error}");
            }
            Seen::Closed => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(seen < MESSAGES, "it was never closed");
    assert!(broker.channel("t", "c").is_none());
}

#[test]
fn a_refused_consumer_takes_no_more_messages() {
    let broker = Broker::start();
    let mut refused = broker.subscribed("t", "c");
    refused.ready(100);
    let mut other = broker.subscribed("t", "c");
    other.ready(100);
    refused.send(b"NONSENSE\n");
    assert_eq!(refused.error(), "E_INVALID invalid command NONSENSE");
    let bodies: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    broker.client().publish_many("t", &bodies);
    other.messages(bodies.len());
}

#[test]
fn ours_a_message_that_comes_back_does_not_wait_for_the_whole_backlog() {
    const BACKLOG: usize = 300;
    if !only_ours("in the real nsqd it waits behind what is in memory") {
        return;
    }
    let broker = Broker::start();
    let mut publisher = broker.client();
    for number in 0..BACKLOG {
        publisher.publish("t", number.to_string().as_bytes());
    }
    let mut client = broker.subscribed("t", "c");
    client.ready(1);
    let first = client.message();
    assert_eq!(first.text(), "0");
    client.requeue(&first, 100);
    for number in 1..BACKLOG {
        let message = client.message();
        if message.text() == "0" {
            assert_eq!(message.attempts, 2);
            return;
        }
        assert_eq!(message.text(), number.to_string());
        std::thread::sleep(Duration::from_millis(5));
        client.finish(&message);
    }
    panic!("it waited behind all others");
}

#[test]
fn ours_a_backlog_is_delivered_however_little_memory_there_is() {
    if !only_ours("the real nsqd has no such flag") {
        return;
    }
    let broker = Broker::with(&["--memory-bytes=1"]);
    let mut publisher = broker.client();
    let bodies: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    publisher.publish_many("t", &bodies);
    let mut client = broker.subscribed("t", "c");
    client.ready(100);
    client.messages(100);
}
