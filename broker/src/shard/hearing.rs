//! Hears what clients say, and everybody else: the core's ear.
//!
//! One task looks which sockets have news whenever the core has done all it could, and wakes their
//! readers, and takes in what other cores have sent. When there is nothing, it looks again, naps or waits
//! by the ring, as the core has learned to be cheaper ([`Lookout`]). The executor looks at its ring, where
//! timers and files are heard, only when nothing can run; so now and then, however much there is to do,
//! everybody pauses for a moment. While somebody waits for a file the core does not nap.

use super::Shard;
use super::breath::breathe;
use super::lookout::{Lookout, NAP_MAX};
use crate::clock::Tick;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// How long a core is busy before it looks at its ring; when it naps then, that comes on top.
const UNHEARD_MAX: Duration = Duration::from_micros(500);
/// The same while somebody waits for a file.
const UNHEARD_MAX_OF_FILES: Duration = Duration::from_micros(200);
/// Before a nap the others have so many turns at most to do what they can.
const TURNS_BEFORE_NAP: u32 = 8;

/// See the head of this file. Never ends.
pub(super) async fn hear(shard: Rc<Shard>) {
    let mut lookout = Lookout::new(shard.config.spin);
    let now = || shard.clock.now().tick;
    let mut heard_at = now();
    loop {
        let has_mail = shard.take_in_mail();
        if !has_mail && shard.mailbox.take_stop() {
            shard.stopping.wake();
        }
        let has_news = 0 < shard.readiness.look() || has_mail;
        let here = now();
        if has_news {
            lookout.found(here);
        } else if !lookout.goes_on(shard.turns.get(), here) {
            if !shard.mailbox.may_sleep() {
                continue;
            }
            if lookout.naps() && here.since(heard_at) < UNHEARD_MAX && shard.may_nap(here).is_some()
            {
                nap(&shard, &mut lookout).await;
                continue;
            }
            // Somebody may have something to do all the same, and must not keep the ring from being
            // looked at: only it ends this wait.
            shard.is_hearing.set(true);
            sleep(&shard, &mut lookout, here).await;
            shard.is_hearing.set(false);
            shard.mailbox.is_awake();
            heard_at = now();
            continue;
        }
        let unheard_max =
            if shard.file_waits.is_any() { UNHEARD_MAX_OF_FILES } else { UNHEARD_MAX };
        if here.since(heard_at) < unheard_max {
            glommio::executor().yield_now().await;
        } else {
            shard.is_hearing.set(true);
            breathe().await;
            shard.is_hearing.set(false);
            heard_at = now();
        }
    }
}

/// Sleeps without the ring, once nobody else can do anything; or does nothing, if
/// there is something to be heard first.
async fn nap(shard: &Shard, lookout: &mut Lookout) {
    // What the others do first may take long, and then nobody needs to ring.
    shard.mailbox.is_awake();
    let are_done = others_are_done().await;
    let begun = shard.clock.now().tick;
    let Some(longest) = shard.may_nap(begun).filter(|_| are_done && shard.mailbox.may_sleep())
    else {
        return;
    };
    let spent = lookout.is_about_to_try().then(|| shard.clock.processor_time());
    let has_news = 0 < shard.readiness.nap(longest);
    let cost = spent.map(|spent| shard.clock.processor_time().saturating_sub(spent));
    shard.mailbox.is_awake();
    lookout.slept(shard.clock.now().tick.since(begun), cost);
    if has_news {
        glommio::executor().yield_now().await;
    }
}

/// Lets the others do what they can. Whether none of them has anything left to do.
async fn others_are_done() -> bool {
    // Who ran is counted when the queue is yielded, so others that ran before this task may be counted
    // only with its next turn: it must have been alone in two of them.
    let executed = || glommio::executor().executor_stats().tasks_executed();
    let mut alone = 0;
    for _ in 0..TURNS_BEFORE_NAP {
        let before = executed();
        glommio::executor().yield_task_queue_now().await;
        alone = if executed() <= before + 1 { alone + 1 } else { 0 };
        if alone == 2 {
            return true;
        }
    }
    false
}

/// Sleeps by the ring.
async fn sleep(shard: &Shard, lookout: &mut Lookout, begun: Tick) {
    let spent = lookout.is_about_to_try().then(|| shard.clock.processor_time());
    shard.readiness.wait().await;
    let cost = spent.map(|spent| shard.clock.processor_time().saturating_sub(spent));
    lookout.slept(shard.clock.now().tick.since(begun), cost);
}

/// How many wait for files, which only the ring tells of.
#[derive(Debug, Default)]
pub struct FileWaits(Rc<Cell<usize>>);

/// Somebody waits for a file, as long as this lives.
#[derive(Debug)]
pub struct FileWait(Rc<Cell<usize>>);

impl FileWaits {
    /// Somebody begins to wait.
    pub fn begin(&self) -> FileWait {
        self.0.set(self.0.get() + 1);
        FileWait(self.0.clone())
    }

    fn is_any(&self) -> bool {
        0 < self.0.get()
    }
}

impl Drop for FileWait {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Shard {
    /// How long a nap may take: until the next alarm. `None` when the ring is to be heard instead.
    fn may_nap(&self, now: Tick) -> Option<Duration> {
        let next = self.state.borrow().alarms.next();
        let longest = next.map_or(NAP_MAX, |at| at.since(now).min(NAP_MAX));
        (!longest.is_zero() && !self.file_waits.is_any()).then_some(longest)
    }

    /// Does what other cores ask for, a mail of each; whether there was one.
    fn take_in_mail(self: &Rc<Self>) -> bool {
        let mails = self.mailbox.take();
        let has_some = !mails.is_empty();
        for (from, mut mail) in mails {
            let now = self.clock.now();
            for request in mail.requests.drain(..) {
                self.take_in(from, request, &mail.bodies, now);
            }
            self.state.borrow_mut().outboxes.give_back(mail);
        }
        has_some
    }

    /// Lets the others have their turn; when it is time for that, those too who are only heard by the
    /// ring.
    pub async fn let_others(&self) {
        if self.is_hearing.get() {
            breathe().await;
        } else {
            glommio::executor().yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glommio::{LocalExecutor, executor, spawn_local};

    #[test]
    fn others_are_done_when_they_did_all_they_can() {
        LocalExecutor::default().run(async {
            assert!(others_are_done().await, "there are none");
            let steps = Rc::new(Cell::new(0));
            let counted = steps.clone();
            // One has another begin.
            spawn_local(async move {
                let further = counted.clone();
                executor().yield_now().await;
                spawn_local(async move {
                    executor().yield_now().await;
                    further.set(further.get() + 1);
                })
                .detach();
                counted.set(counted.get() + 1);
            })
            .detach();
            assert!(others_are_done().await);
            assert_eq!(steps.get(), 2);
        });
    }

    #[test]
    fn nobody_waits_for_ever_for_others_that_are_never_done() {
        LocalExecutor::default().run(async {
            let is_over = Rc::new(Cell::new(false));
            let over = is_over.clone();
            let other = spawn_local(async move {
                while !over.get() {
                    executor().yield_now().await;
                }
            });
            assert!(!others_are_done().await);
            is_over.set(true);
            other.await;
            assert!(others_are_done().await);
        });
    }

    #[test]
    fn files_are_waited_for_until_the_last_came() {
        let waits = FileWaits::default();
        assert!(!waits.is_any());
        let [one, other] = [waits.begin(), waits.begin()];
        drop(one);
        assert!(waits.is_any());
        drop(other);
        assert!(!waits.is_any());
    }
}
