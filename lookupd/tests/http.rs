//! What clients and administrators see of nsqlookupd's HTTP side.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use support::Lookupd;

/// The answer to `request` until the connection closes, with `DATE` for the date's value.
fn exchange(lookupd: &Lookupd, request: &str) -> String {
    let mut connection = lookupd.connect_http();
    connection.send(request.as_bytes());
    let answer = String::from_utf8(connection.rest()).unwrap();
    let lines = answer.split_inclusive("\r\n").map(|line| match line.strip_prefix("Date: ") {
        Some(date) => {
            assert_eq!(date.len(), "Sun, 22 Nov 2026 12:57:18 GMT\r\n".len(), "{date}");
            "Date: DATE\r\n"
        }
        None => line,
    });
    lines.collect()
}

#[test]
fn answers_have_the_bytes_of_nsqlookupd() {
    let lookupd = Lookupd::start();
    for (request, answer) in [
        (
            "GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: DATE\r\nContent-Length: 2\r\n\
             Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nOK",
        ),
        (
            "GET /info HTTP/1.0\r\n\r\n",
            "HTTP/1.0 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n\
             X-Nsq-Content-Type: nsq; version=1.0\r\nDate: DATE\r\nContent-Length: 19\r\n\r\n\
             {\"version\":\"1.3.0\"}",
        ),
        (
            "POST /topic/create?topic=t HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-Nsq-Content-Type: nsq; version=1.0\r\nDate: DATE\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        (
            "HEAD /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, OPTIONS\r\n\
             Content-Type: application/json; charset=utf-8\r\n\
             X-Nsq-Content-Type: nsq; version=1.0\r\nDate: DATE\r\nContent-Length: 32\r\n\
             Connection: close\r\n\r\n",
        ),
        (
            "GET /ping/?a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 301 Moved Permanently\r\nContent-Type: text/html; charset=utf-8\r\n\
             Location: /ping?a=b\r\nDate: DATE\r\nContent-Length: 44\r\nConnection: close\r\n\r\n\
             <a href=\"/ping?a=b\">Moved Permanently</a>.\n\n",
        ),
        (
            "  V2IDENTIFY\n",
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Connection: close\r\n\r\n400 Bad Request",
        ),
        (
            "GET /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n",
            "HTTP/1.1 200 OK\r\nDate: DATE\r\nContent-Length: 2\r\n\
             Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nOK",
        ),
        (
            "GET /ping HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\
             Connection: close\r\n\r\nhi",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nDate: DATE\r\nContent-Length: 2\r\n\
             Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nOK",
        ),
    ] {
        assert_eq!(exchange(&lookupd, request), answer, "{request}");
    }
}

#[test]
fn a_connection_serves_request_after_request_whatever_their_bodies() {
    let lookupd = Lookupd::start();
    let requests = "POST /topic/create?topic=t HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody\
                    POST /topic/create?topic=u HTTP/1.1\r\nHost: x\r\n\
                    Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n\
                    GET /topics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = exchange(&lookupd, requests);
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{answers}");
    assert!(answers.ends_with("\r\n\r\n{\"topics\":[\"t\",\"u\"]}"), "{answers}");
}

