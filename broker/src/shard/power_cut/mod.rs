//! The power goes while a core serves clients, at every moment: what they were told with
//! `--acknowledge=synced` is there when it comes back.
//!
//! A core runs with real files and real sockets, and everything it changes on the disk is recorded
//! ([`crate::disk::tape`]) beside what its clients were told ([`load`], [`promises`]). Then the
//! power is cut at every end of a sync and in between: [`platter`] says what a disk may hold then,
//! a core starts with that, and what its channels would deliver is compared with what was promised.
//!
//! A failure prints its seed; `SOAK_SECONDS=600` records and replays new ones for so long.

#![expect(clippy::disallowed_methods, reason = "a test may wait for the disk")]

mod load;
mod platter;
mod promises;
#[path = "../../../tests/damage/random.rs"]
mod random;
#[path = "../../../tests/damage/seeds.rs"]
mod seeds;

use super::state::State;
use super::topics::Folder;
use super::{Doors, Shard, hearing, run};
use crate::channel::{Locality, Outgoing, Room, Terms};
use crate::clock::{Clock, Now};
use crate::config::{Acknowledge, Config};
use crate::disk::tape::{Change, Event, FileNumber, Tape};
use crate::flags::Flags;
use crate::keys::{ConnectionKey, TopicKey};
use crate::limits::BLOCKING_THREADS;
use crate::log::storage_ring::TopicFolder;
use crate::routing::placement::{Placement, ShardId};
use crate::routing::request::Batch;
use crate::topic::catalogue::Catalogue;
use clap::Parser as _;
use futures_lite::FutureExt as _;
use load::Clients;
use platter::{Ignored, Image, Platter};
use promises::{Found, FoundChannel, FoundTopic, Number, Promises, body_of, number_of};
use protocol::frame::{Frame, decode_frame};
use protocol::name::{ChannelName, TopicName};
use random::Random;
use startup::listen::Address;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tempfile::TempDir;

/// Small, so that segments come and go.
const SEGMENT_BYTES_MAX: u64 = 3_000;
/// What clients do before the process is killed, and then before it is stopped.
const LOAD: [Load; 2] = [
    Load { duration: Duration::from_millis(1_500), acknowledged: 70 },
    Load { duration: Duration::from_millis(800), acknowledged: 40 },
];
/// How long a core may take to answer its clients and to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether nothing is under way on the disk: some seconds in all.
const QUIET_LOOKS: u32 = 10_000;
/// One of so many starts after a loss of power loses it again.
const SECOND_CUTS: usize = 8;

/// How long clients are at it, and how many publishes are acknowledged to them meanwhile; on a busy
/// machine that takes longer.
struct Load {
    duration: Duration,
    acknowledged: usize,
}

/// What a run left to be replayed.
struct Recording {
    folder: TempDir,
    events: Vec<Event>,
    promises: Promises,
}

/// A folder in memory, if the system has that: thousands of starts sync it.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn on_an_executor<T>(task: impl Future<Output = T>) -> T {
    let executor = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
        .io_memory(64 << 10)
        .blocking_thread_pool_placement(glommio::PoolPlacement::Unbound(BLOCKING_THREADS))
        .make()
        .expect("io_uring must be allowed here");
    executor.run(async {
        crate::pulse::start();
        task.await
    })
}

fn config(data_path: &Path) -> Config {
    let data_path = format!("--data-path={}", data_path.display());
    let flags = ["nsqd", &data_path, "--acknowledge=synced"];
    let mut config = Flags::try_parse_from(flags).unwrap().into_config(1, 0).unwrap();
    config.segment_bytes_max = SEGMENT_BYTES_MAX;
    config
}

/// A core that has taken in what is in a data path.
///
/// # Errors
/// A sentence, when it does not start.
async fn start(data_path: &Path, random: u64) -> Result<Rc<Shard>, String> {
    let catalogue = match data_path.join("nsqd.dat") {
        path if path.exists() => {
            let bytes = std::fs::read(path).unwrap();
            Catalogue::from_file(&bytes).map_err(|error| format!("nsqd.dat: {error}"))?.0
        }
        _ => Catalogue::default(),
    };
    let config = Rc::new(config(data_path));
    let state = State::new(ShardId(0), Placement::over(1), config.clone(), random);
    let shard = Rc::new(Shard::alone(config, Clock::start(), state).unwrap());
    shard.recover(Rc::new(catalogue)).await?;
    Ok(shard)
}

