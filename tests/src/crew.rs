//! A broker that is ended again and again, and the crew that works on it meanwhile: publishers and
//! consumers that enter in a [`Ledger`] what they were promised and given.
//!
//! Knows how a client gets along with a broker that comes and goes. What was promised, and whether
//! it was kept, is the ledger's.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::broker::Broker;
use crate::client::{Client, Frame, Message, Seen, counted, many, with_body};
use crate::dice::Dice;
use crate::http::try_post;
use crate::ledger::{ChannelName, Ledger, Sent, body};
use crate::patience::SOON;
use crate::programs::Maker;

/// Publishers, each with a connection of its own and now and then an HTTP request.
const PUBLISHERS: u64 = 4;
/// Consumers of each channel; the first forgets to answer now and then.
const CONSUMERS: u64 = 2;
/// How long a message may stay unanswered; the forgetful ask for [`FORGETFUL_MILLISECONDS`].
const MESSAGE_TIMEOUT: &str = "--msg-timeout=10s";
const FORGETFUL_MILLISECONDS: u64 = 3000;
/// Between two tries to reach a broker that is down.
const RETRY: Duration = Duration::from_millis(15);

/// When there have been enough ends.
#[derive(Clone, Copy, Debug)]
pub enum Enough {
    /// So many ends.
    Ends(usize),
    /// So much time.
    Time(Duration),
}

/// A run.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// Decides everything that is left to chance, but for the order in which threads get their turn.
    pub seed: u64,
    /// Whose broker.
    pub maker: Maker,
    /// Its flags.
    pub flags: &'a [&'a str],
    /// How long it goes on.
    pub enough: Enough,
    /// When no message comes for so long, no more will come.
    pub patience: Duration,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The books.
    pub ledger: Ledger,
    /// How often the broker was killed while it served.
    pub kills: usize,
    /// How often it was asked to end while it served.
    pub terminations: usize,
    /// How often it was ended while it started.
    pub cut_starts: usize,
    /// The longest time from a start to the first answer.
    pub slowest_start: Duration,
    /// What publishers were told instead of `OK`, and how often.
    pub refusals: BTreeMap<String, u64>,
    /// What every channel still had when all was finished, and after one more restart: depth, in
    /// flight and deferred together.
    pub left: BTreeMap<ChannelName, i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Publishers publish, and consumers do all that consumers do.
    Working,
    /// Consumers finish everything.
    Draining,
    /// Everybody leaves.
    Over,
}

#[derive(Clone, Copy, Debug)]
struct Whereabouts {
    tcp: SocketAddr,
    http: SocketAddr,
    life: usize,
}

/// A channel that is created in the course of a run.
#[derive(Clone, Debug)]
struct Founding {
    channel: String,
    /// Since the start of the run.
    at: Duration,
}

struct Crew {
    seed: u64,
    start: Instant,
    ledger: Mutex<Ledger>,
    /// Where the broker is, while it is up.
    whereabouts: Mutex<Option<Whereabouts>>,
    phase: Mutex<Phase>,
    topics: Vec<(String, Vec<Founding>)>,
    /// Channels that are still to be created.
    unfounded: AtomicUsize,
    refusals: Mutex<BTreeMap<String, u64>>,
}

/// Works until there was enough, drains every channel, and says what came of it.
///
/// # Panics
/// When the broker does not start, ends by itself, or does not end with status 0 when it is asked to.
#[must_use]
pub fn run(run: &Run<'_>) -> Outcome {
    let flags: Vec<_> = [MESSAGE_TIMEOUT].iter().chain(run.flags).copied().collect();
    let mut broker = Broker::of(run.maker, &flags);
    let crew = Crew::new(run);
    crew.is_up(&broker);
    let mut driver = Driver::new(&crew);
    let left = thread::scope(|scope| {
        // Also when this thread panics: the scope waits for all of them.
        let _end = SendHome(&crew);
        for number in 0..PUBLISHERS {
            let crew = &crew;
            scope.spawn(move || crew.publish(number));
        }
        for (topic, foundings) in &crew.topics {
            let crew = &crew;
            scope.spawn(move || crew.found(scope, topic, foundings));
        }
        driver.end_again_and_again(&mut broker, run.enough);
        crew.set_phase(Phase::Draining);
        crew.drain(run.patience);
        driver.what_is_left(&mut broker)
    });
    let Driver { kills, terminations, cut_starts, slowest_start, .. } = driver;
    let ledger = crew.ledger.into_inner().expect("nobody panicked");
    let refusals = crew.refusals.into_inner().expect("nobody panicked");
    Outcome { ledger, kills, terminations, cut_starts, slowest_start, refusals, left }
}

