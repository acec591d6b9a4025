//! `/ping` and `/info`: whether this broker is well, and who it is.

use crate::config::{Config, NSQ_VERSION};
use crate::shard::Shard;
use protocol::http::response::{Response, Status};
use protocol::json::to_go_json;
use protocol::stats::{Filter, Info, merge};
use startup::listen::Address;
use std::rc::Rc;
use std::time::Duration;

/// 200 `OK` when every core could write its logs the last time it tried, else 500 and the first
/// reason.
pub(super) async fn ping(shard: &Rc<Shard>) -> Response {
    let health = merge(shard.gather(&nothing_but_health()).await).health;
    if health == "OK" {
        Response::text("OK")
    } else {
        Response::text(health).with_status(Status::InternalServerError)
    }
}

/// No topic has an empty name.
pub(super) fn nothing_but_health() -> Filter {
    Filter { topic: Some(String::new()), channel: None, include_clients: false, include_mem: false }
}

/// The real ports, and what clients may ask for.
pub(super) fn info(config: &Config) -> Response {
    let limits = &config.limits;
    let info = Info {
        version: NSQ_VERSION.to_string(),
        broadcast_address: config.broadcast_address.clone(),
        hostname: config.hostname.clone(),
        http_port: config.http_address.as_ref().map_or(0, port_of),
        tcp_port: port_of(&config.tcp_address),
        start_time: config.started_at,
        max_heartbeat_interval: nanoseconds(limits.max_heartbeat_interval),
        max_output_buffer_size: i64::try_from(limits.max_output_buffer_bytes).unwrap_or(i64::MAX),
        max_output_buffer_timeout: nanoseconds(limits.max_output_buffer_timeout),
        max_deflate_level: i64::from(config.offer.max_deflate_level),
        topology_zone: config.offer.topology_zone.clone(),
        topology_region: config.offer.topology_region.clone(),
    };
    Response::json(to_go_json(&info))
}

/// A Unix socket has none (NSQ behaviour).
fn port_of(address: &Address) -> i32 {
    match address {
        Address::Port(address) => i32::from(address.port()),
        Address::Path(_) => -1,
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
