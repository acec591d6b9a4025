//! The ports, and which core a new connection goes to.
//!
//! Bound before any core starts, so that a taken port is an error of the start. The first core
//! accepts; every connection goes to the core with the fewest, since NSQ connections are few, long
//! and heavy: spread by the kernel's hash, 16 of them on 16 cores would leave one core with three
//! times the mean.

use super::Shard;
use super::state::Job;
use crate::clock::Now;
use crate::config::TlsRequired;
use crate::connection::authorization::Authorization;
use crate::connection::heartbeat::Heartbeat;
use crate::connection::peer::Peer;
use crate::connection::socket::Socket;
use crate::connection::{Connection, Session};
use crate::routing::outbox::Bodies;
use crate::routing::placement::{Following, ShardId, least_loaded};
use crate::routing::request::{Door, Request};
use protocol::conversation::Conversation;
use protocol::identify::Settings;
use rustix::net::AddressFamily;
use startup::listen::{Address, reason, shown};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

/// How long accepting pauses when no descriptor is left: trying again at once would only spin.
const PAUSE_WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(50);

/// With [`BETWEEN_BIND_TRIES`] a second in all.
const BIND_TRIES: u32 = 50;
const BETWEEN_BIND_TRIES: Duration = Duration::from_millis(20);

/// The listening sockets, of whichever kind.
#[derive(Debug)]
pub struct Doors {
    /// NSQ's TCP protocol.
    pub tcp: TcpListener,
    /// HTTP, unless switched off.
    pub http: Option<TcpListener>,
    /// HTTPS, if there is a certificate.
    pub https: Option<TcpListener>,
}

impl Doors {
    /// Listens on all of them.
    ///
    /// # Errors
    /// A sentence that names the address and what the system said.
    pub fn open(
        tcp: &Address,
        http: Option<&Address>,
        https: Option<&Address>,
    ) -> Result<Self, String> {
        Ok(Self {
            tcp: listen_on(tcp)?,
            http: http.map(listen_on).transpose()?,
            https: https.map(listen_on).transpose()?,
        })
    }

    /// More descriptors of the same sockets.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let http = self.http.as_ref().map(TcpListener::try_clone).transpose()?;
        let https = self.https.as_ref().map(TcpListener::try_clone).transpose()?;
        Ok(Self { tcp: self.tcp.try_clone()?, http, https })
    }
}

fn listen_on(address: &Address) -> Result<TcpListener, String> {
    let bound = match address {
        Address::Port(address) => bind_patiently(*address),
        Address::Path(path) => startup::listen::bind_path(path),
    };
    bound.map_err(|error| {
        let network = address.network();
        format!("listen ({address}) failed - listen {network} {address}: {}", reason(&error))
    })
}

/// Binds, with some patience for a predecessor that was killed: the kernel takes its ring down in
/// the background, and until then requests in it keep its listening sockets alive.
#[expect(clippy::disallowed_methods, reason = "before any core serves")]
fn bind_patiently(address: SocketAddr) -> io::Result<TcpListener> {
    for _ in 0..BIND_TRIES {
        match startup::listen::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                std::thread::sleep(BETWEEN_BIND_TRIES);
            }
            outcome => return outcome,
        }
    }
    startup::listen::bind(address)
}

/// Where a new connection comes from; `None` when it is gone already.
fn peer_of(stream: &TcpStream) -> Option<Peer> {
    match stream.peer_addr() {
        Ok(address) => Some(Peer::Address(shown(address))),
        Err(_) => {
            let own = rustix::net::getsockname(stream).ok()?;
            (own.address_family() == AddressFamily::UNIX).then_some(Peer::Local)
        }
    }
}

