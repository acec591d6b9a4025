//! Which core owns a topic, and when a connection should live there.
//!
//! Chooses; `command` and `shard` compare what it chose with the core that they run on. That the
//! first core accepts connections and keeps the list of topics is `shard`'s own rule. Pure: the same
//! name and number of shards give the same owner on every core, so nobody has to be asked.

use protocol::name::TopicName;

/// One core with everything it owns, by number from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// How many shards there are, and so who owns what.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    shards: u16,
}

impl Placement {
    /// A placement over `shards` cores, at least one.
    pub fn over(shards: u16) -> Self {
        assert!(0 < shards, "a broker has at least one shard");
        Self { shards }
    }

    /// All shards.
    pub fn all(self) -> impl Iterator<Item = ShardId> {
        (0..self.shards).map(ShardId)
    }

    /// How many there are.
    pub fn count(self) -> usize {
        usize::from(self.shards)
    }

    /// The core that owns the topic: its log, its channels, its consumers.
    pub fn owner_of(self, topic: TopicName) -> ShardId {
        // CRC-32 spreads short names evenly and is the same in every build, unlike the standard
        // library's hash; the folder of a topic does not depend on it, so it may change.
        let hash = crc32fast::hash(topic.as_bytes());
        let shard = (u64::from(hash) * u64::from(self.shards)) >> 32;
        ShardId(u16::try_from(shard).expect("smaller than the number of shards"))
    }
}

/// The shard that has the fewest connections; the first of several.
pub fn least_loaded(connections: &[usize]) -> ShardId {
    let (index, _) = connections
        .iter()
        .enumerate()
        .min_by_key(|&(index, &count)| (count, index))
        .expect("a broker has at least one shard");
    ShardId(u16::try_from(index).expect("fewer than 65,536 shards"))
}

/// Watches where a producer publishes to, and says when it should move there.
///
/// A batch that crosses cores is copied once more and wakes a second core, so a producer that keeps
/// to the topics of one other core is better off on it. One that alternates stays where it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Following {
    last: Option<ShardId>,
    streak: u32,
}

/// So many publishes in a row to topics of one other core make a producer move: enough that one
/// who spreads evenly over two cores practically never does by chance.
pub const PUBLISHES_BEFORE_MOVE: u32 = 32;

impl Following {
    /// Notes a publish to a topic of `owner` by a connection on `here`; true when it should move.
    pub fn published_to(&mut self, owner: ShardId, here: ShardId) -> bool {
        if self.last != Some(owner) {
            *self = Self { last: Some(owner), streak: 0 };
        }
        self.streak = self.streak.saturating_add(1);
        owner != here && PUBLISHES_BEFORE_MOVE <= self.streak
    }

    /// It could not move, and stays for as many publishes as before; false when it was not to move
    /// for its publishes.
    pub fn stay(&mut self) -> bool {
        PUBLISHES_BEFORE_MOVE <= std::mem::take(&mut self.streak)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_one_owner_and_the_owners_share_alike() {
        let placement = Placement::over(4);
        let mut owned = [0_usize; 4];
        for number in 0..4_000 {
            let topic = TopicName::parse(format!("topic-{number}").as_bytes()).unwrap();
            owned[usize::from(placement.owner_of(topic).0)] += 1;
        }
        assert_eq!(owned.iter().sum::<usize>(), 4_000);
        assert!(owned.iter().all(|&topics| (850..=1_150).contains(&topics)), "{owned:?}");
    }

    #[test]
    fn a_new_connection_goes_where_the_fewest_are() {
        assert_eq!(least_loaded(&[3, 1, 1]), ShardId(1));
        assert_eq!(least_loaded(&[0]), ShardId(0));
    }

    #[test]
    fn a_producer_follows_its_topic_and_an_alternating_one_stays() {
        let (here, there) = (ShardId(0), ShardId(1));
        let mut steady = Following::default();
        let mut until_move = || (1..=100).position(|_| steady.published_to(there, here));
        assert_eq!(until_move(), Some(31));
        assert_eq!(until_move(), Some(0), "it could not");
        assert!(steady.stay());
        assert!(!steady.stay());
        assert_eq!((1..=100).position(|_| steady.published_to(there, here)), Some(31));
        let mut alternating = Following::default();
        for _ in 0..1_000 {
            assert!(!alternating.published_to(there, here));
            assert!(!alternating.published_to(here, here));
        }
        let mut at_home = Following::default();
        assert!((0..1_000).all(|_| !at_home.published_to(here, here)));
    }
}
