//! One topic at work: messages go from its consumer to its recorder, and back as FINs.
//!
//! Knows: what waits while the recorder is at work, and when it is due. Does not know: the rules about
//! files, which are [`super::recorder`]'s.
//!
//! The recorder works on a thread of its own, since a sync can take long and heartbeats must be
//! answered meanwhile. It is lent to the thread for one piece of work at a time: all that came since
//! the last. So where syncs are slow, more messages share one.
//!
//! Bounds: the messages that wait are in flight, and no more are than `--max-in-flight` allows; between
//! two of them stands each [`Signal`] once at most.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::disk::Disk;
use super::recorder::{Fatal, Now, Recorder};
use crate::client::consumer::Consumer;
use crate::client::message::{Batch, Message};

/// What a topic is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The file is to end, and the next message to begin another.
    HangUp,
    /// What is in flight is to be recorded, and nothing more.
    Stop,
}

/// What a recorder is to be told next.
enum Event {
    Messages(Vec<Bytes>),
    Signal(Signal),
}

/// What needs to be told only once, if no message came since.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signal {
    /// All is to be synced.
    Sync,
    /// The sync interval is over.
    Tick,
    /// The file is to end.
    HangUp,
}

/// See the head of this file.
pub(super) struct Topic {
    consumer: Consumer,
    /// `None` while it is at work.
    recorder: Option<Recorder<Disk>>,
    /// What waits for the recorder.
    events: Vec<Event>,
    /// The messages that are not finished, in the order in which the recorder gets them.
    unfinished: VecDeque<Message>,
    is_stopping: bool,
    started: Instant,
}

/// A recorder that comes back from its work.
type Worked = (Recorder<Disk>, Result<(), Fatal>);

impl Topic {
    pub(super) fn new(consumer: Consumer, recorder: Recorder<Disk>) -> Self {
        Self {
            consumer,
            recorder: Some(recorder),
            events: Vec::new(),
            unfinished: VecDeque::new(),
            is_stopping: false,
            started: Instant::now(),
        }
    }

    /// Records messages until it is told to stop and all is over.
    pub(super) async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        sync_interval: Duration,
    ) -> Result<(), Fatal> {
        let mut ticks = interval_at(Instant::now() + sync_interval, sync_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut work: Option<JoinHandle<Worked>> = None;
        let mut is_over = false;
        loop {
            if work.is_none() {
                if self.events.is_empty() && is_over {
                    return Ok(());
                }
                work = self.begin_work();
            }
            tokio::select! {
                worked = ended(&mut work) => {
                    work = None;
                    self.take_back(worked)?;
                }
                batch = self.consumer.next(), if !is_over => match batch {
                    Some(batch) => self.take(batch),
                    None => {
                        is_over = true;
                        self.signal(Signal::HangUp);
                    }
                },
                Some(order) = orders.recv() => match order {
                    Order::HangUp => self.signal(Signal::HangUp),
                    Order::Stop => {
                        self.is_stopping = true;
                        self.consumer.stop();
                        // The consumer ends when all that is in flight is finished.
                        self.signal(Signal::Sync);
                    }
                },
                _ = ticks.tick(), if !self.is_stopping => self.signal(Signal::Tick),
            }
        }
    }

    fn signal(&mut self, signal: Signal) {
        let mut since = self.events.iter().rev().map_while(|event| match event {
            Event::Messages(_) => None,
            Event::Signal(signal) => Some(signal),
        });
        if !since.any(|other| *other == signal) {
            self.events.push(Event::Signal(signal));
        }
    }

    /// Takes a batch, and what else is here.
    fn take(&mut self, batch: Batch) {
        let mut bodies = Vec::with_capacity(batch.len());
        let mut next = Some(batch);
        while let Some(batch) = next {
            for mut message in batch {
                // The body goes when it is written; the message waits for the sync.
                bodies.push(std::mem::take(&mut message.body));
                self.unfinished.push_back(message);
            }
            next = self.consumer.next_here();
        }
        self.events.push(Event::Messages(bodies));
    }

    /// Lends the recorder to a thread, if there is something to do.
    fn begin_work(&mut self) -> Option<JoinHandle<Worked>> {
        if self.events.is_empty() {
            return None;
        }
        let mut recorder = self.recorder.take()?;
        let events = std::mem::take(&mut self.events);
        let now = Now { wall: Timestamp::now(), steady: self.started.elapsed() };
        let is_sync_wished = self.is_stopping || self.consumer.is_starved();
        Some(spawn_blocking(move || {
            let outcome = tell(&mut recorder, &events, now, is_sync_wished);
            (recorder, outcome)
        }))
    }

    /// Takes the recorder back, and finishes what is on the disk.
    fn take_back(&mut self, (mut recorder, outcome): Worked) -> Result<(), Fatal> {
        let synced = recorder.take_synced();
        self.unfinished.drain(..synced).for_each(Message::finish);
        self.recorder = Some(recorder);
        outcome
    }
}

fn tell(
    recorder: &mut Recorder<Disk>,
    events: &[Event],
    now: Now,
    is_sync_wished: bool,
) -> Result<(), Fatal> {
    for event in events {
        match event {
            Event::Messages(bodies) => {
                bodies.iter().try_for_each(|body| recorder.message(body, now))?;
            }
            Event::Signal(Signal::Sync) => recorder.settle(true)?,
            Event::Signal(Signal::Tick) => recorder.tick(now)?,
            Event::Signal(Signal::HangUp) => recorder.hang_up()?,
        }
    }
    recorder.settle(is_sync_wished)?;
    recorder.show()
}

/// Waits for the end of the work; for ever when there is none.
async fn ended(work: &mut Option<JoinHandle<Worked>>) -> Worked {
    match work {
        Some(work) => work.await.expect("a recorder at work neither panics nor is stopped"),
        None => std::future::pending().await,
    }
}
