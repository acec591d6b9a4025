//! Changes to bytes that a reader of them might stumble over.

use crate::random::Random;

/// Numbers at which something often ends.
const NUMBERS: [u64; 12] = [
    0,
    1,
    2,
    31,
    255,
    256,
    65_535,
    1 << 20,
    u32::MAX as u64 - 1,
    u32::MAX as u64,
    i64::MAX as u64,
    u64::MAX,
];

/// `bytes` after one to four changes; some take from `other`.
pub(crate) fn mutated(bytes: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        change(&mut bytes, other, random);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let length = match random.below(3) {
        0 => 1 + random.below(4),
        1 => 1 + random.below(64),
        _ => 1 + random.below(bytes.len() + 1),
    };
    let end = (at + length).min(bytes.len());
    match random.below(9) {
        0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        2 if at < bytes.len() => bytes[at] = random.number().to_le_bytes()[0],
        3 => bytes[at..end].fill(*random.choose(&[0, 0xff, b'0'])),
        4 => drop(bytes.drain(at..end)),
        5 => {
            let copy = bytes[at..end].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, copy);
        }
        6 => {
            // A number of some width, often close to one that is there.
            let width = *random.choose(&[1, 2, 4, 8]);
            let number = random.choose(&NUMBERS).to_be_bytes();
            let number = &number[8 - width..];
            let end = (at + width).min(bytes.len());
            bytes[at..end].copy_from_slice(&number[..end - at]);
        }
        7 if !other.is_empty() => {
            let from = random.below(other.len());
            let piece = &other[from..(from + length).min(other.len())];
            bytes.splice(at..end, piece.iter().copied());
        }
        8 => bytes.truncate(at),
        _ => {
            let more: Vec<_> =
                (0..length.min(32)).map(|_| random.number().to_le_bytes()[0]).collect();
            bytes.splice(at..at, more);
        }
    }
}
