//! Timers that keep an executor from sleeping over work.
//!
//! Justification: glommio 0.9.0 takes "preempted before anything ran" for "nothing to run", and goes
//! to sleep with tasks that could run. It needs a thread that the system holds up for a moment at the
//! wrong place, so it is rare; but then nothing ends the sleep until bytes come or a timer rings, and
//! a broker that has just started, or an idle core, may have neither. With timers always running
//! such a sleep has an end. A look costs an idle core about 0.1 ms, so they are slow. (Fixed
//! in glommio after 0.9.0: with the next version this file can go.)
//!
//! Knows: nothing.

use std::time::Duration;

/// How long each of the two timers runs. A timer that rings is only set again by its task, which may
/// be what the executor sleeps over: then the other one still runs. They do not ring together.
const PULSES: [Duration; 2] = [Duration::from_millis(1_000), Duration::from_millis(1_700)];

/// Starts the timers of this thread's executor. They end with the executor.
pub fn start() {
    PULSES.into_iter().for_each(start_every);
}

fn start_every(pulse: Duration) {
    glommio::spawn_local(async move {
        loop {
            glommio::timer::sleep(pulse).await;
        }
    })
    .detach();
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test's own thread waits, no core does")]
mod tests {
    use super::*;
    use glommio::{LocalExecutorBuilder, Placement};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    #[test]
    fn an_executor_that_went_to_sleep_over_work_wakes_again() {
        let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for _ in 0..20 {
            let (begun, ended) = (begun.clone(), ended.clone());
            // One that sleeps before its first task begins never wakes: its thread ends with the
            // process, and it does not count.
            std::thread::spawn(move || {
                // Preempted all the time, as if the system held the thread up.
                let executor = LocalExecutorBuilder::new(Placement::Unbound)
                    .preempt_timer(Duration::from_micros(20))
                    .make()
                    .unwrap();
                executor.run(async {
                    // Preempted so often, it takes more than two: each may be slept over itself, and
                    // on a busy machine so were ten in a row.
                    (2..102).map(Duration::from_millis).for_each(start_every);
                    begun.fetch_add(1, Ordering::Relaxed);
                    for _ in 0..500 {
                        glommio::executor().yield_task_queue_now().await;
                    }
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            });
        }
        std::thread::sleep(Duration::from_secs(1));
        let begin = Instant::now();
        let counts = || [&begun, &ended].map(|count| count.load(Ordering::Relaxed));
        let is_over = |[begun, ended]: [usize; 2]| 0 < begun && begun == ended;
        while !is_over(counts()) && begin.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let [begun, ended] = counts();
        assert!(0 < begun, "none began");
        assert_eq!(begun, ended, "some sleep with a task that could run");
    }
}
