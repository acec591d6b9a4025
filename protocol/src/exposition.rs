//! The text in which Prometheus reads figures, as both programs write it.
//!
//! Knows: lines, labels, escapes, and how a histogram is told. Does not know: what is measured.
//!
//! ```text
//! # HELP name what it is
//! # TYPE name gauge | counter | histogram
//! name{label="value",...} 7
//! ```

use std::fmt::{Arguments, Display, Write as _};

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a sample is about: names and values.
pub type Labels<'a> = &'a [(&'a str, &'a dyn Display)];

/// The text as it grows. All samples of one name stand together, behind its head.
#[derive(Clone, Debug, Default)]
pub struct Text(String);

impl Text {
    /// Begins the samples of a name; `kind` is `gauge`, `counter` or `histogram`, `help` one line.
    pub fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    /// One sample.
    pub fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        let mut before = '{';
        self.0.push_str(name);
        for (label, value) in labels {
            self.0.push(before);
            self.0.push_str(label);
            self.0.push_str("=\"");
            self.escaped(value);
            self.0.push('"');
            before = ',';
        }
        let end = if labels.is_empty() { "" } else { "}" };
        self.line(format_args!("{end} {value}"));
    }

    /// A whole histogram without labels: of each class its upper bound in seconds and what is in it
    /// alone; then what is beyond all bounds, and the sum of everything in seconds.
    pub fn histogram(
        &mut self,
        name: &str,
        help: &str,
        classes: impl IntoIterator<Item = (f64, u64)>,
        beyond: u64,
        sum: f64,
    ) {
        self.head(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        for (bound, inside) in classes {
            count += inside;
            self.sample(&bucket, &[("le", &bound)], count);
        }
        count += beyond;
        self.sample(&bucket, &[("le", &"+Inf")], count);
        self.sample(&format!("{name}_sum"), &[], sum);
        self.sample(&format!("{name}_count"), &[], count);
    }

    /// The text so far.
    pub fn into_string(self) -> String {
        self.0
    }

    fn escaped(&mut self, value: &dyn Display) {
        let from = self.0.len();
        write!(self.0, "{value}").expect("a string takes everything");
        if self.0.get(from..).is_some_and(|value| value.contains(['\\', '"', '\n'])) {
            let value = self.0.split_off(from);
            let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            self.0.push_str(&value);
        }
    }

    fn line(&mut self, line: Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a string takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_a_histogram_adds_up() {
        let mut text = Text::default();
        text.head("depth", "gauge", "What waits.");
        text.sample("depth", &[("topic", &"a\\b\"c\nd"), ("paused", &true)], -1);
        text.sample("depth", &[], 2.5);
        text.histogram("took", "How long.", [(0.00001, 3), (1.0, 0), (2.5, 4)], 1, 7.25);
        let expected = r#"# HELP depth What waits.
# TYPE depth gauge
depth{topic="a\\b\"c\nd",paused="true"} -1
depth 2.5
# HELP took How long.
# TYPE took histogram
took_bucket{le="0.00001"} 3
took_bucket{le="1"} 3
took_bucket{le="2.5"} 7
took_bucket{le="+Inf"} 8
took_sum 7.25
took_count 8
"#;
        assert_eq!(text.into_string(), expected);
    }
}
