//! How a message is printed.
//!
//! Knows: the forms for people and for programs. JSON that is made readable keeps every number and
//! name as it was written. Does not know: where messages come from, or the terminal.

use std::fmt::Write as _;
use std::str::FromStr;

use jiff::Timestamp;
use protocol::base64;
use protocol::json::to_go_json;
use protocol::message_id::MessageId;
use serde::Serialize;
use serde::de::IgnoredAny;
use startup::flags::InvalidValue;

/// JSON that is nested more deeply is left as it is: its indents would be longer than all else.
const DEPTH_MAX: usize = 32;

/// How bodies are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For people: JSON on several lines; what would disturb a terminal is escaped.
    Pretty,
    /// For programs: one object a line, with all that is known of the message.
    Json,
    /// The bytes, 16 on a line, beside their characters.
    Hex,
    /// As it is, and a line feed.
    Raw,
}

impl FromStr for Form {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "pretty" => Ok(Self::Pretty),
            "json" => Ok(Self::Json),
            "hex" => Ok(Self::Hex),
            "raw" => Ok(Self::Raw),
            _ => Err(InvalidValue("should be pretty, json, hex or raw")),
        }
    }
}

/// What is printed beside the body, but for [`Form::Json`], which has it all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) topic: bool,
    pub(super) timestamp: bool,
    pub(super) id: bool,
    pub(super) attempts: bool,
}

/// One message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Printed<'a> {
    pub(super) topic: &'a str,
    /// The broker that it came from.
    pub(super) nsqd: &'a str,
    /// In nanoseconds since 1970.
    pub(super) timestamp: i64,
    pub(super) id: MessageId,
    pub(super) attempts: u16,
    pub(super) body: &'a [u8],
}

/// Appends a message, ending with a line feed.
pub(super) fn print(out: &mut Vec<u8>, message: &Printed<'_>, form: Form, fields: Fields) {
    let heading = heading(message, fields);
    match form {
        Form::Json => {
            out.extend_from_slice(object(message).as_bytes());
            out.push(b'\n');
        }
        Form::Raw => {
            for field in &heading {
                out.extend_from_slice(field.as_bytes());
                out.extend_from_slice(b" | ");
            }
            out.extend_from_slice(message.body);
            out.push(b'\n');
        }
        Form::Pretty => {
            let body = readable(message.body);
            // A body on several lines begins on a line of its own.
            let gap = if body.contains('\n') { "\n" } else { " | " };
            if !heading.is_empty() {
                out.extend_from_slice(heading.join(" | ").as_bytes());
                out.extend_from_slice(gap.as_bytes());
            }
            out.extend_from_slice(body.as_bytes());
            out.push(b'\n');
        }
        Form::Hex => {
            if !heading.is_empty() {
                out.extend_from_slice(heading.join(" | ").as_bytes());
                out.push(b'\n');
            }
            out.extend_from_slice(dump(message.body).as_bytes());
        }
    }
}

fn heading(message: &Printed<'_>, fields: Fields) -> Vec<String> {
    let mut heading = Vec::new();
    if fields.topic {
        heading.push(message.topic.to_owned());
    }
    if fields.timestamp {
        heading.push(time(message.timestamp));
    }
    if fields.id {
        heading.push(message.id.to_string());
    }
    if fields.attempts {
        heading.push(format!("attempt {}", message.attempts));
    }
    heading
}

/// In UTC: `2026-11-22T13:06:52.123456789Z`.
fn time(nanoseconds: i64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(nanoseconds));
    let time = time.expect("64 bits of nanoseconds reach from 1677 to 2262");
    format!("{time:.9}")
}

/// A message as one line of JSON.
fn object(message: &Printed<'_>) -> String {
    #[derive(Serialize)]
    struct Object<'a> {
        topic: &'a str,
        nsqd: &'a str,
        id: String,
        timestamp: i64,
        attempts: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<&'a str>,
        /// Of a body that is no text.
        #[serde(skip_serializing_if = "Option::is_none")]
        body_base64: Option<String>,
    }
    let text = std::str::from_utf8(message.body).ok();
    to_go_json(&Object {
        topic: message.topic,
        nsqd: message.nsqd,
        id: message.id.to_string(),
        timestamp: message.timestamp,
        attempts: message.attempts,
        body: text,
        body_base64: text.is_none().then(|| base64::encode(message.body)),
    })
}

/// A body for people: JSON on several lines, anything else as text.
fn readable(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let is_compound = text.trim_start().starts_with(['{', '[']);
    let is_json = is_compound && serde_json::from_str::<IgnoredAny>(&text).is_ok();
    if let Some(indented) = is_json.then(|| indented(&text)).flatten() {
        indented
    } else {
        let mut out = String::with_capacity(text.len());
        text.chars().for_each(|letter| push_harmless(&mut out, letter));
        out
    }
}

/// Appends a character; one that would move the cursor or worse is escaped.
fn push_harmless(out: &mut String, letter: char) {
    if letter.is_control() && !matches!(letter, '\n' | '\t') {
        out.extend(letter.escape_unicode());
    } else {
        out.push(letter);
    }
}

