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

mod address;
mod client;
#[allow(dead_code, unused_imports, reason = "its users land one after the other")]
mod cluster;
mod terminal;
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    arguments.next();
    verbs::run(arguments)
}
