//! nsqd's flags: the same names, types and defaults as the real nsqd's, taken from what each program
//! says about itself, and what becomes of those that mean nothing here.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::broker::Broker;
use tests::process::run;
use tests::programs::{only_ours, ours, real, under_test, workspace};

const LIMIT: Duration = Duration::from_secs(60);

/// A flag as a usage text shows it.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    /// `int`, `duration`, ...; nothing for a switch.
    kind: String,
    /// What stands behind `default` in the last parentheses, if anything does.
    default: Option<String>,
}

/// All flags that a program's usage text names.
fn flags_of(program: &Path) -> BTreeMap<String, Shown> {
    let ended = run(Command::new(program).arg("--help"), b"", LIMIT);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let mut flags: BTreeMap<String, Shown> = BTreeMap::new();
    let mut last = String::new();
    for line in ended.log.lines() {
        if let Some(flag) = line.strip_prefix("  -") {
            let (name, kind) = flag.split_once(' ').unwrap_or((flag, ""));
            last = name.to_owned();
            let shown = Shown { kind: kind.to_owned(), default: None };
            assert!(flags.insert(last.clone(), shown).is_none(), "{name} stands there twice");
        } else if let Some((_, default)) = line.rsplit_once("(default ") {
            let flag = flags.get_mut(&last).expect("help stands below its flag");
            flag.default = default.strip_suffix(')').map(str::to_owned);
        }
    }
    flags
}

#[test]
fn every_flag_of_the_real_nsqd_is_there_with_its_type_and_default() {
    let Some(real) = real("nsqd") else { return };
    let (theirs, mut own) = (flags_of(&real), flags_of(&ours("nsqd")));
    assert!(50 <= theirs.len(), "{theirs:?}");
    for (name, flag) in theirs {
        let found = own.remove(&name).unwrap_or_else(|| panic!("--{name} is not there"));
        assert_eq!(found, flag, "--{name}");
    }
    // What is left is ours alone, or newer than 1.3.0.
    let newer =
        ["auth-http-request-method", "topology-region", "topology-zone", "enable-experiment"];
    for name in newer {
        assert!(own.contains_key(name), "--{name} is not there");
    }
}

#[test]
fn every_flag_that_the_real_nsqd_does_not_have_is_in_the_document() {
    let Some(real) = real("nsqd") else { return };
    let document = std::fs::read_to_string(workspace().join("docs/FLAGS.md")).expect("it is there");
    let theirs = flags_of(&real);
    for name in flags_of(&ours("nsqd")).keys().filter(|name| !theirs.contains_key(*name)) {
        assert!(document.contains(&format!("| `--{name}` |")), "--{name} is not in docs/FLAGS.md");
    }
}

#[test]
fn ours_says_in_a_line_what_has_no_effect_when_it_is_set() {
    if !only_ours("the real nsqd scans its queues") {
        return;
    }
    let unset = Broker::start();
    assert!(!unset.process.log().contains("no effect"), "{}", unset.process.log());
    let config = unset.folder().join("nsqd.cfg");
    std::fs::write(&config, "queue_scan_selection_count = 7\n").expect("it can be written");
    let config = format!("--config={}", config.display());
    let set = Broker::with(&["--queue-scan-worker-pool-max=2", &config]);
    let log = set.process.log();
    let document = std::fs::read_to_string(workspace().join("docs/FLAGS.md")).expect("it is there");
    for flag in ["--queue-scan-worker-pool-max", "--queue-scan-selection-count"] {
        let line = format!("INFO: {flag} has no effect: ");
        assert_eq!(log.matches(&line).count(), 1, "{log}");
        assert!(document.contains(&format!("| `{flag}` |")), "{flag} is not in docs/FLAGS.md");
    }
}

/// The file that NSQ ships as an example, by its keys and values.
const EXAMPLE: &str = r#"
    verbose = false
    tcp_address = "127.0.0.1:0"
    http_address = "127.0.0.1:0"
    nsqlookupd_tcp_addresses = []
    http_client_connect_timeout = "2s"
    http_client_request_timeout = "5s"
    mem_queue_size = 10000
    max_bytes_per_file = 104857600
    sync_every = 2500
    sync_timeout = "2s"
    msg_timeout = "60s"
    max_msg_timeout = "15m"
    max_msg_size = 1024768
    max_req_timeout = "1h"
    max_body_size = 5123840
    max_heartbeat_interval = "60s"
    max_rdy_count = 2500
    max_output_buffer_size = 65536
    max_output_buffer_timeout = "1s"
    statsd_prefix = "nsq.%s"
    statsd_interval = "60s"
    statsd_mem_stats = true
    statsd_udp_packet_size = 508
    e2e_processing_latency_percentiles = [ 1.0, 0.99, 0.95, 0.5 ]
    e2e_processing_latency_window_time = "10m"
    tls_cert = ""
    tls_key = ""
    tls_client_auth_policy = ""
    tls_required = false
    tls_root_ca_file = ""
    deflate = true
    max_deflate_level = 6
    snappy = true
"#;

#[test]
fn the_example_file_of_nsq_is_taken() {
    let folder = tempfile::TempDir::new().expect("the temporary folder can be written");
    let file = folder.path().join("nsqd.cfg");
    std::fs::write(&file, EXAMPLE).expect("it can be written");
    let mut command = Command::new(under_test().program("nsqd"));
    command.arg(format!("--config={}", file.display()));
    command.arg(format!("--data-path={}", folder.path().display()));
    let mut process = tests::process::Process::start(&mut command);
    process.logged("TCP: listening on 127.0.0.1:");
    assert_eq!(process.terminate().code(), Some(0), "{}", process.log());
}

#[test]
fn bad_values_of_a_file_end_the_start_and_name_their_key() {
    let folder = tempfile::TempDir::new().expect("the temporary folder can be written");
    let file = folder.path().join("nsqd.cfg");
    for (text, key) in [
        ("tls_required = \"perhaps\"", "tls"),
        ("tls_min_version = \"ssl3.0\"", "tls"),
        ("log_level = \"loud\"", "log"),
        ("msg_timeout = \"5x\"", "5x"),
    ] {
        std::fs::write(&file, text).expect("it can be written");
        let mut command = Command::new(under_test().program("nsqd"));
        command.arg(format!("--config={}", file.display()));
        command.arg(format!("--data-path={}", folder.path().display()));
        let ended = run(&mut command, b"", LIMIT);
        assert_eq!(ended.status.code(), Some(1), "{text}: {}", ended.log);
        assert!(ended.log.contains(key), "{text}: {}", ended.log);
    }
}

#[test]
fn a_deprecated_switch_is_no_number() {
    for flag in ["--worker-id=7", "--verbose=x", "--tls-required=perhaps", "--statsd-mem-stats=x"] {
        let ended = run(Command::new(under_test().program("nsqd")).arg(flag), b"", LIMIT);
        assert_eq!(ended.status.code(), Some(2), "{flag}: {}", ended.log);
    }
}
