//! `admin-cli` as a person at a terminal runs it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use tests::broker::Broker;
use tests::client::Message;
use tests::lookup_server::LookupServer;
use tests::patience::{SOON, eventually};
use tests::port::Port;
use tests::process::{Ended, Process, run};
use tests::programs::{ours, skipped};
use tests::scripted_http::ScriptedHttp;
use tests::terminal::Terminal;

const LIMIT: Duration = Duration::from_secs(30);

fn admin_cli(arguments: &[&str], input: &[u8]) -> Ended {
    run(Command::new(ours("admin-cli")).args(arguments), input, LIMIT)
}

#[test]
fn pub_publishes_the_lines_of_its_input() {
    let broker = Broker::start();
    let address = format!("--nsqd-tcp-address={}", broker.tcp);
    let ended = admin_cli(&["pub", "--topic=t", &address], b"one\n\ntwo\nthree without an end");
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let mut client = broker.subscribed("t", "c");
    client.ready(10);
    let mut texts: Vec<_> = client.messages(3).iter().map(Message::text).collect();
    texts.sort();
    assert_eq!(texts, ["one", "three without an end", "two"]);
    client.silence(Duration::from_millis(300));
}

#[test]
fn pub_says_at_a_terminal_that_it_reads_lines_until_ctrl_d() {
    let broker = Broker::start();
    let address = format!("--nsqd-tcp-address={}", broker.tcp);
    let words = "every line typed is a message; Ctrl-D ends";
    let from_a_pipe = admin_cli(&["pub", "--topic=t", &address], b"one\n");
    assert!(!from_a_pipe.log.contains(words), "{}", from_a_pipe.log);
    if Command::new("script").arg("--version").output().is_err() {
        return skipped("script is not installed: there is no terminal to type at");
    }
    let program = ours("admin-cli");
    let line = format!("{} pub --topic=t {address}", program.display());
    // The terminal that `script` makes for it hands on what is typed, and Ctrl-D at the end.
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let typed = run(&mut command, b"two\nthree\n\x04", LIMIT);
    let shown = typed.output.join("\n");
    assert_eq!(typed.status.code(), Some(0), "{shown}");
    assert!(shown.contains(words), "{shown}");
    assert!(shown.contains("published 2 messages to t"), "{shown}");
}

#[test]
fn pub_binary_publishes_whole_files_byte_by_byte() {
    let broker = Broker::start();
    let address = format!("--nsqd-tcp-address={}", broker.tcp);
    let folder = tempfile::TempDir::new().expect("the temporary folder can be written");
    let file = folder.path().join("image");
    let bytes = b"\x89PNG\r\n\x1a\n\0\xff\n\n";
    fs::write(&file, bytes).expect("it can be written");
    let file = file.to_str().expect("paths are text");
    // The file, then standard input.
    let arguments = ["pub", "--topic=t", "--binary", &address, file, "-"];
    let ended = admin_cli(&arguments, b"one\ntwo\n");
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(ended.output[0].starts_with("published 2 messages to t"), "{:?}", ended.output);
    let mut client = broker.subscribed("t", "c");
    client.ready(10);
    let mut bodies: Vec<_> = client.messages(2).into_iter().map(|message| message.body).collect();
    bodies.sort();
    assert_eq!(bodies, [b"one\ntwo\n".to_vec(), bytes.to_vec()]);
}

#[test]
fn pub_defer_keeps_messages_back() {
    let broker = Broker::start();
    broker.order("/topic/create?topic=t");
    broker.order("/channel/create?topic=t&channel=c");
    let address = format!("--nsqd-tcp-address={}", broker.tcp);
    // More than are on their way at once.
    let lines: String = (0..300).map(|number| format!("{number}\n")).collect();
    let ended = admin_cli(&["pub", "--topic=t", "--defer=30m", &address], lines.as_bytes());
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    broker.count_becomes("t", "c", "deferred_count", 300);
    assert_eq!(broker.count("t", "c", "depth"), 0);
    let ended = admin_cli(&["pub", "--topic=t", "--defer=2h", &address], b"too late\n");
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("refuses: E_INVALID DPUB timeout"), "{}", ended.log);
    assert!(ended.log.contains("line 1 of standard input not published"), "{}", ended.log);
}

