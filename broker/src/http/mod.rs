//! The broker's HTTP side: publishing, administration and statistics for whoever has no NSQ client.
//!
//! One task a connection, on the core that it was given to. It asks the owner of a topic for what
//! concerns that topic, and every core for what concerns them all, so nothing here knows where a
//! topic lives.
//!
//! Requests of a connection are served one after another, also when they come at once: answers
//! stand in their order. What a connection holds in memory is bounded by one head, one body and one
//! answer; a client that is slow keeps its own task waiting and nobody else.
//!
//! | Where do I look for | |
//! |---|---|
//! | which paths there are | [`routes`] |
//! | `/pub`, `/mpub` | [`publish`] |
//! | `/topic/peek` | [`peek`] |
//! | `/topic/...` | [`topic`] |
//! | `/channel/...` | [`channel`] |
//! | `/stats` | [`stats`] |
//! | `/ping`, `/info` | [`about`] |
//! | `/livez`, `/readyz` | [`health`] |
//! | `/metrics` | [`metrics`] |
//! | `/drain` | [`drain`] |
//! | `/config/...` | [`config`] |
//! | `/debug/...` | [`debug`] |
//! | one request while it is served, and its body | [`incoming`] |
//! | bytes, and how long they may take | [`transport`] |
//! | moving to the core of a topic | [`handoff`] |
//! | requests of our own | [`client`] |

mod about;
mod administration;
mod channel;
pub mod client;
mod config;
mod debug;
mod drain;
pub mod handoff;
mod health;
mod incoming;
mod metrics;
mod peek;
mod publish;
mod routes;
mod stats;
mod topic;
mod transport;

use crate::config::TlsRequired;
use crate::connection::peer::Peer;
use crate::connection::socket::Socket;
use crate::routing::placement::{Following, ShardId};
use crate::routing::request::{Door, Request};
use crate::shard::Shard;
use handoff::Traveller;
use incoming::Incoming;
use protocol::http::date::http_date;
use protocol::http::request::{BadRequest, Head, Method, parse_head, stray_line_ends};
use protocol::http::response::{Exchange, Response, Status};
use protocol::http::route::Routed;
use routes::Route;
use startup::listen::Address;
use std::rc::Rc;
use transport::{Ended, Transport};

/// Serves one HTTP connection, which came in by `door`, until one of the two sides has enough.
pub async fn serve(shard: Rc<Shard>, socket: Rc<Socket>, peer: Peer, door: Door) {
    let counted = Counted::new(shard.clone());
    let mut transport = Transport::new(shard.clone(), socket);
    if door == Door::Https
        && let Err(reason) = transport.begin_tls().await
    {
        tracing::warn!("http: TLS handshake error from {peer}: {reason}");
        return;
    }
    serve_to_the_end(shard, counted, transport, peer, false).await;
}

/// Goes on with a connection that another core has served.
pub async fn go_on(shard: Rc<Shard>, traveller: Traveller) {
    let counted = Counted::new(shard.clone());
    let Traveller { stream, peer, layers, unread } = traveller;
    match Socket::adopt(stream, &shard.readiness) {
        Ok(socket) => {
            let transport = Transport::arrived(shard.clone(), Rc::new(socket), layers, unread);
            serve_to_the_end(shard, counted, transport, peer, true).await;
        }
        Err(error) => tracing::error!("http: client({peer}): failed to take it in - {error}"),
    }
}

