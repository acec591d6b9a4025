//! Bytes as a case writes them, and bytes as a transcript shows them.
//!
//! Knows the escapes and the `$(...)` of `tests/conformance/README.md`; which connection the bytes
//! belong to, it does not know.

use std::fmt::Write as _;

use crate::client::{counted, sized};

/// What the `$` of a text stand for.
pub(super) struct Names<'a> {
    /// `$t`: the name of the case, which is the name of its topic.
    pub topic: &'a str,
    /// `$(id A1)`: the id of the first message that connection A got.
    pub id: &'a dyn Fn(&str) -> String,
}

/// The bytes that `text` stands for.
///
/// # Panics
/// When an escape or a `$(...)` is not known, or not closed: the case is wrong.
pub(super) fn sent(text: &str, names: &Names<'_>) -> Vec<u8> {
    let mut rest = text;
    let bytes = expand(&mut rest, names, false);
    assert!(rest.is_empty(), "left over: {rest}");
    bytes
}

/// Takes from `rest` up to its end, or up to the `)` that closes when `nested`.
fn expand(rest: &mut &str, names: &Names<'_>, nested: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let Some(first) = rest.chars().next() else {
            assert!(!nested, "a $( is not closed");
            return bytes;
        };
        let tail = &rest[first.len_utf8()..];
        match first {
            '\\' => {
                let (byte, tail) = escaped(tail);
                bytes.push(byte);
                *rest = tail;
            }
            ')' if nested => {
                *rest = tail;
                return bytes;
            }
            '$' if tail.starts_with('t') => {
                bytes.extend_from_slice(names.topic.as_bytes());
                *rest = &tail[1..];
            }
            '$' => {
                let tail = tail.strip_prefix('(').expect("behind $ stands t or (");
                bytes.extend(called(tail, rest, names));
            }
            _ => {
                bytes.extend_from_slice(first.encode_utf8(&mut [0; 4]).as_bytes());
                *rest = tail;
            }
        }
    }
}

fn escaped(tail: &str) -> (u8, &str) {
    let (&kind, _) = tail.as_bytes().split_first().expect("something stands behind \\");
    let simple = |byte| (byte, &tail[1..]);
    match kind {
        b'n' => simple(b'\n'),
        b'r' => simple(b'\r'),
        b't' => simple(b'\t'),
        b'0' => simple(0),
        b'\\' | b'$' | b')' => simple(kind),
        b'x' => (u8::from_str_radix(&tail[1..3], 16).expect("two hexadecimal digits"), &tail[3..]),
        other => panic!("no escape: \\{}", other as char),
    }
}

/// One `$(word argument)`; `tail` begins at the word, and `rest` is set behind the `)`.
fn called<'a>(tail: &'a str, rest: &mut &'a str, names: &Names<'_>) -> Vec<u8> {
    let (word, mut tail) = tail.split_once(' ').expect("behind the word stands a blank");
    let count = |tail: &mut &str| {
        let (number, after) = tail.split_once(' ').expect("behind the number stands a blank");
        let number: usize = number.parse().expect("a number");
        // The lifetime of what is left is that of the whole text.
        *tail = &tail[tail.len() - after.len()..];
        number
    };
    let repeated = if word == "repeat" { count(&mut tail) } else { 1 };
    let inner = expand(&mut tail, names, true);
    *rest = tail;
    let text = || String::from_utf8(inner.clone()).expect("text");
    match word {
        "i" => text().parse::<i32>().expect("a number of 32 bits").to_be_bytes().to_vec(),
        "sized" => sized(&inner),
        "many" => counted(&inner.split(|&byte| byte == b' ').collect::<Vec<_>>()),
        "repeat" => inner.repeat(repeated),
        "id" => (names.id)(&text()).into_bytes(),
        other => panic!("no $({other} ...)"),
    }
}

/// Bytes as one line of text: what is no printable ASCII is escaped, and long runs are counted.
pub(super) fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = bytes;
    while let Some(&byte) = rest.first() {
        let run = rest.iter().take_while(|&&other| other == byte).count();
        if 40 <= run {
            write!(text, "$(repeat {run} {})", one(byte)).expect("a String takes everything");
            rest = &rest[run..];
        } else {
            text.push_str(&one(byte));
            rest = &rest[1..];
        }
    }
    // Editors take blanks from the ends of lines.
    if let Some(trimmed) = text.strip_suffix(' ') {
        text = format!("{trimmed}\\x20");
    }
    text
}

fn one(byte: u8) -> String {
    match byte {
        b'\n' => "\\n".into(),
        b'\r' => "\\r".into(),
        b'\t' => "\\t".into(),
        b'\\' => "\\\\".into(),
        b' '..=b'~' => char::from(byte).into(),
        _ => format!("\\x{byte:02x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Vec<u8> {
        sent(text, &Names { topic: "top", id: &|which| format!("<{which}>") })
    }

    #[test]
    fn escapes_and_calls_become_bytes() {
        assert_eq!(expanded(r"PUB $t\n$(sized m0)"), b"PUB top\n\0\0\0\x02m0");
        assert_eq!(expanded(r"$(i -1)\x00\\\)\$"), b"\xff\xff\xff\xff\0\\)$");
        assert_eq!(
            expanded("$(sized $(many a bc))"),
            b"\0\0\0\x0f\0\0\0\x02\0\0\0\x01a\0\0\0\x02bc"
        );
        assert_eq!(expanded("$(repeat 3 ab)FIN $(id A1)"), b"abababFIN <A1>");
    }

    #[test]
    fn what_came_is_shown_in_one_line() {
        assert_eq!(shown(b"a\n\r\\\xff\0 "), r"a\n\r\\\xff\x00\x20");
        assert_eq!(shown(&[b'x'; 41]), "$(repeat 41 x)");
    }
}
