//! HTTP requests of ours: to authorization servers, and to nsqlookupds.
//!
//! Knows: connections, hosts' addresses, redirects, and how long all of it may take. The bytes are
//! [`protocol::http::client`]'s. Does not know: what is asked for.
//!
//! A connection serves one request: who is asked is asked seldom, and a connection that was kept
//! would have to be found broken first. What an answer holds in memory is bounded by the asker.

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt};
use glommio::net::TcpStream;
use glommio::sync::Semaphore;
use protocol::http::client::{Answer, AnswerReader, BadAnswer, Request};
use protocol::http::url::BadUrl;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// So many redirects are followed, as by Go's clients.
const REDIRECTS_MAX: u32 = 10;
/// So many hosts' addresses are looked up at once; each look-up keeps a thread, for as long as the
/// system's resolver takes.
const LOOKUPS_MAX: u64 = 8;
/// So many requests of a core are on their way at once; more wait, within their time. They must not
/// take all descriptors when whoever is asked does not answer and thousands of clients want to know.
const REQUESTS_MAX: u64 = 1_024;
/// What is read at once.
const READ_BYTES: usize = 4096;

/// How long a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until there is a connection: the look-up of the host's address included.
    pub connect: Duration,
    /// From the start to the end of the answer, redirects included.
    pub whole: Duration,
}

/// Why there is no answer. What is shown holds no query.
#[derive(Debug)]
pub enum Failure {
    /// There was no connection.
    Connect(io::Error),
    /// The connection broke.
    Exchange(io::Error),
    /// It took too long.
    TooLate,
    /// What came is no answer that can be taken.
    Answer(BadAnswer),
    /// A redirect leads nowhere.
    Redirect(BadUrl),
    /// There were too many redirects.
    Redirects,
    /// TLS failed.
    Tls(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "failed to connect: {error}"),
            Self::Exchange(error) => write!(f, "the connection broke: {error}"),
            Self::TooLate => write!(f, "timed out"),
            Self::Answer(error) => write!(f, "{error}"),
            Self::Redirect(error) => write!(f, "redirected to a bad address: {error}"),
            Self::Redirects => write!(f, "stopped after {REDIRECTS_MAX} redirects"),
            Self::Tls(error) => write!(f, "tls: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<BadAnswer> for Failure {
    fn from(error: BadAnswer) -> Self {
        Self::Answer(error)
    }
}

/// Asks. One for each core.
#[derive(Debug)]
pub struct Client {
    user_agent: String,
    /// Whom it believes over TLS; `None`: nobody.
    tls: Option<Arc<ClientConfig>>,
    lookups: Rc<Semaphore>,
    requests: Semaphore,
}

impl Client {
    /// One that calls itself `user_agent`, and believes over TLS whom `tls` says.
    pub fn new(user_agent: String, tls: Option<Arc<ClientConfig>>) -> Self {
        let lookups = Rc::new(Semaphore::new(LOOKUPS_MAX));
        Self { user_agent, tls, lookups, requests: Semaphore::new(REQUESTS_MAX) }
    }

    /// Asks, and waits for an answer with at most `body_bytes_max` bytes of content. Redirects are
    /// followed; any other status is an answer like any.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask(
        &self,
        mut request: Request,
        patience: Patience,
        body_bytes_max: usize,
    ) -> Result<Answer, Failure> {
        let asked = async {
            // Given back when it is dropped; it fails only when the semaphore was closed.
            let _one_of_many = self.requests.acquire_permit(1).await.ok();
            for _ in 0..=REDIRECTS_MAX {
                let answer = self.ask_once(&request, patience, body_bytes_max).await?;
                match answer.location {
                    Some(location) if matches!(answer.status, 301 | 302 | 303 | 307 | 308) => {
                        let to = request.url.redirected(&location).map_err(Failure::Redirect)?;
                        request = request.redirected(to, answer.status);
                    }
                    _ => return Ok(answer),
                }
            }
            Err(Failure::Redirects)
        };
        within(patience.whole, asked).await
    }

    async fn ask_once(
        &self,
        request: &Request,
        patience: Patience,
        body_bytes_max: usize,
    ) -> Result<Answer, Failure> {
        let session =
            if request.url.is_https { Some(self.tls_session(&request.url.host)?) } else { None };
        let place = request.url.host_and_port();
        let connecting = self.connect(&place, patience.connect);
        let mut stream = within(patience.connect, connecting).await?;
        let bytes = request.encode(&self.user_agent);
        match session {
            None => exchange(&mut stream, &bytes, body_bytes_max).await,
            Some(session) => exchange_over(session, &mut stream, &bytes, body_bytes_max).await,
        }
    }

