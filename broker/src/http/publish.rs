//! `/pub` and `/mpub`: messages from clients that speak no NSQ.
//!
//! The order in which faults are looked for is NSQ's: sizes, then the topic, which is made, then
//! the rest. So a request that publishes nothing can still make its topic.

use super::Refused;
use super::administration;
use super::incoming::{Incoming, NoBody};
use crate::routing::request::{Action, Batch, PublishError};
use protocol::http::query::Query;
use protocol::http::response::{Response, Status};
use protocol::limits::Limits;
use protocol::name::TopicName;
use std::time::Duration;

const MSG_TOO_BIG: Refused = Refused(Status::RequestEntityTooLarge, "MSG_TOO_BIG");
const BODY_TOO_BIG: Refused = Refused(Status::RequestEntityTooLarge, "BODY_TOO_BIG");
const BAD_BODY: Refused = Refused(Status::RequestEntityTooLarge, "BAD_BODY");
const BAD_MESSAGE: Refused = Refused(Status::RequestEntityTooLarge, "BAD_MESSAGE");
const MSG_EMPTY: Refused = Refused(Status::BadRequest, "MSG_EMPTY");
const INVALID_DEFER: Refused = Refused(Status::BadRequest, "INVALID_DEFER");

/// Publishes the body as one message.
pub(super) async fn publish(incoming: &mut Incoming<'_>) -> Result<Response, Refused> {
    let shard = incoming.shard;
    let limits = &shard.config.limits;
    let region = match incoming.body(limits.max_message_bytes).await {
        Ok(body) if body.is_empty() => return Err(MSG_EMPTY),
        Ok(body) => body,
        Err(NoBody::TooBig) => return Err(MSG_TOO_BIG),
        Err(NoBody::Broken) => return Err(Refused::INTERNAL_ERROR),
    };
    let query = incoming.head.query().map_err(|_| Refused::INVALID_REQUEST)?;
    let topic = topic_in(&query)?;
    let delay = match delay_in(&query, limits.max_requeue_delay) {
        Ok(delay) => delay,
        Err(refused) => {
            create(incoming, topic).await;
            return Err(refused);
        }
    };
    keep(incoming, topic, delay, Batch { count: None, region }).await
}

/// Publishes the messages that the body holds, all of them or none.
///
/// NSQ makes the topic before it reads the body. Here the messages make it as they do anywhere, and
/// only a body without any has it made for its own sake: making a topic means to keep it on disk,
/// which is not to be waited for twice.
pub(super) async fn publish_many(incoming: &mut Incoming<'_>) -> Result<Response, Refused> {
    let shard = incoming.shard;
    let limits = &shard.config.limits;
    if incoming.announces_more_than(limits.max_body_bytes) {
        return Err(BODY_TOO_BIG);
    }
    let query = incoming.head.query().map_err(|_| Refused::INVALID_REQUEST)?;
    let topic = topic_in(&query)?;
    let body = match incoming.body(limits.max_body_bytes).await {
        Ok(body) => Ok(body),
        Err(NoBody::TooBig) => Err(BODY_TOO_BIG),
        Err(NoBody::Broken) => Err(Refused::INTERNAL_ERROR),
    };
    let batch = body.and_then(|body| {
        if is_binary(&query) { binary_batch(body, limits) } else { lines(&body, limits) }
    });
    match batch {
        Ok(batch) if batch.count != Some(0) => keep(incoming, topic, None, batch).await,
        nothing => {
            create(incoming, topic).await;
            nothing.and(answer(Ok(())))
        }
    }
}

/// Publishes, and waits until the messages are kept.
async fn keep(
    incoming: &mut Incoming<'_>,
    topic: TopicName,
    delay: Option<Duration>,
    batch: Batch<Vec<u8>>,
) -> Result<Response, Refused> {
    let shard = incoming.shard;
    incoming.published_to = Some(shard.state.borrow().placement.owner_of(topic));
    answer(shard.publish(topic, delay, batch).await)
}

