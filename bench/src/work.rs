//! How each kind of work is done, and what of it is measured.
//!
//! Processor time, memory and bytes are the broker's own, as the kernel counts them for its process.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::client::Layers;
use crate::contestant::Contestant;
use crate::drivers;
use crate::layers::{self, Part};
use crate::load::consumers::{Answer, Consuming, consume};
use crate::load::crowd::Crowd;
use crate::load::publishers::{Published, Publishing, Until, Wire};
use crate::load::{self, steady};
use crate::peers::Peer;
use crate::plan::Plan;

/// A kind of work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Requests for a time, so many under way on each connection; a batch of one is a PUB. With one
    /// topic that has a channel, with many they have none.
    Publish {
        wire: Wire,
        connections: usize,
        under_way: usize,
        batch: u32,
        body_bytes: usize,
        topics: usize,
    },
    /// The same by NSQ's generator.
    BenchWriter { batch: u32 },
    /// The same over HTTP by wrk.
    Wrk { connections: usize },
    /// A backlog is taken and finished.
    Drain { messages: u64, ready: u32 },
    /// A backlog is taken for a time by NSQ's generator.
    BenchReader { ready: u32 },
    /// A start over a backlog; 0 stands for the backlog of the command line.
    Start { messages: u64 },
    /// The same backlog taken and finished.
    DrainFromDisk { messages: u64, ready: u32 },
    /// Publishing and consuming at once, by a consumer for each channel, two for one.
    FanOut { messages: u64, channels: usize },
    /// By the clock.
    Steady { rate: u64, ready: u32 },
    /// Messages that come twice.
    Storm { messages: u64, answer: Answer },
    /// Through TLS and compression.
    Layered { layers: Layers, part: Part },
    /// Messages that come much later.
    Defer { messages: u64 },
    /// PUBs for a time, to a topic without a channel.
    Acknowledge { connections: usize },
    /// Nobody and nothing.
    Nothing,
    /// Connections that say nothing.
    IdleConnections { count: usize },
    /// Topics without channels, and with a message each.
    IdleTopics { count: usize },
}

impl Work {
    /// The program that it cannot be done without, of those that may not be installed.
    pub(crate) fn needs(self) -> Option<&'static str> {
        matches!(self, Self::Wrk { .. }).then_some(drivers::WRK)
    }

    /// What a broker must be told for it.
    pub(crate) fn flags(self, plan: &Plan) -> Vec<String> {
        if let Self::Layered { .. } = self { plan.secrets.flags() } else { Vec::new() }
    }
}

/// What was done, and what it cost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    pub(crate) messages: u64,
    pub(crate) time: Duration,
    /// The broker's, in its own code and in the kernel's.
    pub(crate) processor_time: Duration,
    /// In microseconds, of what the row is about: answers, or ages of messages.
    pub(crate) waits: Option<Histogram<u64>>,
    /// Bytes of the broker in RAM at most.
    pub(crate) peak_bytes: u64,
    /// Bytes that the broker had written to the disk.
    pub(crate) written_bytes: u64,
    /// Bytes in RAM for each of what is idle.
    pub(crate) bytes_each: Option<f64>,
}

/// Bodies of messages, but for those whose size is what is measured.
const BODY_BYTES: usize = 200;

/// What a backlog is made of: MPUBs of so many.
const BATCH: u32 = 200;

const TOPIC: &str = "bench";
const CHANNEL: &str = "ch";

/// Ten minutes, in milliseconds.
const DELAY: u64 = 600_000;

