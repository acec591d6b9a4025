//! The real nsqlookupd and ours, side by side: the same bytes go to both, and the same bytes come
//! back, but for dates, times and ports.
//!
//! What is different on purpose is no case here: it stands in `discovery`, each with its own test.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tests::http::exchange;
use tests::lookup_server::LookupServer;
use tests::patience::SOON;
use tests::process::{Process, run};
use tests::programs::{Maker, real};

/// The real one and ours; `None`, said aloud, when the real one has not been built.
fn both() -> Option<[LookupServer; 2]> {
    real("nsqlookupd")?;
    Some([Maker::Real, Maker::Ours].map(LookupServer::of))
}

/// `N` for every number of four or more digits behind a colon, and of fifteen or more anywhere:
/// ports and moments.
fn without_numbers(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
        let (digits, behind) = from.split_at(end);
        masked.push_str(before);
        let is_port = before.ends_with(':') && 4 <= digits.len();
        masked.push_str(if is_port || 15 <= digits.len() { "N" } else { digits });
        rest = behind;
    }
    masked + rest
}

/// A JSON text with its lists sorted: NSQ has them in any order. Without the topology of nsqds, which
/// ours shows as later versions of NSQ do. Anything else is left as it is.
fn comparable(body: &str) -> String {
    fn sort(value: &mut Value) {
        match value {
            Value::Array(list) => {
                list.iter_mut().for_each(sort);
                list.sort_by_key(ToString::to_string);
            }
            Value::Object(object) => {
                object.retain(|key, _| !key.starts_with("topology_"));
                object.values_mut().for_each(sort);
            }
            _ => {}
        }
    }
    match serde_json::from_str::<Value>(body) {
        Ok(mut value) => {
            sort(&mut value);
            value.to_string()
        }
        Err(_) => body.to_owned(),
    }
}

/// The HTTP answers of a connection as both must give them.
fn shown_answers(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let mut shown = String::new();
    let mut rest = &text[..];
    while !rest.is_empty() {
        let (head, behind) = rest.split_once("\r\n\r\n").unwrap_or((rest, ""));
        let length = head.split("\r\n").find_map(|line| line.strip_prefix("Content-Length: "));
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(behind.len());
        let (body, behind) = behind.split_at(length.min(behind.len()));
        shown += &shown_answer(head, body);
        rest = behind;
    }
    shown
}

fn shown_answer(head: &str, body: &str) -> String {
    let shows_topology = body.contains("\"producers\":[{") || body.contains("\"client::\"");
    let head: Vec<_> = head
        .split("\r\n")
        .map(|line| match line.split_once(": ") {
            Some(("Date", _)) => "Date: DATE",
            Some(("Content-Length", length)) if shows_topology => {
                assert_eq!(length, body.len().to_string());
                "Content-Length: LENGTH"
            }
            _ => line,
        })
        .collect();
    without_numbers(&format!("{}\n\n{}\n", head.join("\n"), comparable(body)))
}

/// Everything that comes back for `bytes` until the other side closes; ours is the last word.
fn speak(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect_timeout(&address, SOON).expect("the directory accepts");
    stream.set_read_timeout(Some(SOON)).expect("a limit can be set");
    // What is refused early may not be read to its end.
    let written = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    assert!(read.is_ok() || !answer.is_empty(), "{read:?} {written:?}");
    answer
}

/// What the two said differently; all of it is told at the end.
#[derive(Default)]
struct Differences(String);

impl Differences {
    fn compare(&mut self, what: &str, [real, ours]: [String; 2]) {
        if real != ours {
            write!(self.0, "\n{what}\n  NSQ: {real:?}\n  ours: {ours:?}").expect("it has room");
        }
    }

    fn none(self) {
        assert!(self.0.is_empty(), "{}", self.0);
    }
}

const IDENTITY: &str = r#"{"broadcast_address":"b<&>","hostname":"h","http_port":4151,"tcp_port":4150,"topology_region":"r","topology_zone":"z","version":"1.3.0"}"#;

fn identify(body: &str) -> Vec<u8> {
    [b"IDENTIFY\n", &tests::client::sized(body.as_bytes())[..]].concat()
}

/// A registered nsqd; gone when it is dropped.
fn registered(lookup: &LookupServer, lines: &str) -> TcpStream {
    let mut stream = TcpStream::connect(lookup.tcp).expect("the directory accepts");
    let bytes = [b"  V1", &identify(IDENTITY)[..], lines.as_bytes()].concat();
    stream.write_all(&bytes).expect("the directory reads");
    stream.set_read_timeout(Some(SOON)).expect("a limit can be set");
    for _ in 0..=lines.lines().count() {
        let mut size = [0; 4];
        stream.read_exact(&mut size).expect("an answer comes");
        let size = usize::try_from(u32::from_be_bytes(size)).expect("an answer is small");
        stream.read_exact(&mut vec![0; size]).expect("an answer is whole");
    }
    stream
}

