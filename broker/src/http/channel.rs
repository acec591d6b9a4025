//! `/channel/create`, `/channel/delete`, `/channel/empty`, `/channel/pause`, `/channel/unpause`.

use super::Refused;
use super::administration;
use super::incoming::Incoming;
use super::routes::Verb;
use crate::routing::request::Action;
use protocol::http::query::Query;
use protocol::http::response::{Response, Status};
use protocol::name::{ChannelName, TopicName};

/// Does what `verb` says to the channel that the query names. The topic must exist; none is made
/// for the sake of a channel.
pub(super) async fn administer(
    incoming: &mut Incoming<'_>,
    verb: Verb,
) -> Result<Response, Refused> {
    let query = incoming.head.query().map_err(|_| Refused::INVALID_REQUEST)?;
    let (topic, channel) = names_in(&query)?;
    let action = match verb {
        Verb::Create => Action::CreateChannel(channel),
        Verb::Delete => Action::DeleteChannel(channel),
        Verb::Empty => Action::EmptyChannel(channel),
        Verb::Pause => Action::PauseChannel(channel, true),
        Verb::Unpause => Action::PauseChannel(channel, false),
    };
    administration::administer(incoming, topic, action).await
}

/// All of the topic's name is looked at before the channel's.
fn names_in(query: &Query) -> Result<(TopicName, ChannelName), Refused> {
    let refused = |code| Refused(Status::BadRequest, code);
    let topic = query.get("topic").ok_or(Refused::MISSING_ARG_TOPIC)?;
    let topic = TopicName::parse(topic.as_bytes()).map_err(|_| refused("INVALID_ARG_TOPIC"))?;
    let channel = query.get("channel").ok_or(refused("MISSING_ARG_CHANNEL"))?;
    let channel =
        ChannelName::parse(channel.as_bytes()).map_err(|_| refused("INVALID_ARG_CHANNEL"))?;
    Ok((topic, channel))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fault_of_a_query_is_named() {
        for (raw, code) in [
            ("", "MISSING_ARG_TOPIC"),
            ("channel=?", "MISSING_ARG_TOPIC"),
            ("topic=?", "INVALID_ARG_TOPIC"),
            ("topic=t", "MISSING_ARG_CHANNEL"),
            ("topic=t&channel=", "INVALID_ARG_CHANNEL"),
        ] {
            let found = names_in(&Query::parse(raw).unwrap());
            assert_eq!(found, Err(Refused(Status::BadRequest, code)), "{raw}");
        }
        let (topic, channel) = names_in(&Query::parse("channel=c&topic=t").unwrap()).unwrap();
        assert_eq!((topic.as_str(), channel.as_str()), ("t", "c"));
    }
}
