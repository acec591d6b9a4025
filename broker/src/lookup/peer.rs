//! The conversation with one nsqlookupd: connect, introduce ourselves, tell everything, then every
//! change as it happens, and every 15 seconds that we are alive.
//!
//! Knows: connections and how long they may take. What is told is [`super::registration`]'s.
//! Whatever goes wrong ends the connection, and the next one starts from the beginning: nsqlookupd
//! has forgotten a broker whose connection has ended.

use super::{PeerKey, words};
use crate::clock::Tick;
use crate::config::{Config, NSQ_VERSION};
use crate::shard::Shard;
use crate::shard::signal::Signal;
use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt};
use glommio::net::TcpStream;
use protocol::discovery::{self, Command, LookupdIdentity, MAGIC, ProducerIdentity, decode_answer};
use startup::listen::Address;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

/// How long connecting, sending or waiting for an answer may take, each (NSQ behaviour).
const PATIENCE: Duration = Duration::from_secs(1);
/// How often nsqlookupd hears that we are alive (NSQ behaviour). After 300 seconds of silence it
/// takes a broker for dead.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// The pause after a first failure; it doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest pause between two attempts: as long as NSQ's may be.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// Commands that are sent before the answer to the first of them is waited for. A broker with
/// thousands of channels is registered in a few journeys instead of thousands.
const COMMANDS_PER_JOURNEY: usize = 64;

/// Tells one nsqlookupd what is here, for as long as it has its place among the peers.
pub(super) async fn tell(shard: Rc<Shard>, key: PeerKey, address: String, changed: Rc<Signal>) {
    let mut pauses = Pauses::default();
    while is_wanted(&shard, key) {
        let mut conversation = Conversation {
            shard: &shard,
            key,
            address: &address,
            changed: &changed,
            pauses: &mut pauses,
        };
        match conversation.hold().await {
            Ok(End::Unwanted) => break,
            // Whoever stops a whole cluster at once stops this too: no line about the order of it.
            _ if !is_wanted(&shard, key) => break,
            Ok(End::Left) => tracing::info!("LOOKUPD({address}): it has closed the connection"),
            Err(failure) => {
                tracing::error!("LOOKUPD({address}): {} - {}", failure.doing, failure.error);
            }
        }
        if let Some(peer) = shard.state.borrow_mut().lookup.by_key.get_mut(key) {
            peer.registration.stop();
            peer.is_connected = false;
        }
        pause(&shard, key, &changed, pauses.next()).await;
    }
}

fn is_wanted(shard: &Shard, key: PeerKey) -> bool {
    let state = shard.state.borrow();
    !state.stopping && state.lookup.by_key.contains_key(key)
}

/// Waits, but not for a peer that was taken from the list.
async fn pause(shard: &Shard, key: PeerKey, changed: &Signal, pause: Duration) {
    let over = glommio::timer::sleep(pause);
    let removed = async {
        while is_wanted(shard, key) {
            changed.wait().await;
        }
    };
    over.or(removed).await;
}

/// How long to wait before the next attempt.
#[derive(Debug, Default)]
struct Pauses {
    failures: u32,
}

