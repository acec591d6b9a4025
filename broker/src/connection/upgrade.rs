//! How TLS and compression begin, behind the answer to IDENTIFY.
//!
//! Rules (NSQ behaviour): the answer goes out as all before it; then TLS begins with its handshake,
//! for which the client has five seconds, and `OK` is said inside it; then compression begins, and
//! `OK` is said inside that. A handshake that fails is refused outside TLS, behind the alert.
//!
//! While one client shakes hands it keeps nobody waiting but itself.

use super::layers::{Broken, Layers};
use super::reader::Reader;
use super::{Connection, Life, Reply};
use crate::command::Upgrade;
use crate::limits::HANDSHAKE_MILLISECONDS;
use futures_lite::FutureExt;
use protocol::refusal::Refusal;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

impl Reader {
    /// Begins the layers that were agreed; false when the connection has to end.
    pub(super) async fn upgrade(&mut self, upgrade: Upgrade) -> bool {
        if upgrade.tls && !self.begin_tls().await {
            return false;
        }
        if upgrade.snappy {
            let begun = self.begin("snappy", |outer, came| Ok(Layers::snappy(outer, came))).await;
            if !begun {
                return false;
            }
            self.with_connection(|connection| connection.answer(Reply::Ok));
        }
        if let Some(level) = upgrade.deflate {
            let name = format!("deflate (level {level})");
            let begun =
                self.begin(&name, |outer, came| Ok(Layers::deflate(outer, came, level))).await;
            if !begun {
                return false;
            }
            self.with_connection(|connection| connection.answer(Reply::Ok));
        }
        self.finish_upgrade();
        true
    }

    async fn begin_tls(&mut self) -> bool {
        // None is offered without settings.
        let Some(settings) = self.shard.config.tls.clone() else { return false };
        if !self.begin("TLS", |_, came| Layers::tls(&settings, came)).await {
            return false;
        }
        match self.shake_hands().await {
            Ok(()) => {
                self.with_connection(|connection| {
                    connection.session.conversation.tls_missing = false;
                    connection.answer(Reply::Ok);
                });
                true
            }
            Err(Broken(reason)) => {
                self.refuse(&reason);
                false
            }
        }
    }

    /// Puts layers in the place of those that are there, when all that they owe was sent.
    async fn begin(
        &mut self,
        name: &str,
        layers: impl FnOnce(Option<Layers>, Vec<u8>) -> Result<Layers, Broken>,
    ) -> bool {
        self.settle().await;
        let came = std::mem::take(&mut self.unread);
        let begun = self.with_connection(|connection| {
            if connection.life != Life::Open {
                return Ok(false);
            }
            tracing::info!(
                "PROTOCOL(V2): [{}] upgrading connection to {name}",
                connection.session.peer
            );
            let outer = connection.layers.take().map(|layers| *layers);
            connection.layers = Some(Box::new(layers(outer, came)?));
            Ok(true)
        });
        match begun {
            Some(Ok(true)) => {
                self.has_layers = true;
                true
            }
            Some(Err(Broken(reason))) => {
                self.refuse(&reason);
                false
            }
            Some(Ok(false)) | None => false,
        }
    }

    async fn shake_hands(&mut self) -> Result<(), Broken> {
        let key = self.key;
        let shard = self.shard.clone();
        let limit = Duration::from_millis(HANDSHAKE_MILLISECONDS);
        // It has a limit of its own, and is no silence. Whoever takes no bytes meanwhile is given up
        // like any other.
        let until = shard.clock.now().tick.plus(limit);
        self.with_connection(|connection| connection.session.heartbeat.heard(until));
        let hands = async {
            loop {
                poll_fn(|context| self.poll_hear(context)).await?;
                // Nobody has to wait for more than one step of those that shake hands, however many
                // they are, and however much they send.
                if shard.handshakes.step(|| self.step_of_handshake()).await? {
                    return Ok(());
                }
            }
        };
        let too_late = async {
            glommio::timer::sleep(limit).await;
            let mut state = shard.state.borrow_mut();
            let ends = state.connections.get_mut(key).map(|connection| {
                let here = connection.socket.local_address();
                format!("read tcp {here}->{}: i/o timeout", connection.session.peer)
            });
            Err(Broken(ends.unwrap_or_default()))
        };
        hands.or(too_late).await
    }

    /// Waits for bytes of the handshake, unless some came that were not looked at.
    fn poll_hear(&self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let mut state = self.shard.state.borrow_mut();
        let gone = || Broken("EOF".to_string());
        let connection = state.connections.get_mut(self.key).ok_or_else(gone)?;
        let Connection { layers: Some(layers), socket, .. } = connection else {
            return Poll::Ready(Err(gone()));
        };
        if layers.has_input() {
            return Poll::Ready(Ok(()));
        }
        let mut buffer = self.shard.read_buffer.borrow_mut();
        Poll::Ready(match ready!(socket.poll_read(context, &mut buffer)) {
            Ok(0) => Err(gone()),
            Ok(length) => {
                layers.keep(&buffer[..length]);
                Ok(())
            }
            Err(error) => Err(Broken(error.to_string())),
        })
    }

    /// A step of the handshake; true when it is over.
    fn step_of_handshake(&self) -> Result<bool, Broken> {
        let shaken = self.with_connection(|connection| {
            let layers = connection.layers.as_mut()?;
            Some(layers.shake_hands(&[]))
        });
        shaken.flatten().unwrap_or_else(|| Err(Broken("EOF".to_string())))
    }

    /// Ends the conversation about layers with a refusal outside TLS. What the failed handshake has
    /// on the wire, an alert, goes before it.
    fn refuse(&mut self, reason: &str) {
        let refusal = Refusal::identify_failed(reason);
        self.has_layers = false;
        self.with_connection(|connection| {
            tracing::error!("[{}] - {}", connection.session.peer, refusal.text());
            if let Some(layers) = connection.layers.take() {
                connection.output = layers.into_wire();
            }
            connection.answer(Reply::Refused(refusal));
        });
        self.finish_upgrade();
    }

    /// Heartbeats go on.
    fn finish_upgrade(&mut self) {
        let now = self.shard.clock.now();
        self.with_connection(|connection| {
            connection.is_upgrading = false;
            connection.session.heartbeat.heard(now.tick);
        });
        self.shard.state.borrow_mut().look_after(self.key, now);
        self.shard.turn.wake();
    }

    /// Does something to the connection, if it is still there, and has what it owes sent.
    fn with_connection<T>(&self, act: impl FnOnce(&mut Connection) -> T) -> Option<T> {
        let mut state = self.shard.state.borrow_mut();
        let result = act(state.connections.get_mut(self.key)?);
        state.queue_to_send(self.key);
        drop(state);
        self.shard.turn.wake();
        Some(result)
    }
}
