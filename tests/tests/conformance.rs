//! The differential suite: every case of `tests/conformance/` against the real nsqd and ours.
//!
//! `CONFORMANCE=record` writes what the real one shows (and, in a case that says why it differs,
//! what ours shows) into the cases instead of comparing; `CONFORMANCE_CASE=part-of-a-name` runs
//! those cases only.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

use tests::auth_server::{AuthServer, Told};
use tests::broker::Broker;
use tests::conformance::{Case, Expected, Step, Transcript, parse, run, written};
use tests::layers::Certificates;
use tests::programs::{Maker, real, say, workspace};

/// Pairs of brokers that run at the same time: each of ours needs locked memory, which the system
/// counts by user.
const PAIRS_AT_ONCE: usize = 3;

/// Cases that run at the same time on one pair. They wait much more than they compute.
const CASES_AT_ONCE: usize = 10;

/// One file of cases.
struct Theme {
    path: PathBuf,
    /// As `COMPATIBILITY.md` names it: `conformance/pub`.
    name: String,
    preface: Vec<String>,
    cases: Vec<Case>,
}

fn themes() -> Vec<Theme> {
    let folder = workspace().join("tests/conformance");
    let entries = fs::read_dir(folder).expect("the cases are there");
    let paths = entries.map(|entry| entry.expect("an entry can be read").path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    paths.sort();
    let themes = paths.into_iter().map(|path| {
        let text = fs::read_to_string(&path).expect("a file of cases is text");
        let (preface, cases) = parse(&text);
        let stem = path.file_stem().expect("a file has a name").to_string_lossy();
        let name = format!("conformance/{stem}");
        Theme { path, name, preface, cases }
    });
    themes.collect()
}

/// What one maker showed in one case, or how the case broke off.
type Shown = Result<Transcript, String>;

/// What brokers may need besides themselves. `$certificate` and `$authority` among the flags of a
/// case give them to its brokers.
struct Surroundings {
    with_real: bool,
    certificates: Certificates,
    /// It answers with what the client calls its secret: a status of three digits, or a body.
    authority: AuthServer,
}

impl Surroundings {
    fn new(with_real: bool) -> Self {
        let authority = AuthServer::start(|asked| match plain(asked.secret()).as_str() {
            "403" => Told::status("403 Forbidden"),
            "500" => Told::status("500 Internal Server Error"),
            body => Told::ok(body),
        });
        Self { with_real, certificates: Certificates::new(), authority }
    }

    fn flags(&self, flags: &[String]) -> Vec<String> {
        let flags = flags.iter().map(|flag| match flag.as_str() {
            "$certificate" => self.certificates.flags(),
            "$authority" => vec![self.authority.flag()],
            _ => vec![flag.clone()],
        });
        flags.flatten().collect()
    }
}

/// A value of a query without its escapes.
fn plain(value: &str) -> String {
    let mut pieces = value.split('%');
    let mut plain = pieces.next().unwrap_or_default().replace('+', " ");
    for piece in pieces {
        let (digits, rest) = piece.split_at(2);
        let byte = u8::from_str_radix(digits, 16).expect("an escape has two digits");
        plain.push(char::from(byte));
        plain.push_str(&rest.replace('+', " "));
    }
    plain
}

/// The brokers of one set of flags.
struct Pair {
    ours: Broker,
    real: Option<Broker>,
}

impl Pair {
    fn start(flags: &[String], around: &Surroundings) -> Self {
        let flags = around.flags(flags);
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let real = around.with_real.then(|| Broker::of(Maker::Real, &flags));
        Self { ours: Broker::of(Maker::Ours, &flags), real }
    }

    /// Runs a case against both at the same time.
    fn run(&self, case: &Case, around: &Surroundings) -> (Shown, Option<Shown>) {
        let certificates = &around.certificates;
        let against = |broker: &Broker| {
            let (tcp, http) = (broker.tcp, broker.http);
            let run = AssertUnwindSafe(|| run(case, certificates, tcp, http));
            catch_unwind(run).map_err(|panic| words(&*panic))
        };
        thread::scope(|scope| {
            let real = self.real.as_ref().map(|broker| scope.spawn(move || against(broker)));
            let ours = against(&self.ours);
            (ours, real.map(|real| real.join().expect("what panics is caught")))
        })
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()))
        .unwrap_or_else(|| "it panicked".into())
}

