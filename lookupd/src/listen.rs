//! Listening sockets, and the connections that come from them.
//!
//! Knows: what an address flag means, how a connection is accepted and how it is ended so that the
//! other side reads the last answer. Does not know: what is said on a connection.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use rustix::net::sockopt;
use startup::listen::shown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tracing::warn;

/// How long accepting rests when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a silent connection is left alone before the kernel asks whether anybody is there, and
/// between two such questions. Without it, a machine that lost power would stay connected for ever.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long, and how much, is still read from a connection that has had its last answer: closing
/// with unread bytes would reset it, and the answer could be lost.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1 << 20;

/// Listens on `address`: `host:port`, where no host, `0.0.0.0` and `::` all mean every address of
/// both families.
///
/// # Errors
/// When the name does not resolve, or the address cannot be taken.
pub(crate) async fn bind(address: &str) -> io::Result<TcpListener> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port: u16 = port.parse().map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("invalid port in {address:?}"))
    })?;
    let every = host.is_empty() || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    if every {
        return listen_on(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("no address for {host:?}"));
    for candidate in tokio::net::lookup_host((host, port)).await? {
        match listen_on(candidate) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = startup::listen::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Accepts connections for ever, and starts `serve` for each.
pub(crate) async fn accept<S, F>(listener: TcpListener, protocol: &str, serve: Rc<S>)
where
    S: Fn(TcpStream, SocketAddr) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = prepare(&stream) {
                    warn!("{protocol}: cannot prepare connection from {peer} - {error}");
                }
                tokio::task::spawn_local(serve(stream, shown(peer)));
            }
            Err(error) => {
                warn!("temporary Accept() failure - {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE)?;
    Ok(())
}

/// Ends a connection whose last answer was written.
pub(crate) async fn close(mut stream: TcpStream) {
    let read_rest = async {
        stream.shutdown().await?;
        let mut scratch = [0; 4096];
        let mut read = 0;
        while read < LINGER_BYTES_MAX {
            match stream.read(&mut scratch).await? {
                0 => break,
                bytes => read += bytes,
            }
        }
        io::Result::Ok(())
    };
    // The connection is over in any case; how it ends is the other side's business.
    drop(tokio::time::timeout(LINGER, read_rest).await);
}
