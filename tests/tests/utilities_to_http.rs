//! `nsq_to_http`, NSQ's own and ours: the same messages, the same flags and the same web server, and
//! what the server is asked has to be the same to the byte, but for the order of headers.

use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tests::broker::Broker;
use tests::layers::Certificates;
use tests::lookup_server::LookupServer;
use tests::patience::eventually;
use tests::port::Port;
use tests::process::Process;
use tests::programs::Maker;
use tests::utility::{self, MAKERS, is_here, masked};
use tests::web_server::{Reaction, Request, WebServer};

const LIMIT: Duration = Duration::from_secs(120);

/// One run of the utility: messages lie in a topic, go out, and are gone.
struct Run<'a> {
    flags: &'a [&'a str],
    bodies: &'a [&'a [u8]],
    /// How many requests come until everything is settled.
    requests: usize,
}

/// What a run did.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    /// In the order of the alphabet, the server's port being `PORT`.
    requests: Vec<Request>,
    /// As [`masked`] has it, ids of messages being `ID` and durations `0.00ms`.
    log: Vec<String>,
}

impl Run<'_> {
    /// Runs the utility of `maker` over messages in a broker of `broker`.
    fn of(
        &self,
        maker: Maker,
        broker: Maker,
        react: impl Fn(&Request, usize) -> Reaction + Send + Sync + 'static,
    ) -> Done {
        self.at(maker, broker, &WebServer::start(react), |_| {})
    }

    fn at(
        &self,
        maker: Maker,
        broker: Maker,
        server: &WebServer,
        adapt: impl Fn(&mut Command),
    ) -> Done {
        let broker = Broker::of(broker, &[]);
        broker.order("/topic/create?topic=t");
        broker.order("/channel/create?topic=t&channel=nsq_to_http");
        broker.client().publish_many("t", self.bodies);
        let mut flags: Vec<String> =
            self.flags.iter().map(|flag| with_port(flag, server)).collect();
        flags.push("--topic=t".to_owned());
        flags.push(format!("--nsqd-tcp-address={}", broker.tcp));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let mut command = utility::command(maker, "nsq_to_http", &flags);
        adapt(&mut command);
        let mut process = Process::start(&mut command);
        eventually(LIMIT, "all requests come", || {
            (self.requests <= server.requests().len()).then_some(())
        });
        eventually(LIMIT, "all messages are settled", || {
            let channel = broker.channel("t", "nsq_to_http")?;
            // Each is finished once: when it was sent, and when it is given up.
            (channel["clients"][0]["finish_count"] == self.bodies.len()).then_some(())
        });
        assert_eq!(process.terminate().code(), Some(0), "{}", process.log());
        let ports = [(server.address, "PORT"), (broker.tcp, "BROKER")];
        let plain = |text: &str| {
            ports.iter().fold(text.to_owned(), |text, (address, name)| {
                text.replace(&address.port().to_string(), name)
            })
        };
        let mut requests = server.requests();
        for request in &mut requests {
            request.line = plain(&request.line);
            request.headers.iter_mut().for_each(|line| *line = plain(line));
        }
        requests.sort();
        let log = masked(&plain(&process.whole_log()));
        // NSQ's says it or not, whichever of its threads is faster.
        let log = log.iter().filter(|line| !line.ends_with("finished draining, cleanup exiting"));
        Done { requests, log: log.map(|line| without_chance(line)).collect() }
    }

    /// What NSQ's does, and what ours does. They do it at the same time, as both may have to wait.
    fn both(
        &self,
        react: impl Fn(&Request, usize) -> Reaction + Send + Sync + Clone + 'static,
    ) -> [Done; 2] {
        thread::scope(|scope| {
            let runs = MAKERS.map(|maker| {
                let react = react.clone();
                scope.spawn(move || self.of(maker, Maker::Ours, react))
            });
            runs.map(|run| run.join().expect("a run comes to its end"))
        })
    }

    /// What NSQ's does, which is what ours does, too.
    fn same(
        &self,
        react: impl Fn(&Request, usize) -> Reaction + Send + Sync + Clone + 'static,
    ) -> Done {
        let [theirs, ours] = self.both(react);
        assert_eq!(ours.requests, theirs.requests, "{:?}\n{:#?}", self.flags, ours.log);
        theirs
    }
}

