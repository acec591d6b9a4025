//! One client of NSQ's TCP protocol, plain or through TLS, snappy and deflate.
//!
//! Knows: how the layers are agreed, and frames. Does not know: what is measured with it. It waits
//! where it has to, so each has a thread of its own.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;

use flate2::{Compress, FlushCompress};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::load::connect;

/// The level that clients ask for unless told otherwise, and the highest that nsqd allows.
const DEFLATE_LEVEL: u32 = 6;

/// The longest frame that a broker sends here is a run of small ones that it sends together.
const BUFFER_BYTES: usize = 256 << 10;

/// What lies between a client and its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layers {
    pub(crate) tls: bool,
    pub(crate) compression: Option<Compression>,
}

/// Inside TLS, if there is TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Snappy,
    Deflate,
}

impl Compression {
    /// Each of `pieces` compressed, so that whoever has opened nothing else, or any of the others,
    /// can open it: they can be sent again and again without compressing them again.
    pub(crate) fn seal_apart(self, pieces: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let seal: &mut dyn FnMut(&Vec<u8>) -> Vec<u8> = match self {
            Self::Snappy => &mut |piece| {
                let mut frames = snap::write::FrameEncoder::new(Vec::new());
                frames.write_all(piece).expect("memory takes all that is written");
                frames.into_inner().expect("memory takes all that is written")
            },
            Self::Deflate => {
                let mut stream = Compress::new(flate2::Compression::new(DEFLATE_LEVEL), false);
                &mut move |piece| {
                    let mut sealed = Vec::with_capacity(2 * piece.len() + 1024);
                    stream
                        .compress_vec(piece, &mut sealed, FlushCompress::Full)
                        .expect("without a dictionary it cannot fail");
                    assert!(sealed.len() < sealed.capacity(), "there was room for all of it");
                    sealed
                }
            }
        };
        pieces.iter().map(seal).collect()
    }
}

/// Whom a client believes.
pub(crate) type Trust = Arc<ClientConfig>;

