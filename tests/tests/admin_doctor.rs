//! `admin-cli doctor` on this machine, and with one thing after the other taken away from it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tests::broker::Broker;
use tests::lookup_server::LookupServer;
use tests::process::{Ended, run};
use tests::programs::{ours, skipped, workspace};

const LIMIT: Duration = Duration::from_secs(60);

/// A finding: `fine`, `warning` or `wrong`, what was found, and what to do.
#[derive(Debug)]
struct Finding {
    check: String,
    verdict: String,
    found: String,
    advice: Option<String>,
}

/// What the program says, and its exit code.
#[derive(Debug)]
struct Diagnosis {
    verdict: String,
    findings: Vec<Finding>,
    exit_code: Option<i32>,
}

impl Diagnosis {
    fn of(ended: &Ended) -> Self {
        assert_eq!(ended.output.len(), 1, "{:?} {}", ended.output, ended.log);
        let report: Value = serde_json::from_str(&ended.output[0]).expect("a line of JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let findings = report["checks"].as_array().expect("a list").iter().map(|check| Finding {
            check: text(&check["check"]),
            verdict: text(&check["verdict"]),
            found: text(&check["found"]),
            advice: check["advice"].as_str().map(str::to_owned),
        });
        Self {
            verdict: text(&report["verdict"]),
            findings: findings.collect(),
            exit_code: ended.status.code(),
        }
    }

    /// The one finding of a check.
    fn finding(&self, check: &str) -> &Finding {
        let found: Vec<_> = self.findings.iter().filter(|found| found.check == check).collect();
        assert_eq!(found.len(), 1, "{check} in {self:#?}");
        found[0]
    }

    /// One thing is wrong, and nothing else: this, which says so in these words.
    fn is_wrong_only_about(&self, check: &str, words: &str) {
        let wrong: Vec<_> =
            self.findings.iter().filter(|finding| finding.verdict == "wrong").collect();
        assert_eq!((wrong.len(), self.exit_code), (1, Some(1)), "{self:#?}");
        assert_eq!(wrong[0].check, check, "{self:#?}");
        let text = format!("{} {}", wrong[0].found, wrong[0].advice.as_deref().unwrap_or_default());
        assert!(text.contains(words), "{text}");
    }
}

/// The arguments for a folder, on ports that are free, with a short measurement.
fn arguments(folder: &Path) -> Vec<String> {
    let data = format!("--data-path={}", folder.display());
    let fixed = ["doctor", "--json", "--measure=50ms", "--shards=1"];
    let ports = ["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"];
    let mut arguments: Vec<String> = fixed.into_iter().chain(ports).map(str::to_owned).collect();
    arguments.push(data);
    arguments
}

fn folder() -> TempDir {
    TempDir::new().expect("the temporary folder can be written")
}

fn doctor(folder: &Path, flags: &[String]) -> Diagnosis {
    let mut command = Command::new(ours("admin-cli"));
    command.args(arguments(folder)).args(flags);
    Diagnosis::of(&run(&mut command, b"", LIMIT))
}

/// The program, started by something that takes something away from it first.
fn under(mut command: Command, folder: &Path) -> Diagnosis {
    command.arg(ours("admin-cli")).args(arguments(folder));
    Diagnosis::of(&run(&mut command, b"", LIMIT))
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{script}; exec \"$@\"")).arg("sh");
    command
}

