//! The comparison with the real nsqd runs and says what it found. What it found is no matter here.

use std::fs;
use std::process::Command;
use std::time::Duration;

use tests::process::run;
use tests::programs::{ours, real, workspace};

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn a_scenario_leaves_a_table_numbers_and_a_figure() {
    let Some(nsqd) = real("nsqd") else { return };
    let folder = tempfile::tempdir().unwrap();
    let tools = nsqd.parent().unwrap();
    let arguments = ["run", "http", "--rounds=1", "--seconds=1"];
    let mut bench = Command::new(ours("bench"));
    bench
        .args(arguments)
        .arg(format!("--real={}", tools.display()))
        .arg(format!("--data={}", folder.path().display()))
        .arg(format!("--results={}", folder.path().join("results").display()))
        // Without a generator that may be installed or not.
        .env("PATH", "")
        .current_dir(workspace());
    let ended = run(&mut bench, b"", LIMIT);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    // Two rows, two brokers, one round.
    assert!(ended.log.contains("[4/4] http: 16 connections: ours (1 of 1)"), "{}", ended.log);

    let file = |ending: &str| {
        let files = fs::read_dir(folder.path().join("results")).unwrap();
        let mut paths = files.map(|file| file.unwrap().path());
        let path = paths.find(|path| path.extension().is_some_and(|found| found == ending));
        fs::read_to_string(path.unwrap_or_else(|| panic!("a file .{ending}"))).unwrap()
    };
    let table = file("md");
    assert!(table.contains("so what needs it was left out: wrk."), "{table}");
    for line in ["| 2 connections | nsqd | ", "| 16 connections | nsqd | ", "|  | ours | "] {
        assert!(table.contains(line), "{line}: {table}");
    }
    let numbers: serde_json::Value = serde_json::from_str(&file("json")).unwrap();
    for row in 0..2 {
        for broker in 0..2 {
            let round = &numbers["scenarios"][0]["rows"][row]["brokers"][broker]["rounds"][0];
            assert!(0 < round["messages"].as_u64().unwrap(), "{round}");
            assert!(1.0 <= round["seconds"].as_f64().unwrap(), "{round}");
        }
    }
    assert!(file("svg").contains("http: 16 connections"));
}

#[test]
fn a_scenario_that_is_not_there_is_named_with_those_that_are() {
    let ended = run(Command::new(ours("bench")).args(["run", "publihs"]), b"", LIMIT);
    assert_eq!(ended.status.code(), Some(2));
    assert!(
        ended.log.contains("there is no scenario \"publihs\"; there are publish, sizes, http"),
        "{}",
        ended.log
    );
}
