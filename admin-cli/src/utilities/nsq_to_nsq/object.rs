//! An object of JSON, read as Go's decoder reads it and written as Go's encoder writes it.
//!
//! Knows: what Go takes and what it makes of it. All numbers are floats; bytes that are no text and
//! halves of surrogate pairs become U+FFFD, each; of members of the same name the last one counts,
//! and members are written in the order of their names. `null` is an object without members.
//!
//! Depth costs no stack: values lie in one row, containers saying where they end.
//!
//! Does not know: what is looked for.

use protocol::json::to_go_json;

/// How deep values may lie in each other, the object included.
const DEPTH_MAX: usize = 10_000;

/// An object.
#[derive(Debug)]
pub(super) struct Object {
    parts: Vec<Part>,
}

/// A value, or the beginning of one. In objects a text that is the name stands before each value.
#[derive(Debug)]
enum Part {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    /// Its values stand behind it, up to this place.
    Array {
        end: usize,
    },
    /// Its members stand behind it, up to this place.
    Object {
        end: usize,
    },
}

/// A value in an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    parts: &'a [Part],
    at: usize,
}

impl Object {
    /// The object that `bytes` are; `None` when Go would not read them as one.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { rest: bytes, parts: Vec::new() };
        reader.read()?;
        match reader.parts.first()? {
            Part::Object { .. } => Some(Self { parts: reader.parts }),
            Part::Null => Some(Self { parts: vec![Part::Object { end: 1 }] }),
            _ => None,
        }
    }

    /// The member of this name.
    pub(super) fn get(&self, name: &str) -> Option<Value<'_>> {
        let found = members(&self.parts, 0).filter(|(key, _)| *key == name).last();
        found.map(|(_, at)| Value { parts: &self.parts, at })
    }
}

