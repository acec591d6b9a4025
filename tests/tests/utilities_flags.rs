//! The flags of NSQ's tools, counted: what each program's `--help` names, beside what NSQ's names, and
//! beside the table of `docs/COMPATIBILITY.md`.

use std::collections::BTreeMap;
use std::fs;

use tests::programs::{Maker, workspace};
use tests::utility;

const NAMES: [&str; 7] =
    ["nsq_stat", "nsq_tail", "nsq_to_file", "nsq_to_http", "nsq_to_nsq", "to_nsq", "nsqadmin"];

/// How many flags of a tool are NSQ's, and what became of them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    nsqs: usize,
    /// The same type, default and words.
    equal: usize,
    different: usize,
    absent: usize,
    ours_alone: usize,
}

/// A tool's flags, each with its whole help: its type, its words, its default.
fn flags_of(maker: Maker, name: &str) -> BTreeMap<String, String> {
    let ended = utility::run(maker, name, &["--help"], b"");
    assert_eq!(ended.exit_code, Some(0), "{}", ended.log);
    let mut flags: BTreeMap<String, String> = BTreeMap::new();
    let mut last = String::new();
    for line in ended.log.lines().skip(1) {
        if let Some(flag) = line.strip_prefix("  -") {
            last = flag.split_whitespace().next().unwrap_or_default().to_owned();
            assert!(flags.insert(last.clone(), line.to_owned()).is_none(), "{last} is there twice");
        } else {
            flags.get_mut(&last).expect("help stands below its flag").push_str(line);
        }
    }
    flags
}

fn counted(name: &str) -> Counts {
    let (theirs, mut ours) = (flags_of(Maker::Real, name), flags_of(Maker::Ours, name));
    let mut counts = Counts { nsqs: theirs.len(), ..Counts::default() };
    for (flag, help) in theirs {
        match ours.remove(&flag) {
            None => counts.absent += 1,
            Some(own) if own == help => counts.equal += 1,
            Some(_) => counts.different += 1,
        }
    }
    counts.ours_alone = ours.len();
    counts
}

/// The rows of the document's table of flags, by name.
fn documented() -> BTreeMap<String, Counts> {
    let document = fs::read_to_string(workspace().join("docs/COMPATIBILITY.md"));
    let document = document.expect("the document is there");
    let (_, section) = document.split_once("### Flags of the tools").expect("it has the section");
    let rows = section.lines().skip(1).take_while(|line| !line.starts_with('#'));
    let rows = rows.filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let &[name, nsqs, equal, different, absent, ours_alone] = &cells[..] else { return None };
        let name = name.strip_prefix('`')?.strip_suffix('`')?.to_owned();
        let [nsqs, equal, different, absent, ours_alone] =
            [nsqs, equal, different, absent, ours_alone].map(|count| {
                count.parse().unwrap_or_else(|_| panic!("{count} is no count: {line}"))
            });
        Some((name, Counts { nsqs, equal, different, absent, ours_alone }))
    });
    rows.collect()
}

#[test]
fn the_document_counts_the_flags_of_every_tool() {
    let mut documented = documented();
    for name in NAMES {
        if !utility::is_here(name) {
            return;
        }
        let row = documented.remove(name).unwrap_or_else(|| panic!("{name} has no row"));
        assert_eq!(row, counted(name), "{name}");
    }
    assert!(documented.is_empty(), "no tools: {documented:?}");
}