    fn tls_session(&self, host: &str) -> Result<ClientConnection, Failure> {
        let failed = |error: &dyn fmt::Display| Failure::Tls(error.to_string());
        let config = self.tls.clone().ok_or(Failure::Tls("nobody is believed".to_owned()))?;
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
        let mut session = ClientConnection::new(config, name).map_err(|error| failed(&error))?;
        // What is sent is bounded already.
        session.set_buffer_limit(None);
        Ok(session)
    }

    /// Connects to the first of the host's addresses that answers.
    async fn connect(&self, place: &str, patience: Duration) -> Result<TcpStream, Failure> {
        let mut failure = io::Error::other("the host has no address");
        for address in self.resolve(place).await.map_err(Failure::Connect)? {
            match TcpStream::connect_timeout(address, patience).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error.into(),
            }
        }
        Err(Failure::Connect(failure))
    }

    /// The addresses of `host:port`. The system's resolver may take many seconds, and the one thread
    /// that this core has for what blocks serves its files, so it gets a thread of its own.
    async fn resolve(&self, place: &str) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = place.parse() {
            return Ok(vec![address]);
        }
        let may_start = self.lookups.acquire_static_permit(1).await;
        let place = place.to_owned();
        let looking_up = glommio::spawn_local(async move {
            let answer = look_up(place).await;
            // The thread has ended, whether or not anybody has waited so long.
            drop(may_start);
            answer
        });
        let answer = looking_up.detach().await;
        answer.ok_or_else(|| io::Error::other("the look-up was given up"))?
    }
}

/// Has a thread ask the system's resolver; its answer comes through a socket, which can be waited
/// for: an address a line, or `!` and what is wrong.
///
/// # Errors
/// When the host is not known, or no thread can be started.
pub async fn look_up(place: String) -> io::Result<Vec<SocketAddr>> {
    let (answer, mut teller) = UnixStream::pair()?;
    let ask = move || {
        let lines = match place.to_socket_addrs() {
            Ok(addresses) => addresses.map(|address| format!("{address}\n")).collect(),
            Err(error) => format!("!{error}"),
        };
        // Nobody listens any more when the core has stopped.
        teller.write_all(lines.as_bytes()).ok();
    };
    std::thread::Builder::new().name("resolver".to_owned()).spawn(ask)?;
    // Any stream of bytes can be waited for as a socket of ours.
    let answer = std::net::TcpStream::from(OwnedFd::from(answer));
    answer.set_nonblocking(true)?;
    let mut answer = TcpStream::from(socket2::Socket::from(answer));
    let mut lines = String::new();
    answer.read_to_string(&mut lines).await?;
    if let Some(error) = lines.strip_prefix('!') {
        return Err(io::Error::other(error.to_owned()));
    }
    lines.lines().map(|line| line.parse().map_err(io::Error::other)).collect()
}

/// Sends a request and reads the answer.
async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
    body_bytes_max: usize,
) -> Result<Answer, Failure> {
    // A server may answer, and close, before it has read all of the request.
    let written = stream.write_all(request).await;
    let mut reader = AnswerReader::new(body_bytes_max);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return Ok(reader.finish()?),
            Ok(bytes) => {
                if reader.feed(&buffer[..bytes])? {
                    return Ok(reader.finish()?);
                }
            }
            Err(error) => return Err(Failure::Exchange(written.err().unwrap_or(error))),
        }
    }
}

/// As [`exchange`], inside TLS.
async fn exchange_over(
    mut session: ClientConnection,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
    body_bytes_max: usize,
) -> Result<Answer, Failure> {
    // It goes out when the handshake is over.
    session.writer().write_all(request).map_err(Failure::Exchange)?;
    let mut reader = AnswerReader::new(body_bytes_max);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let mut wire = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut wire).map_err(Failure::Exchange)?;
        }
        stream.write_all(&wire).await.map_err(Failure::Exchange)?;
        let came = stream.read(&mut buffer).await.map_err(Failure::Exchange)?;
        if came == 0 {
            return Ok(reader.finish()?);
        }
        let mut rest = &buffer[..came];
        while !rest.is_empty() {
            session.read_tls(&mut rest).map_err(Failure::Exchange)?;
            let state =
                session.process_new_packets().map_err(|error| Failure::Tls(error.to_string()))?;
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            session.reader().read_exact(&mut plain).map_err(Failure::Exchange)?;
            if reader.feed(&plain)? || state.peer_has_closed() {
                return Ok(reader.finish()?);
            }
        }
    }
}

