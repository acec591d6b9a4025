//! The name of this machine, as the kernel has it.
//!
//! Does not know: whether anybody can resolve it.

/// The host name; bytes that are not UTF-8 become U+FFFD.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
