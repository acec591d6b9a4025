//! `nsq_to_file`: writes topics into files.
//!
//! Knows: how it starts and ends, and which signals it hears. What is promised: a message is finished
//! only after a sync of the file that it is in, so that a FIN is never lost with the process or the
//! power.
//!
//! | Where do I look for | |
//! |---|---|
//! | a flag, and what is wrong with it | [`flags`] |
//! | which topics, from flags or nsqlookupds | [`topics`], [`pattern`] |
//! | what happens between the broker and a file | [`topic`] |
//! | which file, when the next, when a sync | [`recorder`] |
//! | the name of a file | [`name`], [`strftime`], [`layout`], [`path`] |
//! | the bytes of a compressed file | [`waiting`], [`gzip`] |
//! | what is asked of the system | [`world`], [`disk`] |
//!
//! Pure, with time as an argument: all but [`topics`], [`topic`], [`disk`] and this file.

mod disk;
mod flags;
mod gzip;
mod layout;
mod name;
mod path;
mod pattern;
mod recorder;
mod strftime;
mod topic;
mod topics;
mod waiting;
mod world;

use std::ffi::OsString;
use std::time::Duration;

use startup::log::{self, LogLevel};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

pub(super) use self::flags::Flags;
use self::recorder::Fatal;
use self::topics::Topics;
use super::{Failure, print_version};
use crate::cluster::{Cluster, Http, Sources};
use crate::terminal::Interrupt;

/// Longer than any process runs.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Writes until it is told to end.
pub(super) async fn run(flags: Flags, rest: Vec<OsString>) -> Result<(), Failure> {
    if !rest.is_empty() {
        let rest: Vec<_> = rest.iter().map(|argument| argument.to_string_lossy()).collect();
        return Err(Failure::Fatal(format!("unknown arguments: [{}]", rest.join(" "))));
    }
    let level = flags.level()?;
    if flags.version {
        print_version("nsq_to_file");
        return Ok(());
    }
    flags.check()?;
    let cluster = if flags.topic.is_empty() {
        Some(Cluster::new(Http::new(flags.patience())?, Sources::Lookups(flags.lookups()?)))
    } else {
        None
    };
    log::start(&flags.log_prefix, level);
    let (options, wrong) = flags.options();
    for setting in wrong {
        let text = format!("--consumer-opt {setting} is passed over: it is no option, or no value");
        disk::say(LogLevel::Warn, &text);
    }
    let prefix = flags.log_prefix.clone();
    let outcome = work(flags.topic_refresh, Topics::new(flags, options, cluster)).await?;
    outcome.or_else(|Fatal(text)| log::fatal(&prefix, &text))
}

/// Hears signals, and lets topics come, until it is told to end or a topic cannot go on.
async fn work(topic_refresh: Duration, mut topics: Topics) -> Result<Result<(), Fatal>, Failure> {
    let mut interrupt = Interrupt::listen()?;
    let mut hang_up = signal(SignalKind::hangup())
        .map_err(|error| Failure::Fatal(format!("cannot hear signals: {error}")))?;
    if let Some(mistake) = topics.mistake() {
        disk::say(LogLevel::Error, &format!("--topic-pattern matches nothing: {mistake}"));
    }
    // An interval of nothing is none: topics are looked for once.
    let refresh = if topic_refresh.is_zero() { FOR_EVER } else { topic_refresh };
    let mut refreshes = interval(refresh);
    refreshes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = refreshes.tick() => tokio::select! {
                () = topics.refresh() => {}
                () = interrupt.wait() => break,
            },
            _ = hang_up.recv() => topics.hang_up(),
            () = interrupt.wait() => break,
            fatal = topics.failure() => return Ok(Err(fatal)),
        }
    }
    Ok(topics.stop().await)
}
