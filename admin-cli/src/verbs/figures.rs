//! Numbers in little room.

/// A whole number in at most `width` characters, as exact as there is room for: `123456`, `1.23M`.
pub(crate) fn shortened(count: i64, width: usize) -> String {
    let whole = count.to_string();
    if whole.len() <= width {
        return whole;
    }
    #[expect(clippy::cast_precision_loss, reason = "only the first digits are shown")]
    let mut scaled = count as f64;
    for unit in ["k", "M", "G", "T", "P", "E"] {
        scaled /= 1000.0;
        for decimals in [2, 1, 0] {
            let text = format!("{scaled:.decimals$}{unit}");
            if scaled.abs() < 999.5 && text.len() <= width {
                return text;
            }
        }
    }
    whole
}

/// A rate in at most `width` characters, with a decimal while it is small.
pub(crate) fn rate(rate: f64, width: usize) -> String {
    if rate.abs() < 9.95 && rate != 0.0 {
        return format!("{rate:.1}");
    }
    #[expect(clippy::cast_possible_truncation, reason = "saturates; no rate is so high")]
    shortened(rate.round() as i64, width)
}

/// A time that has gone by, in at most five characters: `59s`, `3m`, `23h`, `400d`.
pub(crate) fn age(seconds: i64) -> String {
    const UNITS: [(i64, char); 4] = [(60, 's'), (60, 'm'), (24, 'h'), (1_000, 'd')];
    let mut count = seconds;
    for (limit, unit) in UNITS {
        if count < limit {
            return format!("{count}{unit}");
        }
        count /= limit;
    }
    "years".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shortened_only_when_they_must_be() {
        for (count, width, text) in [
            (0, 6, "0"),
            (999_999, 6, "999999"),
            (1_000_000, 6, "1.00M"),
            (-1_000_000, 6, "-1.00M"),
            (123_456_789, 6, "123.5M"),
            (123_456_789, 4, "123M"),
            (12_345, 4, "12k"),
            (9_999, 4, "9999"),
            (999_600, 4, "1.0M"),
            (i64::MAX, 8, "9.22E"),
        ] {
            assert_eq!(shortened(count, width), text, "{count} in {width}");
        }
    }

    #[test]
    fn rates_show_one_decimal_while_they_are_small() {
        for (value, text) in
            [(0.0, "0"), (0.04, "0.0"), (9.94, "9.9"), (9.96, "10"), (1_500_000.0, "1.50M")]
        {
            assert_eq!(rate(value, 6), text);
        }
    }

    #[test]
    fn an_age_has_one_unit() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (7_199, "1h"),
            (172_800, "2d"),
            (86_399_999, "999d"),
            (i64::MAX, "years"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }
}
