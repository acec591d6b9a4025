//! One connection of a case, to the TCP or the HTTP port, and what is seen on it next.
//!
//! Knows how frames and HTTP answers are cut from bytes, and shows each as lines of text; what they
//! mean, it does not know.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustls::ClientConnection;

use crate::conformance::bytes::shown;
use crate::layers::Layers;
use crate::patience::SOON;

/// Larger than any frame that a broker may send in a case.
const FRAME_MAX: usize = 16 << 20;

/// How the bytes that come are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// Frames: size, type, data.
    Frames,
    /// HTTP answers.
    Http,
}

/// What may lie between frames and the socket.
#[derive(Debug)]
pub(super) enum Layer {
    /// TLS, whose handshake is still to come.
    Tls(Box<ClientConnection>),
    /// Snappy, inside TLS if that is there.
    Snappy,
    /// Deflate, inside TLS if that is there.
    Deflate,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    speech: Speech,
    layers: Layers,
    /// What came and is out of its layers.
    unread: Vec<u8>,
    ended: bool,
    /// For each request that has no answer yet: whether it was a HEAD, whose answer has no body.
    heads: VecDeque<bool>,
    /// The ids of the messages that came.
    pub ids: Vec<String>,
}

impl Wire {
    /// Connects, and sends nothing.
    pub(super) fn open(address: SocketAddr, speech: Speech) -> Self {
        let stream = TcpStream::connect_timeout(&address, SOON).expect("the broker accepts");
        stream.set_nodelay(true).expect("a socket option can be set");
        stream.set_write_timeout(Some(SOON)).expect("a limit can be set");
        let (unread, heads, ids) = (Vec::new(), VecDeque::new(), Vec::new());
        let layers = Layers::default();
        Self { stream, speech, layers, unread, ended: false, heads, ids }
    }

