//! How the program starts, ends, and says so.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "a test may block")]

mod support;

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;

use rustix::process::Signal;
use support::{Lookupd, program};

/// Exit code, standard output and standard error of a run that ends by itself.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = program().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_version_goes_to_standard_output() {
    let (code, stdout, stderr) = run(&["-version"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with("nsqlookupd v1.3.0 (built w/ringnsq"), "{stdout}");
    assert!(stdout.ends_with(")\n"));
}

#[test]
fn help_is_asked_for_and_misuse_is_not() {
    let (code, stdout, usage) = run(&["--help"]);
    assert_eq!((code, stdout.as_str()), (0, ""));
    for line in [
        "Usage of nsqlookupd:\n  -broadcast-address string\n    \taddress of this lookupd node,",
        "\n  -inactive-producer-timeout duration\n    \tduration of time a producer will remain in \
         the active list since its last ping (default 5m0s)\n",
        "\n  -log-prefix string\n    \tlog message prefix (default \"[nsqlookupd] \")\n",
        "\n  -verbose\n    \t[deprecated] has no effect, use --log-level\n",
    ] {
        assert!(usage.contains(line), "{line:?} is not in {usage}");
    }
    let misuse = format!("flag provided but not defined: -bogus\n{usage}");
    assert_eq!(run(&["--bogus"]), (2, String::new(), misuse));
}

#[test]
fn an_address_in_use_is_fatal() {
    let lookupd = Lookupd::start();
    let flag = format!("--tcp-address={}", lookupd.tcp);
    let (code, _, log) = run(&[&flag, "--http-address=127.0.0.1:0"]);
    let text = format!(
        " FATAL: failed to instantiate nsqlookupd - listen ({0}) failed - listen tcp {0}: \
         bind: address already in use",
        lookupd.tcp
    );
    assert!(code == 1 && log.contains(&text), "{log}");
    assert!(log.lines().last().unwrap().starts_with("[nsqlookupd] "));
}

#[test]
fn a_config_file_stands_behind_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nsqlookupd.cfg");
    let text = "tcp_address = \"192.0.2.1:1\"\nhttp_address = \"127.0.0.1:0\"\n\
                broadcast_address = \"unused\"\ninactive_producer_timeout = 0\n";
    File::create(&file).unwrap().write_all(text.as_bytes()).unwrap();
    let flag = format!("--config={}", file.display());
    let lookupd = Lookupd::start_with(&["--tcp-address=127.0.0.1:0", &flag]);
    assert!(lookupd.http.ip().is_loopback());
    let _producer = lookupd.connect_producer("ann");
    assert_eq!(lookupd.ask("GET", "/nodes").1, r#"{"producers":[]}"#, "inactive at once");
}

#[test]
fn a_config_file_that_cannot_be_used_is_fatal() {
    let (code, _, log) = run(&["--config=/does/not/exist"]);
    assert!(code == 1 && log.contains("FATAL: failed to load config file /does/not/exist - "));
}

#[test]
fn interrupt_and_terminate_end_it_well_while_clients_are_connected() {
    for signal in [Signal::INT, Signal::TERM] {
        let lookupd = Lookupd::start();
        let _producer = lookupd.connect_producer("ann");
        let _idle = lookupd.connect_http();
        let (tcp, http) = (lookupd.tcp, lookupd.http);
        let (status, log) = lookupd.end_with(signal);
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains(&format!("INFO: TCP: closing {tcp}\n")), "{log}");
        assert!(log.contains(&format!("INFO: HTTP: closing {http}\n")), "{log}");
    }
}

#[test]
fn more_connections_than_the_soft_limit_of_files_are_served() {
    let lookupd = Lookupd::start_under("ulimit -Sn 40");
    let producers: Vec<_> = (0..60).map(|_| lookupd.connect_producer("ann")).collect();
    let (status, nodes) = lookupd.ask("GET", "/nodes");
    assert_eq!((status, nodes.matches("remote_address").count()), (200, producers.len()));
}

#[test]
fn quit_says_what_runs_and_ends_with_status_2_and_hangup_kills() {
    let (status, log) = Lookupd::start().end_with(Signal::QUIT);
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains("SIGQUIT: quit\n\nthreadcreate profile: total "), "{log}");
    let (status, _) = Lookupd::start().end_with(Signal::HUP);
    assert_eq!(status.signal(), Some(Signal::HUP.as_raw()));
}

#[test]
fn all_addresses_means_both_families_and_an_ipv4_peer_is_shown_as_such() {
    let mut lookupd =
        Lookupd::start_with(&["--tcp-address=0.0.0.0:0", "--http-address", ":0", "--log-prefix="]);
    lookupd.tcp = SocketAddr::from(([127, 0, 0, 1], lookupd.tcp.port()));
    lookupd.http = SocketAddr::from(([127, 0, 0, 1], lookupd.http.port()));
    let producer = lookupd.connect_producer("ann");
    let line = lookupd.wait_for_log("new client");
    assert!(line.ends_with(&format!(" INFO: TCP: new client({})", producer.address())), "{line}");
    assert!(line.starts_with("20"), "without a prefix the date comes first: {line}");
    assert!(lookupd.ask("GET", "/nodes").1.contains(&producer.address().to_string()));
}
