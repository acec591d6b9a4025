//! A server that does nothing: it says `OK` to whatever is published, and has a message for whoever
//! finished one. What the generator reaches against it is the most it can show of any broker.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Starts one for the rest of the program.
pub(crate) fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has one");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Until the connection ends, however it does.
fn serve(mut stream: TcpStream) {
    drop(stream.set_nodelay(true));
    let message = message();
    let (mut piece, mut input, mut output) = (vec![0; 256 << 10], Vec::new(), Vec::new());
    let mut is_greeted = false;
    while let Ok(count) = stream.read(&mut piece) {
        if count == 0 {
            return;
        }
        input.extend_from_slice(&piece[..count]);
        let mut at = 0;
        if !is_greeted && 4 <= input.len() {
            (is_greeted, at) = (true, 4);
        }
        output.clear();
        while let Some(length) = command(&input[at..], &message, &mut output) {
            at += length;
        }
        input.drain(..at);
        if stream.write_all(&output).is_err() {
            return;
        }
    }
}

/// Answers the first command; how long it was, or `None` while it is not whole.
fn command(bytes: &[u8], message: &[u8], output: &mut Vec<u8>) -> Option<usize> {
    let line = bytes.iter().take(128).position(|byte| *byte == b'\n')? + 1;
    if bytes.starts_with(b"FIN ") {
        output.extend_from_slice(message);
        return Some(line);
    }
    if let Some(count) = bytes.strip_prefix(b"RDY ") {
        let digits = &count[..line - 5];
        let count = std::str::from_utf8(digits).ok()?.parse().ok()?;
        (0..count).for_each(|_: u32| output.extend_from_slice(message));
        return Some(line);
    }
    let length = if bytes.starts_with(b"SUB ") {
        line
    } else {
        let size = u32::from_be_bytes(*bytes[line..].first_chunk()?);
        line + 4 + usize::try_from(size).ok()?
    };
    if bytes.len() < length {
        return None;
    }
    output.extend_from_slice(b"\0\0\0\x06\0\0\0\0OK");
    Some(length)
}

/// A message of 200 bytes.
fn message() -> Vec<u8> {
    let mut message = (4_u32 + 8 + 2 + 16 + 200).to_be_bytes().to_vec();
    message.extend([0, 0, 0, 2]);
    message.extend([0; 8]);
    message.extend([0, 1]);
    message.extend([b'0'; 16]);
    message.resize(message.len() + 200, b'.');
    message
}
