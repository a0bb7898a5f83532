//! Processes that may never serve.

use super::{ARGUMENTS, Home, send};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Result};
use std::process::Child;
use std::sync::Arc;

/// A process of which nobody knows yet whether it will serve.
pub struct Starting {
    process: Child,
    /// Each of its lines, as it is written.
    pub log: Box<dyn Iterator<Item = Value>>,
    _home: Arc<Home>,
}

impl Starting {
    /// On a folder of its own and the database at that URL.
    pub fn at(database: &str, arguments: &[&str]) -> Self {
        Self::on(Home::on(&["--database".into(), database.into()]), arguments)
    }

    pub(super) fn on(home: Arc<Home>, arguments: &[&str]) -> Self {
        let mut process = home.spawn(&[ARGUMENTS, arguments].concat());
        let log = BufReader::new(process.stderr.take().expect("standard error is piped"));
        let read = |line: Result<String>| {
            let line = line.expect("a log");
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"))
        };
        Self {
            process,
            log: Box::new(log.lines().map(read)),
            _home: home,
        }
    }

    /// Whether SIGINT and SIGTERM wait to be taken instead of ending it.
    pub fn takes_signals(&self) -> bool {
        const BOTH: u64 = 1 << 1 | 1 << 14;
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("it is there");
        let taken = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let taken = taken.and_then(|taken| u64::from_str_radix(taken.trim(), 16).ok());
        taken.is_some_and(|taken| taken & BOTH == BOTH)
    }

    /// The exit code after that signal; `None` when the signal itself was the end.
    pub fn stop(&mut self, signal: &str) -> Option<i32> {
        send(&self.process, signal);
        self.process.wait().expect("our own child").code()
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
