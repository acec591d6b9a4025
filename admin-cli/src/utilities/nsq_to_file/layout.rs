//! Go's layouts of times: text in which the pieces of one reference time, `Mon Jan 2 15:04:05 MST
//! 2006`, stand for those of any other.
//!
//! Knows: which texts are pieces, and what each becomes. Does not know: which time it is.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;

/// A layout, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Part(Part),
    Offset(OffsetForm),
    Fraction(FractionForm),
}

/// A part of a date or of a time of day. A number behind a name is its least count of digits, in
/// front of which `Blank` has blanks instead of zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    LongMonth,
    ShortMonth,
    Month,
    Month2,
    LongWeekday,
    ShortWeekday,
    Day,
    DayBlank2,
    Day2,
    DayOfYearBlank3,
    DayOfYear3,
    Year4,
    YearOfCentury2,
    Hour2,
    HourOfHalf,
    HourOfHalf2,
    Minute,
    Minute2,
    Second,
    Second2,
    UpperHalf,
    LowerHalf,
    ZoneName,
}

/// How the distance from UTC is written: `-07`, `-0700`, `-07:00:00`, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OffsetForm {
    /// No distance at all is `Z`.
    knows_z: bool,
    /// What stands between the numbers.
    between: &'static str,
    /// How many numbers: hours, minutes, seconds.
    numbers: usize,
}

/// How parts of a second are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FractionForm {
    point: char,
    digits: usize,
    /// Without the zeros at the end.
    is_trimmed: bool,
}

/// What stands for a part; of those that begin alike, the one that is looked for first stands first.
const PARTS: [(&str, Part); 23] = [
    ("January", Part::LongMonth),
    ("Jan", Part::ShortMonth),
    ("Monday", Part::LongWeekday),
    ("Mon", Part::ShortWeekday),
    ("MST", Part::ZoneName),
    ("01", Part::Month2),
    ("02", Part::Day2),
    ("03", Part::HourOfHalf2),
    ("04", Part::Minute2),
    ("05", Part::Second2),
    ("06", Part::YearOfCentury2),
    ("002", Part::DayOfYear3),
    ("15", Part::Hour2),
    ("1", Part::Month),
    ("2006", Part::Year4),
    ("2", Part::Day),
    ("_2", Part::DayBlank2),
    ("__2", Part::DayOfYearBlank3),
    ("3", Part::HourOfHalf),
    ("4", Part::Minute),
    ("5", Part::Second),
    ("PM", Part::UpperHalf),
    ("pm", Part::LowerHalf),
];

/// What stands for the distance from UTC behind its first sign; the longest first.
const OFFSETS: [(&str, &str, usize); 5] =
    [("070000", "", 3), ("07:00:00", ":", 3), ("0700", "", 2), ("07:00", ":", 2), ("07", "", 1)];

impl Layout {
    /// Takes a layout apart. Every text is one.
    pub(super) fn parse(layout: &str) -> Self {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = layout;
        while let Some(first) = rest.chars().next() {
            if let Some((piece, length)) = piece_at_start(rest) {
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(piece);
                rest = &rest[length..];
            } else {
                literal.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Self(pieces)
    }

    /// Whether all times of one second are written alike.
    pub(super) fn is_constant_within_a_second(&self) -> bool {
        !self.0.iter().any(|piece| matches!(piece, Piece::Fraction(_)))
    }

    /// Writes a time as it is in a zone.
    pub(super) fn format(&self, time: Timestamp, zone: &TimeZone) -> String {
        let offset = zone.to_offset_info(time);
        let local = offset.offset().to_datetime(time);
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Part(Part::ZoneName) => text.push_str(offset.abbreviation()),
                Piece::Part(part) => text.push_str(&part.of(local)),
                Piece::Offset(form) => form.push(&mut text, offset.offset().seconds()),
                Piece::Fraction(form) => form.push(&mut text, local.subsec_nanosecond()),
            }
        }
        text
    }
}

