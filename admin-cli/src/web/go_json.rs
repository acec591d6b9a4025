//! The bodies of orders, read as Go reads them: which texts are taken, and in which words the others
//! are refused. Those words are what a script sees.
//!
//! Rule (NSQ behaviour): the first JSON value counts, whatever follows it; keys match in any case,
//! the last one wins; other keys mean nothing; `null` is nothing.
//!
//! Does not know: which keys there are.

use std::fmt::Write as _;

/// How deep values may be nested, as in Go.
const DEPTH_MAX: usize = 10_000;

/// A text of each of the keys in the object that `bytes` begin with; a key that is missing is the
/// empty text. `type_name` is Go's name for the object, which stands in one of the refusals.
///
/// # Errors
/// What is wrong, in Go's words.
pub(super) fn texts<const COUNT: usize>(
    bytes: &[u8],
    keys: [&str; COUNT],
    type_name: &str,
) -> Result<[String; COUNT], String> {
    let mut scanner = Scanner { bytes, at: 0 };
    scanner.skip_blanks();
    if scanner.at == bytes.len() {
        return Err("EOF".to_owned());
    }
    let start = scanner.at;
    scanner.value()?;
    let value = &bytes[start..scanner.at];
    let mut found = [const { String::new() }; COUNT];
    match kind(value) {
        "object" => {}
        "null" => return Ok(found),
        kind => {
            return Err(format!("json: cannot unmarshal {kind} into Go value of type {type_name}"));
        }
    }
    let mut refusal = None;
    for (key, value) in Members::of(value) {
        let Some(place) = keys.iter().position(|wanted| wanted.eq_ignore_ascii_case(&key)) else {
            continue;
        };
        match kind(value) {
            "string" => found[place] = unquoted(value),
            "null" => {}
            kind => {
                let wanted = keys[place];
                refusal.get_or_insert(format!(
                    "json: cannot unmarshal {kind} into Go struct field .{wanted} of type string"
                ));
            }
        }
    }
    refusal.map_or(Ok(found), Err)
}

/// A list of texts, and nothing else; `null` is an empty one, and among the texts an empty text.
pub(super) fn list(bytes: &[u8]) -> Option<Vec<String>> {
    let value: Option<Vec<Option<String>>> = serde_json::from_slice(bytes).ok()?;
    Some(value.unwrap_or_default().into_iter().map(Option::unwrap_or_default).collect())
}

fn kind(value: &[u8]) -> &'static str {
    match value.first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "bool",
        Some(b'n') => "null",
        _ => "number",
    }
}

/// Finds the end of a value, and whether it is one. Depth costs no stack.
#[derive(Clone, Copy)]
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What holds other values.
#[derive(Clone, Copy)]
enum Container {
    Object,
    Array,
}

impl Scanner<'_> {
    fn skip_blanks(&mut self) {
        while self.bytes.get(self.at).is_some_and(|byte| b" \t\r\n".contains(byte)) {
            self.at += 1;
        }
    }

    /// The next byte, which has to be there.
    fn next(&mut self) -> Result<u8, String> {
        let byte = *self.bytes.get(self.at).ok_or("unexpected EOF")?;
        self.at += 1;
        Ok(byte)
    }

    fn next_behind_blanks(&mut self) -> Result<u8, String> {
        self.skip_blanks();
        self.next()
    }

    /// Passes over one value.
    fn value(&mut self) -> Result<(), String> {
        // Those that the value at hand lies in.
        let mut open: Vec<Container> = Vec::new();
        loop {
            match self.next_behind_blanks()? {
                first @ (b'{' | b'[') => {
                    if open.len() == DEPTH_MAX {
                        return Err(invalid(first, "exceeded max depth"));
                    }
                    if let Some(container) = self.begin(first)? {
                        open.push(container);
                        continue;
                    }
                }
                b'"' => self.string()?,
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                b'-' => match self.next()? {
                    digit @ b'0'..=b'9' => self.number(digit)?,
                    other => return Err(invalid(other, "in numeric literal")),
                },
                digit @ b'0'..=b'9' => self.number(digit)?,
                other => return Err(invalid(other, "looking for beginning of value")),
            }
            // A value has ended, and so may those that it lies in.
            loop {
                let Some(container) = open.last() else { return Ok(()) };
                match (container, self.next_behind_blanks()?) {
                    (Container::Object, b',') => {
                        let first = self.next_behind_blanks()?;
                        self.key(first)?;
                        break;
                    }
                    (Container::Array, b',') => break,
                    (Container::Object, b'}') | (Container::Array, b']') => drop(open.pop()),
                    (Container::Object, other) => {
                        return Err(invalid(other, "after object key:value pair"));
                    }
                    (Container::Array, other) => return Err(invalid(other, "after array element")),
                }
            }
        }
    }

    /// Goes on to the first value in a container that begins with `first`; `None` when it is empty, and
    /// over.
    fn begin(&mut self, first: u8) -> Result<Option<Container>, String> {
        if first == b'{' {
            return match self.next_behind_blanks()? {
                b'}' => Ok(None),
                byte => self.key(byte).map(|()| Some(Container::Object)),
            };
        }
        self.skip_blanks();
        if self.bytes.get(self.at) == Some(&b']') {
            self.at += 1;
            return Ok(None);
        }
        Ok(Some(Container::Array))
    }

    /// The rest of a key that begins with `first`, and its colon.
    fn key(&mut self, first: u8) -> Result<(), String> {
        if first != b'"' {
            return Err(invalid(first, "looking for beginning of object key string"));
        }
        self.string()?;
        match self.next_behind_blanks()? {
            b':' => Ok(()),
            other => Err(invalid(other, "after object key")),
        }
    }

    fn string(&mut self) -> Result<(), String> {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => match self.next()? {
                    b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let digit = self.next()?;
                            if !digit.is_ascii_hexdigit() {
                                return Err(invalid(digit, "in \\u hexadecimal character escape"));
                            }
                        }
                    }
                    other => return Err(invalid(other, "in string escape code")),
                },
                control @ 0..0x20 => return Err(invalid(control, "in string literal")),
                _ => {}
            }
        }
    }

    /// The rest of `true`, `false` or `null`.
    fn word(&mut self, word: &str) -> Result<(), String> {
        for expected in word.chars().skip(1) {
            let byte = self.next()?;
            if char::from(byte) != expected {
                let context = format!("in literal {word} (expecting '{expected}')");
                return Err(invalid(byte, &context));
            }
        }
        Ok(())
    }

    /// The rest of a number. It ends before the first byte that cannot belong to it.
    fn number(&mut self, first: u8) -> Result<(), String> {
        if first != b'0' {
            self.digits();
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            let byte = self.next()?;
            if !byte.is_ascii_digit() {
                return Err(invalid(byte, "after decimal point in numeric literal"));
            }
            self.digits();
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            let mut byte = self.next()?;
            if matches!(byte, b'+' | b'-') {
                byte = self.next()?;
            }
            if !byte.is_ascii_digit() {
                return Err(invalid(byte, "in exponent of numeric literal"));
            }
            self.digits();
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }
}

