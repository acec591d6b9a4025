//! The HTTP side: clients ask who produces a topic, administrators look and change.
//!
//! Knows: the routes with their arguments and errors, the course of one connection, and what a
//! client waits for that asks with `wait` (see [`Connection::wait_for_news`]). Does not know: how
//! requests and answers are spelled, which is `protocol::http`'s.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::exposition::CONTENT_TYPE;
use protocol::http::body::{BodyError, BodyReader};
use protocol::http::date::http_date;
use protocol::http::query::Query;
use protocol::http::request::{
    BadRequest, HEAD_BYTES_MAX, Head, Method, parse_head, stray_line_ends,
};
use protocol::http::response::{CONTINUE, Response, Status};
use protocol::http::route::{Routed, Table};
use protocol::json::to_go_json;
use protocol::lookup::{Channels, Info, Topics};
use protocol::name::{ChannelName, TopicName};
use startup::debug::Page;
use startup::{duration, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::info;

use crate::listen;
use crate::registry::{Key, Moment, Registry};
use crate::server::Server;
use crate::waiting::WAIT_MAX;

/// How much is read at once.
const READ_BYTES: usize = 4096;

/// A buffer for answers that has grown larger is given back.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// Ends of lines behind the body of a POST that are passed over, in bytes (NSQ behaviour).
const STRAY_BYTES_MAX: usize = 4;

/// A lifetime counts as over only after it: so much later it is looked at again.
const TICK: Duration = Duration::from_millis(1);

/// How long a request that has begun may take to arrive whole.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    Ping,
    Info,
    Metrics,
    Debug,
    DebugPage(Page),
    Lookup,
    Topics,
    Channels,
    Nodes,
    CreateTopic,
    DeleteTopic,
    CreateChannel,
    DeleteChannel,
    TombstoneProducer,
}

const ROUTES: Table<Route> = Table::new(&[
    (Method::Get, "/ping", Route::Ping),
    (Method::Get, "/info", Route::Info),
    (Method::Get, "/metrics", Route::Metrics),
    (Method::Get, "/debug", Route::Debug),
    (Method::Get, "/lookup", Route::Lookup),
    (Method::Get, "/topics", Route::Topics),
    (Method::Get, "/channels", Route::Channels),
    (Method::Get, "/nodes", Route::Nodes),
    (Method::Post, "/topic/create", Route::CreateTopic),
    (Method::Post, "/topic/delete", Route::DeleteTopic),
    (Method::Post, "/channel/create", Route::CreateChannel),
    (Method::Post, "/channel/delete", Route::DeleteChannel),
    (Method::Post, "/topic/tombstone", Route::TombstoneProducer),
    (Method::Get, "/debug/pprof", Route::DebugPage(Page::Index)),
    (Method::Get, "/debug/pprof/cmdline", Route::DebugPage(Page::CommandLine)),
    (Method::Get, "/debug/pprof/symbol", Route::DebugPage(Page::Symbol)),
    (Method::Post, "/debug/pprof/symbol", Route::DebugPage(Page::Symbol)),
    (Method::Get, "/debug/pprof/profile", Route::DebugPage(Page::Profile)),
    (Method::Get, "/debug/pprof/heap", Route::DebugPage(Page::Heap)),
    (Method::Get, "/debug/pprof/goroutine", Route::DebugPage(Page::Goroutine)),
    (Method::Get, "/debug/pprof/block", Route::DebugPage(Page::Block)),
    (Method::Get, "/debug/pprof/threadcreate", Route::DebugPage(Page::Threads)),
]);

