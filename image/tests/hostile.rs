//! More than two hundred files that mean harm: cut off, bit-flipped, lying in their headers, bombs,
//! two formats in one. Each is an error or a whole picture, within its time and its memory.
//!
//! One test in a process of its own: the memory that is measured is the process's.

mod files;

use files::File;
use lakh_image::{ImageSettings, Limits, Overlays, Plan, Rendition, TransformError, transform};
use std::fs;
use std::panic::catch_unwind;
use std::time::{Duration, Instant};

/// For a file whose picture is within the limits; unoptimised codecs in C, on a busy machine.
const MOST_TIME: Duration = Duration::from_secs(5);

/// Bytes beside what the process has already: a decoded picture of all pixels that are allowed,
/// in RGBA, twice, and the windows and tables of a codec.
const MOST_MEMORY: u64 = 2 * 4 * MAX_PIXELS + 64 * 1024 * 1024;

const MAX_PIXELS: u64 = 4_000_000;

#[test]
fn every_hostile_file_is_an_error_or_a_whole_picture() {
    let files = files::all();
    assert!(files.len() >= 200, "{} files", files.len());
    let mut wrong = Vec::new();
    let mut refused = 0;
    for file in &files {
        for query in ["w=20&f=webp", "f=jpeg", "w=40&f=png"] {
            match judge(file, query) {
                Ok(is_refused) => refused += usize::from(is_refused),
                Err(why) => wrong.push(format!("{} for {query}: {why}", file.name)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        refused > files.len(),
        "{refused} refusals: what was cut off passes"
    );
}

/// Whether it was refused; or what it did instead.
fn judge(file: &File, query: &str) -> Result<bool, String> {
    let before = Memory::reset();
    let started = Instant::now();
    let made = catch_unwind(|| run(&file.bytes, query)).map_err(|_| "panicked".to_owned())?;
    let (took, grown) = (started.elapsed(), before.growth());
    if took > MOST_TIME {
        return Err(format!("took {took:?}"));
    }
    if grown > MOST_MEMORY {
        return Err(format!("took {grown} bytes"));
    }
    match made {
        Err(error) if file.must_fail.is_none_or(|cause| cause == error.cause()) => Ok(true),
        Err(error) => Err(format!("{error}, but it should be {:?}", file.must_fail)),
        Ok(_) if file.must_fail.is_some() => Err("made a picture of it".to_owned()),
        Ok(rendition) => is_whole(&rendition).map(|()| false),
    }
}

fn run(source: &[u8], query: &str) -> Result<Rendition, TransformError> {
    let settings = ImageSettings {
        max_pixels: MAX_PIXELS,
        max_source: 4 * 1024 * 1024,
        ..ImageSettings::default()
    };
    let plan = Plan::from_request(Some(query), None, &settings);
    let plan = plan.expect("a good query").expect("a plan");
    transform(source, &plan, &Limits::from(&settings), &Overlays::new())
}

/// A rendition is a picture that somebody else can read, of the size it says.
fn is_whole(rendition: &Rendition) -> Result<(), String> {
    let read = image::load_from_memory(&rendition.bytes).map_err(|error| error.to_string())?;
    let sides = (read.width(), read.height());
    if sides == (rendition.width, rendition.height) {
        Ok(())
    } else {
        Err(format!(
            "{sides:?} instead of {}×{}",
            rendition.width, rendition.height
        ))
    }
}

/// The most the process has held since it was reset (proc_pid_status(5)).
struct Memory(u64);

impl Memory {
    fn reset() -> Self {
        fs::write("/proc/self/clear_refs", "5").expect("Linux counts peaks");
        Self(Self::peak())
    }

    fn growth(&self) -> u64 {
        Self::peak().saturating_sub(self.0)
    }

    fn peak() -> u64 {
        let status = fs::read_to_string("/proc/self/status").expect("a process has a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kilobytes: u64 = kilobytes.expect("a peak").parse().expect("a number");
        kilobytes * 1024
    }
}
