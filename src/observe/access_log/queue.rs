//! Lines on their way to the log's target: workers append, one thread takes all that has gathered.
//!
//! A lock held for the time of a copy, and a wake-up for the first line of many, cost a hit less than an
//! allocation and a wake-up each.

use super::Reopened;
use crate::observe::Trouble;
use prometheus::IntCounter;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Bytes that may wait for the writer.
const ROOM: usize = 4 << 20;
/// With so many it doesn't wait for more.
const MANY: usize = 64 << 10;
/// How long lines may gather.
const GATHER: Duration = Duration::from_millis(50);

pub struct Queue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to do.
    wake: Condvar,
    /// What was asked for is done.
    done: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Times that somebody wanted all to be written at once, and times that it was.
    asked: u64,
    done: u64,
    /// Nobody will write any more.
    closed: bool,
}

/// Where lines go.
pub struct Target {
    out: Box<dyn Write + Send>,
    /// Of a file; and how often it was opened anew.
    file: Option<(PathBuf, Reopened, usize)>,
    trouble: Trouble,
}

impl Queue {
    /// What can't be written counts as `dropped`.
    pub fn start(mut target: Target, dropped: IntCounter) -> io::Result<Queue> {
        let shared = Arc::new(Shared::default());
        let taken = shared.clone();
        let write_all = move || {
            let mut lines = Vec::new();
            while let Some(asked) = taken.take(&mut lines) {
                target.write(&lines, &dropped);
                lines.clear();
                taken.lock().done = asked;
                taken.done.notify_all();
            }
        };
        std::thread::Builder::new()
            .name("lakh-access-log".into())
            .spawn(write_all)?;
        Ok(Queue(shared))
    }

    /// False: it doesn't fit.
    pub fn push(&self, line: &[u8]) -> bool {
        let mut waiting = self.0.lock();
        let before = waiting.lines.len();
        let after = before + line.len();
        if after > ROOM {
            return false;
        }
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if before == 0 || (before < MANY && after >= MANY) {
            self.0.wake.notify_one();
        }
        true
    }

    pub fn flush(&self, limit: Duration) {
        let number = self.wake();
        let waiting = self.0.lock();
        let is_left = |waiting: &mut Waiting| waiting.done < number;
        // Whoever waits goes on either way.
        drop(self.0.done.wait_timeout_while(waiting, limit, is_left));
    }

    pub fn wake(&self) -> u64 {
        let mut waiting = self.0.lock();
        waiting.asked += 1;
        self.0.wake.notify_one();
        waiting.asked
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.wake.notify_one();
    }
}

impl Shared {
    /// Waits for lines, and gives all there are by way of `lines`, which is empty; None at the end.
    fn take(&self, lines: &mut Vec<u8>) -> Option<u64> {
        let is_idle = |w: &mut Waiting| w.lines.is_empty() && w.asked == w.done && !w.closed;
        let is_early = |w: &mut Waiting| w.lines.len() < MANY && w.asked == w.done && !w.closed;
        let waiting = self.wake.wait_while(self.lock(), is_idle);
        let waiting = waiting.expect("no code panics with it");
        let gathered = self.wake.wait_timeout_while(waiting, GATHER, is_early);
        let (mut waiting, _) = gathered.expect("no code panics with it");
        if waiting.closed && waiting.lines.is_empty() {
            return None;
        }
        std::mem::swap(&mut waiting.lines, lines);
        Some(waiting.asked)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no code panics with it")
    }
}

impl Target {
    pub fn stdout() -> Target {
        Target {
            out: Box::new(io::stdout()),
            file: None,
            trouble: Trouble::default(),
        }
    }

    pub fn file(path: &Path, reopened: Reopened) -> io::Result<Target> {
        let times = reopened.times();
        Ok(Target {
            out: Box::new(append(path)?),
            file: Some((path.to_owned(), reopened, times)),
            trouble: Trouble::default(),
        })
    }

    /// A target that is gone (a full disk, a closed pipe) may come back: later lines are tried again.
    fn write(&mut self, lines: &[u8], dropped: &IntCounter) {
        self.reopen();
        match self.out.write_all(lines).and_then(|()| self.out.flush()) {
            Ok(()) if self.trouble.is_over() => tracing::info!("access log: it is written again"),
            Ok(()) => {}
            Err(e) => {
                let lost = memchr::memchr_iter(b'\n', lines).count();
                dropped.inc_by(lost as u64);
                if self.trouble.is_news(&e.to_string()) {
                    tracing::error!(error = %e, "access log: it can't be written, and lines are dropped until there is room for it and it may be written");
                }
            }
        }
    }

    fn reopen(&mut self) {
        let Some((path, reopened, times)) = &mut self.file else {
            return;
        };
        let now = reopened.times();
        if *times == now {
            return;
        }
        *times = now;
        match append(path) {
            Ok(file) => self.out = Box::new(file),
            Err(e) => {
                let path = path.display();
                tracing::error!(error = %e, %path, "access log: it can't be opened anew; the old file is used on");
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// Takes something only when told.
    struct Slow(Receiver<()>, SyncSender<usize>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Told no more: whatever comes is taken.
            let _ = self.0.recv();
            let _ = self.1.send(bytes.len());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn dropped() -> IntCounter {
        IntCounter::new("dropped", "lines").expect("a valid name")
    }

    #[test]
    fn who_writes_never_waits_for_a_target_that_hangs() {
        let ((go, gone), (tell, told)) = (sync_channel(9), sync_channel(9));
        let target = Target {
            out: Box::new(Slow(gone, tell)),
            file: None,
            trouble: Trouble::default(),
        };
        let queue = Queue::start(target, dropped()).expect("a thread");
        let line = [b'x'; 1 << 10];
        let pushed = (0..3 * ROOM / line.len()).filter(|_| queue.push(&line));
        // What the writer has taken is no longer in the room.
        let pushed = pushed.count() * line.len();
        assert!((ROOM..=2 * ROOM).contains(&pushed), "{pushed}");
        drop((go, queue));
        assert_eq!(
            told.iter().sum::<usize>(),
            pushed,
            "the rest is written at the end"
        );
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (target, lost) = (
            Target {
                out: Box::new(Full),
                file: None,
                trouble: Trouble::default(),
            },
            dropped(),
        );
        let queue = Queue::start(target, lost.clone()).expect("a thread");
        assert!(queue.push(b"one\ntwo\n"));
        queue.flush(Duration::from_secs(5));
        assert_eq!(lost.get(), 2);
    }
}
