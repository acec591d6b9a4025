//! `/config/...`: how the broker was started, and the two options that may change while it runs.
//!
//! Rule (NSQ behaviour): text is shown as it is, all else as JSON: durations in nanoseconds, levels
//! and versions as their numbers. Only `log_level` (a word) and `nsqlookupd_tcp_addresses` (a JSON
//! list) can be set; the answer is what would be shown from then on.

use super::Refused;
use super::incoming::{Incoming, NoBody};
use crate::routing::request::{Answer, Question};
use crate::shard::Shard;
use crate::shard::departure::FIRST;
use protocol::http::response::{Response, Status};
use protocol::json::to_go_json;
use serde_json::Value;
use startup::log::LogLevel;
use std::rc::Rc;

/// The key of the level of the log.
const LOG_LEVEL: &str = "log_level";
/// The key of the list of nsqlookupds.
const LOOKUPDS: &str = "nsqlookupd_tcp_addresses";

const INVALID_OPTION: Refused = Refused(Status::BadRequest, "INVALID_OPTION");
const INVALID_VALUE: Refused = Refused(Status::BadRequest, "INVALID_VALUE");
/// The value is empty, or larger than a message may be.
const VALUE_SIZE: Refused = Refused(Status::RequestEntityTooLarge, "INVALID_VALUE");

/// The option with this key.
pub(super) async fn show(shard: &Rc<Shard>, key: &str) -> Result<Response, Refused> {
    let value = match key {
        LOG_LEVEL => startup::log::running().map(|log| log.level().number().into()),
        LOOKUPDS => Some(lookupds(shard, None).await.into()),
        _ => None,
    };
    let value = value.as_ref().or_else(|| shard.config.options.get(key)).ok_or(INVALID_OPTION)?;
    Ok(match value {
        Value::String(text) => Response::nsq_text(text.clone()),
        other => Response::json(to_go_json(other)),
    })
}

/// Sets the option with this key to what stands in the body.
pub(super) async fn change(incoming: &mut Incoming<'_>, key: &str) -> Result<Response, Refused> {
    let limit = incoming.shard.config.limits.max_message_bytes;
    let body = incoming.body(limit).await.map_err(|error| match error {
        NoBody::TooBig => VALUE_SIZE,
        NoBody::Broken => Refused::INTERNAL_ERROR,
    })?;
    if body.is_empty() {
        return Err(VALUE_SIZE);
    }
    match key {
        LOG_LEVEL => {
            let word = std::str::from_utf8(&body).map_err(|_| INVALID_VALUE)?;
            let level: LogLevel = word.parse().map_err(|_| INVALID_VALUE)?;
            if let Some(log) = startup::log::running() {
                log.set_level(level);
            }
        }
        LOOKUPDS => {
            let addresses = addresses_in(&body).ok_or(INVALID_VALUE)?;
            lookupds(incoming.shard, Some(addresses)).await;
        }
        _ => return Err(INVALID_OPTION),
    }
    show(incoming.shard, key).await
}

/// The nsqlookupds that are told, after these took the place of those before if any are given.
async fn lookupds(shard: &Rc<Shard>, addresses: Option<Vec<String>>) -> Vec<String> {
    match shard.ask(FIRST, Question::Lookupds(addresses)).await {
        Answer::Lookupds(addresses) => addresses,
        other => unreachable!("a question for nsqlookupds is not answered with {other:?}"),
    }
}

/// A JSON list of text; `null` is an empty one, as Go reads it.
fn addresses_in(body: &[u8]) -> Option<Vec<String>> {
    let addresses: Option<Vec<Option<String>>> = serde_json::from_slice(body).ok()?;
    Some(addresses.unwrap_or_default().into_iter().map(Option::unwrap_or_default).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_list_of_text() {
        let addresses = |body: &str| addresses_in(body.as_bytes());
        assert_eq!(addresses("[]"), Some(Vec::new()));
        assert_eq!(addresses(" null "), Some(Vec::new()));
        let two = Some(vec!["a:1".to_string(), "b:2".to_string()]);
        assert_eq!(addresses(r#"["a:1", "b:2"]"#), two);
        for wrong in ["", "a:1", "[1]", "{}", r#""a:1""#, r#"["a:1"] x"#] {
            assert_eq!(addresses(wrong), None, "{wrong}");
        }
    }
}
