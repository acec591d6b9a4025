//! Sends requests as Go's HTTP client sends them.
//!
//! Rule (NSQ behaviour): up to ten redirects are followed, after which a POST may have become a GET;
//! a request over a connection that turns out to be closed is repeated over another, if nothing of
//! it was sent, or if it is a GET; no proxy is used. The limit of time holds for all of a request,
//! and an answer whose head came in time counts, whether its body ends or not.
//!
//! Bounds: [`IDLE_MAX`] connections wait for the next request; as many more are in use as there are
//! requests under way.
//!
//! Does not know: which answers are good ones.

use std::cell::{OnceCell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use protocol::base64;
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};

use super::answer::{Answer, Body};
use super::connection::{Connection, Progress};
use super::headers::Headers;
use crate::client::tls::Tls;
use crate::url::{Url, quoted};

/// How many connections are kept for the next request.
const IDLE_MAX: usize = 100;
/// How long.
const IDLE_AGE_MAX: Duration = Duration::from_secs(90);
/// How many requests one may become.
const HOPS_MAX: usize = 10;
/// A body up to here is read before a redirect is followed, so that the connection can be kept.
const REDIRECT_BYTES_MAX: u64 = 2 << 10;

/// What is asked for, and what is sent along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method<'a> {
    Get,
    /// With a body.
    Post(&'a [u8]),
}

impl<'a> Method<'a> {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post(_) => "POST",
        }
    }

    fn body(self) -> Option<&'a [u8]> {
        match self {
            Self::Get => None,
            Self::Post(body) => Some(body),
        }
    }
}

/// Sends requests, many at once.
pub(super) struct Sender {
    headers: Headers,
    /// Until a connection is there; `None` for no limit.
    connect_limit: Option<Duration>,
    /// Until an answer is there.
    request_limit: Option<Duration>,
    /// Made when HTTPS is spoken first.
    tls: OnceCell<Arc<ClientConfig>>,
    idle: RefCell<Vec<Idle>>,
}

struct Idle {
    server: Server,
    connection: Connection,
    since: Instant,
}

/// Whom a connection leads to: whether over TLS, and where.
type Server = (bool, String);

/// One of the requests that a request becomes.
struct Hop<'a> {
    method: Method<'a>,
    url: Url,
    headers: Headers,
}

impl Sender {
    pub(super) fn new(headers: Headers, connect_limit: Duration, request_limit: Duration) -> Self {
        let limit = |duration: Duration| (!duration.is_zero()).then_some(duration);
        Self {
            headers,
            connect_limit: limit(connect_limit),
            request_limit: limit(request_limit),
            tls: OnceCell::new(),
            idle: RefCell::default(),
        }
    }

    /// The status of the answer.
    ///
    /// # Errors
    /// Why there is none, in the words of Go's client.
    pub(super) async fn send(&self, address: &str, method: Method<'_>) -> Result<u16, String> {
        let url = Url::parse(address)?;
        let verb = if method == Method::Get { "Get" } else { "Post" };
        let shown = RefCell::new(url.shown());
        let failed = |reason: String| format!("{verb} {}: {reason}", quoted(&shown.borrow()));
        let deadline = self.request_limit.map(|limit| Instant::now() + limit);
        let asking = self.follow(url, method, &shown);
        let (server, mut connection, answer) = within(deadline, asking)
            .await
            .unwrap_or_else(|| {
                let words =
                    "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
                Err(words.to_owned())
            })
            .map_err(failed)?;
        if within(deadline, connection.drain(&answer)).await == Some(true) {
            self.keep(server, connection);
        }
        Ok(answer.status)
    }

    /// The last answer, when all redirects are followed. `shown` is the address that was asked last.
    async fn follow(
        &self,
        url: Url,
        method: Method<'_>,
        shown: &RefCell<String>,
    ) -> Result<(Server, Connection, Answer), String> {
        let first_host = url.host.clone();
        let first_name = url.host_name().to_owned();
        let mut headers = self.headers.clone();
        let mut hop = Hop { method, url, headers: headers.clone() };
        for hops in 1.. {
            let (server, mut connection, answer) = self.ask(&hop).await?;
            let keeps_body = match answer.status {
                301..=303 => false,
                307 | 308 => true,
                _ => return Ok((server, connection, answer)),
            };
            let Some(location) = answer.location.clone().filter(|location| !location.is_empty())
            else {
                return Ok((server, connection, answer));
            };
            let to = hop.url.follow(&location).map_err(|reason| {
                format!("failed to parse Location header {}: {reason}", quoted(&location))
            })?;
            if !keeps_body {
                hop.method = Method::Get;
                headers = headers.without_body();
            }
            if to.host != first_host && !is_below(to.host_name(), &first_name) {
                headers = headers.without_secrets();
            }
            hop.headers = headers.clone();
            let tells_no_secret = to.is_encrypted() || !hop.url.is_encrypted();
            if tells_no_secret && !headers.has("Referer") {
                hop.headers.set("Referer", &hop.url.as_referer());
            }
            if hops == HOPS_MAX {
                shown.replace(location);
                return Err(format!("stopped after {HOPS_MAX} redirects"));
            }
            shown.replace(to.shown());
            hop.url = to;
            let is_short = matches!(answer.body, Body::Sized(bytes) if bytes <= REDIRECT_BYTES_MAX);
            if is_short && connection.drain(&answer).await {
                self.keep(server, connection);
            }
        }
        unreachable!("the loop ends with the last hop")
    }

