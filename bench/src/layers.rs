//! What TLS, snappy and deflate cost a broker: publishing in batches and draining what was
//! published, through each of them, beside the real nsqd.
//!
//! The same clients talk to both. What they publish is compressed beforehand, so that publishing
//! costs them little; what they spend is shown, because on a small machine they and the broker
//! share the cores. Processor time of the broker a message is the figure: it is the same whoever is
//! waited for.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::{Client, Compression, Layers, Trust, trusting};
use crate::contestant::{Contestant, processor_time_of};
use crate::plan::Plan;
use crate::report::median;

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

const WAYS: [(&str, Layers); 6] = [
    ("plain", Layers { tls: false, compression: None }),
    ("TLS", Layers { tls: true, compression: None }),
    ("snappy", Layers { tls: false, compression: Some(Compression::Snappy) }),
    ("deflate", Layers { tls: false, compression: Some(Compression::Deflate) }),
    ("TLS, snappy", Layers { tls: true, compression: Some(Compression::Snappy) }),
    ("TLS, deflate", Layers { tls: true, compression: Some(Compression::Deflate) }),
];

const WORK: [&str; 2] = ["publish", "consume"];

/// One measurement of one broker.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// Microseconds of the broker's processor time a message.
    cost: f64,
    /// Messages in a second.
    rate: f64,
    /// Microseconds of the clients' processor time a message.
    clients_cost: f64,
    /// Bytes over the sockets a message, both ways.
    bytes: f64,
}

/// A certificate of the broker's, and clients that believe it.
struct Secrets {
    folder: TempDir,
    trust: Trust,
}

