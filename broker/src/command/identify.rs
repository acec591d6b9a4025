//! IDENTIFY: what client and broker agree on.

use super::Step;
use crate::clock::Now;
use crate::connection::Reply;
use crate::connection::heartbeat::Heartbeat;
use crate::keys::ConnectionKey;
use crate::shard::state::State;
use protocol::identify::{Answer, IdentifyRequest, negotiate};

/// The layers that begin behind the answer to IDENTIFY, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// TLS.
    pub tls: bool,
    /// Snappy. Never together with deflate.
    pub snappy: bool,
    /// The level of deflate, 1 to 9.
    pub deflate: Option<u32>,
}

/// Agrees, or refuses.
pub fn identify(state: &mut State, key: ConnectionKey, body: &[u8], now: Now) -> Step {
    let agreed = IdentifyRequest::parse(body)
        .and_then(|request| negotiate(request, &state.config.limits, &state.config.offer));
    match agreed {
        Ok((settings, answer)) => {
            let Answer { body, tls, snappy, deflate_level: deflate } = answer;
            let connection = &mut state.connections[key];
            let session = &mut connection.session;
            session.conversation.heartbeats = settings.heartbeat_interval.is_some();
            session.heartbeat = Heartbeat::start(settings.heartbeat_interval, now.tick);
            session.settings = settings;
            session.identified = true;
            connection.answer(Reply::Response(body));
            // From here until the last layer is there.
            connection.is_upgrading = tls || snappy || deflate.is_some();
            let is_upgrading = connection.is_upgrading;
            state.look_after(key, now);
            state.queue_to_send(key);
            if is_upgrading {
                Step::Upgrade(Upgrade { tls, snappy, deflate })
            } else {
                Step::ReadOn
            }
        }
        Err(refusal) => super::refuse(state, key, refusal),
    }
}