struct SendHome<'a>(&'a Crew);

impl Drop for SendHome<'_> {
    fn drop(&mut self) {
        self.0.set_phase(Phase::Over);
    }
}

/// Ends the broker and starts it again.
struct Driver<'a> {
    crew: &'a Crew,
    dice: Dice,
    kills: usize,
    terminations: usize,
    cut_starts: usize,
    slowest_start: Duration,
}

impl<'a> Driver<'a> {
    fn new(crew: &'a Crew) -> Self {
        Self {
            crew,
            dice: Dice::of(crew.seed, u64::MAX),
            kills: 0,
            terminations: 0,
            cut_starts: 0,
            slowest_start: Duration::ZERO,
        }
    }

    fn end_again_and_again(&mut self, broker: &mut Broker, enough: Enough) {
        let is_enough = |ends: usize| match enough {
            Enough::Ends(number) => number <= ends,
            Enough::Time(time) => time <= self.crew.start.elapsed(),
        };
        let mut ends = 0;
        while !is_enough(ends) {
            ends += 1;
            thread::sleep(self.dice.milliseconds(50..1600));
            let signal = self.signal();
            self.end(broker, signal);
            if self.dice.hits(25) {
                for _ in 0..self.dice.within(1..4) {
                    let (time, signal) = (self.dice.milliseconds(0..60), self.signal());
                    broker.start_for(time, signal);
                    self.cut_starts += 1;
                }
            }
            self.start(broker);
        }
    }

    fn signal(&mut self) -> Signal {
        if self.dice.hits(80) { Signal::KILL } else { Signal::TERM }
    }

    fn end(&mut self, broker: &mut Broker, signal: Signal) {
        assert!(broker.process.is_running(), "it ended by itself:\n{}", broker.process.log());
        self.crew.is_down();
        if signal == Signal::KILL {
            self.kills += 1;
            broker.process.kill();
        } else {
            self.terminations += 1;
            let status = broker.stop();
            assert_eq!(status.code(), Some(0), "{}", broker.process.log());
        }
    }

    fn start(&mut self, broker: &mut Broker) {
        let start = Instant::now();
        broker.start_again();
        self.slowest_start = self.slowest_start.max(start.elapsed());
        self.crew.is_up(broker);
    }

    /// What `/stats` says of every channel when all is finished, now and after a clean restart.
    fn what_is_left(&mut self, broker: &mut Broker) -> BTreeMap<ChannelName, i64> {
        let mut left = self.settled(broker);
        self.end(broker, Signal::TERM);
        self.start(broker);
        for (name, count) in self.settled(broker) {
            *left.entry(name).or_default() += count;
        }
        left
    }