/// Serves one request after another, here or, in the end, on another core.
async fn serve_to_the_end(
    shard: Rc<Shard>,
    counted: Counted,
    mut transport: Transport,
    peer: Peer,
    mut after_post: bool,
) {
    let mut following = Following::default();
    loop {
        match serve_request(&shard, &mut transport, peer, after_post, &mut following).await {
            Ok(Next::Request { is_after_post }) => after_post = is_after_post,
            Ok(Next::Leave(to)) => match transport.leave(peer) {
                Ok(traveller) => {
                    tracing::debug!("http: {peer} goes to the core of its topic");
                    let request = Request::ArriveByHttp(Box::new(traveller));
                    shard.state.borrow_mut().outboxes.push(to, request);
                    // It is counted there.
                    return drop(counted);
                }
                Err(error) => {
                    tracing::error!("http: failed to move {peer} to another core - {error}");
                    following.stay();
                    after_post = true;
                }
            },
            Ok(Next::Close) => return transport.close().await,
            // How it ended interests nobody: either side may close whenever it likes.
            Err(Ended) => return,
        }
    }
}

/// What becomes of a connection after a request.
enum Next {
    /// Another.
    Request {
        /// The one before was a POST.
        is_after_post: bool,
    },
    /// Another, on the core of the topic that it publishes to.
    Leave(ShardId),
    /// It is over, and what was answered is still on its way.
    Close,
}

/// A connection in the number of those that its core has.
struct Counted(Rc<Shard>);

impl Counted {
    fn new(shard: Rc<Shard>) -> Self {
        let mut state = shard.state.borrow_mut();
        state.http_connections += 1;
        state.report_load();
        drop(state);
        Self(shard)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut state = self.0.state.borrow_mut();
        state.http_connections -= 1;
        // A core that stops drops its tasks when nobody takes its reports any more.
        if !state.stopping {
            state.report_load();
        }
    }
}

/// Serves the next request.
async fn serve_request(
    shard: &Rc<Shard>,
    transport: &mut Transport,
    peer: Peer,
    after_post: bool,
    following: &mut Following,
) -> Result<Next, Ended> {
    let head = match next_head(transport, after_post).await? {
        Ok(head) => head,
        Err(refused) => {
            let answer = refused.answer(&date(shard));
            transport.send(|bytes| bytes.extend_from_slice(&answer)).await?;
            return Ok(Next::Close);
        }
    };
    let (exchange, published_to) = serve_one(shard, transport, peer, &head).await?;
    if !exchange.keep_alive {
        return Ok(Next::Close);
    }
    match published_to {
        Some(owner) if following.published_to(owner, shard.here) => Ok(Next::Leave(owner)),
        _ => Ok(Next::Request { is_after_post: head.method == Method::Post }),
    }
}

/// The head of the next request.
async fn next_head(
    transport: &mut Transport,
    after_post: bool,
) -> Result<Result<Head, BadRequest>, Ended> {
    // Heads that came with an earlier request need no reading.
    if transport.unread().is_empty() {
        transport.wait_for_request().await?;
    } else {
        transport.let_others().await;
    }
    let deadline = transport.head_deadline();
    if after_post {
        transport.consume(stray_line_ends(transport.unread()));
    }
    loop {
        match parse_head(transport.unread()) {
            Ok(Some((head, bytes))) => {
                transport.consume(bytes);
                return Ok(Ok(head));
            }
            Ok(None) => {
                let more = transport.read_until(deadline).await;
                if more.is_err() && !transport.unread().is_empty() && transport.is_before(deadline)
                {
                    // The client sends no more: that was no request.
                    return Ok(Err(BadRequest::Malformed));
                }
                more?;
            }
            Err(refused) => return Ok(Err(refused)),
        }
    }
}

