//! Arguments of a request, as they stand behind the `?`.
//!
//! Rule (NSQ behaviour): pieces are split at `&`; `+` is a blank; a `;` or a bad escape anywhere
//! spoils the whole query, which the routes answer with 400 `INVALID_REQUEST`; the first value of
//! a repeated name wins. Bodies are never read as arguments.
//!
//! Does not know: which arguments a route wants.

use super::percent::{self, Plus};

/// The query holds a `;` or an escape that is not `%` and two hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidQuery;

/// The arguments of one request, decoded.
///
/// Bytes that are not UTF-8 become U+FFFD: no name or number contains it, so such an argument is
/// refused wherever it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands behind the `?`, without it.
    ///
    /// # Errors
    /// [`InvalidQuery`] when any piece breaks the rule at the head of this file.
    pub fn parse(raw: &str) -> Result<Self, InvalidQuery> {
        let pieces = raw.split('&').filter(|piece| !piece.is_empty());
        pieces.map(parse_piece).collect::<Result<_, _>>().map(Self)
    }

    /// The first value given for `name`; the empty string when the name stands alone.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

fn parse_piece(piece: &str) -> Result<(String, String), InvalidQuery> {
    if piece.contains(';') {
        return Err(InvalidQuery);
    }
    let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
    let text = |escaped: &str| {
        let bytes = percent::decode(escaped.as_bytes(), Plus::Blank).ok_or(InvalidQuery)?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    };
    Ok((text(name)?, text(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_a_name_wins() {
        let cases = [
            ("topic=a&topic=b", Some("a")),
            ("topic", Some("")),
            ("topic=&topic=b", Some("")),
            ("&&x=1&topic=t%23ephemeral&", Some("t#ephemeral")),
            ("to%70ic=a=b", Some("a=b")),
            ("topic=a+b", Some("a b")),
            ("topic=%ff", Some("\u{fffd}")),
            ("Topic=a", None),
            ("", None),
        ];
        for (raw, topic) in cases {
            assert_eq!(Query::parse(raw).unwrap().get("topic"), topic, "{raw}");
        }
    }

    #[test]
    fn a_semicolon_or_a_bad_escape_spoils_the_whole_query() {
        for raw in ["topic=a;b", "topic=a&x;y", "topic=a&%zz=1", "topic=%", "topic=a&b=%1"] {
            assert_eq!(Query::parse(raw), Err(InvalidQuery), "{raw}");
        }
    }
}