/// The name of a route in `/metrics`. The debug pages share one.
fn shown(route: Route) -> &'static str {
    match route {
        Route::Ping => "/ping",
        Route::Info => "/info",
        Route::Metrics => "/metrics",
        Route::Debug => "/debug",
        Route::DebugPage(_) => "/debug/pprof",
        Route::Lookup => "/lookup",
        Route::Topics => "/topics",
        Route::Channels => "/channels",
        Route::Nodes => "/nodes",
        Route::CreateTopic => "/topic/create",
        Route::DeleteTopic => "/topic/delete",
        Route::CreateChannel => "/channel/create",
        Route::DeleteChannel => "/channel/delete",
        Route::TombstoneProducer => "/topic/tombstone",
    }
}

/// Serves one connection until it ends.
pub(crate) async fn serve(server: &Server, stream: TcpStream, peer: SocketAddr) {
    server.metrics.borrow_mut().asker_came();
    let mut connection = Connection { server, stream, peer, input: Vec::new() };
    // A connection that fails is gone; there is nobody to tell, and NSQ logs nothing either.
    if connection.run().await.is_ok() {
        listen::close(connection.stream).await;
    }
    server.metrics.borrow_mut().asker_left();
}

struct Connection<'a> {
    server: &'a Server,
    stream: TcpStream,
    peer: SocketAddr,
    /// What was read and not yet used; at most one head and what came behind it.
    input: Vec<u8>,
}

