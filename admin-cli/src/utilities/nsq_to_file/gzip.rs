//! Gzip files as a row of members, each complete in itself.
//!
//! Knows: the frame of a member (RFC 1952) and when one begins and ends. Does not know: files.
//!
//! ```text
//! member = 1f 8b 08 00  00000000 (no time)  xx (how hard was tried)  ff (no system)
//!          deflated data   crc-32 of what was deflated   its length
//! ```
//!
//! A file is as long readable as its last whole member, so what lies in whole members is kept
//! whatever happens to the process. The compressor's memory is used for one member after another.

use flate2::{Compress, Compression, Crc, FlushCompress};

/// How much room the compressor gets at a time.
const ROOM_BYTES: usize = 16 << 10;

/// Makes members.
pub(super) struct Members {
    level: u8,
    deflate: Compress,
    crc: Crc,
    has_begun: bool,
}

impl Members {
    /// With this level, 1 (fast) to 9 (small).
    pub(super) fn new(level: u8) -> Self {
        let deflate = Compress::new(Compression::new(level.into()), false);
        Self { level, deflate, crc: Crc::new(), has_begun: false }
    }

    /// Compresses `plain`, and appends to `packed` what is there of the member by now.
    pub(super) fn write(&mut self, plain: &[u8], packed: &mut Vec<u8>) {
        self.begin(packed);
        self.crc.update(plain);
        let mut rest = plain;
        while !rest.is_empty() {
            let taken = self.step(rest, packed, FlushCompress::None);
            rest = &rest[taken..];
        }
    }

    /// Ends the member, an empty one if nothing was written. The next write begins another.
    pub(super) fn finish(&mut self, packed: &mut Vec<u8>) {
        self.begin(packed);
        loop {
            let before = packed.len();
            self.step(&[], packed, FlushCompress::Finish);
            // Nothing more comes when there was room left.
            if packed.len() < before + ROOM_BYTES {
                break;
            }
        }
        packed.extend_from_slice(&self.crc.sum().to_le_bytes());
        packed.extend_from_slice(&self.crc.amount().to_le_bytes());
        self.has_begun = false;
    }

    fn begin(&mut self, packed: &mut Vec<u8>) {
        if self.has_begun {
            return;
        }
        let effort = match self.level {
            9 => 2,
            1 => 4,
            _ => 0,
        };
        packed.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, effort, 0xff]);
        self.deflate.reset();
        self.crc.reset();
        self.has_begun = true;
    }

    /// Lets the compressor work once, and returns how much it took.
    fn step(&mut self, plain: &[u8], packed: &mut Vec<u8>, flush: FlushCompress) -> usize {
        let used = packed.len();
        packed.resize(used + ROOM_BYTES, 0);
        let (took, made) = (self.deflate.total_in(), self.deflate.total_out());
        self.deflate
            .compress(plain, &mut packed[used..], flush)
            .expect("a compressor takes everything until it is finished");
        let count = |total: u64, before: u64| {
            usize::try_from(total - before).expect("it is given no more than memory holds")
        };
        packed.truncate(used + count(self.deflate.total_out(), made));
        count(self.deflate.total_in(), took)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::bufread::{GzDecoder, MultiGzDecoder};
    use proptest::prelude::*;

    use super::*;

    fn unpacked(packed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        MultiGzDecoder::new(packed).read_to_end(&mut plain).unwrap();
        plain
    }

    #[test]
    fn members_follow_each_other() {
        let mut members = Members::new(6);
        let mut packed = Vec::new();
        members.write(b"one\n", &mut packed);
        members.write(b"two\n", &mut packed);
        members.finish(&mut packed);
        let first = packed.len();
        members.write(b"three\n", &mut packed);
        members.finish(&mut packed);
        assert_eq!(unpacked(&packed), b"one\ntwo\nthree\n");
        assert_eq!(unpacked(&packed[..first]), b"one\ntwo\n");
        assert_eq!(unpacked(&packed[first..]), b"three\n");
    }

    #[test]
    fn a_member_without_content_is_whole() {
        let mut packed = Vec::new();
        let mut members = Members::new(6);
        members.finish(&mut packed);
        members.finish(&mut packed);
        // The only deflated data that mean nothing in a block of fixed codes are 03 00.
        let member = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x03\0\0\0\0\0\0\0\0\0";
        assert_eq!(packed, [&member[..], member].concat());
    }

    #[test]
    fn the_head_says_how_hard_was_tried() {
        for (level, effort) in [(1, 4), (2, 0), (6, 0), (9, 2)] {
            let mut packed = Vec::new();
            Members::new(level).finish(&mut packed);
            assert_eq!(packed[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, effort, 0xff], "{level}");
        }
    }

    #[test]
    fn higher_levels_make_less_of_the_same() {
        let text: Vec<u8> = (0..20_000_u32)
            .flat_map(|number| {
                format!("{} of {}\n", number * 7919 % 10_007, number % 97).into_bytes()
            })
            .collect();
        let packed = |level| {
            let mut packed = Vec::new();
            let mut members = Members::new(level);
            members.write(&text, &mut packed);
            members.finish(&mut packed);
            assert_eq!(unpacked(&packed), text);
            packed.len()
        };
        let [most, middle, least] = [9, 6, 1].map(packed);
        assert!(most < middle && middle < least, "{most} {middle} {least}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_is_packed_in_any_pieces_comes_out_again(
            pieces in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 0..40_000), any::<bool>()),
                0..6,
            ),
            level in 1_u8..=9,
        ) {
            let mut members = Members::new(level);
            let (mut plain, mut packed) = (Vec::new(), Vec::new());
            for (piece, ends) in &pieces {
                plain.extend_from_slice(piece);
                members.write(piece, &mut packed);
                if *ends {
                    members.finish(&mut packed);
                }
            }
            members.finish(&mut packed);
            prop_assert_eq!(unpacked(&packed), plain);
            let mut first = Vec::new();
            prop_assert!(GzDecoder::new(&packed[..]).read_to_end(&mut first).is_ok());
        }
    }
}
