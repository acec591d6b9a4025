//! The program as a user runs it, against brokers that say what each test tells them to.

#![expect(clippy::unwrap_used, reason = "a test may panic wherever it fails")]

mod fake;

use std::process::Stdio;
use std::thread;

use fake::{Broker, admin_cli, command, deserted_address, http_server};

const STATS: &str = "/stats?format=json&topic=test&include_clients=false&include_mem=false";

/// The statistics of a broker that has the topic `test` with one channel.
fn stats(messages: u64, depth: u64) -> String {
    format!(
        r#"{{"version":"1.3.0","health":"OK","start_time":1,"topics":[{{"topic_name":"test","channels":[{{"channel_name":"ch","depth":{depth},"in_flight_count":1,"message_count":{messages},"client_count":2,"clients":null}}],"depth":0,"message_count":{messages}}}],"producers":null}}"#
    )
}

const FULL_ANSWER: &str = r#"{"max_rdy_count":100,"version":"1.3.0","auth_required":false}"#;

#[test]
fn stat_adds_up_the_brokers_that_nsqlookupd_knows_and_names_one_that_fails() {
    let brokers =
        [(10, 4), (20, 5)].map(|(messages, depth)| http_server(&[(STATS, stats(messages, depth))]));
    let gone = deserted_address();
    let producers: Vec<String> = [brokers[0], brokers[1], gone]
        .iter()
        .map(|address| {
            let port = address.port();
            format!(r#"{{"broadcast_address":"127.0.0.1","tcp_port":1,"http_port":{port}}}"#)
        })
        .collect();
    let lookup = format!(r#"{{"channels":["ch"],"producers":[{}]}}"#, producers.join(","));
    let lookup = http_server(&[("/lookup?topic=test", lookup)]);

    let flag = format!("--lookupd-http-address={lookup}");
    let run = admin_cli(&["stat", "--topic=test", "--once", &flag], "");
    assert_eq!(run.exit_code, Some(0), "{run:?}");
    assert!(run.stdout.starts_with("test  2 brokers  "), "{run:?}");
    let row = "  ch                  9      0      2     0     0     0      30     -     -    4\n";
    assert!(run.stdout.contains(row), "{run:?}");
    assert!(run.stdout.contains(&format!("! {gone} does not answer: ")), "{run:?}");
}

#[test]
fn stat_writes_one_line_of_json_a_table_and_waits_for_a_topic_that_is_not_there() {
    let address = http_server(&[(STATS, r#"{"topics":null}"#.to_owned())]);
    let flag = format!("--nsqd-http-address={address}");
    let arguments = ["stat", "--topic=test", "--json", "--count=2", "--interval=10ms", &flag];
    let run = admin_cli(&arguments, "");
    assert_eq!(run.exit_code, Some(0), "{run:?}");
    let lines: Vec<serde_json::Value> =
        run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line["exists"] == false && line["topic"] == "test"));
}

#[test]
fn stat_says_where_nobody_answers_and_what_to_look_at() {
    for flag in ["--nsqd-http-address", "--lookupd-http-address"] {
        let address = deserted_address();
        let flag = format!("{flag}={address}");
        let run = admin_cli(&["stat", "--topic=test", &flag], "");
        assert_eq!((run.exit_code, run.stdout.as_str()), (Some(1), ""));
        assert!(run.stderr.contains(&format!("answers at {address}")), "{run:?}");
        assert!(run.stderr.contains("check that nsq"), "{run:?}");
    }
}

#[test]
fn flags_that_contradict_each_other_are_misuse() {
    for (arguments, text) in [
        (&["stat"][..], "--topic is required"),
        (&["stat", "--topic=t", "--interval=0s"], "--interval should be positive"),
        (
            &["stat", "--topic=t", "--nsqd-http-address=a:1", "--lookupd-http-address=b:1"],
            "use --nsqd-http-address or --lookupd-http-address not both",
        ),
        (&["tail"], "--topic is required"),
        (&["tail", "--topic=t", "--max-in-flight=0"], "--max-in-flight should be positive"),
        (&["tail", "--topic=a*"], "invalid value \"a*\" for flag -topic"),
        (&["pub"], "--topic is required"),
        (&["pub", "--topic=t", "--nsqd-tcp-address=http://a:1"], "without a scheme"),
        (&["dance"], "there is no verb \"dance\""),
        (&[], "Usage: admin-cli"),
    ] {
        let run = admin_cli(arguments, "");
        assert_eq!((run.exit_code, run.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(run.stderr.contains(text), "{run:?}");
    }
}

#[test]
fn tail_prints_messages_finishes_them_answers_heartbeats_and_says_goodbye() {
    let (broker, address) = Broker::listen();
    let said = thread::spawn(move || {
        let mut client = broker.accept(FULL_ANSWER);
        let mut said = vec![client.next().unwrap()];
        client.respond("OK");
        said.push(client.next().unwrap());
        client.respond("_heartbeat_");
        said.push(client.next().unwrap());
        client.deliver(0xa, "first");
        client.deliver(0xb, "second\r");
        client.deliver(0xc, "one too many");
        loop {
            said.push(client.next().unwrap());
            if said.last().unwrap() == "CLS" {
                client.respond("CLOSE_WAIT");
                assert_eq!(client.next(), None);
                return said;
            }
        }
    });
    let flag = format!("--nsqd-tcp-address={address}");
    let arguments =
        ["tail", "--topic=test", "--channel=ch", "-n", "2", "--print-topic", flag.as_str()];
    let run = admin_cli(&arguments, "");
    assert_eq!((run.exit_code, run.stdout.as_str()), (Some(0), "test | first\ntest | second\r\n"));
    assert_eq!(said.join().unwrap(), ["SUB test ch", "RDY 2", "NOP", "FIN a", "FIN b", "CLS"]);
}

#[test]
fn tail_connects_again_when_the_broker_was_gone() {
    let (broker, address) = Broker::listen();
    thread::spawn(move || {
        for body in ["before", "after"] {
            let mut client = broker.accept("OK");
            assert_eq!(client.next().unwrap(), "SUB test ch");
            client.respond("OK");
            client.deliver(1, body);
            // Leaves when the message is dealt with.
            while client.next().is_some_and(|said| said != "FIN 1") {}
        }
    });
    let flag = format!("--nsqd-tcp-address={address}");
    let run = admin_cli(&["tail", "--topic=test", "--channel=ch", "-n=2", &flag], "");
    assert_eq!((run.exit_code, run.stdout.as_str()), (Some(0), "before\nafter\n"));
    assert!(run.stderr.contains("trying again in 1s"), "{run:?}");
}

#[test]
fn tail_ends_when_no_broker_can_be_subscribed_to_from_the_start() {
    let (broker, refusing) = Broker::listen();
    thread::spawn(move || {
        let mut client = broker.accept("OK");
        client.next();
        client.refuse("E_SUB_FAILED SUB failed consumers for test:ch exceeds limit of 2");
    });
    let gone = deserted_address();
    let flags = [refusing, gone.to_string()].map(|a| format!("--nsqd-tcp-address={a}"));
    let run = admin_cli(&["tail", "--topic=test", &flags[0], &flags[1]], "");
    assert_eq!((run.exit_code, run.stdout.as_str()), (Some(1), ""));
    assert!(run.stderr.contains("refuses: E_SUB_FAILED SUB failed consumers"), "{run:?}");
    assert!(run.stderr.contains(&format!("{gone} cannot be connected to")), "{run:?}");
}

#[test]
fn tail_subscribes_where_nsqlookupd_says_and_ends_quietly_when_its_reader_does() {
    let (broker, address) = Broker::listen();
    let port = address.rsplit_once(':').unwrap().1;
    let lookup = http_server(&[(
        "/lookup?topic=test%23ephemeral",
        format!(
            r#"{{"producers":[{{"broadcast_address":"127.0.0.1","tcp_port":{port},"http_port":1}}]}}"#
        ),
    )]);
    let flag = format!("--lookupd-http-address={lookup}");
    let mut child =
        command(&["tail", "--topic=test#ephemeral", &flag]).stdin(Stdio::null()).spawn().unwrap();
    let mut client = broker.accept("OK");
    let subscribed = client.next().unwrap();
    assert!(
        subscribed.starts_with("SUB test#ephemeral tail") && subscribed.ends_with("#ephemeral"),
        "{subscribed}"
    );
    client.respond("OK");
    drop(child.stdout.take());
    client.deliver(1, "nobody reads this");
    while client.next().is_some_and(|said| said != "CLS") {}
    client.respond("CLOSE_WAIT");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn pub_publishes_lines_in_one_batch_and_says_how_many() {
    let (broker, address) = Broker::listen();
    let said = thread::spawn(move || {
        let mut client = broker.accept("OK");
        let said = client.next().unwrap();
        client.respond("OK");
        (said, client.next())
    });
    let flag = format!("--nsqd-tcp-address={address}");
    let run = admin_cli(&["pub", "--topic=test", &flag], "one\n\ntwo\nlast");
    assert_eq!(said.join().unwrap(), ("MPUB test one|two|last".to_owned(), None));
    let summary = format!("published 3 messages to test at {address}\n");
    assert_eq!((run.exit_code, run.stdout), (Some(0), summary));
}

#[test]
fn pub_reads_files_one_after_the_other() {
    let (broker, address) = Broker::listen();
    let said = thread::spawn(move || {
        let mut client = broker.accept("OK");
        let mut said = Vec::new();
        while let Some(command) = client.next() {
            said.push(command);
            client.respond("OK");
        }
        said
    });
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| {
        let path = folder.path().join(name);
        let mut file = tempfile::NamedTempFile::new_in(folder.path()).unwrap();
        std::io::Write::write_all(&mut file, format!("{name} 1\n{name} 2").as_bytes()).unwrap();
        file.persist(&path).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let flag = format!("--nsqd-tcp-address={address}");
    let run = admin_cli(&["pub", "--topic=test", &flag, &first, &second], "not read");
    assert_eq!(run.exit_code, Some(0), "{run:?}");
    let batches = ["MPUB test first 1|first 2", "MPUB test second 1|second 2"];
    assert_eq!(said.join().unwrap(), batches);
}

#[test]
fn pub_tells_what_was_refused_and_what_was_not() {
    let (broker, address) = Broker::listen();
    thread::spawn(move || {
        let mut client = broker.accept("OK");
        client.next();
        client.refuse("E_BAD_MESSAGE MPUB message too big 12 > 4");
    });
    let flag = format!("--nsqd-tcp-address={address}");
    let run = admin_cli(&["pub", "--topic=test", &flag], "\nnot so short\n\nb\n");
    assert_eq!(run.exit_code, Some(1));
    assert_eq!(run.stdout, format!("published 0 messages to test at {address}\n"));
    assert_eq!(
        run.stderr,
        format!(
            "admin-cli: {address} refuses: E_BAD_MESSAGE MPUB message too big 12 > 4\nlines 2 to 4 of \
             standard input not published, nor anything after\n"
        )
    );
}
