//! The script for fish.
//!
//! Knows: fish's `complete`. A flag is long in fish's words behind two dashes, and old behind one.

use super::{brief, quoted};
use crate::verbs::programs::{OWN, Program, UTILITIES, beginnings, next_words};

/// The whole script.
pub(super) fn script(programs: &[Program]) -> String {
    let mut script = "\
# Completion of ringnsq's programs for fish. Made by: admin-cli completions fish

# Whether the words behind the program begin with these.
function __ringnsq_said
    set -l said (commandline -opc)[2..-1]
    test (count $said) -ge (count $argv); or return 1
    for place in (seq (count $argv))
        test \"$said[$place]\" = \"$argv[$place]\"; or return 1
    end
end

# Whether they are these and no more.
function __ringnsq_ends
    test (count (commandline -opc)) -eq (math 1 + (count $argv)); and __ringnsq_said $argv
end

"
    .to_owned();
    for beginning in beginnings(programs) {
        let said = beginning.strip_prefix(OWN).unwrap_or_default();
        let mut next = next_words(programs, &beginning);
        if beginning == OWN {
            next.push(("help".to_owned(), "show the flags of a verb".to_owned()));
        }
        for (word, summary) in next {
            // A verb is due at the start, and behind `help`.
            for first in ["", " help"] {
                script.push_str(&format!(
                    "complete -c {OWN} -n '__ringnsq_ends{first}{said}' -f -a {word} -d {}\n",
                    quoted(&summary)
                ));
            }
        }
    }
    for program in programs {
        let verb = program.name.strip_prefix(OWN);
        let command = if verb.is_some() { OWN } else { &program.name };
        push_flags(&mut script, command, verb, program);
        // A utility is a verb as well.
        if UTILITIES.iter().any(|(name, _)| *name == program.name) {
            push_flags(&mut script, OWN, Some(&format!(" {}", program.name)), program);
        }
    }
    script
}

fn push_flags(script: &mut String, command: &str, verb: Option<&str>, program: &Program) {
    let condition = verb.map(|verb| format!(" -n '__ringnsq_said{verb}'")).unwrap_or_default();
    for flag in &program.usage.flags {
        let name = &flag.name;
        let value = if flag.has_value() { " -r" } else { "" };
        // fish knows flags of one letter only behind one dash.
        let spelled =
            if name.len() == 1 { format!("-s {name}") } else { format!("-l {name} -o {name}") };
        script.push_str(&format!(
            "complete -c {command}{condition} {spelled}{value} -d {}\n",
            quoted(&brief(&flag.help))
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::programs;
    use super::*;

    #[test]
    fn flags_are_long_and_old() {
        let script = script(&programs());
        for line in [
            "\ncomplete -c nsqd -l tcp-address -o tcp-address -r -d 'addr:port'\n",
            "\ncomplete -c admin-cli -n '__ringnsq_said topic list' -l json -o json -d 'write JSON'\n",
            "\ncomplete -c admin-cli -n '__ringnsq_ends topic' -f -a list -d",
        ] {
            assert!(script.contains(line), "{line}\n{script}");
        }
    }
}
