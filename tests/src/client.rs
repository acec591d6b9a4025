//! A client of the V2 protocol that hides nothing: it sends what it is told and shows every frame.
//!
//! Knows the framing and the answer to a heartbeat; rules about commands stand in the tests.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustls::ClientConnection;

use crate::layers::Layers;
use crate::patience::SOON;

/// What begins a V2 connection.
pub const MAGIC: &[u8] = b"  V2";

/// A message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Nanoseconds since 1970 at which the broker took the message.
    pub timestamp: i64,
    /// Deliveries so far, this one included.
    pub attempts: u16,
    /// The 16 characters by which FIN, REQ and TOUCH name it.
    pub id: String,
    /// What was published.
    pub body: Vec<u8>,
}

impl Message {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One frame from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Type 0: `OK`, `CLOSE_WAIT`, `_heartbeat_`, JSON.
    Response(String),
    /// Type 1: a code and a text.
    Error(String),
    /// Type 2.
    Message(Message),
}

/// What a client sees next.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// A frame, whole.
    Frame(Frame),
    /// Nothing until the end of the time.
    Silence,
    /// The end of the stream.
    Closed,
    /// TLS cannot be followed any further: an alert, most often.
    Broken(String),
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    layers: Layers,
    unread: Vec<u8>,
    wire_bytes: usize,
}

