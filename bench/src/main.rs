//! Starts the program: which comparison to run, and where its programs are.
//!
//! Knows the command line. What is measured and how stands in `figures`.
#![expect(clippy::print_stdout, reason = "the figures are this program's output")]

mod acknowledge;
mod client;
mod contestant;
mod drivers;
mod figures;
mod latency;
mod layers;
mod lookups;
mod machine;
mod statistics;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use figures::Plan;

/// Measures the broker beside the real nsqd.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Throughput, CPU, latency and idle cost of both brokers, alternating in one run.
    Figures(Figures),
    /// What an `OK` costs: publishers that wait for each, beside nsqd that syncs each message.
    Acknowledge(Figures),
    /// How long nsqlookupd takes to answer when it knows many nsqds with many topics.
    Lookups(Lookups),
    /// What TLS, snappy and deflate cost, publishing and consuming.
    Layers(Figures),
    /// What `/stats` of many topics and clients costs, and what messages feel of it.
    Stats(Figures),
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
struct Figures {
    /// Rounds of each broker; the table shows the median.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each measurement, 1 to 50.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=50))]
    seconds: u64,
    /// Folder of the real nsqd, `bench_writer` and `bench_reader`.
    #[arg(long, default_value = "target/real")]
    real: PathBuf,
    /// Our broker; without it, the one beside this program.
    #[arg(long)]
    ours: Option<PathBuf>,
    /// A flag for our broker; may be given many times.
    #[arg(long, allow_hyphen_values = true)]
    ours_flag: Vec<String>,
    /// Folder for the brokers' data, on the disk that is to be measured.
    #[arg(long, default_value = "target")]
    data: PathBuf,
}

fn main() {
    let Arguments { verb } = Arguments::parse();
    println!("{}", machine::describe());
    let (measure, told): (fn(&Plan) -> String, _) = match verb {
        Verb::Lookups(Lookups { real, ours, nsqds, topics }) => {
            let ours = ours.unwrap_or_else(|| beside("nsqlookupd"));
            let programs = [real.join("nsqlookupd"), ours];
            println!("{}", lookups::measure(&programs, nsqds, topics));
            return;
        }
        Verb::Figures(told) => (figures::measure, told),
        Verb::Acknowledge(told) => (acknowledge::measure, told),
        Verb::Layers(told) => (layers::measure, told),
        Verb::Stats(told) => (statistics::measure, told),
    };
    let ours = told.ours.unwrap_or_else(|| beside("nsqd"));
    let plan = Plan {
        rounds: told.rounds.max(1),
        time: Duration::from_secs(told.seconds),
        tools: told.real,
        ours,
        ours_flags: told.ours_flag,
        data: told.data,
    };
    println!("{}", measure(&plan));
}

/// A program in the folder of this one.
fn beside(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a path");
    program.with_file_name(name)
}
