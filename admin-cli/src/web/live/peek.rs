//! The newest messages of a topic, looked at and left where they are.
//!
//! `GET /api/live/peek/:topic?n=10` asks every nsqd that has the topic for its newest `n` (10, at most
//! [`MESSAGES_MAX`]) and answers the newest of all, newest last:
//!
//! ```json
//! {"topic":"t","messages":[{"node":"10.0.0.1:4151","id":"...","timestamp":1795352755000000000,
//!   "attempts":1,"size":5,"body":"aGVsbG8="}],
//!  "is_cut":false,
//!  "nodes":[{"node":"10.0.0.1:4151","messages":1,"error":null},
//!           {"node":"10.0.0.2:4151","messages":0,"error":"this nsqd cannot show messages"}]}
//! ```
//!
//! A `timestamp` is in nanoseconds since 1970, a `body` in Base64, `size` its length before an nsqd cut
//! it, and `deferred_until` there for a message that waits for its time. The original nsqd has no such
//! route, and `error` says so. `is_cut` says that bodies were left away because all together are more
//! than [`BYTES_MAX`].
//!
//! Does not know: how an nsqd finds them.

use protocol::http::response::{Response, Status};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::address::Address;
use crate::cluster::{Failure, Silence};
use crate::web::Admin;
use crate::web::api::{json, refused};
use crate::web::query;

/// How many messages are shown at most.
pub(in crate::web) const MESSAGES_MAX: usize = 100;
const MESSAGES: usize = 10;
/// How many bytes of Base64 are shown at most.
const BYTES_MAX: usize = 8 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    /// What an nsqd says of each is passed on.
    messages: Vec<Map<String, Value>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    topic: &'a str,
    messages: Vec<Message>,
    is_cut: bool,
    nodes: Vec<Peeked>,
}

#[derive(Debug, Serialize)]
struct Message {
    node: String,
    #[serde(flatten)]
    told: Map<String, Value>,
}

impl Message {
    fn timestamp(&self) -> i64 {
        self.told.get("timestamp").and_then(Value::as_i64).unwrap_or_default()
    }

    fn body_bytes(&self) -> usize {
        self.told.get("body").and_then(Value::as_str).map_or(0, str::len)
    }
}

#[derive(Serialize)]
struct Peeked {
    node: String,
    messages: usize,
    error: Option<String>,
}

/// Answers `GET /api/live/peek/:topic`.
pub(in crate::web) async fn peek(
    admin: &Admin,
    topic: &str,
    raw_query: &str,
) -> Result<Response, Response> {
    let bad = |words: &str| refused(Status::BadRequest, words);
    let arguments = query::parse(raw_query).map_err(|words| bad(&words))?;
    let count = match arguments.get("n") {
        None => MESSAGES,
        Some(text) => {
            let count = text.parse().ok().filter(|count| (1..=MESSAGES_MAX).contains(count));
            count.ok_or_else(|| bad("INVALID_ARG_N"))?
        }
    };
    let cluster = admin.cluster();
    let (producers, failures) = match cluster.producers(topic).await {
        Ok(answer) => (answer.value, answer.failures),
        Err(Silence { failures, .. }) if failures.iter().all(Failure::is_not_found) => {
            return Err(refused(Status::NotFound, "TOPIC_NOT_FOUND"));
        }
        Err(Silence { failures, .. }) => (Vec::new(), failures),
    };
    let addresses: Vec<Address> = producers.iter().map(|node| node.address.clone()).collect();
    let topic_in_query = protocol::http::url::encode_form([("topic", topic.as_bytes())]);
    let path = format!("/topic/peek?{topic_in_query}&n={count}");
    let told = cluster.http().get_all::<Told>(&addresses, &path).await;
    let (mut messages, mut nodes) = (Vec::new(), Vec::new());
    for (producer, (_, told)) in producers.iter().zip(told) {
        let node = producer.http_address().to_string();
        let (found, error) = match told {
            Ok(told) => (told.messages, None),
            Err(failure) => (Vec::new(), why(&failure)),
        };
        nodes.push(Peeked { node: node.clone(), messages: found.len(), error });
        messages.extend(found.into_iter().map(|told| Message { node: node.clone(), told }));
    }
    nodes.extend(failures.into_iter().map(|failure| Peeked {
        node: failure.address.to_string(),
        messages: 0,
        error: Some(failure.reason),
    }));
    let (messages, is_cut) = newest(messages, count);
    Ok(json(&Shown { topic, messages, is_cut, nodes }))
}

/// What an nsqd means that shows nothing; `None` when there is nothing to show.
fn why(failure: &Failure) -> Option<String> {
    match (failure.is_not_found(), failure.reason.as_str()) {
        (true, "TOPIC_NOT_FOUND") => None,
        (true, _) => Some("this nsqd cannot show messages".to_owned()),
        _ => Some(failure.reason.clone()),
    }
}

/// The newest, in their order, and whether some were left away because of their size.
fn newest(mut messages: Vec<Message>, count: usize) -> (Vec<Message>, bool) {
    messages.sort_by_key(Message::timestamp);
    messages.drain(..messages.len().saturating_sub(count));
    let mut bytes = 0;
    let fits = messages.iter().rev().take_while(|message| {
        bytes += message.body_bytes();
        bytes <= BYTES_MAX
    });
    let left_away = messages.len() - fits.count();
    messages.drain(..left_away);
    (messages, 0 < left_away)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(timestamp: i64, body_bytes: usize) -> Message {
        let told = serde_json::json!({"timestamp": timestamp, "body": "a".repeat(body_bytes)});
        let Value::Object(told) = told else { unreachable!() };
        Message { node: "a:1".into(), told }
    }

    fn shown(messages: Vec<Message>, count: usize) -> (Vec<i64>, bool) {
        let (messages, is_cut) = newest(messages, count);
        (messages.iter().map(Message::timestamp).collect(), is_cut)
    }

    #[test]
    fn the_newest_of_all_nodes_are_shown_newest_last() {
        let messages = [5, 1, 4, 2].map(|timestamp| message(timestamp, 1));
        assert_eq!(shown(messages.into(), 3), (vec![2, 4, 5], false));
        assert_eq!(shown(Vec::new(), 3), (vec![], false));
    }

    #[test]
    fn large_bodies_are_cut_off_from_the_oldest() {
        let half = BYTES_MAX / 2;
        let messages = vec![message(1, half), message(2, half), message(3, half)];
        assert_eq!(shown(messages, 3), (vec![2, 3], true));
    }
}
