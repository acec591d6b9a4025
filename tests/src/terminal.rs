//! A terminal of a chosen size in which a program runs: its screen is read back, keys are pressed, and
//! it is made larger or smaller. It is tmux's.
//!
//! Knows tmux; what the program shows, it does not know.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::patience::{SOON, eventually};
use crate::programs::skipped;

/// A terminal. What runs in it is ended when this is dropped.
#[derive(Debug)]
pub struct Terminal {
    folder: TempDir,
}

impl Terminal {
    /// Runs a program in a new terminal, with these variables set. What stands on the screen then is
    /// `before`, then what the program draws, and after its end a line `ended with STATUS`. `None`, said
    /// aloud, where there is no tmux.
    ///
    /// # Panics
    /// When the terminal cannot be made.
    #[must_use]
    pub fn run(
        (width, height): (u16, u16),
        variables: &[(&str, &str)],
        program: &Path,
        arguments: &[&str],
    ) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            skipped("tmux is not installed: there is no terminal to look at");
            return None;
        }
        let folder = TempDir::new().expect("the temporary folder can be written");
        let terminal = Self { folder };
        // The shell keeps the terminal open, so that it can be looked at after the end.
        let script = r#"
            cd "$0"; echo before; stty --save > settings.before
            sh -c 'echo $$ > process; exec "$@"' sh "$@"
            echo "ended with $?"; stty --save > settings.after; exec sleep 3600"#;
        let mut command = terminal.tmux();
        // A locale of the machine would decide which characters are drawn.
        for name in ["LC_ALL", "LC_CTYPE", "LANG", "NO_COLOR", "TMUX", "TERM"] {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C.UTF-8").envs(variables.iter().copied());
        command.args(["-f", "/dev/null", "new-session", "-d"]);
        command.args(["-x", &width.to_string(), "-y", &height.to_string()]);
        command.args(["sh", "-c", script]).arg(terminal.folder.path()).arg(program).args(arguments);
        done(&mut command);
        Some(terminal)
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-S").arg(self.folder.path().join("socket"));
        command
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let output = done(self.tmux().args(arguments));
        String::from_utf8(output.stdout).expect("a screen is text")
    }

    /// The lines of the screen, from the top, without blanks at their ends. Empty ones at the bottom
    /// may be missing.
    #[must_use]
    pub fn screen(&self) -> Vec<String> {
        self.ask(&["capture-pane", "-p"]).lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// The screen with the codes for colours and the like.
    #[must_use]
    pub fn screen_with_codes(&self) -> String {
        self.ask(&["capture-pane", "-p", "-e"])
    }

    /// Waits until the screen is as it should be, and returns it. It may be looked at while it is being
    /// drawn, so only what two looks agree on counts.
    ///
    /// # Panics
    /// When it is not so soon; the message has the screen.
    pub fn shows(&self, what: &str, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut screen = Vec::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(SOON, what, || {
                let before = std::mem::replace(&mut screen, self.screen());
                (screen == before && is_so(&screen)).then_some(())
            });
        }));
        assert!(found.is_ok(), "not shown: {what}\n{}", screen.join("\n"));
        screen
    }

    /// Waits until some line of the screen has all of these words, and returns the line.
    ///
    /// # Panics
    /// When there is none soon; the message has the screen.
    pub fn shows_line(&self, words: &[&str]) -> String {
        let has_all = |line: &&String| words.iter().all(|word| line.contains(word));
        let screen = self.shows(&format!("a line with {words:?}"), |screen| {
            screen.iter().any(|line| has_all(&line))
        });
        screen.iter().find(has_all).expect("it was there").clone()
    }

    /// Presses keys, by tmux's names: `q`, `Enter`, `Down`, `C-c`.
    pub fn press(&self, keys: &[&str]) {
        self.ask(&[&["send-keys"], keys].concat());
    }

    /// Makes the terminal larger or smaller.
    pub fn resize(&self, width: u16, height: u16) {
        self.ask(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    /// Sends a signal to the program.
    ///
    /// # Panics
    /// When it has not been started.
    pub fn signal(&self, signal: Signal) {
        let process = eventually(SOON, "the program has been started", || {
            fs::read_to_string(self.folder.path().join("process")).ok()?.trim().parse().ok()
        });
        kill_process(Pid::from_raw(process).expect("a process has a number"), signal)
            .expect("a program that runs can be signalled");
    }

    /// Waits for the end of the program, and returns what the screen says then. The terminal is as it
    /// was before: its settings, its first screen, its cursor.
    ///
    /// # Panics
    /// When it does not end soon, or leaves the terminal otherwise.
    pub fn ended(&self) -> Vec<String> {
        let screen = self.shows("the end of the program", |screen| {
            screen.iter().any(|line| line.starts_with("ended with "))
        });
        assert_eq!(screen[0], "before", "{screen:#?}");
        let state = self.ask(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        assert_eq!(state.trim(), "0 1", "the first screen, and its cursor");
        let settings = |when: &str| fs::read_to_string(self.folder.path().join(when)).ok();
        let after = eventually(SOON, "the settings are written", || {
            settings("settings.after").filter(|settings| settings.ends_with('\n'))
        });
        assert_eq!(Some(after), settings("settings.before"));
        screen
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // An error means that nothing runs there any more.
        drop(self.tmux().arg("kill-server").output());
    }
}

fn done(command: &mut Command) -> Output {
    let output = command.output().expect("tmux can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}
