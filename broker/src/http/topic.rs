//! `/topic/create`, `/topic/delete`, `/topic/empty`, `/topic/pause`, `/topic/unpause`.
//!
//! The verbs differ in what an illegal name is to them: those that make or empty a topic refuse it,
//! to the others it is a topic that does not exist (NSQ behaviour).

use super::Refused;
use super::administration;
use super::incoming::Incoming;
use super::routes::Verb;
use crate::routing::request::Action;
use protocol::http::query::Query;
use protocol::http::response::Response;
use protocol::name::TopicName;

/// Does what `verb` says to the topic that the query names.
pub(super) async fn administer(
    incoming: &mut Incoming<'_>,
    verb: Verb,
) -> Result<Response, Refused> {
    let query = incoming.head.query().map_err(|_| Refused::INVALID_REQUEST)?;
    let topic = topic_in(&query, verb)?;
    let action = match verb {
        Verb::Create => Action::CreateTopic,
        Verb::Delete => Action::DeleteTopic,
        Verb::Empty => Action::EmptyTopic,
        Verb::Pause => Action::PauseTopic(true),
        Verb::Unpause => Action::PauseTopic(false),
    };
    administration::administer(incoming, topic, action).await
}

fn topic_in(query: &Query, verb: Verb) -> Result<TopicName, Refused> {
    let name = query.get("topic").ok_or(Refused::MISSING_ARG_TOPIC)?;
    TopicName::parse(name.as_bytes()).map_err(|_| match verb {
        Verb::Create | Verb::Empty => Refused::INVALID_TOPIC,
        Verb::Delete | Verb::Pause | Verb::Unpause => Refused::TOPIC_NOT_FOUND,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_illegal_name_is_refused_or_unknown_as_the_verb_has_it() {
        let topic = |raw: &str, verb| topic_in(&Query::parse(raw).unwrap(), verb);
        for (verb, illegal) in [
            (Verb::Create, Refused::INVALID_TOPIC),
            (Verb::Empty, Refused::INVALID_TOPIC),
            (Verb::Delete, Refused::TOPIC_NOT_FOUND),
            (Verb::Pause, Refused::TOPIC_NOT_FOUND),
            (Verb::Unpause, Refused::TOPIC_NOT_FOUND),
        ] {
            assert_eq!(topic("topic=a*", verb), Err(illegal), "{verb:?}");
            assert_eq!(topic("topic=", verb), Err(illegal), "{verb:?}");
            assert_eq!(topic("channel=c", verb), Err(Refused::MISSING_ARG_TOPIC), "{verb:?}");
            assert_eq!(topic("topic=t%23ephemeral", verb).unwrap().as_str(), "t#ephemeral");
        }
    }
}
