//! Channels: which a topic has, and what is done with them.
//!
//! The rules are those of [`topic`](super::topic).

use protocol::lookup::Channels;

use super::answer::{Answer, Asked, Daemon, gather};
use super::topic::{Change, sorted};
use super::{Changed, Cluster, Sources, query};
use crate::address::Address;

impl Cluster {
    /// The names of a topic's channels, sorted, as far as these nsqlookupds know them.
    pub(super) async fn channels_known_to(
        &self,
        lookups: &[Address],
        topic: &str,
    ) -> Asked<Vec<String>> {
        let path = format!("/channels?{}", query(&[("topic", topic)]));
        let answers = self.http().get_all::<Channels>(lookups, &path).await;
        Ok(gather(Daemon::Nsqlookupd, answers)?
            .map(|answers| sorted(answers.into_iter().flat_map(|(_, channels)| channels.channels))))
    }

    /// Makes a channel known, and its topic: to every nsqlookupd and then to the nsqds that produce
    /// the topic, or else to every nsqd.
    pub(crate) async fn create_channel(&self, topic: &str, channel: &str) -> Asked<Changed> {
        let created = self.create_topic(topic).await;
        let mut failures = created.failures;
        let mut changed = Changed::default();
        let path = format!("/channel/create?{}", of_channel(topic, channel));
        let brokers: Vec<Address> = match self.sources() {
            // Only where the topic is now, the channel can be.
            Sources::Brokers(_) => created.value.brokers,
            Sources::Lookups(lookups) => {
                changed.note_lookups(self.http().post_all(lookups, &path).await, &mut failures);
                let producers = self.producers(topic).await?;
                failures.extend(producers.failures);
                producers.value.into_iter().map(|node| node.address).collect()
            }
        };
        changed.note_brokers(self.http().post_all(&brokers, &path).await, &mut failures);
        Ok(Answer { value: changed, failures })
    }

    /// Changes a channel at every nsqd that produces its topic; one that is deleted is deleted at
    /// nsqlookupds before.
    pub(crate) async fn change_channel(
        &self,
        topic: &str,
        channel: &str,
        change: Change,
    ) -> Asked<Changed> {
        let path = format!("/channel/{}?{}", change.word(), of_channel(topic, channel));
        self.change(topic, &path, change).await
    }
}

fn of_channel(topic: &str, channel: &str) -> String {
    query(&[("topic", topic), ("channel", channel)])
}
