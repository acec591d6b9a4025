//! The figures for people, as Markdown.

use std::fmt::Write as _;

use super::{Summary, summaries};
use crate::compare::Measured;

/// A title, what it shows, and a table.
pub(crate) fn render(measured: &Measured) -> String {
    let mut text = format!("## {}\n\n{}\n\n", measured.scenario.name, measured.scenario.shows);
    if !measured.missing.is_empty() {
        let names = measured.missing.join(", ");
        writeln!(text, "Not installed here, and so what needs it was left out: {names}.\n")
            .expect("a string takes text");
    }
    text.push_str(
        "| | broker | messages/s | of nsqd's | CPU us/message | of nsqd's | p50 us | p99 | p99.9 | most | peak MiB | written MiB | |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|\n",
    );
    for row in &measured.rows {
        let all = summaries(row);
        for (number, summary) in all.iter().enumerate() {
            let label = if number == 0 { row.row.label } else { "" };
            line(&mut text, label, summary, &all[0]);
        }
        if let Some(ceiling) = &row.ceiling {
            let rate = ceiling.messages as f64 / ceiling.time.as_secs_f64();
            writeln!(text, "| | *the generator alone* | {} | | | | | | | | | | |", number(rate))
                .expect("a string takes text");
        }
    }
    text
}

fn line(text: &mut String, label: &str, summary: &Summary, first: &Summary) {
    let ratio = |value: Option<f64>, of: Option<f64>| match (value, of) {
        (Some(value), Some(of)) if 0.0 < of => format!("{:.2}", value / of),
        _ => String::new(),
    };
    let [half, most_of, nearly_all, most] = match summary.waits {
        Some(waits) => waits.map(number),
        None => [const { String::new() }; 4],
    };
    let shown = |value: Option<f64>, digits: usize| match value {
        Some(value) => format!("{value:.digits$}"),
        None => String::new(),
    };
    let remark = match (summary.rate, summary.bytes_each) {
        (_, Some(bytes)) => {
            format!("{:.3} % of a core, {:.1} KiB each", summary.load * 100.0, bytes / 1024.0)
        }
        (None, None) => format!("{:.3} s", summary.seconds),
        (Some(_), None) => {
            format!("within {:.0} %", summary.spread.unwrap_or_default() * 100.0)
        }
    };
    writeln!(
        text,
        "| {label} | {} | {} | {} | {} | {} | {half} | {most_of} | {nearly_all} | {most} | {:.0} | {:.0} | {remark} |",
        summary.name,
        summary.rate.map(number).unwrap_or_default(),
        ratio(summary.rate, first.rate),
        shown(summary.cost, 2),
        ratio(summary.cost, first.cost),
        summary.peak_mebibytes,
        summary.written_mebibytes,
    )
    .expect("a string takes text");
}

/// A number with a comma between thousands.
fn number(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if 0 < index && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (value, expected) in
            [(0.0, "0"), (999.0, "999"), (1000.0, "1,000"), (1_234_567.4, "1,234,567")]
        {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn a_line_compares_with_the_first_contender() {
        let first = Summary {
            name: "nsqd",
            rate: Some(1000.0),
            spread: Some(0.1),
            cost: Some(8.0),
            load: 0.5,
            seconds: 4.0,
            waits: None,
            peak_mebibytes: 10.0,
            written_mebibytes: 20.0,
            bytes_each: None,
        };
        let ours = Summary {
            name: "ours",
            rate: Some(2500.0),
            cost: Some(2.0),
            waits: Some([1.0, 2.0, 3.0, 4000.0]),
            ..first.clone()
        };
        let mut text = String::new();
        line(&mut text, "work", &ours, &first);
        assert_eq!(
            text,
            "| work | ours | 2,500 | 2.50 | 2.00 | 0.25 | 1 | 2 | 3 | 4,000 | 10 | 20 | within 10 % |\n"
        );
    }
}
