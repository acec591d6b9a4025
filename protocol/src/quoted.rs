//! Text in double quotes, as Go's `%q` writes it.
//!
//! Does not know: who reads it; NSQ writes names that it refuses, and answers that it did not expect,
//! in this way.

/// The bytes as Go's `%q` shows them: double quotes around, printable characters as they
/// are, anything else escaped, bytes that are not UTF-8 as `\xNN`.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|character| push_quoted(&mut out, character));
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

fn push_quoted(out: &mut String, character: char) {
    let escape = match character {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\x07' => "\\a",
        '\x08' => "\\b",
        '\x0c' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\x0b' => "\\v",
        ' '..='~' => return out.push(character),
        _ if character.is_ascii() => return out.push_str(&format!("\\x{:02x}", character as u32)),
        _ if is_printable(character) => return out.push(character),
        '\u{80}'..='\u{ffff}' => return out.push_str(&format!("\\u{:04x}", character as u32)),
        _ => return out.push_str(&format!("\\U{:08x}", character as u32)),
    };
    out.push_str(escape);
}

/// Whether a character beyond ASCII can be seen: a letter, mark, number, punctuation or symbol.
fn is_printable(character: char) -> bool {
    // The standard library tells only through its own escapes, and there it also escapes a mark that
    // stands first; so the character is asked about behind a letter.
    format!("a{character}").escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_seen_stays_and_the_rest_is_escaped() {
        for (bytes, text) in [
            (&b""[..], r#""""#),
            (br#"{"message":"TOPIC_NOT_FOUND"}"#, r#""{\"message\":\"TOPIC_NOT_FOUND\"}""#),
            (b"a\\b\n\r\t\x07\x7f", r#""a\\b\n\r\t\a\x7f""#),
            ("\u{e4} \u{1f600} \u{a0} \u{301}".as_bytes(), "\"\u{e4} \u{1f600} \\u00a0 \u{301}\""),
            (b"\xff\xe4a", r#""\xff\xe4a""#),
        ] {
            assert_eq!(quoted(bytes), text);
        }
    }
}
