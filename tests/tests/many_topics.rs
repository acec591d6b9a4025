//! Thousands of quiet topics, in a small form: more topics than the process may have files open.
//!
//! The real nsqd opens a file for each write to a disk queue; how many files ours holds is a promise
//! of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tests::client::Client;
use tests::http;
use tests::patience::{SOON, eventually};
use tests::process::Process;
use tests::programs::{only_ours, ours};

const TOPICS: usize = 300;
const OPEN_FILES_MAX: usize = 256;

/// A broker that may have [`OPEN_FILES_MAX`] files open, and starts with leave for half of them.
fn start(data: &Path) -> (Process, SocketAddr, SocketAddr) {
    let limit = format!("ulimit -Sn {}; ulimit -Hn {OPEN_FILES_MAX}; exec", OPEN_FILES_MAX / 2);
    let mut process = Process::start(
        Command::new("sh")
            .args(["-c", &format!("{limit} \"$@\""), "sh"])
            .arg(ours("nsqd"))
            .args(["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--shards=2"])
            .arg(format!("--data-path={}", data.display())),
    );
    let tcp = process.logged("TCP: listening on ").parse().expect("the log names an address");
    let http = process.logged("HTTP: listening on ").parse().expect("the log names an address");
    eventually(SOON, "the broker answers", || {
        (http::get(http, "/ping").status == 200).then_some(())
    });
    (process, tcp, http)
}

fn open_files(process: &Process) -> usize {
    let open = std::fs::read_dir(format!("/proc/{}/fd", process.id())).expect("the process runs");
    open.count()
}

fn publish_to_all(tcp: SocketAddr, body: &str) {
    let mut client = Client::connect(tcp);
    for number in 0..TOPICS {
        client.publish(&format!("topic-{number}"), body.as_bytes());
    }
}

fn depths(http: SocketAddr) -> Vec<i64> {
    let stats = http::get(http, "/stats?format=json").json();
    let topics = stats["topics"].as_array().expect("a list of topics");
    topics.iter().map(|topic| topic["depth"].as_i64().expect("a number")).collect()
}

#[test]
fn ours_serves_more_topics_than_it_may_have_files_open() {
    if !only_ours("how many files are open is a promise of ours") {
        return;
    }
    let data = TempDir::new().expect("the temporary folder can be written");
    let (mut process, tcp, http) = start(data.path());
    let idle = open_files(&process);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.id())).expect("runs");
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let words: Vec<_> = line.expect("Linux tells").split_whitespace().collect();
    assert_eq!(words[3], OPEN_FILES_MAX.to_string(), "as many as are allowed: {words:?}");

    publish_to_all(tcp, "first");
    publish_to_all(tcp, "second");
    assert_eq!(depths(http), [2; TOPICS]);
    process.kill();

    let (mut process, tcp, http) = start(data.path());
    assert_eq!(depths(http), [2; TOPICS]);
    publish_to_all(tcp, "third");
    for number in [0, 1, TOPICS - 1] {
        let mut client = Client::subscribed(tcp, &format!("topic-{number}"), "c");
        client.ready(1);
        for body in ["first", "second", "third"] {
            let message = client.message();
            assert_eq!(message.text(), body);
            client.finish(&message);
        }
    }
    eventually(Duration::from_secs(120), "quiet topics hold no open file", || {
        (open_files(&process) <= idle + 10).then_some(())
    });
    publish_to_all(tcp, "fourth");
    assert_eq!(process.terminate().code(), Some(0), "{}", process.log());
    assert!(!process.log().contains("Too many open files"), "{}", process.log());
}

#[test]
fn ours_removes_at_the_start_what_a_deletion_left_that_was_cut_short() {
    if !only_ours("a topic's folder is ours") {
        return;
    }
    let data = TempDir::new().expect("the temporary folder can be written");
    let left = data.path().join("orders.topic.removed");
    std::fs::create_dir(&left).expect("the folder can be written");
    std::fs::write(left.join("00000000000000000000.log"), b"any").expect("it can be written");
    let (mut process, ..) = start(data.path());
    assert!(!left.exists());
    assert_eq!(process.terminate().code(), Some(0), "{}", process.log());
}
