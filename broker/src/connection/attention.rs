//! How a task of a connection comes to its client's next bytes: it looks for them, or waits.
//!
//! Does not know when which is better: that is [`super::lookout`]'s.

use super::lookout::Lookout;
use crate::shard::Shard;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

/// What becomes of a reader that finds nothing.
#[derive(Debug)]
pub enum Attention<'a, 'b> {
    /// It is woken when there is something.
    Wait(&'a mut Context<'b>),
    /// It looks again by itself.
    Look,
}

/// What was read, and whether others had their turn because it was not there at once.
pub type Read<T> = (T, bool);

/// A moment in which everybody is heard: the executor looks at its ring only when nothing can run.
const MOMENT: Duration = Duration::from_micros(1);

/// Reads what can be found by looking; pending when it must be waited for.
pub async fn look<T>(
    shard: &Shard,
    lookout: &mut Lookout,
    mut read: impl FnMut(&mut Attention<'_, '_>) -> Poll<T>,
) -> Poll<Read<T>> {
    let mut now = shard.clock.now().tick;
    let Some(mut look) = shard.lookouts.begin(lookout, now) else { return Poll::Pending };
    let mut was_there = true;
    loop {
        if let Poll::Ready(value) = read(&mut Attention::Look) {
            look.found(now);
            return Poll::Ready((value, !was_there));
        }
        was_there = false;
        if shard.lookouts.must_hear(now) {
            glommio::timer::sleep(MOMENT).await;
            now = shard.clock.now().tick;
            shard.lookouts.heard(now);
        } else {
            glommio::executor().yield_now().await;
            now = shard.clock.now().tick;
        }
        if look.is_over(now) {
            return Poll::Pending;
        }
    }
}

/// Reads what is there, or else waits for it.
pub async fn wait<T>(
    shard: &Shard,
    lookout: &mut Lookout,
    mut read: impl FnMut(&mut Attention<'_, '_>) -> Poll<T>,
) -> Read<T> {
    let begun = shard.clock.now().tick;
    let spent = lookout.is_about_to_try().then(|| shard.clock.processor_time());
    let mut had_to_wait = false;
    let value = poll_fn(|context| {
        let value = read(&mut Attention::Wait(context));
        had_to_wait |= value.is_pending();
        value
    })
    .await;
    if had_to_wait {
        let now = shard.clock.now().tick;
        if let Some(spent) = spent {
            shard.lookouts.slept(shard.clock.processor_time().saturating_sub(spent));
        }
        lookout.waited(now.since(begun));
        shard.lookouts.heard(now);
    }
    (value, had_to_wait)
}