/// Runs every case, those with the same flags against the same two brokers.
fn shown(cases: &[&Case], around: &Surroundings) -> Vec<(Shown, Option<Shown>)> {
    let mut groups: BTreeMap<(&[String], usize), Vec<usize>> = BTreeMap::new();
    for (index, case) in cases.iter().enumerate() {
        let group = if case.alone { index + 1 } else { 0 };
        groups.entry((&case.flags, group)).or_default().push(index);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    // What takes longest begins first.
    groups.sort_by_key(|(_, indexes)| std::cmp::Reverse(indexes.len()));
    let groups = Mutex::new(VecDeque::from(groups));
    let results = Mutex::new(BTreeMap::new());
    in_threads(PAIRS_AT_ONCE, || {
        let next = groups.lock().expect("nobody panics").pop_front();
        let Some(((flags, _), indexes)) = next else { return false };
        let pair = Pair::start(flags, around);
        let queue = Mutex::new(VecDeque::from(indexes));
        in_threads(CASES_AT_ONCE, || {
            let next = queue.lock().expect("nobody panics").pop_back();
            let Some(index) = next else { return false };
            let result = pair.run(cases[index], around);
            results.lock().expect("nobody panics").insert(index, result);
            true
        });
        true
    });
    results.into_inner().expect("nobody panics").into_values().collect()
}

/// Has so many threads do a piece of work again and again, until there is none.
fn in_threads(count: usize, work: impl Fn() -> bool + Sync) {
    thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| while work() {});
        }
    });
}

/// What has to be seen at each step that sees or counts.
fn expectations(case: &Case) -> impl Iterator<Item = &Expected> {
    case.steps.iter().filter_map(|step| match step {
        Step::See { expected, .. } | Step::Count { expected, .. } => Some(expected),
        Step::Do(_) => None,
    })
}

/// Where what was seen is not what was expected, as a text; empty when it is.
fn difference(case: &Case, shown: &Shown, of: impl Fn(&Expected) -> &Vec<String>) -> String {
    let transcript = match shown {
        Ok(transcript) => transcript,
        Err(panic) => return format!("    broke off: {panic}\n"),
    };
    let mut text = String::new();
    let mut add = |mark: char, line: &str| {
        writeln!(text, "    {mark} {line}").expect("a String takes everything");
    };
    for (expected, seen) in expectations(case).zip(&transcript.seen) {
        let expected = of(expected);
        if expected != seen {
            let is_new = |line: &&String| !expected.contains(line);
            let is_gone = |line: &&String| !seen.contains(line);
            expected.iter().filter(is_gone).for_each(|line| add('-', line));
            seen.iter().filter(is_new).for_each(|line| add('+', line));
            if expected.iter().all(|line| seen.contains(line)) && expected.len() == seen.len() {
                add('!', &format!("in another order: {seen:?}"));
            }
        }
    }
    for (on, lines) in &transcript.more {
        lines.iter().for_each(|line| add('+', &format!("{on}< {line}")));
    }
    text
}

#[test]
fn every_case_shows_what_it_says() {
    let around = Surroundings::new(real("nsqd").is_some());
    let part = env::var("CONFORMANCE_CASE").unwrap_or_default();
    let mut themes = themes();
    let cases: Vec<_> = themes
        .iter()
        .flat_map(|theme| &theme.cases)
        .filter(|case| case.name.contains(&part))
        .collect();
    let shown = shown(&cases, &around);
    if env::var("CONFORMANCE").is_ok_and(|word| word == "record") {
        let shown: BTreeMap<_, _> = cases.iter().map(|case| case.name.clone()).zip(shown).collect();
        themes.iter_mut().for_each(|theme| record(theme, &shown));
        return;
    }
    let (mut text, mut differ) = (String::new(), 0);
    for (case, (ours, real)) in cases.iter().zip(&shown) {
        differ += usize::from(case.differs.is_some());
        let ours = difference(case, ours, |expected| &expected.ours);
        let real = real.as_ref().map(|real| difference(case, real, |expected| &expected.real));
        for (whose, found) in [("ours", ours), ("the real nsqd", real.unwrap_or_default())] {
            if !found.is_empty() {
                let (name, line) = (&case.name, case.line);
                write!(text, "  {name} (line {line}), {whose}:\n{found}")
                    .expect("a String takes everything");
            }
        }
    }
    say(&format!("{} cases, {differ} of them differ on purpose", cases.len()));
    assert!(text.is_empty(), "- expected, + seen\n{text}");
}

