//! Starts the program: what to compare, and where its programs are.
//!
//! Knows the command line.
//!
//! | Where do I look for | |
//! |---|---|
//! | what is measured, as data | [`scenario`], and [`contender`] for who takes part |
//! | how it is done, and what is counted | [`work`], by the clients in [`load`] or NSQ's own in [`drivers`]; through TLS and compression in [`layers`] |
//! | other brokers that do the nearest same work | [`peers`] |
//! | the order of it all | [`compare`] |
//! | tables, JSON and the figure | [`report`] |
//! | what has a shape of its own | [`lookups`], [`statistics`] |
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the figures are this program's output"
)]
#![expect(clippy::cast_precision_loss, reason = "figures are rounded for people")]

mod client;
mod compare;
mod contender;
mod contestant;
mod drivers;
mod layers;
mod load;
mod lookups;
mod machine;
mod peers;
mod plan;
mod report;
mod scenario;
mod statistics;
mod work;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use contender::Programs;
use plan::Plan;
use scenario::{SCENARIOS, Scenario};

/// Measures the broker beside the real nsqd.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Scenarios: throughput, processor time, latency, memory and bytes, brokers alternating.
    Run(Run),
    /// The names of the scenarios, and what they show.
    List,
    /// How long nsqlookupd takes to answer when it knows many nsqds with many topics.
    Lookups(Lookups),
    /// What `/stats` of many topics and clients costs, and what messages feel of it.
    Stats(Common),
}

#[derive(clap::Args)]
struct Run {
    /// Names of scenarios; all of them when there is none.
    scenarios: Vec<String>,
    #[command(flatten)]
    common: Common,
    /// Write DATE-COMMIT.md, .json and .svg into this folder; scenarios that were asked for stand
    /// in the names, too.
    #[arg(long)]
    results: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Lookups {
    /// Folder of the real nsqlookupd.
    #[arg(long, default_value = "target/real")]
    real: PathBuf,
    /// Our nsqlookupd; without it, the one beside this program.
    #[arg(long)]
    ours: Option<PathBuf>,
    /// So many nsqds are connected.
    #[arg(long, default_value_t = 100)]
    nsqds: usize,
    /// Each has so many topics, with a channel each.
    #[arg(long, default_value_t = 10_000)]
    topics: usize,
}

#[derive(clap::Args)]
struct Common {
    /// Rounds of each broker; the tables show the median.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each measurement that has no end of its own, 1 to 25.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=25))]
    seconds: u64,
    /// Messages of the large backlog.
    #[arg(long, default_value_t = 2_000_000)]
    backlog: u64,
    /// Folder of the real nsqd, `bench_writer` and `bench_reader`.
    #[arg(long, default_value = "target/real")]
    real: PathBuf,
    /// Our broker; without it, the one beside this program.
    #[arg(long)]
    ours: Option<PathBuf>,
    /// Folder of other brokers; what is not there is looked for in `PATH`.
    #[arg(long, default_value = "target/peers")]
    peers: PathBuf,
    /// A flag for our broker; may be given many times.
    #[arg(long, allow_hyphen_values = true)]
    ours_flag: Vec<String>,
    /// Folder for the brokers' data, on the disk that is to be measured.
    #[arg(long, default_value = "target")]
    data: PathBuf,
}

impl Common {
    fn plan(self) -> Plan {
        let ours = self.ours.unwrap_or_else(|| beside("nsqd"));
        let programs = Programs {
            tools: self.real,
            ours,
            bare_loop: beside("bare-loop"),
            ours_flags: self.ours_flag,
            peers: self.peers,
        };
        Plan {
            rounds: self.rounds.max(1),
            time: Duration::from_secs(self.seconds),
            backlog: self.backlog,
            cores: machine::cores(),
            secrets: layers::Secrets::make(),
            programs,
            data: self.data,
        }
    }
}

fn main() -> ExitCode {
    let Arguments { verb } = Arguments::parse();
    load::allow_many_connections();
    match verb {
        Verb::Run(told) => return run(told),
        Verb::List => {
            for Scenario { name, shows, .. } in SCENARIOS {
                println!("{name:<10} {shows}");
            }
        }
        Verb::Lookups(Lookups { real, ours, nsqds, topics }) => {
            let ours = ours.unwrap_or_else(|| beside("nsqlookupd"));
            let programs = [real.join("nsqlookupd"), ours];
            println!("{}\n{}", machine::describe(), lookups::measure(&programs, nsqds, topics));
        }
        Verb::Stats(told) => {
            println!("{}\n{}", machine::describe(), statistics::measure(&told.plan()));
        }
    }
    ExitCode::SUCCESS
}

fn run(told: Run) -> ExitCode {
    let unknown = |name: &&String| SCENARIOS.iter().all(|scenario| scenario.name != **name);
    if let Some(name) = told.scenarios.iter().find(unknown) {
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        eprintln!("bench: there is no scenario {name:?}; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let wanted: Vec<&Scenario> = SCENARIOS
        .iter()
        .filter(|scenario| {
            told.scenarios.is_empty() || told.scenarios.iter().any(|name| name == scenario.name)
        })
        .collect();
    let plan = told.common.plan();
    let commit = machine::commit();
    let all = [vec![machine::date(), commit.clone()], told.scenarios].concat();
    let name = all.join("-");
    let head = machine::describe();
    let null = load::null::start();
    let measured = compare::measure(&wanted, &plan, null, |text| eprintln!("{text}"));
    let tables: Vec<String> = measured.iter().map(report::table::render).collect();
    let text = format!(
        "# Figures of {}, commit {}\n\n{head}\nMedians of {} alternating rounds, {} s each where the work has no end of its own; nsqd is 1.3.0. \
         CPU is the broker's own, user and system; peak and written are its memory in RAM at most and what it wrote to the disk.\n\n\
         ![ours beside nsqd]({name}.svg)\n\n{}",
        machine::date(),
        commit,
        plan.rounds,
        plan.time.as_secs(),
        tables.join("\n")
    );
    println!("{text}");
    if let Some(folder) = told.results {
        let json = report::json::render(&head, &measured);
        let json = serde_json::to_string_pretty(&json).expect("numbers and strings");
        for (ending, content) in
            [("md", text), ("json", json + "\n"), ("svg", report::figure::render(&measured))]
        {
            if let Err(error) = save(&folder, &format!("{name}.{ending}"), &content) {
                eprintln!("bench: cannot write into {}: {error}", folder.display());
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn save(folder: &Path, name: &str, content: &str) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join(name), content)
}

/// A program in the folder of this one.
fn beside(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a path");
    program.with_file_name(name)
}
