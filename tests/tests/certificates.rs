//! The broker's own certificate, key and authority files, and OpenSSL's client on both ports: which
//! versions, suites and certificates of clients are taken.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tests::broker::Broker;
use tests::client::{MAGIC, with_body};
use tests::layers::Certificates;
use tests::patience::SOON;
use tests::process::run;
use tests::programs::{Maker, only_ours, skipped, under_test};
use tests::relay::Relay;

/// Whether OpenSSL's program is there; else says that it is missing.
fn has_openssl() -> bool {
    let is_there = Command::new("openssl").arg("version").output().is_ok();
    if !is_there {
        skipped("openssl is not installed");
    }
    is_there
}

/// Has OpenSSL make something in `folder`.
fn openssl(folder: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    command.current_dir(folder).args(arguments.split(' '));
    let ended = run(&mut command, b"", SOON * 6);
    assert!(ended.status.success(), "openssl {arguments}: {}", ended.log);
}

/// A broker and the ways to its TLS: the HTTPS port, and the TCP port behind IDENTIFY.
struct Ways {
    broker: Broker,
    ports: [(&'static str, SocketAddr); 2],
    _relay: Relay,
}

fn ways(flags: &[String], more: &[&str]) -> Ways {
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let mut broker = Broker::with(&flags);
    let https = broker.process.logged("HTTPS: listening on ");
    let https = https.trim().parse().expect("the log names an address");
    let wish = br#"{"feature_negotiation":true,"tls_v1":true}"#;
    let relay = Relay::behind(broker.tcp, &[MAGIC, &with_body("IDENTIFY", wish)].concat());
    let ports = [("HTTPS", https), ("TCP", relay.address)];
    Ways { broker, ports, _relay: relay }
}

/// In the place of seconds.
const UNTIL_THE_END: &str = "until the other side ends it";

/// What OpenSSL's client says when it connects: `Ok` with the version and suite, or `Err` with all
/// of it.
fn connect(to: SocketAddr, arguments: &[&str]) -> Result<String, String> {
    connect_for(to, arguments, "0.1")
}

/// The same, and stays for so many seconds, or until the other side ends it: with TLS 1.3 an alert about
/// the client's certificate comes behind a handshake that the client thinks is over.
fn connect_for(to: SocketAddr, arguments: &[&str], seconds: &str) -> Result<String, String> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &to.to_string(), "-servername", "localhost"]);
    command.args(arguments);
    let mut shell = Command::new("sh");
    let mut words = match seconds {
        UNTIL_THE_END => {
            command.arg("-ign_eof");
            Vec::new()
        }
        seconds => vec![format!("(sleep {seconds}; echo Q) | ")],
    };
    for word in std::iter::once(command.get_program()).chain(command.get_args()) {
        words.push(format!("'{}' ", word.to_string_lossy()));
    }
    shell.arg("-c").arg(words.concat());
    let ended = run(&mut shell, b"", SOON);
    let said = format!("{}\n{}", ended.output.join("\n"), ended.log);
    let agreed = said.lines().find_map(|line| {
        let (_, suite) = line.split_once("Cipher is ")?;
        (suite != "(NONE)").then(|| line.trim_start_matches("New, ").to_owned())
    });
    match agreed {
        Some(agreed) if !said.contains(" alert ") => Ok(agreed),
        _ => Err(said),
    }
}

const NAMES: [(&str, &str); 4] =
    [("tls1.0", "-tls1"), ("tls1.1", "-tls1_1"), ("tls1.2", "-tls1_2"), ("tls1.3", "-tls1_3")];

#[test]
fn versions_are_taken_as_configured_and_none_below_1_2() {
    if !has_openssl() {
        return;
    }
    let certificates = Certificates::new();
    for (least, (name, _)) in NAMES.iter().enumerate() {
        let ways = ways(&certificates.flags(), &[&format!("--tls-min-version={name}")]);
        let least = if under_test() == Maker::Ours { least.max(2) } else { least };
        for (port, address) in ways.ports {
            for (number, (version, flag)) in NAMES.iter().enumerate() {
                let connected = connect(address, &[flag, "-cipher", "DEFAULT@SECLEVEL=0"]);
                assert_eq!(
                    connected.is_ok(),
                    least <= number,
                    "{version} on {port} with --tls-min-version={name}: {connected:?}"
                );
            }
        }
        assert_eq!(ways.broker.get("/ping").status, 200);
    }
}

