//! Which brokers have a topic, as nsqlookupds tell it to a go-nsq consumer.
//!
//! Knows: the request, and both forms of the answer. Does not know: when to ask, nor what becomes of
//! the brokers. The tools that look at whole clusters have [`crate::cluster`].

use std::error::Error;
use std::time::Duration;

use protocol::quoted::quoted;
use reqwest::header::{ACCEPT, AUTHORIZATION};
use reqwest::{Client, Url};
use serde::Deserialize;

use super::dial;
use super::options::Options;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How often one question is asked, at one nsqlookupd after the other, before it has to wait for the
/// next round (NSQ behaviour).
pub(super) const TRIES: usize = 3;

/// The nsqlookupds of a consumer, which are asked in turn.
pub(super) struct Discovery {
    http: Client,
    endpoints: Vec<String>,
    next: usize,
    secret: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Producers {
    producers: Option<Vec<Producer>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Producer {
    broadcast_address: String,
    tcp_port: i64,
}

/// The form that old versions of nsqlookupd answer in.
#[derive(Deserialize)]
struct Wrapped {
    data: Producers,
}

impl Discovery {
    /// Nobody to be asked yet. Whether anybody will be asked over HTTPS has to be known: it takes a
    /// while to read the certificates that the machine trusts.
    ///
    /// # Errors
    /// When no HTTP requests can be made at all.
    pub(super) fn new(options: &Options, is_encrypted: bool) -> Result<Self, String> {
        // Whoever comes first chooses for the process; all choose the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut http = Client::builder().no_proxy().user_agent(&options.user_agent);
        if !is_encrypted {
            http = http.tls_certs_only([]);
        }
        if let Some(limit) = options.lookupd_poll_timeout.limit() {
            http = http.connect_timeout(limit).timeout(limit);
        }
        let secret = &options.auth_secret;
        Ok(Self {
            http: http
                .pool_idle_timeout(Duration::from_secs(90))
                .build()
                .map_err(|error| error.to_string())?,
            endpoints: Vec::new(),
            next: 0,
            secret: (options.lookupd_authorization && !secret.is_empty()).then(|| secret.clone()),
        })
    }

    /// Adds an endpoint; false when it was there.
    pub(super) fn add(&mut self, endpoint: String) -> bool {
        let is_new = !self.endpoints.contains(&endpoint);
        if is_new {
            self.endpoints.push(endpoint);
        }
        is_new
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Whose turn it is.
    pub(super) fn take_turn(&mut self) -> Question {
        let endpoint = self.endpoints[self.next % self.endpoints.len()].clone();
        self.next = (self.next + 1) % self.endpoints.len();
        Question { http: self.http.clone(), secret: self.secret.clone(), endpoint }
    }
}

/// A question to one nsqlookupd.
pub(super) struct Question {
    http: Client,
    secret: Option<String>,
    pub(super) endpoint: String,
}

impl Question {
    /// The TCP addresses of the brokers.
    ///
    /// # Errors
    /// In go-nsq's words.
    pub(super) async fn ask(&self) -> Result<Vec<String>, String> {
        const VERSION: &str = "nsq; version=1.0";
        let mut request =
            self.http.get(&self.endpoint).header(ACCEPT, "application/vnd.nsq; version=1.0");
        if let Some(secret) = &self.secret {
            request = request.header(AUTHORIZATION, format!("Bearer {secret}"));
        }
        let mut response = request.send().await.map_err(|error| self.failed(&error))?;
        let status = response.status();
        let is_bare = response
            .headers()
            .get("x-nsq-content-type")
            .is_some_and(|value| value.as_bytes() == VERSION.as_bytes());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(&error))? {
            if ANSWER_BYTES_MAX < body.len() + chunk.len() {
                return Err(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        if status.as_u16() != 200 {
            return Err(format!("got response {status} {}", quoted(&body)));
        }
        if body.is_empty() {
            return Ok(Vec::new());
        }
        let producers: Result<Producers, _> = if is_bare {
            serde_json::from_slice(&body)
        } else {
            serde_json::from_slice::<Wrapped>(&body).map(|wrapped| wrapped.data)
        };
        let producers = producers.map_err(|error| error.to_string())?;
        let brokers = producers.producers.unwrap_or_default();
        Ok(brokers.iter().map(Producer::address).collect())
    }

    /// Why nothing was answered, as Go's HTTP client says it.
    fn failed(&self, error: &reqwest::Error) -> String {
        let endpoint = &self.endpoint;
        if error.is_timeout() {
            return format!(
                "Get {endpoint:?}: context deadline exceeded (Client.Timeout exceeded while \
                 awaiting headers)"
            );
        }
        let mut cause: &dyn Error = error;
        while let Some(below) = cause.source() {
            cause = below;
        }
        let reason = match cause.downcast_ref::<std::io::Error>() {
            Some(below) if error.is_connect() => {
                let url = Url::parse(endpoint).ok();
                let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
                let port = url.as_ref().and_then(Url::port_or_known_default).unwrap_or_default();
                format!("dial tcp {host}:{port}: connect: {}", dial::words(below))
            }
            Some(below) => dial::words(below),
            None => cause.to_string(),
        };
        format!("Get {endpoint:?}: {reason}")
    }
}

impl Producer {
    fn address(&self) -> String {
        let Self { broadcast_address: host, tcp_port: port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// Where an nsqlookupd at this address is asked for a topic. The address may be a whole URL.
///
/// # Errors
/// In go-nsq's words, when it names no port.
pub(super) fn endpoint(address: &str, topic: &str) -> Result<String, String> {
    let whole =
        if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let authority = whole.split("://").nth(1).unwrap_or_default();
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let has_port = dial::split(host).is_ok_and(|(_, port)| !port.is_empty());
    if !has_port {
        return Err("missing port".to_owned());
    }
    let mut url = Url::parse(&whole)
        .map_err(|error| format!("parse {}: {error}", quoted(whole.as_bytes())))?;
    if url.path() == "/" || url.path().is_empty() {
        url.set_path("/lookup");
    }
    url.query_pairs_mut().append_pair("topic", topic);
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_nsqlookupd_is_asked_at_its_path_for_the_topic() {
        for (address, expected) in [
            ("127.0.0.1:4161", Ok("http://127.0.0.1:4161/lookup?topic=t%23ephemeral")),
            ("http://a:1/", Ok("http://a:1/lookup?topic=t%23ephemeral")),
            ("https://a:1/x?y=z", Ok("https://a:1/x?y=z&topic=t%23ephemeral")),
            ("[::1]:4161", Ok("http://[::1]:4161/lookup?topic=t%23ephemeral")),
            ("localhost", Err("missing port")),
            ("", Err("missing port")),
            ("http://a/lookup", Err("missing port")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(endpoint(address, "t#ephemeral"), expected, "{address}");
        }
    }

    #[test]
    fn a_broker_at_an_ipv6_address_gets_brackets() {
        let address =
            |host: &str| Producer { broadcast_address: host.to_owned(), tcp_port: 4150 }.address();
        assert_eq!(address("::1"), "[::1]:4150");
        assert_eq!(address("host"), "host:4150");
    }
}
