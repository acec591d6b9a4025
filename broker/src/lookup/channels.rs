//! Which channels a topic has on other brokers: what `/channels?topic=` of the nsqlookupds says.
//!
//! Knows: the question, and what its answers mean together. Does not know: connections, which are
//! [`crate::http::client`]'s, or what is done with the channels.
//!
//! All nsqlookupds are asked at once, so it takes as long as the slowest, and
//! `--http-client-request-timeout` at the most. One answer is enough; what the others do not say is
//! only said in the log (NSQ behaviour).

use crate::http::client::Patience;
use crate::shard::Shard;
use protocol::http::client::Request;
use protocol::http::url::{Url, encode_form};
use protocol::lookup::Channels;
use protocol::name::{ChannelName, TopicName};
use std::collections::BTreeSet;
use std::rc::Rc;

/// The longest answer that is taken: more than ten thousand channels.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The channels that any of the nsqlookupds at these HTTP addresses knows of the topic; none when
/// nobody can be asked.
pub async fn channels_elsewhere(
    shard: &Rc<Shard>,
    addresses: Vec<String>,
    topic: TopicName,
) -> Vec<ChannelName> {
    if addresses.is_empty() {
        tracing::error!(
            "no available nsqlookupd to query for channels to pre-create for topic {topic}"
        );
        return Vec::new();
    }
    let asking: Vec<_> = addresses
        .into_iter()
        .map(|address| glommio::spawn_local(ask(shard.clone(), address, topic)))
        .collect();
    let mut channels = BTreeSet::new();
    for answer in asking {
        match answer.await {
            Ok(names) => channels.extend(names),
            Err(error) => tracing::warn!(
                "failed to query nsqlookupd for channels to pre-create for topic {topic} - {error}"
            ),
        }
    }
    channels.into_iter().collect()
}

async fn ask(
    shard: Rc<Shard>,
    address: String,
    topic: TopicName,
) -> Result<Vec<ChannelName>, String> {
    let query = encode_form([("topic", topic.as_bytes())]);
    let endpoint = format!("http://{address}/channels?{query}");
    tracing::info!("CI: querying nsqlookupd {endpoint}");
    let url = Url::parse(&endpoint).map_err(|error| format!("{endpoint}: {error}"))?;
    let request = Request::get(url).with_header("Accept", "application/vnd.nsq; version=1.0");
    let patience = Patience {
        connect: shard.config.http_client_connect_timeout,
        whole: shard.config.http_client_request_timeout,
    };
    let answer = shard.http_client.ask(request, patience, ANSWER_BYTES_MAX).await;
    let answer = answer.map_err(|error| format!("{endpoint}: {error}"))?;
    if answer.status != 200 {
        return Err(format!("{endpoint}: got response {} {}", answer.status, answer.reason));
    }
    read(&answer.body).map_err(|error| format!("{endpoint}: {error}"))
}

/// The names in an answer. What is no name is left out: a broker cannot have such a channel.
fn read(body: &[u8]) -> Result<Vec<ChannelName>, serde_json::Error> {
    let Channels { channels } = serde_json::from_slice(body)?;
    let names = channels.iter().filter_map(|name| ChannelName::parse(name.as_bytes()).ok());
    Ok(names.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_names_are_read_and_what_is_no_name_is_left_out() {
        let names = |body: &str| {
            let names = read(body.as_bytes()).ok()?;
            Some(names.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(
            names(r#"{"channels":["c","bad name","e#ephemeral"],"more":1}"#),
            Some(vec!["c".to_owned(), "e#ephemeral".to_owned()])
        );
        assert_eq!(names("{}"), Some(Vec::new()));
        assert_eq!(names("<html>"), None);
    }
}
