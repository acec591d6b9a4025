//! Bytes as text, by RFC 4648, section 4: with `=` at the end.
//!
//! Does not know: other alphabets, lines.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text that stands for `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |index| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let index = usize::try_from(bits >> (18 - 6 * digit) & 0x3f).expect("six bits");
            let is_there = digit <= group.len();
            let shown = if is_there { DIGITS.get(index) } else { None };
            text.push(char::from(shown.copied().unwrap_or(b'=')));
        }
    }
    text
}

/// The bytes that `text` stands for; `None` when it is no such text.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let groups = text.as_bytes().chunks(4);
    let last = groups.len();
    for (number, group) in groups.enumerate() {
        if group.len() != 4 {
            return None;
        }
        let digits = group.iter().take_while(|&&byte| byte != b'=').count();
        let is_padded = group.iter().skip(digits).all(|&byte| byte == b'=');
        if digits < 2 || !is_padded || (digits < 4 && number + 1 != last) {
            return None;
        }
        let mut bits = 0_u32;
        for byte in group.iter().take(digits) {
            let value = DIGITS.iter().position(|digit| digit == byte)?;
            bits = bits << 6 | u32::try_from(value).expect("below 64");
        }
        bits <<= 6 * (4 - u32::try_from(digits).expect("at most 4"));
        bytes.extend(bits.to_be_bytes().into_iter().skip(1).take(digits - 1));
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard_go_both_ways() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(decode("+/+/"), Some(vec![0xfb, 0xff, 0xbf]));
    }

    #[test]
    fn what_is_no_such_text_is_refused() {
        for text in ["Z", "Zg", "Zg=", "Zg==Zg==", "Z===", "====", "Zm-v", "Zm9v\n", "Z=g="] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
