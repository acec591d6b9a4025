//! Asking before something is destroyed.
//!
//! Rule: a person at a terminal is asked, and anything but a yes is a no; where nobody can be asked,
//! nothing is done unless `--yes` was given. Does not know: what is destroyed.

use std::io::{self, BufRead as _, IsTerminal as _};

use crate::terminal::{Ending, print_to_stderr, visible};

/// Goes on when the user wants it. `losses` says in whole lines what is done and lost, `question` asks
/// for it.
pub(crate) fn require(is_given: bool, losses: &str, question: &str) -> Result<(), Ending> {
    if is_given {
        return Ok(());
    }
    print_to_stderr(&visible(losses));
    if !io::stdin().is_terminal() {
        return Err(Ending::Declined(
            "nothing was done: nobody can be asked, as standard input is no terminal; --yes goes \
             ahead without asking"
                .to_owned(),
        ));
    }
    print_to_stderr(&format!("{question} [y/N] "));
    let mut answer = String::new();
    // The runtime has nothing else to do meanwhile, and Ctrl-C ends the process.
    let read = io::stdin().lock().read_line(&mut answer);
    if read.is_ok_and(|bytes| bytes == 0) {
        print_to_stderr("\n");
    }
    if is_yes(&answer) { Ok(()) } else { Err(Ending::Declined("nothing was done".to_owned())) }
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_one() {
        for yes in ["y\n", "Y", " yes \n", "YES\n"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "yess\n", "delete\n", "ye\n"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }

    #[test]
    fn who_said_yes_already_is_not_asked() {
        assert!(require(true, "unseen", "unseen").is_ok());
    }
}