impl Connection<'_> {
    /// Answers what is no request. The connection closes behind it.
    async fn refuse(&mut self, bad: BadRequest) -> io::Result<()> {
        let unix_seconds = self.server.clock.now().unix_nanoseconds / 1_000_000_000;
        let date = http_date(u64::try_from(unix_seconds).unwrap_or_default());
        self.stream.write_all(&bad.answer(&date)).await
    }

    /// Answers requests until one of both sides wants to stop.
    async fn run(&mut self) -> io::Result<()> {
        let mut output = Vec::new();
        let mut stray_bytes_max = 0;
        loop {
            if 0 < stray_bytes_max && !self.input.is_empty() {
                let looked_at = &self.input[..self.input.len().min(stray_bytes_max)];
                let stray = stray_line_ends(looked_at);
                self.input.drain(..stray);
                // More of them may be on their way, if nothing else came behind these.
                stray_bytes_max = if self.input.is_empty() { stray_bytes_max - stray } else { 0 };
            }
            let (head, head_bytes) = match parse_head(&self.input) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => {
                    if self.read().await? != 0 {
                        continue;
                    }
                    if self.input.is_empty() {
                        return Ok(());
                    }
                    // The client sends no more: that was no request.
                    return self.refuse(BadRequest::Malformed).await;
                }
                Err(bad) => return self.refuse(bad).await,
            };
            self.input.drain(..head_bytes);
            if head.method == Method::Post {
                stray_bytes_max = STRAY_BYTES_MAX;
            }
            let start = self.server.clock.now();
            let body = self.pass_over_body(&head).await?;
            let (route, response) = match (body, ROUTES.route(&head)) {
                (Err(BodyError::Malformed), _) => (None, refused("INVALID_REQUEST")),
                (_, Routed::Respond(response)) => (None, response),
                (_, Routed::Found(route, _)) => (Some(route), self.respond(route, &head).await?),
            };
            let now = self.server.clock.now();
            self.server
                .metrics
                .borrow_mut()
                .answered(route.map_or("other", shown), response.status.code());
            if is_logged(&head, route, &response) {
                let took = now.since_start.saturating_sub(start.since_start);
                let (status, Head { method, target, .. }) = (response.status.code(), &head);
                let took = duration::format(took);
                info!("{status} {method} {target} ({}) {took}", self.peer);
            }

            let exchange = match body {
                Ok(()) => head.exchange(),
                Err(_) => head.exchange().closing(),
            };
            let unix_seconds = u64::try_from(now.unix_nanoseconds / 1_000_000_000);
            let date = http_date(unix_seconds.unwrap_or_default());
            output.clear();
            response.encode(&mut output, &date, exchange);
            self.stream.write_all(&output).await?;
            if !exchange.keep_alive {
                return Ok(());
            }
            if KEPT_BYTES_MAX < output.capacity() {
                output = Vec::new();
            }
        }
    }

    /// Reads the body, which no route wants, up to the next request.
    async fn pass_over_body(&mut self, head: &Head) -> io::Result<Result<(), BodyError>> {
        let mut body = match BodyReader::unwanted(head.body) {
            Ok(body) => body,
            Err(error) => return Ok(Err(error)),
        };
        if head.expect_continue {
            self.stream.write_all(CONTINUE).await?;
        }
        loop {
            match body.feed(&self.input) {
                Ok(bytes) => drop(self.input.drain(..bytes)),
                Err(error) => return Ok(Err(error)),
            }
            if body.is_complete() {
                return Ok(Ok(()));
            }
            if self.read().await? == 0 {
                return Ok(Err(BodyError::Malformed));
            }
        }
    }

    /// Waits for more input: as long as it takes between two requests, within one for so long only.
    async fn read(&mut self) -> io::Result<usize> {
        let mut piece = [0; READ_BYTES];
        let reading = self.stream.read(&mut piece);
        let bytes = if self.input.is_empty() {
            reading.await?
        } else {
            tokio::time::timeout(REQUEST_TIMEOUT, reading).await.map_err(io::Error::from)??
        };
        self.input.extend_from_slice(&piece[..bytes]);
        Ok(bytes)
    }

    async fn respond(&mut self, route: Route, head: &Head) -> io::Result<Response> {
        match route {
            Route::Lookup => {}
            Route::Nodes => return Ok(nodes(self.server).await),
            _ => return Ok(answer(self.server, route, head).unwrap_or_else(|error| error)),
        }
        match read_wish(head) {
            Err(error) => Ok(error),
            Ok(Wish { topic, wait: None }) => {
                let start = self.server.clock.now();
                let response = look(self.server, topic, start).response;
                let took = self.server.clock.now().since_start.saturating_sub(start.since_start);
                self.server.metrics.borrow_mut().looked_up(took);
                Ok(response)
            }
            Ok(Wish { topic, wait: Some(wait) }) => self.wait_for_news(head, topic, wait).await,
        }
    }

    /// Answers a lookup when there is news, after `wait` at the latest.
    ///
    /// Each answer has a tag. News is: for a client that sends the tag it has in `If-None-Match`, any
    /// other answer; for all others, that the topic has a producer. When there is none in time, the
    /// answer is 304 to a client that has it already, and as always to others.
    ///
    /// # Errors
    /// When the client has gone.
    async fn wait_for_news(
        &mut self,
        head: &Head,
        topic: Option<TopicName>,
        wait: Duration,
    ) -> io::Result<Response> {
        let server = self.server;
        let end = server.clock.now().since_start + wait.min(WAIT_MAX);
        let place = match topic {
            Some(topic) => match server.waiting.enter(topic) {
                Some(place) => Some(place),
                None => {
                    return Ok(Response::error(Status::ServiceUnavailable, "TOO_MANY_WAITERS"));
                }
            },
            // What can never be registered is not worth waiting for.
            None => None,
        };
        loop {
            // From here on no change is missed.
            let changed = place.as_ref().map(|place| place.changed());
            let now = server.clock.now();
            let Found { response, has_producer } = look(server, topic, now);
            let tag = tag_of(&response);
            let is_known = head.has_content(&tag);
            let is_news = if head.if_none_match.is_some() { !is_known } else { has_producer };
            let left = end.saturating_sub(now.since_start);
            let (Some(changed), Some(topic), false, false) =
                (changed, topic, is_news, left.is_zero())
            else {
                return Ok(if is_known {
                    Response::not_modified(tag)
                } else {
                    response.with_etag(tag)
                });
            };
            let holds_for = server.registry.borrow().lookup_holds_for(topic, now);
            let pause = holds_for.map_or(left, |holds_for| left.min(holds_for + TICK));
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(pause) => {}
                gone = self.until_gone() => return Err(gone),
            }
        }
    }

    /// Returns when a client that waits has gone. What it sends meanwhile is kept for later, up to
    /// the size of one head.
    async fn until_gone(&mut self) -> io::Error {
        let mut piece = [0; READ_BYTES];
        while self.input.len() < HEAD_BYTES_MAX {
            match self.stream.read(&mut piece).await {
                Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
                Ok(bytes) => self.input.extend_from_slice(&piece[..bytes]),
                Err(error) => return error,
            }
        }
        std::future::pending().await
    }
}