#[test]
fn pub_rate_holds_lines_back_and_ctrl_c_ends_the_wait() {
    let broker = Broker::start();
    let address = format!("--nsqd-tcp-address={}", broker.tcp);
    let lines = "line\n".repeat(10_000);
    let mut command = Command::new(ours("admin-cli"));
    command.args(["pub", "--topic=t", "--rate=1", &address]);
    let mut process = Process::start_with_input(&mut command, lines.as_bytes());
    eventually(SOON, "the first message is there", || {
        (0 < broker.topic("t")?["message_count"].as_i64()?).then_some(())
    });
    process.signal(rustix::process::Signal::INT);
    assert_eq!(process.ended_within(LIMIT).code(), Some(0), "{}", process.log());
    let published = broker.topic_count("t", "message_count");
    assert!(published < 100, "{published}");
    let plural = if published == 1 { "" } else { "s" };
    let summary = format!("published {published} message{plural} to t at {}", broker.tcp);
    assert_eq!(process.whole_output(), [summary]);
}

#[test]
fn pub_shows_at_a_terminal_how_far_it_is() {
    let broker = Broker::start();
    let address = format!("--nsqd-tcp-address={}", broker.tcp);
    let folder = tempfile::TempDir::new().expect("the temporary folder can be written");
    let file = folder.path().join("lines");
    // It takes ten seconds, in which it is to be seen.
    fs::write(&file, "a line\n".repeat(50)).expect("it can be written");
    let file = file.to_str().expect("paths are text");
    let arguments = ["pub", "--topic=t", "--rate=5", &address, file];
    let program = ours("admin-cli");
    let Some(terminal) = Terminal::run((80, 24), &[], &program, &arguments) else { return };
    let line = terminal.shows_line(&["[", "#", "%", "messages", "/s", " left"]);
    assert!(line.chars().count() < 80, "{line}");
    let screen = terminal.ended();
    assert!(screen[1].starts_with("published 50 messages to t"), "{screen:#?}");
    assert_eq!(screen[2], "ended with 0");
}

#[test]
fn pub_names_the_refusal() {
    let broker = Broker::with(&["--max-msg-size=10"]);
    let address = format!("--nsqd-tcp-address={}", broker.tcp);
    let ended = admin_cli(&["pub", "--topic=t", &address], b"far too long for it\n");
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("19 > 10"), "{}", ended.log);
}

#[test]
fn tail_prints_messages_and_finishes_them() {
    let lookup = LookupServer::start();
    let broker = Broker::with(&[&lookup.flag()]);
    broker.order("/topic/create?topic=t");
    for channel in ["direct", "lookup"] {
        broker.order(&format!("/channel/create?topic=t&channel={channel}"));
    }
    broker.client().publish_many("t", &["one", "two"]);
    eventually(SOON, "the broker is registered", || {
        let answer = lookup.get("/lookup?topic=t");
        (answer.status == 200 && answer.text().contains("tcp_port")).then_some(())
    });
    let ways = [
        ("direct", format!("--nsqd-tcp-address={}", broker.tcp)),
        ("lookup", format!("--lookupd-http-address={}", lookup.http)),
    ];
    for (channel, way) in ways {
        let channel_flag = format!("--channel={channel}");
        let ended = admin_cli(&["tail", "--topic=t", &channel_flag, "-n", "2", &way], b"");
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        let mut output = ended.output;
        output.sort();
        assert_eq!(output, ["one", "two"]);
        broker.count_becomes("t", channel, "in_flight_count", 0);
        assert_eq!(broker.count("t", channel, "depth"), 0);
    }
}

#[test]
fn tail_shows_what_comes_and_leaves_nothing_behind() {
    let broker = Broker::start();
    let address = format!("--nsqd-tcp-address={}", broker.tcp);
    let mut tail =
        Process::start(Command::new(ours("admin-cli")).args(["tail", "--topic=t", &address]));
    eventually(SOON, "it has subscribed", || {
        let channels = broker.topic("t")?["channels"].clone();
        (channels[0]["client_count"] == 1).then_some(())
    });
    broker.client().publish("t", b"message 1");
    eventually(SOON, "it prints", || (tail.output() == ["message 1"]).then_some(()));
    tail.signal(rustix::process::Signal::INT);
    assert_eq!(tail.ended_within(LIMIT).code(), Some(0), "{}", tail.log());
    eventually(SOON, "its channel is gone", || {
        let channels = broker.topic("t")?["channels"].clone();
        channels.as_array().is_some_and(Vec::is_empty).then_some(())
    });
}

