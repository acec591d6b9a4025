//! What is changed: topics and channels made, emptied, paused and deleted, nsqds hidden.
//!
//! Rule (NSQ behaviour): who may not is refused before anything is read; whoever wants to know is told
//! of an order after it was tried, of pause, unpause and empty also when nobody answered.
//!
//! Different from NSQ on purpose: without nsqlookupds, topics and channels are made at the nsqds.

use protocol::http::response::{Response, Status};
use protocol::name::{ChannelName, TopicName};
use serde::Serialize;

use super::{Warnings, json, refused, silent};
use crate::address::Address;
use crate::cluster::{Asked, Change, Cluster, Failure};
use crate::web::go_json::{quoted, texts};
use crate::web::notifications::{Action, Subject};

#[derive(Serialize)]
struct Done {
    message: String,
}

/// What was done, and the answer about it.
pub(in crate::web) struct Outcome {
    pub(in crate::web) response: Response,
    /// Of what to tell.
    pub(in crate::web) told: Vec<(Action, Subject)>,
}

impl Outcome {
    fn refused(status: Status, text: &str) -> Self {
        Self { response: refused(status, text), told: Vec::new() }
    }

    /// An order that was carried out, as far as those could be asked who had to do it.
    fn of<T>(asked: Asked<T>, doing: &str, told: Vec<(Action, Subject)>) -> Self {
        match asked {
            Ok(answer) => Self { response: done(&answer.failures), told },
            Err(silence) => Self { response: silent(&silence, doing), told: Vec::new() },
        }
    }
}

fn done(failures: &[Failure]) -> Response {
    let mut warnings = Warnings::default();
    warnings.note(failures);
    json(&Done { message: warnings.message() })
}

/// `POST /api/topics`: `{"topic":"t","channel":"c"}`.
pub(in crate::web) async fn create(cluster: &Cluster, body: &[u8]) -> Outcome {
    let type_name =
        "struct { Topic string \"json:\\\"topic\\\"\"; Channel string \"json:\\\"channel\\\"\" }";
    let [topic, channel] = match texts(body, ["topic", "channel"], type_name) {
        Ok(texts) => texts,
        Err(words) => return Outcome::refused(Status::BadRequest, &words),
    };
    if TopicName::parse(topic.as_bytes()).is_err() {
        return Outcome::refused(Status::BadRequest, "INVALID_TOPIC");
    }
    if !channel.is_empty() && ChannelName::parse(channel.as_bytes()).is_err() {
        return Outcome::refused(Status::BadRequest, "INVALID_CHANNEL");
    }
    let mut told = vec![(Action::CreateTopic, Subject::topic(&topic))];
    if channel.is_empty() {
        let answer = cluster.create_topic(&topic).await;
        return Outcome { response: done(&answer.failures), told };
    }
    let asked = cluster.create_channel(&topic, &channel).await;
    told.push((Action::CreateChannel, Subject::channel(&topic, &channel)));
    Outcome::of(asked, "create topic/channel", told)
}

/// `POST /api/topics/:topic` and `POST /api/topics/:topic/:channel`: `{"action":"pause"}`.
pub(in crate::web) async fn act(cluster: &Cluster, subject: Subject, body: &[u8]) -> Outcome {
    let type_name = "struct { Action string \"json:\\\"action\\\"\" }";
    let [action] = match texts(body, ["action"], type_name) {
        Ok(texts) => texts,
        Err(words) => return Outcome::refused(Status::BadRequest, &words),
    };
    let is_channel = subject.channel.is_some();
    let (change, told) = match (action.as_str(), is_channel) {
        ("pause", false) => (Change::Pause, Action::PauseTopic),
        ("pause", true) => (Change::Pause, Action::PauseChannel),
        ("unpause", false) => (Change::Unpause, Action::UnpauseTopic),
        ("unpause", true) => (Change::Unpause, Action::UnpauseChannel),
        ("empty", false) => (Change::Empty, Action::EmptyTopic),
        ("empty", true) => (Change::Empty, Action::EmptyChannel),
        _ => return Outcome::refused(Status::BadRequest, "INVALID_ACTION"),
    };
    let asked = have_changed(cluster, &subject, change).await;
    let outcome = Outcome::of(asked, &format!("{action} topic/channel"), Vec::new());
    Outcome { told: vec![(told, subject)], ..outcome }
}

/// `DELETE /api/topics/:topic` and `DELETE /api/topics/:topic/:channel`.
pub(in crate::web) async fn delete(cluster: &Cluster, subject: Subject) -> Outcome {
    let (action, doing) = match &subject.channel {
        None => (Action::DeleteTopic, "delete topic"),
        Some(_) => (Action::DeleteChannel, "delete channel"),
    };
    let asked = have_changed(cluster, &subject, Change::Delete).await;
    Outcome::of(asked, doing, vec![(action, subject)])
}

async fn have_changed(
    cluster: &Cluster,
    subject: &Subject,
    change: Change,
) -> Asked<crate::cluster::Changed> {
    match &subject.channel {
        None => cluster.change_topic(&subject.topic, change).await,
        Some(channel) => cluster.change_channel(&subject.topic, channel, change).await,
    }
}

/// `DELETE /api/nodes/:node`: `{"topic":"t"}`; `node` is the HTTP address that the nsqd broadcasts.
pub(in crate::web) async fn tombstone(cluster: &Cluster, node: &str, body: &[u8]) -> Outcome {
    let Ok([topic]) = texts(body, ["topic"], "") else {
        return Outcome::refused(Status::BadRequest, "INVALID_BODY");
    };
    if TopicName::parse(topic.as_bytes()).is_err() {
        return Outcome::refused(Status::BadRequest, "INVALID_TOPIC");
    }
    let Ok(address) = node.parse::<Address>() else {
        let url = quoted(&format!("http://{node}/info"));
        let words = format!("dial tcp: address {node}: missing port in address");
        let words = format!("UPSTREAM_ERROR: failed to query any nsqd: Get {url}: {words}");
        return Outcome::refused(Status::BadGateway, &words);
    };
    let asked = cluster.tombstone(&topic, &address).await;
    let subject = Subject { node: Some(node.to_owned()), ..Subject::topic(&topic) };
    Outcome::of(asked, "tombstone node for topic", vec![(Action::TombstoneTopicProducer, subject)])
}
