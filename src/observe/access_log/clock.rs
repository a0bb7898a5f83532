//! Times as logs write them. A thread keeps the text of the present second: most lines share it.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy)]
struct Second {
    unix: u64,
    /// `2024-02-29T12:34:56`
    iso: [u8; 19],
    /// `29/Feb/2024:12:34:56 +0000`
    common: [u8; 26],
}

thread_local! {
    static PRESENT: Cell<Option<Second>> = const { Cell::new(None) };
}

/// RFC 3339 with milliseconds.
pub fn write_iso(time: SystemTime, out: &mut Vec<u8>) {
    let (second, millis) = second(time);
    out.extend_from_slice(&second.iso);
    let digit = |n: u32| b'0' + (n % 10) as u8;
    out.extend([
        b'.',
        digit(millis / 100),
        digit(millis / 10),
        digit(millis),
        b'Z',
    ]);
}

/// As the common log format has it.
pub fn write_common(time: SystemTime, out: &mut Vec<u8>) {
    out.extend_from_slice(&second(time).0.common);
}

fn second(time: SystemTime) -> (Second, u32) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let known = PRESENT.get().filter(|s| s.unix == since.as_secs());
    let second = known.unwrap_or_else(|| {
        let second = Second::of(since.as_secs());
        PRESENT.set(Some(second));
        second
    });
    (second, since.subsec_millis())
}

impl Second {
    fn of(unix: u64) -> Second {
        let time = UNIX_EPOCH + Duration::from_secs(unix);
        let iso = humantime::format_rfc3339_seconds(time).to_string();
        // `Thu, 29 Feb 2024 12:34:56 GMT`
        let date = httpdate::fmt_http_date(time);
        let part = |range| date.get(range).unwrap_or_default();
        let (day, month, year, hour) = (part(5..7), part(8..11), part(12..16), part(17..25));
        let common = format!("{day}/{month}/{year}:{hour} +0000");
        Second {
            unix,
            iso: fixed(&iso),
            common: fixed(&common),
        }
    }
}

fn fixed<const N: usize>(text: &str) -> [u8; N] {
    *text.as_bytes().first_chunk().unwrap_or(&[b'?'; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_write_a_time() {
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        let text = |write: fn(SystemTime, &mut Vec<u8>), time| {
            let mut out = Vec::new();
            write(time, &mut out);
            String::from_utf8(out).expect("ASCII")
        };
        let leap = at(1_709_210_096_789);
        assert_eq!(text(write_iso, leap), "2024-02-29T12:34:56.789Z");
        assert_eq!(text(write_common, leap), "29/Feb/2024:12:34:56 +0000");
        assert_eq!(text(write_iso, at(7)), "1970-01-01T00:00:00.007Z");
        assert_eq!(
            text(write_iso, at(1_709_210_096_001)),
            "2024-02-29T12:34:56.001Z"
        );
    }
}
