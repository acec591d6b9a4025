//! One core: what it owns, what runs on it, in which order it starts and stops.
//!
//! ```text
//! readers ──► State ──► end of turn: commit ─► deliver ─► send
//!    ▲          ▲                       │
//!    │ sockets  │ mailboxes, alarms     └─► jobs (what has to wait)
//! ```
//!
//! Everything a core owns is one [`State`] behind a `RefCell`, borrowed for one step and never
//! across a wait. Tasks are few: a reader for each connection, one that ends turns, one timer, and
//! for each other core one that carries requests there, and the core's ear ([`hearing`]).

mod abreast;
pub mod administration;
pub mod alarms;
#[cfg(test)]
mod allocations;
mod authorization;
pub mod breath;
pub mod departure;
pub mod doors;
mod drain;
mod files;
pub mod hearing;
mod import;
mod jobs;
mod lookout;
pub mod open_folders;
mod peek;
#[cfg(test)]
mod power_cut;
pub mod quota;
mod recovery;
mod run;
pub mod signal;
pub mod state;
pub mod statistics;
mod statsd;
pub mod sync;
#[cfg(test)]
mod tests;
pub mod tidying;
pub mod topics;
pub mod troubles;
mod turn;

pub use doors::Doors;
pub use run::{Start, run};

use crate::clock::Clock;
use crate::config::{Config, NSQ_VERSION};
use crate::connection::Life;
use crate::connection::handshakes::Handshakes;
use crate::connection::readiness::Readiness;
use crate::connection::socket::Socket;
use crate::http::client::Client;
use crate::keys::ConnectionKey;
use crate::limits::READ_BYTES_MAX;
#[cfg(test)]
use crate::routing::mailbox;
use crate::routing::mailbox::Mailbox;
use crate::routing::outbox::Mail;
use crate::routing::placement::ShardId;
use crate::routing::request::{
    Answer, Batch, CallKey, Publish, PublishError, Question, Request, Waiter,
};
use protocol::name::TopicName;
use signal::{News, Signal};
use state::{Call, State};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// What the tasks of one core share.
#[derive(Debug)]
pub struct Shard {
    /// Which core this is.
    pub here: ShardId,
    /// How the broker was started.
    pub config: Rc<Config>,
    /// The clocks.
    pub clock: Clock,
    /// Everything the core owns.
    pub state: RefCell<State>,
    /// Ends the turn.
    pub turn: Signal,
    /// An earlier alarm was set, or the turn may have set one.
    pub alarms_changed: Signal,
    /// A topic's folder was opened, or could not be, or a topic that was deleted is gone.
    pub topic_news: News,
    /// The broker is told to stop.
    pub stopping: Signal,
    /// What all readers read into.
    pub read_buffer: RefCell<Box<[u8]>>,
    /// Asks others over HTTP.
    pub http_client: Client,
    /// Whose turn it is to shake hands.
    pub handshakes: Handshakes,
    /// Which sockets have something to say.
    pub readiness: Rc<Readiness>,
    /// What other cores send, and the way to them.
    pub mailbox: Mailbox<Mail>,
    /// Turns that have ended.
    pub turns: Cell<u64>,
    /// The ring is to be looked at: whoever could go on for ever pauses ([`breath`]).
    pub is_hearing: Cell<bool>,
    /// Who waits for files.
    pub file_waits: hearing::FileWaits,
}

impl Shard {
    /// # Errors
    /// When the process has no descriptor left.
    fn new(
        config: Rc<Config>,
        clock: Clock,
        state: State,
        mailbox: Mailbox<Mail>,
    ) -> io::Result<Self> {
        let readiness = Readiness::new()?;
        readiness.hear(mailbox.bell())?;
        let http_client = Client::new(format!("nsqd/{NSQ_VERSION}"), config.client_tls.clone());
        Ok(Self {
            here: state.here,
            config,
            clock,
            state: RefCell::new(state),
            turn: Signal::default(),
            alarms_changed: Signal::default(),
            topic_news: News::default(),
            stopping: Signal::default(),
            read_buffer: RefCell::new(vec![0; READ_BYTES_MAX].into_boxed_slice()),
            http_client,
            handshakes: Handshakes::default(),
            readiness: Rc::new(readiness),
            mailbox,
            turns: Cell::new(0),
            is_hearing: Cell::new(false),
            file_waits: hearing::FileWaits::default(),
        })
    }

