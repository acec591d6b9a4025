//! HTTP and HTTPS with limits.
//!
//! Rule (NSQ behaviour): a process that answers 403 and names its HTTPS port is asked again there.
//! A POST has no body, and every request says that it wants the interface of version 1.
//!
//! Bounds: [`REQUESTS_MAX`] requests at once, whatever is asked of however many processes, and
//! [`REQUESTS_TO_ONE_MAX`] to one of them, so that one that hangs keeps the others free; an answer
//! of at most [`ANSWER_BYTES_MAX`]; the two durations of [`Patience`].
//!
//! Does not know: what is asked, or what an answer means.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use startup::listen;
use startup::version::RINGNSQ_VERSION;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answer::Failure;
use super::tls::Tls;
use crate::address::Address;
use crate::terminal::Ending;

/// The largest answer that is read. The statistics of a broker with 10,000 channels are a tenth.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How many requests are under way at once: a cluster of a hundred brokers is asked in one round, and
/// the default limit of open files is far away.
const REQUESTS_MAX: usize = 256;
/// How many of them to one process. Whoever waits for a place longer than for an answer gives up.
const REQUESTS_TO_ONE_MAX: usize = 8;
/// How long a connection that is not used is kept for the next question.
const IDLE_MAX: Duration = Duration::from_secs(90);

/// How long to wait for a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Until the connection is there.
    pub(crate) connect: Duration,
    /// Until the whole answer is there.
    pub(crate) request: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), request: Duration::from_secs(5) }
    }
}

/// Asks over HTTP, and over HTTPS where that is wanted. A clone shares connections and bounds.
#[derive(Clone)]
pub(crate) struct Http(Arc<Shared>);

struct Shared {
    patience: Patience,
    tls: Tls,
    plain: Client,
    /// Made when it is needed first, as reading the machine's certificates takes a while.
    encrypted: OnceLock<Result<Client, String>>,
    places: Semaphore,
    /// The places at each process.
    gates: Mutex<HashMap<Address, Arc<Semaphore>>>,
}

/// What a process that wants HTTPS answers.
#[derive(Deserialize)]
struct Forbidden {
    https_port: u16,
}