/// The piece that a layout begins with, and its length.
fn piece_at_start(layout: &str) -> Option<(Piece, usize)> {
    // A year may stand behind an underscore, which is then nothing but that.
    if layout.starts_with("_2006") {
        return None;
    }
    for (text, part) in PARTS {
        let Some(behind) = layout.strip_prefix(text) else { continue };
        // `Janus` and `Money` are words of their own.
        let is_short_name = matches!(part, Part::ShortMonth | Part::ShortWeekday);
        if !(is_short_name && behind.starts_with(|c: char| c.is_ascii_lowercase())) {
            return Some((Piece::Part(part), text.len()));
        }
    }
    let behind = &layout[layout.chars().next()?.len_utf8()..];
    match layout.as_bytes()[0] {
        sign @ (b'-' | b'Z') => {
            let (text, between, numbers) =
                OFFSETS.into_iter().find(|(text, ..)| behind.starts_with(text))?;
            let form = OffsetForm { knows_z: sign == b'Z', between, numbers };
            Some((Piece::Offset(form), 1 + text.len()))
        }
        point @ (b'.' | b',') => {
            let digit = behind.chars().next().filter(|first| ['0', '9'].contains(first))?;
            let after = behind.trim_start_matches(digit);
            let digits = behind.len() - after.len();
            if after.starts_with(|c: char| c.is_ascii_digit()) {
                return None;
            }
            let form = FractionForm { point: point.into(), digits, is_trimmed: digit == '9' };
            Some((Piece::Fraction(form), 1 + digits))
        }
        _ => None,
    }
}

impl Part {
    fn of(self, time: DateTime) -> String {
        let (month, day, hour) = (time.month(), time.day(), time.hour());
        let hour_of_half = if hour % 12 == 0 { 12 } else { hour % 12 };
        match self {
            Self::LongMonth => month_name(month).to_owned(),
            Self::ShortMonth => month_name(month)[..3].to_owned(),
            Self::Month => month.to_string(),
            Self::Month2 => format!("{month:02}"),
            Self::LongWeekday => weekday_name(time.weekday()).to_owned(),
            Self::ShortWeekday => weekday_name(time.weekday())[..3].to_owned(),
            Self::Day => day.to_string(),
            Self::DayBlank2 => format!("{day:2}"),
            Self::Day2 => format!("{day:02}"),
            Self::DayOfYearBlank3 => format!("{:3}", time.day_of_year()),
            Self::DayOfYear3 => format!("{:03}", time.day_of_year()),
            Self::Year4 => format!("{:04}", time.year()),
            Self::YearOfCentury2 => format!("{:02}", time.year() % 100),
            Self::Hour2 => format!("{hour:02}"),
            Self::HourOfHalf => hour_of_half.to_string(),
            Self::HourOfHalf2 => format!("{hour_of_half:02}"),
            Self::Minute => time.minute().to_string(),
            Self::Minute2 => format!("{:02}", time.minute()),
            Self::Second => time.second().to_string(),
            Self::Second2 => format!("{:02}", time.second()),
            Self::UpperHalf => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            Self::LowerHalf => if hour < 12 { "am" } else { "pm" }.to_owned(),
            Self::ZoneName => String::new(),
        }
    }
}

impl OffsetForm {
    fn push(self, text: &mut String, seconds: i32) {
        if self.knows_z && seconds == 0 {
            text.push('Z');
            return;
        }
        // Less than a minute is no distance to the west (NSQ behaviour).
        text.push(if seconds <= -60 { '-' } else { '+' });
        let distance = seconds.abs();
        let numbers = [distance / 3600, distance / 60 % 60, distance % 60];
        let numbers = numbers[..self.numbers].iter().map(|number| format!("{number:02}"));
        text.push_str(&numbers.collect::<Vec<_>>().join(self.between));
    }
}