impl Pauses {
    fn next(&mut self) -> Duration {
        let pause = PAUSE_MIN.saturating_mul(2_u32.saturating_pow(self.failures)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// The connection has proved good.
    fn reset(&mut self) {
        self.failures = 0;
    }
}

/// What went wrong, at what.
#[derive(Debug)]
struct Failure {
    /// A command's words, or what is done beside commands.
    doing: String,
    error: io::Error,
}

/// One connection to an nsqlookupd.
struct Conversation<'a> {
    shard: &'a Rc<Shard>,
    key: PeerKey,
    address: &'a str,
    changed: &'a Signal,
    pauses: &'a mut Pauses,
}

/// Why a conversation ends where nothing went wrong.
enum End {
    /// The peer is not wanted any more.
    Unwanted,
    /// The other side has closed while it owed nothing: it was stopped.
    Left,
}

/// Why a conversation has something to do.
enum Woken {
    /// There may be something to tell, or the peer is not wanted any more.
    Changed,
    /// It is time for a PING.
    Due,
    /// The other side has closed.
    Left,
    /// The connection broke, or the other side speaks without being asked.
    Broken(io::Error),
}

impl Conversation<'_> {
    /// Connects and tells.
    async fn hold(&mut self) -> Result<End, Failure> {
        tracing::info!("LOOKUP connecting to {}", self.address);
        let mut stream = connect(self.address).await.map_err(at("connecting"))?;
        self.introduce(&mut stream).await?;
        let mut next_ping = self.now().plus(PING_INTERVAL);
        loop {
            if next_ping <= self.now() {
                tracing::debug!("LOOKUPD({}): sending heartbeat", self.address);
                ask_all(&mut stream, &[Command::Ping]).await?;
                self.pauses.reset();
                next_ping = self.now().plus(PING_INTERVAL);
            }
            if !is_wanted(self.shard, self.key) {
                return Ok(End::Unwanted);
            }
            let commands = self.take().ok_or_else(|| at("REGISTER")(too_far_behind()))?;
            if commands.is_empty() {
                match self.wait(&mut stream, next_ping).await {
                    Woken::Changed | Woken::Due => {}
                    Woken::Left => return Ok(End::Left),
                    Woken::Broken(error) => return Err(at("waiting")(error)),
                }
            } else {
                for command in &commands {
                    tracing::info!("LOOKUPD({}): {}", self.address, words(command));
                }
                ask_all(&mut stream, &commands).await?;
            }
        }
    }

    /// Says who we are, learns who it is, and prepares to tell everything.
    async fn introduce(&self, stream: &mut TcpStream) -> Result<(), Failure> {
        let failed = at("IDENTIFY");
        in_time(stream.write_all(&MAGIC)).await.map_err(failed)?;
        let identify = Command::Identify(identity(&self.shard.config));
        send(stream, std::slice::from_ref(&identify)).await.map_err(failed)?;
        let answer = Answers::default().next(stream).await.map_err(failed)?;
        let Ok(theirs) = serde_json::from_slice::<LookupdIdentity>(&answer) else {
            return Err(failed(unexpected(&answer)));
        };
        tracing::info!(
            "LOOKUPD({}): peer info {{TCPPort:{} HTTPPort:{} Version:{} BroadcastAddress:{}}}",
            self.address,
            theirs.tcp_port,
            theirs.http_port,
            theirs.version,
            theirs.broadcast_address
        );
        if theirs.broadcast_address.is_empty() {
            tracing::error!("LOOKUPD({}): no broadcast address", self.address);
        }
        let state = &mut *self.shard.state.borrow_mut();
        if let Some(peer) = state.lookup.by_key.get_mut(self.key) {
            peer.identity = Some(theirs);
            peer.is_connected = true;
            peer.registration.start(&state.list.catalogue);
        }
        Ok(())
    }

    fn take(&self) -> Option<Vec<Command>> {
        let mut state = self.shard.state.borrow_mut();
        state.lookup.by_key.get_mut(self.key)?.registration.take(COMMANDS_PER_JOURNEY)
    }

    /// Waits until there is something to do. That the other side closes is noticed at once rather
    /// than at the next command: an nsqlookupd that was started anew knows nothing until it is told.
    async fn wait(&self, stream: &mut TcpStream, next_ping: Tick) -> Woken {
        let changed = async {
            self.changed.wait().await;
            Woken::Changed
        };
        let due = async {
            glommio::timer::sleep(next_ping.since(self.now())).await;
            Woken::Due
        };
        let closed = async {
            let mut byte = [0];
            match stream.read(&mut byte).await {
                Ok(0) => Woken::Left,
                Ok(_) => Woken::Broken(unexpected(&byte)),
                Err(error) => Woken::Broken(error),
            }
        };
        changed.or(closed).or(due).await
    }