/// What a refusal says.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Http {
    /// With the machine's certificates for HTTPS.
    pub(crate) fn new(patience: Patience) -> Result<Self, Ending> {
        Self::with_tls(patience, Tls::default())
    }

    /// With certificates of one's own.
    pub(crate) fn with_tls(patience: Patience, tls: Tls) -> Result<Self, Ending> {
        // Whoever installed one already installed the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let plain = builder(patience).tls_certs_only([]).build();
        let plain =
            plain.map_err(|error| Ending::Failed(format!("cannot make HTTP requests: {error}")))?;
        Ok(Self(Arc::new(Shared {
            patience,
            tls,
            plain,
            encrypted: OnceLock::new(),
            places: Semaphore::new(REQUESTS_MAX),
            gates: Mutex::default(),
        })))
    }

    /// The answer to a GET, read as JSON.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        address: &Address,
        path_and_query: &str,
    ) -> Result<T, Failure> {
        let body = self.ask(Method::GET, address, path_and_query).await?;
        read(address, &body)
    }

    /// Has something done.
    pub(crate) async fn post(
        &self,
        address: &Address,
        path_and_query: &str,
    ) -> Result<(), Failure> {
        self.ask(Method::POST, address, path_and_query).await.map(drop)
    }

    /// Has something done that is answered with JSON.
    pub(crate) async fn post_for<T: DeserializeOwned>(
        &self,
        address: &Address,
        path_and_query: &str,
    ) -> Result<T, Failure> {
        let body = self.ask(Method::POST, address, path_and_query).await?;
        read(address, &body)
    }

    /// Asks all, and returns their answers in the order of `addresses`.
    pub(crate) async fn get_all<T: DeserializeOwned + Send + 'static>(
        &self,
        addresses: &[Address],
        path_and_query: &str,
    ) -> Vec<(Address, Result<T, Failure>)> {
        let path_and_query: Arc<str> = path_and_query.into();
        self.all(addresses, move |http, address| {
            let path_and_query = Arc::clone(&path_and_query);
            async move { http.get(&address, &path_and_query).await }
        })
        .await
    }

    /// Has all do something, and returns what became of it in the order of `addresses`.
    pub(crate) async fn post_all(
        &self,
        addresses: &[Address],
        path_and_query: &str,
    ) -> Vec<(Address, Result<(), Failure>)> {
        let path_and_query: Arc<str> = path_and_query.into();
        self.all(addresses, move |http, address| {
            let path_and_query = Arc::clone(&path_and_query);
            async move { http.post(&address, &path_and_query).await }
        })
        .await
    }

    /// Has `work` with every address at once, as far as the bounds allow.
    pub(super) async fn all<T, Work>(
        &self,
        addresses: &[Address],
        work: impl Fn(Self, Address) -> Work,
    ) -> Vec<(Address, Result<T, Failure>)>
    where
        T: Send + 'static,
        Work: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        for (place, address) in addresses.iter().enumerate() {
            let work = work(self.clone(), address.clone());
            tasks.spawn(async move { (place, work.await) });
        }
        let mut answers = tasks.join_all().await;
        answers.sort_unstable_by_key(|(place, _)| *place);
        answers.into_iter().map(|(place, answer)| (addresses[place].clone(), answer)).collect()
    }

    /// The body of an answer with status 200.
    async fn ask(
        &self,
        method: Method,
        address: &Address,
        path_and_query: &str,
    ) -> Result<Vec<u8>, Failure> {
        // An address without a host means this machine, as it does to Go.
        let host = if address.host().is_empty() { "localhost" } else { "" };
        let url = format!("http://{host}{address}{path_and_query}");
        let gate = self.gate(address).await;
        let waiting = async {
            let at_the_process = gate.acquire().await;
            (at_the_process, self.0.places.acquire().await)
        };
        let Ok(_places) = timeout(self.0.patience.request, waiting).await else {
            let asked = Question { method: &method, address, port: address.port(), url: &url };
            return Err(asked.late());
        };
        let (status, body) =
            self.send(&self.0.plain, &method, address, address.port(), url).await?;
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::FORBIDDEN => {
                let forbidden: Forbidden =
                    serde_json::from_slice(&body).map_err(|error| Failure {
                        status: Some(status.as_u16()),
                        ..Failure::unreadable(address, &error)
                    })?;
                let port = forbidden.https_port;
                let url = format!("https://{}:{port}{path_and_query}", address.host());
                let client = self.encrypted().map_err(|reason| Failure {
                    address: address.clone(),
                    in_nsq_words: reason.clone(),
                    reason,
                    status: None,
                })?;
                match self.send(client, &method, address, port, url).await? {
                    (StatusCode::OK, body) => Ok(body),
                    (status, body) => Err(Failure::refused(address, status, &body)),
                }
            }
            status => Err(Failure::refused(address, status, &body)),
        }
    }

    /// The places at one process.
    async fn gate(&self, address: &Address) -> Arc<Semaphore> {
        let mut gates = self.0.gates.lock().await;
        if let Some(gate) = gates.get(address) {
            return Arc::clone(gate);
        }
        // A process that nobody asks needs none: it may be gone for good.
        gates.retain(|_, gate| 1 < Arc::strong_count(gate));
        let gate = Arc::new(Semaphore::new(REQUESTS_TO_ONE_MAX));
        gates.insert(address.clone(), Arc::clone(&gate));
        gate
    }

    /// One request, and its answer whatever its status.
    async fn send(
        &self,
        client: &Client,
        method: &Method,
        address: &Address,
        port: u16,
        url: String,
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        let asked = Question { method, address, port, url: &url };
        let sent = client
            .request(method.clone(), &url)
            .header("Accept", "application/vnd.nsq; version=1.0")
            .send();
        let mut response = match sent.await {
            Ok(response) => response,
            Err(error) => return Err(asked.unanswered(&error).await),
        };
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| asked.half_answered(&error))?
        {
            if ANSWER_BYTES_MAX < body.len() + chunk.len() {
                return Err(Failure::told(
                    address,
                    &format!("its answer is longer than {ANSWER_BYTES_MAX} bytes"),
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }

    fn encrypted(&self) -> Result<&Client, String> {
        let made = self.0.encrypted.get_or_init(|| {
            let client = self.0.tls.prepare(builder(self.0.patience)).build();
            client.map_err(|error| format!("cannot make HTTPS requests: {}", root_cause(&error)))
        });
        made.as_ref().map_err(Clone::clone)
    }
}

fn builder(patience: Patience) -> reqwest::ClientBuilder {
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(patience.connect)
        .timeout(patience.request)
        .pool_idle_timeout(IDLE_MAX)
        .user_agent(format!("admin-cli/{RINGNSQ_VERSION}"))
}

fn read<T: DeserializeOwned>(address: &Address, body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::unreadable(address, &error))
}

/// What was asked, for the words of a failure.
struct Question<'a> {
    method: &'a Method,
    address: &'a Address,
    /// Where the connection goes: for HTTPS it is another one.
    port: u16,
    url: &'a str,
}

