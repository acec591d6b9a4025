//! A broker that listens on Unix sockets: what local clients get, what is said of them, and what
//! becomes of the files.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::client::with_body;
use tests::http::{Answer, answer};
use tests::patience::{SOON, eventually};
use tests::process::{Process, run};
use tests::programs::{Maker, real, under_test};

/// A broker on `tcp` and `http` in a folder of its own.
struct Local {
    process: Process,
    folder: TempDir,
}

fn command(maker: Maker, folder: &Path) -> Command {
    let mut command = Command::new(maker.program("nsqd"));
    let path = |name: &str| folder.join(name).display().to_string();
    command.arg(format!("--tcp-address={}", path("tcp")));
    command.arg(format!("--http-address={}", path("http")));
    command.arg(format!("--data-path={}", folder.display()));
    command
}

impl Local {
    fn start(maker: Maker) -> Self {
        let folder = TempDir::new().expect("the temporary folder can be written");
        let mut process = Process::start(&mut command(maker, folder.path()));
        for (what, name) in [("TCP", "tcp"), ("HTTP", "http")] {
            let path = process.logged(&format!("{what}: listening on "));
            assert_eq!(path, folder.path().join(name).display().to_string());
        }
        Self { process, folder }
    }

    fn connect(&self, name: &str) -> UnixStream {
        let path = self.folder.path().join(name);
        let stream =
            eventually(SOON, "the socket takes connections", || UnixStream::connect(&path).ok());
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit can be set");
        stream
    }

    fn get(&self, target: &str) -> Answer {
        let mut stream = self.connect("http");
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("the broker reads");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("the broker answers");
        answer(&bytes)
    }
}

/// One frame, without its length.
fn frame(stream: &mut UnixStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("a frame has a length");
    let length = usize::try_from(u32::from_be_bytes(length)).expect("a frame is small");
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).expect("a frame is whole");
    frame
}

const OK: &[u8] = b"\0\0\0\0OK";

/// Publishes and consumes, and says what `/stats` and `/info` show meanwhile.
fn what_is_shown(maker: Maker) -> [Value; 3] {
    let broker = Local::start(maker);
    let mut client = broker.connect("tcp");
    client.write_all(b"  V2").expect("the broker reads");
    client.write_all(&with_body("PUB t", b"one")).expect("the broker reads");
    assert_eq!(frame(&mut client), OK);
    client.write_all(b"SUB t c\nRDY 1\n").expect("the broker reads");
    assert_eq!(frame(&mut client), OK);
    let message = frame(&mut client);
    assert_eq!(message[..4], [0, 0, 0, 2]);
    assert_eq!(message[message.len() - 3..], *b"one");
    let stats = broker.get("/stats?format=json").json();
    let shown = &stats["topics"][0]["channels"][0]["clients"][0];
    let client = ["remote_address", "client_id", "hostname", "state", "in_flight_count"]
        .map(|key| shown[key].clone());
    let info = broker.get("/info").json();
    let port = |key: &str| broker.get(&format!("/config/{key}")).text();
    [
        Value::from(client.to_vec()),
        json!([info["tcp_port"], info["http_port"]]),
        json!([port("broadcast_tcp_port"), port("broadcast_http_port")]),
    ]
}

#[test]
fn local_clients_are_served_and_have_no_address() {
    let expected = [json!(["@", "", "", 3, 1]), json!([-1, -1]), json!(["0", "0"])];
    assert_eq!(what_is_shown(under_test()), expected);
    if real("nsqd").is_some() {
        assert_eq!(what_is_shown(Maker::Real), expected, "of the real one");
    }
}

#[test]
fn the_files_go_with_the_broker_and_one_that_is_left_is_named() {
    let mut broker = Local::start(under_test());
    let files = ["tcp", "http"].map(|name| broker.folder.path().join(name));
    assert!(files.iter().all(|file| file.exists()));
    assert_eq!(broker.process.terminate().code(), Some(0), "{}", broker.process.log());
    assert!(!files.iter().any(|file| file.exists()), "{}", broker.process.log());
    std::fs::write(&files[0], "").expect("the folder can be written");
    let ended = run(&mut command(under_test(), broker.folder.path()), b"", Duration::from_secs(20));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    let path = files[0].display();
    let reason =
        format!("listen ({path}) failed - listen unix {path}: bind: address already in use");
    assert!(ended.log.contains(&reason), "{}", ended.log);
    assert!(files[0].exists(), "what is not the broker's own stays");
}