fn invalid(byte: u8, context: &str) -> String {
    let character = match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        // Go takes the byte for a character of its own.
        byte => format!("'{}'", go_escaped(&char::from(byte).to_string())),
    };
    format!("invalid character {character} {context}")
}

/// A text as Go quotes it, without the quotes.
fn go_escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        let written = match character {
            '\u{7}' => write!(escaped, "\\a"),
            '\u{8}' => write!(escaped, "\\b"),
            '\u{c}' => write!(escaped, "\\f"),
            '\n' => write!(escaped, "\\n"),
            '\r' => write!(escaped, "\\r"),
            '\t' => write!(escaped, "\\t"),
            '\u{b}' => write!(escaped, "\\v"),
            '\\' => write!(escaped, "\\\\"),
            '"' => write!(escaped, "\\\""),
            '\0'..' ' | '\u{7f}' => write!(escaped, "\\x{:02x}", u32::from(character)),
            '\u{80}'..='\u{a0}' | '\u{ad}' => {
                write!(escaped, "\\u{:04x}", u32::from(character))
            }
            other => write!(escaped, "{other}"),
        };
        written.expect("a string takes everything");
    }
    escaped
}

/// A text in quotes, as Go's `%q` writes it.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", go_escaped(text))
}

/// The keys and values of an object that is known to be one.
struct Members<'a> {
    scanner: Scanner<'a>,
}

