//! The tools of an operator: `admin-cli` and its verbs, and NSQ's utilities and `nsqadmin` by their
//! own names. One program, which is whoever it was called as.
//!
//! Knows: the names. What a program does is in the folder of its kind.
//!
//! | Where do I look for | |
//! |---|---|
//! | a verb of `admin-cli` | [`verbs`], a file each |
//! | `nsq_tail`, `to_nsq` and so on | [`utilities`], a file or folder each |
//! | what they all print, and how they end | [`terminal`] |
//! | consuming and publishing as go-nsq does | [`client`] |
//! | which brokers there are, what they count | [`cluster`] |
//! | the administration page and its HTTP interface | [`web`] |
//! | addresses: a host with its port, and those of the web | [`address`], [`url`] |

mod address;
mod client;
mod cluster;
mod terminal;
mod url;
mod utilities;
mod verbs;
mod web;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let called_as = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    let name = Path::new(&called_as).file_name().and_then(OsStr::to_str).unwrap_or_default();
    if let Some(exit_code) = utilities::run(name, arguments.iter().cloned()) {
        return exit_code;
    }
    let first = arguments.first().and_then(|first| first.to_str()).unwrap_or_default();
    if let Some(exit_code) = utilities::run(first, arguments.iter().skip(1).cloned()) {
        return exit_code;
    }
    verbs::run(arguments.into_iter())
}
