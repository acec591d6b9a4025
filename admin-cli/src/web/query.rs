//! The arguments of a request, with the words in which Go refuses them.
//!
//! Does not know: which arguments a route wants.

use protocol::http::query::Query;

use super::go_json::quoted;

/// Reads what stands behind the `?`.
///
/// # Errors
/// What is wrong with it, in Go's words.
pub(super) fn parse(raw: &str) -> Result<Query, String> {
    Query::parse(raw).map_err(|_| words(raw))
}

fn words(raw: &str) -> String {
    let mut words = None;
    for piece in raw.split('&') {
        if piece.contains(';') {
            // The last of these counts, and the first of the others.
            words = Some("invalid semicolon separator in query".to_owned());
        } else if let (Some(escape), None) = (bad_escape(piece), &words) {
            words = Some(format!("invalid URL escape {}", quoted(escape)));
        }
    }
    words.unwrap_or_default()
}

/// The first `%` without two digits behind it, with what stands there instead.
fn bad_escape(piece: &str) -> Option<&str> {
    let found = piece.match_indices('%').find(|&(at, _)| {
        let digits = piece.as_bytes().get(at + 1..at + 3);
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    let rest = &piece[found?.0..];
    let end = rest.char_indices().nth(3).map_or(rest.len(), |(at, _)| at);
    Some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_query_is_refused_in_gos_words() {
        for (raw, refusal) in [
            ("%zz=1", "invalid URL escape \"%zz\""),
            ("a=%1", "invalid URL escape \"%1\""),
            ("a=%zz1&b=%yy", "invalid URL escape \"%zz\""),
            ("a=%zz&b;c", "invalid semicolon separator in query"),
            ("b;c&a=%zz", "invalid semicolon separator in query"),
        ] {
            assert_eq!(parse(raw), Err(refusal.to_owned()), "{raw}");
        }
        assert_eq!(parse("a=1&b=%20").unwrap().get("b"), Some(" "));
    }
}
