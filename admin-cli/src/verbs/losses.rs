//! What is lost when something is deleted or emptied, in words.
//!
//! Knows: which messages a topic and its channels hold. Does not know: who is asked, or what is done.

use protocol::stats::{ChannelStats, TopicStats};

use super::columns::{counted, number};
use super::overview::Overview;

/// What goes with a topic: what waits in it, what its channels hold, and who consumes.
pub(crate) fn of_topic(topic: &TopicStats) -> Vec<String> {
    let mut lines = of_topic_itself(topic);
    for channel in &topic.channels {
        lines.extend(of_messages(&topic.topic_name, channel));
    }
    let clients = topic.channels.iter().map(|channel| channel.client_count).sum();
    lines.extend(of_clients(clients));
    lines
}

/// What goes when a topic is emptied: its channels keep what they have.
pub(crate) fn of_topic_itself(topic: &TopicStats) -> Vec<String> {
    let messages = counted(topic.depth, "message");
    if topic.depth <= 0 {
        return Vec::new();
    }
    vec![format!("{messages} in {} that no channel has yet", topic.topic_name)]
}

/// What goes with a channel.
pub(crate) fn of_channel(topic: &str, channel: &ChannelStats) -> Vec<String> {
    let mut lines: Vec<String> = of_messages(topic, channel).into_iter().collect();
    lines.extend(of_clients(channel.client_count));
    lines
}

/// What goes when a channel is emptied; `None` when it is empty.
pub(crate) fn of_messages(topic: &str, channel: &ChannelStats) -> Option<String> {
    let (flight, deferred) = (channel.in_flight_count, channel.deferred_count);
    let all = i128::from(channel.depth) + i128::from(flight) + i128::from(deferred);
    if all <= 0 {
        return None;
    }
    let mut text = format!("{} in {topic}/{}", counted(all, "message"), channel.channel_name);
    let parts = [(flight, "in flight"), (deferred, "deferred")].into_iter();
    let parts: Vec<String> = parts
        .filter(|(count, _)| *count != 0)
        .map(|(count, words)| format!("{} {words}", number(count)))
        .collect();
    if !parts.is_empty() {
        text.push_str(&format!(", {} of them", parts.join(" and ")));
    }
    Some(text)
}

fn of_clients(clients: u64) -> Option<String> {
    (clients != 0).then(|| format!("the connections of {}", counted(clients, "consumer")))
}

/// The lines in front of the question: what is done, and what is lost by it as far as those know who
/// answered.
pub(crate) fn text(done: &str, lines: &[String], overview: &Overview) -> String {
    let mut text = if lines.is_empty() {
        format!("{done}; no message is lost\n")
    } else {
        let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
        format!("{done}, and with it\n{lines}")
    };
    for failure in &overview.failures {
        text.push_str(&format!("what else is lost is not known: {failure}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(
        name: &str,
        depth: i64,
        in_flight: u64,
        deferred: u64,
        clients: u64,
    ) -> ChannelStats {
        ChannelStats {
            channel_name: name.into(),
            depth,
            in_flight_count: in_flight,
            deferred_count: deferred,
            client_count: clients,
            ..ChannelStats::default()
        }
    }

    #[test]
    fn a_topic_loses_what_waits_in_it_and_in_its_channels() {
        let topic = TopicStats {
            topic_name: "orders".into(),
            depth: 12,
            channels: vec![
                channel("email", 1_200, 3, 1, 2),
                channel("archive", 0, 0, 0, 1),
                channel("one", 0, 1, 0, 0),
            ],
            ..TopicStats::default()
        };
        assert_eq!(
            of_topic(&topic),
            [
                "12 messages in orders that no channel has yet",
                "1,204 messages in orders/email, 3 in flight and 1 deferred of them",
                "1 message in orders/one, 1 in flight of them",
                "the connections of 3 consumers",
            ]
        );
        assert_eq!(of_topic_itself(&topic).len(), 1);
        assert_eq!(of_channel("orders", &topic.channels[1]), ["the connections of 1 consumer"]);
        assert_eq!(of_messages("orders", &topic.channels[1]), None);
    }

    #[test]
    fn what_is_lost_stands_in_lines_below_what_is_done() {
        let overview = Overview::default();
        let lines = ["2 messages in t/c".to_owned()];
        assert_eq!(
            text("t is deleted from 1 nsqd", &lines, &overview),
            "t is deleted from 1 nsqd, and with it\n  2 messages in t/c\n"
        );
        assert_eq!(text("t is deleted", &[], &overview), "t is deleted; no message is lost\n");
    }
}
