//! JSON as Go's encoder writes it, which is what NSQ's clients and dashboards are used to.
//!
//! Knows: where Go's spelling differs from serde's: `<`, `>` and `&` are escaped, so are U+2028 and
//! U+2029, and a float is written without a fraction when it has none. Does not know: any body in
//! particular.

use std::io;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::ser::{CharEscape, Formatter, Serializer};

/// The value as compact JSON in Go's spelling, without a newline at the end.
///
/// # Panics
/// When the value cannot be JSON at all: a map whose keys are not text, or a `Serialize` that fails
/// of its own. No body of this crate does either.
pub fn to_go_json(value: &impl Serialize) -> String {
    let mut out = Vec::new();
    value
        .serialize(&mut Serializer::with_formatter(&mut out, GoFormatter))
        .expect("bodies have text for keys, and writing into memory does not fail");
    String::from_utf8(out).expect("the serializer writes UTF-8")
}

/// Reads `null` as a missing key, where the type has no place for it: Go writes a list that was never
/// made so.
///
/// # Errors
/// When the value is neither null nor of the type.
pub fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Compact, as the formatter of `serde_json` is, but for strings and floats.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut rest = fragment;
        while let Some((before, escape, behind)) = split_at_escape(rest) {
            writer.write_all(before.as_bytes())?;
            writer.write_all(escape.as_bytes())?;
            rest = behind;
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let text = match escape {
            CharEscape::Quote => "\\\"",
            CharEscape::ReverseSolidus => "\\\\",
            CharEscape::Solidus => "/",
            CharEscape::Backspace => "\\b",
            CharEscape::FormFeed => "\\f",
            CharEscape::LineFeed => "\\n",
            CharEscape::CarriageReturn => "\\r",
            CharEscape::Tab => "\\t",
            CharEscape::AsciiControl(byte) => return write!(writer, "\\u{byte:04x}"),
        };
        writer.write_all(text.as_bytes())
    }

    fn write_f64<W>(&mut self, writer: &mut W, value: f64) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        writer.write_all(float(value).as_bytes())
    }
}

/// Cuts `text` at the first character that Go escapes and serde does not: what stands before it,
/// its escape, what stands behind it.
fn split_at_escape(text: &str) -> Option<(&str, &'static str, &str)> {
    let (at, character) = text
        .char_indices()
        .find(|(_, c)| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}'))?;
    let escape = match character {
        '<' => "\\u003c",
        '>' => "\\u003e",
        '&' => "\\u0026",
        '\u{2028}' => "\\u2028",
        _ => "\\u2029",
    };
    Some((&text[..at], escape, &text[at + character.len_utf8()..]))
}

/// The shortest digits that read back as `value`: plain between 1e-6 and 1e21, else with an exponent
/// that always has its sign.
fn float(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return value.to_string();
    }
    let scientific = format!("{value:e}");
    match scientific.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => scientific,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        for (text, json) in [
            ("", r#""""#),
            ("plain Grüße 日本", r#""plain Grüße 日本""#),
            ("<a href='x'>&</a>", r#""\u003ca href='x'\u003e\u0026\u003c/a\u003e""#),
            ("a\u{2028}b\u{2029}c\u{2027}", "\"a\\u2028b\\u2029c\u{2027}\""),
            ("quote\" back\\ slash/", r#""quote\" back\\ slash/""#),
            ("\n\r\t\u{8}\u{c}", r#""\n\r\t\b\f""#),
            ("\u{0}\u{1f}\u{7f}", "\"\\u0000\\u001f\u{7f}\""),
        ] {
            assert_eq!(to_go_json(&text), json);
        }
    }

    #[test]
    fn floats_are_as_short_as_go_writes_them() {
        for (value, json) in [
            (1.0, "1"),
            (0.0, "0"),
            (-0.0, "-0"),
            (0.99, "0.99"),
            (-2.5, "-2.5"),
            (123_456_789.0, "123456789"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (0.000_001, "0.000001"),
            (0.000_000_9, "9e-7"),
            (-1.25e-10, "-1.25e-10"),
        ] {
            assert_eq!(to_go_json(&value), json);
        }
    }

    #[test]
    fn bodies_are_compact_and_keys_are_escaped_too() {
        let value = serde_json::json!({"a<": [1, true, null], "z": {}, "b": []});
        assert_eq!(to_go_json(&value), r#"{"a\u003c":[1,true,null],"z":{},"b":[]}"#);
    }
}
