//! What NSQ compresses is opened, and what is compressed here can be opened again, however it is cut.

use proptest::prelude::*;
use protocol::compression::Broken;
use protocol::compression::deflate::Deflate;
use protocol::compression::snappy::Snappy;

/// NSQ's first answer through snappy: identifier, a chunk as it is, the frame of `OK`.
const SNAPPY_OK: &[u8] = b"\xff\x06\0\0sNaPpY\x01\x0e\0\0\x26\x98\x2b\xcf\0\0\0\x06\0\0\0\0OK";
/// The same through deflate: a stored block and the mark of a flush.
const DEFLATE_OK: &[u8] = b"\0\x0a\0\xf5\xff\0\0\0\x06\0\0\0\0OK\0\0\0\xff\xff";
const FRAME_OK: &[u8] = b"\0\0\0\x06\0\0\0\0OK";

/// More than any test puts in.
const ROOM: usize = 1 << 20;

/// All that is inside `wire`, which comes in pieces of `cut` bytes.
fn open_all(
    wire: &[u8],
    cut: usize,
    mut open: impl FnMut(&[u8], &mut Vec<u8>) -> Result<usize, Broken>,
) -> Vec<u8> {
    let mut plain = Vec::new();
    for piece in wire.chunks(cut) {
        assert_eq!(open(piece, &mut plain), Ok(piece.len()));
    }
    plain
}

#[test]
fn the_first_answer_of_nsq_is_opened_byte_by_byte_and_at_once() {
    for cut in [1, 7, 64] {
        let mut snappy = Snappy::default();
        assert_eq!(open_all(SNAPPY_OK, cut, |i, o| snappy.open(i, o, ROOM)), FRAME_OK);
        let mut deflate = Deflate::of_level(6);
        assert_eq!(open_all(DEFLATE_OK, cut, |i, o| deflate.open(i, o, ROOM)), FRAME_OK);
    }
}

#[test]
fn snappy_seals_as_nsq_does() {
    let mut wire = Vec::new();
    Snappy::default().seal(FRAME_OK, &mut wire);
    assert_eq!(wire, SNAPPY_OK);
}

#[test]
fn what_is_no_snappy_and_no_deflate_is_refused_with_the_reason() {
    let mut plain = Vec::new();
    let refused = Snappy::default().open(b"\0\x0e\0\0 no identifier", &mut plain, ROOM);
    assert_eq!(refused.unwrap_err().0, "snappy: the stream identifier is missing");
    let refused = Deflate::of_level(6).open(b"\xff\xff\xff", &mut plain, ROOM);
    assert!(refused.unwrap_err().0.starts_with("deflate: "));
}

proptest! {
    // Unoptimized code compresses slowly.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn what_is_sealed_in_pieces_is_opened_in_others(
        pieces in prop::collection::vec(prop::collection::vec(0_u8..4, 0..70_000), 1..4),
        cut in 100_usize..5_000,
    ) {
        let plain = pieces.concat();
        let (mut snappy, mut deflate) = (Snappy::default(), Deflate::of_level(1));
        let (mut chunks, mut stream) = (Vec::new(), Vec::new());
        for piece in &pieces {
            snappy.seal(piece, &mut chunks);
            deflate.seal(piece, true, &mut stream);
        }
        prop_assert_eq!(&open_all(&chunks, cut, |i, o| snappy.open(i, o, ROOM)), &plain);
        prop_assert_eq!(&open_all(&stream, cut, |i, o| deflate.open(i, o, ROOM)), &plain);
    }
}