impl<'a> Members<'a> {
    fn of(object: &'a [u8]) -> Self {
        Self { scanner: Scanner { bytes: object, at: 1 } }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (String, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let scanner = &mut self.scanner;
        // Passes over `,` as well; `}` ends it.
        let quote = loop {
            match scanner.next_behind_blanks().ok()? {
                b',' => {}
                b'"' => break scanner.at - 1,
                _ => return None,
            }
        };
        scanner.string().ok()?;
        let key = unquoted(&scanner.bytes[quote..scanner.at]);
        scanner.next_behind_blanks().ok()?;
        scanner.skip_blanks();
        let start = scanner.at;
        scanner.value().ok()?;
        Some((key, &scanner.bytes[start..scanner.at]))
    }
}

/// What a literal text stands for. Halves of surrogates and bytes that are not UTF-8 are U+FFFD.
fn unquoted(literal: &[u8]) -> String {
    let inside = &literal[1..literal.len() - 1];
    let mut bytes = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let Some((&escape, behind)) = rest.split_first() else { break };
        rest = behind;
        match escape {
            b'b' => bytes.push(8),
            b'f' => bytes.push(0xc),
            b'n' => bytes.push(b'\n'),
            b'r' => bytes.push(b'\r'),
            b't' => bytes.push(b'\t'),
            b'u' => {
                let unit = take_unit(&mut rest);
                let low = match unit {
                    0xd800..=0xdbff if rest.starts_with(b"\\u") => {
                        let mut ahead = &rest[2..];
                        let low = take_unit(&mut ahead);
                        (0xdc00..=0xdfff).contains(&low).then(|| {
                            rest = ahead;
                            low
                        })
                    }
                    _ => None,
                };
                let code = match low {
                    Some(low) => 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00),
                    None => unit,
                };
                let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn take_unit(rest: &mut &[u8]) -> u32 {
    let (digits, behind) = rest.split_at(rest.len().min(4));
    *rest = behind;
    let digits = std::str::from_utf8(digits).unwrap_or_default();
    u32::from_str_radix(digits, 16).unwrap_or(0xfffd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<[String; 2], String> {
        texts(text.as_bytes(), ["topic", "channel"], "struct {}")
    }

    #[test]
    fn the_first_value_counts_and_keys_match_in_any_case() {
        for (text, topic, channel) in [
            (r#"{"topic":"t","channel":"c"}"#, "t", "c"),
            (r#" { "TOPIC" : "t" , "x":[1,{"topic":"no"}], "channel":null } rest"#, "t", ""),
            (r#"{"topic":"a","Topic":"b"}"#, "b", ""),
            ("{}", "", ""),
            ("null", "", ""),
            (r#"{"topic":"\u0074\ud83d\ude00\ud800\n\/"}"#, "t😀\u{fffd}\n/", ""),
        ] {
            assert_eq!(read(text), Ok([topic.to_owned(), channel.to_owned()]), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_in_gos_words() {
        for (text, refusal) in [
            ("", "EOF"),
            (" \n", "EOF"),
            ("zz", "invalid character 'z' looking for beginning of value"),
            ("{", "unexpected EOF"),
            (r#"{"topic":"t""#, "unexpected EOF"),
            (r#"{"topic"x"#, "invalid character 'x' after object key"),
            (r#"{"topic":"t"x"#, "invalid character 'x' after object key:value pair"),
            ("{t", "invalid character 't' looking for beginning of object key string"),
            (r#"{"a":1,}"#, "invalid character '}' looking for beginning of object key string"),
            (r#"{"a":[1 2]}"#, "invalid character '2' after array element"),
            (r#"{"a":[1,]}"#, "invalid character ']' looking for beginning of value"),
            (r#"{"a":tru_"#, "invalid character '_' in literal true (expecting 'e')"),
            (r#"{"a":-x"#, "invalid character 'x' in numeric literal"),
            (r#"{"a":1.x"#, "invalid character 'x' after decimal point in numeric literal"),
            (r#"{"a":1ex"#, "invalid character 'x' in exponent of numeric literal"),
            (r#"{"a":01"#, "invalid character '1' after object key:value pair"),
            ("{\"a\":\"\n", "invalid character '\\n' in string literal"),
            (r#"{"a":"\q"#, "invalid character 'q' in string escape code"),
            (r#"{"a":"\u00g"#, "invalid character 'g' in \\u hexadecimal character escape"),
            ("'", r"invalid character '\'' looking for beginning of value"),
            ("é", "invalid character 'Ã' looking for beginning of value"),
            ("\u{1}", r"invalid character '\x01' looking for beginning of value"),
            ("[]", "json: cannot unmarshal array into Go value of type struct {}"),
            ("5", "json: cannot unmarshal number into Go value of type struct {}"),
            (
                r#"{"topic":5,"channel":true}"#,
                "json: cannot unmarshal number into Go struct field .topic of type string",
            ),
        ] {
            assert_eq!(read(text), Err(refusal.to_owned()), "{text}");
        }
    }

    #[test]
    fn values_lie_as_deep_as_gos_and_cost_no_stack() {
        let deep = |begin: &str, end: &str, depth: usize| {
            format!(r#"{{"x":{}1{},"topic":"t"}}"#, begin.repeat(depth), end.repeat(depth))
        };
        // The object around them counts, too.
        for (begin, end, sign) in [("[", "]", '['), (r#"{"a":"#, "}", '{')] {
            let deepest = read(&deep(begin, end, DEPTH_MAX - 1));
            assert_eq!(deepest, Ok(["t".to_owned(), String::new()]), "{begin}");
            let refusal = format!("invalid character '{sign}' exceeded max depth");
            assert_eq!(read(&deep(begin, end, DEPTH_MAX)), Err(refusal), "{begin}");
        }
        let refusal = "invalid character '{' exceeded max depth".to_owned();
        assert_eq!(read(&r#"{"a":"#.repeat(200_000)), Err(refusal));
    }

    #[test]
    fn a_list_is_a_list_of_texts() {
        for (text, expected) in [
            (r#"["a","b"]"#, Some(vec!["a", "b"])),
            ("[]", Some(vec![])),
            ("null", Some(vec![])),
            (r#"["a",null]"#, Some(vec!["a", ""])),
            ("[1]", None),
            ("[] x", None),
            ("a", None),
        ] {
            let expected = expected.map(|list| list.into_iter().map(str::to_owned).collect());
            assert_eq!(list(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_text_is_quoted_as_go_quotes_it() {
        assert_eq!(quoted("a\"b\\\n\u{1}é"), "\"a\\\"b\\\\\\n\\x01é\"");
    }
}
