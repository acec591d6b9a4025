//! What the user sees and does: lines on standard output and standard error, Ctrl-C, exit codes.
//!
//! Does not know: what the lines say.

use std::borrow::Cow;
use std::io::{self, Stdout, Write};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Why a verb ends before its work is done.
#[derive(Debug)]
pub(crate) enum Ending {
    /// Flags contradict each other; this says how.
    Misuse(String),
    /// The work cannot be done; this says why, and what to look at.
    Failed(String),
    /// The user did not want it, or could not be asked; this says which.
    Declined(String),
    /// A part is done; who failed was said already.
    Partial,
    /// Nobody reads standard output any more, as behind `| head`. Nothing is wrong.
    OutputClosed,
}

impl Ending {
    /// The exit code of [`Ending::Misuse`].
    pub(crate) const MISUSE: u8 = 2;
    /// The exit code of [`Ending::Failed`].
    const FAILED: u8 = 1;
    /// The exit code of [`Ending::Declined`].
    const DECLINED: u8 = 3;
    /// The exit code of [`Ending::Partial`].
    const PARTIAL: u8 = 4;

    /// Tells the user, and gives the process its exit code.
    pub(crate) fn into_exit_code(self) -> ExitCode {
        match self {
            Self::Misuse(text) => {
                note(&text);
                ExitCode::from(Self::MISUSE)
            }
            Self::Failed(text) => {
                note(&text);
                ExitCode::from(Self::FAILED)
            }
            Self::Declined(text) => {
                note(&text);
                ExitCode::from(Self::DECLINED)
            }
            Self::Partial => ExitCode::from(Self::PARTIAL),
            Self::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

/// Every verb's help ends with this.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done; stopped by Ctrl-C; or nobody reads the output any more
  1  nobody answers, one refuses, or something is wrong; standard error says what
  2  flags are wrong
";

/// A line for the user on standard error, which does not mix with results.
pub(crate) fn note(text: &str) {
    print_to_stderr(&format!("admin-cli: {}\n", visible(text)));
}

/// A text of which a terminal takes nothing for an order: control characters, but for line feeds, are
/// escaped. What processes tell of themselves, and why they refuse, comes from strangers.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    let is_order = |c: char| c.is_control() && c != '\n';
    if !text.contains(is_order) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_order(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// Text for the user on standard error.
pub(crate) fn print_to_stderr(text: &str) {
    // Nobody is left to be told when standard error is gone.
    drop(io::stderr().write_all(text.as_bytes()));
}

/// A short result, before any work begins.
pub(crate) fn print_to_stdout(text: &str) {
    // Who closed standard output does not want the text.
    drop(io::stdout().write_all(text.as_bytes()));
}

/// What a pipe takes at once without waiting, when it takes anything.
const PIPE_BYTES: usize = 4096;

/// Results on standard output. A reader that is slow makes the writer wait, and nothing else.
///
/// It is written to by this thread: handing every piece to another would cost more than the writing.
/// So that the thread never waits, a pipe or terminal is written to in pieces that it has room for.
pub(crate) struct Output {
    /// Says when there is room; `None` for a file, which always has.
    room: Option<AsyncFd<Stdout>>,
}

impl Output {
    /// Within a runtime.
    #[expect(
        deprecated,
        reason = "its successor is `unsafe`, for the sake of descriptors that are closed too early; \
                  standard output stays open as long as the process"
    )]
    pub(crate) fn open() -> Self {
        // What cannot be waited for is a file, or fails when it is written to.
        Self { room: AsyncFd::with_interest(io::stdout(), Interest::WRITABLE).ok() }
    }

    /// Hands all of it over.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Ending> {
        self.write_all(bytes).await.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Ending::OutputClosed,
            _ => Ending::Failed(format!("cannot write to standard output: {error}")),
        })
    }

    /// Hands all of it over.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let stdout = io::stdout();
        while !bytes.is_empty() {
            let piece = match &self.room {
                None => bytes,
                Some(room) => {
                    let mut ready = room.writable().await?;
                    let mut asked = [PollFd::new(&stdout, PollFlags::OUT)];
                    if poll(&mut asked, Some(&Timespec::default()))? == 0 {
                        ready.clear_ready();
                        continue;
                    }
                    &bytes[..bytes.len().min(PIPE_BYTES)]
                }
            };
            match rustix::io::write(&stdout, piece) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Ctrl-C, and the signal by which a service manager says the same.
pub(crate) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// From now on a signal does not end the process by itself.
    pub(crate) fn listen() -> Result<Self, Ending> {
        let listen = |kind| {
            signal(kind).map_err(|error| Ending::Failed(format!("cannot hear signals: {error}")))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for one of them. One that came since [`Interrupt::listen`] is not lost.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
