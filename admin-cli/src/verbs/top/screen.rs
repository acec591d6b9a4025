//! The terminal while it belongs to us: taken over whole, and given back as it was, however we end.

use std::io::{self, IsTerminal, Stdout, Write};
use std::panic;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use rustix::process::{Signal, getpid, kill_process};
use tokio::sync::mpsc;

use super::draw::Look;
use crate::terminal::Ending;

/// How many keys may wait while a page is drawn.
const KEYS_MAX: usize = 64;

/// The terminal. It is given back when this is dropped.
pub(super) struct Screen(Terminal<CrosstermBackend<Stdout>>);

impl Screen {
    /// Takes the terminal over. From now on a panic gives it back before it is told.
    pub(super) fn open() -> Result<Self, Ending> {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            restore();
            tell(panic);
        }));
        take().and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout()))).map(Self).map_err(
            |error| {
                restore();
                lost(&error)
            },
        )
    }

    /// Has `draw` draw a page.
    pub(super) fn draw(
        &mut self,
        draw: impl FnOnce(&mut ratatui::Frame<'_>),
    ) -> Result<(), Ending> {
        self.0.draw(draw).map(drop).map_err(|error| lost(&error))
    }

    /// How many lines there are.
    pub(super) fn height(&self) -> Result<u16, Ending> {
        self.0.size().map(|size| size.height).map_err(|error| lost(&error))
    }

    /// Draws everything anew next time.
    pub(super) fn clear(&mut self) -> Result<(), Ending> {
        self.0.clear().map_err(|error| lost(&error))
    }

    /// Gives the terminal back, and the word to the shell, until it continues us.
    pub(super) fn suspend(&mut self) -> Result<(), Ending> {
        restore();
        let stopped = kill_process(getpid(), Signal::TSTP).map_err(io::Error::from);
        stopped.and_then(|()| take()).map_err(|error| lost(&error))?;
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen)
}

/// As it was. What fails here fails because the terminal is gone.
fn restore() {
    drop(disable_raw_mode());
    let mut stdout = io::stdout();
    drop(execute!(stdout, LeaveAlternateScreen, Show));
    drop(stdout.flush());
}

fn lost(error: &io::Error) -> Ending {
    Ending::Failed(format!("the terminal cannot be used: {error}"))
}

/// What the terminal can show, by what the environment says of it.
///
/// # Errors
/// When it can show nothing of the kind: that there is none, or that it cannot place text.
pub(super) fn look() -> Result<Look, Ending> {
    if !io::stdout().is_terminal() {
        return Err(Ending::Failed(
            "top needs a terminal, and standard output is none: use `admin-cli stat`, which prints \
             lines"
                .to_owned(),
        ));
    }
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    look_of(variable)
}

fn look_of(variable: impl Fn(&str) -> String) -> Result<Look, Ending> {
    let terminal = variable("TERM");
    if terminal.is_empty() || terminal == "dumb" {
        return Err(Ending::Failed(format!(
            "top draws a whole screen, and the terminal cannot (TERM={terminal}): set TERM to what it \
             is, such as xterm, or use `admin-cli stat`, which prints lines"
        )));
    }
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(&variable);
    let locale = locale.into_iter().find(|value| !value.is_empty()).unwrap_or_default();
    let locale = locale.to_lowercase();
    Ok(Look {
        colour: variable("NO_COLOR").is_empty(),
        unicode: locale.contains("utf-8") || locale.contains("utf8"),
    })
}

/// Keys and changes of size, as they come. Ends when the terminal is gone.
pub(super) fn events() -> mpsc::Receiver<Event> {
    /// How long a thread that nobody needs any more takes to notice.
    const PAUSE: Duration = Duration::from_millis(200);
    let (sender, receiver) = mpsc::channel(KEYS_MAX);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            match event::poll(PAUSE) {
                Ok(false) => {}
                Ok(true) => {
                    let Ok(event) = event::read() else { return };
                    if sender.blocking_send(event).is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use rustix::fs::{Mode, OFlags, open};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

    use super::*;

    fn look(variables: &[(&str, &str)]) -> Result<Look, Ending> {
        look_of(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned()).unwrap_or_default()
        })
    }

    #[test]
    fn the_environment_says_what_the_terminal_can_show() {
        for (variables, colour, unicode) in [
            (&[("TERM", "xterm"), ("LANG", "en_GB.UTF-8")][..], true, true),
            (&[("TERM", "xterm"), ("LANG", "en_GB.UTF-8"), ("LC_ALL", "C")], true, false),
            (&[("TERM", "xterm"), ("LC_CTYPE", "C.utf8"), ("NO_COLOR", "1")], false, true),
            (&[("TERM", "vt100"), ("NO_COLOR", "")], true, false),
        ] {
            assert_eq!(look(variables).unwrap(), Look { colour, unicode }, "{variables:?}");
        }
    }

    #[test]
    fn a_terminal_that_cannot_place_text_is_refused_with_what_to_do() {
        for variables in [&[][..], &[("TERM", "dumb")]] {
            let Err(Ending::Failed(text)) = look(variables) else { panic!("it should be refused") };
            assert!(text.contains("admin-cli stat"), "{text}");
        }
    }

    /// Set where this test runs as the program that panics.
    const PANICS: &str = "TOP_PANICS_HERE";

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_told() {
        if std::env::var_os(PANICS).is_some() {
            let mut screen = Screen::open().unwrap();
            screen.draw(|frame| frame.render_widget("drawn", frame.area())).unwrap();
            panic!("what went wrong");
        }
        let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&user).unwrap();
        unlockpt(&user).unwrap();
        let terminal = ptsname(&user, Vec::new()).unwrap();
        let terminal = open(terminal, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).unwrap();
        let settings = || {
            let Termios { input_modes, output_modes, control_modes, local_modes, .. } =
                tcgetattr(&terminal).unwrap();
            (input_modes, output_modes, control_modes, local_modes)
        };
        let before = settings();
        let mut program = Command::new(std::env::current_exe().unwrap());
        let name = "verbs::top::screen::tests::a_panic_gives_the_terminal_back_before_it_is_told";
        program.args(["--exact", name, "--nocapture"]).env(PANICS, "1").env("RUST_BACKTRACE", "0");
        let side = || Stdio::from(terminal.try_clone().unwrap());
        let mut running = program.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        // While anybody has this side open, what is read of the other has no end.
        drop(program);
        let mut user = File::from(user);
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            // The end of a terminal is an error.
            drop(user.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        });
        assert!(!running.wait().unwrap().success());
        assert_eq!(settings(), before);
        drop(terminal);
        let text = reader.join().unwrap();
        let place = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words:?}: {text:?}"));
        // The second screen comes, is drawn on, and goes, the cursor is there again; then it is told.
        let places = ["\u{1b}[?1049h", "drawn", "\u{1b}[?1049l", "\u{1b}[?25h", "what went wrong"];
        let places = places.map(place);
        assert!(places.is_sorted(), "{places:?}: {text:?}");
    }
}
