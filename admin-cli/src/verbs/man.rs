//! `admin-cli man`: manual pages.
//!
//! Knows: the form of a manual page (roff, with the macros of `man`). What stands in it comes from
//! [`programs`].

use std::fmt::Write as _;
use std::fs;
use std::io::IsTerminal as _;
use std::path::Path;

use clap::Parser;
use startup::version::RINGNSQ_VERSION;

use super::programs::{self, OWN, Program, UTILITIES};
use crate::terminal::{self, Ending, Output};

/// The flags of `admin-cli man`.
#[derive(Debug, Parser)]
#[command(name = "admin-cli")]
pub(crate) struct Flags {
    /// folder to write all pages into, instead of one page to standard output
    #[arg(long, default_value = "")]
    dir: String,
}

/// Prints the page of a verb or a program, or writes all.
pub(crate) async fn run(flags: Flags, names: Vec<String>) -> Result<(), Ending> {
    let programs = programs::all()
        .map_err(|error| Ending::Failed(format!("cannot ask a program for help: {error}")))?;
    if !flags.dir.is_empty() {
        return write_all(Path::new(&flags.dir), &programs);
    }
    let name = names.join(" ");
    let page = if name.is_empty() || name == OWN {
        own_page(&programs)
    } else {
        let own = format!("{OWN} {name}");
        let found = programs.iter().find(|program| program.name == name || program.name == own);
        let found = found.ok_or_else(|| {
            Ending::Misuse(format!("there is no page for {name:?}: admin-cli help lists the verbs"))
        })?;
        page(found)
    };
    Output::open().write(page.as_bytes()).await?;
    if std::io::stdout().is_terminal() {
        // Last, as the page is longer than a screen.
        terminal::note("that is the page's source: `| man -l -` behind the command shows the page");
    }
    Ok(())
}

fn write_all(folder: &Path, programs: &[Program]) -> Result<(), Ending> {
    let failed = |path: &Path, error: &std::io::Error| {
        Ending::Failed(format!("cannot write {}: {error}", path.display()))
    };
    fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let pages = programs.iter().map(|program| (program.name.replace(' ', "-"), page(program)));
    for (name, page) in pages.chain([(OWN.to_owned(), own_page(programs))]) {
        let path = folder.join(format!("{name}.1"));
        #[expect(clippy::disallowed_methods, reason = "an ordinary process may wait for its disk")]
        fs::write(&path, page).map_err(|error| failed(&path, &error))?;
    }
    Ok(())
}

/// A help text without the default that holds on the machine alone on which the page is made: it says
/// behind `hostname)` what that is there.
fn everywhere(help: &str) -> &str {
    match help.split_once("hostname) (default ") {
        Some((before, _)) => &help[..before.len() + "hostname)".len()],
        None => help,
    }
}

/// The page of a program or a verb.
fn page(program: &Program) -> String {
    let file = program.name.replace(' ', "-");
    let mut page = heading(&file, &program.summary);
    let names = &program.usage.names;
    section(&mut page, "SYNOPSIS");
    push(&mut page, format_args!(".B {}", escape(&program.name)));
    push(&mut page, format_args!("[\\fIflags\\fR] {}", escape(names)));
    section(&mut page, "FLAGS");
    text(
        &mut page,
        "A flag stands behind one dash or two, its value behind = or as the next word.",
    );
    for flag in &program.usage.flags {
        push(&mut page, format_args!(".TP"));
        let name = escape(&flag.name);
        if flag.has_value() {
            push(&mut page, format_args!("\\fB\\-\\-{name}\\fR=\\fI{}\\fR", escape(&flag.kind)));
        } else {
            push(&mut page, format_args!("\\fB\\-\\-{name}\\fR"));
        }
        for line in everywhere(&flag.help).lines() {
            text(&mut page, line);
        }
    }
    if !program.usage.exit_codes.is_empty() {
        section(&mut page, "EXIT STATUS");
        for (code, meaning) in &program.usage.exit_codes {
            push(&mut page, format_args!(".TP\n.B {code}"));
            text(&mut page, meaning);
        }
    }
    section(&mut page, "SEE ALSO");
    push(&mut page, format_args!(".BR {} (1)", escape(OWN)));
    page
}

