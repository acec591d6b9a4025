//! Floats as Go reads them from text: flags, and what messages are compared with.
//!
//! Rule (NSQ behaviour): decimal, or hexadecimal with an exponent (`0x1.8p1`); `_` between digits;
//! `inf`, `infinity` and `nan` in any case.

use crate::flags::InvalidValue;

/// Reads a float.
///
/// # Errors
/// [`InvalidValue`] when it is none, or too large. A hexadecimal one of more than 16 digits counts as
/// too large, unlike in Go.
pub fn parse(text: &str) -> Result<f64, InvalidValue> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_hexadecimal = unsigned.starts_with("0x") || unsigned.starts_with("0X");
    if !underscores_separate_digits(text.as_bytes(), is_hexadecimal) {
        return Err(InvalidValue::PARSE);
    }
    let digits = text.replace('_', "");
    if is_hexadecimal {
        return hexadecimal(&digits);
    }
    let is_word = unsigned.starts_with(|c: char| c.is_ascii_alphabetic());
    let value: f64 = digits.parse().map_err(|_| InvalidValue::PARSE)?;
    if value.is_nan() && unsigned.len() < text.len() {
        return Err(InvalidValue::PARSE);
    }
    if value.is_infinite() && !is_word {
        return Err(InvalidValue::RANGE);
    }
    Ok(value)
}

/// Whether each `_` stands between two digits, or between `0x` and one.
fn underscores_separate_digits(text: &[u8], is_hexadecimal: bool) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || is_hexadecimal && byte.is_ascii_hexdigit();
    let separates = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        let follows = before.is_some_and(|&byte| is_digit(byte) || matches!(byte, b'x' | b'X'));
        follows && text.get(at + 1).is_some_and(|&byte| is_digit(byte))
    };
    (0..text.len()).all(|at| text[at] != b'_' || separates(at))
}

#[expect(clippy::cast_precision_loss, reason = "the nearest float is meant")]
fn hexadecimal(text: &str) -> Result<f64, InvalidValue> {
    let text = text.to_ascii_lowercase();
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(&text)),
    };
    let digits_and_exponent = unsigned.strip_prefix("0x").and_then(|rest| rest.split_once('p'));
    let (digits, exponent) = digits_and_exponent.ok_or(InvalidValue::PARSE)?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = format!("{whole}{fraction}");
    let is_exponent = exponent.ends_with(|c: char| c.is_ascii_digit());
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) || !is_exponent {
        return Err(InvalidValue::PARSE);
    }
    let mantissa = u64::from_str_radix(&digits, 16).map_err(|_| InvalidValue::RANGE)?;
    let exponent: i32 = exponent.parse().map_err(|_| InvalidValue::PARSE)?;
    let shift = i32::try_from(fraction.len()).map_or(i32::MAX, |digits| digits.saturating_mul(4));
    let value = sign * mantissa as f64 * 2_f64.powi(exponent.saturating_sub(shift));
    if value.is_infinite() { Err(InvalidValue::RANGE) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_read_as_go_reads_them() {
        let parse_error = Err(InvalidValue::PARSE);
        for (text, expected) in [
            ("1", Ok(1.0)),
            ("+1", Ok(1.0)),
            ("-1.5e3", Ok(-1500.0)),
            (".5", Ok(0.5)),
            ("5.", Ok(5.0)),
            ("01", Ok(1.0)),
            ("1_000", Ok(1000.0)),
            ("1e5_0", Ok(1e50)),
            ("1e-400", Ok(0.0)),
            ("0x1p4", Ok(16.0)),
            ("0X1P-2", Ok(0.25)),
            ("-0x1.8p1", Ok(-3.0)),
            ("0x_1p4", Ok(16.0)),
            ("0x1_0p0", Ok(16.0)),
            ("inf", Ok(f64::INFINITY)),
            ("-Infinity", Ok(f64::NEG_INFINITY)),
            ("1e400", Err(InvalidValue::RANGE)),
            ("-1e400", Err(InvalidValue::RANGE)),
            ("0x1p2000", Err(InvalidValue::RANGE)),
            ("", parse_error),
            ("-", parse_error),
            (".", parse_error),
            (" 1", parse_error),
            ("1 ", parse_error),
            ("1d", parse_error),
            ("1e", parse_error),
            ("1__0", parse_error),
            ("_1", parse_error),
            ("1_", parse_error),
            ("1_e5", parse_error),
            ("1_.5", parse_error),
            ("0x10", parse_error),
            ("0x1p", parse_error),
            ("0xp1", parse_error),
            ("0x-1p1", parse_error),
            ("0b1", parse_error),
            ("+nan", parse_error),
            ("x", parse_error),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
        assert!(parse("NaN").unwrap().is_nan());
    }
}