/// Valid JSON with a line for each member, indented by two blanks. Only blanks between values change.
/// `None` when it is nested more deeply than [`DEPTH_MAX`].
fn indented(json: &str) -> Option<String> {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth: usize = 0;
    let mut letters = json.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                out.push('"');
                while let Some(letter) = letters.next() {
                    push_harmless(&mut out, letter);
                    match letter {
                        '\\' => out.extend(letters.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(letter);
                while letters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(end) = letters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    if DEPTH_MAX < depth {
                        return None;
                    }
                    push_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                push_line(&mut out, depth);
                out.push(letter);
            }
            ',' => {
                out.push(',');
                push_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            blank if blank.is_ascii_whitespace() => {}
            other => out.push(other),
        }
    }
    Some(out)
}

fn push_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Lines of an offset, 16 bytes and their characters.
fn dump(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (line, bytes) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        // A gap in the middle helps to count.
        let halves = hex.split_at(hex.len().min(8));
        let hex = format!("{}  {}", halves.0.join(" "), halves.1.join(" "));
        let letter = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' };
        let letters: String = bytes.iter().map(letter).collect();
        writeln!(out, "{:08x}  {hex:<48}  |{letters}|", line * 16)
            .expect("a String takes what it is given");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(body: &[u8], form: Form, fields: Fields) -> String {
        let message = Printed {
            topic: "orders",
            nsqd: "10.0.0.1:4150",
            timestamp: 1_795_352_310_123_456_789,
            id: MessageId(*b"0a1b2c3d4e5f6071"),
            attempts: 2,
            body,
        };
        let mut out = Vec::new();
        print(&mut out, &message, form, fields);
        String::from_utf8(out).unwrap()
    }

    const ALL: Fields = Fields { topic: true, timestamp: true, id: true, attempts: true };
    const NONE: Fields = Fields { topic: false, timestamp: false, id: false, attempts: false };

    #[test]
    fn raw_is_the_body_behind_what_was_asked_for() {
        assert_eq!(printed(b"hello\r", Form::Raw, NONE), "hello\r\n");
        let topic = Fields { topic: true, ..NONE };
        assert_eq!(printed(b"hello", Form::Raw, topic), "orders | hello\n");
        assert_eq!(
            printed(b"hello", Form::Raw, ALL),
            "orders | 2026-11-22T12:58:30.123456789Z | 0a1b2c3d4e5f6071 | attempt 2 | hello\n"
        );
    }

    #[test]
    fn json_is_an_object_a_line_and_a_body_that_is_no_text_is_base64() {
        let front = r#"{"topic":"orders","nsqd":"10.0.0.1:4150","id":"0a1b2c3d4e5f6071","timestamp":1795352310123456789,"attempts":2,"#;
        for (body, end) in [
            (&b"{\"a\":\"b\"}\n"[..], r#""body":"{\"a\":\"b\"}\n"}"#),
            (b"\xff\x00", r#""body_base64":"/wA="}"#),
        ] {
            let expected = format!("{front}{end}\n");
            assert_eq!(printed(body, Form::Json, NONE), expected);
            assert_eq!(printed(body, Form::Json, ALL), expected);
        }
    }

    #[test]
    fn pretty_json_has_a_line_for_each_member_and_keeps_every_value_as_written() {
        let body = br#" {"b":1.50,"a":[1e999,12345678901234567890123, {"x:y,{}":"\"\\"}],"e":{ },"l":[],"b":null} "#;
        let expected = r#"{
  "b": 1.50,
  "a": [
    1e999,
    12345678901234567890123,
    {
      "x:y,{}": "\"\\"
    }
  ],
  "e": {},
  "l": [],
  "b": null
}
"#;
        assert_eq!(printed(body, Form::Pretty, NONE), expected);
        let with_heading = printed(br#"{"a":1}"#, Form::Pretty, Fields { topic: true, ..NONE });
        assert_eq!(with_heading, "orders\n{\n  \"a\": 1\n}\n");
    }

    #[test]
    fn what_is_no_json_is_text_without_what_disturbs_a_terminal() {
        for (body, expected) in [
            (&b"plain, {not json}"[..], "plain, {not json}\n"),
            (b"{\"cut\":", "{\"cut\":\n"),
            (b"\x1b[2Jx\r\ty", "\\u{1b}[2Jx\\u{d}\ty\n"),
            ("{\"a\":\"\u{9b}1m\"}".as_bytes(), "{\n  \"a\": \"\\u{9b}1m\"\n}\n"),
            (b"caf\xc3\xa9 \xff", "caf\u{e9} \u{fffd}\n"),
            (b"12.50", "12.50\n"),
        ] {
            assert_eq!(printed(body, Form::Pretty, NONE), expected, "{body:?}");
        }
        let attempts = Fields { attempts: true, ..NONE };
        assert_eq!(printed(b"hello", Form::Pretty, attempts), "attempt 2 | hello\n");
    }

    #[test]
    fn hex_shows_bytes_beside_characters() {
        assert_eq!(
            printed(b"0123456789abcdef\x00\xffz", Form::Hex, Fields { id: true, ..NONE }),
            "\
0a1b2c3d4e5f6071
00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|
00000010  00 ff 7a                                          |..z|
"
        );
    }

    #[test]
    fn json_that_is_nested_too_deeply_is_left_as_it_is() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let deep = nested(DEPTH_MAX + 1);
        assert_eq!(printed(deep.as_bytes(), Form::Pretty, NONE), deep.clone() + "\n");
        let shown = printed(nested(DEPTH_MAX).as_bytes(), Form::Pretty, NONE);
        assert_eq!(shown.lines().count(), 2 * DEPTH_MAX + 1);
    }

    proptest::proptest! {
        #[test]
        fn making_json_readable_changes_no_value(text in r#"[a-z\\"\[\]{}:, ]{0,12}"#) {
            let value = serde_json::json!({"k": [text, {"n": {}, "m": [[], 1.5]}], "": null});
            let again: serde_json::Value = serde_json::from_str(&indented(&value.to_string()).unwrap()).unwrap();
            proptest::prop_assert_eq!(again, value);
        }
    }
}
