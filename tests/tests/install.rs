//! What `make install` puts where, and that it works from there: programs, links, manual pages, and
//! completions in real shells.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tests::process::{Ended, run};
use tests::programs::{ours, skipped, workspace};

const LIMIT: Duration = Duration::from_secs(60);

/// NSQ's names for our one program.
const LINKS: [&str; 7] =
    ["nsq_stat", "nsq_tail", "nsq_to_file", "nsq_to_http", "nsq_to_nsq", "nsqadmin", "to_nsq"];

/// A prefix into which everything was installed from the folder of the programs under test.
fn installed() -> TempDir {
    let prefix = TempDir::new().expect("the temporary folder can be written");
    let folder = ours("admin-cli").with_file_name("");
    programs(&["install", text(&folder), text(prefix.path())]);
    prefix
}

fn programs(arguments: &[&str]) {
    let ended = run(Command::new(workspace().join("programs")).args(arguments), b"", LIMIT);
    assert!(ended.status.success(), "{arguments:?}: {}", ended.log);
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the folder's name is text")
}

/// All files and links below a folder, as paths from it.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder can be read") {
            let entry = entry.expect("an entry can be read");
            if entry.file_type().expect("it has a type").is_dir() {
                folders.push(entry.path());
            } else {
                let path = entry.path();
                files.push(path.strip_prefix(folder).expect("it lies below").to_owned());
            }
        }
    }
    files.sort();
    files
}

fn runs(program: &Path, arguments: &[&str]) -> Ended {
    run(Command::new(program).args(arguments), b"", LIMIT)
}

#[test]
fn every_program_answers_by_its_name() {
    let prefix = installed();
    let bin = prefix.path().join("bin");
    for name in LINKS {
        let link = fs::read_link(bin.join(name)).expect("it is a link");
        assert_eq!(link, Path::new("admin-cli"), "a link that the prefix can be moved with");
    }
    for name in ["nsqd", "nsqlookupd", "admin-cli"] {
        let mode = fs::metadata(bin.join(name)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o755, "{name}");
    }
    for name in ["nsqd", "nsqlookupd", "nsqadmin", "admin-cli"] {
        let ended = runs(&bin.join(name), &["--version"]);
        assert_eq!(ended.status.code(), Some(0), "{name}: {}", ended.log);
        let line = format!("{name} v1.3.0 (built w/");
        assert!(ended.output[0].starts_with(&line), "{:?}", ended.output);
    }
    for name in ["nsq_stat", "nsq_tail", "nsq_to_file", "nsq_to_http", "nsq_to_nsq"] {
        let ended = runs(&bin.join(name), &["--version"]);
        assert_eq!(ended.status.code(), Some(0), "{name}: {}", ended.log);
        assert_eq!(ended.output, [format!("{name} v1.3.0")]);
    }
    // NSQ's knows no such flag.
    let ended = runs(&bin.join("to_nsq"), &["--version"]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.log.starts_with("flag provided but not defined: -version"), "{}", ended.log);
}

#[test]
fn what_was_installed_is_taken_away_again() {
    let prefix = installed();
    let files = files_below(prefix.path());
    for file in [
        "bin/nsqd",
        "share/man/man1/nsqd.1",
        "share/man/man1/nsq_stat.1",
        "share/man/man1/admin-cli.1",
        "share/man/man1/admin-cli-topic-delete.1",
        "share/bash-completion/completions/nsqlookupd",
        "share/zsh/site-functions/_ringnsq",
        "share/fish/vendor_completions.d/to_nsq.fish",
    ] {
        assert!(files.contains(&PathBuf::from(file)), "{file}: {files:?}");
    }
    fs::write(prefix.path().join("bin/other"), "").expect("a file can be written");
    // Twice is as good as once.
    for _ in 0..2 {
        programs(&["uninstall", text(prefix.path())]);
        assert_eq!(files_below(prefix.path()), [PathBuf::from("bin/other")]);
    }
}

