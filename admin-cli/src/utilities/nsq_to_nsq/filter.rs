//! Which messages pass, and what is left of them.
//!
//! Rule (NSQ behaviour): with `--require-json-field` or `--whitelist-json-field` a message has to be
//! an object of JSON, else it is dropped. The required field has to be there, and with
//! `--require-json-value` it has to be that text, or a number that is equal to it. Of a message that
//! passes only the listed fields are left, in the order of their names; whole numbers are written in
//! full, but for those inside other values.
//!
//! Does not know: where messages come from, and where they go.

use std::borrow::Cow;
use std::collections::BTreeSet;

use startup::float;

use super::object::{Object, Value};

/// What the flags ask for. Empty texts ask for nothing.
#[derive(Debug)]
pub(super) struct Filter {
    field: String,
    value: String,
    /// The number that `value` is, if it can be one of JSON.
    number: Option<f64>,
    fields: BTreeSet<String>,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// It goes on, like this.
    Passes(Cow<'a, [u8]>),
    /// It is finished, and goes nowhere.
    IsDropped,
    /// The same; and it is no object of JSON.
    IsUnreadable,
    /// It lacks the field whose value is required. It is requeued, and the consumer backs off.
    LacksField,
}

impl Filter {
    /// `--require-json-field`, `--require-json-value`, and every `--whitelist-json-field`.
    pub(super) fn new(field: &str, value: &str, fields: &[String]) -> Self {
        Self {
            field: field.to_owned(),
            value: value.to_owned(),
            number: float::parse(value).ok().filter(|number| number.is_finite()),
            fields: fields.iter().cloned().collect(),
        }
    }

    /// What becomes of a message.
    pub(super) fn judge<'a>(&self, body: &'a [u8]) -> Verdict<'a> {
        if self.field.is_empty() && self.fields.is_empty() {
            return Verdict::Passes(Cow::Borrowed(body));
        }
        let Some(object) = Object::parse(body) else { return Verdict::IsUnreadable };
        if !self.field.is_empty() {
            match (object.get(&self.field), self.value.is_empty()) {
                (None, true) => return Verdict::IsDropped,
                (None, false) => return Verdict::LacksField,
                (Some(value), false) if !self.is_required(value) => return Verdict::IsDropped,
                _ => {}
            }
        }
        if self.fields.is_empty() {
            return Verdict::Passes(Cow::Borrowed(body));
        }
        Verdict::Passes(Cow::Owned(self.left_of(&object).into_bytes()))
    }

    fn is_required(&self, value: Value<'_>) -> bool {
        match value.as_text() {
            Some(text) => text == self.value,
            None => self.number.is_some() && value.as_number() == self.number,
        }
    }

    fn left_of(&self, object: &Object) -> String {
        let mut out = String::from("{");
        for field in &self.fields {
            let Some(value) = object.get(field) else { continue };
            if 1 < out.len() {
                out.push(',');
            }
            out.push_str(&protocol::json::to_go_json(field));
            out.push(':');
            match value.as_number().and_then(whole) {
                Some(number) => out.push_str(&number.to_string()),
                None => value.write(&mut out),
            }
        }
        out.push('}');
        out
    }
}

/// The whole number of 64 bits that a float is.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "it is compared")]
fn whole(number: f64) -> Option<i64> {
    // 2 to the power of 63 is none any more, and would be cut to the number before it.
    let limit = i64::MIN as f64;
    let is_in_range = limit <= number && number < -limit;
    let whole = number as i64;
    #[expect(clippy::float_cmp, reason = "exactly the same number is meant")]
    let is_same = whole as f64 == number;
    (is_in_range && is_same).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flags: [&str; 2], fields: &[&str], cases: &[(&str, &str)]) {
        let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
        let filter = Filter::new(flags[0], flags[1], &fields);
        for &(body, expected) in cases {
            let verdict = match filter.judge(body.as_bytes()) {
                Verdict::Passes(body) => String::from_utf8(body.into_owned()).unwrap(),
                Verdict::IsDropped => "dropped".to_owned(),
                Verdict::IsUnreadable => "unreadable".to_owned(),
                Verdict::LacksField => "lacks".to_owned(),
            };
            assert_eq!(verdict, expected, "{flags:?} {body}");
        }
    }

    #[test]
    fn without_flags_everything_passes_as_it_is() {
        check(["", ""], &[], &[("x", "x"), ("{\"a\": 1}", "{\"a\": 1}")]);
        check(["", "5"], &[], &[("x", "x")]);
    }

    #[test]
    fn a_required_field_has_to_be_there() {
        check(
            ["a", ""],
            &[],
            &[
                ("{\"a\": null}", "{\"a\": null}"),
                ("{\"b\":1}", "dropped"),
                ("null", "dropped"),
                ("[\"a\"]", "unreadable"),
                ("{\"a\":1", "unreadable"),
            ],
        );
    }

    #[test]
    fn a_required_value_is_a_text_or_a_number() {
        check(
            ["a", "5.0"],
            &[],
            &[
                ("{\"a\":\"5.0\"}", "{\"a\":\"5.0\"}"),
                ("{\"a\":5}", "{\"a\":5}"),
                ("{\"a\":0.5e1}", "{\"a\":0.5e1}"),
                ("{\"a\":\"5\"}", "dropped"),
                ("{\"a\":5.1}", "dropped"),
                ("{\"a\":[5]}", "dropped"),
                ("{\"a\":4,\"a\":5}", "{\"a\":4,\"a\":5}"),
                ("{\"b\":5}", "lacks"),
                ("null", "lacks"),
            ],
        );
        check(
            ["a", "true"],
            &[],
            &[("{\"a\":true}", "dropped"), ("{\"a\":\"true\"}", "{\"a\":\"true\"}")],
        );
        check(["a", "nan"], &[], &[("{\"a\":1}", "dropped")]);
    }

    #[test]
    fn only_listed_fields_are_left_by_name_with_whole_numbers_in_full() {
        check(
            ["", ""],
            &["c", "a", "b", "a"],
            &[
                ("{\"d\":1,\"c\":1.5,\"a\":1.0}", "{\"a\":1,\"c\":1.5}"),
                ("{\"a\":-0,\"b\":9223372036854775807}", "{\"a\":0,\"b\":9223372036854776000}"),
                (
                    "{\"a\":-9223372036854775808,\"b\":1152921504606846976,\"c\":1e19}",
                    "{\"a\":-9223372036854775808,\"b\":1152921504606846976,\
                     \"c\":10000000000000000000}",
                ),
                (
                    "{\"a\":[1152921504606846976,1.0],\"b\":{\"z\":-0,\"y\":\"<\"}}",
                    "{\"a\":[1152921504606847000,1],\"b\":{\"y\":\"\\u003c\",\"z\":-0}}",
                ),
                ("{\"x\":1}", "{}"),
                ("null", "{}"),
                ("3", "unreadable"),
            ],
        );
        check(
            ["a", "1"],
            &["b<"],
            &[("{\"a\":1,\"b<\":2}", "{\"b\\u003c\":2}"), ("{\"a\":2}", "dropped")],
        );
    }
}
