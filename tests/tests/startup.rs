//! How the broker starts, refuses to start, and ends: what operators and service managers see.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::broker::Broker;
use tests::client::Client;
use tests::process::{Ended, Process, run};
use tests::programs::{Maker, only_ours, ours, real, skipped, under_test, workspace};

const LIMIT: Duration = Duration::from_secs(60);

fn folder() -> TempDir {
    TempDir::new().expect("the temporary folder can be written")
}

fn nsqd() -> Command {
    let mut command = Command::new(under_test().program("nsqd"));
    command.args(["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"]);
    command
}

fn fails(command: &mut Command, code: i32, part: &str) {
    let Ended { status, log, .. } = run(command, b"", LIMIT);
    assert_eq!(status.code(), Some(code), "{log}");
    assert!(log.contains(part), "{part:?} is not in {log}");
}

#[test]
fn the_version_is_nsqs_and_says_what_it_was_built_with() {
    for (name, program) in ["nsqd", "nsqlookupd"].map(|name| (name, under_test().program(name))) {
        for flag in ["--version", "-version"] {
            let ended = run(Command::new(&program).arg(flag), b"", LIMIT);
            assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
            let line = ended.output.join("\n");
            let built = line
                .strip_prefix(&format!("{name} v1.3.0 (built w/"))
                .unwrap_or_else(|| panic!("{line}"));
            let built = built.strip_suffix(')').unwrap_or_else(|| panic!("{line}"));
            let plain = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte)
            };
            assert!(!built.is_empty() && built.bytes().all(plain), "{line}");
        }
    }
}

#[test]
fn flags_may_be_written_in_all_of_gos_ways() {
    let data = folder();
    let path = data.path().to_str().expect("a temporary path is text");
    let spellings: [&[&str]; 4] = [
        &["-data-path", path],
        &["--data-path", path],
        &[&format!("-data-path={path}")],
        &[&format!("--data-path={path}")],
    ];
    for spelling in spellings {
        let mut process = Process::start(nsqd().args(spelling).current_dir("/"));
        process.logged("TCP: listening on 127.0.0.1:");
        assert_eq!(process.terminate().code(), Some(0), "{}", process.log());
        assert!(data.path().join("nsqd.dat").exists(), "{spelling:?}");
        std::fs::remove_file(data.path().join("nsqd.dat")).expect("it was there");
    }
}

#[test]
fn switches_may_stand_alone_or_carry_a_value() {
    for switch in ["--verbose", "--verbose=true", "-snappy=false", "--deflate", "-worker-id=true"] {
        let data = folder();
        let mut process = Process::start(nsqd().arg(switch).arg("--data-path").arg(data.path()));
        process.logged("TCP: listening on 127.0.0.1:");
        assert_eq!(process.terminate().code(), Some(0), "{switch}: {}", process.log());
    }
}

#[test]
fn flags_behind_a_word_are_not_read() {
    let data = folder();
    let mut process =
        Process::start(nsqd().arg("--data-path").arg(data.path()).args(["word", "--version"]));
    process.logged("TCP: listening on 127.0.0.1:");
    assert_eq!(process.terminate().code(), Some(0));
}

#[test]
fn unknown_flags_and_bad_values_end_with_status_2() {
    for flag in ["--no-such-flag", "--mem-queue-size=x", "--msg-timeout=5", "--log-level=loud"] {
        let ended = run(nsqd().arg(flag), b"", LIMIT);
        assert_eq!(ended.status.code(), Some(2), "{flag}: {}", ended.log);
        assert!(
            ended.log.contains(flag.trim_start_matches('-').split('=').next().expect("a name")),
            "{}",
            ended.log
        );
    }
}

#[test]
fn help_is_no_failure() {
    for flag in ["-h", "--help"] {
        let ended = run(nsqd().arg(flag), b"", LIMIT);
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        assert!(ended.log.contains("-data-path"), "{}", ended.log);
    }
}

