//! IDENTIFY: what client and broker agree on.

use crate::clock::Now;
use crate::connection::Reply;
use crate::connection::heartbeat::Heartbeat;
use crate::keys::ConnectionKey;
use crate::shard::state::State;
use protocol::identify::{IdentifyRequest, negotiate};

/// Agrees, or refuses. Only what is built is offered.
pub fn identify(state: &mut State, key: ConnectionKey, body: &[u8], now: Now) {
    let agreed = IdentifyRequest::parse(body)
        .and_then(|request| negotiate(request, &state.config.limits, &state.config.offer));
    let connection = &mut state.connections[key];
    match agreed {
        Ok((settings, answer)) => {
            let session = &mut connection.session;
            session.conversation.heartbeats = settings.heartbeat_interval.is_some();
            session.heartbeat = Heartbeat::start(settings.heartbeat_interval, now.tick);
            session.settings = settings;
            connection.answer(Reply::Response(answer.body));
            state.look_after(key, now);
        }
        Err(refusal) => {
            super::refuse(state, key, refusal);
        }
    }
    state.queue_to_send(key);
}
