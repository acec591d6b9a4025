//! Durations as Go writes them: `1h2m3s`, `1.5h`, `300ms`, `65.951µs`.
//!
//! Flags are read in this form and log lines are written in it. Does not know: negative durations;
//! no flag or log line of ours has a meaning for one.

use std::time::Duration;

use crate::flags::InvalidValue;

/// The longest duration that can be given: what NSQ holds in a signed 64-bit number of nanoseconds.
const NANOSECONDS_MAX: u128 = i64::MAX.unsigned_abs() as u128;

/// Units by name, in nanoseconds. The micro sign exists twice in Unicode.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration: one or more numbers, each with its unit, or a bare `0`.
///
/// # Errors
/// [`InvalidValue`] for a number without a unit, an unknown unit, a minus sign, or more than 292
/// years.
pub fn parse(text: &str) -> Result<Duration, InvalidValue> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(InvalidValue::PARSE);
    }
    let mut nanoseconds: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_at_first_other(rest, |c| c.is_ascii_digit());
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_at_first_other(after, |c| c.is_ascii_digit()),
            None => ("", after),
        };
        let (unit, after) = split_at_first_other(after, |c| c != '.' && !c.is_ascii_digit());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(InvalidValue::PARSE)?;
        if whole.is_empty() && fraction.is_empty() {
            return Err(InvalidValue::PARSE);
        }
        nanoseconds += scale(whole, fraction, *unit).ok_or(InvalidValue::PARSE)?;
        if NANOSECONDS_MAX < nanoseconds {
            return Err(InvalidValue::PARSE);
        }
        rest = after;
    }
    Ok(Duration::from_nanos(u64::try_from(nanoseconds).expect("at most NANOSECONDS_MAX")))
}

/// `whole.fraction` times `unit`; digits below a nanosecond are dropped.
fn scale(whole: &str, fraction: &str, unit: u128) -> Option<u128> {
    let number = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse().ok() };
    let whole: u64 = number(whole)?;
    // Eighteen digits are finer than a nanosecond of an hour, and cannot overflow.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let digits = u32::try_from(fraction.len()).expect("at most 18");
    let fraction = u128::from(number(fraction)?) * unit / 10_u128.pow(digits);
    Some(u128::from(whole) * unit + fraction)
}

fn split_at_first_other(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// Writes a duration: below a second in the largest unit that leaves a whole number before the
/// point, from a second on in hours, minutes and seconds; `0s` is nothing.
pub fn format(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    match nanoseconds {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(nanoseconds, 3)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(nanoseconds, 6)),
        _ => {
            let minutes = duration.as_secs() / 60;
            let seconds = decimal(nanoseconds % 60_000_000_000, 9);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// `value` with the point before its last `digits` digits, and no zeros at the end.
fn decimal(value: u128, digits: u32) -> String {
    let one = 10_u128.pow(digits);
    let width = usize::try_from(digits).expect("a small number");
    let text = format!("{}.{:0width$}", value / one, value % one);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanoseconds) in [
            ("0", Some(0)),
            ("+0", Some(0)),
            ("0s", Some(0)),
            ("300ms", Some(300_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            ("2h45m", Some(9_900_000_000_000)),
            ("1h1h", Some(7_200_000_000_000)),
            (".5s", Some(500_000_000)),
            ("1.s", Some(1_000_000_000)),
            ("1us2µs3μs4ns", Some(6_004)),
            ("0.0000000000000000000000001h", Some(0)),
            ("9223372036854775807ns", Some(i64::MAX.unsigned_abs())),
            ("9223372036854775808ns", None),
            ("99999999999999999999h", None),
            ("", None),
            ("+", None),
            ("5", None),
            ("5x", None),
            ("s", None),
            (".s", None),
            ("-1s", None),
            ("1s 2s", None),
        ] {
            let expected = nanoseconds.map(Duration::from_nanos).ok_or(InvalidValue::PARSE);
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1, "1ns"),
            (65_951, "65.951µs"),
            (1_100_000, "1.1ms"),
            (45_000_000_000, "45s"),
            (300_000_000_000, "5m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (15_000_123_456, "15.000123456s"),
            (90_061_500_000_000, "25h1m1.5s"),
        ] {
            assert_eq!(format(Duration::from_nanos(nanoseconds)), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(nanoseconds in 0..=i64::MAX.unsigned_abs()) {
            let duration = Duration::from_nanos(nanoseconds);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }
    }
}
