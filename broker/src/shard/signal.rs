//! Wakes tasks of this core: one that does something whenever it is asked to, or all that wait until
//! something is so.
//!
//! Does not know: what for.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Wakes one task, as often as it was asked to since it last looked.
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

/// Wakes all tasks that wait.
#[derive(Debug, Default)]
pub struct News {
    /// At most one for each task that waits, since none looks again before all were woken.
    waiting: RefCell<Vec<Waker>>,
}

impl News {
    /// Something has changed: whoever waits looks again.
    pub fn spread(&self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// Looks now and whenever something has changed, until there is an answer.
    pub async fn until<T>(&self, look: impl Fn() -> Option<T>) -> T {
        poll_fn(|context| match look() {
            Some(answer) => Poll::Ready(answer),
            None => {
                self.waiting.borrow_mut().push(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}