#[test]
fn tail_prints_messages_in_the_form_that_is_asked_for() {
    let broker = Broker::start();
    broker.order("/topic/create?topic=t");
    let forms = ["pretty", "json", "hex", "raw"];
    for form in forms {
        broker.order(&format!("/channel/create?topic=t&channel={form}"));
    }
    broker.client().publish("t", br#"{"a":[1.50]}"#);
    let address = format!("--nsqd-tcp-address={}", broker.tcp);
    let printed = |form: &str, flags: &[&str]| {
        let (format, channel) = (format!("--format={form}"), format!("--channel={form}"));
        let mut arguments = vec!["tail", "--topic=t", "-n", "1", &address, &format, &channel];
        arguments.extend(flags);
        let ended = admin_cli(&arguments, b"");
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        ended.output
    };
    assert_eq!(printed("pretty", &[]), ["{", "  \"a\": [", "    1.50", "  ]", "}"]);
    let hex = "00000000  7b 22 61 22 3a 5b 31 2e  35 30 5d 7d              |{\"a\":[1.50]}|";
    assert_eq!(printed("hex", &["--print-attempts"]), ["attempt 1", hex]);
    assert_eq!(printed("raw", &["--print-topic"]), [r#"t | {"a":[1.50]}"#]);
    let lines = printed("json", &[]);
    let object: serde_json::Value = serde_json::from_str(&lines[0]).expect("a line of JSON");
    assert_eq!((lines.len(), &object["topic"], &object["attempts"]), (1, &"t".into(), &1.into()));
    assert_eq!(object["body"], r#"{"a":[1.50]}"#);
    assert_eq!(object["nsqd"], broker.tcp.to_string());
    assert!(object["timestamp"].as_i64().is_some_and(|time| 0 < time), "{object}");
    assert!(object["id"].as_str().is_some_and(|id| id.len() == 16), "{object}");
}

#[test]
fn tail_prints_several_topics_until_there_were_enough() {
    let broker = Broker::start();
    for topic in ["a", "b"] {
        broker.client().publish(topic, format!("of {topic}").as_bytes());
    }
    let address = format!("--nsqd-tcp-address={}", broker.tcp);
    let arguments = ["tail", "--topic=a", "--topic=b", "-n", "2", "--print-topic", &address];
    let ended = admin_cli(&arguments, b"");
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let mut output = ended.output;
    output.sort();
    assert_eq!(output, ["a | of a", "b | of b"]);
}

#[test]
fn tail_makes_json_readable_at_a_terminal_and_leaves_it_elsewhere() {
    let broker = Broker::start();
    let address = format!("--nsqd-tcp-address={}", broker.tcp);
    let arguments = ["tail", "--topic=t", "--channel=c", "-n", "1", &address];
    broker.client().publish("t", br#"{"a":1}"#);
    let ended = admin_cli(&arguments, b"");
    assert_eq!(ended.output, [r#"{"a":1}"#]);
    broker.client().publish("t", b"{\"a\":\"\\u001b[2J\"}");
    let program = ours("admin-cli");
    let Some(terminal) = Terminal::run((80, 24), &[], &program, &arguments) else { return };
    let screen = terminal.ended();
    let json: Vec<_> = screen.iter().filter(|line| !line.starts_with("admin-cli: ")).collect();
    assert_eq!(json[..5], ["before", "{", "  \"a\": \"\\u001b[2J\"", "}", "ended with 0"]);
}

#[test]
fn tail_follows_a_broker_that_is_told_of_without_its_host() {
    let broker = Broker::start();
    let port = broker.tcp.port();
    let told = format!(
        r#"{{"channels":[],"producers":[{{"broadcast_address":"","tcp_port":{port},"http_port":1}}]}}"#
    );
    let lookup = ScriptedHttp::start(move |_, _| ("200 OK", told.clone()));
    let way = format!("--lookupd-http-address={}", lookup.address);
    let mut tail =
        Process::start(Command::new(ours("admin-cli")).args(["tail", "--topic=t", &way]));
    tail.logged("admin-cli: subscribed to ");
    assert!(tail.terminate().success(), "{}", tail.log());
}

#[test]
fn tail_says_when_its_channel_will_be_the_only_one_of_the_topic() {
    let lookup = LookupServer::start();
    let broker = Broker::with(&[&lookup.flag()]);
    let way = format!("--lookupd-http-address={}", lookup.http);
    broker.client().publish("alone", b"m");
    broker.order("/topic/create?topic=shared");
    broker.order("/channel/create?topic=shared&channel=c");
    eventually(SOON, "both topics are registered", || {
        let has = |topic: &str, part: &str| {
            let answer = lookup.get(&format!("/lookup?topic={topic}"));
            answer.status == 200 && answer.text().contains(part)
        };
        (has("alone", "tcp_port") && has("shared", r#""channels":["c"]"#)).then_some(())
    });
    let warning = "the topic alone has no channel yet: ours takes what waits in it";
    let log_of = |flags: &[&str]| {
        let mut command = Command::new(ours("admin-cli"));
        let mut tail = Process::start(command.arg("tail").arg(&way).args(flags));
        tail.logged("admin-cli: subscribed to ");
        assert!(tail.terminate().success(), "{}", tail.log());
        tail.whole_log()
    };
    let log = log_of(&["--topic=shared"]);
    assert!(!log.contains("has no channel"), "{log}");
    let log = log_of(&["--topic=alone"]);
    assert_eq!(log.matches(warning).count(), 1, "{log}");
    let log = log_of(&["--topic=alone", "--channel=chosen"]);
    assert!(!log.contains("has no channel"), "{log}");
}

#[test]
fn stat_shows_a_row_for_the_topic_and_one_for_each_channel() {
    let broker = Broker::start();
    broker.client().publish_many("t", &["a", "b", "c"]);
    let mut client = broker.subscribed("t", "my-channel");
    client.ready(1);
    client.message();
    broker.count_becomes("t", "my-channel", "in_flight_count", 1);
    let address = format!("--nsqd-http-address={}", broker.http);
    let ended = admin_cli(&["stat", "--topic=t", "--once", &address], b"");
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let table = ended.output.join("\n");
    assert!(ended.output.iter().any(|line| line.contains("my-channel")), "{table}");
    assert!(ended.output.iter().all(|line| line.chars().count() <= 80), "{table}");
}

#[test]
fn stat_as_json_is_an_object_a_line() {
    let broker = Broker::start();
    broker.client().publish_many("t", &["a", "b", "c"]);
    drop(broker.subscribed("t", "c"));
    broker.count_becomes("t", "c", "depth", 3);
    let address = format!("--nsqd-http-address={}", broker.http);
    let ended = admin_cli(&["stat", "--topic=t", "--once", "--json", &address], b"");
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(!ended.output.is_empty());
    for line in &ended.output {
        let object: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        assert!(object.is_object(), "{line}");
    }
}

#[test]
fn what_does_not_answer_is_named_with_status_1() {
    let nobody = Port::any();
    let address = nobody.address.to_string();
    let nsqd_http = format!("--nsqd-http-address={address}");
    let lookupd = format!("--lookupd-http-address={address}");
    let nsqd_tcp = format!("--nsqd-tcp-address={address}");
    let cases: [(&[&str], &[u8]); 3] = [
        (&["stat", "--topic=t", "--once", &nsqd_http], b""),
        (&["stat", "--topic=t", "--once", &lookupd], b""),
        (&["pub", "--topic=t", &nsqd_tcp], b"m\n"),
    ];
    for (arguments, input) in cases {
        let ended = admin_cli(arguments, input);
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {}", ended.log);
        assert!(ended.log.contains(&address), "{arguments:?}: {}", ended.log);
        assert!(!ended.log.contains("panicked"), "{}", ended.log);
    }
}

#[test]
fn wrong_flags_end_with_status_2_and_help_with_0() {
    for arguments in [&["stat"][..], &["tail"], &["pub"], &["nothing"], &["stat", "--no-such-flag"]]
    {
        let ended = admin_cli(arguments, b"");
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {}", ended.log);
    }
    for arguments in [&["--help"][..], &["stat", "--help"], &["tail", "-h"], &["pub", "--help"]] {
        let ended = admin_cli(arguments, b"");
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {}", ended.log);
    }
    // NSQ's tools have help of their own, whichever way it is asked for.
    let asked = ["help nsq_tail", "nsq_tail --help"].map(|line| {
        let arguments: Vec<_> = line.split(' ').collect();
        let ended = admin_cli(&arguments, b"");
        (ended.status.code(), ended.log)
    });
    assert!(asked[0].1.contains("-nsqd-tcp-address"), "{}", asked[0].1);
    assert_eq!(asked[0], asked[1]);
}

#[test]
fn man_says_at_a_terminal_how_its_page_is_read() {
    let words = "`| man -l -` behind the command shows the page";
    let ended = admin_cli(&["man", "stat"], b"");
    assert!(ended.output[0].starts_with(".TH ADMIN") && ended.log.is_empty(), "{ended:?}");
    let program = ours("admin-cli");
    let Some(terminal) = Terminal::run((120, 24), &[], &program, &["man", "stat"]) else { return };
    terminal.shows_line(&[words]);
    terminal.shows_line(&["ended with 0"]);
}