    fn now(&self) -> Tick {
        self.shard.clock.now().tick
    }
}

fn at(doing: &'static str) -> impl Fn(io::Error) -> Failure + Copy {
    move |error| Failure { doing: doing.to_owned(), error }
}

fn too_far_behind() -> io::Error {
    io::Error::other("too many changes wait to be told")
}

fn unexpected(answer: &[u8]) -> io::Error {
    io::Error::other(format!("unexpected answer {}", String::from_utf8_lossy(answer)))
}

/// How this broker introduces itself: with the ports that clients are told.
fn identity(config: &Config) -> ProducerIdentity {
    let http_port = config.http_address.as_ref().map_or(0, Address::port);
    ProducerIdentity {
        broadcast_address: config.broadcast_address.clone(),
        hostname: config.hostname.clone(),
        http_port: config.broadcast_http_port.unwrap_or(http_port),
        tcp_port: config.broadcast_tcp_port.unwrap_or(config.tcp_address.port()),
        topology_region: config.offer.topology_region.clone(),
        topology_zone: config.offer.topology_zone.clone(),
        version: NSQ_VERSION.to_string(),
    }
}

/// Connects to the first address of the host that answers.
async fn connect(address: &str) -> io::Result<TcpStream> {
    let mut failure = io::Error::other("the host has no address");
    for address in resolve(address).await? {
        match TcpStream::connect_timeout(address, PATIENCE).await {
            Ok(stream) => {
                // Commands are small and their answers waited for.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

async fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = address.parse() {
        return Ok(vec![address]);
    }
    // Asking for a host's addresses can take seconds, during which this core must go on.
    let address = address.to_string();
    glommio::executor().spawn_blocking(move || Ok(address.to_socket_addrs()?.collect())).await
}

/// Sends commands, at least one, and waits for all their answers.
async fn ask_all(stream: &mut TcpStream, commands: &[Command]) -> Result<(), Failure> {
    let failed = |at: usize, error| Failure { doing: words(&commands[at]), error };
    send(stream, commands).await.map_err(|error| failed(0, error))?;
    let mut answers = Answers::default();
    for at in 0..commands.len() {
        let answer = answers.next(stream).await.map_err(|error| failed(at, error))?;
        if answer != discovery::OK {
            // It is an error, and nsqlookupd closes behind each.
            return Err(failed(at, unexpected(&answer)));
        }
    }
    Ok(())
}

async fn send(stream: &mut TcpStream, commands: &[Command]) -> io::Result<()> {
    let mut bytes = Vec::new();
    commands.iter().for_each(|command| command.encode(&mut bytes));
    in_time(stream.write_all(&bytes)).await
}

/// The answers to what was sent, one after another.
#[derive(Debug, Default)]
struct Answers {
    unread: Vec<u8>,
}

impl Answers {
    async fn next(&mut self, stream: &mut TcpStream) -> io::Result<Vec<u8>> {
        loop {
            if let Some((answer, consumed)) =
                decode_answer(&self.unread).map_err(io::Error::other)?
            {
                let answer = answer.to_vec();
                self.unread.drain(..consumed);
                return Ok(answer);
            }
            let mut buffer = [0; 1024];
            let length = in_time(stream.read(&mut buffer)).await?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.unread.extend_from_slice(&buffer[..length]);
        }
    }
}

/// Waits for `work`, not longer than an nsqlookupd may take.
async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let too_late = async {
        glommio::timer::sleep(PATIENCE).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    work.or(too_late).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_again_after_a_success() {
        let mut pauses = Pauses::default();
        let milliseconds: Vec<_> = (0..9).map(|_| pauses.next().as_millis()).collect();
        let expected = [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000];
        assert_eq!(milliseconds, expected);
        pauses.failures = u32::MAX;
        assert_eq!(pauses.next(), PAUSE_MAX);
        pauses.reset();
        assert_eq!(pauses.next(), PAUSE_MIN);
    }
}