/// Does the work with a broker that has just started.
pub(crate) fn run(work: Work, mut broker: Contestant, plan: &Plan) -> Done {
    match work {
        Work::Publish { wire, connections, under_way, batch, body_bytes, topics } => {
            let names = topic_names(topics);
            match names.as_slice() {
                [name] => broker.prepare(name, CHANNEL),
                many => make_topics(&broker, many),
            }
            let body = vec![b'.'; body_bytes];
            let request = |name: &String| match (wire, batch) {
                (Wire::Http, _) => load::post(name, &body),
                (Wire::Frames, 1) => load::publish(name, &body),
                (Wire::Frames, batch) => load::publish_many(name, batch, &body),
                (Wire::Peer(_), _) => unreachable!("a peer's work is done by `run_by_peer`"),
            };
            let requests = names.iter().map(request).collect();
            let until = Until::Time(plan.time);
            let publishing = Publishing { wire, connections, window: under_way, requests, until };
            let meter = Meter::start(&broker);
            let Published { requests, time, waits } =
                load::publishers::publish(broker.tcp_or_http(wire), &publishing);
            if topics == 1 {
                broker.settle(&names[0]);
            }
            meter.end(&broker, requests * u64::from(batch), time, Some(waits))
        }
        Work::BenchWriter { batch } => {
            broker.prepare(TOPIC, CHANNEL);
            let meter = Meter::start(&broker);
            let work = drivers::write(&plan.programs.tools, broker.tcp, TOPIC, batch, plan.time);
            broker.settle(TOPIC);
            meter.end(&broker, work.messages, work.time, None)
        }
        Work::Wrk { connections } => {
            broker.prepare(TOPIC, CHANNEL);
            let wrk = plan.programs.installed(drivers::WRK).expect("it was looked for before");
            let folder = tempfile::tempdir().expect("there is room for a script");
            let meter = Meter::start(&broker);
            let work =
                drivers::post(&wrk, broker.http, TOPIC, connections, plan.time, folder.path());
            broker.settle(TOPIC);
            meter.end(&broker, work.messages, work.time, None)
        }
        Work::Drain { messages, ready } => {
            fill(&broker, messages);
            drain(&broker, messages, ready)
        }
        Work::BenchReader { ready } => {
            broker.prepare(TOPIC, CHANNEL);
            // Twice as long as it reads, so that the reader does not run dry where it is faster.
            for _ in 0..2 {
                drivers::write(&plan.programs.tools, broker.tcp, TOPIC, BATCH, plan.time);
            }
            broker.settle(TOPIC);
            let meter = Meter::start(&broker);
            let work = drivers::read(&plan.programs.tools, broker.tcp, TOPIC, ready, plan.time);
            // A reader that ran dry would have measured its waiting.
            assert!(0 < broker.channel_depth(TOPIC), "the backlog was too small for the reader");
            meter.end(&broker, work.messages, work.time, None)
        }
        Work::Start { messages } => {
            let messages = if messages == 0 { plan.backlog } else { messages };
            fill(&broker, messages);
            broker.stop();
            forget_page_cache();
            let time = broker.start_again();
            Done {
                messages: 0,
                time,
                processor_time: broker.processor_time(),
                peak_bytes: broker.peak_bytes(),
                ..Done::default()
            }
        }
        Work::DrainFromDisk { messages, ready } => {
            let messages = if messages == 0 { plan.backlog } else { messages };
            fill(&broker, messages);
            broker.stop();
            forget_page_cache();
            broker.start_again();
            drain(&broker, messages, ready)
        }
        Work::FanOut { messages, channels } => {
            let names: Vec<String> = (0..channels).map(|number| format!("ch{number}")).collect();
            names.iter().for_each(|name| broker.prepare(TOPIC, name));
            let mut subscriptions: Vec<_> =
                names.iter().map(|name| (TOPIC.to_owned(), name.clone())).collect();
            if channels == 1 {
                subscriptions.push(subscriptions[0].clone());
            }
            let deliveries = messages * u64::try_from(channels).expect("there are few");
            let address = broker.tcp;
            let meter = Meter::start(&broker);
            let publishing = thread::spawn(move || publish_backlog(address, messages));
            let consumed = consume(broker.tcp, &finishing(subscriptions, 2500, deliveries));
            publishing.join().expect("the publisher does not panic");
            meter.end(&broker, consumed.messages, consumed.time, None)
        }
        Work::Steady { rate, ready } => {
            broker.prepare(TOPIC, CHANNEL);
            let meter = Meter::start(&broker);
            let names = (TOPIC, CHANNEL);
            let consumed = steady::run(broker.tcp, names, BODY_BYTES, rate, ready, plan.time);
            meter.end(&broker, consumed.messages, consumed.time, Some(consumed.ages))
        }
        Work::Storm { messages, answer } => {
            fill(&broker, messages);
            let subscriptions = vec![(TOPIC.to_owned(), CHANNEL.to_owned()); 4];
            let consuming = Consuming {
                identify: Some(r#"{"msg_timeout":1000}"#),
                answer,
                ..finishing(subscriptions, 2500, messages)
            };
            let meter = Meter::start(&broker);
            let consumed = consume(broker.tcp, &consuming);
            meter.end(&broker, consumed.messages, consumed.time, None)
        }
        Work::Layered { layers, part } => layers::run(&broker, layers, part, plan),
        Work::Defer { messages } => {
            broker.prepare(TOPIC, CHANNEL);
            let publishing = Publishing {
                wire: Wire::Frames,
                connections: 4,
                window: 100,
                requests: vec![load::publish_deferred(TOPIC, DELAY, &[b'.'; BODY_BYTES])],
                until: Until::Count(messages),
            };
            let meter = Meter::start(&broker);
            let published = load::publishers::publish(broker.tcp, &publishing);
            broker.settle(TOPIC);
            meter.end(&broker, published.requests, published.time, None)
        }
        Work::Acknowledge { connections } => {
            broker.make_topic(TOPIC);
            let publishing = Publishing {
                wire: Wire::Frames,
                connections,
                window: 1,
                requests: vec![load::publish(TOPIC, &[b'.'; BODY_BYTES])],
                until: Until::Time(plan.time),
            };
            let meter = Meter::start(&broker);
            let published = load::publishers::publish(broker.tcp, &publishing);
            meter.end(&broker, published.requests, published.time, Some(published.waits))
        }
        Work::Nothing => idle(&broker, plan, 0),
        Work::IdleConnections { count } => {
            let before = broker.resident_bytes();
            let crowd = Crowd::connect(broker.tcp, count, b"  V2");
            until_quiet(&broker);
            let done = idle(&broker, plan, before);
            drop(crowd);
            each(done, count)
        }
        Work::IdleTopics { count } => {
            let before = broker.resident_bytes();
            make_topics(&broker, &topic_names(count));
            until_quiet(&broker);
            each(idle(&broker, plan, before), count)
        }
    }
}

/// Does the nearest same work with a peer that has just started. What is a batch for NSQ are so many
/// messages under way.
///
/// # Panics
/// When no row asks this work of a peer.
pub(crate) fn run_by_peer(peer: Peer, work: Work, broker: &Contestant, plan: &Plan) -> Done {
    let body = [b'.'; BODY_BYTES];
    let publish = |connections: usize, window: usize, until| {
        let requests = (0..connections).map(|number| peer.publish(number, &body)).collect();
        let wire = Wire::Peer(peer);
        let publishing = Publishing { wire, connections, window, requests, until };
        load::publishers::publish(broker.tcp, &publishing)
    };
    let publish_for_a_time = |connections, window| {
        let meter = Meter::start(broker);
        let published = publish(connections, window, Until::Time(plan.time));
        meter.end(broker, published.requests, published.time, Some(published.waits))
    };
    peer.make_stream(broker.tcp);
    match work {
        Work::Publish {
            wire: Wire::Frames,
            connections,
            under_way,
            batch,
            body_bytes: BODY_BYTES,
            topics: 1,
        } => {
            peer.make_channel(broker.tcp);
            let batch = usize::try_from(batch).expect("it is small");
            publish_for_a_time(connections, under_way * batch)
        }
        Work::Acknowledge { connections } => publish_for_a_time(connections, 1),
        Work::Drain { messages, ready } => {
            peer.make_channel(broker.tcp);
            publish(2, 200, Until::Count(messages));
            let meter = Meter::start(broker);
            let consumed = peer.consume(broker.tcp, 2, ready, messages);
            meter.end(broker, consumed.messages, consumed.time, None)
        }
        other => unreachable!("no row asks {other:?} of a peer"),
    }
}

/// What a server that does nothing lets the generator reach, for the kinds of work that it knows.
pub(crate) fn ceiling(work: Work, server: SocketAddr, plan: &Plan) -> Option<Done> {
    let done = |messages, time| Done { messages, time, ..Done::default() };
    match work {
        Work::Publish {
            wire: Wire::Frames,
            connections,
            under_way,
            batch,
            body_bytes,
            topics: 1,
        } if connections <= 128 => {
            let body = vec![b'.'; body_bytes];
            let request = match batch {
                1 => load::publish(TOPIC, &body),
                batch => load::publish_many(TOPIC, batch, &body),
            };
            let published = load::publishers::publish(
                server,
                &Publishing {
                    wire: Wire::Frames,
                    connections,
                    window: under_way,
                    requests: vec![request],
                    until: Until::Time(plan.time),
                },
            );
            Some(done(published.requests * u64::from(batch), published.time))
        }
        Work::Drain { messages, ready } => {
            let subscriptions = vec![(TOPIC.to_owned(), CHANNEL.to_owned()); 2];
            let consumed = consume(server, &finishing(subscriptions, ready, messages));
            Some(done(consumed.messages, consumed.time))
        }
        _ => None,
    }
}

/// What the kernel has counted for a broker, before its work.
pub(crate) struct Meter {
    processor_time: Duration,
    written_bytes: u64,
}

impl Meter {
    /// Its work begins.
    pub(crate) fn start(broker: &Contestant) -> Self {
        Self { processor_time: broker.processor_time(), written_bytes: broker.written_bytes() }
    }

    /// Its work has ended.
    pub(crate) fn end(
        self,
        broker: &Contestant,
        messages: u64,
        time: Duration,
        waits: Option<Histogram<u64>>,
    ) -> Done {
        Done {
            messages,
            time,
            processor_time: broker.processor_time() - self.processor_time,
            waits,
            peak_bytes: broker.peak_bytes(),
            written_bytes: broker.written_bytes() - self.written_bytes,
            bytes_each: None,
        }
    }
}

fn topic_names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{TOPIC}{number}")).collect()
}

