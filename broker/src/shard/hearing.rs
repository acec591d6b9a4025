//! Hears what clients say, and everybody else: the core's ear.
//!
//! One task looks which sockets have news whenever the core has done all it could, and wakes their
//! readers, and takes in what other cores have sent. When there is nothing, it looks again or waits by
//! the ring, as the core has learned to be cheaper ([`Lookout`]). The executor looks at its ring, where
//! timers and files are heard, only when nothing can run; so now and then, however much there is to do,
//! everybody pauses for a moment.

use super::Shard;
use super::lookout::Lookout;
use crate::clock::Tick;
use std::rc::Rc;
use std::time::Duration;

/// How long a core is busy before it looks at its ring.
const UNHEARD_MAX: Duration = Duration::from_micros(200);
/// A pause in which the ring is looked at; it ends as soon as that was done.
pub const MOMENT: Duration = Duration::from_micros(1);

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
            // Somebody may have something to do all the same, and must not keep the ring from being
            // looked at: only it ends this wait.
            shard.is_hearing.set(true);
            sleep(&shard, &mut lookout, here).await;
            shard.is_hearing.set(false);
            shard.mailbox.is_awake();
            heard_at = now();
            continue;
        }
        if here.since(heard_at) < UNHEARD_MAX {
            glommio::executor().yield_now().await;
        } else {
            shard.is_hearing.set(true);
            glommio::timer::sleep(MOMENT).await;
            shard.is_hearing.set(false);
            heard_at = now();
        }
    }
}

async fn sleep(shard: &Shard, lookout: &mut Lookout, begun: Tick) {
    let spent = lookout.is_about_to_try().then(|| shard.clock.processor_time());
    shard.readiness.wait().await;
    let cost = spent.map(|spent| shard.clock.processor_time().saturating_sub(spent));
    lookout.slept(shard.clock.now().tick.since(begun), cost);
}

impl Shard {
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
            glommio::timer::sleep(MOMENT).await;
        } else {
            glommio::executor().yield_now().await;
        }
    }
}
