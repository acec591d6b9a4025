//! The pages below `/debug/pprof`, where NSQ's programs show what Go's runtime knows of them.
//!
//! Knows: the pages, what this process can say there, and the old text form of Go's profiles, so
//! that `go tool pprof` reads them and finds them empty rather than broken. Does not know: HTTP.
//!
//! What is read comes from `/proc/self`, which is memory: nothing here waits for a disk.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStringExt;

/// The content type of every page but the index.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// The content type of the index.
pub const HTML: &str = "text/html; charset=utf-8";

/// A page below `/debug/pprof`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// `/debug/pprof`, or with a slash at its end, as the program has it: what there is.
    Index,
    /// The command line, its words apart by zero bytes (Go's form).
    CommandLine,
    /// Names of addresses; none is known, and Go's tools then use the program's file.
    Symbol,
    /// Memory. Go's form without a sample; below it what the system counts.
    Heap,
    /// What runs beside each other: threads, for there are no goroutines.
    Goroutine,
    /// The same under the name for threads.
    Threads,
    /// Waiting for locks: nothing is measured, so nothing is shown.
    Block,
    /// A profile of the processor's time, which this process does not take of itself.
    Profile,
}

impl Page {
    /// All pages behind the index, each with its last word and what it shows.
    const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::CommandLine, "cmdline", "the command line, words apart by zero bytes"),
        (Self::Symbol, "symbol", "names of addresses: none"),
        (Self::Heap, "heap", "memory, as the system counts it"),
        (Self::Goroutine, "goroutine", "threads: there are no goroutines"),
        (Self::Threads, "threadcreate", "threads"),
        (Self::Block, "block", "waiting for locks: not measured"),
        (Self::Profile, "profile", "how to take a profile of the processor's time"),
    ];

    /// Whether the process has this page; if not, [`Self::body`] says what to do instead.
    pub fn is_offered(self) -> bool {
        self != Self::Profile
    }

    /// [`TEXT`] or [`HTML`].
    pub fn content_type(self) -> &'static str {
        if self == Self::Index { HTML } else { TEXT }
    }

    /// The page.
    pub fn body(self) -> Vec<u8> {
        match self {
            Self::Index => index().into_bytes(),
            Self::CommandLine => command_line(),
            Self::Symbol => b"num_symbols: 1\n".to_vec(),
            Self::Heap => heap(&read("/proc/self/status")).into_bytes(),
            Self::Goroutine => threads("goroutine", &thread_names()).into_bytes(),
            Self::Threads => threads("threadcreate", &thread_names()).into_bytes(),
            Self::Block => b"--- contention:\ncycles/second=1000000000\n".to_vec(),
            Self::Profile => {
                let id = std::process::id();
                let text = format!(
                    "this process takes no profile of itself; from outside:\n\
                     perf record --call-graph=dwarf --pid={id} -- sleep 30\n"
                );
                text.into_bytes()
            }
        }
    }
}

fn index() -> String {
    let mut page = String::from(
        "<html>\n<head>\n<title>/debug/pprof/</title>\n</head>\n<body>\n/debug/pprof/\n<table>\n",
    );
    for (_, word, shows) in Page::ALL {
        let row = format!(
            "<tr><td><a href='/debug/pprof/{word}?debug=1'>{word}</a></td><td>{shows}</td></tr>\n"
        );
        page.push_str(&row);
    }
    page.push_str("</table>\n</body>\n</html>\n");
    page
}

fn command_line() -> Vec<u8> {
    let words: Vec<Vec<u8>> = std::env::args_os().map(OsStringExt::into_vec).collect();
    words.join(&0)
}

fn heap(status: &str) -> String {
    let mut text = String::from("heap profile: 0: 0 [0: 0] @ heap/1048576\n\n");
    let counted = |line: &&str| line.starts_with("Vm") || line.starts_with("Rss");
    for line in status.lines().filter(counted) {
        writeln!(text, "# {line}").expect("a string takes everything");
    }
    text
}

fn threads(word: &str, names: &[String]) -> String {
    let count = names.len();
    let mut text = format!("{word} profile: total {count}\n");
    for name in names {
        writeln!(text, "1 @ 0x0\n#\t{name}\n").expect("a string takes everything");
    }
    text
}

fn thread_names() -> Vec<String> {
    #[expect(clippy::disallowed_methods, reason = "/proc is memory")]
    let tasks = fs::read_dir("/proc/self/task");
    let mut names: Vec<String> = tasks
        .into_iter()
        .flatten()
        .filter_map(|task| {
            let id = task.ok()?.file_name().into_string().ok()?;
            let name = read(&format!("/proc/self/task/{id}/comm"));
            Some(format!("{} {id}", name.trim_end()))
        })
        .collect();
    names.sort();
    names
}

/// Bytes of memory that the process has in RAM, where the system says so.
pub fn resident_bytes() -> Option<u64> {
    let status = read("/proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// The file's text; nothing where the system has no such file.
fn read(path: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "/proc is memory")]
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_have_gos_first_lines_and_what_the_system_knows_below() {
        let status = "Name:\tnsqd\nVmRSS:\t    2048 kB\nThreads:\t3\nRssAnon:\t 512 kB\n";
        assert_eq!(
            heap(status),
            "heap profile: 0: 0 [0: 0] @ heap/1048576\n\n# VmRSS:\t    2048 kB\n\
             # RssAnon:\t 512 kB\n"
        );
        assert_eq!(
            threads("goroutine", &["nsqd 7".to_owned()]),
            "goroutine profile: total 1\n1 @ 0x0\n#\tnsqd 7\n\n"
        );
    }

    #[test]
    fn every_page_has_something_to_say_and_the_index_names_it() {
        let index = String::from_utf8(Page::Index.body()).unwrap();
        for (page, word, _) in Page::ALL {
            assert!(!page.body().is_empty(), "{word}");
            assert!(index.contains(&format!("'/debug/pprof/{word}?debug=1'")), "{word}");
            assert_eq!(page.content_type(), TEXT);
        }
        assert_eq!(Page::Index.content_type(), HTML);
        let memory = String::from_utf8(Page::Heap.body()).unwrap();
        assert!(memory.contains("# VmRSS:"), "{memory}");
        let threads = String::from_utf8(Page::Threads.body()).unwrap();
        assert!(threads.starts_with("threadcreate profile: total "), "{threads}");
        assert!(threads.contains(&format!(" {}\n", std::process::id())), "{threads}");
    }

    #[test]
    fn the_command_line_is_this_processes_own() {
        let words = Page::CommandLine.body();
        let first = words.split(|&byte| byte == 0).next().unwrap();
        assert_eq!(first, std::env::args_os().next().unwrap().into_vec());
    }
}