#[test]
fn a_machine_on_which_nsqd_works_is_well() {
    let folder = folder();
    let diagnosis = doctor(folder.path(), &[]);
    assert_eq!(diagnosis.exit_code, Some(0), "{diagnosis:#?}");
    assert_ne!(diagnosis.verdict, "wrong");
    let checks: Vec<_> = diagnosis.findings.iter().map(|finding| finding.check.as_str()).collect();
    let expected = [
        "kernel",
        "io_uring",
        "locked memory",
        "open files",
        "data path",
        "file system",
        "free space",
        "write",
        "sync",
        "TCP port",
        "HTTP port",
        "nsqlookupd",
    ];
    assert_eq!(checks, expected);
    for check in ["kernel", "io_uring", "data path", "TCP port", "HTTP port", "nsqlookupd"] {
        assert_eq!(diagnosis.finding(check).verdict, "fine", "{diagnosis:#?}");
    }
    assert!(diagnosis.finding("sync").found.contains("fdatasync in "), "{diagnosis:#?}");
    assert!(diagnosis.finding("sync").found.contains(" p99 "), "{diagnosis:#?}");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("it is there").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn people_get_a_line_for_each_check_in_80_columns() {
    let folder = folder();
    let mut arguments = arguments(folder.path());
    arguments.retain(|argument| argument != "--json");
    let ended = run(Command::new(ours("admin-cli")).args(arguments), b"", LIMIT);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let text = ended.output.join("\n");
    assert!(text.starts_with("kernel          fine      Linux "), "{text}");
    assert!(ended.output.iter().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("nsqd") && text.trim_end().ends_with(" here"), "{text}");
}

#[test]
fn an_ordinary_user_is_examined_as_well() {
    if !rustix::process::geteuid().is_root() {
        // The other tests did it.
        return;
    }
    if Command::new("setpriv").arg("--version").output().is_err() {
        return skipped("setpriv is not installed: root cannot become another user");
    }
    let folder = folder();
    let everybody = fs::Permissions::from_mode(0o777);
    fs::set_permissions(folder.path(), everybody.clone()).expect("it is ours");
    // The folder in which it was built may be closed to others.
    let program = folder.path().join("admin-cli");
    fs::copy(ours("admin-cli"), &program).expect("there is room");
    fs::set_permissions(&program, everybody).expect("it is ours");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(&program).args(arguments(folder.path()));
    let diagnosis = Diagnosis::of(&run(&mut command, b"", LIMIT));
    assert_eq!(diagnosis.finding("data path").verdict, "fine", "{diagnosis:#?}");
    assert_eq!(diagnosis.finding("kernel").verdict, "fine", "{diagnosis:#?}");
}

#[test]
fn little_locked_memory_is_wrong() {
    let folder = folder();
    let diagnosis = under(shell("ulimit -l 64"), folder.path());
    let locked = diagnosis.finding("locked memory");
    assert_eq!(
        (locked.verdict.as_str(), diagnosis.exit_code),
        ("wrong", Some(1)),
        "{diagnosis:#?}"
    );
    assert_eq!(locked.found, "64 KiB, and io_uring needs 512 KiB for 1 shard");
    assert!(locked.advice.as_ref().is_some_and(|advice| advice.contains("ulimit -l 512")));
}

#[test]
fn few_open_files_are_a_warning_and_hardly_any_are_wrong() {
    let folder = folder();
    let diagnosis = under(shell("ulimit -n 1000"), folder.path());
    assert_eq!(diagnosis.finding("open files").verdict, "warning", "{diagnosis:#?}");
    assert_eq!(diagnosis.exit_code, Some(0));
    let diagnosis = under(shell("ulimit -n 50"), folder.path());
    diagnosis.is_wrong_only_about("open files", "LimitNOFILE");
}

#[test]
fn a_seccomp_filter_that_forbids_io_uring_is_found() {
    if Command::new("python3").arg("--version").output().is_err() {
        return skipped("python3 is not installed: io_uring cannot be forbidden for one process");
    }
    let folder = folder();
    let mut command = Command::new("python3");
    command.arg(workspace().join("tests/without_io_uring.py"));
    let diagnosis = under(command, folder.path());
    diagnosis.is_wrong_only_about("io_uring", "seccomp");
}

#[test]
fn a_folder_that_cannot_be_used_is_wrong() {
    let folder = folder();
    let missing = folder.path().join("missing");
    doctor(&missing, &[]).is_wrong_only_about("data path", "mkdir -p");
    let file = folder.path().join("file");
    fs::write(&file, b"").expect("it can be written");
    doctor(&file, &[]).is_wrong_only_about("data path", "is no folder");
    // Nobody makes files there, root included.
    doctor(Path::new("/sys"), &[]).findings.iter().for_each(|finding| {
        if finding.check == "data path" {
            assert_eq!(finding.verdict, "wrong", "{finding:?}");
        }
    });
}

#[test]
fn memory_is_no_disk() {
    let memory = Path::new("/dev/shm");
    let Ok(folder) = TempDir::new_in(memory) else {
        return skipped("/dev/shm cannot be written: there is no file system in memory");
    };
    let diagnosis = doctor(folder.path(), &[]);
    let found = diagnosis.finding("file system");
    assert_eq!(found.verdict, "warning", "{diagnosis:#?}");
    assert!(found.found.starts_with("tmpfs, mounted at "), "{found:?}");
    assert_eq!(diagnosis.exit_code, Some(0), "{diagnosis:#?}");
}

#[test]
fn a_port_that_somebody_else_has_is_wrong_and_names_who() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it has an address");
    for (flag, check) in [("--tcp-address", "TCP port"), ("--http-address", "HTTP port")] {
        let diagnosis = doctor(folder.path(), &[format!("{flag}={address}")]);
        diagnosis.is_wrong_only_about(check, &format!("(process {})", std::process::id()));
    }
    // An address of documentation, which no machine has.
    let elsewhere = ["--tcp-address=192.0.2.1:4150".to_owned()];
    doctor(folder.path(), &elsewhere).is_wrong_only_about("TCP port", "no address of this machine");
}

