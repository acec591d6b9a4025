//! A subscription at one broker, kept up until it is told to stop.
//!
//! Knows: SUB, RDY, FIN, heartbeats, and when to connect again. Does not know: what is done with a
//! message; whoever takes it says so through its [`Receipt`].

use std::time::Duration;

use protocol::message_id::MessageId;
use protocol::name::{ChannelName, TopicName};
use protocol::request;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::address::Address;
use crate::client::connection::{Connection, Heartbeats, Lost, Received};

/// How long a broker may be silent: it sends a heartbeat every 30 seconds, and gives up itself after
/// two.
const SILENCE_MAX: Duration = Duration::from_secs(75);
/// How long to wait at the end for the broker to have read the last FIN.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(2);
/// The first and the longest pause before connecting again; it doubles between them.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// One message, not yet finished.
pub(crate) struct Delivery {
    pub(crate) topic: TopicName,
    pub(crate) body: Vec<u8>,
    pub(crate) receipt: Receipt,
}

/// The duty to say that a message is dealt with. Who drops it leaves the message in flight: it comes
/// again, to this client or another.
pub(crate) struct Receipt {
    id: MessageId,
    finished: mpsc::UnboundedSender<MessageId>,
}

impl Receipt {
    /// Tells the broker that the message needs no other delivery.
    pub(crate) fn finish(self) {
        // When the connection is gone, so is the delivery: the broker will repeat it.
        self.finished.send(self.id).ok();
    }
}

/// What happens to a subscription.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) topic: TopicName,
    pub(crate) address: Address,
    pub(crate) change: Change,
}

/// How a subscription changes.
#[derive(Debug)]
pub(crate) enum Change {
    /// Messages may come.
    Subscribed,
    /// No more messages come. It is tried again after the pause; when that is `None`, never again.
    Lost { lost: Lost, pause: Option<Duration> },
}

/// A subscription, as it is wanted.
#[derive(Clone)]
pub(crate) struct Consumer {
    pub(crate) address: Address,
    pub(crate) topic: TopicName,
    pub(crate) channel: ChannelName,
    /// After how many failures in a row it is given up; `None` for never.
    pub(crate) attempts_max: Option<u32>,
    /// How many messages may be in flight at this broker.
    pub(crate) ready: watch::Receiver<u64>,
    /// Becomes true when the subscription is to end.
    pub(crate) stopping: watch::Receiver<bool>,
    /// Where messages go. When nobody takes them, nothing more is read.
    pub(crate) deliveries: mpsc::Sender<Delivery>,
    pub(crate) events: mpsc::UnboundedSender<Event>,
}

impl Consumer {
    /// Consumes until it is stopped or given up.
    pub(crate) async fn run(mut self) {
        let mut failures = 0;
        loop {
            let mut was_subscribed = false;
            let Err(lost) = self.converse(&mut was_subscribed).await else { return };
            failures = if was_subscribed { 1 } else { failures + 1 };
            let given_up = self.attempts_max.is_some_and(|max| max <= failures);
            let pause = (!given_up).then(|| pause_after(failures));
            self.tell(Change::Lost { lost, pause });
            let Some(pause) = pause else { return };
            tokio::select! {
                () = sleep(pause) => {}
                () = until_true(&mut self.stopping) => return,
            }
        }
    }