impl Question<'_> {
    /// Nothing came back.
    async fn unanswered(&self, error: &reqwest::Error) -> Failure {
        let cause = root_cause(error);
        let (reason, words) = if error.is_connect() {
            self.unconnected(error, cause).await
        } else if error.is_timeout() {
            return self.late();
        } else if cause == "connection closed before message completed" {
            ("it closed the connection without an answer".to_owned(), "EOF".to_owned())
        } else {
            (cause.clone(), cause)
        };
        self.failed(reason, &words)
    }

    /// No answer came in time.
    fn late(&self) -> Failure {
        let words = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
        self.failed("no answer in time".to_owned(), words)
    }

    fn failed(&self, reason: String, words: &str) -> Failure {
        let method = if self.method == Method::GET { "Get" } else { "Post" };
        let in_nsq_words = format!("{method} {:?}: {words}", self.url);
        Failure { address: self.address.clone(), reason, in_nsq_words, status: None }
    }

    /// Why there is no connection: for people, and in NSQ's words, which show the address that a name
    /// stands for. Of a name that stands for none NSQ says also which server does not know it.
    async fn unconnected(&self, error: &reqwest::Error, cause: String) -> (String, String) {
        let target = (self.address.host_without_brackets(), self.port);
        let resolved = tokio::net::lookup_host(target).await;
        let Some(target) = resolved.ok().and_then(|mut found| found.next()) else {
            let host = self.address.host();
            let reason = format!("the host {host} is not known");
            return (reason, format!("dial tcp: lookup {host}: no such host"));
        };
        if error.is_timeout() {
            return ("no connection in time".to_owned(), format!("dial tcp {target}: i/o timeout"));
        }
        match system_words(error) {
            Some(words) => {
                let dialled = format!("dial tcp {target}: connect: {words}");
                (words, dialled)
            }
            None => (cause.clone(), cause),
        }
    }

    /// The answer began and did not end.
    fn half_answered(&self, error: &reqwest::Error) -> Failure {
        let (reason, words) = if error.is_timeout() {
            let words = "context deadline exceeded (Client.Timeout or context cancellation while \
                         reading body)";
            ("its answer does not end in time", words)
        } else {
            ("its answer breaks off", "unexpected EOF")
        };
        let in_nsq_words = words.to_owned();
        let address = self.address.clone();
        Failure { address, reason: reason.to_owned(), in_nsq_words, status: None }
    }
}

impl Failure {
    /// A failure with one and the same text for everybody.
    pub(crate) fn told(address: &Address, text: &str) -> Self {
        let (reason, in_nsq_words) = (text.to_owned(), text.to_owned());
        Self { address: address.clone(), reason, in_nsq_words, status: None }
    }

    fn refused(address: &Address, status: StatusCode, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let reason = match serde_json::from_slice(body) {
            Ok(Refusal { message }) => message,
            Err(_) => status.to_string(),
        };
        let in_nsq_words = format!("got response {status} {text:?}");
        Self { address: address.clone(), reason, in_nsq_words, status: Some(status.as_u16()) }
    }

    fn unreadable(address: &Address, error: &serde_json::Error) -> Self {
        let reason = format!("its answer is not what it should be: {error}");
        Self { address: address.clone(), reason, in_nsq_words: error.to_string(), status: None }
    }
}

/// What the system said, in Go's words, when it was the system.
fn system_words(error: &reqwest::Error) -> Option<String> {
    let mut cause: &dyn Error = error;
    loop {
        if let Some(words) = cause.downcast_ref::<io::Error>().and_then(listen::words) {
            return Some(words);
        }
        cause = cause.source()?;
    }
}

/// What lies under the layers of an HTTP error: those above only say that a request failed.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}
