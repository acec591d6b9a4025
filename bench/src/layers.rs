//! Publishing in batches, and draining what was published, through TLS, snappy and deflate.
//!
//! The same clients talk to all brokers. What they publish is compressed beforehand, so that publishing
//! costs them little. Processor time of the broker a message is the figure: it is the same whoever is
//! waited for.

use std::fs;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::{Client, Layers, Trust, trusting};
use crate::contestant::Contestant;
use crate::plan::Plan;
use crate::work::{Done, Meter};

/// Connections that publish, and that consume.
const CLIENTS: usize = 4;
/// Messages in a batch.
const BATCH: usize = 200;
const BODY_BYTES: usize = 200;
/// Different batches, so that no window of a compression sees the same twice.
const BATCHES: usize = 16;
const READY: u32 = 2_500;
const TOPIC: &str = "layers";
/// Of what was published so much is consumed at most: who runs dry would have its waiting measured.
const CONSUMED_OF_TEN: u64 = 8;

/// What of the work is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// MPUBs, each when the one before was acknowledged.
    Publish,
    /// Finishing what was published before.
    Consume,
}

/// A certificate of the broker's, and clients that believe it.
#[derive(Debug)]
pub(crate) struct Secrets {
    folder: TempDir,
    trust: Trust,
}

impl Secrets {
    pub(crate) fn make() -> Self {
        let folder = TempDir::with_prefix("bench-tls-").expect("there is room for two small files");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])
            .expect("a name makes a certificate");
        let write = |name: &str, text: String| {
            fs::write(folder.path().join(name), text).expect("there is room for a small file");
        };
        write("cert.pem", made.cert.pem());
        write("key.pem", made.signing_key.serialize_pem());
        Self { trust: trusting(made.cert.der().clone()), folder }
    }

    /// The broker's.
    pub(crate) fn flags(&self) -> Vec<String> {
        ["cert", "key"]
            .map(|part| format!("--tls-{part}={}/{part}.pem", self.folder.path().display()))
            .to_vec()
    }
}

/// Does one part of the work with a broker that has the secrets' flags.
pub(crate) fn run(broker: &Contestant, layers: Layers, part: Part, plan: &Plan) -> Done {
    let trust = &plan.secrets.trust;
    let sealed = match layers.compression {
        None => batches(),
        Some(compression) => compression.seal_apart(&batches()),
    };
    broker.prepare(TOPIC, "ch");
    let published = together(
        broker,
        |_| Client::connect(broker.tcp, layers, trust),
        |number, client| publish(client, number, &sealed, plan.time),
        || broker.settle(TOPIC),
    );
    if let Part::Publish = part {
        return published;
    }
    let wanted = published.messages * CONSUMED_OF_TEN / 10;
    let finished = AtomicU64::new(0);
    together(
        broker,
        |_| {
            let mut client = Client::connect(broker.tcp, layers, trust);
            client.say(format!("SUB {TOPIC} ch\n").as_bytes());
            client.expect_ok();
            client
        },
        |_, client| consume(client, &finished, wanted, plan.time),
        || (),
    )
}

/// Has clients work at the same time; how many messages they did, and what that cost. `settle` is
/// part of the broker's work. They stay connected until all is measured.
fn together(
    broker: &Contestant,
    connect: impl Fn(usize) -> Client + Sync,
    work: impl Fn(usize, &mut Client) -> u64 + Sync,
    settle: impl FnOnce(),
) -> Done {
    let [begin, end, measured] = [(); 3].map(|()| Barrier::new(CLIENTS + 1));
    let messages = AtomicU64::new(0);
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (begin, end, measured) = (&begin, &end, &measured);
            let (messages, connect, work) = (&messages, &connect, &work);
            scope.spawn(move || {
                let mut client = connect(number);
                begin.wait();
                messages.fetch_add(work(number, &mut client), Ordering::Relaxed);
                end.wait();
                measured.wait();
            });
        }
        begin.wait();
        let meter = Meter::start(broker);
        let began = Instant::now();
        end.wait();
        let took = began.elapsed();
        settle();
        let done = meter.end(broker, messages.load(Ordering::Relaxed), took, None);
        measured.wait();
        done
    })
}

/// Publishes batches for a time, each when the one before was acknowledged.
fn publish(client: &mut Client, number: usize, sealed: &[Vec<u8>], time: Duration) -> u64 {
    let begin = Instant::now();
    let mut count = 0;
    for batch in sealed.iter().cycle().skip(number) {
        client.say_sealed(batch);
        client.expect_ok();
        count += BATCH as u64;
        if time <= begin.elapsed() {
            break;
        }
    }
    count
}

/// Finishes messages, those that came together together, until all consumers have finished
/// `wanted`, or the time is over.
fn consume(client: &mut Client, finished: &AtomicU64, wanted: u64, time: Duration) -> u64 {
    let begin = Instant::now();
    client.say(format!("RDY {READY}\n").as_bytes());
    let mut answers = Vec::new();
    let mut count = 0;
    while finished.load(Ordering::Relaxed) < wanted && begin.elapsed() < time {
        let mut fresh = 0;
        client.take_frames(&mut |kind, data| {
            assert_eq!(kind, 2, "a message, not {}", String::from_utf8_lossy(data));
            assert_eq!(data.len(), 26 + BODY_BYTES, "a message is whole");
            answers.extend_from_slice(b"FIN ");
            answers.extend_from_slice(&data[10..26]);
            answers.push(b'\n');
            fresh += 1;
        });
        if 0 < fresh {
            client.say(&answers);
            answers.clear();
            finished.fetch_add(fresh, Ordering::Relaxed);
            count += fresh;
        }
    }
    count
}

/// Commands that publish a batch each: what is random in them cannot be made smaller, the rest can.
fn batches() -> Vec<Vec<u8>> {
    const PHRASE: &[u8] = b",\"measured-value\":\"";
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // A generator after Marsaglia; any seed but zero.
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        LETTERS[usize::try_from(state >> 58).expect("six bits")]
    };
    let mut body = || {
        let mut body = Vec::with_capacity(BODY_BYTES + PHRASE.len());
        while body.len() < BODY_BYTES {
            body.extend_from_slice(PHRASE);
            body.extend((0..PHRASE.len()).map(|_| letter()));
        }
        body.truncate(BODY_BYTES);
        body
    };
    let length = |bytes: usize| u32::try_from(bytes).expect("a batch is small").to_be_bytes();
    let batch = |_| {
        let mut region = length(BATCH).to_vec();
        for _ in 0..BATCH {
            region.extend(length(BODY_BYTES));
            region.extend(body());
        }
        let command = format!("MPUB {TOPIC}\n").into_bytes();
        [command, length(region.len()).to_vec(), region].concat()
    };
    (0..BATCHES).map(batch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Compression;

    #[test]
    fn a_batch_is_whole_and_about_half_of_it_can_be_spared() {
        let batches = batches();
        let bytes = "MPUB layers\n".len() + 4 + 4 + BATCH * (4 + BODY_BYTES);
        assert!(batches.iter().all(|batch| batch.len() == bytes));
        assert_ne!(batches[0], batches[1]);
        for (compression, least, most) in
            [(Compression::Snappy, 55, 75), (Compression::Deflate, 40, 55)]
        {
            let sealed: usize = compression.seal_apart(&batches).iter().map(Vec::len).sum();
            let percent = sealed * 100 / (bytes * BATCHES);
            assert!((least..=most).contains(&percent), "{compression:?}: {percent} %");
        }
    }
}