#[test]
fn tcp_answers_are_the_same_to_the_byte() {
    let Some(lookups) = both() else { return };
    let magic = |rest: &[u8]| [b"  V1", rest].concat();
    let identified = |rest: &[u8]| [b"  V1", &identify(IDENTITY)[..], rest].concat();
    let with_identity = |body: &str| [b"  V1", &identify(body)[..], b"PING\n"].concat();
    let long = "x".repeat(65);
    let cases = [
        b"  V2".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"  v1PING\n".to_vec(),
        b"  V".to_vec(),
        magic(b""),
        magic(b"\n"),
        magic(b"PING\n"),
        magic(b"PING\r\nPING \n  PING\t\nPING a b\n"),
        magic(b"ping\n"),
        magic(b"PING"),
        magic(b"FOO bar baz\nPING\n"),
        magic("\u{e9}\n".as_bytes()),
        magic(b"REGISTER t\n"),
        magic(b"UNREGISTER t c\n"),
        magic(b"REGISTER\n"),
        magic(b"IDENTIFY\n"),
        magic(b"IDENTIFY\n\0\0"),
        magic(b"IDENTIFY\n\0\0\0\x05{"),
        magic(b"IDENTIFY a b\n\0\0\0\x02{}"),
        with_identity("{}"),
        with_identity("[]"),
        with_identity("null"),
        with_identity("7"),
        with_identity("{\"tcp_port\":\"4150\"}"),
        with_identity("{\"tcp_port\":1.5}"),
        with_identity("{\"tcp_port\":-1}"),
        with_identity("{\"hostname\":7}"),
        with_identity(IDENTITY),
        with_identity(&format!(" {IDENTITY}\n")),
        with_identity(&format!("{IDENTITY}x")),
        with_identity(&IDENTITY.replace("tcp_port", "TCP_Port")),
        with_identity(&IDENTITY.replace("\"hostname\":\"h\",", "")),
        with_identity(&IDENTITY.replace("\"version\":\"1.3.0\"", "\"version\":\"\"")),
        with_identity(&IDENTITY.replace("\"version\":\"1.3.0\"", "\"version\":null")),
        with_identity(&IDENTITY.replace("\"http_port\":4151", "\"http_port\":0")),
        with_identity(&IDENTITY.replace("\"b<&>\"", "\"\"")),
        with_identity(&IDENTITY.replace('{', "{\"remote_address\":\"x\",\"unknown\":[1],")),
        identified(&identify(IDENTITY)),
        identified(b"REGISTER\n"),
        identified(b"REGISTER \n"),
        identified(b"REGISTER t\nREGISTER t c\nREGISTER t c d\nREGISTER t \nREGISTER  t\n"),
        identified(b"REGISTER bad*\n"),
        identified(b"REGISTER t bad*\n"),
        identified(b"REGISTER #ephemeral\n"),
        identified(b"REGISTER t#ephemeral c#ephemeral\nUNREGISTER t#ephemeral c#ephemeral\n"),
        identified(format!("REGISTER {}\n", &long[1..]).as_bytes()),
        identified(format!("REGISTER {long}\n").as_bytes()),
        identified(format!("REGISTER t {long}\n").as_bytes()),
        identified(b"UNREGISTER\n"),
        identified(b"UNREGISTER never\nUNREGISTER never c\nUNREGISTER t\n"),
        identified(b"UNREGISTER bad*\n"),
        identified(b"UNREGISTER t bad*\n"),
        identified(b"REGISTER t\nFOO\nREGISTER u\n"),
    ];
    for case in cases {
        let [real, ours] = lookups
            .each_ref()
            .map(|lookup| without_numbers(&String::from_utf8_lossy(&speak(lookup.tcp, &case))));
        assert_eq!(ours, real, "for {:?}", String::from_utf8_lossy(&case));
    }
    let [real, ours] = lookups.each_ref().map(|lookup| http_shown(lookup, "GET", "/topics"));
    assert_eq!(ours, real);
}

fn http_shown(lookup: &LookupServer, method: &str, target: &str) -> String {
    let request = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    shown_answers(&exchange(lookup.http, request.as_bytes()))
}

