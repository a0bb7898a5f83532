//! `process`: what only an upgrade changes.

use super::Process;
use super::section::Section;
use super::units::duration;
use super::values::threads;
use std::time::Duration;

pub fn read(s: &mut Section<'_>) -> Process {
    Process {
        threads: s.optional("threads", threads).unwrap_or_else(one_per_core),
        drain: s.or("drain", Duration::from_secs(30), duration),
    }
}

fn one_per_core() -> usize {
    threads("auto").expect("`auto` is always a number of threads")
}
