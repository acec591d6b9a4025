//! Where the programs are: ours, the real NSQ's, and the client libraries' toolchains.
//!
//! Knows the layout of the build folders and the rule for what is missing: a test that cannot run
//! says `skipped:` with the reason, and where `CI` is set it fails instead.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Whose `nsqd` and `nsqlookupd` a test talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// This workspace's programs, from the folder in which the test itself was built.
    Ours,
    /// NSQ 1.3.0, as `make real` builds it.
    Real,
}

/// The maker named by `NSQD_UNDER_TEST` (`ours` or `real`), `Ours` when it is not set.
///
/// # Panics
/// When the variable holds another word.
#[must_use]
pub fn under_test() -> Maker {
    match env::var("NSQD_UNDER_TEST").as_deref() {
        Err(_) | Ok("ours") => Maker::Ours,
        Ok("real") => Maker::Real,
        Ok(other) => panic!("NSQD_UNDER_TEST is ours or real, not {other}"),
    }
}

impl Maker {
    /// The path of this maker's program, which must be there.
    ///
    /// # Panics
    /// When the program has not been built.
    #[must_use]
    pub fn program(self, name: &str) -> PathBuf {
        match self {
            Self::Ours => {
                let path = our_folder().join(name);
                assert!(
                    path.exists(),
                    "no {name} in {}: `make build` first",
                    our_folder().display()
                );
                path
            }
            Self::Real => {
                let path = real_folder().join(name);
                assert!(path.exists(), "no real {name}: `make real` first");
                path
            }
        }
    }
}

/// The path of a program of the real NSQ, or `None`, said aloud, when it has not been built.
#[must_use]
pub fn real(name: &str) -> Option<PathBuf> {
    found(real_folder().join(name), "the real NSQ (`make real`, needs Go)")
}

/// The path of one of our programs, which must be there.
#[must_use]
pub fn ours(name: &str) -> PathBuf {
    Maker::Ours.program(name)
}

/// The path of something installed by `make clients`, or `None`, said aloud, when it is missing.
#[must_use]
pub fn installed_client(path: &str) -> Option<PathBuf> {
    found(
        workspace().join("target/clients").join(path),
        "the client libraries (`make clients`, needs Go, Python, Node.js, and a JDK with Maven)",
    )
}

/// The path of a client's own tests, made by `make suites`, or `None`, said aloud, when missing.
#[must_use]
pub fn installed_suite(path: &str) -> Option<PathBuf> {
    found(
        workspace().join("target/suites").join(path),
        "the clients' own tests (`make suites`, needs Go and Node.js)",
    )
}

/// The path of what drives a browser, made by `make browser`, or `None`, said aloud, when missing.
#[must_use]
pub fn installed_browser(path: &str) -> Option<PathBuf> {
    found(
        workspace().join("target/browser").join(path),
        "what drives the browser (`make browser`, needs Node.js)",
    )
}

/// Says that a test did not run, and why.
///
/// # Panics
/// Where `CI` is set: there, everything must run.
pub fn skipped(reason: &str) {
    assert!(env::var_os("CI").is_none(), "skipped in CI: {reason}");
    say_skipped(reason);
}

/// True when the maker under test is ours. Else says that what follows is a promise of ours alone.
#[must_use]
pub fn only_ours(reason: &str) -> bool {
    if under_test() == Maker::Ours {
        return true;
    }
    say_skipped(reason);
    false
}

/// The folder of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member lies in the workspace").into()
}

fn say_skipped(reason: &str) {
    say(&format!("skipped: {reason}"));
}

/// Says a line past the test harness, which would keep it for itself when the test passes.
///
/// # Panics
/// When nobody reads standard error any more.
pub fn say(line: &str) {
    let line = format!("{line}\n");
    io::stderr().write_all(line.as_bytes()).expect("standard error takes a line");
}

fn found(path: PathBuf, what: &str) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("no {}: {what} is not built", path.display()));
    None
}

fn real_folder() -> PathBuf {
    workspace().join("target/real")
}

/// A test runs from `target/<profile>/deps`; the programs lie one folder up.
fn our_folder() -> PathBuf {
    let test = env::current_exe().expect("a running test has a path");
    test.ancestors().nth(2).expect("a test lies in `deps`").into()
}