#[test]
fn an_nsqd_that_runs_is_well() {
    let broker = Broker::start();
    let ports =
        [format!("--tcp-address={}", broker.tcp), format!("--http-address={}", broker.http)];
    let diagnosis = doctor(broker.folder(), &ports);
    assert_eq!(diagnosis.exit_code, Some(0), "{diagnosis:#?}");
    let process = broker.process.id();
    for (check, address) in [("TCP port", broker.tcp), ("HTTP port", broker.http)] {
        let found = &diagnosis.finding(check).found;
        assert_eq!(found, &format!("nsqd 1.3.0 serves at {address}: nsqd (process {process})"));
    }
    let found = &diagnosis.finding("data path").found;
    assert!(found.ends_with(&format!(" is in use by nsqd (process {process})")), "{found}");
}

#[test]
fn lookupds_are_asked_and_one_that_answers_is_enough() {
    let folder = folder();
    let lookup = LookupServer::start();
    let tcp = format!("--lookupd-tcp-address={}", lookup.tcp);
    let http = format!("--lookupd-http-address={}", lookup.http);
    // The port of a service that no system has had for decades.
    let deserted = "--lookupd-tcp-address=127.0.0.1:1".to_owned();
    let verdicts = |diagnosis: &Diagnosis| -> Vec<String> {
        let found = diagnosis.findings.iter().filter(|finding| finding.check == "nsqlookupd");
        found.map(|finding| finding.verdict.clone()).collect()
    };

    let diagnosis = doctor(folder.path(), &[tcp.clone(), http.clone()]);
    assert_eq!(verdicts(&diagnosis), ["fine", "fine"], "{diagnosis:#?}");
    let told = &diagnosis.findings.last().expect("there are some").found;
    assert_eq!(told, &format!("{} is version 1.3.0, and its clock agrees", lookup.http));

    let diagnosis = doctor(folder.path(), &[tcp, deserted.clone()]);
    assert_eq!(verdicts(&diagnosis), ["fine", "warning"], "{diagnosis:#?}");
    assert_eq!(diagnosis.exit_code, Some(0), "{diagnosis:#?}");

    let diagnosis = doctor(folder.path(), &[deserted]);
    diagnosis.is_wrong_only_about("nsqlookupd", "127.0.0.1:1 does not answer: ");
}