// --- recording ---

fn record(seed: u64, loads: &[Load]) -> Recording {
    let folder = folder();
    let tape = Tape::default();
    let clients = Clients::new(tape.clone(), seed);
    tape.start();
    for (phase, load) in loads.iter().enumerate() {
        let is_last = phase + 1 == loads.len();
        let random = seed + phase as u64;
        on_an_executor(serve(folder.path(), random, &clients, load, is_last));
        // Other tasks may have had a turn more than the one that ended.
        tape.settle();
    }
    Tape::stop();
    let promises = clients.promises.take();
    Recording { folder, events: tape.events(), promises }
}

/// Serves clients, and then stops as a broker does, or ends as one that is killed.
async fn serve(
    data_path: &Path,
    random: u64,
    clients: &Rc<Clients>,
    load: &Load,
    is_stopped: bool,
) {
    let shard = start(data_path, random).await.unwrap();
    glommio::spawn_local(run::end_turns(shard.clone())).detach();
    glommio::spawn_local(run::ring(shard.clone())).detach();
    glommio::spawn_local(hearing::hear(shard.clone())).detach();
    shard.turn.wake();
    let any = Address::Port("127.0.0.1:0".parse().unwrap());
    let doors = Doors::open(&any, Some(&any), None).unwrap();
    clients.tcp.set(doors.tcp.local_addr().ok());
    clients.http.set(doors.http.as_ref().map(|http| http.local_addr().unwrap()));
    shard.open(doors);

    let spawn = |task: std::pin::Pin<Box<dyn Future<Output = ()>>>| glommio::spawn_local(task);
    let consumers = [("orders", "fast", 90), ("orders", "slow", 40), ("sparse", "only", 92)];
    for (topic, channel, finished) in consumers {
        spawn(Box::pin(clients.clone().consume(topic, channel, finished))).detach();
    }
    let late = clients.clone();
    spawn(Box::pin(async move {
        late.pause(600..900).await;
        late.create("waiting", Some("first")).await;
    }))
    .detach();
    let busy = [
        spawn(Box::pin(clients.clone().publish("orders", 20..120))),
        spawn(Box::pin(clients.clone().publish("orders", 20..120))),
        spawn(Box::pin(clients.clone().publish("sparse", 15..45))),
        spawn(Box::pin(clients.clone().publish("waiting", 60..160))),
        spawn(Box::pin(load::administer(clients.clone()))),
    ];
    let before = clients.promises.borrow().acknowledged();
    glommio::timer::sleep(load.duration).await;
    let enough = async {
        while clients.promises.borrow().acknowledged() < before + load.acknowledged {
            glommio::timer::sleep(Duration::from_millis(20)).await;
        }
    };
    let too_few = async {
        glommio::timer::sleep(PATIENCE).await;
        panic!("few publishes are acknowledged");
    };
    enough.or(too_few).await;
    if is_stopped {
        clients.is_over.set(true);
        let end = async {
            for task in busy {
                task.await;
            }
            shard.stop().await;
        };
        let too_late = async {
            glommio::timer::sleep(PATIENCE).await;
            panic!("a client is not answered, or the core does not stop");
        };
        end.or(too_late).await;
    }
    // What is under way when an executor ends may be done or not, and nobody would know.
    for _ in 0..QUIET_LOOKS {
        if clients.tape.is_quiet() {
            return;
        }
        glommio::timer::sleep(Duration::from_micros(200)).await;
    }
}

impl Recording {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn platter(&self, ignored: Ignored) -> Platter {
        Platter::new(self.path(), &Image::new(), &BTreeMap::new(), ignored)
    }

