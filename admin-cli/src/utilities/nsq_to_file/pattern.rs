//! `--topic-pattern`: which topics are wanted.
//!
//! Rule (NSQ behaviour): the expression is searched for, not anchored, and where it is none, nothing
//! matches. It is one of Go's; what the two libraries read differently is put into words that both
//! read alike. What only one of them knows and no name of a topic can hold is left as it is.

use regex::Regex;

/// Which topics are wanted.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    /// `None` when everything matches.
    expression: Option<Result<Regex, String>>,
}

impl Pattern {
    /// The empty text means all topics.
    pub(super) fn new(text: &str) -> Self {
        let compile = || Regex::new(&translate(text)).map_err(|error| error.to_string());
        let expression = (!text.is_empty()).then(compile);
        Self { text: text.to_owned(), expression }
    }

    /// As it was given.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Why nothing matches, when that is so because the expression is none.
    pub(super) fn mistake(&self) -> Option<&str> {
        self.expression.as_ref()?.as_ref().err().map(String::as_str)
    }

    pub(super) fn matches(&self, topic: &str) -> bool {
        match &self.expression {
            None => true,
            Some(expression) => expression.as_ref().is_ok_and(|found| found.is_match(topic)),
        }
    }
}

/// Go's expression in words that mean the same here. Inside a class Go knows no classes but the named
/// ones, and no operators; `\<` and `\>` are signs like others; `\Q` quotes up to `\E`.
fn translate(expression: &str) -> String {
    let mut translated = String::new();
    let mut rest = expression;
    let mut is_in_class = false;
    while let Some(first) = rest.chars().next() {
        let behind = &rest[first.len_utf8()..];
        if first == '\\' {
            if let Some(quoted) = behind.strip_prefix('Q')
                && !is_in_class
            {
                let (quoted, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
                translated.push_str(&regex::escape(quoted));
                rest = after;
                continue;
            }
            match behind.chars().next() {
                Some(sign @ ('<' | '>')) => translated.push(sign),
                Some(sign) => translated.extend(['\\', sign]),
                None => translated.push('\\'),
            }
            rest = &behind[behind.chars().next().map_or(0, char::len_utf8)..];
            continue;
        }
        if is_in_class {
            if rest.starts_with("[:")
                && let Some((named, after)) = rest.split_once(":]")
            {
                translated.push_str(named);
                translated.push_str(":]");
                rest = after;
                continue;
            }
            match first {
                '[' | '&' | '~' => translated.extend(['\\', first]),
                '-' if translated.ends_with('-') => translated.push_str(r"\-"),
                _ => translated.push(first),
            }
            is_in_class = first != ']';
        } else {
            translated.push(first);
            if first == '[' {
                is_in_class = true;
                // A bracket that stands first is one of the class's signs.
                for sign in ["^", "]"] {
                    if let Some(after) = rest[1..].strip_prefix(sign)
                        && !translated.ends_with(']')
                    {
                        translated.push_str(sign);
                        rest = &rest[rest.len() - after.len() - 1..];
                    }
                }
                rest = &rest[1..];
                continue;
            }
        }
        rest = behind;
    }
    translated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_searched_for() {
        for (pattern, topic, matches) in [
            ("", "orders", true),
            ("rder", "orders", true),
            ("^rder", "orders", false),
            (r"^orders\.", "orders.new", true),
            (r"^orders\.", "orders-new", false),
            ("(a|b)$", "orders-b", true),
            ("ORDERS", "orders", false),
            ("(?i)ORDERS", "orders", true),
            (r"^\w+\d$", "orders1", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(topic), matches, "{pattern} {topic}");
        }
    }

    #[test]
    fn what_is_no_pattern_matches_nothing_and_says_why() {
        let pattern = Pattern::new("orders(");
        assert!(!pattern.matches("orders(") && !pattern.matches("orders"));
        assert!(pattern.mistake().unwrap().contains("unclosed group"));
        assert_eq!(pattern.as_str(), "orders(");
        assert_eq!(Pattern::new("orders").mistake(), None);
        assert_eq!(Pattern::new("").mistake(), None);
    }

    #[test]
    fn signs_mean_what_they_mean_to_go() {
        for (pattern, topic, matches) in [
            ("^[a[b]$", "a", true),
            ("^[[:alpha:]-]+$", "a-b", true),
            ("^[a-z&&b]$", "z", true),
            ("^[+--]$", "-", true),
            ("^[^]a]$", "a", false),
            ("^[^]a]$", "b", true),
            ("^[]a]$", "a", true),
            (r"\<orders\>", "orders", false),
            (r"^\Qa.b\E.$", "a.bc", true),
            (r"^\Qa.b\E.$", "axbc", false),
            (r"\Qa.b", "a.b", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(topic), matches, "{pattern} {topic}");
        }
    }
}