    /// A core without others.
    #[cfg(test)]
    fn alone(config: Rc<Config>, clock: Clock, state: State) -> io::Result<Self> {
        let bounds = mailbox::Bounds { batches: 1, bytes: 1 };
        let mailbox = mailbox::between(1, bounds)?.pop().expect("there is one");
        Self::new(config, clock, state, mailbox)
    }

    /// The socket of a connection that is still here.
    pub fn socket_of(&self, key: ConnectionKey) -> Option<Rc<Socket>> {
        self.state.borrow().connections.get(key).map(|connection| connection.socket.clone())
    }

    /// Whether a connection waits for the answer to a publish.
    pub fn is_owed_an_answer(&self, key: ConnectionKey) -> bool {
        let state = self.state.borrow();
        state.connections.get(key).is_some_and(|connection| !connection.answers.is_empty())
    }

    /// How many messages a connection holds: what is in flight to it.
    pub fn held_by(&self, key: ConnectionKey) -> u64 {
        let state = self.state.borrow();
        let subscription = state.connections.get(key).and_then(|there| there.subscription);
        subscription
            .and_then(|reads| {
                let topic = &state.topics.get(reads.topic)?.topic;
                topic.channel(reads.channel).subscriber(reads.subscriber)
            })
            .map_or(0, |subscriber| subscriber.in_flight)
    }

    /// Whether what a connection reads has to be opened.
    pub fn has_layers(&self, key: ConnectionKey) -> bool {
        let state = self.state.borrow();
        state.connections.get(key).is_some_and(|connection| connection.layers.is_some())
    }

    /// Whether nothing more is executed for a connection.
    pub fn is_ending(&self, key: ConnectionKey) -> bool {
        let state = self.state.borrow();
        state.connections.get(key).is_none_or(|connection| connection.life != Life::Open)
    }

    /// Asks a core, this one too, and waits for the answer.
    pub async fn ask(self: &Rc<Self>, to: ShardId, question: Question) -> Answer {
        if to == self.here {
            self.answer(question).await
        } else {
            self.ask_other(to, question).await
        }
    }

    /// Asks another core, and waits for the answer.
    async fn ask_other(self: &Rc<Self>, to: ShardId, question: Question) -> Answer {
        let waiting = {
            let mut state = self.state.borrow_mut();
            let call = state.calls.insert(Call::default());
            state.outboxes.push(to, Request::Ask { call, question });
            Waiting { shard: self.clone(), call }
        };
        waiting.answer().await
    }

    /// Publishes for a task of this core, and waits until the messages are kept.
    ///
    /// # Errors
    /// Why they are not.
    pub async fn publish(
        self: &Rc<Self>,
        topic: TopicName,
        delay: Option<Duration>,
        batch: Batch<Vec<u8>>,
    ) -> Result<(), PublishError> {
        let waiting = {
            let mut state = self.state.borrow_mut();
            let call = state.calls.insert(Call::default());
            let waiter = Waiter::Task(call);
            let batch = Batch { count: batch.count, region: &*batch.region };
            let publish = Publish { waiter, topic, delay, batch };
            let owner = state.placement.owner_of(topic);
            if owner == self.here {
                state.take_publish(self.here, &publish, self.clock.now());
                self.turn.wake();
            } else {
                state.outboxes.publish(owner, &publish);
            }
            Waiting { shard: self.clone(), call }
        };
        match waiting.answer().await {
            Answer::Published(result) => result,
            other => unreachable!("a publish is answered with its result, not {other:?}"),
        }
    }
}

/// A task's place in the list of those that wait; given back when the task ends.
struct Waiting {
    shard: Rc<Shard>,
    call: CallKey,
}

impl Waiting {
    async fn answer(&self) -> Answer {
        poll_fn(|context| {
            let mut state = self.shard.state.borrow_mut();
            let call = state.calls.get_mut(self.call).expect("it is removed by its own drop");
            match call.answer.take() {
                Some(answer) => Poll::Ready(answer),
                None => {
                    call.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shard.state.borrow_mut().calls.remove(self.call);
    }
}