/// Believes whoever shows `certificate`.
pub(crate) fn trusting(certificate: CertificateDer<'static>) -> Trust {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("it was made for this");
    let mut provider = ring::default_provider();
    // Both brokers have the same work: what Go's clients offer first.
    provider.cipher_suites = vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the suite is one of TLS 1.3");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

/// See the head of this file.
pub(crate) struct Client {
    wire: Wire,
    input: Box<dyn Read>,
    output: Box<dyn Write>,
    buffer: Vec<u8>,
    /// What of `buffer` was read and is no whole frame yet, from its start.
    unread: usize,
}

impl Client {
    /// A client that has agreed on `layers`.
    pub(crate) fn connect(broker: SocketAddr, layers: Layers, trust: &Trust) -> Self {
        let wire = Wire(Rc::new(RefCell::new(Pipe::Plain(connect(broker)))));
        let mut client = Self {
            input: Box::new(wire.clone()),
            output: Box::new(wire.clone()),
            wire,
            buffer: vec![0; BUFFER_BYTES],
            unread: 0,
        };
        client.agree(layers, trust);
        client
    }

    fn agree(&mut self, layers: Layers, trust: &Trust) {
        let wish = format!(
            r#"{{"client_id":"bench","feature_negotiation":true,"heartbeat_interval":60000,
                "tls_v1":{},"snappy":{},"deflate":{},"deflate_level":{DEFLATE_LEVEL}}}"#,
            layers.tls,
            layers.compression == Some(Compression::Snappy),
            layers.compression == Some(Compression::Deflate),
        );
        let length = u32::try_from(wish.len()).expect("it is short");
        self.say(&[b"IDENTIFY\n", &length.to_be_bytes()[..], wish.as_bytes()].concat());
        let agreed = self.read_one();
        if layers.tls {
            assert!(agreed.contains(r#""tls_v1":true"#), "{agreed}");
            self.wire.begin_tls(trust);
            assert_eq!(self.read_one(), "OK");
        }
        let wire = || Box::new(self.wire.clone());
        match layers.compression {
            None => return,
            Some(Compression::Snappy) => {
                assert!(agreed.contains(r#""snappy":true"#), "{agreed}");
                self.input = Box::new(snap::read::FrameDecoder::new(wire()));
                self.output = Box::new(snap::write::FrameEncoder::new(wire()));
            }
            Some(Compression::Deflate) => {
                assert!(agreed.contains(r#""deflate":true"#), "{agreed}");
                let level = flate2::Compression::new(DEFLATE_LEVEL);
                self.input = Box::new(flate2::read::DeflateDecoder::new(wire()));
                self.output = Box::new(flate2::write::DeflateEncoder::new(wire(), level));
            }
        }
        assert_eq!(self.read_one(), "OK");
    }

    /// The data of one frame, and no byte more: what comes behind it may be in another layer.
    fn read_one(&mut self) -> String {
        let mut size = [0; 4];
        self.input.read_exact(&mut size).expect("the broker answers");
        let size = usize::try_from(u32::from_be_bytes(size)).expect("it is short");
        let mut frame = vec![0; size];
        self.input.read_exact(&mut frame).expect("the broker answers");
        String::from_utf8_lossy(&frame[4..]).into_owned()
    }

    /// Sends commands.
    pub(crate) fn say(&mut self, commands: &[u8]) {
        self.output.write_all(commands).expect("the broker reads");
        self.output.flush().expect("the broker reads");
    }

    /// Sends what is compressed already. Nothing must have been said with [`Self::say`] since the
    /// layers were agreed.
    pub(crate) fn say_sealed(&mut self, sealed: &[u8]) {
        self.wire.write_all(sealed).expect("the broker reads");
    }

    /// Reads the answer to a command.
    pub(crate) fn expect_ok(&mut self) {
        let mut answers = 0;
        while answers == 0 {
            self.take_frames(&mut |kind, data| {
                assert_eq!((kind, data), (0, &b"OK"[..]), "{}", String::from_utf8_lossy(data));
                answers += 1;
            });
        }
        assert_eq!(answers, 1, "one answer to a command");
    }

    /// Reads once, and hands over the type and the data of each frame that is whole.
    pub(crate) fn take_frames(&mut self, each: &mut dyn FnMut(u32, &[u8])) {
        let count = self.input.read(&mut self.buffer[self.unread..]).expect("something comes");
        assert!(0 < count, "the broker closed the connection");
        let end = self.unread + count;
        let mut rest = &self.buffer[..end];
        while let Some((size, behind)) = rest.split_first_chunk::<4>() {
            let size = usize::try_from(u32::from_be_bytes(*size)).expect("a frame is small");
            let Some((frame, others)) = behind.split_at_checked(size) else { break };
            let (kind, data) = frame.split_first_chunk::<4>().expect("a frame has a type");
            each(u32::from_be_bytes(*kind), data);
            rest = others;
        }
        self.unread = rest.len();
        self.buffer.copy_within(end - self.unread..end, 0);
    }
}

/// The socket, or TLS over it; what compresses and what opens hold it together.
#[derive(Clone)]
struct Wire(Rc<RefCell<Pipe>>);

enum Pipe {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// Between the two.
    Nothing,
}

impl Wire {
    fn begin_tls(&self, trust: &Trust) {
        let mut pipe = self.0.borrow_mut();
        let Pipe::Plain(socket) = std::mem::replace(&mut *pipe, Pipe::Nothing) else {
            panic!("TLS begins once");
        };
        let name = ServerName::try_from("localhost").expect("it is a name");
        let session = ClientConnection::new(trust.clone(), name).expect("the settings fit");
        *pipe = Pipe::Tls(Box::new(StreamOwned::new(session, socket)));
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut *self.0.borrow_mut() {
            Pipe::Plain(socket) => socket.read(buffer),
            Pipe::Tls(stream) => stream.read(buffer),
            Pipe::Nothing => Ok(0),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.0.borrow_mut() {
            Pipe::Plain(socket) => socket.write(bytes),
            Pipe::Tls(stream) => stream.write(bytes),
            Pipe::Nothing => Ok(0),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut *self.0.borrow_mut() {
            Pipe::Tls(stream) => stream.flush(),
            Pipe::Plain(_) | Pipe::Nothing => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_apart_is_opened_in_any_order_and_again() {
        let pieces: Vec<_> = (0..3_u8).map(|n| [&[n; 900][..], b"all alike"].concat()).collect();
        let order = [1, 0, 0, 2, 1];
        let expected = order.map(|at: usize| pieces[at].clone()).concat();
        for compression in [Compression::Snappy, Compression::Deflate] {
            let sealed = compression.seal_apart(&pieces);
            let stream = order.map(|at: usize| sealed[at].clone()).concat();
            let mut opened = vec![0; expected.len()];
            match compression {
                Compression::Snappy => {
                    snap::read::FrameDecoder::new(&*stream).read_exact(&mut opened)
                }
                Compression::Deflate => {
                    flate2::read::DeflateDecoder::new(&*stream).read_exact(&mut opened)
                }
            }
            .expect("it holds as much");
            assert_eq!(opened, expected, "{compression:?}");
        }
    }
}
