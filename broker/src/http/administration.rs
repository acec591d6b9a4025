//! Has the owner of a topic do something, and puts how it went into NSQ's words.

use super::Refused;
use super::incoming::Incoming;
use crate::routing::request::{Action, Answer, Question};
use crate::shard::Shard;
use protocol::http::response::{Response, Status};
use protocol::name::TopicName;
use std::rc::Rc;

/// Has `action` done; when it is answered, it is kept.
pub(super) async fn administer(
    incoming: &Incoming<'_>,
    topic: TopicName,
    action: Action,
) -> Result<Response, Refused> {
    match ask_owner(incoming.shard, topic, action).await {
        Answer::Done => Ok(Response::empty()),
        Answer::TopicNotFound => Err(Refused::TOPIC_NOT_FOUND),
        Answer::ChannelNotFound => Err(Refused(Status::NotFound, "CHANNEL_NOT_FOUND")),
        Answer::Failed(reason) => {
            tracing::error!("failure in {} - {reason}", incoming.head.path);
            Err(Refused::INTERNAL_ERROR)
        }
        other => unreachable!("administration is not answered with {other:?}"),
    }
}

/// Has `action` done, whatever core the topic lives on.
pub(super) async fn ask_owner(shard: &Rc<Shard>, topic: TopicName, action: Action) -> Answer {
    let owner = shard.state.borrow().placement.owner_of(topic);
    shard.ask(owner, Question::Administer { topic, action }).await
}