impl Shard {
    /// Accepts connections for all cores, until the broker stops. Runs on the first core.
    pub(super) async fn accept(self: Rc<Self>, listener: TcpListener, door: Door) {
        let listener = crate::descriptor::adopt_listener(listener);
        let mut is_failing = false;
        while !self.state.borrow().stopping {
            let accepted = listener.accept().await.map_err(io::Error::from);
            match accepted.and_then(crate::descriptor::release_stream) {
                Ok(stream) => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("connections are accepted again");
                    }
                    self.place(stream, door);
                }
                Err(error) => {
                    // Said once: it goes on until somebody leaves.
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::error!("failed to accept connections - {error}");
                    }
                    glommio::timer::sleep(PAUSE_WITHOUT_DESCRIPTORS).await;
                }
            }
        }
    }

    fn place(self: &Rc<Self>, stream: TcpStream, door: Door) {
        let mut state = self.state.borrow_mut();
        let to = least_loaded(&state.loads);
        // Its own report comes later; until then the next one must not go the same way.
        state.loads[usize::from(to.0)] += 1;
        if to != self.here {
            state.outboxes.push(to, Request::Accept { stream, door });
            return;
        }
        drop(state);
        self.welcome(stream, door);
    }

    /// Takes a new connection in on this core.
    pub(super) fn welcome(self: &Rc<Self>, stream: TcpStream, door: Door) {
        let Some(peer) = peer_of(&stream) else {
            // It left before it was accepted.
            self.state.borrow_mut().report_load();
            return;
        };
        // Answers are small and waited for.
        if peer != Peer::Local
            && let Err(error) = stream.set_nodelay(true)
        {
            tracing::warn!("client({peer}): failed to set TCP_NODELAY - {error}");
        }
        let socket = match Socket::adopt(stream, &self.readiness) {
            Ok(socket) => Rc::new(socket),
            Err(error) => {
                tracing::error!("client({peer}): failed to take it in - {error}");
                self.state.borrow_mut().report_load();
                return;
            }
        };
        match door {
            Door::Tcp => {
                tracing::info!("TCP: new client({peer})");
                self.admit(Connection::new(socket, self.new_session(peer)), Vec::new());
            }
            Door::Http | Door::Https => {
                let shard = self.clone();
                glommio::spawn_local(crate::http::serve(shard, socket, peer, door)).detach();
            }
        }
    }

    fn new_session(&self, peer: Peer) -> Session {
        let now = self.clock.now();
        let settings = Settings::default_for(&peer.host(), &self.config.limits);
        Session {
            peer,
            heartbeat: Heartbeat::start(settings.heartbeat_interval, now.tick),
            settings,
            conversation: Conversation {
                tls_missing: self.config.tls_required != TlsRequired::No,
                ..Conversation::fresh()
            },
            authorization: Authorization::default(),
            introduced: false,
            identified: false,
            connected_at: now.wall.0 / 1_000_000_000,
            published: BTreeMap::new(),
            following: Following::default(),
        }
    }

    /// Has a connection served on this core, new or arrived from another.
    pub(super) fn admit(self: &Rc<Self>, connection: Connection, unread: Vec<u8>) {
        let now = self.clock.now();
        let mut state = self.state.borrow_mut();
        if state.stopping {
            return;
        }
        let key = state.connections.insert(connection);
        state.jobs.push(Job::Serve(key, unread));
        state.look_after(key, now);
        state.report_load();
        drop(state);
        self.turn.wake();
    }

    /// Does what another core asks for; `bodies` are those of the mail that it came in.
    pub(super) fn take_in(
        self: &Rc<Self>,
        from: ShardId,
        request: Request,
        bodies: &Bodies,
        now: Now,
    ) {
        match request {
            Request::Publish(publish) => {
                self.state.borrow_mut().take_publish(from, &bodies.of(publish), now);
            }
            Request::Published { waiter, result } => {
                let here = self.here;
                self.state.borrow_mut().published(here, waiter, result);
            }
            Request::Arrive(traveller) => match Socket::adopt(traveller.stream, &self.readiness) {
                Ok(socket) => {
                    let mut connection = Connection::new(Rc::new(socket), traveller.session);
                    connection.layers = traveller.layers;
                    self.admit(connection, traveller.unread);
                }
                Err(error) => tracing::error!(
                    "client({}): failed to take it in - {error}",
                    traveller.session.peer
                ),
            },
            Request::ArriveByHttp(traveller) => {
                glommio::spawn_local(crate::http::go_on(self.clone(), *traveller)).detach();
            }
            Request::Accept { stream, door } => self.welcome(stream, door),
            Request::Load { connections } => {
                self.state.borrow_mut().loads[usize::from(from.0)] = connections;
            }
            Request::Usage { bytes } => {
                let mut state = self.state.borrow_mut();
                state.usage.told(from, bytes);
                state.told_usage(self.clock.now());
                drop(state);
                self.turn.wake();
            }
            Request::HasLookupds(has_some) => self.state.borrow_mut().has_lookupds = has_some,
            Request::Ask { call, question } => {
                let shard = self.clone();
                glommio::spawn_local(async move {
                    let answer = shard.answer(question).await;
                    shard.state.borrow_mut().outboxes.push(from, Request::Answer { call, answer });
                })
                .detach();
            }
            Request::Answer { call, answer } => self.state.borrow_mut().answered(call, answer),
            Request::Stop => self.stopping.wake(),
        }
        self.turn.wake();
    }
}
