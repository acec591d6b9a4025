//! A pause in which the core looks at its ring.
//!
//! To yield is not enough for that: the executor looks at its ring, where timers, files and new clients
//! are heard, only when nothing can run, or after a tenth of a second.

use glommio::timer::Timer;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::time::Duration;

/// The pause ends as soon as the ring was looked at.
const SHORTEST: Duration = Duration::from_micros(1);

/// Lets others have their turn, those too who are only heard by the ring, once nobody else can run.
pub async fn breathe() {
    let mut longest = SHORTEST;
    let mut has_waited = false;
    while !has_waited {
        let mut pause = Timer::new(longest);
        poll_fn(|context| {
            let over = Pin::new(&mut pause).poll(context);
            has_waited |= over.is_pending();
            over
        })
        .await;
        // A timer that is over before it is asked for the first time waits for nothing.
        longest *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glommio::LocalExecutor;
    use std::task::Poll;

    #[test]
    fn a_breath_always_waits() {
        LocalExecutor::default().run(async {
            for breath in 0..10_000 {
                let mut pause = Box::pin(breathe());
                let is_over =
                    poll_fn(|context| Poll::Ready(pause.as_mut().poll(context).is_ready()));
                assert!(!is_over.await, "breath {breath}");
                pause.await;
            }
        });
    }
}