    /// Sends bytes. A broker that has closed does not take them, and shows that when it is read.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        if self.speech == Speech::Http {
            let methods = [&b"GET "[..], b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS "];
            if methods.iter().any(|method| bytes.starts_with(method)) {
                self.heads.push_back(bytes.starts_with(b"HEAD "));
            }
        }
        let sealed = self.layers.seal(bytes);
        drop(self.stream.write_all(&sealed));
    }

    /// From here on everything goes through this layer.
    pub(super) fn begin(&mut self, layer: Layer) {
        match layer {
            Layer::Snappy => self.layers.begin_snappy(),
            Layer::Deflate => self.layers.begin_deflate(),
            Layer::Tls(mut tls) => {
                assert!(self.unread.is_empty(), "the broker waits for the handshake");
                self.stream.set_read_timeout(Some(SOON)).expect("a limit can be set");
                while tls.is_handshaking() {
                    tls.complete_io(&mut self.stream).expect("the broker shakes hands");
                }
                while tls.wants_write() {
                    tls.write_tls(&mut self.stream).expect("the broker shakes hands");
                }
                // What came behind the handshake may be in the library's buffer already.
                let state = tls.process_new_packets().expect("the broker speaks TLS");
                let mut opened = vec![0; state.plaintext_bytes_to_read()];
                tls.reader().read_exact(&mut opened).expect("it is there");
                self.unread = opened;
                self.layers.begin_tls(*tls);
                return;
            }
        }
        // What came behind the answer that agreed to it.
        let came = std::mem::take(&mut self.unread);
        self.unread = self.layers.open_inside(&came);
    }

    /// Ends this side of the stream.
    pub(super) fn half_close(&mut self) {
        // The other side may have closed already, and shows that when it is read.
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// What is seen next, as lines: one for a frame, many for an HTTP answer.
    pub(super) fn see(&mut self, limit: Duration) -> Vec<String> {
        let end = Instant::now() + limit;
        loop {
            let whole = match self.speech {
                Speech::Frames => self.frame(),
                Speech::Http => self.answer(),
            };
            if let Some(lines) = whole {
                return lines;
            }
            if self.ended {
                let torn = std::mem::take(&mut self.unread);
                let torn = (!torn.is_empty()).then(|| format!("torn {}", shown(&torn)));
                return vec![torn.unwrap_or_else(|| "closed".into())];
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let part = (!self.unread.is_empty()).then(|| shown(&self.unread));
                return vec![part.map_or_else(|| "nothing".into(), |part| format!("part {part}"))];
            }
            self.read(left);
        }
    }

    fn read(&mut self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).expect("a limit can be set");
        let mut bytes = [0; 65536];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.ended = true,
            Ok(count) => match self.layers.open(&bytes[..count]) {
                Ok(plain) => self.unread.extend(plain),
                Err(_) => self.ended = true,
            },
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            // A broker that closes with bytes of ours unread resets the connection.
            Err(_) => self.ended = true,
        }
    }

    fn frame(&mut self) -> Option<Vec<String>> {
        let size = usize::try_from(number(self.unread.get(..4)?)).expect("32 bits fit");
        if !(4..FRAME_MAX).contains(&size) {
            return None;
        }
        let frame = self.unread.get(4..4 + size)?.to_vec();
        self.unread.drain(..4 + size);
        let data = &frame[4..];
        let line = match number(&frame) {
            0 => format!("response {}", shown(data)),
            1 => format!("error {}", shown(data)),
            2 if 26 <= data.len() => self.message(data),
            kind => format!("frame of type {kind}: {}", shown(data)),
        };
        Some(vec![line])
    }

    fn message(&mut self, data: &[u8]) -> String {
        let attempts = u16::from_be_bytes([data[8], data[9]]);
        let id = String::from_utf8_lossy(&data[10..26]).into_owned();
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let odd = if id.bytes().all(hexadecimal) { "" } else { "with an odd id " };
        self.ids.push(id);
        format!("message {attempts} {odd}{}", shown(&data[26..]))
    }

    fn answer(&mut self) -> Option<Vec<String>> {
        let end = self.unread.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        let status = head.split(' ').nth(1).unwrap_or_default();
        let is_interim = status.starts_with('1');
        let is_head = self.heads.front().copied().unwrap_or_default();
        let (body, taken) = if is_interim || is_head || status == "204" || status == "304" {
            (Vec::new(), end)
        } else {
            self.body(&head, end)?
        };
        self.unread.drain(..taken);
        if !is_interim {
            self.heads.pop_front();
        }
        let mut lines: Vec<_> = head.trim_end().split("\r\n").map(str::to_owned).collect();
        if !body.is_empty() {
            lines.push(String::new());
            let body = body.split(|&byte| byte == b'\n');
            lines.extend(body.map(shown));
        }
        Some(lines)
    }

    /// The body behind a head that ends at `begin`, and where it ends.
    fn body(&self, head: &str, begin: usize) -> Option<(Vec<u8>, usize)> {
        let field = |name: &str| {
            let lines = head.split("\r\n");
            lines.filter_map(|line| line.split_once(": ")).find(|(key, _)| *key == name)
        };
        if field("Transfer-Encoding").is_some() {
            return unchunked(&self.unread, begin);
        }
        let length = match field("Content-Length") {
            Some((_, length)) => length.parse().expect("a length is a number"),
            // It ends with the connection.
            None if self.ended => self.unread.len() - begin,
            None => return None,
        };
        Some((self.unread.get(begin..begin + length)?.to_vec(), begin + length))
    }
}

fn unchunked(bytes: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut body = Vec::new();
    loop {
        let line = bytes[at..].windows(2).position(|pair| pair == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..at + line]).expect("a size is text");
        let size = usize::from_str_radix(size, 16).expect("a size is hexadecimal");
        let begin = at + line + 2;
        body.extend_from_slice(bytes.get(begin..begin + size)?);
        bytes.get(begin + size..begin + size + 2)?;
        at = begin + size + 2;
        if size == 0 {
            return Some((body, at));
        }
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().expect("four bytes were cut"))
}