#[test]
fn make_names_the_prefix_below_the_destination() {
    let arguments = ["--dry-run", "install", "uninstall", "PREFIX=/usr", "DESTDIR=/tmp/x"];
    let mut make = Command::new("make");
    make.arg("--directory").arg(workspace()).args(arguments).env_remove("CARGO_TARGET_DIR");
    let ended = run(&mut make, b"", LIMIT);
    let output = ended.output.join("\n");
    assert!(output.contains("./programs install target/release /tmp/x/usr"), "{output}");
    assert!(output.contains("./programs uninstall /tmp/x/usr"), "{output}");
}

#[test]
fn line_numbers_are_left_behind_and_names_of_functions_are_not() {
    let prefix = installed();
    if Command::new("strip").arg("--version").output().is_err() {
        return skipped("strip is not installed: programs are installed with line numbers");
    }
    // The names of its sections stand in a program.
    let names = |program: &Path, section: &[u8]| {
        let bytes = fs::read(program).expect("it can be read");
        bytes.windows(section.len()).any(|name| name == section)
    };
    let (built, placed) = (ours("nsqlookupd"), prefix.path().join("bin/nsqlookupd"));
    assert_eq!((names(&built, b".debug_line\0"), names(&built, b".symtab\0")), (true, true));
    assert_eq!((names(&placed, b".debug_line\0"), names(&placed, b".symtab\0")), (false, true));
}