/// Topics without a channel and with a message each: made by publishing, many at once, as one after
/// the other takes long with any broker.
fn make_topics(broker: &Contestant, names: &[String]) {
    let requests = names.iter().map(|name| load::publish(name, b".")).collect();
    let until = Until::Count(u64::try_from(names.len()).expect("there are few"));
    // One connection publishes to each in turn.
    load::publishers::publish(
        broker.tcp,
        &Publishing { wire: Wire::Frames, connections: 1, window: 200, requests, until },
    );
}

/// A channel with so many messages.
fn fill(broker: &Contestant, messages: u64) {
    broker.prepare(TOPIC, CHANNEL);
    publish_backlog(broker.tcp, messages);
    broker.settle(TOPIC);
}

fn publish_backlog(broker: SocketAddr, messages: u64) {
    let requests = vec![load::publish_many(TOPIC, BATCH, &[b'.'; BODY_BYTES])];
    let until = Until::Count(messages / u64::from(BATCH));
    let wire = Wire::Frames;
    load::publishers::publish(
        broker,
        &Publishing { wire, connections: 2, window: 2, requests, until },
    );
}

fn drain(broker: &Contestant, messages: u64, ready: u32) -> Done {
    let subscriptions = vec![(TOPIC.to_owned(), CHANNEL.to_owned()); 2];
    let meter = Meter::start(broker);
    let consumed = consume(broker.tcp, &finishing(subscriptions, ready, messages));
    meter.end(broker, consumed.messages, consumed.time, None)
}