/// The page that lists the verbs.
fn own_page(programs: &[Program]) -> String {
    let mut page = heading(OWN, "look at a cluster of nsqd and nsqlookupd, and change it");
    section(&mut page, "SYNOPSIS");
    push(
        &mut page,
        format_args!(".B {}\n\\fIverb\\fR [\\fIflags\\fR] [\\fInames\\fR]", escape(OWN)),
    );
    section(&mut page, "VERBS");
    for program in programs {
        let Some(verb) = program.name.strip_prefix(OWN) else { continue };
        push(&mut page, format_args!(".TP\n.B {}", escape(verb.trim_start())));
        text(&mut page, &program.summary);
    }
    section(&mut page, "OTHER NAMES");
    text(&mut page, "Called by one of these names, it is that utility of NSQ:");
    for (name, summary) in UTILITIES {
        push(&mut page, format_args!(".TP\n.BR {} (1)", escape(name)));
        text(&mut page, summary);
    }
    page
}

fn heading(file: &str, summary: &str) -> String {
    let title = escape(&file.to_uppercase());
    let mut page = format!(".TH {title} 1 \"\" \"ringnsq {RINGNSQ_VERSION}\"\n");
    section(&mut page, "NAME");
    push(&mut page, format_args!("{} \\- {}", escape(file), escape(summary)));
    page
}

fn section(page: &mut String, name: &str) {
    push(page, format_args!(".SH {name}"));
}

/// A line of text, which must not look like a macro.
fn text(page: &mut String, line: &str) {
    push(page, format_args!("{}", escape(line)));
}

fn push(page: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(page, "{line}").expect("a String takes what it is given");
}

/// Text as roff shows it unchanged.
fn escape(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    // At the start of a line these would begin a macro.
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::programs::usage::{Flag, Usage};

    #[test]
    fn a_page_names_no_machine() {
        for (help, told) in [
            ("id (default is hash of hostname) (default 617)", "id (default is hash of hostname)"),
            ("a (default to the OS hostname) (default \"x\")", "a (default to the OS hostname)"),
            ("port (default 4150)", "port (default 4150)"),
        ] {
            assert_eq!(everywhere(help), told);
        }
    }

    #[test]
    fn a_page_has_the_sections_of_a_manual() {
        let flag = |name: &str, kind: &str, help: &str| Flag {
            name: name.into(),
            kind: kind.into(),
            help: help.into(),
        };
        let program = Program {
            name: "admin-cli topic list".into(),
            summary: "show all topics".into(),
            usage: Usage {
                names: "[TOPIC...]".into(),
                flags: vec![flag("json", "", "write JSON"), flag("dir", "string", ".a\n'b\\n")],
                exit_codes: vec![("0".into(), "done".into())],
            },
        };
        let expected = format!(
            "\
.TH ADMIN\\-CLI\\-TOPIC\\-LIST 1 \"\" \"ringnsq {RINGNSQ_VERSION}\"
.SH NAME
admin\\-cli\\-topic\\-list \\- show all topics
.SH SYNOPSIS
.B admin\\-cli topic list
[\\fIflags\\fR] [TOPIC...]
.SH FLAGS
A flag stands behind one dash or two, its value behind = or as the next word.
.TP
\\fB\\-\\-json\\fR
write JSON
.TP
\\fB\\-\\-dir\\fR=\\fIstring\\fR
\\&.a
\\&'b\\en
.SH EXIT STATUS
.TP
.B 0
done
.SH SEE ALSO
.BR admin\\-cli (1)
"
        );
        assert_eq!(page(&program), expected);
        let own = own_page(std::slice::from_ref(&program));
        assert!(own.contains(".B topic list\nshow all topics\n"), "{own}");
    }
}
