//! Dates as origins write them.

use http::HeaderValue;
use std::time::SystemTime;

/// An HTTP date as Unix seconds; the obsolete forms too, RFC 9110 §5.6.7.
pub fn date(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?.trim();
    let time = httpdate::parse_http_date(text)
        .ok()
        .or_else(|| carelessly_written_date(text))?;
    time.duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .map(|d| d.as_secs())
}

/// A date in which only upper and lower case, or the day of the week, are wrong.
fn carelessly_written_date(text: &str) -> Option<SystemTime> {
    const SHORTEST: usize = "Sun Nov  6 08:49:37 1994".len();
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    if text.len() < SHORTEST {
        return None;
    }
    let mut written = String::with_capacity(text.len());
    for letter in text.chars() {
        let inside = written.ends_with(|c: char| c.is_ascii_alphabetic());
        written.push(if inside {
            letter.to_ascii_lowercase()
        } else {
            letter.to_ascii_uppercase()
        });
    }
    let written = written.replace("Gmt", "GMT");
    let (_, after_day) = written.split_at_checked(3)?;
    DAYS.iter()
        .find_map(|day| httpdate::parse_http_date(&format!("{day}{after_day}")).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_however_carelessly_written() {
        let read = |text: &str| date(&text.parse().expect("a value"));
        let right = read("Thu, 18 Aug 2050 02:01:18 GMT");
        assert!(right.is_some());
        for text in [
            "THU, 18 Aug 2050 02:01:18 GMT",
            "thu, 18 AUG 2050 02:01:18 gMT",
            "Mon, 18 Aug 2050 02:01:18 GMT",
            "Mon Aug 18 02:01:18 2050",
        ] {
            assert_eq!(read(text), right, "{text}");
        }
        for text in [
            "0",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
