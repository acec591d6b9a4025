//! The script for bash.
//!
//! Knows: bash's `complete`. It offers verbs where a verb is due, and flags behind as many dashes as
//! were typed; for everything else bash offers files.

use super::commands;
use crate::verbs::programs::{OWN, Program, beginnings, next_words};

/// The whole script.
pub(super) fn script(programs: &[Program]) -> String {
    let mut words = String::new();
    for beginning in beginnings(programs) {
        let next = next_words(programs, &beginning);
        let mut next: Vec<String> = next.into_iter().map(|(word, _)| word).collect();
        if beginning == OWN {
            next.push("help".to_owned());
        }
        words.push_str(&format!("    '{beginning}') echo '{}' ;;\n", next.join(" ")));
    }
    let mut flags = String::new();
    for program in programs {
        let listed = program.usage.flags.iter().map(|flag| {
            let equals = if flag.has_value() { "=" } else { "" };
            format!("{}{equals}", flag.name)
        });
        let listed: Vec<String> = listed.collect();
        flags.push_str(&format!("    '{}') echo '{}' ;;\n", program.name, listed.join(" ")));
    }
    let commands = commands(programs).join(" ");
    format!(
        r#"# Completion of ringnsq's programs for bash. Made by: admin-cli completions bash

# The words that may follow others.
_ringnsq_words() {{
  case "$1" in
{words}    *) return 1 ;;
  esac
}}

# The flags of a program, without dashes; one that wants a value ends with an equals sign.
_ringnsq_flags() {{
  case "$1" in
{flags}  esac
}}

_ringnsq() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" said="${{1##*/}}" place=1 words dashes
  COMPREPLY=()
  # bash splits --flag=value at the equals sign, whose right side is a file or nothing known.
  if [[ $current == '=' || ${{COMP_WORDS[COMP_CWORD-1]}} == '=' ]]; then return; fi
  while words=$(_ringnsq_words "$said"); do
    if (( place == COMP_CWORD )); then
      COMPREPLY=($(compgen -W "$words" -- "$current"))
      return
    fi
    # admin-cli help VERB, and admin-cli nsq_tail.
    if [[ ${{COMP_WORDS[place]}} == help ]]; then
      :
    elif _ringnsq_words "$said ${{COMP_WORDS[place]}}" >/dev/null ||
      [[ " $words " == *" ${{COMP_WORDS[place]}} "* ]]; then
      said="$said ${{COMP_WORDS[place]}}"
    else
      said="${{COMP_WORDS[place]}}"
    fi
    (( place++ ))
  done
  case "$current" in
    --*) dashes='--' ;;
    -*) dashes='-' ;;
    *) return ;;
  esac
  COMPREPLY=($(compgen -P "$dashes" -W "$(_ringnsq_flags "$said")" -- "${{current#"$dashes"}}"))
  if [[ ${{COMPREPLY[0]}} == *= ]]; then compopt -o nospace; fi
}}

complete -o default -F _ringnsq {commands}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::programs;
    use super::*;

    #[test]
    fn words_and_flags_stand_in_tables() {
        let script = script(&programs());
        for line in [
            "    'admin-cli') echo 'stat topic help' ;;\n",
            "    'admin-cli topic') echo 'list' ;;\n",
            "    'nsqd') echo 'tcp-address=' ;;\n",
            "    'admin-cli topic list') echo 'json' ;;\n",
            "\ncomplete -o default -F _ringnsq admin-cli nsqd\n",
        ] {
            assert!(script.contains(line), "{line}\n{script}");
        }
    }
}
