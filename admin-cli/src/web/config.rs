//! `/config/:opt`: options looked at, and the two that may be changed while nsqadmin runs.
//!
//! Rule (NSQ behaviour): whoever comes from `--allow-config-from-cidr` may, administrator or not.

use std::net::SocketAddr;

use protocol::http::response::{Response, Status};
use serde_json::Value;
use startup::log::LogLevel;

use super::access::Network;
use super::api::{json, refused};
use super::go_json::list;
use super::{Admin, address};

/// `GET /config/:opt`.
pub(super) fn show(admin: &Admin, name: &str, peer: SocketAddr) -> Result<Response, Response> {
    check(admin, peer)?;
    shown(admin, name)
}

/// `PUT /config/:opt`. `body` is `None` when it is too large.
pub(super) fn change(
    admin: &Admin,
    name: &str,
    peer: SocketAddr,
    body: Option<&[u8]>,
) -> Result<Response, Response> {
    check(admin, peer)?;
    let body = body.filter(|body| !body.is_empty());
    let body = body.ok_or_else(|| refused(Status::RequestEntityTooLarge, "INVALID_VALUE"))?;
    let invalid = || refused(Status::BadRequest, "INVALID_VALUE");
    let mut options = (*admin.options()).clone();
    match name {
        "nsqlookupd_http_addresses" => {
            let addresses = list(body).ok_or_else(invalid)?;
            if addresses.iter().any(|text| address(text).is_none()) {
                return Err(invalid());
            }
            options.nsqlookupd_http_addresses = addresses;
        }
        "log_level" => {
            let level: Option<LogLevel> =
                std::str::from_utf8(body).ok().and_then(|text| text.parse().ok());
            options.log_level = level.ok_or_else(invalid)?;
            admin.log.set_level(options.log_level);
        }
        _ => return Err(refused(Status::BadRequest, "INVALID_OPTION")),
    }
    admin.change_options(options);
    shown(admin, name)
}

fn check(admin: &Admin, peer: SocketAddr) -> Result<(), Response> {
    let options = admin.options();
    if options.allow_config_from_cidr.is_empty() {
        return Ok(());
    }
    let allowed = Network::parse(&options.allow_config_from_cidr);
    match allowed.is_some_and(|network| network.contains(peer.ip())) {
        true => Ok(()),
        false => Err(refused(Status::Forbidden, "FORBIDDEN")),
    }
}

fn shown(admin: &Admin, name: &str) -> Result<Response, Response> {
    match admin.options().shown(name) {
        None => Err(refused(Status::BadRequest, "INVALID_OPTION")),
        Some(Value::String(text)) => Ok(Response::nsq_text(text)),
        Some(value) => Ok(json(&value)),
    }
}
