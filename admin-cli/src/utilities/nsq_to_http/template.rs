//! The address of `--get`, into which a message is printed.
//!
//! Rule (NSQ behaviour): the address is a format of Go's `Printf` with the escaped message as its
//! one argument. So a `%` that is meant stands twice, and an address with `%20` in it is one that no
//! message can be printed into.
//!
//! Does not know: what is done with the address.

/// The only thing an address of `--get` must have, and once.
pub(super) const PLACE: &str = "%s";

/// `format` with `argument` printed into it as Go's `Printf` does it, mistakes included.
pub(super) fn fill(format: &str, argument: &str) -> String {
    let mut out = String::with_capacity(format.len() + argument.len());
    let mut rest = format;
    let mut is_used = false;
    while let Some((before, behind)) = rest.split_once('%') {
        out.push_str(before);
        let (layout, behind) = Layout::read(behind);
        let mut characters = behind.chars();
        rest = match characters.next() {
            None => {
                out.push_str("%!(NOVERB)");
                ""
            }
            Some('%') => {
                out.push('%');
                characters.as_str()
            }
            Some(verb) if is_used => {
                out.push_str(&format!("%!{verb}(MISSING)"));
                characters.as_str()
            }
            Some(verb) => {
                is_used = true;
                layout.print(&mut out, verb, argument);
                characters.as_str()
            }
        };
    }
    out.push_str(rest);
    if !is_used {
        out.push_str(&format!("%!(EXTRA string={argument})"));
    }
    out
}

/// What stands between `%` and the verb.
#[derive(Debug, Default)]
struct Layout {
    is_sharp: bool,
    is_spaced: bool,
    is_left: bool,
    is_zeroed: bool,
    width: usize,
    precision: Option<usize>,
}

/// Beyond this Go says that a width is none; nobody gets so far.
const WIDTH_MAX: usize = 1_000_000;

impl Layout {
    /// The layout, and what stands behind it.
    fn read(text: &str) -> (Self, &str) {
        let mut layout = Self::default();
        let flags = text.trim_start_matches(['#', '0', '+', '-', ' ']);
        for flag in text[..text.len() - flags.len()].chars() {
            match flag {
                '#' => layout.is_sharp = true,
                '0' => layout.is_zeroed = true,
                '-' => layout.is_left = true,
                ' ' => layout.is_spaced = true,
                _ => {}
            }
        }
        let (width, mut behind) = number(flags);
        layout.width = width;
        if let Some(precision) = behind.strip_prefix('.') {
            let (precision, rest) = number(precision);
            layout.precision = Some(precision);
            behind = rest;
        }
        (layout, behind)
    }

    fn print(&self, out: &mut String, verb: char, argument: &str) {
        let cut = self.precision.map_or(argument, |precision| {
            argument.char_indices().nth(precision).map_or(argument, |(end, _)| &argument[..end])
        });
        match verb {
            'v' if self.is_sharp => self.pad(out, &format!("{cut:?}")),
            's' | 'v' => self.pad(out, cut),
            'q' => self.pad(out, &format!("{cut:?}")),
            'x' | 'X' => {
                let digits: Vec<String> = cut.bytes().map(|byte| format!("{byte:02x}")).collect();
                let mut digits = digits.join(if self.is_spaced { " " } else { "" });
                if self.is_sharp {
                    digits.insert_str(0, "0x");
                }
                self.pad(out, &if verb == 'X' { digits.to_uppercase() } else { digits });
            }
            'T' => self.pad(out, "string"),
            _ => {
                out.push_str(&format!("%!{verb}(string="));
                self.pad(out, cut);
                out.push(')');
            }
        }
    }

    fn pad(&self, out: &mut String, text: &str) {
        let missing = self.width.saturating_sub(text.chars().count());
        match (self.is_left, self.is_zeroed) {
            (true, _) => {
                out.push_str(text);
                out.extend(std::iter::repeat_n(' ', missing));
            }
            (false, is_zeroed) => {
                let filler = if is_zeroed { '0' } else { ' ' };
                out.extend(std::iter::repeat_n(filler, missing));
                out.push_str(text);
            }
        }
    }
}

/// The number at the start of `text`, 0 where there is none, and what stands behind it.
fn number(text: &str) -> (usize, &str) {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text[..text.len() - rest.len()].parse().unwrap_or(0);
    (if WIDTH_MAX < number { 0 } else { number }, rest)
}

/// A message as it stands in a query: letters, digits and `-_.~` as they are, a blank as `+`, every
/// other byte as `%` and two digits.
pub(super) fn query_escape(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => {
                out.push('%');
                out.push(DIGITS[usize::from(byte >> 4)]);
                out.push(DIGITS[usize::from(byte & 15)]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_filled_as_gos_printf_fills_it() {
        for (format, filled) in [
            ("http://h/?a=%s", "http://h/?a=hello"),
            ("http://h/%%20?a=%s&b=c", "http://h/%20?a=hello&b=c"),
            ("a%%s", "a%s%!(EXTRA string=hello)"),
            ("%20b%s", "%!b(string=               hello)%!s(MISSING)"),
            ("%2F%s", "%!F(string=hello)%!s(MISSING)"),
            ("%2Fx=%s", "%!F(string=hello)x=%!s(MISSING)"),
            ("%C3%A9=%s", "%!C(string=hello)3%!A(MISSING)9=%!s(MISSING)"),
            ("%s%", "hello%!(NOVERB)"),
            ("%s%20", "hello%!(NOVERB)"),
            ("%5s|%s", "hello|%!s(MISSING)"),
            ("%7s", "  hello"),
            ("%-7s", "hello  "),
            ("%07s", "00hello"),
            ("%-07s", "hello  "),
            ("%.2s", "he"),
            ("%x%s", "68656c6c6f%!s(MISSING)"),
            ("%X%s", "68656C6C6F%!s(MISSING)"),
            ("% x%s", "68 65 6c 6c 6f%!s(MISSING)"),
            ("%#x%s", "0x68656c6c6f%!s(MISSING)"),
            ("%7q%s", "\"hello\"%!s(MISSING)"),
            ("%#v%s", "\"hello\"%!s(MISSING)"),
            ("%v%s", "hello%!s(MISSING)"),
            ("%T%s", "string%!s(MISSING)"),
            ("%d%s", "%!d(string=hello)%!s(MISSING)"),
            ("%é%s", "%!é(string=hello)%!s(MISSING)"),
            ("%20%%s", "%hello"),
        ] {
            assert_eq!(fill(format, "hello"), filled, "{format}");
        }
    }

    #[test]
    fn messages_are_escaped_as_in_a_query() {
        for (message, escaped) in [
            (&b"hello world&x=1"[..], "hello+world%26x%3D1"),
            (b"AZaz09-_.~", "AZaz09-_.~"),
            (
                b"!*'();:@+$,/?#[]%\"<>",
                "%21%2A%27%28%29%3B%3A%40%2B%24%2C%2F%3F%23%5B%5D%25%22%3C%3E",
            ),
            (b"\x00\n\x7f\xff\xc3\xa9", "%00%0A%7F%FF%C3%A9"),
            (b"", ""),
        ] {
            assert_eq!(query_escape(message), escaped);
        }
    }
}
