//! What a program says when it is asked for help, as values.
//!
//! Knows: the form that NSQ's programs and ours give it:
//!
//! ```text
//! Usage: admin-cli topic list [FLAGS] [TOPIC...]     (verbs with names)
//!   -msg-timeout duration
//!         default duration to wait before auto-requeing a message (default 1m0s)
//!   -n int    total messages to show
//! Exit codes:
//!   0  done
//! ```
//!
//! A tab stands in front of what a flag is for.
//!
//! Does not know: programs, or what is made of it.

/// The help of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// What stands beside the flags: `TOPIC...`; empty for nothing.
    pub(crate) names: String,
    /// In their order.
    pub(crate) flags: Vec<Flag>,
    /// Each with its meaning; empty where the help does not say.
    pub(crate) exit_codes: Vec<(String, String)>,
}

/// A flag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flag {
    /// Without dashes.
    pub(crate) name: String,
    /// The type of its value, `string` for instance; empty for one that may stand alone.
    pub(crate) kind: String,
    /// What it is for, and its default. May have several lines.
    pub(crate) help: String,
}

impl Flag {
    /// Whether it wants a value.
    pub(crate) fn has_value(&self) -> bool {
        !self.kind.is_empty()
    }
}

impl Usage {
    /// Reads a help text. What it does not know it passes over.
    pub(crate) fn read(text: &str) -> Self {
        let mut usage = Self::default();
        let mut are_exit_codes = false;
        for line in text.lines() {
            if let Some(synopsis) = line.strip_prefix("Usage: ") {
                let names = synopsis.split_once("[FLAGS]").map(|(_, names)| names.trim());
                names.unwrap_or_default().clone_into(&mut usage.names);
            } else if line == "Exit codes:" {
                are_exit_codes = true;
            } else if are_exit_codes {
                usage.read_exit_code(line);
            } else if let Some(flag) = line.strip_prefix("  -") {
                let (head, help) = flag.split_once('\t').unwrap_or((flag, ""));
                let (name, kind) = head.split_once(' ').unwrap_or((head, ""));
                let [name, kind, help] = [name, kind, help].map(str::to_owned);
                usage.flags.push(Flag { name, kind, help });
            } else if let (Some(more), Some(flag)) =
                (line.strip_prefix("    \t"), usage.flags.last_mut())
            {
                if !flag.help.is_empty() {
                    flag.help.push('\n');
                }
                flag.help.push_str(more);
            }
        }
        usage
    }

    fn read_exit_code(&mut self, line: &str) {
        let line = line.trim_start();
        let split = line.split_once("  ");
        match (split, self.exit_codes.last_mut()) {
            (Some((code, meaning)), _) if code.parse::<u8>().is_ok() => {
                self.exit_codes.push((code.to_owned(), meaning.trim().to_owned()));
            }
            (_, Some((_, meaning))) if !line.is_empty() => {
                meaning.push(' ');
                meaning.push_str(line);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_help_text_is_read_flag_by_flag() {
        let text = "Usage: admin-cli topic list [FLAGS] [TOPIC...]\n\nshow all\n\nFlags:\n  -count value\n    \tnumber of\n    \treports (default 1)\n  -json\n    \twrite JSON\n  -n int\ttotal\n\nExit codes:\n  0  done\n  1  not done:\n     it says why\n";
        let flag = |name: &str, kind: &str, help: &str| Flag {
            name: name.into(),
            kind: kind.into(),
            help: help.into(),
        };
        let usage = Usage::read(text);
        assert_eq!(usage.names, "[TOPIC...]");
        assert_eq!(
            usage.flags,
            [
                flag("count", "value", "number of\nreports (default 1)"),
                flag("json", "", "write JSON"),
                flag("n", "int", "total"),
            ]
        );
        assert!(usage.flags[0].has_value() && !usage.flags[1].has_value());
        assert_eq!(
            usage.exit_codes,
            [("0".into(), "done".into()), ("1".into(), "not done: it says why".into())]
        );
        assert_eq!(Usage::read("Usage of nsqd:\n"), Usage::default());
    }
}
