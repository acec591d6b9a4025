//! Pushes what all cores count to a statsd daemon, every interval.
//!
//! Runs on the first core. It waits for nobody: a datagram that the system does not take at once is
//! lost, as any datagram may be.

use super::Shard;
use super::statistics::Pace;
use crate::stats::statsd::Pushes;
use protocol::stats::{Filter, merge};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

/// The datagrams of a push are spread over the interval but for this (NSQ behaviour).
const REST: Duration = Duration::from_secs(1);

/// Pushes until the broker stops, if it is to push at all.
pub(super) async fn push(shard: Rc<Shard>) {
    let settings = shard.config.statsd.clone();
    let Some(address) = settings.address.clone() else { return };
    let interval = settings.interval;
    let mut pushes = Pushes::new(settings);
    let mut next = shard.clock.now().tick.plus(interval);
    loop {
        let now = shard.clock.now().tick;
        glommio::timer::sleep(next.since(now)).await;
        // What was missed while a push took too long is not made up for.
        next = next.max(now).plus(interval);
        match socket_towards(&address).await {
            Ok(socket) => {
                tracing::info!("STATSD: pushing stats to {address}");
                send(&shard, &socket, &mut pushes, interval).await;
            }
            Err(error) => {
                tracing::error!("failed to create UDP socket to statsd({address}) - {error}");
            }
        }
    }
}

/// One push: what is there now, a datagram after the other.
async fn send(shard: &Rc<Shard>, socket: &UdpSocket, pushes: &mut Pushes, interval: Duration) {
    let filter = Filter { include_clients: false, ..Filter::default() };
    let parts = shard.gather(&filter).await;
    let memory = crate::stats::memory_of(&parts, shard.config.memory_bytes_per_shard);
    let mut stats = merge(parts);
    stats.memory = Some(memory);
    let datagrams = pushes.datagrams(&stats);
    drop(stats);
    let count = u32::try_from(datagrams.len().max(1)).unwrap_or(u32::MAX);
    let pause = interval.saturating_sub(REST) / count;
    let mut pace = Pace::default();
    for datagram in datagrams {
        // The daemon may not be there, or the system's buffer may be full.
        socket.send(datagram.as_bytes()).ok();
        if pause.is_zero() {
            pace.step(1).await;
        } else {
            glommio::timer::sleep(pause).await;
        }
    }
}

/// A socket that sends to the daemon and never waits.
async fn socket_towards(address: &str) -> io::Result<UdpSocket> {
    let to = resolve(address).await?;
    let any: SocketAddr =
        if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(to)?;
    Ok(socket)
}

async fn resolve(address: &str) -> io::Result<SocketAddr> {
    if let Ok(address) = address.parse() {
        return Ok(address);
    }
    let all = crate::http::client::look_up(address.to_string()).await?;
    all.into_iter().next().ok_or_else(|| io::Error::other("the host has no address"))
}
