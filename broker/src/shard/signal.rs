//! Wakes one task of this core, as often as it was asked to since it last looked.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Signal {
    raised: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Signal {
    /// Lets the task run once more.
    pub fn wake(&self) {
        if !self.raised.replace(true)
            && let Some(waiting) = self.waiting.borrow_mut().take()
        {
            waiting.wake();
        }
    }

    /// Waits until [`Self::wake`] was called since the last wait.
    pub async fn wait(&self) {
        poll_fn(|context| {
            if self.raised.replace(false) {
                return Poll::Ready(());
            }
            *self.waiting.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