/// Writes what was seen into the cases.
fn record(theme: &mut Theme, shown: &BTreeMap<String, (Shown, Option<Shown>)>) {
    for case in &mut theme.cases {
        let Some((ours, real)) = shown.get(&case.name) else { continue };
        let Some(Ok(real)) = real else {
            say(&format!("{}: {real:?}", case.name));
            continue;
        };
        let (ours, differs) = match ours {
            Ok(ours) => (ours, case.differs.is_some()),
            Err(panic) => {
                say(&format!("{}: ours broke off: {panic}", case.name));
                (real, false)
            }
        };
        let mut seen = real.seen.iter().zip(&ours.seen);
        for step in &mut case.steps {
            if let Step::See { expected, .. } | Step::Count { expected, .. } = step {
                let (real, ours) = seen.next().expect("every step was seen");
                let ours = if differs { ours } else { real };
                *expected = Expected { real: real.clone(), ours: ours.clone() };
            }
        }
        for (on, lines) in &real.more {
            if on.starts_with(char::is_lowercase) {
                say(&format!("{}: {on} {lines:?}", case.name));
                continue;
            }
            let expected = Expected { real: lines.clone(), ours: lines.clone() };
            let on = on.clone();
            let blank = |step: &&Step| matches!(step, Step::Do(line) if line.is_empty());
            let at = case.steps.len() - case.steps.iter().rev().take_while(blank).count();
            case.steps.insert(at, Step::See { on, unordered: None, quiet_ms: None, expected });
        }
    }
    fs::write(&theme.path, written(&theme.preface, &theme.cases)).expect("a case can be written");
}

#[test]
fn a_deliberate_difference_has_a_reason_and_is_one() {
    for theme in themes() {
        for case in &theme.cases {
            let differs = expectations(case).any(Expected::differs);
            assert_eq!(differs, case.differs.is_some(), "{}::{}", theme.name, case.name);
        }
    }
}

#[test]
fn no_two_cases_have_the_same_name() {
    let mut names = BTreeSet::new();
    for theme in themes() {
        for case in theme.cases {
            assert!(names.insert(case.name.clone()), "twice: {}", case.name);
        }
    }
}

/// The tests that the tables of `COMPATIBILITY.md` name in their last column, as `file::test`.
/// A name that leaves out the file means the file before it.
fn named_tests(document: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in document.lines().filter(|line| line.starts_with("| ")) {
        let column = line.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let mut file = "";
        for name in column.split('`').skip(1).step_by(2) {
            let (before, test) = name.split_once("::").unwrap_or((name, ""));
            file = if before.is_empty() { file } else { before };
            found.push((file.to_owned(), test.to_owned()));
        }
    }
    found
}

#[test]
fn the_tests_that_the_compatibility_table_names_exist() {
    let document = fs::read_to_string(workspace().join("docs/COMPATIBILITY.md"));
    let named = named_tests(&document.expect("the table is there"));
    let themes = themes();
    for (file, test) in &named {
        if let Some(theme) = themes.iter().find(|theme| theme.name == *file) {
            let found = test.is_empty() || theme.cases.iter().any(|case| case.name == *test);
            assert!(found, "no case {file}::{test}");
            continue;
        }
        assert!(!file.starts_with("conformance/"), "no file {file}");
        let here = workspace().join(format!("tests/tests/{file}.rs"));
        match fs::read_to_string(&here) {
            // Some stand in a table that is made into tests, one at each maker's broker.
            Ok(text) => assert!(
                [format!("fn {test}"), format!("    {test} => ")]
                    .iter()
                    .any(|definition| text.contains(definition)),
                "no test {file}::{test}"
            ),
            // Other names are paths, or no tests of this crate.
            Err(_) => assert!(test.is_empty(), "no file for {file}::{test}"),
        }
    }
    for theme in &themes {
        for case in theme.cases.iter().filter(|case| case.differs.is_some()) {
            let is_named = named.contains(&(theme.name.clone(), case.name.clone()));
            assert!(is_named, "COMPATIBILITY.md does not name {}::{}", theme.name, case.name);
        }
    }
}
