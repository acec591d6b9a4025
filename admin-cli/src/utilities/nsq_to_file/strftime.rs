//! `--datetime-format`: a time as `strftime` writes it, as far as NSQ knows it.
//!
//! Rule (NSQ behaviour): each sign of the format is replaced by the piece of Go's reference time that
//! stands for it, and the whole is read as one layout of Go's ([`super::layout`]). So what stands
//! between the signs may mean something, too: `%d-v2` ends with the day of the month.
//!
//! Does not know: which time it is.

/// The layout that a format stands for.
pub(super) fn to_layout(format: &str) -> String {
    let mut layout = String::new();
    let mut characters = format.chars().peekable();
    while let Some(character) = characters.next() {
        let piece = match characters.peek() {
            Some(&sign) if character == '%' => piece(sign),
            _ => None,
        };
        match piece {
            Some(piece) => {
                layout.push_str(piece);
                characters.next();
            }
            None => layout.push(character),
        }
    }
    layout
}

/// The piece of a layout that a sign behind `%` stands for. Other signs stay as they are, `%` and all.
fn piece(sign: char) -> Option<&'static str> {
    Some(match sign {
        'a' => "Mon",
        'A' => "Monday",
        'b' => "Jan",
        'B' => "January",
        'd' => "02",
        'H' => "15",
        'I' => "03",
        'm' => "01",
        'M' => "04",
        'p' => "PM",
        'S' => "05",
        'y' => "06",
        'Y' => "2006",
        'z' => "-0700",
        'Z' => "MST",
        '%' => "%",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use jiff::tz::{Offset, TimeZone};

    use super::*;
    use crate::utilities::nsq_to_file::layout::Layout;

    #[test]
    fn signs_become_pieces_of_the_reference_time() {
        for (format, layout) in
            [("%Y-%m-%d_%H", "2006-01-02_15"), ("%%Y%", "%Y%"), ("%j%e%é", "%j%e%é"), ("", "")]
        {
            assert_eq!(to_layout(format), layout, "{format}");
        }
    }

    #[test]
    fn a_time_is_written_as_strftime_writes_it() {
        let zone = TimeZone::fixed(Offset::constant(-3));
        let time = date(2026, 2, 3).at(16, 5, 9, 0).to_zoned(zone).unwrap();
        for (format, written) in [
            ("%Y-%m-%d_%H", "2026-02-03_16"),
            ("%Y%m%d%H%M%S", "20260203160509"),
            ("%A %a %B %b %y", "Tuesday Tue February Feb 26"),
            ("%I %p %M:%S", "04 PM 05:09"),
            ("%z %Z", "-0300 -03"),
            ("100%%_%q", "200%_%q"),
            ("hour", "hour"),
        ] {
            let layout = Layout::parse(&to_layout(format));
            assert_eq!(layout.format(time.timestamp(), time.time_zone()), written, "{format}");
        }
    }
}