/// A lookup as it was asked for.
struct Wish {
    /// An illegal name is not an error: it is just nowhere to be found.
    topic: Option<TopicName>,
    /// How long the client would wait for news.
    wait: Option<Duration>,
}

fn read_wish(head: &Head) -> Result<Wish, Response> {
    let arguments = Arguments::of(head)?;
    let topic = arguments.known_topic()?;
    let wait = match arguments.0.get("wait") {
        None => None,
        Some(wait) => Some(duration::parse(wait).map_err(|_| refused("INVALID_ARG_WAIT"))?),
    };
    Ok(Wish { topic, wait })
}

/// What a lookup found.
struct Found {
    response: Response,
    /// Whether it names a producer.
    has_producer: bool,
}

fn look(server: &Server, topic: Option<TopicName>, now: Moment) -> Found {
    let registry = server.registry.borrow();
    match topic.and_then(|topic| registry.lookup(topic, now)) {
        Some(lookup) => {
            Found { response: json(&lookup), has_producer: !lookup.producers.is_empty() }
        }
        None => Found {
            response: Response::error(Status::NotFound, "TOPIC_NOT_FOUND"),
            has_producer: false,
        },
    }
}

/// What stands for the content of an answer, also over a restart and on other nsqlookupds that know
/// the same.
fn tag_of(response: &Response) -> String {
    let mut hasher = DefaultHasher::new();
    response.status.code().hash(&mut hasher);
    response.body().hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

/// Redirects, what `OPTIONS` tells about a path, and the pages for machines are not worth a line.
fn is_logged(head: &Head, route: Option<Route>, response: &Response) -> bool {
    if matches!(route, Some(Route::DebugPage(_) | Route::Metrics)) {
        return false;
    }
    match response.status {
        Status::MovedPermanently | Status::TemporaryRedirect => false,
        Status::Ok => head.method != Method::Options,
        _ => true,
    }
}

/// 400 with this code.
fn refused(code: &str) -> Response {
    Response::error(Status::BadRequest, code)
}

fn json(value: &impl serde::Serialize) -> Response {
    Response::json(to_go_json(value))
}

/// What a route but `/lookup` answers; the `Err` is an answer as well, the earlier one.
fn answer(server: &Server, route: Route, head: &Head) -> Result<Response, Response> {
    let mut registry = server.registry.borrow_mut();
    let arguments = || Arguments::of(head);
    Ok(match route {
        Route::Ping => Response::text("OK"),
        Route::Info => json(&Info { version: version::NSQ_VERSION.to_owned() }),
        Route::Metrics => {
            let (counts, waiting) = (registry.counts(server.clock.now()), server.waiting.count());
            let text = server.metrics.borrow().to_text(counts, waiting, server.clock.start_unix());
            Response::with_content_type(CONTENT_TYPE, text)
        }
        Route::Debug => json(&registry.dump()),
        Route::DebugPage(page) => {
            let response = Response::debug_page(page.content_type(), page.body());
            if page.is_offered() { response } else { response.with_status(Status::NotImplemented) }
        }
        Route::Topics => json(&Topics { topics: registry.topics() }),
        Route::Channels => {
            let topic = arguments()?.known_topic()?;
            let channels = topic.map(|topic| registry.channels(topic)).unwrap_or_default();
            json(&Channels { channels })
        }
        Route::Lookup | Route::Nodes => {
            unreachable!("what may wait is answered by the connection")
        }
        Route::CreateTopic => {
            let topic = arguments()?.new_topic()?;
            info!("DB: adding topic({topic})");
            registry.create_topic(topic);
            server.waiting.wake(topic);
            Response::empty()
        }
        Route::DeleteTopic => {
            if let Some(topic) = arguments()?.known_topic()? {
                delete_topic(&mut registry, topic);
                server.waiting.wake(topic);
            }
            Response::empty()
        }
        Route::CreateChannel => {
            let (topic, channel) = arguments()?.topic_and_channel()?;
            info!("DB: adding channel({channel}) in topic({topic})");
            info!("DB: adding topic({topic})");
            registry.create_channel(topic, channel);
            server.waiting.wake(topic);
            Response::empty()
        }
        Route::DeleteChannel => {
            let (topic, channel) = arguments()?.topic_and_channel()?;
            if !registry.delete_channel(topic, channel) {
                return Err(Response::error(Status::NotFound, "CHANNEL_NOT_FOUND"));
            }
            info!("DB: removing channel({channel}) from topic({topic})");
            server.waiting.wake(topic);
            Response::empty()
        }
        Route::TombstoneProducer => {
            let arguments = arguments()?;
            let topic = arguments.known_topic()?;
            let node = arguments.0.get("node").ok_or_else(|| refused("MISSING_ARG_NODE"))?;
            if let Some(topic) = topic {
                info!("DB: setting tombstone for producer@{node} of topic({topic})");
                registry.tombstone(topic, node, server.clock.now());
                server.waiting.wake(topic);
            }
            Response::empty()
        }
    })
}

/// All nsqds with their topics. Others may ask between two steps.
async fn nodes(server: &Server) -> Response {
    let mut list = server.registry.borrow().nodes(server.clock.now());
    while server.registry.borrow().add_topics(&mut list) {
        tokio::task::yield_now().await;
    }
    let mut body = String::new();
    for piece in list.into_pieces() {
        body.push_str(&piece);
        tokio::task::yield_now().await;
    }
    Response::json(body)
}

fn delete_topic(registry: &mut Registry, topic: TopicName) {
    for key in registry.delete_topic(topic) {
        match key {
            Key::Channel(topic, channel) => {
                info!("DB: removing channel({channel}) from topic({topic})");
            }
            Key::Topic(topic) => info!("DB: removing topic({topic})"),
            Key::Client => {}
        }
    }
}

/// The arguments that routes share, each with the error for its absence.
struct Arguments(Query);

impl Arguments {
    fn of(head: &Head) -> Result<Self, Response> {
        head.query().map(Self).map_err(|_| refused("INVALID_REQUEST"))
    }

    fn topic(&self) -> Result<&str, Response> {
        self.0.get("topic").ok_or_else(|| refused("MISSING_ARG_TOPIC"))
    }

    /// A topic to look for. An illegal name is not an error: it is just nowhere to be found.
    fn known_topic(&self) -> Result<Option<TopicName>, Response> {
        Ok(TopicName::parse(self.topic()?.as_bytes()).ok())
    }

    /// A topic to be made.
    fn new_topic(&self) -> Result<TopicName, Response> {
        TopicName::parse(self.topic()?.as_bytes()).map_err(|_| refused("INVALID_ARG_TOPIC"))
    }

    fn topic_and_channel(&self) -> Result<(TopicName, ChannelName), Response> {
        let topic = self.new_topic()?;
        let channel = self.0.get("channel").ok_or_else(|| refused("MISSING_ARG_CHANNEL"))?;
        let channel =
            ChannelName::parse(channel.as_bytes()).map_err(|_| refused("INVALID_ARG_CHANNEL"))?;
        Ok((topic, channel))
    }
}
