//! The script for zsh.
//!
//! Knows: zsh's `_describe` and `_arguments`, and what their texts must not hold.

use super::{brief, commands, quoted};
use crate::verbs::programs::{OWN, Program, beginnings, next_words};

/// The whole script, as a function that `compinit` finds by its first line.
pub(super) fn script(programs: &[Program]) -> String {
    let mut words = String::new();
    for beginning in beginnings(programs) {
        let mut next = next_words(programs, &beginning);
        if beginning == OWN {
            next.push(("help".to_owned(), "show the flags of a verb".to_owned()));
        }
        let next: Vec<String> = next
            .iter()
            .map(|(word, summary)| quoted(&format!("{word}:{}", summary.replace(':', ","))))
            .collect();
        words.push_str(&format!("    '{beginning}') next=({}) ;;\n", next.join(" ")));
    }
    let mut flags = String::new();
    for program in programs {
        flags.push_str(&format!("    '{}') flags=(", program.name));
        for flag in &program.usage.flags {
            let help = brief(&flag.help).replace(['[', ']'], " ").replace(':', " ");
            for dashes in ["-", "--"] {
                let spec = if flag.has_value() {
                    format!("*{dashes}{}=[{help}]:{}:_files", flag.name, flag.kind)
                } else {
                    format!("*{dashes}{}[{help}]", flag.name)
                };
                flags.push_str(&format!("\n      {}", quoted(&spec)));
            }
        }
        flags.push_str(") ;;\n");
    }
    let commands = commands(programs).join(" ");
    format!(
        r#"#compdef {commands}
# Completion of ringnsq's programs for zsh. Made by: admin-cli completions zsh

_ringnsq() {{
  local said=${{words[1]:t}}
  local -a next flags
  local -i place=2
  while true; do
    next=()
    case "$said" in
{words}    esac
    (( $#next )) || break
    if (( place == CURRENT )); then
      _describe -t verbs verb next
      return
    fi
    if [[ $words[place] == help ]]; then
      :
    elif (( ${{next[(I)$words[place]:*]}} )); then
      said="$said $words[place]"
    else
      said=$words[place]
    fi
    (( place++ ))
  done
  case "$said" in
{flags}  esac
  # What was said up to here is the name of the program to what follows.
  words=("$said" "${{(@)words[place,-1]}}")
  (( CURRENT -= place - 2 ))
  _arguments : $flags '*:name:_files'
}}

if [[ $funcstack[1] == _ringnsq ]]; then
  _ringnsq "$@"
else
  compdef _ringnsq {commands}
fi
"#
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::programs;
    use super::*;

    #[test]
    fn flags_stand_behind_one_dash_and_two() {
        let script = script(&programs());
        for part in [
            "#compdef admin-cli nsqd\n",
            "'stat:what admin-cli stat does, it’s that'",
            "'*-tcp-address=[addr port]:string:_files'",
            "'*--tcp-address=[addr port]:string:_files'",
            "'*--json[write  JSON ]'",
        ] {
            assert!(script.contains(part), "{part}\n{script}");
        }
    }
}