    /// One connection from its start to its end. `Ok` when it ended because that was wanted.
    async fn converse(&mut self, was_subscribed: &mut bool) -> Result<(), Lost> {
        let (mut connection, max_ready) = {
            let mut stopping = self.stopping.clone();
            tokio::select! {
                opened = self.subscribe() => opened?,
                () = until_true(&mut stopping) => return Ok(()),
            }
        };
        *was_subscribed = true;
        self.tell(Change::Subscribed);

        let (finished, mut to_finish) = mpsc::unbounded_channel();
        self.ready.mark_changed();
        let mut silent_until = Instant::now() + SILENCE_MAX;
        loop {
            let mut commands = Vec::new();
            tokio::select! {
                received = connection.receive() => {
                    silent_until = Instant::now() + SILENCE_MAX;
                    match received? {
                        Received::Heartbeat => request::nop(&mut commands),
                        Received::Message { id, body } => {
                            let receipt = Receipt { id, finished: finished.clone() };
                            let delivery = Delivery { topic: self.topic, body, receipt };
                            tokio::select! {
                                sent = self.deliveries.send(delivery) => if sent.is_err() {
                                    return Ok(());
                                },
                                () = until_true(&mut self.stopping) => {}
                            }
                        }
                        Received::Error(text) if !closes(&text) => {}
                        Received::Error(text) => return Err(Lost::Refused(text)),
                        Received::Response(_) => {}
                    }
                }
                Some(id) = to_finish.recv() => {
                    request::finish(&mut commands, id);
                    while let Ok(id) = to_finish.try_recv() {
                        request::finish(&mut commands, id);
                    }
                }
                Ok(()) = self.ready.changed() => {
                    let count = *self.ready.borrow_and_update();
                    request::ready(&mut commands, count.min(max_ready));
                }
                () = until_true(&mut self.stopping) => {
                    while let Ok(id) = to_finish.try_recv() {
                        request::finish(&mut commands, id);
                    }
                    return farewell(connection, commands).await;
                }
                () = tokio::time::sleep_until(silent_until) => {
                    return Err(Lost::Broken("has been silent for too long".to_owned()));
                }
            }
            if !commands.is_empty() {
                connection.send(&commands).await?;
            }
        }
    }

    fn tell(&self, change: Change) {
        let event = Event { topic: self.topic, address: self.address.clone(), change };
        // Nobody listens when the whole program ends, and then it does not matter.
        drop(self.events.send(event));
    }

    async fn subscribe(&self) -> Result<(Connection, u64), Lost> {
        let (mut connection, agreement) =
            Connection::open(&self.address, Heartbeats::Answered).await?;
        let mut command = Vec::new();
        request::subscribe(&mut command, self.topic.as_bytes(), self.channel.as_bytes());
        connection.send(&command).await?;
        connection.answer().await?;
        Ok((connection, agreement.max_rdy_count))
    }
}

/// Sends the last FINs and CLS, and waits until the broker has read them: closing at once could
/// throw them away, as messages may still lie unread on our side.
async fn farewell(mut connection: Connection, mut commands: Vec<u8>) -> Result<(), Lost> {
    request::start_close(&mut commands);
    let said = async {
        connection.send(&commands).await?;
        loop {
            match connection.receive().await? {
                Received::Response(answer) if answer == b"CLOSE_WAIT" => return Ok::<(), Lost>(()),
                _ => {}
            }
        }
    };
    // The user wants to go; a broker that does not answer will find out by itself.
    drop(timeout(FAREWELL_PATIENCE, said).await);
    Ok(())
}

/// Whether the broker closes the connection after this error. After a FIN that came too late, it does
/// not: the message comes again.
fn closes(error: &str) -> bool {
    let code = error.split(' ').next().unwrap_or_default();
    !matches!(code, "E_FIN_FAILED" | "E_REQ_FAILED" | "E_TOUCH_FAILED")
}

/// The pause after so many failures in a row.
fn pause_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    PAUSE_MAX.min(PAUSE_MIN * 2_u32.pow(doublings))
}

/// Waits until the flag is true, or nobody can set it any more.
async fn until_true(flag: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone, which also ends what the flag guards.
    drop(flag.wait_for(|is_true| *is_true).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let seconds = [1, 2, 3, 4, 5, 6, 7, 1_000].map(|failures| pause_after(failures).as_secs());
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn only_refusals_of_single_messages_leave_the_connection_open() {
        assert!(!closes("E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight"));
        assert!(closes("E_INVALID cannot SUB in current state"));
        assert!(closes("E_BAD_TOPIC"));
    }
}
