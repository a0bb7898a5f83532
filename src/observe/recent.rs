//! What happened lately, for those who look at the admin API and its dashboard.
//!
//! Nobody waits here for anybody else: who finds a list taken leaves no trace in it. While nobody
//! looks, a request that went well costs a look at one number.

use super::access_log::{AccessLog, Line};
use super::heavy::{Heavy, Limited};
use serde::Serialize;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Requests that are kept between one look and the next: a dashboard's page has room for no more.
const ROOM: u32 = 200;
const ERRORS: usize = 200;
const PICTURES: usize = 100;
/// A transform that takes longer is kept as a slow one.
pub const SLOW_PICTURE: Duration = Duration::from_millis(500);

pub struct Recent {
    /// How many requests may still be kept for who looked last.
    room: AtomicU32,
    requests: Mutex<Ring>,
    errors: Mutex<Ring>,
    pictures: Mutex<Ring>,
    limited: Mutex<Heavy>,
}

/// JSON texts, the last of those that were put in.
struct Ring {
    most: usize,
    /// The number of the next one; the first has 1.
    next: u64,
    texts: VecDeque<String>,
}

/// A picture that could not be made, or slowly.
#[derive(Serialize)]
pub struct Picture<'a> {
    pub time: String,
    pub route: &'a str,
    /// Of the source; without its query.
    pub path: &'a str,
    pub plan: &'a str,
    pub source_bytes: usize,
    /// "transformed", or why not.
    pub outcome: &'a str,
    pub waited_ms: u64,
    pub took_ms: u64,
}

impl Default for Recent {
    fn default() -> Recent {
        let ring = |most| Mutex::new(Ring::new(most));
        Recent {
            room: AtomicU32::new(0),
            requests: ring(ROOM as usize),
            errors: ring(ERRORS),
            pictures: ring(PICTURES),
            limited: Mutex::new(Heavy::new(Instant::now())),
        }
    }
}

impl Recent {
    /// Whether such an answer is to be told; asked before anything is formatted.
    pub fn wants(&self, status: u16) -> bool {
        status >= 500 || self.room.load(Relaxed) > 0
    }

    /// As `log` would show it.
    pub fn tell(&self, line: &Line<'_>, log: &AccessLog) {
        let take_place = |room: u32| room.checked_sub(1);
        let has_room = self.room.fetch_update(Relaxed, Relaxed, take_place).is_ok();
        if has_room && let Ok(mut requests) = self.requests.try_lock() {
            requests.put(log.show(line));
        }
        if line.status >= 500
            && let Ok(mut errors) = self.errors.try_lock()
        {
            errors.put(log.show(line));
        }
    }

    pub fn tell_picture(&self, picture: &Picture<'_>) {
        let text = serde_json::to_string(picture).expect("numbers and text");
        lock(&self.pictures).put(text);
    }

    /// A limit refused a client.
    pub fn limited(&self, address: IpAddr, by: &str) {
        if let Ok(mut limited) = self.limited.try_lock() {
            limited.note(address, by, Instant::now());
        }
    }

    /// Those of the last minutes that were refused most.
    pub fn most_limited(&self, most: usize) -> Vec<Limited> {
        lock(&self.limited).top(most, Instant::now())
    }

    /// Requests with a number of `after` or above, and as many again from here on; as JSON, with the
    /// number to ask by the next time.
    pub fn requests(&self, after: u64) -> String {
        self.room.store(ROOM, Relaxed);
        lock(&self.requests).since(after)
    }

    /// Answers of 500 and above.
    pub fn errors(&self) -> String {
        lock(&self.errors).since(0)
    }

    /// Pictures that could not be made, or slowly.
    pub fn pictures(&self) -> String {
        lock(&self.pictures).since(0)
    }
}

impl Ring {
    fn new(most: usize) -> Ring {
        Ring {
            most,
            next: 1,
            texts: VecDeque::new(),
        }
    }

    fn put(&mut self, text: String) {
        if self.texts.len() == self.most {
            self.texts.pop_front();
        }
        self.texts.push_back(text);
        self.next += 1;
    }

    /// The oldest first.
    fn since(&self, after: u64) -> String {
        let first = self.next - self.texts.len() as u64;
        let known = after.saturating_sub(first) as usize;
        let texts = self.texts.iter().skip(known).map(|text| text.trim_end());
        let texts: Vec<_> = texts.collect();
        format!(
            "{{\"next\":{},\"items\":[{}]}}\n",
            self.next,
            texts.join(",")
        )
    }
}

/// No code panics while it holds one of these.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::access_log::Reopened;
    use super::super::metrics::Metrics;
    use super::super::settings::{AccessLogSettings, LogTarget};
    use super::*;
    use serde_json::Value;
    use std::sync::Arc;

    fn log(settings: AccessLogSettings) -> AccessLog {
        let settings = AccessLogSettings {
            to: LogTarget::None,
            ..settings
        };
        AccessLog::open(&settings, Arc::new(Metrics::new()), &Reopened::default()).expect("none")
    }

    fn read(text: &str) -> Value {
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn a_ring_keeps_the_last_and_tells_each_once() {
        let mut ring = Ring::new(3);
        for n in 1..=5 {
            ring.put(n.to_string());
        }
        assert_eq!(read(&ring.since(0))["items"], serde_json::json!([3, 4, 5]));
        let told = read(&ring.since(5));
        assert_eq!(
            (&told["items"], &told["next"]),
            (&serde_json::json!([5]), &6.into())
        );
        assert_eq!(read(&ring.since(6))["items"], serde_json::json!([]));
        // As after a restart, when whoever asks still has the numbers of before.
        assert_eq!(read(&ring.since(900))["items"], serde_json::json!([]));
    }

    #[test]
    fn requests_are_kept_for_who_looks_and_failures_for_all() {
        let (recent, log) = (Recent::default(), log(AccessLogSettings::default()));
        assert!(!recent.wants(200) && recent.wants(502));
        recent.requests(0);
        assert!(recent.wants(200));
        for _ in 0..2 * ROOM {
            recent.tell(&Line::example("/a", 200), &log);
        }
        assert!(!recent.wants(200), "who looked is full");
        recent.tell(&Line::example("/b", 503), &log);
        let items = |text: &str| read(text)["items"].as_array().map_or(0, Vec::len);
        assert_eq!(items(&recent.requests(0)), ROOM as usize);
        assert_eq!(items(&recent.errors()), 1);
        assert!(recent.errors().contains("/b"));
    }
    #[test]
    fn nobody_is_shown_more_of_an_address_than_the_log_has() {
        let recent = Recent::default();
        let truncating = log(AccessLogSettings {
            truncate: true,
            ..AccessLogSettings::default()
        });
        recent.tell(&Line::example("/a", 503), &truncating);
        let errors = read(&recent.errors());
        assert_eq!(errors["items"][0]["client"], "203.0.113.0");
    }
}
