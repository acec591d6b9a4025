//! The HTTPS port: it serves what HTTP serves; who comes without TLS, or with half of it, is told so
//! or given up.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use tests::broker::Broker;
use tests::http;
use tests::layers::Certificates;
use tests::patience::SOON;
use tests::process::run;
use tests::programs::{only_ours, skipped};

fn broker(certificates: &Certificates, more: &[&str]) -> (Broker, SocketAddr) {
    let flags = certificates.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let mut broker = Broker::with(&flags);
    let https = broker.process.logged("HTTPS: listening on ");
    let https = https.trim().parse().expect("the log names an address");
    (broker, https)
}

/// What curl prints: the answers' bodies, and behind each its status.
fn curl(certificates: &Certificates, arguments: &[&str]) -> Option<String> {
    if Command::new("curl").arg("--version").output().is_err() {
        skipped("curl is not installed");
        return None;
    }
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--noproxy", "*", "--write-out", " %{http_code};"]);
    command.arg("--cacert").arg(certificates.file("ca.pem")).args(arguments);
    let ended = run(&mut command, b"", SOON);
    assert!(ended.status.success(), "curl {arguments:?}: {}", ended.log);
    Some(ended.output.join("\n"))
}

#[test]
fn https_serves_what_http_serves() {
    let certificates = Certificates::new();
    let (broker, https) = broker(&certificates, &[]);
    let to = |path: &str| format!("https://localhost:{}{path}", https.port());
    let Some(said) = curl(&certificates, &[&to("/ping")]) else { return };
    assert_eq!(said, "OK 200;");
    let large = certificates.folder().join("large");
    std::fs::write(&large, vec![b'l'; 900_000]).expect("it can be written");
    let data = format!("@{}", large.display());
    let said = curl(&certificates, &["--data-binary", &data, &to("/pub?topic=t")]);
    assert_eq!(said.as_deref(), Some("OK 200;"));
    assert_eq!(broker.topic_count("t", "message_bytes"), 900_000);
    // Several on one connection, and an answer of some length.
    for number in 0..300 {
        broker.order(&format!("/topic/create?topic=some-topic-{number}"));
    }
    let stats = to("/stats?format=json&include_mem=false");
    let said = curl(&certificates, &[&to("/info"), &to("/nothing"), &stats]).unwrap_or_default();
    assert!(said.contains("\"version\":\"1.3.0\""), "{said}");
    assert!(said.contains("{\"message\":\"NOT_FOUND\"} 404;"), "{said}");
    let plain = broker.get("/stats?format=json&include_mem=false").text();
    assert!(said.contains(&plain), "the statistics are the same");
    for version in ["1.2", "1.3"] {
        let exactly = ["--tlsv", version].concat();
        let said = curl(&certificates, &[&exactly, "--tls-max", version, &to("/ping")]);
        assert_eq!(said.as_deref(), Some("OK 200;"));
    }
}

#[test]
fn where_tls_is_required_plain_http_is_refused() {
    let certificates = Certificates::new();
    for flag in ["--tls-required", "--tls-client-auth-policy=nonsense"] {
        let (broker, https) = broker(&certificates, &[flag]);
        for (method, target) in
            [("GET", "/ping"), ("GET", "/nothing"), ("POST", "/pub?topic=t"), ("PUT", "/stats/")]
        {
            let answer = http::request(broker.http, method, target, b"body");
            assert_eq!(answer.status, 403, "{target}");
            let expected =
                format!(r#"{{"message": "TLS_REQUIRED", "https_port": {}}}"#, https.port());
            assert_eq!(answer.text(), expected);
            assert_eq!(answer.header("Content-Type"), Some("application/json; charset=utf-8"));
            assert_eq!(answer.header("X-NSQ-Content-Type"), Some("nsq; version=1.0"));
        }
        // A policy is a requirement, and shown as one.
        let to = format!("https://localhost:{}/config/tls_required", https.port());
        let Some(said) = curl(&certificates, &[&to]) else { return };
        assert_eq!(said, "2 200;");
    }
    let (broker, _) = broker(&certificates, &["--tls-required=tcp-https"]);
    assert_eq!(broker.get("/ping").status, 200);
}

#[test]
fn without_a_certificate_there_is_no_https_port() {
    let mut broker = Broker::with(&["--https-address=127.0.0.1:0"]);
    assert!(!broker.process.log().contains("HTTPS"), "{}", broker.process.log());
    assert!(broker.process.is_running());
    let certificates = Certificates::new();
    let flags = certificates.flags();
    let broker = Broker::with(&[&flags[0], &flags[1], "--https-address="]);
    assert_eq!(broker.get("/ping").status, 200);
    assert!(!broker.process.log().contains("HTTPS"), "{}", broker.process.log());
}

/// All that comes on a connection until it ends, which it does soon.
fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(SOON)).expect("a limit can be set");
    let mut bytes = Vec::new();
    // A reset is an end, too.
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    bytes
}

#[test]
fn a_request_in_the_clear_is_told_that_it_came_to_the_wrong_port() {
    let certificates = Certificates::new();
    let (_broker, https) = broker(&certificates, &[]);
    // It came before all others. As long as it is not given up, nobody else is for his silence.
    let mut silent = TcpStream::connect(https).expect("the port is open");
    silent.set_nonblocking(true).expect("it can be");
    let expected =
        "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    for request in ["GET /ping HTTP/1.1\r\n\r\n", "POST /pub?topic=t HTTP/1.1\r\n\r\n"] {
        let mut stream = TcpStream::connect(https).expect("the port is open");
        stream.write_all(request.as_bytes()).expect("the broker reads");
        assert_eq!(String::from_utf8_lossy(&read_to_end(&mut stream)), expected);
    }
    for garbage in [&b"  V2SUB t c\n"[..], &[0xff; 100], &[0; 1000]] {
        let mut stream = TcpStream::connect(https).expect("the port is open");
        stream.write_all(garbage).expect("the broker reads");
        read_to_end(&mut stream);
    }
    let waiting = silent.read(&mut [0]).expect_err("nothing has come for the silent one");
    assert_eq!(waiting.kind(), ErrorKind::WouldBlock, "{waiting}");
}

#[test]
fn a_handshake_that_never_comes_is_given_up() {
    if !only_ours("the real nsqd waits without limit") {
        return;
    }
    let certificates = Certificates::new();
    let (broker, https) = broker(&certificates, &[]);
    let mut hello = Vec::new();
    certificates
        .client(None, rustls::ALL_VERSIONS)
        .write_tls(&mut hello)
        .expect("memory takes all");
    let begun = Instant::now();
    let mut halves: Vec<TcpStream> = [0, 1, hello.len() / 2]
        .into_iter()
        .map(|sent| {
            let mut stream = TcpStream::connect(https).expect("the port is open");
            stream.write_all(&hello[..sent]).expect("the broker reads");
            stream
        })
        .collect();
    assert_eq!(broker.get("/ping").status, 200);
    for half in &mut halves {
        assert_eq!(read_to_end(half), b"");
        assert!(Duration::from_secs(5) <= begun.elapsed(), "{:?}", begun.elapsed());
    }
}
