//! The answer to `/nodes` in the making: all nsqds with all their topics, put together in steps.
//!
//! A hundred nsqds with ten thousand topics each are a million pairs and twenty megabytes of JSON, and
//! no lookup should wait for that: between two steps others are served. So the list shows each topic
//! at a moment of its own; an nsqd that comes meanwhile is not in it, one that leaves may have some of
//! its topics.
//!
//! Knows: the keys of the answer and their order. Does not know: who produces what.

use std::fmt::Write as _;

use protocol::json::to_go_json;
use protocol::lookup::Producer;
use protocol::name::TopicName;

use crate::registry::{Moment, ProducerId};

/// Bytes that are put together in one step at the end: a good deal less than a millisecond.
const JOINED_AT_ONCE: usize = 1 << 20;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct NodeList {
    /// When it was asked for: what decides who is silent, and which tombstones still stand.
    pub(crate) now: Moment,
    /// The topic behind which to go on; `None` at the start.
    pub(crate) after: Option<TopicName>,
    /// In the order of their ids.
    nodes: Vec<(ProducerId, Node)>,
}

/// One nsqd, as text.
#[derive(Debug)]
struct Node {
    /// The nsqd itself, without the bracket at the end.
    producer: String,
    /// `true` and `false`, with commas between.
    tombstones: String,
    /// Names, with commas between.
    topics: String,
}

impl NodeList {
    /// These nsqds, in the order of their ids, without a topic yet.
    pub(crate) fn of<'a>(
        now: Moment,
        producers: impl Iterator<Item = (ProducerId, &'a Producer)>,
    ) -> Self {
        let nodes = producers.map(|(id, producer)| {
            let mut producer = to_go_json(producer);
            producer.pop();
            (id, Node { producer, tombstones: String::new(), topics: String::new() })
        });
        Self { now, after: None, nodes: nodes.collect() }
    }

    /// An nsqd, if it is in the list, has a topic, which may be hidden for now.
    pub(crate) fn add(&mut self, id: ProducerId, topic: TopicName, is_hidden: bool) {
        let Ok(at) = self.nodes.binary_search_by_key(&id, |(id, _)| *id) else { return };
        let Some((_, Node { tombstones, topics, .. })) = self.nodes.get_mut(at) else { return };
        if !topics.is_empty() {
            tombstones.push(',');
            topics.push(',');
        }
        tombstones.push_str(if is_hidden { "true" } else { "false" });
        // A name has no character that JSON escapes.
        write!(topics, "\"{topic}\"").expect("a string takes text");
    }

    /// The answer's body, in pieces of a megabyte or so.
    pub(crate) fn into_pieces(self) -> impl Iterator<Item = String> {
        let mut nodes = self.nodes.into_iter();
        let mut has_begun = false;
        let mut has_ended = false;
        std::iter::from_fn(move || {
            if has_ended {
                return None;
            }
            let mut piece = String::new();
            if !has_begun {
                piece.push_str(r#"{"producers":["#);
            }
            while piece.len() < JOINED_AT_ONCE {
                let Some((_, Node { producer, tombstones, topics })) = nodes.next() else {
                    has_ended = true;
                    piece.push_str("]}");
                    break;
                };
                if std::mem::replace(&mut has_begun, true) {
                    piece.push(',');
                }
                for part in
                    [&producer, r#","tombstones":["#, &tombstones, r#"],"topics":["#, &topics, "]}"]
                {
                    piece.push_str(part);
                }
            }
            has_begun = true;
            Some(piece)
        })
    }
}
