//! How every program here starts: its flags, its log lines, its ports, its name and version.
//!
//! Knows: the habits of NSQ's programs that users, scripts and client libraries rely on. Does not
//! know: any runtime, any protocol, or what a program does once it has started.
//!
//! | Where do I look for | |
//! |---|---|
//! | the syntax of flags, usage text, exit codes | [`flags`] |
//! | flags written down in a file | [`config_file`] |
//! | `1h2m3s`, read and written | [`duration`] |
//! | log lines and their level | [`log`] |
//! | listening on an address, and why not | [`listen`] |
//! | the pages below `/debug/pprof` | [`debug`] |
//! | what `--version` prints | [`version`] |
//! | the name of this machine | [`hostname`] |
//! | the node id when none is given | [`node_id`] |

pub mod config_file;
pub mod debug;
pub mod duration;
pub mod flags;
pub mod float;
pub mod hostname;
pub mod listen;
pub mod log;
pub mod node_id;
pub mod version;
