//! Heavy work that nobody waits for, behind whatever answers somebody.

use super::Failure;
use std::{mem, thread};
use tokio::sync::oneshot;

/// A tenth of the processor where others want it, all of it where nobody does.
const NICENESS: i32 = 10;

/// What such a thread wants of the processor at once, in nanoseconds: more than others, so that who wakes and wants
/// less, as who answers does, has it first (since Linux 6.12; before that it has no effect). An upload by itself, beside
/// renditions of those before, was acknowledged after 35 ms (median; p99 130 ms) without that, after 11 (35) with it.
const LONG: u64 = 2_000_000;

/// On a thread of its own: a thread that has stepped back does not come forward again.
pub async fn behind<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let (done, outcome) = oneshot::channel();
    thread::Builder::new().spawn(move || {
        step_back();
        // Whoever wanted it may have lost the job meanwhile.
        let _ = done.send(work());
    })?;
    let broken = |_| Failure::Passing("the work broke off".into());
    outcome.await.map_err(broken)
}

/// This thread, alone. Where it is refused the work competes with the rest.
fn step_back() {
    // SAFETY: all zeros are a valid sched_attr: the usual policy, and no flags.
    let mut wish: libc::sched_attr = unsafe { mem::zeroed() };
    wish.size = size_of_val(&wish) as u32;
    wish.sched_nice = NICENESS;
    wish.sched_runtime = LONG;
    // SAFETY: 0 means the thread that calls; `wish` is there, has the size that it tells, and is only read.
    let refused = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wish, 0) };
    if refused != 0 {
        // SAFETY: it takes a number and changes nothing in memory. On Linux it is for this thread alone.
        unsafe { libc::nice(NICENESS) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_steps_back() {
        // SAFETY: they take numbers and change nothing in memory; 0 means the thread that calls.
        let niceness = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let before = niceness();
        let Ok(behind) = behind(niceness).await else {
            panic!("the system gives a thread");
        };
        assert!(behind >= NICENESS);
        assert_eq!(niceness(), before);
    }
}
