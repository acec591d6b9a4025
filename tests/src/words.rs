//! A real text: Debian's list of American English words, one a line. Knows where it lies.

use std::fs;

use crate::programs::skipped;

/// Where Debian's package `wamerican` puts its list.
pub const PATH: &str = "/usr/share/dict/american-english";

/// The lines of the list, each of them once; `None`, said aloud, when the package is not installed.
///
/// # Panics
/// When the list is shorter than the tests promise, or says a line twice.
#[must_use]
pub fn lines() -> Option<Vec<Vec<u8>>> {
    let Ok(content) = fs::read(PATH) else {
        skipped("no word list: the package wamerican is not installed");
        return None;
    };
    let content = content.strip_suffix(b"\n").unwrap_or(&content);
    let mut lines: Vec<_> = content.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    lines.sort();
    assert!(100_000 < lines.len(), "only {} lines in {PATH}", lines.len());
    assert!(lines.windows(2).all(|pair| pair[0] < pair[1]), "a line stands twice in {PATH}");
    Some(lines)
}
