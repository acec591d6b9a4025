//! The life of one core, from its start to its end.

use super::Shard;
use super::abreast::abreast;
use super::departure::FIRST;
use super::doors::Doors;
use super::state::State;
use crate::clock::{Clock, Tick};
use crate::config::Config;
use crate::connection::socket::Socket;
use crate::limits::{BLOCKING_THREADS, MAILBOX_BATCHES_MAX, MAILBOX_BYTES_MAX};
use crate::routing::mailbox::{self, Bounds, Unclaimed};
use crate::routing::outbox::Mail;
use crate::routing::placement::{Placement, ShardId};
use crate::routing::request::Door;
use crate::topic::catalogue::Catalogue;
use futures_lite::FutureExt;
use glommio::{CpuSet, LocalExecutorPoolBuilder, PoolPlacement, PoolThreadHandles};
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What all cores are started with.
#[derive(Debug)]
pub struct Start {
    /// How the broker was started.
    pub config: Config,
    /// The ports.
    pub doors: Doors,
    /// What `nsqd.dat` says.
    pub catalogue: Catalogue,
    /// Becomes readable when the broker is to stop.
    pub stop: std::os::unix::net::UnixStream,
}

/// Runs the broker until it is told to stop.
///
/// # Errors
/// A sentence for the operator, when a core cannot start.
pub fn run(start: Start, processors: CpuSet, clock: Clock) -> Result<(), String> {
    let Start { config, doors, catalogue, stop } = start;
    let shards = usize::from(config.shards);
    let bounds = Bounds { batches: MAILBOX_BATCHES_MAX, bytes: MAILBOX_BYTES_MAX };
    let mailboxes = mailbox::between(shards, bounds)
        .map_err(|error| format!("failed to connect the shards - {error}"))?;
    // Never changed: the first core works with descriptors of its own.
    let first = Arc::new(FirstCore { doors, stop });
    let mailboxes = Arc::new(Unclaimed::new(mailboxes));
    let placement = if shards <= processors.len() {
        PoolPlacement::MaxSpread(shards, Some(processors))
    } else {
        // More shards than processors only makes sense to try things out; they share.
        PoolPlacement::Unbound(shards)
    };
    let started = Arc::new(AtomicUsize::new(0));
    let count = started.clone();
    let (ended, outcomes) = mpsc::channel();
    let threads = LocalExecutorPoolBuilder::new(placement)
        .name("shard")
        // Only for O_DIRECT files, of which there are none.
        .io_memory(64 << 10)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(BLOCKING_THREADS))
        .on_all_shards(move || async move {
            let outcome = one_core(config, catalogue, first, mailboxes, clock, count).await;
            // Nobody listens any more when another core has failed: the process ends.
            ended.send(outcome).ok();
        })
        .map_err(|error| format!("failed to start the shards - {error}"))?;
    wait_for_start(&threads, &outcomes, &started, shards)?;
    // A core that fails ends all: the others would wait for its answers for ever. What they have
    // acknowledged is kept, as it is whenever the process is killed.
    for _ in 0..shards {
        outcomes.recv().map_err(|_| "a shard is gone".to_string())??;
    }
    threads
        .join_all()
        .into_iter()
        .try_for_each(|result| result.map_err(|error| format!("a shard stopped - {error}")))
}

/// Waits until all shards have found each other. A shard that cannot start would leave the others
/// waiting for it for ever, deaf to signals.
#[expect(clippy::disallowed_methods, reason = "the main thread has nothing else to do")]
#[expect(clippy::disallowed_types, reason = "the same")]
fn wait_for_start(
    threads: &PoolThreadHandles<()>,
    outcomes: &mpsc::Receiver<Result<(), String>>,
    started: &AtomicUsize,
    shards: usize,
) -> Result<(), String> {
    let begin = Instant::now();
    while started.load(Ordering::Relaxed) < shards {
        if let Ok(outcome) = outcomes.try_recv() {
            return outcome;
        }
        if threads.handles().iter().any(JoinHandle::is_finished) {
            return Err("a shard could not start: most often the limit of locked memory \
                        (RLIMIT_MEMLOCK) is too low, or a broker that ended just now still holds \
                        its share; raise it with `ulimit -l`, with `LimitMEMLOCK=infinity` in a \
                        systemd unit, or with `--ulimit memlock=-1` for a container"
                .to_string());
        }
        if START_LIMIT < begin.elapsed() {
            return Err(format!(
                "the shards did not start within {} s: the machine is overloaded, or the runtime \
                 hangs; start again",
                START_LIMIT.as_secs()
            ));
        }
        std::thread::sleep(BETWEEN_START_LOOKS);
    }
    Ok(())
}

