//! Cases as they stand in a file, and a file with what was seen written into it.
//!
//! Knows the lines of `tests/conformance/README.md`; what they do, it does not know.

use std::fmt::Write as _;

/// One case: a script that is run against the real nsqd and against ours.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name, which is also the name of its topic.
    pub name: String,
    /// The line of the file on which it begins.
    pub line: usize,
    /// Flags of the two brokers.
    pub flags: Vec<String>,
    /// True when it wants two brokers that nobody else talks to.
    pub alone: bool,
    /// Why the two answer differently, where they do on purpose.
    pub differs: Option<String>,
    /// What is done and seen, in order.
    pub steps: Vec<Step>,
    /// The lines of the file from the case's name to its first step.
    head: Vec<String>,
}

/// One line that does something, or the lines that say what is seen next.
#[derive(Debug, Clone)]
pub enum Step {
    /// A line that does something, or nothing: comments and blank lines are kept.
    Do(String),
    /// What is seen on a connection: one frame, one HTTP answer, the end.
    See {
        /// The connection's name.
        on: String,
        /// How many frames come in any order; one when the order counts.
        unordered: Option<usize>,
        /// For `nothing 300ms`: how long.
        quiet_ms: Option<u64>,
        /// What has to come.
        expected: Expected,
    },
    /// Numbers from `/stats`.
    Count {
        /// The question: where, and which keys.
        question: String,
        /// What has to be answered.
        expected: Expected,
    },
}

/// What both brokers have to show, as lines of a transcript.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// What the real one shows.
    pub real: Vec<String>,
    /// What ours shows.
    pub ours: Vec<String>,
}

impl Expected {
    /// True when the two are meant to differ.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.real != self.ours
    }
}

/// Reads a file of cases.
///
/// # Panics
/// When a line is not understood; the message names it.
#[must_use]
pub fn parse(text: &str) -> (Vec<String>, Vec<Case>) {
    let mut preface = Vec::new();
    let mut cases: Vec<Case> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if let Some(name) = line.strip_prefix("=== ") {
            assert!(is_name(name), "line {}: {name} is no name for a case", index + 1);
            cases.push(Case::new(name, index + 1, line));
        } else if let Some(case) = cases.last_mut() {
            case.take(line);
        } else {
            preface.push(line.to_owned());
        }
    }
    (preface, cases)
}

fn is_name(name: &str) -> bool {
    let byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= 52 && name.contains('-') && name.bytes().all(byte)
}

/// Whose answer a line tells.
enum Whose {
    Both,
    Real,
    Ours,
}

impl Case {
    fn new(name: &str, number: usize, line: &str) -> Self {
        Self {
            name: name.to_owned(),
            line: number,
            flags: Vec::new(),
            alone: false,
            differs: None,
            steps: Vec::new(),
            head: vec![line.to_owned()],
        }
    }

    fn take(&mut self, line: &str) {
        if self.steps.is_empty() && self.take_head(line) {
            self.head.push(line.to_owned());
            return;
        }
        if let Some((whose, rest)) = line.strip_prefix('=').and_then(whose) {
            let Some(Step::Count { expected, .. }) = self.steps.last_mut() else {
                panic!("{}: {line} stands behind no count", self.name);
            };
            add(expected, &whose, rest);
            return;
        }
        if let Some(question) = line.strip_prefix("count ") {
            let question = question.to_owned();
            self.steps.push(Step::Count { question, expected: Expected::default() });
            return;
        }
        let seen = line
            .split_once('<')
            .filter(|(on, _)| is_connection(on))
            .map(|(on, rest)| (on.to_owned(), rest.to_owned()));
        match seen {
            Some((on, rest)) => self.take_seen(on, &rest),
            None => self.steps.push(Step::Do(line.to_owned())),
        }
    }

    fn take_head(&mut self, line: &str) -> bool {
        if let Some(flags) = line.strip_prefix("flags: ") {
            self.flags = flags.split(' ').map(str::to_owned).collect();
        } else if line == "alone" {
            self.alone = true;
        } else if let Some(reason) = line.strip_prefix("differs: ") {
            self.differs = Some(reason.to_owned());
        } else {
            return line.starts_with('#');
        }
        true
    }

