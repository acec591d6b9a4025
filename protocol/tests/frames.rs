//! Frames as brokers write and clients read them.

use proptest::collection::vec;
use proptest::prelude::*;
use protocol::frame::{self, Frame, FrameError, MessageFrame, decode_frame};
use protocol::message_id::MessageId;

/// The one frame that `bytes` are; every shorter input must ask for more.
fn frame_of(bytes: &[u8]) -> Frame<'_> {
    for length in 0..bytes.len() {
        assert_eq!(decode_frame(&bytes[..length], 1 << 20), Ok(None), "{length}");
    }
    let (frame, consumed) =
        decode_frame(bytes, 1 << 20).expect("a frame").expect("all of its bytes");
    assert_eq!(consumed, bytes.len());
    frame
}

/// A frame of NSQ with the body `m0`, as captured.
const CAPTURED: &[u8] =
    b"\0\0\0\x20\0\0\0\x02\x18\xea\x5f\x59\x7c\x6f\xfa\xac\0\x0118a45a255da69000m0";

#[test]
fn the_frames_without_a_variable_part_are_ready_made() {
    assert_eq!(frame::OK, b"\0\0\0\x06\0\0\0\0OK");
    assert_eq!(frame_of(frame::OK), Frame::Response(b"OK"));
    assert_eq!(frame_of(frame::HEARTBEAT), Frame::Response(b"_heartbeat_"));
    assert_eq!(frame_of(frame::CLOSE_WAIT), Frame::Response(b"CLOSE_WAIT"));
}

#[test]
fn errors_are_framed_as_nsq_frames_them() {
    let mut out = Vec::new();
    frame::push_error(&mut out, b"E_BAD_PROTOCOL");
    assert_eq!(out, b"\0\0\0\x12\0\0\0\x01E_BAD_PROTOCOL");
    assert_eq!(frame_of(&out), Frame::Error(b"E_BAD_PROTOCOL"));

    out.clear();
    frame::push_error(&mut out, b"E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight");
    assert_eq!(out[..8], *b"\0\0\0\x3d\0\0\0\x01");
}

#[test]
fn a_message_is_framed_as_nsq_frames_it() {
    let id = MessageId(*b"18a45a255da69000");
    let timestamp = 0x18ea_5f59_7c6f_faac;
    let mut out = Vec::new();
    frame::push_message(&mut out, timestamp, 1, id, b"m0");
    assert_eq!(out, CAPTURED);
    let message = MessageFrame { timestamp, attempts: 1, id, body: b"m0" };
    assert_eq!(frame_of(CAPTURED), Frame::Message(message));
}

#[test]
fn the_offsets_name_the_places_of_the_fields() {
    assert_eq!(CAPTURED[frame::TIMESTAMP_OFFSET..][..8], 0x18ea_5f59_7c6f_faac_u64.to_be_bytes());
    assert_eq!(CAPTURED[frame::ATTEMPTS_OFFSET..][..2], [0, 1]);
    assert_eq!(CAPTURED[frame::MESSAGE_ID_OFFSET..][..16], *b"18a45a255da69000");
    assert_eq!(CAPTURED[frame::MESSAGE_FRAME_OVERHEAD..], *b"m0");
}

#[test]
fn what_is_no_frame_is_an_error_as_soon_as_it_shows() {
    let cases: [(&[u8], FrameError); 7] = [
        (b"\0\0\0\x03", FrameError::TooSmall { size: 3 }),
        (b"\0\0\0\0", FrameError::TooSmall { size: 0 }),
        (b"\xff\xff\xff\xff", FrameError::TooSmall { size: -1 }),
        (b"\0\0\x01\x01", FrameError::TooBig { size: 257, max: 256 }),
        (b"\0\0\0\x08\0\0\0\x03", FrameError::UnknownType(3)),
        (b"\0\0\0\x08\xff\xff\xff\xff", FrameError::UnknownType(-1)),
        (b"\0\0\0\x1d\0\0\0\x02", FrameError::TooSmall { size: 29 }),
    ];
    for (bytes, error) in cases {
        assert_eq!(decode_frame(&bytes[..bytes.len() - 1], 256), Ok(None), "{error}");
        assert_eq!(decode_frame(bytes, 256), Err(error));
    }
    assert_eq!(decode_frame(b"\0\0\x01\0", 256), Ok(None));
}

proptest! {
    #[test]
    fn what_is_framed_is_found_again_with_whatever_is_behind_it(
        (timestamp, attempts, id) in (any::<i64>(), any::<u16>(), any::<[u8; 16]>()),
        data in vec(any::<u8>(), 0..300),
        behind in vec(any::<u8>(), 0..10),
    ) {
        let id = MessageId(id);
        let (mut response, mut error, mut message) = (Vec::new(), Vec::new(), Vec::new());
        frame::push_response(&mut response, &data);
        frame::push_error(&mut error, &data);
        frame::push_message(&mut message, timestamp, attempts, id, &data);
        let header = frame::message_frame_header(data.len(), timestamp, attempts, id);
        prop_assert_eq!(&message, &[&header[..], &data].concat());

        let delivered = MessageFrame { timestamp, attempts, id, body: &data };
        for (written, expected) in [
            (response, Frame::Response(&data)),
            (error, Frame::Error(&data)),
            (message, Frame::Message(delivered)),
        ] {
            let input = [&written[..], &behind].concat();
            prop_assert_eq!(decode_frame(&input, 1 << 20), Ok(Some((expected, written.len()))));
        }
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error_or_too_few(input in vec(any::<u8>(), 0..80)) {
        if let Ok(Some((_, consumed))) = decode_frame(&input, 64) {
            prop_assert!(8 <= consumed && consumed <= input.len());
        }
    }
}