/// How long the shards may take to find each other, before they look at any file. They take
/// milliseconds; a broker that never serves must end, so that it is started again.
const START_LIMIT: Duration = Duration::from_secs(60);
const BETWEEN_START_LOOKS: Duration = Duration::from_millis(5);

struct FirstCore {
    doors: Doors,
    stop: std::os::unix::net::UnixStream,
}

async fn one_core(
    config: Config,
    catalogue: Catalogue,
    first: Arc<FirstCore>,
    mailboxes: Arc<Unclaimed<Mail>>,
    clock: Clock,
    started: Arc<AtomicUsize>,
) -> Result<(), String> {
    crate::pulse::start();
    let mailbox = mailboxes.claim().ok_or("there are more shards than mailboxes")?;
    let here = mailbox.here();
    let placement = Placement::over(config.shards);
    let config = Rc::new(config);
    // Differs from start to start and from core to core: the base of new topics' message ids.
    let random = (clock.now().wall.0.cast_unsigned() ^ u64::from(here.0) << 48)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let state = State::new(here, placement, config.clone(), random);
    let shard = Rc::new(
        Shard::new(config, clock, state, mailbox)
            .map_err(|error| format!("failed to watch sockets - {error}"))?,
    );
    // No file is looked at before all have started.
    started.fetch_add(1, Ordering::Relaxed);
    while started.load(Ordering::Relaxed) < usize::from(shard.config.shards) {
        glommio::timer::sleep(BETWEEN_START_LOOKS).await;
    }
    shard.recover(Rc::new(catalogue)).await?;
    shard.state.borrow_mut().take_stock();
    shard.turn.wake();

    for to in placement.all().filter(|&to| to != here) {
        glommio::spawn_local(carry(shard.clone(), to)).detach();
    }
    glommio::spawn_local(end_turns(shard.clone())).detach();
    glommio::spawn_local(ring(shard.clone())).detach();
    glommio::spawn_local(super::hearing::hear(shard.clone())).detach();
    if here == FIRST {
        let again = |error| format!("failed to hand the ports to the first shard - {error}");
        let stop = first.stop.try_clone().map_err(again)?;
        glommio::spawn_local(wait_for_stop(shard.clone(), stop)).detach();
        shard.open(first.doors.try_clone().map_err(again)?);
    }
    shard.stopping.wait().await;
    shard.stop().await;
    // They know it from their mailboxes, unless those were full.
    shard.mailbox.tell_to_stop();
    Ok(())
}

impl Shard {
    /// Lets clients in: what was recovered is registered and served from now on.
    pub(super) fn open(self: &Rc<Self>, doors: Doors) {
        crate::lookup::start(self);
        glommio::spawn_local(super::statsd::push(self.clone())).detach();
        glommio::spawn_local(self.clone().accept(doors.tcp, Door::Tcp)).detach();
        if let Some(http) = doors.http {
            glommio::spawn_local(self.clone().accept(http, Door::Http)).detach();
        }
        if let Some(https) = doors.https {
            glommio::spawn_local(self.clone().accept(https, Door::Https)).detach();
        }
    }