impl Client {
    /// A connection on which nothing has been sent.
    ///
    /// # Panics
    /// When the broker does not accept.
    #[must_use]
    pub fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, SOON).expect("the broker accepts");
        stream.set_nodelay(true).expect("a socket option can be set");
        stream.set_write_timeout(Some(SOON)).expect("a limit can be set");
        Self::over(stream)
    }

    fn over(stream: TcpStream) -> Self {
        Self { stream, layers: Layers::default(), unread: Vec::new(), wire_bytes: 0 }
    }

    /// A connection to a broker that may be gone, and that has sent the magic; `None` when it is.
    ///
    /// # Panics
    /// When a socket option cannot be set.
    #[must_use]
    pub fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&address, SOON).ok()?;
        stream.set_nodelay(true).expect("a socket option can be set");
        stream.set_write_timeout(Some(SOON)).expect("a limit can be set");
        let mut client = Self::over(stream);
        client.try_send(MAGIC);
        Some(client)
    }

    /// A connection that has sent the magic.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        let mut client = Self::silent(address);
        client.send(MAGIC);
        client
    }

    /// A connection that is subscribed, with RDY 0.
    #[must_use]
    pub fn subscribed(address: SocketAddr, topic: &str, channel: &str) -> Self {
        let mut client = Self::connect(address);
        client.subscribe(topic, channel);
        client
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the broker does not take them soon.
    pub fn send(&mut self, bytes: &[u8]) {
        let wire = self.layers.seal(bytes);
        self.stream.write_all(&wire).expect("the broker reads");
    }

    /// Sends bytes outside all layers.
    ///
    /// # Panics
    /// When the broker does not take them soon.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker reads");
    }

    /// How many bytes came off the wire so far, as they came.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        self.wire_bytes
    }

    /// Shakes hands for TLS, and reads the `OK` inside it.
    ///
    /// # Errors
    /// What the library says when it fails.
    pub fn try_tls(&mut self, tls: ClientConnection) -> io::Result<()> {
        self.layers.begin_tls(tls);
        self.stream.set_read_timeout(Some(SOON))?;
        let tls = self.layers.tls().expect("it has just begun");
        while tls.is_handshaking() {
            tls.complete_io(&mut self.stream)?;
        }
        while tls.wants_write() {
            tls.write_tls(&mut self.stream)?;
        }
        // What came behind the handshake may be in the library's buffer already.
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        let mut opened = vec![0; state.plaintext_bytes_to_read()];
        tls.reader().read_exact(&mut opened)?;
        self.unread.extend(opened);
        Ok(())
    }

    /// TLS, and the `OK` inside it.
    ///
    /// # Panics
    /// When it fails.
    pub fn begin_tls(&mut self, tls: ClientConnection) {
        self.try_tls(tls).expect("hands can be shaken");
        self.ok();
    }

    /// Snappy, and the `OK` inside it.
    pub fn begin_snappy(&mut self) {
        self.layers.begin_snappy();
        self.open_unread();
        self.ok();
    }

    /// Deflate, and the `OK` inside it.
    pub fn begin_deflate(&mut self) {
        self.layers.begin_deflate();
        self.open_unread();
        self.ok();
    }

    /// What was read behind the last frame is in the compression that has just begun.
    fn open_unread(&mut self) {
        let read = std::mem::take(&mut self.unread);
        self.unread = self.layers.open_inside(&read);
    }

    /// Sends bytes, and does not mind when the broker has closed already.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let wire = self.layers.seal(bytes);
        drop(self.stream.write_all(&wire));
    }

    /// Ends this side of the stream.
    pub fn finish_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("an open stream can be half closed");
    }

    /// The next thing to be seen within `limit`, heartbeats included and unanswered.
    ///
    /// # Panics
    /// When the stream ends inside a frame.
    pub fn see(&mut self, limit: Duration) -> Seen {
        let seen = self.see_of_a_mortal(limit);
        let is_torn = seen == Seen::Closed && !self.unread.is_empty();
        assert!(!is_torn, "the stream ends inside a frame");
        seen
    }

    /// As [`Self::see`], but from a broker that may be killed: then the stream may end anywhere.
    ///
    /// # Panics
    /// When the socket fails in a way that no end of the broker explains.
    pub fn see_of_a_mortal(&mut self, limit: Duration) -> Seen {
        let end = Instant::now() + limit;
        loop {
            if let Some(frame) = self.whole_frame() {
                return Seen::Frame(frame);
            }
            let Some(left) =
                end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return Seen::Silence;
            };
            self.stream.set_read_timeout(Some(left)).expect("a limit can be set");
            let mut bytes = [0; 65536];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Seen::Closed,
                Ok(count) => {
                    self.wire_bytes += count;
                    match self.layers.open(&bytes[..count]) {
                        Ok(plain) => self.unread.extend(plain),
                        Err(error) => return Seen::Broken(error.to_string()),
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Seen::Silence,
                    // This process was held up, and goes on.
                    ErrorKind::Interrupted => {}
                    // The broker may close with bytes of ours unread, which resets the connection.
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => return Seen::Closed,
                    _ => panic!("cannot read: {error}"),
                },
            }
        }
    }

    /// The next thing to be seen within `limit`; heartbeats are answered and not shown.
    pub fn see_beyond_heartbeats(&mut self, limit: Duration) -> Seen {
        let end = Instant::now() + limit;
        loop {
            let seen = self.see(end.saturating_duration_since(Instant::now()));
            if seen != Seen::Frame(Frame::Response("_heartbeat_".into())) {
                return seen;
            }
            self.try_send(b"NOP\n");
        }
    }

    /// The next frame that is no heartbeat.
    ///
    /// # Panics
    /// When none comes soon.
    pub fn frame(&mut self) -> Frame {
        match self.see_beyond_heartbeats(SOON) {
            Seen::Frame(frame) => frame,
            other => panic!("a frame was expected, not {other:?}"),
        }
    }

    /// The next frame, which must be a response.
    ///
    /// # Panics
    /// When it is something else.
    pub fn response(&mut self) -> String {
        match self.frame() {
            Frame::Response(text) => text,
            other => panic!("a response was expected, not {other:?}"),
        }
    }

    /// The next frame, which must be an error.
    ///
    /// # Panics
    /// When it is something else.
    pub fn error(&mut self) -> String {
        match self.frame() {
            Frame::Error(text) => text,
            other => panic!("an error was expected, not {other:?}"),
        }
    }

    /// The next frame, which must be a message.
    ///
    /// # Panics
    /// When it is something else.
    pub fn message(&mut self) -> Message {
        self.message_within(SOON)
    }

    /// The next frame, which must be a message and come within `limit`.
    ///
    /// # Panics
    /// When it is something else.
    pub fn message_within(&mut self, limit: Duration) -> Message {
        match self.see_beyond_heartbeats(limit) {
            Seen::Frame(Frame::Message(message)) => message,
            other => panic!("a message was expected, not {other:?}"),
        }
    }

    /// As many messages as asked for.
    pub fn messages(&mut self, count: usize) -> Vec<Message> {
        (0..count).map(|_| self.message()).collect()
    }

    /// Expects `OK`.
    ///
    /// # Panics
    /// When something else comes.
    pub fn ok(&mut self) {
        let response = self.response();
        assert_eq!(response, "OK");
    }

    /// Expects that nothing but heartbeats comes for `time`.
    ///
    /// # Panics
    /// When something comes, or the broker closes.
    pub fn silence(&mut self, time: Duration) {
        let seen = self.see_beyond_heartbeats(time);
        assert_eq!(seen, Seen::Silence, "within {time:?}");
    }

    /// Expects that the broker closes this connection soon, and sends nothing more.
    ///
    /// # Panics
    /// When it does not.
    pub fn closed(&mut self) {
        let seen = self.see_beyond_heartbeats(SOON);
        assert_eq!(seen, Seen::Closed);
    }

    /// Expects that this connection works: a publish on it is acknowledged.
    pub fn works(&mut self) {
        self.publish("open", b"yes");
    }

    /// IDENTIFY with this JSON; returns the answer.
    pub fn identify(&mut self, json: &str) -> String {
        self.send(&with_body("IDENTIFY", json.as_bytes()));
        self.response()
    }

    /// SUB, and its `OK`.
    pub fn subscribe(&mut self, topic: &str, channel: &str) {
        self.send(format!("SUB {topic} {channel}\n").as_bytes());
        self.ok();
    }

    /// RDY.
    pub fn ready(&mut self, count: u32) {
        self.send(format!("RDY {count}\n").as_bytes());
    }

    /// FIN.
    pub fn finish(&mut self, message: &Message) {
        self.send(format!("FIN {}\n", message.id).as_bytes());
    }

    /// REQ with a delay in milliseconds.
    pub fn requeue(&mut self, message: &Message, delay_ms: u32) {
        self.send(format!("REQ {} {delay_ms}\n", message.id).as_bytes());
    }

    /// TOUCH.
    pub fn touch(&mut self, message: &Message) {
        self.send(format!("TOUCH {}\n", message.id).as_bytes());
    }

    /// PUB, and its `OK`.
    pub fn publish(&mut self, topic: &str, body: &[u8]) {
        self.send(&with_body(&format!("PUB {topic}"), body));
        self.ok();
    }

    /// DPUB with a delay in milliseconds, and its `OK`.
    pub fn publish_deferred(&mut self, topic: &str, delay_ms: u32, body: &[u8]) {
        self.send(&with_body(&format!("DPUB {topic} {delay_ms}"), body));
        self.ok();
    }

    /// MPUB, and its `OK`.
    pub fn publish_many(&mut self, topic: &str, bodies: &[impl AsRef<[u8]>]) {
        self.send(&many(topic, bodies));
        self.ok();
    }

    fn whole_frame(&mut self) -> Option<Frame> {
        let size = number(self.unread.get(..4)?);
        assert!((4..16 << 20).contains(&size), "a frame of {size} bytes");
        if self.unread.len() < 4 + size {
            return None;
        }
        let rest = self.unread.split_off(4 + size);
        let frame = std::mem::replace(&mut self.unread, rest);
        let data = &frame[8..];
        let text = || String::from_utf8_lossy(data).into_owned();
        Some(match number(&frame[4..8]) {
            0 => Frame::Response(text()),
            1 => Frame::Error(text()),
            2 => Frame::Message(message(data)),
            other => panic!("a frame of type {other}"),
        })
    }
}