#[test]
fn old_cipher_suites_are_refused_and_taken_in_nsq() {
    if !has_openssl() {
        return;
    }
    let certificates = Certificates::new();
    let ways = ways(&certificates.flags(), &[]);
    for (port, address) in ways.ports {
        for suite in ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"] {
            let connected = connect(address, &["-tls1_2", "-cipher", suite]);
            assert!(connected.is_ok(), "{suite} on {port}: {connected:?}");
        }
        let old = connect(address, &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA@SECLEVEL=0"]);
        assert_eq!(old.is_ok(), under_test() == Maker::Real, "{port}: {old:?}");
        let none = connect(address, &["-tls1_2", "-cipher", "AES128-SHA@SECLEVEL=0"]);
        assert!(none.is_err(), "{port}: {none:?}");
    }
}

#[test]
fn a_renegotiation_is_refused_and_holds_up_nobody() {
    if !has_openssl() {
        return;
    }
    let certificates = Certificates::new();
    let ways = ways(&certificates.flags(), &[]);
    for (port, address) in ways.ports {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!(
            "(sleep 2; echo R; sleep 1; echo R; sleep 1; echo R; sleep 2; echo Q) | \
             openssl s_client -tls1_2 -connect {address}"
        ));
        let ended = run(&mut shell, b"", SOON);
        assert!(ended.log.contains("RENEGOTIATING"), "{port}: {}", ended.log);
        let alert = match under_test() {
            Maker::Ours => "no renegotiation",
            Maker::Real => "alert unexpected message",
        };
        assert!(ended.log.contains(alert), "{port}: {}", ended.log);
        ways.broker.client().works();
    }
}

