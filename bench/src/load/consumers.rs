//! Consumers that answer what comes, a read at a time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::crowd::Crowd;
use super::publishers::Until;
use super::{histogram, record};

/// What is consumed.
#[derive(Clone, Debug)]
pub(crate) struct Consuming {
    /// A topic and a channel for each connection.
    pub(crate) subscriptions: Vec<(String, String)>,
    pub(crate) ready: u32,
    /// The text of IDENTIFY, if there is one.
    pub(crate) identify: Option<&'static str>,
    pub(crate) answer: Answer,
    pub(crate) until: Until,
    /// When the messages' first eight bytes count nanoseconds since then, how old they are is kept.
    pub(crate) sent_since: Option<Instant>,
}

/// How a message is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// FIN.
    Finish,
    /// REQ at the first attempt, then FIN.
    RequeueOnce,
    /// Nothing at the first attempt, so that it times out, then FIN.
    ForgetOnce,
}

/// What was done.
pub(crate) struct Consumed {
    /// Messages finished.
    pub(crate) messages: u64,
    /// Until the last of them.
    pub(crate) time: Duration,
    /// Their ages in microseconds, if they were asked for.
    pub(crate) ages: Histogram<u64>,
}

/// Length, type, timestamp, attempts, id: what stands in front of a message's body.
const HEAD_BYTES: usize = 4 + 4 + 8 + 2 + 16;

/// Consumes and ends the connections.
pub(crate) fn consume(broker: SocketAddr, what: &Consuming) -> Consumed {
    let mut hello = b"  V2".to_vec();
    if let Some(text) = what.identify {
        hello.extend_from_slice(b"IDENTIFY\n");
        hello.extend(u32::try_from(text.len()).expect("it is short").to_be_bytes());
        hello.extend_from_slice(text.as_bytes());
    }
    let crowd = Crowd::connect(broker, what.subscriptions.len(), &hello);
    let subscribe = |(topic, channel): &(String, String)| {
        format!("SUB {topic} {channel}\nRDY {}\n", what.ready).into_bytes()
    };
    let first: Vec<_> = what.subscriptions.iter().map(subscribe).collect();
    consume_by(crowd, &first, what.until, |_, bytes, now, consumed, output| {
        take(bytes, what, now, consumed, output)
    })
}

/// Consumes over connections that say `first`, each its own, and ends them. `take` answers what of
/// a connection's bytes is whole, and says how many bytes that was.
pub(crate) fn consume_by(
    mut crowd: Crowd,
    first: &[Vec<u8>],
    until: Until,
    mut take: impl FnMut(usize, &[u8], Instant, &mut Consumed, &mut Vec<u8>) -> usize,
) -> Consumed {
    let mut inputs: Vec<Vec<u8>> = vec![Vec::new(); crowd.len()];
    let mut consumed = Consumed { messages: 0, time: Duration::ZERO, ages: histogram() };
    let begin = Instant::now();
    for (number, bytes) in first.iter().enumerate() {
        crowd.send(number, bytes);
    }
    loop {
        let patience = match until {
            Until::Time(time) => match time.checked_sub(begin.elapsed()) {
                Some(left) => Some(left),
                None => break,
            },
            Until::Count(count) if count <= consumed.messages => break,
            Until::Count(_) => None,
        };
        crowd.serve(patience, |number, bytes, output| {
            let now = Instant::now();
            let input = &mut inputs[number];
            // Most reads end within a message; only that end is copied.
            let taken = if input.is_empty() {
                let taken = take(number, bytes, now, &mut consumed, output);
                input.extend_from_slice(&bytes[taken..]);
                return;
            } else {
                input.extend_from_slice(bytes);
                take(number, input, now, &mut consumed, output)
            };
            input.drain(..taken);
        });
        consumed.time = begin.elapsed();
    }
    consumed
}

/// Answers all whole frames; how many bytes they were.
fn take(
    bytes: &[u8],
    what: &Consuming,
    now: Instant,
    consumed: &mut Consumed,
    output: &mut Vec<u8>,
) -> usize {
    let mut at = 0;
    while let Some((size, rest)) = bytes[at..].split_first_chunk::<4>() {
        let size = usize::try_from(u32::from_be_bytes(*size)).expect("a frame is small");
        if rest.len() < size {
            break;
        }
        let frame = &bytes[at..at + 4 + size];
        at += frame.len();
        match frame[7] {
            2 => {
                let attempts = u16::from_be_bytes([frame[16], frame[17]]);
                let id = &frame[18..HEAD_BYTES];
                let is_first = attempts == 1;
                if is_first && what.answer == Answer::ForgetOnce {
                    continue;
                }
                if is_first && what.answer == Answer::RequeueOnce {
                    output.extend_from_slice(b"REQ ");
                    output.extend_from_slice(id);
                    output.extend_from_slice(b" 0\n");
                    continue;
                }
                output.extend_from_slice(b"FIN ");
                output.extend_from_slice(id);
                output.push(b'\n');
                consumed.messages += 1;
                if let Some(since) = what.sent_since {
                    let sent = frame[HEAD_BYTES..].first_chunk().expect("the moment it was sent");
                    let sent = since + Duration::from_nanos(u64::from_be_bytes(*sent));
                    record(&mut consumed.ages, now.saturating_duration_since(sent));
                }
            }
            0 if &frame[8..] == b"_heartbeat_" => output.extend_from_slice(b"NOP\n"),
            0 => {}
            // A message that timed out as it was answered comes again.
            1 if frame[8..].starts_with(b"E_FIN_FAILED")
                || frame[8..].starts_with(b"E_REQ_FAILED") => {}
            _ => panic!("refused: {}", String::from_utf8_lossy(&frame[8..])),
        }
    }
    at
}