async fn within<T>(
    longest: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let too_late = async {
        glommio::timer::sleep(longest).await;
        Err(Failure::TooLate)
    };
    work.or(too_late).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use glommio::{LocalExecutorBuilder, Placement};
    use protocol::http::url::Url;
    use std::net::TcpListener;

    const PATIENCE: Patience =
        Patience { connect: Duration::from_secs(10), whole: Duration::from_secs(20) };

    /// A server that gives these answers, one a connection, and then nothing more; returns what it
    /// was asked. `ADDRESS` in an answer stands for its own.
    fn serve(answers: &'static [&'static str]) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let own = address.clone();
        let asked = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).unwrap();
                asked.push(String::from_utf8_lossy(&request[..length]).into_owned());
                stream.write_all(answer.replace("ADDRESS", &own).as_bytes()).unwrap();
            }
            asked
        });
        (address, asked)
    }

    /// What comes of a GET of `url`.
    fn get(url: &str, patience: Patience) -> Result<Answer, Failure> {
        let url = Url::parse(url).unwrap();
        let executor = LocalExecutorBuilder::new(Placement::Unbound).make().unwrap();
        executor.run(async move {
            crate::pulse::start();
            Client::new("test/1".to_owned(), None).ask(Request::get(url), patience, 10).await
        })
    }

    #[test]
    fn a_host_is_found_by_its_name_and_its_answer_read() {
        let (address, asked) = serve(&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", ""]);
        let port = address.rsplit_once(':').unwrap().1;
        let answer = get(&format!("http://localhost:{port}/a?b"), PATIENCE).unwrap();
        assert_eq!((answer.status, answer.body), (200, b"hello".to_vec()));
        let failed = get(&format!("http://{address}/"), PATIENCE).unwrap_err();
        assert!(matches!(failed, Failure::Answer(BadAnswer::Unfinished)), "{failed}");
        let asked = asked.join().unwrap();
        assert!(asked[0].starts_with("GET /a?b HTTP/1.1\r\n"), "{}", asked[0]);
    }

    #[test]
    fn redirects_are_followed_but_not_for_ever() {
        let (address, asked) = serve(&[
            "HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n",
            "HTTP/1.1 307 Moved\r\nLocation: http://ADDRESS/here\r\n\r\n",
            "HTTP/1.1 418 Tea\r\nContent-Length: 0\r\n\r\n",
        ]);
        let answer = get(&format!("http://{address}/"), PATIENCE).unwrap();
        assert_eq!((answer.status, answer.reason.as_str()), (418, "Tea"));
        let asked = asked.join().unwrap();
        let lines: Vec<_> = asked.iter().filter_map(|asked| asked.lines().next()).collect();
        assert_eq!(lines, ["GET / HTTP/1.1", "GET /there HTTP/1.1", "GET /here HTTP/1.1"]);

        let (address, asked) = serve(&["HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"; 11]);
        let failed = get(&format!("http://{address}/"), PATIENCE).unwrap_err();
        assert!(matches!(failed, Failure::Redirects), "{failed}");
        assert_eq!(asked.join().unwrap().len(), 11);
    }

    #[test]
    fn nobody_is_waited_for_beyond_the_limit_and_nothing_is_shown_of_a_query() {
        // It accepts, as the system does, and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let short = Patience { whole: Duration::from_millis(50), ..PATIENCE };
        let failed = get(&format!("http://{address}/?secret"), short).unwrap_err();
        assert!(matches!(failed, Failure::TooLate), "{failed}");
        drop(silent);
        let failed = get(&format!("http://{address}/?secret"), PATIENCE).unwrap_err();
        assert!(matches!(failed, Failure::Connect(_)), "{failed}");
        assert!(!format!("{failed} {failed:?}").contains("secret"), "{failed:?}");
        // A name that is never given out (RFC 2606).
        let failed = get("http://nobody.invalid/", PATIENCE).unwrap_err();
        assert!(matches!(failed, Failure::Connect(_)), "{failed}");
    }
}
