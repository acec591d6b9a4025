//! What an examination found: how bad it is, and what to do about it.
//!
//! Knows: how findings look as text and as JSON, and which of them decides. Does not know: what was
//! examined.

use std::fmt::Write as _;

use protocol::json::to_go_json;
use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// Nothing to do.
    Fine,
    /// nsqd works, and something may go wrong or slowly later.
    Warning,
    /// nsqd does not work like this.
    Wrong,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Warning => "warning",
            Self::Wrong => "WRONG",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at, in a word or two.
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    /// What is so.
    pub(super) found: String,
    /// What to do; `None` when nothing is to be done.
    pub(super) advice: Option<String>,
}

impl Finding {
    pub(super) fn fine(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fine, found: found.into(), advice: None }
    }

    pub(super) fn warning(
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let advice = Some(advice.into());
        Self { check, verdict: Verdict::Warning, found: found.into(), advice }
    }

    pub(super) fn wrong(
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let advice = Some(advice.into());
        Self { check, verdict: Verdict::Wrong, found: found.into(), advice }
    }
}

/// Everything that was found, in the order in which it is told.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The worst of the findings.
    verdict: Verdict,
    checks: Vec<Finding>,
}

impl Report {
    pub(super) fn new(checks: Vec<Finding>) -> Self {
        let verdict = checks.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Fine);
        Self { verdict, checks }
    }

    /// How many findings have this verdict.
    pub(super) fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// One line of JSON.
    pub(super) fn json(&self) -> String {
        format!("{}\n", to_go_json(self))
    }

    /// What was found line by line, and below each what to do.
    pub(super) fn text(&self) -> String {
        const TEXT_COLUMN: usize = 26;
        let mut out = String::new();
        let mut push = |line: std::fmt::Arguments<'_>| {
            writeln!(out, "{line}").expect("a String takes what it is given");
        };
        for Finding { check, verdict, found, advice } in &self.checks {
            let head = format!("{check:<16}{:<10}", verdict.word());
            let found = wrapped(found, 80 - TEXT_COLUMN);
            for (at, line) in found.iter().enumerate() {
                push(format_args!("{:TEXT_COLUMN$}{line}", if at == 0 { &head } else { "" }));
            }
            let advice = advice.iter().flat_map(|advice| wrapped(advice, 77 - TEXT_COLUMN));
            for (at, line) in advice.enumerate() {
                push(format_args!(
                    "{:TEXT_COLUMN$}{}{line}",
                    "",
                    if at == 0 { "-> " } else { "   " }
                ));
            }
        }
        let ending = match (self.count(Verdict::Wrong), self.count(Verdict::Warning)) {
            (0, 0) => "all is fine: nsqd can work here".to_owned(),
            (0, 1) => "1 warning; nothing keeps nsqd from working here".to_owned(),
            (0, warnings) => format!("{warnings} warnings; nothing keeps nsqd from working here"),
            (_, 0) => String::new(),
            (_, 1) => "1 warning".to_owned(),
            (_, warnings) => format!("{warnings} warnings"),
        };
        if !ending.is_empty() {
            writeln!(out, "\n{ending}").expect("a String takes what it is given");
        }
        out
    }
}

/// The words of `text` in lines of at most `width` characters; a longer word has a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::fine("kernel", "6.1.0"),
            Finding::warning(
                "free space",
                "900 MiB of 10 GiB",
                "make room, by consuming or by deleting what others have left there",
            ),
        ]
    }

    #[test]
    fn what_to_do_stands_below_what_was_found() {
        let expected = "\
kernel          fine      6.1.0
free space      warning   900 MiB of 10 GiB
                          -> make room, by consuming or by deleting what others
                             have left there

1 warning; nothing keeps nsqd from working here
";
        assert_eq!(Report::new(findings()).text(), expected);
    }

    #[test]
    fn the_worst_finding_decides() {
        let mut findings = findings();
        assert_eq!(Report::new(findings[..1].to_vec()).verdict, Verdict::Fine);
        assert_eq!(Report::new(findings.clone()).verdict, Verdict::Warning);
        findings.push(Finding::wrong("io_uring", "not permitted", "permit it"));
        findings.push(Finding::fine("open files", "unlimited"));
        let report = Report::new(findings);
        assert_eq!((report.verdict, report.count(Verdict::Wrong)), (Verdict::Wrong, 1));
        assert!(report.text().ends_with("\n\n1 warning\n"), "{}", report.text());
    }

    #[test]
    fn json_is_one_object_with_null_where_nothing_is_to_be_done() {
        assert_eq!(
            Report::new(findings()).json(),
            concat!(
                r#"{"verdict":"warning","checks":["#,
                r#"{"check":"kernel","verdict":"fine","found":"6.1.0","advice":null},"#,
                r#"{"check":"free space","verdict":"warning","found":"900 MiB of 10 GiB","#,
                r#""advice":"make room, by consuming or by deleting what others have left there"}]}"#,
                "\n"
            )
        );
    }
}
