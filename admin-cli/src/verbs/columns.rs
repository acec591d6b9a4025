//! Tables for people.
//!
//! Knows: how wide columns are and how numbers look. Does not know: what a table says.

use std::fmt::Write;

use crate::terminal::visible;

/// Where a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// A table whose columns are as wide as what they hold.
pub(crate) struct Table {
    sides: Vec<Side>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with headings.
    pub(crate) fn new(columns: &[(&str, Side)]) -> Self {
        let sides = columns.iter().map(|&(_, side)| side).collect();
        let headings = columns.iter().map(|&(heading, _)| heading.to_uppercase()).collect();
        Self { sides, rows: vec![headings] }
    }

    /// Adds a row: a cell for each column. A row is one line, whatever stands in a cell.
    pub(crate) fn push(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.sides.len(), "a row has a cell for each column");
        let cells = cells.into_iter().map(|cell| visible(&cell).replace('\n', "\\n"));
        self.rows.push(cells.collect());
    }

    /// The table, ending with a line feed.
    pub(crate) fn render(&self) -> String {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> =
            (0..self.sides.len()).map(|column| width(column).unwrap_or_default()).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&self.sides)
                .zip(&widths)
                .map(|((cell, side), &width)| match side {
                    Side::Left => format!("{cell:<width$}"),
                    Side::Right => format!("{cell:>width$}"),
                })
                .collect();
            writeln!(text, "{}", cells.join("  ").trim_end())
                .expect("a String takes what it is given");
        }
        text
    }
}

/// A number as people read it: `1,204`.
pub(crate) fn number(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place != 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and what is counted: `1 message`, `1,204 messages`.
pub(crate) fn counted(count: impl Into<i128>, one: &str) -> String {
    let count: i128 = count.into();
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {one}{plural}", number(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_they_hold() {
        let mut table =
            Table::new(&[("topic", Side::Left), ("depth", Side::Right), ("", Side::Left)]);
        table.push(vec!["orders".into(), "1,204".into(), String::new()]);
        table.push(vec!["a".into(), "0".into(), "paused".into()]);
        let expected = "\
TOPIC   DEPTH
orders  1,204
a           0  paused
";
        assert_eq!(table.render(), expected);
    }

    #[test]
    fn a_row_is_one_line_and_no_order_to_the_terminal() {
        let mut table = Table::new(&[("host", Side::Left), ("depth", Side::Right)]);
        table.push(vec!["a\u{1b}[2J\nb\u{9b}".into(), "1".into()]);
        assert_eq!(table.render(), "HOST                 DEPTH\na\\u{1b}[2J\\nb\\u{9b}      1\n");
    }

    #[test]
    fn numbers_are_grouped_and_counted() {
        for (count, text) in [
            (0, "0 messages"),
            (1, "1 message"),
            (999, "999 messages"),
            (1_204, "1,204 messages"),
            (12_345_678, "12,345,678 messages"),
            (-1_000, "-1,000 messages"),
        ] {
            assert_eq!(counted(count, "message"), text);
        }
    }
}