impl<'a> Value<'a> {
    pub(super) fn as_text(self) -> Option<&'a str> {
        match &self.parts[self.at] {
            Part::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_number(self) -> Option<f64> {
        match self.parts[self.at] {
            Part::Number(number) => Some(number),
            _ => None,
        }
    }

    /// Writes the value.
    pub(super) fn write(self, out: &mut String) {
        // What is still to be written, the last first.
        let mut work = vec![Work::Value(self.at)];
        while let Some(next) = work.pop() {
            let at = match next {
                Work::Sign(sign) => {
                    out.push(sign);
                    continue;
                }
                Work::Name(at) => {
                    self.write_leaf(at, out);
                    out.push(':');
                    continue;
                }
                Work::Value(at) => at,
            };
            match self.parts[at] {
                Part::Array { .. } => {
                    out.push('[');
                    work.push(Work::Sign(']'));
                    let begin = work.len();
                    for (place, value) in values(self.parts, at).enumerate() {
                        if 0 < place {
                            work.push(Work::Sign(','));
                        }
                        work.push(Work::Value(value));
                    }
                    work[begin..].reverse();
                }
                Part::Object { .. } => {
                    out.push('{');
                    work.push(Work::Sign('}'));
                    let begin = work.len();
                    for (place, value) in sorted(self.parts, at).into_iter().enumerate() {
                        if 0 < place {
                            work.push(Work::Sign(','));
                        }
                        work.push(Work::Name(value - 1));
                        work.push(Work::Value(value));
                    }
                    work[begin..].reverse();
                }
                _ => self.write_leaf(at, out),
            }
        }
    }

    fn write_leaf(self, at: usize, out: &mut String) {
        match &self.parts[at] {
            Part::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Part::Number(number) => out.push_str(&to_go_json(number)),
            Part::Text(text) => out.push_str(&to_go_json(text)),
            Part::Null | Part::Array { .. } | Part::Object { .. } => out.push_str("null"),
        }
    }
}

/// Something that is to be written.
enum Work {
    Sign(char),
    /// The name of a member.
    Name(usize),
    Value(usize),
}

/// Where the values of an array stand.
fn values(parts: &[Part], array: usize) -> impl Iterator<Item = usize> {
    let end = end_of(parts, array);
    let mut next = array + 1;
    std::iter::from_fn(move || {
        let at = next;
        next = end_of(parts, at.min(end));
        (at < end).then_some(at)
    })
}

/// The members of an object: names, and where their values stand.
fn members(parts: &[Part], object: usize) -> impl Iterator<Item = (&str, usize)> {
    let end = end_of(parts, object);
    let mut next = object + 1;
    std::iter::from_fn(move || {
        let Some(Part::Text(name)) = parts.get(next).filter(|_| next < end) else { return None };
        let value = next + 1;
        next = end_of(parts, value);
        Some((name.as_str(), value))
    })
}

/// Where the values of an object's members stand, by name, each name once.
fn sorted(parts: &[Part], object: usize) -> Vec<usize> {
    let mut found: Vec<(&str, usize)> = members(parts, object).collect();
    // Of those of the same name the last comes first, and the others go.
    found.sort_unstable_by(|(a, a_at), (b, b_at)| a.cmp(b).then(b_at.cmp(a_at)));
    found.dedup_by_key(|(name, _)| *name);
    found.into_iter().map(|(_, value)| value).collect()
}

/// Where the value at `at` ends.
fn end_of(parts: &[Part], at: usize) -> usize {
    match parts.get(at) {
        Some(Part::Array { end } | Part::Object { end }) => *end,
        _ => at + 1,
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    parts: Vec<Part>,
}

impl Reader<'_> {
    /// Reads one value, and nothing may stand behind it.
    fn read(&mut self) -> Option<()> {
        // Where the containers begin that are open.
        let mut open: Vec<usize> = Vec::new();
        loop {
            self.skip_space();
            let begin = self.parts.len();
            match self.rest.first()? {
                b'{' => {
                    self.open(Part::Object { end: 0 }, &mut open)?;
                    if !self.closes(b'}') {
                        self.name()?;
                        continue;
                    }
                    self.close(&mut open);
                }
                b'[' => {
                    self.open(Part::Array { end: 0 }, &mut open)?;
                    if !self.closes(b']') {
                        continue;
                    }
                    self.close(&mut open);
                }
                b'"' => {
                    let text = self.text()?;
                    self.parts.push(Part::Text(text));
                }
                b't' => self.word(b"true", Part::Bool(true))?,
                b'f' => self.word(b"false", Part::Bool(false))?,
                b'n' => self.word(b"null", Part::Null)?,
                _ => {
                    let number = self.number()?;
                    self.parts.push(Part::Number(number));
                }
            }
            debug_assert!(begin < self.parts.len(), "a value is a part");
            // A value has ended, and so may those around it.
            loop {
                self.skip_space();
                let Some(&container) = open.last() else {
                    return self.rest.is_empty().then_some(());
                };
                let is_object = matches!(self.parts[container], Part::Object { .. });
                match (self.take()?, is_object) {
                    (b',', true) => {
                        self.name()?;
                        break;
                    }
                    (b',', false) => break,
                    (b'}', true) | (b']', false) => self.close(&mut open),
                    _ => return None,
                }
            }
        }
    }

    fn open(&mut self, part: Part, open: &mut Vec<usize>) -> Option<()> {
        self.take()?;
        open.push(self.parts.len());
        self.parts.push(part);
        (open.len() <= DEPTH_MAX).then_some(())
    }

    /// Whether the container that was just opened ends here.
    fn closes(&mut self, sign: u8) -> bool {
        self.skip_space();
        let closes = self.rest.first() == Some(&sign);
        if closes {
            self.rest = &self.rest[1..];
        }
        closes
    }

    fn close(&mut self, open: &mut Vec<usize>) {
        let here = self.parts.len();
        let container = open.pop().and_then(|at| self.parts.get_mut(at));
        if let Some(Part::Array { end } | Part::Object { end }) = container {
            *end = here;
        }
    }

    /// The name of a member, and its colon.
    fn name(&mut self) -> Option<()> {
        self.skip_space();
        let name = self.text()?;
        self.parts.push(Part::Text(name));
        self.skip_space();
        (self.take()? == b':').then_some(())
    }

    fn word(&mut self, word: &[u8], part: Part) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        self.parts.push(part);
        Some(())
    }