    /// One answer.
    async fn ask(&self, hop: &Hop<'_>) -> Result<(Server, Connection, Answer), String> {
        let Hop { method, url, headers } = hop;
        if !matches!(url.scheme.as_str(), "http" | "https") {
            return Err(format!("unsupported protocol scheme {}", quoted(&url.scheme)));
        }
        if let Some(fault) = headers.fault() {
            return Err(fault);
        }
        if url.host.is_empty() {
            return Err("http: no Host in request URL".to_owned());
        }
        let request = write(*method, url, headers);
        let may_be_repeated = *method == Method::Get
            || headers.has("Idempotency-Key")
            || headers.has("X-Idempotency-Key");
        let server = (url.is_encrypted(), url.dialled());
        loop {
            let mut connection = match self.take(&server) {
                Some(connection) => connection,
                None => {
                    let tls = if url.is_encrypted() { Some(self.tls()?) } else { None };
                    Connection::open(url, self.connect_limit, tls).await?
                }
            };
            let was_used = connection.is_used;
            match connection.ask(&request).await {
                Ok(answer) => return Ok((server, connection, answer)),
                // It was closed while nobody used it.
                Err(broken)
                    if was_used
                        && match broken.progress {
                            Progress::NothingSent => true,
                            Progress::NothingReceived => may_be_repeated,
                            Progress::SomethingReceived => false,
                        } => {}
                Err(broken) => return Err(broken.text),
            }
        }
    }

    fn tls(&self) -> Result<&Arc<ClientConfig>, String> {
        if let Some(config) = self.tls.get() {
            return Ok(config);
        }
        let config = Tls::default().config()?;
        Ok(self.tls.get_or_init(|| config))
    }

    /// A connection to this server that waits for a request, the one that has waited least.
    fn take(&self, server: &Server) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let now = Instant::now();
        idle.retain(|idle| now < idle.since + IDLE_AGE_MAX);
        while let Some(at) = idle.iter().rposition(|idle| idle.server == *server) {
            let mut connection = idle.remove(at).connection;
            if connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, server: Server, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() == IDLE_MAX {
            idle.remove(0);
        }
        idle.push(Idle { server, connection, since: Instant::now() });
    }
}

/// The bytes of a request.
fn write(method: Method<'_>, url: &Url, headers: &Headers) -> Vec<u8> {
    let mut out = format!("{} {} HTTP/1.1\r\n", method.name(), url.target()).into_bytes();
    let credentials = url.credentials().filter(|_| !headers.has("Authorization"));
    match credentials {
        None => headers.push(&mut out, url.host_header(), method.body().map(<[u8]>::len)),
        Some(credentials) => {
            let mut headers = headers.clone();
            headers.set("Authorization", &format!("Basic {}", base64::encode(&credentials)));
            headers.push(&mut out, url.host_header(), method.body().map(<[u8]>::len));
        }
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(method.body().unwrap_or_default());
    out
}

/// Whether a host is this one or below it: `a.example.com` is below `example.com`.
fn is_below(host: &str, parent: &str) -> bool {
    let is_name = !host.contains([':', '%']);
    host == parent
        || (is_name && host.strip_suffix(parent).is_some_and(|front| front.ends_with('.')))
}

/// The outcome of `work`; `None` when the deadline comes first.
async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        None => Some(work.await),
        Some(deadline) => timeout_at(deadline, work).await.ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_to_the_host_and_those_below_it() {
        for (host, parent, expected) in [
            ("a", "a", true),
            ("b.a", "a", true),
            ("ba", "a", false),
            ("a", "b.a", false),
            ("::1%.a", "a", false),
        ] {
            assert_eq!(is_below(host, parent), expected, "{host} {parent}");
        }
    }

    #[test]
    fn a_request_is_what_goes_client_writes() {
        let headers =
            Headers::new("nsq_to_http v1.3.0", Some("application/octet-stream"), &[]).unwrap();
        let url = Url::parse("http://u:p@h:8080/a?b").unwrap();
        let request = String::from_utf8(write(Method::Post(b"body"), &url, &headers)).unwrap();
        assert_eq!(
            request,
            "POST /a?b HTTP/1.1\r\nHost: h:8080\r\nUser-Agent: nsq_to_http v1.3.0\r\n\
             Content-Length: 4\r\nAuthorization: Basic dTpw\r\n\
             Content-Type: application/octet-stream\r\nAccept-Encoding: gzip\r\n\r\nbody"
        );
    }
}
