//! What became of the URLs, told while it goes on and in the end.

use super::visit::{Outcome, Target};
use std::io::{IsTerminal, stderr};

/// Failures that are told one by one; the others are counted.
const TOLD: usize = 20;
/// Where there is no terminal, so many lines tell of the progress.
const LINES: usize = 10;

pub struct Tally {
    total: usize,
    stored: usize,
    hits: usize,
    not_stored: usize,
    failed: usize,
    on_terminal: bool,
}

impl Tally {
    pub fn of(total: usize) -> Tally {
        Tally {
            total,
            stored: 0,
            hits: 0,
            not_stored: 0,
            failed: 0,
            on_terminal: stderr().is_terminal(),
        }
    }

    pub fn add(&mut self, target: &Target, outcome: Outcome) {
        match outcome {
            Outcome::Stored => self.stored += 1,
            Outcome::Hit => self.hits += 1,
            Outcome::NotStored => self.not_stored += 1,
            Outcome::Failed(why) => {
                self.failed += 1;
                self.tell_failure(target, &why);
            }
        }
        self.show_progress();
    }

    pub fn has_failures(&self) -> bool {
        self.failed > 0
    }

    /// `12 URLs: 9 stored, 2 there before, 0 not for the cache, 1 failed`
    pub fn summary(&self) -> String {
        format!(
            "{} URLs: {} stored, {} there before, {} not for the cache, {} failed",
            self.total, self.stored, self.hits, self.not_stored, self.failed
        )
    }

    fn tell_failure(&self, target: &Target, why: &str) {
        let clear = if self.on_terminal { "\r\x1b[K" } else { "" };
        match self.failed {
            n if n <= TOLD => eprintln!("{clear}{target}: {why}"),
            n if n == TOLD + 1 => eprintln!("{clear}more failures are only counted"),
            _ => {}
        }
    }

    fn show_progress(&self) {
        let (done, total) = (self.done(), self.total);
        if self.on_terminal {
            let end = if done == total { "\n" } else { "" };
            eprint!("\r\x1b[K{done} of {total}, {} failed{end}", self.failed);
        } else if done * LINES / total != (done - 1) * LINES / total {
            eprintln!("{done} of {total}, {} failed", self.failed);
        }
    }

    fn done(&self) -> usize {
        self.stored + self.hits + self.not_stored + self.failed
    }
}
