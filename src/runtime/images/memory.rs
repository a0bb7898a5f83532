//! What pictures that are being made may take of memory together.
//!
//! Sources that nobody else keeps have up to half of it, and hold theirs until all that is made of
//! them is made. Transforms have the rest. One of them always runs, whatever sources hold, so nobody
//! waits in a circle: a source that is held waits for transforms, and a transform for other transforms
//! alone. Both are bounded by what they may need, not by what they turn out to.

use super::lock;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes; what needs more than there is waits, and what needs more than all of it gets all of it.
pub struct Memory {
    most: u64,
    used: Mutex<Used>,
    freed: Condvar,
    /// In kibibytes.
    sources: Arc<Semaphore>,
    all_for_sources: u32,
}

#[derive(Default)]
struct Used {
    transforms: u64,
    sources: u64,
}

/// A transform's, given back when dropped.
pub struct Room<'m> {
    memory: &'m Memory,
    bytes: u64,
}

/// A source's, given back when dropped. Whoever has it must wait for no more of the kind.
pub struct SourceRoom {
    memory: Arc<Memory>,
    bytes: u64,
    permit: OwnedSemaphorePermit,
}

impl Memory {
    pub fn new(most: u64) -> Memory {
        let all_for_sources = kibibytes(most / 2);
        Memory {
            most,
            used: Mutex::default(),
            freed: Condvar::new(),
            sources: Arc::new(Semaphore::new(all_for_sources as usize)),
            all_for_sources,
        }
    }

    /// Waits on the thread that it is called on, which must be one of the pool's.
    pub fn enter(&self, bytes: u64) -> Room<'_> {
        let bytes = bytes.min(self.most);
        let used = lock(&self.used);
        let has_none = |used: &mut Used| {
            let all = used.transforms + used.sources + bytes;
            used.transforms > 0 && all > self.most
        };
        let used = self.freed.wait_while(used, has_none);
        used.unwrap_or_else(PoisonError::into_inner).transforms += bytes;
        Room {
            memory: self,
            bytes,
        }
    }

    /// Room for a source, in the order in which it is asked for.
    pub async fn hold(self: &Arc<Self>, bytes: u64) -> SourceRoom {
        let wanted = kibibytes(bytes).min(self.all_for_sources);
        let permit = self.sources.clone().acquire_many_owned(wanted).await;
        self.held(bytes, permit.expect("it is never closed"))
    }

    /// Room for a source, if there is some.
    pub fn try_hold(self: &Arc<Self>, bytes: u64) -> Option<SourceRoom> {
        let wanted = kibibytes(bytes).min(self.all_for_sources);
        let permit = self.sources.clone().try_acquire_many_owned(wanted);
        Some(self.held(bytes, permit.ok()?))
    }

    fn held(self: &Arc<Self>, bytes: u64, permit: OwnedSemaphorePermit) -> SourceRoom {
        lock(&self.used).sources += bytes;
        SourceRoom {
            memory: self.clone(),
            bytes,
            permit,
        }
    }

    pub fn used(&self) -> u64 {
        let used = lock(&self.used);
        used.transforms + used.sources
    }
}

impl SourceRoom {
    /// Gives back what is not needed after all.
    pub fn keep(&mut self, bytes: u64) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        let needed = kibibytes(self.bytes) as usize;
        drop(
            self.permit
                .split(self.permit.num_permits().saturating_sub(needed)),
        );
        self.memory.free(|used| used.sources -= less);
    }
}

impl Memory {
    fn free(&self, what: impl FnOnce(&mut Used)) {
        what(&mut lock(&self.used));
        self.freed.notify_all();
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.memory.free(|used| used.transforms -= self.bytes);
    }
}

impl Drop for SourceRoom {
    fn drop(&mut self) {
        self.memory.free(|used| used.sources -= self.bytes);
    }
}

/// At least one.
fn kibibytes(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024))
        .unwrap_or(u32::MAX >> 4)
        .clamp(1, u32::MAX >> 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn memory_is_never_overbooked_and_the_largest_runs_alone() {
        let memory = Memory::new(100);
        let most = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for bytes in [10, 60, 60, 500, 30, 90, 100] {
                let (memory, most) = (&memory, &most);
                scope.spawn(move || {
                    for _ in 0..50 {
                        let _room = memory.enter(bytes);
                        most.fetch_max(memory.used(), Ordering::Relaxed);
                        std::thread::yield_now();
                    }
                });
            }
        });
        assert_eq!((memory.used(), most.into_inner()), (0, 100));
    }

    #[test]
    fn sources_have_half_of_it_and_give_back_what_they_do_not_need() {
        let memory = Arc::new(Memory::new(64 << 10));
        let mut first = memory.try_hold(20 << 10).expect("there is room");
        assert!(memory.try_hold(13 << 10).is_none());
        first.keep(2 << 10);
        assert_eq!(memory.used(), 2 << 10);
        let second = memory.try_hold(30 << 10).expect("there is room again");
        assert!(memory.try_hold(1).is_none());
        drop((first, second));
        let all = memory.try_hold(1 << 30).expect("the largest has all of it");
        assert!(memory.try_hold(1).is_none());
        drop(all);
        assert_eq!(memory.used(), 0);
        assert!(memory.try_hold(32 << 10).is_some());
    }

    /// Sources that hold all of theirs wait for transforms that need more than what is left.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nobody_waits_in_a_circle() {
        let memory = Arc::new(Memory::new(64 << 10));
        let made = |_| {
            let memory = memory.clone();
            tokio::spawn(async move {
                let held = memory.hold(12 << 10).await;
                let transform = {
                    let memory = memory.clone();
                    move || drop(memory.enter(60 << 10))
                };
                let done = tokio::task::spawn_blocking(transform).await;
                drop(held);
                done.expect("no thread panics");
            })
        };
        let all: Vec<_> = (0..40).map(made).collect();
        for task in all {
            task.await.expect("no task panics");
        }
        assert_eq!(memory.used(), 0);
    }
}
