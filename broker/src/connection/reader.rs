//! Reads what a client says and has it executed, in order, until one of the two has enough.
//!
//! One task a connection. Bytes are read into a buffer that all connections of the core share, and
//! executed from there; only what is left of an unfinished command is kept with the connection.
//! Where there are layers, what they open is gathered with the connection instead, in bounded steps.

use super::handoff::Traveller;
use super::layers::Opened;
use super::listening::{Change, Listening};
use super::{Life, Reply};
use crate::clock::Now;
use crate::command::{self, Step, Subscribed};
use crate::keys::ConnectionKey;
use crate::routing::placement::ShardId;
use crate::routing::request::Request;
use crate::shard::Shard;
use protocol::decoder::Decoder;
use protocol::name::{ChannelName, TopicName};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// How long a consumer waits that cannot be moved to the core of its topic.
const MOVE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Serves a connection of this core until it ends or moves. `unread` is what it brought along.
pub async fn serve(shard: Rc<Shard>, key: ConnectionKey, unread: Vec<u8>) {
    let decoder = Decoder::new(shard.config.limits.clone());
    let has_layers = shard.has_layers(key);
    let listening = Listening::default();
    let mut reader = Reader { shard, key, decoder, unread, has_layers, refused: false, listening };
    let mut step = if reader.unread.is_empty() { Step::ReadOn } else { reader.execute_unread() };
    loop {
        step = match step {
            Step::ReadOn | Step::End => {
                if step == Step::End && !reader.refused {
                    reader.refused = true;
                    // It will finish nothing, so it must not hold messages until they time out.
                    reader.shard.stop_consuming(key);
                }
                // Those that are ready have their turn, and the turn ends, before more is read.
                reader.shard.let_others().await;
                match reader.read_and_execute().await {
                    Some(step) => step,
                    None => break,
                }
            }
            Step::Wait { outbox } => {
                reader.wait_for_room(outbox).await;
                reader.execute_unread()
            }
            Step::Move(to) => {
                if reader.depart(to).await {
                    return;
                }
                reader.execute_unread()
            }
            Step::Authorize(reason) => {
                // It is large, and most connections never need it.
                Box::pin(reader.shard.authorize(key, reason)).await;
                reader.execute_unread()
            }
            Step::Upgrade(upgrade) => {
                if reader.upgrade(upgrade).await {
                    reader.execute_unread()
                } else {
                    Step::End
                }
            }
            Step::Subscribe(topic, channel) => {
                reader.subscribe(topic, channel).await;
                reader.execute_unread()
            }
        };
    }
    reader.say_the_last().await;
    reader.shard.leave(key);
}

/// One connection's reader.
pub(super) struct Reader {
    pub(super) shard: Rc<Shard>,
    pub(super) key: ConnectionKey,
    decoder: Decoder,
    /// The beginning of a command whose end has not come, and what could not be executed yet.
    pub(super) unread: Vec<u8>,
    /// What is read has to be opened.
    pub(super) has_layers: bool,
    /// Nothing more is executed: the client was refused, which it may not have been told yet.
    refused: bool,
    /// When it is listened to. Layers are heard at once.
    listening: Listening,
}

/// What became of a connection that was to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Departed {
    /// It is on its way.
    Gone,
    /// It goes on here: it ends, or it is a publisher that can do without.
    Stays,
    /// No descriptor is left for it, and a consumer has nothing to do here.
    MustWait,
}

impl Reader {
    /// Waits for bytes and executes them; `None` at the end of the stream.
    async fn read_and_execute(&mut self) -> Option<Step> {
        if let Some(pause) = self.listening.pause() {
            glommio::timer::sleep(pause).await;
            self.shard.socket_of(self.key)?.may_have_come();
            let read = poll_fn(|context| self.poll_read_and_execute(context));
            if let Some(step) = futures_lite::future::poll_once(read).await {
                return step;
            }
            let change = self.listening.hear_at_once();
            self.listen(change).ok()?;
        }
        poll_fn(|context| self.poll_read_and_execute(context)).await
    }

