//! The page and its files, which are built into the program.
//!
//! The page may load nothing else, and has neither scripts nor styles of its own between its lines:
//! the browser is told so (`pages`). `{{base}}` and `{{settings}}` in it are filled in when it is
//! asked for.

/// The one page; its script shows what the path names.
pub(super) const SHELL: &str = include_str!("index.html");

/// What is served below `/static/`.
pub(super) const FILES: &[(&str, &[u8])] =
    &[("page.css", include_bytes!("page.css")), ("page.js", include_bytes!("page.js"))];