#[test]
fn settings_may_come_from_a_file_and_flags_go_before_it() {
    let data = folder();
    let config = data.path().join("nsqd.cfg");
    let text = "max_rdy_count = 7\nmsg_timeout = \"5s\"\nmax_msg_timeout = 7000\nunknown_key = 1\n";
    std::fs::write(&config, text).expect("the folder can be written");
    let broker = Broker::with(&[&format!("--config={}", config.display()), "--msg-timeout=6s"]);
    let agreed = broker.client().identify(r#"{"feature_negotiation":true}"#);
    for agreement in
        [r#""max_rdy_count":7,"#, r#""msg_timeout":6000,"#, r#""max_msg_timeout":7000,"#]
    {
        assert!(agreed.contains(agreement), "{agreed}");
    }
}

#[test]
fn a_missing_data_folder_is_named() {
    let part = "failed to lock data-path: open /nonexistent/data: no such file or directory";
    fails(nsqd().arg("--data-path=/nonexistent/data"), 1, part);
}

#[test]
fn a_taken_port_is_named() {
    let broker = Broker::start();
    let data = folder();
    let taken = |flag: &str, address: SocketAddr| {
        let mut command = Command::new(under_test().program("nsqd"));
        command.args(["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"]);
        command.arg("--data-path").arg(data.path()).arg(format!("{flag}={address}"));
        fails(&mut command, 1, &address.to_string());
    };
    taken("--tcp-address", broker.tcp);
    taken("--http-address", broker.http);
    assert_eq!(broker.get("/ping").text(), "OK");
}

#[test]
fn a_second_broker_on_the_same_data_is_refused_and_the_first_goes_on() {
    let broker = Broker::start();
    let part = format!("cannot flock directory {}", broker.folder().display());
    fails(nsqd().arg("--data-path").arg(broker.folder()), 1, &part);
    broker.client().works();
}

#[test]
fn settings_out_of_range_are_refused() {
    let data = folder();
    let refuse = |flag: &str, part: &str| {
        fails(nsqd().arg(flag).arg("--data-path").arg(data.path()), 1, part);
    };
    refuse("--node-id=1024", "--node-id must be [0,1024)");
    refuse("--max-deflate-level=10", "--max-deflate-level must be [1,9]");
}

#[test]
fn damaged_metadata_is_named_and_not_overwritten() {
    let data = folder();
    let file = data.path().join("nsqd.dat");
    std::fs::write(&file, "not json").expect("the folder can be written");
    fails(nsqd().arg("--data-path").arg(data.path()), 1, "nsqd.dat");
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "not json");
}

#[test]
fn sigterm_and_sigint_end_with_status_0_even_with_clients() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut broker = Broker::start();
        let mut consumer = broker.subscribed("t", "c");
        consumer.ready(10);
        let mut idle = broker.client();
        idle.works();
        broker.process.signal(signal);
        let status = broker.process.ended_within(LIMIT);
        assert_eq!(status.code(), Some(0), "{}", broker.process.log());
        consumer.closed();
        idle.closed();
    }
}

#[test]
fn the_log_has_nsqs_form_and_names_the_real_ports() {
    let broker = Broker::start();
    let log = broker.process.log();
    let line = log.lines().find(|line| line.contains("TCP: listening")).expect("it is logged");
    // [nsqd] 2026/11/22 13:08:24.679354 INFO: TCP: listening on 127.0.0.1:24150
    let shape: String = line.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let expected = "[nsqd] 0000/00/00 00:00:00.000000 INFO: TCP: listening on 000.0.0.0:";
    assert!(shape.starts_with(expected), "{line}");
    assert!(line.ends_with(&broker.tcp.to_string()), "{line}");
}

#[test]
fn every_address_of_the_machine_means_both_families() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return skipped("this machine has no IPv6");
    }
    for every in ["0.0.0.0:0", ":0", "[::]:0"] {
        let data = folder();
        let mut command = Command::new(under_test().program("nsqd"));
        command.arg(format!("--tcp-address={every}")).arg(format!("--http-address={every}"));
        let mut process = Process::start(command.arg("--data-path").arg(data.path()));
        let port = |line: String| -> u16 {
            let port = line.strip_prefix("[::]:").and_then(|port| port.parse().ok());
            port.unwrap_or_else(|| panic!("{every} listens on {line}"))
        };
        let tcp = port(process.logged(" INFO: TCP: listening on "));
        let http = port(process.logged(" INFO: HTTP: listening on "));
        let ipv4 = ("ipv4", IpAddr::from([127, 0, 0, 1]), "127.0.0.1:");
        let ipv6 = ("ipv6", IpAddr::from(Ipv6Addr::LOCALHOST), "[::1]:");
        for (channel, ip, shown) in [ipv4, ipv6] {
            let _client = Client::subscribed(SocketAddr::new(ip, tcp), "t", channel);
            let target = format!("/stats?format=json&topic=t&channel={channel}");
            let stats = tests::http::get(SocketAddr::new(ip, http), &target).json();
            let peer = &stats["topics"][0]["channels"][0]["clients"][0]["remote_address"];
            assert!(peer.as_str().is_some_and(|peer| peer.starts_with(shown)), "{every}: {stats}");
        }
    }
}

