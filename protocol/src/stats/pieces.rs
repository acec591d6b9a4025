//! Both forms of the body in pieces, so that a broker with thousands of topics and clients can do
//! something else between two of them.
//!
//! A piece is about one topic, without its clients if they are many, or about some clients. The
//! pieces one behind the other are the body.

use super::text::{self, Heading};
use super::{Stats, TopicStats};
use crate::json::to_go_json;
use serde::Serialize;

/// Clients in one piece.
const CLIENTS_PER_PIECE: usize = 32;

/// The body as JSON.
pub fn json(mut stats: Stats) -> impl Iterator<Item = String> {
    let topics = stats.topics.as_mut().map(std::mem::take);
    let producers = stats.producers.as_mut().map(std::mem::take);
    let frame = to_go_json(&stats);
    let (opening, rest) = match &topics {
        Some(_) => open_list(&frame, "topics"),
        None => ("", frame.as_str()),
    };
    let (middle, end) = open_list(rest, "producers");
    let [opening, middle, end] = [opening, middle, end].map(str::to_owned);
    let topics = topics.into_iter().flatten().enumerate().flat_map(|(index, topic)| {
        let comma = (index != 0).then(|| ",".to_owned());
        comma.into_iter().chain(topic_json(topic))
    });
    let producers = list_json(producers.unwrap_or_default());
    std::iter::once(opening).chain(topics).chain([middle]).chain(producers).chain([end])
}

/// The body as text. The clients of one topic are one piece with it.
pub fn text(mut stats: Stats, heading: Heading<'_>) -> impl Iterator<Item = String> {
    let now = heading.now;
    let opening = text::opening(&stats, heading);
    let middle = text::opening_of_producers(&stats);
    let topics = stats.topics.take().into_iter().flatten();
    let producers = stats.producers.take().into_iter().flatten();
    std::iter::once(opening)
        .chain(topics.map(move |topic| text::topic(&topic, now)))
        .chain([middle])
        .chain(producers.map(move |client| text::producer(&client, now)))
}

fn topic_json(mut topic: TopicStats) -> impl Iterator<Item = String> {
    let count: usize =
        topic.channels.iter().flat_map(|channel| &channel.clients).map(Vec::len).sum();
    let mut clients = Vec::new();
    if CLIENTS_PER_PIECE < count {
        let channels = topic.channels.iter_mut();
        clients =
            channels.filter_map(|channel| channel.clients.as_mut().map(std::mem::take)).collect();
    }
    let frame = to_go_json(&topic);
    let mut rest = frame.as_str();
    let mut before = Vec::new();
    for _ in &clients {
        let (opening, behind) = open_list(rest, "clients");
        before.push(opening.to_owned());
        rest = behind;
    }
    let end = rest.to_owned();
    let lists = before.into_iter().zip(clients);
    lists
        .flat_map(|(opening, clients)| std::iter::once(opening).chain(list_json(clients)))
        .chain([end])
}

/// The elements of a list, some in a piece.
fn list_json<T: Serialize>(elements: Vec<T>) -> impl Iterator<Item = String> {
    let mut elements = elements.into_iter().peekable();
    std::iter::from_fn(move || {
        elements.peek()?;
        let mut piece = String::new();
        for element in elements.by_ref().take(CLIENTS_PER_PIECE) {
            piece.push_str(&to_go_json(&element));
            piece.push(',');
        }
        if elements.peek().is_none() {
            piece.pop();
        }
        Some(piece)
    })
}

/// Divides at the first list under `key` that is empty, between its brackets; where there is none,
/// behind everything. No text in JSON looks like a key: its quotation marks are escaped.
fn open_list<'a>(json: &'a str, key: &str) -> (&'a str, &'a str) {
    let list = format!("\"{key}\":[]");
    json.find(&list).map_or((json, ""), |at| json.split_at(at + list.len() - 1))
}

#[cfg(test)]
mod tests {
    use super::super::{ChannelStats, ClientStats, MemoryStats};
    use super::*;
    use std::time::Duration;

    fn clients(count: usize) -> Vec<ClientStats> {
        let client = |number| ClientStats {
            client_id: format!("\"clients\":[] {number}"),
            connect_ts: 1,
            ..ClientStats::default()
        };
        (0..count).map(client).collect()
    }

    fn channel(name: &str, clients: Option<Vec<ClientStats>>) -> ChannelStats {
        ChannelStats { channel_name: name.to_owned(), clients, ..ChannelStats::default() }
    }

    fn topic(name: &str, channels: Vec<ChannelStats>) -> TopicStats {
        TopicStats { topic_name: name.to_owned(), channels, ..TopicStats::default() }
    }

    /// Bodies with lists of every length that matters, and with none.
    fn bodies() -> Vec<Stats> {
        let health = "NOK - \"topics\":[] \"producers\":[]".to_owned();
        let some = |topics, producers, memory| Stats {
            version: "1.3.0".to_owned(),
            health: health.clone(),
            topics,
            producers,
            memory,
            ..Stats::default()
        };
        let channels = |counts: &[Option<usize>]| -> Vec<_> {
            counts.iter().map(|count| channel("c", count.map(clients))).collect()
        };
        let few = channels(&[Some(0), Some(3), None]);
        let many = channels(&[Some(0), Some(31), Some(32), None, Some(33), Some(0), Some(64)]);
        let topics = vec![topic("few", few), topic("none", Vec::new()), topic("many", many)];
        vec![
            some(None, None, None),
            some(Some(Vec::new()), None, Some(MemoryStats::default())),
            some(None, Some(clients(1)), None),
            some(Some(topics.clone()), None, None),
            some(Some(topics.clone()), Some(clients(1)), Some(MemoryStats::default())),
            some(Some(topics), Some(clients(65)), None),
        ]
    }

    #[test]
    fn the_pieces_are_the_body_in_json() {
        for body in bodies() {
            let whole = to_go_json(&body);
            assert_eq!(json(body).collect::<String>(), whole);
        }
    }

    #[test]
    fn the_pieces_are_the_body_as_text() {
        let heading = Heading {
            version_line: "nsqd v1.3.0",
            start_time: "2026-11-22T12:57:18Z",
            uptime: Duration::from_secs(1),
            now: 9,
        };
        for body in bodies() {
            let whole = text::render(&body, heading);
            assert_eq!(text(body, heading).collect::<String>(), whole);
        }
    }

    #[test]
    fn no_piece_has_many_clients() {
        let body = bodies().pop().expect("there are some");
        let most = json(body).map(|piece| piece.matches("\"client_id\"").count()).max();
        assert_eq!(most, Some(CLIENTS_PER_PIECE));
    }
}
