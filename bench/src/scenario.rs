//! What is measured, as data.
//!
//! A scenario is a table, a row of it is one kind of work. How the work is done is in [`crate::work`].

use crate::client::{Compression, Layers};
use crate::contender::{ALL, ALL_AND_FLOOR, BOTH, Contender, DURABLE, PEERS, PEERS_SYNCED, SHARDS};
use crate::layers::Part;
use crate::load::consumers::Answer;
use crate::load::publishers::Wire;
use crate::work::Work;

/// A table.
pub(crate) struct Scenario {
    /// By which it is asked for.
    pub(crate) name: &'static str,
    /// What the table shows.
    pub(crate) shows: &'static str,
    pub(crate) rows: &'static [Row],
}

/// One kind of work, done by each contender in turn.
pub(crate) struct Row {
    pub(crate) label: &'static str,
    pub(crate) work: Work,
    /// The first is what the others are compared with.
    pub(crate) contenders: &'static [Contender],
}

const fn row(label: &'static str, work: Work) -> Row {
    Row { label, work, contenders: BOTH }
}

impl Row {
    const fn against(self, contenders: &'static [Contender]) -> Self {
        Self { label: self.label, work: self.work, contenders }
    }
}

/// PUBs or MPUBs over the TCP protocol, each connection waiting for its answer.
const fn publish(connections: usize, batch: u32, body_bytes: usize) -> Work {
    let wire = Wire::Frames;
    Work::Publish { wire, connections, under_way: 1, batch, body_bytes, topics: 1 }
}

/// PUBs of 200 B by connections that do not wait for each answer.
const fn ahead(connections: usize, under_way: usize) -> Work {
    let wire = Wire::Frames;
    Work::Publish { wire, connections, under_way, batch: 1, body_bytes: 200, topics: 1 }
}

/// PUBs of 200 B to topics in turn, of 16 connections with 200 under way on each.
const fn ahead_to(topics: usize) -> Work {
    let wire = Wire::Frames;
    Work::Publish { wire, connections: 16, under_way: 200, batch: 1, body_bytes: 200, topics }
}

const fn topics(topics: usize) -> Work {
    let wire = Wire::Frames;
    Work::Publish { wire, connections: 2, under_way: 1, batch: 20, body_bytes: 200, topics }
}

const fn http(connections: usize) -> Work {
    let wire = Wire::Http;
    Work::Publish { wire, connections, under_way: 1, batch: 1, body_bytes: 200, topics: 1 }
}

const PLAIN: Layers = Layers { tls: false, compression: None };
const TLS: Layers = Layers { tls: true, compression: None };
const SNAPPY: Layers = Layers { tls: false, compression: Some(Compression::Snappy) };
const DEFLATE: Layers = Layers { tls: false, compression: Some(Compression::Deflate) };

const fn layered(layers: Layers, part: Part) -> Work {
    Work::Layered { layers, part }
}

