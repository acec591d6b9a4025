//! How a client writes its commands.
//!
//! Knows: the bytes of every command. Does not know: whether the command is legal; a test may well
//! write one that is not, so names are plain bytes here.

use std::time::Duration;

use crate::command::Verb;
use crate::message_id::MessageId;

/// What a client sends before anything else: the protocol it speaks.
pub const MAGIC: &[u8; 4] = b"  V2";

/// Appends IDENTIFY with a JSON body.
pub fn identify(out: &mut Vec<u8>, json: &[u8]) {
    push_line(out, Verb::Identify, &[]);
    push_sized(out, json);
}

/// Appends AUTH with a secret.
pub fn auth(out: &mut Vec<u8>, secret: &[u8]) {
    push_line(out, Verb::Auth, &[]);
    push_sized(out, secret);
}

/// Appends SUB.
pub fn subscribe(out: &mut Vec<u8>, topic: &[u8], channel: &[u8]) {
    push_line(out, Verb::Subscribe, &[topic, channel]);
}

/// Appends RDY.
pub fn ready(out: &mut Vec<u8>, count: u64) {
    push_line(out, Verb::Ready, &[count.to_string().as_bytes()]);
}

/// Appends FIN.
pub fn finish(out: &mut Vec<u8>, id: MessageId) {
    push_line(out, Verb::Finish, &[&id.0]);
}

/// Appends REQ. The wire has whole milliseconds; what is beyond them is cut off.
pub fn requeue(out: &mut Vec<u8>, id: MessageId, delay: Duration) {
    push_line(out, Verb::Requeue, &[&id.0, delay.as_millis().to_string().as_bytes()]);
}

/// Appends TOUCH.
pub fn touch(out: &mut Vec<u8>, id: MessageId) {
    push_line(out, Verb::Touch, &[&id.0]);
}

/// Appends PUB.
pub fn publish(out: &mut Vec<u8>, topic: &[u8], body: &[u8]) {
    push_line(out, Verb::Publish, &[topic]);
    push_sized(out, body);
}

/// Appends MPUB.
///
/// # Panics
/// When the bodies together are longer than the wire's 32-bit size can say.
pub fn publish_many(out: &mut Vec<u8>, topic: &[u8], bodies: &[&[u8]]) {
    push_line(out, Verb::PublishMany, &[topic]);
    let body_bytes = 4 + bodies.iter().map(|body| 4 + body.len()).sum::<usize>();
    push_number(out, body_bytes);
    push_number(out, bodies.len());
    for body in bodies {
        push_sized(out, body);
    }
}

/// Appends DPUB. The wire has whole milliseconds; what is beyond them is cut off.
pub fn publish_deferred(out: &mut Vec<u8>, topic: &[u8], delay: Duration, body: &[u8]) {
    push_line(out, Verb::PublishDeferred, &[topic, delay.as_millis().to_string().as_bytes()]);
    push_sized(out, body);
}

/// Appends CLS.
pub fn start_close(out: &mut Vec<u8>) {
    push_line(out, Verb::StartClose, &[]);
}

/// Appends NOP.
pub fn nop(out: &mut Vec<u8>) {
    push_line(out, Verb::Nop, &[]);
}

fn push_line(out: &mut Vec<u8>, verb: Verb, parameters: &[&[u8]]) {
    out.extend_from_slice(verb.word().as_bytes());
    for parameter in parameters {
        out.push(b' ');
        out.extend_from_slice(parameter);
    }
    out.push(b'\n');
}

fn push_sized(out: &mut Vec<u8>, body: &[u8]) {
    push_number(out, body.len());
    out.extend_from_slice(body);
}

fn push_number(out: &mut Vec<u8>, number: usize) {
    let number = i32::try_from(number).expect("a client does not send 2 GiB in one command");
    out.extend_from_slice(&number.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn commands_with_bodies_are_written_as_nsq_reads_them() {
        assert_eq!(written(|out| publish(out, b"top", b"m0")), b"PUB top\n\0\0\0\x02m0");
        assert_eq!(
            written(|out| publish_many(out, b"t", &[b"abc", b"de"])),
            b"MPUB t\n\0\0\0\x11\0\0\0\x02\0\0\0\x03abc\0\0\0\x02de"
        );
        assert_eq!(
            written(|out| publish_deferred(out, b"t", Duration::from_millis(600), b"dd")),
            b"DPUB t 600\n\0\0\0\x02dd"
        );
        assert_eq!(written(|out| identify(out, b"{}")), b"IDENTIFY\n\0\0\0\x02{}");
        assert_eq!(written(|out| auth(out, b"secret")), b"AUTH\n\0\0\0\x06secret");
    }

    #[test]
    fn commands_without_bodies_are_one_line() {
        let id = MessageId(*b"0123456789abcdef");
        assert_eq!(written(|out| subscribe(out, b"top", b"ch")), b"SUB top ch\n");
        assert_eq!(written(|out| ready(out, 2500)), b"RDY 2500\n");
        assert_eq!(written(|out| finish(out, id)), b"FIN 0123456789abcdef\n");
        assert_eq!(
            written(|out| requeue(out, id, Duration::from_micros(1_500))),
            b"REQ 0123456789abcdef 1\n"
        );
        assert_eq!(written(|out| touch(out, id)), b"TOUCH 0123456789abcdef\n");
        assert_eq!(written(start_close), b"CLS\n");
        assert_eq!(written(nop), b"NOP\n");
    }
}
