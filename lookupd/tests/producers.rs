//! What an nsqd sees of nsqlookupd's TCP side.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use support::{Lookupd, identify, identity};

#[test]
fn a_producer_is_answered_byte_by_byte() {
    let lookupd = Lookupd::start();
    let mut producer = lookupd.connect_tcp();
    producer.send(b"  V1PING\n");
    assert_eq!(producer.bytes(6), b"\x00\x00\x00\x02OK", "a ping needs no introduction");
    producer.send(&identify(&identity("ann")));
    let hostname =
        String::from_utf8_lossy(rustix::system::uname().nodename().to_bytes()).into_owned();
    let answer = format!(
        r#"{{"broadcast_address":"lookup.test","hostname":"{hostname}","http_port":{},"tcp_port":{},"version":"1.3.0"}}"#,
        lookupd.http.port(),
        lookupd.tcp.port(),
    );
    assert_eq!(String::from_utf8(producer.answer()).unwrap(), answer);
    for line in ["REGISTER t c\n", "REGISTER t\r\n", "UNREGISTER t c\n", "UNREGISTER u\n", "PING\n"]
    {
        assert_eq!(producer.command(line), "OK", "{line:?}");
    }
}

#[test]
fn commands_may_come_in_one_piece_or_byte_by_byte() {
    let lookupd = Lookupd::start();
    let mut bytes = b"  V1".to_vec();
    bytes.extend_from_slice(&identify(&identity("ann")));
    bytes.extend_from_slice(b"REGISTER t c\nPING\n");
    let mut at_once = lookupd.connect_tcp();
    at_once.send(&bytes);
    let mut slowly = lookupd.connect_tcp();
    for byte in bytes {
        slowly.send(&[byte]);
    }
    for mut producer in [at_once, slowly] {
        assert_eq!(producer.answer()[..2], *b"{\"");
        assert_eq!((producer.answer(), producer.answer()), (b"OK".to_vec(), b"OK".to_vec()));
    }
}

#[test]
fn many_commands_without_reading_are_all_answered() {
    const COUNT: usize = 20_000;
    let lookupd = Lookupd::start();
    // Nothing is logged for a ping before IDENTIFY, so that the log needs no reader.
    let mut producer = lookupd.connect_tcp();
    producer.send(b"  V1");
    producer.send(&b"PING\n".repeat(COUNT));
    assert_eq!(producer.bytes(6 * COUNT), b"\x00\x00\x00\x02OK".repeat(COUNT));
}

#[test]
fn a_refused_producer_reads_why_and_is_closed_and_others_go_on() {
    let lookupd = Lookupd::start();
    let mut other = lookupd.connect_producer("bob");
    assert_eq!(other.command("REGISTER t\n"), "OK");
    let identified = |line: &[u8]| [b"  V1", &identify(&identity("ann"))[..], line].concat();
    let huge = [&b"  V1IDENTIFY\n\x7f\xff\xff\xff"[..], &[b'x'; 100_000]].concat();
    for (bytes, text) in [
        (b"  V2".to_vec(), "E_BAD_PROTOCOL"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "E_BAD_PROTOCOL"),
        (b"  V1FOO bar\n".to_vec(), "E_INVALID invalid command FOO"),
        (b"  V1REGISTER t\n".to_vec(), "E_INVALID client must IDENTIFY"),
        (
            b"  V1IDENTIFY\n\xff\xff\xff\xff".to_vec(),
            "E_BAD_BODY IDENTIFY failed to read body size",
        ),
        (huge, "E_BAD_BODY IDENTIFY failed to read body size"),
        (b"  V1IDENTIFY\n\0\0\0\x02{]".to_vec(), "E_BAD_BODY IDENTIFY failed to decode JSON body"),
        (b"  V1IDENTIFY\n\0\0\0\x02{}".to_vec(), "E_BAD_BODY IDENTIFY missing fields"),
        ([&b"  V1"[..], &[b'x'; 100_000]].concat(), "E_INVALID command line is too long"),
        (identified(b"IDENTIFY\n"), "E_INVALID cannot IDENTIFY again"),
        (identified(b"REGISTER\n"), "E_INVALID REGISTER insufficient number of params"),
        (identified(b"REGISTER bad*\n"), "E_BAD_TOPIC REGISTER topic name 'bad*' is not valid"),
        (
            identified(b"UNREGISTER t bad*\n"),
            "E_BAD_CHANNEL UNREGISTER channel name 'bad*' is not valid",
        ),
    ] {
        let mut producer = lookupd.connect_tcp();
        producer.send(&bytes);
        let rest = String::from_utf8(producer.rest()).unwrap();
        assert!(rest.ends_with(text), "{rest:?} does not end in {text:?}");
    }
    assert_eq!(other.command("PING\n"), "OK");
    let (_, lookup) = lookupd.ask("GET", "/lookup?topic=t");
    assert!(lookup.contains(r#""broadcast_address":"bob""#), "{lookup}");
}

#[test]
fn an_end_inside_identify_is_answered() {
    let lookupd = Lookupd::start();
    for (bytes, text) in [
        (&b"  V1IDENTIFY\n\0\0"[..], "E_BAD_BODY IDENTIFY failed to read body size"),
        (b"  V1IDENTIFY\n\0\0\0\x05{", "E_BAD_BODY IDENTIFY failed to read body"),
        (b"  V1IDENTI", ""),
        (b"  ", ""),
    ] {
        let mut producer = lookupd.connect_tcp();
        producer.send(bytes);
        producer.finish_sending();
        let rest = String::from_utf8(producer.rest()).unwrap();
        assert_eq!(rest.get(4..).unwrap_or_default(), text);
    }
}

#[test]
fn a_producer_that_leaves_is_forgotten_and_its_names_stay() {
    let mut lookupd = Lookupd::start();
    let mut producer = lookupd.connect_producer("ann");
    let peer = producer.address();
    assert_eq!(producer.command("REGISTER t c#ephemeral\n"), "OK");
    let producers = format!(
        r#""producers":[{{"remote_address":"{peer}","hostname":"h","broadcast_address":"ann","tcp_port":4150,"http_port":4151,"version":"1.3.0","topology_zone":"z","topology_region":"r"}}]"#
    );
    let whole = format!(r#"{{"channels":["c#ephemeral"],{producers}}}"#);
    assert_eq!(lookupd.ask("GET", "/lookup?topic=t"), (200, whole));
    drop(producer);
    lookupd.wait_for_log(&format!("DB: client({peer}) UNREGISTER category:channel key:t"));
    let empty = r#"{"channels":["c#ephemeral"],"producers":[]}"#;
    assert_eq!(lookupd.ask("GET", "/lookup?topic=t"), (200, empty.to_owned()));
    assert_eq!(lookupd.ask("GET", "/nodes"), (200, r#"{"producers":[]}"#.to_owned()));
}

#[test]
fn a_silent_producer_is_hidden_after_the_timeout() {
    let lookupd = Lookupd::start_with(&[
        "-tcp-address=127.0.0.1:0",
        "-http-address=127.0.0.1:0",
        "-inactive-producer-timeout=0",
    ]);
    let mut producer = lookupd.connect_producer("ann");
    assert_eq!(producer.command("REGISTER t\n"), "OK");
    let empty = r#"{"channels":[],"producers":[]}"#;
    assert_eq!(lookupd.ask("GET", "/lookup?topic=t"), (200, empty.to_owned()));
}
