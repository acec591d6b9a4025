//! The TCP side: nsqds come, introduce themselves and register what they produce.
//!
//! Knows: the course of one connection. Does not know: the bytes of the protocol, which are
//! `protocol::discovery`'s, or what a registration means, which is the registry's.
//!
//! A connection costs what it sends: its buffer holds at most one command beyond what was read last,
//! and commands are bounded. Whatever it sends, only its own connection ends.

use std::io;
use std::net::SocketAddr;

use protocol::discovery::{self, Command, MAGIC, Refusal, Stage};
use startup::duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::{error, info, warn};

use crate::listen;
use crate::registry::{Key, ProducerId};
use crate::server::Server;

/// How much is read at once.
const READ_BYTES: usize = 4096;

/// Answers are written when so many bytes wait, or when all commands that came are answered.
const OUTPUT_BYTES_MAX: usize = 16 << 10;

/// Serves one connection until it ends.
pub(crate) async fn serve(server: &Server, mut stream: TcpStream, peer: SocketAddr) {
    info!("TCP: new client({peer})");
    let mut magic = [0; MAGIC.len()];
    if let Err(error) = stream.read_exact(&mut magic).await {
        error!("failed to read protocol version - {error}");
        return;
    }
    let shown_magic = String::from_utf8_lossy(&magic);
    info!("CLIENT({peer}): desired protocol magic '{shown_magic}'");
    if magic != MAGIC {
        let mut answer = Vec::new();
        discovery::encode_answer(&mut answer, Refusal::BadProtocol.to_string().as_bytes());
        if stream.write_all(&answer).await.is_ok() {
            listen::close(stream).await;
        }
        error!("client({peer}) bad protocol magic '{shown_magic}'");
        return;
    }

    server.metrics.borrow_mut().producer_came();
    let mut conversation =
        Conversation { server, peer, id: server.next_producer_id(), stage: Stage::Fresh };
    let ended = conversation.run(&mut stream).await;
    info!("PROTOCOL(V1): [{peer}] exiting ioloop");
    conversation.leave().await;
    if let Ok(Some(refusal)) = &ended {
        error!("client({peer}) - {refusal}");
    }
    server.metrics.borrow_mut().producer_left();
    match ended {
        Ok(_) => listen::close(stream).await,
        Err(error) => error!("client({peer}) - {error}"),
    }
}

/// One connection after its first four bytes.
struct Conversation<'a> {
    server: &'a Server,
    peer: SocketAddr,
    id: ProducerId,
    stage: Stage,
}

impl Conversation<'_> {
    /// Answers commands until the client leaves or is refused; returns with what it was refused.
    async fn run(&mut self, stream: &mut TcpStream) -> io::Result<Option<Refusal>> {
        let mut input = Vec::new();
        let mut output = Vec::new();
        loop {
            let refusal = loop {
                match discovery::decode_command(&input, self.stage) {
                    Ok(None) => break None,
                    Ok(Some((command, bytes))) => {
                        input.drain(..bytes);
                        self.obey(command, &mut output);
                        if OUTPUT_BYTES_MAX <= output.len() {
                            stream.write_all(&output).await?;
                            output.clear();
                        }
                    }
                    Err(refusal) => break Some(refusal),
                }
            };
            if let Some(refusal) = refusal {
                self.refuse(&refusal, &mut output);
                stream.write_all(&output).await?;
                return Ok(Some(refusal));
            }
            stream.write_all(&output).await?;
            output.clear();

            let mut piece = [0; READ_BYTES];
            let bytes = stream.read(&mut piece).await?;
            input.extend_from_slice(&piece[..bytes]);
            if bytes == 0 {
                let refusal = discovery::refusal_at_end(&input, self.stage);
                if let Some(refusal) = &refusal {
                    self.refuse(refusal, &mut output);
                }
                stream.write_all(&output).await?;
                return Ok(refusal);
            }
        }
    }

    fn refuse(&self, refusal: &Refusal, output: &mut Vec<u8>) {
        error!("[{}] - {refusal}", self.peer);
        self.server.metrics.borrow_mut().refused_command();
        discovery::encode_answer(output, refusal.to_string().as_bytes());
    }

    fn obey(&mut self, command: Command, output: &mut Vec<u8>) {
        let Self { server, peer, id, .. } = *self;
        let mut registry = server.registry.borrow_mut();
        server.metrics.borrow_mut().command(&command);
        match command {
            Command::Ping => {
                if let Some(ping) = registry.ping(id, server.clock.now()) {
                    let silent = duration::format(ping.silent);
                    info!("CLIENT({peer}): pinged (last ping {silent})");
                    if ping.is_back {
                        // Rare, and those whose topics it has not look and go on waiting.
                        server.waiting.wake_all();
                    }
                }
            }
            Command::Identify(identity) => {
                info!(
                    "CLIENT({peer}): IDENTIFY Address:{} TCP:{} HTTP:{} Version:{}",
                    identity.broadcast_address,
                    identity.tcp_port,
                    identity.http_port,
                    identity.version
                );
                registry.identify(id, peer.to_string(), identity, server.clock.now());
                info!("DB: client({peer}) REGISTER {}", Key::Client);
                self.stage = Stage::Identified;
                discovery::encode_answer(output, server.identity.to_json().as_bytes());
                return;
            }
            Command::Register(topic, channel) => {
                for key in registry.register(id, topic, channel) {
                    info!("DB: client({peer}) REGISTER {key}");
                }
                server.waiting.wake(topic);
            }
            Command::Unregister(topic, channel) => {
                for key in registry.unregister(id, topic, channel) {
                    // A broker unregisters a topic after its channels.
                    if channel.is_none() && matches!(key, Key::Channel(..)) {
                        warn!("client({peer}) unexpected UNREGISTER {key}");
                    } else {
                        info!("DB: client({peer}) UNREGISTER {key}");
                    }
                }
                server.waiting.wake(topic);
            }
        }
        discovery::encode_answer(output, discovery::OK);
    }

    /// Forgets the producer; a lookup that comes in between does not find it any more.
    async fn leave(&self) {
        let Self { server, peer, id, .. } = *self;
        if !server.registry.borrow_mut().leave(id) {
            return;
        }
        info!("DB: client({peer}) UNREGISTER {}", Key::Client);
        let mut after = None;
        loop {
            let (removed, next) = server.registry.borrow_mut().sweep(id, after);
            for key in removed {
                info!("DB: client({peer}) UNREGISTER {key}");
                if let Key::Topic(topic) = key {
                    server.waiting.wake(topic);
                }
            }
            if next.is_none() {
                return;
            }
            after = next;
            // Others may ask between two steps.
            tokio::task::yield_now().await;
        }
    }
}