/// Makes the topic of a request that publishes nothing.
async fn create(incoming: &Incoming<'_>, topic: TopicName) {
    // The request is answered with its own fault, or its success in publishing nothing, whatever
    // becomes of the topic.
    let made = administration::ask_owner(incoming.shard, topic, Action::CreateTopic).await;
    tracing::debug!(%topic, ?made, "a request without messages made its topic");
}

/// NSQ has one word for all that can keep a message from being kept; it knows no drain.
fn answer(published: Result<(), PublishError>) -> Result<Response, Refused> {
    let refused = |error| {
        let word = if error == PublishError::Draining { "DRAINING" } else { "EXITING" };
        Refused(Status::ServiceUnavailable, word)
    };
    published.map(|()| Response::nsq_text("OK")).map_err(refused)
}

fn topic_in(query: &Query) -> Result<TopicName, Refused> {
    let name = query.get("topic").ok_or(Refused::MISSING_ARG_TOPIC)?;
    TopicName::parse(name.as_bytes()).map_err(|_| Refused::INVALID_TOPIC)
}

/// The delay that `defer` asks for, in milliseconds; `None` when there is nothing to wait for.
fn delay_in(query: &Query, longest: Duration) -> Result<Option<Duration>, Refused> {
    let Some(milliseconds) = query.get("defer") else { return Ok(None) };
    let milliseconds: i64 = milliseconds.parse().map_err(|_| INVALID_DEFER)?;
    let milliseconds = u64::try_from(milliseconds).map_err(|_| INVALID_DEFER)?;
    let delay = Duration::from_millis(milliseconds);
    if longest < delay {
        return Err(INVALID_DEFER);
    }
    Ok(Some(delay).filter(|delay| !delay.is_zero()))
}

/// Whether the body has sizes in it rather than lines. Any word that is not known means that it
/// has, no word too (NSQ behaviour).
fn is_binary(query: &Query) -> bool {
    match query.get("binary") {
        None | Some("false" | "0") => false,
        Some("true" | "1") => true,
        Some(word) => {
            tracing::warn!("deprecated value '{word}' used for /mpub binary param");
            true
        }
    }
}

/// One message a line. Empty lines are none, and a carriage return belongs to its line.
fn lines(body: &[u8], limits: &Limits) -> Result<Batch<Vec<u8>>, Refused> {
    let mut region = Vec::with_capacity(body.len() + 4);
    let mut count = 0;
    for line in body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        if limits.max_message_bytes < line.len() {
            return Err(MSG_TOO_BIG);
        }
        let size = u32::try_from(line.len()).map_err(|_| MSG_TOO_BIG)?;
        region.extend_from_slice(&size.to_be_bytes());
        region.extend_from_slice(line);
        count += 1;
    }
    Ok(Batch { count: Some(count), region })
}

/// `int32` count, then so many times `int32` size and a message. What stands behind the last one is
/// ignored.
fn binary_batch(mut body: Vec<u8>, limits: &Limits) -> Result<Batch<Vec<u8>>, Refused> {
    let (count, mut rest) = split_int32(&body).ok_or(BAD_BODY)?;
    let count = usize::try_from(count).map_err(|_| BAD_BODY)?;
    if count == 0 || limits.max_batch_messages() < count {
        return Err(BAD_BODY);
    }
    for _ in 0..count {
        let (size, behind) = split_int32(rest).ok_or(BAD_MESSAGE)?;
        let size = usize::try_from(size).map_err(|_| BAD_MESSAGE)?;
        if size == 0 || limits.max_message_bytes < size {
            return Err(BAD_MESSAGE);
        }
        rest = behind.get(size..).ok_or(BAD_MESSAGE)?;
    }
    let end = body.len() - rest.len();
    body.truncate(end);
    body.drain(..size_of::<i32>());
    Ok(Batch { count: Some(count), region: body })
}

