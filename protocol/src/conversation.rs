//! What a client may say at which point of its conversation.
//!
//! Knows: which verbs each phase permits. Does not know: parameters, bodies, authorization, or who
//! moves a conversation from one phase to the next.

use crate::command::Verb;
use crate::refusal::Refusal;

/// How far a conversation has come. It only moves forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Connected, not subscribed: a publisher stays here for good.
    #[default]
    Fresh,
    /// SUB was answered: messages may come.
    Subscribed,
    /// CLS was answered: no more messages, but what is in flight may still be finished.
    Closing,
}

impl Phase {
    /// The phase as the `state` of a client in `/stats` shows it: NSQ's own numbers, of which 1
    /// (disconnected) and 2 (connected) are never seen.
    pub fn number(self) -> u8 {
        match self {
            Self::Fresh => 0,
            Self::Subscribed => 3,
            Self::Closing => 4,
        }
    }
}

/// What decides whether a verb is legal now. A value of a few bytes: the connection owns it, and
/// hands a copy to every call of the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// How far the conversation has come.
    pub phase: Phase,
    /// Whether the client has heartbeats. Without them it may not subscribe, as nobody would notice
    /// that it is gone.
    pub heartbeats: bool,
    /// Whether the server insists on TLS and this connection has none yet. Then IDENTIFY alone is
    /// legal, since it is the way to TLS.
    pub tls_missing: bool,
}

impl Conversation {
    /// A conversation that begins: nothing said, heartbeats on, TLS not asked for.
    pub fn fresh() -> Self {
        Self { phase: Phase::Fresh, heartbeats: true, tls_missing: false }
    }

    /// Whether `verb` may be said now.
    ///
    /// # Errors
    /// The refusal that the client is sent, when it may not.
    pub fn permits(self, verb: Verb) -> Result<(), Refusal> {
        if self.tls_missing && verb != Verb::Identify {
            return Err(Refusal::tls_required(verb.word().as_bytes()));
        }
        let in_phase = match verb {
            Verb::Identify | Verb::Auth | Verb::Subscribe => self.phase == Phase::Fresh,
            Verb::Ready | Verb::Finish | Verb::Requeue | Verb::Touch => self.phase != Phase::Fresh,
            Verb::StartClose => self.phase == Phase::Subscribed,
            Verb::Publish | Verb::PublishMany | Verb::PublishDeferred | Verb::Nop => true,
        };
        if !in_phase {
            return Err(Refusal::wrong_state(verb));
        }
        if verb == Verb::Subscribe && !self.heartbeats {
            return Err(Refusal::heartbeats_disabled());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which verbs each phase permits, in the order Fresh, Subscribed, Closing.
    const LEGAL: [(Verb, [bool; 3]); 12] = [
        (Verb::Identify, [true, false, false]),
        (Verb::Auth, [true, false, false]),
        (Verb::Subscribe, [true, false, false]),
        (Verb::Ready, [false, true, true]),
        (Verb::Finish, [false, true, true]),
        (Verb::Requeue, [false, true, true]),
        (Verb::Touch, [false, true, true]),
        (Verb::StartClose, [false, true, false]),
        (Verb::Publish, [true, true, true]),
        (Verb::PublishMany, [true, true, true]),
        (Verb::PublishDeferred, [true, true, true]),
        (Verb::Nop, [true, true, true]),
    ];

    #[test]
    fn each_phase_permits_its_verbs_and_refuses_the_others_by_name() {
        for (verb, legal) in LEGAL {
            let phases = [Phase::Fresh, Phase::Subscribed, Phase::Closing];
            for (phase, legal) in phases.into_iter().zip(legal) {
                let answer = Conversation { phase, ..Conversation::fresh() }.permits(verb);
                let expected = if legal {
                    None
                } else {
                    Some(format!("E_INVALID cannot {} in current state", verb.word()))
                };
                assert_eq!(answer.err().map(|refusal| refusal.text()), expected, "{phase:?}");
            }
        }
    }

    #[test]
    fn without_heartbeats_only_subscribing_is_refused_and_the_phase_is_judged_first() {
        let fresh = Conversation { heartbeats: false, ..Conversation::fresh() };
        let text = |conversation: Conversation| {
            conversation.permits(Verb::Subscribe).err().map(|refusal| refusal.text())
        };
        assert_eq!(text(fresh).unwrap(), "E_INVALID cannot SUB with heartbeats disabled");
        let subscribed = Conversation { phase: Phase::Subscribed, ..fresh };
        assert_eq!(text(subscribed).unwrap(), "E_INVALID cannot SUB in current state");
        assert_eq!(fresh.permits(Verb::Publish), Ok(()));
    }

    #[test]
    fn while_tls_is_missing_only_identify_is_permitted() {
        let conversation = Conversation { tls_missing: true, ..Conversation::fresh() };
        for (verb, _) in LEGAL {
            let refusal = conversation.permits(verb).err().map(|refusal| refusal.text());
            let expected =
                format!("E_INVALID cannot {} in current state (TLS required)", verb.word());
            assert_eq!(refusal, (verb != Verb::Identify).then_some(expected));
        }
    }

    #[test]
    fn the_statistics_show_a_phase_by_the_number_of_nsq() {
        assert_eq!([Phase::Fresh, Phase::Subscribed, Phase::Closing].map(Phase::number), [0, 3, 4]);
    }
}