/// Serves one request: routes it, has it answered, sends the answer, logs it. Says, too, which core
/// owns the topic that was published to.
async fn serve_one(
    shard: &Rc<Shard>,
    transport: &mut Transport,
    peer: Peer,
    head: &Head,
) -> Result<(Exchange, Option<ShardId>), Ended> {
    let begun = shard.clock.now().tick;
    let is_refused_without_tls =
        shard.config.tls_required == TlsRequired::Everywhere && !transport.has_tls();
    let mut incoming = Incoming::new(shard, head, transport);
    let (response, is_logged) = if is_refused_without_tls {
        (tls_required(shard), false)
    } else {
        match routes::ROUTES.route(head) {
            Routed::Found(route, part) => {
                (answer(route, part.as_deref(), &mut incoming).await, route.is_logged())
            }
            Routed::Respond(response) => (response, true),
        }
    };
    let published_to = incoming.published_to;
    // Before the answer, which says whether the connection goes on.
    let is_passed = incoming.pass_body().await;
    let goes_on = is_passed && !shard.state.borrow().stopping;
    let exchange = if goes_on { head.exchange() } else { head.exchange().closing() };

    if is_logged {
        let now = shard.clock.now();
        tracing::info!(
            "{} {} {} ({peer}) {}",
            response.status.code(),
            head.method,
            head.target,
            startup::duration::format(now.tick.since(begun))
        );
    }
    let date = date(shard);
    transport.send(|bytes| response.encode(bytes, &date, exchange)).await?;
    Ok((exchange, published_to))
}

/// The value of the `Date` header now.
fn date(shard: &Shard) -> String {
    http_date(u64::try_from(shard.clock.now().wall.0 / 1_000_000_000).unwrap_or(0))
}

/// What plain HTTP is answered where TLS is required, whatever it asks for. The blanks are NSQ's.
fn tls_required(shard: &Shard) -> Response {
    let port = shard.config.https_address.as_ref().map_or(0, Address::port);
    let body = format!(r#"{{"message": "TLS_REQUIRED", "https_port": {port}}}"#);
    Response::json(body).with_status(Status::Forbidden)
}

/// `part` is the part of the path that the route leaves open.
async fn answer(route: Route, part: Option<&str>, incoming: &mut Incoming<'_>) -> Response {
    let answer = match route {
        Route::Ping => Ok(about::ping(incoming.shard).await),
        Route::Info => Ok(about::info(&incoming.shard.config)),
        Route::Live => Ok(health::live(incoming.shard).await),
        Route::Ready => Ok(health::ready(incoming.shard).await),
        Route::Metrics => metrics::metrics(incoming).await,
        Route::Drain => Ok(drain::start(incoming.shard).await),
        Route::DrainProgress => Ok(drain::progress(incoming.shard).await),
        Route::Stats => stats::stats(incoming).await,
        Route::Option => config::show(incoming.shard, part.unwrap_or_default()).await,
        Route::SetOption => config::change(incoming, part.unwrap_or_default()).await,
        Route::Debug(page) => Ok(debug::page(page)),
        Route::SetBlockRate => debug::set_block_rate(incoming),
        Route::FreeMemory => Ok(Response::empty()),
        Route::Publish => publish::publish(incoming).await,
        Route::PublishMany => publish::publish_many(incoming).await,
        Route::Peek => peek::peek(incoming).await,
        Route::Topic(verb) => topic::administer(incoming, verb).await,
        Route::Channel(verb) => channel::administer(incoming, verb).await,
    };
    answer.unwrap_or_else(|Refused(status, code)| Response::error(status, code))
}

/// Why a request is not served: the status, and the word that clients look for in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused(Status, &'static str);

impl Refused {
    /// The query breaks the rules of queries.
    const INVALID_REQUEST: Self = Self(Status::BadRequest, "INVALID_REQUEST");
    /// There is no `topic` in the query.
    const MISSING_ARG_TOPIC: Self = Self(Status::BadRequest, "MISSING_ARG_TOPIC");
    /// The `topic` is no legal name. Routes about channels have another word for it.
    const INVALID_TOPIC: Self = Self(Status::BadRequest, "INVALID_TOPIC");
    /// There is no such topic.
    const TOPIC_NOT_FOUND: Self = Self(Status::NotFound, "TOPIC_NOT_FOUND");
    /// The fault is here.
    const INTERNAL_ERROR: Self = Self(Status::InternalServerError, "INTERNAL_ERROR");
}
