//! `/topic/peek`: the newest messages of a topic, for a person who wonders what is in it.
//!
//! Beyond NSQ. Nothing changes by it. Which of them channels still have to deliver, it does not say:
//! what all have finished may be shown as long as it lies in the log, or be gone already.

use super::Refused;
use super::incoming::Incoming;
use crate::limits::PEEK_MESSAGES_MAX;
use crate::log::Glimpse;
use crate::routing::request::{Answer, Question};
use crate::shard::breath::breathe;
use protocol::base64;
use protocol::http::query::Query;
use protocol::http::response::{Response, Status};
use protocol::name::TopicName;
use std::fmt::Write as _;

/// Messages, unless the query says how many.
const COUNT: usize = 10;

/// Bytes of a body that are written before others have their turn; a multiple of three.
const BYTES_AT_ONCE: usize = 24 << 10;

/// The number asked for is none, or is not between 1 and the most.
const INVALID_COUNT: Refused = Refused(Status::BadRequest, "INVALID_ARG_N");

/// The messages, the newest last.
pub(super) async fn peek(incoming: &Incoming<'_>) -> Result<Response, Refused> {
    let query = incoming.head.query().map_err(|_| Refused::INVALID_REQUEST)?;
    let name = query.get("topic").ok_or(Refused::MISSING_ARG_TOPIC)?;
    let topic = TopicName::parse(name.as_bytes()).map_err(|_| Refused::INVALID_TOPIC)?;
    let count = count_in(&query)?;
    let owner = incoming.shard.state.borrow().placement.owner_of(topic);
    match incoming.shard.ask(owner, Question::Peek { topic, count }).await {
        Answer::Peeked(messages) => Ok(Response::json(json(&messages).await)),
        Answer::TopicNotFound => Err(Refused::TOPIC_NOT_FOUND),
        Answer::Failed(reason) => {
            tracing::error!("failure in {} - {reason}", incoming.head.path);
            Err(Refused::INTERNAL_ERROR)
        }
        other => unreachable!("whoever looks is not answered with {other:?}"),
    }
}

fn count_in(query: &Query) -> Result<usize, Refused> {
    let Some(digits) = query.get("n") else { return Ok(COUNT) };
    let count = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
    count.filter(|count| (1..=PEEK_MESSAGES_MAX).contains(count)).ok_or(INVALID_COUNT)
}

/// The answer's body. A large one is made in steps, between which others have their turn.
async fn json(messages: &[Glimpse]) -> String {
    let mut text = r#"{"messages":["#.to_owned();
    let mut since_turn = 0;
    for (number, message) in messages.iter().enumerate() {
        let Glimpse { id, published, attempts, due, size, body } = message;
        let comma = if number == 0 { "" } else { "," };
        // An id that was imported may be any bytes.
        let id = serde_json::Value::from(id.to_string());
        let deferred = due.map(|due| format!(r#""deferred_until":{},"#, due.0)).unwrap_or_default();
        write!(
            text,
            r#"{comma}{{"id":{id},"timestamp":{},"attempts":{},{deferred}"size":{size},"body":""#,
            published.0, attempts.0
        )
        .expect("a string takes everything");
        for part in body.chunks(BYTES_AT_ONCE) {
            text.push_str(&base64::encode(part));
            since_turn += part.len();
            if BYTES_AT_ONCE <= since_turn {
                since_turn = 0;
                breathe().await;
            }
        }
        text.push_str("\"}");
    }
    text.push_str("]}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_messages_are_shown_unless_between_one_and_a_hundred_are_asked_for() {
        let count = |raw: &str| count_in(&Query::parse(raw).unwrap());
        for (raw, expected) in
            [("topic=t", 10), ("n=1", 1), ("n=100", 100), ("n=007", 7), ("n=5&n=x", 5)]
        {
            assert_eq!(count(raw), Ok(expected), "{raw}");
        }
        for raw in ["n", "n=", "n=0", "n=101", "n=-1", "n=%2B1", "n=+1", "n=1.5", "n=ten"] {
            assert_eq!(count(raw), Err(INVALID_COUNT), "{raw}");
        }
        assert_eq!(count("n=99999999999999999999999"), Err(INVALID_COUNT));
    }
}