#[test]
fn ours_says_which_limit_is_too_low_for_io_uring() {
    if !only_ours("the real nsqd locks no memory") {
        return;
    }
    let data = folder();
    // One shard's ring fits neither; two do not fit into the room for one and a half.
    for (kibibytes, shards) in [(64, 1), (768, 2)] {
        let Some(mut command) = with_locked_memory(kibibytes) else { return };
        command.arg(ours("nsqd")).arg(format!("--shards={shards}"));
        command.args(["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"]);
        command.arg("--data-path").arg(data.path());
        let Ended { status, log, .. } = run(&mut command, b"", LIMIT);
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains("RLIMIT_MEMLOCK"), "{log}");
        assert!(log.contains(&format!("is {kibibytes} KiB and")), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[test]
fn ours_starts_again_at_once_with_just_enough_locked_memory() {
    if !only_ours("the real nsqd locks no memory") {
        return;
    }
    let data = folder();
    for _ in 0..5 {
        // The kernel takes a few milliseconds to give back what the one before had locked.
        let Some(mut command) = with_locked_memory(1_536) else { return };
        command.arg(ours("nsqd")).arg("--shards=2");
        command.args(["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"]);
        command.arg("--data-path").arg(data.path());
        let mut broker = Process::start(&mut command);
        broker.logged("TCP: listening on ");
        // It serves and ends as it is told, or says in one sentence why it cannot.
        let status = broker.terminate();
        let log = broker.whole_log();
        let fatal = log.lines().filter(|line| line.contains("FATAL")).count();
        assert!(fatal <= 1 && !log.contains("panicked"), "{log}");
        assert_eq!(status.code(), Some(i32::from(0 < fatal)), "{log}");
    }
}

/// A command that runs the program added to it with this limit of locked memory, and without the
/// capability that lifts it; `None`, and a word about it, where that cannot be done.
fn with_locked_memory(kibibytes: u32) -> Option<Command> {
    let without_capability = if rustix::process::getuid().is_root() {
        if !Path::new("/usr/bin/setpriv").exists() {
            skipped("setpriv is not installed: root cannot give up CAP_IPC_LOCK");
            return None;
        }
        "setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock"
    } else {
        ""
    };
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -l {kibibytes}; exec {without_capability} \"$@\""));
    command.arg("sh");
    Some(command)
}

#[test]
fn ours_says_that_io_uring_is_forbidden() {
    if !only_ours("the real nsqd uses no io_uring") {
        return;
    }
    if Command::new("python3").arg("--version").output().is_err() {
        return skipped("python3 is not installed: io_uring cannot be forbidden for one process");
    }
    let data = folder();
    let mut command = Command::new("python3");
    command.arg(workspace().join("tests/without_io_uring.py")).arg(ours("nsqd"));
    command.args(["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"]);
    command.arg("--data-path").arg(data.path());
    let Ended { status, log, .. } = run(&mut command, b"", LIMIT);
    assert_eq!(status.code(), Some(1), "{log}");
    let fatal: Vec<_> = log.lines().filter(|line| line.contains("FATAL")).collect();
    assert_eq!(fatal.len(), 1, "{log}");
    assert!(fatal[0].contains("io_uring cannot be used"), "{log}");
    assert!(fatal[0].contains("seccomp"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn ours_knows_the_names_and_pauses_of_a_folder_that_the_real_nsqd_left() {
    if under_test() == Maker::Real || real("nsqd").is_none() {
        return;
    }
    let mut old = Broker::of(Maker::Real, &["--mem-queue-size=10"]);
    for target in [
        "/topic/create?topic=t",
        "/channel/create?topic=t&channel=open",
        "/channel/create?topic=t&channel=shut",
        "/channel/pause?topic=t&channel=shut",
        "/topic/create?topic=paused",
        "/topic/pause?topic=paused",
    ] {
        old.order(target);
    }
    assert_eq!(old.stop().code(), Some(0));
    let mut new = Process::start(nsqd().arg("--data-path").arg(old.folder()));
    let http = new.logged("HTTP: listening on ").trim().parse().expect("an address");
    let stats = tests::http::get(http, "/stats?format=json").json();
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let found: Vec<_> = list(&stats["topics"])
        .iter()
        .map(|topic| {
            let channels = list(&topic["channels"]);
            let channels: Vec<_> = channels
                .iter()
                .map(|channel| json!([channel["channel_name"], channel["paused"]]))
                .collect();
            json!([topic["topic_name"], topic["paused"], channels])
        })
        .collect();
    let expected = json!([["paused", true, []], ["t", false, [["open", false], ["shut", true]]]]);
    assert_eq!(Value::from(found), expected);
}
