//! Times as logs write them. A thread keeps the text of the present second, which most lines share, and
//! both clocks as they once were: asking one costs as much as writing a fifth of a line.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the clocks are taken to go alike.
const ALIKE: Duration = Duration::from_millis(100);

/// The same moment by both.
#[derive(Clone, Copy)]
struct Clocks {
    instant: Instant,
    unix: Duration,
}

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
    static CLOCKS: Cell<Option<Clocks>> = const { Cell::new(None) };
}

/// When `at` was, since 1970.
pub fn wall(at: Instant) -> Duration {
    CLOCKS
        .get()
        .and_then(|known| {
            let later = at.checked_duration_since(known.instant)?;
            (later < ALIKE).then(|| known.unix + later)
        })
        .unwrap_or_else(|| ask(at))
}

fn ask(at: Instant) -> Duration {
    let (instant, now) = (Instant::now(), SystemTime::now());
    let unix = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    CLOCKS.set(Some(Clocks { instant, unix }));
    match instant.checked_duration_since(at) {
        Some(ago) => unix.saturating_sub(ago),
        None => unix + (at - instant),
    }
}

/// RFC 3339 with milliseconds.
pub fn write_iso(unix: Duration, out: &mut Vec<u8>) {
    let (second, millis) = (second(unix), unix.subsec_millis());
    out.extend_from_slice(&second.iso);
    let digit = |n: u32| b'0' + (n % 10) as u8;
    out.extend_from_slice(&[
        b'.',
        digit(millis / 100),
        digit(millis / 10),
        digit(millis),
        b'Z',
    ]);
}

/// As the common log format has it.
pub fn write_common(unix: Duration, out: &mut Vec<u8>) {
    out.extend_from_slice(&second(unix).common);
}

fn second(unix: Duration) -> Second {
    let known = PRESENT.get().filter(|s| s.unix == unix.as_secs());
    known.unwrap_or_else(|| {
        let second = Second::of(unix.as_secs());
        PRESENT.set(Some(second));
        second
    })
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
    fn the_wall_clock_is_as_it_was_at_a_moment() {
        let (now, wall_now) = (Instant::now(), SystemTime::now());
        let unix = wall_now.duration_since(UNIX_EPOCH).expect("after 1970");
        let off = |at: Instant, ago: Duration| (wall(at) + ago).abs_diff(unix);
        let minute = Duration::from_secs(60);
        for _ in 0..2 {
            // Generously, for a thread may be kept waiting between two looks at clocks.
            assert!(off(now, Duration::ZERO) < Duration::from_secs(5));
            let past = now.checked_sub(minute);
            assert!(past.is_none_or(|past| off(past, minute) < Duration::from_secs(5)));
        }
    }

    #[test]
    fn both_ways_to_write_a_time() {
        let at = Duration::from_millis;
        let text = |write: fn(Duration, &mut Vec<u8>), time| {
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