#[test]
fn http_answers_are_the_same_to_the_byte() {
    let Some(lookups) = both() else { return };
    let lines = "REGISTER t c\nREGISTER t d#ephemeral\nREGISTER u\nREGISTER e#ephemeral c\n";
    let _producers = lookups.each_ref().map(|lookup| registered(lookup, lines));
    let long = "x".repeat(65);
    // In this order: what one does the next ones show.
    let cases = [
        ("GET", "/ping"),
        ("GET", "/info"),
        ("GET", "/lookup?topic=t"),
        ("GET", "/lookup?topic=u"),
        ("GET", "/lookup?topic=e%23ephemeral"),
        ("GET", "/lookup?topic=t&topic=u"),
        ("GET", "/lookup?topic="),
        ("GET", "/lookup?topic"),
        ("GET", "/lookup?topic=none"),
        ("GET", "/lookup?topic=b*d"),
        ("GET", "/lookup?Topic=t"),
        ("GET", "/lookup"),
        ("GET", "/lookup?topic=t;u"),
        ("GET", "/lookup?topic=%zz"),
        ("GET", "/lookup?topic=t&x=%"),
        ("GET", "/topics"),
        ("GET", "/topics?topic=%zz"),
        ("GET", "/channels?topic=t"),
        ("GET", "/channels?topic=u"),
        ("GET", "/channels?topic=none"),
        ("GET", "/channels?topic=b*d"),
        ("GET", "/channels"),
        ("GET", "/channels?a=%zz"),
        ("GET", "/nodes"),
        ("GET", "/debug"),
        ("GET", "/debug/pprof/cmdline/"),
        ("GET", "/debug/pprof/symbol"),
        ("POST", "/debug/pprof/symbol"),
        ("GET", "/debug/pprof/nothing"),
        ("POST", "/debug/pprof/heap"),
        ("POST", "/topic/create?topic=made"),
        ("POST", "/topic/create?topic=made"),
        ("POST", "/topic/create?topic=made%23ephemeral"),
        ("POST", "/topic/create?topic=b*d"),
        ("POST", "/topic/create?topic="),
        ("POST", &format!("/topic/create?topic={long}")),
        ("POST", "/topic/create"),
        ("POST", "/topic/create?topic=%"),
        ("GET", "/topic/create?topic=made"),
        ("GET", "/lookup?topic=made"),
        ("POST", "/channel/create?topic=fresh&channel=c"),
        ("POST", "/channel/create?topic=fresh&channel=c%23ephemeral"),
        ("POST", "/channel/create?topic=fresh&channel=b*d"),
        ("POST", "/channel/create?topic=b*d&channel=c"),
        ("POST", "/channel/create?topic=fresh&channel="),
        ("POST", "/channel/create?topic=fresh"),
        ("POST", "/channel/create?channel=c"),
        ("POST", "/channel/create"),
        ("GET", "/channels?topic=fresh"),
        ("POST", "/channel/delete?topic=fresh&channel=c"),
        ("POST", "/channel/delete?topic=fresh&channel=c"),
        ("POST", "/channel/delete?topic=none&channel=c"),
        ("POST", "/channel/delete?topic=fresh"),
        ("POST", "/channel/delete?channel=c"),
        ("POST", "/channel/delete?topic=b*d&channel=c"),
        ("GET", "/channels?topic=fresh"),
        ("POST", "/topic/tombstone?topic=t"),
        ("POST", "/topic/tombstone?node=a:1"),
        ("POST", "/topic/tombstone?topic=t&node=nobody:1"),
        ("POST", "/topic/tombstone?topic=none&node=b%3C%26%3E:4151"),
        ("GET", "/lookup?topic=t"),
        ("POST", "/topic/tombstone?topic=t&node=b%3C%26%3E:4151"),
        ("GET", "/lookup?topic=t"),
        ("GET", "/lookup?topic=u"),
        ("GET", "/debug"),
        ("POST", "/topic/delete?topic=fresh"),
        ("POST", "/topic/delete?topic=none"),
        ("POST", "/topic/delete?topic=b*d"),
        ("POST", "/topic/delete"),
        ("POST", "/topic/delete?topic=t"),
        ("GET", "/lookup?topic=t"),
        ("GET", "/topics"),
        ("GET", "/nodes"),
        ("GET", "/debug"),
        ("HEAD", "/ping"),
        ("OPTIONS", "/ping"),
        ("OPTIONS", "/debug/pprof/symbol"),
        ("OPTIONS", "/nothing"),
        ("PUT", "/topic/create?topic=x"),
        ("DELETE", "/topics"),
        ("PATCH", "/lookup"),
        ("GET", "/"),
        ("GET", "//ping"),
        ("GET", "/PING"),
        ("GET", "/ping/"),
        ("GET", "/lookup/?topic=t"),
        ("POST", "/Topic/Create?topic=x"),
        ("GET", "/a/../ping"),
        ("GET", "/topic/none"),
        ("GET", "/create_topic?topic=t"),
        ("GET", "/%zz"),
    ];
    let mut differences = Differences::default();
    for (method, target) in cases {
        let said = lookups.each_ref().map(|lookup| http_shown(lookup, method, target));
        differences.compare(&format!("{method} {target}"), said);
    }
    differences.none();
}

