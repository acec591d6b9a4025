//! A real Chromium, driven by Node.js: the cases of `tests/browser`.
//!
//! Knows what is needed and where `tests/prepare browser` puts it, and how a case is told where
//! nsqadmin is. What a case does is in its own file.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::run;
use crate::programs::{installed_browser, say, skipped, workspace};

/// A case takes a few seconds; one that hangs is ended.
const LIMIT: Duration = Duration::from_secs(240);

/// True when there is a Chromium and what drives it; else says what is missing.
#[must_use]
pub fn is_installed() -> bool {
    let places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    if !places.iter().any(|place| Path::new(place).exists()) {
        skipped("no Chromium");
        return false;
    }
    installed_browser("node_modules/playwright-core").is_some() && has_node()
}

/// True when there is Node.js; else says that it is missing.
#[must_use]
pub fn has_node() -> bool {
    let is_there = Command::new("node").arg("--version").output().is_ok();
    if !is_there {
        skipped("no Node.js");
    }
    is_there
}

/// Plays one case against the nsqadmin at `admin`, which looks at these nsqds. Its pictures lie in
/// `target/screenshots` afterwards.
///
/// # Panics
/// When the case fails; the message is what it says.
pub fn play(case: &str, admin: &str, nsqds: &[SocketAddr]) {
    let nsqds: Vec<_> = nsqds.iter().map(SocketAddr::to_string).collect();
    let mut command = Command::new("node");
    command
        .arg(workspace().join("tests/browser/cases.js"))
        .arg(case)
        .env("ADMIN", admin)
        .env("NSQD", nsqds.join(","))
        .env("MODULES", installed_browser("").expect("the caller asked whether it is installed"))
        .env("SCREENSHOTS", workspace().join("target/screenshots"));
    let ended = run(&mut command, b"", LIMIT);
    assert!(ended.status.success(), "{case}: {}\n{}", ended.output.join("\n"), ended.log);
    for line in ended.output {
        say(&line);
    }
}
