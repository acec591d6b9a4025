//! Which seeds a test tries: so many, or new ones for so long.
//!
//! `FIRST_SEED` says where to begin, `SOAK_SECONDS` for how long to go on; then the first one comes
//! from the clock, so that no two runs try the same.

/// A number from the environment.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, and is {text}")))
}

/// As many seeds as `variable` says, or `count` when nobody says anything.
#[expect(clippy::disallowed_methods, reason = "how long a test runs is no part of what it tests")]
pub(crate) fn seeds(variable: &str, count: u64) -> impl Iterator<Item = u64> {
    let start = std::time::Instant::now();
    let seconds = number("SOAK_SECONDS");
    let anywhere = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.expect("it is later than 1970").as_secs() << 24
    };
    let first = number("FIRST_SEED").unwrap_or_else(|| seconds.map_or(0, |_| anywhere()));
    let count = number(variable).unwrap_or(if seconds.is_some() { u64::MAX } else { count });
    (0..count)
        .map(move |number| first + number)
        .take_while(move |_| seconds.is_none_or(|seconds| start.elapsed().as_secs() < seconds))
}
