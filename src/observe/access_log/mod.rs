//! The access log: a line per request, written by a thread of its own.
//!
//! A worker writes the line into a buffer that it uses again and again, and copies it behind those that
//! wait; when the writer can't keep up the line is dropped and counted, for a slow disk must not slow a
//! request down. No field holds a secret: what is written of queries and of header fields is what the
//! operator asks for, less what `redact` names.

mod clock;
mod format;
mod line;
mod queue;
mod redact;

pub use clock::wall;
pub use format::LogFormat;
pub use line::{Line, Phases};
pub use redact::{Redact, Redaction};

use super::metrics::Metrics;
use super::settings::{AccessLogSettings, LogTarget};
use queue::{Queue, Target};
use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

thread_local! {
    /// What a thread writes its lines into.
    static DESK: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The log of one Runtime. When it is dropped its writer finishes what waits, and ends.
pub struct AccessLog {
    settings: AccessLogSettings,
    queue: Option<Queue>,
    metrics: Arc<Metrics>,
}

/// How often the process was told to open its files anew. Logs of configurations that only old
/// requests still have must hear of it too, so there is one for all.
#[derive(Clone, Default)]
pub struct Reopened(Arc<AtomicUsize>);

impl Reopened {
    pub fn again(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn times(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl AccessLog {
    pub fn open(
        settings: &AccessLogSettings,
        metrics: Arc<Metrics>,
        reopened: &Reopened,
    ) -> io::Result<AccessLog> {
        let target = match &settings.to {
            LogTarget::None => None,
            LogTarget::Stdout => Some(Target::stdout()),
            LogTarget::File(path) => Some(Target::file(path, reopened.clone())?),
        };
        let start = |target| Queue::start(target, metrics.log_dropped.clone());
        Ok(AccessLog {
            settings: settings.clone(),
            queue: target.map(start).transpose()?,
            metrics,
        })
    }

    /// Whether this request's line is wanted; asked before anything is formatted. Failures and slow
    /// ones always are. `draw` is a random number of [0, 1).
    pub fn wants(&self, failed: bool, took: Duration, draw: impl FnOnce() -> f64) -> bool {
        let sample = self.settings.sample;
        self.queue.is_some()
            && (sample >= 1.0 || failed || took >= self.settings.slow || draw() < sample)
    }

    pub fn write(&self, line: &Line<'_>) {
        let Some(queue) = &self.queue else { return };
        let mut text = DESK.take();
        text.clear();
        self.settings.format.write(line, &self.settings, &mut text);
        if !queue.push(&text) {
            self.metrics.log_dropped.inc();
        }
        DESK.set(text);
    }

    /// A line as it is shown to operators, whatever is logged: as JSON, and with no more of an address
    /// or a query than the log would have.
    pub fn show(&self, line: &Line<'_>) -> String {
        let mut text = Vec::with_capacity(320);
        LogFormat::Json(Vec::new()).write(line, &self.settings, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits until all lines handed over so far are written, for as long as `limit`: at exit a target
    /// that hangs must not hold the process.
    pub fn flush(&self, limit: Duration) {
        if let Some(queue) = &self.queue {
            queue.flush(limit);
        }
    }

    /// Has the writer look at once whether its file is to be opened anew.
    pub fn wake(&self) {
        if let Some(queue) = &self.queue {
            queue.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn open(to: LogTarget, sample: f64, reopened: &Reopened) -> AccessLog {
        let settings = AccessLogSettings {
            to,
            sample,
            ..AccessLogSettings::default()
        };
        AccessLog::open(&settings, Arc::new(Metrics::new()), reopened).expect("a log")
    }

    fn path(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("lakh-log-{name}-{}", std::process::id()))
    }

    fn lines(path: &Path) -> usize {
        let written = std::fs::read_to_string(path).expect("the file");
        std::fs::remove_file(path).expect("removed");
        written.lines().count()
    }

    #[test]
    fn what_waits_is_written_by_a_flush() {
        let path = path("flush");
        let log = open(LogTarget::File(path.clone()), 1.0, &Reopened::default());
        (0..100).for_each(|_| log.write(&line::example()));
        log.flush(Duration::from_secs(5));
        assert_eq!(lines(&path), 100);
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew_when_told() {
        let (path, moved, reopened) = (path("moved"), path("old"), Reopened::default());
        let log = open(LogTarget::File(path.clone()), 1.0, &reopened);
        log.write(&line::example());
        log.flush(Duration::from_secs(5));
        std::fs::rename(&path, &moved).expect("the same folder");
        log.write(&line::example());
        log.flush(Duration::from_secs(5));
        reopened.again();
        log.write(&line::example());
        log.flush(Duration::from_secs(5));
        assert_eq!((lines(&moved), lines(&path)), (2, 1));
    }

    #[test]
    fn failures_and_slow_ones_are_always_wanted() {
        let log = open(LogTarget::Stdout, 0.1, &Reopened::default());
        let quick = Duration::ZERO;
        assert!(log.wants(true, quick, || 0.9));
        assert!(log.wants(false, Duration::from_secs(1), || 0.9));
        assert!(!log.wants(false, quick, || 0.9));
        assert!(log.wants(false, quick, || 0.05));
    }
}