    fn number(&mut self) -> Option<f64> {
        let mut scan = self.rest;
        let digits = |scan: &mut &[u8]| {
            let count = scan.iter().take_while(|byte| byte.is_ascii_digit()).count();
            *scan = &scan[count..];
            (0 < count).then_some(())
        };
        scan = scan.strip_prefix(b"-").unwrap_or(scan);
        match scan.strip_prefix(b"0") {
            Some(rest) => scan = rest,
            None => digits(&mut scan)?,
        }
        if let Some(rest) = scan.strip_prefix(b".") {
            scan = rest;
            digits(&mut scan)?;
        }
        if let [b'e' | b'E', rest @ ..] = scan {
            scan = match rest {
                [b'+' | b'-', rest @ ..] => rest,
                rest => rest,
            };
            digits(&mut scan)?;
        }
        let text = &self.rest[..self.rest.len() - scan.len()];
        self.rest = scan;
        let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        number.is_finite().then_some(number)
    }

    fn text(&mut self) -> Option<String> {
        self.rest = self.rest.strip_prefix(b"\"")?;
        let mut out = String::new();
        loop {
            let plain =
                self.rest.iter().position(|&byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
            let (before, behind) = self.rest.split_at(plain);
            push_lossy(&mut out, before);
            self.rest = behind;
            match self.take()? {
                b'"' => return Some(out),
                b'\\' => out.push(self.escape()?),
                _ => return None,
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Option<char> {
        Some(match self.take()? {
            sign @ (b'"' | b'\\' | b'/') => char::from(sign),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit()?;
                let (before, mark) = (self.rest, self.rest.get(..2));
                let second = match (first, mark) {
                    (0xd800..0xdc00, Some(b"\\u")) => {
                        self.rest = &self.rest[2..];
                        Some(self.unit()?).filter(|second| (0xdc00..0xe000).contains(second))
                    }
                    _ => None,
                };
                match second {
                    Some(second) => {
                        let high = u32::from(first) - 0xd800;
                        char::from_u32(0x10000 + (high << 10) + u32::from(second) - 0xdc00)?
                    }
                    None => {
                        // What follows stands for itself.
                        self.rest = before;
                        char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER)
                    }
                }
            }
            _ => return None,
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u16> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        digits.iter().try_fold(0, |unit, &digit| {
            let digit = char::from(digit).to_digit(16)?;
            Some(unit << 4 | u16::try_from(digit).ok()?)
        })
    }

    fn take(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn skip_space(&mut self) {
        while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }
}

/// Text, with U+FFFD for each byte that is none.
fn push_lossy(out: &mut String, mut bytes: &[u8]) {
    loop {
        let end = match std::str::from_utf8(bytes) {
            Ok(text) => {
                out.push_str(text);
                return;
            }
            Err(error) => error.valid_up_to(),
        };
        let (text, rest) = bytes.split_at(end);
        out.push_str(&String::from_utf8_lossy(text));
        out.push(char::REPLACEMENT_CHARACTER);
        bytes = rest.get(1..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of `v` in `{"v":TEXT}`, written again.
    fn again(text: &[u8]) -> Option<String> {
        let object = Object::parse(&[b"{\"v\":", text, b"}"].concat())?;
        let mut out = String::new();
        object.get("v").unwrap().write(&mut out);
        Some(out)
    }

    #[test]
    fn values_are_written_as_go_writes_what_it_read() {
        for (text, written) in [
            (&b"null"[..], "null"),
            (b"true", "true"),
            (b" false ", "false"),
            (b"1.0", "1"),
            (b"-0", "-0"),
            (b"12345678901234567890", "12345678901234567000"),
            (b"1e21", "1e+21"),
            (b"1E-7", "1e-7"),
            (b"1e-400", "0"),
            (b"\"<>&\\u2028\\u0000\\b\\f\\/\"", "\"\\u003c\\u003e\\u0026\\u2028\\u0000\\b\\f/\""),
            (b"\"\xe2\x82A\xed\xa0\x80\"", "\"\u{fffd}\u{fffd}A\u{fffd}\u{fffd}\u{fffd}\""),
            (b"\"\\ud83d\\ude00\\ud83dx\\ude00\"", "\"\u{1f600}\u{fffd}x\u{fffd}\""),
            (b"\"\\ud83d\\ud83d\\ude00\"", "\"\u{fffd}\u{1f600}\""),
            (b"\"\\ud800\"", "\"\u{fffd}\""),
            (b"\"\\ud800\\u0041\"", "\"\u{fffd}A\""),
            (b"[ ]", "[]"),
            (b"{ }", "{}"),
            (b"[1 ,[2,\"3\"],{}]", "[1,[2,\"3\"],{}]"),
            (
                b"{\"b\":1,\"a\":[{\"d\":2,\"c\":3}],\"b\":{\"x\":4}}",
                "{\"a\":[{\"c\":3,\"d\":2}],\"b\":{\"x\":4}}",
            ),
            (b"{\"\":1,\"\\u0061\":2,\"<\":3}", "{\"\":1,\"\\u003c\":3,\"a\":2}"),
        ] {
            let text_shown = String::from_utf8_lossy(text);
            assert_eq!(again(text).as_deref(), Some(written), "{text_shown}");
        }
    }

    #[test]
    fn what_go_does_not_take_is_not_taken() {
        for text in [
            &b""[..],
            b"01",
            b"+1",
            b".5",
            b"1.",
            b"1e",
            b"1e400",
            b"[1e400]",
            b"-",
            b"NaN",
            b"tru",
            b"'a'",
            b"\"\n\"",
            b"\"\\x\"",
            b"\"\\u12\"",
            b"\"\\ud800\\uzzzz\"",
            b"\"",
            b"[1,]",
            b"[,1]",
            b"[1 2]",
            b"[1",
            b"[1}",
            b"{\"a\":1]",
            b"{,}",
            b"{\"a\":1,}",
            b"{\"a\" 1}",
            b"{1:2}",
            b"{\"a\"",
            b"1,2",
            b"1}",
        ] {
            assert_eq!(again(text), None, "{}", String::from_utf8_lossy(text));
        }
        for text in [&b""[..], b"[]", b"\"x\"", b"1", b"true", b"{} {}", b"\xef\xbb\xbf{}", b" "] {
            assert!(Object::parse(text).is_none(), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn null_is_an_object_without_members() {
        for text in [&b"null"[..], b" null\n", b"{}"] {
            assert!(Object::parse(text).unwrap().get("a").is_none());
        }
    }

    #[test]
    fn of_members_of_one_name_the_last_counts() {
        let object = Object::parse(br#"{"a":1,"b":"x","a":[5],"a":7}"#).unwrap();
        assert_eq!(object.get("a").unwrap().as_number(), Some(7.0));
        assert_eq!(object.get("b").unwrap().as_text(), Some("x"));
        assert!(object.get("c").is_none());
    }

    #[test]
    fn ten_thousand_values_may_lie_in_each_other_and_no_more() {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        let deepest = nested(DEPTH_MAX - 1);
        assert_eq!(again(deepest.as_bytes()), Some(deepest));
        assert_eq!(again(nested(DEPTH_MAX).as_bytes()), None);
        let objects = ["{\"a\":".repeat(5_000), "1".to_owned(), "}".repeat(5_000)].concat();
        assert_eq!(again(objects.as_bytes()), Some(objects));
    }
}
