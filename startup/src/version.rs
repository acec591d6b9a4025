//! What the programs say about themselves.
//!
//! Two versions: the one of NSQ whose behaviour this is, which clients and tools compare, and our
//! own, which stands where NSQ names its compiler.

/// The version of NSQ that the programs stand for: in `/info`, `/stats`, `IDENTIFY` answers.
pub const NSQ_VERSION: &str = "1.3.0";

/// Our own version.
pub const RINGNSQ_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The line of `--version` and of the first log entry: `nsqd v1.3.0 (built w/ringnsq0.1.0)`.
///
/// Client libraries match it with `[a-z]+ v\d+\.\d+\.\d+(-[a-z]+)? \(built w/[a-z0-9.-]+\)`.
pub fn line(program: &str) -> String {
    format!("{program} v{NSQ_VERSION} (built w/ringnsq{RINGNSQ_VERSION})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_the_form_that_client_libraries_match() {
        let line = line("nsqlookupd");
        let built = line.strip_prefix("nsqlookupd v1.3.0 (built w/").unwrap();
        let built = built.strip_suffix(')').unwrap();
        assert!(built.starts_with("ringnsq"));
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
        assert!(built.chars().all(legal), "{built}");
    }
}
