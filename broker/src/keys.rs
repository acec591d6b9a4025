//! The names by which parts of one core know each other.
//!
//! Every key names one thing for ever: when the thing is gone the key finds nothing, and never the
//! one that took its place.

slotmap::new_key_type! {
    /// A topic of this core.
    pub struct TopicKey;
    /// A channel of its topic.
    pub struct ChannelKey;
    /// A consumer of its channel.
    pub struct SubscriberKey;
    /// A client's connection on this core.
    pub struct ConnectionKey;
}