#[test]
fn each_route_has_its_errors() {
    let lookupd = Lookupd::start();
    for (method, target, status, code) in [
        ("GET", "/", 404, "NOT_FOUND"),
        ("GET", "/create_topic?topic=t", 404, "NOT_FOUND"),
        ("DELETE", "/topics", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/lookup", 400, "MISSING_ARG_TOPIC"),
        ("GET", "/lookup?topic=a;b", 400, "INVALID_REQUEST"),
        ("GET", "/lookup?topic=%zz", 400, "INVALID_REQUEST"),
        ("GET", "/lookup?topic=unknown", 404, "TOPIC_NOT_FOUND"),
        ("GET", "/lookup?topic=*", 404, "TOPIC_NOT_FOUND"),
        ("GET", "/channels", 400, "MISSING_ARG_TOPIC"),
        ("POST", "/topic/create", 400, "MISSING_ARG_TOPIC"),
        ("POST", "/topic/create?topic=a*", 400, "INVALID_ARG_TOPIC"),
        ("POST", "/topic/delete", 400, "MISSING_ARG_TOPIC"),
        ("POST", "/channel/create?channel=c", 400, "MISSING_ARG_TOPIC"),
        ("POST", "/channel/create?topic=a*&channel=c", 400, "INVALID_ARG_TOPIC"),
        ("POST", "/channel/create?topic=t", 400, "MISSING_ARG_CHANNEL"),
        ("POST", "/channel/create?topic=t&channel=*", 400, "INVALID_ARG_CHANNEL"),
        ("POST", "/channel/delete?topic=t", 400, "MISSING_ARG_CHANNEL"),
        ("POST", "/channel/delete?topic=t&channel=c", 404, "CHANNEL_NOT_FOUND"),
        ("POST", "/topic/tombstone?node=a:1", 400, "MISSING_ARG_TOPIC"),
        ("POST", "/topic/tombstone?topic=t", 400, "MISSING_ARG_NODE"),
    ] {
        let body = format!(r#"{{"message":"{code}"}}"#);
        assert_eq!(lookupd.ask(method, target), (status, body), "{method} {target}");
    }
}

#[test]
fn an_administrator_makes_hides_and_removes() {
    let lookupd = Lookupd::start();
    let mut producer = lookupd.connect_producer("ann");
    producer.command("REGISTER t c\n");
    producer.command("REGISTER u\n");
    for (method, target, answer) in [
        ("POST", "/topic/create?topic=v%23ephemeral", ""),
        ("POST", "/channel/create?topic=w&channel=c", ""),
        ("GET", "/topics", r#"{"topics":["t","u","v#ephemeral","w"]}"#),
        ("GET", "/channels?topic=w", r#"{"channels":["c"]}"#),
        ("GET", "/channels?topic=unknown", r#"{"channels":[]}"#),
        ("POST", "/topic/tombstone?topic=t&node=ann:4151", ""),
        ("POST", "/topic/tombstone?topic=u&node=nobody:1", ""),
        ("GET", "/lookup?topic=t", r#"{"channels":["c"],"producers":[]}"#),
        ("POST", "/channel/delete?topic=t&channel=c", ""),
        ("GET", "/lookup?topic=t", r#"{"channels":[],"producers":[]}"#),
        ("POST", "/topic/delete?topic=w", ""),
        ("POST", "/topic/delete?topic=unknown", ""),
        ("GET", "/topics", r#"{"topics":["t","u","v#ephemeral"]}"#),
    ] {
        assert_eq!(lookupd.ask(method, target), (200, answer.to_owned()), "{method} {target}");
    }
    let nodes = lookupd.ask("GET", "/nodes").1;
    let tail = r#""topology_region":"r","tombstones":[true,false],"topics":["t","u"]}]}"#;
    assert!(nodes.ends_with(tail), "{nodes}");
    let debug: serde_json::Value = serde_json::from_str(&lookupd.ask("GET", "/debug").1).unwrap();
    let keys: Vec<&String> = debug.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["client::", "topic:t:", "topic:u:"]);
    assert_eq!(debug["topic:t:"][0]["tombstoned"], true);
    assert_eq!(debug["client::"][0]["tombstoned_at"], -6_795_364_578_871_345_152_i64);
}

#[test]
fn the_metrics_count_what_happens() {
    let lookupd = Lookupd::start();
    let mut producer = lookupd.connect_producer("ann");
    producer.command("REGISTER t c\n");
    producer.command("REGISTER t d\n");
    producer.command("PING\n");
    assert_eq!(lookupd.ask("GET", "/lookup?topic=t").0, 200);
    assert_eq!(lookupd.ask("GET", "/lookup?topic=unknown").0, 404);
    assert_eq!(lookupd.ask("GET", "/nowhere").0, 404);
    let answer = exchange(&lookupd, "GET /metrics HTTP/1.0\r\n\r\n");
    assert!(answer.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    for line in [
        "nsqlookupd_topics 1",
        "nsqlookupd_channels 2",
        "nsqlookupd_producers{state=\"active\"} 1",
        "nsqlookupd_registrations 1",
        "nsqlookupd_tcp_connections 1",
        "nsqlookupd_tcp_commands_total{command=\"identify\"} 1",
        "nsqlookupd_tcp_commands_total{command=\"register\"} 2",
        "nsqlookupd_tcp_commands_total{command=\"ping\"} 1",
        "nsqlookupd_http_requests_total{path=\"/lookup\",code=\"200\"} 1",
        "nsqlookupd_http_requests_total{path=\"/lookup\",code=\"404\"} 1",
        "nsqlookupd_http_requests_total{path=\"other\",code=\"404\"} 1",
        "nsqlookupd_lookup_duration_seconds_count 2",
    ] {
        assert!(answer.lines().any(|found| found == line), "{line} is not in {answer}");
    }
}

#[test]
fn the_debug_pages_are_there_and_say_what_this_process_can() {
    let lookupd = Lookupd::start();
    let answer = exchange(&lookupd, "GET /debug/pprof/cmdline HTTP/1.0\r\n\r\n");
    let (head, words) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        head,
        format!(
            "HTTP/1.0 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
             X-Content-Type-Options: nosniff\r\nDate: DATE\r\nContent-Length: {}",
            words.len()
        )
    );
    assert!(words.ends_with("\0--broadcast-address=lookup.test"), "{words:?}");
    for (method, target, status, start) in [
        ("GET", "/debug/pprof", 200, "<html>"),
        ("GET", "/debug/pprof/symbol", 200, "num_symbols: 1\n"),
        ("POST", "/debug/pprof/symbol", 200, "num_symbols: 1\n"),
        ("GET", "/debug/pprof/heap?debug=1", 200, "heap profile: 0: 0 [0: 0] @ heap/1048576\n"),
        (
            "GET",
            "/debug/pprof/goroutine",
            200,
            "goroutine profile: total 1\n1 @ 0x0\n#\tnsqlookupd ",
        ),
        ("GET", "/debug/pprof/threadcreate", 200, "threadcreate profile: total 1\n"),
        ("GET", "/debug/pprof/block", 200, "--- contention:\n"),
        ("GET", "/debug/pprof/profile?seconds=1", 501, "this process takes no profile of itself"),
        ("GET", "/debug/pprof/mutex", 404, r#"{"message":"NOT_FOUND"}"#),
    ] {
        let (got, body) = lookupd.ask(method, target);
        assert!(got == status && body.starts_with(start), "{target}: {got} {body}");
    }
}
