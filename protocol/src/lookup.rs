//! The bodies of nsqlookupd's HTTP answers, for those who write them and those who read them.
//!
//! The order of the fields is the order of the keys on the wire. Readers take missing keys
//! and null for empty ones, as NSQ's tools do. Does not know: routes, or who is registered.

use serde::{Deserialize, Serialize};

use crate::json::null_as_default;

/// `GET /lookup?topic=`: who produces a topic, and which channels it has anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lookup {
    /// All channels of the topic, those without a producer too. In no order.
    #[serde(deserialize_with = "null_as_default")]
    pub channels: Vec<String>,
    /// The active, not tombstoned producers. In no order.
    #[serde(deserialize_with = "null_as_default")]
    pub producers: Vec<Producer>,
}

/// One nsqd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Producer {
    /// Where its connection to this nsqlookupd comes from.
    pub remote_address: String,
    /// What it calls its machine.
    pub hostname: String,
    /// The address that clients reach it at.
    pub broadcast_address: String,
    /// The port of its TCP protocol.
    pub tcp_port: u16,
    /// The port of its HTTP interface.
    pub http_port: u16,
    /// Its version of NSQ.
    pub version: String,
    /// Where it runs, within its region.
    pub topology_zone: String,
    /// Where it runs.
    pub topology_region: String,
}

/// `GET /topics`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Topics {
    /// All topics, those without a producer too. In no order.
    #[serde(deserialize_with = "null_as_default")]
    pub topics: Vec<String>,
}

/// `GET /channels?topic=`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Channels {
    /// All channels of the topic; none for an unknown topic. In no order.
    #[serde(deserialize_with = "null_as_default")]
    pub channels: Vec<String>,
}

/// `GET /nodes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Nodes {
    /// The active nsqds, tombstoned or not. In no order.
    #[serde(deserialize_with = "null_as_default")]
    pub producers: Vec<Node>,
}

/// One nsqd with what it produces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// The nsqd itself; its keys stand beside the others.
    #[serde(flatten)]
    pub producer: Producer,
    /// For each of `topics`, at the same place: whether this nsqd is hidden from it for now.
    #[serde(deserialize_with = "null_as_default")]
    pub tombstones: Vec<bool>,
    /// The topics it is registered for.
    #[serde(deserialize_with = "null_as_default")]
    pub topics: Vec<String>,
}

/// `GET /info`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// The version of NSQ.
    pub version: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::to_go_json;
    use serde::de::DeserializeOwned;
    use std::fmt;

    fn check<T>(value: &T, json: &str)
    where
        T: Serialize + DeserializeOwned + PartialEq + fmt::Debug,
    {
        assert_eq!(to_go_json(value), json);
        assert_eq!(&serde_json::from_str::<T>(json).unwrap(), value);
    }

    fn producer() -> Producer {
        Producer {
            remote_address: "127.0.0.1:48076".into(),
            hostname: "h1".into(),
            broadcast_address: "127.0.0.1".into(),
            tcp_port: 4150,
            http_port: 4151,
            version: "1.3.0".into(),
            topology_zone: "z".into(),
            topology_region: "r".into(),
        }
    }

    #[test]
    fn bodies_are_those_of_nsqlookupd_key_by_key() {
        check(
            &Lookup {
                channels: vec!["c".into(), "e#ephemeral".into()],
                producers: vec![producer()],
            },
            r#"{"channels":["c","e#ephemeral"],"producers":[{"remote_address":"127.0.0.1:48076","hostname":"h1","broadcast_address":"127.0.0.1","tcp_port":4150,"http_port":4151,"version":"1.3.0","topology_zone":"z","topology_region":"r"}]}"#,
        );
        check(
            &Nodes {
                producers: vec![Node {
                    producer: producer(),
                    tombstones: vec![true, false],
                    topics: vec!["t".into(), "t2".into()],
                }],
            },
            r#"{"producers":[{"remote_address":"127.0.0.1:48076","hostname":"h1","broadcast_address":"127.0.0.1","tcp_port":4150,"http_port":4151,"version":"1.3.0","topology_zone":"z","topology_region":"r","tombstones":[true,false],"topics":["t","t2"]}]}"#,
        );
        check(&Topics { topics: vec!["t".into()] }, r#"{"topics":["t"]}"#);
        check(&Channels::default(), r#"{"channels":[]}"#);
        check(&Info { version: "1.3.0".into() }, r#"{"version":"1.3.0"}"#);
    }

    #[test]
    fn a_reader_takes_missing_keys_for_empty_ones() {
        let older = r#"{"producers":[{"hostname":"h1","tcp_port":4150}]}"#;
        let lookup: Lookup = serde_json::from_str(older).unwrap();
        assert_eq!(lookup.producers[0].tcp_port, 4150);
        assert_eq!(lookup.producers[0].version, "");
        let null = r#"{"channels":null,"producers":null}"#;
        assert_eq!(serde_json::from_str::<Lookup>(null).unwrap(), Lookup::default());
    }
}