/// Every scenario, in the order in which they run.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "publish",
        shows: "Publishing to a topic with one channel, each connection waiting for its answer unless said.",
        rows: &[
            row("MPUB of 200 x 200 B, 2 connections", publish(2, 200, 200)).against(ALL_AND_FLOOR),
            row("the same by NSQ's bench_writer", Work::BenchWriter { batch: 200 }),
            row("PUB of 200 B, 1 connection", publish(1, 1, 200)),
            row("2 connections", publish(2, 1, 200)),
            row("the same by NSQ's bench_writer", Work::BenchWriter { batch: 1 }),
            row("16 connections", publish(16, 1, 200)),
            row("128 connections", publish(128, 1, 200)),
            row("1,000 connections", publish(1000, 1, 200)),
            row("2 connections, 200 under way on each", ahead(2, 200)),
        ],
    },
    Scenario {
        name: "sizes",
        shows: "PUB of bodies of different sizes over 16 connections.",
        rows: &[
            row("16 B", publish(16, 1, 16)),
            row("1 KiB", publish(16, 1, 1 << 10)),
            row("16 KiB", publish(16, 1, 16 << 10)),
            row("256 KiB", publish(16, 1, 256 << 10)),
            // With the length of a message's head the limit is a little less than 1 MiB.
            row("1 MB", publish(16, 1, 1_000_000)),
        ],
    },
    Scenario {
        name: "http",
        shows: "POST /pub of 200 B over connections that stay.",
        rows: &[
            row("2 connections", http(2)),
            row("16 connections", http(16)),
            row("the same by wrk", Work::Wrk { connections: 16 }),
        ],
    },
    Scenario {
        name: "drain",
        shows: "Taking and finishing what waits, 200 B each, over two connections.",
        rows: &[
            row("200,000 messages, RDY 2500", Work::Drain { messages: 200_000, ready: 2500 })
                .against(ALL),
            row("2,000,000 messages, RDY 2500", Work::Drain { messages: 2_000_000, ready: 2500 }),
            row("for a time by NSQ's bench_reader, RDY 2500", Work::BenchReader { ready: 2500 }),
            row("200,000 messages, RDY 100", Work::Drain { messages: 200_000, ready: 100 }),
            row("200,000 messages, RDY 1", Work::Drain { messages: 200_000, ready: 1 }),
        ],
    },
    Scenario {
        name: "disk",
        shows: "A backlog on disk, after a restart and with a cold page cache: until it answers, and until all is finished. BACKLOG is 2,000,000 unless the command above says otherwise.",
        rows: &[
            row("start over BACKLOG", Work::Start { messages: 0 }),
            row("drain of 1,000,000", Work::DrainFromDisk { messages: 1_000_000, ready: 2500 }),
            row("drain of BACKLOG", Work::DrainFromDisk { messages: 0, ready: 2500 }),
        ],
    },
    Scenario {
        name: "together",
        shows: "MPUB of 200 x 200 B by two connections, two consumers with RDY 2500 at the same time.",
        rows: &[row("1,000,000 messages", Work::FanOut { messages: 1_000_000, channels: 1 })
            .against(ALL)],
    },
    Scenario {
        name: "fan-out",
        shows: "MPUB of 200 x 200 B while each channel has a consumer with RDY 2500; a message is a delivery.",
        rows: &[
            row("4 channels", Work::FanOut { messages: 300_000, channels: 4 }),
            row("16 channels", Work::FanOut { messages: 100_000, channels: 16 }),
        ],
    },
    Scenario {
        name: "topics",
        shows: "Publishing to topics in turn, of which several have no channel: MPUB of 20 x 200 B over two connections that wait for each answer, and PUB of 200 B over 16 with 200 under way on each.",
        rows: &[
            row("MPUB, 1 topic", topics(1)),
            row("MPUB, 10 topics", topics(10)),
            row("MPUB, 100 topics", topics(100)),
            row("MPUB, 1,000 topics", topics(1000)),
            row("200 PUBs under way, 1 topic", ahead_to(1)),
            row("200 PUBs under way, 10 topics", ahead_to(10)),
            row("200 PUBs under way, 100 topics", ahead_to(100)),
        ],
    },
    Scenario {
        name: "latency",
        shows: "From when a message was due to when its consumer has it, 200 B, at a steady rate by the clock.",
        rows: &[
            row("100/s, RDY 100", Work::Steady { rate: 100, ready: 100 }),
            row("1,000/s, RDY 1", Work::Steady { rate: 1_000, ready: 1 }),
            row("1,000/s, RDY 100", Work::Steady { rate: 1_000, ready: 100 }),
            row("1,000/s, RDY 2500", Work::Steady { rate: 1_000, ready: 2500 }),
            row("10,000/s, RDY 100", Work::Steady { rate: 10_000, ready: 100 }).against(ALL),
            row("10,000/s, RDY 2500", Work::Steady { rate: 10_000, ready: 2500 }),
            row("100,000/s, RDY 2500", Work::Steady { rate: 100_000, ready: 2500 }),
        ],
    },
    Scenario {
        name: "storms",
        shows: "Messages that come twice, over four connections with RDY 2500.",
        rows: &[
            row(
                "200,000 requeued once",
                Work::Storm { messages: 200_000, answer: Answer::RequeueOnce },
            ),
            row(
                "50,000 timed out once, after a second",
                Work::Storm { messages: 50_000, answer: Answer::ForgetOnce },
            ),
        ],
    },
    Scenario {
        name: "layers",
        shows: "Over four connections, each through TLS 1.3 with AES-128, snappy, or deflate of level 6; half of each body of 200 B can be compressed.",
        rows: &[
            row("plain, MPUB of 200", layered(PLAIN, Part::Publish)),
            row("plain, taken with RDY 2500", layered(PLAIN, Part::Consume)),
            row("TLS, MPUB of 200", layered(TLS, Part::Publish)),
            row("TLS, taken with RDY 2500", layered(TLS, Part::Consume)),
            row("snappy, MPUB of 200", layered(SNAPPY, Part::Publish)),
            row("snappy, taken with RDY 2500", layered(SNAPPY, Part::Consume)),
            row("deflate, MPUB of 200", layered(DEFLATE, Part::Publish)),
            row("deflate, taken with RDY 2500", layered(DEFLATE, Part::Consume)),
        ],
    },
    Scenario {
        name: "deferred",
        shows: "DPUB of 200 B by ten minutes, four connections with a hundred under way each.",
        rows: &[row("1,000,000 messages", Work::Defer { messages: 1_000_000 })],
    },
    Scenario {
        name: "synced",
        shows: "PUB of 200 B, each connection waiting for its OK; the topic has no channel, which favours nsqd: it writes a message once for each.",
        rows: &[
            row("1 connection", Work::Acknowledge { connections: 1 }).against(DURABLE),
            row("16 connections", Work::Acknowledge { connections: 16 }).against(DURABLE),
            row("64 connections", Work::Acknowledge { connections: 64 }).against(DURABLE),
        ],
    },
    Scenario {
        name: "peers",
        shows: "The nearest same work by others: bodies of 200 B, a message acknowledged when it is written (nsqd: when it has it in memory), and synced later; Redis syncs each second, JetStream every two minutes. \
                What is finished stays stored with the peers, as they come.",
        rows: &[
            row("one by one, 2 connections", publish(2, 1, 200)).against(PEERS),
            row("one by one, 16 connections", publish(16, 1, 200)).against(PEERS),
            row("one by one, 128 connections", publish(128, 1, 200)).against(PEERS),
            row("one by one, 200 under way on each of 2 connections", ahead(2, 200)).against(PEERS),
            row("the same, NSQ by MPUB of 200", publish(2, 200, 200)).against(PEERS),
            row(
                "200,000 taken, 2500 under way, each acknowledged",
                Work::Drain { messages: 200_000, ready: 2500 },
            )
            .against(PEERS),
            row("one by one, synced, 64 connections", Work::Acknowledge { connections: 64 })
                .against(PEERS_SYNCED),
        ],
    },
    Scenario {
        name: "idle",
        shows: "What it costs to have them while nothing happens.",
        rows: &[
            row("nothing", Work::Nothing),
            row("10,000 connections", Work::IdleConnections { count: 10_000 }),
            row("10,000 topics with a message each", Work::IdleTopics { count: 10_000 }),
        ],
    },
    Scenario {
        name: "shards",
        shows: "The same work for one core and for two: a publisher on the other core's socket is forwarded, or moves.",
        rows: &[
            row("MPUB of 200 x 200 B, 2 connections", publish(2, 200, 200)).against(SHARDS),
            row("PUB of 200 B, 16 connections", publish(16, 1, 200)).against(SHARDS),
            row("MPUB of 20 x 200 B to 100 topics in turn, 2 connections", topics(100))
                .against(SHARDS),
            row(
                "PUB of 200 B to 100 topics in turn, 16 connections with 200 under way",
                ahead_to(100),
            )
            .against(SHARDS),
        ],
    },
];