    /// Ends this core's work so that nothing is lost.
    pub(super) async fn stop(self: &Rc<Self>) {
        {
            let mut state = self.state.borrow_mut();
            state.stopping = true;
            let now = self.clock.now();
            // What was taken is written before connections are closed.
            state.end_turn(now);
        }
        // And answered.
        self.finish_syncs().await;
        let keys: Vec<_> = {
            let mut state = self.state.borrow_mut();
            state.connections.values_mut().for_each(crate::connection::Connection::die);
            state.topics.iter().map(|(key, _)| key).collect()
        };
        let shard = self.clone();
        abreast(keys, move |key| {
            let shard = shard.clone();
            async move {
                let now = shard.clock.now();
                shard.folder_of(key).await;
                shard.state.borrow_mut().commit(key, now);
                // A failure is said there.
                shard.write_checkpoint(key).await.ok();
            }
        })
        .await;
        // A folder may have been opened only now.
        self.finish_syncs().await;
        if self.here == FIRST {
            self.write_list().await;
        }
    }
}

/// Ends a turn whenever something happened, and starts what the turn left to do.
pub(super) async fn end_turns(shard: Rc<Shard>) {
    loop {
        shard.turn.wait().await;
        let now = shard.clock.now();
        shard.state.borrow_mut().keep(now);
        // A sync begins before many are answered: that takes as long as the sync does.
        shard.start_jobs();
        let (first_changed, is_done) = {
            let mut state = shard.state.borrow_mut();
            state.hand_out(now);
            if state.followed.is_answered() {
                state.note_publish(shard.clock.now());
            }
            (state.alarms.take_first_changed(), state.work.is_empty())
        };
        shard.turns.set(shard.turns.get() + 1);
        if first_changed {
            shard.alarms_changed.wake();
        }
        shard.start_jobs();
        if !is_done {
            // A client took all it was sent, and can take more; the others have their turn first.
            shard.turn.wake();
            shard.let_others().await;
        }
    }
}

/// Ends a turn whenever an alarm rings.
pub(super) async fn ring(shard: Rc<Shard>) {
    loop {
        let next = shard.state.borrow().alarms.next();
        match next {
            None => shard.alarms_changed.wait().await,
            Some(Tick(at)) => {
                let now = shard.clock.now().tick;
                let sleep = glommio::timer::sleep(Tick(at).since(now).max(ALARM_GRAIN));
                let rang = async {
                    sleep.await;
                    true
                };
                let changed = async {
                    shard.alarms_changed.wait().await;
                    false
                };
                if rang.or(changed).await {
                    shard.turn.wake();
                    // The turn takes the alarm out before this task looks again.
                    glommio::executor().yield_now().await;
                }
            }
        }
    }
}

/// Alarms closer together than this ring together: never early, at most so much late.
const ALARM_GRAIN: Duration = Duration::from_millis(1);

/// Carries mails to another core. What it has no room for stays in the outbox, where
/// publishers wait for it.
pub(super) async fn carry(shard: Rc<Shard>, to: ShardId) {
    loop {
        while !shard.mailbox.has_room(to) {
            glommio::timer::sleep(BETWEEN_SENDS).await;
        }
        let (mail, bytes) =
            poll_fn(|context| match shard.state.borrow_mut().outboxes.take(to, context.waker()) {
                Some(taken) => Poll::Ready(taken),
                None => Poll::Pending,
            })
            .await;
        if shard.mailbox.send(to, mail, bytes).is_err() {
            // One that has stopped needs nothing any more: this core is stopping too.
            return;
        }
    }
}

/// How long a courier waits for a core that has too much to take in.
const BETWEEN_SENDS: Duration = Duration::from_micros(100);

/// Tells all cores to stop when the process is told to.
async fn wait_for_stop(shard: Rc<Shard>, stop: std::os::unix::net::UnixStream) {
    // Any stream of bytes can be waited for as a socket of ours.
    let stop = std::net::TcpStream::from(OwnedFd::from(stop));
    if let Ok(socket) = Socket::adopt(stop, &shard.readiness) {
        // Whatever it is, a byte or an error: the signal's pipe is used for nothing else.
        let read = poll_fn(|context| socket.poll_read(context, &mut [0])).await;
        tracing::debug!(?read, "told to stop");
    }
    shard.stop_all();
}
