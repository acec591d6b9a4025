//! Messages are laid into a block with its check, and a block that was read is checked.

use super::{BATCH, BODY_BYTES};
use broker::log::block::{Layout, Place};
use broker::log::{Cursor, Log, LogOptions, Reading, RunLimit, SegmentName};
use broker::message::{Sequence, Timestamp};
use broker::message_id::IdSpace;
use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

const BASE: u64 = 0x1234_5678_9abc;
const LENGTHS: [usize; 2] = [1, BATCH];

fn log() -> Log {
    Log::create(IdSpace::new(7, BASE), LogOptions::default())
}

/// Has a block of so many messages ready to be written, and says where it goes.
fn block(log: &mut Log, messages: usize) -> broker::log::Write {
    let body = [b'x'; BODY_BYTES];
    log.append_many(Timestamp(1), std::iter::repeat_n(black_box(&body[..]), messages));
    log.seal().expect("there are messages in it")
}

/// Laid into a block, checked, visible, and dropped from memory again. Now and then a page is new.
#[divan::bench(args = LENGTHS, sample_size = 1_000)]
fn append(bencher: Bencher<'_, '_>, messages: usize) {
    let mut log = log();
    bencher.counter(ItemsCount::new(messages)).bench_local(|| {
        let write = block(&mut log, messages);
        log.written(black_box(write));
        log.unload_below(log.end());
    });
}

/// A run is cut from the blocks in memory, of as many messages as a block has.
#[divan::bench(args = LENGTHS)]
fn read(bencher: Bencher<'_, '_>, messages: usize) {
    let mut log = log();
    let write = block(&mut log, messages);
    log.written(write);
    let limit = RunLimit { messages: u32::MAX, bytes: usize::MAX };
    bencher.counter(ItemsCount::new(messages)).bench_local(|| {
        let mut cursor = Cursor::at(black_box(Sequence(0)));
        let Reading::Run(run) = log.read(&mut cursor, limit) else {
            unreachable!("it is in memory")
        };
        run.bytes
    });
}

/// A block that was read from disk: its sum is compared, and its frames are counted.
#[divan::bench(args = LENGTHS)]
fn check(bencher: Bencher<'_, '_>, messages: usize) {
    let write = block(&mut log(), messages);
    let place = Place { base: BASE, segment: SegmentName(Sequence(0)), offset: write.offset };
    let bytes: Bytes = write.bytes;
    bencher
        .counter(ItemsCount::new(messages))
        .bench_local(|| Layout::decode(black_box(&bytes), place).expect("nothing was changed"));
}
