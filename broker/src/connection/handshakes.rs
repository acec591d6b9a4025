//! Handshakes of TLS take turns on their core.
//!
//! The first step of one costs a signature, up to a millisecond with a large key. A thousand clients
//! that come at the same moment would keep a core from everything else for a second; so one step is
//! taken at a time, and between two of them those have their turn whose bytes have arrived: messages
//! wait for one signature, whoever comes.
//!
//! Knows: whose turn it is. Does not know: what a handshake is.

use crate::shard::breath::breathe;
use glommio::sync::Semaphore;
use std::fmt;

/// One per core. Those that wait have a place each, in the order in which they came; they are as many
/// as connections.
pub struct Handshakes(Semaphore);

impl Default for Handshakes {
    fn default() -> Self {
        Self(Semaphore::new(1))
    }
}

impl fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshakes").finish_non_exhaustive()
    }
}

impl Handshakes {
    /// Takes a step when it is its turn, and lets the others of the core have theirs before the next.
    pub async fn step<T>(&self, step: impl FnOnce() -> T) -> T {
        let _turn = self.0.acquire_permit(1).await.expect("it is never closed");
        let result = step();
        breathe().await;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, spawn_local, timer};
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;

    #[test]
    fn between_two_steps_come_others_that_wait_for_the_ring() {
        let executor: LocalExecutor = LocalExecutorBuilder::new(Placement::Unbound).make().unwrap();
        executor.run(async {
            let handshakes = Rc::new(Handshakes::default());
            let steps = Rc::new(RefCell::new(Vec::new()));
            for number in 0..100 {
                let (handshakes, steps) = (handshakes.clone(), steps.clone());
                spawn_local(async move {
                    handshakes.step(|| steps.borrow_mut().push(number)).await;
                })
                .detach();
            }
            // Comes by the ring, as a client's bytes do.
            timer::sleep(Duration::from_micros(1)).await;
            let before = steps.borrow().len();
            assert!(before < 50, "{before} steps came before");
            while steps.borrow().len() < 100 {
                timer::sleep(Duration::from_micros(100)).await;
            }
            assert_eq!(*steps.borrow(), (0..100).collect::<Vec<_>>(), "they come in order");
        });
    }

    #[test]
    fn a_turn_goes_on_when_somebody_who_waited_for_it_has_gone() {
        let executor: LocalExecutor = LocalExecutorBuilder::new(Placement::Unbound).make().unwrap();
        executor.run(async {
            let handshakes = Rc::new(Handshakes::default());
            let step = |name: &'static str| {
                let handshakes = handshakes.clone();
                spawn_local(async move { handshakes.step(|| name).await })
            };
            let (first, gone, last) = (step("first"), step("gone"), step("last"));
            // A connection whose time is over.
            gone.cancel().await;
            assert_eq!((first.await, last.await), ("first", "last"));
        });
    }
}