    /// Checks that all was recorded, and that there was enough to record.
    fn check_completeness(&self) {
        let mut platter = self.platter(Ignored::Nothing);
        self.events.iter().for_each(|event| platter.apply(event));
        let (recorded, there) = (platter.image(), read_image(self.path()));
        assert_eq!(
            recorded.keys().collect::<Vec<_>>(),
            there.keys().collect::<Vec<_>>(),
            "a name was changed and not recorded"
        );
        for (path, bytes) in &there {
            assert!(recorded[path] == *bytes, "{} was changed and not recorded", path.display());
        }
        let happened = |what: &dyn Fn(&Change) -> bool| {
            let changes = self.events.iter().filter_map(|event| match event {
                Event::Begun(_, change) => Some(change),
                _ => None,
            });
            changes.filter(|change| what(change)).count()
        };
        let ends = |path: &Path, end: &str| path.to_str().unwrap().ends_with(end);
        let renamed = |from_end: &'static str, to_end: &'static str| move |change: &Change| matches!(change, Change::Rename { from, to } if ends(from, from_end) && ends(to, to_end));
        type Kind<'a> = (&'a str, &'a dyn Fn(&Change) -> bool);
        let kinds: [Kind<'_>; 9] = [
            ("topics were made", &|it| matches!(it, Change::CreateFolder(_))),
            ("topics were deleted", &renamed(".topic", ".removed")),
            ("the list of topics was replaced", &renamed("nsqd.dat.new", "nsqd.dat")),
            ("checkpoints were replaced", &renamed("checkpoint.new", "checkpoint")),
            ("segments were begun", &renamed(".log", ".log")),
            ("segments were written anew", &renamed(".compact", ".log")),
            (
                "segments were deleted",
                &|it| matches!(it, Change::Remove(path) if ends(path, ".log")),
            ),
            ("files were synced", &|it| matches!(it, Change::Sync(_))),
            ("folders were synced", &|it| matches!(it, Change::SyncFolder(_))),
        ];
        for (what, is_so) in kinds {
            assert!(0 < happened(is_so), "no {what}");
        }
    }

    /// Where the power is cut: after each sync, and before one of three.
    fn places(&self, random: &mut Random) -> BTreeSet<usize> {
        let syncs: BTreeSet<_> = self
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Begun(number, Change::Sync(_) | Change::SyncFolder(_)) => Some(*number),
                _ => None,
            })
            .collect();
        let is_sync =
            |at: &usize| matches!(&self.events[*at], Event::Done(it, _) if syncs.contains(it));
        let mut places = BTreeSet::new();
        let mut last = 0;
        for at in (0..self.events.len()).filter(is_sync) {
            places.insert(at + 1);
            if random.below(3) == 0 {
                places.insert(last + random.below(at + 1 - last));
            }
            last = at + 1;
        }
        places
    }

    /// Cuts the power at each of its places, and says what was missing first.
    async fn replay(&self, random: &mut Random, ignored: Ignored) -> Result<usize, String> {
        let places = self.places(random);
        let mut platter = self.platter(ignored);
        let mut tried = 0;
        for at in 0..=self.events.len() {
            if places.contains(&at) {
                let image = platter.cut_power(random);
                self.check(at, &image, random).await.map_err(|missing| {
                    format!(
                        "the power was cut after {at} of {} events, {} of them uncertain: {missing}",
                        self.events.len(),
                        platter.uncertain()
                    )
                })?;
                tried += 1;
            }
            if let Some(event) = self.events.get(at) {
                platter.apply(event);
            }
        }
        Ok(tried)
    }

    async fn check(&self, at: usize, image: &Image, random: &mut Random) -> Result<(), String> {
        let folder = folder();
        let data_path = folder.path();
        write_image(data_path, image);
        let is_cut_again = random.below(SECOND_CUTS) == 0;
        let tape = Tape::default();
        let numbers = numbers_of(&tape, data_path, image);
        if is_cut_again {
            tape.start();
        }
        let started = start(data_path, random.number()).await;
        Tape::stop();
        self.promises.check(at, &look(&started?).await?)?;
        if !is_cut_again {
            return Ok(());
        }
        let mut platter = Platter::new(data_path, image, &numbers, Ignored::Nothing);
        let events = tape.events();
        let kept = random.below(events.len() + 1);
        events[..kept].iter().for_each(|event| platter.apply(event));
        let image = platter.cut_power(random);
        let again = self::folder();
        write_image(again.path(), &image);
        let shard = start(again.path(), random.number()).await?;
        let found = look(&shard).await?;
        let checked = self.promises.check(at, &found);
        checked.map_err(|missing| format!("{missing}, after a second cut at the start"))
    }
}

