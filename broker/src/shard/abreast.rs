//! The same work for many things, some of them at once.
//!
//! Knows: how many are under way. Does not know: what the work is.

use crate::limits::TOPICS_ABREAST;
use std::cell::RefCell;
use std::rc::Rc;

/// Does `work` for each of `items`, for up to [`TOPICS_ABREAST`] at the same time, and waits until
/// it is done for all.
pub(super) async fn abreast<T: 'static, W: Future<Output = ()> + 'static>(
    items: Vec<T>,
    work: impl Fn(T) -> W + 'static,
) {
    let width = TOPICS_ABREAST.min(items.len());
    let left = Rc::new((RefCell::new(items.into_iter()), work));
    let workers: Vec<_> = (0..width)
        .map(|_| {
            let left = left.clone();
            glommio::spawn_local(async move {
                let (items, work) = &*left;
                loop {
                    let item = items.borrow_mut().next();
                    let Some(item) = item else { return };
                    work(item).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glommio::{LocalExecutorBuilder, Placement};
    use std::cell::Cell;

    #[test]
    fn each_item_is_worked_on_once_and_never_too_many_at_once() {
        let executor = LocalExecutorBuilder::new(Placement::Unbound)
            .io_memory(64 << 10)
            .make()
            .expect("io_uring must be allowed here");
        let count = TOPICS_ABREAST * 3 + 1;
        let (done, most) = executor.run(async move {
            crate::pulse::start();
            let done = Rc::new(RefCell::new(Vec::new()));
            let (busy, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let (all, high) = (done.clone(), most.clone());
            abreast((0..count).collect(), move |item| {
                let (busy, high, all) = (busy.clone(), high.clone(), all.clone());
                async move {
                    busy.set(busy.get() + 1);
                    high.set(high.get().max(busy.get()));
                    glommio::executor().yield_now().await;
                    busy.set(busy.get() - 1);
                    all.borrow_mut().push(item);
                }
            })
            .await;
            let mut done = done.take();
            done.sort_unstable();
            (done, most.get())
        });
        assert_eq!(done, (0..count).collect::<Vec<_>>());
        assert_eq!(most, TOPICS_ABREAST);
    }
}
