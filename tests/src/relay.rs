//! A place between a client and a broker, through which connections pass and where they are seen as
//! they are on the wire.
//!
//! Knows bytes and directions; what they mean it does not know, but for the first words that it can
//! say on behalf of a client.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A port that leads to a broker.
#[derive(Debug)]
pub struct Relay {
    /// Where clients connect.
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

/// What passed, all connections together.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// From clients to the broker.
    pub up: Vec<u8>,
    /// From the broker to clients.
    pub down: Vec<u8>,
}

impl Relay {
    /// A port that leads to `broker`.
    #[must_use]
    pub fn to(broker: SocketAddr) -> Self {
        Self::behind(broker, &[])
    }

    /// A port that leads to `broker` behind these words, whose one answer is left out.
    ///
    /// # Panics
    /// When no port is left.
    #[must_use]
    pub fn behind(broker: SocketAddr, words: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is left");
        let address = listener.local_addr().expect("a listener has an address");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (all, words) = (Arc::clone(&seen), words.to_vec());
        // It ends with the process.
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let Ok(mut server) = TcpStream::connect(broker) else { continue };
                if !words.is_empty() && introduce(&mut server, &words).is_none() {
                    continue;
                }
                for (from, to, is_up) in [(&client, &server, true), (&server, &client, false)] {
                    let from = from.try_clone().expect("a descriptor is left");
                    let to = to.try_clone().expect("a descriptor is left");
                    let all = Arc::clone(&all);
                    thread::spawn(move || pass(from, to, is_up, &all));
                }
            }
        });
        Self { address, seen }
    }

    /// What passed so far.
    ///
    /// # Panics
    /// When a thread that passes bytes on has panicked.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.lock().expect("nobody panics").clone()
    }
}

/// Says the words and reads the one frame that answers them.
fn introduce(server: &mut TcpStream, words: &[u8]) -> Option<()> {
    server.write_all(words).ok()?;
    let mut size = [0; 4];
    server.read_exact(&mut size).ok()?;
    let mut frame = vec![0; usize::try_from(u32::from_be_bytes(size)).ok()?];
    server.read_exact(&mut frame).ok()
}

fn pass(mut from: TcpStream, mut to: TcpStream, is_up: bool, seen: &Mutex<Seen>) {
    let mut bytes = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        {
            let mut seen = seen.lock().expect("nobody panics");
            let side = if is_up { &mut seen.up } else { &mut seen.down };
            side.extend_from_slice(&bytes[..count]);
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // The other side may have gone before.
    drop(to.shutdown(Shutdown::Write));
}