// --- what is found ---

/// What a core has that has just started.
async fn look(shard: &Rc<Shard>) -> Result<Found, String> {
    let keys: Vec<_> = shard.state.borrow().topics.iter().map(|(key, _)| key).collect();
    let mut found = Found::new();
    for key in keys {
        let (name, folder) = {
            let state = shard.state.borrow();
            let hosted = &state.topics[key];
            (hosted.topic.name().to_string(), hosted.folder.clone())
        };
        let Folder::Open(folder) = folder else {
            return Err(format!("{name} could not be opened: {folder:?}"));
        };
        let topic = look_at_topic(shard, key, &folder).await;
        found.insert(name.clone(), topic.map_err(|wrong| format!("{name}: {wrong}"))?);
    }
    Ok(found)
}

async fn look_at_topic(
    shard: &Shard,
    key: TopicKey,
    folder: &TopicFolder,
) -> Result<FoundTopic, String> {
    let now = shard.clock.now();
    let mut found = FoundTopic::default();
    let mut connections = slotmap::SlotMap::with_key();
    let mut names: BTreeMap<ConnectionKey, String> = BTreeMap::new();
    {
        let topic = &mut shard.state.borrow_mut().topics[key].topic;
        found.is_paused = topic.is_paused();
        if topic.channels().next().is_none() {
            topic.create_channel(ChannelName::parse(b"nobody").unwrap(), now);
        }
        topic.set_paused(false, now);
        let channels: Vec<_> = topic.channels().map(|channel| channel.name()).collect();
        for name in channels {
            let channel = topic.channel_key(name).unwrap();
            let channel = topic.channel_mut(channel);
            let connection = connections.insert(());
            names.insert(connection, name.to_string());
            let there = FoundChannel { is_paused: channel.is_paused(), ..FoundChannel::default() };
            found.channels.insert(name.to_string(), there);
            channel.set_paused(false);
            let message_timeout = Duration::from_secs(60);
            let terms = Terms {
                connection,
                message_timeout,
                sample_rate: 0,
                locality: Locality::default(),
            };
            let subscriber = channel.subscribe(terms);
            channel.set_ready_count(subscriber, 1_000_000);
        }
    }
    for (connection, number) in deliver(shard, key, folder, now).await? {
        found.channels.get_mut(&names[&connection]).unwrap().due.insert(number);
    }
    let tick = now.tick.plus(Duration::from_secs(3 * 3_600));
    shard.state.borrow_mut().topics[key].topic.pass_time(tick);
    for (connection, number) in deliver(shard, key, folder, Now { tick, ..now }).await? {
        found.channels.get_mut(&names[&connection]).unwrap().all.insert(number);
    }
    for channel in found.channels.values_mut() {
        channel.all.extend(&channel.due);
    }
    Ok(found)
}

/// What a topic delivers now.
async fn deliver(
    shard: &Shard,
    key: TopicKey,
    folder: &TopicFolder,
    now: Now,
) -> Result<Vec<(ConnectionKey, Number)>, String> {
    let mut delivered = Vec::new();
    let mut wrong = None;
    loop {
        let plans =
            shard.state.borrow_mut().topics[key].topic.deliver(now, &mut |connection, outgoing| {
                let (Outgoing::Fresh { frames: bytes, .. } | Outgoing::Again { frame: bytes, .. }) =
                    outgoing;
                let mut rest = &bytes[..];
                while let Some((Frame::Message(message), length)) =
                    decode_frame(rest, rest.len()).unwrap()
                {
                    match number_of(message.body) {
                        Ok(number) => delivered.push((connection, number)),
                        Err(error) => wrong = Some(error),
                    }
                    rest = &rest[length..];
                }
                Room::Left
            });
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        if plans.is_empty() {
            return Ok(delivered);
        }
        for plan in plans {
            let data = folder.read(&plan).await.map_err(|error| error.to_string())?;
            let log = &mut shard.state.borrow_mut();
            // What it finds damaged is missed below, if anybody was promised it.
            log.topics[key].topic.log_mut().loaded(&plan, &data);
        }
    }
}

