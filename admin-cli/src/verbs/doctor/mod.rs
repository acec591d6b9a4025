//! `admin-cli doctor`: whether nsqd can work on this machine, and what to do where it cannot.
//!
//! Knows: what is looked at, and in which order it is told. Each file probes one thing, and judges in
//! a function that opens nothing.
//!
//! | Where do I look for | |
//! |---|---|
//! | the kernel, and whether `io_uring` is permitted | [`kernel`] |
//! | locked memory, open files | [`allowances`] |
//! | the data path: kind of file system, space, who holds it | [`folder`] |
//! | how long a write and a sync take | [`latency`] |
//! | ports, and who listens | [`ports`] |
//! | nsqlookupds | [`lookups`] |
//! | what one says to a process to learn what it is | [`peers`] |
//! | fine, warning, wrong | [`finding`] |

mod allowances;
mod finding;
mod folder;
mod kernel;
mod latency;
mod lookups;
mod peers;
mod ports;

use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::{ArgAction, Parser};
use startup::{duration, flags};

use crate::address::Address;
use crate::terminal::{Ending, Output, visible};
use finding::{Report, Verdict};
use ports::Door;

/// The flags of `admin-cli doctor`: those of nsqd that matter, with its defaults.
#[derive(Debug, Parser)]
#[command(name = "admin-cli doctor")]
pub(crate) struct Flags {
    /// folder in which nsqd is to keep its data; writes and syncs are measured there
    #[arg(long, default_value = ".")]
    data_path: PathBuf,
    /// address on which nsqd is to listen for TCP clients
    #[arg(long, default_value = "0.0.0.0:4150")]
    tcp_address: Address,
    /// address on which nsqd is to listen for HTTP clients
    #[arg(long, default_value = "0.0.0.0:4151")]
    http_address: Address,
    /// TCP address of an nsqlookupd that nsqd is to register with (may be given multiple times)
    #[arg(long)]
    lookupd_tcp_address: Vec<Address>,
    /// HTTP address of an nsqlookupd, for its version and its clock (may be given multiple times)
    #[arg(long)]
    lookupd_http_address: Vec<Address>,
    /// shards that nsqd is to have (default: one per core it may run on)
    #[arg(long, value_parser = flags::integer::<u16>, default_value = "0")]
    shards: u16,
    /// longest time to measure writes and syncs for
    #[arg(long, value_parser = duration::parse, default_value = "2s")]
    measure: Duration,
    /// write one line of JSON instead of text
    #[arg(long, action = ArgAction::Set, value_parser = flags::boolean, default_value = "false")]
    json: bool,
}

/// Examines the machine and tells what it found.
pub(crate) async fn run(flags: Flags) -> Result<(), Ending> {
    let report = examine(&flags).await;
    let text = if flags.json { report.json() } else { visible(&report.text()).into_owned() };
    Output::open().write(text.as_bytes()).await?;
    match report.count(Verdict::Wrong) {
        0 => Ok(()),
        1 => Err(Ending::Failed("1 thing keeps nsqd from working here".to_owned())),
        many => Err(Ending::Failed(format!("{many} things keep nsqd from working here"))),
    }
}

async fn examine(flags: &Flags) -> Report {
    let shards = match flags.shards {
        0 => available_parallelism()
            .map_or(1, |cores| u16::try_from(cores.get()).unwrap_or(u16::MAX)),
        shards => shards,
    };
    let mut findings = kernel::judge(&kernel::probe());
    findings.extend(allowances::judge(&allowances::probe(), shards));
    let folder = folder::probe(&flags.data_path);
    findings.extend(folder::judge(&folder));
    if folder.is_usable() {
        let measured = latency::measure(&flags.data_path, flags.measure);
        findings.extend(latency::judge(measured.as_ref()));
    }
    for (door, address) in [(Door::Tcp, &flags.tcp_address), (Door::Http, &flags.http_address)] {
        findings.push(ports::judge(&ports::probe(door, address).await));
    }
    let mut lookups = Vec::new();
    for address in &flags.lookupd_tcp_address {
        lookups.push(lookups::probe_tcp(address).await);
    }
    for address in &flags.lookupd_http_address {
        lookups.push(lookups::probe_http(address).await);
    }
    findings.extend(lookups::judge(&lookups));
    Report::new(findings)
}
