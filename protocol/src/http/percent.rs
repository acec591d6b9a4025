//! Percent-escapes in targets: decoding what came, encoding what is sent back.
//!
//! Knows: which bytes may stand for themselves. Does not know: where a path ends or what a query
//! means.

/// What a `+` stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Plus {
    /// A blank, as in a query.
    Blank,
    /// Itself, as in a path.
    Itself,
}

/// The bytes that `text` stands for; `None` when a `%` is not followed by two hexadecimal digits.
pub(super) fn decode(text: &[u8], plus: Plus) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        decoded.push(match byte {
            b'%' => {
                let (&[high, low], after) = rest.split_first_chunk::<2>()?;
                rest = after;
                hex_digit(high)? << 4 | hex_digit(low)?
            }
            b'+' if plus == Plus::Blank => b' ',
            _ => byte,
        });
    }
    Some(decoded)
}

/// A path for a `Location` header: everything that could be misread is escaped, in upper case.
pub fn encode_path(path: &str) -> String {
    encode(path.as_bytes(), b"-_.~$&+,/:;=@")
}

/// A name or value of a query: everything but letters, digits and `-_.~` is escaped, and a blank is
/// a `+`.
pub(super) fn encode_value(value: &[u8]) -> String {
    encode(value, b"-_.~ ").replace(' ', "+")
}

fn encode(text: &[u8], kept: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for &byte in text {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            for nibble in [byte >> 4, byte & 0xf] {
                let digit = DIGITS.get(usize::from(nibble)).expect("a nibble is below 16");
                encoded.push(char::from(*digit));
            }
        }
    }
    encoded
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_is_a_percent_sign_and_two_digits_of_any_case() {
        for (text, decoded) in [
            ("a%20b", Some("a b")),
            ("a%2fb%2F", Some("a/b/")),
            ("a+b", Some("a+b")),
            ("%", None),
            ("%2", None),
            ("%zz", None),
            ("%+1", None),
        ] {
            assert_eq!(
                decode(text.as_bytes(), Plus::Itself).as_deref(),
                decoded.map(str::as_bytes)
            );
        }
        assert_eq!(decode(b"a+b%2B", Plus::Blank).as_deref(), Some(&b"a b+"[..]));
    }

    #[test]
    fn a_path_keeps_its_slashes_and_escapes_the_rest() {
        assert_eq!(encode_path("/config/a b?é"), "/config/a%20b%3F%C3%A9");
    }
}
