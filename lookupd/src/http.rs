//! The HTTP side: clients ask who produces a topic, administrators look and change.
//!
//! Knows: the routes with their arguments and errors, and the course of one connection. Does not
//! know: how requests and answers are spelled, which is `protocol::http`'s.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::http::body::{BodyError, BodyReader};
use protocol::http::date::http_date;
use protocol::http::query::Query;
use protocol::http::request::{Head, Method, parse_head};
use protocol::http::response::{CONTINUE, Response, Status};
use protocol::http::route::{Routed, Table};
use protocol::json::to_go_json;
use protocol::lookup::{Channels, Info, Topics};
use protocol::name::{ChannelName, TopicName};
use startup::{duration, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::info;

use crate::listen;
use crate::registry::{Key, Registry};
use crate::server::Server;

/// How much is read at once.
const READ_BYTES: usize = 4096;

/// How long a request that has begun may take to arrive whole.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
enum Route {
    Ping,
    Info,
    Debug,
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
]);

/// Serves one connection until it ends.
pub(crate) async fn serve(server: &Server, stream: TcpStream, peer: SocketAddr) {
    let mut connection = Connection { server, stream, peer, input: Vec::new() };
    // A connection that fails is gone; there is nobody to tell, and NSQ logs nothing either.
    if connection.run().await.is_ok() {
        listen::close(connection.stream).await;
    }
}

struct Connection<'a> {
    server: &'a Server,
    stream: TcpStream,
    peer: SocketAddr,
    /// What was read and not yet used; at most one head and what came behind it.
    input: Vec<u8>,
}

impl Connection<'_> {
    /// Answers requests until one of both sides wants to stop.
    async fn run(&mut self) -> io::Result<()> {
        let mut output = Vec::new();
        loop {
            let (head, head_bytes) = match parse_head(&self.input) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => {
                    if self.read().await? == 0 {
                        return Ok(());
                    }
                    continue;
                }
                Err(bad) => return self.stream.write_all(bad.answer()).await,
            };
            self.input.drain(..head_bytes);
            let start = self.server.clock.now();
            let body = self.pass_over_body(&head).await?;
            let response = match body {
                Err(BodyError::Malformed) => refused("INVALID_REQUEST"),
                Ok(()) | Err(BodyError::TooBig) => self.respond(&head),
            };
            let now = self.server.clock.now();
            if is_logged(&head, &response) {
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

    fn respond(&self, head: &Head) -> Response {
        match ROUTES.route(head) {
            Routed::Found(route, _) => {
                answer(self.server, route, head).unwrap_or_else(|error| error)
            }
            Routed::Respond(response) => response,
        }
    }
}

/// Redirects, and what `OPTIONS` tells about a path, are not worth a line.
fn is_logged(head: &Head, response: &Response) -> bool {
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

/// What a route answers; the `Err` is an answer as well, the earlier one.
fn answer(server: &Server, route: Route, head: &Head) -> Result<Response, Response> {
    let mut registry = server.registry.borrow_mut();
    let arguments = || head.query().map(Arguments).map_err(|_| refused("INVALID_REQUEST"));
    Ok(match route {
        Route::Ping => Response::text("OK"),
        Route::Info => json(&Info { version: version::NSQ_VERSION.to_owned() }),
        Route::Debug => json(&registry.dump()),
        Route::Topics => json(&Topics { topics: registry.topics() }),
        Route::Nodes => json(&registry.nodes(server.clock.now())),
        Route::Channels => {
            let topic = arguments()?.known_topic()?;
            let channels = topic.map(|topic| registry.channels(topic)).unwrap_or_default();
            json(&Channels { channels })
        }
        Route::Lookup => {
            let topic = arguments()?.known_topic()?;
            let found = topic.and_then(|topic| registry.lookup(topic, server.clock.now()));
            match found {
                Some(lookup) => json(&lookup),
                None => Response::error(Status::NotFound, "TOPIC_NOT_FOUND"),
            }
        }
        Route::CreateTopic => {
            let topic = arguments()?.new_topic()?;
            info!("DB: adding topic({topic})");
            registry.create_topic(topic);
            Response::empty()
        }
        Route::DeleteTopic => {
            if let Some(topic) = arguments()?.known_topic()? {
                delete_topic(&mut registry, topic);
            }
            Response::empty()
        }
        Route::CreateChannel => {
            let (topic, channel) = arguments()?.topic_and_channel()?;
            info!("DB: adding channel({channel}) in topic({topic})");
            info!("DB: adding topic({topic})");
            registry.create_channel(topic, channel);
            Response::empty()
        }
        Route::DeleteChannel => {
            let (topic, channel) = arguments()?.topic_and_channel()?;
            if !registry.delete_channel(topic, channel) {
                return Err(Response::error(Status::NotFound, "CHANNEL_NOT_FOUND"));
            }
            info!("DB: removing channel({channel}) from topic({topic})");
            Response::empty()
        }
        Route::TombstoneProducer => {
            let arguments = arguments()?;
            let topic = arguments.known_topic()?;
            let node = arguments.0.get("node").ok_or_else(|| refused("MISSING_ARG_NODE"))?;
            if let Some(topic) = topic {
                info!("DB: setting tombstone for producer@{node} of topic({topic})");
                registry.tombstone(topic, node, server.clock.now());
            }
            Response::empty()
        }
    })
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
