//! What happens, chosen by a seed, and what must be so after each step.

use crate::model::{Model, ModelChannel, Number, Owed, Place, Unclaimed};
use crate::random::Random;
use crate::shell::{Committed, Opened, Shell, Synced, TIMEOUT_MAX, channel_name, topic_name};
use crate::storage::{Fault, Refusals, Result, Storage};
use broker::channel::{Locality, NotYours, Outgoing, Room, Terms};
use broker::clock::{Now, Tick};
use broker::keys::{ChannelKey, ConnectionKey, SubscriberKey};
use broker::log::checkpoint::TopicCheckpoint;
use broker::log::recovery::SetAside;
use broker::log::{HeaderError, SegmentName};
use broker::message::{Sequence, Timestamp};
use broker::message_id::IdSpace;
use broker::topic::Topic;
use broker::topic::catalogue::Change;
use protocol::frame::{Frame, decode_frame};
use slotmap::SlotMap;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const CHANNELS: [&str; 2] = ["c", "d"];
/// Each with its channel's place in `CHANNELS`.
const CLIENTS: [(&str, usize); 3] = [("ann", 0), ("bob", 0), ("eve", 1)];
/// How long a client may keep a message, in milliseconds.
const TIMEOUT: u64 = 60;
const NANOSECONDS: u64 = 1_000_000;
const WALL_START: i64 = 1_700_000_000_000_000_000;
/// More turns than any delivery needs.
const TURNS_MAX: usize = 2_000;

/// A message in the log, or on its way there.
#[derive(Clone, Copy, Debug)]
struct Message {
    number: Number,
    due: Option<u64>,
    /// It is visible: a killed process leaves it.
    is_written: bool,
    /// Its publisher was told, under this schedule's policy, that the disk itself has it, or a
    /// later sync said so: a power cut leaves it.
    is_synced: bool,
    segment: Option<SegmentName>,
}

/// A state that the checkpoint on the disk may describe.
struct Snapshot {
    checkpoint: TopicCheckpoint,
    model: Model,
}

#[derive(Clone, Copy)]
struct Client {
    visit: u32,
    ready_count: u64,
    channel: ChannelKey,
    subscriber: SubscriberKey,
}

/// See the head of this file.
pub(crate) struct Schedule {
    random: Random,
    tells: bool,
    storage: Storage,
    shell: Shell,
    /// Answers wait for the sync.
    is_synced: bool,
    /// Power may be cut.
    has_power_cuts: bool,
    /// How often the disk refuses while it is allowed to.
    refusals: Refusals,
    /// In milliseconds since the simulation began, whatever happens to processes.
    time: u64,
    /// When the present process began.
    started: u64,
    model: Model,
    /// The model as it was before a change of which nobody was told yet.
    doubt: Option<Model>,
    messages: BTreeMap<u64, Message>,
    published: Number,
    snapshots: Vec<Snapshot>,
    /// The last of them that is on the disk for certain, if nothing but the process dies.
    kept: Option<usize>,
    /// What the records written so far come to.
    checkpoint: TopicCheckpoint,
    connections: SlotMap<ConnectionKey, &'static str>,
    clients: BTreeMap<&'static str, Client>,
    visits: u32,
    /// Power was cut at least once, so that there may be damage.
    had_power_cut: bool,
    /// Segments were deleted though that could not be kept before.
    has_deleted_in_haste: bool,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Publish { count: u64, delay: Option<u64> },
    Commit,
    Sync,
    Deliver,
    Answer,
    Pass(u64),
    Ready,
    Return,
    PauseTopic(bool),
    PauseChannel(usize, bool),
    EmptyTopic,
    EmptyChannel(usize),
    Create(usize),
    Delete(usize),
    Evict,
    Prepare,
    Checkpoint,
    Tidy,
    KillLater(u32),
    Kill,
    Stop,
}