fn split_int32(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((i32::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::command::Bodies;

    fn limits() -> Limits {
        Limits { max_message_bytes: 3, max_body_bytes: 24, ..Limits::default() }
    }

    /// The messages of a batch, or the word it is refused with.
    fn messages(batch: Result<Batch<Vec<u8>>, Refused>) -> Result<Vec<Vec<u8>>, &'static str> {
        let batch = batch.map_err(|Refused(_, code)| code)?;
        let bodies = Bodies::from_region(&batch.region, batch.count.unwrap());
        Ok(bodies.iter().map(<[u8]>::to_vec).collect())
    }

    fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_line_is_a_message_unless_it_is_empty() {
        for (body, found) in [
            ("a\nbc\n", Ok(texts(&["a", "bc"]))),
            ("a\nbc", Ok(texts(&["a", "bc"]))),
            ("\n\na\r\n\n", Ok(texts(&["a\r"]))),
            ("abc\n", Ok(texts(&["abc"]))),
            ("", Ok(texts(&[]))),
            ("\n\n", Ok(texts(&[]))),
            ("a\nabcd\n", Err("MSG_TOO_BIG")),
        ] {
            assert_eq!(messages(lines(body.as_bytes(), &limits())), found, "{body:?}");
        }
    }

    #[test]
    fn a_binary_body_has_as_many_messages_as_it_says() {
        // 24 bytes of body hold at most (24 - 4) / 5 messages.
        for (body, found) in [
            (&b"\0\0\0\x01\0\0\0\x01a"[..], Ok(texts(&["a"]))),
            (b"\0\0\0\x02\0\0\0\x01a\0\0\0\x03bcd", Ok(texts(&["a", "bcd"]))),
            (b"\0\0\0\x01\0\0\0\x01abc", Ok(texts(&["a"]))),
            (b"", Err("BAD_BODY")),
            (b"\0\0\0", Err("BAD_BODY")),
            (b"\0\0\0\0", Err("BAD_BODY")),
            (b"\xff\xff\xff\xff\0\0\0\x01a", Err("BAD_BODY")),
            (b"\0\0\0\x05\0\0\0\x01a", Err("BAD_BODY")),
            (b"\0\0\0\x04\0\0\0\x01a", Err("BAD_MESSAGE")),
            (b"\0\0\0\x01", Err("BAD_MESSAGE")),
            (b"\0\0\0\x01\0\0\0\0", Err("BAD_MESSAGE")),
            (b"\0\0\0\x01\xff\xff\xff\xff", Err("BAD_MESSAGE")),
            (b"\0\0\0\x01\0\0\0\x02a", Err("BAD_MESSAGE")),
            (b"\0\0\0\x01\0\0\0\x04abcd", Err("BAD_MESSAGE")),
        ] {
            assert_eq!(messages(binary_batch(body.to_vec(), &limits())), found, "{body:?}");
        }
    }

    #[test]
    fn a_delay_is_whole_milliseconds_up_to_the_limit() {
        let hour = Duration::from_hours(1);
        let delay = |raw: &str| delay_in(&Query::parse(raw).unwrap(), hour);
        assert_eq!(delay("topic=t"), Ok(None));
        assert_eq!(delay("defer=0"), Ok(None));
        assert_eq!(delay("defer=1"), Ok(Some(Duration::from_millis(1))));
        assert_eq!(delay("defer=3600000"), Ok(Some(hour)));
        for raw in ["", "3600001", "-1", "1.5", "x", "9223372036854775807", "9223372036854775808"] {
            assert_eq!(delay(&format!("defer={raw}")), Err(INVALID_DEFER), "{raw}");
        }
    }

    #[test]
    fn only_false_and_0_mean_lines() {
        for (raw, binary) in [
            ("", false),
            ("binary=false", false),
            ("binary=0", false),
            ("binary=true", true),
            ("binary=1", true),
            ("binary", true),
            ("binary=", true),
            ("binary=FALSE", true),
        ] {
            assert_eq!(is_binary(&Query::parse(raw).unwrap()), binary, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut_or_refused_within_the_limits(
            body in prop::collection::vec(prop::sample::select(b"\0\x01\x02\x03\x04\xff\na".to_vec()), 0..24),
        ) {
            for batch in [lines(&body, &limits()), binary_batch(body.clone(), &limits())] {
                if let Ok(found) = messages(batch) {
                    prop_assert!(found.iter().all(|message| (1..=3).contains(&message.len())));
                }
            }
        }
    }
}