// --- images ---

fn read_image(root: &Path) -> Image {
    let mut image = Image::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in root.join(&folder).read_dir().unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                image.insert(path.clone(), None);
                folders.push(path);
            } else {
                image.insert(path, Some(std::fs::read(entry.path()).unwrap()));
            }
        }
    }
    image
}

/// Folders come before what is in them.
fn write_image(root: &Path, image: &Image) {
    for (path, bytes) in image {
        match bytes {
            None => std::fs::create_dir(root.join(path)).unwrap(),
            Some(bytes) => std::fs::write(root.join(path), bytes).unwrap(),
        }
    }
}

fn numbers_of(tape: &Tape, root: &Path, image: &Image) -> BTreeMap<PathBuf, FileNumber> {
    let files = image.iter().filter(|(_, bytes)| bytes.is_some());
    files.map(|(path, _)| (path.clone(), tape.number_of(&root.join(path)))).collect()
}

// --- the tests ---

#[test]
fn what_was_acknowledged_is_there_wherever_the_power_goes() {
    for seed in seeds::seeds("RECORDINGS", 1) {
        let recording = record(seed, &LOAD);
        recording.check_completeness();
        let mut random = Random::new(seed);
        let replayed = on_an_executor(recording.replay(&mut random, Ignored::Nothing));
        let tried = replayed.unwrap_or_else(|missing| panic!("FIRST_SEED={seed}: {missing}"));
        assert!(150 < tried, "the power was cut only {tried} times");
    }
}

#[test]
fn what_a_killed_process_left_is_brought_to_the_disk_by_the_next_though_nobody_uses_it() {
    let folder = folder();
    let data_path = folder.path();
    let tape = Tape::default();
    tape.start();
    on_an_executor(async {
        let mut config = config(data_path);
        config.acknowledge = Acknowledge::Written;
        let state = State::new(ShardId(0), Placement::over(1), Rc::new(config.clone()), 1);
        let shard = Rc::new(Shard::alone(Rc::new(config), Clock::start(), state).unwrap());
        glommio::spawn_local(run::end_turns(shard.clone())).detach();
        let topic = TopicName::parse(b"orders").unwrap();
        for number in 1..100 {
            let batch = Batch { count: None, region: body_of(number) };
            shard.publish(topic, None, batch).await.unwrap();
        }
        while !tape.is_quiet() {
            glommio::executor().yield_now().await;
        }
    });
    let platter = |events: &[Event]| {
        let mut platter =
            Platter::new(data_path, &Image::new(), &BTreeMap::new(), Ignored::Nothing);
        events.iter().for_each(|event| platter.apply(event));
        platter
    };
    let segments = |image: &Image| {
        let segments = image.iter().filter(|(path, _)| path.to_str().unwrap().ends_with(".log"));
        segments.map(|(path, bytes)| (path.clone(), bytes.clone())).collect::<Vec<_>>()
    };
    let written = segments(&platter(&tape.events()).image());
    assert!(2 < written.len());
    assert_eq!(segments(&platter(&tape.events()).certain()), [], "nothing was synced");
    on_an_executor(async {
        let shard = start(data_path, 2).await.unwrap();
        glommio::spawn_local(run::end_turns(shard.clone())).detach();
        shard.turn.wake();
        let found = segments(&read_image(data_path));
        for _ in 0..6_000 {
            if segments(&platter(&tape.events()).certain()) == found {
                return;
            }
            glommio::timer::sleep(Duration::from_millis(10)).await;
        }
        panic!("what was found is not on the disk itself within a minute");
    });
    Tape::stop();
}

#[test]
fn a_disk_that_does_not_do_its_syncs_is_found_out() {
    let recording = record(1, &LOAD[1..]);
    for ignored in [Ignored::Files, Ignored::Folders] {
        let mut random = Random::new(1);
        let replayed = on_an_executor(recording.replay(&mut random, ignored));
        assert!(replayed.is_err(), "{ignored:?}: nothing is missing");
    }
}
