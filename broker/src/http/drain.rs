//! `/drain`: has the broker take nothing new and end when all is delivered; and how far that came.
//! NSQ has no such route.

use crate::routing::request::{Answer, Question};
use crate::shard::Shard;
use crate::shard::departure::FIRST;
use protocol::http::response::Response;
use protocol::json::to_go_json;
use serde::Serialize;
use std::rc::Rc;

#[derive(Serialize)]
struct Progress {
    /// Whether publishes are refused.
    draining: bool,
    /// Messages that are left, once for each channel that owes them.
    messages: u64,
    /// Topics that have some, by name.
    topics: Vec<TopicProgress>,
}

#[derive(Serialize)]
struct TopicProgress {
    topic_name: String,
    messages: u64,
}

/// Starts it, unless it goes on already. When this is answered every publish is refused.
pub(super) async fn start(shard: &Rc<Shard>) -> Response {
    match shard.ask(FIRST, Question::Drain).await {
        Answer::Done => progress(shard).await,
        other => unreachable!("a drain is not answered with {other:?}"),
    }
}

/// What is left.
pub(super) async fn progress(shard: &Rc<Shard>) -> Response {
    let draining = shard.state.borrow().draining;
    let left = shard.left_everywhere().await;
    let topics = left.iter().map(|(topic, messages)| TopicProgress {
        topic_name: topic.to_string(),
        messages: *messages,
    });
    let messages = left.iter().map(|(_, messages)| messages).sum();
    Response::json(to_go_json(&Progress { draining, messages, topics: topics.collect() }))
}
