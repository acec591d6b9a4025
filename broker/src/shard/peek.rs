//! Somebody looks at the newest messages of a topic, and takes none.
//!
//! What is not in memory is read as for a consumer, and dropped again as soon. Nothing else changes:
//! no channel hears of it.

use super::Shard;
use crate::limits::{PEEK_BODY_BYTES_MAX, PEEK_MESSAGES_MAX};
use crate::log::Newest;
use crate::routing::request::Answer;
use protocol::name::TopicName;
use std::rc::Rc;
use std::time::Duration;

/// Reads of the log for one look: two for each message, and some for files that are replaced
/// meanwhile.
const READS_MAX: usize = 2 * PEEK_MESSAGES_MAX + 100;

/// Before something is read again that was read and is not there: its file is being replaced.
const PAUSE: Duration = Duration::from_millis(10);

impl Shard {
    /// The newest messages of a topic of this core, at most `count`.
    pub(super) async fn peek(self: &Rc<Self>, topic: TopicName, count: usize) -> Answer {
        let key = self.state.borrow().topics.key_of(topic);
        let Some(key) = key else { return Answer::TopicNotFound };
        let mut newest = None;
        let mut last = None;
        for _ in 0..READS_MAX {
            let plan = {
                let mut state = self.state.borrow_mut();
                let hosted = state.topics.get_mut(key).filter(|hosted| !hosted.leaving);
                let Some(hosted) = hosted else { return Answer::TopicNotFound };
                let log = hosted.topic.log_mut();
                let newest =
                    newest.get_or_insert_with(|| Newest::of(log, count, PEEK_BODY_BYTES_MAX));
                log.look_back(newest)
            };
            let Some(plan) = plan else {
                return Answer::Peeked(newest.map(Newest::into_messages).unwrap_or_default());
            };
            if last.replace(plan) == Some(plan) {
                glommio::timer::sleep(PAUSE).await;
            }
            // Behind it comes no turn before the next look: what was read is still there.
            self.clone().read_log(key, plan).await;
        }
        Answer::Failed("the log cannot be read".to_string())
    }
}
