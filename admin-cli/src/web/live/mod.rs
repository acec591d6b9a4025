//! Live rates and short histories, without any other program: what only the page asks for. NSQ has
//! nothing like it.
//!
//! nsqadmin asks every nsqd for its counters every [`INTERVAL`], from the first request below
//! `/api/live` until [`WATCHED_FOR`] after the last one, and keeps [`POINTS_MAX`] rounds: ten
//! minutes. [`FORGOTTEN_AFTER`] the last request all of it is forgotten.
//!
//! Bounds: a series takes 8 bytes a round, 2,400 at most, and its topic or channel up to 700 more for
//! its name and counters, and 32 for each nsqd that has it: 10,000 channels take 31 MB. The first
//! [`SERIES_MAX`](history::SERIES_MAX) topics and channels have one (62 MB), those beyond only show
//! what is now. A round takes [`REQUEST_MAX`] at most, and the pause behind it is as long as it was, up
//! to a second.
//!
//! # Routes
//!
//! All are GET and answer JSON. A first request waits for the first round, and for a new one where the
//! last is older than [`OLD_AFTER`]. Rates are in messages a second, and `null` until there were two
//! rounds. `failures` are the daemons that did not answer in
//! the last round, beside what the others said: `[{"address":"10.0.0.2:4151","reason":"connection
//! refused"}]`. When nobody answered, the status is 200 nevertheless, and everything else is empty.
//!
//! A `series` is `{"depth":[..],"rate":[..]}` with a value for each of `times` (milliseconds since
//! 1970, oldest first) of the same answer, or `null` where nothing is known; it is absent beyond
//! `SERIES_MAX`. `points=` says how many there shall be (30, at most 300; 0 for no series).
//!
//! | route | answer |
//! |---|---|
//! | `/api/live/summary` | `at` (milliseconds since 1970), `interval_ms`, `times`, `nodes`, `failed_nodes`, `topics`, `channels`, `clients`, `depth` (of all topics and channels), `in_flight`, `deferred`, `rate` (published), `finish_rate`, `series`, `failures` |
//! | `/api/live/topics` | a list, each with `topic`, `depth` (of the topic itself), `backlog` (with its channels), `in_flight`, `deferred`, `messages`, `rate`, `finish_rate`, `channels`, `clients`, `nodes`, `paused`, `series` (of `backlog` and `rate`) |
//! | `/api/live/channels` | a list, each with `topic`, `channel`, `depth`, `backend_depth`, `in_flight`, `deferred`, `requeued`, `timed_out`, `messages`, `rate`, `finish_rate`, `clients`, `nodes`, `paused`, `series`; `topic=` for one topic alone, `unread=true` for those that hold messages, are not paused and have no consumer |
//! | `/api/live/nodes` | a list, each with `node` (as in `/nodes/:node`), `hostname`, `version`, `depth`, `in_flight`, `deferred`, `rate`, `finish_rate`, `topics`, `channels`, `clients`, `series`, `error` (why it did not answer, or null) |
//! | `/api/live/topics/:topic` | `at`, `interval_ms`, `times`, `topic` (as in the list), `channels` (all of it, as in their list), `failures`; 404 `TOPIC_NOT_FOUND` |
//! | `/api/live/topics/:topic/:channel` | `at`, `interval_ms`, `times`, `channel`, `failures`; 404 `CHANNEL_NOT_FOUND` |
//! | `/api/live/peek/:topic?n=10` | the newest messages, for administrators: see [`peek`] |
//!
//! A list is `{"at":..,"interval_ms":..,"times":[..],"total":9,"matching":3,"offset":0,"rows":[..],
//! "failures":[..]}`. `search=` keeps the rows whose names contain all its words in any case, a channel's
//! name being `topic/channel`; `sort=` is a key of a row (`depth`), with `order=desc` the largest first;
//! `offset=` and `limit=` (50, at most 1000) cut out a part. What is asked for and makes no sense is 400
//! `INVALID_ARG_...`.

pub(super) mod answers;
mod history;
pub(super) mod peek;
pub(super) mod sampler;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use self::history::History;

/// Between the beginnings of two rounds.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);
/// How many rounds are kept.
pub(super) const POINTS_MAX: usize = 300;
/// How long nsqds are asked after somebody looked.
pub(super) const WATCHED_FOR: Duration = Duration::from_secs(60);
/// How long what was sampled is kept after somebody looked.
pub(super) const FORGOTTEN_AFTER: Duration = Duration::from_secs(900);
/// When what was sampled tells what was and not what is. A round with an nsqd that hangs, and the pause
/// behind it, are shorter.
const OLD_AFTER: Duration = Duration::from_secs(15);
/// How long a round waits for a connection to an nsqd.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(1);
/// How long a round waits for an answer: one nsqd that hangs must not hold up what others show.
pub(super) const REQUEST_MAX: Duration = Duration::from_secs(2);

/// What was sampled, and who looks at it.
#[derive(Default)]
pub(super) struct Live {
    history: RefCell<History>,
    looked_at: Cell<Option<Instant>>,
    /// When the last round ended.
    sampled_at: Cell<Option<Instant>>,
    /// Somebody looks.
    looked: Notify,
    /// A round is over.
    sampled: Notify,
}

impl Live {
    /// Says that somebody looks, and waits until there is something to see.
    async fn look(&self) {
        self.looked_at.set(Some(Instant::now()));
        self.looked.notify_one();
        loop {
            let sampled = self.sampled.notified();
            tokio::pin!(sampled);
            // From here on no round is missed.
            sampled.as_mut().enable();
            if self.sampled_at.get().is_some_and(|at| at.elapsed() < OLD_AFTER) {
                return;
            }
            sampled.await;
        }
    }

    /// Says that a round is over.
    fn end_round(&self) {
        self.sampled_at.set(Some(Instant::now()));
        self.sampled.notify_waiters();
    }

    /// Nobody has looked for long.
    fn forget(&self) {
        *self.history.borrow_mut() = History::default();
        self.looked_at.set(None);
        self.sampled_at.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::Poll;

    /// Whether somebody who looks has something to see at once.
    async fn is_ready(look: &mut Pin<Box<impl Future<Output = ()>>>) -> bool {
        poll_fn(|context| Poll::Ready(look.as_mut().poll(context).is_ready())).await
    }

    async fn is_seen(live: &Live) -> bool {
        is_ready(&mut Box::pin(live.look())).await
    }

    #[tokio::test]
    async fn what_is_old_is_not_shown_as_what_is() {
        let live = Live::default();
        assert!(!is_seen(&live).await, "there was no round");
        live.end_round();
        assert!(is_seen(&live).await);
        let old = Instant::now().checked_sub(OLD_AFTER).expect("a machine runs for longer");
        live.sampled_at.set(Some(old));
        assert!(!is_seen(&live).await);
        // Whoever waits sees the next round.
        let mut look = Box::pin(live.look());
        assert!(!is_ready(&mut look).await);
        live.end_round();
        look.await;
        live.forget();
        assert!(!is_seen(&live).await);
    }
}
