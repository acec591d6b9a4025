//! The rules of the house that no compiler checks: which crate knows which, where the runtime is
//! named, how files begin, where links lead, and what comes from outside under which licence.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::programs::workspace;

/// Licences under which something may be built into our programs. Add one after reading it.
const LICENCES: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MPL-2.0",
    "MPL-2.0+",
    "Unicode-3.0",
    "Zlib",
];

/// Folders that hold what was built, stored or fetched.
const NOT_OURS: [&str; 6] = [".git", "target", "data", "node_modules", ".venv", "__pycache__"];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let entry = entry.expect("an entry can be read");
        let name = entry.file_name();
        if NOT_OURS.iter().any(|&skipped| name == skipped) {
            continue;
        }
        if entry.file_type().expect("an entry has a type").is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

/// Every text file of the workspace, by its path from the top.
fn texts() -> Vec<(String, String)> {
    let mut found = Vec::new();
    files(&workspace(), &mut found);
    found.sort();
    let texts = found.into_iter().filter_map(|path| {
        let text = fs::read_to_string(&path).ok()?;
        let name = path.strip_prefix(workspace()).expect("it lies in the workspace");
        Some((name.to_str().expect("paths are text").to_owned(), text))
    });
    texts.collect()
}

fn sources() -> impl Iterator<Item = (String, String)> {
    texts()
        .into_iter()
        .filter(|(name, _)| Path::new(name).extension().is_some_and(|end| end == "rs"))
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked"])
        // What only other systems would need is not in our programs.
        .args(["--filter-platform=x86_64-unknown-linux-gnu"])
        .args(["--filter-platform=aarch64-unknown-linux-gnu"])
        .current_dir(workspace())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).expect("cargo writes a list")
}

fn name<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().expect("cargo writes a text")
}

#[test]
fn members_know_none_but_protocol_and_startup() {
    let metadata = metadata();
    let members: Vec<_> =
        list(&metadata, "packages").iter().filter(|package| package["source"].is_null()).collect();
    let names: Vec<_> = members.iter().map(|member| name(member, "name")).collect();
    assert_eq!(names.len(), 7, "{names:?}");
    for member in members {
        for dependency in list(member, "dependencies") {
            let (from, to) = (name(member, "name"), name(dependency, "name"));
            if names.contains(&to) {
                assert!(["protocol", "startup"].contains(&to), "{from} depends on {to}");
                assert!(from != "protocol", "protocol stands at the bottom, and depends on {to}");
            }
        }
    }
}

#[test]
fn the_runtime_is_named_in_few_places() {
    let places = [
        // The floor under the broker, on the same runtime.
        "bench/src/bare_loop.rs",
        "broker/src/connection/",
        "broker/src/descriptor.rs",
        "broker/src/disk/",
        "broker/src/http/",
        "broker/src/log/storage_ring/",
        "broker/src/lookup/",
        "broker/src/main.rs",
        "broker/src/preflight.rs",
        "broker/src/pulse.rs",
        "broker/src/shard/",
    ];
    for (file, text) in sources() {
        let allowed = places.iter().any(|place| file.starts_with(place));
        let word = ["glom", "mio::"].concat();
        let named =
            text.lines().find(|line| !line.trim_start().starts_with("//") && line.contains(&word));
        assert!(allowed || named.is_none(), "{file}: {}", named.unwrap_or_default());
    }
}

#[test]
fn every_source_file_says_first_what_it_is() {
    for (file, text) in sources() {
        assert!(text.starts_with("//! "), "{file} does not begin with a word about itself");
    }
}

/// The targets of `[text](target)` that are no addresses of the web.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).collect()
}

/// A heading as an anchor: lower case, blanks as dashes, other marks gone.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let texts = texts();
    let documents: Vec<_> = texts.iter().filter(|(name, _)| name.ends_with(".md")).collect();
    for (file, text) in &documents {
        for link in links(text) {
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                workspace().join(file)
            } else {
                workspace().join(file).parent().expect("a file lies in a folder").join(path)
            };
            assert!(target.exists(), "{file} links to {link}, which is not there");
            if fragment.is_empty() || !path.is_empty() && !path.ends_with(".md") {
                continue;
            }
            let headings = fs::read_to_string(&target).expect("a document is text");
            let mut headings = headings.lines().filter(|line| line.starts_with('#'));
            let found = headings.any(|line| anchor(line.trim_start_matches('#')) == fragment);
            assert!(found, "{file} links to {link}, and there is no such heading");
        }
    }
}

#[test]
fn every_dependency_stands_in_one_place_with_its_reason() {
    let manifest = fs::read_to_string(workspace().join("Cargo.toml")).expect("it is there");
    let section = manifest.split("[workspace.dependencies]\n").nth(1).expect("there is one");
    let section = section.split("\n[").next().expect("a section has a beginning");
    let mut above = "";
    for line in section.lines() {
        let ours = line.contains("path = ");
        let dependency = !line.is_empty() && !line.starts_with('#');
        assert!(!dependency || ours || above.starts_with("# "), "no reason above: {line}");
        above = line;
    }
    for (file, text) in texts() {
        // What a client's own tests are built from is theirs.
        if !file.ends_with("/Cargo.toml") || file.starts_with("tests/suites/") {
            continue;
        }
        let sections = text.split("\n[").filter(|section| section.contains("dependencies]\n"));
        for line in sections.flat_map(|section| section.lines().skip(1)) {
            let shared =
                line.is_empty() || line.starts_with('#') || line.contains("workspace = true");
            assert!(shared, "{file} names a version of its own: {line}");
        }
    }
}

/// True when one of the alternatives of an SPDX expression consists of allowed licences alone.
fn may_be_used(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    // No expression in use nests deeper than `(A OR B) AND C`.
    expression.split(" AND ").all(|part| {
        let part = part.trim_matches(['(', ')', ' ']);
        part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim()))
    })
}

#[test]
fn a_licence_expression_is_read_as_it_is_meant() {
    for good in ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(GPL-3.0 OR MIT) AND Unicode-3.0"] {
        assert!(may_be_used(good), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-3.0", ""] {
        assert!(!may_be_used(bad), "{bad}");
    }
}

#[test]
fn what_comes_from_outside_has_an_allowed_licence_and_a_registry() {
    let metadata = metadata();
    for package in list(&metadata, "packages") {
        let id = name(package, "id");
        let Some(source) = package["source"].as_str() else { continue };
        assert!(source.starts_with("registry+"), "{id} comes from {source}");
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(may_be_used(licence), "{id}: {licence:?}");
    }
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    // Put together here, so that this file does not find itself.
    let homes = ["home", "root", "Users", "work"].map(|folder| format!("/{folder}/"));
    for (file, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            let found = homes.iter().find(|home| {
                line.match_indices(home.as_str()).any(|(at, _)| {
                    // A folder of this name further down a path is no home.
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}".contains(c))
                })
            });
            assert!(found.is_none(), "{file}:{}: {line}", number + 1);
        }
    }
}

#[test]
fn lock_files_of_node_packages_name_no_server() {
    for folder in ["clients/node", "suites/node", "browser"] {
        let path = workspace().join(format!("tests/{folder}/package-lock.json"));
        let lock = fs::read_to_string(path).expect("it is there");
        assert!(!lock.contains("\"resolved\""), "npm has recorded where it fetched packages");
    }
}