#[test]
fn manual_pages_are_set_without_a_complaint() {
    let prefix = installed();
    if Command::new("groff").arg("--version").output().is_err() {
        return skipped("groff is not installed: nothing sets a manual page");
    }
    let pages = prefix.path().join("share/man/man1");
    for page in files_below(&pages) {
        let mut groff = Command::new("groff");
        groff.args(["-man", "-Tascii", "-ww", "-b", "-P-c"]).arg(pages.join(&page));
        let ended = run(&mut groff, b"", LIMIT);
        assert!(ended.status.success() && ended.log.is_empty(), "{page:?}: {}", ended.log);
    }
    let mut groff = Command::new("groff");
    groff.args(["-man", "-Tascii", "-rLL=200n", "-P-cbou"]).arg(pages.join("nsqd.1"));
    let page = run(&mut groff, b"", LIMIT).output.join("\n");
    for words in ["NAME\n       nsqd - the broker", "--data-path=string", "--mem-queue-size=int"] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

/// What is typed, and what the shell makes of it.
const COMPLETED: [(&str, &str); 8] = [
    ("admin-cli topi", "admin-cli topic"),
    ("admin-cli topic del", "admin-cli topic delete"),
    ("admin-cli topic delete --ye", "admin-cli topic delete --yes"),
    ("admin-cli topic delete orders -ye", "admin-cli topic delete orders -yes"),
    ("admin-cli help channel cr", "admin-cli help channel create"),
    ("nsqd --mem-queue-si", "nsqd --mem-queue-size="),
    ("nsqlookupd -inactive-prod", "nsqlookupd -inactive-producer-timeout="),
    ("nsq_stat --topi", "nsq_stat --topic="),
];

/// Whether a shell is there; else it is said that the test is skipped.
fn has(shell: &str) -> bool {
    let is_there = Command::new(shell).arg("--version").output().is_ok();
    if !is_there {
        skipped(&format!("{shell} is not installed: nobody completes"));
    }
    is_there
}

#[test]
fn bash_completes_verbs_and_flags() {
    if !has("bash") {
        return;
    }
    let prefix = installed();
    for (typed, completed) in COMPLETED {
        let program = typed.split(' ').next().expect("a first word");
        let file = prefix.path().join("share/bash-completion/completions").join(program);
        // bash itself calls the function that `complete` named, with the words of the line.
        let script = format!(
            "source {}; read -ra COMP_WORDS <<<'{typed}'; COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); \
             spec=$(complete -p {program}); name=${{spec##*-F }}; name=${{name%% *}}; \
             \"$name\" {program} 2>/dev/null; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            file.display()
        );
        let ended = run(Command::new("bash").args(["--norc", "-c", &script]), b"", LIMIT);
        let last = completed.rsplit(' ').next().expect("a last word");
        assert_eq!(ended.output, [last], "{typed}: {}", ended.log);
    }
}

#[test]
fn bash_completes_at_a_terminal() {
    if !has("bash") {
        return;
    }
    if Command::new("script").arg("--version").output().is_err() {
        return skipped("script is not installed: there is no terminal to complete at");
    }
    let prefix = installed();
    let bin = prefix.path().join("bin");
    let file = prefix.path().join("share/bash-completion/completions/nsq_stat");
    let start = prefix.path().join("start");
    let text = format!(
        "PS1='> '; PATH={}:$PATH; bind 'set enable-bracketed-paste off'; source {}\n",
        bin.display(),
        file.display()
    );
    fs::write(&start, text).expect("a file can be written");
    let line = format!("bash --noprofile --rcfile {} -i", start.display());
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let ended = run(&mut command, b"nsq_stat -vers\t; admin-cli help topic del\t\nexit\n", LIMIT);
    let screen = ended.output.join("\n");
    assert!(screen.contains("nsq_stat v1.3.0"), "{screen}");
    assert!(screen.contains("Usage: admin-cli topic delete [FLAGS] TOPIC..."), "{screen}");
}

#[test]
fn zsh_completes_verbs_and_flags_at_a_terminal() {
    if !has("zsh") {
        return;
    }
    if Command::new("script").arg("--version").output().is_err() {
        return skipped("script is not installed: there is no terminal to complete at");
    }
    let prefix = installed();
    let completed = prefix.path().join("completed");
    // A key writes down what the line has become; keys are taken one after the other.
    let start = format!(
        "PS1='> '; fpath=({} $fpath); autoload -Uz compinit; compinit -D -u\n\
         note() {{ print -r -- \"$BUFFER\" >>{}; BUFFER= }}; zle -N note; bindkey '^T' note\n",
        prefix.path().join("share/zsh/site-functions").display(),
        completed.display()
    );
    fs::write(prefix.path().join(".zshrc"), start).expect("a file can be written");
    let keys: String = COMPLETED.iter().map(|(typed, _)| format!("{typed}\t\x14")).collect();
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", "zsh -d -i", "/dev/null"]);
    command.env("ZDOTDIR", prefix.path()).env("HOME", prefix.path());
    let ended = run(&mut command, format!("{keys}exit\n").as_bytes(), LIMIT);
    let lines = fs::read_to_string(&completed)
        .unwrap_or_else(|error| panic!("nothing was completed, {error}: {ended:?}"));
    let lines: Vec<&str> = lines.lines().map(str::trim_end).collect();
    assert_eq!(lines, COMPLETED.map(|(_, completed)| completed));
}

#[test]
fn fish_completes_verbs_and_flags() {
    if !has("fish") {
        return;
    }
    let prefix = installed();
    let folder = prefix.path().join("share/fish/vendor_completions.d");
    for (typed, completed) in COMPLETED {
        let program = typed.split(' ').next().expect("a first word");
        let file = folder.join(format!("{program}.fish"));
        let script = format!("source {}; complete -C '{typed}'", file.display());
        let mut fish = Command::new("fish");
        // Nothing of the user's is read or written.
        fish.args(["--no-config", "-c", &script]).env("HOME", prefix.path());
        let ended = run(&mut fish, b"", LIMIT);
        // Behind a tab stands what it is for, and fish sets the equals sign by itself.
        let offered: Vec<&str> =
            ended.output.iter().filter_map(|line| line.split('\t').next()).collect();
        let last = completed.rsplit(' ').next().expect("a last word").trim_end_matches('=');
        assert_eq!(offered, [last], "{typed}: {}", ended.log);
    }
}
