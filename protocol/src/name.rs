//! Names of topics and channels.
//!
//! Rule (NSQ): `^[.a-zA-Z0-9_-]+(#ephemeral)?$`, 1 to 64 bytes including the suffix. The same for
//! topics and channels; two types, so that one cannot be passed for the other.

use std::fmt;
use std::hash::{Hash, Hasher};

/// The longest name, suffix included.
pub const NAME_BYTES_MAX: usize = 64;

const EPHEMERAL_SUFFIX: &[u8] = b"#ephemeral";

/// Why some bytes are not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalName;

/// The bytes of a legal name, held inline: a name is copied from core to core without allocating.
#[derive(Clone, Copy)]
struct Name {
    /// Invariant: `1 <= length <= NAME_BYTES_MAX`.
    length: u8,
    /// Invariant: the first `length` bytes are ASCII and legal; the rest are zero.
    bytes: [u8; NAME_BYTES_MAX],
}

impl Name {
    fn parse(name: &[u8]) -> Result<Self, IllegalName> {
        if name.is_empty() || NAME_BYTES_MAX < name.len() {
            return Err(IllegalName);
        }
        let stem = name.strip_suffix(EPHEMERAL_SUFFIX).unwrap_or(name);
        if stem.is_empty() || !stem.iter().all(|&byte| is_name_byte(byte)) {
            return Err(IllegalName);
        }
        let mut bytes = [0; NAME_BYTES_MAX];
        bytes[..name.len()].copy_from_slice(name);
        let length = u8::try_from(name.len()).expect("at most NAME_BYTES_MAX");
        Ok(Self { length, bytes })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("a legal name is ASCII")
    }

    fn is_ephemeral(&self) -> bool {
        self.as_bytes().ends_with(EPHEMERAL_SUFFIX)
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $type(Name);

        impl $type {
            /// The name these bytes spell.
            ///
            /// # Errors
            /// [`IllegalName`] when the bytes do not follow the rule at the head of this file.
            pub fn parse(bytes: &[u8]) -> Result<Self, IllegalName> {
                Name::parse(bytes).map(Self)
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// The name as it stands on the wire.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }

            /// Whether it lives in memory only, and only as long as somebody uses it.
            pub fn is_ephemeral(&self) -> bool {
                self.0.is_ephemeral()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }

        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl Eq for $type {}

        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $type {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.as_bytes().cmp(other.as_bytes())
            }
        }

        impl Hash for $type {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.as_bytes().hash(state);
            }
        }
    };
}

// One body for two types: the rule is one, and the compiler keeps the two apart.
name_type! {
    /// The legal name of a topic.
    TopicName
}
name_type! {
    /// The legal name of a channel.
    ChannelName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_letters_digits_dot_underscore_and_dash_up_to_64_bytes() {
        for legal in ["a", "A.b_c-9", ".", "..", "x#ephemeral", &"a".repeat(64)] {
            assert!(TopicName::parse(legal.as_bytes()).is_ok(), "{legal}");
            assert_eq!(ChannelName::parse(legal.as_bytes()).unwrap().as_str(), legal);
        }
        let too_long_with_suffix = format!("{}#ephemeral", "a".repeat(55));
        for illegal in ["", "#ephemeral", "a b", "a*", "a#", "a#ephemeral#ephemeral", "ä", "a\n"]
            .into_iter()
            .chain([&*"a".repeat(65), &*too_long_with_suffix])
        {
            assert_eq!(TopicName::parse(illegal.as_bytes()), Err(IllegalName), "{illegal}");
        }
    }

    #[test]
    fn only_the_suffix_makes_a_name_ephemeral() {
        assert!(TopicName::parse(b"t#ephemeral").unwrap().is_ephemeral());
        assert!(!TopicName::parse(b"ephemeral").unwrap().is_ephemeral());
    }
}