impl Schedule {
    pub(crate) fn new(seed: u64, tells: bool) -> Self {
        let mut random = Random::new(seed);
        let mut storage = Storage::new(random.number());
        let ids = IdSpace::new(1, random.number());
        let now = Self::now_at(0, 0);
        let (shell, _) = Shell::open(&mut storage, ids, now).unwrap();
        let rate = |random: &mut Random| *random.choose(&[0, 0, 30, 150]);
        let refusals = Refusals {
            writes: rate(&mut random),
            syncs: rate(&mut random),
            reads: rate(&mut random),
            names: rate(&mut random),
        };
        Self {
            tells,
            storage,
            shell,
            is_synced: random.below(2) == 0,
            has_power_cuts: random.below(2) == 0,
            refusals,
            random,
            time: 0,
            started: 0,
            model: Model::default(),
            doubt: None,
            messages: BTreeMap::new(),
            published: 0,
            snapshots: Vec::new(),
            kept: None,
            checkpoint: TopicCheckpoint::default(),
            connections: SlotMap::with_key(),
            clients: BTreeMap::new(),
            visits: 0,
            had_power_cut: false,
            has_deleted_in_haste: false,
        }
    }

    /// Everything that happens.
    pub(crate) fn run(mut self) {
        let steps = 40 + self.random.below(160);
        for _ in 0..steps {
            let step = self.any_step();
            self.tell(&step);
            self.storage.refusals = self.refusals;
            match self.step(step) {
                Ok(()) => {}
                Err(Fault::Killed) => self.start_again(),
                Err(fault) => panic!("{step:?}: {fault:?}"),
            }
            self.storage.refusals = Refusals::default();
            self.doubt = None;
            self.check();
        }
        self.drain();
    }

    #[expect(clippy::print_stderr, reason = "a schedule that is played again tells what it does")]
    fn tell(&self, what: &dyn std::fmt::Debug) {
        if self.tells {
            eprintln!("{:>5} ms  {what:?}", self.time);
        }
    }

    fn any_step(&mut self) -> Step {
        let random = &mut self.random;
        let channel = random.below(CHANNELS.len());
        let is_so = random.below(2) == 0;
        match random.below(100) {
            0..16 => {
                let delay = (random.below(4) == 0).then(|| 1 + random.number() % 80);
                let count = *random.choose(&[1, 1, 1, 2, 5]);
                Step::Publish { count, delay }
            }
            16..31 => Step::Commit,
            31..34 => Step::Sync,
            34..50 => Step::Deliver,
            50..66 => Step::Answer,
            66..72 => Step::Pass(random.number() % 70),
            72..74 => Step::Ready,
            74 => Step::Return,
            75 => Step::PauseTopic(is_so),
            76 => Step::PauseChannel(channel, is_so),
            77 => Step::EmptyTopic,
            78 => Step::EmptyChannel(channel),
            79..82 => Step::Create(channel),
            82 => Step::Delete(channel),
            83..86 => Step::Evict,
            86..89 => Step::Prepare,
            89..94 => Step::Checkpoint,
            94..96 => Step::Tidy,
            96..98 => Step::KillLater(1 + u32::try_from(random.below(12)).unwrap()),
            98 => Step::Kill,
            _ => Step::Stop,
        }
    }

    fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Publish { count, delay } => (0..count).for_each(|_| self.publish(delay)),
            Step::Commit => self.commit()?,
            Step::Sync => self.sync()?,
            Step::Deliver => self.deliver()?,
            Step::Answer => self.answer(),
            Step::Pass(count) => self.pass(count),
            Step::Ready => {
                let (name, _) = *self.random.choose(&CLIENTS);
                let count = self.random.number() % 5;
                self.ready(name, count);
            }
            Step::Return => {
                let client = self.random.below(CLIENTS.len());
                self.leave(CLIENTS[client].0);
                self.admit(client);
            }
            Step::PauseTopic(is_paused) => {
                self.administer(
                    |now, topic| topic.set_paused(is_paused, now),
                    |model| {
                        model.is_paused = is_paused;
                        model.release();
                        Some(Change::Topic { topic: topic_name(), paused: is_paused })
                    },
                )?;
            }
            Step::EmptyTopic => {
                self.administer(
                    |_, topic| topic.empty(),
                    |model| {
                        model.waiting.clear();
                        None
                    },
                )?;
            }
            Step::PauseChannel(channel, paused) => {
                if let Some(key) = self.key(channel) {
                    let name = CHANNELS[channel];
                    self.administer(
                        |_, topic| topic.channel_mut(key).set_paused(paused),
                        |model| {
                            model.channels.get_mut(name).unwrap().is_paused = paused;
                            let (topic, channel) = (topic_name(), channel_name(name));
                            Some(Change::Channel { topic, channel, paused })
                        },
                    )?;
                }
            }
            Step::EmptyChannel(channel) => {
                if let Some(key) = self.key(channel) {
                    self.administer(
                        |_, topic| topic.channel_mut(key).empty(),
                        |model| {
                            model.channels.get_mut(CHANNELS[channel]).unwrap().owed.clear();
                            None
                        },
                    )?;
                }
            }
            Step::Create(channel) => {
                let name = CHANNELS[channel];
                self.administer(
                    |now, topic| {
                        topic.create_channel(channel_name(name), now);
                    },
                    |model| {
                        let paused = model.channels.entry(name).or_default().is_paused;
                        model.release();
                        let (topic, channel) = (topic_name(), channel_name(name));
                        Some(Change::Channel { topic, channel, paused })
                    },
                )?;
                self.admit_all();
            }
            Step::Delete(channel) => {
                let name = CHANNELS[channel];
                for (client, _) in CLIENTS.iter().filter(|(_, of)| *of == channel) {
                    self.leave(client);
                }
                self.administer(
                    |_, topic| drop(topic.delete_channel(channel_name(name))),
                    |model| {
                        model.channels.remove(name);
                        let (topic, channel) = (topic_name(), channel_name(name));
                        Some(Change::ChannelGone { topic, channel })
                    },
                )?;
            }
            Step::Evict => drop(self.shell.topic.log_mut().evict(usize::MAX)),
            Step::Prepare => unless_refused(self.shell.prepare(&mut self.storage))?,
            Step::Checkpoint => unless_refused(self.keep_if_changed())?,
            Step::Tidy => {
                unless_refused(self.tidy())?;
            }
            Step::KillLater(changes) => self.storage.kill_after(changes),
            Step::Kill => return Err(Fault::Killed),
            Step::Stop => {
                self.storage.refusals = Refusals::default();
                self.commit()?;
                self.keep_if_changed()?;
                self.sync()?;
                return Err(Fault::Killed);
            }
        }
        Ok(())
    }

    // --- publishing ---

    fn publish(&mut self, delay: Option<u64>) {
        self.published += 1;
        let number = self.published;
        let sequence = self.shell.topic.log().next_sequence();
        let delay_given = delay.map(Duration::from_millis);
        self.shell.topic.publish(&body_of(number), delay_given, self.now());
        let due = delay.map(|delay| self.time + delay);
        let message = Message { number, due, is_written: false, is_synced: false, segment: None };
        self.messages.insert(sequence.0, message);
    }

    fn commit(&mut self) -> Result<()> {
        let now = self.now();
        match self.shell.commit(&mut self.storage, now)? {
            Committed::Nothing => return Ok(()),
            Committed::Refused => {
                // Their publishers were told. What a crash finds of them may come all the same.
                return Ok(());
            }
            Committed::Written(messages, segment) => {
                for (_, message) in self.messages.range_mut(messages.start.0..messages.end.0) {
                    message.is_written = true;
                    message.segment = Some(segment);
                    let unclaimed = Unclaimed { due: message.due, is_certain: true };
                    self.model.waiting.insert(message.number, unclaimed);
                }
                self.model.release();
            }
        }
        if self.is_synced { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<()> {
        match self.shell.sync(&mut self.storage)? {
            Synced::All => {
                for message in self.messages.values_mut() {
                    message.is_synced |= message.segment.is_some();
                }
            }
            Synced::Failed(segment) => {
                for message in self.messages.values_mut().filter(|it| it.segment == Some(segment)) {
                    message.segment = None;
                }
            }
            Synced::NamesFailed => {}
        }
        Ok(())
    }

    // --- consumers ---

    fn key(&self, channel: usize) -> Option<ChannelKey> {
        self.shell.topic.channel_key(channel_name(CHANNELS[channel]))
    }

    fn admit_all(&mut self) {
        (0..CLIENTS.len()).for_each(|client| self.admit(client));
    }

    fn admit(&mut self, client: usize) {
        let (name, channel) = CLIENTS[client];
        let Some(channel) = self.key(channel) else { return };
        if self.clients.contains_key(name) {
            return;
        }
        let connection = self.connections.insert(name);
        let terms = Terms {
            connection,
            message_timeout: Duration::from_millis(TIMEOUT),
            sample_rate: 0,
            locality: Locality::default(),
        };
        let subscriber = self.shell.topic.channel_mut(channel).subscribe(terms);
        self.visits += 1;
        let visit = self.visits;
        self.clients.insert(name, Client { visit, ready_count: 0, channel, subscriber });
        self.ready(name, 3);
    }

    fn leave(&mut self, name: &str) {
        if let Some(client) = self.clients.remove(name) {
            self.shell.topic.channel_mut(client.channel).unsubscribe(client.subscriber);
        }
    }

    fn ready(&mut self, name: &str, count: u64) {
        if let Some(client) = self.clients.get_mut(name) {
            client.ready_count = count;
            let channel = self.shell.topic.channel_mut(client.channel);
            channel.set_ready_count(client.subscriber, count);
        }
    }

    /// One turn: what can be delivered is, and what must be read for it is read.
    fn deliver(&mut self) -> Result<()> {
        let mut is_refused = false;
        for turn in 0.. {
            assert!(turn < TURNS_MAX, "delivering leads nowhere");
            let mut delivered = Vec::new();
            let connections = &self.connections;
            let now = self.now();
            let plans = self.shell.topic.deliver(now, &mut |connection, outgoing| {
                take_messages(connections[connection], &outgoing, &mut delivered);
                Room::Left
            });
            for (client, number, attempts) in delivered {
                self.delivered(client, number, attempts);
            }
            for plan in &plans {
                let read = self.shell.read(&mut self.storage, plan);
                let log = self.shell.topic.log_mut();
                let report = match read {
                    Ok(bytes) => log.loaded(plan, &bytes),
                    Err(Fault::Killed) => return Err(Fault::Killed),
                    Err(Fault::NotFound) => log.unreadable(plan),
                    Err(Fault::Refused) => {
                        is_refused = true;
                        continue;
                    }
                };
                assert!(self.had_power_cut || report.damage.is_empty(), "{:?}", report.damage);
            }
            if plans.is_empty() || is_refused {
                break;
            }
        }
        let recent = self.shell.topic.lowest_recent();
        self.shell.topic.log_mut().unload_below(recent);
        if !is_refused {
            self.check_nothing_is_withheld();
        }
        Ok(())
    }

    fn delivered(&mut self, client: &'static str, number: Number, attempts: u16) {
        let Client { visit, ready_count, .. } = self.clients[client];
        let (_, channel) = CLIENTS.iter().find(|(name, _)| *name == client).unwrap();
        let channel = self.model.channels.get_mut(CHANNELS[*channel]).unwrap();
        assert!(!channel.is_paused, "{client} gets {number} from a paused channel");
        let Some(owed) = channel.owed.get_mut(&number) else {
            panic!("{client} gets {number}, which nobody owes");
        };
        assert_eq!(
            (owed.place, owed.attempts + 1),
            (Place::Waiting, attempts),
            "{client} gets {number}, which is {owed:?}"
        );
        let (sent, deadline) = (self.time, self.time + TIMEOUT);
        let place = Place::InFlight { visit, sent, deadline };
        *owed = Owed { place, attempts, is_certain: true };
        assert!(channel.in_flight_of(visit) <= ready_count, "{client} has too many");
        // Whatever was said of it when it was published, it is in the log.
        let message = self.messages.values_mut().find(|message| message.number == number);
        message.expect("it was published").is_written = true;
    }

    fn check_nothing_is_withheld(&self) {
        for (name, channel) in &self.model.channels {
            let mut there = CLIENTS.iter().filter(|(_, of)| CHANNELS[*of] == *name);
            let all_are_full = there.all(|(client, _)| {
                self.clients.get(client).is_none_or(|&Client { visit, ready_count, .. }| {
                    ready_count <= channel.in_flight_of(visit)
                })
            });
            assert!(
                channel.is_paused || all_are_full || !channel.has_waiting(),
                "{name} withholds messages: {channel:?}"
            );
        }
    }

    /// A client answers for a message; sometimes for one that is not its.
    fn answer(&mut self) {
        let (name, of) = *self.random.choose(&CLIENTS);
        let Some(&client) = self.clients.get(name) else { return };
        let channel = self.model.channels.get_mut(CHANNELS[of]).unwrap();
        let is_in_flight = |number: &Number| {
            let owed = channel.owed.get(number);
            owed.is_some_and(|owed| matches!(owed.place, Place::InFlight { .. }))
        };
        let all: Vec<_> =
            self.messages.iter().map(|(&sequence, message)| (sequence, message.number)).collect();
        let mut choice: Vec<_> =
            all.iter().copied().filter(|(_, number)| is_in_flight(number)).collect();
        if choice.is_empty() || self.random.below(6) == 0 {
            choice = all;
        }
        if choice.is_empty() {
            return;
        }
        let (sequence, number) = *self.random.choose(&choice);
        let before = channel.owed.get(&number).copied();
        let expected = match before.map(|owed| owed.place) {
            Some(Place::InFlight { visit, .. }) if visit != client.visit => {
                Err(NotYours::OtherClient)
            }
            Some(Place::InFlight { sent, .. }) => Ok(sent),
            _ => Err(NotYours::NotInFlight),
        };
        let now = Self::now_at(self.time, self.started);
        let real = self.shell.topic.channel_mut(client.channel);
        let (subscriber, sequence) = (client.subscriber, Sequence(sequence));
        let kind = self.random.below(6);
        let delay = if kind == 3 { 0 } else { 1 + self.random.number() % 80 };
        let result = match kind {
            0..3 => real.finish(subscriber, sequence, now.tick),
            3 | 4 => real.requeue(subscriber, sequence, Duration::from_millis(delay), now),
            _ => real.touch(
                subscriber,
                sequence,
                Duration::from_millis(TIMEOUT),
                Duration::from_millis(TIMEOUT_MAX),
                now.tick,
            ),
        };
        assert_eq!(result, expected.map(drop), "an answer for {number}");
        let Ok(sent) = expected else { return };
        let owed = channel.owed.get_mut(&number).unwrap();
        match kind {
            0..3 => drop(channel.owed.remove(&number)),
            3 => owed.place = Place::Waiting,
            4 => owed.place = Place::Deferred { due: self.time + delay },
            _ => {
                let deadline = (self.time + TIMEOUT).min(sent + TIMEOUT_MAX);
                owed.place = Place::InFlight { visit: client.visit, sent, deadline };
            }
        }
    }

    // --- time ---

    fn now(&self) -> Now {
        Self::now_at(self.time, self.started)
    }

    /// Ticks begin with the process.
    fn now_at(time: u64, started: u64) -> Now {
        let wall = WALL_START + i64::try_from(time * NANOSECONDS).unwrap();
        Now { tick: Tick(3 + (time - started) * NANOSECONDS), wall: Timestamp(wall) }
    }

    fn pass(&mut self, count: u64) {
        self.time += count;
        let tick = self.now().tick;
        self.shell.topic.pass_time(tick);
        self.model.pass_time(self.time);
    }

    // --- what is kept ---

    /// What an operator or a new consumer does: it is kept before anybody is told.
    fn administer(
        &mut self,
        act: impl FnOnce(Now, &mut Topic),
        expect: impl FnOnce(&mut Model) -> Option<Change>,
    ) -> Result<()> {
        self.storage.refusals = Refusals::default();
        self.doubt = Some(self.model.clone());
        act(self.now(), &mut self.shell.topic);
        let change = expect(&mut self.model);
        // What is deleted is taken off the list first; what is new is kept first.
        let is_last =
            matches!(change, Some(Change::Channel { .. } | Change::Topic { paused: true, .. }));
        let (first, last) = if is_last { (None, change) } else { (change, None) };
        if let Some(change) = first {
            self.shell.note(&mut self.storage, change)?;
        }
        self.keep()?;
        last.map_or(Ok(()), |change| self.shell.note(&mut self.storage, change))
    }

    fn keep_if_changed(&mut self) -> Result<()> {
        if self.shell.topic.has_changed() { self.keep() } else { Ok(()) }
    }

    fn keep(&mut self) -> Result<()> {
        let record = self.shell.record(self.now());
        assert!(!self.shell.topic.has_changed());
        self.checkpoint.apply(record.clone());
        let (checkpoint, model) = (self.checkpoint.clone(), self.model.clone());
        self.snapshots.push(Snapshot { checkpoint, model });
        self.shell.keep(&mut self.storage, &record)?;
        self.kept = Some(self.snapshots.len() - 1);
        Ok(())
    }

    /// That nobody needs what goes is kept first. Where the disk refuses that, it goes all the same.
    fn tidy(&mut self) -> Result<()> {
        let waste = self.shell.topic.find_waste();
        if !waste.delete.is_empty() {
            let kept = self.keep().and_then(|()| self.shell.sync_checkpoint(&mut self.storage));
            self.has_deleted_in_haste |= kept.is_err();
            unless_refused(kept)?;
        }
        self.shell.tidy(&mut self.storage, waste)
    }

    // --- the end of a process, and the next ---

    fn start_again(&mut self) {
        let mut is_power_cut = false;
        self.storage.refusals = Refusals::default();
        let (shell, opened) = loop {
            if self.has_power_cuts && self.random.below(2) == 0 {
                self.storage.cut_power();
                is_power_cut = true;
            }
            self.time += self.random.number() % 40;
            self.started = self.time;
            self.storage.revive();
            // Nothing keeps a process from being killed while it starts.
            if self.random.below(4) == 0 {
                self.storage.kill_after(1 + u32::try_from(self.random.below(8)).unwrap());
            }
            let ids = IdSpace::new(1, self.random.number());
            let now = self.now();
            match Shell::open(&mut self.storage, ids, now) {
                Ok(started) => break started,
                Err(Fault::Killed) => {}
                Err(fault) => panic!("a start failed: {fault:?}"),
            }
        };
        self.storage.revive();
        self.shell = shell;
        self.had_power_cut |= is_power_cut;
        self.tell(&format_args!("started, power cut: {is_power_cut}, {opened:?}"));
        self.connections.clear();
        self.clients.clear();
        self.reconcile(&opened, is_power_cut);
        self.pass(0);
        self.admit_all();
    }

    /// What the new process owes: what the checkpoint it found says, and what came after. Of that
    /// must be there what was owed when the last process ended and could not be lost.
    fn reconcile(&mut self, opened: &Opened, is_power_cut: bool) {
        assert!(self.had_power_cut || opened.damage.is_empty(), "{opened:?}");
        // A process may be killed in the middle of the first 64 bytes of a segment.
        let torn = SetAside::Header(HeaderError::Short);
        let is_torn = opened.set_aside.iter().all(|(_, why)| *why == torn);
        assert!(self.had_power_cut || is_torn, "{opened:?}");
        let may_lack = self.had_power_cut || self.has_deleted_in_haste;
        assert!(may_lack || opened.taken.is_empty(), "{opened:?}");
        let found = opened.checkpoint.as_ref().map(|found| {
            let same = |snapshot: &Snapshot| snapshot.checkpoint == *found;
            self.snapshots.iter().rposition(same).expect("nobody wrote this checkpoint")
        });
        assert!(is_power_cut || self.kept <= found, "an older checkpoint was found");
        let mut model = found.map_or_else(Model::default, |at| self.snapshots[at].model.clone());
        let checkpoint = opened.checkpoint.clone().unwrap_or_default();
        model.restart();

        // What came after the checkpoint, as far as it is there.
        let end = self.shell.topic.log().end();
        self.messages.retain(|&sequence, _| sequence < end.0);
        for message in self.messages.values_mut() {
            // The new process syncs what it writes.
            message.segment = None;
        }
        for (&sequence, message) in self.messages.range(checkpoint.released.0..) {
            // A write that the disk refused may have been done all the same.
            let was_refused = !message.is_written && message.due.is_none();
            if sequence < checkpoint.end.0 && !was_refused {
                continue;
            }
            let unclaimed = Unclaimed { due: message.due, is_certain: true };
            model.waiting.insert(message.number, unclaimed);
        }
        for channel in opened.listed.channels.keys() {
            let name = CHANNELS.into_iter().find(|name| channel_name(name) == *channel).unwrap();
            model.channels.entry(name).or_default();
        }
        model.is_paused = opened.listed.paused;
        model.release();
        model.is_paused = self.shell.topic.is_paused();
        model.release();

        let lives: Vec<_> =
            [Some(self.model.clone()), self.doubt.take()].into_iter().flatten().collect();
        self.reconcile_names(&mut model, &lives, opened, is_power_cut);
        self.reconcile_messages(&mut model, &lives, is_power_cut);
        self.model = model;
        if is_power_cut {
            self.snapshots =
                found.map(|found| self.snapshots.swap_remove(found)).into_iter().collect();
            self.kept = found.map(|_| 0);
        } else {
            self.kept = found;
        }
        self.checkpoint = checkpoint;
    }

    /// Channels and pauses are as they were when somebody was told last; a change that was under
    /// way was made or not. After a power cut, a channel may be back that was deleted.
    fn reconcile_names(
        &self,
        model: &mut Model,
        lives: &[Model],
        opened: &Opened,
        is_power_cut: bool,
    ) {
        let there: BTreeSet<_> =
            self.shell.topic.channels().map(|channel| channel.name().to_string()).collect();
        let expected: BTreeSet<_> = model.channels.keys().map(|name| (*name).to_owned()).collect();
        assert_eq!(there, expected, "channels come from the checkpoint and from nsqd.dat");
        for name in CHANNELS {
            let is_there = model.channels.contains_key(name);
            let mut known = lives.iter().map(|life| life.channels.contains_key(name));
            let is_as_told = known.any(|was_there| was_there == is_there);
            assert!(is_as_told || (is_power_cut && is_there), "{name} is there: {is_there}");
            let Some(channel) = model.channels.get_mut(name) else { continue };
            let key = self.shell.topic.channel_key(channel_name(name)).unwrap();
            channel.is_paused = self.shell.topic.channel(key).is_paused();
            let mut pauses = lives.iter().filter_map(|life| life.channels.get(name));
            // One that is back has the pause it had when it was deleted.
            let is_back = is_power_cut && !opened.listed.channels.contains_key(&channel_name(name));
            let is_known = lives.iter().any(|life| life.channels.contains_key(name)) && !is_back;
            let is_as_told = pauses.any(|was: &ModelChannel| was.is_paused == channel.is_paused);
            assert!(is_as_told || !is_known, "{name} is paused: {}", channel.is_paused);
        }
        let is_as_told = lives.iter().any(|life| life.is_paused == model.is_paused);
        assert!(is_as_told, "the topic is paused: {}", model.is_paused);
    }

    fn reconcile_messages(&self, model: &mut Model, lives: &[Model], is_power_cut: bool) {
        let last = &lives[0];
        let names: BTreeSet<_> = model.channels.keys().copied().collect();
        let by_number: BTreeMap<_, _> =
            self.messages.values().map(|message| (message.number, message)).collect();
        let survives = |number: Number| {
            by_number.get(&number).is_some_and(|message| {
                if is_power_cut { message.is_synced } else { message.is_written }
            })
        };
        // Of a change under way it is known by the channels whether it was made, unless it did not
        // change those.
        let fitting: Vec<_> = lives
            .iter()
            .filter(|life| life.channels.keys().copied().eq(names.iter().copied()))
            .collect();
        let fitting = if fitting.is_empty() { lives.iter().collect() } else { fitting };
        let certainly =
            |life: &Model, name: &str, number: Number| life.owes_certainly(name, number);
        for &name in &names {
            let was_there = last.channels.contains_key(name);
            for number in self.messages.values().map(|message| message.number) {
                let is_certain = was_there
                    && survives(number)
                    && fitting.iter().all(|life| certainly(life, name, number));
                assert!(
                    !is_certain || model.owes(name, number),
                    "{name} lost {number}: {:?}",
                    last.channels.get(name).map(|channel| channel.owed.get(&number))
                );
                if let Some(owed) = model.channels.get_mut(name).unwrap().owed.get_mut(&number) {
                    owed.is_certain = is_certain;
                }
            }
            // Messages that were lost before.
            model
                .channels
                .get_mut(name)
                .unwrap()
                .owed
                .retain(|number, _| by_number.contains_key(number));
        }
        for number in self.messages.values().map(|message| message.number) {
            let waits = |life: &&Model| life.waiting.get(&number).is_some_and(|it| it.is_certain);
            let is_certain = survives(number) && fitting.iter().all(waits);
            let is_handed_over =
                !names.is_empty() && names.iter().all(|name| model.owes(name, number));
            assert!(
                !is_certain || is_handed_over || model.waiting.contains_key(&number),
                "the topic lost {number}"
            );
            if let Some(unclaimed) = model.waiting.get_mut(&number) {
                unclaimed.is_certain = is_certain;
            }
        }
        model.waiting.retain(|number, _| by_number.contains_key(number));
    }

    // --- what must be so ---

    fn check(&self) {
        let topic = &self.shell.topic;
        let start = topic.log().start();
        let certain: BTreeSet<_> = self.model.needed_certainly().collect();
        for (&sequence, message) in &self.messages {
            if certain.contains(&message.number) {
                let sequence = Sequence(sequence);
                assert!(
                    start <= sequence,
                    "{} is needed, but all below {start:?} is gone",
                    message.number
                );
                assert!(
                    topic.needs_any(&(sequence..sequence.next())),
                    "{} is needed",
                    message.number
                );
            }
        }
        assert!(topic.lowest_recent() <= topic.log().end());
        for (name, channel) in &self.model.channels {
            if channel.owed.values().all(|owed| owed.is_certain) {
                let key = topic.channel_key(channel_name(name)).unwrap();
                let real = topic.channel(key);
                let (waiting, in_flight, deferred) = channel.counts();
                // Messages of failed writes count as waiting until the log has read around them.
                assert!(waiting <= real.depth(), "{name} has {} to deliver", real.depth());
                let counts = (real.in_flight_count(), real.deferred_count());
                assert_eq!(counts, (in_flight, deferred), "{name}: in flight, deferred");
            }
        }
        if let Some(at) = self.model.wakes_at() {
            let wakes = topic.wake_at().expect("there is something to wake for");
            assert!(wakes <= Self::now_at(at.max(self.time), self.started).tick, "it oversleeps");
        }
    }

    /// Everything that is owed comes, and nothing else; then the disk is empty but for what the
    /// next message goes to.
    fn drain(&mut self) {
        self.storage.revive();
        self.step(Step::PauseTopic(false)).unwrap();
        for channel in 0..CHANNELS.len() {
            self.step(Step::PauseChannel(channel, false)).unwrap();
        }
        self.commit().unwrap();
        self.admit_all();
        for (name, _) in CLIENTS {
            self.ready(name, 1_000);
        }
        self.pass(TIMEOUT_MAX);
        self.deliver().unwrap();
        self.check();
        let now = self.now().tick;
        for (name, of) in CLIENTS {
            let Some(&client) = self.clients.get(name) else { continue };
            let real = self.shell.topic.channel_mut(client.channel);
            let channel = self.model.channels.get_mut(CHANNELS[of]).unwrap();
            for (&sequence, message) in &self.messages {
                if real.finish(client.subscriber, Sequence(sequence), now).is_ok() {
                    channel.owed.remove(&message.number).expect("it was in flight");
                }
            }
        }
        for (name, channel) in &self.model.channels {
            let left: Vec<_> = channel.owed.iter().filter(|(_, owed)| owed.is_certain).collect();
            assert!(left.is_empty(), "{name} never delivered {left:?}");
            let key = self.shell.topic.channel_key(channel_name(name)).unwrap();
            let real = self.shell.topic.channel(key);
            let counts = (real.depth(), real.in_flight_count(), real.deferred_count());
            assert_eq!(counts, (0, 0, 0), "{name}");
        }
        if !self.model.channels.is_empty() {
            self.keep().unwrap();
            self.tidy().unwrap();
            assert!(self.shell.topic.log().segments().count() <= 1, "a segment that nobody needs");
        }
    }
}

/// What the disk refuses is tried again later.
fn unless_refused(result: Result<()>) -> Result<()> {
    match result {
        Err(Fault::Killed) => Err(Fault::Killed),
        _ => Ok(()),
    }
}

/// The body of a message: its number, then bytes that follow from it; some are longer than a
/// segment.
fn body_of(number: Number) -> Vec<u8> {
    let mut random = Random::new(u64::from(number));
    let length = match random.below(24) {
        0 => 700 + random.below(1_200),
        1..5 => random.below(400),
        _ => random.below(30),
    };
    let rest = (0..length).map(|_| random.number().to_le_bytes()[0]);
    number.to_be_bytes().into_iter().chain(rest).collect()
}

fn take_messages(
    client: &'static str,
    outgoing: &Outgoing,
    delivered: &mut Vec<(&'static str, Number, u16)>,
) {
    let (mut bytes, count, attempts) = match outgoing {
        Outgoing::Fresh { frames, count } => (&frames[..], *count, 1),
        Outgoing::Again { frame, attempts } => (&frame[..], 1, *attempts),
    };
    for _ in 0..count {
        let (frame, length) = decode_frame(bytes, bytes.len()).unwrap().expect("a whole frame");
        let Frame::Message(message) = frame else { panic!("{frame:?} is no message") };
        assert_eq!(message.attempts, 1, "the log has first deliveries");
        let number = Number::from_be_bytes(*message.body.first_chunk().expect("a number"));
        assert!(message.body == body_of(number), "{number} has wrong bytes");
        delivered.push((client, number, attempts));
        bytes = &bytes[length..];
    }
    assert!(bytes.is_empty(), "whole frames, counted");
}