impl FractionForm {
    fn push(self, text: &mut String, nanoseconds: i32) {
        let nine = format!("{nanoseconds:09}");
        let mut digits = &nine[..self.digits.min(nine.len())];
        if self.is_trimmed {
            digits = digits.trim_end_matches('0');
        }
        if !digits.is_empty() {
            write!(text, "{}{digits}", self.point).expect("a string takes everything");
        }
    }
}

fn month_name(month: i8) -> &'static str {
    match month {
        1 => "January",
        2 => "February",
        3 => "March",
        4 => "April",
        5 => "May",
        6 => "June",
        7 => "July",
        8 => "August",
        9 => "September",
        10 => "October",
        11 => "November",
        _ => "December",
    }
}

fn weekday_name(weekday: Weekday) -> &'static str {
    match weekday {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::{Date, date};
    use jiff::tz::Offset;

    use super::*;

    fn written(layout: &str, date: Date, [hour, minute, second]: [i8; 3], zone: i32) -> String {
        let zone = TimeZone::fixed(Offset::from_seconds(zone).unwrap());
        let time = date.at(hour, minute, second, 123_450_000).to_zoned(zone.clone()).unwrap();
        Layout::parse(layout).format(time.timestamp(), &zone)
    }

    #[test]
    fn every_piece_is_written_as_go_writes_it() {
        let saturday = date(2009, 2, 7);
        for (layout, text) in [
            ("January Jan 01 1", "February Feb 02 2"),
            ("Monday Mon", "Saturday Sat"),
            ("02 2 _2 002 __2", "07 7  7 038  38"),
            ("2006 06", "2009 09"),
            ("15 03 3", "04 04 4"),
            ("04 4 05 5", "05 5 06 6"),
            ("PM pm", "AM am"),
            ("-0700 -07:00 -07 -070000 -07:00:00", "-0730 -07:30 -07 -073000 -07:30:00"),
            ("Z0700 Z07:00 Z07 Z070000 Z07:00:00", "-0730 -07:30 -07 -073000 -07:30:00"),
            (".000 ,0 .000000000000 .999999 .9", ".123 ,1 .123450000 .12345 .1"),
        ] {
            assert_eq!(written(layout, saturday, [4, 5, 6], -27_000), text, "{layout}");
        }
    }

    #[test]
    fn noon_and_midnight_are_twelve_and_utc_may_be_z() {
        let day = date(2026, 12, 31);
        assert_eq!(written("3 03 PM", day, [0, 0, 0], 0), "12 12 AM");
        assert_eq!(written("3 03 pm", day, [12, 0, 0], 0), "12 12 pm");
        assert_eq!(written("3PM", day, [23, 0, 0], 0), "11PM");
        assert_eq!(written("Z0700 Z07:00:00 -07 MST", day, [0, 0, 0], 0), "Z Z +00 UTC");
        assert_eq!(written("-0700", day, [0, 0, 0], 20_700), "+0545");
        assert_eq!(written("002 __2", day, [0, 0, 0], 0), "365 365");
    }

    #[test]
    fn what_only_looks_like_a_piece_stays() {
        let day = date(2026, 3, 4);
        for (layout, text) in [
            ("Janus Money", "Janus Money"),
            ("JanX MonX", "MarX WedX"),
            ("_2006", "_2026"),
            ("__2006", " 63026"),
            ("00 07 0", "00 07 0"),
            (".0a .01 .", ".1a .03 ."),
            ("-08 Z", "-08 Z"),
            ("20060102", "20260304"),
            ("é1", "é3"),
            ("", ""),
        ] {
            assert_eq!(written(layout, day, [0, 0, 0], 0), text, "{layout}");
        }
    }

    #[test]
    fn only_fractions_change_within_a_second() {
        assert!(Layout::parse("2006-01-02_15:04:05 .").is_constant_within_a_second());
        assert!(!Layout::parse("05.000").is_constant_within_a_second());
    }
}