    /// Waits for the broker to have read every FIN; if that takes too long, something is left.
    fn settled(&self, broker: &Broker) -> BTreeMap<ChannelName, i64> {
        let end = Instant::now() + SOON;
        loop {
            let left = broker_counts(broker);
            if left.values().all(|&count| count == 0) || end < Instant::now() {
                return left;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn broker_counts(broker: &Broker) -> BTreeMap<ChannelName, i64> {
    let stats = broker.get("/stats?format=json").json();
    let mut counts = BTreeMap::new();
    for topic in stats["topics"].as_array().into_iter().flatten() {
        for channel in topic["channels"].as_array().into_iter().flatten() {
            let name = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let count: i64 = ["depth", "in_flight_count", "deferred_count"]
                .iter()
                .filter_map(|&key| channel[key].as_i64())
                .sum();
            counts.insert((name(&topic["topic_name"]), name(&channel["channel_name"])), count);
        }
    }
    counts
}

impl Crew {
    fn new(run: &Run<'_>) -> Self {
        let mut dice = Dice::of(run.seed, u64::MAX - 1);
        // Two ends take about as long as two and a half seconds.
        let late = match run.enough {
            Enough::Ends(number) => u64::try_from(number).expect("it is small") * 500,
            Enough::Time(time) => u64::try_from(time.as_millis()).expect("it is short") / 2,
        };
        let late = late.max(2);
        let founding = |channel: &str, at| Founding { channel: channel.to_owned(), at };
        let mut topics = Vec::new();
        for (number, first) in [(0, 0), (1, 0), (2, 0), (3, late / 2)] {
            let first = Duration::from_millis(first);
            let mut foundings = vec![founding("first", first)];
            if number != 1 {
                foundings.push(founding("second", first));
            }
            if number != 2 {
                foundings.push(founding("late", first + dice.milliseconds(1..late / 2 + 2)));
            }
            topics.push((format!("ledger-{number}"), foundings));
        }
        let unfounded = topics.iter().map(|(_, foundings)| foundings.len()).sum();
        Self {
            seed: run.seed,
            start: Instant::now(),
            ledger: Mutex::new(Ledger::new(run.seed)),
            whereabouts: Mutex::new(None),
            phase: Mutex::new(Phase::Working),
            topics,
            unfounded: AtomicUsize::new(unfounded),
            refusals: Mutex::default(),
        }
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nobody panics with the books in hand")
    }

    fn phase(&self) -> Phase {
        *self.phase.lock().expect("nobody panics with it")
    }

    fn set_phase(&self, phase: Phase) {
        // Called while unwinding, too.
        if let Ok(mut now) = self.phase.lock() {
            *now = phase;
        }
    }

    fn is_up(&self, broker: &Broker) {
        let whereabouts =
            Whereabouts { tcp: broker.tcp, http: broker.http, life: self.ledger().life() };
        *self.whereabouts.lock().expect("nobody panics with it") = Some(whereabouts);
    }

    /// Its ports may be another's from now on.
    fn is_down(&self) {
        *self.whereabouts.lock().expect("nobody panics with it") = None;
        self.ledger().ended(Instant::now());
    }

    fn whereabouts(&self) -> Option<Whereabouts> {
        *self.whereabouts.lock().expect("nobody panics with it")
    }

    /// Waits until nothing is missing, and the broker has said which FINs came too late, or nothing
    /// comes any more.
    fn drain(&self, patience: Duration) {
        let mut progress = (0, Instant::now());
        // To look at everything takes long, and nobody else has the books meanwhile; after the first
        // look only what was missing is looked at, and at the end all once more.
        let mut missing = self.ledger().missing();
        loop {
            thread::sleep(Duration::from_millis(200));
            let ledger = self.ledger();
            ledger.retain_missing(&mut missing);
            let is_founded = self.unfounded.load(Ordering::Relaxed) == 0;
            if missing.is_empty() && ledger.is_explained() && is_founded {
                missing = ledger.missing();
                if missing.is_empty() {
                    return;
                }
            }
            let deliveries = ledger.all_deliveries();
            if progress.0 != deliveries {
                progress = (deliveries, Instant::now());
            }
            if patience < progress.1.elapsed() {
                return;
            }
        }
    }

    // --- creating channels ---

    /// Creates the channels of a topic, one after another, and hires their consumers.
    fn found<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        topic: &'scope str,
        foundings: &'scope [Founding],
    ) {
        for Founding { channel, at } in foundings {
            while self.start.elapsed() < *at && self.phase() == Phase::Working {
                thread::sleep(RETRY);
            }
            self.ledger().creating(topic, channel, Instant::now());
            while self.create(topic, channel).is_none() {
                if self.phase() == Phase::Over {
                    return;
                }
                thread::sleep(RETRY);
            }
            self.ledger().created(topic, channel, Instant::now());
            self.unfounded.fetch_sub(1, Ordering::Relaxed);
            for number in 0..CONSUMERS {
                scope.spawn(move || {
                    self.consume(&(topic.to_owned(), channel.to_owned()), number);
                });
            }
        }
    }

    /// Creates a channel, in one of the two ways. Something when that was answered.
    fn create(&self, topic: &str, channel: &str) -> Option<()> {
        let whereabouts = self.whereabouts()?;
        if channel == "second" {
            let mut client = Client::try_connect(whereabouts.tcp)?;
            client.try_send(format!("SUB {topic} {channel}\n").as_bytes());
            let seen = client.see_of_a_mortal(SOON);
            return (seen == Seen::Frame(Frame::Response("OK".into()))).then_some(());
        }
        for target in [
            format!("/topic/create?topic={topic}"),
            format!("/channel/create?topic={topic}&channel={channel}"),
        ] {
            let answer = try_post(whereabouts.http, &target, b"")?;
            if answer.status != 200 {
                self.was_refused(&answer.text());
                return None;
            }
        }
        Some(())
    }

    // --- publishing ---

    fn publish(&self, number: u64) {
        let mut dice = Dice::of(self.seed, (1 << 32) + number);
        while self.phase() == Phase::Working {
            let Some(whereabouts) = self.whereabouts() else {
                thread::sleep(RETRY);
                continue;
            };
            let Some(mut client) = Client::try_connect(whereabouts.tcp) else {
                thread::sleep(RETRY);
                continue;
            };
            while self.phase() == Phase::Working
                && self.publish_once(&mut client, whereabouts.http, &mut dice).is_some()
            {
                thread::sleep(dice.milliseconds(2..25));
            }
        }
    }

    /// Publishes in one of the ways there are. Nothing when the broker is gone.
    fn publish_once(&self, client: &mut Client, http: SocketAddr, dice: &mut Dice) -> Option<()> {
        let (topic, _) = dice.pick(&self.topics);
        let now = Duration::ZERO;
        let later = dice.milliseconds(0..1000);
        match dice.within(0..100) {
            0..35 => self.publish_over_tcp(client, topic, 1, now, Batch::Single),
            35..50 => {
                let count = dice.within(2..10);
                self.publish_over_tcp(client, topic, count, now, Batch::Single)
            }
            50..70 => {
                let count = dice.within(2..60);
                self.publish_over_tcp(client, topic, count, now, Batch::Whole)
            }
            70..82 => self.publish_over_tcp(client, topic, 1, later, Batch::Single),
            82..90 => self.publish_over_http(http, topic, 1, now),
            90..94 => self.publish_over_http(http, topic, 1, later),
            _ => self.publish_over_http(http, topic, dice.within(2..60), now),
        }
    }

    /// PUB or DPUB one after another without waiting between them, or one MPUB.
    fn publish_over_tcp(
        &self,
        client: &mut Client,
        topic: &str,
        count: u64,
        delay: Duration,
        batch: Batch,
    ) -> Option<()> {
        let (numbers, bodies) = self.new_messages(topic, count, delay);
        let answers: Vec<_> = match batch {
            Batch::Whole => {
                client.try_send(&many(topic, &bodies));
                vec![numbers]
            }
            Batch::Single => {
                let line = if delay.is_zero() {
                    format!("PUB {topic}")
                } else {
                    format!("DPUB {topic} {}", delay.as_millis())
                };
                let bytes: Vec<_> = bodies.iter().map(|body| with_body(&line, body)).collect();
                client.try_send(&bytes.concat());
                numbers.map(|number| number..number + 1).collect()
            }
        };
        for numbers in answers {
            match see_frame(client)? {
                Frame::Response(text) if text == "OK" => {
                    self.ledger().acknowledged(numbers, Instant::now());
                }
                Frame::Response(text) | Frame::Error(text) => {
                    self.was_refused(&text);
                    return None;
                }
                Frame::Message(message) => panic!("a publisher was given {message:?}"),
            }
        }
        Some(())
    }

    fn publish_over_http(
        &self,
        address: SocketAddr,
        topic: &str,
        count: u64,
        delay: Duration,
    ) -> Option<()> {
        let (numbers, bodies) = self.new_messages(topic, count, delay);
        let answer = match bodies.as_slice() {
            [body] => {
                let defer = delay.as_millis();
                try_post(address, &format!("/pub?topic={topic}&defer={defer}"), body)
            }
            bodies => {
                try_post(address, &format!("/mpub?topic={topic}&binary=true"), &counted(bodies))
            }
        };
        let answer = answer?;
        if answer.status == 200 {
            self.ledger().acknowledged(numbers, Instant::now());
        } else {
            self.was_refused(&answer.text());
        }
        Some(())
    }

    fn new_messages(
        &self,
        topic: &str,
        count: u64,
        delay: Duration,
    ) -> (std::ops::Range<u64>, Vec<Vec<u8>>) {
        let count = usize::try_from(count).expect("a batch is small");
        let numbers = self.ledger().publishing(topic, count, delay, Instant::now());
        let bodies = numbers.clone().map(|number| body(self.seed, number)).collect();
        (numbers, bodies)
    }

    fn was_refused(&self, text: &str) {
        let mut refusals = self.refusals.lock().expect("nobody panics with it");
        *refusals.entry(text.to_owned()).or_default() += 1;
    }

    // --- consuming ---

    fn consume(&self, name: &ChannelName, number: u64) {
        let (topic, channel) = name;
        let thrower = format!("{topic}/{channel}/{number}");
        let thrower = thrower
            .bytes()
            .fold(0_u64, |sum, byte| (sum << 5) ^ sum.rotate_right(3) ^ u64::from(byte));
        let mut consumer = Consumer {
            crew: self,
            name,
            is_forgetful: number == 0,
            dice: Dice::of(self.seed, thrower),
        };
        while self.phase() != Phase::Over {
            if self.whereabouts().and_then(|place| consumer.serve(place)).is_none() {
                thread::sleep(RETRY);
            }
        }
    }
}

/// Whether messages that are published together are one batch.
#[derive(Clone, Copy, Debug)]
enum Batch {
    Single,
    Whole,
}

/// The next frame that is no heartbeat; `None` when the broker is gone, or silent for long.
fn see_frame(client: &mut Client) -> Option<Frame> {
    loop {
        match client.see_of_a_mortal(SOON) {
            Seen::Frame(frame) if is_heartbeat(&frame) => client.try_send(b"NOP\n"),
            Seen::Frame(frame) => return Some(frame),
            Seen::Silence | Seen::Closed | Seen::Broken(_) => return None,
        }
    }
}

fn is_heartbeat(frame: &Frame) -> bool {
    *frame == Frame::Response("_heartbeat_".into())
}

struct Consumer<'a> {
    crew: &'a Crew,
    name: &'a ChannelName,
    /// Lets some messages time out.
    is_forgetful: bool,
    dice: Dice,
}

/// What a consumer remembers of one connection.
struct Visit {
    life: usize,
    /// It said CLS.
    is_leaving: bool,
    /// The broker has let it go.
    has_left: bool,
    /// Messages that were touched, to be finished later.
    touched: VecDeque<(Message, u64)>,
    /// What was finished or requeued: its id, and its number.
    answered: HashMap<String, u64>,
}

impl Visit {
    fn now(&self) -> Sent {
        Sent { at: Instant::now(), life: self.life }
    }
}

impl Consumer<'_> {
    /// Consumes over one connection, until it ends. Nothing when it could not begin.
    fn serve(&mut self, whereabouts: Whereabouts) -> Option<()> {
        let (topic, channel) = self.name;
        let mut client = Client::try_connect(whereabouts.tcp)?;
        if self.is_forgetful {
            let wish = format!(r#"{{"msg_timeout":{FORGETFUL_MILLISECONDS}}}"#);
            client.try_send(&with_body("IDENTIFY", wish.as_bytes()));
            see_frame(&mut client)?;
        }
        client.try_send(format!("SUB {topic} {channel}\n").as_bytes());
        see_frame(&mut client).filter(|frame| *frame == Frame::Response("OK".into()))?;
        let window = *self.dice.pick(&[1, 20, 300]);
        client.try_send(format!("RDY {window}\n").as_bytes());
        let mut visit = Visit {
            life: whereabouts.life,
            is_leaving: false,
            has_left: false,
            touched: VecDeque::new(),
            answered: HashMap::new(),
        };
        while self.crew.phase() != Phase::Over {
            match client.see_of_a_mortal(Duration::from_millis(100)) {
                Seen::Closed | Seen::Broken(_) => return Some(()),
                Seen::Silence if visit.has_left => return Some(()),
                Seen::Silence => self.finish_touched(&mut client, &mut visit, 0),
                Seen::Frame(Frame::Message(message)) => {
                    self.take(&mut client, &mut visit, message);
                    self.finish_touched(&mut client, &mut visit, 5);
                    // A second CLS is refused, and the FINs behind it are not read.
                    if !visit.is_leaving && self.dice.within(0..2000) == 0 {
                        visit.is_leaving = true;
                        client.try_send(b"CLS\n");
                    }
                }
                // Which of the FINs behind the CLS came too late is said after this.
                Seen::Frame(Frame::Response(text)) if text == "CLOSE_WAIT" => visit.has_left = true,
                Seen::Frame(Frame::Response(_)) => client.try_send(b"NOP\n"),
                Seen::Frame(Frame::Error(text)) => {
                    // For instance "E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight".
                    let number = text.split(' ').nth(2).and_then(|id| visit.answered.get(id));
                    let Some(&number) = number else { continue };
                    if text.starts_with("E_FIN_FAILED") {
                        self.crew.ledger().finish_was_refused(self.name, number, visit.life);
                    } else if text.starts_with("E_REQ_FAILED") {
                        self.crew.ledger().requeue_was_refused(self.name, number);
                    }
                }
            }
        }
        Some(())
    }

    fn take(&mut self, client: &mut Client, visit: &mut Visit, message: Message) {
        let Sent { at, life } = visit.now();
        let number = self.crew.ledger().delivered(self.name, &message.body, life, at);
        let Some(number) = number else { return };
        if self.crew.phase() != Phase::Working {
            self.finish(client, visit, &message, number);
            return;
        }
        match self.dice.within(0..100) {
            0..4 => self.requeue(client, visit, &message, number, 0),
            4..8 => {
                let delay = self.dice.within(50..1500);
                self.requeue(client, visit, &message, number, delay);
            }
            8..12 => {
                client.try_send(format!("TOUCH {}\n", message.id).as_bytes());
                visit.touched.push_back((message, number));
            }
            12..14 if self.is_forgetful => {}
            _ => self.finish(client, visit, &message, number),
        }
    }

    fn finish(&self, client: &mut Client, visit: &mut Visit, message: &Message, number: u64) {
        visit.answered.insert(message.id.clone(), number);
        self.crew.ledger().finished(self.name, number, visit.now());
        client.try_send(format!("FIN {}\n", message.id).as_bytes());
    }

    fn requeue(
        &self,
        client: &mut Client,
        visit: &mut Visit,
        message: &Message,
        number: u64,
        delay: u64,
    ) {
        visit.answered.insert(message.id.clone(), number);
        let time = Duration::from_millis(delay);
        self.crew.ledger().requeued(self.name, number, time, visit.now());
        client.try_send(format!("REQ {} {delay}\n", message.id).as_bytes());
    }

    /// Finishes touched messages, until no more than `keep` are left.
    fn finish_touched(&self, client: &mut Client, visit: &mut Visit, keep: usize) {
        while keep < visit.touched.len() {
            let (message, number) = visit.touched.pop_front().expect("there is one");
            self.finish(client, visit, &message, number);
        }
    }
}
