//! Lookups that wait for news: `GET /lookup?topic=t&wait=30s`.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "a test may block")]

mod support;

use support::{Connection, Lookupd};

/// Asks, and does not wait for the answer.
fn ask(lookupd: &Lookupd, target: &str, known: Option<&str>) -> Connection {
    let mut connection = lookupd.connect_http();
    let known = known.map(|tag| format!("If-None-Match: {tag}\r\n")).unwrap_or_default();
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{known}Connection: close\r\n\r\n");
    connection.send(request.as_bytes());
    connection
}

/// Status, tag and body of an answer.
fn answer(mut connection: Connection) -> (u16, String, String) {
    let answer = String::from_utf8(connection.rest()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let tag = head.lines().find_map(|line| line.strip_prefix("Etag: ")).unwrap_or_default();
    (status, tag.to_owned(), body.to_owned())
}

/// Waits until so many lookups wait.
fn waiting_are(lookupd: &Lookupd, count: usize) {
    let line = format!("\nnsqlookupd_waiting_lookups {count}\n");
    let is_so = || lookupd.ask("GET", "/metrics").1.contains(&line);
    let is_so_soon = || {
        std::thread::sleep(std::time::Duration::from_millis(2));
        is_so()
    };
    // Half a minute, where milliseconds are enough.
    assert!(is_so() || (0..10_000).any(|_| is_so_soon()), "{count} never wait");
}

#[test]
fn without_a_tag_a_lookup_waits_for_the_first_producer() {
    let lookupd = Lookupd::start();
    let mut producer = lookupd.connect_producer("ann");
    let unknown = ask(&lookupd, "/lookup?topic=t&wait=60s", None);
    let other = ask(&lookupd, "/lookup?topic=u&wait=60s", None);
    waiting_are(&lookupd, 2);
    assert_eq!(lookupd.ask("POST", "/channel/create?topic=t&channel=c").0, 200);
    assert_eq!(producer.command("REGISTER t\n"), "OK");
    let (status, tag, body) = answer(unknown);
    assert_eq!((status, tag.len()), (200, 18), "{tag}");
    assert!(body.starts_with(r#"{"channels":["c"],"producers":[{"#), "{body}");
    waiting_are(&lookupd, 1);
    // Who comes now is answered at once, with the same tag, and in the same words as ever.
    assert_eq!(answer(ask(&lookupd, "/lookup?topic=t&wait=60s", None)), (200, tag, body.clone()));
    let ordinary = answer(ask(&lookupd, "/lookup?topic=t", None));
    assert_eq!(ordinary, (200, String::new(), body));
    drop(other);
    waiting_are(&lookupd, 0);
}

#[test]
fn with_a_tag_a_lookup_waits_for_the_next_change_of_its_topic() {
    let lookupd = Lookupd::start();
    let mut ann = lookupd.connect_producer("ann");
    assert_eq!(ann.command("REGISTER t\n"), "OK");
    let mut last = answer(ask(&lookupd, "/lookup?topic=t&wait=0", None));
    let mut bob = None;
    let node = "/topic/tombstone?topic=t&node=ann:4151";
    type Change<'a> = Box<dyn FnMut() + 'a>;
    let changes: [(&str, Change<'_>); 7] = [
        ("a channel", Box::new(|| drop(ann.command("REGISTER t c\n")))),
        (
            "a producer",
            Box::new(|| {
                let producer = bob.insert(lookupd.connect_producer("bob"));
                producer.command("REGISTER t\n");
            }),
        ),
        ("a tombstone", Box::new(|| assert_eq!(lookupd.ask("POST", node).0, 200))),
        (
            "a channel less",
            Box::new(|| {
                let (status, _) = lookupd.ask("POST", "/channel/delete?topic=t&channel=c");
                assert_eq!(status, 200);
            }),
        ),
        (
            "a new channel",
            Box::new(|| {
                assert_eq!(lookupd.ask("POST", "/channel/create?topic=t&channel=d").0, 200);
            }),
        ),
        ("no topic", Box::new(|| assert_eq!(lookupd.ask("POST", "/topic/delete?topic=t").0, 200))),
        (
            "a topic again",
            Box::new(|| {
                assert_eq!(lookupd.ask("POST", "/topic/create?topic=t").0, 200);
            }),
        ),
    ];
    let mut seen = vec![last.clone()];
    for (name, mut change) in changes {
        let waiting = ask(&lookupd, "/lookup?topic=t&wait=60s", Some(&last.1));
        waiting_are(&lookupd, 1);
        change();
        last = answer(waiting);
        assert!(!seen.contains(&last), "{name} is news: {last:?}");
        seen.push(last.clone());
    }
    assert_eq!(last.2, r#"{"channels":[],"producers":[]}"#);
}

#[test]
fn a_producer_that_leaves_or_falls_silent_is_news() {
    let lookupd = Lookupd::start_with(&[
        "--tcp-address=127.0.0.1:0",
        "--http-address=127.0.0.1:0",
        "--inactive-producer-timeout=4s",
    ]);
    let mut ann = lookupd.connect_producer("ann");
    assert_eq!(ann.command("REGISTER t\n"), "OK");
    let found = answer(ask(&lookupd, "/lookup?topic=t&wait=60s", None));
    assert!(found.2.contains(r#""broadcast_address":"ann""#), "{}", found.2);
    // Nobody does anything: time alone hides the producer.
    let hidden = answer(ask(&lookupd, "/lookup?topic=t&wait=60s", Some(&found.1)));
    assert_eq!(hidden.2, r#"{"channels":[],"producers":[]}"#);
    let waiting = ask(&lookupd, "/lookup?topic=t&wait=60s", Some(&hidden.1));
    waiting_are(&lookupd, 1);
    assert_eq!(ann.command("PING\n"), "OK");
    assert_eq!(answer(waiting), found);
    let waiting = ask(&lookupd, "/lookup?topic=t&wait=60s", Some(&found.1));
    drop(ann);
    assert_eq!(answer(waiting), hidden);
}

#[test]
fn when_nothing_happens_the_answer_comes_after_the_wait() {
    let lookupd = Lookupd::start();
    let mut ann = lookupd.connect_producer("ann");
    assert_eq!(ann.command("REGISTER t\n"), "OK");
    let (_, tag, _) = answer(ask(&lookupd, "/lookup?topic=t&wait=0", None));
    let unchanged = answer(ask(&lookupd, "/lookup?topic=t&wait=20ms", Some(&tag)));
    assert_eq!(unchanged, (304, tag.clone(), String::new()));
    let not_found = r#"{"message":"TOPIC_NOT_FOUND"}"#;
    for (target, known, status, body) in [
        ("/lookup?topic=unknown&wait=20ms", None, 404, not_found),
        // What can never come is not waited for.
        ("/lookup?topic=*&wait=60s", None, 404, not_found),
        ("/lookup?topic=unknown&wait=60s", Some(tag.as_str()), 404, not_found),
        ("/lookup?topic=t&wait=", None, 400, r#"{"message":"INVALID_ARG_WAIT"}"#),
        ("/lookup?topic=t&wait=30", None, 400, r#"{"message":"INVALID_ARG_WAIT"}"#),
        ("/lookup?wait=1s", None, 400, r#"{"message":"MISSING_ARG_TOPIC"}"#),
    ] {
        let (got_status, _, got_body) = answer(ask(&lookupd, target, known));
        assert_eq!((got_status, got_body.as_str()), (status, body), "{target}");
    }
}

#[test]
fn what_a_waiting_client_sends_meanwhile_is_answered_after_it() {
    let lookupd = Lookupd::start();
    let mut connection = lookupd.connect_http();
    connection.send(b"GET /lookup?topic=t&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n");
    waiting_are(&lookupd, 1);
    connection.send(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut producer = lookupd.connect_producer("ann");
    assert_eq!(producer.command("REGISTER t\n"), "OK");
    let answers = String::from_utf8(connection.rest()).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{answers}");
    assert!(answers.contains(r#""broadcast_address":"ann""#) && answers.ends_with("\r\n\r\nOK"));
}
