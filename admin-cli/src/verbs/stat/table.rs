//! How counters look in a terminal of 80 columns.
//!
//! Knows: widths and headings. Does not know: where the numbers come from ([`super`]).

use std::fmt::Write;

use super::{ChannelReport, Report};
use crate::verbs::figures;

/// The first column: names. A longer name has a line of its own.
const NAME_WIDTH: usize = 15;

/// The other columns: their width, and their heading on two lines. The short words are `nsq_stat`'s.
const COLUMNS: [(usize, &str, &str); 10] = [
    (7, "", "depth"),
    (6, "on", "disk"),
    (6, "", "inflt"),
    (5, "", "def"),
    (5, "", "req"),
    (5, "", "t-o"),
    (7, "", "msgs"),
    (5, "", "in/s"),
    (5, "", "out/s"),
    (4, "cli-", "ents"),
];

/// One line of figures; `None` where a figure has no meaning, or is not known yet.
type Figures = [Option<Figure>; COLUMNS.len()];

/// A number in the table.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    Count(i64),
    Rate(f64),
}

/// The whole table, with the brokers that failed below it. Ends with a line feed.
pub(crate) fn render(report: &Report, clock: &str) -> String {
    let mut out = String::new();
    let brokers = report.brokers.len();
    let plural = if brokers == 1 { "" } else { "s" };
    push(&mut out, format_args!("{}  {brokers} broker{plural}  {clock}", report.topic));
    match report.exists {
        Some(true) => render_rows(&mut out, report),
        Some(false) => push(&mut out, format_args!("the topic does not exist yet")),
        None => push(&mut out, format_args!("no broker answers")),
    }
    for failure in &report.failed {
        push(&mut out, format_args!("! {} does not answer: {}", failure.address, failure.error));
    }
    out
}

fn render_rows(out: &mut String, report: &Report) {
    let heading = |line: fn(&(usize, &'static str, &'static str)) -> &'static str| {
        let cells: Vec<String> =
            COLUMNS.iter().map(|column| format!("{:>1$}", line(column), column.0)).collect();
        cells.join(" ")
    };
    push(out, format_args!("{:NAME_WIDTH$} {}", "", heading(|column| column.1)));
    push(out, format_args!("{:NAME_WIDTH$} {}", "", heading(|column| column.2)));
    render_row(out, &marked(&report.topic, report.paused), topic_figures(report));
    for channel in &report.channels {
        let name = marked(&channel.channel, channel.paused);
        render_row(out, &format!("  {name}"), channel_figures(channel));
    }
    if let Some(channel) = &report.missing_channel {
        push(out, format_args!("the channel {channel} does not exist yet"));
    }
}

fn marked(name: &str, paused: bool) -> String {
    if paused { format!("{name} (paused)") } else { name.to_owned() }
}

fn topic_figures(report: &Report) -> Figures {
    let mut figures = [None; COLUMNS.len()];
    figures[0] = Some(Figure::Count(report.depth));
    figures[1] = Some(Figure::Count(report.backend_depth));
    figures[6] = Some(count(report.messages));
    figures[7] = report.in_per_second.map(Figure::Rate);
    figures[8] = report.out_per_second.map(Figure::Rate);
    figures
}

fn channel_figures(channel: &ChannelReport) -> Figures {
    [
        Some(Figure::Count(channel.depth)),
        Some(Figure::Count(channel.backend_depth)),
        Some(count(channel.in_flight)),
        Some(count(channel.deferred)),
        Some(count(channel.requeued)),
        Some(count(channel.timed_out)),
        Some(count(channel.messages)),
        channel.in_per_second.map(Figure::Rate),
        channel.out_per_second.map(Figure::Rate),
        Some(count(channel.clients)),
    ]
}

fn count(count: u64) -> Figure {
    Figure::Count(i64::try_from(count).unwrap_or(i64::MAX))
}

fn render_row(out: &mut String, name: &str, figures: Figures) {
    let cells: Vec<String> = figures
        .iter()
        .zip(COLUMNS)
        .map(|(figure, (width, _, _))| format!("{:>width$}", cell(*figure, width)))
        .collect();
    let cells = cells.join(" ");
    if name.chars().count() <= NAME_WIDTH {
        push(out, format_args!("{name:NAME_WIDTH$} {cells}"));
    } else {
        push(out, format_args!("{name}"));
        push(out, format_args!("{:NAME_WIDTH$} {cells}", ""));
    }
}

fn push(out: &mut String, line: std::fmt::Arguments<'_>) {
    let start = out.len();
    writeln!(out, "{line}").expect("a String takes what it is given");
    // Blanks at the end of a line would only be in the way of who copies it.
    let trimmed = out[start..].trim_end().len();
    out.truncate(start + trimmed);
    out.push('\n');
}

fn cell(figure: Option<Figure>, width: usize) -> String {
    match figure {
        None => "-".to_owned(),
        Some(Figure::Count(count)) => figures::shortened(count, width),
        Some(Figure::Rate(rate)) => figures::rate(rate, width),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::outcome::FailureReport;

    fn channel(name: &str) -> ChannelReport {
        ChannelReport {
            channel: name.into(),
            depth: 12,
            backend_depth: 5,
            in_flight: 3,
            deferred: 4,
            requeued: 5,
            timed_out: 6,
            messages: 1_234_567_890,
            in_per_second: Some(1_234.4),
            out_per_second: Some(0.25),
            clients: 2,
            paused: false,
        }
    }

    fn report() -> Report {
        Report {
            time: "2026-11-22T16:10:13Z".into(),
            topic: "test".into(),
            brokers: vec!["127.0.0.1:4151".into()],
            failed: Vec::new(),
            exists: Some(true),
            missing_channel: None,
            depth: 0,
            backend_depth: 0,
            messages: 10,
            message_bytes: 20,
            in_per_second: None,
            out_per_second: None,
            paused: false,
            channels: Vec::new(),
        }
    }

    #[test]
    fn a_table_has_a_row_for_the_topic_and_each_channel_and_names_who_failed() {
        let report = Report {
            channels: vec![
                channel("archive"),
                ChannelReport { paused: true, ..channel("a.rather.long.name#ephemeral") },
            ],
            failed: vec![FailureReport {
                address: "10.0.0.2:4151".into(),
                error: "Connection refused (os error 111)".into(),
            }],
            missing_channel: Some("other".into()),
            ..report()
        };
        let expected = "\
test  1 broker  16:10:13
                            on                                              cli-
                  depth   disk  inflt   def   req   t-o    msgs  in/s out/s ents
test                  0      0      -     -     -     -      10     -     -    -
  archive            12      5      3     4     5     6   1.23G  1234   0.2    2
  a.rather.long.name#ephemeral (paused)
                     12      5      3     4     5     6   1.23G  1234   0.2    2
the channel other does not exist yet
! 10.0.0.2:4151 does not answer: Connection refused (os error 111)
";
        let table = render(&report, "16:10:13");
        assert_eq!(table, expected);
        assert!(table.lines().take(5).all(|line| line.len() <= 80));
    }

    #[test]
    fn a_topic_that_is_not_there_is_said_to_be_watched() {
        let missing = Report { exists: Some(false), ..report() };
        let expected = "test  1 broker  1:00\nthe topic does not exist yet\n";
        assert_eq!(render(&missing, "1:00"), expected);
        let silent = Report { exists: None, brokers: Vec::new(), ..report() };
        let expected = "test  0 brokers  1:00\nno broker answers\n";
        assert_eq!(render(&silent, "1:00"), expected);
    }
}
