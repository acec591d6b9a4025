//! Dates as HTTP writes them: `Sun, 06 Nov 1994 08:49:37 GMT`.
//!
//! Knows: the calendar. Does not know: what time it is.

const SECONDS_PER_DAY: u64 = 86_400;
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The `Date` header's value for a moment given in seconds since 1970 (UTC).
pub fn http_date(unix_seconds: u64) -> String {
    let days = unix_seconds / SECONDS_PER_DAY;
    let second_of_day = unix_seconds % SECONDS_PER_DAY;
    let (year, month, day) = civil_date(days);
    let weekday = WEEKDAYS.iter().cycle().nth(usize::try_from(days % 7).expect("below 7"));
    let month = MONTHS.get(month).expect("civil_date counts months from 0 to 11");
    format!(
        "{}, {day:02} {month} {year:04} {:02}:{:02}:{:02} GMT",
        weekday.expect("a cycle has no end"),
        second_of_day / 3600,
        second_of_day / 60 % 60,
        second_of_day % 60,
    )
}

/// Year, month (from 0) and day (from 1) of a day counted from 1970-01-01.
///
/// Years are counted from March, so that the leap day is the last of its year and every month's
/// start follows from one linear formula; eras of 400 years (146,097 days) repeat exactly.
fn civil_date(days: u64) -> (u64, usize, u64) {
    let days_since_year_zero = days + 719_468;
    let era = days_since_year_zero / 146_097;
    let day_of_era = days_since_year_zero % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    (year, usize::try_from(month).expect("below 12"), day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_stand_in_gmt_with_english_names() {
        for (unix_seconds, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_795_352_238, "Sun, 22 Nov 2026 12:57:18 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(http_date(unix_seconds), date);
        }
    }
}
