//! The sixteen bytes by which a client finishes, requeues or touches a message.
//!
//! Clients treat them as opaque; NSQ's tools print them as text. Ours are, as NSQ's, sixteen
//! lower-case hexadecimal digits.

use std::fmt;

/// A message's id as it stands on the wire. Any sixteen bytes a client sends are one; whether such
/// a message is in flight is for its channel to say.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub [u8; Self::BYTES]);

impl MessageId {
    /// How long an id is on the wire.
    pub const BYTES: usize = 16;

    /// The id that spells `number` in hexadecimal.
    pub fn from_number(number: u64) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; Self::BYTES];
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            *digit = DIGITS[(rest & 0xf) as usize];
            rest >>= 4;
        }
        Self(digits)
    }

    /// The number that the id spells; `None` when it is not sixteen lower-case hexadecimal digits.
    pub fn to_number(self) -> Option<u64> {
        let mut number = 0;
        for byte in self.0 {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => return None,
            };
            number = number << 4 | u64::from(digit);
        }
        Some(number)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(&self.0).fmt(f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_its_id_are_one() {
        assert_eq!(MessageId::from_number(0x18a4_5a25_5da6_9000).0, *b"18a45a255da69000");
        for number in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            assert_eq!(MessageId::from_number(number).to_number(), Some(number));
        }
    }

    #[test]
    fn what_is_not_sixteen_lower_case_digits_is_no_number() {
        assert_eq!(MessageId(*b"18A45a255da69000").to_number(), None);
        assert_eq!(MessageId(*b"18a45a255da6900 ").to_number(), None);
    }
}
