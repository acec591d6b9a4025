//! Commands of clients are cut from what was read.

use super::{BATCH, BODY_BYTES};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use protocol::command::Command;
use protocol::conversation::{Conversation, Phase};
use protocol::decoder::{Decoded, Decoder};
use protocol::limits::Limits;

fn size(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("a benchmark's bodies are short").to_be_bytes()
}

fn message() -> Vec<u8> {
    [&size(BODY_BYTES)[..], &[b'x'; BODY_BYTES]].concat()
}

/// Decodes `input` again and again, a command with so many messages.
fn decode(bencher: Bencher<'_, '_>, phase: Phase, input: &[u8], messages: usize) {
    let mut decoder = Decoder::new(Limits::default());
    let conversation = Conversation { phase, ..Conversation::fresh() };
    bencher.counter(ItemsCount::new(messages)).bench_local(|| {
        let decoded = decoder.decode(black_box(input), conversation);
        let Ok(Decoded::Command { command, consumed }) = decoded else {
            unreachable!("it is a whole command")
        };
        if let Command::PublishMany { bodies, .. } = command {
            // Each body is found by the length before it.
            bodies.iter().for_each(|body| _ = black_box(body.len()));
        }
        consumed
    });
}

#[divan::bench]
fn publish(bencher: Bencher<'_, '_>) {
    let input = [&b"PUB orders\n"[..], &message()].concat();
    decode(bencher, Phase::Fresh, &input, 1);
}

#[divan::bench]
fn publish_many(bencher: Bencher<'_, '_>) {
    let bodies = message().repeat(BATCH);
    let input = [b"MPUB orders\n", &size(4 + bodies.len())[..], &size(BATCH), &bodies].concat();
    decode(bencher, Phase::Fresh, &input, BATCH);
}

#[divan::bench]
fn finish(bencher: Bencher<'_, '_>) {
    decode(bencher, Phase::Subscribed, b"FIN 0123456789abcdef\n", 1);
}