    fn poll_read_and_execute(&mut self, context: &mut Context<'_>) -> Poll<Option<Step>> {
        if self.has_layers {
            return self.poll_open_and_execute(context);
        }
        let shard = self.shard.clone();
        let Some(socket) = shard.socket_of(self.key) else { return Poll::Ready(None) };
        let mut buffer = shard.read_buffer.borrow_mut();
        let bytes = match ready!(socket.poll_read(context, &mut buffer)) {
            Ok(0) | Err(_) => return Poll::Ready(None),
            Ok(length) => &buffer[..length],
        };
        if self.refused || shard.is_ending(self.key) {
            return Poll::Ready(Some(Step::End));
        }
        let now = shard.clock.now();
        let step = if self.unread.is_empty() {
            let (consumed, step) = execute(&shard, self.key, &mut self.decoder, bytes, now);
            self.unread.extend_from_slice(&bytes[consumed..]);
            step
        } else {
            self.unread.extend_from_slice(bytes);
            self.execute_unread()
        };
        let change = if shard.is_owed_an_answer(self.key) {
            self.listening.hear_at_once()
        } else {
            self.listening.heard(bytes.len(), || shard.held_by(self.key), now.tick)
        };
        Poll::Ready(self.listen(change).ok().map(|()| step))
    }

    /// Changes whether what comes wakes this reader.
    fn listen(&self, change: Change) -> io::Result<()> {
        if change == Change::Nothing {
            return Ok(());
        }
        let Some(socket) = self.shard.socket_of(self.key) else { return Ok(()) };
        if change == Change::Mute { socket.mute() } else { socket.unmute() }
    }

    /// As [`Self::poll_read_and_execute`], through the layers.
    fn poll_open_and_execute(&mut self, context: &mut Context<'_>) -> Poll<Option<Step>> {
        let shard = self.shard.clone();
        let opened = {
            let mut state = shard.state.borrow_mut();
            let Some(connection) = state.connections.get_mut(self.key) else {
                return Poll::Ready(None);
            };
            let Some(layers) = &mut connection.layers else { return Poll::Ready(None) };
            let mut buffer = shard.read_buffer.borrow_mut();
            let socket = &connection.socket;
            let opened = ready!(socket.poll_open(context, &mut buffer, layers, &mut self.unread));
            if let Err(error) = &opened
                && error.kind() == io::ErrorKind::InvalidData
                && connection.life == Life::Open
            {
                let peer = connection.session.peer;
                tracing::error!("client({peer}) - failed to read command - {error}");
                connection.break_off();
            }
            // One that was broken off has nothing more to do than to be closed.
            if !connection.has_sent_all() || connection.life == Life::Ending {
                state.queue_to_send(self.key);
                shard.turn.wake();
            }
            opened
        };
        let is_broken = matches!(&opened, Err(error) if error.kind() == io::ErrorKind::InvalidData);
        if !is_broken && !matches!(opened, Ok(Opened::Bytes | Opened::NeedsInput)) {
            return Poll::Ready(None);
        }
        if is_broken || self.refused || shard.is_ending(self.key) {
            // What still comes is thrown away as it is.
            self.has_layers = false;
            self.unread = Vec::new();
            return Poll::Ready(Some(Step::End));
        }
        Poll::Ready(Some(self.execute_unread()))
    }

    fn execute_unread(&mut self) -> Step {
        let now = self.shard.clock.now();
        let (consumed, step) = execute(&self.shard, self.key, &mut self.decoder, &self.unread, now);
        self.unread.drain(..consumed);
        if self.unread.is_empty() {
            // A large command came in pieces; its room is not kept for the next one.
            self.unread = Vec::new();
        }
        step
    }

