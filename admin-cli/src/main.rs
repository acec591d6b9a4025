//! The tools of an operator: `admin-cli` and its verbs, and NSQ's utilities and `nsqadmin` by their
//! own names. One program, which is whoever it was called as.
//!
//! Knows: the names. What a program does is in the folder of its kind.
//!
//! | Where do I look for | |
//! |---|---|
//! | a verb of `admin-cli` | [`verbs`], a file each |
//! | what they all print, and how they end | [`terminal`] |
//! | one subscription, one connection to publish over | [`client`] |
//! | which brokers there are, what they count | [`cluster`] |
//! | the administration page and its HTTP interface | [`web`] |

mod address;
mod client;
#[allow(dead_code, unused_imports, reason = "its users land one after the other")]
mod cluster;
mod terminal;
mod verbs;
mod web;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    match Path::new(&name).file_name().and_then(|name| name.to_str()) {
        Some("nsqadmin") => web::run(arguments),
        _ => verbs::run(arguments),
    }
}