/// The flag with the server's address for `SERVER`.
fn with_port(flag: &str, server: &WebServer) -> String {
    flag.replace("SERVER", &server.address.to_string())
}

/// A line without what differs from run to run.
fn without_chance(line: &str) -> String {
    // Two clocks of the same length run in Go's client, and either may win.
    let line =
        line.replace("net/http: timeout awaiting response headers", "context deadline exceeded");
    let words = line.split(' ').map(|word| {
        let is_id = word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_duration = word.ends_with("ms") && word.starts_with(|c: char| c.is_ascii_digit());
        match (is_id, is_duration) {
            (true, _) => "ID".to_owned(),
            (_, true) => "0.00ms".to_owned(),
            _ => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn lines<'a>(done: &'a Done, part: &str) -> Vec<&'a str> {
    done.log.iter().map(String::as_str).filter(|line| line.contains(part)).collect()
}

fn ok(_: &Request, _: usize) -> Reaction {
    Reaction::status("200 OK")
}

/// All bytes there are, and what makes trouble in queries.
const BODIES: [&[u8]; 5] =
    [b"one", b"two & three=4?#%+/", "Grüße, 日本\u{1f600}".as_bytes(), b"\x00\r\n\xff\xfe", b" "];

#[test]
fn the_same_requests_are_made_of_the_same_messages() {
    if !is_here("nsq_to_http") {
        return;
    }
    let cases: [&[&str]; 15] = [
        &["--post=http://SERVER/put"],
        &["--post=http://SERVER"],
        &["-post", "http://SERVER/a/../b?c=d&e=%20f<>\"|", "--content-type=text/plain; x=y"],
        &["--post=HTTP://user:pass%40@SERVER/a b/é?x y#fragment", "--header=X-One: 1"],
        &[
            "--post=http://SERVER/",
            "--header=content-TYPE:text/html",
            "--header=user-agent: me",
            "--header=x-a:b",
            "--header=x-a: c:d ",
            "--header=Host: elsewhere",
            "--header=Content-Length: 3",
            "--header=accept-encoding: br",
            "--header=Authorization: Bearer x",
        ],
        &["--post=http://u:p@SERVER/", "--header=authorization: Bearer x"],
        &["--get=http://SERVER/get?data=%s"],
        &["--get=http://SERVER/get/%s/x"],
        &["--get=http://SERVER/get?a=%%20&data=%s&b", "--header=X-One: 1"],
        &["--get=http://SERVER/get?data=%s", "--mode=round-robin", "-n=3"],
        &["--get=http://SERVER/get?a=%20b&data=%s#x"],
        &["--get=http://SERVER/get?a=%2F&data=%s"],
        &["--post=http://SERVER/a", "--mode=epsilon-greedy"],
        &["--get=http://SERVER/?%s", "--header=Range: bytes=0-1"],
        &[
            "--post=http://SERVER/a",
            "--http-client-request-timeout=0",
            "--http-client-connect-timeout=0",
        ],
    ];
    for flags in cases {
        let done = Run { flags, bodies: &BODIES, requests: BODIES.len() }.same(ok);
        assert_eq!(done.requests.len(), BODIES.len(), "{flags:?}");
    }
}

#[test]
fn both_brokers_are_read_and_all_requests_are_known() {
    if !is_here("nsq_to_http") {
        return;
    }
    for maker in MAKERS {
        for broker in MAKERS {
            let run = Run { flags: &["--post=http://SERVER/p"], bodies: &[b"a&b"], requests: 1 };
            let done = run.of(maker, broker, ok);
            let expected = Request {
                line: "POST /p HTTP/1.1".to_owned(),
                headers: vec![
                    "Accept-Encoding: gzip".to_owned(),
                    "Content-Length: 3".to_owned(),
                    "Content-Type: application/octet-stream".to_owned(),
                    "Host: 127.0.0.1:PORT".to_owned(),
                    "User-Agent: nsq_to_http v1.3.0".to_owned(),
                ],
                body: b"a&b".to_vec(),
            };
            assert_eq!(done.requests, [expected], "{maker:?} {broker:?}");
        }
    }
}

/// Options under which a failure is tried again at once, and given up after three times.
const IMPATIENT: [&str; 3] = [
    "--consumer-opt=max_attempts,3",
    "--consumer-opt=default_requeue_delay,10ms",
    "--consumer-opt=max_backoff_duration,0s",
];

#[test]
fn what_is_no_success_is_tried_as_often_as_the_options_say() {
    if !is_here("nsq_to_http") {
        return;
    }
    // The status, and how often a POST and a GET are made then.
    let cases = [
        ("200 OK", [1, 1]),
        ("201 Created", [1, 3]),
        ("204 No Content", [1, 3]),
        ("299 Fine", [1, 3]),
        ("300 Choose", [3, 3]),
        ("304 Not Modified", [3, 3]),
        ("307 Nowhere", [3, 3]),
        ("400 Bad", [3, 3]),
        ("500 Broken", [3, 3]),
        ("999 Unknown", [3, 3]),
    ];
    for (status, expected) in cases {
        for (flag, expected) in
            ["--post=http://SERVER/", "--get=http://SERVER/?%s"].into_iter().zip(expected)
        {
            let flags = [&[flag], &IMPATIENT[..]].concat();
            let run = Run { flags: &flags, bodies: &[b"m"], requests: expected };
            let done = run.same(move |_, _| Reaction::status(status));
            assert_eq!(done.requests.len(), expected, "{status} {flag}");
        }
    }
}

#[test]
fn failures_are_logged_in_the_same_words() {
    if !is_here("nsq_to_http") {
        return;
    }
    type React = fn(&Request, usize) -> Reaction;
    let closes: React = |_, _| Reaction::SaysAndCloses(String::new());
    let hangs: React = |_, _| Reaction::SaysAndHangs(String::new());
    let fails: React = |_, _| Reaction::status("503 Busy");
    let nonsense: React = |_, _| Reaction::SaysAndCloses("hello\r\n\r\n".to_owned());
    let endless: React = |_, _| {
        let answer = "HTTP/1.1 302 Found\r\nLocation: /again?b\r\nContent-Length: 0\r\n\r\n";
        Reaction::Says(answer.to_owned())
    };
    let half: React = |_, _| Reaction::SaysAndCloses("HTTP/1.1 200 OK\r\nConten".to_owned());
    let cases: [(&str, React, usize); 13] = [
        ("--post=http://SERVER/a", fails, 3),
        ("--post=http://SERVER/a", closes, 3),
        ("--get=http://u:p@SERVER/a?%s", closes, 3),
        ("--post=http://SERVER/a", hangs, 3),
        ("--post=http://SERVER/a", nonsense, 3),
        ("--post=http://SERVER/a", half, 3),
        ("--post=http://SERVER/a", endless, 30),
        ("--post=http://127.0.0.1:1/a", ok, 0),
        ("--post=127.0.0.1:80/a", ok, 0),
        ("--post=ftp://127.0.0.1/a", ok, 0),
        ("--post=http:///a", ok, 0),
        ("--post=localhost:80/a", ok, 0),
        ("--get=http://SERVER/%%zz%s", ok, 0),
    ];
    for (flag, react, requests) in cases {
        // Only where nothing else comes may time run out.
        let limit = if react as usize == hangs as usize { "3s" } else { "10m" };
        let wait = format!("--http-client-request-timeout={limit}");
        let flags = [&[flag, wait.as_str()], &IMPATIENT[..]].concat();
        let run = Run { flags: &flags, bodies: &[b"m"], requests };
        let [theirs, ours] = run.both(react);
        assert_eq!(ours.requests, theirs.requests, "{flag}");
        assert_eq!(ours.requests.len(), requests, "{flag}");
        let [theirs_said, ours_said] =
            [&theirs, &ours].map(|done| lines(done, "Handler returned error"));
        assert_eq!(ours_said, theirs_said, "{flag}");
        assert_eq!(ours_said.len(), 3, "{flag}: {:#?}", ours.log);
        assert_eq!(lines(&ours, "giving up"), lines(&theirs, "giving up"));
    }
}

#[test]
fn redirects_are_followed_as_gos_client_follows_them() {
    if !is_here("nsq_to_http") {
        return;
    }
    let flags = |flag| {
        [
            &[flag, "--header=Cookie: c", "--header=X-A: b", "--header=Content-Language: de"],
            &IMPATIENT[..],
        ]
        .concat()
    };
    for status in [301, 302, 303, 307, 308] {
        for flag in ["--post=http://u:p@SERVER/a/b?c#d", "--get=http://SERVER/a/%s"] {
            for location in ["/there?x", "there", "../up#f", "?q", "//HOST/h", "http://HOST/e"] {
                let flags = flags(flag);
                let run = Run { flags: &flags, bodies: &[b"m"], requests: 2 };
                let done = run.same(move |request, _| {
                    if request.header("Referer").is_some() {
                        return Reaction::status("200 OK");
                    }
                    let host = request.header("Host").unwrap_or_default();
                    // The same server, by another name.
                    let host = host.replace("127.0.0.1", "localhost");
                    let location = location.replace("HOST", &host);
                    Reaction::Says(format!(
                        "HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 2\r\n\r\nhi"
                    ))
                });
                assert_eq!(done.requests.len(), 2, "{status} {flag} {location}");
            }
        }
    }
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_replaced_for_a_get_and_not_for_a_post() {
    if !is_here("nsq_to_http") {
        return;
    }
    // The second request on each connection gets no answer.
    let react = |_: &Request, before: usize| match before {
        0 => Reaction::status("200 OK"),
        _ => Reaction::SaysAndCloses(String::new()),
    };
    let bodies: [&[u8]; 3] = [b"a", b"b", b"c"];
    for (flag, requests) in [
        // The first, and each of the others twice.
        ("--get=http://SERVER/?%s", 5),
        ("--post=http://SERVER/", 5),
    ] {
        let flags = [&[flag, "-n=1"], &IMPATIENT[..]].concat();
        let run = Run { flags: &flags, bodies: &bodies, requests };
        let [theirs, ours] = MAKERS.map(|maker| run.of(maker, Maker::Ours, react));
        assert_eq!(ours.requests, theirs.requests, "{flag}");
        let failures = [&theirs, &ours].map(|done| lines(done, "Handler returned error").len());
        assert_eq!(failures[0], failures[1], "{flag}: {:#?}", ours.log);
    }
}

#[test]
fn a_body_that_does_not_end_is_no_failure() {
    if !is_here("nsq_to_http") {
        return;
    }
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nxyz",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nwithout an end",
    ];
    for answer in answers {
        let flags =
            [&["--post=http://SERVER/", "--http-client-request-timeout=3s"], &IMPATIENT[..]]
                .concat();
        let run = Run { flags: &flags, bodies: &[b"m"], requests: 1 };
        let done = run.same(move |_, _| Reaction::SaysAndHangs(answer.to_owned()));
        assert_eq!(done.requests.len(), 1, "{answer:?}");
        assert!(lines(&done, "Handler returned error").is_empty());
    }
}

#[test]
fn chunks_and_keep_alive_are_understood() {
    if !is_here("nsq_to_http") {
        return;
    }
    let bodies: [&[u8]; 4] = [b"1", b"2", b"3", b"4"];
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: u\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    ] {
        let flags = ["--post=http://SERVER/", "-n=1", "--consumer-opt=max_attempts,1"];
        let run = Run { flags: &flags, bodies: &bodies, requests: 4 };
        for maker in MAKERS {
            // Only one connection is served.
            let done = run.of(maker, Maker::Ours, {
                let served = std::sync::atomic::AtomicUsize::new(0);
                move |_, before| {
                    let total = served.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    // Go's client gives up a connection that was not done with a request for 50 ms
                    // after its answer, as on a busy machine.
                    assert!(maker == Maker::Real || before == total, "another connection");
                    Reaction::Says(answer.to_owned())
                }
            });
            assert_eq!(done.requests.len(), 4, "{answer:?}");
        }
    }
}

/// How many requests came for each path.
fn counts(requests: &[Request], paths: &[&str]) -> Vec<usize> {
    let count = |path: &&str| requests.iter().filter(|request| request.target() == *path).count();
    paths.iter().map(count).collect()
}

#[test]
fn modes_choose_the_same_addresses() {
    if !is_here("nsq_to_http") {
        return;
    }
    let bodies: Vec<Vec<u8>> = (0..10).map(|number: u8| vec![b'a' + number]).collect();
    let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
    let addresses = ["--post=http://SERVER/a", "--post=http://SERVER/b", "--post=http://SERVER/c"];
    let paths = ["/a", "/b", "/c"];
    for (mode, requests, expected) in [
        ("--mode=round-robin", 10, [3, 4, 3]),
        ("--mode=hostpool", 10, [4, 3, 3]),
        ("--mode=all", 30, [10, 10, 10]),
    ] {
        let flags = [&addresses[..], &[mode, "-n=1"]].concat();
        let run = Run { flags: &flags, bodies: &bodies, requests };
        for maker in MAKERS {
            let done = run.of(maker, Maker::Ours, ok);
            assert_eq!(counts(&done.requests, &paths), expected, "{maker:?} {mode}");
        }
    }
}

#[test]
fn a_dead_address_leaves_the_pool_after_its_first_failure() {
    if !is_here("nsq_to_http") {
        return;
    }
    let bodies: Vec<Vec<u8>> = (0..20).map(|number: u8| vec![b'a' + number]).collect();
    let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
    let nobody = Port::any();
    let dead = format!("--post=http://{}/dead", nobody.address);
    for mode in ["--mode=hostpool", "--mode=epsilon-greedy"] {
        let flags =
            [&[dead.as_str(), "--post=http://SERVER/live", mode, "-n=1"], &IMPATIENT[..]].concat();
        let run = Run { flags: &flags, bodies: &bodies, requests: 20 };
        for maker in MAKERS {
            let done = run.of(maker, Maker::Ours, ok);
            assert_eq!(counts(&done.requests, &["/live"]), [20], "{maker:?} {mode}");
            let failures = lines(&done, "Handler returned error");
            assert_eq!(failures.len(), 1, "{maker:?} {mode} {failures:#?}");
        }
    }
}

#[test]
fn status_lines_have_the_same_words_and_come_as_often() {
    if !is_here("nsq_to_http") {
        return;
    }
    let bodies: Vec<Vec<u8>> = (0..11).map(|number: u8| vec![b'a' + number]).collect();
    let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
    let (one, two) = ("--post=http://SERVER/a", "--post=http://SERVER/b");
    let cases: [(&[&str], usize); 6] = [
        (&[one, "--status-every=2"], 5),
        (&[one, two, "--status-every=2"], 9),
        (&[one, two, "--status-every=3", "--mode=round-robin"], 5),
        (&[one, two, "--status-every=5", "--mode=both"], 6),
        (&[one, two, "--status-every=0"], 0),
        (&[one, "--status-every=-1"], 11),
    ];
    for (flags, expected) in cases {
        let flags = [flags, &["-n=1"]].concat();
        let requests = if flags.contains(&"--mode=both") { 22 } else { 11 };
        let run = Run { flags: &flags, bodies: &bodies, requests };
        let [theirs, ours] = MAKERS.map(|maker| run.of(maker, Maker::Ours, ok));
        assert_eq!(lines(&ours, "99th:"), lines(&theirs, "99th:"), "{flags:?}");
        assert_eq!(lines(&ours, "Warning"), lines(&theirs, "Warning"), "{flags:?}");
        assert_eq!(lines(&ours, "99th:").len(), expected, "{flags:?}");
    }
}

#[test]
fn the_log_of_a_run_has_the_same_lines() {
    if !is_here("nsq_to_http") {
        return;
    }
    let flags = ["--post=http://SERVER/", "-n=1"];
    let run = Run { flags: &flags, bodies: &[b"a", b"b"], requests: 2 };
    let [theirs, ours] = MAKERS.map(|maker| run.of(maker, Maker::Ours, ok));
    assert_eq!(ours.log, theirs.log);
}

#[test]
fn a_sample_of_nothing_finishes_messages_without_a_request() {
    if !is_here("nsq_to_http") {
        return;
    }
    for maker in MAKERS {
        let flags = ["--post=http://SERVER/", "--sample=0"];
        let run = Run { flags: &flags, bodies: &BODIES, requests: 0 };
        assert_eq!(run.of(maker, Maker::Ours, ok).requests, []);
    }
}

#[test]
fn half_a_sample_is_about_half_of_the_messages() {
    let bodies = vec![&b"m"[..]; 400];
    let flags = ["--post=http://SERVER/", "--sample=0.5"];
    let run = Run { flags: &flags, bodies: &bodies, requests: 0 };
    let count = run.of(Maker::Ours, Maker::Ours, ok).requests.len();
    // Ten deviations away from 200 on both sides.
    assert!((100..300).contains(&count), "{count}");
}

#[test]
fn https_trusts_whom_the_machine_trusts() {
    if !is_here("nsq_to_http") {
        return;
    }
    let certificates = Certificates::new();
    let authority = certificates.file("ca.pem");
    for maker in MAKERS {
        let server = WebServer::over_tls(&certificates, ok);
        let trusting = ["--post=https://SERVER/x"];
        let run = Run { flags: &trusting, bodies: &BODIES, requests: BODIES.len() };
        let done = run.at(maker, Maker::Ours, &server, |command| {
            command.env("SSL_CERT_FILE", &authority);
        });
        assert_eq!(done.requests.len(), BODIES.len(), "{maker:?}");
        assert_eq!(done.requests[0].line, "POST /x HTTP/1.1");

        let flags = [&trusting[..], &IMPATIENT[..]].concat();
        let run = Run { flags: &flags, bodies: &[b"m"], requests: 0 };
        let server = WebServer::over_tls(&certificates, ok);
        let done = run.at(maker, Maker::Ours, &server, |_| {});
        assert_eq!(done.requests, [], "{maker:?}");
        assert_eq!(lines(&done, "Handler returned error").len(), 3, "{maker:?}");
    }
}

#[test]
fn what_does_not_end_is_left_half_a_minute_after_it_was_told_to_end() {
    if !is_here("nsq_to_http") {
        return;
    }
    let runs = MAKERS.map(|maker| {
        let server = WebServer::start(|_, _| Reaction::SaysAndHangs(String::new()));
        let broker = Broker::of(Maker::Ours, &[]);
        broker.client().publish_many("t", &["a", "b", "c"]);
        let post = format!("--post=http://{}/", server.address);
        let way = format!("--nsqd-tcp-address={}", broker.tcp);
        // Each would take a minute, one behind the other.
        let flags = ["--topic=t", &post, &way, "-n=1", "--http-client-request-timeout=1m"];
        let process = utility::start(maker, "nsq_to_http", &flags);
        (process, server, broker)
    });
    // Both wait at the same time.
    let told = runs.map(|(process, server, broker)| {
        eventually(LIMIT, "a request comes", || (server.requests().len() == 1).then_some(()));
        process.signal(Signal::TERM);
        (process, broker)
    });
    for (mut process, broker) in told {
        assert_eq!(process.ended_within(LIMIT).code(), Some(0), "{}", process.log());
        // Nothing is lost: those that were under way are, for the broker, until their timeout.
        let left = ["depth", "in_flight_count"].map(|key| broker.count("t", "nsq_to_http", key));
        assert_eq!(left.iter().sum::<i64>(), 3, "{}", process.log());
    }
}

#[test]
fn brokers_are_found_through_the_directory() {
    let lookup = LookupServer::start();
    let broker = Broker::with(&[&lookup.flag()]);
    broker.order("/topic/create?topic=t");
    broker.order("/channel/create?topic=t&channel=c");
    broker.client().publish_many("t", &["a", "b"]);
    eventually(LIMIT, "the broker is registered", || {
        lookup.get("/lookup?topic=t").text().contains("tcp_port").then_some(())
    });
    let server = WebServer::start(ok);
    let post = format!("--post=http://{}/", server.address);
    let way = format!("--lookupd-http-address={}", lookup.http);
    let flags = ["--topic=t", "--channel=c", &way, &post];
    let mut process = utility::start(Maker::Ours, "nsq_to_http", &flags);
    eventually(LIMIT, "both requests come", || (server.requests().len() == 2).then_some(()));
    broker.count_becomes("t", "c", "in_flight_count", 0);
    assert_eq!(process.terminate().code(), Some(0), "{}", process.log());
}

#[test]
fn wrong_flags_are_refused_in_the_same_words() {
    if !is_here("nsq_to_http") {
        return;
    }
    let topic = "--topic=t";
    let broker = "--nsqd-tcp-address=127.0.0.1:1";
    let post = "--post=http://127.0.0.1:1/";
    let get = "--get=http://127.0.0.1:1/%s";
    let cases: [&[&str]; 31] = [
        &["--version"],
        &["--version", "--header=x"],
        &[],
        &[topic],
        &[topic, "--channel="],
        &[topic, broker],
        &[topic, broker, "--lookupd-http-address=127.0.0.1:1", post],
        &[topic, broker, post, get],
        &[topic, broker, "--get=http://127.0.0.1:1/"],
        &[topic, broker, get, "--get=http://127.0.0.1:1/%s%s"],
        &[topic, broker, get, "--content-type=text/plain"],
        &[topic, broker, post, "--content-type="],
        &[topic, broker, post, "--header=x"],
        &[topic, broker, post, "--header=x:"],
        &[topic, broker, post, "--sample=1.1"],
        &[topic, broker, post, "--sample=-0.1"],
        &[topic, broker, post, "--sample=x"],
        &[topic, broker, post, "-n=x"],
        &[topic, broker, post, "-n=0"],
        &[topic, broker, post, "--max-in-flight=-1"],
        &[topic, broker, post, "--http-client-request-timeout=5"],
        &[topic, broker, post, "--consumer-opt=nonsense,1"],
        &[topic, broker, post, "--consumer-opt=max_attempts,x"],
        &[topic, broker, post, "--nonsense"],
        &[topic, broker, post, "--status-every"],
        &[topic, broker, post],
        &["--topic=bad topic", broker, post],
        &[topic, "--channel=bad channel", broker, post],
        &[topic, "--lookupd-http-address=127.0.0.1", post],
        &["--help"],
        &["-h"],
    ];
    for flags in cases {
        let [theirs, ours] = MAKERS.map(|maker| {
            let ended = utility::run(maker, "nsq_to_http", flags, b"").masked();
            (ended.exit_code, ended.output, usage_of_a_name(&ended.log))
        });
        assert_eq!(ours, theirs, "{flags:?}");
    }
}

#[test]
fn fewer_than_no_publishers_are_refused_where_nsqs_would_never_send_anything() {
    let flags = ["--topic=t", "--nsqd-tcp-address=127.0.0.1:1", "--post=http://h/", "-n=-1"];
    let ended = utility::run(Maker::Ours, "nsq_to_http", &flags, b"").masked();
    assert_eq!((ended.exit_code, ended.log.as_str()), (Some(1), "no handlers"));
}

/// NSQ's usage names the program by its path.
fn usage_of_a_name(log: &str) -> String {
    let lines = log.lines().map(|line| match line.strip_prefix("Usage of ") {
        Some(path) => format!("Usage of {}", path.rsplit('/').next().unwrap_or_default()),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}