/// A command line with a body behind it.
///
/// # Panics
/// When the body is longer than its size field can say.
#[must_use]
pub fn with_body(line: &str, body: &[u8]) -> Vec<u8> {
    [line.as_bytes(), b"\n", &sized(body)].concat()
}

/// A body with its size in front.
///
/// # Panics
/// When the body is longer than its size field can say.
#[must_use]
pub fn sized(body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len()).expect("a body is shorter than 4 GiB");
    [&size.to_be_bytes(), body].concat()
}

/// An MPUB command.
///
/// # Panics
/// When there are more bodies than the count field can say.
#[must_use]
pub fn many(topic: &str, bodies: &[impl AsRef<[u8]>]) -> Vec<u8> {
    with_body(&format!("MPUB {topic}"), &counted(bodies))
}

/// Bodies with their sizes, and their count in front: what MPUB and binary `/mpub` carry.
///
/// # Panics
/// When there are more bodies than the count field can say.
#[must_use]
pub fn counted(bodies: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let count = u32::try_from(bodies.len()).expect("the count fits");
    let mut content = count.to_be_bytes().to_vec();
    for body in bodies {
        content.extend(sized(body.as_ref()));
    }
    content
}

fn number(bytes: &[u8]) -> usize {
    let bytes: [u8; 4] = bytes.try_into().expect("four bytes were cut");
    usize::try_from(u32::from_be_bytes(bytes)).expect("32 bits fit")
}

fn message(data: &[u8]) -> Message {
    assert!(26 <= data.len(), "a message of {} bytes", data.len());
    Message {
        timestamp: i64::from_be_bytes(data[..8].try_into().expect("eight bytes were cut")),
        attempts: u16::from_be_bytes([data[8], data[9]]),
        id: String::from_utf8(data[10..26].to_vec()).expect("an id is text"),
        body: data[26..].to_vec(),
    }
}