    /// At the end of the stream: a client that only closed its sending half is answered what it
    /// is owed (NSQ behaviour). A broken connection is owed nothing.
    async fn say_the_last(&mut self) {
        self.shard.stop_consuming(self.key);
        if let Some(refusal) = self.decoder.refuse_truncated(&self.unread)
            && !self.refused
        {
            let mut state = self.shard.state.borrow_mut();
            if let Some(connection) = state.connections.get_mut(self.key) {
                connection.answer(Reply::Refused(refusal));
                state.queue_to_send(self.key);
            }
            drop(state);
            self.shard.turn.wake();
        }
        self.settle().await;
    }

    /// Waits until everything the client is owed was sent, or the connection broke.
    pub(super) async fn settle(&self) {
        poll_fn(|context| {
            let mut state = self.shard.state.borrow_mut();
            match state.connections.get_mut(self.key) {
                Some(connection) if connection.owes_something() => {
                    connection.reader = Some(context.waker().clone());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        })
        .await;
    }

    /// Waits until answers and publishes have room again, or the connection ends.
    async fn wait_for_room(&self, mut outbox: Option<ShardId>) {
        poll_fn(|context| {
            let mut state = self.shard.state.borrow_mut();
            if let Some(to) = outbox.take() {
                state.outboxes.wait(to, context.waker().clone());
                return Poll::Pending;
            }
            match state.connections.get_mut(self.key) {
                Some(connection) if connection.life == Life::Open && connection.must_wait() => {
                    connection.reader = Some(context.waker().clone());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        })
        .await;
    }

    /// Moves the connection to another core when all it is owed was sent; false when it ended
    /// first, or cannot be moved now.
    async fn depart(&mut self, to: ShardId) -> bool {
        self.settle().await;
        let departed = self.leave_for(to);
        if departed == Departed::MustWait {
            glommio::timer::sleep(MOVE_AGAIN_AFTER).await;
        }
        departed == Departed::Gone
    }

    fn leave_for(&mut self, to: ShardId) -> Departed {
        let mut state = self.shard.state.borrow_mut();
        let Some(connection) = state.connections.get_mut(self.key) else { return Departed::Stays };
        if connection.life != Life::Open {
            return Departed::Stays;
        }
        let stream = match connection.socket.duplicate() {
            Ok(stream) => stream,
            Err(error) => {
                tracing::error!(
                    "failed to move client({}) to another core - {error}",
                    connection.session.peer
                );
                let may_stay = connection.session.following.stay();
                return if may_stay { Departed::Stays } else { Departed::MustWait };
            }
        };
        let connection = state.connections.remove(self.key).expect("it was there");
        state.followed.left(self.key);
        let unread = std::mem::take(&mut self.unread);
        let layers = connection.layers;
        let traveller = Traveller { stream, session: connection.session, layers, unread };
        state.outboxes.push(to, Request::Arrive(Box::new(traveller)));
        state.report_load();
        Departed::Gone
    }

    /// Makes the connection a consumer, and answers when its channel is kept.
    async fn subscribe(&mut self, topic: TopicName, channel: ChannelName) {
        let now = self.shard.clock.now();
        let subscribed = {
            let mut state = self.shard.state.borrow_mut();
            command::subscribe(&mut state, self.key, topic, channel, now)
        };
        match subscribed {
            Subscribed::Refused => return,
            Subscribed::ToNew => self.shard.keep_channel(topic, channel).await,
            Subscribed::ToKnown => {}
        }
        let mut state = self.shard.state.borrow_mut();
        if let Some(connection) = state.connections.get_mut(self.key) {
            connection.answer(Reply::Ok);
            state.queue_to_send(self.key);
        }
    }
}

fn execute(
    shard: &Shard,
    key: ConnectionKey,
    decoder: &mut Decoder,
    input: &[u8],
    now: Now,
) -> (usize, Step) {
    let result = command::execute(&mut shard.state.borrow_mut(), key, decoder, input, now);
    shard.turn.wake();
    result
}