fn finishing(subscriptions: Vec<(String, String)>, ready: u32, messages: u64) -> Consuming {
    let (answer, until) = (Answer::Finish, Until::Count(messages));
    Consuming { subscriptions, ready, identify: None, answer, until, sent_since: None }
}

/// Waits, for some twenty seconds at most, until a broker has done what it does later: syncs, checkpoints.
fn until_quiet(broker: &Contestant) {
    const LOOK: Duration = Duration::from_secs(3);
    for _ in 0..6 {
        let before = broker.processor_time();
        thread::sleep(LOOK);
        if broker.processor_time() - before < LOOK / 100 {
            return;
        }
    }
}

/// What a broker does while nobody asks anything of it.
fn idle(broker: &Contestant, plan: &Plan, resident_before: u64) -> Done {
    let meter = Meter::start(broker);
    let begin = Instant::now();
    thread::sleep(plan.time);
    let resident = broker.resident_bytes().saturating_sub(resident_before);
    let done = meter.end(broker, 0, begin.elapsed(), None);
    Done { bytes_each: Some(resident as f64), ..done }
}

fn each(done: Done, count: usize) -> Done {
    Done { bytes_each: done.bytes_each.map(|bytes| bytes / count as f64), ..done }
}

/// Lets the kernel forget the files it has in memory; where that is not allowed, it stays warm.
fn forget_page_cache() {
    drop(Command::new("sync").status());
    drop(fs::write("/proc/sys/vm/drop_caches", "1"));
}