    fn take_seen(&mut self, on: String, rest: &str) {
        if let Some(frame) = rest.strip_prefix('~') {
            self.take_unordered(on, frame.trim_start());
            return;
        }
        let (whose, text) = whose(rest).unwrap_or_else(|| panic!("{}: {on}<{rest}", self.name));
        if self.goes_on(&on, &whose, text) {
            if let Some(Step::See { expected, .. }) = self.steps.last_mut() {
                add(expected, &whose, text);
            }
            return;
        }
        let mut expected = Expected::default();
        let quiet_ms = text
            .strip_prefix("nothing ")
            .and_then(|time| time.strip_suffix("ms"))
            .map(|time| time.parse().expect("milliseconds"));
        if !text.is_empty() {
            add(&mut expected, &whose, text);
        }
        self.steps.push(Step::See { on, unordered: None, quiet_ms, expected });
    }

    /// One more frame of those that come in any order; what both show is the same.
    fn take_unordered(&mut self, on: String, text: &str) {
        if let Some(Step::See { on: last, unordered: Some(count), expected, .. }) =
            self.steps.last_mut()
            && *last == on
        {
            *count += 1;
            add(expected, &Whose::Both, text);
            return;
        }
        let mut expected = Expected::default();
        add(&mut expected, &Whose::Both, text);
        self.steps.push(Step::See { on, unordered: Some(1), quiet_ms: None, expected });
    }

    /// True when a line belongs to what the line before it began: an HTTP answer has many lines,
    /// and a deliberate difference has lines of both.
    fn goes_on(&self, on: &str, whose: &Whose, text: &str) -> bool {
        let Some(Step::See { on: last, unordered: None, expected, .. }) = self.steps.last() else {
            return false;
        };
        if last != on || expected == &Expected::default() {
            return false;
        }
        let begins = |line: &str| line.starts_with("HTTP/") || !on.starts_with('H') || is_end(line);
        match whose {
            // The lines of ours stand behind those of the real one.
            Whose::Ours if expected.ours.is_empty() => true,
            Whose::Ours => !begins(text),
            Whose::Real => !expected.real.is_empty() && !begins(text),
            Whose::Both => {
                let in_answer =
                    |lines: &[String]| lines.first().is_some_and(|line| line.starts_with("HTTP/"));
                !begins(text) && in_answer(&expected.real) && in_answer(&expected.ours)
            }
        }
    }
}

fn is_end(line: &str) -> bool {
    line == "closed" || line.starts_with("nothing")
}

fn is_connection(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_uppercase())
        && bytes.all(|byte| byte.is_ascii_digit())
}

fn whose(rest: &str) -> Option<(Whose, &str)> {
    let (whose, rest) = if let Some(rest) = rest.strip_prefix("real") {
        (Whose::Real, rest)
    } else if let Some(rest) = rest.strip_prefix("ours") {
        (Whose::Ours, rest)
    } else {
        (Whose::Both, rest)
    };
    if rest.is_empty() { Some((whose, "")) } else { Some((whose, rest.strip_prefix(' ')?)) }
}

fn add(expected: &mut Expected, whose: &Whose, text: &str) {
    if !matches!(whose, Whose::Ours) {
        expected.real.push(text.to_owned());
    }
    if !matches!(whose, Whose::Real) {
        expected.ours.push(text.to_owned());
    }
}

/// The file, with what was seen in place of what was expected.
#[must_use]
pub fn written(preface: &[String], cases: &[Case]) -> String {
    let mut text = String::new();
    let mut line = |line: &str| {
        writeln!(text, "{}", line.trim_end()).expect("a String takes everything");
    };
    preface.iter().for_each(|kept| line(kept));
    for case in cases {
        case.head.iter().for_each(|kept| line(kept));
        for step in &case.steps {
            match step {
                Step::Do(kept) => line(kept),
                Step::Count { question, expected } => {
                    line(&format!("count {question}"));
                    lines_of(expected, "=", &mut line);
                }
                Step::See { on, unordered, expected, .. } => {
                    let mark = if unordered.is_some() { "<~" } else { "<" };
                    lines_of(expected, &format!("{on}{mark}"), &mut line);
                }
            }
        }
    }
    format!("{}\n", text.trim_end())
}

fn lines_of(expected: &Expected, prefix: &str, line: &mut impl FnMut(&str)) {
    if expected.differs() {
        expected.real.iter().for_each(|text| line(&format!("{prefix}real {text}")));
        expected.ours.iter().for_each(|text| line(&format!("{prefix}ours {text}")));
    } else if expected.real.is_empty() {
        line(prefix);
    } else {
        expected.real.iter().for_each(|text| line(&format!("{prefix} {text}")));
    }
}