#[test]
fn requests_of_every_form_are_taken_alike() {
    let Some(lookups) = both() else { return };
    let cases: [&str; 19] = [
        "GET /ping HTTP/1.0\r\n\r\n",
        "GET /info HTTP/1.0\r\nConnection: close\r\n\r\n",
        "GET /ping HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET /ping HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET http://x/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /ping HTTP/1.1\r\nhost: x\r\nCONNECTION: Close\r\n\r\n",
        "GET ping HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET  /ping HTTP/1.1\r\nHost: x\r\n\r\n",
        "  V2SUB t c\nRDY 1\n",
        "\u{16}\u{3}\u{1}",
        "POST /topic/create?topic=t HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /topic/create?topic=t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        "GET /topics HTTP/1.1\r\nHost: x\r\n\r\nGET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        // Ends of lines behind the body of a POST: up to four bytes of them are passed over.
        "POST /topic/create?topic=s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi\r\nGET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "POST /topic/create?topic=s HTTP/1.1\r\nHost: x\r\n\r\n\n\n\n\nGET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "POST /topic/create?topic=s HTTP/1.1\r\nHost: x\r\n\r\n\r\n\r\n\r\nGET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /topics HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "POST /topic/create?topic=s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n\r\n",
        "POST /topic/create?topic=t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nGET /topics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ];
    let mut differences = Differences::default();
    for case in cases {
        let said =
            lookups.each_ref().map(|lookup| shown_answers(&speak(lookup.http, case.as_bytes())));
        differences.compare(&format!("{case:?}"), said);
    }
    differences.none();
}

/// A log line as both must write it: without its time, and the times and ports in it.
fn shown_line(line: &str) -> String {
    let line = without_numbers(line);
    // `[nsqlookupd] 2026/11/22 22:40:57.180711 INFO: ...`
    let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
    if 3 <= words.len() && words[0] == "[nsqlookupd]" {
        words.drain(1..3);
    }
    for word in &mut words {
        let (bare, behind) = match word.strip_suffix(')') {
            Some(bare) => (bare, ")"),
            None => (word.as_str(), ""),
        };
        let is_time = bare.starts_with(|c: char| c.is_ascii_digit()) && bare.ends_with('s');
        if is_time {
            *word = format!("TIME{behind}");
        }
    }
    words.join(" ")
}

#[test]
fn log_lines_are_the_same() {
    let Some(mut lookups) = both() else { return };
    let logs = lookups.each_mut().map(|lookup| {
        let mut producer = registered(
            lookup,
            "REGISTER t c\nREGISTER t\nPING\nUNREGISTER t c\nREGISTER u c#ephemeral\nUNREGISTER u\n",
        );
        producer.write_all(b"REGISTER bad*\n").expect("the directory reads");
        producer.read_to_end(&mut Vec::new()).expect("it is closed");
        lookup.process.logged("ERROR: client(");
        speak(lookup.tcp, b"GET ");
        lookup.process.logged("bad protocol magic 'GET '");
        for (method, target) in [
            ("GET", "/ping"),
            ("GET", "/lookup?topic=none"),
            ("POST", "/topic/create?topic=made"),
            ("POST", "/channel/create?topic=made&channel=c"),
            ("POST", "/channel/delete?topic=made&channel=c"),
            ("POST", "/topic/tombstone?topic=made&node=a:1"),
            ("POST", "/topic/delete?topic=made"),
            ("GET", "/nothing"),
            ("PUT", "/ping"),
            ("OPTIONS", "/ping"),
            ("GET", "/ping/"),
            ("GET", "/debug/pprof/symbol"),
        ] {
            http_shown(lookup, method, target);
        }
        let status = lookup.process.terminate();
        assert_eq!(status.code(), Some(0));
        let log = lookup.process.whole_log();
        // The first line names the compiler, and the two ports open and close in any order.
        let lines = log.lines().skip(1).filter(|line| !line.contains("CP: clos"));
        let mut lines: Vec<_> = lines.map(shown_line).collect();
        lines.retain(|line| !line.contains("HTTP: clos"));
        let start = lines.len().min(2);
        lines[..start].sort();
        // What an nsqd leaves behind is swept out in any order.
        let is_swept = |line: &String| line.contains("INFO: DB: client(127.0.0.1:N) UNREGISTER ");
        lines.chunk_by_mut(|one, next| is_swept(one) && is_swept(next)).for_each(<[_]>::sort);
        lines
    });
    let [real, ours] = logs;
    assert_eq!(ours, real, "ours above, NSQ's below");
}

#[test]
fn settings_in_a_file_mean_the_same() {
    let Some(program) = real("nsqlookupd") else { return };
    let folder = TempDir::new().expect("the temporary folder can be written");
    let path = folder.path().join("nsqlookupd.cfg");
    let config = format!("--config={}", path.display());
    // The file, flags beside it, the name in the answer to IDENTIFY, and whether nsqds are shown.
    let cases: [(&str, &[&str], &str, bool); 7] = [
        ("broadcast_address = \"file\"", &[], "file", true),
        ("broadcast_address = \"file\"", &["--broadcast-address=flag"], "flag", true),
        ("broadcast-address = \"dash\"\nunknown = 1", &["--broadcast-address=flag"], "flag", true),
        ("broadcast_address = \"f\"\ninactive_producer_timeout = \"0s\"", &[], "f", false),
        ("broadcast_address = \"f\"\ninactive_producer_timeout = 0", &[], "f", false),
        ("broadcast_address = \"f\"\ninactive_producer_timeout = 60000", &[], "f", true),
        (
            "broadcast_address = \"f\"\ninactive_producer_timeout = \"0s\"",
            &["--inactive-producer-timeout=1m"],
            "f",
            true,
        ),
    ];
    for (text, flags, name, is_shown) in cases {
        std::fs::write(&path, text).expect("the temporary folder can be written");
        for program in [program.clone(), Maker::Ours.program("nsqlookupd")] {
            let mut process = Process::start(
                Command::new(program)
                    .args([&config, "--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"])
                    .args(flags),
            );
            let [tcp, http] = ["TCP: listening on ", "HTTP: listening on "].map(|part| {
                process.logged(part).trim().parse::<SocketAddr>().expect("the log names it")
            });
            let bytes = [b"  V1", &identify(IDENTITY)[..]].concat();
            let mut stream = TcpStream::connect(tcp).expect("the directory accepts");
            stream.set_read_timeout(Some(SOON)).expect("a limit can be set");
            stream.write_all(&bytes).expect("the directory reads");
            let mut answer = vec![0; 64];
            stream.read_exact(&mut answer).expect("an answer comes");
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let expected = format!("{{\"broadcast_address\":\"{name}\",\"hostname\":\"");
            assert!(answer.contains(&expected), "{text}: {answer}");
            let nodes = tests::http::get(http, "/nodes").text();
            assert_eq!(nodes.contains("remote_address"), is_shown, "{text}: {nodes}");
        }
    }
}

#[test]
fn flags_end_the_same_way() {
    let Some(program) = real("nsqlookupd") else { return };
    let folder = TempDir::new().expect("the temporary folder can be written");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("the temporary folder can be written");
        format!("--config={}", path.display())
    };
    let not_toml = file("bad.cfg", "tcp_address = \n");
    let cases: [&[&str]; 22] = [
        &["--help"],
        &["-h"],
        &["--bogus"],
        &["-bogus=1"],
        &["--tcp-address"],
        &["--tombstone-lifetime=5"],
        &["--tombstone-lifetime=x"],
        &["--tombstone-lifetime=x", "--help"],
        &["--help", "--tombstone-lifetime=x"],
        &["--verbose=x", "--bogus"],
        &["--verbose=x", "--log-level=loud"],
        &["--inactive-producer-timeout", "1y"],
        &["--verbose=maybe"],
        &["--version=x"],
        &["--log-level=loud"],
        &["--=x"],
        &["---x"],
        &["--help=false", "--bogus"],
        &["--log-prefix"],
        &["--config=/does/not/exist"],
        &["--config=/"],
        &[&not_toml],
    ];
    let mut differences = Differences::default();
    for case in cases {
        let ended = [program.clone(), Maker::Ours.program("nsqlookupd")].map(|program| {
            let ended = run(Command::new(program).args(case), b"", Duration::from_secs(20));
            // Whatever reads a TOML file has its own words for what is wrong in it.
            let log: Vec<_> = ended.log.lines().map(shown_line).collect();
            let log = log.join("\n");
            let log = log.split_once("bad.cfg - ").map_or(log.as_str(), |(known, _)| known);
            format!("{:?} {:?} {log}", ended.status.code(), ended.output)
        });
        differences.compare(&format!("{case:?}"), ended);
    }
    differences.none();
}