impl Secrets {
    fn make() -> Self {
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

    fn flags(&self) -> Vec<String> {
        ["cert", "key"]
            .map(|part| format!("--tls-{part}={}/{part}.pem", self.folder.path().display()))
            .to_vec()
    }
}

/// Runs everything and returns the table, as Markdown.
pub(crate) fn measure(plan: &Plan) -> String {
    let real = plan.programs.tools.join("nsqd");
    let secrets = Secrets::make();
    let batches = batches();
    let mut found = WAYS.map(|_| WORK.map(|_| [Vec::new(), Vec::new()]));
    for number in 0..plan.rounds {
        for ((name, layers), found) in WAYS.into_iter().zip(&mut found) {
            eprintln_progress(number, plan.rounds, name);
            let mut order =
                [(0, real.as_path(), &[][..]), (1, &plan.programs.ours, &plan.programs.ours_flags)];
            // Whoever goes second finds a warmer machine: they take turns at that too.
            if number % 2 == 1 {
                order.reverse();
            }
            let sealed = match layers.compression {
                None => batches.clone(),
                Some(compression) => compression.seal_apart(&batches),
            };
            for (who, program, flags) in order {
                let round = round(plan, program, flags, layers, &secrets, &sealed);
                for (found, round) in found.iter_mut().zip(round) {
                    found[who].push(round);
                }
            }
        }
    }
    table(plan, &found)
}

#[expect(clippy::print_stderr, reason = "a run takes minutes, and the table stands on its own")]
fn eprintln_progress(number: usize, rounds: usize, name: &str) {
    eprintln!("round {} of {rounds}: {name}", number + 1);
}

type Rounds = [[[Vec<Found>; 2]; WORK.len()]; WAYS.len()];

fn table(plan: &Plan, found: &Rounds) -> String {
    let mut text = format!(
        "{BODY_BYTES}-byte bodies, half of them compressible, {CLIENTS} connections; MPUB of {BATCH}, \
         then FIN of each at RDY {READY}; {} s each, median of {} alternating rounds (least to most); \
         nsqd 1.3.0 with default flags; deflate of level 6, TLS 1.3 with AES-128.\n\n\
         | layers | work | nsqd's CPU us/message | ours | ours / nsqd | \
         nsqd's messages/s | ours | clients' CPU us/message, nsqd | ours | \
         bytes/message, nsqd | ours |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
        plan.time.as_secs(),
        plan.rounds
    );
    for ((name, _), found) in WAYS.iter().zip(found) {
        for (work, found) in WORK.iter().zip(found) {
            let middle = |of: fn(&Found) -> f64| {
                found.each_ref().map(|rounds| median(rounds.iter().map(of)))
            };
            let spread = found.each_ref().map(|rounds| {
                let costs = rounds.iter().map(|found| found.cost);
                (costs.clone().fold(f64::INFINITY, f64::min), costs.fold(0.0, f64::max))
            });
            let [real, ours] = middle(|found| found.cost);
            let [[real_least, real_most], [least, most]] =
                spread.map(|(least, most)| [least, most]);
            let [real_rate, rate] = middle(|found| found.rate);
            let [real_clients, clients] = middle(|found| found.clients_cost);
            let [real_bytes, bytes] = middle(|found| found.bytes);
            writeln!(
                text,
                "| {name} | {work} | {real:.2} ({real_least:.2} to {real_most:.2}) | \
                 {ours:.2} ({least:.2} to {most:.2}) | {:.2} | {real_rate:.0} | {rate:.0} | \
                 {real_clients:.2} | {clients:.2} | {real_bytes:.0} | {bytes:.0} |",
                ours / real
            )
            .expect("a string takes text");
        }
    }
    text
}

/// One broker, over a new folder: what publishing and consuming through `layers` cost it.
fn round(
    plan: &Plan,
    program: &Path,
    flags: &[String],
    layers: Layers,
    secrets: &Secrets,
    sealed: &[Vec<u8>],
) -> [Found; WORK.len()] {
    let flags = [flags, &secrets.flags()].concat();
    let broker = Contestant::start(program, &flags, &plan.data);
    broker.prepare(TOPIC, "ch");
    let (published, publishing) = together(
        &broker,
        |_| Client::connect(broker.tcp, layers, &secrets.trust),
        |number, client| publish(client, number, sealed, plan.time),
        || broker.settle(TOPIC),
    );
    let wanted = published * CONSUMED_OF_TEN / 10;
    let finished = AtomicU64::new(0);
    let (_, consuming) = together(
        &broker,
        |_| {
            let mut client = Client::connect(broker.tcp, layers, &secrets.trust);
            client.say(format!("SUB {TOPIC} ch\n").as_bytes());
            client.expect_ok();
            client
        },
        |_, client| consume(client, &finished, wanted, plan.time),
        || (),
    );
    [publishing, consuming]
}

/// Has clients work at the same time; how many messages they did, and what that cost. `settle` is
/// part of the broker's work. They stay connected until all is measured.
fn together(
    broker: &Contestant,
    connect: impl Fn(usize) -> Client + Sync,
    work: impl Fn(usize, &mut Client) -> u64 + Sync,
    settle: impl FnOnce(),
) -> (u64, Found) {
    let [begin, end, measured] = [(); 3].map(|()| Barrier::new(CLIENTS + 1));
    let [messages, bytes] = [(); 2].map(|()| AtomicU64::new(0));
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (begin, end, measured) = (&begin, &end, &measured);
            let (messages, bytes, connect, work) = (&messages, &bytes, &connect, &work);
            scope.spawn(move || {
                let mut client = connect(number);
                let before = client.moved_bytes();
                begin.wait();
                messages.fetch_add(work(number, &mut client), Ordering::Relaxed);
                bytes.fetch_add(client.moved_bytes() - before, Ordering::Relaxed);
                end.wait();
                measured.wait();
            });
        }
        begin.wait();
        let began = Instant::now();
        let brokers = broker.processor_time();
        let clients = processor_time_of("self");
        end.wait();
        let took = began.elapsed();
        let clients = processor_time_of("self") - clients;
        settle();
        let brokers = broker.processor_time() - brokers;
        measured.wait();
        let count = messages.load(Ordering::Relaxed);
        let each = |amount: f64| amount / count as f64;
        let found = Found {
            cost: each(brokers.as_secs_f64() * 1e6),
            rate: count as f64 / took.as_secs_f64(),
            clients_cost: each(clients.as_secs_f64() * 1e6),
            bytes: each(bytes.load(Ordering::Relaxed) as f64),
        };
        (count, found)
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