#[test]
fn openssl_has_to_show_a_certificate_as_the_policy_says() {
    if !has_openssl() {
        return;
    }
    let certificates = Certificates::new();
    let file = |name: &str| certificates.file(name).display().to_string();
    let root = format!("--tls-root-ca-file={}", file("ca.pem"));
    let none: Vec<String> = Vec::new();
    let pair = |name: &str| {
        let (cert, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
        vec!["-cert".to_owned(), cert, "-key".to_owned(), key]
    };
    let cases = [("require", [false, true, true]), ("require-verify", [false, true, false])];
    for (policy, expected) in cases {
        let ways =
            ways(&certificates.flags(), &[&format!("--tls-client-auth-policy={policy}"), &root]);
        for (port, address) in ways.ports {
            let shown = [none.clone(), pair("client"), pair("stranger")];
            for (arguments, expected) in shown.iter().zip(expected) {
                for (version, seconds) in [("-tls1_2", "0.1"), ("-tls1_3", "1.5")] {
                    let seconds = if expected { seconds } else { UNTIL_THE_END };
                    let mut all: Vec<&str> = vec![version];
                    all.extend(arguments.iter().map(String::as_str));
                    let connected = connect_for(address, &all, seconds);
                    assert_eq!(
                        connected.is_ok(),
                        expected,
                        "{policy} on {port}, {all:?}: {connected:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn certificates_and_keys_of_all_kinds_are_taken() {
    if !has_openssl() {
        return;
    }
    let folder = TempDir::new().expect("the temporary folder can be written");
    let at = folder.path();
    for (name, key, sign) in [
        ("rsa-2048", "genrsa -traditional -out rsa-2048.key 2048", "-sha256 -days 30"),
        ("rsa-4096", "genrsa -out rsa-4096.key 4096", "-sha256 -days 30"),
        ("sha-1", "genrsa -traditional -out sha-1.key 2048", "-sha1 -days 30"),
        // A day that was over long ago cannot be named here, but one with no length can.
        ("expired", "genrsa -out expired.key 2048", "-sha256 -days -1"),
        ("curve", "ecparam -genkey -noout -name prime256v1 -out curve.key", "-sha256 -days 30"),
        ("ed25519", "genpkey -algorithm ED25519 -out ed25519.key", "-days 30"),
    ] {
        openssl(at, key);
        openssl(at, &format!("req -new -key {name}.key -subj /CN=localhost -out {name}.csr"));
        // A leaf that says that it is an authority.
        fs::write(at.join("ca.ext"), "basicConstraints=CA:TRUE\n").expect("it can be written");
        openssl(
            at,
            &format!(
                "x509 -req -in {name}.csr -key {name}.key {sign} -extfile ca.ext -out {name}.pem"
            ),
        );
        let file = |end: &str| at.join(format!("{name}.{end}")).display().to_string();
        let flags = vec![
            format!("--tls-cert={}", file("pem")),
            format!("--tls-key={}", file("key")),
            // An authority of whatever age and kind, too.
            format!("--tls-root-ca-file={}", file("pem")),
            "--https-address=127.0.0.1:0".to_owned(),
        ];
        let ways = ways(&flags, &[]);
        for (port, address) in ways.ports {
            for version in ["-tls1_2", "-tls1_3"] {
                let connected = connect(address, &[version, "-cipher", "DEFAULT@SECLEVEL=0"]);
                assert!(connected.is_ok(), "{name} by {version} on {port}: {connected:?}");
            }
        }
    }
}

/// The last line of the log of a broker that does not start with these flags.
fn refused(flags: &[&str]) -> String {
    let folder = TempDir::new().expect("the temporary folder can be written");
    let mut command = Command::new(under_test().program("nsqd"));
    command
        .args(["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"])
        .arg(format!("--data-path={}", folder.path().display()))
        .args(flags);
    let ended = run(&mut command, b"", SOON);
    assert_eq!(ended.status.code(), Some(1), "{flags:?}: {}", ended.log);
    ended.log.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn tls_that_cannot_be_had_ends_the_start_in_nsqs_words() {
    let certificates = Certificates::new();
    let file = |name: &str| certificates.file(name).display().to_string();
    let cert = format!("--tls-cert={}", file("server.pem"));
    let key = format!("--tls-key={}", file("server.key"));
    let missing = "cannot require TLS client connections without TLS key and cert";
    let other = format!("--tls-key={}", file("client.key"));
    let mismatch = "tls: private key does not match public key";
    for (flags, reason) in [
        (&["--tls-required"][..], missing),
        (&["--tls-required=tcp-https"], missing),
        (&["--tls-client-auth-policy=require"], missing),
        (&[&cert], "failed to build TLS config - open : no such file or directory"),
        (&[&key], "failed to build TLS config - open : no such file or directory"),
        (
            &[&cert, "--tls-key=/nowhere/at.all"],
            "failed to build TLS config - open /nowhere/at.all: no such file or directory",
        ),
        (
            &[&cert, &key, "--tls-root-ca-file=/nowhere/at.all"],
            "failed to build TLS config - open /nowhere/at.all: no such file or directory",
        ),
        (&[&cert, &other], mismatch),
    ] {
        let said = refused(flags);
        assert!(said.contains("FATAL: failed to instantiate nsqd - "), "{said}");
        assert!(said.ends_with(reason), "{flags:?}: {said}");
    }
}

#[test]
fn ours_names_the_file_that_cannot_be_used() {
    if !only_ours("the real nsqd says only what is wrong") {
        return;
    }
    let certificates = Certificates::new();
    let file = |name: &str| certificates.file(name).display().to_string();
    let (cert, key) = (file("server.pem"), file("server.key"));
    let empty = file("empty.pem");
    fs::write(&empty, "no certificate\n").expect("it can be written");
    let broken = file("broken.pem");
    fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n")
        .expect("it can be written");
    for (cert, key, root, named, reason) in [
        (&empty, &key, None, &empty, "tls: failed to find any PEM data in certificate input"),
        (&broken, &key, None, &broken, ""),
        (&cert, &cert, None, &cert, "tls: failed to find any PEM data in key input"),
        (&cert, &key, Some(&empty), &empty, "failed to append certificate to pool"),
        (&cert, &key, Some(&key), &key, "failed to append certificate to pool"),
    ] {
        let mut flags = vec![format!("--tls-cert={cert}"), format!("--tls-key={key}")];
        flags.extend(root.map(|root| format!("--tls-root-ca-file={root}")));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let said = refused(&flags);
        let expected = format!("failed to build TLS config - {named}: {reason}");
        assert!(said.contains(&expected), "{flags:?}: {said}");
    }
}
